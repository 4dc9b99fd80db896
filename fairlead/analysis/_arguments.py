"""Arguments of a run: merged with what was supplied, looked up, and put in place of `{{args.NAME}}`.

Substitution happens on the JSON text of a metric, in one pass from left to right: each string of the metric is
eligible (names, limits, map keys, Job manifests), and what was put in is not looked at again.

Source: `argo-rollouts: utils/analysis/helpers.go`, `utils/analysis/filter.go`, `utils/template/template.go`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote, quote_plus

import msgspec

from fairlead.analysis.spec import Argument, Metric
from fairlead.core.errors import SpecError
from fairlead.core.plans import PlanArg

SECRET_PLACEHOLDER = "temp-for-secret"  # noqa: S105 - stands for a secret while a run is validated and scheduled; scripts know it
REDACTED = "*****"

_metric_decoder = msgspec.json.Decoder(Metric)
_metric_encoder = msgspec.json.Encoder()
# Go's quoting turns these into escapes that JSON does not know, so upstream's runs end in an error too.
_UNQUOTABLE = re.compile(r"[\x00-\x07\x0b\x0e-\x1f\x7f]")


def merge_args(declared: Sequence[Argument], supplied: Iterable[PlanArg]) -> tuple[Argument, ...]:
    """Return the declared arguments with the supplied values; what is not declared is dropped.

    Raises:
        SpecError: an argument has neither value nor valueFrom.
    """
    merged = list(declared)
    for given in supplied:
        if given.value is None:
            continue
        for index, argument in enumerate(merged):
            if argument.name == given.name:
                merged[index] = msgspec.structs.replace(argument, value=given.value)
                break
    require_values(merged)
    return tuple(merged)


def require_values(args: Iterable[Argument]) -> None:
    """Return if every argument has a value or says where it comes from.

    Raises:
        SpecError: naming the first that does not.
    """
    for argument in args:
        if argument.value is None and argument.value_from is None:
            raise SpecError(f"args.{argument.name} was not resolved")


# -- secrets -------------------------------------------------------------------------------------------------------


class SecretValues:
    """The values of a run's secrets by argument name. Prints a placeholder instead of them."""

    __slots__ = ("_forms", "_values")

    def __init__(self, values: Mapping[str, str] | None = None) -> None:
        self._values = dict(values or {})
        self._forms = tuple(sorted({form for value in self._values.values() for form in _forms(value)}, key=_longest))

    def __repr__(self) -> str:
        return f"SecretValues({len(self._values)} hidden)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SecretValues) and self._values == other._values

    __hash__ = None  # type: ignore[assignment]  # a set or a dict of them would outlive the measurement

    def reveal(self, argument: str) -> str:
        """Return the value of one argument, to be put into a query.

        Raises:
            KeyError: no secret of that argument was read.
        """
        return self._values[argument]

    def redact(self, text: str) -> str:
        """Return the text with each non-empty value replaced, also where JSON, a URL or base64 changed its form."""
        for form in self._forms:
            text = text.replace(form, REDACTED)
        return text


def _longest(form: str) -> tuple[int, str]:
    return (-len(form), form)


def _forms(value: str) -> Iterable[str]:
    bare = value.strip()
    for plain in {value, bare} - {""}:
        yield plain
        yield json.dumps(plain)[1:-1]
        yield json.dumps(plain, ensure_ascii=False)[1:-1]
        yield quote(plain, safe="")
        yield quote(plain)
        yield quote_plus(plain)
        yield base64.b64encode(plain.encode()).decode()


NO_SECRETS = SecretValues()


def secret_text(data: Mapping[str, str], *, secret: str, key: str) -> str:
    """Return one value of a Secret's base64 data as text.

    Raises:
        SpecError: the key is missing, or its value is no text. The value is not in the message.
    """
    if key not in data:
        raise SpecError(f"key '{key}' does not exist in secret '{secret}'")
    try:
        return base64.b64decode(data[key], validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise SpecError(f"key '{key}' of secret '{secret}' is not UTF-8 text") from None


# -- substitution --------------------------------------------------------------------------------------------------


def plain_values(args: Iterable[Argument]) -> dict[str, str | None]:
    """Return the values by name, a placeholder for each secret; None: it has none and cannot be used."""
    return {argument.name: SECRET_PLACEHOLDER if is_secret(argument) else argument.value for argument in args}


def revealed_values(args: Iterable[Argument], secrets: SecretValues) -> dict[str, str | None]:
    """Return the values by name with the secrets themselves. A secret beats a value of the same argument."""
    return {
        argument.name: secrets.reveal(argument.name) if is_secret(argument) else argument.value for argument in args
    }


def is_secret(argument: Argument) -> bool:
    """Whether its value is read from a Secret."""
    return argument.value_from is not None and argument.value_from.secret_key_ref is not None


def resolve_metrics(metrics: Sequence[Metric], values: Mapping[str, str | None]) -> tuple[Metric, ...]:
    """Return the metrics with every placeholder replaced.

    Raises:
        SpecError: a placeholder that names no argument, an argument without a value (used or not), a value that
            cannot be put into JSON text.
    """
    for name, value in values.items():
        if value is None:
            raise SpecError(f'argument "{name}" was not supplied')
    return tuple(_resolve(metric, values) for metric in metrics)


def _resolve(metric: Metric, values: Mapping[str, str | None]) -> Metric:
    text = _metric_encoder.encode(metric).decode()
    if "{{" not in text:
        return metric
    try:
        return _metric_decoder.decode(substitute(text, values))
    except msgspec.MsgspecError as error:
        raise SpecError(f"metric does not fit its schema any more: {error}") from None


def substitute(template: str, values: Mapping[str, str | None]) -> str:
    """Return JSON text with each `{{args.NAME}}` replaced by the escaped value.

    Raises:
        SpecError: an unknown placeholder (the last one is reported), an unclosed one, a control character.
    """
    pieces: list[str] = []
    unknown = ""
    position = 0
    _require_closed(template)
    while (start := template.find("{{", position)) >= 0:
        end = template.index("}}", start + 2)
        tag = template[start + 2 : end]
        pieces.append(template[position:start])
        prefix, _, name = tag.strip().partition(".")
        value = values.get(name) if prefix == "args" else None
        if value is None:
            unknown = f"failed to resolve {{{{{tag}}}}}"
        else:
            pieces.append(_escaped(name, value))
        position = end + 2
    if unknown:
        raise SpecError(unknown)
    pieces.append(template[position:])
    return "".join(pieces)


def _require_closed(template: str) -> None:
    position = 0
    while (start := template.find("{{", position)) >= 0:
        end = template.find("}}", start + 2)
        if end < 0:
            whole, rest = _go_quoted(template), _go_quoted(template[start + 2 :])
            raise SpecError(f'Cannot find end tag="}}}}" in the template={whole} starting from {rest}')
        position = end + 2


def _go_quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _escaped(name: str, value: str) -> str:
    if _UNQUOTABLE.search(value):
        raise SpecError(f"args.{name} holds a control character that cannot be substituted")
    return json.dumps(value, ensure_ascii=False)[1:-1]

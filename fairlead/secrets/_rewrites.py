"""How a provider's names become keys of a Secret, and how values are decoded.

Collisions: where upstream lets one of two values win by chance, two different values under one key are an error here.

Source: `external-secrets: runtime/esutils`, and by comparison with its answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fairlead.core import regex
from fairlead.core.errors import FairleadError
from fairlead.core.regex import Match
from fairlead.secrets._base64 import Base64Error, decode_base64
from fairlead.secrets._templates import Budget, TemplateError, TemplateSyntaxError, render
from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._regexps import expanded, replace_all
from fairlead.secrets._templates._json import decode as decode_json
from fairlead.secrets._templates._json import encode as encode_json
from fairlead.secrets._templates._numbers import format_float
from fairlead.secrets._templates._text import is_letter, is_number, runes
from fairlead.secrets.spec import (
    ConflictPolicy,
    MergeStrategy,
    PriorityPolicy,
    Rewrite,
    RewriteMerge,
    RewriteRegexp,
    RewriteTransform,
)
from fairlead.secrets.values import SecretBytes

Values = Mapping[str, SecretBytes]
_ALLOWED: Final = "-._"
_CONVERTED: Final = re.compile(r"_U([0-9a-fA-F]{4,5})_")
_ENTRY_BYTES_MAX: Final = 2**20  # what one JSON object of a merge may weigh: a Secret holds no more


class UnfitValue(FairleadError):
    """What the provider has does not fit what the spec makes of it. The message holds no value."""


# decoding


def decode(value: SecretBytes, strategy: str) -> SecretBytes:
    """Return a value decoded.

    Args:
        value: what the provider has.
        strategy: None or nothing, Base64, Base64URL, or Auto, which leaves alone what is neither.

    Raises:
        UnfitValue: it is no base 64, or the strategy is not known.
    """
    match strategy:
        case "" | "None":
            return value
        case "Base64" | "Base64URL":
            try:
                return SecretBytes(decode_base64(value.reveal(), url_safe=strategy == "Base64URL"))
            except Base64Error as error:
                raise UnfitValue(str(error)) from None
        case "Auto":
            for url_safe in (False, True):
                try:
                    return SecretBytes(decode_base64(value.reveal(), url_safe=url_safe))
                except Base64Error:
                    continue
            return value
        case _:
            raise UnfitValue(f"decoding strategy {strategy} is not supported")


# names


def _is_allowed(one: str) -> bool:
    return one in _ALLOWED or is_letter(one) or is_number(one)


def convert_key(key: str, strategy: str) -> str:
    """Return a name with whatever a key cannot hold replaced: by `_`, or by `_U002f_` and the like.

    >>> convert_key("a/b", "Default"), convert_key("a/b", "Unicode")
    ('a_b', 'a_U002f_b')
    """
    match strategy:
        case "" | "Default":
            return "".join(one if _is_allowed(one) else "_" for one in key)
        case "Unicode":
            return "".join(one if _is_allowed(one) else f"_U{ord(one):04x}_" for one in key)
        case _:
            return key


def restore_key(key: str, strategy: str) -> str:
    """Return the name that a key was converted from; only `ReverseUnicode` restores anything."""
    return _CONVERTED.sub(lambda found: chr(int(found[1], 16)), key) if strategy == "ReverseUnicode" else key


def convert_keys(values: Values, strategy: str) -> dict[str, SecretBytes]:
    """Return the values under converted names.

    Raises:
        UnfitValue: two names become one.
    """
    found: dict[str, SecretBytes] = {}
    for key in sorted(values):
        name = convert_key(key, strategy)
        if name in found:
            raise UnfitValue(f"secret name collision during conversion: {name}")
        found[name] = values[key]
    return found


# rewriting


def rewrite(values: Values, operations: Sequence[Rewrite], budget: Budget | None = None) -> dict[str, SecretBytes]:
    """Return the values under the names that the operations give them, one after the other.

    Raises:
        UnfitValue: a pattern or template that is none, values that cannot be merged, or two that get one name.
    """
    spent = budget or Budget()
    found = dict(values)
    for operation in operations:
        if operation.regexp is not None:
            found = _renamed(found, _by_pattern(found, operation.regexp, spent))
        elif operation.transform is not None:
            found = _renamed(found, _by_template(found, operation.transform, spent))
        elif operation.merge is not None:
            try:
                found = _merged(found, operation.merge, spent)
            except (UnfitValue, TemplateError) as error:
                raise UnfitValue(f"merge failed with {error}") from None
    return found


def _renamed(values: Values, names: Iterator[tuple[str, str]]) -> dict[str, SecretBytes]:
    found: dict[str, SecretBytes] = {}
    for old, new in names:
        if new in found and found[new] != values[old]:
            raise UnfitValue(f"rewrite gives two values the name {new!r}")
        found[new] = values[old]
    return found


def _by_pattern(values: Values, operation: RewriteRegexp, budget: Budget) -> Iterator[tuple[str, str]]:
    try:
        pattern = regex.compile(operation.source)
    except regex.RegexError as error:
        raise UnfitValue(f"regexp failed with failed to compile: {error}") from None
    try:
        for key in sorted(values):
            raw = key.encode("utf-8", "surrogateescape")
            text = runes(raw)

            def by(found: Match, text: str = text) -> bytes:
                budget.step()
                piece = expanded(operation.target, found, text)
                budget.allocate(len(piece))
                return piece

            yield key, replace_all(pattern, raw, by, budget.patterns).decode("utf-8", "surrogateescape")
    except (regex.RegexLimit, TemplateError) as error:
        raise UnfitValue(f"regexp failed with {error}") from None


def _by_template(values: Values, operation: RewriteTransform, budget: Budget) -> Iterator[tuple[str, str]]:
    for key in sorted(values):
        try:
            name = render(
                operation.template, {"value": key.encode("utf-8", "surrogateescape")}, budget=budget, strict=False
            )
        except TemplateSyntaxError as error:
            raise UnfitValue(f"transform failed with failed to parse template: {error}") from None
        except TemplateError as error:
            raise UnfitValue(f"transform failed with failed to execute template: {error}") from None
        yield key, name.decode("utf-8", "replace")


# merging


def _merged(values: Values, operation: RewriteMerge, budget: Budget) -> dict[str, SecretBytes]:
    strategy = operation.strategy or MergeStrategy.EXTRACT
    if strategy is MergeStrategy.JSON and not operation.into:
        raise UnfitValue("missing 'into' field")
    entries: dict[bytes, Any] = {}
    conflicts: list[str] = []
    for key in _ranked(values, operation):
        for name, entry in _object(values[key], budget).items():
            if name in entries:
                conflicts.append(name.decode("utf-8", "replace"))
            entries[name] = entry
    if conflicts and operation.conflict_policy is not ConflictPolicy.IGNORE:
        raise UnfitValue(f"conflicts: {', '.join(conflicts)}")
    if strategy is MergeStrategy.JSON:
        return {**values, operation.into: SecretBytes(encode_json(entries, budget, html=False))}
    return {name.decode("utf-8", "replace"): _entry(entry, budget) for name, entry in entries.items()}


def _ranked(values: Values, operation: RewriteMerge) -> list[str]:
    """Return the keys in rising order of priority: those without one come first, by name."""
    ranked: list[str] = []
    for key in operation.priority:
        if key in values:
            ranked.append(key)
        elif operation.priority_policy is not PriorityPolicy.IGNORE_NOT_FOUND:
            raise UnfitValue(f'key "{key}" not found in input map')
    return [*sorted(values.keys() - set(ranked)), *dict.fromkeys(ranked)]


def _object(value: SecretBytes, budget: Budget) -> dict[bytes, Any]:
    raw = value.reveal()
    if len(raw) > _ENTRY_BYTES_MAX:
        raise UnfitValue(f"failed to unmarshal JSON: more than {_ENTRY_BYTES_MAX} bytes")
    try:
        found = decode_json(raw, budget)
    except FunctionError as error:
        raise UnfitValue(f"failed to unmarshal JSON: {error}") from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        kinds = {list: "array", bytes: "string", bool: "bool", float: "number"}
        raise UnfitValue(
            f"failed to unmarshal JSON: json: cannot unmarshal {kinds[type(found)]} "
            "into Go value of type map[string]interface {}"
        )
    return found


def _entry(entry: Any, budget: Budget) -> SecretBytes:
    """Return an entry as the value of a key: text as it is, null as nothing, numbers without exponent."""
    match entry:
        case None:
            return SecretBytes(b"")
        case bytes():
            return SecretBytes(entry)
        case float():
            return SecretBytes(format_float(entry, "f").encode())
        case _:
            return SecretBytes(encode_json(entry, budget))

"""YAML as Kubernetes reads it, and YAML that nobody misreads.

No stock loader does: `yes` is true, `12:30:45` and dates are text, `014` is twelve, a key is always text, and one that
occurs twice is an error. The dumper quotes what either dialect would take for something else.

Input is bounded: size in bytes before parsing, and the number of values after aliases are followed, so that a bomb of
aliases is told from a long file.

Source: sigs.k8s.io/yaml and go.yaml.in/yaml/v2, by comparison with kubectl's answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import yaml

__all__ = ["BYTES_MAX", "VALUES_MAX", "KubeDumper", "KubeLoader", "YamlError", "dump", "load_all"]

BYTES_MAX = 3 * 2**20
VALUES_MAX = 500_000
DEPTH_MAX = 100
_TAG = "tag:yaml.org,2002:"

# The C classes are missing only in wheels that were built without libyaml; the others are seven times as slow.
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

# What a plain scalar is, by its first character: type, pattern, first characters.
_PLAIN = [
    ("bool", r"^(?:y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$", "yYnNtTfFoO"),
    ("int", r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?$", "-+0123456789."),
    ("float", r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$", "-+."),
    ("null", r"^(?:~|null|Null|NULL|)$", "~nN"),
    ("merge", r"^<<$", "<"),
]


class YamlError(ValueError):
    """The text is no YAML that Kubernetes takes; the message says where and why."""


class KubeLoader(_Loader):  # type: ignore[misc]  # the base is chosen at run time
    """A safe loader with Kubernetes' reading of plain scalars."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's register)
    bool_values = _Loader.bool_values | {"y": True, "n": False}


class KubeDumper(_Dumper):  # type: ignore[misc]
    """A safe dumper that quotes what YAML 1.1 or Kubernetes would read as something else."""

    yaml_implicit_resolvers = {first: list(rules) for first, rules in _Dumper.yaml_implicit_resolvers.items()}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        """Write everything in full."""
        return True


for _class in (KubeLoader, KubeDumper):
    for _name, _pattern, _firsts in _PLAIN:
        for _first in _firsts:
            _class.yaml_implicit_resolvers.setdefault(_first, []).append((_TAG + _name, re.compile(_pattern)))
    _class.yaml_implicit_resolvers.setdefault("", []).append((_TAG + "null", re.compile("^$")))


def _int(loader: Any, node: yaml.ScalarNode) -> int | float:
    text = loader.construct_scalar(node).replace("_", "").lower()
    sign, digits = (-1 if text.startswith("-") else 1), text.lstrip("+-")
    try:
        if digits[:2] in ("0x", "0b", "0o"):
            number = int(digits, 0)
        else:
            number = int(digits, 8 if len(digits) > 1 and digits[0] == "0" else 10)
    except ValueError as error:
        raise yaml.constructor.ConstructorError(None, None, f"no number: {text[:40]}", node.start_mark) from error
    return sign * number


def _float(loader: Any, node: yaml.ScalarNode) -> int | float:
    text = loader.construct_scalar(node).replace("_", "").lower()
    number = float(text.replace(".inf", "inf").replace(".nan", "nan"))
    if not math.isfinite(number):
        raise yaml.constructor.ConstructorError(None, None, f"{text[:40]} has no place in JSON", node.start_mark)
    return int(number) if number.is_integer() and abs(number) < 1e21 else number  # as Go writes such numbers


def _map(loader: Any, node: yaml.MappingNode) -> dict[str, Any]:
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.constructor.ConstructorError(None, None, "a key must be text", key.start_mark)
        if key.tag != _TAG + "merge" and key.value in seen:
            raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} occurs twice", key.start_mark)
        seen.add(key.value)
    loader.flatten_mapping(node)  # what is merged comes first, so that an own key wins
    return {key.value: loader.construct_object(value, deep=True) for key, value in node.value}


for _name, _construct in (("int", _int), ("float", _float), ("map", _map)):
    KubeLoader.add_constructor(_TAG + _name, _construct)


def load_all(text: str | bytes) -> list[dict[str, Any]]:
    """Return the documents of a text; empty ones are left out.

    Raises:
        YamlError: no YAML, a document that is no mapping, a key twice, an unknown tag, or too much of anything.

    >>> load_all("a: yes\\nb: 014\\n---\\n---\\nc: 12:30:45")
    [{'a': True, 'b': 12}, {'c': '12:30:45'}]
    """
    size = len(text.encode(errors="surrogatepass")) if isinstance(text, str) else len(text)
    if size > BYTES_MAX:
        raise YamlError(f"{size} bytes of YAML; at most {BYTES_MAX} are read")
    documents: list[dict[str, Any]] = []
    values = 0
    try:
        for document in yaml.load_all(text, Loader=KubeLoader):
            if document is None:
                continue
            if not isinstance(document, dict):
                found = type(document).__name__
                raise YamlError(f"document {len(documents) + 1}: expected a mapping, found {found}")
            for _ in _walk(document, 0):
                values += 1
                if values > VALUES_MAX:
                    raise YamlError(f"more than {VALUES_MAX} values, aliases followed")
            documents.append(document)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise YamlError(f"not valid YAML: {error}") from error
    except RecursionError as error:
        raise YamlError("nested too deeply") from error
    return documents


def _walk(value: Any, depth: int) -> Iterator[Any]:
    """Yield every value below and including this one, aliases as often as they occur."""
    if depth > DEPTH_MAX:
        raise YamlError(f"nested more than {DEPTH_MAX} levels deep")
    yield value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for child in children:
        yield from _walk(child, depth + 1)


def dump(data: Any) -> str:
    """Return a document as YAML that every reader takes for the same data; keys keep their order."""
    text: str = yaml.dump(data, Dumper=KubeDumper, sort_keys=False, allow_unicode=True, width=120)
    return text

"""Which names, labels and annotations an object may carry, and what the server says about others.

Source: `k8s.io/apimachinery: pkg/util/validation/validation.go`, `pkg/api/validation/objectmeta.go`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from fairlead.core.errors import Cause
from fairlead.testing import failures

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"

_label = re.compile(_LABEL, re.ASCII)
_subdomain = re.compile(_SUBDOMAIN, re.ASCII)
_qualified = re.compile(_QUALIFIED, re.ASCII)

ANNOTATIONS_BYTES_MAX = 256 * 1024


class NameRule(StrEnum):
    """How names of a kind may look."""

    SUBDOMAIN = "subdomain"  # most kinds
    LABEL = "label"  # namespaces and Services: they become DNS names
    PATH = "path"  # RBAC: anything that fits in a URL


def _regex(pattern: str, message: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{message} (e.g. {listed}regex used for validation is '{pattern}')"


def _too_long(most: int) -> str:
    return f"must be no more than {most} bytes"


def dns_label(value: str) -> list[str]:
    """Return what is wrong with an RFC 1123 label."""
    problems = [_too_long(63)] if len(value) > 63 else []
    if not _label.fullmatch(value):
        text = (
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start "
            "and end with an alphanumeric character"
        )
        problems.append(_regex(_LABEL, text, "my-name", "123-abc"))
    return problems


def dns_subdomain(value: str) -> list[str]:
    """Return what is wrong with an RFC 1123 subdomain."""
    problems = [_too_long(253)] if len(value) > 253 else []
    if not _subdomain.fullmatch(value):
        text = (
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character"
        )
        problems.append(_regex(_SUBDOMAIN, text, "example.com"))
    return problems


def path_segment(value: str) -> list[str]:
    """Return what keeps a name from being one segment of a path."""
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{sign}'" for sign in "/%" if sign in value]


def qualified_name(value: str) -> list[str]:
    """Return what is wrong with a label key or a finalizer."""
    prefix, slash, name = value.rpartition("/")
    problems: list[str] = []
    if slash:
        if not prefix:
            problems.append("prefix part must be non-empty")
        else:
            problems.extend(f"prefix part {problem}" for problem in dns_subdomain(prefix))
    if not name:
        problems.append("name part must be non-empty")
    elif len(name) > 63:
        problems.append(f"name part {_too_long(63)}")
    if not _qualified.fullmatch(name):
        text = (
            "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
            "alphanumeric character"
        )
        problems.append(_regex(_QUALIFIED, text, "MyName", "my.name", "123-abc"))
    return problems


def label_value(value: str) -> list[str]:
    """Return what is wrong with a label's value."""
    problems = [_too_long(63)] if len(value) > 63 else []
    if value and not _qualified.fullmatch(value):
        text = (
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character"
        )
        problems.append(_regex(f"({_QUALIFIED})?", text, "MyValue", "my_value", "12345"))
    return problems


_RULES: Mapping[NameRule, Callable[[str], list[str]]] = {
    NameRule.SUBDOMAIN: dns_subdomain,
    NameRule.LABEL: dns_label,
    NameRule.PATH: path_segment,
}


def check_metadata(metadata: Mapping[str, Any], rule: NameRule) -> list[Cause]:
    """Return what is wrong with an object's metadata."""
    causes: list[Cause] = []
    name = metadata.get("name", "")
    if not name:
        causes.append(failures.required("metadata.name", "name or generateName is required"))
    else:
        causes.extend(failures.bad_value("metadata.name", name, problem) for problem in _RULES[rule](name))
    causes.extend(check_labels(metadata.get("labels") or {}, "metadata.labels"))
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    for key in annotations:
        causes.extend(failures.bad_value("metadata.annotations", key, p) for p in qualified_name(key.lower()))
    size = sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items())
    if size > ANNOTATIONS_BYTES_MAX:
        causes.append(failures.too_long("metadata.annotations", ANNOTATIONS_BYTES_MAX))
    for finalizer in metadata.get("finalizers") or ():
        causes.extend(failures.bad_value("metadata.finalizers", finalizer, p) for p in qualified_name(finalizer))
    causes.extend(_check_owners(metadata.get("ownerReferences") or ()))
    return causes


def check_labels(labels: Mapping[str, str], field: str) -> list[Cause]:
    """Return what is wrong with labels."""
    causes: list[Cause] = []
    for key, value in labels.items():
        causes.extend(failures.bad_value(field, key, problem) for problem in qualified_name(key))
        causes.extend(failures.bad_value(field, value, problem) for problem in label_value(value))
    return causes


def _check_owners(owners: Any) -> list[Cause]:
    causes: list[Cause] = []
    controllers = 0
    for index, owner in enumerate(owners):
        for name, detail in (
            ("apiVersion", "version must not be empty"),
            ("kind", "must not be empty"),
            ("name", "must not be empty"),
            ("uid", "must not be empty"),
        ):
            if not owner.get(name):
                causes.append(failures.bad_value(f"metadata.ownerReferences[{index}].{name}", "", detail))
        controllers += bool(owner.get("controller"))
    if controllers > 1:
        detail = "Only one reference can have Controller set to true"
        causes.append(failures.bad_value("metadata.ownerReferences", list(owners), detail))
    return causes


_GO_TYPES = {bool: "bool", int: "number", float: "number", list: "array", dict: "object"}


def check_types(metadata: Any) -> str:
    """Return why the metadata cannot even be decoded, in the server's words; empty when it can."""
    if not isinstance(metadata, dict):
        return _unmarshal(metadata, "metadata", "v1.ObjectMeta")
    for name in ("name", "generateName", "namespace", "uid", "resourceVersion"):
        value = metadata.get(name)
        if value is not None and not isinstance(value, str):
            return _unmarshal(value, f"metadata.{name}", "string")
    for name in ("labels", "annotations"):
        value = metadata.get(name)
        if value is None:
            continue
        if not isinstance(value, dict):
            return _unmarshal(value, f"metadata.{name}", "map[string]string")
        for member in value.values():
            if not isinstance(member, str):
                return _unmarshal(member, f"metadata.{name}", "string")
    for name, item_type in (("finalizers", str), ("ownerReferences", dict)):
        value = metadata.get(name)
        if value is None:
            continue
        if not isinstance(value, list):
            return _unmarshal(value, f"metadata.{name}", f"[]{name}")
        for item in value:
            if not isinstance(item, item_type):
                return _unmarshal(item, f"metadata.{name}", item_type.__name__)
    return ""


def _unmarshal(value: Any, field: str, wanted: str) -> str:
    found = _GO_TYPES.get(type(value), "string")
    return f"json: cannot unmarshal {found} into Go struct field ObjectMeta.{field} of type {wanted}"

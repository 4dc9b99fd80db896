"""Kubernetes objects as JSON data, and the keys by which an Application knows them.

Objects are carried, not decided on: whatever a manifest says goes through unchanged. Nobody changes an `Object` that
somebody else made; a changed one is a new one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.core.discovery import ResourceKind, ServedKinds

__all__ = [
    "Object",
    "ResourceKey",
    "ResourceKind",
    "ServedKinds",
    "annotations_of",
    "group_version",
    "key_of",
    "kind_of",
    "labels_of",
    "metadata_of",
    "name_of",
    "namespace_of",
]

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class ResourceKey:
    """What names an object in one cluster; the order is that of `status.resources`.

    The version is no part of it: one object may be read in several.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.group}/{self.kind}/{self.namespace}/{self.name}"


def group_version(found: Mapping[str, Any]) -> tuple[str, str]:
    """Return group and version of an object.

    >>> group_version({"apiVersion": "apps/v1"}), group_version({"apiVersion": "v1"})
    (('apps', 'v1'), ('', 'v1'))
    """
    text = found.get("apiVersion")
    group, slash, version = (text if isinstance(text, str) else "").rpartition("/")
    return (group, version) if slash else ("", version)


def metadata_of(found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the metadata of an object; empty when there is none, or no mapping."""
    inner = found.get("metadata")
    return inner if isinstance(inner, Mapping) else {}


def _texts(inner: Any) -> dict[str, str]:
    if not isinstance(inner, Mapping):
        return {}
    return {key: value for key, value in inner.items() if isinstance(key, str) and isinstance(value, str)}


def annotations_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the annotations of an object."""
    return _texts(metadata_of(found).get("annotations"))


def labels_of(found: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels of an object."""
    return _texts(metadata_of(found).get("labels"))


def _text(inner: Any) -> str:
    return inner if isinstance(inner, str) else ""


def name_of(found: Mapping[str, Any]) -> str:
    """Return the name of an object; empty when it has only a `generateName`, or none at all."""
    return _text(metadata_of(found).get("name"))


def namespace_of(found: Mapping[str, Any]) -> str:
    """Return the namespace that an object says."""
    return _text(metadata_of(found).get("namespace"))


def kind_of(found: Mapping[str, Any]) -> str:
    """Return the kind of an object."""
    return _text(found.get("kind"))


def key_of(found: Mapping[str, Any]) -> ResourceKey:
    """Return the key of an object.

    >>> str(key_of({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}}))
    '/Service/shop/web'
    """
    return ResourceKey(group_version(found)[0], kind_of(found), namespace_of(found), name_of(found))

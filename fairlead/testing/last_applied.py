"""How server-side apply by kubectl continues what kubectl applied before with an annotation.

The annotation says what kubectl wanted; where the live object still has just that, the entry of its older way of
writing (`kubectl-client-side-apply`) is no foreign owner. And while the annotation is there it is kept up to date.

Source: `k8s.io/apimachinery: pkg/util/managedfields/internal/{lastappliedmanager,lastappliedupdater}.go`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fairlead.testing.managed import Fields, OwnershipConflict, compare, field_set
from fairlead.testing.shapes import Shape
from fairlead.testing.storage import Json

ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl"
_BYTES_MAX = 256 * 1024  # of all annotations together


def _annotation(data: Mapping[str, Any]) -> str:
    return str((data["metadata"].get("annotations") or {}).get(ANNOTATION, ""))


def own_fields(live: Mapping[str, Any], shape: Shape) -> Fields:
    """Return the fields that kubectl applied last and that still have the value it gave them."""
    try:
        last = msgspec.json.decode(_annotation(live) or "null")
    except msgspec.MsgspecError:
        return frozenset()  # somebody edited it: it proves nothing
    if not isinstance(last, dict):
        return frozenset()
    changed, removed = compare(last, live, shape)
    return field_set(last, shape) - changed - removed


def are_own(conflicts: Sequence[OwnershipConflict], manager: str, live: Mapping[str, Any], shape: Shape) -> bool:
    """Return whether the conflicts are only of kubectl with itself."""
    if manager != MANAGER:
        return False
    own = own_fields(live, shape)
    return all(path in own for conflict in conflicts for path in conflict.paths)


def refresh(data: Json, config: Mapping[str, Any], manager: str) -> None:
    """Write what kubectl applies into the annotation, in place, if the object carries one."""
    if manager != MANAGER or not _annotation(data):
        return
    metadata = {key: value for key, value in config["metadata"].items() if key != "managedFields"}
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key != ANNOTATION}
    metadata["annotations"] = annotations
    if not annotations:
        del metadata["annotations"]
    text = msgspec.json.encode({**config, "metadata": metadata}, order="sorted").decode() + "\n"
    if len(text) <= _BYTES_MAX:
        data["metadata"]["annotations"][ANNOTATION] = text

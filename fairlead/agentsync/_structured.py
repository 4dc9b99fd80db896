"""What a server-side apply makes of a live object, computed here: no request, and only nearly what the server does.

What the manager owned and the target no longer has is removed, unless somebody else owns it too; the target wins over
everybody (conflicts are forced); the rest stays. How lists of custom kinds merge is read from what their managers own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fairlead.agentsync._fieldsets import Fields, matches, owned, released, union
from fairlead.agentsync._strategic import ByOwnership, merge
from fairlead.agentsync._types import Shape
from fairlead.agentsync.kinds import FIELD_MANAGER
from fairlead.agentsync.resources import Object, metadata_of

CLIENT_SIDE_MANAGER: Final = "kubectl-client-side-apply"


def _is_ours(entry: Mapping[str, Any], manager: str, migrated: tuple[str, ...]) -> bool:
    if entry.get("subresource"):
        return False
    name, operation = entry.get("manager"), entry.get("operation")
    return (name == manager and operation == "Apply") or (name in migrated and operation == "Update")


def apply_by_ownership(
    target: Object,
    live: Object,
    shape: Shape,
    *,
    fields_of: Object,
    manager: str = FIELD_MANAGER,
    migrated: tuple[str, ...] = (CLIENT_SIDE_MANAGER,),
) -> Object:
    """Return what `live` becomes by a server-side apply of `target`; `live` itself when nothing changes.

    Args:
        fields_of: the object whose managedFields count: the live one as it was read.
        migrated: managers whose client-side updates are taken over first.
    """
    ours = owned(fields_of, lambda entry: _is_ours(entry, manager, migrated))
    others = owned(fields_of, lambda entry: not _is_ours(entry, manager, migrated))
    left: Object = released(live, ours, others, target)
    merged: Object = merge(None, target, left, shape, ByOwnership(union((ours, others))))
    return merged


def without_mutations(predicted: Object, live: Object, *, fields_of: Object, manager: str = FIELD_MANAGER) -> Object:
    """Return the outcome of a dry run without what neither the target nor the live object says: the webhooks' work.

    Args:
        fields_of: the outcome as the server sent it, with its managedFields.
    """
    ours = owned(fields_of, lambda entry: _is_ours(entry, manager, ()))
    result = _reverted(predicted, live, ours)
    return result if isinstance(result, dict) else predicted


def _reverted(predicted: Any, live: Any, ours: Fields) -> Any:
    """Return the predicted value where we own it, the live one elsewhere; `None`: neither."""
    if isinstance(predicted, dict) and isinstance(live, dict):
        result = {}
        for key, value in predicted.items():
            inner = ours.get(f"f:{key}")
            if inner is None:
                kept = live.get(key)
            else:
                kept = _reverted(value, live.get(key), inner) if inner else value
            if kept is not None:
                result[key] = kept
        return result
    if isinstance(predicted, list) and isinstance(live, list) and ours:
        result_list = []
        for place, value in enumerate(predicted):
            entry = next((entry for entry in ours if matches(value, entry, place)), None)
            before = next((one for at, one in enumerate(live) if entry is not None and matches(one, entry, at)), None)
            if entry is None:
                result_list += [value] if value in live else []
            else:
                result_list.append(_reverted(value, before, ours[entry]) if ours[entry] else value)
        return result_list
    return predicted


def migrate_managers(
    live: Object, *, client_side: str = CLIENT_SIDE_MANAGER, manager: str = FIELD_MANAGER
) -> list[Any] | None:
    """Return the managedFields with a client-side manager's fields moved to us; None when there is nothing to move.

    To be written with the object's resourceVersion as precondition, before the first server-side apply: fields of the
    old manager would otherwise never go away.

    Source: `k8s.io/client-go: util/csaupgrade/upgrade.go`.
    """
    entries = metadata_of(live).get("managedFields")
    if not isinstance(entries, list):
        return None

    def is_old(entry: Any) -> bool:
        plain = isinstance(entry, dict) and not entry.get("subresource")
        return plain and (entry.get("manager"), entry.get("operation")) == (client_side, "Update")

    def is_ours(entry: Any) -> bool:
        return isinstance(entry, dict) and _is_ours(entry, manager, ())

    old = [entry for entry in entries if is_old(entry)]
    if not old:
        return None
    ours = [entry for entry in entries if is_ours(entry)]
    fields: Fields = union(inner for entry in (*ours, *old) if isinstance(inner := entry.get("fieldsV1"), dict))
    moved = {**(ours or old)[0], "manager": manager, "operation": "Apply", "fieldsV1": _without_last_applied(fields)}
    return [moved, *(entry for entry in entries if not is_old(entry) and not is_ours(entry))]


def _without_last_applied(fields: Fields) -> Fields:
    mark: Fields = {"f:metadata": {"f:annotations": {"f:kubectl.kubernetes.io/last-applied-configuration": {}}}}
    return _minus(fields, mark)


def _minus(fields: Fields, marks: Fields) -> Fields:
    result = dict(fields)
    for entry, inner in marks.items():
        if entry not in result:
            continue
        if not inner:
            del result[entry]
        else:
            result[entry] = _minus(result[entry], inner)
    return result

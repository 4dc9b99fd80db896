"""What has to be sent so that a live object becomes what its manifest says. Pure."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from fairlead.agentsync.diff import (
    LAST_APPLIED,
    DiffOptions,
    Strategy,
    client_side_apply,
    difference,
    keep_ignored,
    keep_owned,
    migrate_managers,
)
from fairlead.agentsync.resources import Object, ResourceKey, annotations_of, group_version, kind_of, metadata_of
from fairlead.core.cluster import ApplyPatch, JsonPatch, Patch
from fairlead.core.patches import diff

# Of an object that is replaced, these stay those of the live one: the server minds them, or takes them for the address.
_SERVERS: Final = (
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "managedFields",
    "name",
    "namespace",
)
_BINDINGS: Final = frozenset({"RoleBinding", "ClusterRoleBinding"})
_RBAC: Final = "rbac.authorization.k8s.io"


def label(key: ResourceKey) -> str:
    """Return how kubectl names an object.

    >>> label(ResourceKey("apps", "Deployment", "shop", "web")), label(ResourceKey("", "Service", "shop", "web"))
    ('deployment.apps/web', 'service/web')
    """
    kind = f"{key.kind.lower()}.{key.group}" if key.group else key.kind.lower()
    return f"{kind}/{key.name}"


def applied(target: Object, live: Object | None, options: DiffOptions, *, keeps_ignored: bool = False) -> Object:
    """Return what a client-side apply makes of the live object; the live object itself when nothing changes.

    An annotation that says the same as before in other words is no change.
    """
    wanted = client_side_apply(target, live, options, respect_ignored=keeps_ignored)
    if live is not None and _is_same_but_for_words(wanted, live):
        return live
    return wanted


def _is_same_but_for_words(wanted: Object, live: Object) -> bool:
    new, old = annotations_of(wanted).get(LAST_APPLIED, ""), annotations_of(live).get(LAST_APPLIED, "")
    if not old or _json(new) != _json(old):
        return False
    return not diff(_with_annotation(live, new), wanted)


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None


def _with_annotation(found: Object, text: str) -> Object:
    metadata = metadata_of(found)
    return {**found, "metadata": {**metadata, "annotations": {**annotations_of(found), LAST_APPLIED: text}}}


def patch_of(live: Object, wanted: Object) -> dict[str, Any]:
    """Return the JSON merge patch from one to the other; empty when there is nothing to change.

    `managedFields` and the status are never part of it: the one is the server's, the other a controller's.
    """
    if wanted is live:
        return {}
    patch = diff(live, wanted)
    patch.pop("status", None)
    metadata = patch.get("metadata")
    if isinstance(metadata, dict):
        for name in ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp"):
            metadata.pop(name, None)
        if not metadata:
            del patch["metadata"]
    return patch


def replaced(target: Object, live: Object) -> Object:
    """Return what an update with the target makes of the live object: nothing is kept but what is the server's."""
    metadata = {name: value for name, value in metadata_of(target).items() if name not in _SERVERS}
    metadata |= {name: value for name, value in metadata_of(live).items() if name in _SERVERS}
    result: Object = {**target, "metadata": metadata}
    if "status" in live:
        result["status"] = live["status"]
    return result


def server_side(
    target: Object, live: Object | None, options: DiffOptions, *, migrate_from: str = "", keeps_ignored: bool = False
) -> tuple[Patch, ...]:
    """Return the patches of a server-side apply, in order; none when it would change nothing.

    The first one, if there are two, takes the fields of a client-side manager over.

    Args:
        live: with managedFields.
        migrate_from: that manager; empty: none.
    """
    if live is None:
        return (ApplyPatch(_bare(target), force=True),)
    wanted = keep_owned(target, live, options.managed_by_rollouts)
    if keeps_ignored:
        wanted = keep_ignored(wanted, live, options.ignores)
    patches: list[Patch] = []
    if migrate_from:
        entries = migrate_managers(live, client_side=migrate_from, manager=options.manager)
        if entries is not None:
            patches.append(_managers_patch(live, entries))
    if patches or not _owns(live, options.manager) or _would_change(wanted, live, options, migrate_from):
        patches.append(ApplyPatch(_bare(wanted), force=True))
    return tuple(patches)


def dry_run_of(target: Object) -> ApplyPatch:
    """Return the patch by which the server is asked what it would make of an object."""
    return ApplyPatch(_bare(target), force=True)


def _would_change(wanted: Object, live: Object, options: DiffOptions, migrate_from: str) -> bool:
    """Ignored fields count here: they are applied all the same."""
    migrated = (migrate_from,) if migrate_from else ()
    judged = DiffOptions(
        strategy=Strategy.STRUCTURED,
        ignore_status=options.ignore_status,
        known_type_fields=options.known_type_fields,
        managed_by_rollouts=options.managed_by_rollouts,
        manager=options.manager,
        migrated_managers=migrated,
    )
    return difference(wanted, live, judged).modified


def _owns(live: Object, manager: str) -> bool:
    entries = metadata_of(live).get("managedFields")
    return any(
        isinstance(entry, Mapping) and entry.get("manager") == manager and entry.get("operation") == "Apply"
        for entry in (entries if isinstance(entries, list) else ())
    )


def _bare(target: Object) -> Object:
    """Return the target as server-side apply takes it: nothing that is the server's to say."""
    metadata = {
        name: value
        for name, value in metadata_of(target).items()
        if name in ("name", "namespace") or name not in _SERVERS
    }
    return {**{name: value for name, value in target.items() if name != "status"}, "metadata": metadata}


def _managers_patch(live: Object, entries: list[Any]) -> JsonPatch:
    version = str(metadata_of(live).get("resourceVersion") or "")
    return JsonPatch(
        (
            {"op": "replace", "path": "/metadata/managedFields", "value": entries},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},  # a precondition: Conflict
        )
    )


def is_binding_to_another_role(target: Object, live: Object) -> bool:
    """Return whether a binding would have to refer to another role, which the server forbids: it is made anew."""
    if kind_of(live) not in _BINDINGS or group_version(live)[0] != _RBAC:
        return False
    wanted, found = target.get("roleRef"), live.get("roleRef")
    if not isinstance(wanted, Mapping) or not isinstance(found, Mapping):
        return False
    return any(wanted.get(name, _RBAC if name == "apiGroup" else "") != found.get(name) for name in ("kind", "name"))


def without_finalizer(found: Object, finalizer: str) -> dict[str, Any] | None:
    """Return the merge patch that takes a finalizer off; None: it is not there."""
    metadata = metadata_of(found)
    finalizers = metadata.get("finalizers")
    if not isinstance(finalizers, list) or finalizer not in finalizers:
        return None
    left = [name for name in finalizers if name != finalizer]
    return {"metadata": {"finalizers": left or None, "resourceVersion": metadata.get("resourceVersion", "")}}


def masked(message: str, target: Object) -> str:
    """Return what a server said of an object without any value of a Secret.

    >>> masked('data[a]: Invalid value: "aHVudGVyMg=="', {"kind": "Secret", "data": {"a": "aHVudGVyMg=="}})
    'data[a]: Invalid value: "++++++++"'
    """
    if kind_of(target) != "Secret" or group_version(target)[0]:
        return message
    values: set[str] = set()
    for field in ("data", "stringData"):
        found = target.get(field)
        for value in found.values() if isinstance(found, Mapping) else ():
            text = str(value)
            values |= {text, text.strip(), b64encode(text.encode()).decode()}
            with suppress(ValueError):
                values.add(b64decode(text).decode(errors="ignore"))
    # The longest first: one value may be part of another.
    for value in sorted((value for value in values if len(value) > 2), key=len, reverse=True):
        message = message.replace(value, "++++++++")
    return message

"""Which objects are hooks, of which phases, and when they are deleted.

Source: `argo-cd: gitops-engine/pkg/sync/hook/`.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from fairlead.agentsync.kinds import HELM_HOOK, HELM_HOOK_DELETE_POLICY, HOOK, HOOK_DELETE_POLICY, HOOK_FINALIZER
from fairlead.agentsync.options import split_list
from fairlead.agentsync.resources import Object, annotations_of, metadata_of, name_of
from fairlead.agentsync.status import SyncPhase

SYNC_PHASES = (SyncPhase.PRE_SYNC, SyncPhase.SYNC, SyncPhase.POST_SYNC, SyncPhase.SYNC_FAIL)
_HELM_PHASES = {
    "pre-install": SyncPhase.PRE_SYNC,
    "pre-upgrade": SyncPhase.PRE_SYNC,
    "post-install": SyncPhase.POST_SYNC,
    "post-upgrade": SyncPhase.POST_SYNC,
    "pre-delete": SyncPhase.PRE_DELETE,
    "post-delete": SyncPhase.POST_DELETE,
}
_SHORT_REVISION = 7


class DeletePolicy(StrEnum):
    """When a hook is deleted."""

    BEFORE_CREATION = "BeforeHookCreation"
    SUCCEEDED = "HookSucceeded"  # once the whole sync has
    FAILED = "HookFailed"


_HELM_POLICIES = {
    "before-hook-creation": DeletePolicy.BEFORE_CREATION,
    "hook-succeeded": DeletePolicy.SUCCEEDED,
    "hook-failed": DeletePolicy.FAILED,
}


def hook_types(found: Object) -> tuple[SyncPhase, ...]:
    """Return the phases that the annotations name; those of Helm count only if no valid one of Argo is given."""
    annotations = annotations_of(found)
    known = tuple(SyncPhase)
    own = tuple(SyncPhase(text) for text in split_list(annotations.get(HOOK, "")) if text in known)
    helm = (_HELM_PHASES.get(text) for text in split_list(annotations.get(HELM_HOOK, "")))
    return tuple(dict.fromkeys(own or (phase for phase in helm if phase is not None)))


def _says_something(found: Object) -> bool:
    """Return whether there is any word of hooks: most objects have none, and are asked often."""
    annotations = metadata_of(found).get("annotations")
    return isinstance(annotations, dict) and (HOOK in annotations or HELM_HOOK in annotations)


def is_skipped(found: Object) -> bool:
    """Return whether an object is never applied, since `Skip` is all that it says."""
    return _says_something(found) and hook_types(found) == (SyncPhase.SKIP,)


def is_hook(found: Object) -> bool:
    """Return whether an object is a hook; one of no phase (an unknown value) is one all the same, and never runs."""
    if not _says_something(found):
        return False
    annotations = annotations_of(found)
    if HOOK in annotations:
        return not is_skipped(found)
    return HELM_HOOK in annotations and annotations[HELM_HOOK] != "crd-install"


def phases_of(found: Object) -> tuple[SyncPhase, ...]:
    """Return the phases of a sync in which an object is applied."""
    if is_skipped(found):
        return ()
    if is_hook(found):
        types = hook_types(found)
        return tuple(phase for phase in SYNC_PHASES if phase in types)
    return (SyncPhase.SYNC,)


def delete_policies(found: Object) -> frozenset[DeletePolicy]:
    """Return when a hook is deleted; before it is made again, if nothing valid is said."""
    annotations = annotations_of(found)
    known = tuple(DeletePolicy)
    own = {DeletePolicy(text) for text in split_list(annotations.get(HOOK_DELETE_POLICY, "")) if text in known}
    helm = {
        _HELM_POLICIES[text]
        for text in split_list(annotations.get(HELM_HOOK_DELETE_POLICY, ""))
        if text in _HELM_POLICIES
    }
    return frozenset(own | helm) or frozenset({DeletePolicy.BEFORE_CREATION})


def has_finalizer(found: Object) -> bool:
    """Return whether our finalizer keeps a hook from vanishing unseen."""
    finalizers = metadata_of(found).get("finalizers")
    return isinstance(finalizers, list) and HOOK_FINALIZER in finalizers


def as_hook(found: Object, phase: SyncPhase, *, revision: str, started_at: datetime | None) -> Object:
    """Return a hook as it is applied: with our finalizer, and with a name if it has only a prefix of one.

    The name is made of the revision and of the time at which the sync began: a new object in each sync, the same one
    in each pass of one.
    """
    metadata = dict(metadata_of(found))
    if not name_of(found) and isinstance(prefix := metadata.get("generateName"), str):
        seconds = int(started_at.timestamp()) if started_at is not None else 0
        metadata["name"] = f"{prefix}{f'{revision[:_SHORT_REVISION]}-{phase}-{seconds}'.lower()}"
    if not has_finalizer(found):
        given = metadata.get("finalizers")
        metadata["finalizers"] = [*(given if isinstance(given, list) else ()), HOOK_FINALIZER]
    return {**found, "metadata": metadata}

"""How an Application goes: hooks before, its resources wave by wave, hooks after, each behind a finalizer.

Guarantees: only objects that carry this Application's tracking, have no owner and are permitted by the project are
deleted, each by its UID. Definitions of kinds, the Application itself, `Delete=false` and Helm's `keep` stay.

Assumptions: without our finalizer the Application vanishes and its resources stay. A project that is gone permits
nothing: then nothing is deleted, and the finalizer goes.

Source: `argo-cd: controller/appcontroller.go: finalizeApplicationDeletion`, `controller/hook.go`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from fairlead.agentsync._comparing import is_delete_hook
from fairlead.agentsync._doing import hook_state
from fairlead.agentsync._hooks import DeletePolicy, as_hook, delete_policies, has_finalizer, hook_types, is_hook
from fairlead.agentsync._targets import Target
from fairlead.agentsync._waves import is_definition, wave_of
from fairlead.agentsync.actions import (
    Action,
    Apply,
    ApplyWave,
    DeleteHooks,
    DeleteResources,
    Propagation,
    ReleaseHooks,
    Removal,
)
from fairlead.agentsync.kinds import (
    CASCADE,
    CASCADE_BACKGROUND,
    CASCADE_FOREGROUND,
    FINALIZERS,
    POST_DELETE,
    POST_DELETE_CLEANUP,
    PRE_DELETE,
    PRE_DELETE_CLEANUP,
)
from fairlead.agentsync.observation import LiveObjects, Result
from fairlead.agentsync.options import Consent, SyncOptions
from fairlead.agentsync.resources import Object, ResourceKey, group_version, key_of, metadata_of
from fairlead.agentsync.status import Phase, SyncPhase

_CASCADES = (CASCADE, CASCADE_FOREGROUND, CASCADE_BACKGROUND)
INTERVAL = timedelta(seconds=10)  # between looks at what is going; a hook that failed is made again after it


@dataclass(frozen=True, slots=True, kw_only=True)
class Going:
    """An Application under deletion, and what is left of it.

    Attributes:
        finalizers: all that the object has.
        deleted_at: its deletionTimestamp.
        is_gone: whether its destination is no cluster any more.
        problem: why the destination, or the project, cannot be used now; empty: they can.
        hooks: of the deletion, as rendered; None: not known yet.
        render_failure: why they cannot be; empty: they can.
        owns: whether a live object is tracked as ours and has no owner.
        permits: whether the project lets an object be seen.
        options: of the sync policy.
        approved_at: when deletions were approved last.
        failed_at: when a PreDelete hook failed last.
    """

    finalizers: tuple[str, ...]
    deleted_at: datetime
    myself: ResourceKey
    is_gone: bool = False
    problem: str = ""
    live: LiveObjects | None = None
    hooks: tuple[Target, ...] | None = None
    render_failure: str = ""
    owns: Callable[[Object], bool]
    permits: Callable[[ResourceKey], bool]
    stamp: Callable[[Object], Object]
    options: SyncOptions = field(default_factory=SyncOptions)
    approved_at: datetime | None = None
    failed_at: datetime | None = None
    revision: str = ""
    results: tuple[Result, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """The next step of a deletion.

    Attributes:
        finalizers: what the object should have from now on.
        error: text of the condition DeletionError; empty: there is none.
        waiting: what is waited for; empty: nothing.
        wants_render: whether the hooks of the deletion have to be rendered first.
    """

    finalizers: tuple[str, ...]
    actions: tuple[Action, ...] = ()
    error: str = ""
    waiting: str = ""
    wake_at: datetime | None = None
    wants_render: bool = False


def delete(going: Going, now: datetime) -> Left:
    """Return the next step of a deletion."""
    held = [name for name in going.finalizers if name in FINALIZERS]
    if not held:
        return Left(finalizers=going.finalizers)
    if going.is_gone:
        return Left(finalizers=tuple(name for name in going.finalizers if name not in FINALIZERS))
    lost = [result for result in going.results if not result.is_successful]
    if going.problem or going.live is None:
        return _wait(going, now, "the destination cluster is being read", error=going.problem)
    error = "; ".join(f"{result.key}: {result.message}" for result in lost)
    steps: tuple[tuple[tuple[str, ...], Callable[[], Left]], ...] = (
        ((PRE_DELETE,), lambda: _run_hooks(going, going.live, SyncPhase.PRE_DELETE, now)),
        ((PRE_DELETE_CLEANUP,), lambda: _clean_up(going, going.live, SyncPhase.PRE_DELETE, now)),
        (_CASCADES, lambda: _cascade(going, going.live, now)),
        ((POST_DELETE,), lambda: _run_hooks(going, going.live, SyncPhase.POST_DELETE, now)),
        ((POST_DELETE_CLEANUP,), lambda: _clean_up(going, going.live, SyncPhase.POST_DELETE, now)),
    )
    for names, step in steps:
        if any(name in held for name in names):
            left = step()
            return left if left.error or not error else _with_error(left, error)
    return Left(finalizers=going.finalizers)


def _with_error(left: Left, error: str) -> Left:
    return Left(
        finalizers=left.finalizers,
        actions=left.actions,
        error=error,
        waiting=left.waiting,
        wake_at=left.wake_at,
        wants_render=left.wants_render,
    )


def _wait(going: Going, now: datetime, what: str, *actions: Action, error: str = "") -> Left:
    return Left(finalizers=going.finalizers, actions=actions, waiting=what, error=error, wake_at=now + INTERVAL)


def _without(going: Going, *names: str) -> Left:
    return Left(finalizers=tuple(name for name in going.finalizers if name not in names))


# -- hooks -------------------------------------------------------------------------------------------------------------


def _hooks(going: Going, phase: SyncPhase) -> list[tuple[ResourceKey, Object]]:
    found = []
    for target in going.hooks or ():
        if phase in hook_types(target.content):
            made = as_hook(target.content, phase, revision=going.revision, started_at=going.deleted_at)
            made = made if target.key.name else going.stamp(made)
            key = ResourceKey(target.key.group, target.key.kind, target.key.namespace, key_of(made).name)
            found.append((key, made))
    return sorted(found, key=lambda pair: (wave_of(pair[1]), pair[0]))


def _render(going: Going, phase: SyncPhase, now: datetime) -> Left:
    failure = going.render_failure
    return Left(
        finalizers=going.finalizers,
        waiting=f"{phase} hooks cannot be rendered" if failure else f"{phase} hooks are being rendered",
        error=f"Failed to load target state: {failure}" if failure else "",
        wants_render=True,
        wake_at=now + INTERVAL,
    )


def _run_hooks(going: Going, live: LiveObjects | None, phase: SyncPhase, now: datetime) -> Left:
    """Make hooks, wave by wave, and await them. A PreDelete hook that fails is made anew; a PostDelete one is done."""
    assert live is not None, "hooks need the destination"
    if going.hooks is None:
        return _render(going, phase, now)
    failed: list[Removal] = []
    for key, made in _hooks(going, phase):
        if not going.permits(key):
            continue
        found = live.find(key)
        if found is None:
            return _make(going, phase, key, made, now)
        state, _ = hook_state(found)
        if state is Phase.RUNNING or (_is_deleting(found) and not has_finalizer(found)):
            return _wait(going, now, f"waiting for completion of hook {key.group}/{key.kind}/{key.name}")
        if state is Phase.FAILED and phase is SyncPhase.PRE_DELETE:
            failed.append(_removal(key, found, phase))
    if failed:
        names = ", ".join(f"{one.key.namespace}/{one.key.name}" for one in failed)
        error = f"PreDelete hook(s) failed: {names}"
        return _wait(going, now, error, DeleteHooks(removals=tuple(failed)), error=error)
    return _without(going, PRE_DELETE if phase is SyncPhase.PRE_DELETE else POST_DELETE)


def _make(going: Going, phase: SyncPhase, key: ResourceKey, made: Object, now: datetime) -> Left:
    what = f"waiting for completion of hook {key.group}/{key.kind}/{key.name}"
    if going.failed_at is not None and now < going.failed_at + INTERVAL:
        return Left(finalizers=going.finalizers, waiting=what, wake_at=going.failed_at + INTERVAL)
    return _wait(going, now, what, ApplyWave(groups=((Apply(key=key, target=made, phase=phase, is_hook=True),),)))


def _clean_up(going: Going, live: LiveObjects | None, phase: SyncPhase, now: datetime) -> Left:
    """Hooks whose policy names the outcome are deleted; others stay behind, without our finalizer."""
    assert live is not None, "hooks need the destination"
    done = PRE_DELETE_CLEANUP if phase is SyncPhase.PRE_DELETE else POST_DELETE_CLEANUP
    if going.hooks is None:
        return _render(going, phase, now)
    alive = [(key, found) for key, _ in _hooks(going, phase) if (found := live.find(key)) is not None]
    has_failed = any(hook_state(found)[0] is Phase.FAILED for _, found in alive)
    policy = DeletePolicy.FAILED if has_failed else DeletePolicy.SUCCEEDED
    deleted = tuple(
        _removal(key, found, phase)
        for key, found in alive
        if policy in delete_policies(found) and (has_finalizer(found) or not _is_deleting(found))
    )
    freed = tuple(
        _removal(key, found, phase)
        for key, found in alive
        if policy not in delete_policies(found) and has_finalizer(found)
    )
    actions = (
        *((DeleteHooks(removals=deleted),) if deleted else ()),
        *((ReleaseHooks(removals=freed),) if freed else ()),
    )
    if actions:
        return _wait(going, now, f"{phase} hooks are being cleaned up", *actions)
    return _without(going, done)


# -- resources ---------------------------------------------------------------------------------------------------------


def _cascade(going: Going, live: LiveObjects | None, now: datetime) -> Left:
    """Delete the highest wave that is left; whatever is going already is waited for first."""
    assert live is not None, "a cascade needs the destination"
    alive = [found for found in live.tracked() if _goes_along(going, found)]
    held = tuple(
        _removal(key_of(found), found, SyncPhase.SYNC)
        for found in alive
        if _is_deleting(found) and has_finalizer(found)
    )
    if held:
        return _wait(going, now, "hooks are being deleted", ReleaseHooks(removals=held))
    if deleting := [found for found in alive if _is_deleting(found)]:
        return _wait(going, now, f"waiting for deletion of {_named(deleting)}")
    is_approved = going.approved_at is not None and going.approved_at >= going.deleted_at
    asking = [found for found in alive if going.options.deletes(found) is Consent.CONFIRM]
    if asking and not is_approved:
        return _wait(going, now, f"waiting for deletion confirmation of {_named(asking)}")
    if not alive:
        return _without(going, *_CASCADES)
    wave = max(wave_of(found) for found in alive)
    chosen = [found for found in alive if wave_of(found) == wave]
    hooks = tuple(_removal(key_of(found), found, SyncPhase.SYNC) for found in chosen if has_finalizer(found))
    plain = tuple(_removal(key_of(found), found, SyncPhase.SYNC) for found in chosen if not has_finalizer(found))
    is_background = CASCADE_BACKGROUND in going.finalizers
    propagation = Propagation.BACKGROUND if is_background else Propagation.FOREGROUND
    actions = (
        *((DeleteHooks(removals=hooks),) if hooks else ()),
        *((DeleteResources(removals=plain, propagation=propagation),) if plain else ()),
    )
    return _wait(going, now, f"waiting for deletion of {_named(chosen)}", *actions)


def _goes_along(going: Going, found: Object) -> bool:
    key = key_of(found)
    if is_definition(found) or key == going.myself or not going.owns(found) or not going.permits(key):
        return False
    if is_hook(found) and is_delete_hook(found):
        return False  # they have their own time
    return going.options.deletes(found) is not Consent.NEVER


def _named(found: list[Object]) -> str:
    key = key_of(found[0])
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    return f"{key.group}/{key.kind}/{key.name}{more}"


def _is_deleting(found: Object) -> bool:
    return bool(metadata_of(found).get("deletionTimestamp"))


def _removal(key: ResourceKey, found: Object, phase: SyncPhase) -> Removal:
    uid = metadata_of(found).get("uid")
    return Removal(key=key, version=group_version(found)[1], uid=uid if isinstance(uid, str) else "", phase=phase)

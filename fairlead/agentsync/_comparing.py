"""What is wanted against what lives: state and health of each resource, of the Application, and warnings.

Hooks, skipped objects and objects of others have no state. An extra object is one that carries this Application's
tracking, has no owner, and is not wanted; only of a render that succeeded can that be said.

Source: `argo-cd: controller/state.go: CompareAppState`, `controller/health.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

import msgspec

from fairlead.agentsync._hooks import hook_types, is_hook, is_skipped
from fairlead.agentsync._summary import summarise
from fairlead.agentsync._targets import Scope, Target, Targets
from fairlead.agentsync._tasks import Pair
from fairlead.agentsync._waves import wave_of
from fairlead.agentsync.health import Health, HealthCode, Managed, application_health, health
from fairlead.agentsync.kinds import GROUP
from fairlead.agentsync.observation import LiveObjects
from fairlead.agentsync.options import Consent, SyncOptions, ignores_extraneous
from fairlead.agentsync.resources import Object, ResourceKey, group_version, key_of
from fairlead.agentsync.status import (
    AppCondition,
    ConditionType,
    HealthStatus,
    ResourceStatus,
    Summary,
    SyncCode,
    SyncPhase,
)
from fairlead.core.errors import FairleadError

_DELETE_PHASES = frozenset({SyncPhase.PRE_DELETE, SyncPhase.POST_DELETE})
_NO_OPTIONS = SyncOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judging:
    """How one Application's objects are judged.

    Attributes:
        application: as tracking names it, for messages.
        owns: whether a live object is tracked as ours and has no owner.
        differs: whether what lives is not what is wanted: (target, live).
        refuses: why the project does not permit an object: (key, whether it is namespaced); empty: it does.
        scope: whether a kind is namespaced.
        myself: the key of the Application as an object.
        others: the other Application that tracks an object, by key.
        orphaned: how many objects of the namespace belong to nobody; None: that is not asked.
        namespace_changed: whether the metadata of the destination namespace is not what was written last.
    """

    application: str
    owns: Callable[[Object], bool]
    differs: Callable[[Object, Object], bool]
    refuses: Callable[[ResourceKey, bool], str]
    scope: Scope
    myself: ResourceKey | None = None
    others: Mapping[ResourceKey, str] = field(default_factory=dict)
    orphaned: int | None = None
    namespace_changed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The answer.

    Attributes:
        pairs: wanted with live, without the hooks that are wanted; live hooks are among them.
        hooks: of a sync, that are wanted.
        delete_hooks: of a deletion, that are wanted.
        resources: as in the status, sorted.
        code: of the whole.
        conditions: warnings, and errors of which `has_errors` tells.
    """

    pairs: tuple[Pair, ...] = ()
    hooks: tuple[Target, ...] = ()
    delete_hooks: tuple[Target, ...] = ()
    resources: tuple[ResourceStatus, ...] = ()
    code: SyncCode = SyncCode.UNKNOWN
    health: Health | None = None
    summary: Summary = field(default_factory=Summary)
    conditions: tuple[AppCondition, ...] = ()

    @property
    def errors(self) -> tuple[AppCondition, ...]:
        return tuple(one for one in self.conditions if ConditionType(one.type).is_error)


def is_delete_hook(found: Object) -> bool:
    """Return whether an object is a hook of the deletion."""
    return is_hook(found) and not _DELETE_PHASES.isdisjoint(hook_types(found))


def compare(targets: Targets | None, live: LiveObjects, judging: Judging) -> Comparison:
    """Return the comparison.

    Args:
        targets: what is wanted; None: nobody knows, so nothing is said to be extra.
        live: the destination.
    """
    wanted = targets.targets if targets is not None else ()
    plain = tuple(target for target in wanted if not is_hook(target.content))
    pairs, conditions = _pairs(plain, wanted, live, judging)
    is_known = targets is not None
    try:
        pairs = tuple(_compared(pair, judging) for pair in pairs)
    except FairleadError as error:
        message = f"Failed to compare desired state to live state: {error}"
        conditions.append(AppCondition(type=ConditionType.COMPARISON, message=message))
        is_known = False
    healths = {pair.key: health(pair.live) for pair in pairs if pair.live is not None and not is_hook(pair.live)}
    judged = [(pair, *_resource(pair, healths.get(pair.key), judging, is_known=is_known)) for pair in pairs]
    conditions.extend(targets.conditions if targets is not None else ())
    conditions.extend(_warnings(pairs, judging))
    counted = any(counts for _, _, counts in judged)
    is_out = counted or (judging.namespace_changed and is_known)
    code = SyncCode.UNKNOWN if not is_known else SyncCode.OUT_OF_SYNC if is_out else SyncCode.SYNCED
    managed = [
        Managed(key=pair.key, live=pair.live, health=healths.get(pair.key), is_counted=not _is_stateless(pair))
        for pair in pairs
    ]
    return Comparison(
        pairs=pairs,
        hooks=tuple(target for target in wanted if is_hook(target.content) and not is_delete_hook(target.content)),
        delete_hooks=tuple(target for target in wanted if is_delete_hook(target.content)),
        resources=tuple(sorted((resource for _, resource, _ in judged), key=lambda resource: resource.key)),
        code=code,
        health=application_health(sorted(managed, key=lambda item: item.key), application=judging.myself),
        summary=summarise(pair.live for pair in pairs if pair.live is not None),
        conditions=tuple(conditions),
    )


def _pairs(
    plain: tuple[Target, ...], wanted: tuple[Target, ...], live: LiveObjects, judging: Judging
) -> tuple[tuple[Pair, ...], list[AppCondition]]:
    """Match by key; what the project does not permit is removed from view."""
    conditions: list[AppCondition] = []
    pairs: list[Pair] = []
    for target in plain:
        key = target.key
        if judging.scope(key.group, key.kind) and not key.namespace:
            message = f"Namespace for {key.name} {_described_kind(target.content)} is missing."
            conditions.append(AppCondition(type=ConditionType.INVALID_SPEC, message=message))
        found = live.find(key) if key.name else None
        if found is not None and judging.refuses(key, bool(key.namespace)):
            found = None
        pairs.append(Pair(key=key, target=target.content, live=found, is_ours=found is None or judging.owns(found)))
    seen = {pair.key for pair in pairs}
    for found in live.tracked():
        key = key_of(found)
        if key not in seen and judging.owns(found) and not judging.refuses(key, bool(key.namespace)):
            seen.add(key)
            pairs.append(Pair(key=key, live=found))
    return tuple(pairs), conditions


def _described_kind(found: Object) -> str:
    group, version = group_version(found)
    return f"{group}/{version}, Kind={found.get('kind')}"


def _compared(pair: Pair, judging: Judging) -> Pair:
    if pair.target is None or pair.live is None or is_skipped(pair.target):
        return pair
    return replace(pair, is_modified=judging.differs(pair.target, pair.live))


def _is_stateless(pair: Pair) -> bool:
    """Return whether there is nothing to compare: hooks, and what is skipped."""
    either = (found for found in (pair.live, pair.target) if found is not None)
    return any(is_hook(found) or is_skipped(found) for found in either)


def _resource(pair: Pair, found: Health | None, judging: Judging, *, is_known: bool) -> tuple[ResourceStatus, bool]:
    """Return the entry of the status, and whether it makes the Application OutOfSync."""
    group, version = group_version(pair.found)
    is_extra = pair.target is None and is_known
    status, counts = _state(pair, judging, is_known=is_known)
    entry = ResourceStatus(
        group=group,
        version=version,
        kind=pair.key.kind,
        namespace=pair.key.namespace,
        name=pair.key.name,
        status=status,
        health=_health(pair, found),
        hook=is_hook(pair.found),
        requires_pruning=is_extra and not is_hook(pair.found),
        requires_deletion_confirmation=_NO_OPTIONS.deletes(pair.found) is Consent.CONFIRM,
        sync_wave=wave_of(pair.found),
    )
    return entry, counts


def _state(pair: Pair, judging: Judging, *, is_known: bool) -> tuple[str, bool]:
    if _is_stateless(pair):
        return "", False
    is_namespaced = judging.scope(pair.key.group, pair.key.kind)
    is_refused = bool(judging.refuses(pair.key, bool(is_namespaced or pair.key.namespace)))
    if not is_known:
        return SyncCode.UNKNOWN, False
    is_out = pair.target is None or pair.live is None or pair.is_modified
    counts = is_out and not (pair.target is None and ignores_extraneous(pair.found))
    if is_refused:
        return SyncCode.UNKNOWN, counts
    return (SyncCode.OUT_OF_SYNC if is_out else SyncCode.SYNCED), counts


def _health(pair: Pair, found: Health | None) -> HealthStatus | None:
    if pair.live is None:
        return HealthStatus(status=HealthCode.MISSING) if not _is_stateless(pair) else None
    return HealthStatus(status=found.code, message=found.message) if found is not None else None


def _warnings(pairs: tuple[Pair, ...], judging: Judging) -> list[AppCondition]:
    conditions = [
        AppCondition(
            type=ConditionType.SHARED_RESOURCE,
            message=f"{pair.key.kind}/{pair.key.name} is part of applications {judging.application} and {other}",
        )
        for pair in pairs
        if pair.target is not None and (other := judging.others.get(pair.key, ""))
    ]
    if judging.orphaned:
        message = f"Application has {judging.orphaned} orphaned resources"
        conditions.append(AppCondition(type=ConditionType.ORPHANED_RESOURCE, message=message))
    return conditions


def with_time(found: Health, before: HealthStatus, now: datetime) -> HealthStatus:
    """Return health as the status has it; its time moves only with its code."""
    moved = found.code != before.status or before.last_transition_time is None
    at = now.replace(microsecond=0) if moved else before.last_transition_time
    return HealthStatus(status=found.code, message=found.message, last_transition_time=at)


def as_unknown(resources: tuple[ResourceStatus, ...]) -> tuple[ResourceStatus, ...]:
    """Return resources of which nobody can say any more whether they are as they should be."""
    return tuple(
        msgspec.structs.replace(resource, status=SyncCode.UNKNOWN, requires_pruning=False)
        if resource.status
        else resource
        for resource in resources
    )


def application_key(namespace: str, name: str) -> ResourceKey:
    """Return the key of an Application as an object."""
    return ResourceKey(GROUP, "Application", namespace, name)

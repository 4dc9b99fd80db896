"""Whether a live object is what its manifest says, and what it becomes when the manifest is applied.

Three strategies: *three-way* compares with what a client-side apply would make of the live object, *structured* with
what a server-side apply would, computed here, *server-side* with what the server says in a dry run. A field counts
only if an apply would change it: what only the live side has, and what merely is spelled differently, is no difference.

Everything here is a function of its arguments. Nobody changes an argument.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import msgspec

from fairlead.agentsync._changes import Change, changes, hide_secrets, render_diff
from fairlead.agentsync._ignoring import IgnoreRule, Ignoring, ignoring, restore
from fairlead.agentsync._normalising import (
    LAST_APPLIED,
    IgnoreStatus,
    align_tracking,
    is_aggregated_role,
    normalised,
    without_rules,
)
from fairlead.agentsync._owned import keep_owned
from fairlead.agentsync._strategic import merge, same
from fairlead.agentsync._structured import CLIENT_SIDE_MANAGER, apply_by_ownership, migrate_managers, without_mutations
from fairlead.agentsync._types import ROLLOUT_FIELDS, KnownTypeField, shape_of
from fairlead.agentsync.kinds import FIELD_MANAGER
from fairlead.agentsync.resources import Object, ResourceKey, annotations_of, key_of, kind_of, metadata_of, name_of
from fairlead.agentsync.tracking import Tracking
from fairlead.core.errors import SpecError

__all__ = [
    "ANNOTATIONS_BYTES_MAX",
    "LAST_APPLIED",
    "Change",
    "DiffOptions",
    "Difference",
    "IgnoreRule",
    "IgnoreStatus",
    "KnownTypeField",
    "Strategy",
    "client_side_apply",
    "difference",
    "hide_secrets",
    "keep_ignored",
    "keep_owned",
    "migrate_managers",
    "render_diff",
]

ANNOTATIONS_BYTES_MAX: Final = 262_144  # all annotations of an object, keys and values: the API server's limit


class Strategy(StrEnum):
    """How the live object is predicted."""

    THREE_WAY = "three-way"
    STRUCTURED = "structured"
    SERVER_SIDE = "server-side"


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffOptions:
    """What counts as a difference.

    Attributes:
        strategy: structured with `ServerSideApply=true`; server-side when a dry run is at hand.
        ignores: of the Application, then system wide; an object may fall under several.
        ignore_status: whose status does not count.
        ignore_aggregated_roles: whether rules of aggregated ClusterRoles count for nothing.
        known_type_fields: fields of custom kinds that hold built-in types.
        tracking: how the Application marks objects; None: marks count as any metadata does.
        managed_by_rollouts: routes, Services and Deployments whose weights, selectors, replicas a rollout decides.
        manager: our field manager.
        migrated_managers: client-side managers whose fields are taken over by a server-side apply.
        include_mutation_webhooks: whether in a dry run what webhooks change counts.
    """

    strategy: Strategy = Strategy.THREE_WAY
    ignores: tuple[IgnoreRule, ...] = ()
    ignore_status: IgnoreStatus = IgnoreStatus.ALL
    ignore_aggregated_roles: bool = False
    known_type_fields: tuple[KnownTypeField, ...] = ROLLOUT_FIELDS
    tracking: Tracking | None = None
    managed_by_rollouts: frozenset[ResourceKey] = frozenset()
    manager: str = FIELD_MANAGER
    migrated_managers: tuple[str, ...] = (CLIENT_SIDE_MANAGER,)
    include_mutation_webhooks: bool = False


DEFAULT: Final = DiffOptions()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The outcome of a comparison.

    Attributes:
        modified: whether an apply would change the live object; also true if one side is missing.
        predicted: the live object after an apply, without what does not count; None: no target.
        live: the live object without what does not count; None: there is none.
        changes: empty unless both sides exist and differ.
    """

    modified: bool
    predicted: Object | None = field(default=None, repr=False)
    live: Object | None = field(default=None, repr=False)
    changes: tuple[Change, ...] = ()


def difference(
    target: Object | None, live: Object | None, options: DiffOptions = DEFAULT, *, dry_run: Object | None = None
) -> Difference:
    """Return how a live object differs from its target.

    Args:
        target: as rendered, its tracking stamped, its namespace filled in.
        live: as read, with managedFields if rules by manager or the structured strategy shall work.
        dry_run: what the server answered to a dry run of the server-side apply; without it that strategy compares as
            the structured one does.

    Raises:
        SpecError: an ignore rule or a known type field cannot be read, or an expression was stopped.

    >>> web = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"a": "1"}}
    >>> difference(web, {**web, "data": {"a": "2", "b": "3"}}).changes
    (Change(path='data.a', wanted='1', found='2'),)
    """
    if target is None or live is None:
        sides = (normalised(side, options.ignore_status) if side is not None else None for side in (target, live))
        predicted, found = sides
        return Difference(modified=(target is None) is not (live is None), predicted=predicted, live=found)
    return _compare(target, live, options, dry_run)


def _compare(target: Object, live: Object, options: DiffOptions, dry_run: Object | None) -> Difference:
    shape = shape_of(target, options.known_type_fields)
    rules = ignoring(options.ignores, key_of(live), live)
    found = normalised(live, options.ignore_status)
    wanted = keep_owned(normalised(target, options.ignore_status), live, options.managed_by_rollouts)
    if options.tracking is not None:
        wanted, found = align_tracking(wanted, found, options.tracking)
    wanted, found = _stripped(wanted, rules, options), _stripped(found, rules, options)
    match options.strategy:
        case Strategy.SERVER_SIDE if dry_run is not None:
            predicted = _stripped(normalised(dry_run, options.ignore_status), rules, options)
            if not options.include_mutation_webhooks:
                predicted = without_mutations(predicted, found, fields_of=dry_run, manager=options.manager)
            predicted = found if same(predicted, found, shape) else predicted
        case Strategy.STRUCTURED | Strategy.SERVER_SIDE:
            predicted = apply_by_ownership(
                wanted,
                found,
                shape,
                fields_of=live,
                manager=options.manager,
                migrated=options.migrated_managers,
            )
        case _:
            last = _last_applied(live, options)
            last = _stripped(last, rules, options) if last is not None else None
            predicted = merge(last, wanted, found, shape)
    if predicted is found:
        return Difference(modified=False, predicted=found, live=found)
    return Difference(modified=True, predicted=predicted, live=found, changes=changes(found, predicted, shape))


def _stripped(side: Object, rules: Ignoring, options: DiffOptions) -> Object:
    if options.ignore_aggregated_roles and is_aggregated_role(side):
        side = without_rules(side)
    return rules.strip(side) if rules else side


def _last_applied(live: Object, options: DiffOptions) -> Object | None:
    """Return the target of the last apply; None when there was none, or when it cannot be read."""
    text = annotations_of(live).get(LAST_APPLIED)
    if not text:
        return None
    try:
        last = msgspec.json.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return None
    return normalised(last, options.ignore_status) if isinstance(last, dict) else None


def client_side_apply(
    target: Object, live: Object | None, options: DiffOptions = DEFAULT, *, respect_ignored: bool = False
) -> Object:
    """Return what the live object becomes by a client-side apply, the last-applied annotation included.

    The executor sends the merge patch of `live` to this, with the live resourceVersion as precondition.

    Args:
        live: as read; None: the result is the object to create.
        respect_ignored: whether fields that `options.ignores` name keep their live values.

    *Guarantees*: what a rollout decides keeps its live value; the last-applied annotation holds the target as it came,
    so that live values that were kept never count as ours later on.

    Raises:
        SpecError: the annotations would become longer than the API server takes.
    """
    annotation = _encoded(target)
    wanted = normalised(target, options.ignore_status)
    if live is None:
        return _annotated(wanted, annotation)
    shape = shape_of(target, options.known_type_fields)
    wanted = keep_owned(wanted, live, options.managed_by_rollouts)
    last = _last_applied(live, options) or {}
    if options.ignore_aggregated_roles and is_aggregated_role(live):
        wanted, last = without_rules(wanted), without_rules(last)
    if respect_ignored:
        wanted = keep_ignored(wanted, live, options.ignores)
    return _annotated(merge(last, wanted, live, shape), annotation)


def _encoded(target: Object) -> str:
    metadata = metadata_of(target)
    annotations = {key: value for key, value in annotations_of(target).items() if key != LAST_APPLIED}
    bare = {**target, "metadata": {**metadata, "annotations": annotations}}
    return json.dumps(bare, sort_keys=True, separators=(",", ":"), ensure_ascii=False) + "\n"


def _annotated(found: Object, last_applied: str) -> Object:
    metadata = metadata_of(found)
    annotations = {**annotations_of(found), LAST_APPLIED: last_applied}
    size = sum(len(key.encode()) + len(value.encode("utf-8", "replace")) for key, value in annotations.items())
    if size > ANNOTATIONS_BYTES_MAX:
        raise SpecError(
            f"Too long: must have at most {ANNOTATIONS_BYTES_MAX} bytes: {kind_of(found)}/{name_of(found)} would have "
            f"{size} with the annotation {LAST_APPLIED}; use the sync option ServerSideApply=true or Replace=true",
            path="metadata.annotations",
        )
    return {**found, "metadata": {**metadata, "annotations": annotations}}


def keep_ignored(target: Object, live: Object | None, rules: Iterable[IgnoreRule]) -> Object:
    """Return the target in which ignored fields have their live values: `RespectIgnoreDifferences`.

    Only an existing object has live values: the first creation applies what the target says. The status is never
    copied. In a list that merges by no keys whole items, or all of it, may be kept.

    Raises:
        SpecError: a rule cannot be read, or an expression was stopped.
    """
    if live is None:
        return target
    chosen = ignoring(rules, key_of(live), live)
    if not chosen:
        return target
    kept: dict[str, Any] = restore(target, live, chosen)
    if "status" not in target:
        kept = {key: value for key, value in kept.items() if key != "status"}
    return kept

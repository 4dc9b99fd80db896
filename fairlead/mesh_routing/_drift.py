"""Foreign edits of our weights: noticed, healed a few times, then reported instead of fought.

What somebody else wrote shows as weights other than our last ones at a generation later than our last write.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairlead.core.traffic import Weights
from fairlead.mesh_routing.observation import Route, writers_of_rules
from fairlead.mesh_routing.spec import FIELD_MANAGER


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What we last wrote to one route (by UID), and when we undid foreign edits of it (oldest first)."""

    uid: str
    weights: Weights
    generation: int
    heals: tuple[datetime, ...] = ()


def is_foreign(writes: Writes | None, route: Route, seen: Weights | None) -> bool:
    """Return whether somebody else changed what we last wrote; a view that lags behind us shows nothing foreign."""
    if writes is None or writes.uid != route.uid:
        return False
    return route.generation > writes.generation and seen != writes.weights


def healed_recently(writes: Writes | None, within: timedelta, now: datetime) -> tuple[datetime, ...]:
    """Return when foreign edits were undone within the last while."""
    return tuple(at for at in (writes.heals if writes else ()) if now - at < within)


def after_write(
    writes: Writes | None,
    *,
    uid: str,
    generation: int,
    weights: Weights,
    healed: bool,
    within: timedelta,
    now: datetime,
) -> Writes:
    """Return what is to be remembered after a write of ours."""
    heals = healed_recently(writes, within, now) if writes is not None and writes.uid == uid else ()
    if healed:
        heals = (*heals, now)
    if writes is not None and writes.uid == uid:
        return replace(writes, weights=weights, generation=generation, heals=heals)
    return Writes(uid=uid, weights=weights, generation=generation, heals=heals)


def culprit(route: Route) -> str:
    """Return the field manager that wrote the route's rules last, ourselves left out."""
    others = (writer.manager for writer in writers_of_rules(route.manifest) if writer.manager != FIELD_MANAGER)
    return next(others, "an unknown field manager")


def describe(weights: Weights | None) -> str:
    """Return a split in words: `canary 20, stable 80`."""
    if weights is None:
        return "no split between stable and canary"
    added = "".join(f", {share.service} {share.weight}" for share in weights.additional)
    rules = "".join(f", rule {route.name or 'unknown'}" for route in weights.managed)
    return f"canary {weights.canary}, stable {weights.stable}{added}{rules}"

"""How many pods each ReplicaSet should have now: from weights, surge and unavailability.

Basic canary: the weight is approximated by numbers of pods, and every step on the way there keeps

    pods       <=  n + surge
    available  >=  n - unavailable

Routed canary: the router splits the traffic, so stable keeps n pods and the canary gets its share on top.

Order of precedence in a basic canary: stable up, canary up, others drained, then (only when there are no others) the
one that has too many down. Example, n = 10, surge 2, unavailable 1, weight 50, as (canary, stable):
(0, 10) → (2, 9) → (3, 7) → (5, 6) → (5, 5).

Source: argo-rollouts: utils/replicaset/canary.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Size:
    """A ReplicaSet as arithmetic sees it: pods wanted (`spec.replicas`), and those of them that are available."""

    replicas: int = 0
    available: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many pods may be too many, and how many may be missing."""

    surge: int
    unavailable: int


@dataclass(frozen=True, slots=True)
class Counts:
    """Numbers of pods."""

    canary: int
    stable: int


def limits(wanted: int, surge: int, unavailable: int) -> Limits:
    """Return the limits that apply to `wanted` pods, so that something can always move.

    Args:
        wanted: `spec.replicas`.
        surge: `maxSurge` as pods, rounded up.
        unavailable: `maxUnavailable` as pods, rounded down.
    """
    if surge == 0 and unavailable == 0:
        unavailable = 1  # both percentages rounded to nothing: one pod at a time
    return Limits(surge=surge, unavailable=min(unavailable, wanted))


def approximate(wanted: int, weight: int, weight_max: int, surge: int) -> Counts:
    """Return the numbers of pods whose ratio comes closest to a weight.

    A weight other than 0 and all never rounds to no pods at all, if it can be helped. With surge, one pod more than
    `wanted` may be used for a better ratio.

    >>> approximate(10, 23, 100, 1), approximate(3, 50, 100, 1)
    (Counts(canary=2, stable=8), Counts(canary=2, stable=2))
    """
    if wanted == 0:
        return Counts(0, 0)
    share = Fraction(wanted * weight, weight_max)
    share_above = Fraction((wanted + 1) * weight, weight_max)
    lower = share.numerator // share.denominator
    upper = lower if share.denominator == 1 else lower + 1
    zero_allowed = weight in (0, weight_max) or (wanted == 1 and surge == 0)
    lower_allowed = lower != 0 or zero_allowed
    candidates: list[tuple[int, int]] = []
    if upper < wanted or zero_allowed:
        candidates.append((upper, wanted))
    if not _is_half(share) and lower_allowed:
        candidates.append((lower, wanted))
    if surge > 0:
        # Both candidates keep the canary that was computed for `wanted`: upstream does, and so clients expect it.
        candidates.append((upper, wanted + 1))
        if not _is_half(share_above) and lower_allowed:
            candidates.append((lower, wanted + 1))
    if not candidates:  # surge 0, and one of several pods would be too much: the last resort is the ceiling
        candidates.append((upper, wanted))
    canary, total = min(candidates, key=lambda found: abs(Fraction(found[0] * weight_max, found[1]) - weight))
    return Counts(canary=canary, stable=total - canary)


def _is_half(value: Fraction) -> bool:
    return value.denominator == 2


def basic_counts(
    wanted: int,
    weight: int,
    weight_max: int,
    within: Limits,
    canary: Size,
    stable: Size | None,
    others: Sequence[Size] = (),
) -> Counts:
    """Return how many pods canary and stable should have now, on the way to a weight.

    Args:
        stable: None when there is none, or when the canary's ReplicaSet is itself stable.
        others: every other ReplicaSet of the Rollout.
    """
    target = Counts(wanted, 0) if stable is None else approximate(wanted, weight, weight_max, within.surge)
    old = stable or Size()
    total_max = wanted + within.surge
    room = total_max - canary.replicas - old.replicas - sum(other.replicas for other in others)
    new_stable = old.replicas + _up(old.replicas, target.stable, room)
    room -= new_stable - old.replicas
    new_canary = canary.replicas + _up(canary.replicas, target.canary, room)
    if any(other.replicas > 0 for other in others):
        return Counts(new_canary, new_stable)  # others are drained before canary or stable shrink
    is_growing = target.canary >= canary.replicas
    available_min = wanted - within.unavailable
    # Pods of the side that shrinks count even when they are not available: a broken stable must not block its fix.
    counted = _counted(canary, ignore=not is_growing) + _counted(old, ignore=is_growing)
    excess = counted - available_min
    if excess <= 0:
        return Counts(new_canary, new_stable)
    if not is_growing:
        drained = _down(new_canary, canary.replicas, target.canary, excess)
        drained, other_side = _fit(drained, canary.available, new_stable, old.available, total_max, available_min)
        return Counts(drained, other_side)
    if stable is None:
        return Counts(new_canary, new_stable)
    drained = _down(new_stable, old.replicas, target.stable, excess)
    drained, other_side = _fit(drained, old.available, new_canary, canary.available, total_max, available_min)
    return Counts(other_side, drained)


def _up(now: int, target: int, room: int) -> int:
    return min(room, target - now) if now < target and room > 0 else 0


def _down(decided: int, now: int, target: int, excess: int) -> int:
    return max(target, now - excess) if now > target else decided


def _counted(size: Size, *, ignore: bool) -> int:
    if size.replicas < size.available or ignore:
        return size.replicas
    return size.available


def _fit(
    drained: int, drained_available: int, other: int, other_available: int, total_max: int, available_min: int
) -> tuple[int, int]:
    """Return both numbers corrected so that neither too many pods exist nor too few stay available."""
    over = max(0, drained + other - total_max)
    available = min(drained_available, drained)
    other -= over
    available += min(other_available, other)
    lost = max(0, other_available - other)
    other += min(lost, max(0, available_min - available))
    return drained - max(0, drained + other - total_max), other


def drain_others(wanted: int, within: Limits, available_total: int, others: Sequence[Size]) -> tuple[int, ...]:
    """Return how many pods each of the others keeps: those that are not available go first, then as many as may.

    Args:
        available_total: available pods of all ReplicaSets of the Rollout.
        others: newest revision first.
    """
    surplus = available_total - (wanted - within.unavailable)
    kept: list[int] = []
    for other in others:
        size = min(other.replicas, other.available)
        taken = min(size, max(0, surplus))
        surplus -= taken
        kept.append(size - taken)
    return tuple(kept)


def routed_canary(wanted: int, weight: int, weight_max: int, *, pods_min: int = 0, replicas: int | None = None) -> int:
    """Return how many pods the canary of a routed Rollout should have; stable keeps `wanted`.

    Args:
        weight: traffic that it carries, or the weight of a `setCanaryScale`.
        pods_min: smallest size, capped at `wanted`; a canary without weight needs none.
        replicas: an absolute size from a `setCanaryScale`, taken as it is.

    >>> routed_canary(10, 33, 100), routed_canary(1, 10, 100, pods_min=2), routed_canary(1, 10, 100, replicas=9)
    (4, 1, 9)
    """
    if replicas is not None:
        return replicas
    return _at_least(_share(wanted, weight, weight_max), pods_min, wanted)


def dynamic_counts(
    wanted: int,
    weight: int,
    weight_max: int,
    *,
    seen_canary: int,
    seen_stable: int,
    is_aborted: bool = False,
    pods_min: int = 0,
    replicas: int | None = None,
) -> Counts:
    """Return the sizes of canary and stable where stable shrinks as its traffic does.

    Stable never has fewer pods than the traffic needs that still goes to it, nor has the canary of an update that is
    aborted.

    Args:
        weight: of the canary, as the step asks for.
        seen_canary, seen_stable: weights that the route holds.
        replicas: an absolute size of the canary; then stable keeps all of its pods.

    >>> dynamic_counts(10, 75, 100, seen_canary=25, seen_stable=75)
    Counts(canary=8, stable=8)
    """
    canary = _share(wanted, weight, weight_max) if replicas is None else replicas
    stable = _share(wanted, weight_max - (weight if replicas is None else 0), weight_max)
    stable = max(stable, _share(wanted, seen_stable, weight_max))
    if is_aborted:
        canary = max(canary, _share(wanted, seen_canary, weight_max))
    return Counts(_at_least(canary, pods_min, wanted), _at_least(stable, pods_min, wanted))


def capacity_weight(wanted: int, available: int, weight_max: int) -> int:
    """Return the smallest weight that must stay on the canary while only so many stable pods are available.

    >>> capacity_weight(10, 8, 100), capacity_weight(10, 12, 100)
    (20, 0)
    """
    return max(0, weight_max - weight_max * available // wanted) if wanted > 0 else 0


def _share(wanted: int, weight: int, weight_max: int) -> int:
    return -(-weight * wanted // weight_max)


def _at_least(pods: int, pods_min: int, wanted: int) -> int:
    return max(pods, min(pods_min, wanted)) if pods > 0 else 0

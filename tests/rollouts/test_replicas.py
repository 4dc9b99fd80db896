"""The arithmetic of numbers of pods: the worked examples of argo-rollouts, and what must hold for all numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.rollouts._replicas import (
    Counts,
    Limits,
    Size,
    approximate,
    basic_counts,
    drain_others,
    limits,
    routed_canary,
)


@pytest.mark.parametrize(
    ("wanted", "weight", "surge", "canary", "stable"),
    [
        pytest.param(3, 50, 0, 2, 1, id="n3-w50-s0"),
        pytest.param(3, 50, 1, 2, 2, id="n3-w50-s1"),
        pytest.param(2, 1, 1, 1, 2, id="n2-w1-s1"),
        pytest.param(10, 23, 1, 2, 8, id="n10-w23-s1"),
        pytest.param(10, 24, 1, 3, 8, id="n10-w24-s1"),
        pytest.param(10, 99, 1, 10, 1, id="n10-w99-s1"),
        pytest.param(5, 50, 0, 3, 2, id="n5-w50-s0"),
        pytest.param(5, 50, 1, 3, 3, id="n5-w50-s1"),
        pytest.param(3, 99, 0, 2, 1, id="n3-w99-s0"),
        pytest.param(10, 1, 0, 1, 9, id="n10-w1-s0"),
        pytest.param(100, 1, 1, 1, 99, id="n100-w1-s1"),
        pytest.param(0, 50, 1, 0, 0, id="nothing-wanted"),
        pytest.param(10, 0, 1, 0, 10, id="no-weight"),
        pytest.param(10, 100, 1, 10, 0, id="all-weight"),
    ],
)
def test_approximation(wanted: int, weight: int, surge: int, canary: int, stable: int) -> None:
    assert approximate(wanted, weight, 100, surge) == Counts(canary, stable)


@pytest.mark.parametrize(
    ("wanted", "within", "weight", "canary", "stable", "others", "expected"),
    [
        pytest.param(10, (1, 1), 10, (0, 0), (10, 10), (), (1, 9), id="row-1"),
        pytest.param(10, (3, 0), 30, (0, 0), (10, 10), (), (3, 10), id="row-2"),
        pytest.param(10, (0, 5), 30, (0, 0), (10, 10), (), (0, 7), id="row-3"),
        pytest.param(10, (0, 5), 30, (0, 0), (7, 7), (), (3, 7), id="row-4"),
        pytest.param(10, (1, 1), 5, (0, 0), (10, 10), (), (1, 10), id="row-5"),
        pytest.param(1, (1, 0), 5, (0, 0), (1, 1), (), (1, 1), id="row-6"),
        pytest.param(1, (1, 0), 95, (0, 0), (1, 1), (), (1, 1), id="row-7"),
        pytest.param(1, (0, 1), 50, (0, 0), (1, 1), (), (0, 0), id="row-8"),
        pytest.param(10, (2, 1), 50, (0, 0), (10, 10), (), (2, 9), id="row-9"),
        pytest.param(10, (2, 1), 50, (2, 0), (9, 9), (), (3, 9), id="row-10"),
        pytest.param(10, (2, 1), 50, (2, 2), (9, 9), (), (3, 7), id="row-11"),
        pytest.param(10, (2, 1), 50, (3, 3), (7, 7), (), (5, 6), id="row-12"),
        pytest.param(10, (0, 1), 5, (0, 0), (10, 10), (), (0, 9), id="row-13"),
        pytest.param(10, (0, 1), 5, (0, 0), (9, 9), (), (1, 9), id="row-14"),
        pytest.param(4, (4, 1), 100, (0, 0), (4, 4), (), (4, 3), id="row-15"),
        pytest.param(4, (2, 0), 100, (0, 0), (4, 4), (), (2, 4), id="row-16"),
        pytest.param(8, (2, 0), 100, (2, 0), (4, 4), (), (6, 4), id="row-17-scaled-up-mid-update"),
        pytest.param(3, (2, 0), 0, (3, 3), (0, 0), (), (3, 2), id="row-18-abort"),
        pytest.param(3, (2, 0), 0, (3, 3), (2, 2), (), (1, 2), id="row-19-abort-goes-on"),
        pytest.param(3, (1, 0), 20, (0, 0), (3, 3), (), (1, 3), id="row-20"),
        pytest.param(4, (1, 0), 100, (0, 0), (4, 4), ((1, 0),), (0, 4), id="row-21-others-first"),
        pytest.param(5, (1, 1), 100, (0, 0), None, (), (5, 0), id="first-deploy"),
        pytest.param(5, (1, 1), 0, (2, 2), None, (), (5, 0), id="promoted-and-scaled-up"),
    ],
)
def test_basic_counts(
    wanted: int,
    within: tuple[int, int],
    weight: int,
    canary: tuple[int, int],
    stable: tuple[int, int] | None,
    others: tuple[tuple[int, int], ...],
    expected: tuple[int, int],
) -> None:
    counts = basic_counts(
        wanted,
        weight,
        100,
        Limits(*within),
        Size(*canary),
        None if stable is None else Size(*stable),
        [Size(*other) for other in others],
    )
    assert counts == Counts(*expected)


@pytest.mark.parametrize(
    ("wanted", "surge", "unavailable", "expected"),
    [
        pytest.param(3, 1, 0, Limits(1, 0), id="as-given"),
        pytest.param(1, 0, 0, Limits(0, 1), id="both-round-to-nothing"),
        pytest.param(0, 0, 0, Limits(0, 0), id="nothing-wanted"),
        pytest.param(2, 0, 5, Limits(0, 2), id="at-most-all"),
    ],
)
def test_limits(wanted: int, surge: int, unavailable: int, expected: Limits) -> None:
    assert limits(wanted, surge, unavailable) == expected


def test_a_crashing_stable_does_not_block_the_canary() -> None:
    """None of the old pods is available (T19): they are drained as if they were, for they serve nobody."""
    assert basic_counts(4, 50, 100, Limits(1, 1), Size(0, 0), Size(4, 0)) == Counts(1, 3)


@pytest.mark.parametrize(
    ("available_total", "others", "kept"),
    [
        pytest.param(10, ((3, 0),), (0,), id="unavailable-pods-go-at-once"),
        pytest.param(9, ((3, 3),), (3,), id="nothing-to-spare"),
        pytest.param(11, ((3, 3),), (1,), id="as-many-as-may"),
        pytest.param(14, ((3, 3), (2, 2)), (0, 0), id="newest-first"),
        pytest.param(10, ((2, 2), (2, 2)), (1, 2), id="the-second-waits"),
        pytest.param(9, ((3, 1), (2, 2)), (1, 2), id="broken-ones-go-although-nothing-is-to-spare"),
    ],
)
def test_drain_others(available_total: int, others: tuple[tuple[int, int], ...], kept: tuple[int, ...]) -> None:
    assert drain_others(10, Limits(1, 1), available_total, [Size(*other) for other in others]) == kept


@pytest.mark.parametrize(
    ("wanted", "weight", "total", "pods_min", "replicas", "expected"),
    [
        pytest.param(10, 33, 100, 0, None, 4, id="row-1"),
        pytest.param(4, 25, 100, 0, None, 1, id="row-2"),
        pytest.param(5, 20, 100, 3, None, 3, id="row-3-minimum"),
        pytest.param(1, 10, 100, 2, None, 1, id="row-4-minimum-is-capped"),
        pytest.param(10, 50, 100, 0, 3, 3, id="row-5-absolute"),
        pytest.param(1, 10, 100, 0, 9, 9, id="row-6-absolute-above-n"),
        pytest.param(8, 200, 1000, 0, None, 2, id="row-7-of-a-thousand"),
        pytest.param(5, 0, 100, 3, None, 0, id="no-weight-needs-no-minimum"),
        pytest.param(100_000, 50_000_000, 100_000_000, 0, None, 50_000, id="no-overflow"),
    ],
)
def test_routed_canary(
    wanted: int, weight: int, total: int, pods_min: int, replicas: int | None, expected: int
) -> None:
    assert routed_canary(wanted, weight, total, pods_min=pods_min, replicas=replicas) == expected


@given(
    wanted=st.integers(0, 30),
    surge=st.integers(0, 8),
    unavailable=st.integers(0, 8),
    weight=st.integers(0, 100),
    canary=st.integers(0, 30),
    stable=st.integers(0, 30),
    data=st.data(),
)
def test_limits_are_kept_on_the_way(
    wanted: int, surge: int, unavailable: int, weight: int, canary: int, stable: int, data: st.DataObject
) -> None:
    """T20: never more pods than n + surge because of us, and never fewer available than n - unavailable."""
    within = limits(wanted, surge, unavailable)
    new = Size(canary, data.draw(st.integers(0, canary)))
    old = Size(stable, data.draw(st.integers(0, stable)))
    counts = basic_counts(wanted, weight, 100, within, new, old)
    before = new.replicas + old.replicas
    assert counts.canary + counts.stable <= max(before, wanted + within.surge)
    # An unavailable pod may be taken from the side that shrinks (T19), an available one only within the limit.
    if new.available == new.replicas and old.available == old.replicas:
        available = min(new.available, counts.canary) + min(old.available, counts.stable)
        assert available >= min(before, wanted - within.unavailable)


@given(wanted=st.integers(0, 20), surge=st.integers(0, 5), unavailable=st.integers(0, 5), weight=st.integers(0, 100))
def test_every_weight_is_reached_and_stays(wanted: int, surge: int, unavailable: int, weight: int) -> None:
    """When every pod becomes available at once, the way ends at the approximation, in a bounded number of moves."""
    within = limits(wanted, surge, unavailable)
    target = approximate(wanted, weight, 100, within.surge)
    canary, stable = 0, wanted
    for _ in range(4 * wanted + 4):
        counts = basic_counts(wanted, weight, 100, within, Size(canary, canary), Size(stable, stable))
        if (counts.canary, counts.stable) == (canary, stable):
            break
        canary, stable = counts.canary, counts.stable
    assert Counts(canary, stable) == target


@given(wanted=st.integers(0, 1000), weight=st.integers(0, 100), surge=st.integers(0, 3))
def test_an_approximation_uses_at_most_one_pod_more(wanted: int, weight: int, surge: int) -> None:
    counts = approximate(wanted, weight, 100, surge)
    assert counts.canary + counts.stable in (wanted, wanted + min(1, surge) * min(1, wanted))

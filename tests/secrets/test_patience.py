"""When a store may be asked next."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.secrets._patience import Allowance, Patience


def patience(rate: float = 10, burst: int = 5, failures_max: int = 3) -> Patience:
    allowance = Allowance(reads_per_second=rate, burst=burst, pause_seconds_max=300, failures_max=failures_max)
    return Patience(allowance, now=0.0)


def test_there_is_no_burst_at_the_start_and_one_after_a_quiet_time() -> None:
    store = patience()
    assert store.seconds_until(1, 0.0) == pytest.approx(0.1)
    assert store.seconds_until(5, 100.0) == 0
    assert store.spend(20) == 5
    assert store.seconds_until(1, 100.0) == pytest.approx(0.1)


def test_a_batch_is_saved_up_for_but_not_for_long() -> None:
    assert patience(rate=100, burst=20).seconds_until(20, 0.0) == pytest.approx(0.2)
    assert patience(rate=4, burst=20).seconds_until(20, 0.0) == pytest.approx(0.25)
    assert patience(rate=0.5).seconds_until(20, 0.0) == pytest.approx(2)


@given(st.floats(0.5, 200), st.integers(1, 50), st.lists(st.tuples(st.integers(1, 30), st.floats(0, 3)), max_size=60))
def test_the_rate_keeps_to_the_budget(rate: float, burst: int, wishes: list[tuple[int, float]]) -> None:
    store = patience(rate, burst)
    now, made = 0.0, 0
    for reads, idle in wishes:
        now += idle + store.seconds_until(reads, now + idle)
        store.seconds_until(reads, now)
        made += store.spend(reads)
        assert made <= rate * now + burst + 1e-3


def test_the_wish_of_a_store_is_honoured_and_cut_where_it_is_absurd() -> None:
    store = patience()
    assert store.throttled(30.0, 10.0, jitter=0.0) == 30
    assert store.seconds_until(1, 10.0) == 30
    assert store.throttled(10**9, 50.0, jitter=0.0) == 300
    assert store.throttled(-5.0, 400.0, jitter=0.0) == 0


def test_a_store_that_does_not_say_how_long_is_left_alone_longer_each_time() -> None:
    store = patience()
    assert [store.throttled(None, 0.0, jitter=0.0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_rate_falls_by_half_and_rises_slowly() -> None:
    store = patience(rate=10)
    for _ in range(10):
        store.throttled(1.0, 0.0, jitter=0.0)
    assert store.rate == 1
    for _ in range(100):
        store.succeeded()
    assert 2 < store.rate < 3
    for _ in range(1000):
        store.succeeded()
    assert store.rate == 10
    slow = patience(rate=0.5)
    slow.throttled(1.0, 0.0, jitter=0.0)
    assert slow.rate == 0.5


def test_several_failures_in_a_row_leave_probes_only() -> None:
    store = patience()
    store.failed(0.0, jitter=0.0)
    store.failed(0.0, jitter=0.0)
    store.succeeded()
    for _ in range(2):
        store.failed(0.0, jitter=0.0)
        assert not store.is_broken
    delays = []
    for _ in range(7):
        store.failed(100.0, jitter=0.0)
        assert store.is_closed(100.0)
        delays.append(store.probe_at - 100.0)
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    assert store.seconds_until(1, 100.0) == 30
    assert store.seconds_until(1, 100.0, is_validation=True) == 0
    assert not store.is_closed(130.0)
    assert store.succeeded() is True
    assert store.succeeded() is False


def test_another_spec_is_another_health_and_the_same_budget() -> None:
    store = patience()
    for _ in range(5):
        store.failed(0.0, jitter=0.0)
    store.throttled(30.0, 0.0, jitter=0.0)
    store.renewed()
    assert not store.is_broken
    assert store.seconds_until(1, 0.0) == 30

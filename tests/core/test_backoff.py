"""Delays double, up to a limit; jitter only shortens them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.backoff import RECONCILE, WATCH, Backoff


@pytest.mark.parametrize(
    ("backoff", "attempt", "seconds"),
    [
        pytest.param(RECONCILE, 0, 0.001, id="reconcile-first"),
        pytest.param(RECONCILE, 1, 0.002, id="reconcile-second"),
        pytest.param(RECONCILE, 13, 8.192, id="reconcile-before-the-limit"),
        pytest.param(RECONCILE, 14, 10, id="reconcile-limit"),
        pytest.param(WATCH, 0, 0.8, id="watch-first"),
        pytest.param(WATCH, 5, 25.6, id="watch-before-the-limit"),
        pytest.param(WATCH, 6, 30, id="watch-limit"),
        pytest.param(WATCH, 10**6, 30, id="a-million-failures"),
        pytest.param(Backoff(first=1, most=100, factor=10), 1, 10, id="another-factor"),
    ],
)
def test_delays(backoff: Backoff, attempt: int, seconds: float) -> None:
    assert backoff.delay(attempt) == pytest.approx(seconds)


@given(st.integers(0, 100), st.floats(0, 1))
def test_jitter_takes_away_up_to_half(attempt: int, jitter: float) -> None:
    full = RECONCILE.delay(attempt)
    assert full / 2 <= RECONCILE.delay(attempt, jitter=jitter) <= full

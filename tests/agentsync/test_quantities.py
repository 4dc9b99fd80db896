"""Scalars that are spelled differently and mean the same."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from fairlead.agentsync._quantities import quantity, same_scalar


@pytest.mark.parametrize(
    ("one", "other", "type_", "is_same"),
    [
        pytest.param("1000m", "1", "quantity", True, id="milli"),
        pytest.param(1, "1", "quantity", True, id="number"),
        pytest.param(0.5, "500m", "quantity", True, id="fraction"),
        pytest.param("1024Mi", "1Gi", "quantity", True, id="binary"),
        pytest.param("1e3", "1k", "quantity", True, id="exponent"),
        pytest.param("1E3", "1000", "quantity", True, id="exponent-upper"),
        pytest.param("1E", "1000P", "quantity", True, id="exa"),
        pytest.param(".5", "500m", "quantity", True, id="no-leading-digit"),
        pytest.param("5.", "+5", "quantity", True, id="no-trailing-digit"),
        pytest.param("-1", "-1000m", "quantity", True, id="negative"),
        pytest.param("1Gi", "1G", "quantity", False, id="binary-is-not-decimal"),
        pytest.param("1Ki", "1K", "quantity", False, id="no-kilo-in-capitals"),
        pytest.param("1 ", "1", "quantity", False, id="blank"),
        pytest.param("1e999999999", "1e999999998", "quantity", False, id="monstrous-exponent"),
        pytest.param(True, "1", "quantity", False, id="bool-is-no-quantity"),
        pytest.param("80", 80, "int-or-string", True, id="port"),
        pytest.param("25%", "25%", "int-or-string", True, id="percent"),
        pytest.param("http", 80, "int-or-string", False, id="named-port"),
        pytest.param("60s", "1m", "duration", True, id="duration"),
        pytest.param("1m", "1m1s", "duration", False, id="other-duration"),
        pytest.param("YWJj", "YW\nJj\n", "bytes", True, id="line-breaks"),
        pytest.param("YWJj", "YWJk", "bytes", False, id="other-bytes"),
        pytest.param("2026-01-01T00:00:00Z", "2026-01-01T01:00:00+01:00", "time", True, id="time"),
        pytest.param(1, 1.0, "", True, id="whole-number"),
        pytest.param(1, True, "", False, id="true-is-not-1"),
        pytest.param(0, False, "", False, id="false-is-not-0"),
        pytest.param("1", 1, "", False, id="text-is-no-number"),
        pytest.param("1000m", "1", "", False, id="unknown-type"),
        pytest.param(None, None, "quantity", True, id="null"),
    ],
)
def test_same_scalar(one: Any, other: Any, type_: str, is_same: bool) -> None:
    assert same_scalar(one, other, type_) is is_same
    assert same_scalar(other, one, type_) is is_same


def test_finer_than_a_billionth_is_rounded_up() -> None:
    assert quantity("1e-12") == Fraction(1, 10**9)
    assert quantity("0.1n") == quantity("1n")

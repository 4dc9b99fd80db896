"""Go's durations, to the letter of its error messages."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.durations import format_go_duration, human_duration, parse_go_duration, parse_go_seconds

MICROSECOND = timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("0", 0, id="zero-needs-no-unit"),
        pytest.param("+0", 0, id="signed-zero"),
        pytest.param("5s", 5, id="seconds"),
        pytest.param("1h30m", 5400, id="several-units"),
        pytest.param("30m1h", 5400, id="units-in-any-order"),
        pytest.param("1.5h", 5400, id="fraction"),
        pytest.param(".5s", Fraction(1, 2), id="no-digits-before-the-point"),
        pytest.param("1.s", 1, id="no-digits-after-the-point"),
        pytest.param("-1.5s", Fraction(-3, 2), id="negative"),
        pytest.param("+3m", 180, id="plus"),
        pytest.param("100ms", Fraction(1, 10), id="milliseconds"),
        pytest.param("1us", Fraction(1, 10**6), id="microseconds"),
        pytest.param("1µs", Fraction(1, 10**6), id="micro-sign"),
        pytest.param("1μs", Fraction(1, 10**6), id="greek-mu"),
        pytest.param("9223372036854775807ns", Fraction(2**63 - 1, 10**9), id="longest"),
        pytest.param("-9223372036854775808ns", Fraction(-(2**63), 10**9), id="longest-negative"),
    ],
)
def test_what_go_reads(text: str, seconds: Fraction | int) -> None:
    assert parse_go_seconds(text) == seconds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", 'time: invalid duration ""', id="empty"),
        pytest.param("10", 'time: missing unit in duration "10"', id="no-unit"),
        pytest.param("5m5", 'time: missing unit in duration "5m5"', id="no-unit-at-the-end"),
        pytest.param("1.2.3s", 'time: missing unit in duration "1.2.3s"', id="two-points"),
        pytest.param("1y", 'time: unknown unit "y" in duration "1y"', id="years"),
        pytest.param("1d", 'time: unknown unit "d" in duration "1d"', id="days"),
        pytest.param("3 s", 'time: unknown unit " s" in duration "3 s"', id="space-inside"),
        pytest.param("1h-5m", 'time: unknown unit "h-" in duration "1h-5m"', id="sign-inside"),
        pytest.param("1e3s", 'time: unknown unit "e" in duration "1e3s"', id="exponent"),
        pytest.param(" 5m", 'time: invalid duration " 5m"', id="space-before"),
        pytest.param("--1s", 'time: invalid duration "--1s"', id="two-signs"),
        pytest.param("-", 'time: invalid duration "-"', id="sign-alone"),
        pytest.param(".s", 'time: invalid duration ".s"', id="point-alone"),
        pytest.param("9223372036854775808ns", 'time: invalid duration "9223372036854775808ns"', id="2-to-the-63-ns"),
        pytest.param("2562048h", 'time: invalid duration "2562048h"', id="too-many-hours"),
        pytest.param('"5s"', 'time: invalid duration "\\"5s\\""', id="quotes-are-escaped"),
        pytest.param("1\\s", 'time: unknown unit "\\\\s" in duration "1\\\\s"', id="backslashes-are-escaped"),
        pytest.param("5٣", 'time: unknown unit "\\xd9\\xa3" in duration "5\\xd9\\xa3"', id="other-digits-are-none"),
        pytest.param("é\n", 'time: invalid duration "\\xc3\\xa9\\x0a"', id="bytes-are-escaped"),
    ],
)
def test_what_go_refuses(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"^time: ") as caught:
        parse_go_seconds(text)
    assert str(caught.value) == message


@given(st.text(max_size=12))
def test_no_text_breaks_the_parser(text: str) -> None:
    try:
        parse_go_duration(text)
    except ValueError as error:
        assert str(error).startswith("time: ")


@pytest.mark.parametrize(
    ("micros", "text"),
    [
        pytest.param(0, "0s", id="zero"),
        pytest.param(1, "1µs", id="microsecond"),
        pytest.param(1500, "1.5ms", id="milliseconds"),
        pytest.param(999_999, "999.999ms", id="just-below-a-second"),
        pytest.param(10**6, "1s", id="second"),
        pytest.param(1_000_001, "1.000001s", id="second-and-a-bit"),
        pytest.param(90 * 10**6, "1m30s", id="minutes"),
        pytest.param(3600 * 10**6, "1h0m0s", id="hour"),
        pytest.param(3605 * 10**6, "1h0m5s", id="hour-and-seconds"),
        pytest.param(-1_500_000, "-1.5s", id="negative"),
    ],
)
def test_how_go_writes(micros: int, text: str) -> None:
    assert format_go_duration(micros * MICROSECOND) == text


@given(st.integers(-(2**53), 2**53))
def test_what_is_written_is_read_back(micros: int) -> None:
    assert parse_go_duration(format_go_duration(micros * MICROSECOND)) == micros * MICROSECOND


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (121, "2m1s"),
        (599, "9m59s"),
        (600, "10m"),
        (10_799, "179m"),
        (10_800, "3h"),
        (11_400, "3h10m"),
        (28_800, "8h"),
        (172_799, "47h"),
        (172_800, "2d"),
        (176_400, "2d1h"),
        (691_200, "8d"),
    ],
)
def test_ages_as_kubectl_shows_them(seconds: int, text: str) -> None:
    assert human_duration(timedelta(seconds=seconds)) == text

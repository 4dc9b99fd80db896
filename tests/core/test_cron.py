"""Cron schedules: the last and the next firing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.cron import Every, Schedule, parse, parse_fields

AT = datetime(2026, 3, 15, 12, 30, tzinfo=UTC)  # a Sunday


@pytest.mark.parametrize(
    ("text", "last", "following"),
    [
        pytest.param("* * * * *", "2026-03-15 12:30", "2026-03-15 12:31", id="every-minute"),
        pytest.param("30 12 * * *", "2026-03-15 12:30", "2026-03-16 12:30", id="at-this-minute"),
        pytest.param("*/20 * * * *", "2026-03-15 12:20", "2026-03-15 12:40", id="steps"),
        pytest.param("5/20 * * * *", "2026-03-15 12:25", "2026-03-15 12:45", id="steps-from-a-number"),
        pytest.param("0 9-17/4 * * *", "2026-03-15 09:00", "2026-03-15 13:00", id="steps-in-a-range"),
        pytest.param("0 0 * * mon-fri", "2026-03-13 00:00", "2026-03-16 00:00", id="names-of-days"),
        pytest.param("0 0 1 jan *", "2026-01-01 00:00", "2027-01-01 00:00", id="names-of-months"),
        pytest.param("0 0 29 2 *", "2024-02-29 00:00", "2028-02-29 00:00", id="leap-day"),
        pytest.param("0 0 13 * 5", "2026-03-13 00:00", "2026-03-20 00:00", id="both-day-fields-mean-either"),
        pytest.param("0 0 */2 * 1", "2026-03-15 00:00", "2026-03-16 00:00", id="a-step-is-a-restriction"),
        pytest.param("0 0 13,14 * ?", "2026-03-14 00:00", "2026-04-13 00:00", id="question-mark"),
        pytest.param("@hourly", "2026-03-15 12:00", "2026-03-15 13:00", id="hourly"),
        pytest.param("@daily", "2026-03-15 00:00", "2026-03-16 00:00", id="daily"),
        pytest.param("@midnight", "2026-03-15 00:00", "2026-03-16 00:00", id="midnight"),
        pytest.param("@weekly", "2026-03-15 00:00", "2026-03-22 00:00", id="weekly"),
        pytest.param("@monthly", "2026-03-01 00:00", "2026-04-01 00:00", id="monthly"),
        pytest.param("@yearly", "2026-01-01 00:00", "2027-01-01 00:00", id="yearly"),
        pytest.param("@annually", "2026-01-01 00:00", "2027-01-01 00:00", id="annually"),
    ],
)
def test_firings(text: str, last: str, following: str) -> None:
    schedule = parse(text)
    assert isinstance(schedule, Schedule)
    assert schedule.last(AT) == datetime.fromisoformat(f"{last}+00:00")
    assert schedule.next(AT) == datetime.fromisoformat(f"{following}+00:00")


def test_what_never_fires() -> None:
    schedule = parse("0 0 31 2 *")
    assert isinstance(schedule, Schedule)
    assert (schedule.last(AT), schedule.next(AT)) == (None, None)


def test_every_has_a_period_of_at_least_a_second() -> None:
    assert parse("@every 1h30m") == Every(timedelta(minutes=90))
    assert parse("@every 1ms") == Every(timedelta(seconds=1))


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "* * * *",
            "* * * * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 7",
            "a * * * *",
        ),
        *(
            "5-1 * * * *",
            "*/0 * * * *",
            "@often",
            "@every soon",
            "-1 * * * *",
            "1-2-3 * * * *",
            "٣ * * * *",
            "@every 1d",
        ),
    ],
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ValueError, match=r"field|found|fail|outside|unrecognized|time:"):
        parse(text)


_fields = st.tuples(
    st.sampled_from(["*", "0", "*/7", "10-20", "3,33"]),
    st.sampled_from(["*", "0", "*/5", "8-18"]),
    st.sampled_from(["*", "1", "15-20", "*/9"]),
    st.sampled_from(["*", "2", "3-4"]),
    st.sampled_from(["*", "0", "1-5"]),
)


@given(_fields, st.integers(min_value=0, max_value=60 * 24 * 365))
def test_last_and_next_agree(fields: tuple[str, ...], minutes: int) -> None:
    schedule = parse(" ".join(fields))
    assert isinstance(schedule, Schedule)
    at = AT + timedelta(minutes=minutes)
    following = schedule.next(at)
    assert following is not None
    assert following > at
    assert schedule.last(following) == following
    before = schedule.last(following - timedelta(minutes=1))
    assert before is None or before <= at


def test_five_fields_only_where_words_are_not_known() -> None:
    assert parse_fields(" 0 9 * * 1-5 ") == parse("0 9 * * 1-5")
    with pytest.raises(ValueError, match=r"^parser does not accept descriptors: @daily$"):
        parse_fields("@daily")

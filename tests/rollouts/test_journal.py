"""When a status is written, and that no event is recorded twice for one decision."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from fairlead.core.decision import Event
from fairlead.rollouts._journal import MOST, QUIET, Journal
from fairlead.rollouts.status import RolloutStatus
from fairlead.testing.builders import START

STORED = RolloutStatus(phase="Progressing", replicas=1)
SECOND = timedelta(seconds=1)


def test_an_urgent_change_is_due_at_once() -> None:
    assert Journal().hold("a", "uid", STORED, replace(STORED, phase="Healthy"), START) is None


def test_numbers_wait_until_they_have_been_the_same_for_a_moment() -> None:
    journal = Journal()
    two = replace(STORED, replicas=2)
    assert journal.hold("a", "uid", STORED, two, START) == START + QUIET
    assert journal.hold("a", "uid", STORED, two, START + SECOND) == START + QUIET
    assert journal.hold("a", "uid", STORED, two, START + QUIET) is None


def test_numbers_that_change_wait_longer_and_not_for_ever() -> None:
    journal = Journal()
    now, replicas = START, 2
    while (due := journal.hold("a", "uid", STORED, replace(STORED, replicas=replicas), now)) is not None:
        assert due <= START + MOST
        now, replicas = now + SECOND, replicas + 1
    assert now == START + MOST


def test_another_object_of_the_same_name_begins_anew() -> None:
    journal = Journal()
    two = replace(STORED, replicas=2)
    journal.hold("a", "uid", STORED, two, START)
    assert journal.hold("a", "other", STORED, two, START + QUIET) is not None


def test_an_event_is_recorded_once_per_decision_and_again_after_the_write() -> None:
    journal = Journal()
    events = (Event("RolloutResumed", "x"), Event("ScalingReplicaSet", "y"))
    assert journal.fresh("a", "uid", events) == events
    assert journal.fresh("a", "uid", (events[0],)) == ()
    assert journal.fresh("a", "uid", (*events, events[1])) == (events[1],), "the second of its kind is new"
    journal.forget("a")
    assert journal.fresh("a", "uid", events) == events


def test_what_is_done_with_is_forgotten() -> None:
    journal = Journal()
    journal.fresh("a", "uid", (Event("x", "y"),))
    journal.forget("a")
    journal.forget("b")
    assert len(journal) == 0

"""How long answers are held, as pure arithmetic."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from fairlead.secrets._kept import KeptAnswers
from fairlead.secrets._questions import Identity
from fairlead.secrets.actions import Urgency
from fairlead.secrets.stores.port import NoSecret, RemoteRef
from fairlead.testing.clock import EPOCH

IDENTITY = Identity("1", "")
ASKED = (IDENTITY, RemoteRef(key="db"))
ANSWER = NoSecret(provider="fake")


def held(*, new_at: tuple[float, ...] = ()) -> KeptAnswers:
    """Return what holds one answer since second 0, and was asked about something new at these times."""
    answers = KeptAnswers(seconds=15, seconds_max=120)
    answers.keep(ASKED, ANSWER, started_at=EPOCH, now=0)
    for second in new_at:
        answers.find((IDENTITY, RemoteRef(key="new")), urgency=Urgency.FIRST, not_before=EPOCH, now=second)
    return answers


@pytest.mark.parametrize(
    ("new_at", "until"),
    [
        pytest.param((), 15, id="nothing-new"),
        pytest.param((10,), 25, id="something-new-prolongs-it"),
        pytest.param((10, 20, 30), 45, id="again-and-again"),
        pytest.param((16,), 15, id="what-has-expired-does-not-come-back"),
        pytest.param((10, 24, 40), 39, id="a-gap-ends-it"),
        pytest.param(tuple(range(0, 200, 10)), 120, id="but-not-for-ever"),
    ],
)
def test_how_long_an_answer_is_held(new_at: tuple[float, ...], until: float) -> None:
    before = held(new_at=tuple(second for second in new_at if second < until))
    assert before.find(ASKED, urgency=Urgency.REFRESH, not_before=EPOCH, now=until - 0.001) is ANSWER
    assert before.due_at == until
    after = held(new_at=new_at)
    now = max(until, *new_at, 0)
    assert after.find(ASKED, urgency=Urgency.REFRESH, not_before=EPOCH, now=now) is None
    after.forget(now)
    assert len(after) == 0
    assert after.due_at == math.inf


def test_an_answer_to_an_earlier_question_will_not_do() -> None:
    answers = held()
    younger = EPOCH + timedelta(microseconds=1)
    assert answers.find(ASKED, urgency=Urgency.REFRESH, not_before=younger, now=1) is None
    assert answers.find(ASKED, urgency=Urgency.REFRESH, not_before=EPOCH, now=1) is ANSWER


def test_answers_of_another_identity_are_not_seen() -> None:
    answers = held()
    for identity in (Identity("2", ""), Identity("1", "shop")):
        asked = (identity, RemoteRef(key="db"))
        assert answers.find(asked, urgency=Urgency.REFRESH, not_before=EPOCH, now=1) is None
    answers.clear()
    assert answers.find(ASKED, urgency=Urgency.REFRESH, not_before=EPOCH, now=1) is None

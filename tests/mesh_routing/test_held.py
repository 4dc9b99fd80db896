from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from fairlead.core.traffic import Applied, Evidence, Held
from fairlead.mesh_routing._acceptance import CONFIRMED, Acceptance, Verdict
from fairlead.mesh_routing._held import PROGRESS, Holding, Progress, follow, hold, learn, worst
from tests.mesh_routing.builders import T0, seconds

PENDING = Acceptance(verdict=Verdict.PENDING, message="no status")
UNRESOLVED = Acceptance(verdict=Verdict.UNRESOLVED, message="BackendNotFound")
STORED = Progress(uid="u", generation=2, stored_at=T0)
ACCEPTED = replace(STORED, accepted_at=T0 + seconds(1))


def says(applied: Applied, why: str = "") -> Evidence:
    return Evidence(applied=applied, why=why)


def holding(progress: Progress, acceptance: Acceptance, now: float, *, evidence: bool) -> Holding:
    return hold(
        progress,
        acceptance,
        route="HTTPRoute shop/web",
        has_evidence=evidence,
        settle=seconds(12),
        confirm=seconds(60),
        now=T0 + seconds(now),
    )


@pytest.mark.parametrize(
    ("progress", "acceptance", "evidence", "now", "held", "reason", "wake_at"),
    [
        pytest.param(STORED, PENDING, False, 5, Held.STORED, "RoutePending", 60, id="not-accepted-yet"),
        pytest.param(STORED, PENDING, False, 60, Held.REFUSED, "RouteNotAccepted", None, id="confirm-time-out"),
        pytest.param(STORED, PENDING, True, 60, Held.REFUSED, "RouteNotAccepted", None, id="time-out-with-evidence"),
        pytest.param(STORED, UNRESOLVED, False, 1, Held.REFUSED, "RefsNotResolved", None, id="refs-not-resolved"),
        pytest.param(ACCEPTED, CONFIRMED, False, 2, Held.ACCEPTED, "RouteSettling", 13, id="settling"),
        pytest.param(ACCEPTED, CONFIRMED, False, 12.9, Held.ACCEPTED, "RouteSettling", 13, id="just-before-settled"),
        pytest.param(ACCEPTED, CONFIRMED, False, 13, Held.SETTLED, "Settled", None, id="settled"),
        pytest.param(ACCEPTED, CONFIRMED, True, 2, Held.ACCEPTED, "DataPlanePending", 17, id="evidence-not-asked-yet"),
        pytest.param(ACCEPTED, CONFIRMED, True, 999, Held.ACCEPTED, "DataPlanePending", 1014, id="time-is-no-evidence"),
        pytest.param(
            replace(ACCEPTED, evidence=says(Applied.NOT_YET, "old weights")),
            CONFIRMED,
            True,
            999,
            Held.ACCEPTED,
            "DataPlanePending",
            1014,
            id="not-yet",
        ),
        pytest.param(
            replace(ACCEPTED, evidence=says(Applied.UNKNOWN, "no answer")),
            CONFIRMED,
            True,
            999,
            Held.ACCEPTED,
            "DataPlanePending",
            1014,
            id="unknown-never-counts",
        ),
        pytest.param(
            replace(ACCEPTED, evidence=says(Applied.APPLIED)),
            CONFIRMED,
            True,
            2,
            Held.APPLIED,
            "Applied",
            None,
            id="applied",
        ),
        pytest.param(
            replace(ACCEPTED, evidence=says(Applied.REFUSED, "bad regex")),
            CONFIRMED,
            True,
            2,
            Held.REFUSED,
            "ProxyRefused",
            17,
            id="proxy-refused",
        ),
        pytest.param(
            replace(STORED, evidence=says(Applied.APPLIED)),
            PENDING,
            True,
            2,
            Held.STORED,
            "RoutePending",
            60,
            id="evidence-without-acceptance",
        ),
    ],
)
def test_hold(
    progress: Progress,
    acceptance: Acceptance,
    evidence: bool,
    now: float,
    held: Held,
    reason: str,
    wake_at: float | None,
) -> None:
    found = holding(progress, acceptance, now, evidence=evidence)
    wake: datetime | None = None if wake_at is None else T0 + seconds(wake_at)
    assert (found.held, found.reason, found.wake_at) == (held, reason, wake)


def test_only_applied_and_settled_count_as_held() -> None:
    assert [held for held in Held if PROGRESS[held] >= PROGRESS[Held.SETTLED]] == [Held.APPLIED, Held.SETTLED]
    assert set(PROGRESS) == set(Held)


def test_the_message_names_the_proxys_words() -> None:
    refused = replace(ACCEPTED, evidence=says(Applied.REFUSED, "invalid perl operator: (?="))
    assert "invalid perl operator: (?=" in holding(refused, CONFIRMED, 2, evidence=True).message


@pytest.mark.parametrize(
    ("before", "uid", "generation", "acceptance", "after"),
    [
        pytest.param(None, "u", 2, PENDING, replace(STORED, stored_at=T0 + seconds(9)), id="first-sight"),
        pytest.param(STORED, "u", 2, PENDING, STORED, id="nothing-new"),
        pytest.param(STORED, "u", 2, CONFIRMED, replace(STORED, accepted_at=T0 + seconds(9)), id="accepted-now"),
        pytest.param(ACCEPTED, "u", 2, CONFIRMED, ACCEPTED, id="accepted-before"),
        pytest.param(ACCEPTED, "u", 2, PENDING, STORED, id="acceptance-lost"),
        pytest.param(
            replace(ACCEPTED, evidence=says(Applied.APPLIED)),
            "u",
            3,
            CONFIRMED,
            Progress(uid="u", generation=3, stored_at=T0 + seconds(9), accepted_at=T0 + seconds(9)),
            id="a-new-generation-starts-anew",
        ),
        pytest.param(
            ACCEPTED, "v", 2, PENDING, Progress(uid="v", generation=2, stored_at=T0 + seconds(9)), id="another-object"
        ),
    ],
)
def test_follow(before: Progress | None, uid: str, generation: int, acceptance: Acceptance, after: Progress) -> None:
    now = T0 + seconds(9)
    assert follow(before, uid=uid, generation=generation, acceptance=acceptance, now=now) == after


@pytest.mark.parametrize(
    ("before", "answer", "after"),
    [
        pytest.param(None, Applied.NOT_YET, Applied.NOT_YET, id="first-answer"),
        pytest.param(Applied.NOT_YET, Applied.APPLIED, Applied.APPLIED, id="applied"),
        pytest.param(Applied.NOT_YET, Applied.UNKNOWN, Applied.UNKNOWN, id="not-answered-any-more"),
        pytest.param(Applied.APPLIED, Applied.UNKNOWN, Applied.APPLIED, id="applied-stays"),
        pytest.param(Applied.APPLIED, Applied.REFUSED, Applied.REFUSED, id="refused-after-all"),
        pytest.param(Applied.REFUSED, Applied.UNKNOWN, Applied.REFUSED, id="a-refusal-is-not-forgotten"),
        pytest.param(Applied.REFUSED, Applied.APPLIED, Applied.APPLIED, id="healed"),
    ],
)
def test_learn(before: Applied | None, answer: Applied, after: Applied) -> None:
    progress = replace(ACCEPTED, evidence=says(before) if before else None)
    learned = learn(progress, says(answer), T0).evidence
    assert learned is not None
    assert learned.applied is after


def test_pods_are_kept_from_when_the_wire_showed_the_weights() -> None:
    late = learn(learn(ACCEPTED, says(Applied.NOT_YET), T0 + seconds(2)), says(Applied.APPLIED), T0 + seconds(40))
    assert holding(late, CONFIRMED, 50, evidence=True).since == T0 + seconds(40)
    early = learn(replace(STORED, accepted_at=T0 + seconds(34)), says(Applied.APPLIED), T0 + seconds(2))
    assert holding(early, CONFIRMED, 50, evidence=True).since == T0 + seconds(34)


def test_the_same_answer_in_other_words_is_since_the_first() -> None:
    first = learn(ACCEPTED, says(Applied.NOT_YET, "a"), T0)
    assert learn(first, says(Applied.NOT_YET, "a"), T0 + seconds(1)) is first
    assert learn(first, says(Applied.NOT_YET, "b"), T0 + seconds(1)).evident_at == T0


def test_worst_speaks_for_all_and_waits_for_the_latest() -> None:
    settling = Holding(held=Held.ACCEPTED, reason="a", settled_at=T0 + seconds(5), wake_at=T0 + seconds(5))
    stored = Holding(held=Held.STORED, reason="b", wake_at=T0 + seconds(60))
    later = Holding(held=Held.ACCEPTED, reason="c", settled_at=T0 + seconds(9), wake_at=T0 + seconds(9))
    found = worst((settling, stored, later))
    assert (found.reason, found.settled_at, found.wake_at) == ("b", T0 + seconds(9), T0 + seconds(5))

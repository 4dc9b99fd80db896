"""Who grows and who shrinks, and how long pods stay after their traffic has gone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.objects import rfc3339
from fairlead.core.traffic import Held
from fairlead.rollouts._scaling import Change, Sizes, annotations_for, deadline_of, resize, scaled_event
from fairlead.rollouts._waiting import Waiting
from fairlead.testing.builders import START, pod_hash, replica_set, services, spec, status, traffic
from fairlead.testing.builders import observation as observe
from tests.rollouts.situations import Case, routed

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}})
ABORTED: dict[str, Any] = {"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}
LATER = START + timedelta(seconds=30)
PASSED = {"scale-down-deadline": rfc3339(START)}
AHEAD = {"scale-down-deadline": rfc3339(LATER)}
NEW, OLD = f"cart-{pod_hash(2)}", f"cart-{pod_hash(1)}"


def resized(case: Case, *, halted: bool = False) -> Sizes:
    return resize(case.situation, case.status, case.roles, case.rule, case.counts, case.traffic, is_halted=halted)


def sizes(case: Case) -> dict[str, int]:
    return {name: change.replicas for name, change in resized(case).changes.items()}


# --- behind a router --------------------------------------------------------------------------------------------------


def test_stable_keeps_its_size_and_the_canary_gets_its_share() -> None:
    assert sizes(routed(*STEPS, step=2, canary=replica_set(2, replicas=1))) == {OLD: 5, NEW: 3}


def test_a_halted_rollout_keeps_every_size() -> None:
    assert resized(routed(*STEPS, canary=replica_set(2)), halted=True).changes == {}


def test_after_a_lower_weight_pods_stay_until_connections_have_drained() -> None:
    steps = ({"setWeight": 60}, {"setWeight": 20})
    kept: dict[str, Any] = {"since": START - timedelta(seconds=10), "pods_kept": timedelta(seconds=57)}
    for seen, expected in (
        (traffic(60), 3),  # it still carries 60
        (traffic(20, Held.ACCEPTED), 3),  # the lower weight is not in force
        (traffic(20, **kept), 3),
        (traffic(20, **{**kept, "since": START - timedelta(seconds=57)}), 1),
    ):
        case = routed(*steps, step=1, canary=replica_set(2, replicas=3), seen={"traffic": seen})
        assert sizes(case)[NEW] == expected
    found = resized(routed(*steps, step=1, canary=replica_set(2, replicas=3), seen={"traffic": traffic(20, **kept)}))
    assert found.wake_at == START + timedelta(seconds=47)


@pytest.mark.parametrize(
    ("annotations", "seen", "stable", "expected"),
    [
        pytest.param({}, traffic(20), 5, Change(replicas=1), id="weight-is-not-gone"),
        pytest.param({}, traffic(0, Held.ACCEPTED), 5, Change(replicas=1), id="not-in-force"),
        pytest.param({}, traffic(0), 4, Change(replicas=1), id="stable-is-not-whole"),
        pytest.param({}, traffic(0), 5, Change(replicas=1, deadline=rfc3339(LATER)), id="the-delay-begins"),
        pytest.param(AHEAD, traffic(0), 5, Change(replicas=1), id="within-the-delay"),
        pytest.param(PASSED, traffic(0), 5, Change(replicas=0, deadline=""), id="the-delay-is-over"),
        pytest.param(
            {"scale-down-deadline": "soon"},
            traffic(0),
            5,
            Change(replicas=1, deadline=rfc3339(LATER)),
            id="an-unreadable-deadline-is-none",  # T27
        ),
        pytest.param(
            {},
            traffic(0, pods_kept=timedelta(seconds=57)),
            5,
            Change(replicas=1, deadline=rfc3339(START + timedelta(seconds=57))),
            id="connections-need-longer",
        ),
    ],
)
def test_an_aborted_canary(annotations: dict[str, str], seen: Any, stable: int, expected: Change) -> None:
    case = routed(
        *STEPS,
        canary=replica_set(2, replicas=1, annotations=annotations),
        stable=replica_set(1, replicas=5, available=stable),
        seen={"traffic": seen, "services": services(stable=1, canary=1)},
        **ABORTED,
    )
    assert resized(case).changes[NEW] == expected


def test_an_aborted_canary_that_a_service_selects_is_not_taken_away() -> None:
    case = routed(*STEPS, canary=replica_set(2, annotations=PASSED), **ABORTED)
    found = resized(case)
    assert found.changes[NEW].replicas == 1
    assert found.waiting is not None
    assert found.waiting.reason is Waiting.SERVICE


def test_an_aborted_canary_never_grows() -> None:
    """T35."""
    case = routed(*STEPS, replicas=9, canary=replica_set(2, replicas=1), seen={"traffic": traffic(20)}, **ABORTED)
    assert sizes(case)[NEW] == 1


def test_an_explicit_zero_keeps_the_aborted_canary() -> None:
    settings = {"canary": {"abortScaleDownDelaySeconds": 0}}
    case = routed(
        *STEPS,
        canary=replica_set(2),
        settings=settings,
        seen={"services": services(stable=1, canary=1)},
        **ABORTED,
    )
    assert resized(case).changes[NEW] == Change(replicas=1)


def promoted(*others: Any, stable: int = 2, seen: Any = None, settings: dict[str, Any] | None = None) -> Case:
    rollout = spec(*STEPS, version=2, replicas=5, routed=True, **(settings or {}))
    found = observe(
        replica_set(2, replicas=5),
        *others,
        services=services(stable=stable, canary=2),
        traffic=seen or traffic(0),
    )
    return Case(rollout, status(rollout, stable=2, current=2), found)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        pytest.param(
            promoted(replica_set(1, replicas=5), stable=1, seen=traffic(100)), Change(replicas=5), id="still-selected"
        ),
        pytest.param(
            promoted(replica_set(1, replicas=5), seen=traffic(0, Held.ACCEPTED)), Change(replicas=5), id="not-in-force"
        ),
        pytest.param(
            promoted(replica_set(1, replicas=5)), Change(replicas=5, deadline=rfc3339(LATER)), id="the-delay-begins"
        ),
        pytest.param(
            promoted(replica_set(1, replicas=5, annotations=AHEAD)), Change(replicas=5), id="within-the-delay"
        ),
        pytest.param(
            promoted(replica_set(1, replicas=5, annotations=PASSED)), Change(replicas=0, deadline=""), id="over"
        ),
        pytest.param(
            promoted(replica_set(1, replicas=5, available=0)), Change(replicas=0, deadline=""), id="it-serves-nobody"
        ),
        pytest.param(
            promoted(replica_set(1, replicas=5), settings={"canary": {"scaleDownDelaySeconds": 0}}),
            Change(replicas=0, deadline=""),
            id="no-delay",
        ),
        pytest.param(
            promoted(replica_set(1, replicas=5), settings={"canary": {"scaleDownDelayRevisionLimit": 0}}),
            Change(replicas=0, deadline=""),
            id="no-revision-may-wait",
        ),
    ],
)
def test_the_former_stable_revision(case: Case, expected: Change) -> None:
    assert resized(case).changes[OLD] == expected


def test_only_so_many_revisions_wait_the_newest_ones() -> None:
    case = promoted(
        replica_set(1, replicas=5, annotations=AHEAD),
        replica_set(3, replicas=5, annotations=AHEAD),
        settings={"canary": {"scaleDownDelayRevisionLimit": 1}},
    )
    found = resized(case).changes
    assert (found[f"cart-{pod_hash(3)}"].replicas, found[OLD].replicas) == (5, 0)


def test_an_overtaken_canary_keeps_its_pods_a_while() -> None:
    """T29: the canary Service still selects version 3 when version 2 arrives."""
    overtaken = f"cart-{pod_hash(3)}"
    for seen, expected in (
        (traffic(20), Change(replicas=2)),
        (traffic(0), Change(replicas=2, deadline=rfc3339(LATER))),
    ):
        case = routed(
            *STEPS,
            canary=replica_set(2, replicas=0),
            others=(replica_set(3, replicas=2),),
            seen={"traffic": seen, "services": services(stable=1, canary=3)},
        )
        assert resized(case).changes[overtaken] == expected


def test_an_overtaken_canary_that_served_nobody_goes_at_once() -> None:
    case = routed(
        *STEPS,
        canary=replica_set(2, replicas=0),
        others=(replica_set(3, replicas=2, available=0),),
        seen={"services": services(stable=1, canary=1)},
    )
    assert resized(case).changes[f"cart-{pod_hash(3)}"] == Change(replicas=0, deadline="")


def test_a_deadline_goes_when_the_revision_is_wanted_again() -> None:
    case = routed(*STEPS, canary=replica_set(2, annotations=AHEAD))
    assert resized(case).changes[NEW].deadline == ""


def test_minimum_size_is_capped() -> None:
    """T24."""
    case = routed(
        *STEPS, replicas=1, canary=replica_set(2, replicas=0), settings={"canary": {"minPodsPerReplicaSet": 2}}
    )
    assert sizes(case)[NEW] == 1


# --- without a router -------------------------------------------------------------------------------------------------


def basic(*found: Any, step: int = 0, replicas: int = 4, **fields: Any) -> Case:
    rollout = spec({"setWeight": 50}, {"pause": {}}, version=2, replicas=replicas)
    return Case(rollout, status(rollout, current=2, step=step, **fields), observe(*found))


def test_numbers_of_pods_follow_the_weight() -> None:
    assert sizes(basic(replica_set(1, replicas=4), replica_set(2, replicas=0))) == {OLD: 3, NEW: 1}


def test_others_are_drained_first() -> None:
    found = basic(replica_set(1, replicas=4), replica_set(2, replicas=0), replica_set(3, replicas=1, available=0))
    assert sizes(found) == {OLD: 4, NEW: 0, f"cart-{pod_hash(3)}": 0}


def test_pods_that_will_go_are_not_counted_twice() -> None:
    """The one that goes first is still reported as available; without it nobody else may go."""
    found = basic(
        replica_set(1, replicas=1),
        replica_set(2, replicas=0),
        replica_set(3, replicas=1, available=2),
        replicas=2,
    )
    assert sizes(found)[f"cart-{pod_hash(3)}"] == 1


def test_an_abort_gives_the_pods_back() -> None:
    found = basic(replica_set(1, replicas=2), replica_set(2, replicas=2), **ABORTED)
    assert sizes(found) == {OLD: 3, NEW: 1}
    assert sizes(basic(replica_set(1, replicas=4), replica_set(2, replicas=1), **ABORTED)) == {OLD: 4, NEW: 0}


def test_an_abort_without_a_stable_replica_set_leaves_what_is_there() -> None:
    assert sizes(basic(replica_set(2, replicas=2), **ABORTED)) == {}


# --- what is written --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stored", "change", "active", "expected"),
    [
        pytest.param({}, Change(replicas=3), True, {}, id="nothing"),
        pytest.param({"wanted": 9}, Change(replicas=3), True, {"desired": "5"}, id="wanted-number-follows"),
        pytest.param({"wanted": 9}, Change(replicas=3), False, {}, id="not-of-others"),
        pytest.param({"wanted": 9}, Change(replicas=1), False, {"desired": "5"}, id="but-when-they-are-resized"),
        pytest.param({}, Change(replicas=3, deadline="x"), True, {"deadline": "x"}, id="a-deadline"),
        pytest.param({"annotations": AHEAD}, Change(replicas=0, deadline=""), True, {"deadline": None}, id="removed"),
        pytest.param({}, Change(replicas=0, deadline=""), True, {}, id="none-to-remove"),
    ],
)
def test_annotations(stored: dict[str, Any], change: Change, active: bool, expected: dict[str, str | None]) -> None:
    found = replica_set(2, replicas=3, **{"wanted": 5, **stored})
    names = {"desired": "rollout.argoproj.io/desired-replicas", "deadline": "scale-down-deadline"}
    case = routed(*STEPS, canary=found)
    assert annotations_for(case.situation, found, change, is_active=active) == {
        names[key]: value for key, value in expected.items()
    }


def test_the_event_of_a_change_of_size() -> None:
    case = routed(*STEPS, canary=replica_set(2, replicas=3))
    assert scaled_event(case.situation, case.roles.new, 3) is None
    event = scaled_event(case.situation, case.roles.new, 1)
    assert event is not None
    assert event.message == f"Scaled down ReplicaSet {NEW} (revision 2) from 3 to 1"


@pytest.mark.parametrize("text", ["", "soon", "2026-01-01", "2026-13-01T00:00:00Z"])
def test_a_deadline_that_is_none(text: str) -> None:
    assert deadline_of(replica_set(1, annotations={"scale-down-deadline": text})) is None

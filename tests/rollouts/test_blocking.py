"""What a Rollout says that it waits for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.decision import Blocker
from fairlead.core.traffic import Held
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.machine import decide
from fairlead.rollouts.status import RolloutStatus
from fairlead.testing.builders import START, analysis_run, pod_hash, replica_set, services, spec, status, traffic
from fairlead.testing.builders import observation as observe
from tests.rollouts.situations import Case, routed

AT = "2025-12-31T23:59:50Z"
STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 20}, {"pause": {"duration": "60s"}}, {"setWeight": 60})
NEW = f"cart-{pod_hash(2)}"


def blocked(case: Case) -> Blocker:
    decision = decide(case.situation.spec, case.status, case.situation.seen, case.situation.now)
    assert decision.blocked_on is not None
    return decision.blocked_on


def step_pause(**fields: Any) -> dict[str, Any]:
    return {"pauseConditions": [{"reason": "CanaryPauseStep", "startTime": AT}], "controllerPause": True, **fields}


def test_a_timed_pause_tells_since_when_until_when_and_what_follows() -> None:
    found = blocked(routed(*STEPS, step=1, canary=replica_set(2), seen={"traffic": traffic(20)}, **step_pause()))
    assert found == Blocker(
        reason=Waiting.PAUSE,
        what="the pause of 60 s is over",
        since=START - timedelta(seconds=10),
        next="step 3 of 3 (setWeight: 60)",
        at=START + timedelta(seconds=50),
    )


@pytest.mark.parametrize(
    ("case", "reason", "words"),
    [
        pytest.param(
            routed(
                {"setWeight": 20},
                {"pause": {}},
                step=1,
                canary=replica_set(2),
                seen={"traffic": traffic(20)},
                **step_pause(),
            ),
            Waiting.PAUSE,
            "somebody promotes the rollout",
            id="untimed-pause",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2, available=0)),
            Waiting.CANARY_PODS,
            f"0 of 1 pods of {NEW} are available",
            id="canary-pods",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2), stable=replica_set(1, replicas=5, created=4)),
            Waiting.STABLE_PODS,
            "4 pods of stable",
            id="stable-pods",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2), seen={"traffic": traffic(20, Held.ACCEPTED, message="settling")}),
            Waiting.TRAFFIC,
            "settling",
            id="traffic-under-way",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2), seen={"traffic": traffic(0, blocked="P01: not bound")}),
            Waiting.PREFLIGHT,
            "P01: not bound",
            id="preflight",
        ),
        pytest.param(
            routed(*STEPS, canary=replica_set(2), settings={"paused": True}),
            Waiting.MANUAL_PAUSE,
            "spec.paused",
            id="by-hand",
        ),
        pytest.param(
            routed(
                *STEPS, canary=replica_set(2), pauseConditions=[{"reason": "InconclusiveAnalysisRun", "startTime": AT}]
            ),
            Waiting.INCONCLUSIVE,
            "somebody decides",
            id="inconclusive",
        ),
        pytest.param(
            routed(
                *STEPS,
                replicas=5,
                canary=replica_set(2, replicas=0),
                seen={"services": services(stable=1, canary=1)},
                abort=True,
                abortedAt=AT,
            ),
            Waiting.RETRY,
            "a retry",
            id="aborted",
        ),
        pytest.param(
            routed(
                *STEPS,
                canary=replica_set(2, annotations={"scale-down-deadline": "2026-01-01T00:00:20Z"}),
                seen={"services": services(stable=1, canary=1)},
                abort=True,
                abortedAt=AT,
            ),
            Waiting.OLD_PODS,
            "may be scaled down",
            id="aborted-and-draining",
        ),
    ],
)
def test_reasons(case: Case, reason: Waiting, words: str) -> None:
    found = blocked(case)
    assert found.reason is reason
    assert words in found.what


def test_a_verdict_is_waited_for_since_its_run_began() -> None:
    rollout = spec({"analysis": {"templates": [{"templateName": "t"}]}}, version=2)
    stored = status(
        rollout, current=2, step=0, canary={"currentStepAnalysisRunStatus": {"name": "run", "status": "Running"}}
    )
    run = analysis_run("run", "Running", step=0, age=timedelta(minutes=5))
    found = blocked(Case(rollout, stored, observe(replica_set(1), replica_set(2, replicas=0), runs=(run,))))
    assert found.reason is Waiting.ANALYSIS
    assert "AnalysisRun run is successful (now: Running)" in found.what
    assert found.since == START - timedelta(minutes=5)
    assert found.next == "the canary becomes stable"


def test_a_basic_canary_waits_for_pods_of_other_revisions() -> None:
    rollout = spec({"setWeight": 50}, {"pause": {}}, version=2, replicas=2)
    seen = observe(replica_set(1), replica_set(2), replica_set(3, replicas=0, created=1, available=1))
    found = blocked(Case(rollout, status(rollout, current=2, step=0), seen))
    assert found.reason is Waiting.OLD_PODS


def test_nothing_is_waited_for_when_all_is_well() -> None:
    rollout = spec()
    decision = decide(rollout, status(rollout), observe(replica_set(1)), START)
    assert decision.blocked_on is None
    assert decision.actions == ()


def test_a_first_deployment_waits_for_its_pods() -> None:
    found = blocked(Case(spec(replicas=3), RolloutStatus(), observe(revision=0)))
    assert found.reason is Waiting.CANARY_PODS
    assert found.what == f"0 of 3 pods of cart-{pod_hash(1)} are available"

"""Updates that end badly: by command, by verdict, by deadline; and what may follow (S3)."""

from __future__ import annotations

import pytest

from fairlead.core.kinds import ROLLOUTS
from tests.simulation.ends import aborted, healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import WEB, Doc, Routing, analysis, analysis_template, pairs, pod_template, rollout

ALL = list(Routing)
BOTH = [Routing.BASIC, Routing.WAYPOINT]
STEPS = pairs(20, 60)
FAILED = "Step-based analysis phase error/failed"


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("routing", ALL)
def test_abort_by_command_at_every_step(routing: Routing, step: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(step)
        await world.abort()
        await world.until_aborted()
        await world.rest()
        assert shown(world) == aborted(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", [Routing.WAYPOINT, Routing.GATEWAY])
def test_abort_after_the_last_step(routing: Routing) -> None:
    """All weight is being moved to the canary; without a router this step and the promotion are one."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until(lambda: world.weights == (0, 100))
        await world.abort()
        await world.until_aborted()
        await world.rest()
        assert shown(world) == aborted(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("replicas", [1, 10])
@pytest.mark.parametrize("routing", BOTH)
def test_abort_restores_any_number_of_pods(routing: Routing, replicas: int) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, replicas=replicas))
        await world.update(2)
        await world.until_step(3)
        await world.abort()
        await world.until_aborted()
        await world.rest()
        assert shown(world) == aborted(routing, replicas=replicas)

    play(tale, routing=routing)


@pytest.mark.parametrize("delay", [0.01, 0.4, 1.2, 1.7, 1.85, 1.95, 2.1, 3.0])
@pytest.mark.parametrize("routing", BOTH)
def test_abort_in_the_middle_of_a_step(routing: Routing, delay: float) -> None:
    """Pods are started, selectors are switched, weights are on their way."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.clock.sleep(delay)
        await world.abort()
        await world.until_aborted()
        await world.rest()
        assert shown(world) == aborted(routing)

    play(tale, routing=routing)


@pytest.mark.parametrize("index", [0, 1, 3])
@pytest.mark.parametrize("routing", BOTH)
def test_abort_by_verdict_at_every_step(routing: Routing, index: int) -> None:
    async def tale(world: World) -> None:
        world.script = lambda number: 1.0 if world.status["currentStepIndex"] == index else 0.0
        steps: list[Doc] = [{"analysis": analysis()}, {"analysis": analysis()}, {"setWeight": 40}]
        steps += [{"analysis": analysis()}, {"setWeight": 80}]
        await world.deploy(rollout(steps, routing=routing))
        await world.update(2)
        await world.until_aborted()
        failed_at = [run for run in world.runs() if run["status"]["phase"] == "Failed"]
        assert [run["metadata"]["labels"]["step-index"] for run in failed_at] == [str(index)]
        await world.rest()
        cause = f'{FAILED}: Metric "error-rate" assessed Failed due to failed (1) > failureLimit (0)'
        assert shown(world) == aborted(routing, cause=cause)

    play(tale, routing=routing)


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("routing", BOTH)
def test_abort_by_background_verdict_at_every_step(routing: Routing, step: int) -> None:
    async def tale(world: World) -> None:
        world.script = lambda number: float((world.status.get("currentStepIndex") or 0) >= step)
        world.apply(analysis_template(interval="200ms", count=None))
        await world.deploy(rollout(STEPS, routing=routing, canary={"analysis": analysis()}))
        await world.update(2)
        await world.until_aborted()
        await world.rest()
        assert shown(world)["message"].startswith(
            "RolloutAborted: Rollout aborted update to revision 2: Background analysis phase error/failed"
        )
        expected = aborted(routing)
        assert shown(world) | {"message": ""} == expected | {"message": ""}

    play(tale, routing=routing)


def test_a_failing_measurement_aborts_at_once() -> None:
    """Invariant 31: from the failing measurement to weight 0 no time passes but that of the requests."""

    async def tale(world: World) -> None:
        steps: list[Doc] = [{"setWeight": 40}, {"analysis": analysis()}, {"setWeight": 80}]
        world.script = lambda number: 1.0 if number == 2 else 0.0
        await world.deploy(rollout(steps, routing=Routing.WAYPOINT))
        await world.update(2)
        await world.until(lambda: len(world.asked) == 2)
        asked_at = world.asked[-1][0]
        await world.until(lambda: world.weights == (100, 0))
        assert (world.clock.now() - asked_at).total_seconds() < 0.1
        assert [one[2] for one in world.asked] == [1, 2]

    play(tale, routing=Routing.WAYPOINT)


@pytest.mark.parametrize("step", [0, 2])
@pytest.mark.parametrize("routing", ALL)
def test_abort_by_deadline(routing: Routing, step: int) -> None:
    """The pods of the first, or of the second weight never become ready."""

    async def tale(world: World) -> None:
        document = rollout(STEPS, routing=routing, replicas=4, progressDeadlineSeconds=30, progressDeadlineAbort=True)
        await world.deploy(document)
        knobs = {"never_ready": "true"} if step == 0 else {}
        await world.update(2, **knobs)
        if step:
            await world.until_step(1)
            world.break_new_pods(2)
        await world.until_aborted()
        await world.rest()
        pod_hash = world.status["currentPodHash"]
        cause = f'ReplicaSet "web-{pod_hash}" has timed out progressing.'
        assert shown(world) == aborted(routing, replicas=4, cause=cause)
        assert world.events.count("RolloutAborted") == 1

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_without_abort_the_deadline_is_only_told(routing: Routing) -> None:
    """Pods that never become ready; a good version afterwards goes through."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing, progressDeadlineSeconds=30))
        await world.update(2, never_ready="true")
        await world.until_phase("Degraded")
        await world.rest()
        assert world.condition("Progressing") is not None
        progressing = world.condition("Progressing") or {}
        assert (progressing["status"], progressing["reason"]) == ("False", "ProgressDeadlineExceeded")
        assert not world.status.get("abort")
        assert world.weights == ((100, 0) if routing.is_routed else None)
        assert world.story.available_now(world.status["stableRS"]) >= 1
        await world.update(3)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="3")

    play(tale, routing=routing)


@pytest.mark.parametrize("at_rest", [False, True], ids=["while-it-drains", "at-rest"])
@pytest.mark.parametrize("routing", ALL)
def test_retry_goes_through_when_the_reason_is_gone(routing: Routing, at_rest: bool) -> None:
    async def tale(world: World) -> None:
        world.script = lambda number: 1.0
        steps: list[Doc] = [{"setWeight": 50}, {"analysis": analysis()}]
        await world.deploy(rollout(steps, routing=routing))
        await world.update(2)
        await world.until_aborted()
        if at_rest:
            await world.rest()
        world.script = lambda number: 0.0
        await world.retry()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)
        assert sorted(run["status"]["phase"] for run in world.runs()) == ["Failed", "Successful"]
        assert world.rollout["metadata"]["annotations"]["rollout.argoproj.io/revision"] == "2"

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_a_retry_that_fails_again_is_aborted_again(routing: Routing) -> None:
    async def tale(world: World) -> None:
        world.script = lambda number: 1.0
        await world.deploy(rollout([{"setWeight": 50}, {"analysis": analysis()}], routing=routing))
        await world.update(2)
        await world.until_aborted()
        await world.rest()
        await world.retry()
        await world.until(lambda: len(world.runs()) == 2)
        await world.until_aborted()
        await world.rest()
        cause = f'{FAILED}: Metric "error-rate" assessed Failed due to failed (1) > failureLimit (0)'
        assert shown(world) == aborted(routing, cause=cause)

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_after_an_abort_another_version_goes_through(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(2)
        await world.abort()
        await world.until_aborted()
        await world.update(3)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="3")

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", ALL)
def test_after_an_abort_the_stable_version_is_taken_back(routing: Routing) -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until_step(2)
        await world.abort()
        await world.until_aborted()
        await world.patch(ROLLOUTS, WEB, {"spec": {"template": pod_template(1)}})
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, version="1")

    play(tale, routing=routing)


def test_an_abort_of_what_is_stable_leaves_no_trace() -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS, routing=Routing.WAYPOINT))
        await world.abort()
        await world.rest()
        assert shown(world) == healthy(Routing.WAYPOINT, version="1")
        assert "RolloutAborted" not in world.events

    play(tale, routing=Routing.WAYPOINT)

"""Metrics that are good, bad, late, missing or broken (S9)."""

from __future__ import annotations

import math
from datetime import timedelta

import pytest

from tests.simulation.ends import aborted, healthy, shown
from tests.simulation.harness import Answer, World, play
from tests.simulation.manifests import Doc, Routing, analysis, analysis_template, rollout

STEPS: list[Doc] = [{"setWeight": 50}, {"analysis": analysis()}]
OUTAGE = ConnectionError("connection refused")
BOTH = [Routing.BASIC, Routing.WAYPOINT]
NAN, INF = math.nan, math.inf

# what is measured, one after the other (the last one for ever), settings of the metric, and the run's phase
VERDICTS: dict[str, tuple[list[Answer], Doc, str]] = {
    "good": ([0.0], {}, "Successful"),
    "borderline": ([0.0999], {}, "Successful"),
    "bad": ([0.5], {}, "Failed"),
    "bad-at-last": ([0.0, 0.0, 0.5], {}, "Failed"),
    "bad-within-the-limit": ([0.5, 0.0, 0.0], {"failureLimit": 1}, "Successful"),
    "bad-above-the-limit": ([0.5, 0.0, 0.5], {"failureLimit": 1}, "Failed"),
    "gap": ([0.0, None, 0.0], {}, "Successful"),  # nil cannot be compared: an error, and another measurement
    "nothing-at-all": ([None], {}, "Error"),
    "never-a-number": ([NAN], {}, "Failed"),
    "endless": ([INF], {}, "Failed"),
    "endless-where-high-is-good": ([INF], {"successCondition": "result > 0.1"}, "Successful"),  # as upstream
    "endless-and-no-condition": ([INF], {"successCondition": None}, "Inconclusive"),
    "nothing-and-no-condition": ([None], {"successCondition": None}, "Inconclusive"),
    "errors-within-the-limit": ([OUTAGE, OUTAGE, OUTAGE, OUTAGE, 0.0], {"interval": "1s"}, "Successful"),
    "errors-above-the-limit": ([OUTAGE], {"interval": "1s"}, "Error"),
    "flapping-source": ([OUTAGE, 0.0], {"consecutiveErrorLimit": 0}, "Error"),
    "neither-good-nor-bad": ([0.3], {"failureCondition": "result > 0.5"}, "Inconclusive"),
    "doubtful-within-the-limit": (
        [0.3, 0.0, 0.0],
        {"failureCondition": "result > 0.5", "inconclusiveLimit": 1},
        "Successful",
    ),
}


@pytest.mark.parametrize("name", VERDICTS)
@pytest.mark.parametrize("routing", BOTH)
def test_a_verdict_decides_the_update(routing: Routing, name: str) -> None:
    answers, metric, phase = VERDICTS[name]

    async def tale(world: World) -> None:
        world.script = lambda number: answers[min(number, len(answers)) - 1]
        world.apply(analysis_template(**metric))
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until(lambda: any(run["status"].get("phase") == phase for run in world.runs() if "status" in run))
        await world.rest()
        (run,) = world.runs()
        assert run["status"]["phase"] == phase
        if phase == "Successful":
            assert shown(world) == healthy(routing, steps=2)
        elif phase == "Inconclusive":
            assert (world.status["phase"], world.status["message"]) == ("Paused", "InconclusiveAnalysisRun")
            assert world.status["currentPodHash"] != world.status["stableRS"]
        else:
            assert shown(world) | {"message": ""} == aborted(routing) | {"message": ""}

    play(tale, routing=routing)


@pytest.mark.parametrize("routing", BOTH)
def test_doubts_are_resolved_by_a_person(routing: Routing) -> None:
    """Invariant 29: never by themselves."""

    async def tale(world: World) -> None:
        world.script = lambda number: 0.3
        world.apply(analysis_template(failureCondition="result > 0.5"))
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until(lambda: world.status.get("message") == "InconclusiveAnalysisRun")
        await world.rest(600)
        assert world.status["currentStepIndex"] == 1
        await world.promote()
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(routing, steps=2)

    play(tale, routing=routing)


def test_a_source_that_is_down_for_ten_minutes_is_waited_for() -> None:
    async def tale(world: World) -> None:
        back_at = world.clock.now() + timedelta(minutes=12)
        world.script = lambda number: OUTAGE if world.clock.now() < back_at else 0.0
        world.apply(analysis_template(interval="30s", consecutiveErrorLimit=100))
        await world.deploy(rollout(STEPS, routing=Routing.WAYPOINT, progressDeadlineSeconds=60))
        await world.update(2)
        await world.until_done(seconds=1200)
        assert world.clock.now() > back_at
        await world.rest()
        assert shown(world) == healthy(Routing.WAYPOINT, steps=2)

    play(tale, routing=Routing.WAYPOINT)


@pytest.mark.parametrize("routing", BOTH)
def test_an_abort_stops_the_measuring(routing: Routing) -> None:
    """Invariant 34: within one interval."""

    async def tale(world: World) -> None:
        world.apply(analysis_template(count=100))
        await world.deploy(rollout(STEPS, routing=routing))
        await world.update(2)
        await world.until(lambda: len(world.asked) == 3)
        await world.abort()
        await world.until_aborted()
        asked = len(world.asked)
        await world.rest()
        assert len(world.asked) <= asked + 1
        (run,) = world.runs()
        assert run["status"]["phase"] == "Successful"
        assert run["spec"]["terminate"] is True

    play(tale, routing=routing)


def test_a_measurement_in_flight_when_the_controller_dies_counts_once() -> None:
    """Invariant 30."""

    async def tale(world: World) -> None:
        world.apply(analysis_template(count=6))
        await world.deploy(rollout(STEPS, routing=Routing.WAYPOINT))
        await world.update(2)
        for _ in range(3):
            asked = len(world.asked)
            await world.until(lambda: len(world.asked) > asked)  # noqa: B023  # awaited at once
            await world.restart()
        await world.until_done()
        await world.rest()
        (run,) = world.runs()
        (result,) = run["status"]["metricResults"]
        assert (result["count"], result["successful"]) == (6, 6)
        assert shown(world) == healthy(Routing.WAYPOINT, steps=2)

    play(tale, routing=Routing.WAYPOINT)


def test_a_template_that_is_missing_is_told_and_waited_for() -> None:
    async def tale(world: World) -> None:
        steps: list[Doc] = [{"setWeight": 50}, {"analysis": {"templates": [{"templateName": "later"}]}}]
        world.apply(rollout(steps, routing=Routing.WAYPOINT))
        world.start()
        await world.until_phase("Degraded")
        assert "InvalidSpec" in world.status["message"]
        assert "later" in world.status["message"]
        template = analysis_template()
        template["metadata"]["name"] = "later"
        world.apply(template)
        await world.until_done()
        await world.update(2)
        await world.until_done()
        await world.rest()
        assert shown(world) == healthy(Routing.WAYPOINT, steps=2)

    play(tale, routing=Routing.WAYPOINT)

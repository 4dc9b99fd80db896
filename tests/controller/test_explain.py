"""`explain` on a cluster where the very controller is at work, under virtual time."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.controller.explain import Explanation, explain_analysis_run, explain_rollout, text
from fairlead.controller.policy import PolicyRun, simulated
from fairlead.core.errors import NotFound
from fairlead.core.objects import ObjectKey
from fairlead.testing.waypoint import Behaviour
from tests.controller.test_policy import ANALYSIS, NEXT, PAUSE, PROMETHEUS, WEIGHT, routed, template


async def explained(run: PolicyRun) -> Explanation:
    found = await explain_rollout(run.cluster, run.clock, run.key)
    assert found is not None, "the Rollout is there"
    return found


async def waits(run: PolicyRun) -> str:
    blocked = (await explained(run)).blocked_on
    return blocked.what if blocked is not None else ""


@simulated
async def test_a_healthy_rollout_waits_for_nothing() -> None:
    async with PolicyRun([routed(WEIGHT, PAUSE)]) as run:
        await run.clock.sleep(60)
        found = await explained(run)
        assert (found.phase, found.blocked_on) == ("Healthy", None)
        assert "waits for   nothing" in text("rollout/web", found, run.clock.now())


@simulated
async def test_a_pause_tells_when_it_ends_and_what_comes_then() -> None:
    async with PolicyRun([routed(WEIGHT, PAUSE, {"setWeight": 50})]) as run:
        await run.set_image(NEXT)
        await run.until(lambda: run.phase == "Paused")
        found = await explained(run)
        blocked = found.blocked_on
        assert blocked is not None
        assert blocked.since is not None
        assert (blocked.reason, blocked.what) == ("PauseStep", "the pause of 60 s is over")
        assert (blocked.next, blocked.at) == ("step 3 of 3 (setWeight: 50)", blocked.since + timedelta(seconds=60))
        shown = text("rollout/web", found, run.clock.now())
        assert "waits for   the pause of 60 s is over  [PauseStep]" in shown
        assert "TrafficRouted  True     Applied" in shown


@pytest.mark.parametrize("has_evidence", [pytest.param(True, id="evidence"), pytest.param(False, id="settle-delay")])
def test_a_lagging_wire_is_waited_for_and_no_instant_is_promised(has_evidence: bool) -> None:
    @simulated
    async def check() -> None:
        behaviour = Behaviour(lag=(8.0, 8.0))
        async with PolicyRun([routed(WEIGHT, PAUSE)], behaviour=behaviour, has_evidence=has_evidence) as run:
            await run.clock.sleep(60)
            await run.set_image(NEXT)
            await run.until(lambda: _weight(run) == 25)
            assert "PreflightRefused" not in str(run.status["conditions"])  # which it was in the beginning
            blocked = (await explained(run)).blocked_on
            assert blocked is not None
            assert blocked.what == "weight 25 of 100 is accepted; the controller waits until traffic follows"
            assert (blocked.reason, blocked.at) == ("TrafficPending", None)

    check()


def _weight(run: PolicyRun) -> Any:
    return ((run.status.get("canary") or {}).get("weights") or {}).get("canary", {}).get("weight")


@simulated
async def test_what_the_proxy_says_is_told() -> None:
    async with PolicyRun([routed(WEIGHT, PAUSE)]) as run:
        run.plane.behave(refuses=True)
        await run.set_image(NEXT)
        await run.until(lambda: "ProxyRefused" in str(run.status.get("conditions")))
        assert "invalid perl operator: (?=" in await waits(run)


@simulated
async def test_an_abort_waits_for_a_person() -> None:
    async with PolicyRun([routed(WEIGHT, {"pause": {}})]) as run:
        await run.set_image(NEXT)
        await run.until(lambda: run.phase == "Paused")
        assert await waits(run) == "somebody promotes the rollout"
        await run.abort()
        await run.until_aborted()
        await run.clock.sleep(300)  # until its pods have gone
        assert await waits(run) == "a retry, a full promotion or another revision is asked for"


@simulated
async def test_an_analysis_is_named_and_tells_what_it_waits_for_itself() -> None:
    metric = template(provider=PROMETHEUS, successCondition="true", interval="60s")
    async with PolicyRun([metric, routed(WEIGHT, ANALYSIS)]) as run:
        run.answer("errors", 1)
        await run.set_image(NEXT)
        await run.until(lambda: "Running" in str(run.status.get("canary")))
        found = await explained(run)
        name = run.runs[0]["metadata"]["name"]
        assert found.blocked_on is not None
        assert found.blocked_on.what == f"AnalysisRun {name} is successful (now: Running)"
        assert found.details[0] == f"step analysis {name}: Running"
        assert found.details[1].startswith(f"  {name} waits for: ")
        of_run = await explain_analysis_run(run.cluster, run.clock, ObjectKey("shop", name))
        assert of_run.phase == "Running"
        assert of_run.blocked_on is not None
        assert found.details[1] == f"  {name} waits for: {of_run.blocked_on.what}"


@simulated
async def test_what_is_not_there_is_not_explained() -> None:
    async with PolicyRun([routed(WEIGHT, PAUSE)]) as run:
        assert await explain_rollout(run.cluster, run.clock, ObjectKey("shop", "other")) is None
        with pytest.raises(NotFound):
            await explain_analysis_run(run.cluster, run.clock, ObjectKey("shop", "other"))


@simulated
async def test_nothing_is_written_by_an_explanation() -> None:
    async with PolicyRun([routed(WEIGHT, PAUSE)]) as run:
        await run.clock.sleep(600)
        commits: list[str] = []
        run.cluster.on_commit(lambda verb, resource, _old, _new: commits.append(f"{verb} {resource.kind}"))
        await explained(run)
        assert commits == []

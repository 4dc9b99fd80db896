from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest

from fairlead.controller.policy import PolicyRun, simulated
from fairlead.core.kinds import SERVICES
from fairlead.core.objects import ObjectKey

Json = dict[str, Any]
NEXT = "shop/web:2"


def rollout(*steps: Json, **canary: Any) -> Json:
    container = {"name": "web", "image": "shop/web:1", "ports": [{"containerPort": 9000}]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "replicas": 4,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
            "strategy": {"canary": {"steps": list(steps), **canary}},
        },
    }


def routed(*steps: Json, **canary: Any) -> Json:
    return rollout(
        *steps,
        stableService="web-stable",
        canaryService="web-canary",
        trafficRouting={"plugins": {"fairlead/waypoint": {"service": "web"}}},
        **canary,
    )


def template(**metric: Any) -> Json:
    content = {"name": "errors", "count": 2, "interval": "10s", "failureLimit": 0, **metric}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "errors", "namespace": "shop"},
        "spec": {"metrics": [content]},
    }


PROMETHEUS = {"prometheus": {"address": "http://nowhere", "query": "q"}}
WEIGHT, PAUSE = {"setWeight": 25}, {"pause": {"duration": "60s"}}
ANALYSIS = {"analysis": {"templates": [{"templateName": "errors"}]}}


@pytest.mark.parametrize("count", [pytest.param(0, id="none"), pytest.param(2, id="two")])
def test_exactly_one_rollout_is_run(count: int) -> None:
    with pytest.raises(ValueError, match=f"found {count} Rollouts among the manifests, expected exactly one"):
        PolicyRun([template(), *[rollout()] * count])


@simulated
async def test_its_first_version_is_healthy_before_anything_else() -> None:
    async with PolicyRun([rollout(WEIGHT, PAUSE)]) as run:
        assert (run.phase, run.share, run.share_max, run.runs) == ("Healthy", 0, 0, [])


@simulated
async def test_services_and_namespace_are_made_where_the_manifests_have_none() -> None:
    own = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop", "labels": {"own": "yes"}},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "x", "port": 80, "targetPort": 9000}]},
    }
    async with PolicyRun([own, routed(WEIGHT, PAUSE)]) as run:
        found = {name: run.cluster.read(SERVICES, ObjectKey("shop", name)) for name in ("web", "web-stable")}
        assert found["web"] is not None
        assert found["web"]["metadata"]["labels"] == {"own": "yes"}
        assert found["web-stable"] is not None
        assert found["web-stable"]["spec"]["ports"][0]["targetPort"] == 9000


@simulated
async def test_without_a_router_pods_are_the_share() -> None:
    async with PolicyRun([rollout(WEIGHT, PAUSE, {"setWeight": 50}, PAUSE)]) as run:
        await run.set_image(NEXT)
        await run.until(lambda: run.phase == "Paused")
        assert run.share == 25
        seconds = await run.until_healthy()
        assert 110 < seconds < 150
        # One pod more than wanted may run meanwhile, so the shares in between are of five.
        assert run.share_max >= 50
        assert run.share == 0


@simulated
async def test_with_a_router_the_wire_is_the_share() -> None:
    async with PolicyRun([routed(WEIGHT, PAUSE)]) as run:
        await run.set_image(NEXT)
        await run.until(lambda: run.phase == "Paused")
        assert run.share == 25
        await run.until_healthy()
        assert [share for _, share in run.history] == [0, 25, 100, 0]


@pytest.mark.parametrize(
    ("provider", "condition", "good", "bad"),
    [
        pytest.param(PROMETHEUS, "result[0] < 0.1", 0.01, 0.2, id="prometheus-number"),
        pytest.param(PROMETHEUS, "len(result) == 2", [1, 2.5], [], id="prometheus-list"),
        pytest.param({"web": {"url": "http://x"}}, "result.ok", {"ok": True}, {"ok": False}, id="web"),
        pytest.param({"plugin": {"acme/q": {}}}, 'result == "fine"', "fine", "bad", id="plugin"),
        pytest.param({"datadog": {"query": "q"}}, "result < 0.1", 0.01, 0.2, id="not-built-in"),
    ],
)
def test_every_provider_is_answered_by_the_test(provider: Json, condition: str, good: Any, bad: Any) -> None:
    @simulated
    async def check() -> None:
        manifests = [template(provider=provider, successCondition=condition), routed(WEIGHT, ANALYSIS)]
        async with PolicyRun(manifests) as run:
            run.answer("errors", bad)
            await run.set_image(NEXT)
            await run.until_aborted()
            assert [one["status"]["phase"] for one in run.runs] == ["Failed"]
            run.answer("errors", good)
            await run.retry()
            await run.until_healthy()

    check()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        pytest.param(None, "nobody said what errors is: see PolicyRun.answer", id="no-answer"),
        pytest.param(RuntimeError("connection refused"), "connection refused", id="source-is-down"),
        pytest.param(lambda: RuntimeError("at this moment"), "at this moment", id="asked-each-time"),
    ],
)
def test_a_metric_without_an_answer_is_an_error(answer: Any, message: str) -> None:
    @simulated
    async def check() -> None:
        manifests = [template(provider=PROMETHEUS, successCondition="true"), routed(WEIGHT, ANALYSIS)]
        async with PolicyRun(manifests) as run:
            if answer is not None:
                run.answer("errors", answer)
            await run.set_image(NEXT)
            await run.until_aborted()
            [found] = run.runs
            assert found["status"]["phase"] == "Error"
            assert message in found["status"]["metricResults"][0]["measurements"][0]["message"]

    check()


@pytest.mark.parametrize(
    ("code", "phase"), [pytest.param(0, "Successful", id="good"), pytest.param(1, "Failed", id="bad")]
)
def test_jobs_run_on_the_simulated_cluster(code: int, phase: str) -> None:
    @simulated
    async def check() -> None:
        container = {"name": "c", "image": "busybox", "command": ["sh", "-c", f"sleep 3; exit {code}"]}
        pod = {"spec": {"restartPolicy": "Never", "containers": [container]}}
        job = {"job": {"spec": {"backoffLimit": 0, "template": pod}}}
        async with PolicyRun([template(provider=job, count=1), routed(WEIGHT, ANALYSIS)]) as run:
            await run.set_image(NEXT)
            await run.until(lambda: [one.get("status", {}).get("phase") for one in run.runs] == [phase])

    check()


@simulated
async def test_people_may_act() -> None:
    async with PolicyRun([routed(WEIGHT, {"pause": {}}, {"setWeight": 50}, {"pause": {}})]) as run:
        await run.set_image(NEXT)
        await run.until(lambda: run.phase == "Paused" and run.step == 1)
        await run.promote()
        await run.until(lambda: run.phase == "Paused" and run.step == 3)
        assert run.share == 50
        await run.abort()
        assert await run.until_aborted() < 1
        await run.retry()
        await run.until(lambda: run.phase == "Paused" and run.step == 1)
        await run.promote(full=True)
        await run.until_healthy()


@simulated
async def test_the_highest_share_counts_from_the_latest_version() -> None:
    async with PolicyRun([routed(WEIGHT, {"pause": {}})]) as run:
        await run.set_image(NEXT)
        await run.until(lambda: run.phase == "Paused")
        await run.promote()
        await run.until_healthy()
        assert run.share_max == 100
        await run.set_image("shop/web:3")
        await run.until(lambda: run.phase == "Paused")
        assert run.share_max == 25


@simulated
async def test_what_does_not_come_true_in_time_is_told_with_how_things_stand() -> None:
    async with PolicyRun([routed(WEIGHT, PAUSE)], seed=7) as run:
        await run.set_image(NEXT)
        with pytest.raises(AssertionError) as caught:
            await run.until(lambda: run.share == 50, within=30)
        told = str(caught.value)
        assert told.startswith("does not hold within 30 s: Paused (CanaryPauseStep), step 1, the canary gets 25 %")
        assert "it waits for: the pause of 60 s is over (seed 7)" in told


@simulated
async def test_a_first_version_that_never_becomes_healthy_is_no_policy_to_test() -> None:
    broken = copy.deepcopy(rollout(WEIGHT))
    broken["spec"]["template"]["spec"]["containers"][0]["command"] = ["false"]
    before = asyncio.all_tasks()
    with pytest.raises(AssertionError, match="0 of 4 pods"):
        async with PolicyRun([broken]):
            raise RuntimeError("it must not come to this")
    assert asyncio.all_tasks() == before


def history(seed: int) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []

    @simulated
    async def run_it() -> None:
        async with PolicyRun([routed(WEIGHT, PAUSE)], seed=seed) as run:
            await run.set_image(NEXT)
            await run.until_healthy()
            found.extend(run.history)

    run_it()
    return found


def test_the_same_seed_is_the_same_run() -> None:
    assert history(3) == history(3)
    assert history(3) != history(4)


def test_a_simulated_test_keeps_its_name_and_its_arguments() -> None:
    seen: list[str] = []

    async def test_something(value: str) -> None:
        """Say it."""
        await asyncio.sleep(3600)
        seen.append(value)

    wrapped: Callable[[str], None] = simulated(test_something)
    wrapped("here")
    assert seen == ["here"]
    assert (wrapped.__name__, wrapped.__doc__) == ("test_something", "Say it.")

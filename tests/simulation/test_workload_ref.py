"""Rollouts that take their pod template from a Deployment, and its pods over."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from fairlead.core.objects import ObjectKey
from tests.simulation.harness import World, play
from tests.simulation.manifests import HASH_LABEL, NAMESPACE, Doc, Routing, pod_template, rollout

OLD = ObjectKey(NAMESPACE, "web-old")
STEPS: list[dict[str, Any]] = [{"setWeight": 50}, {"pause": {"duration": "2s"}}]


def deployment(replicas: int = 2) -> Doc:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": OLD.name, "namespace": NAMESPACE},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": pod_template(1),
        },
    }


def referring(routing: Routing = Routing.BASIC, *, scale_down: str = "never", replicas: int = 2) -> Doc:
    document = rollout(STEPS, routing=routing, replicas=replicas)
    del document["spec"]["template"], document["spec"]["selector"]
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": OLD.name, "scaleDown": scale_down}
    document["spec"]["workloadRef"] = reference
    return document


def size(world: World) -> int:
    found = world.cluster.read(DEPLOYMENTS, OLD)
    assert found is not None
    replicas: int = found["spec"]["replicas"]
    return replicas


def sizes_of_ours(world: World) -> dict[str, int]:
    return {
        one["spec"]["template"]["spec"]["containers"][0]["image"]: one["spec"]["replicas"]
        for one in world.cluster.read_all(REPLICA_SETS, NAMESPACE)
        if HASH_LABEL in one["metadata"]["labels"]
    }


async def give_deployment(world: World, version: int) -> None:
    body = {"spec": {"template": pod_template(version)}}
    await world.patch(DEPLOYMENTS, OLD, body)


async def healthy(world: World) -> None:
    def is_so() -> bool:
        status, metadata = world.status, world.rollout["metadata"]
        generation = (world.cluster.read(DEPLOYMENTS, OLD) or {})["metadata"]["generation"]
        return (
            status.get("phase") == "Healthy"
            and status.get("workloadObservedGeneration") == str(generation)
            and metadata["annotations"]["rollout.argoproj.io/workload-generation"] == str(generation)
            and status.get("stableRS") == status.get("currentPodHash")
        )

    await world.until(is_so)


@pytest.mark.parametrize("scale_down", ["never", "onsuccess", "progressively"])
def test_pods_are_taken_over_and_updates_follow_the_deployment(scale_down: str) -> None:
    async def tale(world: World) -> None:
        world.apply(deployment(), referring(scale_down=scale_down))
        world.start()
        await healthy(world)
        await world.rest()
        assert size(world) == (2 if scale_down == "never" else 0)
        await world.patch(DEPLOYMENTS, OLD, {"spec": {"replicas": 0}})  # what "never" leaves to a person
        await world.rest()
        await give_deployment(world, 2)
        await world.until(lambda: "web:2" in sizes_of_ours(world))
        await healthy(world)
        await world.rest()
        assert sizes_of_ours(world) == {"web:1": 0, "web:2": 2}
        assert size(world) == 0
        assert "template" not in world.rollout["spec"], "nothing is written back"
        assert "selector" not in world.rollout["spec"]

    play(tale)


def test_one_pod_for_another() -> None:
    """Together they never have fewer available pods than wanted."""

    async def tale(world: World) -> None:
        world.apply(deployment(4), referring(scale_down="progressively", replicas=4))
        await world.until(lambda: len(_ready(world)) == 4)
        fewest = 4

        def note(*_write: Any) -> None:
            nonlocal fewest
            fewest = min(fewest, len(_ready(world)))

        world.cluster.on_commit(note)
        world.start()
        await healthy(world)
        await world.rest()
        assert size(world) == 0
        assert fewest >= 4
        await world.scale(6)
        await world.rest()
        assert size(world) == 0, "an autoscaler of the Rollout brings none of them back"

    play(tale)


def _ready(world: World) -> list[Doc]:
    return [
        one
        for one in world.cluster.read_all(PODS, NAMESPACE)
        if "deletionTimestamp" not in one["metadata"]
        and any(c["type"] == "Ready" and c["status"] == "True" for c in one.get("status", {}).get("conditions", ()))
    ]


def test_a_deployment_that_comes_later_is_noticed() -> None:
    async def tale(world: World) -> None:
        world.apply(referring())
        world.start()
        await world.until_phase("Degraded")
        assert 'deployments.apps "web-old" not found' in world.status["message"]
        await world.rest(30)
        world.apply(deployment())
        await healthy(world)

    play(tale)


def test_a_fresh_controller_finds_nothing_to_do() -> None:
    async def tale(world: World) -> None:
        world.apply(deployment(), referring(scale_down="onsuccess"))
        world.start()
        await healthy(world)
        await world.rest()
        before = len(world.writes)
        await world.restart(gracefully=True)
        await world.rest()
        assert len(world.writes) == before

    play(tale)


def test_deployments_are_not_watched_without_need() -> None:
    async def tale(world: World) -> None:
        await world.deploy(rollout(STEPS))
        assert world.controller is not None
        assert not world.controller.caches.workload_stores[DEPLOYMENTS].has_synced
        world.apply(deployment())
        assert len(world.controller.caches.workload_stores[DEPLOYMENTS].list()) == 0

    play(tale)

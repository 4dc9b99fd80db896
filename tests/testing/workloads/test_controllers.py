"""The loops around the decisions: what they do when the API refuses, or was faster than they."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fairlead.core.cluster import ANY, MergePatch, Preconditions, Propagation
from fairlead.core.errors import Forbidden, Unavailable
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta, T
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.workloads import Workloads
from fairlead.testing.workloads._controllers import Names
from fairlead.testing.workloads._names import generated
from tests.testing.worlds import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    NAMESPACE,
    PODS,
    REPLICA_SETS,
    SERVICES,
    SimWorld,
    deployment,
    key,
    replica_set,
    service,
    template,
)


class Obstinate(SimulatedCluster):
    """A cluster that can be told to refuse, or to lose its answers."""

    def __init__(self, clock: LoopClock) -> None:
        super().__init__(clock)
        self.refuses_pods = ""
        self.refuses_deletions = ""
        self.lost_answers = 0

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, namespace: str = "") -> T:
        if self.refuses_pods and kind.plural == "pods":
            raise Forbidden(self.refuses_pods, status=403, reason="Forbidden")
        found = await super().create(kind, body, namespace=namespace)
        if self.lost_answers:
            self.lost_answers -= 1
            raise Unavailable("connection lost before the answer")
        return found

    async def delete(
        self,
        kind: Kind[Any],
        key: ObjectKey,
        *,
        preconditions: Preconditions = ANY,
        propagation: Propagation = Propagation.BACKGROUND,
        grace_period_seconds: int | None = None,
    ) -> None:
        if self.refuses_deletions and kind.plural == "pods":
            raise Forbidden(self.refuses_deletions, status=403, reason="Forbidden")
        await super().delete(
            kind,
            key,
            preconditions=preconditions,
            propagation=propagation,
            grace_period_seconds=grace_period_seconds,
        )


def play(story: Callable[[SimWorld, Obstinate], Awaitable[None]]) -> None:
    """Play a story with the controllers alone: without a kubelet pods stay Pending."""

    async def run() -> None:
        clock = LoopClock()
        cluster = Obstinate(clock)
        task = asyncio.create_task(Workloads(cluster, clock).run())
        await story(SimWorld(cluster, clock), cluster)
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run_virtual(run())


def failures(world: SimWorld, kind: Kind[Any]) -> list[tuple[str, str]]:
    found = world.read(kind, "web").get("status", {}).get("conditions", [])
    return [(one["reason"], one["message"]) for one in found if one["type"] == "ReplicaFailure"]


def test_refused_pods_show_as_replica_failure_until_they_are_let_in() -> None:
    async def story(world: SimWorld, cluster: Obstinate) -> None:
        cluster.refuses_pods = "exceeded quota: pods=0"
        await world.create(DEPLOYMENTS, deployment(2))
        expected = [("FailedCreate", "exceeded quota: pods=0")]
        await world.until(lambda: failures(world, DEPLOYMENTS) == expected)
        (replica_set,) = world.cluster.read_all(REPLICA_SETS)
        assert "FailedCreate" in str(replica_set["status"]["conditions"])
        cluster.refuses_pods = ""
        await world.until(lambda: len(world.pods()) == 2 and failures(world, DEPLOYMENTS) == [], seconds=600)

    play(story)


def test_refused_deletion_shows_as_replica_failure() -> None:
    async def story(world: SimWorld, cluster: Obstinate) -> None:
        await world.create(REPLICA_SETS, replica_set(2))
        await world.until(lambda: len(world.pods()) == 2)
        cluster.refuses_deletions = "not today"
        await world.scale(REPLICA_SETS, "web", 1)
        await world.until(lambda: failures(world, REPLICA_SETS) == [("FailedDelete", "not today")])
        cluster.refuses_deletions = ""
        await world.until(lambda: len(world.pods()) == 1 and failures(world, REPLICA_SETS) == [], seconds=600)

    play(story)


def test_lost_answers_create_nothing_twice() -> None:
    async def story(world: SimWorld, cluster: Obstinate) -> None:
        await world.create(SERVICES, service())
        await world.create(DEPLOYMENTS, deployment(3))
        cluster.lost_answers = 5  # the ReplicaSet's, the slice's, those of the pods
        await world.until(lambda: not cluster.lost_answers and len(world.pods()) == 3)
        await world.clock.sleep(300)
        created = [kind for _, verb, kind, _, _ in world.history if verb == "create"]
        assert (created.count("Pod"), created.count("ReplicaSet"), created.count("EndpointSlice")) == (3, 1, 1)

    play(story)


def test_taken_names_are_passed_over() -> None:
    async def story(world: SimWorld, cluster: Obstinate) -> None:
        taken = [generated("web-", 0, NAMESPACE, "web", number) for number in range(2)]
        for name in taken:
            await world.create(PODS, {"metadata": {"name": name}, "spec": template()["spec"]})
        await world.create(REPLICA_SETS, replica_set(1))
        await world.until(lambda: len(world.pods(app="web")) == 1)
        assert world.pods(app="web")[0]["metadata"]["name"] == generated("web-", 0, NAMESPACE, "web", 2)

    play(story)


def test_strangers_replica_set_under_our_hash_leads_to_another_hash() -> None:
    async def story(world: SimWorld, cluster: Obstinate) -> None:
        await world.create(DEPLOYMENTS, deployment(1))
        await world.until(lambda: len(world.cluster.read_all(REPLICA_SETS)) == 1)
        (ours,) = world.cluster.read_all(REPLICA_SETS)
        name = ours["metadata"]["name"]
        await world.remove(DEPLOYMENTS, "web")
        await world.until(lambda: not world.cluster.read_all(REPLICA_SETS))
        await world.create(REPLICA_SETS, replica_set(0, name=name))
        await world.create(DEPLOYMENTS, deployment(1))
        await world.until(lambda: len(world.cluster.read_all(REPLICA_SETS)) == 2)
        assert world.read(DEPLOYMENTS, "web")["status"]["collisionCount"] == 1
        await world.until(lambda: len(world.pods()) == 1)

    play(story)


def test_slices_of_others_are_left_alone_and_ours_are_healed() -> None:
    async def story(world: SimWorld, cluster: Obstinate) -> None:
        labels = {"kubernetes.io/service-name": "web", "endpointslice.kubernetes.io/managed-by": "somebody-else"}
        theirs = {"metadata": {"name": "theirs", "labels": labels}, "addressType": "IPv4", "endpoints": [], "ports": []}
        await world.create(ENDPOINT_SLICES, theirs)
        await world.create(SERVICES, service())
        await world.until(lambda: len(world.cluster.read_all(ENDPOINT_SLICES)) == 2)
        ours = next(
            found["metadata"]["name"]
            for found in world.cluster.read_all(ENDPOINT_SLICES)
            if found["metadata"]["name"] != "theirs"
        )
        stranger = [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}]
        await world.cluster.patch(ENDPOINT_SLICES, key(ours), MergePatch({"endpoints": stranger}))
        await world.until(lambda: not world.read(ENDPOINT_SLICES, ours).get("endpoints"))
        await world.remove(ENDPOINT_SLICES, ours)
        await world.until(lambda: len(world.cluster.read_all(ENDPOINT_SLICES)) == 2)
        assert world.read(ENDPOINT_SLICES, "theirs")["metadata"]["labels"] == labels

    play(story)


def test_names_follow_from_seed_and_history() -> None:
    owner = ObjectMeta(name="web-7f9c", namespace="shop", uid="u1")
    first, again, other = Names(1), Names(1), Names(2)
    assert first.next(owner) == first.next(owner) == again.next(owner) != other.next(owner)
    before = first.next(owner)
    first.used(owner)
    assert first.next(owner) != before
    first.forget("u1")
    assert first.next(owner) == before

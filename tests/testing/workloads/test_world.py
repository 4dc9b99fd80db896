"""The built-in controllers and the kubelet together, on the simulated cluster, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.testing.kubelet import KubeletSettings
from tests.testing.worlds import (
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    JOBS,
    PODS,
    REPLICA_SETS,
    SERVICES,
    SimWorld,
    deployment,
    job,
    key,
    play,
    replica_set,
    service,
    template,
)


def ready(world: SimWorld, count: int, kind: Any = REPLICA_SETS, name: str = "web") -> Callable[[], bool]:
    def holds() -> bool:
        status = world.read(kind, name).get("status", {})
        return (status.get("replicas", 0), status.get("readyReplicas", 0)) == (count, count)

    return holds


def test_replica_set_scales_up_and_down() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(REPLICA_SETS, replica_set(0))
        await world.until(lambda: world.read(REPLICA_SETS, "web").get("status", {}).get("observedGeneration") == 1)
        assert world.read(REPLICA_SETS, "web")["status"]["replicas"] == 0
        await world.scale(REPLICA_SETS, "web", 3)
        before = world.clock.monotonic()
        at = await world.until(ready(world, 3))
        assert at - before > 1.0  # ready after a second at least
        names = {pod["metadata"]["name"] for pod in world.pods()}
        assert len(names) == 3
        assert all(name.startswith("web-") and len(name) == len("web-xxxxx") for name in names)
        assert {pod["spec"]["nodeName"] for pod in world.pods()} == {"node-1", "node-2", "node-3"}
        assert world.read(REPLICA_SETS, "web")["status"] == {
            "replicas": 3,
            "fullyLabeledReplicas": 3,
            "readyReplicas": 3,
            "availableReplicas": 3,
            "terminatingReplicas": 0,
            "observedGeneration": 2,
        }
        await world.scale(REPLICA_SETS, "web", 1)
        await world.until(lambda: ready(world, 1)() and len(world.pods()) == 1)

    play(story)


def test_lost_pod_is_replaced_also_when_evicted() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(REPLICA_SETS, replica_set(2))
        await world.until(ready(world, 2))
        first, second = (pod["metadata"]["name"] for pod in world.pods())
        await world.cluster.evict(key(first))
        await world.cluster.delete(PODS, key(second), grace_period_seconds=0)
        await world.until(lambda: ready(world, 2)() and len(world.pods()) == 2)
        assert not {first, second} & {pod["metadata"]["name"] for pod in world.pods()}

    play(story)


def test_min_ready_seconds_delay_availability() -> None:
    async def story(world: SimWorld) -> None:
        body = replica_set(1)
        body["spec"]["minReadySeconds"] = 30
        await world.create(REPLICA_SETS, body)
        ready_at = await world.until(ready(world, 1))
        assert "availableReplicas" not in world.read(REPLICA_SETS, "web")["status"]
        available_at = await world.until(
            lambda: world.read(REPLICA_SETS, "web")["status"].get("availableReplicas") == 1
        )
        assert 29 <= available_at - ready_at <= 31

    play(story)


def test_crashing_image_never_becomes_ready() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(REPLICA_SETS, replica_set(1, image="web:crash"))

        def restarts() -> int:
            (pod,) = world.pods()
            return int(pod.get("status", {}).get("containerStatuses", [{}])[0].get("restartCount", 0))

        await world.until(lambda: bool(world.pods()) and restarts() >= 3)
        await world.until(lambda: "CrashLoopBackOff" in str(world.pods()[0]["status"]["containerStatuses"][0]["state"]))
        assert world.read(REPLICA_SETS, "web")["status"]["replicas"] == 1
        was_ready = [new for _, _, kind, _, new in world.history if kind == "ReplicaSet" and new]
        assert all("readyReplicas" not in body.get("status", {}) for body in was_ready)

    play(story)


def test_image_that_cannot_be_pulled_is_replaced_by_scaling_to_zero() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(REPLICA_SETS, replica_set(1, image="web:does-not-exist"))
        await world.until(lambda: bool(world.pods()) and "ImagePullBackOff" in str(world.pods()[0].get("status")))
        assert world.pods()[0]["status"]["phase"] == "Pending"
        await world.scale(REPLICA_SETS, "web", 0)
        await world.until(lambda: not world.pods())

    play(story)


def test_pods_beyond_the_nodes_capacity_wait() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(REPLICA_SETS, replica_set(5))
        await world.until(lambda: world.read(REPLICA_SETS, "web").get("status", {}).get("readyReplicas") == 3)
        waiting = [pod for pod in world.pods() if "nodeName" not in pod["spec"]]
        assert len(waiting) == 2
        (condition,) = waiting[0]["status"]["conditions"]
        assert (condition["type"], condition["reason"]) == ("PodScheduled", "Unschedulable")
        assert condition["message"] == "0/3 nodes are available: 3 Too many pods."
        # A place that becomes free is taken by one that waits.
        bound = next(pod for pod in world.pods() if "nodeName" in pod["spec"])
        await world.scale(REPLICA_SETS, "web", 4)
        await world.remove(PODS, bound["metadata"]["name"])
        await world.until(
            lambda: world.read(REPLICA_SETS, "web")["status"].get("readyReplicas") == 3 and len(world.pods()) == 4
        )
        assert bound["metadata"]["name"] not in {pod["metadata"]["name"] for pod in world.pods()}

    play(story, settings=KubeletSettings(pods_max=1, lease_seconds=None))


def test_deleting_the_replica_set_takes_its_pods() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(REPLICA_SETS, replica_set(2))
        await world.until(ready(world, 2))
        await world.remove(REPLICA_SETS, "web")
        await world.until(lambda: not world.pods())

    play(story)


# --- jobs -------------------------------------------------------------------------------------------------------------


def job_conditions(world: SimWorld) -> list[tuple[str, str]]:
    found = world.read(JOBS, "task").get("status", {}).get("conditions", [])
    return [(condition["type"], condition["reason"]) for condition in found if condition["status"] == "True"]


@pytest.mark.parametrize(
    ("body", "last", "status"),
    [
        pytest.param(job("sleep", "20"), ("Complete", "CompletionsReached"), {"succeeded": 1}, id="sleep"),
        pytest.param(
            job("sh", "-c", "exit 3", backoffLimit=1), ("Failed", "BackoffLimitExceeded"), {"failed": 2}, id="exit"
        ),
        pytest.param(job("sleep", "1000", activeDeadlineSeconds=30), ("Failed", "DeadlineExceeded"), {}, id="deadline"),
        pytest.param(
            job("sleep", "5", completions=5, parallelism=2),
            ("Complete", "CompletionsReached"),
            {"succeeded": 5},
            id="five",
        ),
        pytest.param(
            job("false", restart="OnFailure", backoffLimit=2), ("Failed", "BackoffLimitExceeded"), {}, id="on-failure"
        ),
    ],
)
def test_job_runs_to_its_end(body: dict[str, Any], last: tuple[str, str], status: dict[str, int]) -> None:
    async def story(world: SimWorld) -> None:
        await world.create(JOBS, body)
        await world.until(lambda: last in job_conditions(world))
        found = world.read(JOBS, "task")["status"]
        assert {name: found.get(name) for name in status} == status
        assert not found.get("active")
        assert ("completionTime" in found) == (last[0] == "Complete")
        most = body["spec"].get("parallelism", 1)
        active = [
            new.get("status", {}).get("active", 0) for _, _, kind, _, new in world.history if kind == "Job" and new
        ]
        assert max(active) == most

    play(story)


def test_suspended_job_starts_when_it_is_resumed_and_goes_after_its_time() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(JOBS, job("true", suspend=True, ttlSecondsAfterFinished=20))
        await world.until(lambda: ("Suspended", "JobSuspended") in job_conditions(world))
        assert not world.pods()
        await world.cluster.patch(JOBS, key("task"), MergePatch({"spec": {"suspend": False}}))
        done_at = await world.until(lambda: ("Complete", "CompletionsReached") in job_conditions(world))
        gone_at = await world.until(lambda: world.cluster.read(JOBS, key("task")) is None)
        assert 19 <= gone_at - done_at <= 21
        await world.until(lambda: not world.pods())

    play(story)


# --- endpoints --------------------------------------------------------------------------------------------------------


def endpoints(world: SimWorld) -> dict[str, tuple[bool, bool, bool]]:
    """Return (ready, serving, terminating) by pod."""
    found = {}
    for slice_ in world.cluster.read_all(ENDPOINT_SLICES):
        assert slice_["metadata"]["labels"]["kubernetes.io/service-name"] == "web"
        for endpoint in slice_.get("endpoints") or []:
            shown = endpoint["conditions"]
            found[endpoint["targetRef"]["name"]] = (shown["ready"], shown["serving"], shown["terminating"])
    return found


def test_endpoint_slices_follow_readiness() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(SERVICES, service())
        await world.until(lambda: len(world.cluster.read_all(ENDPOINT_SLICES)) == 1)
        assert endpoints(world) == {}
        slow = {"preStop": {"sleep": {"seconds": 10}}}
        shape = template()
        shape["spec"]["containers"][0]["lifecycle"] = slow
        await world.create(REPLICA_SETS, replica_set(2, template=shape))
        await world.until(lambda: list(endpoints(world).values()) == [(False, False, False)] * 2)
        await world.until(lambda: list(endpoints(world).values()) == [(True, True, False)] * 2)
        (slice_,) = world.cluster.read_all(ENDPOINT_SLICES)
        assert slice_["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
        addresses = {endpoint["addresses"][0] for endpoint in slice_["endpoints"]}
        assert addresses == {pod["status"]["podIP"] for pod in world.pods()}
        # The leaving one serves on until its preStop hook is through, and is no target for new traffic.
        first = sorted(endpoints(world))[0]
        left_at = world.clock.monotonic()
        await world.remove(PODS, first)
        await world.until(lambda: endpoints(world)[first] == (False, True, True))
        gone_at = await world.until(lambda: first not in endpoints(world))
        assert 10 <= gone_at - left_at <= 12

    play(story)


def test_unready_annotation_takes_an_endpoint_out_and_back() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(SERVICES, service())
        await world.create(REPLICA_SETS, replica_set(1))
        await world.until(lambda: list(endpoints(world).values()) == [(True, True, False)])
        (name,) = endpoints(world)
        for value, expected in (("true", (False, False, False)), (None, (True, True, False))):
            note = {"metadata": {"annotations": {"testing.fairlead.dev/unready": value}}}
            await world.cluster.patch(PODS, key(name), MergePatch(note))
            await world.until(lambda expected=expected: endpoints(world)[name] == expected)  # type: ignore[misc]

    play(story)


def test_changed_selector_moves_the_service() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(SERVICES, service())
        await world.create(REPLICA_SETS, replica_set(1))
        await world.until(lambda: len(endpoints(world)) == 1)
        await world.cluster.patch(SERVICES, key("web"), MergePatch({"spec": {"selector": {"app": "other"}}}))
        await world.until(lambda: endpoints(world) == {})
        await world.remove(SERVICES, "web")
        await world.until(lambda: not world.cluster.read_all(ENDPOINT_SLICES))

    play(story)


# --- deployments ------------------------------------------------------------------------------------------------------


def updated(world: SimWorld, count: int) -> Callable[[], bool]:
    def holds() -> bool:
        found = world.read(DEPLOYMENTS, "web")
        status = found["status"]
        counts = [status.get(name) for name in ("updatedReplicas", "replicas", "availableReplicas")]
        observed = status["observedGeneration"] == found["metadata"]["generation"]
        return observed and counts == [count] * 3 and len(world.pods()) == count

    return holds


def test_rolling_update_keeps_enough_and_not_too_many() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(DEPLOYMENTS, deployment(4))
        await world.until(ready(world, 4, DEPLOYMENTS))
        start = len(world.history)
        patch = {"spec": {"template": template("web:2")}}
        await world.cluster.patch(DEPLOYMENTS, key("web"), MergePatch(patch))
        await world.until(updated(world, 4))
        assert {pod["spec"]["containers"][0]["image"] for pod in world.pods()} == {"web:2"}
        wished = {}
        for _, _, kind, _, new in world.history[start:]:
            if kind == "ReplicaSet" and new:
                wished[new["metadata"]["name"]] = new["spec"]["replicas"]
                assert sum(wished.values()) <= 5
            if kind == "Deployment" and new:
                assert new["status"].get("availableReplicas", 0) >= 3
        found = world.read(DEPLOYMENTS, "web")
        assert found["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"
        reasons = {c["type"]: c["reason"] for c in found["status"]["conditions"]}
        assert reasons == {"Available": "MinimumReplicasAvailable", "Progressing": "NewReplicaSetAvailable"}
        assert found["status"]["observedGeneration"] == found["metadata"]["generation"]

    play(story)


def test_update_that_never_becomes_ready_passes_its_deadline() -> None:
    async def story(world: SimWorld) -> None:
        body = deployment(2)
        body["spec"]["progressDeadlineSeconds"] = 60
        await world.create(DEPLOYMENTS, body)
        await world.until(ready(world, 2, DEPLOYMENTS))
        patch = {"spec": {"template": template("web:2", annotations={"never-ready": "true"})}}
        await world.cluster.patch(DEPLOYMENTS, key("web"), MergePatch(patch))
        begun = world.clock.monotonic()
        at = await world.until(lambda: "ProgressDeadlineExceeded" in str(world.read(DEPLOYMENTS, "web")["status"]))
        assert 59 <= at - begun <= 65
        assert world.read(DEPLOYMENTS, "web")["status"]["availableReplicas"] == 2

    play(story)


def test_recreate_never_runs_two_versions() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(DEPLOYMENTS, deployment(2, strategy={"type": "Recreate"}))
        await world.until(ready(world, 2, DEPLOYMENTS))
        await world.cluster.patch(DEPLOYMENTS, key("web"), MergePatch({"spec": {"template": template("web:2")}}))
        images: dict[str, str] = {
            pod["metadata"]["name"]: pod["spec"]["containers"][0]["image"] for pod in world.pods()
        }
        start = len(world.history)
        await world.until(
            lambda: (
                [pod["spec"]["containers"][0]["image"] for pod in world.pods()] == ["web:2"] * 2
                and ready(world, 2, DEPLOYMENTS)()
            )
        )
        for _, verb, kind, old, new in world.history[start:]:
            if kind != "Pod":
                continue
            if new is None or verb == "delete":
                assert old is not None
                images.pop(old["metadata"]["name"], None)
            else:
                images[new["metadata"]["name"]] = new["spec"]["containers"][0]["image"]
            assert len(set(images.values())) <= 1

    play(story)


def test_deleting_a_deployment_takes_everything() -> None:
    async def story(world: SimWorld) -> None:
        await world.create(DEPLOYMENTS, deployment(2))
        await world.until(ready(world, 2, DEPLOYMENTS))
        await world.remove(DEPLOYMENTS, "web")
        await world.until(lambda: not world.pods() and not world.cluster.read_all(REPLICA_SETS))

    play(story)


# --- the world itself -------------------------------------------------------------------------------------------------


async def busy(world: SimWorld) -> list[tuple[float, str, str, str]]:
    await world.create(SERVICES, service())
    await world.create(DEPLOYMENTS, deployment(6))
    await world.until(ready(world, 6, DEPLOYMENTS))
    await world.cluster.patch(DEPLOYMENTS, key("web"), MergePatch({"spec": {"template": template("web:2")}}))
    await world.until(updated(world, 6))
    return [
        (at, verb, kind, (new or old or {})["metadata"]["name"] + str((new or {}).get("status")))
        for at, verb, kind, old, new in world.history
    ]


def test_the_same_seed_gives_the_same_history() -> None:
    assert play(busy, seed=7) == play(busy, seed=7)
    assert play(busy, seed=7) != play(busy, seed=8)


def test_nothing_is_written_at_rest() -> None:
    async def story(world: SimWorld) -> None:
        await busy(world)
        await world.until(lambda: len(world.pods()) == 6)
        world.history.clear()
        await world.clock.sleep(7200)
        assert world.history == []

    play(story)

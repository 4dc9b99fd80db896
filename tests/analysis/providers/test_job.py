"""Job metrics against the simulated cluster: names, ownership, verdicts, pods that will never start, leftovers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fairlead.analysis.ports import Question
from fairlead.analysis.providers.job import JobProvider
from fairlead.analysis.providers.settings import ProviderSettings, ProviderTools
from fairlead.analysis.status import Measurement, Phase
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.errors import ClusterError, Forbidden, ProviderError, Unavailable
from fairlead.core.kinds import ANALYSIS_RUNS, JOBS, NAMESPACES, PODS, Job
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from tests.analysis.providers.servers import FixedClock, metric, question

SPEC = {
    "backoffLimit": 1,
    "template": {
        "metadata": {"labels": {"app": "check"}},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "check", "image": "check:1"}]},
    },
}
RUN = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AnalysisRun",
    "metadata": {"name": "cart-1"},
    "spec": {"metrics": []},
}


class World:
    """A provider on a simulated cluster, and the run that it works for."""

    def __init__(self, settings: ProviderSettings | None = None) -> None:
        self.clock = LoopClock()
        self.cluster = SimulatedCluster(self.clock)
        tools = ProviderTools(clock=self.clock, cluster=self.cluster, settings=settings or ProviderSettings())
        self.provider = JobProvider(tools)
        self.uid = ""

    async def prepare(self) -> None:
        for name in ("shop", "jobs"):
            await self.cluster.create(NAMESPACES, {"metadata": {"name": name}})
        # Without its owner a Job is garbage.
        self.uid = (await self.cluster.create(ANALYSIS_RUNS, RUN, namespace="shop")).metadata.uid

    def question(self, *, name: str = "error-rate", number: int = 1, spec: dict[str, Any] | None = None) -> Question:
        block = {"metadata": {"labels": {"team": "a"}, "annotations": {"note": "b"}}, "spec": spec or SPEC}
        return replace(question(metric({"job": block}, name=name), number=number), run_uid=self.uid)

    @property
    def key(self) -> ObjectKey:
        return ObjectKey("shop", f"{self.uid}.error-rate.1")

    async def start(self, **rest: Any) -> Measurement:
        return await self.provider.measure(self.question(**rest))

    async def status(self, status: dict[str, Any]) -> None:
        await self.cluster.patch(JOBS, self.key, MergePatch({"status": status}), subresource="status")

    def job(self, key: ObjectKey | None = None) -> dict[str, Any] | None:
        return self.cluster.read(JOBS, key or self.key)


def run(scenario: Callable[[World], Awaitable[None]], settings: ProviderSettings | None = None) -> None:
    async def main() -> None:
        world = World(settings)
        await world.prepare()
        await scenario(world)

    run_virtual(main())


def test_a_job_is_created_as_upstream_creates_it() -> None:
    async def scenario(world: World) -> None:
        found = await world.start()
        assert found.phase is Phase.RUNNING
        assert found.metadata == {"job-name": world.key.name, "job-namespace": "shop"}
        assert found.resume_at == found.started_at == world.clock.now()
        assert found.finished_at is None
        job = world.job()
        assert job is not None
        assert job["metadata"]["labels"] == {"team": "a", "analysisrun.argoproj.io/uid": world.uid}
        assert job["metadata"]["annotations"] == {
            "note": "b",
            "analysisrun.argoproj.io/name": "cart-1",
            "analysisrun.argoproj.io/namespace": "shop",
            "analysisrun.argoproj.io/metric-name": "error-rate",
        }
        (owner,) = job["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == (
            "AnalysisRun",
            "cart-1",
            world.uid,
            True,
        )
        labels = job["spec"]["template"]["metadata"]["labels"]
        assert labels.items() >= {"app": "check", "analysisrun.argoproj.io/uid": world.uid}.items()
        assert job["spec"]["backoffLimit"] == 1

    run(scenario)


def test_another_namespace_of_the_settings_has_no_owner() -> None:
    async def scenario(world: World) -> None:
        found = await world.start()
        assert found.metadata["job-namespace"] == "jobs"
        job = world.job(ObjectKey("jobs", world.key.name))
        assert job is not None
        assert "ownerReferences" not in job["metadata"]

    run(scenario, ProviderSettings(job_namespace="jobs"))


def test_a_long_metric_name_is_cut_to_fit() -> None:
    async def scenario(world: World) -> None:
        found = await world.start(name="a" * 80, number=12)
        name = found.metadata["job-name"]
        assert (len(name), name[-4:]) == (63, "a.12")

    run(scenario)


def test_asking_again_after_a_crash_finds_the_same_job() -> None:
    async def scenario(world: World) -> None:
        first = await world.start()
        again = await world.provider.measure(world.question())
        assert (again.phase, again.metadata) == (Phase.RUNNING, first.metadata)

    run(scenario)


def test_a_job_of_somebody_else_is_not_adopted() -> None:
    async def scenario(world: World) -> None:
        stranger = {
            "metadata": {"name": world.key.name, "labels": {"analysisrun.argoproj.io/uid": "other"}},
            "spec": SPEC,
        }
        await world.cluster.create(JOBS, stranger, namespace="shop")
        found = await world.provider.measure(world.question())
        assert found.phase is Phase.ERROR
        assert "already exists" in found.message

    run(scenario)


def test_a_spec_that_the_server_refuses_is_an_error() -> None:
    async def scenario(world: World) -> None:
        spec = {"template": {"spec": {"restartPolicy": "Always", "containers": [{"name": "x", "image": "y"}]}}}
        found = await world.start(spec=spec)
        assert found.phase is Phase.ERROR
        assert found.message
        assert found.finished_at is not None

    run(scenario)


@pytest.mark.parametrize(
    ("conditions", "phase"),
    [
        pytest.param([("Complete", "True")], Phase.SUCCESSFUL, id="complete"),
        pytest.param([("Failed", "True")], Phase.FAILED, id="failed"),
        pytest.param([("SuccessCriteriaMet", "True"), ("Complete", "True")], Phase.SUCCESSFUL, id="criteria"),
        pytest.param([("Complete", "True"), ("Failed", "True")], Phase.FAILED, id="last-one-counts"),
        pytest.param([("Suspended", "True")], Phase.RUNNING, id="suspended"),
        pytest.param([], Phase.RUNNING, id="none"),
    ],
)
def test_the_end_of_the_job_is_the_verdict(conditions: list[tuple[str, str]], phase: Phase) -> None:
    async def scenario(world: World) -> None:
        measurement = await world.start()
        await world.status({"conditions": [{"type": kind, "status": status} for kind, status in conditions]})
        await world.clock.sleep(5)
        found = await world.provider.resume(world.question(), measurement)
        assert (found.phase, found.message, found.value) == (phase, "", "")
        now = world.clock.now()
        if phase is Phase.RUNNING:
            assert found.finished_at is None
            assert found.resume_at is not None
            assert timedelta(seconds=3) < found.resume_at - now < timedelta(seconds=4)
        else:
            assert (found.finished_at, found.resume_at) == (now, None)
            assert found.started_at == measurement.started_at

    run(scenario)


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CrashLoopBackOff"])
def test_a_container_that_will_never_start_is_inconclusive(reason: str) -> None:
    async def scenario(world: World) -> None:
        measurement = await world.start()
        pod = {"metadata": {"name": "p-1", "labels": {"job-name": world.key.name}}, "spec": SPEC["template"]["spec"]}  # type: ignore[index]
        await world.cluster.create(PODS, pod, namespace="shop")
        waiting = {"name": "check", "state": {"waiting": {"reason": reason, "message": "no such image"}}}
        body = {"status": {"containerStatuses": [waiting]}}
        await world.cluster.patch(PODS, ObjectKey("shop", "p-1"), MergePatch(body), subresource="status")
        found = await world.provider.resume(world.question(), measurement)
        if reason == "CrashLoopBackOff":
            assert found.phase is Phase.RUNNING
        else:
            assert found.phase is Phase.INCONCLUSIVE
            text = f"Pod p-1, container check has terminal error ({reason}): no such image\n"
            assert found.message == text

    run(scenario)


def test_a_job_that_is_gone_is_an_error() -> None:
    async def scenario(world: World) -> None:
        measurement = await world.start()
        await world.cluster.delete(JOBS, world.key)
        await world.clock.sleep(1)
        found = await world.provider.resume(world.question(), measurement)
        assert found.phase is Phase.ERROR
        assert "not found" in found.message

    run(scenario)


def test_lost_metadata_is_an_error() -> None:
    async def scenario(world: World) -> None:
        lost = Measurement(phase=Phase.RUNNING, started_at=world.clock.now())
        for found in (
            await world.provider.resume(world.question(), lost),
            await world.provider.terminate(world.question(), lost),
        ):
            assert (found.phase, found.message) == (Phase.ERROR, "job metadata reference missing")

    run(scenario)


def test_terminating_deletes_the_job() -> None:
    async def scenario(world: World) -> None:
        measurement = await world.start()
        for _ in range(2):  # once more does no harm
            found = await world.provider.terminate(world.question(), measurement)
            assert (found.phase, found.finished_at) == (Phase.INCONCLUSIVE, world.clock.now())
            await world.clock.sleep(60)
            assert world.job() is None

    run(scenario)


def test_leftovers_are_deleted() -> None:
    async def scenario(world: World) -> None:
        first = await world.start()
        second = await world.provider.measure(world.question(number=2))
        gone = Measurement(phase=Phase.SUCCESSFUL, metadata={"job-name": "gone", "job-namespace": "shop"})
        nothing = Measurement(phase=Phase.ERROR)
        await world.provider.garbage_collect(world.question(number=3), (nothing, gone, first))
        await world.clock.sleep(60)
        assert world.job() is None
        assert world.job(ObjectKey("shop", second.metadata["job-name"])) is not None

    run(scenario)


class Failing:
    """A cluster whose reads fail."""

    def __init__(self, cluster: Cluster, *, get: ClusterError | None = None, list_: ClusterError | None = None) -> None:
        self._cluster = cluster
        self._get, self._list = get, list_

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cluster, name)

    async def get(self, *args: Any, **rest: Any) -> Any:
        if self._get is not None:
            raise self._get
        return await self._cluster.get(*args, **rest)

    async def list(self, *args: Any, **rest: Any) -> Any:
        if self._list is not None:
            raise self._list
        return await self._cluster.list(*args, **rest)


@pytest.mark.parametrize(
    ("get", "list_", "phase"),
    [
        pytest.param(Unavailable("down"), None, Phase.RUNNING, id="unreachable-for-a-moment"),
        pytest.param(Forbidden("no"), None, Phase.ERROR, id="not-allowed"),
        pytest.param(None, Forbidden("no pods"), Phase.RUNNING, id="no-right-to-see-pods"),
        pytest.param(None, Unavailable("down"), Phase.RUNNING, id="pods-unreachable"),
    ],
)
def test_reads_that_fail(get: ClusterError | None, list_: ClusterError | None, phase: Phase) -> None:
    async def scenario(world: World) -> None:
        measurement = await world.start()
        cluster: Any = Failing(world.cluster, get=get, list_=list_)
        provider = JobProvider(ProviderTools(clock=world.clock, cluster=cluster))
        found = await provider.resume(world.question(), measurement)
        assert found.phase is phase
        assert (found.resume_at is not None and found.resume_at > world.clock.now()) is (phase is Phase.RUNNING)

    run(scenario)


class Cache:
    """A view that knows one Job, or none."""

    def __init__(self, job: Job | None) -> None:
        self.job = job

    def get(self, key: ObjectKey) -> Job | None:
        return self.job

    def list(self, namespace: str = "") -> tuple[Job, ...]:
        return ()

    def by_index(self, index: str, value: str) -> tuple[Job, ...]:
        return ()


def test_a_cached_job_needs_no_request() -> None:
    async def scenario(world: World) -> None:
        measurement = await world.start()
        await world.status({"conditions": [{"type": "Complete", "status": "True"}]})
        seen = await world.cluster.get(JOBS, world.key)
        cluster: Any = Failing(world.cluster, get=Unavailable("down"))
        for cached, phase in ((seen, Phase.SUCCESSFUL), (None, Phase.RUNNING)):
            tools = ProviderTools(clock=world.clock, cluster=cluster, jobs=Cache(cached))
            found = await JobProvider(tools).resume(world.question(), measurement)
            assert found.phase is phase

    run(scenario)


def test_jobs_need_a_cluster() -> None:
    with pytest.raises(ProviderError, match="jobs need a cluster"):
        JobProvider(ProviderTools(clock=FixedClock()))

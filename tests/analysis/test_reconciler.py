"""The reconciler in virtual time: schedules, verdicts, crashes, secrets."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import pytest
import structlog

from fairlead.analysis._measuring import MeasuringSettings
from fairlead.analysis.ports import Question
from fairlead.analysis.status import AnalysisRunStatus, Measurement, Phase
from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Conflict, ProviderError, Unavailable
from fairlead.core.kinds import ANALYSIS_RUNS, JOBS, SECRETS
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import run_virtual
from fairlead.testing.faults import Faults, FaultyCluster, KillingCluster, KillPoint, kill_points
from tests.analysis.world import KEY, World, after, answer, at, never

JOB = {"provider": {"job": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": []}}}}}}


def told(story: Callable[[World], Awaitable[None]], seed: int = 0) -> None:
    """Run a story in a new world under virtual time."""

    async def main() -> None:
        await story(World())

    run_virtual(main(), seed)


# -- schedule and verdict --------------------------------------------------------------------------------------------


def test_a_run_is_measured_on_schedule_and_promoted() -> None:
    async def story(world: World) -> None:
        world.create({"count": 3, "interval": "1m"})
        async with world.controller():
            status = await world.until_completed()
        first = world.sources.times("a")[0]
        assert [round(time - first) for time in world.sources.times("a")] == [0, 60, 120]
        assert (status.phase, status.message) == (Phase.SUCCESSFUL, "")
        assert status.metric_results[0].successful == 3
        assert world.notes.reasons == ["MetricSuccessful", "AnalysisRunSuccessful"]
        assert [question.number for question in world.sources.questions] == [1, 2, 3]

    told(story)


def test_a_short_run_is_written_twice() -> None:
    async def story(world: World) -> None:
        world.create({"count": 5, "interval": "2s"})
        async with world.controller():
            await world.until_completed()
            await asyncio.sleep(120)
        assert [written["status"]["phase"] for _, written in world.writes] == ["Running", "Successful"]

    told(story)


def test_good_answers_of_a_long_run_are_stored_within_half_a_minute() -> None:
    async def story(world: World) -> None:
        world.create({"interval": "5m"})
        async with world.controller():
            await asyncio.sleep(305)
            assert (await world.status()).metric_results[0].count == 1
            await asyncio.sleep(28)
            assert (await world.status()).metric_results[0].count == 2

    told(story)


def test_other_answers_are_stored_at_once() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = ["F", "I", "E", "S"]
        world.create({"count": 9, "interval": "1m", "failureLimit": 5, "inconclusiveLimit": 5})
        async with world.controller():
            for seconds, count in ((1, 1), (60, 2), (60, 2)):
                await asyncio.sleep(seconds)
                assert (await world.status()).metric_results[0].count == count
            assert (await world.status()).metric_results[0].error == 1

    told(story)


def test_instants_are_stored_in_whole_seconds() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = after(1.7, "F")
        world.create({})
        await asyncio.sleep(0.4)
        async with world.controller():
            await world.until_completed()
        status = world.writes[-1][1]["status"]
        measurement = status["metricResults"][0]["measurements"][0]
        assert (status["startedAt"], status["completedAt"]) == ("2026-01-01T00:00:00Z", "2026-01-01T00:00:02Z")
        assert (measurement["startedAt"], measurement["finishedAt"]) == (status["startedAt"], status["completedAt"])

    told(story)


def test_a_failing_metric_ends_the_run_at_once_beside_a_source_that_does_not_answer() -> None:
    async def story(world: World) -> None:
        world.sources.scripts = {"a": never, "b": after(3, "F")}
        world.create({}, {})
        async with world.controller():
            status = await world.until_completed()
            assert world.seconds < 3.2
            assert status.message == 'Metric "b" assessed Failed due to failed (1) > failureLimit (0)'
            await asyncio.sleep(0)
            assert world.sources.cancelled == ["a"]

    told(story)


def test_a_slow_source_does_not_delay_the_schedule_of_others() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = after(500, "S")
        world.create({}, {"count": 4, "interval": "10s"})
        async with world.controller():
            await asyncio.sleep(100)
            assert [round(time) for time in world.sources.times("b")] == [0, 10, 20, 30]
            await world.until_completed()
            assert 500 <= world.seconds < 501

    told(story)


def test_many_slow_metrics_of_one_run_leave_room_for_another_run() -> None:
    async def story(world: World) -> None:
        for index in range(26):
            world.sources.scripts[chr(ord("a") + index)] = never
        world.create(*({} for _ in range(26)), name="greedy")
        world.sources.scripts["z"] = ["S"]
        world.create({"name": "z"}, name="run")
        async with world.controller(settings=MeasuringSettings(at_a_time=4, at_a_time_per_run=3)):
            await world.until_completed(seconds=5)

    told(story)


def test_a_verdict_is_announced_before_its_write_is_answered() -> None:
    async def story(world: World) -> None:
        slow = SlowPatches(world.cluster, seconds=4)
        world.sources.scripts["a"] = after(10, "F")
        world.create({})
        async with world.controller(slow):
            await asyncio.sleep(10.1)
            shown = world.seen.get(KEY)
            assert shown is not None
            assert shown.phase == "Failed"
            assert (await world.reached())[0] == "Running"
            await asyncio.sleep(8)
            assert (await world.reached())[0] == "Failed"

    told(story)


def test_a_good_verdict_is_shown_once_it_is_written() -> None:
    """Nothing goes forward on a verdict that a crash could still take back."""

    async def story(world: World) -> None:
        slow = SlowPatches(world.cluster, seconds=4)
        world.sources.scripts["a"] = after(10, "S")
        world.create({})
        async with world.controller(slow):
            await asyncio.sleep(10.1)
            shown = world.seen.get(KEY)
            assert shown is not None
            assert shown.phase == "Running"
            await asyncio.sleep(8)
            assert (await world.reached())[0] == "Successful"

    told(story)


def test_an_announced_verdict_whose_write_fails_is_taken_back_and_tried_again() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = after(10, "F")
        world.create({})
        async with world.controller(SlowPatches(world.cluster, seconds=0, down=(2, 3))):
            status = await world.until_completed()
            assert status.phase is Phase.FAILED
            await asyncio.sleep(1)
            shown = world.seen.get(KEY)
            assert shown is not None
            assert shown.phase == "Failed"
        assert world.notes.reasons == ["MetricFailed", "AnalysisRunFailed"]

    told(story)


def test_a_graceful_stop_while_the_api_is_down_says_what_is_lost() -> None:
    async def story(world: World) -> None:
        world.create({"count": 2, "interval": "1m"})
        with structlog.testing.capture_logs() as logs:
            async with world.controller(SlowPatches(world.cluster, seconds=0, down=(2,))) as reconciler:
                await asyncio.sleep(5)
                await reconciler.close()
        assert [log["object"] for log in logs if log["event"] == "analysis_run_not_stored"] == ["shop/run"]

    told(story)


class SlowPatches(FaultyCluster):
    """A Cluster whose patches take their time; those with the given numbers fail."""

    def __init__(self, inner: Any, *, seconds: float, down: tuple[int, ...] = ()) -> None:
        super().__init__(inner, seed=0)
        self.stop()
        self._seconds = seconds
        self._down = down
        self._patches = 0

    async def patch(self, *args: Any, **more: Any) -> Any:
        await asyncio.sleep(self._seconds)
        self._patches += 1
        if self._patches in self._down:
            raise Unavailable("api server is down")
        return await super().patch(*args, **more)


# -- sources that fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(ProviderError("no route to host", provider="web"), "no route to host", id="its-own-error"),
        pytest.param(Unavailable("api server is down"), "api server is down", id="cluster"),
        pytest.param(KeyError("bug"), "KeyError: 'bug'", id="a-bug"),
    ],
)
def test_whatever_a_source_raises_is_an_error_measurement(fault: Exception, message: str) -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = after(0, fault)
        world.create({"consecutiveErrorLimit": 1})
        async with world.controller():
            status = await world.until_completed()
        first, second = world.sources.times("a")
        assert round(second - first) == 10  # an error is tried again after 10 s
        assert status.message == (
            'Metric "a" assessed Error due to consecutiveErrors (2) > consecutiveErrorLimit (1): '
            f'"Error Message: {message}"'
        )

    told(story)


def test_a_source_whose_own_task_is_cancelled_is_an_error_and_not_a_standstill() -> None:
    async def stray(_: Question) -> Any:
        raise asyncio.CancelledError("inner task")

    async def story(world: World) -> None:
        world.sources.scripts["a"] = stray
        world.create({"consecutiveErrorLimit": 0})
        async with world.controller():
            status = await world.until_completed(seconds=5)
        assert status.metric_results[0].message == "the source gave up: CancelledError('inner task')"

    told(story)


def test_a_source_that_never_answers_is_an_error_after_the_time_limit() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = never
        world.create({"consecutiveErrorLimit": 0})
        async with world.controller(settings=MeasuringSettings(time_limit_seconds=90)):
            status = await world.until_completed()
        assert 90 <= world.seconds < 91
        assert status.metric_results[0].message == "no answer within 90 s"

    told(story)


def test_long_and_unprintable_texts_are_made_fit_to_be_stored() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = after(
            0, answer("S", value="\ud800" + "x" * 10**6 + "the end", metadata={"warnings": "w" * 9999})
        )
        world.create({})
        async with world.controller():
            status = await world.until_completed()
        (measurement,) = status.metric_results[0].measurements
        assert len(measurement.value) == len(measurement.metadata["warnings"]) == 4096
        assert measurement.value.startswith("?x")
        assert measurement.value.endswith("xthe end")  # where a message says the cause

    told(story)


# -- termination and jobs --------------------------------------------------------------------------------------------


def test_terminating_a_run_stops_its_measurements() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = after(30, "S")
        world.create({"interval": "10s"})
        async with world.controller():
            await asyncio.sleep(45)
            await world.patch({"spec": {"terminate": True}})
            await asyncio.sleep(1)
            assert await world.reached() == ("Successful", "Run Terminated")
            asked = len(world.sources.asked)
            await asyncio.sleep(1000)
            assert len(world.sources.asked) == asked
            assert world.sources.cancelled == ["a"]

    told(story)


def job(resume_after: float, world: World, letter: str = "R") -> Callable[[Question], Awaitable[Any]]:
    async def script(question: Question) -> Measurement:
        resume_at = at(world.seconds + resume_after)
        metadata = {"job-name": f"{question.run_uid}.j.{question.number}", "job-namespace": "shop"}
        return answer(letter, metadata=metadata, resume_at=resume_at)

    return script


def test_terminating_a_run_ends_its_job_and_is_inconclusive() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = job(1000, world)
        world.sources.terminates = after(2, "I")
        world.create(JOB)
        async with world.controller():
            await asyncio.sleep(5)
            await world.patch({"spec": {"terminate": True}})
            status = await world.until_completed()
        assert world.sources.times("a", "terminate") == [pytest.approx(5, abs=0.1)]
        assert status.message == (
            'Metric "a" assessed Inconclusive due to inconclusive (1) > inconclusiveLimit (0): '
            '"Error Message: Metric Terminated"'
        )

    told(story)


def test_a_job_that_cannot_be_ended_at_first_is_ended_at_last() -> None:
    async def story(world: World) -> None:
        letters = iter("EEI")

        async def flaky(_: Question) -> str:
            return next(letters)

        world.sources.scripts["a"] = job(1000, world)
        world.sources.terminates = flaky
        world.create(JOB)
        async with world.controller():
            await asyncio.sleep(5)
            await world.patch({"spec": {"terminate": True}})
            assert (await world.until_completed()).phase is Phase.INCONCLUSIVE

    told(story)


def test_a_verdict_does_not_wait_for_a_job_that_is_slow_to_end() -> None:
    async def story(world: World) -> None:
        world.sources.scripts = {"a": after(5, "F"), "b": job(1000, world)}
        world.sources.terminates = after(60, "I")
        world.create({}, JOB)
        async with world.controller():
            status = await world.until_completed()
            assert world.seconds < 5.2
            assert status.phase is Phase.FAILED
            await asyncio.sleep(61)
            after_job = await world.status()
            assert after_job.phase is Phase.FAILED
            assert str(after_job.metric_results[0].phase) == "Inconclusive"
            assert after_job.completed_at == status.completed_at

    told(story)


def test_the_end_of_a_job_is_seen_before_its_time() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = job(1000, world)
        world.sources.resumes = job(1000, world, "S")
        world.create(JOB)
        async with world.controller():
            await asyncio.sleep(5)
            run = await world.run()
            assert run is not None
            await create_job(world, run.metadata.uid)
            await asyncio.sleep(5)
            assert world.sources.times("a", "resume") == []
            await patch_status(world, f"{run.metadata.uid}.j.1", COMPLETE)
            status = await world.until_completed()
        assert status.phase is Phase.SUCCESSFUL
        assert world.sources.times("a", "resume") == [pytest.approx(10, abs=0.1)]

    told(story)


COMPLETE = {"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1}


async def create_job(world: World, uid: str) -> None:
    """Create the Job that the script `job` told of."""
    metadata = {
        "name": f"{uid}.j.1",
        "namespace": "shop",
        "labels": {"analysisrun.argoproj.io/uid": uid},
        "annotations": {"analysisrun.argoproj.io/name": "run", "analysisrun.argoproj.io/namespace": "shop"},
    }
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
    body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {"template": {"spec": pod}}}
    world.cluster.apply([body], namespace="shop")


async def patch_status(world: World, name: str, status: dict[str, Any]) -> None:
    await world.cluster.patch(JOBS, ObjectKey("shop", name), MergePatch({"status": status}), subresource="status")


def test_a_job_that_has_ended_is_looked_at_once_even_if_its_source_has_not_noticed() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = job(1000, world)
        world.sources.resumes = job(50, world)
        world.create(JOB)
        async with world.controller():
            await asyncio.sleep(1)
            run = await world.run()
            assert run is not None
            await create_job(world, run.metadata.uid)
            await patch_status(world, f"{run.metadata.uid}.j.1", COMPLETE)
            await asyncio.sleep(49)
            assert len(world.sources.times("a", "resume")) == 1

    told(story)


@pytest.mark.parametrize(
    ("fault", "logged"),
    [
        pytest.param(None, [], id="good"),
        pytest.param(Unavailable("down"), ["measurements_not_cleaned"] * 3, id="outage"),
        pytest.param(KeyError("bug"), ["provider_broken"] * 3, id="bug"),
    ],
)
def test_leftovers_of_old_measurements_are_removed(fault: Exception | None, logged: list[str]) -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = ["S"]
        world.sources.collecting = fault
        world.create({**JOB, "interval": "1m"}, measurementRetention=[{"metricName": "a", "limit": 2}])
        with structlog.testing.capture_logs() as logs:
            async with world.controller():
                await asyncio.sleep(250)
        assert world.sources.collected == [("a", 1)] * 3
        assert [log["event"] for log in logs if log["log_level"] in ("warning", "error")] == logged

    told(story)


def test_a_job_is_ended_even_if_the_runs_secret_is_gone() -> None:
    async def story(world: World) -> None:
        world.secret("creds", token=MARKER)
        world.sources.scripts["a"] = job(1000, world)
        world.sources.terminates = after(0, "I")
        world.create(JOB, args=[SECRET_ARG])
        async with world.controller():
            await asyncio.sleep(20)
            await world.cluster.delete(SECRETS, ObjectKey("shop", "creds"))
            await world.patch({"spec": {"terminate": True}})
            assert (await world.until_completed()).phase is Phase.INCONCLUSIVE
        assert len(world.sources.times("a", "terminate")) == 1

    told(story)


def test_a_job_is_ended_even_if_the_runs_spec_is_broken_by_now() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = job(1000, world)
        world.sources.terminates = after(0, "I")
        world.create(JOB)
        async with world.controller():
            await asyncio.sleep(20)
            await world.patch({"spec": {"dryRun": [{"metricName": "*"}]}})
            assert (await world.until_completed()).phase is Phase.ERROR
            await asyncio.sleep(1)
        assert len(world.sources.times("a", "terminate")) == 1

    told(story)


# -- crashes ---------------------------------------------------------------------------------------------------------


def test_a_restart_in_the_middle_goes_on_where_the_status_stands() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = ["F", "F", "S", "F"]
        world.create({"count": 9, "interval": "1m", "failureLimit": 2})
        async with world.controller():
            await asyncio.sleep(65)
        assert (await world.status()).metric_results[0].failed == 2
        await asyncio.sleep(20)  # nobody is there
        async with world.controller():
            status = await world.until_completed()
        assert status.message == 'Metric "a" assessed Failed due to failed (3) > failureLimit (2)'
        # the third measurement was good and perhaps not stored yet; the schedule of the stored ones goes on
        assert [round(time) for time in world.sources.times("a")] == [0, 60, 120, 180]

    told(story)


def test_a_crash_between_an_answer_and_its_being_stored_asks_again_and_counts_once() -> None:
    async def story(world: World) -> None:
        world.create({"count": 2, "interval": "1m"})
        async with world.controller():
            await asyncio.sleep(5)  # the first good answer waits to be written
        assert (await world.status()).metric_results == ()
        async with world.controller():
            status = await world.until_completed()
        assert status.metric_results[0].count == status.metric_results[0].successful == 2
        assert [question.number for question in world.sources.questions] == [1, 1, 2]

    told(story)


def test_a_graceful_stop_stores_what_is_decided() -> None:
    async def story(world: World) -> None:
        world.create({"count": 2, "interval": "1m"})
        async with world.controller() as reconciler:
            await asyncio.sleep(5)
            await reconciler.close()
        assert (await world.status()).metric_results[0].count == 1

    told(story)


def final(status: AnalysisRunStatus) -> dict[str, Any]:
    """What must be the same however often the controller died: everything but times and repeated questions."""
    return {
        "phase": status.phase,
        "message": status.message,
        "results": {
            result.name: (result.phase, result.count, result.successful, result.failed, result.error)
            for result in status.metric_results
        },
        "summary": status.run_summary,
    }


@pytest.mark.parametrize(
    ("scripts", "phase"),
    [
        pytest.param({"a": ["S"], "b": ["F"]}, "Successful", id="successful"),
        pytest.param({"a": ["S"], "b": after(3, "S")}, "Successful", id="slow"),
    ],
)
def test_a_death_at_any_write_changes_nothing(scripts: dict[str, Any], phase: str) -> None:
    def outcome(point: Any) -> tuple[dict[str, Any], int]:
        found: list[Any] = []

        async def story(world: World) -> None:
            world.sources.scripts = scripts
            world.create({"count": 3, "interval": "40s"}, {"count": 2, "interval": "35s", "failureLimit": 2})
            dead = asyncio.Event()
            killing = KillingCluster(world.cluster, point=point, died=dead.set)
            async with world.controller(killing):
                completed = asyncio.create_task(world.until_completed())
                death = asyncio.create_task(dead.wait())
                await asyncio.wait({completed, death}, return_when=asyncio.FIRST_COMPLETED)
                completed.cancel()
                death.cancel()
            async with world.controller():
                status = await world.until_completed()
            found.append((final(status), len(killing.writes)))

        told(story)
        return found[0]  # type: ignore[no-any-return]

    reference, writes = outcome(KillPoint(at=10**6))
    assert reference["phase"] == phase
    assert writes >= 3
    for point in kill_points(writes):
        assert outcome(point)[0] == reference, point


@pytest.mark.parametrize("seed", range(8))
def test_verdicts_are_reached_through_a_flaky_api(seed: int) -> None:
    async def story(world: World) -> None:
        world.sources.scripts = {"a": ["S"], "b": ["S", "F", "S", "F", "F"]}
        world.create({"count": 4, "interval": "20s"}, {"interval": "15s", "failureLimit": 2})
        faulty = FaultyCluster(world.cluster, seed=seed)
        async with world.controller(faulty):
            status = await world.until_completed()
            assert status.message == 'Metric "b" assessed Failed due to failed (3) > failureLimit (2)'
            assert [result.count for result in status.metric_results if result.name == "b"] == [5]
            faulty.stop()
            await asyncio.sleep(60)
            quiet = len(world.writes)
            await asyncio.sleep(3600)
            assert len(world.writes) == quiet

    told(story, seed)


class Lagging(FaultyCluster):
    """A Cluster whose watches are late; of the writes with the given numbers the answer is lost."""

    def __init__(self, inner: Any, *, lost: tuple[int, ...] = ()) -> None:
        super().__init__(inner, seed=1, faults=Faults(watch_stall=1.0, stall_seconds=3.0))
        self._lost = lost
        self.patches = 0
        self.refused = 0

    async def patch(self, *args: Any, **more: Any) -> Any:
        self.patches += 1
        number = self.patches
        try:
            reply = await super().patch(*args, **more)
        except Conflict:
            self.refused += 1
            raise
        if number in self._lost:
            raise Unavailable("connection lost before the answer")
        return reply


def test_an_answer_that_arrives_while_the_fate_of_a_write_is_unknown_is_not_lost() -> None:
    async def story(world: World) -> None:
        world.sources.scripts = {"a": after(5, "F"), "b": after(5.05, "F")}
        world.create({"interval": "1m", "failureLimit": 5}, {"interval": "1m", "failureLimit": 5})
        lagging = Lagging(world.cluster, lost=(2,))  # the write of a's failure
        async with world.controller(lagging):
            await asyncio.sleep(20)
            assert lagging.refused > 0
            status = await world.status()
        assert {result.name: result.failed for result in status.metric_results} == {"a": 1, "b": 1}
        assert len(world.sources.asked) == 2

    told(story)


def test_a_cache_that_is_behind_our_own_writes_leads_to_no_second_decision() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = ["F", "F", "F"]
        world.create({"interval": "1s", "failureLimit": 2, "count": 9})
        lagging = Lagging(world.cluster)
        async with world.controller(lagging, is_cached=False):
            await world.until_completed()
            await asyncio.sleep(100)
        assert len(world.sources.asked) == 3
        assert (lagging.patches, lagging.refused) == (4, 0)

    told(story)


def test_a_status_that_somebody_else_wrote_is_accepted() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = ["F", "S"]
        world.create({"count": 3, "interval": "1m", "failureLimit": 1})
        async with world.controller():
            await asyncio.sleep(5)
            await world.patch({"status": {"phase": "Failed", "message": "by hand"}})
            await asyncio.sleep(1000)
        assert await world.reached() == ("Failed", "by hand")
        assert len(world.sources.times("a")) == 1

    told(story)


def test_a_new_run_of_the_same_name_begins_anew() -> None:
    async def story(world: World) -> None:
        world.sources.scripts["a"] = after(50, "F")
        world.create({})
        async with world.controller():
            await asyncio.sleep(5)
            await world.cluster.delete(ANALYSIS_RUNS, KEY)
            world.sources.scripts["a"] = ["S"]
            world.create({})
            status = await world.until_completed()
            await asyncio.sleep(100)
        assert status.phase is Phase.SUCCESSFUL
        assert world.sources.cancelled == ["a"]

    told(story)


# -- odd runs --------------------------------------------------------------------------------------------------------


def test_an_invalid_run_degrades_itself_alone() -> None:
    async def story(world: World) -> None:
        world.create({"interval": "1d", "count": 2}, name="odd")
        world.create({})
        async with world.controller():
            status = await world.until_completed()
        assert status.phase is Phase.SUCCESSFUL
        odd = next(written for _, written in world.writes if written["metadata"]["name"] == "odd")
        assert odd["status"]["message"] == (
            'Analysis spec invalid: metrics[0]: invalid interval string: time: unknown unit "d" in duration "1d"'
        )

    told(story)


def test_a_completed_run_is_deleted_on_time_without_any_resync() -> None:
    async def story(world: World) -> None:
        world.create({}, ttlStrategy={"secondsAfterCompletion": 3600})
        async with world.controller():
            await world.until_completed()
            await asyncio.sleep(3595)
            assert await world.run() is not None
            await asyncio.sleep(10)
            assert await world.run() is None

    told(story)


def test_at_rest_nothing_is_asked_or_written() -> None:
    async def story(world: World) -> None:
        world.create({})
        async with world.controller():
            await world.until_completed()
            writes, asked = len(world.writes), len(world.sources.asked)
            await asyncio.sleep(100_000)
            assert (len(world.writes), len(world.sources.asked)) == (writes, asked)

    told(story)


def test_editing_an_argument_of_a_live_run_takes_effect_at_the_next_measurement() -> None:
    async def story(world: World) -> None:
        world.create(
            {"interval": "1m", "successCondition": "result < {{args.most}}"}, args=[{"name": "most", "value": "1"}]
        )
        async with world.controller():
            await asyncio.sleep(5)
            await world.patch({"spec": {"args": [{"name": "most", "value": "2"}]}})
            await asyncio.sleep(60)
        conditions = [question.metric.success_condition for question in world.sources.questions]
        assert conditions == ["result < 1", "result < 2"]

    told(story)


# -- secrets ---------------------------------------------------------------------------------------------------------

MARKER = 'tok3n"with\\odd chars+ü'
SECRET_ARG = {"name": "token", "valueFrom": {"secretKeyRef": {"name": "creds", "key": "token"}}}
WITH_SECRET = {"provider": {"web": {"url": "http://shop", "headers": [{"key": "t", "value": "{{args.token}}"}]}}}


def test_a_missing_secret_ends_the_run() -> None:
    async def story(world: World) -> None:
        world.create(WITH_SECRET, args=[SECRET_ARG])
        async with world.controller():
            status = await world.until_completed()
        assert status.message == 'Unable to resolve metric arguments: secrets "creds" not found'
        assert (status.phase, world.sources.asked) == (Phase.ERROR, [])
        assert status.completed_at is not None

    told(story)


def test_a_missing_key_ends_the_run_even_if_no_metric_uses_it() -> None:
    async def story(world: World) -> None:
        world.secret("creds", other="x")
        world.create({}, args=[SECRET_ARG])
        async with world.controller():
            status = await world.until_completed()
        assert status.message == "Unable to resolve metric arguments: key 'token' does not exist in secret 'creds'"

    told(story)


def test_secrets_that_cannot_be_read_for_now_are_an_error_measurement() -> None:
    async def story(world: World) -> None:
        world.secret("creds", token=MARKER)
        world.create(WITH_SECRET, args=[SECRET_ARG])
        async with world.controller(Counting(world.cluster, down=2)):
            status = await world.until_completed()
        (result,) = status.metric_results
        assert (result.phase, result.error, result.successful) == (Phase.SUCCESSFUL, 2, 1)
        assert result.measurements[0].message == "api server is down"

    told(story)


def test_a_secret_that_cannot_be_put_into_the_metric_ends_the_run() -> None:
    async def story(world: World) -> None:
        world.secret("creds", token="a\x07b")
        world.create(WITH_SECRET, args=[SECRET_ARG])
        async with world.controller():
            await world.until_completed()
        text = "Unable to resolve metric arguments: args.token holds a control character that cannot be substituted"
        assert await world.reached() == ("Error", text)

    told(story)


def test_a_secret_reaches_the_source_and_is_read_once_per_round() -> None:
    async def story(world: World) -> None:
        world.secret("creds", token=MARKER)
        world.create(WITH_SECRET, {**WITH_SECRET, "name": "b"}, args=[SECRET_ARG])
        counting = Counting(world.cluster)
        async with world.controller(counting):
            await world.until_completed()
        webs = [question.metric.provider.web for question in world.sources.questions]
        assert [web.headers[0].value for web in webs if web is not None] == [MARKER] * 2
        assert counting.secrets == 1

    told(story)


class Counting(FaultyCluster):
    """A Cluster that counts reads of Secrets, and fails the first of them."""

    def __init__(self, inner: Any, *, down: int = 0) -> None:
        super().__init__(inner, seed=0)
        self.stop()
        self.secrets = 0
        self._down = down

    async def get(self, kind: Any, key: Any) -> Any:
        self.secrets += kind.plural == "secrets"
        if kind.plural == "secrets" and self.secrets <= self._down:
            raise Unavailable("api server is down")
        return await super().get(kind, key)


@pytest.mark.parametrize("fault", [None, "error", "bug"])
def test_a_secret_is_never_shown(fault: str | None) -> None:
    async def story(world: World) -> None:
        async def leaky(question: Question) -> Any:
            assert question.metric.provider.web is not None
            value = question.metric.provider.web.headers[0].value
            if fault == "error":
                return ProviderError(f"401 for {value}", provider="web")
            if fault == "bug":
                raise RuntimeError(value)
            return answer(f"F:denied for {value}", value=f"[{value}]", metadata={"echo": value})

        world.secret("creds", token=MARKER)
        world.sources.scripts["a"] = leaky
        world.sources.shown = {"ResolvedQuery": f"up{{t={MARKER}}}"}
        world.create({**WITH_SECRET, "consecutiveErrorLimit": 0}, args=[SECRET_ARG])
        with structlog.testing.capture_logs() as logs:
            async with world.controller():
                await world.until_completed()
        everything = msgspec.json.encode([world.writes, [str(log) for log in logs]]).decode() + str(world.notes.events)
        assert "*****" in everything
        for form in (MARKER, MARKER[:8], "odd chars"):
            assert form not in everything
        assert "token" in everything  # the name of the argument may be shown

    told(story)

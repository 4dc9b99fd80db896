from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.testing.workloads import job as jobs
from fairlead.testing.workloads._objects import Job, JobSpec, JobStatus, Pod
from tests.testing.workloads.make import at, meta, pod, raw


def job(*, restart: str = "Never", status: JobStatus | None = None, **spec: Any) -> Job:
    template = raw({"spec": {"restartPolicy": restart, "containers": [{"name": "main", "image": "tool:1"}]}})
    return Job(metadata=meta("task"), spec=JobSpec(template=template, **spec), status=status or JobStatus())


def failed(name: str, ended: float) -> Pod:
    return pod(name, phase="Failed", ready_since=None, ended=ended)


def done(name: str) -> Pod:
    return pod(name, phase="Succeeded", ready_since=None, ended=5)


RUNNING = JobStatus(start_time=at(0))


def conditions(plan: jobs.Plan) -> list[tuple[str, str]]:
    return [(condition.type, condition.reason) for condition in plan.status.conditions if condition.status == "True"]


@pytest.mark.parametrize(
    ("wished", "pods", "create", "delete", "wake_at"),
    [
        pytest.param(job(), [], 1, [], None, id="one-pod-by-default"),
        pytest.param(job(completions=5, parallelism=2), [], 2, [], None, id="parallel"),
        pytest.param(job(completions=3, parallelism=5), [done("a"), done("b")], 1, [], None, id="only-what-is-missing"),
        pytest.param(job(parallelism=3), [pod("a")], 2, [], None, id="a-work-queue-fills-up"),
        pytest.param(job(parallelism=3), [pod("a"), done("b")], 0, [], None, id="a-work-queue-runs-dry"),
        pytest.param(job(), [pod("a", deleting=True)], 0, [], None, id="a-leaving-pod-holds-its-place"),
        pytest.param(job(parallelism=1), [pod("a"), pod("b", ready_since=None)], 0, ["b"], None, id="too-many"),
        pytest.param(job(), [failed("a", 20)], 0, [], 30, id="ten-seconds-after-a-failure"),
        pytest.param(job(), [failed("a", 10), failed("b", 20)], 0, [], 40, id="twenty-after-the-second"),
        pytest.param(job(), [failed("a", 3)], 1, [], None, id="over"),
        pytest.param(job(active_deadline_seconds=90), [pod("a")], 0, [], 90, id="looks-again-at-the-deadline"),
    ],
)
def test_pods(wished: Job, pods: list[Pod], create: int, delete: list[str], wake_at: float | None) -> None:
    wished = msgspec.structs.replace(wished, status=RUNNING)
    plan = jobs.decide(wished, pods, at(25))
    assert (plan.create, [found.metadata.name for found in plan.delete]) == (create, delete)
    assert plan.wake_at == (None if wake_at is None else at(wake_at))


@pytest.mark.parametrize(
    ("wished", "pods", "reached"),
    [
        pytest.param(
            job(),
            [done("a")],
            [("SuccessCriteriaMet", "CompletionsReached"), ("Complete", "CompletionsReached")],
            id="ok",
        ),
        pytest.param(job(parallelism=2), [pod("a"), done("b")], [], id="work-queue-waits-for-the-last"),
        pytest.param(
            job(completions=1, parallelism=2),
            [done("a"), pod("b")],
            [("SuccessCriteriaMet", "CompletionsReached")],
            id="stops-those-that-are-not-needed",
        ),
        pytest.param(
            job(backoff_limit=0),
            [failed("a", 5)],
            [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")],
            id="no-retry",
        ),
        pytest.param(job(backoff_limit=1), [failed("a", 5)], [], id="one-retry-left"),
        pytest.param(
            job(restart="OnFailure", backoff_limit=3),
            [pod("a", restarts=3)],
            [("FailureTarget", "BackoffLimitExceeded")],
            id="restarts-in-place-count",
        ),
        pytest.param(
            job(active_deadline_seconds=25),
            [pod("a")],
            [("FailureTarget", "DeadlineExceeded")],
            id="deadline",
        ),
        pytest.param(job(active_deadline_seconds=26), [pod("a")], [], id="before-the-deadline"),
    ],
)
def test_ends(wished: Job, pods: list[Pod], reached: list[tuple[str, str]]) -> None:
    plan = jobs.decide(msgspec.structs.replace(wished, status=RUNNING), pods, at(25))
    assert conditions(plan) == reached
    finished = jobs.is_finished(msgspec.structs.replace(wished, status=plan.status))
    assert finished == any(type_ in ("Complete", "Failed") for type_, _ in reached)
    if reached and not finished:
        assert [found.metadata.name for found in plan.delete] == [p.metadata.name for p in pods if p.is_active]


def test_failing_becomes_failed_when_the_last_pod_is_gone() -> None:
    wished = job(active_deadline_seconds=10, status=RUNNING)
    plan = jobs.decide(wished, [pod("a")], at(10))
    wished = msgspec.structs.replace(wished, status=plan.status)
    plan = jobs.decide(wished, [pod("a", deleting=True)], at(11))
    assert ("Failed", "DeadlineExceeded") not in conditions(plan)
    plan = jobs.decide(wished, [], at(12))
    assert conditions(plan)[-1] == ("Failed", "DeadlineExceeded")
    assert plan.status.completion_time is None


def test_a_pod_that_was_counted_stays_counted() -> None:
    plan = jobs.decide(job(backoff_limit=1, status=RUNNING), [failed("a", 5)], at(6))
    assert plan.status.failed == 1
    later = jobs.decide(job(backoff_limit=1, status=plan.status), [], at(7))
    assert later.status.failed == 1


def test_suspend_and_resume() -> None:
    plan = jobs.decide(job(suspend=True, status=RUNNING), [pod("a")], at(5))
    assert (plan.create, len(plan.delete), plan.status.start_time) == (0, 1, None)
    assert conditions(plan) == [("Suspended", "JobSuspended")]
    plan = jobs.decide(job(status=plan.status), [], at(9))
    assert (plan.create, plan.status.start_time, conditions(plan)) == (1, at(9), [])


@pytest.mark.parametrize(
    ("now", "gone", "wake_at"), [pytest.param(39, False, 40, id="kept"), pytest.param(40, True, None, id="over")]
)
def test_time_to_live_after_the_end(now: float, gone: bool, wake_at: float | None) -> None:
    ended = jobs.decide(job(status=RUNNING), [done("a")], at(10)).status
    plan = jobs.decide(job(status=ended, ttl_seconds_after_finished=30), [done("a")], at(now))
    assert (plan.delete_job, plan.wake_at) == (gone, None if wake_at is None else at(wake_at))


def test_finished_job_is_left_alone() -> None:
    ended = jobs.decide(job(status=RUNNING), [done("a")], at(10)).status
    assert ended.completion_time == at(10)
    assert jobs.decide(job(status=ended), [], at(99)) == jobs.Plan(status=ended)


def test_pod_carries_the_labels_that_clients_look_for() -> None:
    body = jobs.pod_body(job(), "task-abcde")
    assert body["metadata"]["labels"] == {
        "job-name": "task",
        "controller-uid": "uid-task",
        "batch.kubernetes.io/job-name": "task",
        "batch.kubernetes.io/controller-uid": "uid-task",
    }
    assert body["metadata"]["ownerReferences"][0]["uid"] == "uid-task"

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from fairlead.core.objects import rfc3339
from fairlead.testing import _podlife
from fairlead.testing._podlife import PODS, PodLife, SeenPod, Timing
from fairlead.testing._podstatus import status

T0 = datetime(2026, 1, 1, tzinfo=UTC)
TIMING = Timing(start=0.5, ready=1.0, jitter=0.25, stop=0.5)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def make(
    *containers: dict[str, Any],
    annotations: dict[str, str] | None = None,
    deleted: float | None = None,
    grace: int = 30,
    shown: dict[str, Any] | None = None,
    **spec: Any,
) -> SeenPod:
    metadata: dict[str, Any] = {"name": "web-abcde", "namespace": "shop", "uid": "u1"}
    metadata["annotations"] = {f"testing.fairlead.dev/{name}": value for name, value in (annotations or {}).items()}
    if deleted is not None:
        metadata["deletionTimestamp"] = rfc3339(at(deleted + grace))
        metadata["deletionGracePeriodSeconds"] = grace
    body = {
        "metadata": metadata,
        "spec": {"nodeName": "node-1", "containers": containers or [{"name": "web", "image": "web:1"}], **spec},
        "status": shown or {},
    }
    return PODS.decode(msgspec.json.encode(body))


class Node:
    """A node with one pod: moves on from wake-up to wake-up, as the kubelet does, and writes what is to be shown."""

    def __init__(self, pod: SeenPod) -> None:
        self.pod = pod
        self.now = T0
        self.life: PodLife = _podlife.begin(pod, TIMING, T0)
        self.look()

    def look(self) -> None:
        self.life = _podlife.advance(self.life, self.pod, self.now)
        shown = status(self.life, self.pod, self.now)
        self.pod = msgspec.structs.replace(self.pod, status={**self.pod.status, **shown})

    def to(self, seconds: float) -> Node:
        for _ in range(1000):
            wake_at = _podlife.wake_at(self.life, self.pod, self.now)
            if wake_at is None or wake_at > at(seconds):
                break
            assert wake_at > self.now, f"woken at {self.now} for {wake_at}: it would spin"
            self.now = wake_at
            self.look()
        self.now = at(seconds)
        self.look()
        return self

    @property
    def phase(self) -> str:
        return str(self.pod.status["phase"])

    @property
    def is_ready(self) -> bool:
        return bool(self.condition("Ready")["status"] == "True")

    def condition(self, type_: str) -> dict[str, Any]:
        (found,) = [shown for shown in self.pod.status["conditions"] if shown["type"] == type_]
        return dict(found)

    def container(self, index: int = 0) -> dict[str, Any]:
        return dict(self.pod.status["containerStatuses"][index])

    @property
    def state(self) -> str:
        """Return the first container's state as kubectl's STATUS column would have it."""
        (kind, detail), *_ = self.container()["state"].items()
        return str(detail.get("reason", "")) or str(kind)


def test_a_good_pod_becomes_ready_step_by_step() -> None:
    node = Node(make())
    assert (node.phase, node.state, node.is_ready) == ("Pending", "ContainerCreating", False)
    assert (node.condition("PodScheduled")["status"], node.condition("Initialized")["status"]) == ("True", "True")
    served = [node.life.is_serving, node.to(0.5).life.is_serving]
    assert served == [False, True]
    assert (node.phase, node.state, node.is_ready) == ("Running", "running", False)
    assert node.condition("Ready")["reason"] == "ContainersNotReady"
    assert not node.to(1.74).is_ready
    assert node.to(1.75).is_ready
    assert node.condition("Ready")["lastTransitionTime"] == rfc3339(at(1.75))
    assert _podlife.wake_at(node.life, node.pod, node.now) is None


@pytest.mark.parametrize(
    ("container", "annotations", "ready_at"),
    [
        pytest.param({}, {}, 1.75, id="never-at-once"),
        pytest.param({"readinessProbe": {"initialDelaySeconds": 5}}, {}, 5.75, id="probe"),
        pytest.param({"readinessProbe": {"initialDelaySeconds": 5}}, {"ready-after": "3s"}, 3.75, id="annotation-wins"),
        pytest.param({}, {"ready-after": "0s"}, 1.75, id="but-not-below-the-least"),
        pytest.param({"lifecycle": {"postStart": {"sleep": {"seconds": 4}}}}, {}, 5.75, id="post-start"),
        pytest.param({}, {"start-after": "10s"}, 11.25, id="slow-start"),
        pytest.param({}, {"never-ready": "true"}, None, id="never"),
        pytest.param({"image": "web:crash"}, {}, None, id="a-crashing-one-is-never-ready"),
    ],
)
def test_ready_at(container: dict[str, Any], annotations: dict[str, str], ready_at: float | None) -> None:
    node = Node(make({"name": "web", "image": "web:1", **container}, annotations=annotations))
    if ready_at is None:
        assert not any(node.to(second).is_ready for second in range(1, 60))
        return
    assert not node.to(ready_at - 0.01).is_ready
    assert node.to(ready_at).is_ready


def test_crash_loop_backs_off() -> None:
    node = Node(make({"name": "web", "image": "web:1", "command": ["sh", "-c", "sleep 1; exit 7"]}))
    node.to(1.5)
    assert (node.container()["restartCount"], node.state) == (0, "Error")
    # The first restart comes at once; after the second crash the back-off is 10 s, then 20 s.
    node.to(1.6)
    assert (node.container()["restartCount"], node.state) == (1, "running")
    node.to(2.6)
    assert (node.phase, node.state) == ("Running", "CrashLoopBackOff")
    assert node.container()["state"]["waiting"]["message"].startswith("back-off 10s restarting failed container=web")
    assert node.container()["lastState"]["terminated"]["exitCode"] == 7
    node.to(12.6)
    assert (node.container()["restartCount"], node.state) == (2, "running")
    assert (node.to(13.6).state, node.to(33.5).state, node.to(33.6).state) == (
        "CrashLoopBackOff",
        "CrashLoopBackOff",
        "running",
    )


def test_back_off_is_bounded_and_forgiven() -> None:
    node = Node(make({"name": "web", "image": "web:crash"}))
    node.to(3600)
    (life,) = node.life.main
    assert life.backoff == 300.0
    long = Node(make({"name": "web", "image": "web:1", "command": ["sleep", "601"]}))
    long.to(2000)
    assert {one.backoff for one in long.life.main} == {0.0}
    assert long.container()["restartCount"] == 3


def test_crash_after_hits_the_first_container_only() -> None:
    both = ({"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"})
    node = Node(make(*both, annotations={"crash-after": "20s"}))
    assert node.to(19).is_ready
    node.to(20.5)
    assert (node.container(0)["state"].keys(), node.container(1)["state"].keys()) == ({"terminated"}, {"running"})
    assert not node.is_ready
    assert node.life.is_serving


@pytest.mark.parametrize(
    ("image", "command", "first", "later"),
    [
        pytest.param("web:does-not-exist", [], "ErrImagePull", "ImagePullBackOff", id="missing-image"),
        pytest.param("Web:1", [], "InvalidImageName", "InvalidImageName", id="invalid-name"),
        pytest.param("web:1", ["./no-such-file"], "StartError", "CrashLoopBackOff", id="command-that-cannot-start"),
    ],
)
def test_containers_that_cannot_start(image: str, command: list[str], first: str, later: str) -> None:
    node = Node(make({"name": "web", "image": image, "command": command}))
    assert node.to(0.5).state == first
    assert node.to(11).state == later
    assert not node.is_ready


def test_bad_annotation_shows_what_was_found_and_expected() -> None:
    node = Node(make(annotations={"ready-after": "soon"})).to(5)
    waiting = node.container()["state"]["waiting"]
    assert (node.phase, waiting["reason"]) == ("Pending", "CreateContainerConfigError")
    assert 'testing.fairlead.dev/ready-after: found "soon"' in waiting["message"]


@pytest.mark.parametrize(
    ("command", "policy", "phase", "restarts"),
    [
        pytest.param("sleep 3", "Never", "Succeeded", 0, id="success"),
        pytest.param("sleep 3; exit 2", "Never", "Failed", 0, id="failure"),
        pytest.param("sleep 3", "OnFailure", "Succeeded", 0, id="success-on-failure"),
        pytest.param("sleep 3; exit 2", "OnFailure", "Running", 1, id="is-restarted"),
        pytest.param("sleep 3", "Always", "Running", 1, id="always-restarted"),
    ],
)
def test_restart_policies(command: str, policy: str, phase: str, restarts: int) -> None:
    node = Node(make({"name": "main", "image": "tool:1", "command": ["sh", "-c", command]}, restartPolicy=policy))
    assert node.to(3.4).phase == "Running"
    node.to(3.6)
    assert (node.phase, node.container()["restartCount"]) == (phase, restarts)
    if phase in ("Succeeded", "Failed"):
        assert (node.is_ready, node.life.is_serving) == (False, False)
        terminated = node.container()["state"]["terminated"]
        assert (terminated["startedAt"], terminated["finishedAt"]) == (rfc3339(at(0.5)), rfc3339(at(3.5)))
        assert _podlife.wake_at(node.life, node.pod, node.now) is None


def test_active_deadline_ends_the_pod() -> None:
    node = Node(make(activeDeadlineSeconds=10))
    assert node.to(9.9).is_ready
    node.to(10)
    assert (node.phase, node.pod.status["reason"], node.is_ready) == ("Failed", "DeadlineExceeded", False)
    assert node.container()["state"]["terminated"]["exitCode"] == 137
    assert not node.life.is_serving


def test_readiness_gates_hold_ready_back() -> None:
    node = Node(make(readinessGates=[{"conditionType": "example.com/lb"}])).to(5)
    assert (node.condition("ContainersReady")["status"], node.is_ready) == ("True", False)
    assert node.condition("Ready")["message"] == (
        'corresponding condition of pod readiness gate "example.com/lb" does not exist.'
    )
    for value, ready in (("False", False), ("True", True), ("False", False)):
        kept = [shown for shown in node.pod.status["conditions"] if shown["type"] != "example.com/lb"]
        gate = {"type": "example.com/lb", "status": value}
        node.pod = msgspec.structs.replace(node.pod, status={**node.pod.status, "conditions": [*kept, gate]})
        node.look()
        assert node.is_ready == ready
        assert node.condition("example.com/lb") == gate  # of others: left alone


def test_unready_annotation_comes_and_goes() -> None:
    node = Node(make()).to(5)
    for text, ready in (("true", False), ("false", True)):
        changed = make(annotations={"unready": text}, shown=node.pod.status)
        node.pod = changed
        node.look()
        assert node.is_ready == ready


def test_init_containers_go_first_one_by_one() -> None:
    first = {"name": "first", "image": "tool:1", "command": ["sleep", "2"]}
    sidecar = {"name": "proxy", "image": "proxy:1", "restartPolicy": "Always"}
    second = {"name": "second", "image": "tool:1", "command": ["sleep", "2"]}
    node = Node(make(initContainers=[first, sidecar, second]))
    assert node.condition("Initialized")["status"] == "False"
    node.to(4.4)
    assert (node.phase, node.state) == ("Pending", "PodInitializing")
    assert [shown["ready"] for shown in node.pod.status["initContainerStatuses"]] == [True, True, False]
    node.to(4.5)
    assert (node.phase, node.condition("Initialized")["status"]) == ("Running", "True")
    assert node.to(6).is_ready


def test_failing_init_container_loops_or_ends_the_pod() -> None:
    broken = {"name": "broken", "image": "tool:1", "command": ["false"]}
    looping = Node(make(initContainers=[broken])).to(60)
    assert (looping.phase, looping.life.main) == ("Pending", ())
    assert looping.pod.status["initContainerStatuses"][0]["restartCount"] > 1
    ending = Node(make(initContainers=[broken], restartPolicy="Never")).to(60)
    assert ending.phase == "Failed"


@pytest.mark.parametrize(
    ("container", "annotations", "grace", "term_at", "gone_at"),
    [
        pytest.param({}, {}, 30, 10, 10.5, id="processes-end"),
        pytest.param({"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}, {}, 30, 15, 15.5, id="after-pre-stop"),
        pytest.param({}, {"stop-after": "8s"}, 30, 10, 18, id="slow-to-stop"),
        pytest.param({}, {"stop-after": "8s"}, 3, 10, 13, id="killed-after-the-grace-period"),
        pytest.param({"lifecycle": {"preStop": {"sleep": {"seconds": 5}}}}, {}, 3, 13, 13, id="pre-stop-is-cut-short"),
    ],
)
def test_deletion(
    container: dict[str, Any], annotations: dict[str, str], grace: int, term_at: float, gone_at: float
) -> None:
    node = Node(make({"name": "web", "image": "web:1", **container}, annotations=annotations)).to(10)
    node.pod = make(
        {"name": "web", "image": "web:1", **container},
        annotations=annotations,
        deleted=10,
        grace=grace,
        shown=node.pod.status,
    )
    node.look()
    assert (node.life.term_at, node.life.gone_at) == (at(term_at), at(gone_at))
    assert node.life.is_serving
    assert node.is_ready  # what is being deleted answers until its processes end


def test_a_pod_that_never_ran_has_nothing_to_wait_for() -> None:
    slow = {"name": "web", "image": "web:1", "lifecycle": {"preStop": {"sleep": {"seconds": 20}}}}
    node = Node(make(slow, annotations={"start-after": "60s"})).to(10)
    node.pod = make(slow, annotations={"start-after": "60s"}, deleted=10, shown=node.pod.status)
    node.look()
    assert node.life.gone_at == at(10.5)


def test_restarted_kubelet_finds_the_pod_as_it_was() -> None:
    node = Node(make()).to(30)
    node.life = replace(node.life, address="10.64.0.1")
    node.look()
    again = _podlife.advance(_podlife.begin(node.pod, TIMING, at(31)), node.pod, at(31))
    assert again.address == "10.64.0.1"
    assert status(again, node.pod, at(31)) == {
        name: value for name, value in node.pod.status.items() if name != "message"
    }


def test_any_single_jump_gives_the_same_as_many_steps() -> None:
    pod = make({"name": "web", "image": "web:1", "command": ["sh", "-c", "sleep 4; exit 1"]})
    many = Node(pod)
    for tenth in range(1, 2000):
        many.to(tenth / 10)
    jumped = _podlife.advance(_podlife.begin(pod, TIMING, T0), pod, at(199.9))
    assert jumped == many.life

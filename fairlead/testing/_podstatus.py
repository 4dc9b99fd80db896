"""What the API should show of a pod's life: the status as JSON data, from values alone.

Source: `k8s.io/kubernetes: pkg/kubelet/status/generate.go`, and what a cluster shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from fairlead.core.objects import compact, rfc3339
from fairlead.testing._podlife import ContainerLife, Exit, PodLife, SeenPod, State, is_through, phase
from fairlead.testing._programs import Knobs, knobs, program
from fairlead.testing.workloads._objects import Container


def status(life: PodLife, pod: SeenPod, now: datetime) -> dict[str, Any]:
    """Return the status that the API should show now; conditions of others are kept as they are."""
    asked = knobs(pod.metadata.annotations)
    found = phase(life, pod)
    initialized = bool(life.main)
    main = [
        _container_status(one, container, pod, asked, now) for one, container in _pairs(life.main, pod.spec.containers)
    ]
    init = [
        _container_status(one, container, pod, asked, now, is_init=True)
        for one, container in _pairs(life.init, pod.spec.init_containers)
    ]
    unready = [one["name"] for one in main if not one["ready"]]
    body: dict[str, Any] = {
        "phase": found,
        "startTime": rfc3339(life.started_at),
        "conditions": _conditions(life, pod, found, initialized, unready, now),
        "containerStatuses": main or [_not_begun(container) for container in pod.spec.containers],
    }
    if init:
        begun = len(init)
        body["initContainerStatuses"] = init + [_not_begun(one) for one in pod.spec.init_containers[begun:]]
    if life.address:
        body["podIP"] = life.address
        body["podIPs"] = [{"ip": life.address}]
    if life.ended_reason:
        body["reason"] = life.ended_reason
        body["message"] = "Pod was active on the node longer than the specified deadline"
    return body


def _pairs(
    lives: Sequence[ContainerLife], containers: Sequence[Container]
) -> Iterator[tuple[ContainerLife, Container]]:
    return zip(lives, containers, strict=False)


def _not_begun(container: Container) -> dict[str, Any]:
    return {
        "name": container.name,
        "image": container.image,
        "imageID": "",
        "ready": False,
        "started": False,
        "restartCount": 0,
        "state": {"waiting": {"reason": "PodInitializing"}},
        "lastState": {},
    }


def _container_status(
    life: ContainerLife, container: Container, pod: SeenPod, asked: Knobs, now: datetime, *, is_init: bool = False
) -> dict[str, Any]:
    ready = life.state is State.RUNNING and life.ready_at is not None and life.ready_at <= now and not asked.unready
    if is_init:
        ready = is_through(life, container)
    identity = f"containerd://{pod.metadata.uid}-{life.name}-{life.restarts}"
    has_run = life.state not in (State.CREATING, State.STUCK)
    return compact({"containerID": identity if has_run else ""}) | {
        "name": life.name,
        "image": container.image,
        "imageID": f"simulated@{container.image}" if has_run else "",
        "ready": ready,
        "started": life.state is State.RUNNING,
        "restartCount": life.restarts,
        "state": _state(life, container, pod, asked),
        "lastState": {"terminated": _terminated(life.last)} if life.last and life.state is not State.ENDED else {},
    }


def _state(life: ContainerLife, container: Container, pod: SeenPod, asked: Knobs) -> dict[str, Any]:
    match life.state:
        case State.CREATING:
            return {"waiting": {"reason": "ContainerCreating"}}
        case State.STUCK:
            return {"waiting": _stuck(life, container, asked)}
        case State.RUNNING:
            return {"running": {"startedAt": rfc3339(life.since)}}
        case State.BACKOFF if life.backoff:
            named = f"{pod.metadata.name}_{pod.metadata.namespace}({pod.metadata.uid})"
            text = f"back-off {life.backoff:.0f}s restarting failed container={life.name} pod={named}"
            return {"waiting": {"reason": "CrashLoopBackOff", "message": text}}
        case _:
            assert life.last is not None, f"container {life.name} ended without an exit"
            return {"terminated": _terminated(life.last)}


def _stuck(life: ContainerLife, container: Container, asked: Knobs) -> dict[str, str]:
    if asked.problem:
        return {"reason": "CreateContainerConfigError", "message": asked.problem}
    refusal = program(container).refusal
    if refusal == "InvalidImageName":
        text = f'Failed to apply default image tag "{container.image}": couldn\'t parse image name'
        return {"reason": refusal, "message": text}
    if life.until is not None:
        return {"reason": "ErrImagePull", "message": f'failed to pull image "{container.image}": not found'}
    return {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "{container.image}"'}


def _terminated(last: Exit) -> dict[str, Any]:
    return {
        "exitCode": last.code,
        "reason": last.reason,
        "startedAt": rfc3339(last.started_at),
        "finishedAt": rfc3339(last.finished_at),
    }


def _conditions(
    life: PodLife, pod: SeenPod, found: str, initialized: bool, unready: Sequence[str], now: datetime
) -> list[dict[str, Any]]:
    ended = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(found, "")
    if initialized:
        init = ("True", ended if ended == "PodCompleted" else "", "")
    else:
        waiting = " ".join(container.name for container in pod.spec.init_containers)
        init = ("False", "ContainersNotInitialized", f"containers with incomplete status: [{waiting}]")
    if ended:
        containers = ("False", ended, "")
    elif unready or not initialized:
        names = " ".join(unready or [container.name for container in pod.spec.containers])
        containers = ("False", "ContainersNotReady", f"containers with unready status: [{names}]")
    else:
        containers = ("True", "", "")
    ready = containers
    if containers[0] == "True" and (closed := _closed_gates(pod)):
        ready = ("False", "ReadinessGatesNotReady", ", ".join(closed))
    ours = {"PodScheduled": ("True", "", ""), "Initialized": init, "ContainersReady": containers, "Ready": ready}
    stored = pod.status.get("conditions") or []
    before = {str(condition.get("type")): condition for condition in stored}
    kept = [condition for condition in stored if condition.get("type") not in ours]
    return [_condition(type_, *words, before.get(type_), now) for type_, words in ours.items()] + kept


def _closed_gates(pod: SeenPod) -> list[str]:
    """Say of each readiness gate that is not open why."""
    stored = {condition.get("type"): condition.get("status") for condition in pod.status.get("conditions") or []}
    closed = []
    for gate in pod.spec.readiness_gates:
        name = gate.condition_type
        if name not in stored:
            closed.append(f'corresponding condition of pod readiness gate "{name}" does not exist.')
        elif stored[name] != "True":
            closed.append(f'the status of pod readiness gate "{name}" is not "True", but {stored[name]}')
    return closed


def _condition(
    type_: str, value: str, reason: str, message: str, before: dict[str, Any] | None, now: datetime
) -> dict[str, Any]:
    same = before is not None and before.get("status") == value
    moved = before.get("lastTransitionTime") if same and before is not None else rfc3339(now)
    condition = {"type": type_, "status": value, "lastTransitionTime": moved}
    return condition | compact({"reason": reason, "message": message})

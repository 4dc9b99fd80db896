"""The life of one pod on its node, as a pure machine: time goes in, a status comes out.

Two machines, one inside the other. A container:

    CREATING ──► RUNNING ──► ENDED                       (its restart policy lets it rest)
        │           ▲  └───► BACKOFF ──► RUNNING ...     (CrashLoopBackOff: at once, then 10 s, 20 s, ... 300 s)
        └► STUCK                                         (ErrImagePull, soon ImagePullBackOff; for ever)

A pod: its init containers one after another, then all others at once, until it is finished, its active deadline
passes, or it is deleted. Deletion waits for the preStop hook, then for the processes, at most for the grace period.

`begin` makes a life, `advance` takes it to an instant, `_podstatus.status` says what the API should show then,
`wake_at` when time alone will change it. Whoever calls performs the effects: serve while `is_serving`, remove when
`gone_at` has passed.

Source: `k8s.io/kubernetes: pkg/kubelet/` (`kubelet_pods.go: getPhase`, `images/`, `kuberuntime/`), and what a
cluster shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from fairlead.core.objects import Kind, ObjectMeta, struct_decoder
from fairlead.testing._programs import Knobs, Program, knobs, program
from fairlead.testing.workloads._objects import Container, PodSpec

BACKOFF_FIRST = 10.0
BACKOFF_MOST = 300.0
BACKOFF_FORGIVEN = 600.0  # a run as long as this starts the back-off anew
KILLED = 137  # exit code of a process that got SIGKILL
STOPPED = 143  # exit code of a process that ended on SIGTERM


class SeenPod(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A pod as its kubelet looks at it: the status as it is stored, to be compared with what it should be."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: dict[str, Any] = {}

    @property
    def is_finished(self) -> bool:
        return self.status.get("phase") in ("Succeeded", "Failed")


PODS = Kind("", "v1", "Pod", "pods", struct_decoder(SeenPod))


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things take on a node, for one pod; drawn once from the seed.

    Attributes:
        start: seconds from being seen by the kubelet until containers run.
        ready: least seconds from running to ready; never 0, or clients that poll would miss the state before.
        jitter: seconds added to every readiness.
        stop: seconds from SIGTERM to the end of the processes.
    """

    start: float = 0.3
    ready: float = 1.0
    jitter: float = 0.0
    stop: float = 0.5


class State(StrEnum):
    """Where a container is."""

    CREATING = "Creating"
    STUCK = "Stuck"
    RUNNING = "Running"
    BACKOFF = "Backoff"
    ENDED = "Ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """One end of a container."""

    code: int
    reason: str
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerLife:
    """One container: its state, since when, until when by time alone, and what was before."""

    name: str
    state: State
    since: datetime
    until: datetime | None = None
    ready_at: datetime | None = None
    restarts: int = 0
    crashes: int = 0  # in a row, as the back-off counts them
    last: Exit | None = None
    backoff: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PodLife:
    """One pod. Make it with `begin`; `address` is set by whoever serves it.

    Attributes:
        init: lives of the init containers that have begun, in order.
        main: lives of the containers; empty until the init containers are through.
        stopping_at: when its deletion was seen.
        pre_stop: seconds that its preStop hooks take from there.
        ended_reason: `DeadlineExceeded` when the node ended it.
    """

    started_at: datetime
    timing: Timing
    init: tuple[ContainerLife, ...] = ()
    main: tuple[ContainerLife, ...] = ()
    address: str = ""
    stopping_at: datetime | None = None
    grace: float = 0.0
    pre_stop: float = 0.0
    ended_reason: str = ""

    @property
    def is_serving(self) -> bool:
        """Whether a process of it is up that could answer."""
        return any(life.state is State.RUNNING for life in self.main)

    @property
    def term_at(self) -> datetime | None:
        """When its processes get SIGTERM; None unless it is being deleted."""
        if self.stopping_at is None:
            return None
        return self.stopping_at + timedelta(seconds=min(self.pre_stop, self.grace))

    @property
    def gone_at(self) -> datetime | None:
        """When nothing of it is left on the node; None unless it is being deleted."""
        if self.stopping_at is None or self.term_at is None:
            return None
        latest = self.stopping_at + timedelta(seconds=self.grace)
        return min(self.term_at + timedelta(seconds=self.timing.stop), latest)


def begin(pod: SeenPod, timing: Timing, now: datetime) -> PodLife:
    """Return the life of a pod that its node sees for the first time, or again after the kubelet's restart."""
    asked = knobs(pod.metadata.annotations)
    if asked.start_after is not None:
        timing = replace(timing, start=asked.start_after)
    if asked.stop_after is not None:
        timing = replace(timing, stop=asked.stop_after)
    started = pod.status.get("startTime")
    started_at = datetime.fromisoformat(started) if isinstance(started, str) else now
    life = PodLife(started_at=started_at, timing=timing, address=str(pod.status.get("podIP") or ""))
    return _next_containers(life, pod, started_at)


def advance(life: PodLife, pod: SeenPod, now: datetime) -> PodLife:
    """Return the life as it is at `now`, having passed through everything that time has brought."""
    if life.stopping_at is None and pod.metadata.is_deleting:
        grace = pod.metadata.deletion_grace_period_seconds
        pre_stop = max((program(container).pre_stop for container in pod.spec.containers), default=0.0)
        life = replace(
            life,
            stopping_at=now,
            grace=float(pod.spec.termination_grace_period_seconds if grace is None else grace),
            pre_stop=pre_stop if life.is_serving else 0.0,
        )
    if life.stopping_at is not None or life.ended_reason:
        return life
    deadline = _deadline(life, pod)
    until = now if deadline is None else min(now, deadline)
    while (due := _due(life)) is not None and due <= until:
        life = _next_containers(_step(life, pod, due), pod, due)
    if deadline is not None and deadline <= now and not _finished(life, pod):
        life = _killed(replace(life, ended_reason="DeadlineExceeded"), deadline)
    return life


def wake_at(life: PodLife, pod: SeenPod, now: datetime) -> datetime | None:
    """Return when time alone will change this life's status, or take it off the node."""
    if life.stopping_at is not None:
        instants = [at for at in (life.term_at, life.gone_at) if at is not None and at > now]
        return min(instants, default=None)
    if life.ended_reason or _finished(life, pod):
        return None
    instants = [at for at in (_due(life), _deadline(life, pod)) if at is not None]
    instants += [one.ready_at for one in _all(life) if one.ready_at is not None and one.ready_at > now]
    return min(instants, default=None)


# --- containers ------------------------------------------------------------------------------------------------------


def _next_containers(life: PodLife, pod: SeenPod, now: datetime) -> PodLife:
    """Begin what may begin: the next init container once the last is through, the others after all of them."""
    if life.main or life.ended_reason:
        return life
    through = len(life.init)
    if life.init and not is_through(life.init[-1], pod.spec.init_containers[through - 1]):
        return life
    # Images are pulled one after another: only the first container waits for the whole start time.
    due = now + timedelta(seconds=life.timing.start if not life.init else 0.0)
    if through < len(pod.spec.init_containers):
        return replace(life, init=(*life.init, _created(pod.spec.init_containers[through], now, due)))
    return replace(life, main=tuple(_created(container, now, due) for container in pod.spec.containers))


def _created(container: Container, now: datetime, due: datetime) -> ContainerLife:
    return ContainerLife(name=container.name, state=State.CREATING, since=now, until=due)


def is_through(life: ContainerLife, container: Container) -> bool:
    """Whether the next init container may begin."""
    if container.restart_policy == "Always":
        return life.state is State.RUNNING
    return life.state is State.ENDED and life.last is not None and life.last.code == 0


def _all(life: PodLife) -> Iterator[ContainerLife]:
    yield from life.init
    yield from life.main


def _due(life: PodLife) -> datetime | None:
    return min((one.until for one in _all(life) if one.until is not None), default=None)


def _step(life: PodLife, pod: SeenPod, now: datetime) -> PodLife:
    """Take each container whose time has come through one transition."""
    asked = knobs(pod.metadata.annotations)
    init = tuple(
        _transition(one, container, pod.spec.restart_policy, life.timing, asked, now, is_init=True, is_first=False)
        for one, container in zip(life.init, pod.spec.init_containers, strict=False)
    )
    main = tuple(
        _transition(
            one, container, pod.spec.restart_policy, life.timing, asked, now, is_init=False, is_first=index == 0
        )
        for index, (one, container) in enumerate(zip(life.main, pod.spec.containers, strict=False))
    )
    return replace(life, init=init, main=main)


def _transition(
    life: ContainerLife,
    container: Container,
    policy: str,
    timing: Timing,
    asked: Knobs,
    now: datetime,
    *,
    is_init: bool,
    is_first: bool,
) -> ContainerLife:
    if life.until is None or life.until > now:
        return life
    does = program(container)
    if asked.crash_after is not None and is_first and not does.refusal:
        does = replace(does, seconds=asked.crash_after, exit_code=1)
    match life.state:
        case State.CREATING | State.BACKOFF:
            if asked.problem or (does.refusal and does.refusal != "StartError"):
                # The failed attempt shows for a while before the back-off does; no further attempt is simulated.
                return replace(life, state=State.STUCK, since=now, until=now + timedelta(seconds=BACKOFF_FIRST))
            started = replace(
                life,
                state=State.RUNNING,
                since=now,
                restarts=life.restarts + (life.state is State.BACKOFF),
                until=None if does.seconds is None else now + timedelta(seconds=does.post_start + does.seconds),
                ready_at=None if asked.never_ready or is_init else now + _ready_after(container, does, timing, asked),
            )
            if does.refusal:
                return _ended(started, does, "StartError", container, policy, now, is_init=is_init)
            return started
        case State.STUCK:
            return replace(life, until=None)
        case State.RUNNING:
            reason = "Completed" if does.exit_code == 0 else "Error"
            return _ended(life, does, reason, container, policy, now, is_init=is_init)
        case _:
            raise AssertionError(f"container {life.name}: {life.state} has no end by time")


def _ended(
    life: ContainerLife,
    does: Program,
    reason: str,
    container: Container,
    policy: str,
    now: datetime,
    *,
    is_init: bool,
) -> ContainerLife:
    last = Exit(code=does.exit_code, reason=reason, started_at=life.since, finished_at=now)
    rests = policy == "Never" or (does.exit_code == 0 and (policy == "OnFailure" or is_init))
    if rests and container.restart_policy != "Always":
        return replace(life, state=State.ENDED, since=now, until=None, ready_at=None, last=last)
    ran = (now - life.since).total_seconds()
    crashes = 1 if ran >= BACKOFF_FORGIVEN else life.crashes + 1
    # The first restart comes at once (a moment later, so that the state can be seen), the second after 10 s.
    delay = 0.0 if crashes == 1 else min(BACKOFF_MOST, BACKOFF_FIRST * 2.0 ** min(crashes - 2, 16))
    return replace(
        life,
        state=State.BACKOFF,
        since=now,
        until=now + timedelta(seconds=max(delay, 0.1)),
        ready_at=None,
        crashes=crashes,
        last=last,
        backoff=delay,
    )


def _ready_after(container: Container, does: Program, timing: Timing, asked: Knobs) -> timedelta:
    probe = container.readiness_probe
    delay = float(probe.initial_delay_seconds) if probe else 0.0
    if asked.ready_after is not None:
        delay = asked.ready_after
    return timedelta(seconds=does.post_start + max(timing.ready, delay) + timing.jitter)


def _deadline(life: PodLife, pod: SeenPod) -> datetime | None:
    if pod.spec.active_deadline_seconds is None:
        return None
    return life.started_at + timedelta(seconds=pod.spec.active_deadline_seconds)


def _killed(life: PodLife, now: datetime) -> PodLife:
    def kill(one: ContainerLife) -> ContainerLife:
        if one.state is State.ENDED:
            return one
        # Also a container that never ran ends: a finished pod has no waiting ones.
        begun = one.since if one.state is State.RUNNING else now
        last = Exit(code=KILLED, reason="Error", started_at=begun, finished_at=now)
        return replace(one, state=State.ENDED, since=now, until=None, ready_at=None, last=last)

    return replace(life, init=tuple(kill(one) for one in life.init), main=tuple(kill(one) for one in life.main))


def _finished(life: PodLife, pod: SeenPod) -> bool:
    return phase(life, pod) in ("Succeeded", "Failed")


# --- phase -----------------------------------------------------------------------------------------------------------


def phase(life: PodLife, pod: SeenPod) -> str:
    """Return the pod's phase. Source: `pkg/kubelet/kubelet_pods.go: getPhase`."""
    if life.ended_reason:
        return "Failed"
    policy = pod.spec.restart_policy
    for one in life.init:
        if one.state is State.ENDED and one.last is not None and one.last.code and policy == "Never":
            return "Failed"
    if not life.main:
        return "Pending"
    if any(one.state in (State.CREATING, State.STUCK) and one.last is None for one in life.main):
        return "Pending"
    if any(one.state is not State.ENDED for one in life.main):
        return "Running"
    return "Failed" if any(one.last is not None and one.last.code for one in life.main) else "Succeeded"

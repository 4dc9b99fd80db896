"""A cluster the size of one Rollout, as values: carries out actions, lets time pass, and minds the invariants.

Pods become available `ready_after` their creation (those of broken versions never do), a route's weights are in force
`lag` after they were written, endpoints follow selectors at once. Every write is counted, and checked against the
promises about traffic as it is made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace as with_fields

from fairlead.core.decision import Decision, Event, earliest
from fairlead.core.errors import SpecError
from fairlead.core.kinds import AnalysisRun, ReplicaSet, ReplicaSetStatus, Service
from fairlead.core.objects import ObjectMeta, rfc3339
from fairlead.core.patches import merge
from fairlead.core.plans import Plan
from fairlead.core.traffic import Held, TrafficSeen, Weights
from fairlead.rollouts._ephemeral import injected_into, mark
from fairlead.rollouts._invalid import understand
from fairlead.rollouts._journal import Journal
from fairlead.rollouts.actions import (
    Action,
    AdoptReplicaSet,
    CancelRun,
    CreateReplicaSet,
    CreateRun,
    DeleteReplicaSet,
    DeleteRun,
    EvictPod,
    MarkPods,
    PatchReplicaSet,
    PatchRollout,
    ReleaseReplicaSet,
    ReleaseService,
    ScaleWorkload,
    SetWeights,
    SwitchService,
)
from fairlead.rollouts.machine import decide
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec, RunKey
from fairlead.rollouts.status import RolloutStatus, patch, read
from fairlead.testing.builders import (
    HASH_LABEL,
    MANAGED_BY,
    ROLLOUT,
    START,
    rollout_metadata,
    service,
    spec_content,
)

STABLE, CANARY = f"{ROLLOUT}-stable", f"{ROLLOUT}-canary"
DEADLINE = "scale-down-deadline"


class Crash(Exception):
    """The controller is killed after a write."""


@dataclass(slots=True)
class PodState:
    created_at: datetime
    ready_at: datetime | None  # None: never


@dataclass(slots=True, kw_only=True)
class World:
    """One Rollout and all that belongs to it. Change the fields; `run` lets the controller and time act."""

    content: dict[str, Any]
    ready_after: timedelta = timedelta(seconds=1)
    lag: timedelta = timedelta(seconds=1)
    verified: bool = True
    pods_kept: timedelta = timedelta(0)
    blocked: str = ""
    now: datetime = START
    metadata: ObjectMeta = field(default_factory=lambda: rollout_metadata(annotations={}))
    status: dict[str, Any] = field(default_factory=dict)
    replica_sets: dict[str, ReplicaSet] = field(default_factory=dict)
    pods: dict[str, list[PodState]] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    runs: dict[str, AnalysisRun] = field(default_factory=dict)
    plan_spec: dict[str, Any] = field(default_factory=lambda: {"metrics": [{"name": "success"}]})
    weights: Weights | None = None
    written_at: datetime = START
    refused: bool = False
    broken: set[str] = field(default_factory=set)  # hashes whose pods never become ready
    verdicts: dict[str, str] = field(default_factory=dict)  # run name prefix -> phase that it gets after `judged_after`
    judged_after: timedelta = timedelta(seconds=5)
    events: list[Event] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    crash_after: int | None = None  # kill the controller after so many further writes
    decisions: list[Decision[RolloutStatus, Action]] = field(default_factory=list)
    history: list[tuple[datetime, int]] = field(default_factory=list)  # canary weights as written
    marked: dict[str, str] = field(default_factory=dict)  # what pods are known to carry; lost in a crash
    carried: dict[str, dict[str, str | None]] = field(default_factory=dict)  # labels of the pods of a ReplicaSet
    number: int = 1
    journal: Journal = field(default_factory=Journal)

    def __post_init__(self) -> None:
        if not self.services:
            blue_green = self.content["strategy"].get("blueGreen", {})
            named = [blue_green[key] for key in ("activeService", "previewService") if key in blue_green]
            named += [STABLE, CANARY] if self.is_routed else []
            self.services = {name: service(name, managed=False) for name in named}

    @property
    def canary(self) -> dict[str, Any]:
        found: dict[str, Any] = self.content["strategy"].get("canary", {})
        return found

    @property
    def is_routed(self) -> bool:
        return "trafficRouting" in self.canary

    @property
    def preview(self) -> str:
        """Name of the Service that may select pods before there are any."""
        return str(self.content["strategy"].get("blueGreen", {}).get("previewService", ""))

    @property
    def spec(self) -> RolloutSpec | SpecError:
        return understand(msgspec.json.encode(self.content), name=ROLLOUT)

    @property
    def parsed(self) -> RolloutStatus:
        return read(self.status)

    # --- what people do -----------------------------------------------------------------------------------------

    def command(self, body: Mapping[str, Any]) -> None:
        """Patch the status as a client does."""
        self.status = merge(self.status, body)

    def change(self, content: dict[str, Any]) -> None:
        """Put another spec in the place of this one."""
        self.content = content
        self.metadata = with_fields(self.metadata, generation=self.metadata.generation + 1)

    # --- what is seen -------------------------------------------------------------------------------------------

    def available(self, name: str) -> int:
        return sum(1 for pod in self.pods.get(name, ()) if pod.ready_at is not None and pod.ready_at <= self.now)

    def replica_set_of(self, hash_label: str) -> ReplicaSet | None:
        return next((one for one in self.replica_sets.values() if one.metadata.labels[HASH_LABEL] == hash_label), None)

    def observe(self) -> Observation:
        self._controllers()
        blue_green = self.content["strategy"].get("blueGreen", {})
        keys: list[RunKey] = [index for index, step in enumerate(self.canary.get("steps", ())) if "analysis" in step]
        if "analysis" in self.canary:
            keys.append(None)
        keys += ["pre"] if "prePromotionAnalysis" in blue_green else []
        keys += ["post"] if "postPromotionAnalysis" in blue_green else []
        return Observation(
            metadata=self.metadata,
            replica_sets=tuple(self.replica_sets.values()),
            services={name: self.services[name] for name in self._named() if name in self.services},
            released=tuple(
                one
                for name, one in self.services.items()
                if name not in self._named() and one.metadata.annotations.get(MANAGED_BY) == ROLLOUT
            ),
            endpoints=self._endpoints(),
            traffic=self._traffic() if self.is_routed else None,
            runs=tuple(self.runs.values()),
            plans={key: Plan(spec=self.plan_spec) for key in keys},
            marked=dict(self.marked),
        )

    def _named(self) -> tuple[str, ...]:
        spec = self.spec
        return () if isinstance(spec, SpecError) else tuple(use.name for use in spec.services)

    def _endpoints(self) -> dict[str, dict[str, int]]:
        found: dict[str, dict[str, int]] = {}
        for name, one in self.services.items():
            wanted = one.spec.selector.get(HASH_LABEL)
            found[name] = {
                other.metadata.name: self.available(other.metadata.name)
                for other in self.replica_sets.values()
                if wanted in (None, other.metadata.labels[HASH_LABEL]) and self.available(other.metadata.name)
            }
        return found

    def _traffic(self) -> TrafficSeen:
        if self.weights is None:
            return TrafficSeen(weights=None, held=Held.NOT_STORED, blocked=self.blocked, pods_kept=self.pods_kept)
        in_force_at = self.written_at + self.lag
        held = Held.APPLIED if self.verified else Held.SETTLED
        seen = TrafficSeen(
            weights=self.weights,
            held=held,
            since=in_force_at,
            blocked=self.blocked,
            pods_kept=self.pods_kept,
        )
        if self.refused:
            return replace(seen, held=Held.REFUSED, reason="ProxyRefused", message="the proxy refuses the listener")
        if self.now < in_force_at:
            return replace(seen, held=Held.ACCEPTED, since=self.written_at, wake_at=in_force_at)
        return seen

    # --- what the built-in controllers do -----------------------------------------------------------------------

    def _controllers(self) -> None:
        for name, found in self.replica_sets.items():
            pods = self.pods.setdefault(name, [])
            is_broken = found.metadata.labels[HASH_LABEL] in self.broken
            while len(pods) < found.spec.replicas:
                pods.append(PodState(self.now, None if is_broken else self.now + self.ready_after))
            if len(pods) > found.spec.replicas:
                pods.sort(key=lambda pod: (pod.ready_at is None, pod.ready_at or self.now))
                del pods[found.spec.replicas :]
            available = self.available(name)
            status = ReplicaSetStatus(
                replicas=len(pods),
                ready_replicas=available,
                available_replicas=available,
                observed_generation=found.metadata.generation,
            )
            self.replica_sets[name] = with_fields(found, status=status)
        for name, run in self.runs.items():
            if run.is_completed:
                continue
            created = run.metadata.creation_timestamp or self.now
            terminated = b'"terminate"' in bytes(run.spec)
            phase = "Successful" if terminated else "Running"
            if not terminated and self.now >= created + self.judged_after:
                phase = next((to for prefix, to in self.verdicts.items() if name.startswith(prefix)), "Running")
            content = {"phase": phase, "message": "" if phase in ("Running", "Successful") else "metric says so"}
            self.runs[name] = with_fields(run, status=msgspec.Raw(msgspec.json.encode(content)))

    # --- carrying out -------------------------------------------------------------------------------------------

    def _written(self, what: str) -> None:
        self.number += 1
        self.writes.append(what)
        self.check()
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crash_after = None
                raise Crash(what)

    def perform(self, action: Action) -> None:
        match action:
            case SetWeights(weights=weights):
                self._set_weights(weights)
            case CreateReplicaSet(name=name, body=body):
                assert name not in self.replica_sets, f"{name} exists"
                content = dict(body)
                content["metadata"] = {
                    **body["metadata"],
                    "uid": f"uid-{name}",
                    "resourceVersion": str(self.number),
                    "generation": 1,
                    "creationTimestamp": rfc3339(self.now),
                }
                self.replica_sets[name] = msgspec.json.decode(msgspec.json.encode(content), type=ReplicaSet)
                created = self.replica_sets[name]
                self.marked[created.metadata.uid] = mark(created, injected_into(created), is_marked=True).text
                self._written(f"create ReplicaSet {name}")
            case PatchReplicaSet():
                self._patch_replica_set(action)
            case PatchRollout(annotations=annotations, replicas=replicas):
                kept = {**self.metadata.annotations, **dict(annotations)}
                self.metadata = with_fields(self.metadata, annotations=kept)
                if replicas is not None:
                    self.content = {**self.content, "replicas": replicas}
                self._written("patch Rollout")
            case SwitchService(target=target, pod_hash=pod_hash):
                stored = self.services[target.name]
                selector = {**stored.spec.selector, HASH_LABEL: pod_hash}
                annotations_ = {**stored.metadata.annotations, MANAGED_BY: ROLLOUT}
                self.services[target.name] = with_fields(
                    stored,
                    spec=with_fields(stored.spec, selector=selector),
                    metadata=with_fields(stored.metadata, annotations=annotations_),
                )
                self._written(f"patch Service {target.name}")
            case ReleaseService(target=target):
                stored = self.services[target.name]
                selector = {key: value for key, value in stored.spec.selector.items() if key != HASH_LABEL}
                self.services[target.name] = with_fields(
                    stored,
                    spec=with_fields(stored.spec, selector=selector),
                    metadata=with_fields(stored.metadata, annotations={}),
                )
                self._written(f"release Service {target.name}")
            case CreateRun(name=name, body=body):
                assert name not in self.runs, f"{name} exists"
                content = dict(body)
                content["metadata"] = {
                    **body["metadata"],
                    "uid": f"uid-{name}",
                    "resourceVersion": str(self.number),
                    "creationTimestamp": rfc3339(self.now),
                }
                self.runs[name] = msgspec.json.decode(msgspec.json.encode(content), type=AnalysisRun)
                self._written(f"create AnalysisRun {name}")
            case CancelRun(target=target):
                run = self.runs[target.name]
                body = merge(msgspec.json.decode(run.spec), {"terminate": True})
                self.runs[target.name] = with_fields(run, spec=msgspec.Raw(msgspec.json.encode(body)))
                self._written(f"cancel AnalysisRun {target.name}")
            case DeleteRun(target=target):
                del self.runs[target.name]
                self._written(f"delete AnalysisRun {target.name}")
            case DeleteReplicaSet(target=target):
                del self.replica_sets[target.name]
                self._written(f"delete ReplicaSet {target.name}")
            case MarkPods(target=target, labels=labels, text=text, is_final=is_final):
                if is_final:
                    self.marked[target.uid] = text
                before = self.carried.get(target.name, {})
                self.carried[target.name] = {**before, **labels}
                if self.carried[target.name] != before:
                    self._written(f"mark pods of {target.name}")
            case AdoptReplicaSet() | ReleaseReplicaSet() | EvictPod() | ScaleWorkload():
                raise AssertionError(f"not expected here: {action}")

    def _set_weights(self, weights: Weights) -> None:
        before = self.weights.canary if self.weights is not None else 0
        if weights.canary > before:
            ready = sum(self._endpoints()[CANARY].values())
            assert ready >= 1, f"weight {weights.canary} for a Service without ready pods"
            assert not self.blocked, "raised although the preflight refuses"
        elif weights.canary < before or self.weights is None:
            assert sum(self._endpoints()[STABLE].values()) >= 1, "traffic for a stable Service without ready pods"
        self.weights, self.written_at = weights, self.now
        self.history.append((self.now, weights.canary))
        self._written("write route")

    def _patch_replica_set(self, action: PatchReplicaSet) -> None:
        stored = self.replica_sets[action.target.name]
        assert stored.metadata.uid == action.target.uid
        annotations = dict(stored.metadata.annotations)
        for key, value in action.annotations:
            if value is None:
                annotations.pop(key, None)
            else:
                annotations[key] = value
        spec = stored.spec
        if action.replicas is not None:
            spec = with_fields(spec, replicas=action.replicas)
        if action.min_ready_seconds is not None:
            spec = with_fields(spec, min_ready_seconds=action.min_ready_seconds)
        if action.template:
            template = merge(msgspec.json.decode(spec.template), action.template)
            spec = with_fields(spec, template=msgspec.Raw(msgspec.json.encode(template)))
        metadata = with_fields(
            stored.metadata,
            annotations=annotations,
            generation=stored.metadata.generation + (spec != stored.spec),
            resource_version=str(self.number),
        )
        self.replica_sets[action.target.name] = with_fields(stored, spec=spec, metadata=metadata)
        self._written(f"patch ReplicaSet {action.target.name}")

    # --- the controller -------------------------------------------------------------------------------------------

    def decide(self) -> Decision[RolloutStatus, Action]:
        """Return what the machine says now."""
        return decide(self.spec, read(self.status), self.observe(), self.now)

    def reconcile(self) -> datetime | None:
        """Look, decide and act until nothing is asked for; return when to look again."""
        for _ in range(50):
            decision = self.decide()
            self.decisions.append(decision)
            self._explained(decision)
            for action in decision.actions:
                self.perform(action)
            body = patch(self.status, decision.status)
            held = self.journal.hold("", "", read(self.status), decision.status, self.now) if body else None
            self.events += self.journal.fresh("", "", decision.events)
            if body and held is None:
                self.status = merge(self.status, body)
                self._written("status")
            if held is None:
                self.journal.forget("")
            if not decision.actions and (not body or held is not None):
                assert held is not None or not decision.events, f"events without a change: {decision.events}"
                return earliest(decision.wake_at, held)
        raise AssertionError(f"no end: {[type(action).__name__ for action in decision.actions]} {body}")

    def _explained(self, decision: Decision[RolloutStatus, Action]) -> None:
        if decision.status.phase != "Healthy":
            assert decision.blocked_on is not None, f"nothing is said of {decision.status.phase}"
            assert decision.blocked_on.what, decision.blocked_on
        if decision.wake_at is not None:
            assert decision.wake_at > self.now, f"wakes at once: {decision.blocked_on}"

    def run(self, until: Callable[[World], bool] | None = None, *, seconds: float = 7200) -> World:
        """Let controller and time act, until something is so, or nothing happens any more."""
        end = self.now + timedelta(seconds=seconds)
        while True:
            self.reconcile_through_crashes()
            if until is not None and until(self):
                return self
            following = self._next_instant()
            if following is None or following > end:
                assert until is None, f"never happened: {self.explain()}"
                return self
            self.now = following

    def reconcile_through_crashes(self) -> None:
        try:
            self.wake_at = self.reconcile()
        except Crash:
            self.journal = Journal()  # a new process remembers nothing
            self.marked = {}
            self.wake_at = self.reconcile()

    wake_at: datetime | None = None

    def _next_instant(self) -> datetime | None:
        instants = [self.wake_at] if self.wake_at is not None else []
        for pods in self.pods.values():
            instants += [pod.ready_at for pod in pods if pod.ready_at is not None]
        if self.weights is not None:
            instants.append(self.written_at + self.lag)
        for name, run in self.runs.items():
            if not run.is_completed and any(name.startswith(prefix) for prefix in self.verdicts):
                instants.append((run.metadata.creation_timestamp or self.now) + self.judged_after)
        return min((instant for instant in instants if instant > self.now), default=None)

    def explain(self) -> str:
        decision = self.decide()
        return f"{decision.status.phase} {decision.status.message!r}: {decision.blocked_on}"

    # --- promises -------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Mind what must be true after every single write."""
        if self.weights is not None:
            assert self.weights.canary + self.weights.stable == self.weights.total
        for name, one in self.services.items():
            selected = one.spec.selector.get(HASH_LABEL)
            owner = self.replica_set_of(selected) if selected else None
            if name == STABLE and self.weights is not None and self.weights.stable == 0:
                continue  # where stable shrinks with its traffic, nothing is left of it in the end
            if name != self.preview and selected and owner is not None and owner.spec.replicas == 0:
                wanted = self.content.get("replicas", 1)
                assert wanted == 0, f"{name} selects {owner.metadata.name}, which has no pods"

    # --- for assertions -------------------------------------------------------------------------------------------

    def sizes(self) -> dict[str, int]:
        """Return the sizes of ReplicaSets by image version."""
        found: dict[str, int] = {}
        for one in self.replica_sets.values():
            image = msgspec.json.decode(one.spec.template)["spec"]["containers"][0]["image"]
            found[image.rpartition(":")[2]] = one.spec.replicas
        return found

    def selects(self, name: str) -> str:
        return self.services[name].spec.selector.get(HASH_LABEL, "")

    def reasons(self) -> list[str]:
        """Return the reasons of the events so far."""
        return [event.reason for event in self.events]

    def facts(self) -> dict[str, Any]:
        """Return what must be the same in the end whatever happened in between."""
        status = self.parsed
        return {
            "phase": status.phase,
            "stable": status.stable_hash,
            "current": status.pod_hash,
            "step": status.step_index,
            "abort": status.abort,
            "sizes": self.sizes(),
            "weight": self.weights.canary if self.weights is not None else None,
            "services": {name: self.selects(name) for name in self.services},
        }


def world(*steps: Mapping[str, Any], **settings: Any) -> World:
    """Return a world with a spec as `spec_content` makes it; the World's own fields may be given, too."""
    own = {name: settings.pop(name) for name in tuple(settings) if name in World.__dataclass_fields__}
    return World(content=spec_content(*steps, **settings), **own)


def deployed(*steps: Mapping[str, Any], **settings: Any) -> World:
    """Return a world in which version 1 has been rolled out, with everything at rest."""
    found = world(*steps, **settings).run()
    assert found.parsed.phase == "Healthy", found.explain()
    found.events.clear()
    found.writes.clear()
    found.history.clear()
    return found


def update(found: World, version: int | str = 2) -> World:
    """Give the Rollout another version, and let the controller see it."""
    template = {
        **found.content["template"],
        "spec": {"containers": [{"name": "app", "image": f"registry.example/cart:{version}"}]},
    }
    found.change({**found.content, "template": template})
    return found

"""What has happened in a world so far, as the invariants look at it: objects, weights, and since when what is true.

A story is fed with commits and with what the wire routes by. It can be fed by hand as well, which is how each
invariant is shown to notice what it is for.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from fairlead.core.durations import parse_go_duration
from fairlead.core.objects import parse_rfc3339
from tests.simulation.manifests import CANARY, HASH_LABEL, NAME, STABLE, Doc, Routing

V = TypeVar("V")
TOTAL = 100
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_MAX = 20  # of broken invariants: the first ones tell the story


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One committed write."""

    at: datetime
    actor: str
    verb: str
    kind: str
    old: Doc | None
    new: Doc | None

    @property
    def is_ours(self) -> bool:
        """Whether the controller wrote it."""
        return self.actor == "controller"

    @property
    def found(self) -> Doc:
        found = self.new or self.old
        assert found is not None, "a commit is about an object"
        return found

    @property
    def name(self) -> str:
        return str(self.found["metadata"]["name"])

    def changed(self, *path: str) -> bool:
        """Return whether a field differs between before and after; for updates."""
        return bool(read(self.old or {}, *path) != read(self.new or {}, *path))


class Split(NamedTuple):
    """Weights of one rule."""

    stable: int
    canary: int


class Timeline(Generic[V]):
    """A value that changes now and then."""

    def __init__(self, first: V) -> None:
        self._entries: list[tuple[datetime, V]] = [(NEVER, first)]

    def set(self, at: datetime, value: V) -> None:
        if value != self.now:
            self._entries.append((at, value))

    @property
    def now(self) -> V:
        return self._entries[-1][1]

    @property
    def since(self) -> datetime:
        """When it became what it is."""
        return self._entries[-1][0]

    def after(self, at: datetime) -> list[V]:
        """Return every value that it has had since then, the one of then included."""
        values: list[V] = []
        for changed_at, value in reversed(self._entries):
            values.append(value)
            if changed_at <= at:
                break
        return values


def read(document: Mapping[str, Any], *path: str) -> Any:
    """Return what stands at a path; None when nothing does."""
    value: Any = document
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def splits(route: Mapping[str, Any] | None) -> list[Split]:
    """Return the weights of every rule that has both of our Services."""
    found: list[Split] = []
    for rule in read(route or {}, "spec", "rules") or ():
        weights = {one["name"]: one.get("weight", 1) for one in rule.get("backendRefs") or ()}
        if STABLE.name in weights and CANARY.name in weights:
            found.append(Split(weights[STABLE.name], weights[CANARY.name]))
    return found


def split_of(route: Mapping[str, Any] | None) -> Split | None:
    return next(iter(splits(route)), None)


def reaches_canary(route: Mapping[str, Any] | None) -> bool:
    """Return whether a rule sends requests to the canary whatever the weights: by a header, or as a mirror."""
    for rule in read(route or {}, "spec", "rules") or ():
        mirrors = [read(one, "requestMirror", "backendRef", "name") for one in rule.get("filters") or ()]
        backends = {one["name"] for one in rule.get("backendRefs") or ()}
        if CANARY.name in mirrors or backends == {CANARY.name}:
            return True
    return False


def hash_of(document: Mapping[str, Any]) -> str:
    return str(read(document, "metadata", "labels", HASH_LABEL) or "")


def selected(service: Mapping[str, Any] | None) -> str:
    """Return the pod hash that a Service selects; empty: none in particular."""
    return str(read(service or {}, "spec", "selector", HASH_LABEL) or "")


def condition(rollout: Mapping[str, Any], type_: str) -> Doc:
    """Return a condition; an empty one when it is absent."""
    conditions: list[Doc] = read(rollout, "status", "conditions") or []
    return next((one for one in conditions if one["type"] == type_), {})


def pause_of(status: Mapping[str, Any]) -> Doc | None:
    """Return the pause of the current step."""
    pauses: list[Doc] = status.get("pauseConditions") or []
    return next((one for one in pauses if one["reason"] == "CanaryPauseStep"), None)


def started_at(pause: Mapping[str, Any]) -> datetime:
    found = parse_rfc3339(pause["startTime"])
    assert found is not None
    return found


def duration_of(step: Mapping[str, Any]) -> timedelta | None:
    """Return how long a pause step lasts; None: until somebody resumes."""
    duration = step["pause"].get("duration")
    if duration is None:
        return None
    return timedelta(seconds=duration) if isinstance(duration, int) else parse_go_duration(str(duration))


def is_accepted(route: Mapping[str, Any] | None) -> bool:
    """Return whether the route's controller accepts the generation that is stored."""
    generation = read(route or {}, "metadata", "generation")
    return any(
        one["type"] == "Accepted" and one["status"] == "True" and one.get("observedGeneration") == generation
        for parent in read(route or {}, "status", "parents") or ()
        for one in parent.get("conditions") or ()
    )


class Story:
    """Everything that the invariants need to know.

    Args:
        routing: how traffic is split.
        has_evidence: whether the controller can ask the wire.
        staleness: how far, in seconds, the controller's caches may be behind: a write is right if it was right at
            any time so long ago.
        settle, kept: seconds from acceptance to counting as held (without evidence), and for which pods that lost
            traffic stay.
        check: is asked about each commit; the invariants, usually.
    """

    def __init__(
        self,
        *,
        routing: Routing = Routing.WAYPOINT,
        has_evidence: bool = True,
        staleness: float = 0.5,
        settle: float = 12.0,
        kept: float = 57.0,
        check: Callable[[Story, Commit], Iterator[str]] | None = None,
    ) -> None:
        self.routing = routing
        self.has_evidence = has_evidence
        self.staleness = timedelta(seconds=staleness)
        self.settle = timedelta(seconds=settle)
        self.kept = timedelta(seconds=kept)
        self.check = check
        self.broken: list[str] = []
        self.objects: dict[tuple[str, str], Doc] = {}
        self.now = NEVER
        self.wire: Timeline[Mapping[str, float]] = Timeline({})
        self.split: Timeline[Split | None] = Timeline(None)
        self.accepted: Timeline[bool] = Timeline(False)
        self.held_at: dict[int, datetime] = {}  # canary weight to when it was last stored, accepted and on the wire
        self.paused: Timeline[bool] = Timeline(False)
        self.wanted: Timeline[int] = Timeline(0)  # replicas
        self.empty: Timeline[bool] = Timeline(False)  # the canary has weight and no pod, while stable could take over
        self._available: dict[str, Timeline[int]] = {}
        self._carried: dict[str, Timeline[float]] = {}
        self._reached: dict[str, Timeline[bool]] = {}
        self._endpoints: dict[str, Timeline[Counter[str]]] = {}
        self.commands: set[str] = set()  # of people, since the controller wrote the status last
        self.writes: deque[datetime] = deque(maxlen=100)  # of the controller, Events aside
        self._log: deque[str] = deque(maxlen=200)

    # --- being told -----------------------------------------------------------------------------------------------

    def observe(self, commit: Commit) -> None:
        """Take note of a commit, and check it."""
        self.now = commit.at
        key = (commit.kind, commit.name)
        if commit.new is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = commit.new
        if commit.is_ours and commit.kind != "Event":
            self.writes.append(commit.at)
        self._note(commit)
        self._derive(commit)
        for complaint in self.check(self, commit) if self.check is not None else ():
            self._complain(complaint, commit)
        self._after(commit)

    def observe_wire(self, at: datetime, weights: Mapping[str, float]) -> None:
        """Take note of what the wire routes by from now on."""
        self.now = at
        self.wire.set(at, dict(weights))
        self._log.append(f"{at:%H:%M:%S.%f} wire {dict(weights)}")
        self._derive_traffic()

    def _complain(self, complaint: str, commit: Commit) -> None:
        if len(self.broken) < _SHOWN_MAX:
            where = f"{commit.at:%H:%M:%S.%f} {commit.actor} {commit.verb} {commit.kind} {commit.name}"
            self.broken.append(f"{complaint}\n    by {where}")

    def _note(self, commit: Commit) -> None:
        shown = ""
        if commit.kind == "HTTPRoute":
            shown = f"{split_of(commit.old)} -> {split_of(commit.new)}"
        elif commit.kind == "Service":
            shown = f"{selected(commit.old)} -> {selected(commit.new)}"
        elif commit.kind == "ReplicaSet":
            old, new = commit.old or {}, commit.new or {}
            shown = f"{read(old, 'spec', 'replicas')} -> {read(new, 'spec', 'replicas')} {new.get('status')}"
        elif commit.kind == "Rollout" and commit.new is not None:
            status = commit.new.get("status") or {}
            names = ("phase", "message", "currentStepIndex", "stableRS", "abort", "promoteFull", "pauseConditions")
            shown = str({name: status[name] for name in names if name in status})
        elif commit.kind == "Event":
            shown = f"{commit.found.get('reason')}: {commit.found.get('message')}"
        elif commit.kind == "AnalysisRun" and commit.new is not None:
            shown = str(read(commit.new, "status", "phase"))
        if commit.is_ours or commit.actor == "user" or commit.kind == "ReplicaSet":
            line = f"{commit.at:%H:%M:%S.%f} {commit.actor} {commit.verb} {commit.kind} {commit.name} {shown}"
            self._log.append(line)

    def _derive(self, commit: Commit) -> None:
        if commit.kind == "ReplicaSet" and (pod_hash := hash_of(commit.found)):
            count = read(commit.new or {}, "status", "availableReplicas") or 0
            self._available.setdefault(pod_hash, Timeline(0)).set(commit.at, count)
        elif commit.kind == "EndpointSlice":
            name = str(read(commit.found, "metadata", "labels", "kubernetes.io/service-name") or "")
            self._endpoints.setdefault(name, Timeline(Counter())).set(commit.at, self._ready_endpoints(name))
        elif commit.kind == "Rollout":
            self.paused.set(commit.at, bool(self.spec.get("paused")))
            self.wanted.set(commit.at, self.replicas)
            self._take_commands(commit)
        if commit.kind in ("HTTPRoute", "Service", "ReplicaSet", "Rollout"):
            self._derive_traffic()

    def _derive_traffic(self) -> None:
        route = self.route
        self.split.set(self.now, split_of(route))
        self.accepted.set(self.now, is_accepted(route))
        stored = self.split.now
        if stored is not None and self.accepted.now and self.wire_canary == stored.canary:
            self.held_at[stored.canary] = self.now
        for pod_hash in self._available:
            weights = [0.0, 0.0]
            for key, share in ((STABLE, stored.stable if stored else 0), (CANARY, stored.canary if stored else 0)):
                if selected(self.service(key.name)) == pod_hash:
                    weights[0] += share
                    weights[1] += self.wire.now.get(key.name, 0)
            self._carried.setdefault(pod_hash, Timeline(0.0)).set(self.now, max(weights))
            is_reached = reaches_canary(route) and selected(self.service(CANARY.name)) == pod_hash
            self._reached.setdefault(pod_hash, Timeline(False)).set(self.now, is_reached)
        current = self.current
        has_weight = stored is not None and stored.canary > 0 and current not in ("", self.stable)
        is_lost = has_weight and self.available_now(current) == 0 and self.available_now(self.stable) > 0
        self.empty.set(self.now, is_lost and selected(self.service(CANARY.name)) == current)

    def _ready_endpoints(self, service: str) -> Counter[str]:
        """Count the ready endpoints of a Service by pod hash."""
        names = {
            endpoint["targetRef"]["name"]
            for (kind, _), found in self.objects.items()
            if kind == "EndpointSlice" and read(found, "metadata", "labels", "kubernetes.io/service-name") == service
            for endpoint in found.get("endpoints") or ()
            if endpoint.get("targetRef")
            and read(endpoint, "conditions", "ready") is not False
            and not read(endpoint, "conditions", "terminating")
        }
        return Counter(hash_of(self.objects.get(("Pod", name), {})) for name in names)

    def _take_commands(self, commit: Commit) -> None:
        if commit.is_ours or commit.old is None or commit.new is None:
            return
        old, new = commit.old.get("status") or {}, commit.new.get("status") or {}
        if new.get("promoteFull") and not old.get("promoteFull"):
            self.commands.add("full")
        if old.get("currentStepIndex") != new.get("currentStepIndex"):
            self.commands.add("index")
        if pause_of(old) and not pause_of(new):
            self.commands.add("resume")
        if bool(old.get("abort")) != bool(new.get("abort")):
            self.commands.add("abort" if new.get("abort") else "retry")

    def _after(self, commit: Commit) -> None:
        if commit.kind == "Rollout" and commit.is_ours and commit.changed("status"):
            self.commands.clear()

    # --- being asked ----------------------------------------------------------------------------------------------

    @property
    def rollout(self) -> Doc:
        return self.objects.get(("Rollout", NAME), {})

    @property
    def spec(self) -> Doc:
        spec: Doc = self.rollout.get("spec") or {}
        return spec

    @property
    def status(self) -> Doc:
        status: Doc = self.rollout.get("status") or {}
        return status

    @property
    def canary(self) -> Doc:
        """`spec.strategy.canary`."""
        canary: Doc = read(self.spec, "strategy", "canary") or {}
        return canary

    @property
    def steps(self) -> list[Doc]:
        steps: list[Doc] = self.canary.get("steps") or []
        return steps

    @property
    def replicas(self) -> int:
        replicas: int = self.spec.get("replicas", 1)
        return replicas

    @property
    def current(self) -> str:
        return str(self.status.get("currentPodHash") or "")

    @property
    def stable(self) -> str:
        return str(self.status.get("stableRS") or "")

    @property
    def route(self) -> Doc | None:
        return self.objects.get(("HTTPRoute", NAME))

    def service(self, name: str) -> Doc | None:
        return self.objects.get(("Service", name))

    @property
    def wire_canary(self) -> float:
        return self.wire.now.get(CANARY.name, 0)

    @property
    def replica_sets(self) -> dict[str, Doc]:
        """By pod hash."""
        return {hash_of(found): found for (kind, _), found in self.objects.items() if kind == "ReplicaSet"}

    @property
    def runs(self) -> list[Doc]:
        return [found for (kind, _), found in self.objects.items() if kind == "AnalysisRun"]

    @property
    def lately(self) -> datetime:
        """How old what the controller saw may be."""
        return self.now - self.staleness

    def available_now(self, pod_hash: str) -> int:
        return self._available[pod_hash].now if pod_hash in self._available else 0

    def available(self, pod_hash: str) -> int:
        """Return the most pods of a revision that have been available lately."""
        return max(self._available[pod_hash].after(self.lately)) if pod_hash in self._available else 0

    def endpoints(self, service: str) -> list[Counter[str]]:
        """Return the ready endpoints of a Service, by pod hash, as they have been lately."""
        return self._endpoints[service].after(self.lately) if service in self._endpoints else [Counter()]

    def carried(self, pod_hash: str, *, since: datetime) -> float:
        """Return the most weight that a revision has carried since then, in the route or on the wire."""
        return max(self._carried[pod_hash].after(since)) if pod_hash in self._carried else 0.0

    def reached(self, pod_hash: str, *, since: datetime) -> bool:
        """Return whether rules without weight have sent requests to a revision since then."""
        return pod_hash in self._reached and any(self._reached[pod_hash].after(since))

    def needed(self, weight: float) -> int:
        """Return how many pods a weight needs."""
        return math.ceil(weight * self.replicas / TOTAL)

    def weight_at(self, index: int) -> int:
        """Return the weight that the steps ask for at one of them."""
        if index >= len(self.steps):
            return TOTAL
        for step in reversed(self.steps[: index + 1]):
            if "setWeight" in step:
                return int(step["setWeight"])
        return 0

    @property
    def has_canary_scale(self) -> bool:
        return any("setCanaryScale" in step for step in self.steps)

    def is_held(self, weight: int) -> bool:
        """Return whether a weight is in force now: stored, accepted and followed, as well as can be told."""
        stored = self.split.now
        if stored is None or stored.canary != weight or not self.accepted.now:
            return False
        if self.has_evidence:
            return self.wire_canary == weight
        return self.now >= self.accepted.since + self.settle

    def tail(self, number: int) -> list[str]:
        """Return the last things that happened, as lines."""
        return list(self._log)[-number:]

"""Sees what happens in the demo's cluster, says so, and takes the samples that the facts are made of.

Every committed write is seen in the instant that it is stored, with what the pods have counted by then: so a weight's
sample begins when the status says that Envoy has it, and ends before the next weight is written.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import msgspec

from fairlead.cli._demo.facts import REQUESTS_MIN, SECOND_WANTED, Sample, Step
from fairlead.cli._demo.log import ControllerLog, Measurement
from fairlead.cli._demo.manifests import CANARY, METRIC, NAMESPACE, ROLLOUT, STABLE, Json
from fairlead.cli._demo.screen import Screen
from fairlead.cli._demo.stage import Stage
from fairlead.core.kinds import ROLLOUTS
from fairlead.testing.requests import CommitHook

LOOK_SECONDS = 0.02
_KINDS = ("Rollout", "HTTPRoute", "AnalysisRun", "Service", "ReplicaSet")

Counts = Mapping[str, int]  # requests by version


@dataclass(frozen=True, slots=True, kw_only=True)
class _Commit:
    at: datetime
    kind: str
    old: Json
    new: Json
    counts: Counts


@dataclass(slots=True, kw_only=True)
class Window:
    """The time in which one weight is in force."""

    act: int
    wanted: int
    version: str
    began: Counts
    first: Sample | None = None
    second_began: Counts | None = None
    second: Sample | None = None
    is_open: bool = True

    def sample(self, counts: Counts, since: Counts) -> Sample:
        total = sum(counts.values()) - sum(since.values())
        return Sample(counts.get(self.version, 0) - since.get(self.version, 0), total)

    def step(self) -> Step:
        return Step(act=self.act, wanted=self.wanted, first=self.first, second=self.second)

    def look(self, counts: Counts) -> bool:
        """Take samples that are complete; return whether a second one has become necessary just now.

        The first is taken at the first look at which it is large enough: nobody waits until it happens to fit.
        """
        if self.first is None:
            sample = self.sample(counts, self.began)
            if sample.total < REQUESTS_MIN:
                return False
            self.first = sample
            if self.step().needs_second:
                self.second_began = counts
                return True
        elif self.second_began is not None and self.second is None:
            sample = self.sample(counts, self.second_began)
            if sample.total >= SECOND_WANTED:
                self.second = sample
        return False

    def close(self, counts: Counts) -> None:
        self.is_open = False
        self.first = self.first or self.sample(counts, self.began)
        if self.second_began is not None:
            self.second = self.second or self.sample(counts, self.second_began)


@dataclass(slots=True)
class Act:
    """What is to be seen in one act, and what was.

    Attributes:
        version: the one on trial.
        wanted: the weights that are to be in force, one after the other.
    """

    number: int
    version: str
    wanted: tuple[int, ...]
    windows: list[Window] = field(default_factory=list)
    failed_at: datetime | None = None  # the last measurement failed
    zero_at: datetime | None = None  # weight 0 was written after the canary had some
    last_request_at: datetime | None = None  # that the version on trial got, as far as we have looked

    @property
    def window(self) -> Window | None:
        return self.windows[-1] if self.windows and self.windows[-1].is_open else None

    def steps(self) -> tuple[Step, ...]:
        missing = self.wanted[len(self.windows) :]
        return (
            *(window.step() for window in self.windows),
            *(Step(act=self.number, wanted=weight) for weight in missing),
        )


class Witness:
    """Sees and says.

    Args:
        on_miss: is called when a share missed its first sample, so that a second one can be taken.
    """

    def __init__(self, stage: Stage, screen: Screen, began_at: datetime, on_miss: Callable[[], None]) -> None:
        self.act: Act | None = None
        self._stage = stage
        self._screen = screen
        self._began_at = began_at
        self._on_miss = on_miss
        self._commits: deque[_Commit] = deque()
        self._versions: dict[str, str] = {}  # pod template hash to version
        self._written_at: datetime | None = None
        self.troubles: list[str] = []  # what the controller logged as errors
        self._log = ControllerLog(stage.controller.log)
        hook: CommitHook = self._on_commit
        stage.cluster.on_commit(hook)

    def counts(self) -> Counts:
        """Return the requests that every version has got so far."""
        return {version: counts.requests for version, counts in self._stage.pods.by_version(NAMESPACE).items()}

    def rollout(self) -> Json:
        """Return the Rollout as stored; empty: there is none."""
        return self._stage.cluster.read(ROLLOUTS, ROLLOUT) or {}

    async def run(self) -> None:
        """Look on until cancelled."""
        last: Counts = {}
        while True:
            counts, now = self.counts(), self._stage.clock.now()
            act = self.act
            if act is not None and counts.get(act.version, 0) != last.get(act.version, 0):
                act.last_request_at = now
            last = counts
            while self._commits:
                self._see(self._commits.popleft())
            for one in self._log.new():
                if isinstance(one, Measurement):
                    self._see_measurement(one)
                else:
                    self.troubles.append(one.text)
                    self._screen.say("error", f"of the controller: {one.text}", at=self._seconds(one.at))
            if act is not None and act.window is not None and act.window.look(counts):
                missed = act.window.first
                assert missed is not None, "it has just been taken"
                text = f"{100 * missed.share:.1f} % of {missed.total} is more than 3 sigma off: a larger sample decides"
                self._screen.say("share", text)
                self._on_miss()
            await asyncio.sleep(LOOK_SECONDS)

    def _on_commit(self, verb: str, resource: Any, old: Json | None, new: Json | None) -> None:
        # The writer waits: nothing is done here that could fail or take time.
        is_ours = new is not None and new.get("metadata", {}).get("namespace") == NAMESPACE
        if resource.kind in _KINDS and new is not None and is_ours:
            now = self._stage.clock.now()
            self._commits.append(_Commit(at=now, kind=resource.kind, old=old or {}, new=new, counts=self.counts()))

    def _say(self, commit: _Commit, topic: str, text: str) -> None:
        self._screen.say(topic, text, at=self._seconds(commit.at))

    def _seconds(self, at: datetime) -> float:
        return (at - self._began_at).total_seconds()

    def _see_measurement(self, one: Measurement) -> None:
        # Good ones are stored together with the next write of the run, so nobody would see them now.
        if one.phase == "Successful":
            self._screen.say("analysis", f"{METRIC}: {one.phase}", at=self._seconds(one.at))
        elif self.act is not None:
            self.act.failed_at = one.at

    # --- one kind after the other --------------------------------------------------------------------------------

    def _see(self, commit: _Commit) -> None:
        match commit.kind:
            case "Rollout":
                self._see_rollout(commit)
            case "HTTPRoute":
                self._see_route(commit)
            case "AnalysisRun":
                self._see_run(commit)
            case "Service":
                self._see_service(commit)
            case "ReplicaSet":
                self._see_replica_set(commit)

    def _see_rollout(self, commit: _Commit) -> None:
        before, after = _at(commit.old, "status"), _at(commit.new, "status")
        steps = _at(commit.new, "spec", "strategy", "canary", "steps") or []
        index = after.get("currentStepIndex")
        is_stepping = self.act is not None and not after.get("abort")
        if index != before.get("currentStepIndex") and isinstance(index, int) and is_stepping:
            number = f"step {min(index + 1, len(steps))} of {len(steps)}"
            done = index >= len(steps)
            self._say(commit, "rollout", "all steps are done" if done else f"{number}: {_step_text(steps[index])}")
        weights, was = _at(after, "canary", "weights"), _at(before, "canary", "weights")
        if weights.get("verified") is True and weights != was:
            self._see_evidence(commit, _at(weights, "canary").get("weight"))
        phase, message = after.get("phase", ""), after.get("message", "")
        is_news = phase != before.get("phase") or (phase == "Degraded" and message != before.get("message"))
        if is_news and phase in ("Healthy", "Degraded"):
            self._say(commit, "rollout", f"{phase}{f': {message}' if message else ''}")
        routed, was_routed = (_condition(status, "TrafficRouted") for status in (after, before))
        # Before the first act nothing is routed yet, so there is nothing to complain about.
        if routed != was_routed and routed.get("status") == "False" and self.act is not None:
            self._say(commit, "rollout", f"{routed.get('reason')}: {routed.get('message')}")

    def _see_evidence(self, commit: _Commit, weight: object) -> None:
        act = self.act
        if act is None or not isinstance(weight, int):
            return
        after = f" {(commit.at - self._written_at).total_seconds():.2f} s after the write" if self._written_at else ""
        self._say(commit, "rollout", f"canary {weight} : stable {100 - weight} is verified on Envoy{after}")
        self._written_at = None
        if act.window is None and act.wanted[len(act.windows) : len(act.windows) + 1] == (weight,):
            act.windows.append(Window(act=act.number, wanted=weight, version=act.version, began=commit.counts))

    def _close(self, commit: _Commit) -> None:
        if self.act is not None and self.act.window is not None:
            self.act.window.close(commit.counts)

    def _see_route(self, commit: _Commit) -> None:
        before, after = _canary_weight(commit.old), _canary_weight(commit.new)
        if after is None or after == before:
            return
        self._close(commit)
        self._written_at = commit.at
        generation = _at(commit.new, "metadata").get("generation")
        self._say(commit, "route", f"canary {after} : stable {100 - after} is written (generation {generation})")
        if self.act is not None and after == 0 and before:
            self.act.zero_at = commit.at

    def _see_service(self, commit: _Commit) -> None:
        name = _at(commit.new, "metadata").get("name")
        selectors = (_at(one, "spec", "selector") for one in (commit.old, commit.new))
        before, after = (selector.get("rollouts-pod-template-hash") for selector in selectors)
        if after is None or after == before or name not in (STABLE.name, CANARY.name):
            return
        if name == STABLE.name:
            self._close(commit)
        self._say(commit, "service", f"{name} selects version {self._versions.get(after, '?')} ({after})")

    def _see_replica_set(self, commit: _Commit) -> None:
        labels = _at(commit.new, "metadata", "labels")
        containers = _at(commit.new, "spec", "template", "spec").get("containers") or [{}]
        version = str(containers[0].get("image", "")).rpartition(":")[2]
        self._versions[labels.get("rollouts-pod-template-hash", "")] = version
        wanted, wanted_before = (_at(one, "spec").get("replicas") for one in (commit.new, commit.old))
        ready, ready_before = (_at(one, "status").get("readyReplicas", 0) for one in (commit.new, commit.old))
        if wanted != wanted_before and (wanted or wanted_before):
            self._say(commit, "pods", f"version {version}: {wanted} wanted")
        elif ready != ready_before and ready == wanted and wanted:
            self._say(commit, "pods", f"version {version}: {ready} of {wanted} ready")

    def _see_run(self, commit: _Commit) -> None:
        before, after = _at(commit.old, "status"), _at(commit.new, "status")
        old, new = (_result(status) for status in (before, after))
        known = old.get("measurements") or []
        for one in new.get("measurements") or []:
            if one in known or not one.get("finishedAt") or one.get("phase") == "Successful":
                continue
            value = one.get("value") or one.get("message", "")
            self._say(commit, "analysis", f"{METRIC}: {one.get('phase')}, measured {_short(value)}")
        if after.get("phase") != before.get("phase") and after.get("phase") not in ("Pending", "Running", None):
            name, message = _at(commit.new, "metadata").get("name"), after.get("message", "")
            self._say(commit, "verdict", f"AnalysisRun {name} is {after['phase']}{f': {message}' if message else ''}")


def _at(content: Mapping[str, Any], *path: str) -> Any:
    """Return the object at a path, an empty one when there is none."""
    value: Any = content
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if value is not None else {}


def _condition(status: Json, type_: str) -> Json:
    return next((one for one in status.get("conditions") or [] if one.get("type") == type_), {})


def _result(status: Json) -> Json:
    return next((one for one in status.get("metricResults") or [] if one.get("name") == METRIC), {})


def _canary_weight(route: Json) -> int | None:
    for rule in _at(route, "spec").get("rules") or []:
        for ref in rule.get("backendRefs") or []:
            if ref.get("name") == CANARY.name:
                weight: int = ref.get("weight", 1)
                return weight
    return None


def _step_text(step: Json) -> str:
    if "setWeight" in step:
        return f"setWeight {step['setWeight']}"
    return f"pause {_at(step, 'pause').get('duration', 'until promoted')}"


def _short(value: str) -> str:
    """Return a measured value for people: `[0.7034]` and Envoy's two counters as percentages."""
    try:
        found = msgspec.json.decode(value)
    except msgspec.MsgspecError:
        return value
    match found:
        case [int() | float() as rate]:
            return f"{100 * rate:.1f} %"
        case [{"value": int(good)}, {"value": int(everything)}] if everything:
            return f"{100 * good / everything:.1f} % of {everything}"
    return value

"""The act of blue-green: a bad version is stopped by the analysis of its preview, and no user has ever seen it.

Two loads run at once: users on the active Service, testers on the preview. What each was answered, and by whom, is
counted by the clients themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from fairlead.cli._demo.facts import Row
from fairlead.cli._demo.manifests import Json, with_waypoint
from fairlead.cli._demo.screen import Screen
from fairlead.cli._demo.stage import ACTIVE, PREVIEW, Stage
from fairlead.controller.explain import explain_rollout
from fairlead.core.kinds import REPLICA_SETS, ROLLOUTS, SERVICES
from fairlead.testing._waypoint_status import WAYPOINT_BOUND
from fairlead.testing.load import LoadCounts, LoadGenerator

NAMESPACE, ROLLOUT = ACTIVE.namespace, ACTIVE
BLUE, GREEN = "blue", "green"
TEMPLATE = "preview-success-rate"
REPLICAS = 2
FAIL_RATIO = 0.5
USERS_RATE, TESTERS_RATE = 150, 100
LOAD_TOTAL_MAX = 20_000
READY_SECONDS_MAX, VERDICT_SECONDS_MAX = 30.0, 40.0
AFTERWARDS_SECONDS = 1.5  # in which users go on after the verdict
_HASH = "rollouts-pod-template-hash"
Until = Callable[[str, Callable[[], bool], float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Previewed:
    """What has been found out.

    Attributes:
        users: requests of users; `seen`: those that the new version answered; `lost` and `failed` among all of them.
        testers: requests on the preview that the new version answered, and how many of them failed.
        switches: how often the active Service was led to another revision.
        verdict: why the update was stopped, in the Rollout's words; empty: it was not.
    """

    users: int
    seen: int
    lost: int
    failed: int
    testers: int
    testers_failed: int
    switches: int
    verdict: str

    @property
    def is_stopped(self) -> bool:
        return "pre-promotion analysis phase error/failed" in self.verdict

    def problems(self) -> list[str]:
        """Return what does not hold, one sentence each."""
        found = []
        if not self.is_stopped:
            found.append(f"the bad version was not stopped by its analysis ({self.verdict or 'nothing was said'})")
        if not self.users:
            found.append("no user sent a request")
        if self.seen:
            found.append(f"{self.seen} of {self.users} requests of users came to the new version")
        if self.lost or self.failed:
            found.append(f"of {self.users} requests of users {self.lost} were lost and {self.failed} failed")
        if self.switches:
            found.append(f"the active Service was led elsewhere {self.switches} times")
        if not self.testers_failed:
            found.append(f"{self.testers} requests of testers found nothing wrong with the new version")
        return found

    def rows(self) -> list[Row]:
        """Return the rows of the table."""
        bad = self.lost + self.failed
        return [
            Row(
                "bad preview stopped by its analysis", "yes", "yes" if self.is_stopped else "no", holds=self.is_stopped
            ),
            Row(
                "users answered by the bad version",
                "0",
                f"{self.seen} of {self.users}",
                holds=bool(self.users) and not self.seen,
            ),
            Row("requests of users lost or failed", "0", str(bad), holds=bool(self.users) and not bad),
            Row("switches of the active Service", "0", str(self.switches), holds=not self.switches),
            Row(
                "failures that testers saw",
                "> 0",
                f"{self.testers_failed} of {self.testers}",
                holds=bool(self.testers_failed),
            ),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "stopped": self.is_stopped,
            "verdict": self.verdict,
            "requestsOfUsers": self.users,
            "answeredByNewVersion": self.seen,
            "lost": self.lost,
            "failed": self.failed,
            "requestsOfTesters": self.testers,
            "failedOfTesters": self.testers_failed,
            "switches": self.switches,
        }


class PreviewAct:
    """Releases a bad version, and sees who meets it."""

    key = "blueGreen"
    name = "bad preview stopped"
    title = f"blue-green: version {GREEN} fails {100 * FAIL_RATIO:.0f} % of its requests, before any user sees it"
    subject = "Rollout"

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self._versions: dict[str, str] = {}  # pod template hash to version
        self._switches = 0
        self._is_on = False
        self._verdict = ""
        self._users: LoadGenerator | None = None
        self._testers: LoadGenerator | None = None
        stage.cluster.on_commit(self._on_commit)

    async def prepare(self) -> None:
        """Apply the good version; it has all the time of the canaries to become healthy."""
        self._stage.apply(*surroundings(self._stage.measure(PREVIEW)), rollout(BLUE))

    async def play(self, until: Until) -> None:
        """Tell the act."""
        say, stage = self._screen.say, self._stage
        await until(f"version {BLUE} is healthy", lambda: self._phase() == "Healthy", READY_SECONDS_MAX)
        await until("both Services have a waypoint", self._is_bound, READY_SECONDS_MAX)
        self._is_on = True
        self._users = stage.load(USERS_RATE, LOAD_TOTAL_MAX, ACTIVE)
        running = [asyncio.create_task(self._users.run())]
        try:
            say("demo", f"users: {USERS_RATE} requests a second on Service {ACTIVE}, which selects version {BLUE}")
            stage.apply(rollout(GREEN, fail_ratio=FAIL_RATIO))
            say("demo", f"applied: Rollout {ROLLOUT} in version {GREEN}")
            await until("the preview has its pods", self._has_preview, READY_SECONDS_MAX)
            self._testers = stage.load(TESTERS_RATE, LOAD_TOTAL_MAX, PREVIEW)
            running.append(asyncio.create_task(self._testers.run()))
            say("demo", f"testers: {TESTERS_RATE} requests a second on Service {PREVIEW}")
            await until("it is stopped", lambda: self._phase() == "Degraded", VERDICT_SECONDS_MAX)
            self._verdict = str(self._status().get("message", ""))
            say("rollout", f"Degraded: {self._verdict}")
            await asyncio.sleep(AFTERWARDS_SECONDS)
            found = self.found()
            say("users", f"{found.users} requests, {found.seen} of them answered by version {GREEN}")
            say("testers", f"{found.testers} answers of version {GREEN}, {found.testers_failed} of them failures")
        finally:
            self._is_on = False
            for load in running:
                load.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def waits(self) -> str:
        """Return what the Rollout waits for, as `fairlead explain` does."""
        found = await explain_rollout(self._stage.cluster, self._stage.clock, ROLLOUT)
        return found.blocked_on.what if found is not None and found.blocked_on is not None else "nothing"

    def found(self) -> Previewed:
        """Return what has been found out."""
        users, testers = _counts(self._users), _counts(self._testers)
        answered = {answer: number for answer, number in testers.answers.items() if answer.version == GREEN}
        return Previewed(
            users=users.total,
            seen=users.by_version.get(GREEN, 0),
            lost=users.lost,
            failed=users.failed,
            testers=sum(answered.values()),
            testers_failed=sum(number for answer, number in answered.items() if answer.status >= 500),
            switches=self._switches,
            verdict=self._verdict,
        )

    # --- looking -------------------------------------------------------------------------------------------------

    def _status(self) -> Json:
        status: Json = (self._stage.cluster.read(ROLLOUTS, ROLLOUT) or {}).get("status") or {}
        return status

    def _phase(self) -> str:
        """Return the phase, as far as it is about what is applied now."""
        found = self._stage.cluster.read(ROLLOUTS, ROLLOUT) or {"metadata": {}}
        is_seen = self._status().get("observedGeneration") == str(found["metadata"].get("generation"))
        return str(self._status().get("phase", "")) if is_seen else ""

    def _is_bound(self) -> bool:
        services = [self._stage.cluster.read(SERVICES, key) or {} for key in (ACTIVE, PREVIEW)]
        bound = [
            one["status"] == "True"
            for service in services
            for one in (service.get("status") or {}).get("conditions") or []
            if one["type"] == WAYPOINT_BOUND
        ]
        return len(bound) == len(services) and all(bound)

    def _has_preview(self) -> bool:
        """Return whether the preview Service leads to all pods of the new version, and they are there."""
        status = self._status()
        selected = (status.get("blueGreen") or {}).get("previewSelector")
        is_new = status.get("currentPodHash") != status.get("stableRS") and selected == status.get("currentPodHash")
        return is_new and any(
            one["metadata"]["labels"].get(_HASH) == selected
            and (one.get("status") or {}).get("availableReplicas") == REPLICAS
            for one in self._stage.cluster.read_all(REPLICA_SETS, NAMESPACE)
        )

    def _on_commit(self, verb: str, resource: Any, old: Json | None, new: Json | None) -> None:
        metadata = (new or {}).get("metadata", {})
        if new is None or metadata.get("namespace") != NAMESPACE:
            return
        if resource.kind == "ReplicaSet":
            image = str(new["spec"]["template"]["spec"]["containers"][0]["image"])
            self._versions[metadata["labels"].get(_HASH, "")] = image.rpartition(":")[2]
        elif resource.kind == "Service" and self._is_on:
            before, after = (((one or {}).get("spec") or {}).get("selector", {}).get(_HASH) for one in (old, new))
            if after != before:
                self._switches += metadata["name"] == ACTIVE.name
                version = self._versions.get(after or "")
                which = f"version {version}" if version else "a revision that has no pods yet"
                self._screen.say("service", f"{metadata['name']} selects {which}")
        elif resource.kind == "AnalysisRun" and self._is_on:
            was, phase = (((one or {}).get("status") or {}).get("phase") for one in (old, new))
            if phase != was and phase not in (None, "Pending", "Running"):
                self._screen.say("verdict", f"AnalysisRun {metadata['name']} is {phase}")


def _counts(load: LoadGenerator | None) -> LoadCounts:
    return load.counts() if load is not None else LoadCounts(answers={})


# --- what is applied -------------------------------------------------------------------------------------------------


def surroundings(metric: Json) -> list[Json]:
    """Return everything but the Rollout.

    Args:
        metric: the provider block of the analysis and its condition.
    """
    # One look that fails is enough: nobody depends on this version yet.
    judged = {**metric, "name": TEMPLATE, "initialDelay": "3s", "interval": "1s", "count": 5, "failureLimit": 0}
    return [
        *with_waypoint(NAMESPACE),
        *(
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": key.name, "namespace": NAMESPACE},
                "spec": {
                    "selector": {"app": ROLLOUT.name},
                    "ports": [{"name": "http", "port": 80, "targetPort": "http"}],
                },
            }
            for key in (ACTIVE, PREVIEW)
        ),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisTemplate",
            "metadata": {"name": TEMPLATE, "namespace": NAMESPACE},
            "spec": {"metrics": [judged]},
        },
    ]


def rollout(version: str, *, fail_ratio: float = 0.0) -> Json:
    """Return the blue-green Rollout at a version."""
    annotations = {"testing.fairlead.dev/fail-ratio": f"{fail_ratio:g}"} if fail_ratio else {}
    container = {"name": "till", "image": f"till:{version}", "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": ROLLOUT.name, "namespace": NAMESPACE},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": ROLLOUT.name}},
            "template": {
                "metadata": {"labels": {"app": ROLLOUT.name}, "annotations": annotations},
                "spec": {"containers": [container]},
            },
            "strategy": {
                "blueGreen": {
                    "activeService": ACTIVE.name,
                    "previewService": PREVIEW.name,
                    "abortScaleDownDelaySeconds": 5,
                    "prePromotionAnalysis": {"templates": [{"templateName": TEMPLATE}]},
                }
            },
        },
    }

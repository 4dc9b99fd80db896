"""The act of GitOps: a commit starts a canary; a bad one is applied, aborted by analysis, and told on the Application.

Nothing but Git is written to by hand: a repository on disk, which the controller's agent looks at every second.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from fairlead.agentsync.kinds import APPLICATIONS
from fairlead.cli._demo.facts import Row
from fairlead.cli._demo.manifests import Json, with_waypoint
from fairlead.cli._demo.screen import Screen
from fairlead.cli._demo.stage import GITOPS_NAMESPACE, MAIL, MAIL_CANARY, Stage
from fairlead.controller.explain import explain_rollout
from fairlead.core.errors import ProviderError
from fairlead.core.kinds import ROLLOUTS
from fairlead.core.objects import ObjectKey
from fairlead.testing.load import LoadGenerator

NAMESPACE, ROLLOUT = MAIL.namespace, MAIL
APPLICATION = ObjectKey(GITOPS_NAMESPACE, "mail")
TEMPLATE = "mail-success-rate"
PATH = "deploy"
FIRST, GOOD, BAD = "1.0", "1.1", "1.2"  # the versions
REPLICAS = 2
FAIL_RATIO = 0.5
RATE, LOAD_TOTAL_MAX = 100, 20_000
GIT_SECONDS_MAX = 20.0
READY_SECONDS_MAX, END_SECONDS_MAX = 30.0, 40.0
_NAME, _MAIL = "release engineer", "release@example.com"
_GIT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": _NAME,
    "GIT_AUTHOR_EMAIL": _MAIL,
    "GIT_COMMITTER_NAME": _NAME,
    "GIT_COMMITTER_EMAIL": _MAIL,
}
Until = Callable[[str, Callable[[], bool], float], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Commits:
    """What has been found out.

    Attributes:
        started: seconds from the good commit until its version had been applied; None: it never was.
        is_promoted: the good version became stable, and the Application Synced and Healthy.
        is_stopped: the bad version was aborted by its analysis.
        health: of the Application at the end.
        cause: what the Application says of it.
        is_kept: the Application is Synced to the bad commit: nobody has reverted what Git says.
    """

    started: float | None = None
    is_promoted: bool = False
    is_stopped: bool = False
    health: str = ""
    cause: str = ""
    is_kept: bool = False

    @property
    def is_told(self) -> bool:
        return self.health == "Degraded" and f"argoproj.io/Rollout:{ROLLOUT.namespace}/{ROLLOUT.name}" in self.cause

    def problems(self) -> list[str]:
        """Return what does not hold, one sentence each."""
        found = []
        if self.started is None:
            found.append("the good commit was not applied")
        if not self.is_promoted:
            found.append("the version of the good commit did not become stable")
        if not self.is_stopped:
            found.append("the version of the bad commit was not stopped")
        if not self.is_told:
            found.append(
                f"the Application does not tell of it ({self.health or 'no health'}: {self.cause or 'nothing'})"
            )
        if not self.is_kept:
            found.append("the Application is not in sync with the bad commit")
        return found

    def rows(self) -> list[Row]:
        """Return the rows of the table."""
        shown = "never" if self.started is None else f"{self.started:.2f} s"
        return [
            Row("good commit to its canary", "yes", shown, holds=self.started is not None),
            Row("good commit promoted", "yes", _word(self.is_promoted), holds=self.is_promoted),
            Row("bad commit stopped by analysis", "yes", _word(self.is_stopped), holds=self.is_stopped),
            Row("health of the Application then", "Degraded", self.health or "-", holds=self.is_told),
            Row("Application in sync with Git", "yes", _word(self.is_kept), holds=self.is_kept),
        ]

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "secondsToCanary": None if self.started is None else round(self.started, 3),
            "promoted": self.is_promoted,
            "stopped": self.is_stopped,
            "applicationHealth": self.health,
            "applicationCause": self.cause,
            "applicationInSync": self.is_kept,
        }


def _word(holds: bool) -> str:
    return "yes" if holds else "no"


class CommitsAct:
    """Commits versions, and sees what becomes of them."""

    key = "gitOps"
    name = "bad commit stopped"
    title = f"GitOps: commits are released; that of version {BAD} fails {100 * FAIL_RATIO:.0f} % of its requests"
    subject = "Rollout"

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage = stage
        self._screen = screen
        self._repository = Repository(stage.kubeconfig.with_name("mail.git"))
        self._started: float | None = None
        self._is_promoted = False
        self._is_stopped = False
        self._is_on = False
        self._weights: set[int] = set()
        stage.cluster.on_commit(self._on_commit)

    async def prepare(self) -> None:
        """Commit the first version, and have it looked after; it has all the time of the canaries to become healthy."""
        await self._repository.create()
        await self._repository.commit(f"Release {FIRST}", files(FIRST, self._stage.measure(MAIL_CANARY)))
        self._stage.apply(*surroundings(self._repository.url))

    async def play(self, until: Until) -> None:
        """Tell the act."""
        say = self._screen.say
        await until(f"version {FIRST} is healthy", lambda: self._is_in_sync("Healthy"), READY_SECONDS_MAX)
        say("app", f"{APPLICATION} is Synced to {self._revision()} and Healthy")
        self._is_on = True
        load = self._stage.load(RATE, LOAD_TOTAL_MAX, MAIL_CANARY)
        loading = asyncio.create_task(load.run())
        try:
            await self._good(until)
            await self._bad(until, load)
        finally:
            self._is_on = False
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)

    async def _good(self, until: Until) -> None:
        revision = await self._commit(GOOD)
        at = self._screen.seconds
        await until(f"version {GOOD} is applied", lambda: self._image() == GOOD, END_SECONDS_MAX)
        self._started = self._screen.seconds - at
        await until(
            f"version {GOOD} is stable",
            lambda: self._revision() == revision and self._phase() in ("Healthy", "Degraded"),
            END_SECONDS_MAX,
        )
        await until("the Application says so", lambda: self._is_in_sync("Healthy", "Degraded"), END_SECONDS_MAX)
        self._is_promoted = self._phase() == "Healthy" and self._is_in_sync("Healthy")
        self._tell()

    async def _bad(self, until: Until, load: LoadGenerator) -> None:
        if self._stage.counts_for_ever:
            await self._stage.reset_counters()
        revision = await self._commit(BAD)
        await until(
            f"version {BAD} is stopped",
            lambda: self._image() == BAD and self._phase() in ("Healthy", "Degraded"),
            END_SECONDS_MAX,
        )
        self._is_stopped = self._status().get("abort") is True
        self._screen.say("rollout", f"{self._phase()}: {self._status().get('message', '')}")
        await until(
            "the Application says so",
            lambda: self._revision() == revision and self._health() == self._phase(),
            END_SECONDS_MAX,
        )
        self._tell()
        failed = load.counts().failed
        self._screen.say("app", f"{failed} requests on the canary's Service failed; Git is as it was committed")

    async def _commit(self, version: str) -> str:
        metric = self._stage.measure(MAIL_CANARY)
        ratio = FAIL_RATIO if version == BAD else 0.0
        revision = await self._repository.commit(f"Release {version}", files(version, metric, fail_ratio=ratio))
        self._screen.say("git", f"commit {revision}: Release {version}")
        return revision

    def _tell(self) -> None:
        status = self._application()
        sync = str((status.get("sync") or {}).get("status", ""))
        cause = str((status.get("health") or {}).get("message", ""))
        text = f"{APPLICATION} is {sync} to {self._revision()} and {self._health()}"
        self._screen.say("app", f"{text}{': ' if cause else ''}{cause}")

    async def waits(self) -> str:
        """Return what the Rollout waits for, as `fairlead explain` does."""
        found = await explain_rollout(self._stage.cluster, self._stage.clock, ROLLOUT)
        return found.blocked_on.what if found is not None and found.blocked_on is not None else "nothing"

    def found(self) -> Commits:
        """Return what has been found out."""
        return Commits(
            started=self._started,
            is_promoted=self._is_promoted,
            is_stopped=self._is_stopped,
            health=self._health(),
            cause=str((self._application().get("health") or {}).get("message", "")),
            is_kept=(self._application().get("sync") or {}).get("status") == "Synced" and self._image() == BAD,
        )

    # --- looking -------------------------------------------------------------------------------------------------

    def _application(self) -> Json:
        status: Json = (self._stage.cluster.read(APPLICATIONS, APPLICATION) or {}).get("status") or {}
        return status

    def _revision(self) -> str:
        return str((self._application().get("sync") or {}).get("revision", ""))[:7]

    def _health(self) -> str:
        return str((self._application().get("health") or {}).get("status", ""))

    def _is_in_sync(self, *health: str) -> bool:
        is_synced = (self._application().get("sync") or {}).get("status") == "Synced"
        return is_synced and self._health() in health

    def _status(self) -> Json:
        status: Json = (self._stage.cluster.read(ROLLOUTS, ROLLOUT) or {}).get("status") or {}
        return status

    def _phase(self) -> str:
        """Return the phase, as far as it is about what is applied now."""
        found = self._stage.cluster.read(ROLLOUTS, ROLLOUT) or {"metadata": {}}
        is_seen = self._status().get("observedGeneration") == str(found["metadata"].get("generation"))
        return str(self._status().get("phase", "")) if is_seen else ""

    def _image(self) -> str:
        found = self._stage.cluster.read(ROLLOUTS, ROLLOUT)
        return _version(found) if found is not None else ""

    def _on_commit(self, verb: str, resource: Any, old: Json | None, new: Json | None) -> None:
        metadata = (new or {}).get("metadata", {})
        if not self._is_on or new is None or metadata.get("namespace") != NAMESPACE:
            return
        if resource.kind == "Rollout":
            if old is None or _version(new) != _version(old):
                self._screen.say("agent", f"applies Rollout {ROLLOUT} in version {_version(new)}")
            was, step = (((one or {}).get("status") or {}).get("currentStepIndex") for one in (old, new))
            if step != was and step is not None:
                total = len(new["spec"]["strategy"]["canary"]["steps"])
                self._screen.say("rollout", f"{step} of {total} steps done")
        elif resource.kind == "AnalysisRun":
            was, phase = (((one or {}).get("status") or {}).get("phase") for one in (old, new))
            if phase != was and phase not in (None, "Pending", "Running"):
                self._screen.say("verdict", f"AnalysisRun {metadata['name']} is {phase}")


def _version(found: Json) -> str:
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]


# --- the repository --------------------------------------------------------------------------------------------------


def has_git() -> bool:
    """Return whether there is a git to commit with."""
    return shutil.which("git") is not None


class Repository:
    """A repository on disk with one branch, written to by a person."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def url(self) -> str:
        return f"file://{self._folder}"

    async def create(self) -> None:
        """Make it, empty."""
        self._folder.mkdir()
        await self._git("init", "--quiet", "--initial-branch=main")

    async def commit(self, message: str, found: dict[str, str]) -> str:
        """Write files, and return the beginning of the new commit's hash."""
        for name, text in found.items():
            path = self._folder / PATH / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        await self._git("add", "--all")
        await self._git("commit", "--quiet", "--message", message)
        return (await self._git("rev-parse", "HEAD")).strip()[:7]

    async def _git(self, *arguments: str) -> str:
        process = await asyncio.create_subprocess_exec(
            "git",
            *arguments,
            cwd=self._folder,
            env={**os.environ, **_GIT},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await asyncio.wait_for(process.communicate(), GIT_SECONDS_MAX)
        if process.returncode:
            said = (errors or output).decode(errors="replace").strip()
            raise ProviderError(f"git {arguments[0]}: {said}", provider="git")
        return output.decode()


# --- what is applied -------------------------------------------------------------------------------------------------


def surroundings(url: str) -> list[Json]:
    """Return what is there before Git is: the namespaces, the waypoint, and the Application."""
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": GITOPS_NAMESPACE}},
        *with_waypoint(NAMESPACE),
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AppProject",
            "metadata": {"name": "shops", "namespace": GITOPS_NAMESPACE},
            "spec": {"sourceRepos": [url], "destinations": [{"name": "in-cluster", "namespace": NAMESPACE}]},
        },
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Application",
            "metadata": {"name": APPLICATION.name, "namespace": GITOPS_NAMESPACE},
            "spec": {
                "project": "shops",
                "source": {"repoURL": url, "path": PATH, "targetRevision": "main"},
                "destination": {"name": "in-cluster", "namespace": NAMESPACE},
                "syncPolicy": {"automated": {"prune": True, "selfHeal": True}},
            },
        },
    ]


def files(version: str, metric: Json, *, fail_ratio: float = 0.0) -> dict[str, str]:
    """Return the files of a commit."""
    services = [_service(key.name) for key in (MAIL, MAIL_CANARY)]
    return {
        "services.yaml": yaml.safe_dump_all(services, sort_keys=False),
        "analysis.yaml": yaml.safe_dump(_template(metric), sort_keys=False),
        "rollout.yaml": yaml.safe_dump(_rollout(version, fail_ratio), sort_keys=False),
    }


def _service(name: str) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": ROLLOUT.name}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }


def _template(metric: Json) -> Json:
    judged = {**metric, "name": TEMPLATE, "initialDelay": "2s", "interval": "1s", "failureLimit": 1}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": TEMPLATE},
        "spec": {"metrics": [judged]},
    }


def _rollout(version: str, fail_ratio: float) -> Json:
    annotations = {"testing.fairlead.dev/fail-ratio": f"{fail_ratio:g}"} if fail_ratio else {}
    container = {"name": "mail", "image": f"mail:{version}", "ports": [{"name": "http", "containerPort": 8080}]}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": ROLLOUT.name},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": ROLLOUT.name}},
            "template": {
                "metadata": {"labels": {"app": ROLLOUT.name}, "annotations": annotations},
                "spec": {"containers": [container]},
            },
            "strategy": {
                "canary": {
                    "stableService": MAIL.name,
                    "canaryService": MAIL_CANARY.name,
                    "abortScaleDownDelaySeconds": 5,
                    # From the pause on, when the canary's Service leads to its pod.
                    "analysis": {"templates": [{"templateName": TEMPLATE}], "startingStep": 1},
                    "steps": [{"setWeight": 50}, {"pause": {"duration": "4s"}}],
                }
            },
        },
    }

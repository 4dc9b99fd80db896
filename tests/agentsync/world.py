"""A cluster, a repository and one Application in memory: carries out what the machine decides, one action at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from fairlead.agentsync._waves import defined_kind
from fairlead.agentsync.actions import (
    Action,
    Apply,
    ApplyWave,
    DeleteHooks,
    DeleteResources,
    Depth,
    DryRun,
    Prune,
    ReleaseHooks,
    Removal,
    Render,
)
from fairlead.agentsync.kinds import APPLICATIONS, HOOK_FINALIZER
from fairlead.agentsync.machine import (
    ApplicationDecision,
    Settings,
    Tools,
    application_patch,
    decide,
    prepare,
)
from fairlead.agentsync.observation import Desired, DestinationSeen, Observation, RenderFailure, Rendering, Result
from fairlead.agentsync.project import Project, parse
from fairlead.agentsync.resources import Object, ResourceKey, ResourceKind, key_of
from fairlead.agentsync.status import ApplicationStatus, ResultCode, decode_status
from fairlead.agentsync.tracking import Tracking
from fairlead.core.objects import rfc3339
from fairlead.core.patches import merge

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
SERVER = "https://kubernetes.default.svc"
ANYTHING = b"""{"sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}],
    "clusterResourceWhitelist": [{"group": "*", "kind": "*"}]}"""

CLUSTER_SCOPED = {"Namespace", "CustomResourceDefinition", "ClusterRole", "PersistentVolume"}
KINDS = {
    "Namespace": ("", "v1"),
    "ConfigMap": ("", "v1"),
    "Secret": ("", "v1"),
    "Service": ("", "v1"),
    "Pod": ("", "v1"),
    "PersistentVolumeClaim": ("", "v1"),
    "Deployment": ("apps", "v1"),
    "Job": ("batch", "v1"),
    "ClusterRole": ("rbac.authorization.k8s.io", "v1"),
    "CustomResourceDefinition": ("apiextensions.k8s.io", "v1"),
    "Application": ("argoproj.io", "v1alpha1"),
}


def manifest(kind: str, name: str, namespace: str = "", **annotations: str) -> Object:
    """Return an object; keyword `wave` and others become the annotations of that name."""
    group, version = KINDS.get(kind, ("example.com", "v1"))
    short = {
        "wave": "argocd.argoproj.io/sync-wave",
        "hook": "argocd.argoproj.io/hook",
        "policy": "argocd.argoproj.io/hook-delete-policy",
        "options": "argocd.argoproj.io/sync-options",
        "compare": "argocd.argoproj.io/compare-options",
    }
    metadata: dict[str, Any] = {"name": name}
    if namespace:
        metadata["namespace"] = namespace
    if annotations:
        metadata["annotations"] = {short.get(key, key): value for key, value in annotations.items()}
    return {"apiVersion": f"{group}/{version}" if group else version, "kind": kind, "metadata": metadata}


def job(name: str, hook: str, **annotations: str) -> Object:
    return manifest("Job", name, hook=hook, **annotations)


def definition(kind: str, group: str = "example.com", scope: str = "Namespaced") -> Object:
    plural = f"{kind.lower()}s"
    found = manifest("CustomResourceDefinition", f"{plural}.{group}")
    found["spec"] = {"group": group, "scope": scope, "names": {"kind": kind, "plural": plural}}
    return found


@dataclass
class Served:
    """What the cluster serves: the usual kinds, and those whose definition is there."""

    objects: dict[ResourceKey, Object]

    def find(self, group: str, kind: str, version: str = "") -> ResourceKind | None:
        is_known = KINDS.get(kind, ("", ""))[0] == group and kind in KINDS
        scoped = kind in CLUSTER_SCOPED
        for found in self.objects.values():
            if found["kind"] == "CustomResourceDefinition" and defined_kind(found) == (group, kind):
                is_known, scoped = True, found["spec"].get("scope") == "Cluster"
        if not is_known:
            return None
        return ResourceKind(group=group, version="v1", kind=kind, plural=f"{kind.lower()}s", namespaced=not scoped)

    def all(self) -> Iterable[ResourceKind]:
        return ()


@dataclass
class Live:
    objects: dict[ResourceKey, Object]

    def find(self, key: ResourceKey) -> Object | None:
        return self.objects.get(key)

    def tracked(self) -> Iterable[Object]:
        marked = "argocd.argoproj.io/tracking-id"
        return [one for one in self.objects.values() if marked in one["metadata"].get("annotations", {})]


def contains(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and contains(found[key], wanted[key]) for key in wanted)
    return bool(found == wanted)


@dataclass
class World:
    """Everything around the machine. Fields may be changed by tests at any time."""

    spec: dict[str, Any] = field(default_factory=dict)
    now: datetime = START
    settings: Settings = field(default_factory=Settings)
    project: Project | None = field(default_factory=lambda: Project(name="default", spec=parse(ANYTHING)))
    commits: dict[str, tuple[Object, ...] | str] = field(default_factory=dict)
    head: str = ""
    is_git_up: bool = True
    objects: dict[ResourceKey, Object] = field(default_factory=dict)
    rejected: set[str] = field(default_factory=set)  # names of objects that the API server does not accept
    rejected_late: set[str] = field(default_factory=set)  # nor these, but a dry run does not tell
    destination: DestinationSeen = field(default_factory=lambda: DestinationSeen(server=SERVER, name="in-cluster"))
    is_live_known: bool = True
    live_error: str = ""
    others: dict[ResourceKey, str] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    decision: ApplicationDecision | None = None
    is_slow: bool = False  # renders come back when `deliver` says so

    def __post_init__(self) -> None:
        default = {
            "project": "default",
            "source": {"repoURL": "https://git.example.com/shop.git", "path": "deploy"},
            "destination": {"server": SERVER, "namespace": "shop"},
        }
        self.app: dict[str, Any] = {
            "metadata": {"name": "shop", "namespace": "argocd", "uid": "app", "resourceVersion": "1"},
            "spec": {**default, **self.spec},
        }
        self.rendering = Rendering()
        self.operation = Rendering()
        self.asked: list[Render] = []
        self.results: list[Result] = []
        self.acted_at: datetime | None = None
        self.writes = 0
        self.counter = 0
        self.tracking = Tracking(application="shop")

    # -- what tests say ------------------------------------------------------------------------------------------------

    def commit(self, *objects: Object, name: str = "") -> str:
        """Add a commit and make it the newest."""
        sha = name or f"{len(self.commits) + 1:040x}"
        self.commits[sha] = copy.deepcopy(objects)
        self.head = sha
        return sha

    def break_commit(self, message: str = "bad YAML") -> str:
        sha = f"{len(self.commits) + 1:040x}"
        self.commits[sha] = message
        self.head = sha
        return sha

    def ask(self, **sync: Any) -> None:
        """Ask for a sync, as a person would."""
        policy = self.app["spec"].get("syncPolicy") or {}
        options = policy.get("syncOptions") or []
        retry = sync.pop("retry", {})
        self.app["operation"] = {
            "sync": {"syncOptions": options, **sync},
            "initiatedBy": {"username": "admin"},
            **({"retry": retry} if retry else {}),
        }

    def annotate(self, **annotations: str) -> None:
        prefix = "argocd.argoproj.io/"
        found = self.app["metadata"].setdefault("annotations", {})
        found.update({prefix + name.replace("_", "-"): value for name, value in annotations.items()})

    def have(self, *objects: Object, tracked: bool = True) -> None:
        """Put objects into the cluster, as an earlier sync left them."""
        for one in objects:
            made = copy.deepcopy(one)
            if made["kind"] not in CLUSTER_SCOPED:
                made["metadata"].setdefault("namespace", "shop")
            self._store(self.tracking.stamp(made) if tracked else made)

    def get(self, kind: str, name: str) -> Object | None:
        found = [one for key, one in self.objects.items() if (key.kind, key.name) == (kind, name)]
        return found[0] if found else None

    def names(self) -> set[str]:
        return {f"{key.kind}/{key.name}" for key in self.objects}

    def finish(self, name: str, *, well: bool = True) -> None:
        """Let a Job come to its end."""
        found = self.get("Job", name)
        assert found is not None, f"there is no Job {name}"
        kind = "Complete" if well else "Failed"
        message = "" if well else "it went wrong"
        found["status"] = {"conditions": [{"type": kind, "status": "True", "message": message}]}

    def roll_out(self, name: str, *, well: bool = True) -> None:
        """Let a Deployment come to its end."""
        found = self.get("Deployment", name)
        assert found is not None, f"there is no Deployment {name}"
        if well:
            found["status"] = {"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1, "observedGeneration": 1}
        else:
            late = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
            found["status"] = {"observedGeneration": 1, "conditions": [late]}

    @property
    def status(self) -> ApplicationStatus:
        return decode_status(msgspec.json.encode(self.app.get("status", {})))

    @property
    def phase(self) -> str:
        state = self.status.operation_state
        return state.phase if state is not None else ""

    @property
    def message(self) -> str:
        state = self.status.operation_state
        return state.message if state is not None else ""

    def result(self, name: str) -> str:
        """Return what became of an object in the last operation: `status: message`."""
        state = self.status.operation_state
        assert state is not None and state.sync_result is not None
        return next(f"{one.status}: {one.message}" for one in state.sync_result.resources if one.name == name)

    def state_of(self, name: str) -> str:
        return next(one.status for one in self.status.resources if one.name == name)

    def condition(self, kind: str) -> str:
        return next((one.message for one in self.status.conditions if one.type == kind), "")

    # -- what happens --------------------------------------------------------------------------------------------------

    def observe(self) -> Observation:
        return Observation(
            rendering=self.rendering,
            operation=self.operation,
            live=Live(self.objects) if self.is_live_known else None,
            live_error=self.live_error,
            served=Served(self.objects),
            destination=self.destination,
            project=self.project,
            results=tuple(self.results),
            acted_at=self.acted_at,
            others=self.others,
        )

    def step(self, *, perform: bool = True, store: bool = True, actions_max: int | None = None) -> ApplicationDecision:
        """Decide once, carry out the actions, store the decision.

        Args:
            actions_max: carry out only so many: the process dies then.
        """
        found = APPLICATIONS.decode(msgspec.json.encode(self.app))
        subject, status = prepare(found), self.status
        seen = self.observe()
        tools = Tools(tracking=self.tracking, differs=lambda target, live: not contains(live, target))
        decision = decide(subject, status, seen, self.now, tools, settings=self.settings)
        self.decision = decision
        results: list[Result] = []
        if store:
            self.rendering = replace(self.rendering, answered="")
        if perform:
            results = self._perform(decision.actions[:actions_max])
        if store:
            self.results = results
            patch = application_patch(subject, status, decision)
            if patch:
                self.writes += 1
                self.app = merge(self.app, patch)
                self.app["metadata"]["resourceVersion"] = str(int(self.app["metadata"]["resourceVersion"]) + 1)
            self.log += [f"{event.reason}: {event.message}" for event in decision.events]
        return decision

    def settle(self, *, limit: int = 60, until: timedelta = timedelta(seconds=5)) -> None:
        """Decide until nothing happens any more, letting no more time pass than said."""
        end = self.now + until
        for _ in range(limit):
            before = (copy.deepcopy(self.app), copy.deepcopy(self.objects))
            decision = self.step()
            # What a render or a wave has come to is for the next decision to see.
            if self.results or any(isinstance(action, Render) for action in decision.actions):
                continue
            if (self.app, self.objects) == before:
                if decision.wake_at is None or decision.wake_at > end:
                    return
                self.now = max(self.now + timedelta(milliseconds=1), decision.wake_at)
        raise AssertionError(f"it does not come to rest: {decision}")

    def run(self, span: timedelta) -> None:
        """Let time pass, waking up when asked for."""
        end = self.now + span
        while True:
            self.settle(until=timedelta(0))
            assert self.decision is not None
            wake_at = self.decision.wake_at
            if wake_at is None or wake_at > end:
                self.now = end
                self.settle(until=timedelta(0))
                return
            self.now = max(self.now + timedelta(milliseconds=1), wake_at)

    def _perform(self, actions: Iterable[Action]) -> list[Result]:
        results: list[Result] = []
        for action in actions:
            made = self._do(action)
            results += made
            if any(not one.is_successful for one in made):
                break
        return results

    def _do(self, action: Action) -> list[Result]:
        match action:
            case Render():
                self._ask(action)
                return []
            case DryRun(applies=applies):
                return [self._apply(one, dry_run=True) for one in applies]
            case ApplyWave(groups=groups):
                results = []
                for group in groups:
                    made = [self._apply(one) for one in group]
                    results += made
                    if any(not one.is_successful for one in made):
                        break
                self.acted_at = self.now
                return results
            case Prune(removals=removals):
                self.acted_at = self.now
                return [self._prune(one) for one in removals]
            case DeleteHooks(removals=removals):
                for one in removals:
                    self._release(one)
                    self._delete(one)
                return []
            case ReleaseHooks(removals=removals):
                for one in removals:
                    self._release(one)
                return []
            case DeleteResources(removals=removals):
                for one in removals:
                    self._delete(one)
                return []

    def deliver(self) -> None:
        """Let all renders that are under way come to their end."""
        asked, self.asked = self.asked, []
        for action in asked:
            self._render(action)

    def forget(self) -> None:
        """Start the process anew: what it had in memory is lost."""
        self.rendering, self.operation, self.asked = Rendering(), Rendering(), []
        self.results, self.acted_at = [], None

    def _ask(self, action: Render) -> None:
        if not self.is_slow:
            self._render(action)
            return
        self.asked = [one for one in self.asked if one.for_operation != action.for_operation] + [action]
        if action.for_operation:
            self.operation = Rendering(in_flight=True)
        else:
            self.rendering = replace(self.rendering, in_flight=True)

    def _render(self, action: Render) -> None:
        sha = (action.revisions[0] if action.revisions else self.head) or self.head
        content = self.commits.get(sha, "there is no such commit") if self.is_git_up else "connection refused"
        before = self.operation if action.for_operation else self.rendering
        if isinstance(content, str):
            since = before.failure.since if before.failure is not None else self.now
            failure = RenderFailure(
                message=content,
                is_repository=not self.is_git_up,
                sources=action.sources,
                since=since,
                at=self.now,
            )
            made = Rendering(
                desired=None if action.for_operation else before.desired, failure=failure, answered=action.request
            )
        else:
            desired = Desired(
                objects=copy.deepcopy(content),
                revisions=(sha,) * len(action.sources),
                sources=action.sources,
                source_types=("Directory",) * len(action.sources),
                requested=action.revisions,
                destination=action.destination,
                rendered_at=self.now,
            )
            made = Rendering(desired=desired, answered=action.request)
        if action.for_operation:
            self.operation = made
        else:
            self.rendering = made

    def _apply(self, action: Apply, *, dry_run: bool = False) -> Result:
        suffix = " (dry run)" if dry_run else ""
        name = f"{action.key.kind.lower()}/{action.key.name}"
        if action.key.name in self.rejected or (not dry_run and action.key.name in self.rejected_late):
            return Result(
                key=action.key,
                phase=action.phase,
                status=ResultCode.SYNC_FAILED,
                message=f"{name} is invalid",
                dry_run=dry_run,
            )
        before = self.objects.get(action.key)
        if not dry_run:
            if action.create_only and before is not None:
                return Result(key=action.key, phase=action.phase, status=ResultCode.SYNCED, message=f"{name} unchanged")
            wanted = copy.deepcopy(action.target)
            self._store(merge(before, wanted) if before is not None and not action.replace else wanted)
            self.log.append(f"apply {action.key.kind}/{action.key.name}")
        word = "created" if before is None else "configured"
        return Result(
            key=action.key,
            phase=action.phase,
            status=ResultCode.SYNCED,
            message=f"{name} {word}{suffix}",
            dry_run=dry_run,
        )

    def _store(self, made: Object) -> None:
        key = key_of(made)
        before = self.objects.get(key)
        made = copy.deepcopy(made)
        self.counter += 1
        made["metadata"]["uid"] = before["metadata"]["uid"] if before is not None else f"uid-{self.counter}"
        if before is None and made["kind"] == "Deployment":
            made["metadata"]["generation"] = 1
            spec = made.get("spec", {})
            made["spec"] = {"replicas": 1, **spec} if isinstance(spec, dict) else spec
        if before is None and made["kind"] == "CustomResourceDefinition":
            made["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        self.objects[key] = made

    def _prune(self, removal: Removal) -> Result:
        self._delete(removal)
        return Result(key=removal.key, phase=removal.phase, status=ResultCode.PRUNED, message="pruned")

    def _release(self, removal: Removal) -> None:
        found = self.objects.get(removal.key)
        if found is None:
            return
        finalizers = [name for name in found["metadata"].get("finalizers", []) if name != HOOK_FINALIZER]
        found["metadata"]["finalizers"] = finalizers
        if found["metadata"].get("deletionTimestamp") and not finalizers:
            del self.objects[removal.key]

    def _delete(self, removal: Removal) -> None:
        found = self.objects.get(removal.key)
        if found is None or (removal.uid and found["metadata"]["uid"] != removal.uid):
            return
        self.log.append(f"delete {removal.key.kind}/{removal.key.name}")
        if found["metadata"].get("finalizers"):
            found["metadata"].setdefault("deletionTimestamp", rfc3339(self.now))
        else:
            del self.objects[removal.key]


__all__ = ["SERVER", "START", "Depth", "World", "definition", "job", "manifest"]

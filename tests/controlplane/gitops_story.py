"""A history of commits, played on a real control plane: pushed one by one, watched as they are deployed, and judged.

What a namespace should look like after a commit is asked of three: the manifests themselves (what they say must be
there, and nothing else), fairlead's own comparison, and `kubectl apply` of the same manifests into an empty namespace.
"""

from __future__ import annotations

import asyncio
import base64
import copy
import json
import shutil
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks._rig import AuditLog
from fairlead.agentsync._claims import claimed, is_rollout
from fairlead.agentsync.diff import DiffOptions, difference
from fairlead.agentsync.tracking import Tracking
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.errors import NotFound
from fairlead.core.kinds import CRDS, NAMESPACES, carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from tests.controlplane.git_host import GitHost, Repository
from tests.controlplane.gitops_history import EDGE, PATHS, SHOP, Commit, Document, Fault
from tests.controlplane.process import ControllerProcess

APPLICATIONS = carried("argoproj.io", "v1alpha1", "Application", "applications")
CONTROL = "argocd"
REPOSITORY = "shop"
_SERVER = "https://kubernetes.default.svc"
_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.05

KINDS: Mapping[str, Kind[Manifest]] = {
    kind.kind: kind
    for kind in (
        carried("", "v1", "ConfigMap", "configmaps"),
        carried("", "v1", "Secret", "secrets"),
        carried("", "v1", "Service", "services"),
        carried("apps", "v1", "Deployment", "deployments"),
        carried("batch", "v1", "Job", "jobs"),
        carried("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
        carried("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
        carried("external-secrets.io", "v1", "SecretStore", "secretstores"),
        carried("shop.example", "v1", "Widget", "widgets"),
        NAMESPACES,
        CRDS,
    )
}
_NOT_OURS = {("ConfigMap", "kube-root-ca.crt")}
_OF_THE_SERVER = ("creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink", "namespace")
_OF_OTHERS = (
    "argocd.argoproj.io/tracking-id",
    "kubectl.kubernetes.io/last-applied-configuration",
    "deployment.kubernetes.io/revision",
    "rollout.argoproj.io/revision",
    "argo-rollouts.argoproj.io/managed-by-rollouts",
)
_HASH = "rollouts-pod-template-hash"

Live = dict[tuple[str, str], Document]  # by kind and name


def application(name: str, url: str, **policy: Any) -> Document:
    """Return an Application that follows `main` by itself, and does not try again what failed."""
    automated = {"prune": True, "selfHeal": True}
    return {
        "apiVersion": APPLICATIONS.api_version,
        "kind": APPLICATIONS.kind,
        "metadata": {"name": name},
        "spec": {
            "project": "default",
            "source": {
                "repoURL": url,
                "path": PATHS[name],
                "targetRevision": "main",
                **({"directory": {"recurse": True}} if name == SHOP else {}),
            },
            "destination": {"server": _SERVER, "namespace": name},
            "syncPolicy": {"automated": automated, "retry": {"limit": 0}, **policy},
        },
    }


# --- what is live -----------------------------------------------------------------------------------------------------


async def live_in(cluster: Cluster, namespace: str) -> Live:
    """Return what lives in a namespace by itself: owned objects and what the cluster puts there left out."""
    found: Live = {}
    for kind in KINDS.values():
        if not kind.namespaced:
            continue
        try:
            page = await cluster.list(kind, namespace=namespace, limit=0)
        except NotFound:  # it has not been defined yet
            continue
        for manifest in page.items:
            content = dict(manifest.content) | {"apiVersion": kind.api_version, "kind": kind.kind}
            name = (kind.kind, manifest.metadata.name)
            if not content["metadata"].get("ownerReferences") and name not in _NOT_OURS:
                found[name] = content
    return found


def without_traces(found: Document) -> Document:
    """Return an object without what servers and other controllers write: what a manifest decides about it."""
    found = copy.deepcopy(found)
    metadata = {name: value for name, value in found["metadata"].items() if name not in _OF_THE_SERVER}
    annotations = metadata.pop("annotations", {})
    if kept := {name: text for name, text in annotations.items() if name not in _OF_OTHERS}:
        metadata["annotations"] = kept
    found["metadata"] = metadata
    found.pop("status", None)
    spec = found.get("spec", {})
    if found["kind"] == "Service":
        for name in ("clusterIP", "clusterIPs"):
            spec.pop(name, None)
        spec.get("selector", {}).pop(_HASH, None)
    return found


def _digest(found: Live) -> Mapping[tuple[str, str], str]:
    """Return what must not change, by object: hooks come and go."""
    return {
        name: json.dumps([content["metadata"]["uid"], without_traces(content)], sort_keys=True)
        for name, content in found.items()
        if name[0] != "Job"
    }


def unlike(wanted: Any, found: Any, path: str = "") -> list[str]:
    """Return where something is not as a manifest says; what only lives there is nobody's business."""
    if isinstance(wanted, dict):
        if not isinstance(found, dict):
            return [f"{path}: {found!r}, not a mapping"]
        return [line for key, value in wanted.items() for line in unlike(value, found.get(key), f"{path}.{key}")]
    if isinstance(wanted, list):
        if not isinstance(found, list) or len(found) != len(wanted):
            return [f"{path}: {found!r}, not {wanted!r}"]
        pairs = enumerate(zip(wanted, found, strict=True))
        return [line for index, (one, other) in pairs for line in unlike(one, other, f"{path}[{index}]")]
    return [] if wanted == found else [f"{path}: {found!r}, not {wanted!r}"]


def as_stored(document: Document) -> Document:
    """Return a manifest as an API server keeps it."""
    found = copy.deepcopy(document)
    if texts := found.pop("stringData", None):
        found["data"] = {name: base64.b64encode(text.encode()).decode() for name, text in texts.items()}
    return found


def _label(document: Document) -> tuple[str, str]:
    return (document["kind"], document["metadata"]["name"])


# --- the story --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a sync asked of the API server.

    Attributes:
        changed: objects that the commit changes, adds or removes, hooks aside.
        written: writes of objects, hooks aside, each as verb, plural and name.
        hooks: writes of hooks.
        reports: patches of the Application.
        reads: of single objects of the commit; lists only begin watches.
        conflicts: writes that somebody else was quicker than: the object is read, and written again.
    """

    commit: int
    changed: int
    written: tuple[str, ...]
    hooks: int
    reports: int
    reads: tuple[str, ...]
    conflicts: int


@dataclass(kw_only=True)
class Story:
    """Plays commits.

    Attributes:
        deployed: the last good commit that was waited for.
        costs: of each sync of the shop that was waited for.
        deaths: how often the controller was killed in the middle of a sync.
    """

    cluster: Cluster
    host: GitHost
    repository: Repository
    controller: ControllerProcess
    audit: AuditLog
    hashes: dict[int, str] = field(default_factory=dict)
    deployed: Commit | None = None
    costs: list[Cost] = field(default_factory=list)
    deaths: int = 0

    async def furnish(self) -> None:
        """Create what the controller needs to know, and the Applications."""
        await self.cluster.create(NAMESPACES, {"metadata": {"name": CONTROL}})
        for document in self.host.documents(REPOSITORY):
            await self.cluster.create(KINDS[document["kind"]], document, namespace=CONTROL)
        for document in (
            application(SHOP, self.host.https_url(REPOSITORY)),
            application(EDGE, self.host.ssh_url(REPOSITORY), syncOptions=["CreateNamespace=true"]),
        ):
            await self.cluster.create(APPLICATIONS, document, namespace=CONTROL)

    def push(self, commit: Commit) -> None:
        onto = self.hashes[commit.rewrites] if commit.rewrites else None
        self.hashes[commit.number] = self.repository.push(commit.files, commit.message, onto=onto)

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def refresh(self) -> None:
        """Have both Applications ask their sources, as a webhook would."""
        patch = MergePatch({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "normal"}}})
        for name in (SHOP, EDGE):
            await self.cluster.patch(APPLICATIONS, ObjectKey(CONTROL, name), patch)

    async def status(self, name: str) -> Document:
        found = await self.cluster.get(APPLICATIONS, ObjectKey(CONTROL, name))
        return dict(found.content)

    async def until_deployed(self, commit: Commit) -> None:
        """Wait until both Applications are what a commit says, healthy, and at rest."""
        for name in (SHOP, EDGE):
            await self._until(name, commit, lambda found: _is_deployed(found, self.hashes[commit.number]))

    async def until_told(self, commit: Commit) -> None:
        """Wait until the culprit's conditions tell what is wrong, and the other Application goes on."""
        for name in (SHOP, EDGE):
            if name == commit.culprit:
                await self._until(name, commit, lambda found: _tells(found, commit.fault, self.hashes[commit.number]))
            else:
                await self._until(name, commit, lambda found: _is_deployed(found, self.hashes[commit.number]))

    async def _until(self, name: str, commit: Commit, holds: Any) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _WAIT_SECONDS
        while not holds(found := await self.status(name)):
            if loop.time() > deadline:
                status = json.dumps(found.get("status", {}) | {"history": []}, indent=1)[:6000]
                problems = "\n".join(await self._problems(commit, name))
                raise AssertionError(
                    f"commit {commit.number} ({commit.message}), {name}: not so after {_WAIT_SECONDS:g} s\n{status}\n"
                    f"{self.controller.tail(20)}\n{problems}"
                )
            assert self.controller.is_running, self.controller.tail()
            await asyncio.sleep(_POLL_SECONDS)

    # --- playing -----------------------------------------------------------------------------------------------------

    async def deploy(self, commit: Commit, *, is_killed: bool = False) -> None:
        """Have a good commit deployed, and judge what lives then."""
        self.audit.skip()
        before = self.deployed
        await self.refresh()
        if is_killed:
            await self._kill_in_the_middle(commit)
        await self.until_deployed(commit)
        self.deployed = commit
        if not is_killed:
            await self._count(before, commit)
        await self.judge(commit)

    async def endure(self, commit: Commit) -> None:
        """Have a commit refused that cannot be deployed; nothing that lives may change."""
        assert self.deployed is not None, "something was deployed before"
        before = [_digest(await live_in(self.cluster, name)) for name in (SHOP, EDGE)]
        await self.refresh()
        await self.until_told(commit)
        after = [_digest(await live_in(self.cluster, name)) for name in (SHOP, EDGE)]
        assert after == before, f"commit {commit.number} ({commit.message}) changed something"

    async def outlast_an_outage(self) -> None:
        """Cut the Git host off, and remove something by hand: it comes back, as the last good commit has it."""
        assert self.deployed is not None, "something was deployed before"
        self.host.is_away = True
        await self.refresh()
        config_maps, key = KINDS["ConfigMap"], ObjectKey(SHOP, "settings")
        before = (await self.cluster.get(config_maps, key)).metadata.uid
        await self.cluster.delete(config_maps, key)

        def is_back(found: Document) -> bool:
            return (found.get("status") or {}).get("sync", {}).get("status") == "Synced" and not found.get("operation")

        loop = asyncio.get_running_loop()
        deadline = loop.time() + _WAIT_SECONDS
        while not (("ConfigMap", "settings") in await live_in(self.cluster, SHOP) and is_back(await self.status(SHOP))):
            assert loop.time() < deadline, "what was removed by hand is not put back while Git is away"
            await asyncio.sleep(_POLL_SECONDS)
        assert (await self.cluster.get(config_maps, key)).metadata.uid != before
        self.host.is_away = False
        await self.refresh()
        await self.until_deployed(self.deployed)
        await self.judge(self.deployed)

    async def _kill_in_the_middle(self, commit: Commit) -> None:
        """Kill the controller when a sync has begun to write, and start it again."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _WAIT_SECONDS
        while not any(_is_sync(entry) for entry in self.audit.entries()):
            assert loop.time() < deadline, f"commit {commit.number}: nothing is written"
            await asyncio.sleep(0.01)
        await self.controller.kill()
        self.controller.start()
        self.deaths += 1

    async def _count(self, before: Commit | None, commit: Commit) -> None:
        await asyncio.sleep(0.3)  # the audit log is written behind the answers
        buckets = ("object", "hook", "report", "read", "conflict", "other")
        found: dict[str, list[str]] = {bucket: [] for bucket in buckets}
        for entry in self.audit.entries():
            ref = entry["objectRef"]
            found[_bucket(entry, commit)].append(f"{entry['verb']} {ref['resource']} {ref.get('name', '')}")
        self.costs.append(
            Cost(
                commit=commit.number,
                changed=len(changed(before, commit, SHOP)),
                written=tuple(found["object"]),
                hooks=len(found["hook"]),
                reports=len(found["report"]),
                reads=tuple(found["read"]),
                conflicts=len(found["conflict"]),
            )
        )

    # --- judging -----------------------------------------------------------------------------------------------------

    async def judge(self, commit: Commit) -> None:
        """Assert that what lives is what a commit says: each manifest, nothing else, and by fairlead's comparison."""
        for name in (SHOP, EDGE):
            problems = await self._problems(commit, name)
            assert not problems, f"commit {commit.number} ({commit.message}), {name}:\n" + "\n".join(problems)

    async def _problems(self, commit: Commit, name: str) -> list[str]:
        live = await live_in(self.cluster, name)
        for document in commit.objects(name):
            kind = KINDS[document["kind"]]
            if not kind.namespaced:
                found = await self.cluster.get(kind, ObjectKey("", document["metadata"]["name"]))
                live[_label(document)] = dict(found.content) | {"apiVersion": kind.api_version, "kind": kind.kind}
        return list(_problems(commit, name, live))


def _problems(commit: Commit, name: str, live: Live) -> Iterable[str]:
    wanted = {_label(document): document for document in commit.objects(name)}
    hooks = {_label(document) for document in commit.hooks(name)}
    yield from (f"{label} is missing" for label in sorted(wanted.keys() - live.keys()))
    yield from (f"{label} is too much" for label in sorted(live.keys() - wanted.keys() - hooks))
    rollouts = [document for document in wanted.values() if is_rollout(document)]
    tracking = Tracking(application=name)
    options = DiffOptions(tracking=tracking, managed_by_rollouts=claimed(rollouts))
    for label, document in wanted.items():
        if (found := live.get(label)) is None:
            continue
        yield from unlike(as_stored(document), found, "/".join(label))
        for change in difference(tracking.stamp(document), found, options).changes:
            yield f"{label}: {change}"


def changed(before: Commit | None, after: Commit, name: str) -> set[tuple[str, str]]:
    """Return the objects that are not the same in two commits, hooks aside."""
    old = {_label(one): one for one in before.objects(name)} if before is not None else {}
    new = {_label(one): one for one in after.objects(name)}
    return {label for label in old.keys() | new.keys() if old.get(label) != new.get(label)}


def _is_deployed(found: Document, commit: str) -> bool:
    status = found.get("status") or {}
    state = status.get("operationState") or {}
    return (
        "argocd.argoproj.io/refresh" not in (found["metadata"].get("annotations") or {})
        and not found.get("operation")
        and (status.get("sync") or {}).get("status") == "Synced"
        and (status.get("sync") or {}).get("revision") == commit
        and (status.get("health") or {}).get("status") == "Healthy"
        and state.get("phase") not in ("Running", "Terminating")  # what failed before may need no sync any more
        and not status.get("conditions")
    )


def _tells(found: Document, fault: Fault, commit: str) -> bool:
    status = found.get("status") or {}
    state = status.get("operationState") or {}
    messages = [one["message"] for one in status.get("conditions") or ()]
    told = [message for message in messages if fault.value in message]
    return bool(told) and not found.get("operation") and state.get("phase") != "Running"


def _is_sync(entry: Mapping[str, Any]) -> bool:
    place = entry["objectRef"].get("namespace")
    return "fieldManager=argocd-controller" in entry["requestURI"] and place in (SHOP, EDGE)


def _bucket(entry: Mapping[str, Any], commit: Commit) -> str:
    """Return what a request was for, as far as it was for the shop."""
    ref, verb = entry["objectRef"], entry["verb"]
    hooks = {document["metadata"]["name"] for document in commit.hooks(SHOP)}
    if entry["responseStatus"].get("code") == 409:
        return "conflict"
    if verb in ("get", "list"):
        is_own = (ref.get("resource"), ref.get("name")) in {("applications", SHOP), *_places(commit)}
        return "read" if verb == "get" and is_own else "other"
    if (ref.get("resource"), ref.get("name")) == ("applications", SHOP):
        return "report"
    is_shop = ref.get("namespace") == SHOP or ref.get("resource") in ("namespaces", "customresourcedefinitions")
    is_hook = ref.get("resource") == "jobs" and (ref.get("name") in hooks or verb in ("create", "delete"))
    if is_shop and (_is_sync(entry) or verb == "delete" or ref.get("resource") == "customresourcedefinitions"):
        return "hook" if is_hook else "object"
    return "other"


def _places(commit: Commit) -> set[tuple[str, str]]:
    return {(KINDS[one["kind"]].plural, one["metadata"]["name"]) for one in commit.documents[SHOP]}


# --- the same by kubectl ----------------------------------------------------------------------------------------------


def kubectl() -> str:
    """Return the program; empty: there is none."""
    return shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl") or ""


async def fresh_apply(cluster: Cluster, kubeconfig: Path, commit: Commit, name: str) -> Live:
    """Return what lives in a fresh namespace to which `kubectl apply` has applied a commit's manifests."""
    namespace = f"{name}-fresh"
    documents = [copy.deepcopy(one) for one in commit.objects(name) if KINDS[one["kind"]].namespaced]
    for document in documents:
        document["metadata"]["namespace"] = namespace
    await cluster.create(NAMESPACES, {"metadata": {"name": namespace}})
    process = await asyncio.create_subprocess_exec(
        kubectl(),
        f"--kubeconfig={kubeconfig}",
        "apply",
        "-f",
        "-",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
    output, _ = await process.communicate(text.encode())
    assert process.returncode == 0, output.decode()
    return await live_in(cluster, namespace)

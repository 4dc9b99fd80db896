"""Many small apps of one repository, of the shape that Flux measures itself with, and what they cost in the simulation.

An app is a Deployment without replicas, a ServiceAccount, a Service and an Ingress (fluxcd/flux-benchmark).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import yaml

from benchmarks._rig import Counts
from tests.agentsync.forge import Forge
from tests.agentsync.stage import AUTOMATED, Play, played

NAMESPACE = "apps"
CONTROL = "argocd"
KINDS_PER_APP = 4
_QUIET_SECONDS = 30.0


def name_of(number: int) -> str:
    return f"app-{number:04}"


def manifests(number: int, *, image: str = "1.0.0") -> list[dict[str, Any]]:
    """Return the objects of an app."""
    name = name_of(number)
    labels = {"app.kubernetes.io/name": name}
    metadata = {"name": name, "labels": labels}
    container = {
        "name": "app",
        "image": f"registry.example/app:{image}",
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}},
    }
    template = {"metadata": {"labels": labels}, "spec": {"serviceAccountName": name, "containers": [container]}}
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    rule = {"host": f"{name}.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": labels, "ports": ports}},
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": metadata,
            "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
        },
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": metadata,
            "spec": {"rules": [rule]},
        },
    ]


def path_of(number: int) -> str:
    return f"apps/{name_of(number)}"


def files(count: int, *, images: Mapping[int, str] | None = None, is_empty: bool = False) -> dict[str, str]:
    """Return the tree of the repository.

    Args:
        images: of single apps.
        is_empty: whether the folders hold no manifest yet.
    """
    found = {"README.md": "Many small apps.\n"}
    for number in range(count):
        found[f"{path_of(number)}/README.txt"] = f"App {number}.\n"
        if not is_empty:
            documents = manifests(number, image=(images or {}).get(number, "1.0.0"))
            found[f"{path_of(number)}/app.yaml"] = yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False)
    return found


class _Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]  # the fast one, if it is there
    def ignore_aliases(self, data: Any) -> bool:
        return True


def application(name: str, url: str, path: str, *, recurse: bool = False) -> dict[str, Any]:
    """Return an Application that syncs, prunes and heals by itself."""
    source: dict[str, Any] = {"repoURL": url, "path": path, "targetRevision": "main"}
    if recurse:
        source["directory"] = {"recurse": True}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": name},
        "spec": {
            "project": "default",
            "source": source,
            "destination": {"server": "https://kubernetes.default.svc", "namespace": NAMESPACE},
            "syncPolicy": dict(AUTOMATED),
        },
    }


# --- the simulation ---------------------------------------------------------------------------------------------------


def simulated(count: int) -> dict[str, Counts]:
    """Return what all apps together ask of the API server: when they come, when nothing changes, when one does."""
    found: dict[str, Counts] = {}

    async def story(play: Play) -> None:
        forge = play.forge
        for number in range(count):
            forge.push(path=path_of(number))
        for number in range(count):
            source = {"repoURL": "https://git.example/shop.git", "path": path_of(number)}
            destination = {"server": "https://kubernetes.default.svc", "namespace": "shop"}
            await play.application(name_of(number), source=source, destination=destination, syncPolicy=AUTOMATED)
        async with play.process():
            await _settled(play, forge, count)
            for number in range(count):
                forge.push(*manifests(number), path=path_of(number))
            found["first"] = await _counted(play, forge, count)
            forge.push(path="docs")
            found["unchanged"] = await _counted(play, forge, count)
            forge.push(*manifests(0, image="1.0.1"), path=path_of(0))
            found["one_image"] = await _counted(play, forge, count)

    played(story, workloads=True)
    return found


async def _settled(play: Play, forge: Forge, count: int) -> None:
    commit = next(iter(forge.heads.values()))
    for number in range(count):
        await play.synced(name_of(number), commit=commit, seconds=300)
    await asyncio.sleep(_QUIET_SECONDS)


async def _counted(play: Play, forge: Forge, count: int) -> Counts:
    """Have all Applications look for a new commit, as a webhook would; return what that cost."""
    play.writes.clear()
    play.reports.clear()
    for number in range(count):
        await play.refresh(name=name_of(number))
    await _settled(play, forge, count)
    # Verb, kind and name each, one for each write: what is read comes from watches.
    made = Counter(" ".join(line.split()[:2]) for line in play.writes + play.reports)
    return Counts(by_kind=dict(sorted(made.items())))

"""What belongs to resources of an Application without being in its source: ReplicaSets, Pods, Jobs, AnalysisRuns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import click

from fairlead.cli._app_access import LOCAL, list_all
from fairlead.cli._app_resources import Child, resource_rows
from fairlead.cli._app_view import Row
from fairlead.cli._family import mapping
from fairlead.core.cluster import Cluster
from fairlead.core.errors import ClusterError, NotFound
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, Manifest

_OWNED: Final = (
    carried("apps", "v1", "ReplicaSet", "replicasets"),
    carried("batch", "v1", "Job", "jobs"),
    carried("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns"),
    carried("", "v1", "Pod", "pods"),
)
# Whose children are worth a look; what they own is looked up by kind and name in the same namespace.
_OWNERS: Final = frozenset(
    {
        ("apps", "Deployment"),
        ("apps", "ReplicaSet"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("argoproj.io", "Rollout"),
        ("batch", "Job"),
        ("batch", "CronJob"),
    }
)
_DEPTH_MAX: Final = 4  # somebody may have written owners that go round in circles
_Owner = tuple[str, str, str]


async def children_of(
    cluster: Cluster, application: Mapping[str, Any], *, is_wanted: bool = True
) -> dict[Row, Sequence[Child]]:
    """Return what belongs to each resource, by its group, kind, namespace and name.

    Nothing is looked up for Applications that deploy to another cluster. A kind that may not be listed is left out, and
    that is said on standard error.
    """
    destination = mapping(mapping(application.get("spec")).get("destination"))
    if not is_wanted or (destination.get("server") or destination.get("name") or "") not in LOCAL:
        return {}
    roots = [row for row in resource_rows(application) if (row.group, row.kind) in _OWNERS]
    found: dict[Row, Sequence[Child]] = {}
    for namespace in sorted({row.namespace for row in roots}):
        owned = await _owned(cluster, namespace)
        for row in roots:
            if row.namespace == namespace:
                found[row.key] = _children((row.group, row.kind, row.name), owned)
    return found


async def _owned(cluster: Cluster, namespace: str) -> dict[_Owner, list[tuple[Kind[Manifest], Manifest]]]:
    by_owner: dict[_Owner, list[tuple[Kind[Manifest], Manifest]]] = {}
    for kind in _OWNED:
        try:
            listed = await list_all(cluster, kind, namespace)
        except NotFound:
            continue  # This cluster has no such kind.
        except ClusterError as error:
            click.echo(f"Warning: {kind.plural} in {namespace} cannot be listed: {error}", err=True)
            continue
        for one in listed:
            for owner in one.metadata.owner_references:
                group = owner.api_version.rpartition("/")[0]
                by_owner.setdefault((group, owner.kind, owner.name), []).append((kind, one))
    return by_owner


def _children(
    owner: _Owner, owned: Mapping[_Owner, Iterable[tuple[Kind[Manifest], Manifest]]], depth: int = _DEPTH_MAX
) -> tuple[Child, ...]:
    if depth == 0:
        return ()
    from fairlead.agentsync.health import health

    found = []
    for kind, one in sorted(owned.get(owner, ()), key=lambda pair: (pair[0].kind, pair[1].metadata.name)):
        content = {"apiVersion": kind.api_version, "kind": kind.kind, **one.content}
        if kind.kind == "ReplicaSet" and not _has_pods(content):
            continue  # An earlier revision that has been scaled down.
        seen = health(content)
        found.append(
            Child(
                kind=kind.kind,
                name=one.metadata.name,
                health=seen.code if seen else "",
                message=seen.message if seen else "",
                children=_children((kind.group, kind.kind, one.metadata.name), owned, depth - 1),
            )
        )
    return tuple(found)


def _has_pods(replica_set: Mapping[str, Any]) -> bool:
    wanted = mapping(replica_set.get("spec")).get("replicas")
    return bool(wanted) or bool(mapping(replica_set.get("status")).get("replicas"))

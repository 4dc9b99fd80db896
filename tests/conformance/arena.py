"""Where the contract of the Cluster port is tried: one arena per implementation, all with the same cases."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fairlead.core.cluster import Cluster
from fairlead.core.errors import AlreadyExists, NotFound
from fairlead.core.kinds import CRDS, HTTP_ROUTES, NAMESPACES, carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.kube.config import connect
from fairlead.testing import gateway
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from tests.controlplane.plane import ControlPlane

GROUP = "conformance.fairlead.dev"
WIDGETS = carried(GROUP, "v1", "Widget", "widgets")  # with the subresources status and scale
GADGETS = carried(GROUP, "v1", "Gadget", "gadgets")  # without any
CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
RAW_PODS = carried("", "v1", "Pod", "pods")
RAW_SETS = carried("apps", "v1", "ReplicaSet", "replicasets")
BUDGETS = carried("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")

_TRIES = 500


@dataclass(frozen=True, kw_only=True)
class Arena:
    """One implementation at work.

    Attributes:
        cluster: writes as field manager `fairlead`.
        stranger: the same API server, as field manager `stranger`.
        namespace: exists, and is empty but for what the cluster itself puts there.
        compact: makes the server forget the past; None where that cannot be asked for.
    """

    cluster: Cluster
    stranger: Cluster
    namespace: str
    compact: Callable[[], None] | None = None

    def key(self, name: str) -> ObjectKey:
        return ObjectKey(self.namespace, name)

    async def create(self, kind: Kind[Manifest], name: str, **content: Any) -> Manifest:
        """Create an object in the arena's namespace; `metadata` is merged."""
        metadata = {"name": name, **content.pop("metadata", {})}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **content}
        return await self.cluster.create(kind, body, namespace=self.namespace)

    async def eventually(self, check: Callable[[], Awaitable[Any]]) -> Any:
        """Return the first true answer; controllers of the cluster need time (virtual where it can be)."""
        for _ in range(_TRIES):
            if answer := await check():
                return answer
            await asyncio.sleep(0.02)
        raise AssertionError(f"it did not happen: {inspect.getsource(check).strip()}")

    async def is_gone(self, kind: Kind[Any], name: str) -> bool:
        try:
            await self.cluster.get(kind, self.key(name))
        except NotFound:
            return True
        return False

    async def until_gone(self, kind: Kind[Any], name: str) -> None:
        await self.eventually(lambda: self.is_gone(kind, name))


def _definition(kind: Kind[Any], schema: Mapping[str, Any], subresources: Mapping[str, Any] | None) -> dict[str, Any]:
    version: dict[str, Any] = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    if subresources:
        version["subresources"] = subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": str(kind)},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {"kind": kind.kind, "plural": kind.plural, "singular": kind.kind.lower()},
            "versions": [version],
        },
    }


_PART = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": {"type": "string"},
        "count": {"type": "integer", "default": 1},
        "label": {"type": "string"},
    },
}
_WIDGET_SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer", "default": 1, "minimum": 0, "maximum": 10},
                "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                "size": {"type": "string", "pattern": "^[0-9]+(mm|cm)$"},
                "surge": {"x-kubernetes-int-or-string": True},
                "frozen": {
                    "type": "string",
                    "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "frozen is immutable"}],
                },
                "parts": {
                    "type": "array",
                    "maxItems": 4,
                    "items": _PART,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "sequence": {"type": "array", "items": {"type": "string"}},
                "settings": {"type": "object", "additionalProperties": {"type": "string"}},
                "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer"},
                "phase": {"type": "string"},
                "selector": {"type": "string"},
            },
        },
    },
}
_SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}
_GADGET_SCHEMA = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}

DEFINITIONS = (
    _definition(WIDGETS, _WIDGET_SCHEMA, {"status": {}, "scale": _SCALE}),
    _definition(GADGETS, _GADGET_SCHEMA, None),
)


async def prepare(arena: Arena) -> None:
    """Install the kinds of the cases, and wait until they are served; make the namespace."""
    for definition in (*DEFINITIONS, *gateway.definitions()):
        try:
            await arena.cluster.create(CRDS, definition)
        except AlreadyExists:
            continue

    async def served() -> bool:
        try:
            await arena.cluster.list(WIDGETS, namespace=arena.namespace)
            await arena.cluster.list(GADGETS, namespace=arena.namespace)
            await arena.cluster.list(HTTP_ROUTES, namespace=arena.namespace)
        except NotFound:
            return False
        return True

    await arena.cluster.create(NAMESPACES, {"metadata": {"name": arena.namespace}})
    await arena.eventually(served)


@asynccontextmanager
async def simulated() -> AsyncIterator[Arena]:
    cluster = SimulatedCluster(LoopClock(), crds=())
    arena = Arena(cluster=cluster, stranger=cluster.as_manager("stranger"), namespace="arena", compact=cluster.compact)
    await prepare(arena)
    yield arena


@asynccontextmanager
async def simulated_http() -> AsyncIterator[Arena]:
    """The simulated cluster behind its HTTP server, seen through the client of the real one."""
    backend = SimulatedCluster(LoopClock(), crds=())
    async with serve(backend) as served:
        with tempfile.NamedTemporaryFile("w", suffix=".kubeconfig") as file:
            file.write(served.kubeconfig())
            file.flush()
            async with (
                await connect(file.name, field_manager="fairlead") as cluster,
                await connect(file.name, field_manager="stranger") as stranger,
            ):
                arena = Arena(cluster=cluster, stranger=stranger, namespace="arena", compact=backend.compact)
                await prepare(arena)
                yield arena


_count = itertools.count(1)


@asynccontextmanager
async def real(plane: ControlPlane) -> AsyncIterator[Arena]:
    """A kube-apiserver with its controllers; the namespaces of earlier cases stay behind in it."""
    kubeconfig = str(plane.kubeconfig)
    async with (
        await connect(kubeconfig, field_manager="fairlead") as cluster,
        await connect(kubeconfig, field_manager="stranger") as stranger,
    ):
        arena = Arena(cluster=cluster, stranger=stranger, namespace=f"arena-{os.getpid()}-{next(_count)}")
        await prepare(arena)
        yield arena


IN_PROCESS: dict[str, Callable[[], AbstractAsyncContextManager[Arena]]] = {
    "simulated": simulated,
    "simulated-http": simulated_http,
}
REAL = "real"

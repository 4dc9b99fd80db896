"""Routes, Services and a tiny cluster for the tests of this package."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, cast

from fairlead.core.cluster import ApplyPatch, Cluster, JsonPatch, Patch
from fairlead.core.errors import Invalid, NotFound
from fairlead.core.kinds import EndpointSlice, KindCondition, Service, ServicePort, ServiceSpec, ServiceStatus
from fairlead.core.objects import Kind, Manifest, ObjectKey, ObjectMeta, T, decode_manifest
from fairlead.core.traffic import EvidenceSource, RouterTools, TrafficTarget
from fairlead.mesh_routing.observation import Route, read_route
from fairlead.mesh_routing.spec import RouteRef
from fairlead.testing.clock import ManualClock
from fairlead.testing.patching import PatchError, json_patch

T0 = datetime(2026, 1, 1, tzinfo=UTC)
ISTIO = "istio.io/gateway-controller"
HASH = "rollouts-pod-template-hash"


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def target(config: Mapping[str, Any] | None = None, **changes: Any) -> TrafficTarget:
    """A Rollout `shop/web` with Services web-stable and web-canary."""
    values: dict[str, Any] = {
        "rollout": ObjectKey("shop", "web"),
        "uid": "rollout-1",
        "stable_service": "web-stable",
        "canary_service": "web-canary",
        "config": {"httpRoute": "web"} if config is None else config,
    }
    return TrafficTarget(**values | changes)


def backend(name: str, weight: int | None = None, **more: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"group": "", "kind": "Service", "name": name, "port": 80}
    if weight is not None:
        content["weight"] = weight
    return content | more


def split(stable: int | None = 100, canary: int | None = 0, **more: Any) -> dict[str, Any]:
    """A rule that splits between web-stable and web-canary."""
    matches = [{"path": {"type": "PathPrefix", "value": "/"}}]
    return {"matches": matches, "backendRefs": [backend("web-stable", stable), backend("web-canary", canary)]} | more


def parent(name: str = "web", port: int | None = 80, **more: Any) -> dict[str, Any]:
    content: dict[str, Any] = {"group": "", "kind": "Service", "name": name}
    if port is not None:
        content["port"] = port
    return content | more


def status(
    generation: int,
    *,
    accepted: str = "True",
    resolved: str = "True",
    controller: str = ISTIO,
    parent_ref: Mapping[str, Any] | None = None,
    reason: str = "",
    message: str = "",
    extra: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """One entry of `status.parents`."""
    conditions = [
        {
            "type": type_,
            "status": state,
            "reason": reason or type_,
            "message": message,
            "observedGeneration": generation,
        }
        for type_, state in (("Accepted", accepted), ("ResolvedRefs", resolved))
    ]
    return {
        "parentRef": dict(parent_ref or parent()),
        "controllerName": controller,
        "conditions": [*conditions, *extra],
    }


def http_route(
    *rules: Mapping[str, Any],
    name: str = "web",
    namespace: str = "shop",
    parents: Sequence[Mapping[str, Any]] | None = None,
    generation: int = 1,
    accepted: bool = True,
    statuses: Sequence[Mapping[str, Any]] | None = None,
    version: str = "10",
    uid: str = "route-1",
    kind: str = "HTTPRoute",
    created: datetime = T0,
    labels: Mapping[str, str] | None = None,
    annotations: Mapping[str, str] | None = None,
    **metadata: Any,
) -> Manifest:
    """A route with the given rules, accepted by istiod unless said otherwise."""
    parents = [parent()] if parents is None else parents
    if statuses is None:
        statuses = [status(generation, parent_ref=one) for one in parents] if accepted else []
    content = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid,
            "generation": generation,
            "resourceVersion": version,
            "creationTimestamp": created.strftime("%Y-%m-%dT%H:%M:%SZ"),
            **({"labels": dict(labels)} if labels else {}),
            **({"annotations": dict(annotations)} if annotations else {}),
            **metadata,
        },
        "spec": {"parentRefs": list(parents), "rules": list(rules or (split(),))},
        "status": {"parents": list(statuses)},
    }
    return decode_manifest(json.dumps(content).encode())


def ref(name: str = "web", plural: str = "httproutes", namespace: str = "shop") -> RouteRef:
    return RouteRef(plural, ObjectKey(namespace, name))


def read(manifest: Manifest) -> Route:
    plural = "grpcroutes" if manifest.content["kind"] == "GRPCRoute" else "httproutes"
    return read_route(RouteRef(plural, manifest.metadata.key), manifest)


def service(
    name: str,
    selector: Mapping[str, str] | None = None,
    *,
    port: int = 80,
    labels: Mapping[str, str] | None = None,
    bound: str | None = None,
    **spec: Any,
) -> Service:
    """A Service; `bound` is the message of a true WaypointBound."""
    conditions = (
        (KindCondition(type="istio.io/WaypointBound", status="True", reason="WaypointAccepted", message=bound),)
        if bound is not None
        else ()
    )
    values: dict[str, Any] = {
        "cluster_ip": "10.0.0.1",
        "selector": dict(selector or {}),
        "ports": (ServicePort(name="http", port=port),),
    }
    return Service(
        metadata=ObjectMeta(name=name, namespace="shop", labels=dict(labels or {})),
        spec=ServiceSpec(**values | spec),
        status=ServiceStatus(conditions=conditions),
    )


SERVICES = (
    service("web", {"app": "web", HASH: "a"}),
    service("web-stable", {HASH: "a"}),
    service("web-canary", {HASH: "b"}),
)


class FakeView(Generic[T]):
    """A View over a dictionary, without indexes."""

    def __init__(self, *objects: T) -> None:
        self.objects: dict[ObjectKey, T] = {one.metadata.key: one for one in objects}

    def get(self, key: ObjectKey) -> T | None:
        return self.objects.get(key)

    def list(self, namespace: str = "") -> Sequence[T]:
        return [one for key, one in sorted(self.objects.items()) if not namespace or key.namespace == namespace]

    def by_index(self, index: str, value: str) -> Sequence[T]:
        raise KeyError(index)


class FakeCluster:
    """Holds routes as an API server would, as far as routers notice: versions, generations, JSON patch, apply.

    `before_patch` is called before each patch: the place for a foreign write. `after_patch` is called after it: what it
    raises reaches the writer in the place of the answer. Views lag behind while `frozen`.
    """

    def __init__(self, view: FakeView[Manifest]) -> None:
        self.view = view
        self.stored: dict[ObjectKey, Manifest] = dict(view.objects)
        self.patches: list[Patch] = []
        self.before_patch: Callable[[], None] = lambda: None
        self.after_patch: Callable[[], None] = lambda: None
        self.is_frozen = False
        self._version = 100

    async def get(self, kind: Kind[Manifest], key: ObjectKey) -> Manifest:
        if key not in self.stored:
            raise NotFound(f"{kind} {key} not found", status=404)
        return self.stored[key]

    async def patch(self, kind: Kind[Manifest], key: ObjectKey, patch: Patch, *, subresource: str = "") -> Manifest:
        self.patches.append(patch)
        self.before_patch()
        if isinstance(patch, ApplyPatch):
            return self.put(dict(patch.body), apply=True)
        assert isinstance(patch, JsonPatch)
        if key not in self.stored:
            raise NotFound(f"{kind} {key} not found", status=404)
        try:
            patched = self.put(json_patch(self.stored[key].content, patch.operations))
        except PatchError as error:
            raise Invalid(str(error), status=422) from error
        self.after_patch()
        return patched

    def put(self, content: dict[str, Any], *, apply: bool = False) -> Manifest:
        """Store an object as written by anybody; in apply its status and identity are kept."""
        content = copy.deepcopy(content)
        metadata = content["metadata"]
        before = self.stored.get(ObjectKey(metadata["namespace"], metadata["name"]))
        if apply and before is not None:
            kept = ("uid", "generation", "creationTimestamp")
            metadata |= {key: before.content["metadata"][key] for key in kept}
            content["status"] = before.content.get("status", {})
        metadata.setdefault("uid", "made-1")
        metadata.setdefault("creationTimestamp", "2026-01-01T00:00:00Z")
        if before is None:
            metadata["generation"] = 1
        elif before.content["spec"] != content["spec"]:
            metadata["generation"] = before.metadata.generation + 1
        self._version += 1
        metadata["resourceVersion"] = str(self._version)
        manifest = decode_manifest(json.dumps(content).encode())
        self.stored[manifest.metadata.key] = manifest
        if not self.is_frozen:
            self.view.objects[manifest.metadata.key] = manifest
        return manifest

    def edit(self, key: ObjectKey, change: Callable[[dict[str, Any]], None], *, manager: str = "kubectl-edit") -> None:
        """Let somebody else change an object."""
        content = copy.deepcopy(self.stored[key].content)
        change(content)
        entry = {"manager": manager, "time": "2026-01-01T00:10:00Z", "fieldsV1": {"f:spec": {"f:rules": {}}}}
        content["metadata"]["managedFields"] = [entry]
        self.put(content)

    def accept(self, key: ObjectKey) -> None:
        """Let the route's controller accept what is stored."""
        content = copy.deepcopy(self.stored[key].content)
        generation = content["metadata"]["generation"]
        content["status"] = {"parents": [status(generation, parent_ref=one) for one in content["spec"]["parentRefs"]]}
        self.put(content)

    def weights(self, key: ObjectKey, rule: int = 0) -> list[int]:
        """Return the stored weights of a rule."""
        return [one.get("weight", 1) for one in self.stored[key].content["spec"]["rules"][rule]["backendRefs"]]


class World:
    """Views, a cluster and a clock around a router factory."""

    def __init__(
        self,
        *routes: Manifest,
        services: Sequence[Service] = SERVICES,
        slices: Sequence[EndpointSlice] = (),
        namespaces: Sequence[Manifest] | None = None,
        gateways: Sequence[Manifest] | None = None,
        evidence: EvidenceSource | None = None,
    ) -> None:
        self.clock = ManualClock(T0)
        self.routes = FakeView(*routes)
        self.services = FakeView(*services)
        self.cluster = FakeCluster(self.routes)
        self.woken: list[ObjectKey] = []
        self.spawned: list[Any] = []
        self.tools = RouterTools(
            cluster=cast(Cluster, self.cluster),
            clock=self.clock,
            routes={"httproutes": self.routes},
            services=self.services,
            endpoint_slices=FakeView(*slices),
            namespaces=None if namespaces is None else FakeView(*namespaces),
            gateways=None if gateways is None else FakeView(*gateways),
            evidence=evidence,
            wake=self.woken.append,
            spawn=self.spawned.append,
        )

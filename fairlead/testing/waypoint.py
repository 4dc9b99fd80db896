"""A waypoint and its control plane, played: makes the HTTPRoutes of a cluster true on some wire.

It watches routes, Services, EndpointSlices, Namespaces and Gateways, writes the status that istiod writes, and hands
states of the wire to a `Wire`: `fairlead.testing.envoy.EnvoyWire` for a real Envoy, `MemoryWire` for virtual time.
A real istiod with a relay can take its place behind the same seam.

It behaves as istiod 1.31 was measured to behave: status about 12 ms after a write; the wire after a debounce of
100 ms that starts anew with each write (10 s at most) and a lag on top; writes closer than the debounce never exist
on the wire. `Behaviour` brings about the bad cases: a wire that lags, that is cut off, that refuses; a late status.

Its lies: the Gateway's listeners are not looked at, one waypoint serves every Service, GRPCRoute status is written
like HTTPRoute's. See `_wire` for what is not translated.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import msgspec
import structlog

from fairlead.core.backoff import Backoff
from fairlead.core.clock import Clock
from fairlead.core.cluster import ApplyPatch, Cluster, MergePatch
from fairlead.core.errors import ClusterError, NotFound
from fairlead.core.kinds import (
    ENDPOINT_SLICES,
    GATEWAYS,
    GRPC_ROUTES,
    HTTP_ROUTES,
    NAMESPACES,
    SERVICES,
    Service,
    carried,
)
from fairlead.core.objects import Kind, Manifest, ObjectKey, controller_reference, rfc3339
from fairlead.core.traffic import Evidence
from fairlead.mesh_routing import RouteRef, evidence_of, read_route, refused_by_the_proxy, wished
from fairlead.mesh_routing.observation import Rule
from fairlead.runtime.informers import Informers
from fairlead.runtime.store import Store
from fairlead.testing import _envoy_config
from fairlead.testing._waypoint_status import (
    ROUTE_CONTROLLER,
    WAYPOINT_BOUND,
    WAYPOINT_CLASS,
    gateway_status,
    route_parents,
    service_conditions,
)
from fairlead.testing._wire import SERVICE_NAME, WireState, wire_of

log = structlog.get_logger(__name__)

HBONE_PORT = 15008
WAYPOINT_ADDRESS = "127.0.0.1"  # a real API server refuses it in EndpointSlices: give another one there
_RETRY = Backoff(first=0.01, most=1.0)
_WRITE_ATTEMPTS = 8
_CARRIED_SERVICES = carried("", "v1", "Service", "services")  # with the conditions of others, as JSON data


class Wire(Protocol):
    """What makes a state true for real requests."""

    async def make_true(self, state: WireState) -> None:
        """Hand the state over; whether the proxy takes it is another matter."""
        ...


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """How the control plane behaves; may be changed while it runs. Times in seconds.

    Attributes:
        status_delay: from a write to its status; 34 plays a frozen leader.
        lag: from a write to the wire, drawn between these; never below the debounce.
        debounce: how long writes must have ceased before they are pushed together.
        debounce_max: how long writes can put off a push.
        is_cut_off: nothing reaches the wire any more; status goes on.
        refuses: what is pushed contains an expression that the proxy refuses; status goes on.
        has_ready_waypoint: whether the waypoint's EndpointSlice shows a ready endpoint.
    """

    status_delay: float = 0.012
    lag: tuple[float, float] = (0.11, 0.11)
    debounce: float = 0.1
    debounce_max: float = 10.0
    is_cut_off: bool = False
    refuses: bool = False
    has_ready_waypoint: bool = True


class WaypointTranslator:
    """The control plane of one waypoint. `run` does everything, until cancelled.

    Args:
        cluster: is watched, and gets status (by a field manager of its own, if it shall be told from others).
        clock: for everything.
        wire: gets each state.
        behaviour: how it behaves.
        seed: of the lags.
        waypoint_address: of every waypoint, as its Gateway and its EndpointSlice show it.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        wire: Wire,
        *,
        behaviour: Behaviour | None = None,
        seed: int = 0,
        waypoint_address: str = WAYPOINT_ADDRESS,
    ) -> None:
        self.behaviour = behaviour or Behaviour()
        self._clock = clock
        self._wire = wire
        self._address = waypoint_address
        self._rng = random.Random(seed)
        self._informers = Informers(cluster, clock, rng=random.Random(seed))
        self._cluster = self._informers.cluster
        self._bare = cluster  # for Services as JSON data, which must not enter the store of typed ones
        self._routes = {kind.plural: self._informers.add(kind) for kind in (HTTP_ROUTES, GRPC_ROUTES)}
        self._services = self._informers.add(SERVICES)
        self._slices = self._informers.add(ENDPOINT_SLICES)
        self._namespaces = self._informers.add(NAMESPACES)
        self._gateways = self._informers.add(GATEWAYS)
        self._noted = WireState()  # the last state that was seen
        self._changed = asyncio.Event()
        self._first_change = self._last_change = 0.0
        self._deliveries: asyncio.Queue[tuple[float, WireState]] = asyncio.Queue()
        self._writing: set[tuple[str, ObjectKey]] = set()
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Keep status and wire up to date until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._informers.run(), name="waypoint-informers")
            await self._informers.wait_synced()
            stores: tuple[Store[Any], ...] = (*self._routes.values(), self._services, self._slices)
            for store in (*stores, self._namespaces, self._gateways):
                store.subscribe(lambda change: self.look_again())
            tasks.create_task(self._push(), name="waypoint-push")
            tasks.create_task(self._deliver(), name="waypoint-deliver")
            self.look_again()

    def behave(self, **changes: Any) -> None:
        """Change the behaviour from now on; names as in `Behaviour`."""
        for name, value in changes.items():
            setattr(self.behaviour, name, value)
        self.look_again()

    def state(self) -> WireState:
        """Return what the objects mean on the wire now, pushed or not."""
        routes = [
            read_route(RouteRef(plural, manifest.metadata.key), manifest)
            for plural, store in self._routes.items()
            for manifest in store.list()
        ]
        services = self._services.list()
        routed = {service.metadata.key: self._is_attached(service) for service in services}
        state = wire_of(routes, services, self._slices.list(), is_routed=routed)
        return replace(state, is_poisoned=self.behaviour.refuses)

    def look_again(self) -> None:
        """Take note that something may have changed: an object, or `behaviour`."""
        for plural, store in self._routes.items():
            for manifest in store.list():
                if self._parents(plural, manifest) is not None:
                    self._write((plural, manifest.metadata.key), self._write_route)
        for gateway in self._gateways.list():
            if self._gateway_writes(gateway):
                self._write(("gateways", gateway.metadata.key), self._write_gateway)
        for service in self._services.list():
            if self._bound(service) is not None:
                self._write(("services", service.metadata.key), self._write_service)
        state = self.state()
        if state != self._noted:
            now = self._clock.monotonic()
            if not self._changed.is_set():
                self._first_change = now
            self._noted, self._last_change = state, now
            self._changed.set()

    # the wire

    async def _push(self) -> None:
        """Take up the state once writes have ceased for a while, and put it on its way."""
        while True:
            await self._changed.wait()
            behaviour = self.behaviour
            while True:
                due = min(self._last_change + behaviour.debounce, self._first_change + behaviour.debounce_max)
                if (wait := due - self._clock.monotonic()) <= 0:
                    break
                await self._clock.sleep(wait)
            self._changed.clear()
            lag = self._rng.uniform(*behaviour.lag)
            self._deliveries.put_nowait((self._clock.monotonic() + max(0.0, lag - behaviour.debounce), self._noted))

    async def _deliver(self) -> None:
        """Hand over one state after the other, each when its time has come."""
        while True:
            due, state = await self._deliveries.get()
            await self._clock.sleep(max(0.0, due - self._clock.monotonic()))
            if not self.behaviour.is_cut_off:
                await self._wire.make_true(state)
            else:
                # What comes after the cut must be pushed even if it equals what was lost.
                self._noted = WireState()

    # status

    def _write(self, what: tuple[str, ObjectKey], write: Callable[[ObjectKey, str], Coroutine[Any, Any, None]]) -> None:
        if what in self._writing or self._tasks is None:
            return
        work = self._write_later(what, write)
        try:
            self._tasks.create_task(work, name=f"waypoint-status-{what[0]}-{what[1]}")
        except RuntimeError:  # we are being cancelled, and hear of a last change
            work.close()
            return
        self._writing.add(what)

    async def _write_later(
        self, what: tuple[str, ObjectKey], write: Callable[[ObjectKey, str], Coroutine[Any, Any, None]]
    ) -> None:
        plural, key = what
        await self._clock.sleep(self.behaviour.status_delay)
        try:
            for attempt in range(_WRITE_ATTEMPTS):
                try:
                    await write(key, plural)
                    break
                except NotFound:
                    break  # gone meanwhile
                except ClusterError as error:
                    log.warning("waypoint_status_write_failed", object=f"{plural} {key}", error=str(error))
                    await self._clock.sleep(_RETRY.delay(attempt, jitter=self._rng.random()))
        finally:
            self._writing.discard(what)
        self.look_again()  # what changed while we were writing

    def _parents(self, plural: str, manifest: Manifest) -> list[dict[str, Any]] | None:
        """Return the `status.parents` that a route should have; None when it has them."""
        route = read_route(RouteRef(plural, manifest.metadata.key), manifest)
        wanted = route_parents(
            route, rfc3339(self._clock.now()), find=self._services.get, namespace_labels=self._namespace_labels
        )
        live = (manifest.content.get("status") or {}).get("parents") or []
        return wanted if _ours(wanted) != _ours(live) else None

    async def _write_route(self, key: ObjectKey, plural: str) -> None:
        manifest = self._routes[plural].get(key)
        if manifest is None or (parents := self._parents(plural, manifest)) is None:
            return
        kind = RouteRef(plural, key).kind
        await self._patch_status(kind, manifest, {"parents": parents})

    def _bound(self, service: Service) -> list[dict[str, Any]] | None:
        """Return the conditions that a Service should have; None when it has them."""
        live = [msgspec.to_builtins(condition) for condition in service.status.conditions]
        wanted = self._conditions(service, live)
        return wanted if _bound_of(wanted) != _bound_of(live) else None

    def _conditions(self, service: Service, live: list[dict[str, Any]]) -> list[dict[str, Any]]:
        now = rfc3339(self._clock.now())
        return service_conditions(service, live, now, is_ready=self._is_ready, labels=self._namespace_labels)

    async def _write_service(self, key: ObjectKey, plural: str) -> None:
        service = self._services.get(key)
        if service is None or self._bound(service) is None:
            return
        manifest = await self._bare.get(_CARRIED_SERVICES, key)  # conditions of others are kept as they are
        live = (manifest.content.get("status") or {}).get("conditions") or []
        await self._patch_status(
            _CARRIED_SERVICES, manifest, {"conditions": self._conditions(service, live)}, self._bare
        )

    def _gateway_writes(self, gateway: Manifest) -> list[tuple[Kind[Any], str, dict[str, Any]]]:
        """Return the objects that istiod deploys for a waypoint's Gateway and that are not there yet, to be applied."""
        if not _is_waypoint(gateway):
            return []
        metadata = gateway.metadata
        owner = controller_reference(api_version=GATEWAYS.api_version, kind="Gateway", metadata=metadata)
        common = {"namespace": metadata.namespace, "ownerReferences": [owner]}
        found: list[tuple[Kind[Any], str, dict[str, Any]]] = []
        if gateway_status(gateway, self._address, "")["addresses"] != _status(gateway).get("addresses"):
            found.append((GATEWAYS, "status", {}))
        if self._services.get(metadata.key) is None:
            port = {"name": "mesh", "port": HBONE_PORT, "appProtocol": "hbone"}
            spec = {"type": "ClusterIP", "ports": [port]}
            found.append((SERVICES, "", {"metadata": common | {"name": metadata.name}, "spec": spec}))
        name = f"{metadata.name}-played"
        ready = self.behaviour.has_ready_waypoint
        slice_ = self._slices.get(ObjectKey(metadata.namespace, name))
        if slice_ is None or [endpoint.conditions.ready for endpoint in slice_.endpoints] != [ready]:
            labels = {SERVICE_NAME: metadata.name}
            body = {
                "metadata": common | {"name": name, "labels": labels},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [self._address], "conditions": {"ready": ready}}],
                "ports": [{"name": "mesh", "port": HBONE_PORT, "protocol": "TCP"}],
            }
            found.append((ENDPOINT_SLICES, "", body))
        return found

    async def _write_gateway(self, key: ObjectKey, plural: str) -> None:
        gateway = self._gateways.get(key)
        for kind, subresource, body in self._gateway_writes(gateway) if gateway is not None else ():
            if subresource:
                assert gateway is not None, "there are writes only for a Gateway that is there"
                status = gateway_status(gateway, self._address, rfc3339(self._clock.now()))
                await self._patch_status(GATEWAYS, gateway, status)
                continue
            target = ObjectKey(body["metadata"]["namespace"], body["metadata"]["name"])
            applied = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
            await self._cluster.patch(kind, target, ApplyPatch(applied, force=True))

    async def _patch_status(
        self, kind: Kind[Manifest], manifest: Manifest, status: dict[str, Any], cluster: Cluster | None = None
    ) -> None:
        version = {"resourceVersion": manifest.metadata.resource_version}
        body = {"metadata": version, "status": status}
        await (cluster or self._cluster).patch(kind, manifest.metadata.key, MergePatch(body), subresource="status")

    # looks

    def _namespace_labels(self, name: str) -> Mapping[str, str]:
        namespace = self._namespaces.get(ObjectKey("", name))
        return namespace.metadata.labels if namespace is not None else {}

    def _is_ready(self, waypoint: ObjectKey) -> bool:
        gateway = self._gateways.get(waypoint)
        return gateway is not None and _is_waypoint(gateway) and bool(_status(gateway).get("addresses"))

    def _is_attached(self, service: Service) -> bool:
        waypoint = wished(service, self._namespace_labels(service.metadata.namespace)).waypoint
        return waypoint is not None and self._is_ready(waypoint)


class MemoryWire:
    """A wire without a proxy, for virtual time: holds what an Envoy would hold, and says so as evidence.

    Implements `Wire` and `core.traffic.EvidenceSource`. It refuses what Envoy refuses: it then keeps the state of
    before, until it gets one that it can take.

    Args:
        changed: is called after every state that was taken.
    """

    def __init__(self, changed: Callable[[], None] | None = None) -> None:
        self.state = WireState()
        self.error = ""
        self._on_change = changed

    async def make_true(self, state: WireState) -> None:
        """Take the state over, or refuse it."""
        self.error = "invalid perl operator: (?=" if state.is_poisoned else next(_refusals(state), "")
        if not self.error:
            self.state = state
            if self._on_change is not None:
                self._on_change()

    async def applied(self, route: Manifest, services: Mapping[str, int]) -> Evidence:
        """Return whether these weights of a route are on the wire."""
        ports = {(chain.service, chain.port): 1 for chain in self.state.chains}
        listener = _envoy_config.listeners(self.state, ports)
        entry: dict[str, Any] = {"name": _envoy_config.LISTENER}
        if listener:
            entry["active_state"] = {"listener": listener[0]}
        if self.error:
            entry["error_state"] = {"details": self.error}
        plural = "grpcroutes" if route.content.get("kind") == "GRPCRoute" else "httproutes"
        return evidence_of({"configs": [entry]}, read_route(RouteRef(plural, route.metadata.key), route), services)

    def shares(self, service: ObjectKey, port: int = 80) -> Mapping[str, float]:
        """Return which part of the requests to a Service each cluster gets that has endpoints (by its last route).

        The rest is answered with an error. Header and path routes are left out: this is the catch-all.
        """
        chain = next((one for one in self.state.chains if (one.service, one.port) == (service, port)), None)
        if chain is None or not chain.routes:
            return {}
        alive = {cluster.name for cluster in self.state.clusters if cluster.endpoints}
        backends = chain.routes[-1].backends
        total = sum(backend.weight for backend in backends)
        return {backend.cluster: backend.weight / total for backend in backends if backend.cluster in alive}


def _refusals(state: WireState) -> Iterator[str]:
    for chain in state.chains:
        for index, route in enumerate(chain.routes):
            rule = Rule(index=index, name=route.name, backends=(), content=route.rule)
            for path, error in refused_by_the_proxy(rule):
                yield f"{route.name} {path}: {error}"


def _is_waypoint(gateway: Manifest) -> bool:
    spec = gateway.content.get("spec")
    return isinstance(spec, dict) and spec.get("gatewayClassName") == WAYPOINT_CLASS


def _status(manifest: Manifest) -> dict[str, Any]:
    status = manifest.content.get("status")
    return status if isinstance(status, dict) else {}


def _ours(parents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in parents if entry.get("controllerName") == ROUTE_CONTROLLER]


def _bound_of(conditions: list[dict[str, Any]]) -> tuple[Any, ...] | None:
    found = next((one for one in conditions if one.get("type") == WAYPOINT_BOUND), None)
    return (found.get("status"), found.get("reason"), found.get("message")) if found else None

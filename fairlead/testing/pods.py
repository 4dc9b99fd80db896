"""Pods that answer: one small HTTP server per running pod, on a loopback address of its own.

Linux answers on all of 127.0.0.0/8 without set-up, so every pod gets an address there and keeps its ports. Plugged
into the fake kubelet (`Kubelet(..., hook=PodServers())`), a server starts when the pod's processes run, answers
until they end, and from SIGTERM on asks its clients to come back on another connection.

Every path but `/__stats` is answered with who the pod is, as JSON and in the headers `x-pod`, `x-revision`,
`x-version`. Annotations of the pod (`testing.fairlead.dev/…`):

| Annotation | Value | Effect |
|---|---|---|
| `fail-ratio` | `"0.3"` | that share of requests is answered with 500; which ones follows from the seed |
| `latency` | `"50ms"` | each answer takes that long |
| `version` | `"2.1"` | what it says of itself; default: the label `app.kubernetes.io/version`, else its image's tag |

Where a pod can be reached: on the embedded API its podIP is the loopback address, and its ports are its container
ports (10000 higher below 1024, see `workloads.endpoints.wire_port`). A real API server refuses such addresses in
EndpointSlices: there (`embedded=False`) the podIP is `10.b.c.d`, the server listens on `127.b.c.d`, and the
annotation `testing.fairlead.dev/address` says `127.b.c.d:port` of its first port.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field

from aiohttp import web

from fairlead.core.objects import ObjectKey
from fairlead.testing._podlife import SeenPod
from fairlead.testing._programs import Knobs, knobs
from fairlead.testing.kubelet import PodAddress
from fairlead.testing.workloads._objects import PREFIX
from fairlead.testing.workloads.endpoints import wire_port

__all__ = ["PodCounts", "PodIdentity", "PodServers", "identity"]

DEFAULT_PORT = 8080  # of a pod that names no port
STATS_PATH = "/__stats"
ADDRESSES_TRIED_MAX = 64  # addresses that others hold already, before we give up
DRAIN_SECONDS = 2.0  # the longest time that an answer under way may take when the pod ends
GONE_MAX = 1000  # revisions of which the counts are kept after their pods are gone

_HASH_LABELS = ("rollouts-pod-template-hash", "pod-template-hash")


@dataclass(frozen=True, slots=True, order=True)
class PodIdentity:
    """Who a pod says it is."""

    namespace: str
    name: str
    revision: str
    version: str


@dataclass(slots=True)
class PodCounts:
    """What a pod has answered, since it started."""

    requests: int = 0
    failures: int = 0

    def add(self, other: PodCounts) -> None:
        self.requests += other.requests
        self.failures += other.failures


def identity(pod: SeenPod) -> PodIdentity:
    """Return who the pod is, as its answers say."""
    labels, image = pod.metadata.labels, pod.spec.containers[0].image if pod.spec.containers else ""
    tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
    version = pod.metadata.annotations.get(PREFIX + "version") or labels.get("app.kubernetes.io/version") or tag
    revision = next((labels[name] for name in _HASH_LABELS if name in labels), "")
    return PodIdentity(pod.metadata.namespace, pod.metadata.name, revision, version)


@dataclass(slots=True)
class _Running:
    """The server of one pod."""

    who: PodIdentity
    uid: str
    host: str
    ports: tuple[int, ...]
    asked: Knobs
    rng: random.Random
    counts: PodCounts = field(default_factory=PodCounts)
    is_draining: bool = False
    handler: web.Server | None = None
    listeners: list[asyncio.Server] = field(default_factory=list)

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == STATS_PATH:
            return web.json_response({**asdict(self.who), **asdict(self.counts)})
        # Drawn before anything is awaited: the n-th request fails, whoever overtakes whom.
        fails = self.rng.random() < self.asked.fail_ratio
        self.counts.requests += 1
        self.counts.failures += fails
        if self.asked.latency:
            await asyncio.sleep(self.asked.latency)
        headers = {"x-pod": self.who.name, "x-revision": self.who.revision, "x-version": self.who.version}
        body = {"pod": self.who.name, "revision": self.who.revision, "version": self.who.version}
        response = web.json_response(body, status=500 if fails else 200, headers=headers)
        if self.is_draining:
            response.force_close()
        return response


class PodServers:
    """One HTTP server per running pod; a hook of the fake kubelet. Needs a real loop, not virtual time.

    Args:
        seed: which requests fail follows from it, from the pod's name and from their order.
        embedded: the API takes loopback addresses as podIP.
        network: the second byte of all addresses, 1 to 254; None: from our process id, so that two worlds on one
            machine keep out of each other's way. (If they meet after all, the next address is tried.)
    """

    def __init__(self, seed: int = 0, *, embedded: bool = True, network: int | None = None) -> None:
        self._seed = seed
        self._embedded = embedded
        self._network = 64 + os.getpid() % 128 if network is None else network
        self._given = 0
        self._running: dict[ObjectKey, _Running] = {}
        self._gone: dict[tuple[str, str, str], PodCounts] = {}  # by namespace, revision, version

    # --- counts --------------------------------------------------------------------------------------------------

    def pods(self) -> Mapping[PodIdentity, PodCounts]:
        """Return the counts of the pods that answer now."""
        return {server.who: server.counts for _, server in sorted(self._running.items())}

    def by_revision(self, namespace: str) -> Mapping[str, PodCounts]:
        """Return the counts of a namespace by revision (pod template hash), pods that are gone included."""
        totals: dict[str, PodCounts] = {}
        for where, revision, _, counts in self._all():
            if where == namespace:
                totals.setdefault(revision, PodCounts()).add(counts)
        return totals

    def by_version(self, namespace: str) -> Mapping[str, PodCounts]:
        """Return the counts of a namespace by version, pods that are gone included."""
        totals: dict[str, PodCounts] = {}
        for where, _, version, counts in self._all():
            if where == namespace:
                totals.setdefault(version, PodCounts()).add(counts)
        return totals

    def address(self, key: ObjectKey) -> tuple[str, int] | None:
        """Return where a pod answers (its first port), or None while it does not."""
        server = self._running.get(key)
        return (server.host, server.ports[0]) if server is not None else None

    def _all(self) -> Iterator[tuple[str, str, str, PodCounts]]:
        for (namespace, revision, version), counts in self._gone.items():
            yield namespace, revision, version, counts
        for server in self._running.values():
            yield server.who.namespace, server.who.revision, server.who.version, server.counts

    # --- the kubelet's hook --------------------------------------------------------------------------------------

    async def start(self, pod: SeenPod, ip: str) -> PodAddress:
        """Serve the pod, at its old address if it had one that is free.

        Raises:
            OSError: no address could be had.
        """
        key = pod.metadata.key
        if key in self._running:
            await self.stop(pod)
        who = identity(pod)
        named = [port.container_port for one in pod.spec.containers for port in one.ports if port.protocol == "TCP"]
        ports = tuple(dict.fromkeys(wire_port(port) for port in named or [DEFAULT_PORT]))
        rng = random.Random(f"{self._seed}/{who.namespace}/{who.name}")
        server = _Running(
            who=who, uid=pod.metadata.uid, host="", ports=ports, asked=knobs(pod.metadata.annotations), rng=rng
        )
        await self._listen(server, "127." + ip.partition(".")[2] if ip else "")
        self._running[key] = server
        if self._embedded:
            return PodAddress(server.host)
        return PodAddress("10." + server.host.partition(".")[2], served_at=f"{server.host}:{ports[0]}")

    async def drain(self, pod: SeenPod) -> None:
        """Let clients leave: from now on every answer closes its connection."""
        server = self._running.get(pod.metadata.key)
        if server is not None:
            server.is_draining = True

    async def stop(self, pod: SeenPod) -> None:
        """Answer what is under way, then nothing more."""
        server = self._running.get(pod.metadata.key)
        if server is None or server.uid != pod.metadata.uid:
            return
        del self._running[pod.metadata.key]
        await _close(server)
        label = (server.who.namespace, server.who.revision, server.who.version)
        self._gone.setdefault(label, PodCounts()).add(server.counts)
        while len(self._gone) > GONE_MAX:
            del self._gone[next(iter(self._gone))]

    async def close(self) -> None:
        """Stop all servers."""
        running, self._running = list(self._running.values()), {}
        await asyncio.gather(*(_close(server) for server in running))

    async def _listen(self, server: _Running, wanted: str) -> None:
        loop = asyncio.get_running_loop()
        server.handler = web.Server(server.answer)
        trouble: OSError | None = None
        for attempt in range(ADDRESSES_TRIED_MAX):
            host = wanted if wanted and attempt == 0 else self._next_address()
            try:
                for port in server.ports:
                    # Not serving yet, so that nothing waits between having the socket and knowing it: a cancelled
                    # start would leave it open.
                    listener = await loop.create_server(server.handler, host, port, start_serving=False)
                    server.listeners.append(listener)
                    await listener.start_serving()
                server.host = host
                return
            except OSError as error:
                trouble = error
            finally:
                if not server.host:
                    while server.listeners:
                        server.listeners.pop().close()
        raise OSError(f"no loopback address has its ports {server.ports} free: {trouble}") from trouble

    def _next_address(self) -> str:
        self._given = self._given % 64_000 + 1
        high, low = divmod(self._given, 254)
        return f"127.{self._network}.{high}.{low + 1}"


async def _close(server: _Running) -> None:
    for listener in server.listeners:
        listener.close()
    if server.handler is not None:
        server.handler.pre_shutdown()  # connections that wait for nothing need no waiting for
        await server.handler.shutdown(DRAIN_SECONDS)

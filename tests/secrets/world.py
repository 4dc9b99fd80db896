"""A small world for the reconcilers: a cluster in memory, virtual time, the real loop, and a provider that obeys."""

from __future__ import annotations

import asyncio
import json
import random
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from fairlead.core.cluster import Cluster, MergePatch, Patch
from fairlead.core.decision import Event
from fairlead.core.errors import NotFound, ProviderError, SpecError
from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.core.kinds import NAMESPACES, SECRETS
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta, T
from fairlead.runtime.cached import CachedCluster
from fairlead.runtime.informers import Informers, feed, own_key
from fairlead.runtime.loop import Controller
from fairlead.runtime.store import Store as Cache
from fairlead.runtime.workqueue import WorkQueue
from fairlead.secrets._opening import Stores
from fairlead.secrets._planner import Planner
from fairlead.secrets.kinds import (
    CLUSTER_SECRET_STORES,
    EXTERNAL_SECRETS,
    MANAGED_SELECTOR,
    SECRET_STORES,
    TARGETS,
)
from fairlead.secrets.reconciler import ExternalSecretReconciler, Views
from fairlead.secrets.settings import SECRET_DEFAULTS, PlannerSettings, SecretSettings
from fairlead.secrets.status import ExternalSecretStatus, StoreStatus, decode_status, decode_store_status
from fairlead.secrets.store_reconciler import StoreReconciler
from fairlead.secrets.stores.port import (
    Capabilities,
    Document,
    FindQuery,
    NoSecret,
    RemoteRef,
    StoreContext,
    StoreSpec,
    StoreUnavailable,
)
from fairlead.secrets.stores.static import NoClusters, StaticCredentials
from fairlead.secrets.triggers import EXTERNAL_SECRET_INDEXES, TARGET_INDEXES, Triggers
from fairlead.secrets.values import SecretBytes
from fairlead.testing.clock import EPOCH, LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.faults import KillingCluster

KEY = ObjectKey("shop", "db")
Trouble = Callable[[str], Exception | None]


@dataclass(frozen=True)
class _Json:
    """A document whose properties are those of a JSON object."""

    raw: bytes

    def value(self, property: str = "") -> SecretBytes:  # noqa: A002
        if not property:
            return SecretBytes(self.raw)
        found = json.loads(self.raw).get(property)
        if found is None:
            raise ProviderError(f"cannot find secret data for key: {property!r}", provider="remote")
        return SecretBytes(str(found).encode())

    def entries(self, property: str = "") -> dict[str, SecretBytes]:  # noqa: A002
        return {key: SecretBytes(str(value).encode()) for key, value in json.loads(self.raw).items()}


@dataclass
class Remote:
    """A provider whose secrets are `values`, by key; what goes wrong is up to the test.

    Attributes:
        trouble: the error that a key is answered with, if any.
        login: the error of opening a store.
        reads: each key that was asked for, with its time.
        contexts: namespaces that stores were opened for.
    """

    clock: LoopClock
    values: dict[str, bytes] = field(default_factory=dict)
    latency: float = 0.05
    trouble: Trouble = lambda key: None
    login: Callable[[], Exception | None] = lambda: None
    validation: Exception | None = None
    referent: bool = False
    converts_found_keys: bool = False
    reads: list[tuple[float, str]] = field(default_factory=list)
    calls: int = 0
    validations: int = 0
    opened: int = 0
    closed: int = 0
    contexts: list[str] = field(default_factory=list)

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities.READ_ONLY

    def validate_spec(self, spec: StoreSpec) -> list[SpecError]:
        return [SpecError("is broken", path="spec.provider.remote")] if b"broken" in bytes(spec.block) else []

    def is_referent(self, spec: StoreSpec) -> bool:
        return self.referent

    async def open(self, spec: StoreSpec, context: StoreContext) -> _Remote:
        await asyncio.sleep(self.latency)
        if error := self.login():
            raise error
        self.opened += 1
        self.contexts.append(context.namespace)
        return _Remote(self)

    def times(self, key: str) -> list[float]:
        """When a key was read, in seconds."""
        return [at for at, read in self.reads if read == key]


class _Remote:
    def __init__(self, remote: Remote) -> None:
        self._remote = remote

    async def read(self, refs: Sequence[RemoteRef]) -> list[Document | ProviderError]:
        remote = self._remote
        remote.calls += 1
        wanted = [ref.key for ref in refs]
        at = round((remote.clock.now() - EPOCH).total_seconds(), 3)
        remote.reads += [(at, key) for key in dict.fromkeys(wanted)]
        await asyncio.sleep(remote.latency)
        answers: list[Document | ProviderError] = []
        for key in wanted:
            error = remote.trouble(key)
            if error is not None and not isinstance(error, ProviderError):
                raise error
            answers.append(
                error or (_Json(remote.values[key]) if key in remote.values else NoSecret(provider="remote"))
            )
        return answers

    async def find(self, query: FindQuery) -> dict[str, SecretBytes]:
        await asyncio.sleep(self._remote.latency)
        wanted = query.name_regexp or ""
        return {key: SecretBytes(value) for key, value in sorted(self._remote.values.items()) if wanted in key}

    async def get(self, ref: RemoteRef) -> SecretBytes:
        raise AssertionError("documents are read")

    async def get_map(self, ref: RemoteRef) -> dict[str, SecretBytes]:
        raise AssertionError("documents are read")

    async def get_many(self, refs: Sequence[RemoteRef]) -> list[SecretBytes | ProviderError]:
        raise AssertionError("documents are read")

    async def validate(self) -> None:
        self._remote.validations += 1
        await asyncio.sleep(self._remote.latency)
        if self._remote.validation is not None:
            raise self._remote.validation

    async def close(self) -> None:
        self._remote.closed += 1


@dataclass
class Notes:
    """An event recorder that only keeps what it is told."""

    events: list[tuple[str, Event]] = field(default_factory=list)

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        self.events.append((metadata.name, event))

    def reasons(self, name: str = "db") -> list[str]:
        return [event.reason for about, event in self.events if about == name]

    def texts(self, name: str = "db") -> list[str]:
        return [event.message for about, event in self.events if about == name]


class Process(KillingCluster):
    """What one process asks of the API server, watches aside; it can be made to die at a write."""

    def __init__(self, inner: SimulatedCluster, **death: Any) -> None:
        super().__init__(inner, **death)
        self.simulated = inner
        self.gets: list[tuple[str, ObjectKey]] = []

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        self.gets.append((str(kind), key))
        return await super().get(kind, key)

    @property
    def requests(self) -> int:
        return len(self.writes) + len(self.gets)

    @property
    def by_kind(self) -> Counter[tuple[str, str, str]]:
        return Counter((write.verb, write.kind, write.subresource) for write in self.writes)

    def as_manager(self, manager: str) -> Cluster:
        return _AsManager(self, self.simulated.as_manager(manager))


class _AsManager(Forwarding):
    """The same process under another field manager: its writes are the process's."""

    def __init__(self, process: Process, inner: SimulatedCluster) -> None:
        super().__init__(inner)
        self._process = process

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        return await self._process.write(write, call)


class World:
    """The cluster and what the controllers of secrets need; `controller()` starts one, as often as one likes."""

    def __init__(self, *, namespaces: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self.clock = LoopClock()
        self.cluster = SimulatedCluster(self.clock)
        self.remote = Remote(self.clock)
        self.notes = Notes()
        self.writes: list[tuple[float, str, str]] = []  # committed: when, what, which
        self.process = Process(self.cluster)
        self.planner: Planner | None = None
        for name, labels in (namespaces or {"shop": {}}).items():
            self.cluster.apply(
                [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}]
            )
        self.cluster.on_commit(self._committed)

    def _committed(self, verb: str, resource: Any, old: Any, new: Any) -> None:
        name = (new or old)["metadata"]["name"]
        self.writes.append((self.seconds, f"{verb} {resource.plural}", name))

    @property
    def seconds(self) -> float:
        return round((self.clock.now() - EPOCH).total_seconds(), 3)

    # --- users ---------------------------------------------------------------------------------------------------

    def store(self, name: str = "store", *, namespace: str = "shop", **spec: Any) -> None:
        """Create a SecretStore of the obedient provider, or a ClusterSecretStore where the namespace is empty."""
        metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
        self.cluster.apply(
            [
                {
                    "apiVersion": "external-secrets.io/v1",
                    "kind": "SecretStore" if namespace else "ClusterSecretStore",
                    "metadata": metadata,
                    "spec": {"provider": {"remote": {}}, **spec},
                }
            ]
        )

    def external_secret(
        self, name: str = "db", *, namespace: str = "shop", metadata: Mapping[str, Any] | None = None, **spec: Any
    ) -> None:
        """Create an ExternalSecret of one value, refreshed each minute, unless told otherwise."""
        whole = {
            "secretStoreRef": {"name": "store"},
            "refreshInterval": "1m",
            "data": [{"secretKey": "password", "remoteRef": {"key": "db"}}],
            **spec,
        }
        if "dataFrom" in spec and "data" not in spec:
            del whole["data"]
        body = {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"name": name, "namespace": namespace, **(metadata or {})},
            "spec": whole,
        }
        self.cluster.as_manager("kubectl").apply([body])

    def secret(self, name: str = "db", *, namespace: str = "shop", **fields: Any) -> None:
        """Create a Secret by hand."""
        data = {key: b64encode(value).decode() for key, value in fields.pop("data", {}).items()}
        metadata = {"name": name, "namespace": namespace, **fields.pop("metadata", {})}
        body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data, **fields}
        self.cluster.as_manager("kubectl").apply([body])

    async def patch(self, kind: Kind[Any], body: Mapping[str, Any], key: ObjectKey = KEY) -> None:
        """Merge-patch an object, as kubectl does."""
        change: Patch = MergePatch(body)
        await self.cluster.as_manager("kubectl").patch(kind, key, change)

    async def delete(self, kind: Kind[Any], key: ObjectKey = KEY) -> None:
        await self.cluster.as_manager("kubectl").delete(kind, key)

    # --- looking -------------------------------------------------------------------------------------------------

    def found(self, kind: Kind[Any] = SECRETS, key: ObjectKey = KEY) -> dict[str, Any] | None:
        return self.cluster.read(kind, key)

    def data(self, key: ObjectKey = KEY) -> dict[str, bytes] | None:
        """The data of a Secret; None: there is none."""
        found = self.found(SECRETS, key)
        if found is None:
            return None
        return {name: b64decode(value) for name, value in (found.get("data") or {}).items()}

    def status(self, key: ObjectKey = KEY) -> ExternalSecretStatus:
        found = self.found(EXTERNAL_SECRETS, key) or {}
        return decode_status(msgspec.json.encode(found.get("status") or {}))

    def ready(self, key: ObjectKey = KEY) -> tuple[str, str, str] | None:
        condition = self.status(key).ready
        return (condition.status, condition.reason, condition.message) if condition is not None else None

    def store_status(self, key: ObjectKey, kind: Kind[Any] = SECRET_STORES) -> StoreStatus:
        found = self.found(kind, key) or {}
        return decode_store_status(msgspec.json.encode(found.get("status") or {}))

    # --- the controller ------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def controller(
        self,
        cluster: Cluster | None = None,
        *,
        settings: SecretSettings = SECRET_DEFAULTS,
        planner_settings: PlannerSettings | None = None,
        as_manager: Callable[[str], Cluster] | None = None,
        workers: int = 10,
        crash: bool = False,
        seed: int = 0,
    ) -> AsyncIterator[ExternalSecretReconciler]:
        """Run the controllers until the block ends: in good order, or with `crash` without any farewell."""
        raw = cluster or self.process
        manager = as_manager or self.process.as_manager
        informers = Informers(raw, self.clock, rng=random.Random(seed))
        external_secrets = informers.add(EXTERNAL_SECRETS, indexes=EXTERNAL_SECRET_INDEXES)
        stores = informers.add(SECRET_STORES)
        cluster_stores = informers.add(CLUSTER_SECRET_STORES)
        targets = informers.add(TARGETS, label_selector=MANAGED_SELECTOR, indexes=TARGET_INDEXES)
        namespaces = informers.add(NAMESPACES)
        caches: dict[Kind[Any], Cache[Any]] = {TARGETS: targets, EXTERNAL_SECRETS: external_secrets}
        context = StoreContext(clock=self.clock, credentials=StaticCredentials(), clusters=NoClusters())
        known = Stores(self._provider, context)
        planner = self.planner = Planner(
            self.clock, settings=planner_settings or PlannerSettings(), rng=random.Random(seed)
        )
        queue: WorkQueue[ObjectKey] = WorkQueue(self.clock)
        self.reconciler = ExternalSecretReconciler(
            informers.cluster,
            Views(
                external_secrets=external_secrets,
                targets=targets,
                stores=stores,
                cluster_stores=cluster_stores,
                namespaces=namespaces,
            ),
            known,
            planner,
            self.clock,
            recorder=self.notes,
            wake=queue.add,
            as_manager=lambda name: CachedCluster(manager(name), caches, self.clock),
            rng=random.Random(seed),
            settings=settings,
        )
        triggers = Triggers(external_secrets)
        feed(external_secrets, queue, own_key)
        feed(targets, queue, triggers.by_target)
        feed(stores, queue, triggers.by_store)
        feed(cluster_stores, queue, triggers.by_store)
        feed(namespaces, queue, triggers.by_namespace)
        controllers = [
            Controller("ExternalSecret", queue, self.reconciler.reconcile, clock=self.clock, workers=workers)
        ]
        store_reconcilers = []
        for kind, view in ((SECRET_STORES, stores), (CLUSTER_SECRET_STORES, cluster_stores)):
            store_queue: WorkQueue[ObjectKey] = WorkQueue(self.clock)
            store_reconciler = StoreReconciler(
                kind,
                informers.cluster,
                view,
                known,
                planner,
                self.clock,
                recorder=self.notes,
                wake=store_queue.add,
                rng=random.Random(seed),
                settings=settings,
            )
            store_reconcilers.append(store_reconciler)
            feed(view, store_queue, own_key)
            controllers.append(
                Controller(kind.kind, store_queue, store_reconciler.reconcile, clock=self.clock, workers=2)
            )
        tasks = [asyncio.create_task(informers.run())]
        try:
            await informers.wait_synced()
            tasks += [asyncio.create_task(controller.run()) for controller in controllers]
            yield self.reconciler
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.reconciler.close()
            for store_reconciler in store_reconcilers:
                await store_reconciler.close()
            if not crash:
                await planner.close()

    def _provider(self, name: str) -> Remote:
        if name != "remote":
            raise SpecError("is no provider", path=f"spec.provider.{name}")
        return self.remote


def told(story: Callable[[World], Awaitable[None]], seed: int = 0, **world: Any) -> None:
    """Run a story in a new world under virtual time."""

    async def main() -> None:
        await story(World(**world))

    run_virtual(main(), seed)


def down(text: str = "connection refused") -> StoreUnavailable:
    return StoreUnavailable(text, provider="remote")


async def is_gone(world: World, kind: Kind[Any], key: ObjectKey = KEY) -> bool:
    try:
        await world.cluster.get(kind, key)
    except NotFound:
        return True
    return False

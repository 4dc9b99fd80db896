"""The thin loops around the pure decisions of this package: watch, decide, write."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from fairlead.core.clock import Clock
from fairlead.core.cluster import MergePatch, Preconditions
from fairlead.core.errors import AlreadyExists, ClusterError, NotFound
from fairlead.core.kinds import SERVICES, Service, carried
from fairlead.core.objects import HasMetadata, Kind, Manifest, ObjectKey, ObjectMeta
from fairlead.core.selectors import from_label_selector, matches
from fairlead.runtime.informers import Informers
from fairlead.runtime.loop import Controller
from fairlead.runtime.store import Change, Store
from fairlead.runtime.workqueue import WorkQueue
from fairlead.testing.workloads import deployment as deployments
from fairlead.testing.workloads import endpoints, replicaset, scheduler
from fairlead.testing.workloads import job as jobs
from fairlead.testing.workloads._names import generated
from fairlead.testing.workloads._objects import (
    ADDRESS,
    DEPLOYMENTS,
    JOBS,
    NODES,
    PODS,
    REPLICA_SETS,
    Deployment,
    Job,
    Node,
    Pod,
    ReplicaSet,
    pod_from_template,
    status_diff,
    template_of,
)

SLICES = carried("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices")
_SHOWN_OF_SETS = ("replicas", "terminatingReplicas")  # counters that are there also at 0
_SHOWN_OF_JOBS = ("ready", "terminating")
NAMES_TRIED_MAX = 10  # generated names that turn out to be taken, before the back-off has its turn


def controller_uid(found: HasMetadata) -> Iterable[str]:
    """Index function: the UID of the owner that manages an object."""
    owner = found.metadata.controller
    return (owner.uid,) if owner is not None else ()


def label_pairs(found: HasMetadata) -> Iterable[str]:
    """Index function: each label with its namespace, so that a selector finds its pods without a search."""
    return [f"{found.metadata.namespace}/{key}={value}" for key, value in found.metadata.labels.items()]


class Names:
    """Generated names, by owner: the same seed and the same history give the same names."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._given: dict[str, int] = {}  # by owner's UID; forgotten with the owner

    def next(self, owner: ObjectMeta) -> str:
        """Return the name to try now; the same one until it is said to be `used`."""
        given = self._given.get(owner.uid, 0)
        return generated(owner.name + "-", self._seed, owner.namespace, owner.name, given)

    def used(self, owner: ObjectMeta) -> None:
        self._given[owner.uid] = self._given.get(owner.uid, 0) + 1

    def forget(self, uid: str) -> None:
        self._given.pop(uid, None)


class Stores:
    """What the controllers look at, shared by all of them."""

    def __init__(self, informers: Informers) -> None:
        self.pods: Store[Pod] = informers.add(PODS, indexes={"controller": controller_uid, "label": label_pairs})
        self.replica_sets: Store[ReplicaSet] = informers.add(REPLICA_SETS, indexes={"controller": controller_uid})
        self.deployments: Store[Deployment] = informers.add(DEPLOYMENTS)
        self.jobs: Store[Job] = informers.add(JOBS)
        self.services: Store[Service] = informers.add(SERVICES)
        self.slices: Store[Manifest] = informers.add(SLICES, indexes={"service": _service_key})
        self.nodes: Store[Node] = informers.add(NODES)


def _service_key(found: Manifest) -> Iterable[str]:
    name = found.metadata.labels.get(endpoints.SERVICE_NAME)
    return (f"{found.metadata.namespace}/{name}",) if name else ()


class World:
    """What all controllers are made from."""

    def __init__(self, informers: Informers, clock: Clock, seed: int) -> None:
        self.informers = informers
        self.stores = Stores(informers)
        self.clock = clock
        self.seed = seed


class _Loop:
    """What the controllers share: a queue of keys, a runtime controller over it, writes in their usual form."""

    def __init__(self, name: str, world: World, *, workers: int = 1) -> None:
        self.stores = world.stores
        self.cluster = world.informers.cluster
        self.clock = world.clock
        self.names = Names(world.seed)
        self._informers = world.informers
        rng = random.Random(f"{name}/{world.seed}")
        self.queue: WorkQueue[ObjectKey] = WorkQueue(world.clock)
        self.controller = Controller(name, self.queue, self.reconcile, clock=world.clock, workers=workers, rng=rng)

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        raise NotImplementedError

    def changed(self, change: Change[Any]) -> None:
        """Look at an object of our own kind."""
        if change.new is None and change.old is not None:
            self.names.forget(change.old.metadata.uid)
        self.queue.add(change.key)

    def add_owner(self, kind: Kind[Any]) -> Callable[[Change[Any]], None]:
        """Return a subscriber that looks at the owner, of that kind, of whatever has changed."""

        def subscriber(change: Change[Any]) -> None:
            for found in (change.old, change.new):
                owner = found.metadata.controller if found is not None else None
                if owner is not None and owner.kind == kind.kind:
                    self.queue.add(ObjectKey(change.key.namespace, owner.name))

        return subscriber

    async def write_status(self, kind: Kind[Any], meta: ObjectMeta, changes: dict[str, Any]) -> None:
        """Store a status, if there is anything to change in it, on this very object."""
        if changes:
            body = {"metadata": {"uid": meta.uid}, **changes}
            await self.cluster.patch(kind, meta.key, MergePatch(body), subresource="status")

    async def remove(self, kind: Kind[Any], meta: ObjectMeta) -> None:
        """Delete this very object; that it is gone already is fine."""
        try:
            await self.cluster.delete(kind, meta.key, preconditions=Preconditions(uid=meta.uid))
        except NotFound:
            return

    async def create_named(self, kind: Kind[Any], owner: ObjectMeta, body: Callable[[str], dict[str, Any]]) -> None:
        """Create an object of the owner under a generated name."""
        for _ in range(NAMES_TRIED_MAX):
            name = self.names.next(owner)
            try:
                await self.cluster.create(kind, body(name), namespace=owner.namespace)
            except AlreadyExists:
                self.names.used(owner)
                # Ours if the answer to an earlier attempt was lost: the read shows it to the store.
                if await self._is_ours(kind, ObjectKey(owner.namespace, name), owner):
                    return
                continue
            self.names.used(owner)
            return
        raise AlreadyExists(f"{kind} of {owner.key}: {NAMES_TRIED_MAX} generated names are all taken")

    async def _is_ours(self, kind: Kind[Any], key: ObjectKey, owner: ObjectMeta) -> bool:
        if self._informers.store(kind).get(key) is not None:
            return False  # it was counted when the decision was made
        try:
            found = await self.cluster.get(kind, key)
        except NotFound:
            return False
        return bool(found.metadata.controller and found.metadata.controller.uid == owner.uid)


class ReplicaSets(_Loop):
    """Keeps as many pods as each ReplicaSet wishes for."""

    def __init__(self, world: World) -> None:
        super().__init__("workloads-replicasets", world, workers=4)
        self.stores.replica_sets.subscribe(self.changed)
        self.stores.pods.subscribe(self.add_owner(REPLICA_SETS))

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        found = self.stores.replica_sets.get(key)
        if found is None:
            return None
        pods = self.stores.pods.by_index("controller", found.metadata.uid)
        plan = replicaset.decide(found, pods, self.clock.now())
        status, trouble = plan.status, None
        try:
            await self._create(found, plan.create)
        except ClusterError as error:
            trouble = error
            status = replicaset.failed(plan, found, reason="FailedCreate", message=str(error), now=self.clock.now())
        try:
            for pod in plan.delete:
                await self.remove(PODS, pod.metadata)
        except ClusterError as error:
            trouble = error
            status = replicaset.failed(plan, found, reason="FailedDelete", message=str(error), now=self.clock.now())
        await self.write_status(REPLICA_SETS, found.metadata, status_diff(found.status, status, always=_SHOWN_OF_SETS))
        if trouble is not None:
            raise trouble
        return plan.wake_at

    async def _create(self, found: ReplicaSet, count: int) -> None:
        def body(name: str) -> dict[str, Any]:
            return pod_from_template(
                template_of(found.spec.template), name=name, kind=REPLICA_SETS, owner=found.metadata
            )

        for _ in range(count):
            await self.create_named(PODS, found.metadata, body)


class Deployments(_Loop):
    """Rolls each Deployment from one ReplicaSet to the next."""

    def __init__(self, world: World) -> None:
        super().__init__("workloads-deployments", world)
        self.stores.deployments.subscribe(self.changed)
        self.stores.replica_sets.subscribe(self.add_owner(DEPLOYMENTS))
        self.stores.pods.subscribe(self._pod_changed)

    def _pod_changed(self, change: Change[Pod]) -> None:
        """Only the end of a pod matters, and only to Recreate."""
        pod = change.old
        owner = pod.metadata.controller if pod is not None else None
        if owner is None or owner.kind != REPLICA_SETS.kind:
            return
        if change.new is not None and not change.new.is_finished:
            return
        replica_set = self.stores.replica_sets.get(ObjectKey(change.key.namespace, owner.name))
        above = replica_set.metadata.controller if replica_set is not None else None
        if above is not None and above.kind == DEPLOYMENTS.kind:
            self.queue.add(ObjectKey(change.key.namespace, above.name))

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        found = self.stores.deployments.get(key)
        if found is None:
            return None
        replica_sets = self.stores.replica_sets.by_index("controller", found.metadata.uid)
        pods: list[Pod] = []
        if found.spec.strategy.type == "Recreate":
            for replica_set in replica_sets:
                pods += self.stores.pods.by_index("controller", replica_set.metadata.uid)
        plan = deployments.decide(found, replica_sets, pods, self.clock.now())
        for action in plan.actions:
            await self._act(found, action)
        always = ("replicas",) if plan.status.replicas else ()
        await self.write_status(DEPLOYMENTS, found.metadata, status_diff(found.status, plan.status, always=always))
        return plan.wake_at

    async def _act(self, found: Deployment, action: deployments.Action) -> None:
        match action:
            case deployments.CreateReplicaSet(body=body):
                await self._create(found, body)
            case deployments.PatchReplicaSet(replica_set=replica_set, body=body):
                # The version guards against scaling by what somebody else has changed meanwhile.
                meta = {**body.get("metadata", {}), "resourceVersion": replica_set.metadata.resource_version}
                await self.cluster.patch(REPLICA_SETS, replica_set.metadata.key, MergePatch({**body, "metadata": meta}))
            case deployments.DeleteReplicaSet(replica_set=replica_set):
                await self.remove(REPLICA_SETS, replica_set.metadata)
            case deployments.Annotate(revision=revision):
                meta = {"uid": found.metadata.uid, "annotations": {deployments.REVISION: revision}}
                await self.cluster.patch(DEPLOYMENTS, found.metadata.key, MergePatch({"metadata": meta}))

    async def _create(self, found: Deployment, body: dict[str, Any]) -> None:
        key = ObjectKey(found.metadata.namespace, body["metadata"]["name"])
        try:
            await self.cluster.create(REPLICA_SETS, body, namespace=key.namespace)
        except AlreadyExists:
            other = await self.cluster.get(REPLICA_SETS, key)
            owner = other.metadata.controller
            if owner is not None and owner.uid == found.metadata.uid:
                return  # an earlier attempt went through unheard: now the store knows it
            # The hash met a stranger's: another one is tried from now on.
            changes = {"status": {"collisionCount": found.status.collision_count + 1}}
            await self.write_status(DEPLOYMENTS, found.metadata, changes)
            raise


class Jobs(_Loop):
    """Runs each Job's pods until they have succeeded often enough, or failed too often."""

    def __init__(self, world: World) -> None:
        super().__init__("workloads-jobs", world)
        self.stores.jobs.subscribe(self.changed)
        self.stores.pods.subscribe(self.add_owner(JOBS))

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        found = self.stores.jobs.get(key)
        if found is None:
            return None
        pods = self.stores.pods.by_index("controller", found.metadata.uid)
        plan = jobs.decide(found, pods, self.clock.now())
        if plan.delete_job:
            await self.remove(JOBS, found.metadata)
            return None
        for _ in range(plan.create):
            await self.create_named(PODS, found.metadata, lambda name: jobs.pod_body(found, name))
        for pod in plan.delete:
            await self.remove(PODS, pod.metadata)
        await self.write_status(JOBS, found.metadata, status_diff(found.status, plan.status, always=_SHOWN_OF_JOBS))
        return plan.wake_at


class EndpointSlices(_Loop):
    """Says in EndpointSlices which pods stand behind each Service."""

    def __init__(self, world: World) -> None:
        super().__init__("workloads-endpointslices", world)
        self.stores.services.subscribe(self.changed)
        self.stores.slices.subscribe(self._slice_changed)
        self.stores.pods.subscribe(self._pod_changed)

    def _slice_changed(self, change: Change[Manifest]) -> None:
        for found in (change.old, change.new):
            if found is not None and (name := found.metadata.labels.get(endpoints.SERVICE_NAME)):
                self.queue.add(ObjectKey(change.key.namespace, name))

    def _pod_changed(self, change: Change[Pod]) -> None:
        if (
            change.old is not None
            and change.new is not None
            and _endpoint_facts(change.old) == _endpoint_facts(change.new)
        ):
            return  # nothing that an endpoint shows
        for service in self.stores.services.list(change.key.namespace):
            wanted = service.spec.selector.items()
            if wanted and any(
                found is not None and wanted <= found.metadata.labels.items() for found in (change.old, change.new)
            ):
                self.queue.add(service.metadata.key)

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        service = self.stores.services.get(key)
        if service is None:
            return None  # its slices go with it
        slices = [
            found
            for found in self.stores.slices.by_index("service", str(key))
            if found.metadata.labels.get(endpoints.MANAGED_BY) == endpoints.MANAGER and not found.metadata.is_deleting
        ]
        for action in endpoints.decide(service, self._pods_of(service), slices):
            await self._act(service, action)
        return None

    def _pods_of(self, service: Service) -> list[Pod]:
        if not service.spec.selector:
            return []
        first, *_ = sorted(service.spec.selector.items())
        selector = from_label_selector(service.spec.selector)
        candidates = self.stores.pods.by_index("label", f"{service.metadata.namespace}/{first[0]}={first[1]}")
        return [pod for pod in candidates if matches(selector, pod.metadata.labels)]

    async def _act(self, service: Service, action: endpoints.Action) -> None:
        match action:
            case endpoints.Create(body=body):
                named = {**body["metadata"]}
                await self.create_named(
                    SLICES, service.metadata, lambda name: {**body, "metadata": {**named, "name": name}}
                )
            case endpoints.Update(slice=found, body=body):
                meta = {**body.get("metadata", {}), "uid": found.metadata.uid}
                await self.cluster.patch(SLICES, found.metadata.key, MergePatch({**body, "metadata": meta}))
            case endpoints.Delete(slice=found):
                await self.remove(SLICES, found.metadata)


def _endpoint_facts(pod: Pod) -> tuple[object, ...]:
    return (
        pod.metadata.labels,
        pod.metadata.uid,
        pod.metadata.is_deleting,
        pod.metadata.annotations.get(ADDRESS),
        pod.status.pod_ip,
        pod.spec.node_name,
        pod.is_ready,
        pod.is_finished,
    )


class Scheduler(_Loop):
    """Binds pods to nodes, one at a time."""

    def __init__(self, world: World) -> None:
        super().__init__("workloads-scheduler", world)
        self._held: dict[str, int] = {}  # by node: pods on it that have not finished
        self._waiting: dict[ObjectKey, None] = {}
        self.stores.pods.subscribe(self._pod_changed)
        self.stores.nodes.subscribe(self._node_changed)

    def _pod_changed(self, change: Change[Pod]) -> None:
        before, after = _occupied(change.old), _occupied(change.new)
        if before != after:
            if before:
                self._held[before] -= 1
            if after:
                self._held[after] = self._held.get(after, 0) + 1
        if change.new is not None and scheduler.is_waiting(change.new):
            self._waiting[change.key] = None
            if change.old is None or not scheduler.is_waiting(change.old):
                self.queue.add(change.key)
        else:
            self._waiting.pop(change.key, None)
        if before and before != after:
            self._look_again()

    def _node_changed(self, change: Change[Node]) -> None:
        old, new = change.old, change.new
        if old is not None and new is not None:
            facts = [
                (node.is_ready, node.spec.unschedulable, node.pods_max, node.metadata.labels) for node in (old, new)
            ]
            if facts[0] == facts[1]:
                return  # a heartbeat
        self._look_again()

    def _look_again(self) -> None:
        for key in self._waiting:
            self.queue.add(key)

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        pod = self.stores.pods.get(key)
        if pod is None or not scheduler.is_waiting(pod):
            return None
        match scheduler.decide(pod, self.stores.nodes.list(), self._held):
            case scheduler.Bind(node=node):
                await self._bind(pod, node)
            case scheduler.Pending() as pending:
                patch = scheduler.pending_patch(pod, pending, self.clock.now())
                if patch:
                    await self.cluster.patch(PODS, key, MergePatch(patch), subresource="status")
        return None

    async def _bind(self, pod: Pod, node: str) -> None:
        # A real scheduler posts a Binding. The port has no such call, and needs none: this runs on the simulated
        # cluster alone, which lets nodeName be set once.
        body = {"metadata": {"resourceVersion": pod.metadata.resource_version}, "spec": {"nodeName": node}}
        await self.cluster.patch(PODS, pod.metadata.key, MergePatch(body))


def _occupied(pod: Pod | None) -> str:
    """Return the node on which a pod takes up room, or nothing."""
    return pod.spec.node_name if pod is not None and not pod.is_finished else ""

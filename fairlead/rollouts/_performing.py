"""Carrying out actions against a Cluster, one by one and in order. Each may be repeated without harm.

What the API server says about names that are taken is part of the way, and not an error: a ReplicaSet of ours with
the same template, or a run of ours with the same spec, is what was wanted; anything else makes us take another name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import msgspec

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, Preconditions, Propagation
from fairlead.core.errors import AlreadyExists, ClusterError, FairleadError, NotFound, ProviderError, TooManyRequests
from fairlead.core.kinds import ANALYSIS_RUNS, DEPLOYMENTS, REPLICA_SETS, ROLLOUTS, SERVICES, ReplicaSet, Rollout
from fairlead.core.objects import Kind, ObjectKey, controller_reference
from fairlead.core.traffic import LeftRoute, TrafficRouter
from fairlead.rollouts import _ephemeral
from fairlead.rollouts._analysis import is_reusable
from fairlead.rollouts._marking import Marking, mark_pods
from fairlead.rollouts._template import HASH_LABEL, templates_equal
from fairlead.rollouts._validation import MANAGED_BY
from fairlead.rollouts.actions import (
    Action,
    AdoptReplicaSet,
    CancelRun,
    CreateReplicaSet,
    CreateRun,
    DeleteReplicaSet,
    DeleteRun,
    EvictPod,
    MarkPods,
    PatchReplicaSet,
    PatchRollout,
    ReleaseReplicaSet,
    ReleaseRoutes,
    ReleaseService,
    ScaleWorkload,
    SetWeights,
    SwitchService,
    Target,
)

_SUFFIXES_TRIED_MAX = 100


class CollisionError(FairleadError):
    """A ReplicaSet of the name exists and is not the one that is wanted: the hash has to become another."""


class CreationError(FairleadError):
    """The ReplicaSet of a new revision could not be created; `__cause__` says why."""

    def __init__(self, name: str, cause: ClusterError) -> None:
        super().__init__(f'Failed to create new replica set "{name}": {cause}')
        self.name = name
        self.cause = cause


@dataclass(slots=True)
class Outcome:
    """What became of a decision's actions.

    Attributes:
        version: the Rollout's resourceVersion after our own writes to it.
        done: the actions that changed something.
        router_error: why the route could not be written; the other actions were carried out nevertheless.
        renamed: runs that were created under another name than decided.
        marked: UIDs of ReplicaSets, and what all their pods are known to carry now.
        pods_error: why some pods could not be marked; everything else was carried out nevertheless.
    """

    version: str
    done: list[Action]
    router_error: ClusterError | ProviderError | None = None
    renamed: tuple[tuple[str, str], ...] = ()
    marked: tuple[tuple[str, str], ...] = ()
    pods_error: ClusterError | None = None


class Performer:
    """Carries out the actions of one decision.

    Args:
        rollout: that was decided on.
        routers: of the Rollout, in the order of the spec.
        clock: for what is tried again in between.
        left: routes that the Rollout does not use any more.
        marking: how pods are marked.
    """

    def __init__(
        self,
        cluster: Cluster,
        rollout: Rollout,
        routers: tuple[TrafficRouter, ...],
        clock: Clock,
        left: Sequence[LeftRoute] = (),
        marking: Marking = Marking(),  # noqa: B008 - frozen
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._rollout = rollout
        self._meta = rollout.metadata
        self._routers = routers
        self._left = left
        self._marking = marking
        self.outcome = Outcome(version=rollout.metadata.resource_version, done=[])

    async def perform(self, actions: tuple[Action, ...]) -> None:
        """Carry out all of them; `outcome` says how far it went, also when an error ends it.

        Raises:
            CollisionError: see there.
            CreationError: see there.
            ClusterError: an action was refused (Conflict: what was decided on has changed).
        """
        for action in actions:
            try:
                has_changed = await self._perform(action)
            except (ClusterError, ProviderError) as error:
                if not isinstance(action, SetWeights | ReleaseRoutes):
                    raise
                # What follows was allowed by what was seen, not by this write; and a status must say what happened.
                self.outcome.router_error = error
                continue
            if has_changed:
                self.outcome.done.append(action)

    async def _perform(self, action: Action) -> bool:
        match action:
            case SetWeights():
                written = [
                    await router.set_weights(action.weights, in_progress=action.in_progress) for router in self._routers
                ]
                return any(written)
            case ReleaseRoutes(names=names):
                return any([await route.release() for route in self._left if route.name in names])
            case CreateReplicaSet():
                await self._create_replica_set(action)
            case PatchReplicaSet():
                await self._patch(REPLICA_SETS, action.target, _replica_set_patch(action))
            case AdoptReplicaSet(target=target):
                return await self._adopt(target)
            case ReleaseReplicaSet(target=target):
                await self._change_owners(target, adopt=False)
            case DeleteReplicaSet(target=target):
                await self._delete(REPLICA_SETS, target)
            case PatchRollout():
                await self._patch_rollout(action)
            case SwitchService():
                await self._patch(SERVICES, action.target, _switch_patch(action, self._meta.name))
            case ReleaseService(target=target):
                await self._patch(SERVICES, target, RELEASE_PATCH)
            case CreateRun():
                await self._create_run(action)
            case CancelRun(target=target):
                return await self._cancel(target)
            case DeleteRun(target=target):
                await self._delete(ANALYSIS_RUNS, target)
            case EvictPod(name=name):
                return await self._evict(name)
            case MarkPods():
                return await self._mark(action)
            case ScaleWorkload(target=target, replicas=replicas):
                await self._scale_workload(target, replicas)
            case _:
                assert_never(action)
        return True

    def _key(self, name: str) -> ObjectKey:
        return ObjectKey(self._meta.namespace, name)

    async def _patch(self, kind: Kind[Any], target: Target, body: Mapping[str, Any]) -> None:
        """Patch an object that must still be what was decided on."""
        metadata = {**body.get("metadata", {}), "uid": target.uid, "resourceVersion": target.version}
        await self._cluster.patch(kind, self._key(target.name), MergePatch({**body, "metadata": metadata}))

    async def _delete(self, kind: Kind[Any], target: Target) -> None:
        try:
            await self._cluster.delete(
                kind,
                self._key(target.name),
                preconditions=Preconditions(uid=target.uid),
                propagation=Propagation.BACKGROUND,
            )
        except NotFound:
            return  # it is gone, which was wanted

    # --- ReplicaSets and the Rollout ------------------------------------------------------------------------------

    async def _create_replica_set(self, action: CreateReplicaSet) -> None:
        try:
            created: ReplicaSet = await self._cluster.create(REPLICA_SETS, action.body, namespace=self._meta.namespace)
        except AlreadyExists:
            await self._compare(action)
        except ClusterError as error:
            raise CreationError(action.name, error) from error
        else:
            # Its pods are born with what its template has.
            born_with = _ephemeral.mark(created, _ephemeral.injected_into(created), is_marked=True)
            self.outcome.marked += ((created.metadata.uid, born_with.text),)

    async def _compare(self, action: CreateReplicaSet) -> None:
        """Return if the ReplicaSet of that name is the wanted one; read from the server, for caches may be behind.

        Raises:
            CollisionError: it is not.
        """
        existing: ReplicaSet = await self._cluster.get(REPLICA_SETS, self._key(action.name))
        controller = existing.metadata.controller
        body = msgspec.json.decode(msgspec.json.encode(action.body), type=ReplicaSet)
        is_ours = controller is not None and controller.uid == self._meta.uid
        if not is_ours or not templates_equal(_ephemeral.bare_template(body), _ephemeral.bare_template(existing)):
            raise CollisionError(f"ReplicaSet {action.name} exists, and has another template or owner")

    async def _patch_rollout(self, action: PatchRollout) -> None:
        body: dict[str, Any] = {"metadata": {"uid": self._meta.uid, "resourceVersion": self.outcome.version}}
        if action.annotations:
            body["metadata"]["annotations"] = dict(action.annotations)
        if action.replicas is not None:
            body["spec"] = {"replicas": action.replicas}
        reply = await self._cluster.patch(ROLLOUTS, self._meta.key, MergePatch(body))
        self.outcome.version = reply.metadata.resource_version

    async def _adopt(self, target: Target) -> bool:
        # The cache may show a Rollout that has been deleted since, or another of the same name.
        live: Rollout = await self._cluster.get(ROLLOUTS, self._meta.key)
        if live.metadata.uid != self._meta.uid or live.metadata.is_deleting:
            return False
        await self._change_owners(target, adopt=True)
        return True

    async def _change_owners(self, target: Target, *, adopt: bool) -> None:
        live: ReplicaSet = await self._cluster.get(REPLICA_SETS, self._key(target.name))
        owners = [msgspec.to_builtins(owner) for owner in live.metadata.owner_references if owner.uid != self._meta.uid]
        if adopt:
            owners.append(
                controller_reference(api_version=ROLLOUTS.api_version, kind=ROLLOUTS.kind, metadata=self._meta)
            )
        await self._patch(REPLICA_SETS, target, {"metadata": {"ownerReferences": owners}})

    async def _mark(self, action: MarkPods) -> bool:
        has_changed, error = await mark_pods(self._cluster, self._clock, self._meta.namespace, action, self._marking)
        self.outcome.pods_error = self.outcome.pods_error or error
        if error is None and action.is_final:
            self.outcome.marked += ((action.target.uid, action.text),)
        return has_changed

    async def _scale_workload(self, target: Target, replicas: int) -> None:
        # Without the version: its own controller writes its status all the time, and the size is right in any state.
        body = {"metadata": {"uid": target.uid}, "spec": {"replicas": replicas}}
        await self._cluster.patch(DEPLOYMENTS, self._key(target.name), MergePatch(body))

    # --- runs and pods ----------------------------------------------------------------------------------------------

    async def _create_run(self, action: CreateRun) -> None:
        name = action.name
        for number in range(1, _SUFFIXES_TRIED_MAX):
            body = {**action.body, "metadata": {**action.body["metadata"], "name": name}}
            try:
                await self._cluster.create(ANALYSIS_RUNS, body, namespace=self._meta.namespace)
                break
            except AlreadyExists:
                existing = await self._cluster.get(ANALYSIS_RUNS, self._key(name))
                if is_reusable(existing, self._meta.uid, action.body["spec"]):
                    break
                name = f"{action.name}.{number}"
        if name != action.name:
            self.outcome.renamed += ((action.name, name),)

    async def _cancel(self, target: Target) -> bool:
        # Without the version: the run's own status is written all the time, and ending it is right in any state.
        body = {"metadata": {"uid": target.uid}, "spec": {"terminate": True}}
        try:
            await self._cluster.patch(ANALYSIS_RUNS, self._key(target.name), MergePatch(body))
        except NotFound:
            return False
        return True

    async def _evict(self, name: str) -> bool:
        try:
            await self._cluster.evict(self._key(name))
        except (TooManyRequests, NotFound):
            return False  # a budget says "not now": it is tried again later
        return True


def _replica_set_patch(action: PatchReplicaSet) -> dict[str, Any]:
    body: dict[str, Any] = {}
    if action.annotations:
        body["metadata"] = {"annotations": dict(action.annotations)}
    spec: dict[str, Any] = {}
    if action.replicas is not None:
        spec["replicas"] = action.replicas
    if action.min_ready_seconds is not None:
        spec["minReadySeconds"] = action.min_ready_seconds
    if action.template:
        spec["template"] = dict(action.template)
    return body | ({"spec": spec} if spec else {})


def _switch_patch(action: SwitchService, manager: str) -> dict[str, Any]:
    body: dict[str, Any] = {"spec": {"selector": {HASH_LABEL: action.pod_hash}}}
    if action.marks:
        body["metadata"] = {"annotations": {MANAGED_BY: manager}}
    return body


RELEASE_PATCH: Mapping[str, Any] = {
    "metadata": {"annotations": {MANAGED_BY: None}},
    "spec": {"selector": {HASH_LABEL: None}},
}

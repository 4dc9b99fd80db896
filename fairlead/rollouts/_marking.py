"""Carrying out `MarkPods`: many pods at a time, each for itself.

Source: argo-rollouts: rollout/ephemeralmetadata.go: syncEphemeralMetadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from fairlead.core.backoff import Backoff
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.errors import ClusterError, NotFound
from fairlead.core.kinds import PODS, Pod
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts.actions import MarkPods

log = structlog.get_logger(__name__)

_RETRY = Backoff(first=0.1, most=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """How pods are marked.

    Attributes:
        at_a_time: pods of one ReplicaSet that are patched at the same time.
        tries: for each of them, until its failure counts.
    """

    at_a_time: int = 10
    tries: int = 3


_DEFAULT = Marking()


async def mark_pods(
    cluster: Cluster, clock: Clock, namespace: str, action: MarkPods, marking: Marking = _DEFAULT
) -> tuple[bool, ClusterError | None]:
    """Make the live pods of a ReplicaSet carry what the action says; one that fails keeps no other from it.

    Returns:
        Whether any pod was changed, and why some were not.
    """
    try:
        due = [pod for pod in await _pods_of(cluster, namespace, action) if not _is_marked(pod, action)]
    except ClusterError as error:
        return False, error
    gate = asyncio.Semaphore(marking.at_a_time)

    async def one(pod: Pod) -> ClusterError | None:
        async with gate:
            return await _mark(cluster, clock, pod, action, marking.tries)

    errors = await asyncio.gather(*(one(pod) for pod in due))
    failed = [error for error in errors if error is not None]
    if failed:
        log.warning(
            "pods_not_marked", object=f"{namespace}/{action.target.name}", pods=len(failed), error=str(failed[0])
        )
    return len(failed) < len(due), failed[0] if failed else None


async def _pods_of(cluster: Cluster, namespace: str, action: MarkPods) -> list[Pod]:
    found: list[Pod] = []
    token = ""
    while True:
        page = await cluster.list(
            PODS, namespace=namespace, label_selector=f"{HASH_LABEL}={action.pod_hash}", continue_token=token
        )
        found += [pod for pod in page.items if _is_of(pod, action.target.uid)]
        token = page.continue_token
        if not token:
            return found


def _is_of(pod: Pod, uid: str) -> bool:
    controller = pod.metadata.controller
    return controller is not None and controller.uid == uid and not pod.metadata.is_deleting


def _is_marked(pod: Pod, action: MarkPods) -> bool:
    return _holds(pod.metadata.labels, action.labels) and _holds(pod.metadata.annotations, action.annotations)


def _holds(live: Mapping[str, str], wanted: Mapping[str, str | None]) -> bool:
    return all(live.get(key) == value for key, value in wanted.items())


async def _mark(cluster: Cluster, clock: Clock, pod: Pod, action: MarkPods, tries: int) -> ClusterError | None:
    # Without the resourceVersion: only keys of ours are named, and they are right whatever else has changed.
    metadata = {"uid": pod.metadata.uid}
    parts = {"labels": dict(action.labels), "annotations": dict(action.annotations)}
    body = {"metadata": metadata | {name: part for name, part in parts.items() if part}}
    attempt = 0
    while True:
        try:
            await cluster.patch(PODS, pod.metadata.key, MergePatch(body))
        except NotFound:
            return None
        except ClusterError as error:
            attempt += 1
            if attempt >= tries:
                return error
            await clock.sleep(_RETRY.delay(attempt - 1))
        else:
            return None

"""A monkey that does to pods what users, nodes and bad luck do.

It never runs by itself: start it where it is wanted.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from enum import StrEnum
from typing import assert_never

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, Preconditions
from fairlead.core.errors import ClusterError
from fairlead.core.kinds import PODS, Pod
from fairlead.core.objects import ObjectKey
from fairlead.testing.workloads._objects import PREFIX

PODS_SEEN_MAX = 5000  # it picks among so many, the first in the order of the API
UNREADY = PREFIX + "unready"


class Trick(StrEnum):
    """What the monkey can do to a pod."""

    DELETE = "delete"  # with its grace period
    KILL = "kill"  # at once, without one
    EVICT = "evict"  # through the policy API: a disruption budget may refuse
    UNREADY = "unready"  # not ready any more, until `recover`


class Monkey:
    """Plays a trick on a pod now and then: seeded, and over the Cluster port alone.

    Args:
        cluster: simulated or real.
        clock: measures its patience.
        seed: which pod, which trick and when follow from it.
        namespace: only pods of this one; empty: all.
        label_selector: only pods that it matches.
        mean_seconds: between two tricks; the waits are drawn from an exponential distribution.
        unready_seconds: how long a pod stays unready.
        tricks: those that it may play.
    """

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        seed: int = 0,
        *,
        namespace: str = "",
        label_selector: str = "",
        mean_seconds: float = 10.0,
        unready_seconds: float = 15.0,
        tricks: Sequence[Trick] = tuple(Trick),
    ) -> None:
        self._cluster = cluster
        self._clock = clock
        self._rng = random.Random(f"monkey/{seed}")
        self._namespace = namespace
        self._label_selector = label_selector
        self._mean_seconds = mean_seconds
        self._unready_seconds = unready_seconds
        self._tricks = tuple(tricks)
        self._unready: dict[tuple[ObjectKey, str], float] = {}  # key and UID, to the instant of recovery

    async def run(self) -> None:
        """Play until cancelled. Pods that are unready then stay so: see `recover`."""
        while True:
            await self._clock.sleep(self._rng.expovariate(1.0 / self._mean_seconds))
            await self.recover(due_only=True)
            await self.play()

    async def play(self) -> tuple[Trick, ObjectKey] | None:
        """Play one trick now; return which and on whom, or None: no pod to be found, or the API refused."""
        try:
            page = await self._cluster.list(
                PODS, namespace=self._namespace, label_selector=self._label_selector, limit=PODS_SEEN_MAX
            )
            pods = sorted((pod for pod in page.items if not pod.metadata.is_deleting), key=lambda pod: pod.metadata.key)
            if not pods:
                return None
            pod, trick = self._rng.choice(pods), self._rng.choice(self._tricks)
            await self._play(trick, pod)
        except ClusterError:
            return None  # what was to be broken is broken already, or protected
        return trick, pod.metadata.key

    async def recover(self, *, due_only: bool = False) -> None:
        """Let the pods that were made unready become ready again.

        Args:
            due_only: only those whose time is over.
        """
        for (key, uid), due in tuple(self._unready.items()):
            if due_only and due > self._clock.monotonic():
                continue
            body = {"metadata": {"uid": uid, "annotations": {UNREADY: None}}}
            try:
                await self._cluster.patch(PODS, key, MergePatch(body))
            except ClusterError as error:
                if not error.status:
                    continue  # no answer: next time
            del self._unready[(key, uid)]

    async def _play(self, trick: Trick, pod: Pod) -> None:
        key, uid = pod.metadata.key, pod.metadata.uid
        match trick:
            case Trick.DELETE:
                await self._cluster.delete(PODS, key, preconditions=Preconditions(uid=uid))
            case Trick.KILL:
                await self._cluster.delete(PODS, key, preconditions=Preconditions(uid=uid), grace_period_seconds=0)
            case Trick.EVICT:
                await self._cluster.evict(key)
            case Trick.UNREADY:
                body = {"metadata": {"uid": uid, "annotations": {UNREADY: "true"}}}
                await self._cluster.patch(PODS, key, MergePatch(body))
                self._unready[(key, uid)] = self._clock.monotonic() + self._unready_seconds
            case _:
                assert_never(trick)

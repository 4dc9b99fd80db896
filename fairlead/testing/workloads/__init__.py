"""The built-in controllers of the simulated cluster: ReplicaSet, Deployment, Job, EndpointSlice, scheduler.

Each decides in a pure function (`replicaset.decide`, ...); `Workloads` runs them all over a Cluster. They are for
the simulated cluster only: a real one has its own. Owner garbage collection and the end of namespaces belong to the
API server's simulation.

Its lies: no Events, no quota or limits of their own (what the API refuses shows as `ReplicaFailure`), no adoption of
strays, no affinity, taints or resource requests. Each module says what it leaves out.
"""

from __future__ import annotations

import asyncio
import random

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.runtime.informers import Informers
from fairlead.testing.workloads._controllers import (
    Deployments,
    EndpointSlices,
    Jobs,
    ReplicaSets,
    Scheduler,
    World,
)

__all__ = ["Workloads"]


class Workloads:
    """All built-in controllers over one Cluster. Event-driven: nothing is asked for while nothing changes.

    Args:
        cluster: the simulated one.
        clock: of the world that they live in.
        seed: names of what they create, and jitter, follow from it.
        namespace: only this one; empty: all.
    """

    def __init__(self, cluster: Cluster, clock: Clock, seed: int = 0, *, namespace: str = "") -> None:
        self._informers = Informers(cluster, clock, namespace=namespace, rng=random.Random(f"workloads/{seed}"))
        world = World(self._informers, clock, seed)
        loops = (ReplicaSets(world), Deployments(world), Jobs(world), EndpointSlices(world), Scheduler(world))
        self._controllers = tuple(loop.controller for loop in loops)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informers.run(), name="workloads-informers")
            # Nobody decides on half a picture: a ReplicaSet without its pods would get them all again.
            await self._informers.wait_synced()
            for controller in self._controllers:
                group.create_task(controller.run(), name=controller.name)

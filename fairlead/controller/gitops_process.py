"""The agent alone: a process that looks after Applications and nothing else, with no rights beyond that."""

from __future__ import annotations

import asyncio

import structlog

from fairlead.controller.gitops_main import GitOpsProcess
from fairlead.controller.gitops_wiring import GitOpsPart
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.runtime.leases import FencedCluster, LeaderElection

log = structlog.get_logger(__name__)

STOP_GRACE_SECONDS = 10.0


class GitOpsController:
    """Applications, taken care of while this process leads.

    Args:
        process: makes the part of each term.
        election: lead only while the lease is ours; None: always.
    """

    def __init__(self, process: GitOpsProcess, clock: Clock, *, election: LeaderElection | None = None) -> None:
        self._process = process
        self._clock = clock
        self._election = election
        self._part: GitOpsPart | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Work until `stop` is called (then return when what runs has ended), or cancelled."""
        working = asyncio.create_task(self._work(), name="working")
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not working.done() and self._part is not None and self._part.is_filled:
                self._part.stop()
                await asyncio.wait((working,), timeout=STOP_GRACE_SECONDS)
        finally:
            for task in (working, stopping):
                task.cancel()
            results = await asyncio.gather(working, stopping, return_exceptions=True)
        if isinstance(results[0], Exception):
            raise results[0]

    def stop(self) -> None:
        """Begin nothing new, and let `run` return."""
        self._stopping.set()

    async def _work(self) -> None:
        if self._election is None:
            await self._lead()
        else:
            await self._election.run(self._lead)

    async def _lead(self) -> None:
        part = self._part = self._process.part(self._fenced)
        try:
            await part.run()
        finally:
            self._part = None
            self._process.ended()

    def _fenced(self, cluster: Cluster) -> Cluster:
        return cluster if self._election is None else FencedCluster(cluster, self._election.fence, self._clock)

    # --- what probes ask ---------------------------------------------------------------------------------------------

    def not_ready(self) -> list[str]:
        """Return why it cannot do its work yet, as sentences; one that waits for the lease is ready to take over."""
        part = self._part
        if part is None or part.is_filled:
            return []
        return part.troubles() or ["the caches are being filled"]

    def look(self) -> None:
        """Take a look at the objects for the metrics."""
        if self._part is not None:
            self._part.look()

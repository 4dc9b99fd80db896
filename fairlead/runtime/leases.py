"""Who may write: one leader by a Lease, and a fence around the cluster for when leadership ends.

Guarantees: two processes lead at the same time only while one of them writes nothing. A leader gives up locally when
it could not renew for `renew_deadline`, which is shorter than the time after which others may take over; it is
judged by the monotonic clock, so that neither a jump of the wall clock nor a stopped process (SIGSTOP) prolongs it.
Assumptions: clocks of different machines run at about the same speed; they need not agree on the time.
Fails when: never by itself. An API server that cannot be reached costs the leadership, not the process.

Expiry is judged by what this process saw: a foreign Lease has expired when it did not change for its own duration
(as client-go does), never by comparing its `renewTime` with our wall clock.
Source: `k8s.io/client-go: tools/leaderelection`, coordination.k8s.io/v1 Lease.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import structlog

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.errors import AlreadyExists, ClusterError, Conflict, NotFound, Unavailable
from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.core.kinds import LEASES
from fairlead.core.objects import Manifest, ObjectKey, rfc3339_micro

log = structlog.get_logger(__name__)

_REQUEST_SECONDS_MAX = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseSettings:
    """Which Lease, who we are, and how long things take (seconds; the defaults are client-go's and Argo Rollouts').

    Attributes:
        identity: unique among all processes that may want the lease.
        duration: others may take over when they saw no renewal for so long.
        renew_deadline: the leader gives up when it could not renew for so long; must be shorter than `duration`.
        retry: between attempts to take or to renew.
    """

    key: ObjectKey
    identity: str
    duration: float = 15.0
    renew_deadline: float = 10.0
    retry: float = 2.0

    def __post_init__(self) -> None:
        assert self.retry < self.renew_deadline < self.duration, "retry < renew deadline < lease duration"


@dataclass(slots=True)
class Fence:
    """Until when this process may write, by the monotonic clock; zero: not at all."""

    valid_until: float = 0.0
    epoch: int = 0  # `leaseTransitions` of the term, for logs

    def is_open(self, clock: Clock) -> bool:
        return clock.monotonic() < self.valid_until


@dataclass(slots=True)
class _Seen:
    version: str = ""
    at: float = 0.0


@dataclass(slots=True)
class LeaderElection:
    """Takes a Lease, holds it while `lead` runs, and lets go of it.

    Args:
        cluster: the bare cluster, not a fenced one.
        rng: draws jitter.
    """

    cluster: Cluster
    clock: Clock
    settings: LeaseSettings
    rng: random.Random = field(default_factory=random.Random)
    fence: Fence = field(default_factory=Fence)
    _seen: _Seen = field(default_factory=_Seen)

    @property
    def is_leader(self) -> bool:
        return self.fence.is_open(self.clock)

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Lead, again and again, for as long as the lease can be had; return when `lead` returns by itself.

        `lead` is cancelled when the leadership is lost. Cancelling `run` cancels `lead` first, then releases.
        """
        while True:
            await self._acquire()
            log.info("leadership_acquired", lease=str(self.settings.key), epoch=self.fence.epoch)
            if await self._hold(lead):
                return
            log.warning("leadership_lost", lease=str(self.settings.key), epoch=self.fence.epoch)

    async def _acquire(self) -> None:
        while True:
            started = self.clock.monotonic()
            try:
                async with asyncio.timeout(_REQUEST_SECONDS_MAX):
                    taken = await self._take()
            except (ClusterError, TimeoutError) as error:
                log.warning("lease_unavailable", lease=str(self.settings.key), error=repr(error))
                taken = False
            if taken:
                # Counted from before the request: the server may have dated the renewal any time since then.
                self.fence.valid_until = started + self.settings.renew_deadline
                return
            await self.clock.sleep(self.settings.retry * (1 + self.rng.random() * 0.2))

    async def _take(self) -> bool:
        try:
            lease = await self.cluster.get(LEASES, self.settings.key)
        except NotFound:
            return await self._create()
        spec = _spec(lease)
        holder = str(spec.get("holderIdentity") or "")
        if lease.metadata.resource_version != self._seen.version:
            self._seen = _Seen(lease.metadata.resource_version, self.clock.monotonic())
        duration = spec.get("leaseDurationSeconds")
        theirs = float(duration) if isinstance(duration, int) else self.settings.duration
        if holder and holder != self.settings.identity and self.clock.monotonic() < self._seen.at + theirs:
            return False
        transitions = spec.get("leaseTransitions")
        epoch = transitions if isinstance(transitions, int) else 0
        epoch += holder != self.settings.identity
        return await self._write(lease, epoch, acquired=holder != self.settings.identity)

    async def _create(self) -> bool:
        now = rfc3339_micro(self.clock.now())
        body = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self.settings.key.name, "namespace": self.settings.key.namespace},
            "spec": self._body(0) | {"acquireTime": now},
        }
        try:
            await self.cluster.create(LEASES, body, namespace=self.settings.key.namespace)
        except AlreadyExists:
            return False
        self.fence.epoch = 0
        return True

    async def _write(self, lease: Manifest, epoch: int, *, acquired: bool) -> bool:
        spec = self._body(epoch) | ({"acquireTime": rfc3339_micro(self.clock.now())} if acquired else {})
        precondition = {"resourceVersion": lease.metadata.resource_version, "uid": lease.metadata.uid}
        try:
            await self.cluster.patch(LEASES, self.settings.key, MergePatch({"metadata": precondition, "spec": spec}))
        except (Conflict, NotFound):
            return False  # somebody else was quicker
        self.fence.epoch = epoch
        return True

    def _body(self, epoch: int) -> dict[str, Any]:
        return {
            "holderIdentity": self.settings.identity,
            "leaseDurationSeconds": int(self.settings.duration),
            "renewTime": rfc3339_micro(self.clock.now()),
            "leaseTransitions": epoch,
        }

    async def _hold(self, lead: Callable[[], Awaitable[None]]) -> bool:
        """Return whether `lead` ended by itself; False: the leadership was lost."""
        leading = asyncio.ensure_future(lead())
        renewing = asyncio.create_task(self._renew(), name="lease-renewal")
        try:
            await asyncio.wait((leading, renewing), return_when=asyncio.FIRST_COMPLETED)
            if not leading.done():
                return False
            leading.result()  # what it raised is the caller's
            return True
        finally:
            # No write may be under way when the lease is given up.
            for task in (leading, renewing):
                task.cancel()
            await asyncio.gather(leading, renewing, return_exceptions=True)
            self.fence.valid_until = 0.0
            await self._release()

    async def _renew(self) -> None:
        """Return when the lease could not be renewed in time, or is somebody else's."""
        while True:
            await self.clock.sleep(min(self.settings.retry, max(0.0, self.fence.valid_until - self.clock.monotonic())))
            started = self.clock.monotonic()
            left = self.fence.valid_until - started
            if left <= 0:
                return
            try:
                async with asyncio.timeout(min(left, _REQUEST_SECONDS_MAX)):
                    lease = await self.cluster.get(LEASES, self.settings.key)
                    if _spec(lease).get("holderIdentity") != self.settings.identity:
                        return
                    renewed = await self._write(lease, self.fence.epoch, acquired=False)
            except NotFound:
                return
            except (ClusterError, TimeoutError) as error:
                log.warning("lease_renewal_failed", lease=str(self.settings.key), error=repr(error), seconds_left=left)
                continue
            if renewed:
                self.fence.valid_until = started + self.settings.renew_deadline

    async def _release(self) -> None:
        """Let others take over at once, if the lease is still ours."""
        with suppress(ClusterError, TimeoutError):  # then it expires by itself
            async with asyncio.timeout(_REQUEST_SECONDS_MAX):
                lease = await self.cluster.get(LEASES, self.settings.key)
                if _spec(lease).get("holderIdentity") != self.settings.identity:
                    return
                precondition = {"resourceVersion": lease.metadata.resource_version, "uid": lease.metadata.uid}
                released = {"holderIdentity": "", "leaseDurationSeconds": 1}
                body = {"metadata": precondition, "spec": released}
                await self.cluster.patch(LEASES, self.settings.key, MergePatch(body))
                log.info("leadership_released", lease=str(self.settings.key))


def _spec(lease: Manifest) -> Mapping[str, Any]:
    spec = lease.content.get("spec")
    return spec if isinstance(spec, Mapping) else {}


class FencedCluster(Forwarding):
    """A Cluster that writes only while the fence is open; reads pass.

    The fence is checked at the last moment before a request is sent. A process that is stopped between the check and
    the sending, for longer than its lease, is caught by the preconditions that every write carries.
    """

    def __init__(self, cluster: Cluster, fence: Fence, clock: Clock) -> None:
        super().__init__(cluster)
        self._fence = fence
        self._clock = clock

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        if not self._fence.is_open(self._clock):
            raise Unavailable("not written: this process does not lead any more")
        return await call()

"""What a rollout asks of a traffic router, and what a router answers.

The rollout's machine owns the question, `fairlead.mesh_routing` answers it, and neither imports the other: the
values of the conversation live here. Third parties add a router through the entry-point group
`fairlead.traffic_routers`, whose members are callables of the type `RouterFactory`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, View
from fairlead.core.kinds import EndpointSlice, Service
from fairlead.core.objects import Manifest, ObjectKey


@dataclass(frozen=True, slots=True, kw_only=True)
class AdditionalWeight:
    """The share of an experiment's Service."""

    service: str
    weight: int


class TextMatchKind(StrEnum):
    """How a text is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    REGEX = "regex"


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A text to compare with."""

    kind: TextMatchKind
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestMatch:
    """Requests that are meant: everything that is given must hold."""

    method: TextMatch | None = None
    path: TextMatch | None = None
    headers: tuple[tuple[str, TextMatch], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedRoute:
    """A rule beside the split, by which requests reach the canary whatever its weight.

    Attributes:
        name: one of the Rollout's `managedRoutes`.
        matches: any of them.
        mirror_percent: None: these requests go to the canary. Else so many of them are copied to it.
    """

    name: str
    matches: tuple[RequestMatch, ...] = ()
    mirror_percent: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How a route splits: parts of `total`. canary + stable + additional = total.

    Attributes:
        managed: rules beside the split, the first one wins. They are written, seen and taken away with the weights.
    """

    canary: int
    stable: int
    total: int = 100
    additional: tuple[AdditionalWeight, ...] = ()
    managed: tuple[ManagedRoute, ...] = ()

    @staticmethod
    def of_canary(
        canary: int,
        *,
        total: int = 100,
        additional: tuple[AdditionalWeight, ...] = (),
        managed: tuple[ManagedRoute, ...] = (),
    ) -> Weights:
        """Return the split that gives `canary` parts to the canary and the rest to stable."""
        rest = total - canary - sum(share.weight for share in additional)
        return Weights(canary=canary, stable=rest, total=total, additional=additional, managed=managed)


class Held(StrEnum):
    """How far the stored weights have come. Only APPLIED and SETTLED let a step's clock start."""

    NOT_STORED = "NotStored"  # the route does not hold our weights yet (or is missing)
    STORED = "Stored"  # written; the route's controller has not accepted this generation
    ACCEPTED = "Accepted"  # accepted at observedGeneration; the data plane has not shown that it took them
    APPLIED = "Applied"  # evidence from the data plane
    SETTLED = "Settled"  # no evidence configured: the settle delay has passed ("settled, not verified")
    REFUSED = "Refused"  # the route's controller, or the proxy, refuses what we wrote
    CONFLICT = "Conflict"  # somebody else keeps changing our weights; we stopped fighting


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSeen:
    """What a router knows of its route at this moment, without any request.

    Attributes:
        weights: the split stored in the route; None when the route is missing or shows no split of ours.
        held: how far these stored weights have come.
        reason: UpperCamelCase word for conditions: `RouteNotFound`, `RouteNotAccepted`, `ProxyRefused` ...
        message: one sentence for people, with the culprit's name where there is one.
        since: since when `held` is what it is (as far as this process knows).
        settled_at: when SETTLED will be reached by time alone; None if evidence is configured or nothing is pending.
        blocked: not empty: weights must not be raised now (preflight refused; the text says which check and how
            to mend it). Lowering is always allowed.
        in_progress: the route is marked as one of an update that is under way.
        pods_kept: how long pods that lost traffic must stay after their weight fell (settle + drain).
        wake_at: when this router wants to be asked again, at the latest.
    """

    weights: Weights | None
    held: Held
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    settled_at: datetime | None = None
    blocked: str = ""
    in_progress: bool = False
    pods_kept: timedelta = timedelta(0)
    wake_at: datetime | None = None

    @property
    def holds(self) -> bool:
        """Whether traffic follows the stored weights, as well as this router can tell."""
        return self.held in (Held.APPLIED, Held.SETTLED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficTarget:
    """Whose traffic a router moves, and how the user configured it.

    Attributes:
        rollout: the Rollout's key; `uid` its UID (owner mark on routes).
        config: the user's block for this router, as JSON data (unvalidated).
        total: `maxTrafficWeight`.
        first_service: which of the two stands first in a route of the router's own, where they change places; empty:
            the stable one.
        managed_routes: names listed in `trafficRouting.managedRoutes`, in order.
        routes: every managed route that the steps may ask for, so that a router can refuse what it cannot express.
    """

    rollout: ObjectKey
    uid: str
    stable_service: str
    canary_service: str
    config: Mapping[str, Any]
    total: int = 100
    first_service: str = ""
    managed_routes: tuple[str, ...] = ()
    routes: tuple[ManagedRoute, ...] = ()


class TrafficRouter(Protocol):
    """One router of one Rollout. Made anew for every reconciliation: it must be cheap, and holds only links.

    What must be remembered between reconciliations (since when a generation is accepted, how often foreign edits
    were healed) belongs to the factory's own memory; after a restart it is found again, erring on the late side.
    """

    def observe(self, now: datetime) -> TrafficSeen:
        """Return what is known of the route, from caches only."""
        ...

    async def set_weights(self, weights: Weights, *, in_progress: bool) -> bool:
        """Make the route hold these weights, both in one write; return whether anything was written.

        Guarantees: whatever is not ours stays byte-equal. Nothing is written when the route holds them already.
        Fails when: the route is missing (ClusterError or ProviderError); the rollout then retries.
        """
        ...

    async def release(self) -> bool:
        """Give all weight to stable and remove our marks from the route; return whether anything was written."""
        ...


class LeftRoute(Protocol):
    """A route that a Rollout has split and does not use any more."""

    @property
    def name(self) -> str:
        """How people call it; told apart by it."""
        ...

    async def release(self) -> bool:
        """Give all weight to stable and take away what is ours; return whether anything was written.

        Fails when: it cannot be written (ClusterError or ProviderError); the rollout then retries.
        """
        ...


class RouteKeeper(Protocol):
    """Finds the routes that Rollouts leave behind when their `trafficRouting` changes or goes."""

    def left(self, target: TrafficTarget, used: Mapping[str, TrafficTarget]) -> Sequence[LeftRoute]:
        """Return the routes that carry a Rollout's mark and that none of its routers uses; from caches only.

        Args:
            target: the Rollout, and the Services between which it has split (its config does not matter).
            used: by the name of the router, what it is configured to do now.
        """
        ...


class Applied(StrEnum):
    """What the data plane says about weights."""

    APPLIED = "applied"
    NOT_YET = "not yet"
    REFUSED = "refused"
    UNKNOWN = "unknown"  # could not be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One answer of the data plane; `why` is for people, and not empty when refused or unknown."""

    applied: Applied
    why: str = ""


class EvidenceSource(Protocol):
    """Asks the data plane whether it routes by these weights now. Bounded in time by the implementation."""

    async def applied(self, route: Manifest, services: Mapping[str, int]) -> Evidence:
        """Return whether every proxy routes by `services` (backend Service name to weight) of this route."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterTools:
    """What the controller hands to a router factory.

    Attributes:
        routes: views by kind plural (`httproutes`, `grpcroutes`); kinds that the cluster does not serve are absent.
        evidence: None: not configured, the settle delay decides.
        wake: asks for another reconciliation of a Rollout, soon (evidence arrived).
        spawn: runs a coroutine in the background under supervision (evidence polls).
    """

    cluster: Cluster
    clock: Clock
    routes: Mapping[str, View[Manifest]]
    services: View[Service]
    endpoint_slices: View[EndpointSlice]
    namespaces: View[Manifest] | None = None
    gateways: View[Manifest] | None = None
    evidence: EvidenceSource | None = None
    wake: Callable[[ObjectKey], None] = field(default=lambda key: None)
    spawn: Callable[[Any], None] | None = None


class RouterFactory(Protocol):
    """The object behind an entry point: one per controller, named by the key under `trafficRouting`."""

    def validate(self, target: TrafficTarget) -> tuple[str, str] | None:
        """Return (field path below the block, error) of the first thing wrong with the block, or None. Offline."""
        ...

    def router(self, target: TrafficTarget) -> TrafficRouter:
        """Return the router of one Rollout."""
        ...

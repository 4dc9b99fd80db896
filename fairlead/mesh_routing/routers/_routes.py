"""One route of one Rollout: seen through the caches, written with preconditions. Shared by both routers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from fairlead.core.backoff import Backoff
from fairlead.core.cluster import ApplyPatch, JsonPatch
from fairlead.core.errors import Conflict, Invalid, NotFound, ProviderError
from fairlead.core.objects import Manifest
from fairlead.core.traffic import Applied, Held, RouterTools, TrafficTarget, Weights
from fairlead.mesh_routing._acceptance import confirmed
from fairlead.mesh_routing._drift import after_write, culprit, describe, healed_recently, is_foreign
from fairlead.mesh_routing._held import Holding, follow, hold
from fairlead.mesh_routing._httproute import Problem, Split, claimed_by_another, find_split
from fairlead.mesh_routing.actions import ApplyRoute, PatchRoute, RouteAction
from fairlead.mesh_routing.observation import Route, read_route
from fairlead.mesh_routing.routers._memory import Entry, Memory, MemoryKey, Question
from fairlead.mesh_routing.spec import RouteRef, RoutingSettings

log = structlog.get_logger(__name__)

_RETRY = Backoff(first=0.02, most=1.0)

Plan = Callable[[Route | None], RouteAction | Problem | None]
Reader = Callable[[Route, TrafficTarget], Split | Problem]


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSeen:
    """What one route shows. `problem` says why it carries no split of ours, `weights` are then None."""

    weights: Weights | None
    holding: Holding
    problem: Problem | None = None
    route: Route | None = None


class Routes:
    """Reads and writes single routes for the routers of one factory."""

    def __init__(self, tools: RouterTools, settings: RoutingSettings) -> None:
        if tools.evidence is not None and tools.spawn is None:
            raise ValueError("RouterTools.evidence is asked in the background: it needs RouterTools.spawn")
        self.tools = tools
        self.settings = settings
        self.memory = Memory(tools)

    def read(self, ref: RouteRef) -> Route | None:
        """Return a route from the cache."""
        view = self.tools.routes.get(ref.plural)
        manifest = view.get(ref.key) if view is not None else None
        return read_route(ref, manifest) if manifest is not None else None

    def observe(
        self,
        ref: RouteRef,
        target: TrafficTarget,
        now: datetime,
        *,
        settle: timedelta,
        controller: str,
        reader: Reader = find_split,
    ) -> RouteSeen:
        """Return what a route shows now; from the cache and the memory, never waiting.

        Args:
            ref: the route.
            target: whose split it should hold.
            now: this instant.
            settle: from acceptance to SETTLED when no evidence is configured.
            controller: the controllerName expected for Service parents; empty: any.
            reader: finds the split in the route.
        """
        key = MemoryKey(target.uid, ref)
        route = self.read(ref)
        if route is None:
            self.memory.drop(key)
            if ref.plural not in self.tools.routes:
                return _unusable("RouteKindNotServed", f"P01: {ref.kind.kind} v1 is not served by this cluster")
            return _unusable("RouteNotFound", f"{ref} not found")
        problem = claimed_by_another(route, target)
        if problem is not None:
            holding = Holding(held=Held.CONFLICT, reason=problem.reason, message=problem.message)
            return RouteSeen(weights=None, holding=holding, problem=problem, route=route)
        entry = self.memory.look(key)
        split = reader(route, target)
        weights = split.weights if isinstance(split, Split) else None
        if entry.writes is not None and entry.writes.uid == route.uid and route.generation < entry.writes.generation:
            # Our own write has not come back to the cache: what it shows is from before.
            holding = Holding(held=Held.STORED, reason="RoutePending", message=f"{ref} has been written just now")
            return RouteSeen(weights=entry.writes.weights, holding=holding, route=route)
        acceptance = confirmed(route, route.generation, controller=controller)
        progress = follow(entry.progress, uid=route.uid, generation=route.generation, acceptance=acceptance, now=now)
        entry.progress = progress
        if isinstance(split, Problem):
            self.memory.ask(key, None)
            return self._without_split(key, route, split, now)
        has_evidence = self.tools.evidence is not None
        applied = progress.evidence.applied if progress.evidence else None
        if not has_evidence or progress.accepted_at is None or applied is Applied.APPLIED:
            self.memory.ask(key, None)
        else:
            self.memory.ask(key, Question(target.rollout, route.manifest, _services(split.weights, target)))
        if weights is not None and weights == entry.asked and is_foreign(entry.writes, route, weights):
            self._take_over(entry, route, weights)  # it is our own write, whose answer was lost
        if is_foreign(entry.writes, route, weights):
            return RouteSeen(weights=weights, holding=self._foreign(key, route, weights, now), route=route)
        holding = hold(
            progress,
            acceptance,
            route=str(ref),
            has_evidence=has_evidence,
            settle=settle,
            confirm=self.settings.confirm,
            now=now,
        )
        return RouteSeen(weights=weights, holding=holding, route=route)

    def _without_split(self, key: MemoryKey, route: Route, problem: Problem, now: datetime) -> RouteSeen:
        if not problem.is_mended_by_writing:
            holding = Holding(held=Held.REFUSED, reason=problem.reason, message=problem.message)
            return RouteSeen(weights=None, holding=holding, problem=problem, route=route)
        if is_foreign(self.memory.look(key).writes, route, None):
            return RouteSeen(weights=None, holding=self._foreign(key, route, None, now), route=route)
        holding = Holding(held=Held.NOT_STORED, reason=problem.reason, message=problem.message)
        return RouteSeen(weights=None, holding=holding, route=route)

    def _foreign(self, key: MemoryKey, route: Route, weights: Weights | None, now: datetime) -> Holding:
        entry, settings = self.memory.look(key), self.settings
        heals = healed_recently(entry.writes, settings.heals_within, now)
        wanted = describe(entry.writes.weights if entry.writes else None)
        what = f"{route.ref}: {culprit(route)} changed our weights ({wanted}) to {describe(weights)}"
        if len(heals) < settings.heals_max:
            return Holding(held=Held.NOT_STORED, reason="WeightsChanged", message=f"{what}; they are written again")
        minutes = settings.heals_within.total_seconds() / 60
        message = f"{what}, after we had restored them {len(heals)} times within {minutes:g} minutes; not fought over"
        wake_at = heals[0] + settings.heals_within
        return Holding(held=Held.CONFLICT, reason="RouteConflict", message=message, since=heals[-1], wake_at=wake_at)

    async def write(self, ref: RouteRef, target: TrafficTarget, weights: Weights, plan: Plan, reader: Reader) -> bool:
        """Make a route hold these weights by what `plan` finds necessary; return whether anything was written.

        Guarantees: one write, against exactly the state that it was computed from (dedicated routes: of fields that
        are ours alone). After a conflict it is computed anew from the newest state, a bounded number of times.

        Raises:
            ProviderError: the route cannot carry the split; the text says why.
            ClusterError: it could not be written.
        """
        kind, attempts = ref.kind, self.settings.write_attempts
        if ref.plural not in self.tools.routes:
            raise ProviderError(f"{kind.kind} v1 is not served by this cluster", provider=str(ref))
        live = self.read(ref)
        attempt = 0
        while True:
            healed = self._heals(ref, target, weights, live, reader)
            if healed is None:
                return False
            action = plan(live)
            if isinstance(action, Problem):
                raise ProviderError(action.message, provider=str(ref))
            entry = self.memory.look(MemoryKey(target.uid, ref))
            if action is None:
                if live is not None and is_foreign(entry.writes, live, weights):
                    # Somebody else wrote just what we want: it is ours from now on, and to be looked at anew.
                    self._take_over(entry, live, weights)
                    self.tools.wake(target.rollout)
                return False
            entry.asked = weights
            try:
                written = await self._perform(action)
            except (Conflict, Invalid) as error:
                # A failed test of a JSON patch is Invalid as well; it is a refusal when nobody wrote in between.
                tested = live.resource_version if live is not None else ""
                if attempt >= attempts:
                    raise
                await self.tools.clock.sleep(_RETRY.delay(attempt, jitter=random.random()))
                live = await self._newest(ref)
                if isinstance(error, Invalid) and live is not None and live.resource_version == tested:
                    raise
                attempt += 1
                continue
            self._wrote(ref, target, weights, written, healed=healed)
            return True

    def _heals(
        self, ref: RouteRef, target: TrafficTarget, weights: Weights, live: Route | None, reader: Reader
    ) -> bool | None:
        """Return whether writing now undoes a foreign edit; None: it would, and has been done often enough."""
        key = MemoryKey(target.uid, ref)
        entry = self.memory.look(key)
        if live is None or entry.writes is None or weights != entry.writes.weights:
            return False  # other weights than last time are a step or an abort, and never withheld
        split = reader(live, target)
        seen = split.weights if isinstance(split, Split) else None
        if not is_foreign(entry.writes, live, seen):
            return False
        heals = healed_recently(entry.writes, self.settings.heals_within, self.tools.clock.now())
        return None if len(heals) >= self.settings.heals_max else True

    async def _perform(self, action: RouteAction) -> Manifest:
        kind, key = action.route.kind, action.route.key
        match action:
            case PatchRoute(operations=operations):
                return await self.tools.cluster.patch(kind, key, JsonPatch(operations))
            case ApplyRoute(body=body):
                return await self.tools.cluster.patch(kind, key, ApplyPatch(body, force=True))

    async def _newest(self, ref: RouteRef) -> Route | None:
        try:
            return read_route(ref, await self.tools.cluster.get(ref.kind, ref.key))
        except NotFound:
            return None

    def _take_over(self, entry: Entry, route: Route, weights: Weights) -> None:
        entry.writes = after_write(
            entry.writes,
            uid=route.uid,
            generation=route.generation,
            weights=weights,
            healed=False,
            within=self.settings.heals_within,
            now=self.tools.clock.now(),
        )

    def _wrote(
        self, ref: RouteRef, target: TrafficTarget, weights: Weights, written: Manifest, *, healed: bool
    ) -> None:
        entry = self.memory.look(MemoryKey(target.uid, ref))
        entry.writes = after_write(
            entry.writes,
            uid=written.metadata.uid,
            generation=written.metadata.generation,
            weights=weights,
            healed=healed,
            within=self.settings.heals_within,
            now=self.tools.clock.now(),
        )
        log.info(
            "route_weights_written",
            object=str(target.rollout),
            route=str(ref),
            canary=weights.canary,
            stable=weights.stable,
            total=weights.total,
            generation=written.metadata.generation,
            healed=healed,
        )


def _services(weights: Weights, target: TrafficTarget) -> dict[str, int]:
    services = {target.stable_service: weights.stable, target.canary_service: weights.canary}
    return services | {share.service: share.weight for share in weights.additional}


def _unusable(reason: str, message: str) -> RouteSeen:
    problem = Problem(reason=reason, message=message)
    return RouteSeen(
        weights=None, holding=Holding(held=Held.NOT_STORED, reason=reason, message=message), problem=problem
    )

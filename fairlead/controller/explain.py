"""What an object waits for, worked out by the very machines that decide about it, from a fresh look at the cluster."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from fairlead.analysis.explain import explain as explain_run
from fairlead.analysis.planner import TemplatePlanner
from fairlead.controller.settings import Settings
from fairlead.controller.wiring import Caches, routers
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.conditions import Condition, find
from fairlead.core.decision import Blocker, Event
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.core.traffic import Held, RouterFactory, RouterTools, TrafficRouter, TrafficSeen, TrafficTarget, Weights
from fairlead.rollouts.reconciler import RolloutReconciler, Views
from fairlead.rollouts.status import RolloutStatus, parse
from fairlead.rollouts.triggers import workload_values


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why an object is as it is.

    Attributes:
        phase: as its status says.
        message: beside it.
        blocked_on: what it waits for; None: for nothing.
        conditions: of its status, in stored order.
        details: what belongs to it and may be the reason, one sentence each.
    """

    phase: str
    message: str
    blocked_on: Blocker | None
    conditions: tuple[Condition, ...] = ()
    details: tuple[str, ...] = ()


class _NoRecorder:
    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        raise AssertionError("an explanation records nothing")


class _Told:
    """A router that tells what the running controller has found out, as far as the Rollout's status says so.

    How far the data plane has come is known to the controller only: a fresh look would start to wait from now.
    """

    def __init__(self, inner: TrafficRouter, status: RolloutStatus) -> None:
        self._inner = inner
        self._status = status

    def observe(self, now: datetime) -> TrafficSeen:
        seen = self._inner.observe(now)
        stored, told = self._status.weights, find(self._status.conditions, "TrafficRouted")
        if stored is None or seen.weights is None or stored.canary.weight != seen.weights.canary:
            return _pending(seen)
        if stored.verified is not False:
            held = Held.APPLIED if stored.verified else Held.SETTLED
            return replace(seen, held=held, since=told.last_transition_time if told else None, settled_at=None)
        if told is None or told.is_true:
            return _pending(seen)
        held = Held.CONFLICT if told.reason == "RouteConflict" else Held.REFUSED
        return replace(seen, held=held, reason=told.reason, message=told.message, since=told.last_transition_time)

    async def set_weights(self, weights: Weights, *, in_progress: bool) -> bool:
        raise AssertionError("an explanation writes nothing")

    async def release(self) -> bool:
        raise AssertionError("an explanation writes nothing")


def _pending(seen: TrafficSeen) -> TrafficSeen:
    """Return what can be said of weights about which the controller has not said the last word."""
    if seen.held is not Held.ACCEPTED or seen.weights is None:
        return seen
    # Whether it has evidence, and since when it waits, stands nowhere: our own settle delay began just now.
    what = (
        f"weight {seen.weights.canary} of {seen.weights.total} is accepted; the controller waits until traffic follows"
    )
    return replace(seen, message=what, settled_at=None)


class _ToldFactory:
    """Makes routers that tell what is known."""

    def __init__(self, inner: RouterFactory, status: RolloutStatus) -> None:
        self._inner = inner
        self._status = status

    def validate(self, target: TrafficTarget) -> tuple[str, str] | None:
        return self._inner.validate(target)

    def router(self, target: TrafficTarget) -> TrafficRouter:
        return _Told(self._inner.router(target), self._status)


@asynccontextmanager
async def _filled(cluster: Cluster, clock: Clock, settings: Settings) -> AsyncIterator[Caches]:
    caches = Caches(cluster, clock, settings, random.Random())
    informing = asyncio.create_task(caches.informers.run())
    try:
        await caches.informers.wait_synced()
        yield caches
    finally:
        informing.cancel()
        await asyncio.gather(informing, return_exceptions=True)


async def explain_rollout(cluster: Cluster, clock: Clock, key: ObjectKey) -> Explanation | None:
    """Return what a Rollout waits for; None: there is no such Rollout. Nothing is written."""
    settings = Settings(namespace=key.namespace)
    async with _filled(cluster, clock, settings) as caches:
        rollout = caches.rollouts.get(key)
        if rollout is None:
            return None
        status = parse(rollout.status)
        for value in workload_values(rollout):
            kind = next(kind for kind in caches.workload_stores if value.startswith(f"{kind.plural}/"))
            caches.informers.want(kind)
            await caches.workload_stores[kind].wait_synced()
        tools = RouterTools(
            cluster=cluster,
            clock=clock,
            routes=caches.routes,
            services=caches.services,
            endpoint_slices=caches.slices,
            gateways=caches.gateways,
        )
        reconciler = RolloutReconciler(
            cluster,
            Views(
                rollouts=caches.rollouts,
                replica_sets=caches.replica_sets,
                services=caches.services,
                runs=caches.runs,
                endpoint_slices=caches.slices,
                workloads=caches.workloads,
            ),
            TemplatePlanner(caches.templates, caches.cluster_templates),
            {name: _ToldFactory(factory, status) for name, factory in routers(tools, settings).items()},
            clock,
            _NoRecorder(),
        )
        decision = await reconciler.explain(key)
        details = [
            f"{kind} analysis {run.name}: {run.phase or 'Pending'}{f' ({run.message})' if run.message else ''}"
            for kind, run in (("step", status.step_run), ("background", status.background_run))
            if run is not None
        ]
        for ref in (status.step_run, status.background_run):
            run = caches.runs.get(ObjectKey(key.namespace, ref.name)) if ref is not None else None
            if run is not None and not run.is_completed and (waits := explain_run(run, clock.now())) is not None:
                details.append(f"  {run.metadata.name} waits for: {waits.what}")
        return Explanation(
            phase=status.phase,
            message=status.message,
            blocked_on=decision.blocked_on if decision is not None else None,
            conditions=status.conditions,
            details=tuple(details),
        )


async def explain_analysis_run(cluster: Cluster, clock: Clock, key: ObjectKey) -> Explanation:
    """Return what an AnalysisRun waits for. NotFound: there is none."""
    from fairlead.core.kinds import ANALYSIS_RUNS

    run = await cluster.get(ANALYSIS_RUNS, key)
    return Explanation(phase=run.phase or "Pending", message=run.message, blocked_on=explain_run(run, clock.now()))


def text(what: str, found: Explanation, now: datetime) -> str:
    """Return an explanation for a terminal."""
    from fairlead.core.durations import human_duration

    lines = [f"{what}: {found.phase or 'Pending'}{f' - {found.message}' if found.message else ''}"]
    blocked = found.blocked_on
    if blocked is None:
        lines.append("  waits for   nothing: it is as it was asked to be")
    else:
        lines.append(f"  waits for   {blocked.what}  [{blocked.reason}]")
        if blocked.since is not None:
            lines.append(f"  since       {blocked.since:%Y-%m-%d %H:%M:%SZ} ({human_duration(now - blocked.since)})")
        if blocked.next:
            lines.append(f"  then        {blocked.next}")
        if blocked.at is not None:
            left = human_duration(blocked.at - now)
            lines.append(f"  looks again {blocked.at:%Y-%m-%d %H:%M:%SZ} at the latest (in {left})")
        else:
            lines.append("  looks again when something changes")
    if found.details:
        lines += ["", *found.details]
    if found.conditions:
        lines += ["", "conditions:"]
        width = max(len(condition.type) for condition in found.conditions)
        lines += [
            f"  {condition.type:<{width}}  {condition.status:<7}  "
            f"{condition.reason}{': ' if condition.reason else ''}{condition.message}"
            for condition in found.conditions
        ]
    return "\n".join(lines)

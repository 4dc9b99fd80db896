"""What became of a namespace's objects, change by change in the order of the API server, and what must hold at each.

The names of the invariants are those of the promises in the README.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fairlead.core.cluster import EventType
from fairlead.core.errors import Expired, TooManyRequests, Unavailable
from fairlead.core.kinds import EVENTS, HTTP_ROUTES
from fairlead.core.objects import Kind, Manifest
from tests.controlplane.stage import JOBS, ROLLOUTS, RUNS, SERVICES, SETS, Stage

HASH = "rollouts-pod-template-hash"
_WATCHED = (ROLLOUTS, SETS, SERVICES, HTTP_ROUTES, RUNS, JOBS, EVENTS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    version: int
    kind: str
    name: str
    type: EventType
    content: Mapping[str, Any]


@dataclass(kw_only=True)
class History:
    changes: list[Change] = field(default_factory=list)

    def add(self, kind: Kind[Manifest], type_: EventType, found: Manifest) -> None:
        metadata = found.metadata
        self.changes.append(
            Change(
                version=int(metadata.resource_version),
                kind=kind.kind,
                name=metadata.name,
                type=type_,
                content=found.content,
            )
        )

    def catch_up(self, kind: Kind[Manifest], found: Sequence[Manifest]) -> None:
        """Take note of objects as a list shows them; what happened to them in between is not known."""
        seen = {(change.name, change.version) for change in self.changes if change.kind == kind.kind}
        names = {name for name, _ in seen}
        for one in found:
            if (one.metadata.name, int(one.metadata.resource_version)) not in seen:
                self.add(kind, EventType.MODIFIED if one.metadata.name in names else EventType.ADDED, one)

    def sorted(self) -> Sequence[Change]:
        """Return the changes in the order in which the API server committed them."""
        return sorted(self.changes, key=lambda change: change.version)

    def created(self) -> Counter[str]:
        """Return how many objects of each kind were created, of those kinds that a controller creates."""
        made = (SETS.kind, RUNS.kind, JOBS.kind)
        return Counter(change.kind for change in self.changes if change.type is EventType.ADDED and change.kind in made)


@asynccontextmanager
async def recorded(stage: Stage) -> AsyncIterator[History]:
    """Record what happens in a namespace while the context lasts."""
    history = History()

    async def record(kind: Kind[Manifest], version: str) -> None:
        while True:
            try:
                async for event in stage.cluster.watch(kind, resource_version=version, namespace=stage.namespace):
                    version = event.resource_version
                    if isinstance(event.object, Manifest):
                        history.add(kind, event.type, event.object)
            except Expired:  # a restarted API server has forgotten what was before: see what has become of it
                with suppress(Unavailable, TooManyRequests):
                    page = await stage.cluster.list(kind, namespace=stage.namespace, limit=0)
                    history.catch_up(kind, page.items)
                    version = page.resource_version
            except (Unavailable, TooManyRequests):
                pass  # it is away, or not quite back: go on where we were
            await asyncio.sleep(0.1)

    tasks = []
    for kind in _WATCHED:
        page = await stage.cluster.list(kind, namespace=stage.namespace)
        tasks.append(asyncio.create_task(record(kind, page.resource_version)))
    try:
        yield history
        await asyncio.sleep(0.2)  # what is on its way
        for task in tasks:
            assert not task.done(), f"a watch ended: {task}"
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass(kw_only=True)
class _Seen:
    """The state of the namespace at one version."""

    available: dict[str, int] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)
    selected: dict[str, str] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    is_aborted: bool = False
    step: tuple[str, int] = ("", 0)


def violations(changes: Sequence[Change], *, name: str, weights: frozenset[int]) -> Iterator[str]:
    """Yield what was broken, and at which version.

    Args:
        changes: in order.
        name: of the Rollout, which the Services and the route are named after.
        weights: those that the steps give the canary, with 0 and 100.
    """
    seen = _Seen()
    for change in changes:
        for broken in _look(seen, change, name, weights):
            yield f"{change.version}: {broken}"


def _look(seen: _Seen, change: Change, name: str, weights: frozenset[int]) -> Iterator[str]:
    content = change.content
    if change.type is EventType.DELETED:
        return
    if change.kind == SETS.kind:
        pod_hash = content["metadata"]["labels"][HASH]
        seen.available[pod_hash] = (content.get("status") or {}).get("availableReplicas", 0)
        seen.wanted[pod_hash] = content["spec"].get("replicas", 0)
        for service, weight in seen.weights.items():
            if weight and seen.selected.get(service) == pod_hash and not seen.wanted[pod_hash]:
                yield f"scaled to 0 under a weight of {weight}: {pod_hash}"
    elif change.kind == SERVICES.kind and change.name in (f"{name}-stable", f"{name}-canary"):
        pod_hash = content["spec"]["selector"].get(HASH, "")
        before = seen.selected.get(change.name, "")
        seen.selected[change.name] = pod_hash
        if pod_hash and pod_hash != before and not seen.available.get(pod_hash):
            yield f"{change.name} selects {pod_hash}, which has no available pod"
    elif change.kind == HTTP_ROUTES.kind:
        yield from _look_at_route(seen, content, name, weights)
    elif change.kind == ROLLOUTS.kind:
        yield from _look_at_rollout(seen, content)


def _look_at_route(seen: _Seen, content: Mapping[str, Any], name: str, weights: frozenset[int]) -> Iterator[str]:
    found = {one["name"]: one.get("weight", 1) for one in content["spec"]["rules"][0]["backendRefs"]}
    if "fairlead.dev/rollout" not in (content["metadata"].get("annotations") or {}):
        return  # the user's own, so far
    stable, canary = found[f"{name}-stable"], found[f"{name}-canary"]
    before = seen.weights.get(f"{name}-canary", 0)
    seen.weights = found
    if stable + canary != 100 or canary not in weights:
        yield f"weights {stable}/{canary}"
    if canary > before and seen.is_aborted:
        yield f"the canary's weight rose from {before} to {canary} after the abort"
    for service, weight in found.items():
        pod_hash = seen.selected.get(service, "")
        if weight and not seen.available.get(pod_hash):
            yield f"a weight of {weight} for {service}, which selects {pod_hash or 'everything'} without available pods"


def _look_at_rollout(seen: _Seen, content: Mapping[str, Any]) -> Iterator[str]:
    status = content.get("status") or {}
    seen.is_aborted = bool(status.get("abort"))
    revision, step = str(status.get("currentPodHash") or ""), int(status.get("currentStepIndex") or 0)
    if revision == seen.step[0] and step < seen.step[1] and not seen.is_aborted:
        yield f"step {step} after step {seen.step[1]} of {revision}"
    seen.step = (revision, step)

"""Scenarios about what changes under a Rollout's feet: its routing, its strategy, who is stable, who may be evicted."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from fairlead.core.cluster import JsonPatch, MergePatch
from fairlead.core.kinds import HTTP_ROUTES, carried
from fairlead.core.objects import ObjectKey, rfc3339
from tests.controlplane import blue_green
from tests.controlplane.scenarios import (
    NAME,
    Scenario,
    is_in_phase,
    resting,
    rollout,
    status_of,
    traffic,
    until_step,
    update,
)
from tests.controlplane.stage import PODS, ROLLOUTS, SERVICES, Stage

BUDGETS = carried("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
_HALT: tuple[Mapping[str, Any], ...] = ({"setWeight": 50}, {"pause": {}})
PING, PONG = f"{NAME}-stable", f"{NAME}-canary"
_MARK = "argo-rollouts.argoproj.io/managed-by-rollouts"


def _weights(route: Mapping[str, Any]) -> dict[str, int]:
    return {one["name"]: one.get("weight", 1) for one in route["spec"]["rules"][0]["backendRefs"]}


async def _replace_strategy(stage: Stage, strategy: Mapping[str, Any]) -> None:
    operation = {"op": "replace", "path": "/spec/strategy", "value": dict(strategy)}
    await stage.cluster.patch(ROLLOUTS, stage.key(NAME), JsonPatch([operation]))


async def _until_let_go(stage: Stage) -> None:
    """Wait until the route leads to stable alone and carries nothing of ours; then the Services are looked at."""

    async def is_let_go() -> bool:
        route = await stage.read(HTTP_ROUTES, NAME)
        marks = [key for key in route["metadata"].get("annotations") or {} if key.startswith("fairlead.dev/")]
        return not marks and _weights(route) == {f"{NAME}-stable": 100, f"{NAME}-canary": 0}

    await stage.until("the route is let go", is_let_go)

    async def are_free() -> bool:
        found = [await stage.read(SERVICES, f"{NAME}-{side}") for side in ("stable", "canary")]
        return not any(
            _MARK in (one["metadata"].get("annotations") or {}) or blue_green.HASH_LABEL in one["spec"]["selector"]
            for one in found
        )

    await stage.until("its Services are let go", are_free)


async def _until_promoted(stage: Stage) -> None:
    async def is_done() -> bool:
        status = await status_of(stage)
        return await is_in_phase(stage, "Healthy") and status.get("stableRS") == status.get("currentPodHash")

    await stage.until("it is promoted", is_done)
    await resting(stage)


async def _command(stage: Stage, body: Mapping[str, Any]) -> None:
    await stage.cluster.patch(ROLLOUTS, stage.key(NAME), MergePatch({"status": dict(body)}), subresource="status")


async def _unrouted(stage: Stage) -> None:
    await update(stage, 2)
    await until_step(stage, 1)
    await _replace_strategy(stage, {"canary": {"steps": [dict(step) for step in _HALT]}})
    await _until_let_go(stage)
    await until_step(stage, 1)
    await _command(stage, {"pauseConditions": None})
    await _until_promoted(stage)


async def _to_blue_green(stage: Stage) -> None:
    await update(stage, 2)
    await until_step(stage, 1)
    strategy = blue_green.blue_green()["spec"]["strategy"]
    await _replace_strategy(stage, strategy)
    await _until_let_go(stage)
    await _until_promoted(stage)
    status = await status_of(stage)
    assert "weights" not in (status.get("canary") or {})
    assert await blue_green.selected(stage, blue_green.ACTIVE) == status["currentPodHash"]


async def _took_turns(stage: Stage) -> None:
    for version, turn, split in ((2, "pong", {PING: 0, PONG: 100}), (3, "ping", {PING: 100, PONG: 0})):
        assert (await status_of(stage))["canary"]["stablePingPong"] != turn
        await update(stage, version)
        await until_step(stage, 1)
        assert _weights(await stage.read(HTTP_ROUTES, NAME)) == {PING: 50, PONG: 50}
        await _command(stage, {"pauseConditions": None})
        await _until_promoted(stage)
        assert (await status_of(stage))["canary"]["stablePingPong"] == turn
        assert _weights(await stage.read(HTTP_ROUTES, NAME)) == split


async def _turn_was_aborted(stage: Stage) -> None:
    await update(stage, 2)
    await until_step(stage, 1)
    await _command(stage, {"abort": True})
    await stage.until("it is aborted", lambda: is_in_phase(stage, "Degraded"))
    await resting(stage)
    assert (await status_of(stage))["canary"]["stablePingPong"] == "ping"
    assert _weights(await stage.read(HTTP_ROUTES, NAME)) == {PING: 100, PONG: 0}


def _taking_turns() -> dict[str, Any]:
    found = rollout(*_HALT, routed=True)
    strategy = found["spec"]["strategy"]["canary"]
    del strategy["stableService"], strategy["canaryService"]
    strategy["pingPong"] = {"pingService": PING, "pongService": PONG}
    return found


# --- restarts --------------------------------------------------------------------------------------------------------


async def _pods(stage: Stage) -> list[Mapping[str, Any]]:
    return [one for one in await stage.list(PODS) if "deletionTimestamp" not in one["metadata"]]


async def _restarted_by_the_budget(stage: Stage) -> None:
    """A budget that spares no pod keeps all of them; one that spares one lets them go one by one."""
    budget = {
        "apiVersion": BUDGETS.api_version,
        "kind": BUDGETS.kind,
        "metadata": {"name": NAME},
        "spec": {"minAvailable": 2, "selector": {"matchLabels": {"app": NAME}}},
    }
    await stage.cluster.create(BUDGETS, budget, namespace=stage.namespace)

    async def is_counted() -> bool:
        status = (await stage.read(BUDGETS, NAME)).get("status") or {}
        return int(status.get("currentHealthy", 0)) == 2

    with suppress(AssertionError):  # the simulation counts at the eviction, and keeps no status
        await stage.until("the budget knows its pods", is_counted, seconds=10.0)
    before = {one["metadata"]["uid"] for one in await _pods(stage)}
    assert len(before) == 2
    newest = max(datetime.fromisoformat(one["metadata"]["creationTimestamp"]) for one in await _pods(stage))
    restart_at = rfc3339(newest.astimezone(UTC) + timedelta(seconds=1))
    await stage.cluster.patch(ROLLOUTS, stage.key(NAME), MergePatch({"spec": {"restartAt": restart_at}}))

    async def is_restarting() -> bool:
        status = await status_of(stage)
        return await is_in_phase(stage, "Progressing") and status.get("message") == "rollout is restarting"

    await stage.until("it restarts", is_restarting)
    await _stays(stage, before)
    await stage.cluster.patch(BUDGETS, stage.key(NAME), MergePatch({"spec": {"minAvailable": 1}}))

    async def is_restarted() -> bool:
        pods = await _pods(stage)
        assert len(pods) >= 1, "the budget spares one"
        status = await status_of(stage)
        return status.get("restartedAt") == restart_at and not before & {one["metadata"]["uid"] for one in pods}

    # Nobody tells when a budget has room again: it is asked every 30 s.
    await stage.until("all pods are others", is_restarted, seconds=150.0)
    await stage.until("it is healthy", lambda: is_in_phase(stage, "Healthy"))
    await resting(stage)
    await stage.cluster.delete(BUDGETS, ObjectKey(stage.namespace, NAME))


async def _stays(stage: Stage, pods: set[str]) -> None:
    """Watch for a moment that nobody is evicted."""
    looks = 0

    async def has_been_watched() -> bool:
        nonlocal looks
        assert {one["metadata"]["uid"] for one in await _pods(stage)} == pods
        looks += 1
        return looks > 40

    await stage.until("nobody was evicted", has_been_watched)


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="unrouted", documents=(*traffic(), rollout(*_HALT, routed=True)), play=_unrouted),
        Scenario(
            name="to-blue-green",
            documents=(*traffic(), *blue_green.services(), rollout(*_HALT, routed=True)),
            play=_to_blue_green,
        ),
        Scenario(name="ping-pong", documents=(*traffic(), _taking_turns()), play=_took_turns),
        Scenario(name="ping-pong-abort", documents=(*traffic(), _taking_turns()), play=_turn_was_aborted),
        Scenario(name="restart", documents=(rollout(*_HALT, routed=False),), play=_restarted_by_the_budget),
    )
}

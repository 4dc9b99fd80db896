"""The canary scenarios, as stories that any cluster can play, and what a cluster looks like when one has ended."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fairlead.core.cluster import MergePatch
from fairlead.core.kinds import EVENTS, GATEWAYS, HTTP_ROUTES
from tests.controlplane.stage import JOBS, PODS, ROLLOUTS, RUNS, SERVICES, SETS, Stage

NAME = "web"
STABLE, CANARY, APEX = f"{NAME}-stable", f"{NAME}-canary", NAME
GATEWAY_BLOCK = "argoproj-labs/gatewayAPI"
_GATEWAY_GROUP = "gateway.networking.k8s.io"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A story about one Rollout.

    Attributes:
        documents: what is created at first; then the story waits until the first revision is healthy.
        play: what happens next, until everything has come to rest.
    """

    name: str
    documents: Sequence[Mapping[str, Any]]
    play: Callable[[Stage], Awaitable[None]]

    async def prepare(self, stage: Stage) -> None:
        await stage.create(self.documents)
        await stage.until("the first revision is healthy", lambda: is_in_phase(stage, "Healthy"))
        await resting(stage)

    async def run(self, stage: Stage) -> None:
        await self.prepare(stage)
        await self.play(stage)


# --- objects ----------------------------------------------------------------------------------------------------------


def pod_template(version: int) -> dict[str, Any]:
    container = {"name": "web", "image": f"registry.example/web:{version}", "ports": [{"containerPort": 8080}]}
    return {"metadata": {"labels": {"app": NAME}}, "spec": {"containers": [container]}}


def rollout(
    *steps: Mapping[str, Any], routed: bool, replicas: int = 2, name: str = NAME, **canary: Any
) -> dict[str, Any]:
    """Return a Rollout whose pods linger for as short a time as can be after they lost their traffic."""
    strategy: dict[str, Any] = {"steps": list(steps), **canary}
    if routed:
        block = {"httpRoute": name}
        strategy |= {
            "stableService": f"{name}-stable",
            "canaryService": f"{name}-canary",
            "trafficRouting": {"plugins": {GATEWAY_BLOCK: block}},
        }
        strategy = {"scaleDownDelaySeconds": 1, "abortScaleDownDelaySeconds": 1} | strategy
    labels = {"app": name}
    template = pod_template(1)
    template["metadata"]["labels"] = labels
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": labels},
            "template": template,
            "strategy": {"canary": strategy},
        },
    }


def traffic(name: str = NAME) -> list[dict[str, Any]]:
    """Return the Services and the route of a routed Rollout."""
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    services = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": service},
            "spec": {"selector": {"app": name}, "ports": ports},
        }
        for service in (name, f"{name}-stable", f"{name}-canary")
    ]
    backends = [{"name": f"{name}-{side}", "port": 80} for side in ("stable", "canary")]
    route = {
        "apiVersion": f"{_GATEWAY_GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"group": "", "kind": "Service", "name": name, "port": 80}],
            "rules": [{"backendRefs": backends}],
        },
    }
    return [*services, route]


def judging_template() -> dict[str, Any]:
    """Return a template whose Job fails at once."""
    job = {
        "backoffLimit": 0,
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "containers": [{"name": "judge", "image": "registry.example/judge:1", "command": ["false"]}],
            }
        },
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "judge"},
        "spec": {"metrics": [{"name": "judged", "provider": {"job": {"spec": job}}}]},
    }


# --- looks and deeds --------------------------------------------------------------------------------------------------


async def status_of(stage: Stage) -> Mapping[str, Any]:
    return (await stage.read(ROLLOUTS, NAME)).get("status") or {}


async def is_in_phase(stage: Stage, phase: str) -> bool:
    found = await stage.read(ROLLOUTS, NAME)
    status = found.get("status") or {}
    observed = str(status.get("observedGeneration") or "")
    return status.get("phase") == phase and observed == str(found["metadata"]["generation"])


async def resting(stage: Stage) -> None:
    """Wait until replica counts are as wished and ReplicaSets that lost their traffic have lost their pods."""

    async def rests() -> bool:
        status = await status_of(stage)
        sets = await stage.list(SETS)
        if ((status.get("canary") or {}).get("weights") or {}).get("verified") is False:
            return False  # the route has not settled, or the status does not say so yet
        kept = {status.get("stableRS")} if status.get("phase") in ("Healthy", "Degraded") else set()
        if not kept:
            return False
        for one in sets:
            wanted, seen = one["spec"].get("replicas", 0), one.get("status") or {}
            if one["metadata"]["labels"]["rollouts-pod-template-hash"] not in kept and wanted:
                return False
            if seen.get("replicas", 0) != wanted or seen.get("availableReplicas", 0) != wanted:
                return False
        wanted_in_all = sum(one["spec"].get("replicas", 0) for one in sets)
        pods = [one for one in await stage.list(PODS) if "job-name" not in one["metadata"].get("labels", {})]
        counted = (int(status.get(name) or 0) for name in ("replicas", "availableReplicas"))
        return all(count == wanted_in_all for count in (*counted, len(pods)))

    await stage.until("everything rests", rests)


async def update(stage: Stage, version: int) -> None:
    template = {"spec": pod_template(version)["spec"]}
    await stage.cluster.patch(ROLLOUTS, stage.key(NAME), MergePatch({"spec": {"template": template}}))


async def until_step(stage: Stage, index: int) -> None:
    """Wait until the canary is paused at a step."""

    async def is_there() -> bool:
        status = await status_of(stage)
        paused = any(one.get("reason") == "CanaryPauseStep" for one in status.get("pauseConditions") or ())
        return status.get("currentStepIndex") == index and paused and await is_in_phase(stage, "Paused")

    await stage.until(f"paused at step {index}", is_there)


async def _promoted(stage: Stage) -> None:
    await update(stage, 2)
    await stage.until("the second revision is promoted", lambda: _is_stable(stage, healthy=True))
    await resting(stage)


async def _is_stable(stage: Stage, *, healthy: bool) -> bool:
    status = await status_of(stage)
    return await is_in_phase(stage, "Healthy") and status.get("stableRS") == status.get("currentPodHash") and healthy


async def _aborted_by_command(stage: Stage) -> None:
    await update(stage, 2)
    await until_step(stage, 1)
    await stage.cluster.patch(ROLLOUTS, stage.key(NAME), MergePatch({"status": {"abort": True}}), subresource="status")
    await stage.until("it is aborted", lambda: is_in_phase(stage, "Degraded"))
    await resting(stage)


async def _aborted_by_verdict(stage: Stage) -> None:
    await update(stage, 2)
    await stage.until("it is aborted", lambda: is_in_phase(stage, "Degraded"))
    await resting(stage)


async def _rolled_back(stage: Stage) -> None:
    await update(stage, 2)
    await until_step(stage, 1)
    await update(stage, 1)
    await stage.until("the first revision is back", lambda: _is_stable(stage, healthy=True))
    await resting(stage)


_Steps = tuple[Mapping[str, Any], ...]
_PAIRS: _Steps = ({"setWeight": 50}, {"pause": {"duration": "1s"}}, {"setWeight": 80}, {"pause": {"duration": "1s"}})
_HALT: _Steps = ({"setWeight": 50}, {"pause": {}})
_JUDGED: _Steps = ({"setWeight": 50}, {"analysis": {"templates": [{"templateName": "judge"}]}}, {"pause": {}})

SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="happy-basic", documents=(rollout(*_PAIRS, routed=False),), play=_promoted),
        Scenario(name="happy", documents=(*traffic(), rollout(*_PAIRS, routed=True)), play=_promoted),
        Scenario(name="abort-command", documents=(*traffic(), rollout(*_HALT, routed=True)), play=_aborted_by_command),
        Scenario(
            name="abort-verdict",
            documents=(*traffic(), judging_template(), rollout(*_JUDGED, routed=True)),
            play=_aborted_by_verdict,
        ),
        Scenario(name="rollback", documents=(*traffic(), rollout(*_HALT, routed=True)), play=_rolled_back),
    )
}


# --- the end ----------------------------------------------------------------------------------------------------------

_TIME = re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
_PASSING = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "namespace", "generation", "selfLink")
# What the server itself adds to every Service, whatever it is asked for.
_GIVEN = ("clusterIP", "clusterIPs")


async def end_state(stage: Stage) -> dict[str, Any]:
    """Return everything that a scenario leaves behind, without what differs from run to run by its nature.

    That is: identities, versions, instants, cluster addresses, how often an object was written.
    """
    found: dict[str, Any] = {}
    uids: dict[str, str] = {}
    objects: list[tuple[str, Mapping[str, Any]]] = []
    for kind in (ROLLOUTS, SETS, SERVICES, HTTP_ROUTES, RUNS, JOBS, GATEWAYS):
        for one in await stage.list(kind):
            # A real API server leaves both out of the items of a list, for its own kinds.
            objects.append((kind.kind, {"apiVersion": kind.api_version, "kind": kind.kind} | dict(one)))
            uids[one["metadata"]["uid"]] = f"<uid of {kind.kind}>"
    for kind_name, one in objects:
        text = _TIME.sub("<time>", json.dumps(one, sort_keys=True))
        for uid, instead in uids.items():
            text = text.replace(uid, instead)
        text = text.replace(stage.namespace, "<namespace>")
        content = json.loads(text)
        metadata = content["metadata"]
        for name in _PASSING:
            metadata.pop(name, None)
        if conditions := (content.get("status") or {}).get("conditions"):
            conditions.sort(key=lambda one: one["type"])  # a map by type, in which order has no meaning
        if kind_name == "Service":
            for name in _GIVEN:
                content["spec"].pop(name, None)
        found[f"{kind_name}/{metadata['name']}"] = content
    return found


async def reported(stage: Stage) -> list[tuple[str, str, str]]:
    """Return the Events about the Rollout, sorted: type, reason, message.

    Waits until the controller has nothing more to say: it writes them behind its other work.
    """
    before, seen = -1, list[Mapping[str, Any]]()
    while len(seen) != before:
        before = len(seen)
        await asyncio.sleep(0.5)
        seen = [one for one in await stage.list(EVENTS) if one["involvedObject"]["kind"] == ROLLOUTS.kind]
    return sorted((one["type"], one["reason"], one["message"].replace(stage.namespace, "<namespace>")) for one in seen)


async def reasons(stage: Stage) -> list[str]:
    """Return the reasons of the Events about the Rollout in the order in which they were written."""
    await reported(stage)  # until all of them are there
    seen = [one for one in await stage.list(EVENTS) if one["involvedObject"]["kind"] == ROLLOUTS.kind]
    return [one["reason"] for one in sorted(seen, key=lambda one: int(one["metadata"]["resourceVersion"]))]


def differences(expected: Any, found: Any, path: str = "") -> list[str]:
    """Return, one per line, where two values differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for name in sorted(expected.keys() | found.keys())
            for line in differences(expected.get(name, "<absent>"), found.get(name, "<absent>"), f"{path}.{name}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        return [
            line
            for index, (one, other) in enumerate(zip(expected, found, strict=True))
            for line in differences(one, other, f"{path}[{index}]")
        ]
    return [] if expected == found else [f"{path.lstrip('.')}: {expected!r} != {found!r}"]

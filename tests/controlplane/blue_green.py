"""The blue-green scenarios, as stories that any cluster can play."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fairlead.core.cluster import MergePatch
from tests.controlplane.scenarios import (
    NAME,
    Scenario,
    is_in_phase,
    judging_template,
    reasons,
    resting,
    rollout,
    status_of,
    traffic,
    update,
)
from tests.controlplane.stage import ROLLOUTS, SERVICES, Stage

ACTIVE, PREVIEW = f"{NAME}-active", f"{NAME}-preview"
HASH_LABEL = "rollouts-pod-template-hash"


def services() -> list[dict[str, Any]]:
    service = traffic()[0]
    return [{**service, "metadata": {"name": name}} for name in (ACTIVE, PREVIEW)]


def blue_green(**fields: Any) -> dict[str, Any]:
    """Return a Rollout whose old pods linger for as short a time as can be."""
    found = rollout(routed=False)
    strategy = {
        "activeService": ACTIVE,
        "previewService": PREVIEW,
        "scaleDownDelaySeconds": 1,
        "abortScaleDownDelaySeconds": 1,
        **fields,
    }
    return {**found, "spec": {**found["spec"], "strategy": {"blueGreen": strategy}}}


def template(name: str, *command: str) -> dict[str, Any]:
    """Return an analysis template whose Job does this."""
    found = judging_template()
    (metric,) = found["spec"]["metrics"]
    metric["name"] = name  # the Jobs are named after it
    metric["provider"]["job"]["spec"]["template"]["spec"]["containers"][0]["command"] = list(command)
    return {**found, "metadata": {"name": name}}


def analysis(name: str) -> dict[str, Any]:
    return {"templates": [{"templateName": name}]}


TEMPLATES = (template("before", "true"), template("after", "true"), template("bad", "false"))
BY_HAND: Mapping[str, Any] = {"autoPromotionEnabled": False, "previewReplicaCount": 1}


async def selected(stage: Stage, name: str) -> str:
    selector: Mapping[str, str] = (await stage.read(SERVICES, name))["spec"]["selector"]
    return selector.get(HASH_LABEL, "")


async def _command(stage: Stage, body: Mapping[str, Any]) -> None:
    await stage.cluster.patch(ROLLOUTS, stage.key(NAME), MergePatch({"status": dict(body)}), subresource="status")


async def _until_paused(stage: Stage) -> None:
    await stage.until("somebody is asked", lambda: is_in_phase(stage, "Paused"))
    status = await status_of(stage)
    assert status["message"] == "BlueGreenPause"
    counts = [status.get(name) for name in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    assert counts == [3, 1, 2, 2]
    assert await selected(stage, ACTIVE) == status["stableRS"]
    assert await selected(stage, PREVIEW) == status["currentPodHash"]


async def _until_done(stage: Stage) -> None:
    async def is_done() -> bool:
        status = await status_of(stage)
        return await is_in_phase(stage, "Healthy") and status.get("stableRS") == status.get("currentPodHash")

    await stage.until("it is promoted", is_done)
    await resting(stage)


async def _until_aborted(stage: Stage) -> None:
    await stage.until("it is aborted", lambda: is_in_phase(stage, "Degraded"))
    await resting(stage)
    status = await status_of(stage)
    assert await selected(stage, ACTIVE) == status["stableRS"]
    assert await selected(stage, PREVIEW) == status["currentPodHash"]


# As clients compare them: of a first deployment, then of an update, then the old pods go.
_HAPPY = [
    *("RolloutAddedToInformer", "RolloutUpdated", "NewReplicaSetCreated", "SwitchService", "ScalingReplicaSet"),
    *("RolloutCompleted", "SwitchService"),
    *("RolloutUpdated", "NewReplicaSetCreated", "SwitchService", "RolloutNotCompleted", "ScalingReplicaSet"),
    *("SwitchService", "RolloutCompleted", "ScalingReplicaSet"),
]


async def _happy(stage: Stage) -> None:
    await update(stage, 2)
    await _until_done(stage)
    assert await reasons(stage) == _HAPPY


async def _promoted(stage: Stage) -> None:
    await update(stage, 2)
    await _until_paused(stage)
    await _command(stage, {"pauseConditions": None})
    await _until_done(stage)


async def _aborted(stage: Stage) -> None:
    await update(stage, 2)
    await _until_paused(stage)
    await _command(stage, {"abort": True})
    await _until_aborted(stage)


async def _aborted_before(stage: Stage) -> None:
    await update(stage, 2)
    await _until_aborted(stage)


async def _aborted_after(stage: Stage) -> None:
    await update(stage, 2)
    await _until_paused(stage)
    await _command(stage, {"pauseConditions": None})
    await _until_aborted(stage)


async def _retried(stage: Stage) -> None:
    await _aborted(stage)
    await _command(stage, {"abort": False})
    await _until_paused(stage)
    await _command(stage, {"promoteFull": True})
    await _until_done(stage)


async def _rolled_back(stage: Stage) -> None:
    await update(stage, 2)
    await _until_paused(stage)
    await update(stage, 1)
    await _until_done(stage)


_AROUND = {"prePromotionAnalysis": analysis("before"), "postPromotionAnalysis": analysis("after")}
SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        Scenario(name="bg-happy", documents=(*services(), blue_green()), play=_happy),
        Scenario(
            name="bg-everything",
            documents=(*services(), *TEMPLATES, blue_green(**BY_HAND, **_AROUND)),
            play=_promoted,
        ),
        Scenario(name="bg-abort", documents=(*services(), blue_green(**BY_HAND)), play=_aborted),
        Scenario(
            name="bg-abort-before",
            documents=(*services(), *TEMPLATES, blue_green(prePromotionAnalysis=analysis("bad"))),
            play=_aborted_before,
        ),
        Scenario(
            name="bg-abort-after",
            documents=(*services(), *TEMPLATES, blue_green(**BY_HAND, postPromotionAnalysis=analysis("bad"))),
            play=_aborted_after,
        ),
        Scenario(name="bg-retry", documents=(*services(), blue_green(**BY_HAND)), play=_retried),
        Scenario(name="bg-rollback", documents=(*services(), blue_green(**BY_HAND)), play=_rolled_back),
    )
}

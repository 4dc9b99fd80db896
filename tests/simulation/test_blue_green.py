"""Blue-green Rollouts with the whole controller in a simulated world."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fairlead.core.kinds import ROLLOUTS, SERVICES
from fairlead.testing.faults import Faults, KillPoint, When
from tests.simulation.blue_green import (
    ACTIVE,
    EVERYTHING,
    PREVIEW,
    PROMISES,
    aborted,
    at_rest,
    blue_green,
    deploy,
    ended,
    selects,
)
from tests.simulation.ends import stored
from tests.simulation.harness import World, play, str_of
from tests.simulation.manifests import WEB, Doc, Routing, analysis, pairs, rollout
from tests.simulation.story import Commit, Story

BAD = 1.0
SLICES = 4  # parts of a tale's deaths that are tests of their own
Telling = Callable[[World], Awaitable[None]]
GOLDEN = Path(__file__).parent / "golden" / "blue_green_requests.json"


def is_paused(world: World) -> bool:
    is_seen = world.status.get("observedGeneration") == str(world.rollout["metadata"]["generation"])
    return is_seen and world.status.get("message") == "BlueGreenPause"


# --- tales -----------------------------------------------------------------------------------------------------------


async def happy(world: World) -> None:
    """Nothing but the two Services."""
    await deploy(world, blue_green())
    await world.begin()
    await world.update(2)
    await world.until_done()


async def everything(world: World) -> None:
    """A small preview, an analysis before and after the switch, and a person."""
    await deploy(world, blue_green(EVERYTHING))
    await world.begin()
    await world.update(2)
    await world.until(lambda: is_paused(world))
    await world.promote()
    await world.until_done()


async def abort_before(world: World) -> None:
    """The analysis before the switch is bad."""
    world.script = lambda number: BAD
    await deploy(world, blue_green(EVERYTHING))
    await world.begin()
    await world.update(2)
    await world.until_aborted()


async def abort_after(world: World) -> None:
    """The analysis after the switch is bad."""
    await deploy(world, blue_green(EVERYTHING))
    await world.begin()
    await world.update(2)
    await world.until(lambda: is_paused(world))
    world.script = lambda number: BAD
    await world.promote()
    await world.until_aborted()


async def retry(world: World) -> None:
    """The first analysis is bad, the next one good."""
    await abort_before(world)
    world.script = lambda number: 0.0
    await world.retry()
    await world.until(lambda: is_paused(world))
    await world.promote()
    await world.until_done()


async def rollback(world: World) -> None:
    """Back to the former version while its pods are still there."""
    await everything(world)
    await world.update(1)
    await world.until_done()


async def overtaken(world: World) -> None:
    """A third version comes while people look at the second."""
    await deploy(world, blue_green(EVERYTHING))
    await world.begin()
    await world.update(2)
    await world.until(lambda: is_paused(world))
    await world.update(3)
    await world.until(lambda: is_paused(world))
    await world.promote()
    await world.until_done()


_VERDICT = 'Metric "error-rate" assessed Failed due to failed (1) > failureLimit (0)'
BEFORE = f"Blue/green pre-promotion analysis phase error/failed: {_VERDICT}"
AFTER = BEFORE.replace("pre-", "post-")
TALES: Mapping[str, tuple[Telling, Doc]] = {
    "happy": (happy, at_rest()),
    "everything": (everything, at_rest()),
    "abort-before": (abort_before, aborted(BEFORE)),
    "abort-after": (abort_after, aborted(AFTER)),
    "retry": (retry, at_rest()),
    "rollback": (rollback, at_rest(version="1")),
    "overtaken": (overtaken, at_rest(version="3")),
}
Outcome = tuple[Doc, Doc, list[str], list[str]]


def told(tale: str, *, deaths: tuple[KillPoint, ...] = (), lives: int | None = None, **settings: Any) -> Outcome:
    """Return how a tale ends: what is shown, everything that is stored, the writes, and the Events."""

    async def telling(world: World) -> Outcome:
        world.deaths = iter(deaths)
        await TALES[tale][0](world)
        await world.rest()
        assert lives is None or world.lives == lives, f"nobody died at {deaths}"
        return ended(world), stored(world), [str_of(write) for write in world.writes], world.events

    return play(telling, **settings)


@cache
def reference(tale: str) -> Outcome:
    return told(tale)


@pytest.mark.parametrize("tale", TALES)
def test_how_it_ends(tale: str) -> None:
    assert reference(tale)[0] == TALES[tale][1]


@pytest.mark.parametrize("replicas", [0, 1, 10])
def test_any_number_of_pods(replicas: int) -> None:
    async def tale(world: World) -> None:
        await deploy(world, blue_green({**EVERYTHING, "previewReplicaCount": min(3, replicas)}, replicas=replicas))
        await world.update(2)
        await world.until(lambda: is_paused(world))
        await world.promote()
        await world.until_done()
        await world.rest()
        expected = at_rest(replicas=replicas)
        assert ended(world) == expected | {"sizes": {"2": replicas} if replicas else {}}

    play(tale)


# --- deaths, faults ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("tale", ["happy", "everything", "abort-after", "rollback"])
def test_a_death_at_any_write_changes_nothing(tale: str, part: int) -> None:
    expected, expected_stored, writes, _ = reference(tale)
    wrong: list[str] = []
    for number in range(1 + part, len(writes) + 1, SLICES):
        for when in When:
            point = KillPoint(at=number, when=when)
            found, found_stored, _, _ = told(tale, deaths=(point,), lives=3)
            if found != expected or found_stored != expected_stored:
                wrong.append(f"{point} ({writes[number - 1]})")
    assert not wrong


@pytest.mark.parametrize("tale", TALES)
def test_controllers_that_never_live_long(tale: str) -> None:
    deaths = (KillPoint(at=4, when=When.AFTER),) * 20
    assert told(tale, deaths=deaths)[0] == reference(tale)[0]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("tale", TALES)
def test_an_api_that_fails_now_and_then(tale: str, seed: int) -> None:
    faults = Faults(conflict=0.1, server_error=0.1)
    assert told(tale, seed=seed, faults=faults)[0] == reference(tale)[0]


# --- Events and requests ----------------------------------------------------------------------------------------------


def test_events_of_an_update() -> None:
    """As argo-rollouts' own: first deployment and update, without and with a preview Service."""

    async def tale(world: World, preview: str | None) -> list[str]:
        await deploy(world, blue_green({"previewService": preview, "scaleDownDelaySeconds": 600}, replicas=1))
        await world.update(2)
        await world.until_done()
        await world.rest()
        return world.events

    found = play(lambda world: tale(world, None))
    assert found == [
        "RolloutAddedToInformer",
        *("RolloutUpdated", "NewReplicaSetCreated", "ScalingReplicaSet", "RolloutCompleted", "SwitchService"),
        *("RolloutUpdated", "NewReplicaSetCreated", "RolloutNotCompleted", "ScalingReplicaSet"),
        *("SwitchService", "RolloutCompleted"),
    ]
    found = play(lambda world: tale(world, PREVIEW.name))
    assert found[1:] == [
        *("RolloutUpdated", "NewReplicaSetCreated", "SwitchService", "ScalingReplicaSet"),
        *("RolloutCompleted", "SwitchService"),
        *("RolloutUpdated", "NewReplicaSetCreated", "SwitchService", "RolloutNotCompleted", "ScalingReplicaSet"),
        *("SwitchService", "RolloutCompleted"),
    ]


def least(tale: str) -> dict[str, int]:
    """Return what an update can not be done without.

    One creation and one size at a time for each ReplicaSet; the revision on the Rollout; one write of a selector for
    each switch; and of the status one for each state that people have to see or that must outlive the controller.
    """
    runs = {"create analysisruns": 2}
    update = {"create replicasets": 1, "patch rollouts": 1, "patch services": 2}
    return {
        # The former stable ReplicaSet gets its deadline, and then no pods. Begun; promoted; old pods gone.
        "happy": update | {"patch replicasets": 2, "patch rollouts/status": 3},
        # And the preview grows. Begun; first run; paused; gate passed; second run; promoted; old pods gone.
        "everything": update | runs | {"patch replicasets": 3, "patch rollouts/status": 7},
    }[tale]


def requests(tale: str) -> dict[str, int]:
    """Return how often what was written, but for what an AnalysisRun writes about itself."""
    names = [what.replace(".argoproj.io", "").replace(".apps", "") for what in reference(tale)[2]]
    kept = [name for name in names if not name.startswith("patch analysisruns")]
    return {name: kept.count(name) for name in sorted(set(kept))}


@pytest.mark.parametrize("tale", ["happy", "everything"])
def test_requests_are_golden(tale: str) -> None:
    """A change of a count is a change of the product: then the file is written anew, and looked at."""
    assert {"requests": requests(tale), "least": least(tale)} == json.loads(GOLDEN.read_text())[tale]


@pytest.mark.parametrize("tale", ["happy", "everything"])
def test_no_request_could_be_spared(tale: str) -> None:
    assert requests(tale) == least(tale)


def test_nothing_is_read_on_the_way() -> None:
    async def tale(world: World) -> int:
        await everything(world)
        await world.rest()
        return world.reads

    assert play(tale) == 0


def test_a_fresh_controller_finds_nothing_to_do() -> None:
    async def tale(world: World) -> None:
        await everything(world)
        await world.rest()
        before = len(world.writes)
        await world.restart(gracefully=True)
        await world.rest()
        assert len(world.writes) == before

    play(tale)


# --- people and accidents ---------------------------------------------------------------------------------------------


def test_t50_users_come_back_although_the_new_version_has_died() -> None:
    async def tale(world: World) -> None:
        await deploy(world, blue_green({"postPromotionAnalysis": analysis()}))
        world.script = lambda number: 0.0 if number < 2 else BAD
        await world.update(2)
        await world.until(lambda: selects(world) == "2")
        await world.unready(2)
        await world.until_aborted()
        await world.rest()
        assert ended(world)["services"] == {"active": "1", "preview": "2"}
        assert ended(world)["sizes"] == {"1": 2}

    play(tale)


def test_a_scaled_rollout_switches_with_all_pods() -> None:
    async def tale(world: World) -> None:
        await deploy(world, blue_green(EVERYTHING))
        await world.update(2)
        await world.until(lambda: is_paused(world))
        await world.scale(4)
        await world.until(lambda: world.sizes == {"1": 4, "2": 1})
        await world.promote()
        await world.until_done()
        await world.rest()
        assert ended(world) == at_rest(replicas=4)

    play(tale)


def test_strategies_may_be_exchanged() -> None:
    """T44, at rest and in the middle of an update."""

    async def tale(world: World) -> None:
        document = blue_green(EVERYTHING)
        await deploy(world, document)
        canary = rollout([*pairs(50), {"pause": {}}])
        await world.patch(
            ROLLOUTS, WEB, {"spec": {"strategy": {"blueGreen": None, "canary": canary["spec"]["strategy"]["canary"]}}}
        )
        await world.rest()
        assert world.status["phase"] == "Healthy"
        assert world.sizes == {"1": 2}
        assert [one["spec"]["selector"] for one in world.cluster.read_all(SERVICES, "shop")] == [{"app": "web"}] * 2
        await world.update(2)
        await world.until(lambda: world.status.get("currentStepIndex") == 2)
        await world.patch(ROLLOUTS, WEB, {"spec": {"strategy": {"canary": None, **document["spec"]["strategy"]}}})
        await world.until(lambda: is_paused(world))
        assert (selects(world), selects(world, PREVIEW)) == ("1", "2")
        await world.promote()
        await world.until_done()
        await world.rest()
        assert ended(world) == at_rest()

    play(tale)


# --- the promises themselves ------------------------------------------------------------------------------------------


def test_every_promise_notices_what_it_is_for() -> None:
    """Each is shown a history that breaks it."""

    def complaints(name: str, commit: Commit, **objects: Doc) -> list[str]:
        story = Story(routing=Routing.BASIC)
        for key, found in objects.items():
            kind = {"rollout": "Rollout", "service": "Service", "preview": "Service"}.get(key, "ReplicaSet")
            story.objects[(kind, found["metadata"]["name"])] = found
        return list(PROMISES[name](story, commit))

    status = {"currentPodHash": "new", "stableRS": "old"}
    spec = {"replicas": 2, "strategy": {"blueGreen": {"prePromotionAnalysis": {}, "previewService": PREVIEW.name}}}
    web = {"metadata": {"name": "web"}, "spec": spec, "status": status}
    new = _replica_set("new", 2)
    old = _replica_set("old", 2)
    to_new = _commit("Service", _service(ACTIVE.name, "old"), _service(ACTIVE.name, "new"))
    shown = {"rollout": web, "new": new, "old": old}
    assert complaints("users_reach_pods", to_new, **shown)
    assert complaints("users_move_to_whole_revisions", to_new, **shown)
    assert complaints("nothing_is_skipped", to_new, **shown)
    smaller = _commit("ReplicaSet", old, _replica_set("old", 1))
    active = _service(ACTIVE.name, "old")
    assert complaints("users_keep_their_pods", smaller, service=active, **shown)
    assert complaints("stable_stays_whole", smaller, **shown)
    born = _commit("ReplicaSet", None, new)
    assert complaints("testers_come_before_pods", born, preview=_service(PREVIEW.name, "old"), **shown)
    assert not complaints("testers_come_before_pods", born, preview=_service(PREVIEW.name, "new"), **shown)


def _commit(kind: str, old: Doc | None, new: Doc) -> Commit:
    return Commit(at=datetime(2026, 1, 1, tzinfo=UTC), actor="controller", verb="update", kind=kind, old=old, new=new)


def _service(name: str, pod_hash: str) -> Doc:
    return {"metadata": {"name": name}, "spec": {"selector": {"rollouts-pod-template-hash": pod_hash}}}


def _replica_set(pod_hash: str, replicas: int) -> Doc:
    labels = {"rollouts-pod-template-hash": pod_hash}
    return {
        "metadata": {"name": f"web-{pod_hash}", "labels": labels, "annotations": {}},
        "spec": {"replicas": replicas},
    }

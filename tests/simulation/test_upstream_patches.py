"""Our command line and upstream's patches, command by command: the same end of the same story, field by field.

Each row is played twice in the same world, from the same seed and up to the same instant: once with our command as a
person types it, once with the bytes that upstream's client sends.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from fairlead.cli import change
from fairlead.cli._family import EXPERIMENTS
from fairlead.core.kinds import ANALYSIS_RUNS, DEPLOYMENTS, REPLICA_SETS, ROLLOUTS
from fairlead.core.objects import Kind, ObjectKey, rfc3339
from fairlead.testing.requests import PatchType, WriteOptions
from tests.simulation import test_workload_ref as workload_ref
from tests.simulation.blue_green import EVERYTHING, blue_green, deploy, ended
from tests.simulation.ends import shown, stored
from tests.simulation.harness import World, play
from tests.simulation.manifests import (
    HASH_LABEL,
    NAMESPACE,
    WEB,
    Doc,
    Routing,
    analysis,
    analysis_template,
    pod_template,
    rollout,
)
from tests.simulation.typing_commands import typed

UNTIMED: list[Doc] = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}}]
ASKING: list[Doc] = [{"setWeight": 20}, {"analysis": analysis()}, {"setWeight": 60}, {"pause": {}}]
EXPERIMENT = ObjectKey(NAMESPACE, "trial")
_AS_UPSTREAM = WriteOptions(manager="kubectl-argo-rollouts")

Act = Callable[[World], Awaitable[None]]


# --- what upstream's client sends ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One request of upstream's client: a patch, as its bytes."""

    body: bytes
    subresource: str = ""
    kind: Kind[Any] = ROLLOUTS
    key: ObjectKey = WEB
    type: PatchType = PatchType.MERGE

    async def __call__(self, world: World) -> None:
        api, kind = world.cluster.api, self.kind
        target = api.target(
            kind.group,
            kind.version,
            kind.plural,
            namespace=self.key.namespace,
            name=self.key.name,
            subresource=self.subresource,
        )
        api.patch(target, self.type, json.loads(self.body), _AS_UPSTREAM)


def to_spec(body: bytes) -> Sent:
    return Sent(body=body)


def to_status(body: bytes) -> Sent:
    return Sent(body=body, subresource="status")


async def restarted(world: World) -> None:
    await to_spec(b'{"spec":{"restartAt":"%s"}}' % rfc3339(world.clock.now()).encode())(world)


async def terminated(world: World) -> None:
    (run,) = world.runs()
    key = ObjectKey(NAMESPACE, run["metadata"]["name"])
    await Sent(body=b'{"spec":{"terminate":true}}', kind=ANALYSIS_RUNS, key=key)(world)


def undone(kind: Kind[Any] = ROLLOUTS, key: ObjectKey = WEB) -> Act:
    """The template of revision 1, as it stands in its ReplicaSet but for the label with its hash."""

    async def undo(world: World) -> None:
        (first,) = (
            one
            for one in world.cluster.read_all(REPLICA_SETS, NAMESPACE)
            if one["metadata"]["annotations"].get("rollout.argoproj.io/revision") == "1"
        )
        template = json.loads(json.dumps(first["spec"]["template"]))
        del template["metadata"]["labels"][HASH_LABEL]
        body = json.dumps([{"op": "replace", "path": "/spec/template", "value": template}]).encode()
        await Sent(body=body, kind=kind, key=key, type=PatchType.JSON)(world)

    return undo


def image_set(kind: Kind[Any] = ROLLOUTS, key: ObjectKey = WEB, image: str = "web:2") -> Act:
    """Read the object and put it back with another image: no patch."""

    async def update(world: World) -> None:
        found = json.loads(json.dumps(world.cluster.read(kind, key)))
        for container in found["spec"]["template"]["spec"]["containers"]:
            container["image"] = image
        target = world.cluster.api.target(kind.group, kind.version, kind.plural, namespace=key.namespace, name=key.name)
        world.cluster.api.update(target, found, _AS_UPSTREAM)

    return update


CLEAR = to_status(b'{"status":{"pauseConditions":null}}')
UNPAUSE = to_spec(b'{"spec":{"paused":false}}')
FULL = to_status(b'{"status":{"promoteFull":true}}')
ABORT = to_status(b'{"status":{"abort":true}}')
RETRY = to_status(b'{"status":{"abort":false}}')
PAUSE = to_spec(b'{"spec":{"paused":true}}')


# --- what happened before --------------------------------------------------------------------------------------------


async def idle(world: World) -> None:
    await world.deploy(rollout(UNTIMED, routing=world.routing))


async def at_a_pause(world: World) -> None:
    await idle(world)
    await world.update(2)
    await world.until_phase("Paused")
    await world.rest()


async def paused_by_hand(world: World) -> None:
    await at_a_pause(world)
    await PAUSE(world)
    await world.rest()


async def paused_by_hand_between_pauses(world: World) -> None:
    await world.deploy(rollout(ASKING, routing=world.routing))
    world.apply(analysis_template(count=100))
    await world.update(2)
    await world.until(lambda: len(world.asked) == 2)
    await PAUSE(world)
    await world.until_phase("Paused")


async def in_analysis(world: World) -> None:
    await world.deploy(rollout(ASKING, routing=world.routing))
    world.apply(analysis_template(count=100))
    await world.update(2)
    await world.until(lambda: len(world.asked) == 2)


async def in_doubt(world: World) -> None:
    world.script = lambda number: 0.3
    world.apply(analysis_template(failureCondition="result > 0.5"))
    await world.deploy(rollout(ASKING, routing=world.routing))
    await world.update(2)
    await world.until(lambda: world.status.get("message") == "InconclusiveAnalysisRun")
    await world.rest()


async def aborted(world: World) -> None:
    await at_a_pause(world)
    await ABORT(world)
    await world.until_aborted()
    await world.rest()


async def before_the_switch(world: World) -> None:
    await deploy(world, blue_green({**EVERYTHING, "prePromotionAnalysis": None}))
    await world.update(2)
    await world.until_phase("Paused")
    await world.rest()


async def aborted_before_the_switch(world: World) -> None:
    await before_the_switch(world)
    await ABORT(world)
    await world.until_aborted()
    await world.rest()


async def two_revisions(world: World) -> None:
    await idle(world)
    await world.update(2)
    await world.until_phase("Paused")
    await FULL(world)
    await world.until_done()
    await world.rest()


async def referring(world: World) -> None:
    world.apply(workload_ref.deployment(0), workload_ref.referring())
    world.start()
    await workload_ref.healthy(world)
    await world.rest()


async def referring_with_two_revisions(world: World) -> None:
    await referring(world)
    await workload_ref.give_deployment(world, 2)
    await workload_ref.healthy(world)
    await world.rest()


async def with_an_experiment(world: World) -> None:
    await idle(world)
    template = {"name": "one", "selector": {"matchLabels": {"app": "trial"}}, "template": pod_template(9)}
    world.apply(
        {
            "apiVersion": EXPERIMENTS.api_version,
            "kind": "Experiment",
            "metadata": {"name": EXPERIMENT.name, "namespace": NAMESPACE},
            "spec": {"templates": [template]},
        }
    )
    await world.patch(EXPERIMENTS, EXPERIMENT, {"status": {"phase": "Failed", "message": "it was no good"}})


# --- the table -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A command: what came before, what is typed, what upstream sends instead, and what is printed.

    Attributes:
        means: what must be so in the end, so that two commands that do nothing are not taken for equal.
    """

    before: Act
    typed: str
    sent: Sequence[Act]
    printed: str
    means: Callable[[World], bool]
    routings: tuple[Routing, ...] = (Routing.BASIC, Routing.WAYPOINT)


def at(step: int, phase: str = "Paused") -> Callable[[World], bool]:
    return lambda world: (world.status.get("currentStepIndex"), world.status.get("phase")) == (step, phase)


def is_done(version: str) -> Callable[[World], bool]:
    def holds(world: World) -> bool:
        sizes = {image: size for image, size in workload_ref.sizes_of_ours(world).items() if size}
        return world.status["phase"] == "Healthy" and sizes == {f"web:{version}": 2}

    return holds


def is_degraded(world: World) -> bool:
    return world.status["phase"] == "Degraded" and world.status["abort"] is True


def is_retried(world: World) -> bool:
    return world.status["phase"] == "Paused" and "abort" not in world.status


def of_experiment(**expected: Any) -> Callable[[World], bool]:
    def holds(world: World) -> bool:
        found = world.cluster.read(EXPERIMENTS, EXPERIMENT) or {}
        return {"status": found.get("status"), "terminate": found["spec"].get("terminate")} == expected

    return holds


BLUE_GREEN = (Routing.BASIC,)
ROWS: dict[str, Row] = {
    "promote-at-a-pause": Row(
        before=at_a_pause, typed="promote web", sent=[CLEAR], printed="rollout 'web' promoted", means=at(3)
    ),
    "promote-in-an-analysis": Row(
        before=in_analysis,
        typed="promote web",
        sent=[to_status(b'{"status":{"pauseConditions":null, "currentStepIndex":2}}')],
        printed="rollout 'web' promoted",
        means=at(3),
    ),
    "promote-in-doubt": Row(
        before=in_doubt,
        typed="promote web",
        sent=[to_status(b'{"status":{"pauseConditions":null, "controllerPause":false, "currentStepIndex":2}}')],
        printed="rollout 'web' promoted",
        means=at(3),
    ),
    "promote-paused-by-hand": Row(
        before=paused_by_hand, typed="promote web", sent=[CLEAR, UNPAUSE], printed="rollout 'web' promoted", means=at(3)
    ),
    "promote-paused-by-hand-between-pauses": Row(
        before=paused_by_hand_between_pauses,
        typed="promote web",
        sent=[to_status(b'{"status":{"pauseConditions":null, "currentStepIndex":2}}'), UNPAUSE],
        printed="rollout 'web' promoted",
        means=at(3),
    ),
    "promote-idle": Row(
        before=idle,
        typed="promote web",
        sent=[to_status(b'{"status":{"pauseConditions":null, "currentStepIndex":4}}')],
        printed="rollout 'web' promoted",
        means=at(4, "Healthy"),
    ),
    "promote-blue-green": Row(
        before=before_the_switch,
        typed="promote web",
        sent=[CLEAR],
        printed="rollout 'web' promoted",
        means=is_done("2"),
        routings=BLUE_GREEN,
    ),
    "promote-full": Row(
        before=at_a_pause,
        typed="promote web --full",
        sent=[FULL],
        printed="rollout 'web' fully promoted",
        means=is_done("2"),
    ),
    "promote-full-paused-by-hand": Row(
        before=paused_by_hand,
        typed="promote web --full",
        sent=[FULL, UNPAUSE],
        printed="rollout 'web' fully promoted",
        means=is_done("2"),
    ),
    "promote-full-idle": Row(
        before=idle,
        typed="promote web --full",
        sent=[],
        printed="rollout 'web' fully promoted",
        means=at(4, "Healthy"),
    ),
    "promote-full-blue-green": Row(
        before=before_the_switch,
        typed="promote web --full",
        sent=[FULL],
        printed="rollout 'web' fully promoted",
        means=is_done("2"),
        routings=BLUE_GREEN,
    ),
    "promote-full-after-an-abort": Row(
        before=aborted,
        typed="promote web --full",
        sent=[FULL],
        printed="rollout 'web' fully promoted",
        means=is_done("2"),
    ),
    "skip-current-step": Row(
        before=at_a_pause,
        typed="promote web -c",
        sent=[to_status(b'{"status":{"currentStepIndex":2}}')],
        printed="rollout 'web' promoted",
        means=at(3),
    ),
    "skip-all-steps": Row(
        before=at_a_pause,
        typed="promote web -a",
        sent=[to_status(b'{"status":{"currentStepIndex":4}}')],
        printed="rollout 'web' promoted",
        means=is_done("2"),
    ),
    "abort": Row(
        before=at_a_pause, typed="abort web", sent=[ABORT], printed="rollout 'web' aborted", means=is_degraded
    ),
    "abort-paused-by-hand": Row(
        before=paused_by_hand, typed="abort web", sent=[ABORT], printed="rollout 'web' aborted", means=is_degraded
    ),
    "abort-idle": Row(
        before=idle, typed="abort web", sent=[ABORT], printed="rollout 'web' aborted", means=at(4, "Healthy")
    ),
    "abort-blue-green": Row(
        before=before_the_switch,
        typed="abort web",
        sent=[ABORT],
        printed="rollout 'web' aborted",
        means=is_degraded,
        routings=BLUE_GREEN,
    ),
    "retry": Row(before=aborted, typed="retry rollout web", sent=[RETRY], printed="rollout 'web' retried", means=at(1)),
    "retry-blue-green": Row(
        before=aborted_before_the_switch,
        typed="retry rollout web",
        sent=[RETRY],
        printed="rollout 'web' retried",
        means=is_retried,
        routings=BLUE_GREEN,
    ),
    "retry-experiment": Row(
        before=with_an_experiment,
        typed="retry experiment trial",
        sent=[Sent(body=b'{"status":null}', kind=EXPERIMENTS, key=EXPERIMENT)],
        printed="experiment 'trial' retried",
        means=of_experiment(status=None, terminate=None),
        routings=BLUE_GREEN,
    ),
    "pause": Row(
        before=at_a_pause,
        typed="pause web",
        sent=[PAUSE],
        printed="rollout 'web' paused",
        means=lambda world: world.status["message"] == "manually paused",
    ),
    "restart": Row(
        before=idle,
        typed="restart web",
        sent=[restarted],
        printed="rollout 'web' restarts in 0s",
        means=lambda world: world.status["restartedAt"] == world.rollout["spec"]["restartAt"],
    ),
    "undo": Row(before=two_revisions, typed="undo web", sent=[undone()], printed="rollout 'web' undo", means=at(1)),
    "undo-to-revision": Row(
        before=at_a_pause,
        typed="undo web --to-revision=1",
        sent=[undone()],
        printed="rollout 'web' undo",
        means=is_done("1"),
    ),
    "undo-of-a-deployment": Row(
        before=referring_with_two_revisions,
        typed="undo web --to-revision=1",
        sent=[undone(DEPLOYMENTS, workload_ref.OLD)],
        printed="rollout 'web' undo",
        means=is_done("1"),
        routings=BLUE_GREEN,
    ),
    "set-image": Row(
        before=idle,
        typed="set image web web=web:2",
        sent=[image_set()],
        printed='rollout "web" image updated',
        means=at(1),
    ),
    "set-image-of-all": Row(
        before=idle,
        typed="set image web *=web:2",
        sent=[image_set()],
        printed='rollout "web" image updated',
        means=at(1),
    ),
    "set-image-of-a-deployment": Row(
        before=referring,
        typed="set image web web=web:2",
        sent=[image_set(DEPLOYMENTS, workload_ref.OLD)],
        printed='rollout "web" image updated',
        means=is_done("2"),
        routings=BLUE_GREEN,
    ),
    "terminate-analysisrun": Row(
        before=in_analysis,
        typed="terminate analysisrun RUN",
        sent=[terminated],
        printed="analysisRun 'RUN' terminated",
        means=at(3),
    ),
    "terminate-experiment": Row(
        before=with_an_experiment,
        typed="terminate experiment trial",
        sent=[Sent(body=b'{"spec":{"terminate":true}}', kind=EXPERIMENTS, key=EXPERIMENT)],
        printed="experiment 'trial' retried",
        means=of_experiment(status={"phase": "Failed", "message": "it was no good"}, terminate=True),
        routings=BLUE_GREEN,
    ),
}


def _end(row: Row, routing: Routing, *, is_typed: bool, monkeypatch: pytest.MonkeyPatch) -> Doc:
    """Play a row to its end and return everything that is so then."""

    async def tale(world: World) -> Doc:
        monkeypatch.setattr(change, "now", world.clock.now)
        await row.before(world)
        if is_typed:
            runs = [run["metadata"]["name"] for run in world.runs()]
            await typed(world.cluster, row.typed.replace("RUN", runs[0] if runs else "RUN"))
        else:
            for request in row.sent:
                await request(world)
        await world.rest(150)
        assert row.means(world), world.describe()
        is_blue_green = "blueGreen" in world.rollout["spec"]["strategy"]
        return {
            "shown": ended(world) if is_blue_green else shown(world),
            "stored": stored(world),
            "events": world.events,
            "experiment": {**(world.cluster.read(EXPERIMENTS, EXPERIMENT) or {}), "metadata": None},
        }

    return play(tale, routing=routing)


@pytest.mark.parametrize(
    ("name", "routing"),
    [pytest.param(name, routing, id=f"{name}-{routing}") for name, row in ROWS.items() for routing in row.routings],
)
def test_our_command_and_upstreams_patch_end_alike(
    name: str, routing: Routing, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = ROWS[name]
    ours = _end(row, routing, is_typed=True, monkeypatch=monkeypatch)
    said = capsys.readouterr().out
    theirs = _end(row, routing, is_typed=False, monkeypatch=monkeypatch)
    assert ours == theirs
    run = said.split("'")[1] if "RUN" in row.printed else ""
    assert said == row.printed.replace("RUN", run) + "\n"

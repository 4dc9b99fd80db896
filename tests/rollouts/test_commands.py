from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fairlead.core.cluster import JsonPatch, MergePatch
from fairlead.core.errors import SpecError
from fairlead.core.objects import Manifest, decode_manifest
from fairlead.rollouts import commands

STEPS = [{"setWeight": 20}, {"pause": {}}, {"setWeight": 60}]
PAUSED = [{"reason": "CanaryPauseStep", "startTime": "2026-01-01T00:00:00Z"}]


def rollout(spec: dict[str, Any] | None = None, status: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"spec": {"strategy": {"canary": {"steps": STEPS}}, **(spec or {})}, "status": status or {}}


def sent(patches: tuple[commands.Command, ...]) -> list[tuple[str, Any]]:
    """The patches as (subresource, body), in the order they are sent."""
    return [
        (one.subresource, one.patch.body if isinstance(one.patch, MergePatch) else list(one.patch.operations))
        for one in patches
        if isinstance(one.patch, MergePatch | JsonPatch)
    ]


@pytest.mark.parametrize(
    ("content", "full", "expected"),
    [
        pytest.param(
            rollout(status={"currentStepIndex": 1, "pauseConditions": PAUSED}),
            False,
            [("status", {"status": {"pauseConditions": None}})],
            id="at-a-pause-only-the-pause-is-cleared",
        ),
        pytest.param(
            rollout(status={"currentStepIndex": 0}),
            False,
            [("status", {"status": {"pauseConditions": None, "currentStepIndex": 1}})],
            id="between-pauses-the-step-is-skipped",
        ),
        pytest.param(
            rollout(status={"currentStepIndex": 3}),
            False,
            [("status", {"status": {"pauseConditions": None, "currentStepIndex": 3}})],
            id="past-the-last-step-the-index-is-capped",
        ),
        pytest.param(
            rollout(
                status={
                    "currentStepIndex": 1,
                    "pauseConditions": [{"reason": "InconclusiveAnalysisRun", "startTime": "2026-01-01T00:00:00Z"}],
                    "controllerPause": True,
                    "canary": {"currentStepAnalysisRunStatus": {"name": "r", "status": "Inconclusive"}},
                }
            ),
            False,
            [("status", {"status": {"pauseConditions": None, "controllerPause": False, "currentStepIndex": 2}})],
            id="an-inconclusive-step-is-left-behind",
        ),
        pytest.param(
            rollout({"paused": True}, {"currentStepIndex": 0}),
            False,
            [
                ("status", {"status": {"pauseConditions": None, "currentStepIndex": 1}}),
                ("", {"spec": {"paused": False}}),
            ],
            id="a-manual-pause-ends-and-the-step-is-skipped",
        ),
        pytest.param(
            {"spec": {"strategy": {"canary": {}}}, "status": {}},
            False,
            [("status", {"status": {"pauseConditions": None}})],
            id="no-steps",
        ),
        pytest.param(
            rollout(status={"currentPodHash": "b", "stableRS": "a"}),
            True,
            [("status", {"status": {"promoteFull": True}})],
            id="full",
        ),
        pytest.param(rollout(status={"currentPodHash": "a", "stableRS": "a"}), True, [], id="full-but-done"),
        pytest.param(
            rollout(status={"currentStepIndex": "junk", "pauseConditions": None}),
            False,
            [("status", {"status": {"pauseConditions": None, "currentStepIndex": 1}})],
            id="a-status-of-a-stranger",
        ),
    ],
)
def test_promote(content: dict[str, Any], full: bool, expected: list[tuple[str, Any]]) -> None:
    assert sent(commands.promote(content, full=full)) == expected


@pytest.mark.parametrize(("index", "following"), [(None, 1), (0, 1), (2, 3), (3, 3)])
def test_skipping_steps_writes_an_index_alone(index: int | None, following: int) -> None:
    found = rollout(status={} if index is None else {"currentStepIndex": index, "pauseConditions": PAUSED})
    assert sent(commands.skip_step(found)) == [("status", {"status": {"currentStepIndex": following}})]
    assert sent(commands.skip_all_steps(found)) == [("status", {"status": {"currentStepIndex": 3}})]


@pytest.mark.parametrize(
    ("strategy", "message"),
    [
        ({"blueGreen": {}}, "Cannot skip steps of a bluegreen rollout. Run without a flags"),
        ({"canary": {}}, "Cannot skip steps of a rollout without steps"),
        ({"canary": {"steps": []}}, "Cannot skip steps of a rollout without steps"),
    ],
)
def test_there_are_no_steps_to_skip(strategy: dict[str, Any], message: str) -> None:
    for skip in (commands.skip_step, commands.skip_all_steps):
        with pytest.raises(SpecError) as raised:
            skip({"spec": {"strategy": strategy}})
        assert str(raised.value) == message


def test_without_a_status_subresource_it_is_one_patch_of_the_whole() -> None:
    given = commands.promote(rollout({"paused": True}, {"currentStepIndex": 0}))
    expected = {"spec": {"paused": False}, "status": {"pauseConditions": None, "currentStepIndex": 1}}
    assert sent(commands.without_subresource(given)) == [("", expected)]


def test_commands_that_do_not_depend_on_the_rollout() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert sent(commands.abort()) == [("status", {"status": {"abort": True}})]
    assert sent(commands.retry()) == [("status", {"status": {"abort": False}})]
    assert sent(commands.retry_experiment()) == [("", {"status": None})]
    assert sent(commands.pause()) == [("", {"spec": {"paused": True}})]
    assert sent(commands.restart(at)) == [("", {"spec": {"restartAt": "2026-01-02T03:04:05Z"}})]
    assert sent(commands.terminate_run()) == [("", {"spec": {"terminate": True}})]


def manifest(content: dict[str, Any]) -> Manifest:
    return decode_manifest(json.dumps(content).encode())


def template(image: str, **labels: str) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "web", **labels}}, "spec": {"containers": [{"name": "web", "image": image}]}}


def replica_set(revision: str, image: str, *, owner: str = "uid-1") -> Manifest:
    return manifest(
        {
            "metadata": {
                "name": f"web-{revision}",
                "annotations": {commands.REVISION: revision},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "Rollout", "name": "web", "uid": owner, "controller": True}
                ],
            },
            "spec": {"template": template(image, **{commands.HASH_LABEL: f"hash-{revision}"})},
        }
    )


WEB = manifest({"metadata": {"name": "web", "uid": "uid-1"}, "spec": {"template": template("web:3")}})
HISTORY = [replica_set("1", "web:1"), replica_set("3", "web:3"), replica_set("2", "web:2"), replica_set("junk", "x")]


@pytest.mark.parametrize(
    ("to_revision", "image"), [pytest.param(0, "web:2", id="previous"), pytest.param(1, "web:1", id="named")]
)
def test_undo_puts_a_template_back_without_its_hash(to_revision: int, image: str) -> None:
    patches = commands.undo(WEB, HISTORY, to_revision=to_revision)
    assert sent(patches) == [("", [{"op": "replace", "path": "/spec/template", "value": template(image)}])]


def test_undo_to_the_template_in_force_writes_nothing() -> None:
    assert commands.undo(WEB, HISTORY, to_revision=3) == ()


@pytest.mark.parametrize(
    ("kind", "at", "path"), [("Deployment", "spec", "/spec/template"), ("PodTemplate", "", "/template")]
)
def test_undo_of_the_workload_that_the_template_comes_from(kind: str, at: str, path: str) -> None:
    live: dict[str, Any] = {"template": template("web:3")}
    found = manifest({"kind": kind, "metadata": {"name": "old"}, **({at: live} if at else live)})
    patches = commands.undo(WEB, HISTORY, workload=found)
    assert sent(patches) == [("", [{"op": "replace", "path": path, "value": template("web:2")}])]
    assert commands.undo(WEB, HISTORY, to_revision=3, workload=found) == ()


def test_undo_takes_nothing_over_that_only_marks_or_places_pods() -> None:
    old = replica_set("1", "web:1")
    labels = {"role": "stable", "app": "web", commands.HASH_LABEL: "hash-1"}
    term = {"labelSelector": {"matchExpressions": [{"key": commands.HASH_LABEL, "operator": "In", "values": ["x"]}]}}
    against = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
    content = {**old.content, "spec": {"template": template("web:1")}}
    content["metadata"]["annotations"]["rollout.argoproj.io/ephemeral-metadata"] = '{"labels":{"role":"stable"}}'
    content["spec"]["template"]["metadata"]["labels"] = labels
    content["spec"]["template"]["spec"]["affinity"] = {"podAntiAffinity": against}
    (command,) = sent(commands.undo(WEB, [manifest(content)], to_revision=1))
    assert command[1][0]["value"] == template("web:1")


@pytest.mark.parametrize(
    ("history", "to_revision", "message"),
    [
        pytest.param(HISTORY, 9, "unable to find specified revision 9 in history", id="unknown"),
        pytest.param(HISTORY[1:2], 0, 'no revision found for rollout "web"', id="no-history"),
        pytest.param([replica_set("1", "x", owner="stranger")], 1, "unable to find specified revision 1", id="foreign"),
    ],
)
def test_undo_says_what_is_missing(history: list[Manifest], to_revision: int, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        commands.undo(WEB, history, to_revision=to_revision)


def workload() -> Manifest:
    spec = {
        "containers": [{"name": "web", "image": "web:1"}, {"name": "side", "image": "side:1"}],
        "initContainers": [{"name": "init", "image": "init:1"}],
    }
    return manifest({"metadata": {"name": "web", "resourceVersion": "7"}, "spec": {"template": {"spec": spec}}})


@pytest.mark.parametrize(
    ("images", "changed"),
    [
        pytest.param({"web": "web:2"}, {"containers/0": "web:2"}, id="one"),
        pytest.param({"web": "web:1"}, {}, id="as-it-is"),
        pytest.param(
            {"*": "all:2", "side": "side:2"},
            {"containers/0": "all:2", "containers/1": "side:2", "initContainers/0": "all:2"},
            id="every-other",
        ),
    ],
)
def test_set_images(images: dict[str, str], changed: dict[str, str]) -> None:
    patches = commands.set_images(workload(), images)
    guard = {"op": "test", "path": "/metadata/resourceVersion", "value": "7"}
    operations = [
        {"op": "add", "path": f"/spec/template/spec/{place}/image", "value": image} for place, image in changed.items()
    ]
    assert sent(patches) == ([("", [guard, *operations])] if changed else [])


def test_set_images_names_the_container_that_is_not_there() -> None:
    with pytest.raises(SpecError, match='unable to find container named "nope"'):
        commands.set_images(workload(), {"nope": "x:1"})

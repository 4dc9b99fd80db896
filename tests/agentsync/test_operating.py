"""The life of an operation: taken up, pinned, tried again, written to history."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fairlead.agentsync._auto import Timing
from fairlead.agentsync.actions import Render
from fairlead.agentsync.machine import Settings
from fairlead.agentsync.project import Project, parse
from tests.agentsync.world import ANYTHING, World, job, manifest

ONE, TWO = manifest("ConfigMap", "one"), manifest("ConfigMap", "two")


def project(**more: Any) -> Project:
    return Project(name="default", spec=parse(msgspec.json.encode({**msgspec.json.decode(ANYTHING), **more})))


def test_a_sync_is_written_to_history_and_its_request_is_consumed() -> None:
    world = World()
    first = world.commit(ONE)
    world.ask()
    begun = world.now
    world.settle()
    second = world.commit(ONE, TWO)
    world.ask()
    world.settle()
    assert "operation" not in world.app
    assert [(entry.id, entry.revision, entry.initiated_by.username) for entry in world.status.history] == [
        (0, first, "admin"),
        (1, second, "admin"),
    ]
    entry = world.status.history[0]
    assert entry.deploy_started_at == begun
    assert entry.deployed_at is not None
    assert entry.source is not None
    assert f"OperationCompleted: Sync operation to {first} succeeded" in world.log


@pytest.mark.parametrize(("limit", "ids"), [(None, [0, 1, 2]), (2, [1, 2]), (0, [])], ids=str)
def test_history_has_a_limit(limit: int | None, ids: list[int]) -> None:
    world = World(spec={"revisionHistoryLimit": limit} if limit is not None else {})
    for _ in range(3):
        world.commit(ONE)
        world.ask()
        world.settle()
    assert [entry.id for entry in world.status.history] == ids


def test_all_passes_apply_the_commit_that_was_resolved_first() -> None:
    world = World()
    pinned = world.commit(job("before", "PreSync"), ONE)
    world.ask()
    world.settle()
    world.commit(TWO)
    world.annotate(refresh="hard")
    world.settle()
    world.finish("before")
    world.settle()
    assert world.phase == "Succeeded"
    assert world.names() == {"Job/before", "ConfigMap/one"}
    state = world.status.operation_state
    assert state is not None
    assert state.sync_result is not None
    assert state.sync_result.revision == pinned


def test_after_a_crash_the_pinned_commit_is_rendered_again() -> None:
    world = World()
    pinned = world.commit(job("before", "PreSync"), ONE)
    world.ask()
    world.settle()
    world.commit(TWO)
    world.rendering, world.operation = type(world.rendering)(), type(world.operation)()
    world.results, world.acted_at = [], None
    decisions = [world.step() for _ in range(3)]
    asked = [one.revisions for decision in decisions for one in decision.actions if isinstance(one, Render)]
    assert (pinned,) in asked
    world.finish("before")
    world.settle()
    assert world.names() == {"Job/before", "ConfigMap/one"}


def test_a_sync_to_an_older_commit_takes_that_one() -> None:
    world = World()
    older = world.commit(ONE)
    world.commit(TWO)
    world.ask(revision=older)
    world.settle()
    assert world.names() == {"ConfigMap/one"}
    assert world.status.sync.status == "OutOfSync"


def test_local_manifests_are_applied_instead() -> None:
    world = World()
    world.commit(ONE)
    world.ask(manifests=[msgspec.json.encode(TWO).decode()])
    world.settle()
    assert world.phase == "Succeeded"
    assert world.names() == {"ConfigMap/two"}
    world.ask(manifests=["kind: ConfigMap"])
    world.settle()
    assert world.phase == "Error"
    assert world.message == (
        "ComparisonError: Failed to load target state: operation.sync.manifests[0]: expected an object as JSON"
    )


@pytest.mark.parametrize(
    ("operation", "phase", "message"),
    [
        pytest.param({}, "Failed", "Invalid operation request: no operation specified", id="empty"),
        pytest.param(
            {"sync": "now"},
            "Error",
            'InvalidSpecError: operation.sync: Invalid value: "now": expected object, found str',
            id="wrong-type",
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_answered_and_removed(operation: Any, phase: str, message: str) -> None:
    world = World()
    world.commit(ONE)
    world.app["operation"] = operation
    world.settle()
    assert (world.phase, world.message) == (phase, message)
    assert "operation" not in world.app
    assert world.names() == set()


def test_a_failing_render_is_an_error_that_changes_nothing() -> None:
    world = World()
    world.break_commit("kustomize said no")
    world.ask()
    world.settle()
    assert (world.phase, world.message) == (
        "Error",
        "ComparisonError: Failed to load target state: kustomize said no",
    )


def test_errors_of_the_comparison_are_joined() -> None:
    world = World(spec={"destination": {"server": "https://kubernetes.default.svc", "namespace": ""}})
    world.commit(ONE, TWO)
    world.ask()
    world.settle()
    assert world.phase == "Error"
    assert world.message == (
        "InvalidSpecError: Namespace for one /v1, Kind=ConfigMap is missing.;"
        "InvalidSpecError: Namespace for two /v1, Kind=ConfigMap is missing."
    )


# -- windows -----------------------------------------------------------------------------------------------------------

CLOSED = {"kind": "deny", "schedule": "0 8 * * *", "duration": "2h", "applications": ["*"]}  # 8:00 to 10:00


def test_a_window_blocks_a_sync_until_it_is_over() -> None:
    world = World(project=project(syncWindows=[CLOSED]))
    world.commit(ONE)
    world.ask()
    world.settle()
    assert (world.phase, world.message) == ("Running", "Sync operation blocked by sync window")
    assert world.names() == set()
    world.run(timedelta(minutes=61))
    assert world.phase == "Succeeded"


def test_a_window_may_let_people_through_and_nothing_else() -> None:
    world = World(spec={"syncPolicy": {"automated": {}}}, project=project(syncWindows=[{**CLOSED, "manualSync": True}]))
    world.commit(ONE)
    world.settle()
    assert world.phase == ""
    assert world.decision is not None
    assert world.decision.blocked_on is not None
    assert world.decision.blocked_on.what == "Sync operation blocked by sync window"
    world.ask()
    world.settle()
    assert world.phase == "Succeeded"


def test_comparison_is_never_blocked() -> None:
    world = World(project=project(syncWindows=[CLOSED]))
    world.commit(ONE)
    world.settle()
    assert world.status.sync.status == "OutOfSync"


# -- retry and time ----------------------------------------------------------------------------------------------------


def test_a_retry_succeeds_once_it_can() -> None:
    world = World()
    world.commit(ONE)
    world.rejected_late.add("one")
    world.ask(retry={"limit": -1})
    world.settle(until=timedelta(0))
    assert world.message.startswith(
        "one or more objects failed to apply, reason: configmap/one is invalid. Retrying attempt #1 at 9:00AM."
    )
    world.run(timedelta(minutes=3))
    assert world.phase == "Running"
    world.rejected_late.clear()
    world.run(timedelta(minutes=3))
    assert world.phase == "Succeeded"
    assert len(world.status.history) == 1


@pytest.mark.parametrize(("refresh", "wanted"), [(False, "ConfigMap/one"), (True, "ConfigMap/two")], ids=str)
def test_a_retry_takes_the_newest_revision_if_asked_to(refresh: bool, wanted: str) -> None:
    world = World()
    old = world.commit(ONE)
    world.rejected_late.add("one")
    world.ask(revision=old, retry={"limit": 5, "refresh": refresh})
    world.settle(until=timedelta(0))
    world.commit(TWO)
    world.rejected_late.clear()
    messages = set()
    for _ in range(40):
        world.now += timedelta(seconds=1)
        world.step()
        messages.add(world.message)
    assert f"Retrying operation{' with latest revisions' if refresh else ''}. Attempt #1" in messages
    assert world.names() == {wanted}


def test_a_retry_whose_delay_makes_no_sense_is_given_up() -> None:
    world = World()
    world.commit(ONE)
    world.rejected_late.add("one")
    world.ask(retry={"limit": 2, "backoff": {"duration": "soon"}})
    world.settle()
    assert world.phase == "Error"
    assert "(failed to retry: spec.syncPolicy.retry.backoff.duration: time: invalid duration" in world.message


def test_a_sync_that_takes_too_long_is_terminated() -> None:
    world = World(settings=Settings(timing=replace(Timing(), sync_timeout=timedelta(minutes=5))))
    world.commit(job("before", "PreSync"), ONE)
    world.ask()
    world.run(timedelta(minutes=4))
    assert world.phase == "Running"
    world.run(timedelta(minutes=2))
    assert (world.phase, world.message) == ("Failed", "Operation terminated")
    assert world.names() == set()


def test_a_terminated_sync_is_not_tried_again() -> None:
    world = World()
    world.commit(job("before", "PreSync"), ONE)
    world.ask(retry={"limit": 5})
    world.settle()
    world.app["status"]["operationState"]["phase"] = "Terminating"
    world.run(timedelta(minutes=10))
    assert (world.phase, world.message) == ("Failed", "Operation terminated")


def test_terminating_before_anything_was_rendered_ends_at_once() -> None:
    world = World()
    world.is_git_up = False
    world.ask()
    world.step()
    world.app["status"]["operationState"]["phase"] = "Terminating"
    world.settle()
    assert (world.phase, world.message) == ("Failed", "Operation terminated")


def test_a_running_operation_goes_on_although_its_request_was_lost() -> None:
    # A client with a stale copy can erase it (trap 1); what runs is in the status.
    world = World()
    world.commit(job("before", "PreSync"), ONE)
    world.ask()
    world.settle()
    del world.app["operation"]
    world.finish("before")
    world.settle()
    assert world.phase == "Succeeded"
    assert "operation" not in world.app


def test_a_running_operation_is_looked_at_every_thirty_seconds() -> None:
    world = World()
    world.commit(job("before", "PreSync"))
    world.ask()
    world.settle(until=timedelta(0))
    decision = world.step()
    assert decision.blocked_on is not None
    assert decision.blocked_on.at == world.now + timedelta(seconds=30)


def test_a_sync_costs_as_many_applies_as_objects_and_few_writes_of_its_own() -> None:
    world = World(spec={"syncPolicy": {"automated": {}}})
    world.commit(*(manifest("ConfigMap", f"one-{number}") for number in range(20)))
    world.settle()
    assert world.phase == "Succeeded"
    assert sum(line.startswith("apply") for line in world.log) == 20
    assert world.writes <= 4


# -- what an operation brings along ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(
            {"repoURL": "https://evil.example.com/x.git", "path": "."},
            "application repo https://evil.example.com/x.git is not permitted in project 'default'",
            id="repository",
        ),
        pytest.param(
            {"repoURL": "https://git.example.com/shop.git", "path": "../.."},
            'operation.sync.source.path: Invalid value: "../..": expected a path inside the repository',
            id="path",
        ),
    ],
)
def test_a_source_of_the_operation_is_checked_before_it_is_rendered(source: dict[str, str], message: str) -> None:
    world = World(project=project(sourceRepos=["https://git.example.com/*"]))
    world.commit(ONE)
    world.settle()
    world.ask(source=source)
    decisions = [world.step() for _ in range(4)]
    assert not [one for decision in decisions for one in decision.actions if isinstance(one, Render)]
    assert (world.phase, world.message) == ("Error", f"InvalidSpecError: {message}")


def test_an_empty_mode_of_signatures_is_none() -> None:
    policy = {"git": {"policies": [{"repos": [{"url": "*"}], "gpg": {"mode": "", "keys": []}}]}}
    world = World(project=project(sourceIntegrity=policy))
    world.commit(ONE)
    world.ask(manifests=[msgspec.json.encode(TWO).decode()])
    world.settle()
    assert world.phase == "Succeeded"


@pytest.mark.parametrize(("keys", "phase"), [([{"keyID": "4AEE18F83AFDEB23"}], "Error"), ([], "Succeeded")], ids=str)
def test_local_manifests_are_refused_where_commits_must_be_signed(keys: list[dict[str, str]], phase: str) -> None:
    world = World(project=project(signatureKeys=keys))
    world.commit(ONE)
    world.ask(manifests=[msgspec.json.encode(TWO).decode()])
    world.settle()
    assert world.phase == phase
    assert ("signature keys are required" in world.message) is bool(keys)

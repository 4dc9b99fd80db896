"""One decision about an Application, and several in a row."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fairlead.agentsync.actions import Depth, Render
from fairlead.agentsync.kinds import APPLICATIONS
from fairlead.agentsync.machine import Reason, application_patch, prepare
from fairlead.agentsync.observation import DestinationSeen
from fairlead.agentsync.project import Project, parse
from tests.agentsync.world import World, manifest

ONE, TWO = manifest("ConfigMap", "one"), manifest("ConfigMap", "two")
HEALING: dict[str, Any] = {"automated": {"prune": True, "selfHeal": True}}


def blocked(world: World) -> tuple[str, str]:
    assert world.decision is not None
    blocker = world.decision.blocked_on
    return (blocker.reason, blocker.what) if blocker is not None else ("", "")


def healthy(spec: dict[str, Any] | None = None) -> World:
    world = World(spec=spec or {"syncPolicy": HEALING})
    world.commit(ONE)
    world.settle()
    assert (world.status.sync.status, world.status.health.status) == ("Synced", "Healthy")
    return world


# -- seeing ------------------------------------------------------------------------------------------------------------


def test_a_new_application_is_compared_and_waits_for_somebody() -> None:
    world = World()
    sha = world.commit(ONE)
    first = world.step()
    assert [(one.depth, one.for_operation) for one in first.actions if isinstance(one, Render)] == [
        (Depth.FRESH, False)
    ]
    assert blocked(world) == (Reason.RENDERING, "the sources are being rendered")
    world.settle()
    status = world.status
    assert (status.sync.status, status.sync.revision, status.source_type) == ("OutOfSync", sha, "Directory")
    assert status.health.status == "Missing"
    assert status.reconciled_at == world.now
    assert status.controller_namespace == "argocd"
    assert status.sync.compared_to is not None
    assert status.sync.compared_to.source is not None
    assert status.sync.compared_to.source.path == "deploy"
    assert blocked(world) == (Reason.OUT_OF_SYNC, "automatic sync is off")
    assert "ResourceUpdated: Updated sync status:  -> OutOfSync" in world.log
    assert "ResourceUpdated: Updated health status:  -> Missing" in world.log


def test_a_synced_and_healthy_application_waits_for_nothing() -> None:
    world = healthy()
    assert blocked(world) == ("", "")
    assert world.status.operation_state is not None
    assert "OperationStarted: Initiated automated sync to '" + world.head + "'" in world.log
    assert world.decision is not None
    assert world.decision.wake_at == world.rendering.desired.rendered_at + timedelta(seconds=120)  # type: ignore[union-attr]


def test_several_sources_are_written_by_position() -> None:
    source = {"repoURL": "https://git.example.com/shop.git", "path": "deploy"}
    world = World(spec={"sources": [source, source], "syncPolicy": {"automated": {}}})
    sha = world.commit(ONE)
    world.settle()
    status = world.status
    assert (status.sync.revision, status.sync.revisions) == ("", (sha, sha))
    assert (status.source_type, status.source_types) == ("", ("Directory", "Directory"))
    assert status.history[0].revisions == (sha, sha)
    assert len(status.history[0].sources) == 2


def test_nothing_is_said_before_the_destination_was_listed() -> None:
    world = World()
    world.commit(ONE)
    world.is_live_known = False
    world.settle()
    assert world.status.sync.status == ""
    assert blocked(world)[0] == Reason.LOADING


def test_a_destination_that_does_not_answer_is_no_healthy_one() -> None:
    world = healthy()
    world.is_live_known, world.live_error = False, "connection refused"
    world.settle()
    assert (world.status.sync.status, world.status.health.status) == ("Unknown", "Unknown")
    assert world.condition("ComparisonError") == "Failed to load live state: connection refused"
    world.is_live_known, world.live_error = True, ""
    world.settle()
    assert (world.status.sync.status, world.status.health.status) == ("Synced", "Healthy")
    assert world.condition("ComparisonError") == ""


# -- the annotations ---------------------------------------------------------------------------------------------------


def test_skip_reconcile_leaves_it_alone() -> None:
    world = World()
    world.commit(ONE)
    world.annotate(skip_reconcile="true", refresh="hard")
    world.ask()
    before = copy.deepcopy(world.app)
    world.settle()
    assert world.app == before
    assert blocked(world)[0] == Reason.SKIPPED


@pytest.mark.parametrize(("value", "depth"), [("normal", Depth.FRESH), ("hard", Depth.HARD)])
def test_a_refresh_asks_at_once_and_its_annotation_goes_with_the_answer(value: str, depth: Depth) -> None:
    world = healthy()
    world.annotate(refresh=value)
    asked = world.step()
    assert [one.depth for one in asked.actions if isinstance(one, Render)] == [depth]
    assert world.app["metadata"]["annotations"]
    world.settle()
    assert not world.app["metadata"].get("annotations")


def test_a_second_refresh_during_the_first_is_not_lost() -> None:
    world = healthy()
    world.annotate(refresh="normal", refresh_timestamp="2026-03-02T09:00:01.000000001Z")
    world.step()
    world.annotate(refresh="normal", refresh_timestamp="2026-03-02T09:00:02.000000001Z")
    again = world.step()
    assert [one for one in again.actions if isinstance(one, Render)]
    world.settle()
    assert not world.app["metadata"].get("annotations")


def test_a_refresh_that_fails_is_answered_too() -> None:
    world = healthy()
    world.break_commit()
    world.annotate(refresh="normal")
    world.settle()
    assert not world.app["metadata"].get("annotations")
    assert world.condition("ComparisonError") == "Failed to load target state: bad YAML"


# -- what is wrong -----------------------------------------------------------------------------------------------------


def test_a_wrong_type_is_named_and_nothing_is_touched() -> None:
    world = healthy()
    before = copy.deepcopy(world.objects)
    world.app["spec"]["syncPolicy"] = {"automated": {"prune": "yes"}}
    world.ask()
    world.commit(TWO)
    world.settle()
    message = 'spec.syncPolicy.automated.prune: Invalid value: "yes": expected bool, found str'
    assert world.condition("InvalidSpecError") == message
    assert (world.status.sync.status, world.status.health.status) == ("Unknown", "Unknown")
    assert (world.phase, world.message) == ("Error", f"InvalidSpecError: {message}")
    assert "operation" not in world.app
    assert world.objects == before
    world.run(timedelta(hours=1))
    assert world.objects == before
    assert blocked(world) == (Reason.INVALID, message)


RESTRICTED = b"""{"sourceRepos": ["https://git.example.com/*"], "destinations": [{"server": "*", "namespace": "web"}],
    "clusterResourceWhitelist": [{"group": "*", "kind": "*"}]}"""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"project": "none"}, "Application referencing project none which does not exist", id="no-project"),
        pytest.param(
            {"destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"}},
            "application destination server 'https://kubernetes.default.svc' and namespace 'shop' do not match any of"
            " the allowed destinations in project 'default'",
            id="destination",
        ),
        pytest.param(
            {"source": {"repoURL": "https://evil.example.com/x.git", "path": "."}},
            "application repo https://evil.example.com/x.git is not permitted in project 'default'",
            id="repository",
        ),
        pytest.param(
            {"source": {"repoURL": ""}},
            "spec.source.repoURL and either spec.source.path or spec.source.chart are required",
            id="source",
        ),
    ],
)
def test_what_the_project_does_not_permit_is_not_even_rendered(change: dict[str, Any], message: str) -> None:
    base = {"destination": {"server": "https://kubernetes.default.svc", "namespace": "web"}}
    world = World(spec={**base, **change, "syncPolicy": HEALING})
    world.commit(ONE)
    world.project = None if "project" in change else Project(name="default", spec=parse(RESTRICTED))
    decisions = [world.step() for _ in range(3)]
    assert message in [one.message for one in world.status.conditions if one.type == "InvalidSpecError"]
    assert not [one for decision in decisions for one in decision.actions]


def test_a_project_that_cannot_be_read_is_named() -> None:
    world = healthy()
    world.project = Project(name="default", spec=parse(b"{}"), error="spec.destinations: expected array")
    before = copy.deepcopy(world.objects)
    world.run(timedelta(minutes=10))
    assert world.condition("InvalidSpecError") == (
        "Application referencing project default which cannot be read: spec.destinations: expected array"
    )
    assert world.objects == before


def test_an_application_elsewhere_needs_the_leave_of_its_project() -> None:
    world = World()
    world.app["metadata"]["namespace"] = "team"
    world.commit(ONE)
    world.settle()
    expected = "application 'shop' in namespace 'team' is not allowed to use project default"
    assert world.condition("InvalidSpecError") == expected


def test_a_destination_that_is_not_known_is_an_error() -> None:
    world = World()
    world.commit(ONE)
    world.destination = DestinationSeen(error="there are no clusters with this name: prod")
    world.settle()
    assert world.condition("InvalidSpecError") == "there are no clusters with this name: prod"


def test_a_running_operation_ends_when_its_project_goes() -> None:
    world = World()
    world.commit(manifest("Job", "before", hook="PreSync"), ONE)
    world.ask()
    world.settle()
    world.project = None
    world.settle()
    assert (world.phase, world.message) == (
        "Error",
        "InvalidSpecError: Application referencing project default which does not exist",
    )
    assert world.get("ConfigMap", "one") is None


def test_what_was_rendered_must_be_objects() -> None:
    world = World(spec={"syncPolicy": HEALING})
    world.commit({"apiVersion": "v1", "metadata": {"name": "one"}})
    world.settle()
    assert world.condition("ComparisonError") == (
        "Failed to load target state: Object 'kind' is missing in an object one"
    )
    assert world.status.sync.status == "Unknown"
    assert world.phase == ""


# -- sources that fail -------------------------------------------------------------------------------------------------


def test_a_repository_has_three_minutes_to_come_back() -> None:
    world = healthy()
    world.is_git_up = False
    world.annotate(refresh="normal")
    world.settle(until=timedelta(0))
    assert world.status.sync.status == "Synced"
    assert world.condition("ComparisonError") == ""
    world.run(timedelta(seconds=179))
    assert world.status.sync.status == "Synced"
    world.run(timedelta(seconds=2))
    assert world.status.sync.status == "Unknown"
    assert world.condition("ComparisonError") == "Failed to load target state: connection refused"
    assert {one.status for one in world.status.resources} == {"Unknown"}
    world.is_git_up = True
    world.run(timedelta(minutes=1))
    assert world.status.sync.status == "Synced"


def test_a_bad_commit_has_none() -> None:
    world = healthy()
    world.break_commit()
    world.annotate(refresh="normal")
    world.settle(until=timedelta(0))
    assert world.status.sync.status == "Unknown"
    assert blocked(world) == (Reason.SOURCE_FAILED, "Failed to load target state: bad YAML")


def test_drift_is_mended_while_git_does_not_answer() -> None:
    world = healthy()
    world.is_git_up = False
    world.run(timedelta(hours=1))
    assert world.status.sync.status == "Unknown"
    world.objects.clear()
    world.run(timedelta(minutes=1))
    assert world.names() == {"ConfigMap/one"}
    assert world.status.sync.status == "Unknown", "nobody knows whether there is a newer commit"


def test_drift_is_not_mended_while_the_commit_is_bad() -> None:
    world = healthy()
    world.break_commit()
    world.run(timedelta(minutes=10))
    world.objects.clear()
    world.run(timedelta(minutes=10))
    assert world.names() == set()


def test_without_any_render_a_failure_is_told_at_once() -> None:
    world = World(spec={"syncPolicy": HEALING})
    world.have(ONE)
    world.is_git_up = False
    world.run(timedelta(hours=1))
    assert world.status.sync.status == "Unknown"
    assert world.condition("ComparisonError") == "Failed to load target state: connection refused"
    assert [(one.name, one.status, one.requires_pruning) for one in world.status.resources] == [
        ("one", "Unknown", False)
    ]
    assert world.names() == {"ConfigMap/one"}


# -- by itself ---------------------------------------------------------------------------------------------------------


def test_a_new_commit_is_synced_and_what_left_is_pruned() -> None:
    world = healthy()
    world.commit(TWO)
    world.run(timedelta(minutes=5))
    assert world.names() == {"ConfigMap/two"}
    assert world.status.sync.revision == world.head


def test_drift_waits_longer_each_time() -> None:
    world = healthy()
    waits = []
    for _ in range(5):
        world.objects.clear()
        begun = world.now
        while not world.objects:
            world.now += timedelta(seconds=1)
            world.settle(until=timedelta(0))
        waits.append(round((world.now - begun).total_seconds()))
    assert waits == [1, 2, 6, 18, 54]


def test_what_must_not_be_pruned_is_not_tried_again_for_ever() -> None:
    world = healthy()
    world.have(manifest("ConfigMap", "kept", options="Prune=false"))
    world.settle()
    assert world.status.sync.status == "OutOfSync"
    state = world.status.operation_state
    world.run(timedelta(hours=1))
    assert world.status.operation_state == state
    assert blocked(world) == (Reason.OUT_OF_SYNC, "what differs must not be pruned")
    assert world.names() == {"ConfigMap/one", "ConfigMap/kept"}


def test_a_changed_destination_is_not_compared_with_the_old_render() -> None:
    world = healthy()
    world.app["spec"]["destination"]["namespace"] = "other"
    decision = world.step()
    assert [one.destination.namespace for one in decision.actions if isinstance(one, Render) and one.destination] == [
        "other"
    ]
    assert world.status.sync.status == "Synced"
    world.run(timedelta(minutes=5))
    assert {str(key) for key in world.objects} == {"/ConfigMap/other/one"}


# -- storing -----------------------------------------------------------------------------------------------------------


def patch_of(world: World) -> dict[str, Any]:
    subject = prepare(APPLICATIONS.decode(msgspec.json.encode(world.app)))
    before = world.status
    return application_patch(subject, before, world.step(store=False, perform=False))


def test_a_decision_that_changes_nothing_is_no_write() -> None:
    assert patch_of(healthy()) == {}


def test_a_request_and_its_state_are_one_write_that_names_the_version() -> None:
    world = World(spec={"syncPolicy": {"automated": {}}})
    world.commit(ONE)
    world.step()
    patch = patch_of(world)
    assert patch["metadata"] == {"resourceVersion": world.app["metadata"]["resourceVersion"]}
    assert patch["operation"]["sync"] == {"revision": world.head}
    assert patch["status"]["operationState"]["phase"] == "Running"
    assert patch["status"]["operationState"]["operation"] == patch["operation"]


def test_a_status_alone_needs_no_version() -> None:
    world = World()
    world.commit(ONE)
    world.step()
    assert set(patch_of(world)) == {"status"}


def test_deciding_twice_gives_the_same() -> None:
    world = World(spec={"syncPolicy": HEALING})
    world.commit(ONE, TWO)
    for _ in range(10):
        assert world.step(store=False, perform=False) == world.step(store=False, perform=False)
        world.step()


@pytest.mark.parametrize("is_multi", [False, True], ids=["one-source", "several"])
def test_null_in_values_of_a_chart_is_rendered_and_costs_no_writes(is_multi: bool) -> None:
    # A merge patch cannot store it, so what is stored of a source must neither be rendered nor be found to differ.
    values = {"image": {"tag": None, "name": "web"}}
    source = {"repoURL": "https://git.example.com/shop.git", "path": "chart", "helm": {"valuesObject": values}}
    spec = {"sources": [source]} if is_multi else {"source": source}
    world = World(spec={**spec, "syncPolicy": HEALING})
    world.commit(manifest("Job", "before", hook="PreSync"), ONE)
    world.settle()
    world.forget()
    rendered = []
    for _ in range(4):
        rendered += [one for one in world.step().actions if isinstance(one, Render)]
    assert rendered
    for one in rendered:
        assert one.sources[0].helm is not None
        assert one.sources[0].helm.values_object == values
    world.finish("before")
    world.settle()
    assert (world.phase, world.status.sync.status) == ("Succeeded", "Synced")
    writes = world.writes
    world.step()
    world.step()
    assert world.writes == writes

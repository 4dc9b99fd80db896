"""The public plan: what a sync does, wave by wave."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime
from typing import Any

import pytest

from fairlead.agentsync import plan as module
from fairlead.agentsync.operation import SyncResource
from fairlead.agentsync.plan import Plan, PlanOptions, Verb, plan
from fairlead.agentsync.resources import Object
from fairlead.agentsync.spec import NamespaceMetadata
from tests.agentsync.world import definition, job, manifest


def lines(found: Plan) -> list[str]:
    return [
        f"{wave.phase}:{wave.number} {' '.join(f'{step.verb}:{step.key.kind}/{step.key.name}' for step in wave.steps)}"
        for wave in found.waves
    ]


def options(**given: Any) -> PlanOptions:
    return PlanOptions(namespace="shop", **given)


ONE = manifest("ConfigMap", "one", "shop")
GONE = manifest("ConfigMap", "gone", "shop")


def test_the_example_in_the_docstring() -> None:
    assert doctest.testmod(module).failed == 0


def test_phases_waves_prunes_and_kinds() -> None:
    found = plan(
        [
            job("before", "PreSync"),
            manifest("Deployment", "web", wave="1"),
            ONE,
            job("after", "PostSync"),
            job("rescue", "SyncFail"),
            manifest("ConfigMap", "never", hook="Skip"),
        ],
        [ONE, GONE],
        options(),
    )
    assert lines(found) == [
        "PreSync:0 hook:Job/before",
        "Sync:0 prune:ConfigMap/gone apply:ConfigMap/one",
        "Sync:1 create:Deployment/web",
        "PostSync:0 hook:Job/after",
        "SyncFail:0 hook:Job/rescue",
    ]
    assert len(found.steps) == 6


@pytest.mark.parametrize(
    ("own", "given", "verb"),
    [
        pytest.param("", {}, Verb.PRUNE, id="prune"),
        pytest.param("", {"prune": False}, Verb.KEEP, id="off"),
        pytest.param("Prune=false", {}, Verb.KEEP, id="forbidden"),
        pytest.param("Prune=confirm", {}, Verb.CONFIRM, id="asks"),
        pytest.param("Prune=confirm", {"prune": False}, Verb.KEEP, id="off-and-asks"),
    ],
)
def test_what_becomes_of_what_left_the_source(own: str, given: dict[str, Any], verb: Verb) -> None:
    (step,) = plan([], [manifest("ConfigMap", "gone", "shop", options=own)], options(**given)).steps
    assert step.verb is verb


def test_a_choice_runs_no_hooks_and_leaves_the_rest_alone() -> None:
    chosen = (SyncResource(kind="ConfigMap", name="one"),)
    found = plan([job("before", "PreSync"), ONE, manifest("ConfigMap", "two")], [GONE], options(resources=chosen))
    assert lines(found) == ["Sync:0 create:ConfigMap/one"]


def test_only_what_differs_is_applied_and_hooks_run_regardless() -> None:
    found = plan(
        [job("before", "PreSync"), ONE, manifest("ConfigMap", "two")],
        [ONE, manifest("ConfigMap", "two", "shop", a="b"), GONE],
        options(
            sync_options=("ApplyOutOfSyncOnly=true",),
            is_modified=lambda target, live: target["metadata"] != live["metadata"],
        ),
    )
    assert lines(found) == ["PreSync:0 hook:Job/before", "Sync:0 prune:ConfigMap/gone apply:ConfigMap/two"]


def test_the_namespace_is_made_first_unless_a_manifest_does_or_it_is_there() -> None:
    wants = options(sync_options=("CreateNamespace=true",))
    namespace = manifest("Namespace", "shop")
    assert lines(plan([ONE], [], wants)) == ["PreSync:0 create:Namespace/shop", "Sync:0 create:ConfigMap/one"]
    # A manifest of it wins, and comes before the first that needs it.
    assert lines(plan([ONE, namespace], [], wants)) == ["Sync:0 create:Namespace/shop create:ConfigMap/one"]
    assert lines(plan([ONE], [], options())) == ["Sync:0 create:ConfigMap/one"]


def test_the_metadata_of_the_namespace_is_part_of_it() -> None:
    wants = options(
        sync_options=("CreateNamespace=true",),
        namespace_metadata=NamespaceMetadata(labels={"team": "shop"}, annotations={"a": "b"}),
    )
    step = plan([ONE], [], wants).steps[0]
    assert step.target == {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"team": "shop"}, "annotations": {"a": "b"}},
    }


def test_a_hook_with_a_prefix_is_named_by_revision_and_start() -> None:
    prefixed = job("", "PreSync")
    prefixed["metadata"] = {**prefixed["metadata"], "generateName": "migrate-"}
    del prefixed["metadata"]["name"]
    started = datetime(2026, 3, 2, 9, tzinfo=UTC)
    (step,) = plan([prefixed], [], options(revision="abcdef0123", started_at=started)).steps
    assert step.key.name == f"migrate-abcdef0-presync-{int(started.timestamp())}"


def test_a_live_hook_is_not_pruned() -> None:
    left = job("old", "PreSync")
    left["metadata"]["namespace"] = "shop"
    assert plan([], [left], options()).waves == ()
    assert lines(plan([job("old", "PreSync")], [left], options())) == ["PreSync:0 hook:Job/old"]


def test_definitions_come_before_their_kind() -> None:
    scoped = {("example.com", "Widget"): True, ("apiextensions.k8s.io", "CustomResourceDefinition"): False}
    found = plan(
        [manifest("Widget", "w", wave="-1"), definition("Widget")],
        [],
        options(scope=lambda group, kind: scoped.get((group, kind))),
    )
    assert lines(found) == ["Sync:-1 create:CustomResourceDefinition/widgets.example.com create:Widget/w"]


def test_arguments_are_not_touched() -> None:
    desired: list[Object] = [manifest("ConfigMap", "one"), job("before", "PreSync")]
    before = [dict(one) for one in desired]
    plan(desired, [], options())
    assert desired == before

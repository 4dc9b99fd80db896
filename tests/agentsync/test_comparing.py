"""What is wanted against what lives: resources, the whole, warnings."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairlead.agentsync._comparing import Comparison, Judging, as_unknown, compare, with_time
from fairlead.agentsync._targets import prepare_targets, scope_of
from fairlead.agentsync.health import Health, HealthCode
from fairlead.agentsync.resources import Object, ResourceKey, key_of
from fairlead.agentsync.status import HealthStatus, ResourceStatus
from fairlead.agentsync.tracking import Tracking
from fairlead.core.errors import SpecError
from tests.agentsync.world import Live, Served, contains, definition, job, manifest

TRACKING = Tracking(application="shop")
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SCOPE = scope_of(Served({}), ())
JUDGING = Judging(
    application="argocd/shop",
    owns=TRACKING.owns,
    differs=lambda target, live: not contains(live, target),
    refuses=lambda key, namespaced: "",
    scope=SCOPE,
)


def ours(found: Object) -> Object:
    return TRACKING.stamp(found)


def compared(wanted: list[Object] | None, live: list[Object], **judging: Any) -> Comparison:
    targets = (
        prepare_targets(wanted, namespace="shop", scope=SCOPE, stamp=TRACKING.stamp) if wanted is not None else None
    )
    return compare(targets, Live({key_of(one): one for one in live}), replace(JUDGING, **judging))


def states(found: Comparison) -> dict[str, str]:
    return {one.name: one.status for one in found.resources}


ONE = manifest("ConfigMap", "one", "shop")
DRIFTED = {**ours(ONE), "data": {"a": "b"}}


@pytest.mark.parametrize(
    ("wanted", "live", "state", "code"),
    [
        pytest.param([ONE], [ours(ONE)], {"one": "Synced"}, "Synced", id="equal"),
        pytest.param([{**ONE, "data": {"a": "c"}}], [DRIFTED], {"one": "OutOfSync"}, "OutOfSync", id="modified"),
        pytest.param([ONE], [], {"one": "OutOfSync"}, "OutOfSync", id="missing"),
        pytest.param([], [ours(ONE)], {"one": "OutOfSync"}, "OutOfSync", id="extra"),
        pytest.param([], [ONE], {}, "Synced", id="somebody-elses"),
        pytest.param([], [], {}, "Synced", id="nothing"),
        pytest.param([ONE], [ONE], {"one": "OutOfSync"}, "OutOfSync", id="not-tracked-yet"),
        pytest.param(None, [ours(ONE)], {"one": "Unknown"}, "Unknown", id="nobody-knows"),
    ],
)
def test_states(wanted: list[Object] | None, live: list[Object], state: dict[str, str], code: str) -> None:
    found = compared(wanted, live)
    assert (states(found), found.code) == (state, code)


def test_what_is_extra_needs_pruning_unless_nobody_knows_what_is_wanted() -> None:
    assert [one.requires_pruning for one in compared([], [ours(ONE)]).resources] == [True]
    assert [one.requires_pruning for one in compared(None, [ours(ONE)]).resources] == [False]
    assert [one.requires_pruning for one in compared([ONE], [ours(ONE)]).resources] == [False]


def test_trap_25_an_object_with_an_owner_is_no_extra_but_still_compared_by_its_key() -> None:
    owned = ours(ONE)
    owned["metadata"]["ownerReferences"] = [{"kind": "Widget", "name": "w", "uid": "u"}]
    assert compared([], [owned]).resources == ()
    assert states(compared([ONE], [owned])) == {"one": "Synced"}


def test_a_copied_annotation_makes_no_object_ours() -> None:
    copied = manifest("ConfigMap", "copy", "shop")
    copied["metadata"]["annotations"] = ours(ONE)["metadata"]["annotations"]
    assert compared([], [copied]).resources == ()


def test_hooks_and_skipped_objects_have_no_state() -> None:
    live_hook = ours(job("old", "PreSync"))
    live_hook["metadata"]["namespace"] = "shop"
    live_hook = ours(job("old", "PreSync") | {"metadata": live_hook["metadata"]})
    skipped = manifest("ConfigMap", "skipped", "shop", hook="Skip")
    found = compared([job("new", "PreSync"), skipped], [live_hook, ours(skipped)])
    assert states(found) == {"old": "", "skipped": ""}
    assert found.code == "Synced"
    assert {one.name: one.hook for one in found.resources} == {"old": True, "skipped": False}
    assert [target.key.name for target in found.hooks] == ["new"]


def test_hooks_of_the_deletion_are_kept_apart() -> None:
    found = compared([job("before", "PreDelete"), job("after", "PostDelete"), job("sync", "Sync")], [])
    assert [target.key.name for target in found.delete_hooks] == ["before", "after"]
    assert [target.key.name for target in found.hooks] == ["sync"]


def test_an_ignored_extra_object_is_out_of_sync_without_making_the_application_so() -> None:
    extra = ours(manifest("ConfigMap", "extra", "shop", compare="IgnoreExtraneous"))
    found = compared([ONE], [ours(ONE), extra])
    assert states(found)["extra"] == "OutOfSync"
    assert found.code == "Synced"


def test_what_the_project_forbids_is_unknown_and_invisible() -> None:
    def refuses(key: ResourceKey, namespaced: bool) -> str:
        return "no" if key.kind == "Secret" else ""

    secret, extra = manifest("Secret", "wanted", "shop"), manifest("Secret", "extra", "shop")
    found = compared([secret, ONE], [ours(secret), ours(extra), ours(ONE)], refuses=refuses)
    assert states(found) == {"one": "Synced", "wanted": "Unknown"}
    assert all(pair.live is None for pair in found.pairs if pair.key.kind == "Secret")


def test_resources_are_sorted_and_say_wave_version_and_confirmation() -> None:
    found = compared(
        [
            manifest("Deployment", "web", wave="3"),
            manifest("ConfigMap", "b", options="Delete=confirm"),
            manifest("ConfigMap", "a", options="Prune=confirm"),
            definition("Widget"),
        ],
        [],
    )
    assert [(one.group, one.version, one.kind, one.namespace, one.name) for one in found.resources] == [
        ("", "v1", "ConfigMap", "shop", "a"),
        ("", "v1", "ConfigMap", "shop", "b"),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "", "widgets.example.com"),
        ("apps", "v1", "Deployment", "shop", "web"),
    ]
    assert [one.requires_deletion_confirmation for one in found.resources] == [True, True, False, False]
    assert [one.sync_wave for one in found.resources] == [0, 0, 0, 3]


def test_health_of_resources_and_of_the_whole() -> None:
    web = manifest("Deployment", "web", "shop")
    late = {"type": "Progressing", "reason": "ProgressDeadlineExceeded"}
    broken = {**ours(web), "status": {"conditions": [late]}}
    found = compared([ONE, web], [ours(ONE), broken])
    assert {one.name: one.health and one.health.status for one in found.resources} == {"one": None, "web": "Degraded"}
    assert found.health == Health(HealthCode.DEGRADED, "Caused by apps/Deployment:shop/web")
    missing = compared([ONE, web], [])
    assert {one.health and one.health.status for one in missing.resources} == {"Missing"}
    assert missing.health == Health(HealthCode.MISSING)


def test_a_namespace_that_nobody_names_is_an_error() -> None:
    targets = prepare_targets([manifest("ConfigMap", "one")], namespace="", scope=SCOPE)
    found = compare(targets, Live({}), JUDGING)
    assert [(one.type, one.message) for one in found.errors] == [
        ("InvalidSpecError", "Namespace for one /v1, Kind=ConfigMap is missing.")
    ]


def test_warnings() -> None:
    key = ResourceKey("", "ConfigMap", "shop", "one")
    found = compared([ONE, ONE], [ours(ONE)], others={key: "argocd/other"}, orphaned=3)
    assert [(one.type, one.message) for one in found.conditions] == [
        ("RepeatedResourceWarning", "Resource /ConfigMap/shop/one appeared 2 times among application resources."),
        ("SharedResourceWarning", "ConfigMap/one is part of applications argocd/shop and argocd/other"),
        ("OrphanedResourceWarning", "Application has 3 orphaned resources"),
    ]
    assert found.errors == ()


def test_a_comparison_that_fails_makes_everything_unknown() -> None:
    def differs(target: Object, live: Object) -> bool:
        raise SpecError("expected a path", path="spec.ignoreDifferences[0].jqPathExpressions[0]")

    found = compared([ONE], [ours(ONE)], differs=differs)
    assert (found.code, states(found)) == ("Unknown", {"one": "Unknown"})
    assert [one.message for one in found.errors] == [
        "Failed to compare desired state to live state: spec.ignoreDifferences[0].jqPathExpressions[0]: expected a path"
    ]


def test_changed_metadata_of_the_namespace_makes_it_out_of_sync() -> None:
    assert compared([ONE], [ours(ONE)], namespace_changed=True).code == "OutOfSync"


def test_the_time_of_health_moves_with_its_code_only() -> None:
    before = HealthStatus(status="Degraded", message="one", last_transition_time=NOW)
    later = NOW + timedelta(minutes=1, microseconds=5)
    assert with_time(Health(HealthCode.DEGRADED, "other"), before, later).last_transition_time == NOW
    assert with_time(Health(HealthCode.HEALTHY), before, later).last_transition_time == NOW + timedelta(minutes=1)


def test_what_nobody_knows_any_more_needs_no_pruning() -> None:
    before = (ResourceStatus(name="a", status="OutOfSync", requires_pruning=True), ResourceStatus(name="hook"))
    assert as_unknown(before) == (ResourceStatus(name="a", status="Unknown"), ResourceStatus(name="hook"))

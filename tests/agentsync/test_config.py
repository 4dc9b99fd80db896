"""The settings of an installation: what `argocd-cm` says, and what it says wrongly."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fairlead.agentsync._auto import Timing
from fairlead.agentsync.config import read_configuration
from fairlead.agentsync.diff import IgnoreRule, IgnoreStatus, KnownTypeField
from fairlead.agentsync.resources import ResourceKey
from fairlead.agentsync.tracking import TrackingMethod

TIMING = Timing()


def key(group: str, kind: str) -> ResourceKey:
    return ResourceKey(group, kind, "shop", "web")


def test_nothing_said_means_the_defaults() -> None:
    found = read_configuration({}, TIMING)
    assert found.timing == TIMING and found.problems == ()
    assert found.system.tracking_method is TrackingMethod.ANNOTATION
    assert found.system.label_key == "app.kubernetes.io/instance"


@pytest.mark.parametrize(
    ("group", "kind", "excluded"),
    [
        ("", "Event", True),
        ("events.k8s.io", "Event", True),
        ("", "Endpoints", True),
        ("discovery.k8s.io", "EndpointSlice", True),
        ("coordination.k8s.io", "Lease", True),
        ("", "ConfigMap", False),
        ("apps", "Deployment", False),
    ],
)
def test_kinds_that_hold_no_wish_are_left_alone_by_default(group: str, kind: str, excluded: bool) -> None:
    assert read_configuration({}, TIMING).is_excluded(key(group, kind)) is excluded


def test_exclusions_replace_the_default_and_inclusions_limit() -> None:
    said = {
        "resource.exclusions": "- apiGroups: ['*.example.com']\n  kinds: [Widget]\n  clusters: ['*']\n",
        "resource.inclusions": "- apiGroups: ['', 'a.example.com', apps]\n",
    }
    found = read_configuration(said, TIMING)
    assert found.is_excluded(key("a.example.com", "Widget"))
    assert not found.is_excluded(key("a.example.com", "Gadget"))
    assert not found.is_excluded(key("", "Event"))
    assert found.is_excluded(key("batch", "Job"))


def test_everything_is_read() -> None:
    found = read_configuration(
        {
            "application.resourceTrackingMethod": "annotation+label",
            "application.instanceLabelKey": "example.com/app",
            "installationID": "blue",
            "timeout.reconciliation": "300s",
            "timeout.reconciliation.jitter": "0",
            "timeout.hard.reconciliation": "24h",
            "resource.compareoptions": "ignoreResourceStatusField: crd\nignoreAggregatedRoles: true\n",
            "resource.customizations.ignoreDifferences.apps_Deployment": "jsonPointers: [/spec/replicas]\n",
            "resource.customizations.ignoreDifferences.all": "managedFieldsManagers: [scaler]\n",
            "resource.customizations.ignoreDifferences.Secret": "jqPathExpressions: ['.data']\n",
            "resource.customizations.knownTypeFields.example.com_Widget": "[{field: spec.pod, type: core/v1/PodSpec}]",
        },
        TIMING,
    )
    assert found.problems == ()
    assert found.timing.reconciliation == timedelta(minutes=5)
    assert found.timing.jitter == timedelta(0)
    assert found.timing.hard_reconciliation == timedelta(days=1)
    system = found.system
    assert (system.tracking_method, system.label_key, system.installation_id) == (
        TrackingMethod.ANNOTATION_AND_LABEL,
        "example.com/app",
        "blue",
    )
    assert (system.ignore_status, system.ignore_aggregated_roles) == (IgnoreStatus.CRD, True)
    assert set(system.ignores) == {
        IgnoreRule(group="apps", kind="Deployment", json_pointers=("/spec/replicas",)),
        IgnoreRule(group="*", kind="*", managed_fields_managers=("scaler",)),
        IgnoreRule(group="", kind="Secret", jq_path_expressions=(".data",)),
    }
    assert KnownTypeField(group="example.com", kind="Widget", field="spec.pod", type="core/v1/PodSpec") in (
        system.known_type_fields
    )


@pytest.mark.parametrize("text", ["none", "off", "false"])
def test_status_can_be_made_to_count(text: str) -> None:
    found = read_configuration({"resource.compareoptions": f"ignoreResourceStatusField: {text}"}, TIMING)
    assert found.system.ignore_status is IgnoreStatus.NONE


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timeout.reconciliation", "soon"),
        ("application.resourceTrackingMethod", "telepathy"),
        ("resource.exclusions", "kinds: [Widget]"),
        ("resource.exclusions", "- [unclosed"),
        ("resource.compareoptions", "- a list"),
        ("resource.compareoptions", "ignoreResourceStatusField: perhaps"),
        ("resource.customizations.ignoreDifferences.apps_Deployment", "just text"),
        ("resource.customizations.knownTypeFields.example.com_Widget", "field: spec.pod"),
    ],
)
def test_a_line_that_is_wrong_is_told_and_leaves_the_default(name: str, value: str) -> None:
    found = read_configuration({name: value}, TIMING)
    assert len(found.problems) == 1 and found.problems[0].startswith(f"{name}: ")
    assert found.timing == TIMING
    assert found.system == read_configuration({}, TIMING).system
    assert found.is_excluded(key("", "Event"))


def test_health_scripts_are_told_not_to_run() -> None:
    found = read_configuration({"resource.customizations.health.example.com_Thing": "return {}"}, Timing())
    assert found.problems == (
        "resource.customizations.health.example.com_Thing: Lua is not run here; example.com/Thing has no health and"
        " does not count",
    )

"""Whether a live object is what its manifest says, and what an apply makes of it."""

from __future__ import annotations

import json

import pytest

from fairlead.agentsync.diff import (
    ANNOTATIONS_BYTES_MAX,
    LAST_APPLIED,
    DiffOptions,
    IgnoreRule,
    KnownTypeField,
    client_side_apply,
    difference,
)
from fairlead.agentsync.resources import Object
from fairlead.agentsync.tracking import Tracking
from fairlead.core.errors import SpecError
from fairlead.core.patches import diff as merge_patch
from tests.agentsync.builders_diff import (
    config_map,
    container,
    custom,
    deployment,
    edited,
    pod_spec,
    read,
    rollout,
    secret,
    service,
)


def test_one_side_missing_is_a_difference_without_changes() -> None:
    created, extra = difference(config_map(a="1"), None), difference(None, config_map(a="1"))
    assert (created.modified, created.live, created.changes) == (True, None, ())
    assert (extra.modified, extra.predicted, extra.changes) == (True, None, ())
    assert created.predicted == config_map(a="1")
    assert not difference(None, None).modified


def test_trap_2_what_only_the_live_side_ever_had_stays_and_is_no_difference() -> None:
    live = read(deployment())
    live["spec"] |= {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600}
    pods = live["spec"]["template"]["spec"]
    pods |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler"}
    pods["containers"][0] |= {"imagePullPolicy": "Always", "resources": {}}
    pods["containers"].append(container("injected"))
    assert not difference(deployment(), live).modified
    applied = client_side_apply(deployment(replicas=3), live)
    assert applied["spec"]["replicas"] == 3
    assert applied["spec"]["template"] == live["spec"]["template"]


def test_what_left_the_target_goes() -> None:
    live = read(config_map(a="1", b="2"))
    live["data"]["c"] = "3"
    assert client_side_apply(config_map(a="1"), live)["data"] == {"a": "1", "c": "3"}
    assert [str(one) for one in difference(config_map(a="1"), live).changes] == ["data.b: wanted None, found '2'"]


def test_without_a_last_applied_annotation_nothing_is_taken_away() -> None:
    live = read(config_map(a="1", b="2"), last_applied=False)
    assert not difference(config_map(a="1"), live).modified


def test_trap_15_an_option_left_by_hand_on_the_live_object_stays_in_force() -> None:
    mark = "argocd.argoproj.io/sync-options"
    live = read(config_map(a="1"))
    live["metadata"]["annotations"][mark] = "Replace=true"
    assert not difference(config_map(a="1"), live).modified
    applied = client_side_apply(config_map(a="2"), live)
    assert applied["metadata"]["annotations"][mark] == "Replace=true"


def test_trap_25_a_tracked_object_that_gained_an_owner_is_still_compared() -> None:
    tracking = Tracking(application="shop")
    live = read(tracking.stamp(config_map(a="1")))
    live["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "Widget", "name": "one", "uid": "u"}]
    assert not tracking.owns(live)
    options = DiffOptions(tracking=tracking)
    assert not difference(tracking.stamp(config_map(a="1")), live, options).modified
    assert difference(tracking.stamp(config_map(a="2")), live, options).modified


def external_secret(**reference: str) -> Object:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"refreshInterval": "1h", "data": [{"secretKey": "a", "remoteRef": {"key": "db", **reference}}]},
    }


def test_trap_30_defaults_inside_lists_of_custom_kinds_are_a_difference_unless_ignored() -> None:
    live = read(custom(parts=[{"name": "a"}]))
    live["spec"]["parts"][0]["mode"] = "Auto"  # the CRD's default
    assert difference(custom(parts=[{"name": "a"}]), live).modified
    rule = IgnoreRule(group="example.com", kind="Widget", jq_path_expressions=(".spec.parts[].mode",))
    assert not difference(custom(parts=[{"name": "a"}]), live, DiffOptions(ignores=(rule,))).modified


def test_trap_30_quantities_of_custom_kinds_are_a_difference_unless_declared() -> None:
    target, live = custom(limit="1000m", wait="60s"), read(custom(limit="1", wait="1m"), last_applied=False)
    assert difference(target, live).modified
    known = tuple(
        KnownTypeField(group="example.com", kind="Widget", field=f"spec.{name}", type=type_)
        for name, type_ in (("limit", "core/Quantity"), ("wait", "meta/v1/Duration"))
    )
    assert not difference(target, live, DiffOptions(known_type_fields=known)).modified


def test_trap_30_the_known_defaults_of_an_external_secret_are_no_difference() -> None:
    live = read(external_secret())
    live["spec"]["data"][0]["remoteRef"] |= {
        "conversionStrategy": "Default",
        "decodingStrategy": "None",
        "metadataPolicy": "None",
    }
    assert not difference(external_secret(), live).modified
    assert difference(external_secret(), edited(live, "spec.data.0.remoteRef.decodingStrategy", "Auto")).modified
    assert difference(external_secret(property="b"), live).modified
    assert not difference(edited(external_secret(), "spec.refreshInterval", "60m"), live).modified


def test_known_fields_go_through_lists_and_an_unknown_type_is_refused() -> None:
    known = KnownTypeField(group="example.com", kind="Widget", field="spec.parts.limits", type="core/v1/ResourceList")
    options = DiffOptions(known_type_fields=(known,))
    target, live = (
        custom(parts=[{"limits": {"cpu": "1000m"}}]),
        read(custom(parts=[{"limits": {"cpu": 1}}]), last_applied=False),
    )
    assert not difference(target, live, options).modified
    wrong = KnownTypeField(group="example.com", kind="Widget", field="spec.a", type="core/v1/Nothing")
    with pytest.raises(SpecError) as caught:
        difference(custom(), read(custom()), DiffOptions(known_type_fields=(wrong,)))
    assert str(caught.value).startswith(
        'knownTypeFields.example.com_Widget: field spec.a: unknown type "core/v1/Nothing"'
    )


def test_the_pods_of_a_rollout_compare_by_meaning() -> None:
    def pods(cpu: object, **fields: object) -> Object:
        return rollout(pod_spec(container(resources={"limits": {"cpu": cpu}}), **fields))

    assert not difference(pods("1000m", hostNetwork=False), read(pods(1), last_applied=False)).modified
    assert difference(pods("2"), read(pods(1), last_applied=False)).modified


def test_the_merge_patch_of_an_apply_holds_what_changes_and_nothing_else() -> None:
    live = read(deployment(pod_spec(container(resources={"limits": {"cpu": "1"}})), replicas=2))
    live["spec"]["strategy"] = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}
    target = deployment(pod_spec(container(resources={"limits": {"cpu": "1000m"}})), replicas=3)
    patch = merge_patch(live, client_side_apply(target, live))
    assert patch.pop("metadata").keys() == {"annotations"}
    assert patch == {"spec": {"replicas": 3}}


def test_the_last_applied_annotation_holds_the_target_as_it_came() -> None:
    target = edited(config_map(a="1"), "metadata.annotations", {"note": "1", LAST_APPLIED: "old"})
    applied = client_side_apply(target, read(config_map(a="0")))
    stored = json.loads(applied["metadata"]["annotations"][LAST_APPLIED])
    assert stored == edited(config_map(a="1"), "metadata.annotations", {"note": "1"})
    assert applied["metadata"]["annotations"]["note"] == "1"
    assert applied["metadata"]["resourceVersion"] == "7"
    created = client_side_apply(target, None)
    assert created["metadata"]["annotations"] == {
        "note": "1",
        LAST_APPLIED: json.dumps(stored, separators=(",", ":"), sort_keys=True) + "\n",
    }


def test_annotations_that_become_too_long_are_refused_with_a_way_out() -> None:
    long = config_map(a="x" * ANNOTATIONS_BYTES_MAX)
    with pytest.raises(SpecError) as caught:
        client_side_apply(long, None)
    message = str(caught.value)
    assert message.startswith(
        "metadata.annotations: Too long: must have at most 262144 bytes: ConfigMap/settings would have "
    )
    assert message.endswith("use the sync option ServerSideApply=true or Replace=true")
    with pytest.raises(SpecError):
        client_side_apply(config_map(a="ü" * (ANNOTATIONS_BYTES_MAX // 2)), read(config_map(a="1")))
    client_side_apply(config_map(a="x" * (ANNOTATIONS_BYTES_MAX - 1000)), None)


def test_an_error_of_a_secret_does_not_show_its_values() -> None:
    with pytest.raises(SpecError) as caught:
        client_side_apply(secret(stringData={"a": "hunter2" * 60_000}), None)
    assert "hunter2" not in str(caught.value)


def test_the_status_of_a_target_is_never_applied() -> None:
    target = {**config_map(a="1"), "status": {"phase": "stale"}}
    live = {**read(config_map(a="1")), "status": {"phase": "fresh"}}
    assert not difference(target, live).modified
    assert client_side_apply(target, live)["status"] == {"phase": "fresh"}


def test_a_node_port_and_a_cluster_ip_that_the_server_gave_stay() -> None:
    live = read(service())
    live["spec"] |= {
        "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1"],
        "type": "ClusterIP",
        "sessionAffinity": "None",
    }
    live["spec"]["ports"][0] |= {"protocol": "TCP", "targetPort": 80, "nodePort": 30080}
    assert not difference(service(), live).modified
    applied = client_side_apply(service(ports=[{"port": 80, "name": "web"}]), live)
    assert applied["spec"]["ports"] == [
        {"port": 80, "protocol": "TCP", "targetPort": 80, "nodePort": 30080, "name": "web"}
    ]


def test_a_finalizer_of_somebody_else_is_never_taken_off() -> None:
    target = edited(custom(), "metadata.finalizers", ["ours"])
    live = read(target)
    live["metadata"]["finalizers"] = ["ours", "theirs"]
    assert not difference(target, live).modified
    assert client_side_apply(custom(), live)["metadata"]["finalizers"] == ["theirs"]

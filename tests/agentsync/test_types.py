"""The table of built-in kinds, and fields of custom kinds that hold a built-in type."""

from __future__ import annotations

import pytest

from fairlead.agentsync._types import DEFAULTS, UNKNOWN, KnownTypeField, Shape, is_builtin, shape_of
from fairlead.core.errors import SpecError
from tests.agentsync.builders_diff import custom, deployment, rollout

POD = "spec.template.spec"


def shape_at(found: dict[str, object], path: str) -> Shape:
    shape = shape_of(found)
    for name in path.split("."):
        shape = shape.item if name == "[]" else shape.of(name)
    return shape


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("containers", ("name",)),
        ("initContainers", ("name",)),
        ("containers.[].ports", ("containerPort", "protocol")),
        ("containers.[].env", ("name",)),
        ("containers.[].volumeMounts", ("mountPath",)),
        ("containers.[].volumeDevices", ("devicePath",)),
        ("volumes", ("name",)),
        ("imagePullSecrets", ("name",)),
        ("hostAliases", ("ip",)),
        ("topologySpreadConstraints", ("topologyKey", "whenUnsatisfiable")),
    ],
)
def test_lists_of_pods_merge_by_these_keys(path: str, keys: tuple[str, ...]) -> None:
    shape = shape_at(deployment(), f"{POD}.{path}")
    assert (shape.is_list, shape.merges, shape.keys) == (True, True, keys)


@pytest.mark.parametrize("path", ["tolerations", "containers.[].args", "containers.[].envFrom", "readinessGates"])
def test_these_lists_are_replaced(path: str) -> None:
    shape = shape_at(deployment(), f"{POD}.{path}")
    assert (shape.is_list, shape.merges) == (True, False)


@pytest.mark.parametrize(
    ("group_version", "kind", "path", "keys"),
    [
        ("v1", "Service", "spec.ports", ("port", "protocol")),
        ("v1", "ServiceAccount", "secrets", ("name",)),
        ("apps/v1", "Deployment", "status.conditions", ("type",)),
        ("apps/v1", "Deployment", "metadata.ownerReferences", ("uid",)),
        ("apps/v1", "Deployment", "metadata.finalizers", ()),
        ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "webhooks", ("name",)),
    ],
)
def test_lists_of_other_kinds(group_version: str, kind: str, path: str, keys: tuple[str, ...]) -> None:
    shape = shape_at({"apiVersion": group_version, "kind": kind}, path)
    assert (shape.merges, shape.keys) == (True, keys)


@pytest.mark.parametrize(
    ("group_version", "kind", "path", "type_"),
    [
        ("v1", "ResourceQuota", "spec.hard.pods", "quantity"),
        ("apps/v1", "Deployment", f"{POD}.containers.[].resources.limits.cpu", "quantity"),
        ("apps/v1", "Deployment", "spec.strategy.rollingUpdate.maxSurge", "int-or-string"),
        ("policy/v1", "PodDisruptionBudget", "spec.minAvailable", "int-or-string"),
        ("v1", "Service", "spec.ports.[].targetPort", "int-or-string"),
        ("autoscaling/v2", "HorizontalPodAutoscaler", "spec.metrics.[].resource.target.averageValue", "quantity"),
        ("v1", "Secret", "data.a", "bytes"),
        ("coordination.k8s.io/v1", "Lease", "spec.renewTime", "time"),
    ],
)
def test_values_that_compare_by_meaning(group_version: str, kind: str, path: str, type_: str) -> None:
    assert shape_at({"apiVersion": group_version, "kind": kind}, path).type == type_


def test_of_a_custom_kind_only_the_metadata_has_a_shape() -> None:
    assert shape_at(custom(), "spec.anything") is UNKNOWN
    assert shape_at(custom(), "metadata.finalizers").merges
    assert not is_builtin(custom())
    assert is_builtin(deployment())
    assert not is_builtin({"apiVersion": "apps/v9", "kind": "Deployment"})
    assert not is_builtin({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"})


def test_the_pods_of_a_rollout_have_types_but_merge_nothing() -> None:
    shape = shape_at(rollout(), f"{POD}.containers")
    assert (shape.type, shape.is_known, shape.merges, shape.is_keyed) == ("core.v1.Container", True, False, False)
    assert shape.item.of("env").keys == ("name",)  # names in messages
    assert not shape.item.of("env").merges
    assert shape.item.of("resources").of("limits").of("cpu").type == "quantity"


def test_every_default_belongs_to_a_type_that_there_is() -> None:
    for name in DEFAULTS:
        if not name.startswith(("gateway.", "eso.")):
            known = KnownTypeField(group="example.com", kind="Widget", field="spec", type=name.replace(".", "/"))
            known.check()


@pytest.mark.parametrize("type_", ["", "core/Nothing", "core/v1/Quantity"])
def test_an_unknown_type_is_refused(type_: str) -> None:
    with pytest.raises(SpecError, match="expected core/Quantity, meta/v1/Duration or the name of a built-in type"):
        KnownTypeField(group="a", kind="b", field="spec", type=type_).check()

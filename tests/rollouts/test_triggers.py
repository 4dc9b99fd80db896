"""Which Rollouts a change of something else concerns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fairlead.core.kinds import AnalysisTemplate, EndpointSlice, Rollout
from fairlead.core.objects import Manifest, ObjectKey, ObjectMeta
from fairlead.rollouts.triggers import (
    INDEXES,
    ROLLOUTS_BY_SERVICE,
    ROLLOUTS_BY_TEMPLATE,
    Triggers,
    Wake,
    is_ours,
    manager_values,
    owner_values,
    service_values,
    slice_values,
    template_values,
)
from fairlead.testing.builders import analysis_run, replica_set, rollout_metadata, service, spec_content

CART, BASKET = ObjectKey("shop", "cart"), ObjectKey("shop", "basket")
STANZA = {"templates": [{"templateName": "t"}, {"templateName": "c", "clusterScope": True}]}


def rollout(content: Any = None, status: Any = None, **fields: Any) -> Rollout:
    return Rollout(
        metadata=rollout_metadata(**fields),
        spec=msgspec.Raw(msgspec.json.encode(spec_content(routed=True) if content is None else content)),
        status=msgspec.Raw(msgspec.json.encode({} if status is None else status)),
    )


class Rollouts:
    """A view of these Rollouts, with the indexes."""

    def __init__(self, *found: Rollout) -> None:
        self._found = found

    def get(self, key: ObjectKey) -> Rollout | None:
        return next((one for one in self._found if one.metadata.key == key), None)

    def list(self, namespace: str = "") -> Sequence[Rollout]:
        return self._found

    def by_index(self, index: str, value: str) -> Sequence[Rollout]:
        functions = {ROLLOUTS_BY_SERVICE: service_values, ROLLOUTS_BY_TEMPLATE: template_values}
        return [one for one in self._found if value in functions[index](one)]


def triggers(*found: Rollout) -> Triggers:
    return Triggers(Rollouts(*(found or (rollout(),))))


def test_a_rollout_concerns_itself() -> None:
    assert triggers().rollout(None, rollout()) == Wake((CART,))
    assert triggers().rollout(rollout(), None) == Wake((CART,))


def test_a_rollout_of_another_instance_concerns_nobody() -> None:
    other = rollout(labels={"argo-rollouts.argoproj.io/controller-instance-id": "x"})
    assert triggers().rollout(None, other) == Wake()
    assert is_ours(other, "x")
    assert not is_ours(rollout(), "x")


@pytest.mark.parametrize(
    ("before", "after", "urgent"),
    [
        pytest.param({}, {"abort": True}, True, id="abort"),
        pytest.param({"abort": True}, {"abort": False}, True, id="retry"),
        pytest.param({}, {"promoteFull": True}, True, id="full-promotion"),
        pytest.param(
            {"pauseConditions": [{"reason": "x"}], "controllerPause": True},
            {"controllerPause": True},
            True,
            id="resumed",
        ),
        pytest.param({"currentStepIndex": 1}, {"currentStepIndex": 2}, False, id="our-own-step"),
        pytest.param({"replicas": 1}, {"replicas": 2}, False, id="counts"),
        pytest.param({}, [], False, id="junk"),
    ],
)
def test_commands_are_urgent(before: Any, after: Any, urgent: bool) -> None:
    wake = triggers().rollout(rollout(status=before), rollout(status=after))
    assert wake == Wake((CART,), is_urgent=urgent)


def test_a_manual_pause_is_urgent() -> None:
    assert triggers().rollout(rollout(), rollout(spec_content(routed=True, paused=True))).is_urgent


def test_a_replica_set_concerns_its_rollout() -> None:
    assert triggers().replica_set(None, replica_set(1)) == Wake((CART,))
    found = replica_set(1)
    orphan = replace(found, metadata=replace(found.metadata, owner_references=()))
    assert triggers().replica_set(found, orphan) == Wake((CART,)), "it was its"
    assert triggers().replica_set(None, orphan) == Wake()


def test_a_replica_set_of_a_deployment_concerns_nobody() -> None:
    found = replica_set(1)
    owner = replace(found.metadata.owner_references[0], kind="Deployment", api_version="apps/v1")
    assert (
        triggers().replica_set(None, replace(found, metadata=replace(found.metadata, owner_references=(owner,))))
        == Wake()
    )


def test_a_run_concerns_its_rollout_when_its_phase_changes() -> None:
    running, failed = analysis_run("r", "Running"), analysis_run("r", "Failed")
    assert triggers().run(running, analysis_run("r", "Running", message="more")) == Wake()
    assert triggers().run(running, analysis_run("r", "Successful")) == Wake((CART,))
    assert triggers().run(running, failed) == Wake((CART,), is_urgent=True)
    assert triggers().run(None, running) == Wake((CART,))
    assert triggers().run(running, None) == Wake((CART,))


def test_a_service_concerns_those_that_name_it_and_the_one_it_is_marked_with() -> None:
    found = triggers(rollout(), rollout(spec_content(), name="basket"))
    assert found.service(None, service("cart-stable", managed=False)) == Wake((CART,))
    assert found.service(None, service("other", managed=True)) == Wake((CART,))
    assert found.service(service("cart-stable"), None) == Wake((CART,))
    assert found.service(None, service("other", managed=False)) == Wake()


def test_an_endpoint_slice_concerns_those_that_name_its_service() -> None:
    metadata = ObjectMeta(name="s", namespace="shop", labels={"kubernetes.io/service-name": "cart-canary"})
    assert triggers().endpoint_slice(None, EndpointSlice(metadata=metadata)) == Wake((CART,))
    assert triggers().endpoint_slice(None, EndpointSlice(metadata=ObjectMeta(name="s", namespace="shop"))) == Wake()


def route(*backends: Any, owner: bool = False) -> Manifest:
    metadata = replica_set(1).metadata if owner else ObjectMeta(name="r", namespace="shop")
    return Manifest(metadata=metadata, raw=msgspec.json.encode({"spec": {"rules": [{"backendRefs": list(backends)}]}}))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        pytest.param(route({"name": "cart-stable"}, {"name": "cart-canary"}), Wake((CART,)), id="backends"),
        pytest.param(route({"name": "cart-stable", "namespace": "shop"}), Wake((CART,)), id="with-namespace"),
        pytest.param(route({"name": "cart-stable", "namespace": "other"}), Wake(), id="of-another-namespace"),
        pytest.param(route({"name": "x"}), Wake(), id="others"),
        pytest.param(route(owner=True), Wake((CART,)), id="owned"),
        pytest.param(route(None, "x", {"name": 1}), Wake(), id="junk"),
        pytest.param(Manifest(metadata=ObjectMeta(name="r"), raw=b'{"spec": {"rules": "x"}}'), Wake(), id="more-junk"),
    ],
)
def test_a_route_concerns_the_owners_of_its_backends(found: Manifest, expected: Wake) -> None:
    assert triggers().route(None, found) == expected
    assert triggers().route(found, route()) == expected, "it did before"


def test_a_template_concerns_those_that_name_it() -> None:
    found = triggers(
        rollout(spec_content({"analysis": STANZA}, canary={"analysis": {"templates": [{"templateName": "b"}]}}))
    )
    for namespace, name, expected in (
        ("shop", "t", 1),
        ("", "c", 1),
        ("shop", "b", 1),
        ("", "t", 0),
        ("other", "t", 0),
    ):
        template = AnalysisTemplate(metadata=ObjectMeta(name=name, namespace=namespace))
        assert len(found.template(None, template).keys) == expected


# --- indexes ----------------------------------------------------------------------------------------------------------


def test_index_values() -> None:
    assert list(owner_values(replica_set(1))) == ["rollout-uid"]
    found = replica_set(1)
    assert list(owner_values(replace(found, metadata=replace(found.metadata, owner_references=())))) == ["orphans:shop"]
    assert list(service_values(rollout())) == ["shop/cart-stable", "shop/cart-canary"]
    assert list(manager_values(service("s"))) == ["shop/cart"]
    assert list(manager_values(service("s", managed=False))) == []
    assert list(slice_values(EndpointSlice())) == []


def test_templates_around_a_switch_are_indexed() -> None:
    stanzas = {"prePromotionAnalysis": STANZA, "postPromotionAnalysis": {"templates": [{"templateName": "p"}]}}
    content = {**spec_content(), "strategy": {"blueGreen": {"activeService": "a", "previewService": "b", **stanzas}}}
    assert list(template_values(rollout(content))) == ["shop/t", "/c", "shop/p"]
    assert list(service_values(rollout(content))) == ["shop/a", "shop/b"]


@pytest.mark.parametrize(
    "content", [[], "x", None, {"strategy": []}, {"strategy": {"canary": {"steps": {"a": 1}, "stableService": 1}}}]
)
def test_a_spec_that_is_none_has_no_values(content: Any) -> None:
    found = Rollout(metadata=rollout_metadata(), spec=msgspec.Raw(msgspec.json.encode(content)))
    assert list(service_values(found)) == []
    assert list(template_values(found)) == []


def test_an_invalid_spec_is_indexed_nevertheless() -> None:
    content = spec_content({"setWeight": 999}, routed=True)
    assert list(service_values(rollout(content))) == ["shop/cart-stable", "shop/cart-canary"]


def test_every_index_has_a_function() -> None:
    assert all(callable(function) for indexes in INDEXES.values() for function in indexes.values())

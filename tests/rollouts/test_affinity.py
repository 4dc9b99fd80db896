"""Pods of a new revision keep away from stable ones: the injected term, and what it does not change."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fairlead.core.patches import merge
from fairlead.rollouts._affinity import PREFERRED, REQUIRED, anti_affinity_of, inject, renew
from fairlead.rollouts._template import templates_equal
from fairlead.testing.builders import pod_hash, pod_template, replica_set, spec
from tests.rollouts.world import World, deployed, update

STRICT: dict[str, Any] = {"antiAffinity": {REQUIRED: {}}}
WISH: dict[str, Any] = {"antiAffinity": {PREFERRED: {"weight": 7}}}
PAIR: tuple[dict[str, Any], ...] = ({"setWeight": 50}, {"pause": {}})


def term(avoid: str) -> dict[str, Any]:
    return {
        "labelSelector": {
            "matchExpressions": [{"key": "rollouts-pod-template-hash", "operator": "In", "values": [avoid]}]
        },
        "namespaces": ["shop"],
        "topologyKey": "kubernetes.io/hostname",
    }


def affinity_in(found: World, version: int) -> Any:
    one = found.replica_set_of(pod_hash(version))
    assert one is not None
    return msgspec.json.decode(one.spec.template)["spec"].get("affinity")


@pytest.mark.parametrize(
    ("canary", "expected"),
    [
        pytest.param(STRICT, {REQUIRED: [term("abc")]}, id="required"),
        pytest.param(WISH, {PREFERRED: [{"weight": 7, "podAffinityTerm": term("abc")}]}, id="preferred"),
    ],
)
def test_the_term(canary: dict[str, Any], expected: dict[str, Any]) -> None:
    anti_affinity = anti_affinity_of(spec(canary=canary))
    found = inject(pod_template(2), anti_affinity, avoid="abc", namespace="shop")
    assert found["spec"]["affinity"] == {"podAntiAffinity": expected}
    assert templates_equal(msgspec.json.encode(pod_template(2)), msgspec.json.encode(found))


def test_terms_of_the_user_stay() -> None:
    own = {**term("x"), "labelSelector": {"matchLabels": {"app": "db"}}}
    template = pod_template(2)
    template["spec"]["affinity"] = {"podAntiAffinity": {REQUIRED: [own]}, "nodeAffinity": {}}
    found = inject(template, anti_affinity_of(spec(canary=STRICT)), avoid="abc", namespace="shop")
    assert found["spec"]["affinity"] == {"podAntiAffinity": {REQUIRED: [own, term("abc")]}, "nodeAffinity": {}}
    assert template["spec"]["affinity"]["podAntiAffinity"] == {REQUIRED: [own]}


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
@pytest.mark.parametrize("canary", [STRICT, WISH], ids=["required", "preferred"])
def test_only_an_update_keeps_away_and_the_term_stays(canary: dict[str, Any], routed: bool) -> None:
    found = deployed(*PAIR, replicas=2, routed=routed, canary=canary)
    assert affinity_in(found, 1) is None, "nothing was stable when it was deployed"
    update(found).run()
    injected = affinity_in(found, 2)
    assert pod_hash(1) in str(injected)
    found.command({"pauseConditions": None})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert affinity_in(found, 2) == injected, "running pods are not touched"
    found.writes.clear()
    found.run()
    assert found.writes == []


def test_a_revision_that_is_taken_up_again_keeps_away_from_what_is_stable_now() -> None:
    """Version 2 was made when 1 was stable; when it returns, 3 is."""
    found = deployed(*PAIR, replicas=2, canary=STRICT)
    for version in (2, 3, 2):
        update(found, version).run()
        if version == 2 and len(found.replica_sets) == 3:
            break
        found.command({"pauseConditions": None})
        found.run()
    assert affinity_in(found, 2) == {"podAntiAffinity": {REQUIRED: [term(pod_hash(3))]}}


def test_renewal() -> None:
    rollout = spec(canary=WISH)
    template = inject(pod_template(2), anti_affinity_of(spec(canary=STRICT)), avoid="old", namespace="shop")
    plain = replica_set(2)
    found = replace(plain, spec=replace(plain.spec, template=msgspec.Raw(msgspec.json.encode(template))))
    patch = renew(found, rollout, avoid="new", namespace="shop")
    expected = {PREFERRED: [{"weight": 7, "podAffinityTerm": term("new")}]}
    assert merge(template, patch)["spec"]["affinity"] == {"podAntiAffinity": expected}
    assert renew(found, spec(canary=STRICT), avoid="old", namespace="shop") == {}
    assert renew(plain, rollout, avoid="new", namespace="shop") == {}
    assert "affinity" not in merge(template, renew(found, spec(), avoid="new", namespace="shop"))["spec"]

"""What a rollout decides is never reverted (invariant 48)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from fairlead.agentsync.diff import DiffOptions, Strategy, client_side_apply, difference
from fairlead.agentsync.resources import Object, ResourceKey, key_of
from tests.agentsync.builders_diff import deployment, edited, read, ref, route, service

HASH = "rollouts-pod-template-hash"
CLAIMED = {"fairlead.dev/rollout": "shop/web", "fairlead.dev/rollout-uid": "1"}
SPLIT = {"backendRefs": [ref("stable"), ref("canary")]}


def managing(*found: Object, strategy: Strategy = Strategy.THREE_WAY) -> DiffOptions:
    return DiffOptions(managed_by_rollouts=frozenset(map(key_of, found)), strategy=strategy)


def marked(live: Object, marks: dict[str, str]) -> Object:
    """Return a live route with what a rollout has written on it; no target ever said it."""
    return {**live, "metadata": {**live["metadata"], "annotations": live["metadata"]["annotations"] | marks}}


def weighted(stable: int, canary: int, **fields: Any) -> dict[str, Any]:
    return {**fields, "backendRefs": [ref("stable", stable), ref("canary", canary)]}


@pytest.mark.parametrize("strategy", [Strategy.THREE_WAY, Strategy.STRUCTURED])
@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute"])
@pytest.mark.parametrize("target", [SPLIT, weighted(100, 0), weighted(1, 1)], ids=["none", "start", "half"])
def test_weights_keep_their_live_values(strategy: Strategy, kind: str, target: dict[str, Any]) -> None:
    wanted, live = route(target, kind=kind), read(route(weighted(80, 20), kind=kind))
    options = managing(live, strategy=strategy)
    assert not difference(wanted, live, options).modified
    assert client_side_apply(wanted, live, options)["spec"] == live["spec"]


def test_a_route_that_a_rollout_has_claimed_speaks_for_itself() -> None:
    live = marked(read(route(weighted(80, 20))), CLAIMED)
    assert not difference(route(weighted(100, 0)), live).modified
    # Released, it is Git's again.
    released = read(route(weighted(80, 20)))
    assert difference(route(weighted(100, 0)), released).modified


def test_everything_else_in_the_rule_is_still_git_s() -> None:
    live = marked(read(route(weighted(80, 20))), CLAIMED)
    wanted = route({**weighted(100, 0), "timeouts": {"request": "5s"}})
    found = difference(wanted, live)
    assert [change.path for change in found.changes] == ["spec.rules[0].timeouts"]
    applied = client_side_apply(wanted, live)
    assert applied["spec"]["rules"] == [{**weighted(80, 20), "timeouts": {"request": "5s"}}]


def test_only_backends_of_the_rollout_where_they_are_told() -> None:
    rule = {"backendRefs": [ref("stable", 80), ref("canary", 20), ref("legacy", 5)]}
    live = marked(read(route(rule)), CLAIMED)
    wanted = route({"backendRefs": [ref("stable", 100), ref("canary", 0), ref("legacy", 7)]})
    told = frozenset(ResourceKey("", "Service", "shop", name) for name in ("stable", "canary"))
    applied = client_side_apply(wanted, live, DiffOptions(managed_by_rollouts=told))
    assert [one["weight"] for one in applied["spec"]["rules"][0]["backendRefs"]] == [80, 20, 7]
    # Services of other rollouts alone say nothing about this rule.
    others = frozenset({ResourceKey("", "Service", "shop", "other")})
    applied = client_side_apply(wanted, live, DiffOptions(managed_by_rollouts=others))
    assert [one["weight"] for one in applied["spec"]["rules"][0]["backendRefs"]] == [80, 20, 5]


def test_services_and_rules_that_a_rollout_added_stay() -> None:
    marks = CLAIMED | {
        "fairlead.dev/rollout-services": "experiment",
        "fairlead.dev/managed-routes": json.dumps([{"name": "header"}]),
    }
    split = {"backendRefs": [ref("stable", 70), ref("canary", 20), ref("experiment", 10)]}
    added = [
        {"name": "header", "backendRefs": [ref("canary", 1)]},
        {"name": "header-1", "backendRefs": [ref("canary", 1)]},
    ]
    live = marked(read(route(split, *added)), marks)
    assert not difference(route(weighted(100, 0)), live).modified
    # Rules that nobody recorded are not the rollout's.
    stray = marked(read(route(split, {"name": "stray", "backendRefs": [ref("canary", 1)]})), marks)
    assert difference(route(weighted(100, 0)), stray).modified


def test_rules_are_found_by_name_or_by_what_they_split() -> None:
    live = marked(read(route(weighted(80, 20, name="a"), weighted(60, 40, name="b"))), CLAIMED)
    wanted = route(weighted(100, 0, name="b"), weighted(100, 0, name="a"))
    rules = client_side_apply(wanted, live)["spec"]["rules"]
    assert [(one["name"], one["backendRefs"][1]["weight"]) for one in rules] == [("b", 40), ("a", 20)]
    # A new rule in front: the split is found behind it.
    live = marked(read(route(weighted(80, 20))), CLAIMED)
    rules = client_side_apply(route({"backendRefs": [ref("docs")]}, weighted(100, 0)), live)["spec"]["rules"]
    assert rules[1]["backendRefs"][1]["weight"] == 20
    assert rules[0]["backendRefs"] == [ref("docs")]


@pytest.mark.parametrize("strategy", [Strategy.THREE_WAY, Strategy.STRUCTURED])
def test_the_hash_in_the_selector_of_a_service_stays(strategy: Strategy) -> None:
    live = read(service(selector={"app": "web", HASH: "abc"}))
    options = DiffOptions(strategy=strategy)
    assert not difference(service(), live, options).modified
    assert client_side_apply(service(), live, options)["spec"]["selector"] == {"app": "web", HASH: "abc"}
    renamed = difference(service(selector={"app": "shop"}), live, options)
    assert renamed.predicted is not None
    assert renamed.predicted["spec"]["selector"][HASH] == "abc"


def test_the_replicas_of_a_deployment_that_a_rollout_refers_to_stay() -> None:
    live = edited(read(deployment(replicas=3)), "spec.replicas", 0)
    assert difference(deployment(replicas=3), live).modified
    options = managing(live)
    assert not difference(deployment(replicas=3), live, options).modified
    applied = client_side_apply(deployment(replicas=3), live, options)
    assert applied["spec"]["replicas"] == 0
    # Once the rollout lets go, Git decides; what was kept never became ours.
    assert client_side_apply(deployment(replicas=3), applied)["spec"]["replicas"] == 3
    assert client_side_apply(deployment(), client_side_apply(deployment(), live, options))["spec"]["replicas"] == 0


def test_annotations_that_make_no_sense_add_nothing() -> None:
    marks = CLAIMED | {"fairlead.dev/managed-routes": "[", "fairlead.dev/rollout-services": ",,"}
    live = marked(read(route(weighted(80, 20))), marks)
    assert not difference(route(SPLIT), live).modified
    odd = marked(read(route({"backendRefs": "odd"})), CLAIMED)
    assert difference(route(SPLIT), odd).modified

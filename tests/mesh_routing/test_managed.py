"""Rules beside the split: what they are made of, and how they come, follow the weights, and go."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectKey
from fairlead.core.traffic import ManagedRoute, RequestMatch, TextMatch, TextMatchKind, Weights
from fairlead.mesh_routing._httproute import (
    Split,
    dedicated_spec,
    find_split,
    release_shared,
    write_dedicated,
    write_shared,
)
from fairlead.mesh_routing._managed import RECORD, UNKNOWN, record, recorded, rules_for
from fairlead.mesh_routing.actions import ApplyRoute, PatchRoute
from fairlead.mesh_routing.spec import RoutingSettings, parse_gateway_api, parse_waypoint
from fairlead.testing.patching import json_patch
from tests.mesh_routing.builders import backend, http_route, read, ref, split, target

EXACT, PREFIX, REGEX = TextMatchKind.EXACT, TextMatchKind.PREFIX, TextMatchKind.REGEX
QA = ManagedRoute(name="qa", matches=(RequestMatch(headers=(("x-qa", TextMatch(EXACT, "yes")),)),))
COPY = ManagedRoute(
    name="copy",
    matches=(RequestMatch(method=TextMatch(EXACT, "GET"), path=TextMatch(PREFIX, "/api")),),
    mirror_percent=35,
)
CANARY = ObjectKey("shop", "web-canary")
OF = target(managed_routes=("qa", "copy"))


def after(manifest: Any, weights: Weights, of: Any = OF) -> Any:
    """Return the route after it was written; None when there is nothing to write."""
    action = write_shared(read(manifest), of, weights, label=None, in_progress=True)
    if action is None:
        return None
    assert isinstance(action, PatchRoute)
    content = json_patch(copy.deepcopy(manifest.content), action.operations)
    return http_route(*content["spec"]["rules"], annotations=content["metadata"]["annotations"])


def rules(manifest: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manifest.content["spec"]["rules"]
    return found


def held(manifest: Any, of: Any = OF) -> Weights:
    found = find_split(read(manifest), of)
    assert isinstance(found, Split)
    return found.weights


# --- one rule ---------------------------------------------------------------------------------------------------------


def test_a_header_rule_is_its_source_narrowed() -> None:
    source = split(80, 20, filters=[{"type": "X"}], timeouts={"request": "3s"}, retry={"attempts": 2})
    source["matches"] = [{"path": {"type": "PathPrefix", "value": "/a"}}, {"method": "GET"}]
    (rule,) = rules_for([QA], [(source, source["backendRefs"])], CANARY, is_grpc=False)
    header = {"type": "Exact", "name": "x-qa", "value": "yes"}
    assert rule == {
        "name": "qa",
        "matches": [
            {"path": {"type": "PathPrefix", "value": "/a"}, "headers": [header]},
            {"method": "GET", "headers": [header]},
        ],
        "filters": [{"type": "X"}],
        "timeouts": {"request": "3s"},
        "retry": {"attempts": 2},
        "backendRefs": [backend("web-canary", 1)],
    }


def test_a_mirror_rule_splits_and_copies() -> None:
    source = split(80, 20)
    (rule,) = rules_for([COPY], [(source, source["backendRefs"])], CANARY, is_grpc=False)
    mirror = {"backendRef": {"group": "", "kind": "Service", "name": "web-canary", "port": 80}, "percent": 35}
    assert rule == {
        "name": "copy",
        "matches": [{"path": {"type": "PathPrefix", "value": "/api"}, "method": "GET"}],
        "filters": [{"type": "RequestMirror", "requestMirror": mirror}],
        "backendRefs": [backend("web-stable", 80), backend("web-canary", 20)],
    }
    whole = rules_for([replace(COPY, mirror_percent=100)], [(source, source["backendRefs"])], CANARY, is_grpc=False)
    assert "percent" not in whole[0]["filters"][0]["requestMirror"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(TextMatch(EXACT, "a.b"), ("Exact", "a.b"), id="exact"),
        pytest.param(TextMatch(REGEX, "a.+"), ("RegularExpression", "a.+"), id="regex"),
        pytest.param(TextMatch(PREFIX, "a.b"), ("RegularExpression", r"a\.b.*"), id="prefix"),
    ],
)
def test_header_values(value: TextMatch, expected: tuple[str, str]) -> None:
    route = ManagedRoute(name="qa", matches=(RequestMatch(headers=(("X-Qa", value),)),))
    source = split(100, 0)
    source["matches"] = [{"headers": [{"name": "x-qa", "value": "old"}, {"name": "y", "value": "1"}]}]
    (rule,) = rules_for([route], [(source, source["backendRefs"])], CANARY, is_grpc=False)
    kept, added = rule["matches"][0]["headers"]
    assert kept["name"] == "y"
    assert (added["type"], added["value"]) == expected


def test_each_source_has_its_own_rule_and_a_grpc_source_no_path() -> None:
    first, second = split(100, 0), split(100, 0)
    del second["matches"]
    found = rules_for([QA], [(first, first["backendRefs"]), (second, second["backendRefs"])], CANARY, is_grpc=True)
    assert [rule["name"] for rule in found] == ["qa", "qa-1"]
    assert list(found[1]["matches"][0]) == ["headers"]


# --- a user's route ---------------------------------------------------------------------------------------------------


def test_rules_come_with_the_weights_follow_them_and_go_with_them() -> None:
    wanted = Weights.of_canary(20, managed=(QA, COPY))
    theirs = {"backendRefs": [backend("other", 3)], "name": "theirs"}
    first = after(http_route(theirs, split(100, 0)), wanted)
    assert [rule.get("name") for rule in rules(first)] == ["theirs", None, "qa", "copy"]
    assert held(first) == wanted
    assert after(first, wanted) is None
    more = after(first, replace(wanted, canary=60, stable=40))
    assert rules(more)[3]["backendRefs"] == [backend("web-stable", 40), backend("web-canary", 60)]
    assert held(more) == replace(wanted, canary=60, stable=40)
    gone = after(more, Weights.of_canary(0))
    assert rules(gone) == [theirs, split(100, 0)]
    assert RECORD not in read(gone).annotations
    assert held(gone) == Weights.of_canary(0)


def test_an_abort_is_one_patch() -> None:
    first = after(http_route(split(100, 0)), Weights.of_canary(20, managed=(QA,)))
    action = write_shared(read(first), OF, Weights.of_canary(0), label=None, in_progress=False)
    assert isinstance(action, PatchRoute)
    assert {"op": "remove", "path": "/spec/rules/1"} in action.operations


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda found: found.pop(), id="removed"),
        pytest.param(lambda found: found[1].update(backendRefs=[backend("web-stable", 1)]), id="elsewhere"),
        pytest.param(lambda found: found[1]["matches"].clear(), id="for-everybody"),
        pytest.param(lambda found: found.append({**found[1], "name": "copy"}), id="one-more"),
    ],
)
def test_rules_that_somebody_changed_are_nobodys_wish(change: Any) -> None:
    wanted = Weights.of_canary(20, managed=(QA,))
    first = after(http_route(split(100, 0)), wanted)
    content = copy.deepcopy(rules(first))
    change(content)
    changed = http_route(*content, annotations=read(first).annotations)
    assert held(changed).managed == UNKNOWN
    mended = after(changed, wanted)
    assert held(mended) == wanted


@pytest.mark.parametrize("text", ["{", "5", '[{"name": 1}]'])
def test_a_record_that_makes_no_sense_is_nobodys_wish(text: str) -> None:
    assert recorded({RECORD: text}) == UNKNOWN
    assert held(http_route(split(100, 0), annotations={RECORD: text})).managed == UNKNOWN
    assert recorded({RECORD: record((QA, COPY))}) == (QA, COPY)


def test_rules_of_a_former_controller_are_taken_away() -> None:
    left = {"name": "qa", "matches": [], "backendRefs": [backend("web-canary", 1)]}
    found = http_route(split(100, 0), left)
    assert held(found).managed == UNKNOWN
    assert rules(after(found, Weights.of_canary(0))) == [split(100, 0)]


def test_release_takes_rules_and_record_off() -> None:
    first = after(http_route(split(100, 0)), Weights.of_canary(20, managed=(QA,)))
    action = release_shared(read(first), OF, label=None)
    assert isinstance(action, PatchRoute)
    content = json_patch(copy.deepcopy(first.content), action.operations)
    assert content["spec"]["rules"] == [split(100, 0)]
    assert not content["metadata"].get("annotations")


# --- our own route ----------------------------------------------------------------------------------------------------


def test_a_route_of_our_own_holds_them_too() -> None:
    of = target({"service": "web"}, managed_routes=("qa",))
    spec = parse_waypoint(of, RoutingSettings())
    wanted = Weights.of_canary(20, managed=(QA,))
    action = write_dedicated(None, ref(), spec, of, wanted, port=80, label=None, in_progress=True)
    assert isinstance(action, ApplyRoute)
    assert action.body["spec"] == dedicated_spec(spec, of, wanted, port=80)
    assert [rule["name"] for rule in action.body["spec"]["rules"]] == ["split", "qa"]
    live = http_route(*action.body["spec"]["rules"], annotations=action.body["metadata"]["annotations"])
    assert held(live, of) == wanted


# --- what cannot be expressed -----------------------------------------------------------------------------------------

BAD_METHOD = ManagedRoute(name="m", matches=(RequestMatch(method=TextMatch(PREFIX, "G")),), mirror_percent=1)


@pytest.mark.parametrize(
    ("config", "routes", "message"),
    [
        pytest.param({"httpRoute": "web"}, (BAD_METHOD,), "expected exactly one of GET", id="method"),
        pytest.param({"grpcRoute": "web"}, (COPY,), "matched by headers only", id="grpc"),
        pytest.param({"httpRoutes": [{"name": "web"}]}, (QA,), "useHeaderRoutes: true", id="no-route-for-rules"),
    ],
)
def test_what_a_route_cannot_express_is_refused(
    config: dict[str, Any], routes: tuple[ManagedRoute, ...], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        parse_gateway_api(target(config, routes=routes))


def test_flags_of_routes() -> None:
    config = {"httpRoutes": [{"name": "a", "useHeaderRoutes": True}, {"name": "b"}], "httpRoute": "c"}
    assert parse_gateway_api(target(config, routes=(QA,))).header_routes == {ref("a"), ref("c")}


def test_a_managed_route_may_not_be_called_like_the_split() -> None:
    with pytest.raises(SpecError, match="expected another name"):
        parse_waypoint(target({"service": "web"}, managed_routes=("split",)), RoutingSettings())

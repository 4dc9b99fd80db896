from __future__ import annotations

import copy
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.errors import SpecError
from fairlead.core.objects import Manifest
from fairlead.core.traffic import AdditionalWeight, TrafficTarget, Weights
from fairlead.mesh_routing._httproute import (
    ADDED,
    CLAIM,
    CLAIM_NAME,
    Problem,
    Split,
    claimed_by_another,
    covers,
    find_split,
    release_shared,
    write_shared,
)
from fairlead.mesh_routing.actions import PatchRoute
from fairlead.mesh_routing.spec import InProgressLabel
from fairlead.testing.patching import json_patch
from tests.mesh_routing.builders import backend, http_route, read, split, target

LABEL = InProgressLabel()
TWENTY = Weights.of_canary(20)
MARKS = {CLAIM: "rollout-1", CLAIM_NAME: "shop/web"}


def written(
    manifest: Manifest, weights: Weights, *, in_progress: bool = True, of: TrafficTarget | None = None
) -> dict[str, Any] | None:
    """Return the route's content after a write; None when nothing is written."""
    action = write_shared(read(manifest), of or target(), weights, label=LABEL, in_progress=in_progress)
    if action is None:
        return None
    assert isinstance(action, PatchRoute), action
    document: dict[str, Any] = json_patch(copy.deepcopy(manifest.content), action.operations)
    return document


def weights_of(content: dict[str, Any] | None, rule: int = 0) -> list[int]:
    assert content is not None
    return [one["weight"] for one in content["spec"]["rules"][rule]["backendRefs"]]


def test_the_patch_tests_the_version_and_replaces_both_weights_at_once() -> None:
    action = write_shared(read(http_route(split(100, 0))), target(), TWENTY, label=None, in_progress=True)
    assert isinstance(action, PatchRoute)
    assert action.operations == (
        {"op": "test", "path": "/metadata/resourceVersion", "value": "10"},
        {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 80},
        {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 20},
        {"op": "add", "path": "/metadata/annotations", "value": MARKS},
    )


@pytest.mark.parametrize(
    ("rules", "weights", "expected"),
    [
        pytest.param([split(100, 0)], TWENTY, [[80, 20]], id="up"),
        pytest.param([split(80, 20)], Weights.of_canary(0), [[100, 0]], id="abort"),
        pytest.param([split(80, 20)], Weights.of_canary(100), [[0, 100]], id="promoted"),
        pytest.param([split(None, None)], TWENTY, [[80, 20]], id="weights-omitted"),
        pytest.param([split(1, 0)], Weights.of_canary(5, total=1000), [[995, 5]], id="thousandths"),
        pytest.param(
            [{"backendRefs": [backend("web-canary", 0), backend("web-stable", 100)]}],
            TWENTY,
            [[20, 80]],
            id="order-kept",
        ),
        pytest.param([split(100, 0), split(100, 0)], TWENTY, [[80, 20], [80, 20]], id="every-rule-with-both"),
        pytest.param(
            [split(100, 0), {"backendRefs": [backend("web-canary", 7)]}],
            TWENTY,
            [[80, 20], [7]],
            id="canary-alone-is-theirs",
        ),
        pytest.param(
            [{"backendRefs": [backend("web-stable", 100), backend("web-canary", 0), backend("other", 9)]}],
            TWENTY,
            [[80, 20, 9]],
            id="a-third-backend-stays",
        ),
        pytest.param([split(100, 0, name="qa"), split(100, 0)], TWENTY, [[80, 20]], id="managed-rule-taken-away"),
        pytest.param([split(100, 0, name="qa-1"), split(100, 0)], TWENTY, [[80, 20]], id="managed-with-number"),
        pytest.param([split(100, 0, name="qa-x")], TWENTY, [[80, 20]], id="a-name-that-only-begins-alike"),
    ],
)
def test_weights_written(rules: list[dict[str, Any]], weights: Weights, expected: list[list[int]]) -> None:
    of = target(managed_routes=("qa",), total=weights.total)
    content = written(http_route(*rules), weights, of=of)
    assert content is not None
    assert [weights_of(content, index) for index in range(len(content["spec"]["rules"]))] == expected


def test_nothing_is_written_when_the_route_holds_the_weights() -> None:
    route = http_route(split(80, 20), labels={LABEL.key: LABEL.value})
    assert written(route, TWENTY) is None
    assert written(http_route(split(100, 0)), Weights.of_canary(0), in_progress=False) is None


def test_a_route_that_another_controller_left_mid_way_is_taken_over_without_a_write() -> None:
    route = http_route(split(80, 20), labels={LABEL.key: LABEL.value, "app": "web"})
    assert written(route, TWENTY) is None


@pytest.mark.parametrize(
    ("labels", "in_progress", "expected"),
    [
        pytest.param({}, True, {LABEL.key: LABEL.value}, id="set"),
        pytest.param({"a": "b"}, True, {"a": "b", LABEL.key: LABEL.value}, id="beside-others"),
        pytest.param({"a": "b", LABEL.key: LABEL.value}, False, {"a": "b"}, id="removed"),
        pytest.param({LABEL.key: "theirs"}, False, {LABEL.key: "theirs"}, id="another-value-is-not-ours-to-remove"),
    ],
)
def test_in_progress_label(labels: dict[str, str], in_progress: bool, expected: dict[str, str]) -> None:
    weights = TWENTY if in_progress else Weights.of_canary(0)
    content = written(http_route(split(50, 50), labels=labels), weights, in_progress=in_progress)
    assert content is not None
    assert content["metadata"].get("labels", {}) == expected


def test_experiments_come_and_go_beside_the_backends_of_others() -> None:
    rule = {"backendRefs": [backend("web-stable", 80, port=8080), backend("web-canary", 20), backend("other", 9)]}
    with_one = Weights.of_canary(20, additional=(AdditionalWeight(service="exp", weight=5),))
    started = written(http_route(rule), with_one)
    assert started is not None
    assert started["spec"]["rules"][0]["backendRefs"] == [
        backend("web-stable", 75, port=8080),
        backend("web-canary", 20),
        backend("other", 9),
        backend("exp", 5, port=8080),
    ]
    during = http_route(*started["spec"]["rules"], annotations=started["metadata"]["annotations"])
    found = find_split(read(during), target())
    assert isinstance(found, Split)
    assert found.weights == with_one
    ended = written(during, TWENTY)
    assert ended is not None
    assert ended["spec"]["rules"][0]["backendRefs"] == [
        backend("web-stable", 80, port=8080),
        backend("web-canary", 20),
        backend("other", 9),
    ]
    assert ADDED not in ended["metadata"]["annotations"]


@pytest.mark.parametrize(
    ("rules", "reason", "message"),
    [
        pytest.param(
            [{"backendRefs": [backend("web-stable")]}],
            "BackendNotFound",
            "backendRef web-canary not found in HTTPRoute web",
            id="no-canary",
        ),
        pytest.param(
            [{"backendRefs": [backend("web-canary")]}],
            "BackendNotFound",
            "backendRef web-stable not found in HTTPRoute web",
            id="no-stable",
        ),
        pytest.param(
            [{"matches": []}], "BackendNotFound", "backendRef web-canary not found in HTTPRoute web", id="no-backends"
        ),
        pytest.param(
            [{"backendRefs": [backend("web-stable")]}, {"backendRefs": [backend("web-canary")]}],
            "BackendNotFound",
            "backendRef web-canary not found in HTTPRoute web in one rule with web-stable",
            id="apart",
        ),
        pytest.param(
            [{"backendRefs": [backend("web-stable", 1), backend("web-canary", 1), backend("web-canary", 2, port=81)]}],
            "DuplicateBackend",
            "HTTPRoute shop/web: spec.rules[0].backendRefs names Service web-canary 2 times, expected once: "
            "such a split cannot be expressed",
            id="twice",
        ),
        pytest.param(
            [{"backendRefs": [backend("web-stable", namespace="other"), backend("web-canary")]}],
            "BackendNotFound",
            "backendRef web-stable not found in HTTPRoute web",
            id="another-namespaces-service",
        ),
        pytest.param(
            [{"backendRefs": [backend("web-stable"), backend("web-canary", kind="Bucket", group="x.io")]}],
            "BackendNotFound",
            "backendRef web-canary not found in HTTPRoute web",
            id="another-kind",
        ),
        pytest.param(
            [{"backendRefs": "what"}],
            "BackendNotFound",
            "backendRef web-canary not found in HTTPRoute web",
            id="odd-backends",
        ),
    ],
)
def test_routes_that_cannot_carry_the_split(rules: list[dict[str, Any]], reason: str, message: str) -> None:
    route = read(http_route(*rules))
    expected = Problem(reason=reason, message=message)
    assert find_split(route, target()) == expected
    assert write_shared(route, target(), TWENTY, label=LABEL, in_progress=True) == expected


def test_a_route_without_rules_has_no_split() -> None:
    manifest = http_route()
    content = manifest.content
    content["spec"]["rules"] = []
    bare = msgspec.structs.replace(manifest, raw=msgspec.json.encode(content))
    assert isinstance(find_split(read(bare), target()), Problem)


def test_rules_that_disagree_show_an_upper_bound_that_equals_no_split() -> None:
    found = find_split(read(http_route(split(80, 20), split(50, 50))), target())
    assert isinstance(found, Split)
    assert found.weights == Weights(canary=50, stable=80)
    assert found.weights not in [Weights.of_canary(canary) for canary in range(101)]


@pytest.mark.parametrize(
    "weights",
    [
        pytest.param(Weights(canary=120, stable=-20), id="negative"),
        pytest.param(Weights(canary=0, stable=0), id="all-zero"),
        pytest.param(Weights(canary=20, stable=20), id="not-the-total"),
        pytest.param(
            Weights.of_canary(90, additional=(AdditionalWeight(service="exp", weight=20),)), id="experiments-too-large"
        ),
    ],
)
def test_impossible_weights_are_refused(weights: Weights) -> None:
    with pytest.raises(SpecError, match="expected shares"):
        write_shared(read(http_route()), target(), weights, label=LABEL, in_progress=True)


@pytest.mark.parametrize(
    ("annotations", "refused"),
    [
        pytest.param({}, False, id="unclaimed"),
        pytest.param(MARKS, False, id="ours"),
        pytest.param({CLAIM: "rollout-0", CLAIM_NAME: "shop/web"}, False, id="ours-before-it-was-recreated"),
        pytest.param({CLAIM: "rollout-9", CLAIM_NAME: "shop/api"}, True, id="another-rollout"),
        pytest.param({CLAIM: "rollout-9"}, True, id="another-without-a-name"),
    ],
)
def test_claims(annotations: dict[str, str], refused: bool) -> None:
    found = claimed_by_another(read(http_route(annotations=annotations)), target())
    assert (found is not None) == refused
    if found is not None:
        assert "is claimed by Rollout" in found.message
        assert "rollout-9" in found.message


def test_release_gives_stable_everything_and_takes_the_marks_off() -> None:
    route = http_route(
        split(80, 20), labels={"a": "b", LABEL.key: LABEL.value}, annotations={"note": "x", ADDED: "exp"} | MARKS
    )
    action = release_shared(read(route), target(), label=LABEL)
    assert isinstance(action, PatchRoute)
    content = json_patch(copy.deepcopy(route.content), action.operations)
    assert weights_of(content) == [100, 0]
    assert content["metadata"]["labels"] == {"a": "b"}
    assert content["metadata"]["annotations"] == {"note": "x"}


def test_release_takes_the_marks_off_a_route_without_our_backends() -> None:
    route = http_route({"backendRefs": [backend("other")]}, annotations=MARKS)
    action = release_shared(read(route), target(), label=LABEL)
    assert isinstance(action, PatchRoute)
    assert json_patch(copy.deepcopy(route.content), action.operations)["metadata"]["annotations"] == {}


def test_release_of_an_untouched_route_writes_nothing() -> None:
    assert release_shared(read(http_route(split(100, 0))), target(), label=LABEL) is None


def test_covers() -> None:
    assert covers({"a": [{"b": 1, "c": 2}], "d": 3}, {"a": [{"b": 1}]})
    assert not covers({"a": [1, 2]}, {"a": [1]})
    assert not covers({}, {"a": 1})
    assert not covers({"a": 1}, {"a": {"b": 1}})


BACKENDS = st.lists(
    st.builds(
        lambda name, weight, filters: backend(name, weight) | ({"filters": filters} if filters else {}),
        st.sampled_from(["other", "more", "else"]),
        st.integers(0, 1000),
        st.lists(st.just({"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}), max_size=1),
    ),
    max_size=3,
)
RULES = st.lists(
    st.builds(
        lambda before, after, ours, name, timeout: {
            "name": name,
            "timeouts": {"request": timeout},
            "backendRefs": [*before, *([backend("web-stable", 70), backend("web-canary", 30)] if ours else []), *after],
        },
        BACKENDS,
        BACKENDS,
        st.booleans(),
        st.sampled_from(["a", "qa", "qa-2", "b~c/d"]),
        st.sampled_from(["1s", "2s"]),
    ),
    min_size=1,
    max_size=16,
)


@given(
    rules=RULES, canary=st.integers(0, 100), labels=st.dictionaries(st.sampled_from("abc"), st.just("x"), max_size=2)
)
def test_whatever_is_not_ours_stays_byte_equal(
    rules: list[dict[str, Any]], canary: int, labels: dict[str, str]
) -> None:
    manifest = http_route(*rules, labels=labels)
    of = target(managed_routes=("qa",))
    action = write_shared(read(manifest), of, Weights.of_canary(canary), label=LABEL, in_progress=True)
    if isinstance(action, Problem):
        assert not any("web-canary" in str(rule) and not rule["name"].startswith("qa") for rule in rules), (
            action.message
        )
        return
    assert action is not None  # the label at least is new
    content = json_patch(copy.deepcopy(manifest.content), action.operations)
    ours = {"web-stable": 100 - canary, "web-canary": canary}
    expected = copy.deepcopy(manifest.content)
    for rule in expected["spec"]["rules"]:
        names = [one["name"] for one in rule["backendRefs"]]
        if {"web-stable", "web-canary"} <= set(names) and rule["name"] not in ("qa", "qa-2"):
            for one in rule["backendRefs"]:
                one["weight"] = ours.get(one["name"], one["weight"])
    expected["spec"]["rules"] = [rule for rule in expected["spec"]["rules"] if rule["name"] not in ("qa", "qa-2")]
    expected["metadata"]["labels"] = labels | {LABEL.key: LABEL.value}
    expected["metadata"]["annotations"] = MARKS
    assert json.dumps(content["spec"]) == json.dumps(expected["spec"])
    assert content["metadata"] == expected["metadata"]
    # Performing it again on the result asks for nothing more.
    again = http_route(*content["spec"]["rules"], labels=expected["metadata"]["labels"], annotations=MARKS)
    assert write_shared(read(again), of, Weights.of_canary(canary), label=LABEL, in_progress=True) is None

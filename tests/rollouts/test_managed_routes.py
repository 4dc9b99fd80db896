"""Header and mirror routes: derived from all steps so far, and never where nobody can answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.core.traffic import ManagedRoute, RequestMatch, TextMatch, TextMatchKind, Weights
from fairlead.rollouts._managed_routes import Clash, all_routes, clash, routes_at
from fairlead.rollouts.lint import lint
from fairlead.rollouts.spec import parse
from fairlead.testing.builders import pod_hash, spec, spec_content
from tests.rollouts.world import CANARY, World, deployed, update, world

NAMES = ("copy", "qa")
HEADER = {"setHeaderRoute": {"name": "qa", "match": [{"headerName": "x-qa", "headerValue": {"exact": "yes"}}]}}
MIRROR = {
    "setMirrorRoute": {
        "name": "copy",
        "percentage": 35,
        "match": [{"method": {"exact": "GET"}, "path": {"prefix": "/a"}}],
    }
}
NO_HEADER = {"setHeaderRoute": {"name": "qa"}}
PAUSE: dict[str, Any] = {"pause": {}}
STEPS: tuple[dict[str, Any], ...] = (
    {"setCanaryScale": {"replicas": 1}},
    HEADER,
    PAUSE,
    MIRROR,
    {"setWeight": 50},
    PAUSE,
    NO_HEADER,
    PAUSE,
)
QA = ManagedRoute(name="qa", matches=(RequestMatch(headers=(("x-qa", TextMatch(TextMatchKind.EXACT, "yes")),)),))
COPY = ManagedRoute(
    name="copy",
    matches=(RequestMatch(method=TextMatch(TextMatchKind.EXACT, "GET"), path=TextMatch(TextMatchKind.PREFIX, "/a")),),
    mirror_percent=35,
)
ROUTING = {
    "trafficRouting": {
        "plugins": {"fairlead/waypoint": {"service": "cart"}},
        "managedRoutes": [{"name": name} for name in NAMES],
    }
}


def start(*steps: dict[str, Any]) -> World:
    return deployed(*(steps or STEPS), replicas=4, routed=True, canary=ROUTING)


def managed(found: World) -> tuple[ManagedRoute, ...]:
    return found.weights.managed if found.weights is not None else ()


@pytest.mark.parametrize(
    ("index", "expected"),
    [(0, ()), (1, (QA,)), (2, (QA,)), (3, (COPY, QA)), (5, (COPY, QA)), (6, (COPY,)), (8, (COPY,)), (None, (COPY,))],
)
def test_routes_of_all_steps_so_far(index: int | None, expected: tuple[ManagedRoute, ...]) -> None:
    rollout = spec(*STEPS, routed=True, canary=ROUTING)
    assert routes_at(rollout.steps, index, NAMES) == expected
    assert all_routes(rollout.steps) == (QA, COPY)


def test_a_mirror_without_a_percentage_copies_all() -> None:
    step = {"setMirrorRoute": {"name": "copy", "match": [{"headers": {"b": {"regex": "x"}, "a": {"exact": "1"}}}]}}
    (found,) = all_routes(spec(step, routed=True, canary=ROUTING).steps)
    assert found.mirror_percent == 100
    assert [name for name, _ in found.matches[0].headers] == ["a", "b"]


def test_they_come_and_go_with_the_steps() -> None:
    found = start()
    update(found).run()
    assert (found.parsed.step_index, found.weights) == (2, Weights.of_canary(0, managed=(QA,)))
    assert found.selects(CANARY) == pod_hash(2)
    found.command({"pauseConditions": None})
    found.run()
    assert found.weights == Weights.of_canary(50, managed=(COPY, QA))
    found.command({"pauseConditions": None})
    found.run()
    assert found.weights == Weights.of_canary(50, managed=(COPY,))
    found.command({"pauseConditions": None})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert found.weights == Weights.of_canary(0)


@pytest.mark.parametrize("resumed", [0, 1, 2])
def test_an_abort_takes_weight_and_routes_in_its_first_write(resumed: int) -> None:
    found = start()
    update(found).run()
    for _ in range(resumed):
        found.command({"pauseConditions": None})
        found.run()
    found.writes.clear()
    found.command({"abort": True})
    found.reconcile()
    assert found.writes[0] == "write route"
    assert found.weights == Weights.of_canary(0)
    found.run()
    assert found.sizes() == {"1": 4, "2": 0}
    assert found.selects(CANARY) == pod_hash(1)


def test_a_canary_without_pods_has_no_routes_and_gets_them_back() -> None:
    found = start()
    update(found).run()
    pods = found.pods[f"cart-{pod_hash(2)}"]
    ready = [pod.ready_at for pod in pods]
    for pod in pods:
        pod.ready_at = None
    found.run(seconds=60)
    assert managed(found) == ()
    for pod, at in zip(pods, ready, strict=True):
        pod.ready_at = at
    found.run(seconds=60)
    assert managed(found) == (QA,)


def test_a_route_without_any_pods_of_the_canary_waits_for_them() -> None:
    """The step is passed, as upstream passes it; the rule comes with the first pod."""
    found = start(HEADER, PAUSE, {"setWeight": 25}, PAUSE)
    update(found).run()
    assert (found.parsed.step_index, managed(found)) == (1, ())
    found.command({"pauseConditions": None})
    found.run()
    assert found.weights == Weights.of_canary(25, managed=(QA,))


def test_a_newer_revision_gets_no_request_by_the_routes_of_an_older_one() -> None:
    """T29."""
    found = start()
    update(found).run()
    found.writes.clear()
    update(found, 3)
    found.reconcile()
    assert found.writes[0] == "write route"
    assert managed(found) == ()
    found.run()
    assert managed(found) == (QA,)
    assert found.selects(CANARY) == pod_hash(3)


def test_full_promotion_drops_them() -> None:
    found = start()
    update(found).run()
    found.command({"promoteFull": True})
    found.run()
    assert found.parsed.phase == "Healthy"
    assert managed(found) == ()


def test_a_refused_preflight_keeps_them_back() -> None:
    found = start()
    found.blocked = "P01: not bound"
    update(found).run(seconds=60)
    assert managed(found) == ()
    assert found.parsed.step_index == 1
    found.blocked = ""
    found.run(seconds=60)
    assert managed(found) == (QA,)


def test_killing_the_controller_changes_nothing_in_the_end() -> None:
    def story(found: World) -> Any:
        found.run()
        update(found).run()
        found.command({"pauseConditions": None})
        found.run()
        return found.facts(), found.weights

    calm = world(*STEPS, replicas=4, routed=True, canary=ROUTING)
    expected = story(calm)
    for writes in range(len(calm.writes)):
        shaken = world(*STEPS, replicas=4, routed=True, canary=ROUTING, crash_after=writes)
        assert story(shaken) == expected, f"after {writes} writes"


def _header(name: str, **headers: str) -> dict[str, Any]:
    match = [{"headerName": key.replace("_", "-"), "headerValue": {"exact": value}} for key, value in headers.items()]
    return {"setHeaderRoute": {"name": name, "match": match}}


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        pytest.param([HEADER, _header("copy", x_qa="yes")], Clash(1, "qa", "copy"), id="equal"),
        pytest.param([HEADER, PAUSE, _header("copy", X_QA="yes")], Clash(2, "qa", "copy"), id="equal-in-another-case"),
        pytest.param(
            [_header("qa", a="1", b="2"), _header("copy", b="2", a="1")], Clash(1, "qa", "copy"), id="in-another-order"
        ),
        pytest.param(
            [
                {"setMirrorRoute": {"name": "copy", "match": [{"headers": {"x-qa": {"exact": "yes"}}}]}},
                HEADER,
            ],
            Clash(1, "copy", "qa"),
            id="a-mirror-of-the-same",
        ),
        pytest.param([HEADER, _header("copy", x_qa="no")], None, id="another-value"),
        pytest.param([HEADER, _header("copy", x_qa="yes", more="1")], None, id="one-header-more"),
        pytest.param([HEADER, NO_HEADER, _header("copy", x_qa="yes")], None, id="one-after-the-other"),
        pytest.param([HEADER, HEADER], None, id="the-same-route-again"),
        pytest.param([HEADER, MIRROR], None, id="nothing-in-common"),
    ],
)
def test_two_rules_for_the_same_requests_are_refused(steps: list[dict[str, Any]], expected: Clash | None) -> None:
    rollout = parse(msgspec.json.encode(spec_content(*steps, routed=True, canary=ROUTING)))
    assert clash(rollout.steps, NAMES) == expected
    told = [str(found) for found in lint(rollout)]
    if expected is None:
        assert told == []
        return
    kind = "setHeaderRoute" if "setHeaderRoute" in steps[expected.index] else "setMirrorRoute"
    why = f"found the match of managed route {expected.first} once more: only one of the two rules would ever apply"
    assert told == [f"spec.strategy.canary.steps[{expected.index}].{kind}: Forbidden: {why}"]

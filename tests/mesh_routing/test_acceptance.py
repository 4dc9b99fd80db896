from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.objects import Manifest
from fairlead.mesh_routing._acceptance import Verdict, confirmed
from tests.mesh_routing.builders import http_route, parent, read, status

GATEWAY = {"name": "edge"}
UNLABELLED = (
    "istio.io/use-waypoint label missing from parent and parent namespace; in ambient mode, route will not be respected"
)


def waypoints(message: str) -> dict[str, Any]:
    return {"type": "ResolvedWaypoints", "status": "True", "reason": "ResolvedWaypoints", "message": message}


def partial(state: str) -> dict[str, Any]:
    return {"type": "PartiallyInvalid", "status": state, "reason": "x", "message": "Fall Back: an old one is live"}


@pytest.mark.parametrize(
    ("route", "verdict", "text"),
    [
        pytest.param(http_route(), Verdict.CONFIRMED, "", id="accepted-and-resolved"),
        pytest.param(http_route(accepted=False), Verdict.PENDING, "no status by", id="no-entry-is-no-acceptance"),
        pytest.param(
            http_route(generation=3, statuses=[status(2)]), Verdict.PENDING, "generation 2 of 3", id="older-generation"
        ),
        pytest.param(http_route(generation=3, statuses=[status(4)]), Verdict.CONFIRMED, "", id="newer-generation"),
        pytest.param(
            http_route(statuses=[status(1, accepted="False", reason="NoMatchingParent", message="not found")]),
            Verdict.PENDING,
            "Accepted=False (NoMatchingParent): not found",
            id="not-accepted",
        ),
        pytest.param(
            http_route(statuses=[status(1, resolved="False", reason="BackendNotFound", message="web-canary")]),
            Verdict.UNRESOLVED,
            "ResolvedRefs=False (BackendNotFound): web-canary",
            id="unresolved",
        ),
        pytest.param(
            http_route(generation=2, statuses=[status(1, resolved="False")]),
            Verdict.PENDING,
            "generation 1 of 2",
            id="unresolved-of-an-older-generation",
        ),
        pytest.param(
            http_route(statuses=[status(1, controller="example.com/other")]),
            Verdict.PENDING,
            "no status by istio.io/gateway-controller",
            id="another-controller",
        ),
        pytest.param(
            http_route(statuses=[status(1), status(1, controller="example.com/other", accepted="False")]),
            Verdict.CONFIRMED,
            "",
            id="another-controller-beside-the-expected-one",
        ),
        pytest.param(
            http_route(statuses=[status(1, parent_ref=parent(namespace="shop"))]),
            Verdict.CONFIRMED,
            "",
            id="namespace-is-defaulted-before-comparing",
        ),
        pytest.param(
            http_route(statuses=[status(1, parent_ref=parent(port=None))]),
            Verdict.PENDING,
            "no status",
            id="another-port-is-another-parent",
        ),
        pytest.param(
            http_route(parents=[GATEWAY], statuses=[status(1, controller="traefik.io/c", parent_ref=GATEWAY)]),
            Verdict.CONFIRMED,
            "",
            id="a-gateway-has-whatever-controller",
        ),
        pytest.param(
            http_route(
                parents=[GATEWAY],
                statuses=[
                    status(
                        1,
                        parent_ref={"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "shop"}
                        | GATEWAY,
                    )
                ],
            ),
            Verdict.CONFIRMED,
            "",
            id="gateway-parent-written-out",
        ),
        pytest.param(
            http_route(parents=[parent(), GATEWAY], statuses=[status(1)]),
            Verdict.PENDING,
            "no status by any controller for parent Gateway shop/edge",
            id="each-parent-must-confirm",
        ),
        pytest.param(
            http_route(statuses=[status(1, extra=[waypoints("All waypoints resolved")])]),
            Verdict.CONFIRMED,
            "",
            id="waypoints-resolved",
        ),
        pytest.param(
            http_route(statuses=[status(1, extra=[waypoints(UNLABELLED)])]),
            Verdict.PENDING,
            "label missing",
            id="waypoint-status-true-but-the-message-says-no",
        ),
        pytest.param(
            http_route(statuses=[status(1, extra=[partial("True")])]), Verdict.PENDING, "Fall Back", id="fallen-back"
        ),
        pytest.param(
            http_route(statuses=[status(1, extra=[partial("False")])]), Verdict.CONFIRMED, "", id="not-partial"
        ),
        pytest.param(http_route(parents=[]), Verdict.PENDING, "no parentRefs", id="no-parent"),
        pytest.param(
            http_route(statuses=[{"parentRef": parent(), "controllerName": "istio.io/gateway-controller"}]),
            Verdict.PENDING,
            "has not written Accepted",
            id="no-conditions",
        ),
    ],
)
def test_confirmed(route: Manifest, verdict: Verdict, text: str) -> None:
    answer = confirmed(read(route), route.metadata.generation, controller="istio.io/gateway-controller")
    assert (answer.verdict, text in answer.message) == (verdict, True), answer.message


def test_without_an_expectation_every_controller_that_answers_must_confirm() -> None:
    both = http_route(statuses=[status(1), status(1, controller="example.com/other", accepted="False")])
    assert confirmed(read(both), 1).verdict is Verdict.PENDING

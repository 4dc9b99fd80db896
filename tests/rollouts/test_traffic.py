"""Which weight the route should hold, and what keeps it from being written."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from fairlead.core.traffic import Held, Weights
from fairlead.rollouts._traffic import stored_weights
from fairlead.rollouts._waiting import Waiting
from fairlead.testing.builders import START, replica_set, services, spec, status, traffic
from fairlead.testing.builders import observation as observe
from tests.rollouts.situations import Case, routed

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}})
ABORTED: dict[str, Any] = {"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}


def canary(replicas: int, available: int | None = None) -> Any:
    return replica_set(2, replicas=replicas, available=available)


@pytest.mark.parametrize(
    ("case", "weight"),
    [
        pytest.param(routed(*STEPS, canary=canary(1)), 20, id="counts-reached"),
        pytest.param(routed(*STEPS, canary=canary(1, 0)), None, id="no-pod-yet"),
        pytest.param(
            routed(*STEPS, step=2, canary=canary(3, 2), seen={"traffic": traffic(20)}), None, id="not-enough-pods"
        ),
        pytest.param(routed(*STEPS, step=2, canary=canary(3), seen={"traffic": traffic(20)}), 60, id="next-step"),
        pytest.param(
            routed(*STEPS, step=2, canary=canary(3, 2), seen={"traffic": traffic(0)}),
            None,
            id="skipped-to-a-step-without-pods-for-the-one-before",
        ),
        pytest.param(routed(*STEPS, step=4, canary=canary(5), seen={"traffic": traffic(60)}), 100, id="past-the-end"),
        pytest.param(
            routed(*STEPS, step=1, canary=canary(1), seen={"traffic": traffic(20)}, **ABORTED), 0, id="aborted"
        ),
        pytest.param(
            routed(*STEPS, step=3, canary=canary(3, 0), seen={"traffic": traffic(60)}), 0, id="all-canary-pods-lost"
        ),
        pytest.param(
            routed(*STEPS, step=4, canary=canary(3), seen={"traffic": traffic(60)}, promoteFull=True),
            None,
            id="full-promotion-keeps-the-weight",
        ),
        pytest.param(
            routed(*STEPS, step=4, canary=canary(5), seen={"traffic": traffic(60)}, promoteFull=True),
            100,
            id="full-promotion-with-all-pods",
        ),
        pytest.param(routed(canary=canary(5), step=None), None, id="without-steps"),
        pytest.param(
            routed(*STEPS, step=1, canary=canary(1), seen={"traffic": traffic(70)}), 20, id="a-foreign-edit-is-undone"
        ),
        pytest.param(
            routed(*STEPS, step=1, canary=canary(1), seen={"traffic": traffic(None, Held.NOT_STORED)}),
            20,
            id="a-route-that-was-made-anew-gets-the-current-weight",
        ),
    ],
)
def test_what_is_written(case: Case, weight: int | None) -> None:
    action = case.traffic.action
    assert (action.weights if action is not None else None) == (None if weight is None else Weights.of_canary(weight))


@pytest.mark.parametrize(
    ("seen", "reason"),
    [
        pytest.param({"traffic": traffic(20, blocked="P01: not bound")}, Waiting.PREFLIGHT, id="preflight"),
        pytest.param({"traffic": traffic(20, Held.CONFLICT, message="x")}, Waiting.CONFLICT, id="conflict"),
        pytest.param({"traffic": traffic(20, Held.REFUSED, message="x")}, Waiting.REFUSED, id="refused"),
        pytest.param(
            {"traffic": traffic(20, Held.CONFLICT, message="x", blocked="x")},
            Waiting.CONFLICT,
            id="conflict-that-blocks",
        ),
        pytest.param(
            {"traffic": traffic(0), "services": services(stable=1, canary=1)}, Waiting.SERVICE, id="selector-first"
        ),
        pytest.param({"traffic": traffic(20), "endpoints": {"cart-canary": {}}}, Waiting.ENDPOINTS, id="no-endpoints"),
        pytest.param(
            {"traffic": traffic(20), "endpoints": {"cart-canary": {replica_set(2).metadata.name: 2}}},
            Waiting.ENDPOINTS,
            id="too-few-endpoints",
        ),
        pytest.param(
            {"traffic": traffic(20), "endpoints": {"cart-canary": {replica_set(2).metadata.name: 3, "": 1}}},
            Waiting.ENDPOINTS,
            id="somebody-else-is-behind-it",
        ),
    ],
)
def test_what_keeps_it_from_rising(seen: dict[str, Any], reason: Waiting) -> None:
    """T30: the step asks for 60, three pods are there."""
    case = routed(*STEPS, step=2, canary=canary(3), seen=seen)
    assert case.traffic.action is None
    assert case.traffic.waiting is not None
    assert case.traffic.waiting.reason is reason
    assert case.traffic.waiting.what


@pytest.mark.parametrize("weight", [20, 60, 100])
@pytest.mark.parametrize("step", [0, 2])
def test_weight_of_an_overtaken_revision_goes_to_zero_first(step: int, weight: int) -> None:
    """The new revision may have all its pods already: an earlier one that is still in its delay."""
    fields = {"traffic": traffic(weight), "services": services(stable=1, canary=3)}
    case = routed(*STEPS, step=step, canary=canary(5), others=(replica_set(3, replicas=3),), seen=fields)
    assert case.traffic.action is not None
    assert case.traffic.action.weights == Weights.of_canary(0)
    assert not case.traffic.is_settled
    assert not case.traffic.is_clear


@pytest.mark.parametrize("held", [Held.CONFLICT, Held.REFUSED, Held.STORED])
def test_an_abort_is_kept_from_nothing_but_a_stable_without_pods(held: Held) -> None:
    fields = {"traffic": traffic(20, held, blocked="P01", message="x"), "services": services(stable=None, canary=2)}
    case = routed(*STEPS, step=1, canary=canary(1), seen=fields, **ABORTED)
    assert case.traffic.action is not None
    assert case.traffic.action.weights == Weights.of_canary(0)
    assert not case.traffic.action.in_progress
    nobody = routed(
        *STEPS, step=1, canary=canary(1), stable=replica_set(1, replicas=5, available=0), seen=fields, **ABORTED
    )
    assert nobody.traffic.action is None
    assert nobody.traffic.waiting is not None
    assert nobody.traffic.waiting.reason is Waiting.STABLE_PODS


def test_an_abort_does_not_wait_for_all_stable_pods() -> None:
    case = routed(
        *STEPS,
        step=1,
        canary=canary(1),
        stable=replica_set(1, replicas=5, available=1),
        seen={"traffic": traffic(20)},
        **ABORTED,
    )
    assert case.traffic.action is not None


def test_a_lower_step_waits_for_stable_pods_that_can_take_it() -> None:
    steps = ({"setWeight": 60}, {"setWeight": 20})
    fields = {"traffic": traffic(60)}
    few = routed(*steps, step=1, canary=canary(3), stable=replica_set(1, replicas=5, available=3), seen=fields)
    assert few.traffic.action is None
    enough = routed(*steps, step=1, canary=canary(3), stable=replica_set(1, replicas=5, available=4), seen=fields)
    assert enough.traffic.action is not None


@pytest.mark.parametrize(
    ("held", "settled"),
    [
        (Held.STORED, False),
        (Held.ACCEPTED, False),
        (Held.APPLIED, True),
        (Held.SETTLED, True),
        (Held.REFUSED, False),
        (Held.CONFLICT, False),
    ],
)
def test_only_weights_in_force_count(held: Held, settled: bool) -> None:
    case = routed(*STEPS, canary=canary(1), seen={"traffic": traffic(20, held)})
    assert case.traffic.is_settled is settled
    assert case.traffic.action is None
    assert (case.traffic.waiting is None) is settled


@pytest.mark.parametrize(
    ("seen", "clear"),
    [
        (traffic(0), True),
        (traffic(0, Held.ACCEPTED), False),
        (traffic(20), False),
        (traffic(None, Held.NOT_STORED), True),
    ],
)
def test_when_the_canary_service_is_without_traffic(seen: Any, clear: bool) -> None:
    assert routed(*STEPS, canary=canary(1), seen={"traffic": seen}).traffic.is_clear is clear


def promoted(seen: dict[str, Any]) -> Case:
    rollout = spec(*STEPS, version=2, replicas=5, routed=True)
    fields = {"services": services(stable=2, canary=2), "traffic": traffic(100), **seen}
    return Case(
        rollout,
        status(rollout, stable=2, current=2),
        observe(canary(5), replica_set(1, replicas=5), **fields),
    )


def test_after_the_promotion_weight_returns_only_to_a_service_that_has_moved() -> None:
    name = canary(5).metadata.name
    assert promoted({"services": services(stable=1, canary=2)}).traffic.action is None
    assert promoted({"endpoints": {"cart-stable": {name: 4}}}).traffic.action is None
    assert promoted({"endpoints": {"cart-stable": {name: 5, replica_set(1).metadata.name: 1}}}).traffic.action is None
    moved = promoted({"endpoints": {"cart-stable": {name: 5}}}).traffic.action
    assert moved is not None
    assert moved.weights == Weights.of_canary(0)


def test_the_first_weight_waits_for_the_preflight() -> None:
    fields = {"traffic": traffic(None, Held.NOT_STORED, blocked="P03: no waypoint"), "services": services(stable=2)}
    case = promoted(fields)
    assert case.traffic.action is None
    assert case.traffic.waiting is not None
    assert case.traffic.waiting.what == "P03: no waypoint"


def test_a_bigger_total() -> None:
    case = routed(
        {"setWeight": 5},
        canary=canary(1),
        settings={
            "canary": {
                "trafficRouting": {"maxTrafficWeight": 1000, "plugins": {"fairlead/waypoint": {"service": "cart"}}}
            }
        },
        seen={"traffic": traffic(0, total=1000)},
    )
    assert case.traffic.action is not None
    assert case.traffic.action.weights == Weights(canary=5, stable=995, total=1000)


def test_nothing_is_routed_where_nothing_is_wanted() -> None:
    case = routed(*STEPS, replicas=0, canary=canary(0), seen={"traffic": traffic(20, Held.STORED)})
    assert case.traffic.action is None
    assert case.traffic.is_settled


def test_the_right_weights_by_another_are_taken_over() -> None:
    case = routed(*STEPS, canary=canary(1), seen={"traffic": traffic(20, Held.NOT_STORED)})
    assert case.traffic.action is not None
    assert case.traffic.action.weights == Weights.of_canary(20)
    assert not case.traffic.is_settled


def test_without_a_router_traffic_is_always_where_it_should_be() -> None:
    rollout = spec(*STEPS, version=2)
    case = Case(rollout, status(rollout, current=2, step=0), observe(replica_set(1), canary(1)))
    assert case.traffic.is_settled
    assert case.traffic.is_clear


# --- what the status shows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("held", "verified"), [(Held.APPLIED, True), (Held.SETTLED, None), (Held.ACCEPTED, False), (Held.REFUSED, False)]
)
def test_verified(held: Held, verified: bool | None) -> None:
    case = routed(*STEPS, canary=canary(1), seen={"traffic": traffic(20, held)})
    found = stored_weights(case.situation, case.status, case.roles)
    assert found is not None
    assert found.verified is verified
    assert (found.canary.weight, found.canary.service) == (20, "cart-canary")
    assert (found.stable.weight, found.stable.service) == (80, "cart-stable")


@pytest.mark.parametrize("verified", [True, None])
@pytest.mark.parametrize(
    ("weight", "held", "stands"),
    [(20, Held.ACCEPTED, True), (40, Held.ACCEPTED, False), (20, Held.STORED, False), (20, Held.REFUSED, False)],
)
def test_the_last_word_stands_while_an_accepted_route_settles_anew(
    weight: int, held: Held, stands: bool, verified: bool | None
) -> None:
    before = routed(*STEPS, canary=canary(1), seen={"traffic": traffic(20, Held.APPLIED if verified else Held.SETTLED)})
    stored = stored_weights(before.situation, before.status, before.roles)
    case = routed(*STEPS, canary=canary(1), seen={"traffic": traffic(weight, held)})
    found = stored_weights(case.situation, structs.replace(case.status, weights=stored), case.roles)
    assert found is not None
    assert found.verified is (verified if stands else False)


def test_hashes_of_weights_are_those_that_services_select() -> None:
    case = routed(*STEPS, canary=canary(1), seen={"services": services(stable=1, canary=1)})
    found = stored_weights(case.situation, case.status, case.roles)
    assert found is not None
    assert found.canary.pod_hash == found.stable.pod_hash == case.status.stable_hash


def test_no_route_no_weights() -> None:
    case = routed(*STEPS, seen={"traffic": traffic(None, Held.NOT_STORED)})
    assert stored_weights(case.situation, case.status, case.roles) is None


def test_when_the_router_wants_to_be_asked_again() -> None:
    at = START + timedelta(seconds=3)
    case = routed(*STEPS, canary=canary(1), seen={"traffic": traffic(20, Held.ACCEPTED, wake_at=at, settled_at=at)})
    assert case.traffic.wake_at == at
    assert case.traffic.waiting is not None
    assert case.traffic.waiting.at == at


def test_a_router_that_knows_its_backends_needs_no_services() -> None:
    case = routed(*STEPS, canary=canary(1), seen={"services": {}})
    assert case.traffic.action is not None

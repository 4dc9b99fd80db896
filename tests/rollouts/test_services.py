"""Whose pods the Services select, and when that may change."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.rollouts._services import Switches, switch
from fairlead.rollouts._waiting import Waiting
from fairlead.rollouts.actions import ReleaseService, SwitchService
from fairlead.testing.builders import observation as observe
from fairlead.testing.builders import pod_hash, replica_set, service, services, spec, status, traffic
from tests.rollouts.situations import Case, routed

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 20}, {"pause": {}})
ABORTED: dict[str, Any] = {"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}


def switched(case: Case, *, halted: bool = False, clear: bool | None = None) -> Switches:
    is_clear = case.traffic.is_clear if clear is None else clear
    return switch(
        case.situation,
        case.status,
        case.roles,
        case.rule,
        canary_pods=case.counts.canary,
        is_clear=is_clear,
        is_halted=halted,
    )


def targets(found: Switches) -> dict[str, str]:
    return {action.target.name: action.pod_hash for action in found.actions if isinstance(action, SwitchService)}


def canary(available: int) -> Any:
    return replica_set(2, replicas=1, available=available)


def test_the_canary_service_follows_when_a_pod_is_there() -> None:
    seen = {"services": services(stable=1, canary=1)}
    waiting = switched(routed(*STEPS, canary=canary(0), seen=seen))
    assert waiting.actions == ()
    assert waiting.waiting is not None
    assert waiting.waiting.reason is Waiting.SERVICE
    found = switched(routed(*STEPS, canary=canary(1), seen=seen))
    assert targets(found) == {"cart-canary": pod_hash(2)}
    action = found.actions[0]
    assert isinstance(action, SwitchService)
    assert not action.marks
    assert action.event is not None
    assert action.event.message == (
        f"Switched selector for service 'cart-canary' from '{pod_hash(1)}' to '{pod_hash(2)}'"
    )


def test_a_service_that_is_right_is_left_alone() -> None:
    assert switched(routed(*STEPS, canary=canary(1))).actions == ()


@pytest.mark.parametrize(("available", "adopted"), [(2, False), (3, True)])
def test_a_service_is_adopted_when_every_pod_is_there(available: int, adopted: bool) -> None:
    """T33: it may have served the user's own pods so far."""
    rollout = spec(*STEPS, replicas=3, routed=True)
    seen = observe(
        replica_set(1, replicas=3, available=available),
        services=services(stable=None, canary=None, managed=False),
        traffic=traffic(None),
    )
    found = switched(Case(rollout, status(rollout), seen))
    assert targets(found) == ({"cart-stable": pod_hash(1), "cart-canary": pod_hash(1)} if adopted else {})
    assert all(action.marks for action in found.actions if isinstance(action, SwitchService))


def test_one_crashing_pod_does_not_block_a_later_switch() -> None:
    """T33."""
    rollout = spec(*STEPS, version=2, replicas=3, routed=True)
    seen = observe(
        replica_set(1, replicas=3),
        replica_set(2, replicas=3, available=1),
        services=services(stable=1, canary=2),
        traffic=traffic(100),
    )
    assert targets(switched(Case(rollout, status(rollout, stable=2, current=2), seen))) == {"cart-stable": pod_hash(2)}


def test_a_selector_with_traffic_does_not_move() -> None:
    """T29: version 1 is stable, the canary Service still selects version 3 and has weight."""
    case = routed(
        *STEPS,
        canary=canary(1),
        others=(replica_set(3),),
        seen={"services": services(stable=1, canary=3), "traffic": traffic(20)},
    )
    found = switched(case)
    assert found.actions == ()
    assert found.waiting is not None
    assert found.waiting.reason is Waiting.TRAFFIC
    assert targets(switched(case, clear=True)) == {"cart-canary": pod_hash(2)}


def test_on_abort_the_canary_service_returns_to_stable_whatever_is_available() -> None:
    """T34, and only after the weight is gone."""
    stable = replica_set(1, replicas=5, available=0)
    case = routed(*STEPS, canary=canary(1), stable=stable, **ABORTED)
    assert targets(switched(case, clear=True)) == {"cart-canary": pod_hash(1)}
    assert switched(case, clear=False).actions == ()


def test_on_abort_without_a_router_stable_must_be_available() -> None:
    rollout = spec(*STEPS, version=2, replicas=2, canary={"canaryService": "cart-canary"})
    for available, expected in ((0, {}), (1, {"cart-canary": pod_hash(1)})):
        seen = observe(
            replica_set(1, replicas=2, available=available),
            canary(1),
            services={"cart-canary": service("cart-canary", 2)},
        )
        case = Case(rollout, status(rollout, current=2, step=0, **ABORTED), seen)
        assert targets(switched(case)) == expected


def test_a_canary_that_should_have_no_pods_is_not_selected() -> None:
    case = routed({"setWeight": 0}, {"pause": {}}, canary=replica_set(2, replicas=0))
    assert targets(switched(case)) == {"cart-canary": pod_hash(1)}


def test_nothing_moves_while_the_user_has_stopped_everything() -> None:
    seen = {"services": services(stable=1, canary=1)}
    assert switched(routed(*STEPS, canary=canary(1), seen=seen), halted=True) == Switches()


def test_services_that_are_named_no_longer_are_released() -> None:
    case = routed(*STEPS, canary=canary(1), seen={"released": (service("cart-old", 1),)})
    assert [type(action) for action in switched(case).actions] == [ReleaseService]

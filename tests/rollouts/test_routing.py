"""Several routers of a Rollout as one, and what is wrong with how they are configured."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest

from fairlead.core.traffic import Held, RouterFactory, TrafficRouter, TrafficSeen, TrafficTarget, Weights
from fairlead.rollouts._routing import combine, look, route
from fairlead.rollouts.spec import RolloutSpec
from fairlead.testing.builders import START, rollout_metadata, spec, traffic

META = rollout_metadata()


@dataclass
class Factory:
    problem: tuple[str, str] | None = None
    targets: list[TrafficTarget] = field(default_factory=list)

    def validate(self, target: TrafficTarget) -> tuple[str, str] | None:
        return self.problem

    def router(self, target: TrafficTarget) -> TrafficRouter:
        self.targets.append(target)
        return Router()


class Router:
    def observe(self, now: datetime) -> TrafficSeen:
        return traffic(20)

    async def set_weights(self, weights: Weights, *, in_progress: bool) -> bool:
        return False

    async def release(self) -> bool:
        return False


def routed(**routing: Any) -> RolloutSpec:
    blocks = {"plugins": {"a": {"x": 1}, "b": {}}, "managedRoutes": [{"name": "m"}], **routing}
    return spec(routed=True, canary={"trafficRouting": blocks})


def test_each_block_has_its_router() -> None:
    factories: dict[str, RouterFactory] = {"a": Factory(), "b": Factory()}
    found = route(META, routed(maxTrafficWeight=1000), factories)
    assert len(found.routers) == 2
    first = factories["a"]
    assert isinstance(first, Factory)
    assert first.targets == [
        TrafficTarget(
            rollout=META.key,
            uid=META.uid,
            stable_service="cart-stable",
            canary_service="cart-canary",
            config={"x": 1},
            total=1000,
            managed_routes=("m",),
        )
    ]


def test_a_router_that_is_not_installed_is_named() -> None:
    found = route(META, routed(), {"a": Factory()})
    assert found.routers == ()
    assert "plugins[b]" in str(found.problems[0])


def test_a_block_that_cannot_work_is_named_with_its_field() -> None:
    found = route(META, routed(), {"a": Factory(), "b": Factory(problem=("httpRoute", "Required value"))})
    assert str(found.problems[0]).endswith("plugins[b].httpRoute: Required value")
    assert found.routers == ()


def test_a_basic_canary_has_no_router() -> None:
    assert route(META, spec({"setWeight": 20}), {"a": Factory()}).routers == ()


def test_one_look() -> None:
    assert look((), START) is None
    assert look((Router(),), START) == traffic(20)


@pytest.mark.parametrize(
    ("others", "held"),
    [
        ([Held.APPLIED, Held.SETTLED], Held.SETTLED),
        ([Held.APPLIED, Held.STORED], Held.STORED),
        ([Held.REFUSED, Held.STORED], Held.REFUSED),
        ([Held.CONFLICT, Held.REFUSED], Held.CONFLICT),
    ],
)
def test_the_one_that_has_come_least_far_speaks(others: list[Held], held: Held) -> None:
    assert combine([traffic(20, one, message=str(one)) for one in others]).held is held


def test_the_longest_delays_count() -> None:
    second = timedelta(seconds=1)
    found = combine(
        [
            traffic(20, since=START, pods_kept=57 * second, wake_at=START + second, blocked="x"),
            traffic(20, since=START + second, settled_at=START + 9 * second),
        ]
    )
    assert (found.since, found.settled_at) == (START + second, START + 9 * second)
    assert (found.pods_kept, found.wake_at, found.blocked) == (57 * second, START + second, "x")


def test_weights_that_differ_are_no_split_and_not_without_traffic() -> None:
    found = combine([traffic(20), traffic(0), traffic(None, Held.NOT_STORED)])
    assert found.weights is not None
    assert found.weights.canary == 20
    assert found.weights != Weights.of_canary(20)
    assert not found.holds

"""Stable that shrinks as its traffic does (dynamicStableScale): sizes, and whole updates that never lack capacity."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.traffic import Held, TrafficSeen, Weights
from fairlead.rollouts._replicas import Counts, capacity_weight, dynamic_counts
from fairlead.testing.builders import HASH_LABEL, START, pod_hash, replica_set, spec_content, traffic
from tests.rollouts.situations import Case, routed
from tests.rollouts.test_scaling import sizes
from tests.rollouts.world import CANARY, STABLE, World, update

STEPS: tuple[dict[str, Any], ...] = tuple(
    step for weight in (25, 50, 75, 100) for step in ({"setWeight": weight}, {"pause": {"duration": "2s"}})
)
DYNAMIC = {"dynamicStableScale": True}
NEW, OLD = f"cart-{pod_hash(2)}", f"cart-{pod_hash(1)}"


@pytest.mark.parametrize(
    ("wanted", "weight", "seen", "aborted", "pods_min", "replicas", "expected"),
    [
        pytest.param(10, 25, (0, 100), False, 0, None, Counts(3, 10), id="row-8-weight-not-yet-set"),
        pytest.param(10, 25, (25, 75), False, 0, None, Counts(3, 8), id="row-9"),
        pytest.param(10, 75, (25, 75), False, 0, None, Counts(8, 8), id="row-10"),
        pytest.param(10, 100, (75, 25), False, 0, None, Counts(10, 3), id="row-11"),
        pytest.param(10, 100, (100, 0), False, 0, None, Counts(10, 0), id="row-12"),
        pytest.param(4, 25, (75, 25), True, 0, None, Counts(3, 3), id="row-13-aborted"),
        pytest.param(4, 0, (25, 75), True, 0, None, Counts(1, 4), id="row-14-aborted"),
        pytest.param(4, 0, (0, 100), True, 0, None, Counts(0, 4), id="row-15-aborted"),
        pytest.param(10, 90, (90, 10), False, 3, None, Counts(9, 3), id="minimum-for-both"),
        pytest.param(2, 50, (50, 50), False, 5, None, Counts(2, 2), id="minimum-is-capped"),
        pytest.param(10, 50, (50, 50), False, 0, 1, Counts(1, 10), id="absolute"),
        pytest.param(10, 50, (50, 50), False, 3, 1, Counts(3, 10), id="absolute-and-a-minimum"),
    ],
)
def test_counts(
    wanted: int,
    weight: int,
    seen: tuple[int, int],
    aborted: bool,
    pods_min: int,
    replicas: int | None,
    expected: Counts,
) -> None:
    assert (
        dynamic_counts(
            wanted,
            weight,
            100,
            seen_canary=seen[0],
            seen_stable=seen[1],
            is_aborted=aborted,
            pods_min=pods_min,
            replicas=replicas,
        )
        == expected
    )


@pytest.mark.parametrize(
    ("wanted", "available", "total", "weight"),
    [(10, 0, 100, 100), (10, 3, 100, 70), (3, 1, 100, 67), (3, 3, 100, 0), (3, 5, 100, 0), (7, 3, 1000, 572)],
)
def test_what_stable_can_carry(wanted: int, available: int, total: int, weight: int) -> None:
    assert capacity_weight(wanted, available, total) == weight


# --- one decision -----------------------------------------------------------------------------------------------------


def dynamic(*steps: dict[str, Any], seen: TrafficSeen, strategy: dict[str, Any] | None = None, **more: Any) -> Case:
    settings = {"canary": {**DYNAMIC, **(strategy or {})}}
    return routed(*(steps or STEPS), replicas=10, settings=settings, seen={"traffic": seen}, **more)


def weight_of(case: Case) -> int | None:
    return case.traffic.action.weights.canary if case.traffic.action is not None else None


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(traffic(50), 5, id="in-force"),
        pytest.param(traffic(50, Held.ACCEPTED), 8, id="not-in-force"),
        pytest.param(traffic(25), 8, id="not-written"),
        pytest.param(traffic(50, since=None, pods_kept=timedelta(seconds=9)), 5, id="since-ever"),
    ],
)
def test_stable_shrinks_after_its_traffic(seen: TrafficSeen, expected: int) -> None:
    case = dynamic(step=3, canary=replica_set(2, replicas=5), stable=replica_set(1, replicas=8), seen=seen)
    assert sizes(case)[OLD] == expected


def test_connections_to_stable_drain_first() -> None:
    seen = traffic(50, since=START - timedelta(seconds=5), pods_kept=timedelta(seconds=57))
    case = dynamic(step=3, canary=replica_set(2, replicas=5), stable=replica_set(1, replicas=8), seen=seen)
    assert sizes(case)[OLD] == 8


def test_stable_grows_before_a_lower_weight() -> None:
    steps = ({"setWeight": 75}, {"setWeight": 25})
    few, enough = replica_set(1, replicas=3), replica_set(1, replicas=8)
    seen = traffic(75)
    assert weight_of(dynamic(*steps, step=1, canary=replica_set(2, replicas=8), stable=few, seen=seen)) is None
    assert sizes(dynamic(*steps, step=1, canary=replica_set(2, replicas=8), stable=few, seen=seen))[OLD] == 8
    assert weight_of(dynamic(*steps, step=1, canary=replica_set(2, replicas=8), stable=enough, seen=seen)) == 25


ABORTED: dict[str, Any] = {"abort": True, "abortedAt": "2026-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("available", "current", "weight"),
    [
        pytest.param(0, 75, None, id="nobody-takes-over"),
        pytest.param(2, 75, None, id="never-up"),
        pytest.param(3, 75, 70, id="as-much-as-it-can"),
        pytest.param(8, 25, 20, id="most-at-once"),
        pytest.param(10, 25, 0, id="all"),
    ],
)
def test_an_abort_lowers_the_weight_as_stable_can_take_it(available: int, current: int, weight: int | None) -> None:
    """T35."""
    stable = replica_set(1, replicas=10, available=available)
    case = dynamic(canary=replica_set(2, replicas=8), stable=stable, seen=traffic(current), **ABORTED)
    assert weight_of(case) == weight
    assert sizes(case)[OLD] == 10


def test_a_canary_without_pods_is_not_waited_for() -> None:
    stable = replica_set(1, replicas=10, available=2)
    dead = replica_set(2, replicas=8, available=0)
    assert weight_of(dynamic(canary=dead, stable=stable, seen=traffic(75), **ABORTED)) == 0


@pytest.mark.parametrize(
    ("strategy", "size"),
    [
        pytest.param({}, 3, id="shrinks-with-its-weight"),
        pytest.param({"abortScaleDownDelaySeconds": 60}, 8, id="an-explicit-delay-keeps-it"),
        pytest.param({"abortScaleDownDelaySeconds": 0}, 8, id="for-ever"),
    ],
)
def test_the_size_of_an_aborted_canary(strategy: dict[str, Any], size: int) -> None:
    stable = replica_set(1, replicas=10, available=7)
    case = dynamic(canary=replica_set(2, replicas=8), stable=stable, seen=traffic(30), strategy=strategy, **ABORTED)
    assert sizes(case)[NEW] == size


def test_full_promotion_moves_the_weight_with_each_pod() -> None:
    case = dynamic(step=8, canary=replica_set(2, replicas=10, available=6), seen=traffic(25), promoteFull=True)
    assert weight_of(case) == 60


# --- whole updates ----------------------------------------------------------------------------------------------------


class Careful(World):
    """A world that minds that each side has the pods that its traffic needs, as long as the user changes no size."""

    most = 0  # pods wanted at a time
    is_resized = False

    def check(self) -> None:
        super().check()
        self.most = max(self.most, sum(one.spec.replicas for one in self.replica_sets.values()))
        if self.weights is None:
            return
        total, wanted = self.weights.total, self.content["replicas"]
        for name, weight in ((STABLE, self.weights.stable), (CANARY, self.weights.canary)):
            owner = self.replica_set_of(self.services[name].spec.selector.get(HASH_LABEL, ""))
            if owner is None or weight == 0 or self.is_resized:
                continue
            kept = min(owner.spec.replicas, self.available(owner.metadata.name))
            assert kept * total >= weight * wanted - total, f"{name} carries {weight} with {kept} of {wanted} pods"


def careful(replicas: int = 10, *, steps: tuple[dict[str, Any], ...] = STEPS, **canary: Any) -> Careful:
    content = spec_content(*steps, replicas=replicas, routed=True, canary={**DYNAMIC, **canary})
    found = Careful(content=content, pods_kept=timedelta(seconds=5))
    found.run()
    assert found.parsed.phase == "Healthy", found.explain()
    found.events.clear()
    found.history.clear()
    return found


def at(step: int) -> Any:
    return lambda one: one.decisions[-1].status.step_index == step and not one.parsed.is_promoted


@pytest.mark.parametrize(("replicas", "most"), [(1, 2), (2, 3), (3, 5), (10, 13)])
def test_an_update_never_needs_two_full_sets(replicas: int, most: int) -> None:
    """T32."""
    found = careful(replicas)
    found.pods_kept = timedelta(0)
    update(found).run()
    assert found.parsed.phase == "Healthy", found.explain()
    assert found.sizes() == {"1": 0, "2": replicas}
    assert [weight for _, weight in found.history] == [25, 50, 75, 100, 0]
    assert found.most <= most


def test_sizes_on_the_way() -> None:
    """Rows 9 to 12 of the table, each at its pause."""
    steps: list[dict[str, Any]] = []
    for weight in (25, 50, 75, 100):
        steps += [{"setWeight": weight}, {"pause": {}}]
    found = careful(steps=tuple(steps))
    update(found)
    for expected in ({"2": 3, "1": 8}, {"2": 5, "1": 5}, {"2": 8, "1": 3}, {"2": 10, "1": 0}):
        found.run()
        assert found.sizes() == expected
        found.command({"pauseConditions": None})
    found.run()
    assert found.parsed.phase == "Healthy"


@pytest.mark.parametrize("replicas", [1, 3, 10])
@pytest.mark.parametrize("delay", [None, 20])
@pytest.mark.parametrize("step", range(8))
def test_abort_at_every_step(step: int, delay: int | None, replicas: int) -> None:
    delays: dict[str, Any] = {"abortScaleDownDelaySeconds": delay} if delay else {}
    found = careful(replicas, **delays)
    update(found).run(at(step))
    before = len(found.history)
    found.command({"abort": True})
    found.run()
    assert found.parsed.phase == "Degraded"
    assert found.sizes() == {"1": replicas, "2": 0}, found.explain()
    assert found.weights in (None, Weights.of_canary(0))
    weights = [weight for _, weight in found.history[max(0, before - 1) :]]
    assert weights == sorted(weights, reverse=True), "the weight never rises during an abort"
    assert [found.selects(STABLE), found.selects(CANARY)] == [pod_hash(1), pod_hash(1)]
    found.command({"abort": False})
    found.run()
    assert found.parsed.phase == "Healthy", found.explain()
    assert found.sizes() == {"1": 0, "2": replicas}


@pytest.mark.parametrize("version", [1, 3], ids=["back-to-stable", "a-newer-one"])
@pytest.mark.parametrize("step", range(8))
def test_another_revision_at_every_step(step: int, version: int) -> None:
    """T36: stable may be tiny; the weight follows what it can take."""
    found = careful()
    update(found).run(at(step))
    update(found, version).run()
    assert found.parsed.phase == "Healthy", found.explain()
    assert {name: size for name, size in found.sizes().items() if size} == {str(version): 10}


@pytest.mark.parametrize("step", range(8))
def test_full_promotion_at_every_step(step: int) -> None:
    found = careful()
    update(found).run(at(step))
    found.command({"promoteFull": True})
    found.run()
    assert found.parsed.phase == "Healthy", found.explain()
    assert found.sizes() == {"1": 0, "2": 10}


@pytest.mark.parametrize("replicas", [4, 20])
@pytest.mark.parametrize("step", [1, 3, 6])
def test_scaling_in_the_middle(step: int, replicas: int) -> None:
    found = careful()
    update(found).run(at(step))
    found.is_resized = True
    found.change({**found.content, "replicas": replicas})
    found.run()
    assert found.parsed.phase == "Healthy", found.explain()
    assert found.sizes() == {"1": 0, "2": replicas}


def test_a_canary_that_never_becomes_ready_costs_stable_nothing() -> None:
    found = careful()
    found.broken.add(pod_hash(2))
    update(found).run(seconds=3000)
    assert found.sizes()["1"] == 10
    assert found.history == []


def test_killing_the_controller_changes_nothing_in_the_end() -> None:
    def story(found: World) -> dict[str, Any]:
        found.run()
        update(found).run(at(5))
        found.command({"abort": True})
        found.run()
        return found.facts()

    content = spec_content(*STEPS, replicas=5, routed=True, canary=DYNAMIC)
    calm = Careful(content=content)
    expected = story(calm)
    for writes in range(len(calm.writes)):
        assert story(Careful(content=content, crash_after=writes)) == expected, f"after {writes} writes"

"""Bugs put in on purpose: each is noticed by an invariant or by how a tale ends. So much for the oracle itself.

The classes are those that the peers' bug trackers are full of. A mutant replaces a function while one tale is told.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from msgspec import structs

from fairlead.analysis.status import Phase
from fairlead.core.traffic import Held
from fairlead.rollouts import _analysis, _canary, _scaling, commands
from fairlead.testing.waypoint import Behaviour
from tests.simulation.ends import aborted, healthy, shown
from tests.simulation.harness import World, play
from tests.simulation.manifests import Routing, analysis, pairs, rollout
from tests.simulation.test_routes import edit_weights

Mutate = Callable[[pytest.MonkeyPatch], None]


def instead(path: str, make: Callable[[Any], Any]) -> Mutate:
    """Return a mutation that puts `make(original)` in the place of a function of fairlead."""
    full = f"fairlead.{path}"
    return lambda patch: patch.setattr(full, make(pkgutil.resolve_name(full)))


async def update(world: World) -> None:
    await world.deploy(rollout(pairs(20, 60), routing=world.routing, replicas=4))
    await world.update(2)
    await world.until_done(seconds=300)
    await world.rest()
    assert shown(world) == healthy(world.routing, replicas=4)


async def abort(world: World) -> None:
    await world.deploy(rollout(pairs(20, 60), routing=world.routing, replicas=4))
    await world.update(2)
    await world.until_step(3)
    await world.abort()
    await world.until(lambda: bool(world.status.get("abort")) and world.status.get("phase") == "Degraded", seconds=60)
    await world.rest()
    assert shown(world) == aborted(world.routing, replicas=4)


async def newer(world: World) -> None:
    await world.deploy(rollout(pairs(20, 60), routing=world.routing))
    await world.update(2)
    await world.until_step(3)
    await world.update(3)
    await world.until_done(seconds=300)
    await world.rest()


async def older(world: World) -> None:
    """Back to a revision that still has its pods, in the moment of the promotion."""
    await world.deploy(rollout(pairs(20, 60), routing=world.routing))
    await world.update(2)
    await world.until_done(seconds=300)
    await world.update(1)
    await world.until_step(1)
    await world.until_done(seconds=300)


async def bad(world: World) -> None:
    world.script = lambda number: 1.0
    await world.deploy(rollout([{"setWeight": 40}, {"analysis": analysis()}], routing=world.routing))
    await world.update(2)
    await world.until(lambda: bool(world.status.get("abort")), seconds=300)
    await world.rest()


async def missing(world: World) -> None:
    world.script = lambda number: None
    await world.deploy(rollout([{"setWeight": 40}, {"analysis": analysis()}], routing=world.routing))
    await world.update(2)
    await world.until(lambda: bool(world.status.get("abort")), seconds=300)


async def halted(world: World) -> None:
    await world.deploy(rollout(pairs(20, 60), routing=world.routing, replicas=4))
    await world.update(2)
    await world.until_step(1)
    await world.command(*commands.pause())
    await world.rest()


async def lost(world: World) -> None:
    """The canary loses its pods while it has weight."""
    await world.deploy(rollout([{"setWeight": 50}, {"pause": {}}], routing=world.routing))
    await world.update(2)
    await world.until_phase("Paused")
    await world.unready(2)
    await world.clock.sleep(30)
    world.apply(rollout([{"setWeight": 50}, {"pause": {}}], routing=world.routing, version=2, replicas=3))
    await world.clock.sleep(30)


async def fought(world: World) -> None:
    """Somebody changes our weights again and again: the fourth time we give in, and say so."""
    await world.deploy(rollout([{"setWeight": 40}, {"pause": {}}], routing=world.routing))
    await world.update(2)
    await world.until_phase("Paused")
    for _ in range(4):
        await edit_weights(world, 50, 50)
        await world.clock.sleep(3)
    assert world.weights == (50, 50)


def always(value: Any) -> Callable[[Any], Any]:
    return lambda original: lambda *args, **kwargs: value


def with_argument(**fixed: Any) -> Callable[[Any], Any]:
    return lambda original: lambda *args, **kwargs: original(*args, **{**kwargs, **fixed})


def one_step_ahead(original: Any) -> Any:
    return lambda steps, index, weight_max: original(steps, None if index is None else index + 2, weight_max)


def believed(original: Any) -> Any:
    """Accepted counts as applied."""

    def hold(*args: Any, **kwargs: Any) -> Any:
        holding = original(*args, **kwargs)
        if holding.held is not Held.ACCEPTED:
            return holding
        return type(holding)(held=Held.APPLIED, since=holding.since)

    return hold


def good_anyway(original: Any) -> Any:
    def judge(*args: Any, **kwargs: Any) -> Any:
        phase, message = original(*args, **kwargs)
        return (Phase.SUCCESSFUL, "") if phase is Phase.ERROR else (phase, message)

    return judge


def without_delay(original: Any) -> Any:
    def leave(situation: Any, leaving: Any, delay: timedelta, *, is_selected: bool) -> Any:
        return _scaling.Change(replicas=0, deadline=""), []

    return leave


def for_ever_aborting(original: Any) -> Any:
    return lambda situation, status: structs.replace(original(situation, status), abort=False, aborted_at=None)


def never_empty(original: Any) -> Any:
    return lambda stored, new: original(stored, new) or {"phase": new.phase}


def whatever_the_pods(original: Any) -> Any:
    def wanted_weight(situation: Any, status: Any, *rest: Any, **more: Any) -> Any:
        return _canary.weight_at(situation.steps, status.step_index, situation.weight_max)

    return wanted_weight


def no_limits(original: Any) -> Any:
    def basic_counts(wanted: int, weight: int, weight_max: int, within: Any, *rest: Any) -> Any:
        return original(wanted, weight, weight_max, type(within)(surge=wanted, unavailable=wanted), *rest)

    return basic_counts


@dataclass(frozen=True)
class Mutant:
    """A bug, and a tale that shows it.

    Attributes:
        lag: of the wire, in seconds.
    """

    mutate: Mutate
    tale: Callable[[World], Awaitable[None]]
    routing: Routing = Routing.WAYPOINT
    lag: float = 0.11

    def play(self) -> None:
        play(self.tale, routing=self.routing, behaviour=Behaviour(lag=(self.lag, self.lag)))


MUTANTS: dict[str, Mutant] = {
    "weights-before-pods": Mutant(instead("rollouts._traffic._canary_objection", always(None)), update),
    "overtaken-weight-counts": Mutant(instead("rollouts._traffic._is_overtaken", always(False)), older),
    "selector-before-weight-zero": Mutant(
        instead("rollouts.machine.switch", with_argument(is_clear=True)), newer, lag=10
    ),
    "pods-go-at-once": Mutant(instead("rollouts._scaling.leave", without_delay), abort),
    "accepted-is-applied": Mutant(instead("mesh_routing.routers._routes.hold", believed), update, lag=10),
    "clock-before-traffic": Mutant(instead("rollouts.machine.progress", with_argument(holds=True)), update, lag=10),
    "a-step-too-far": Mutant(instead("rollouts._traffic.weight_at", one_step_ahead), update),
    "abort-is-forgotten": Mutant(instead("rollouts._intake.aborted", for_ever_aborting), abort),
    "verdicts-are-ignored": Mutant(instead("rollouts._analysis.judge", always(_analysis.Verdict())), bad),
    "errors-are-good": Mutant(instead("analysis.providers._base.judge", good_anyway), missing, Routing.BASIC),
    "paused-goes-on": Mutant(instead("rollouts.machine.is_halted", always(False)), halted, Routing.BASIC),
    "no-limits": Mutant(instead("rollouts._replicas.basic_counts", no_limits), update, Routing.BASIC),
    "stable-never-moves": Mutant(instead("rollouts._services._switch", always((None, None))), update),
    "status-always-written": Mutant(instead("rollouts.reconciler.patch", never_empty), update, Routing.BASIC),
    "lost-pods-keep-their-weight": Mutant(instead("rollouts._traffic.wanted_weight", whatever_the_pods), lost),
    "fights-have-no-end": Mutant(
        instead("mesh_routing.routers._routes.healed_recently", always(())), fought, Routing.GATEWAY
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_a_bug_is_noticed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant = MUTANTS[name]
    mutant.mutate(monkeypatch)
    with pytest.raises(AssertionError) as noticed:
        mutant.play()
    text = "\n".join((str(noticed.value), *getattr(noticed.value, "__notes__", ())))
    assert "broke down" not in text, "the mutant is a crash, and no bug that could be missed"


@pytest.mark.parametrize("name", MUTANTS)
def test_without_the_bug_nothing_is_wrong(name: str) -> None:
    MUTANTS[name].play()

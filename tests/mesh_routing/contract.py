"""What every traffic router must do, as tests that an author of a plug-in can run against it.

    class TestMyRouter(RouterContract):
        def bench(self) -> RouterBench:
            return RouterBench(factory=MyRouting(tools), target=..., ...)

Each test asks for a bench of its own. The route begins with all weight at stable, and accepted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fairlead.core.errors import ClusterError, ProviderError, SpecError
from fairlead.core.traffic import Held, RouterFactory, TrafficRouter, TrafficSeen, TrafficTarget, Weights


@dataclass(kw_only=True)
class RouterBench:
    """A factory with a world around it.

    Attributes:
        factory: the one under test, made with a clock that stands still.
        target: with a valid block.
        invalid: blocks that cannot work.
        now: the clock's instant.
        history: the split after each write to the world, oldest first; None: a state that shows no split.
        requests: how many requests have been made to the cluster, of any kind.
        accept: lets the route's controller and the data plane take what is stored, and time pass until that is settled.
        tamper: gives the canary 77 in the stored route, as somebody else.
        remove: takes the route away; None if the router makes it anew.
    """

    factory: RouterFactory
    target: TrafficTarget
    now: Callable[[], datetime]
    history: list[Weights | None]
    requests: Callable[[], int]
    accept: Callable[[], Awaitable[None]]
    tamper: Callable[[], Awaitable[None]]
    remove: Callable[[], Awaitable[None]] | None = None
    invalid: tuple[Mapping[str, Any], ...] = field(default_factory=tuple)

    @property
    def router(self) -> TrafficRouter:
        """A new one for each look, as a rollout makes it."""
        return self.factory.router(self.target)

    def see(self) -> TrafficSeen:
        return self.router.observe(self.now())


class RouterContract(ABC):
    """Subclass it under a name that begins with `Test`."""

    @abstractmethod
    def bench(self) -> RouterBench:
        """Return a new bench."""

    def test_a_valid_block_is_valid(self) -> None:
        bench = self.bench()
        assert bench.factory.validate(bench.target) is None

    def test_an_invalid_block_is_named_without_a_request(self) -> None:
        bench = self.bench()
        assert bench.invalid, "give at least one block that cannot work"
        for config in bench.invalid:
            target = replace(bench.target, config=config)
            found = bench.factory.validate(target)
            assert found is not None, config
            assert found[1], "the error says what was found and what was expected"
            with pytest.raises(SpecError):
                bench.factory.router(target)
        assert bench.requests() == 0

    def test_observing_asks_nobody_and_changes_nothing(self) -> None:
        bench = self.bench()
        before = bench.requests()
        first, second = bench.see(), bench.see()
        assert first == second
        assert bench.requests() == before
        assert first.pods_kept >= timedelta(0)

    async def test_weights_that_are_set_are_seen(self) -> None:
        bench = self.bench()
        for canary in (20, 100, 0, 1):
            assert await bench.router.set_weights(Weights.of_canary(canary), in_progress=canary > 0)
            assert bench.see().weights == Weights.of_canary(canary)

    async def test_setting_them_again_writes_nothing(self) -> None:
        bench = self.bench()
        assert await bench.router.set_weights(Weights.of_canary(20), in_progress=True)
        before = len(bench.history)
        assert not await bench.router.set_weights(Weights.of_canary(20), in_progress=True)
        assert len(bench.history) == before

    async def test_both_weights_change_in_one_write(self) -> None:
        bench = self.bench()
        for canary in (20, 50, 0):
            before = len(bench.history)
            await bench.router.set_weights(Weights.of_canary(canary), in_progress=True)
            assert bench.history[before:] == [Weights.of_canary(canary)]

    async def test_what_has_just_been_written_is_not_held(self) -> None:
        bench = self.bench()
        await bench.accept()
        await bench.router.set_weights(Weights.of_canary(20), in_progress=True)
        assert not bench.see().holds
        bench.see()  # looking alone does not make it true
        assert not bench.see().holds

    async def test_what_is_accepted_and_taken_is_held(self) -> None:
        bench = self.bench()
        await bench.router.set_weights(Weights.of_canary(20), in_progress=True)
        bench.see()
        await bench.accept()
        assert (bench.see().holds, bench.see().weights) == (True, Weights.of_canary(20))

    async def test_foreign_edits_show_and_are_undone_a_few_times_only(self) -> None:
        bench = self.bench()
        await bench.router.set_weights(Weights.of_canary(20), in_progress=True)
        writes = 0
        for _ in range(20):
            await bench.tamper()
            assert bench.see().weights != Weights.of_canary(20)
            writes += await bench.router.set_weights(Weights.of_canary(20), in_progress=True)
        assert 1 <= writes <= 5
        assert bench.see().held is Held.CONFLICT
        assert bench.see().message
        # An abort is never withheld.
        assert await bench.router.set_weights(Weights.of_canary(0), in_progress=False)
        assert bench.history[-1] == Weights.of_canary(0)

    async def test_release_gives_stable_everything_and_has_an_end(self) -> None:
        bench = self.bench()
        await bench.router.set_weights(Weights.of_canary(20), in_progress=True)
        assert await bench.router.release()
        assert bench.history[-1] == Weights.of_canary(0)
        assert not await bench.router.release()

    async def test_a_missing_route_is_an_error_of_the_right_kind(self) -> None:
        bench = self.bench()
        if bench.remove is None:
            return  # it makes its route anew: nothing is ever missing
        await bench.remove()
        seen = bench.see()
        assert (seen.weights, seen.holds) == (None, False)
        assert seen.blocked
        with pytest.raises((ClusterError, ProviderError)):
            await bench.router.set_weights(Weights.of_canary(20), in_progress=True)
        assert not await bench.router.release()

    @pytest.mark.parametrize(
        "weights",
        [
            pytest.param(Weights(canary=120, stable=-20), id="negative"),
            pytest.param(Weights(canary=0, stable=0), id="all-zero"),
            pytest.param(Weights(canary=20, stable=20), id="not-the-total"),
        ],
    )
    async def test_impossible_weights_are_never_written(self, weights: Weights) -> None:
        bench = self.bench()
        before = len(bench.history)
        with pytest.raises((SpecError, ProviderError)):
            await bench.router.set_weights(weights, in_progress=True)
        assert len(bench.history) == before

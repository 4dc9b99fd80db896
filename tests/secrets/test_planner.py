"""Who asks a store what, and when, in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from fairlead.core.errors import FairleadError, ProviderError
from fairlead.secrets._planner import Planner
from fairlead.secrets._questions import Answer, Search, StoreHandle, Validation
from fairlead.secrets.actions import Urgency
from fairlead.secrets.settings import PlannerSettings
from fairlead.secrets.stores.port import (
    Denied,
    Document,
    FindQuery,
    NoSecret,
    RemoteRef,
    StoreUnavailable,
    Throttled,
    ValidationUnknown,
)
from fairlead.secrets.values import SecretBytes
from fairlead.testing.clock import EPOCH, LoopClock, run_virtual

MARKER = "m4rker-of-a-value"


@dataclass(frozen=True)
class Text:
    """A document that is one value."""

    text: bytes

    def value(self, property: str = "") -> SecretBytes:  # noqa: A002
        return SecretBytes(self.text)

    def entries(self, property: str = "") -> dict[str, SecretBytes]:  # noqa: A002
        return {"all": SecretBytes(self.text)}


Trouble = Callable[[str, int], Exception | None]


@dataclass
class Provider:
    """Opens stores and notes what they are asked: each call with its keys and its time."""

    clock: LoopClock
    latency: float = 0.05
    trouble: Trouble = lambda key, number: None
    opening: Callable[[int], Exception | None] = lambda number: None
    reads: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    finds: int = 0
    validations: int = 0
    opened: int = 0
    closed: int = 0
    attempts: int = 0
    extra_answers: int = 0
    concurrent: int = 0
    concurrent_max: int = 0

    async def open(self) -> Opened:
        self.attempts += 1
        await asyncio.sleep(0.01)
        if error := self.opening(self.attempts):
            raise error
        self.opened += 1
        return Opened(self)

    def handle(self, *, revision: str = "1", namespace: str = "", uid: str = "store") -> StoreHandle:
        return StoreHandle(uid=uid, revision=revision, namespace=namespace, open=self.open)

    @property
    def keys(self) -> list[str]:
        return [key for _, keys in self.reads for key in keys]


class Opened:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def read(self, refs: Sequence[RemoteRef]) -> list[Document | ProviderError]:
        provider = self._provider
        number = len(provider.reads)
        provider.reads.append((round(asyncio.get_running_loop().time(), 3), tuple(ref.key for ref in refs)))
        provider.concurrent += 1
        provider.concurrent_max = max(provider.concurrent_max, provider.concurrent)
        try:
            await asyncio.sleep(provider.latency)
        finally:
            provider.concurrent -= 1
        answers: list[Document | ProviderError] = []
        for ref in refs:
            error = provider.trouble(ref.key, number)
            if error is not None and not isinstance(error, ProviderError):
                raise error
            answers.append(error if error is not None else Text(f"{MARKER}-{ref.key}".encode()))
        return answers + answers[: provider.extra_answers]

    async def get(self, ref: RemoteRef) -> SecretBytes:
        raise AssertionError("the planner reads documents")

    async def get_map(self, ref: RemoteRef) -> dict[str, SecretBytes]:
        raise AssertionError("the planner reads documents")

    async def get_many(self, refs: Sequence[RemoteRef]) -> list[SecretBytes | ProviderError]:
        raise AssertionError("the planner reads documents")

    async def find(self, query: FindQuery) -> dict[str, SecretBytes]:
        self._provider.finds += 1
        await asyncio.sleep(self._provider.latency)
        return {query.name_regexp or "": SecretBytes(b"found")}

    async def validate(self) -> None:
        self._provider.validations += 1
        await asyncio.sleep(self._provider.latency)
        if error := self._provider.trouble("", 0):
            raise error

    async def close(self) -> None:
        self._provider.closed += 1


class World:
    def __init__(self, **settings: float) -> None:
        self.clock = LoopClock()
        self.provider = Provider(self.clock)
        self.back: list[float] = []
        self.planner = Planner(
            self.clock,
            settings=PlannerSettings(**settings),  # type: ignore[arg-type]  # numbers of either kind
            rng=random.Random(1),
            recovered=lambda uid: self.back.append(self.seconds),
        )

    @property
    def seconds(self) -> float:
        return round(self.clock.monotonic(), 3)

    async def ask(
        self,
        *keys: str,
        urgency: Urgency = Urgency.REFRESH,
        not_before: datetime | None = None,
        handle: StoreHandle | None = None,
    ) -> list[str]:
        """Ask for keys; answers as text: the value, or the class of the error."""
        answers = await self.planner.ask(
            handle or self.provider.handle(),
            [RemoteRef(key=key) for key in keys],
            urgency=urgency,
            not_before=not_before or self.clock.now(),
        )
        return [shown(answer) for answer in answers]


def shown(answer: Answer) -> str:
    if isinstance(answer, FairleadError):
        return type(answer).__name__
    assert isinstance(answer, Text)
    return answer.value().reveal().decode().removeprefix(f"{MARKER}-")


def told(story: Callable[[World], Awaitable[None]], **settings: float) -> None:
    async def main() -> None:
        world = World(**settings)
        await story(world)
        await world.planner.close()
        assert world.provider.closed == world.provider.opened
        assert world.planner.connections == 0

    run_virtual(main())


# -- sharing ----------------------------------------------------------------------------------------------------------


def test_one_call_per_distinct_key_whoever_asks() -> None:
    async def story(world: World) -> None:
        asked = [world.ask(f"key-{number % 200}") for number in range(1000)]
        answers = await asyncio.gather(*asked)
        assert answers == [[f"key-{number % 200}"] for number in range(1000)]
        assert sorted(world.provider.keys) == sorted({f"key-{number}" for number in range(200)})
        assert len(world.provider.reads) == 10, "twenty keys at a time, for providers that batch"
        assert world.provider.opened == 1

    told(story)


def test_an_answer_serves_those_who_come_a_little_later_if_it_is_young_enough_for_them() -> None:
    async def story(world: World) -> None:
        due_at = world.clock.now()
        await world.ask("a", not_before=due_at)
        await asyncio.sleep(1)
        await world.ask("a", not_before=due_at)
        assert world.provider.keys == ["a"]
        await world.ask("a", not_before=world.clock.now())
        assert world.provider.keys == ["a", "a"]

    told(story)


def test_who_needs_a_younger_value_than_the_one_on_its_way_gets_one() -> None:
    async def story(world: World) -> None:
        world.provider.latency = 1
        first = asyncio.create_task(world.ask("a"))
        await asyncio.sleep(0.5)
        second = asyncio.create_task(world.ask("a"))
        await asyncio.gather(first, second)
        assert [at for at, _ in world.provider.reads] == [0.03, 0.52]

    told(story)


def test_values_are_held_for_no_longer_than_they_are_shared() -> None:
    async def story(world: World) -> None:
        due_at = world.clock.now()
        await world.ask("a", "b")
        assert world.planner.kept == 2
        await asyncio.sleep(15.1)
        assert world.planner.kept == 0
        await world.ask("a", not_before=due_at)
        assert world.provider.keys == ["a", "b", "a"]

    told(story)


def test_a_first_sync_shares_its_reads_however_long_it_takes() -> None:
    async def story(world: World) -> None:
        created_at = world.clock.now()
        for number in range(1000):  # as a busy machine gets to them: those of one key come 18 s after each other
            await world.ask(f"key-{number % 200}", urgency=Urgency.FIRST, not_before=created_at)
            await asyncio.sleep(0.09)
        assert len(world.provider.keys) == 200
        await asyncio.sleep(15.1)
        assert world.planner.kept == 0, "and held for no longer than that"

    told(story)


def test_refreshes_and_validations_hold_no_value_for_longer() -> None:
    async def story(world: World) -> None:
        await world.ask("a", urgency=Urgency.FIRST)
        for number in range(20):
            await asyncio.sleep(1)
            await world.ask(f"other-{number}")
            assert await world.planner.validate(world.provider.handle()) is None
        held = world.planner.kept
        assert held <= 16
        await asyncio.sleep(15.1)
        assert world.planner.kept == 0

    told(story)


def test_a_search_is_asked_once_for_all() -> None:
    async def story(world: World) -> None:
        search = Search(None, "^a", (("team", "x"),))
        now = world.clock.now()
        both = [
            world.planner.ask(world.provider.handle(), (search,), urgency=Urgency.REFRESH, not_before=now)
            for _ in range(2)
        ]
        assert [
            [list(answer) if isinstance(answer, dict) else answer for answer in got]
            for got in await asyncio.gather(*both)
        ] == [[["^a"]], [["^a"]]]
        assert world.provider.finds == 1

    told(story)


def test_a_value_is_never_shared_between_identities() -> None:
    async def story(world: World) -> None:
        handles = [world.provider.handle(namespace=name) for name in ("shop", "blog", "shop")]
        await asyncio.gather(*(world.ask("a", handle=handle) for handle in handles))
        assert world.provider.keys == ["a", "a"]
        assert world.planner.connections == world.provider.opened == 2

    told(story)


# -- budget and lanes -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "burst"), [(10, 5), (100, 20), (3, 1)])
def test_invariant_42_the_rate_keeps_to_the_budget_in_every_window(rate: int, burst: int) -> None:
    async def story(world: World) -> None:
        await asyncio.gather(*(world.ask(f"first-{number}") for number in range(rate * 4)))
        await asyncio.sleep(30)  # a quiet time earns one burst and not more
        await asyncio.gather(*(world.ask(f"second-{number}") for number in range(rate * 4)))
        times = [at for at, keys in world.provider.reads for _ in keys]
        assert len(times) == rate * 8
        for start in times:
            for seconds in (1, 3):
                within = sum(start <= at < start + seconds for at in times)
                assert within <= rate * seconds + burst

    told(story, reads_per_second=rate, burst=burst)


def test_invariant_42_a_restart_earns_no_burst() -> None:
    async def main() -> None:
        clock = LoopClock()
        provider = Provider(clock)
        for _ in range(20):  # a crash loop, a restart each half second
            planner = Planner(clock, settings=PlannerSettings(reads_per_second=10, burst=20))
            handle = provider.handle()
            refs = [RemoteRef(key=f"key-{number}") for number in range(50)]
            asking = asyncio.create_task(planner.ask(handle, refs, urgency=Urgency.REFRESH, not_before=clock.now()))
            await asyncio.sleep(0.5)
            await planner.close()
            await asking
        assert len(provider.keys) <= 10 * 0.5 * 20
        assert provider.closed == provider.opened

    run_virtual(main())


def test_fifty_new_ones_do_not_wait_for_two_thousand_refreshes() -> None:
    async def story(world: World) -> None:
        refreshes = [asyncio.create_task(world.ask(f"old-{number}")) for number in range(2000)]
        await asyncio.sleep(3)

        async def first(number: int) -> float:
            asked_at = world.seconds
            await world.ask(f"new-{number}", urgency=Urgency.FIRST)
            return world.seconds - asked_at

        delays = sorted(await asyncio.gather(*(first(number) for number in range(50))))
        assert delays[25] < 0.8
        assert delays[49] < 1.2
        assert sum(task.done() for task in refreshes) < 1000
        await asyncio.gather(*refreshes)
        assert world.seconds < 25, "and the refreshes end in time all the same"

    told(story)


def test_a_refresh_that_somebody_waits_for_moves_up() -> None:
    async def story(world: World) -> None:
        slow = [asyncio.create_task(world.ask(f"old-{number}")) for number in range(100)]
        await asyncio.sleep(0.5)
        await world.ask("old-99", urgency=Urgency.FIRST)
        assert world.seconds < 2
        await asyncio.gather(*slow)
        assert world.provider.keys.count("old-99") == 1

    told(story, reads_per_second=10)


def test_slow_answers_are_asked_for_beside_each_other_but_not_without_bound() -> None:
    async def story(world: World) -> None:
        world.provider.latency = 10
        await asyncio.gather(*(world.ask(f"key-{number}") for number in range(200)))
        assert world.provider.concurrent_max == 4

    told(story, reads_per_second=1000)


# -- patience ---------------------------------------------------------------------------------------------------------


def test_retry_after_is_honoured_and_the_rate_falls() -> None:
    async def story(world: World) -> None:
        world.provider.trouble = lambda key, number: (
            Throttled("slow down", provider="fake", retry_after=30) if number == 0 else None
        )
        got = await asyncio.gather(*(world.ask(f"key-{number}") for number in range(100)))
        assert [answer for (answer,) in got] == [f"key-{number}" for number in range(100)]
        times = [at for at, _ in world.provider.reads]
        assert times[1] - times[0] >= 30
        assert times[-1] - times[1] > 80 / 60, "at half the rate, rising slowly"

    told(story)


def test_a_store_that_keeps_saying_429_is_reported_in_the_end() -> None:
    async def story(world: World) -> None:
        world.provider.trouble = lambda key, number: Throttled("slow down", provider="fake")
        assert await world.ask("a") == ["Throttled"]
        assert len(world.provider.reads) == 4

    told(story)


def test_an_absurd_retry_after_is_cut_and_those_who_wait_are_told_why() -> None:
    async def story(world: World) -> None:
        world.provider.trouble = lambda key, number: (
            Throttled("slow down", provider="fake", retry_after=10**9) if number == 0 else None
        )
        assert await world.ask("a") == ["Throttled"]
        assert world.seconds == pytest.approx(120, abs=1)
        await asyncio.sleep(181)
        assert await world.ask("a") == ["a"]

    told(story)


def test_an_outage_costs_one_probe_at_a_time_and_ends_for_all() -> None:
    async def story(world: World) -> None:
        is_down = True

        def trouble(key: str, number: int) -> Exception | None:
            return StoreUnavailable("connection refused", provider="fake") if is_down else None

        world.provider.trouble = trouble
        keys = [f"key-{number}" for number in range(200)]
        while world.seconds < 600:
            got = await asyncio.gather(*(world.ask(key) for key in keys))
            assert {answer for (answer,) in got} == {"StoreUnavailable"}
            await asyncio.sleep(2)
        assert len(world.provider.reads) <= 3 + 600 / 15 + 10
        assert world.provider.closed >= world.provider.opened - 1, "each failed connection is logged out of"
        is_down = False
        await asyncio.sleep(31)
        began = world.seconds
        count = len(world.provider.keys)
        await world.ask("probe")
        assert world.back == [world.seconds]
        await asyncio.gather(*(world.ask(key) for key in keys))
        assert world.seconds - began >= (len(world.provider.keys) - count - 20) / 100

    told(story)


def test_a_probe_goes_alone() -> None:
    async def story(world: World) -> None:
        world.provider.trouble = lambda key, number: StoreUnavailable("down", provider="fake") if number < 3 else None
        for _ in range(3):
            await world.ask("a")
        await asyncio.sleep(5)
        await asyncio.gather(*(world.ask(f"key-{number}") for number in range(40)))
        assert [len(keys) for _, keys in world.provider.reads[:4]] == [1, 1, 1, 1]

    told(story)


def test_a_validation_may_ask_a_store_that_is_down() -> None:
    async def story(world: World) -> None:
        is_down = True

        def trouble(key: str, number: int) -> Exception | None:
            return StoreUnavailable("sealed", provider="fake") if is_down else None

        world.provider.trouble = trouble
        for _ in range(3):
            assert await world.ask("a") == ["StoreUnavailable"]
        is_down = False
        assert await world.planner.validate(world.provider.handle()) is None
        assert world.back, "those who failed are told"
        assert await world.ask("a") == ["a"]

    told(story)


def test_one_bad_key_does_not_close_a_store() -> None:
    async def story(world: World) -> None:
        errors = {
            "denied": Denied("403", provider="fake"),
            "gone": NoSecret(provider="fake"),
            "odd": StoreUnavailable("500", provider="fake"),
        }
        world.provider.trouble = lambda key, number: errors.get(key)
        for _ in range(10):
            assert await world.ask("denied", "gone", "odd", "fine") == [
                "Denied",
                "NoSecret",
                "StoreUnavailable",
                "fine",
            ]

    told(story)


def test_a_spec_that_changes_is_tried_at_once() -> None:
    async def story(world: World) -> None:
        world.provider.trouble = lambda key, number: StoreUnavailable("down", provider="fake") if number < 3 else None
        for _ in range(3):
            await world.ask("a")
        assert await world.ask("a") == ["StoreUnavailable"]
        assert await world.ask("a", handle=world.provider.handle(revision="2")) == ["a"]
        await asyncio.sleep(1)
        assert world.planner.connections == 1

    told(story)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        pytest.param(Denied("login failed", provider="fake"), "Denied", id="denied"),
        pytest.param(KeyError(MARKER), "StoreUnavailable", id="bug-of-a-plug-in"),
    ],
)
def test_a_store_that_cannot_be_opened(error: Exception, name: str) -> None:
    async def story(world: World) -> None:
        world.provider.opening = lambda number: error if number <= 2 else None
        assert await world.ask("a", "b") == [name, name]
        assert await world.ask("a") == [name]
        assert await world.ask("a") == ["a"]

    told(story)


def test_a_bug_of_a_plug_in_shows_no_value_and_stalls_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    async def story(world: World) -> None:
        world.provider.trouble = lambda key, number: ValueError(f"cannot parse {MARKER}")
        (answer,) = await world.planner.ask(
            world.provider.handle(), [RemoteRef(key="a")], urgency=Urgency.FIRST, not_before=EPOCH
        )
        assert isinstance(answer, StoreUnavailable)
        assert MARKER not in str(answer)

    told(story)
    assert MARKER not in capsys.readouterr().out


def test_half_an_answer_is_none() -> None:
    async def story(world: World) -> None:
        world.provider.extra_answers = 1
        assert await world.ask("a", "b") == ["StoreUnavailable", "StoreUnavailable"]

    told(story)


def test_a_call_without_an_answer_ends() -> None:
    async def story(world: World) -> None:
        world.provider.latency = 10**6
        assert await world.ask("a") == ["StoreUnavailable"]
        assert world.seconds == pytest.approx(60, abs=1)

    told(story)


# -- connections ------------------------------------------------------------------------------------------------------


def test_invariant_43_one_login_however_many_refreshes_and_none_left_at_the_end() -> None:
    async def story(world: World) -> None:
        for _ in range(50):
            await world.ask("a", "b", "c")
            await asyncio.sleep(60)
        assert (world.provider.attempts, world.planner.connections) == (1, 1)

    told(story)


def test_rotated_credentials_are_picked_up_and_a_key_that_is_denied_costs_a_login_a_minute_at_most() -> None:
    async def story(world: World) -> None:
        rotated = 0

        def trouble(key: str, number: int) -> Exception | None:
            is_refused = key == "denied" or world.provider.opened <= rotated
            return Denied("403", provider="fake") if is_refused else None

        world.provider.trouble = trouble
        assert await world.ask("a") == ["a"]
        rotated = 1
        await asyncio.sleep(100)
        assert await world.ask("a", "b") == ["Denied", "Denied"]
        assert await world.ask("a", "b") == ["a", "b"]
        for _ in range(100):
            await asyncio.sleep(6)
            assert await world.ask("denied") == ["Denied"]
            assert await world.ask("a", "denied") == ["a", "Denied"]
        assert world.provider.opened <= 2 + 10
        assert world.planner.connections <= 1

    told(story)


def test_an_idle_connection_is_closed_and_opened_again() -> None:
    async def story(world: World) -> None:
        await world.ask("a")
        await asyncio.sleep(1000)
        assert (world.provider.closed, world.planner.connections) == (1, 0)
        await world.ask("a")
        assert world.provider.opened == 2

    told(story)


def test_a_store_that_is_gone_is_logged_out_of() -> None:
    async def story(world: World) -> None:
        world.provider.latency = 100
        asking = asyncio.create_task(world.ask("a"))
        await asyncio.sleep(1)
        await world.planner.forget("store")
        assert await asking == ["StoreUnavailable"]
        assert world.provider.closed == 1
        await world.planner.forget("store")

    told(story)


def test_at_the_end_those_who_wait_are_told() -> None:
    async def story(world: World) -> None:
        asking = [asyncio.create_task(world.ask(f"key-{number}")) for number in range(100)]
        await asyncio.sleep(0.2)
        await world.planner.close()
        got = [answer for (answer,) in await asyncio.gather(*asking)]
        assert "StoreUnavailable" in got
        assert await world.ask("late") == ["StoreUnavailable"]

    told(story)


def test_validation_that_cannot_be_told_is_no_failure_of_the_store() -> None:
    async def story(world: World) -> None:
        world.provider.trouble = lambda key, number: ValidationUnknown("no idea", provider="fake") if not key else None
        for _ in range(5):
            assert isinstance(await world.planner.validate(world.provider.handle()), ValidationUnknown)
        assert await world.ask("a") == ["a"]
        assert world.provider.validations == 5
        assert Validation() == Validation()

    told(story)


def test_who_stops_waiting_takes_nobody_along() -> None:
    async def story(world: World) -> None:
        impatient = asyncio.create_task(world.ask("a"))
        patient = asyncio.create_task(world.ask("a"))
        await asyncio.sleep(0.01)
        impatient.cancel()
        assert await patient == ["a"]
        assert (await asyncio.gather(impatient, return_exceptions=True))[0].__class__ is asyncio.CancelledError

    told(story)


def test_now_means_now() -> None:
    """A value that was read before somebody asked for the value of this moment is not that."""

    async def story(world: World) -> None:
        await world.ask("a")
        await asyncio.sleep(0.5)
        await world.ask("a", not_before=world.clock.now() - timedelta(seconds=0.1))
        assert world.provider.keys == ["a", "a"]

    told(story)

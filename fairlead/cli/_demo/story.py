"""The story: a good version that becomes stable, a bad one that is stopped by what Envoy counts, and further acts."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TextIO

import aiohttp

from fairlead import __version__
from fairlead.cli._demo import facts as facts_
from fairlead.cli._demo import manifests
from fairlead.cli._demo.acts import FIRST_NUMBER, SideAct, facts_of, side_acts
from fairlead.cli._demo.facts import REQUESTS_MIN, Facts
from fairlead.cli._demo.manifests import (
    APEX,
    BAD,
    CANARY,
    FAIL_RATIO,
    FIRST,
    GOOD,
    ROLLOUT,
    SECRET,
    STABLE,
    WEIGHTS,
    Pace,
)
from fairlead.cli._demo.screen import WIDTH, Screen
from fairlead.cli._demo.stage import DRAIN_SECONDS, Stage, stage
from fairlead.cli._demo.vault import Vault, vault
from fairlead.cli._demo.witness import Act, Witness
from fairlead.controller.explain import explain_rollout
from fairlead.core.errors import FairleadError, ProviderError
from fairlead.core.kinds import SERVICES
from fairlead.core.objects import ObjectKey
from fairlead.testing._waypoint_status import WAYPOINT_BOUND
from fairlead.testing.envoy import BackendCounts, backend_counts
from fairlead.testing.load import LoadCounts, LoadGenerator

LOAD_TOTAL_MAX = 60_000
SECOND_TOTAL = 3000
LOOK_SECONDS = 0.05
NUMBERS_SECONDS = 2.0
WAITS_SECONDS = 0.5
KEEP_RATE = 10
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven")
NOTHING = LoadCounts(answers={})


class _TooLate(FairleadError):
    """Something that the story needs did not happen in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How the demo is to run."""

    pace: Pace
    seed: int
    keep: bool
    live: bool


async def play(options: Options, stream: TextIO) -> Facts:
    """Run the demo and return what it has found out.

    Raises:
        ProviderError: a part did not start.
    """
    with tempfile.TemporaryDirectory(prefix="fairlead-demo-", ignore_cleanup_errors=True) as folder:
        loop = asyncio.get_running_loop()
        began = loop.time()
        width = shutil.get_terminal_size().columns - 1 if options.live else WIDTH
        screen = Screen(stream, lambda: loop.time() - began, live=options.live, width=width)
        screen.plain(f"fairlead {__version__}: reference controller, real Envoy, one server per pod; all on loopback")
        # The store ends after the controller, which logs out of it.
        async with AsyncExitStack() as around, stage(Path(folder), options.pace, options.seed) as found:
            store = await around.enter_async_context(vault(Path(folder), found))
            story = _Story(found, screen, options, store)
            facts = replace(await story.tell(), seconds=loop.time() - began)
            _show(facts, screen)
            if options.keep:
                await _keep(found, screen)
            return facts


def _show(facts: Facts, screen: Screen) -> None:
    screen.title(f"Facts after {facts.seconds:.0f} s")
    screen.plain(*facts_.table(facts))
    found = facts_.problems(facts)
    screen.plain("", "All of this holds." if not found else "This does not hold:", *(f"  - {one}" for one in found))


async def _keep(found: Stage, screen: Screen) -> None:
    load = found.load(KEEP_RATE, LOAD_TOTAL_MAX)
    loading = asyncio.create_task(load.run())
    screen.plain(
        "",
        f"All of it keeps running, with {KEEP_RATE} requests a second, until Ctrl-C:",
        f"  export KUBECONFIG={found.kubeconfig}",
        f"  curl -i http://127.0.0.1:{found.port}/",
        f"  fairlead get rollout {ROLLOUT.name} -n {ROLLOUT.namespace} --watch",
        f"  fairlead explain rollout/{ROLLOUT.name} -n {ROLLOUT.namespace}",
        f"  fairlead explain externalsecret/{SECRET.name} -n {SECRET.namespace}",
    )
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None:
            task.uncancel()  # this is how it is meant to end: the facts decide about the exit code
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)


class _Story:
    def __init__(self, found: Stage, screen: Screen, options: Options, store: Vault) -> None:
        self._stage = found
        self._screen = screen
        self._pace = options.pace
        self._began_at = found.clock.now() - timedelta(seconds=screen.seconds)
        self._load = found.load(self._pace.rate, LOAD_TOTAL_MAX)
        self._bursts: list[tuple[LoadGenerator, asyncio.Task[LoadCounts]]] = []
        self._acts = (Act(1, GOOD, WEIGHTS), Act(2, BAD, (WEIGHTS[0], 0)))
        self._witness = Witness(found, screen, self._began_at, self._burst)
        self._sides = side_acts(found, screen, store)
        self._played = 0  # of them
        self._is_promoted = False
        self._verdict = ""
        self._is_aborted = False

    async def tell(self) -> Facts:
        """Play all acts; what goes wrong ends the story early and is among the facts."""
        broken = ""
        async with self._helpers():
            try:
                await self._prologue()
                await self._act_one()
                await self._act_two()
                for number, act in enumerate(self._sides, start=FIRST_NUMBER):
                    await self._side_act(number, act)
            except (_TooLate, ProviderError) as error:
                broken = str(error)
                self._screen.say("demo", broken)
        return self._facts(broken)

    @asynccontextmanager
    async def _helpers(self) -> AsyncIterator[None]:
        running = [
            asyncio.create_task(part) for part in (self._witness.run(), self._show_numbers(), self._show_waits())
        ]
        try:
            yield
        finally:
            loads = [task for _, task in self._bursts]
            for task in (*running, *loads):
                task.cancel()
            await asyncio.gather(*running, *loads, return_exceptions=True)

    # --- the acts ------------------------------------------------------------------------------------------------

    async def _prologue(self) -> None:
        found, pace = self._stage, self._pace
        say = self._screen.say
        say("demo", f"export KUBECONFIG={found.kubeconfig}   # to look with kubectl")
        say("demo", f"Service web answers on 127.0.0.1:{found.port}, through Envoy (process {found.envoy.pid})")
        say("demo", f"the controller is process {found.controller.pid}")
        say("demo", f"evidence that weights are in force: Envoy's config_dump; drain: {DRAIN_SECONDS} s")
        say("demo", f"analysis asks {found.source}")
        found.apply(*manifests.surroundings(found.metric))
        for act in self._sides:
            await act.prepare()
        await self._until("the waypoint is ready", self._is_bound, 10)
        found.apply(manifests.rollout(FIRST, pace))
        say("demo", f"applied: Rollout {ROLLOUT} in version {FIRST}, 4 pods")
        await self._until(f"version {FIRST} is healthy", lambda: self._phase() == "Healthy", 30)
        await self._until("its route is in force", self._is_verified, 10)
        await self._until("Envoy answers", self._answers, 10)
        self._bursts.append((self._load, asyncio.create_task(self._load.run())))
        say("demo", f"load: {pace.rate} requests a second from now on")

    async def _act_one(self) -> None:
        await asyncio.sleep(2 * LOOK_SECONDS)  # what has happened is shown first
        self._screen.title(f"Act one: version {GOOD} is good, and goes {' -> '.join(map(str, WEIGHTS))}")
        await self._release(self._acts[0], manifests.rollout(GOOD, self._pace))
        steps = len(WEIGHTS) * (self._pace.pause + 10)
        await self._until(f"version {GOOD} is stable", lambda: self._phase() in ("Healthy", "Degraded"), steps)
        if self._phase() != "Healthy":
            raise _TooLate(f"the good version was stopped: {self._status().get('message')}")
        self._is_promoted = self._status().get("stableRS") == self._status().get("currentPodHash")

    async def _act_two(self) -> None:
        await asyncio.sleep(2 * LOOK_SECONDS)
        self._screen.title(f"Act two: version {BAD} fails {100 * FAIL_RATIO:.0f} % of its requests")
        if self._stage.counts_for_ever:
            await self._stage.reset_counters()
            self._screen.say("demo", "Envoy's counters begin at 0 again: they are asked without Prometheus")
        act = self._acts[1]
        await self._release(act, manifests.rollout(BAD, self._pace, fail_ratio=FAIL_RATIO))
        seconds = self._pace.initial_delay + 8 * self._pace.interval + 20
        await self._until(f"version {BAD} is stopped", lambda: self._phase() in ("Healthy", "Degraded"), seconds)
        self._is_aborted = self._status().get("abort") is True
        self._verdict = str(self._status().get("message", ""))
        await self._until("the traffic has returned", lambda: len(act.windows) == len(act.wanted), 20)
        last = act.windows[-1]
        await self._until(f"{REQUESTS_MIN} requests at weight 0", lambda: last.first is not None, 20)
        last.close(self._witness.counts())

    async def _side_act(self, number: int, act: SideAct) -> None:
        await asyncio.sleep(2 * LOOK_SECONDS)
        self._screen.title(f"Act {_WORDS[number]}: {act.title}")
        self._witness.act = None  # it is not about the canaries any more
        self._played += 1
        await act.play(lambda what, holds, seconds: self._until(what, holds, seconds, act))

    async def _release(self, act: Act, rollout: manifests.Json) -> None:
        """Apply a version, and return once the controller has taken note of it."""
        self._witness.act = act
        self._stage.apply(rollout)
        self._screen.say("demo", f"applied: Rollout {ROLLOUT} in version {act.version}")
        before = self._status().get("currentPodHash")
        await self._until("the controller notices", lambda: self._status().get("currentPodHash") != before, 10)

    # --- looking -------------------------------------------------------------------------------------------------

    def _status(self) -> manifests.Json:
        status: manifests.Json = self._witness.rollout().get("status") or {}
        return status

    def _phase(self) -> str:
        """Return the phase, as far as it is about what is applied now."""
        rollout, status = self._witness.rollout(), self._status()
        observed = str(status.get("observedGeneration", ""))
        return str(status.get("phase", "")) if observed == str(rollout["metadata"]["generation"]) else ""

    def _is_verified(self) -> bool:
        weights = (self._status().get("canary") or {}).get("weights") or {}
        return weights.get("verified") is True

    def _is_bound(self) -> bool:
        """Whether the control plane has said that the Service has a waypoint."""
        service = self._stage.cluster.read(SERVICES, APEX) or {}
        conditions = (service.get("status") or {}).get("conditions") or []
        return any(one["type"] == WAYPOINT_BOUND and one["status"] == "True" for one in conditions)

    def _answers(self) -> bool:
        """Whether a client gets an answer by now (looked at in the background)."""
        if not self._bursts:
            probe = self._stage.load(20, 1)
            self._bursts.append((probe, asyncio.create_task(probe.run())))
            return False
        probe, task = self._bursts[-1]
        if not task.done():
            return False
        self._bursts.clear()
        return any(answer.version == FIRST and answer.status == 200 for answer in probe.counts().answers)

    async def _until(self, what: str, holds: Callable[[], bool], seconds: float, act: SideAct | None = None) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while not holds():
            self._stage.check()
            if loop.time() >= until:
                who, waits = ("Rollout", self._waits) if act is None else (act.subject, act.waits)
                raise _TooLate(f"after {seconds:g} s it is not true that {what}; the {who} waits for: {await waits()}")
            await asyncio.sleep(LOOK_SECONDS)

    async def _waits(self) -> str:
        """Return what the Rollout waits for, as `fairlead explain` does; empty: for nothing."""
        found = await explain_rollout(self._stage.cluster, self._stage.clock, ROLLOUT)
        blocked = found.blocked_on if found is not None else None
        return blocked.what + (f"; then {blocked.next}" if blocked.next else "") if blocked is not None else ""

    async def _show_waits(self) -> None:
        """Show what the Rollout waits for, whenever that changes."""
        shown = ""
        while True:
            await asyncio.sleep(WAITS_SECONDS)
            what = await self._waits() if self._witness.act is not None else ""
            if what and what != shown:
                self._screen.say("waits for", what)
            shown = what

    async def _show_numbers(self) -> None:
        """Show how things stand, again and again."""
        before: Mapping[ObjectKey, BackendCounts] = {}
        while True:
            await asyncio.sleep(NUMBERS_SECONDS)
            try:
                after = await backend_counts(self._stage.envoy.admin)
            except (aiohttp.ClientError, TimeoutError, ProviderError) as error:
                self._screen.say("envoy", f"does not tell its counters: {error}")
                continue
            act = self._witness.act
            if act is not None and act.window is not None:
                window = act.window
                sample = window.sample(self._witness.counts(), window.began)
                rates = [_success(before.get(key), after.get(key)) for key in (CANARY, STABLE)]
                share = (
                    f"{window.wanted} % wanted, {100 * sample.share:.1f} % of {sample.total} counted by the backends"
                )
                self._screen.numbers("share", f"{share}; success: canary {rates[0]}, stable {rates[1]}")
            before = after

    def _burst(self) -> None:
        load = self._stage.load(self._pace.burst, SECOND_TOTAL)
        self._bursts.append((load, asyncio.create_task(load.run())))

    # --- the end -------------------------------------------------------------------------------------------------

    def _facts(self, broken: str) -> Facts:
        counts = [load.counts() for load, _ in self._bursts]
        answers = [pair for one in counts for pair in one.answers.items()]
        failed_bad = sum(number for answer, number in answers if answer.status >= 500 and answer.version == BAD)
        api, wire = self._zero()
        return Facts(
            steps=tuple(step for act in self._acts for step in act.steps()),
            requests=sum(one.total for one in counts),
            lost=sum(one.lost for one in counts),
            losses=tuple(loss for one in counts for loss in one.losses),
            failed_bad=failed_bad,
            failed_other=sum(one.failed for one in counts) - failed_bad,
            is_promoted=self._is_promoted,
            is_aborted=self._is_aborted,
            verdict=self._verdict,
            zero_in_api=api,
            zero_on_wire=wire,
            source=self._stage.source,
            sides=facts_of(self._sides, self._played),
            settings={**self._pace.as_json(), "drainSeconds": DRAIN_SECONDS},
            troubles=tuple(self._witness.troubles),
            broken=broken,
        )

    def _zero(self) -> tuple[float | None, float | None]:
        """Return the seconds from the failing measurement that decided to weight 0, in the API and on the wire."""
        act = self._acts[1]
        if act.zero_at is None or act.failed_at is None:
            return None, None
        wire = None
        if len(act.windows) == len(act.wanted) and act.last_request_at is not None:
            wire = max(0.0, (act.last_request_at - act.failed_at).total_seconds())
        return (act.zero_at - act.failed_at).total_seconds(), wire


def _success(before: BackendCounts | None, after: BackendCounts | None) -> str:
    """Return the share of good answers between two looks, for people."""
    before, after = before or BackendCounts(), after or BackendCounts()
    answers = after.answers - before.answers
    failed = after.answers_5xx - before.answers_5xx
    return f"{100 * (answers - failed) / answers:.1f} %" if answers > 0 else "-"

"""A small world for the reconciler: a cluster in memory, virtual time, the real loop, and obedient metric sources."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from fairlead.analysis._measuring import DEFAULTS, MeasuringSettings
from fairlead.analysis.ports import MetricProvider, Question
from fairlead.analysis.reconciler import AnalysisRunReconciler
from fairlead.analysis.spec import Metric
from fairlead.analysis.status import AnalysisRunStatus, Measurement, Phase, decode_status
from fairlead.analysis.triggers import JOB_UID_LABEL, runs_of_job
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.decision import Event
from fairlead.core.errors import NotFound
from fairlead.core.kinds import ANALYSIS_RUNS, JOBS, AnalysisRun
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.runtime.informers import Informers, feed, own_key
from fairlead.runtime.loop import Controller
from fairlead.runtime.workqueue import WorkQueue
from fairlead.testing.clock import EPOCH, LoopClock
from fairlead.testing.cluster import SimulatedCluster

KEY = ObjectKey("shop", "run")
Answer = Measurement | Exception | str
Script = Callable[[Question], Awaitable[Answer]]


def answer(letter: str, **fields: Any) -> Measurement:
    phases = {"S": Phase.SUCCESSFUL, "F": Phase.FAILED, "I": Phase.INCONCLUSIVE, "E": Phase.ERROR, "R": Phase.RUNNING}
    return Measurement(phase=phases[letter[0]], message=letter[2:], **fields)


@dataclass
class Sources:
    """Every metric source at once: each metric answers by its script; asks are noted with their time.

    A script is a list of letters (the last one repeats) or a coroutine function.
    """

    clock: LoopClock
    scripts: dict[str, Sequence[str] | Script] = field(default_factory=dict)
    asked: list[tuple[str, str, float]] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    resumes: Script | None = None
    terminates: Script | None = None
    collected: list[tuple[str, int]] = field(default_factory=list)
    collecting: Exception | None = None
    shown: dict[str, str] = field(default_factory=dict)

    def provider(self, metric: Metric) -> MetricProvider:
        return self

    def metadata(self, metric: Metric) -> dict[str, str]:
        return self.shown

    async def measure(self, question: Question) -> Measurement:
        script = self.scripts.get(question.metric.name, ["S"])
        if callable(script):
            return await self._ask("measure", question, script)
        turn = sum(1 for verb, name, _ in self.asked if (verb, name) == ("measure", question.metric.name))
        letter = script[min(turn, len(script) - 1)]

        async def scripted(_: Question) -> Answer:
            return letter

        return await self._ask("measure", question, scripted)

    async def resume(self, question: Question, measurement: Measurement) -> Measurement:
        assert self.resumes is not None
        return await self._ask("resume", question, self.resumes)

    async def terminate(self, question: Question, measurement: Measurement) -> Measurement:
        assert self.terminates is not None
        return await self._ask("terminate", question, self.terminates)

    async def garbage_collect(self, question: Question, measurements: Sequence[Measurement]) -> None:
        self.collected.append((question.metric.name, len(measurements)))
        if self.collecting is not None:
            raise self.collecting

    async def _ask(self, verb: str, question: Question, script: Script) -> Measurement:
        at = round((self.clock.now() - EPOCH).total_seconds(), 3)
        self.asked.append((verb, question.metric.name, at))
        self.questions.append(question)
        try:
            given = await script(question)
        except asyncio.CancelledError:
            self.cancelled.append(question.metric.name)
            raise
        if isinstance(given, Exception):
            raise given
        return answer(given) if isinstance(given, str) else given

    def times(self, name: str, verb: str = "measure") -> list[float]:
        """When a metric was asked, in seconds."""
        return [at for asked, metric, at in self.asked if (asked, metric) == (verb, name)]


@dataclass
class Notes:
    """An event recorder that only keeps what it is told."""

    events: list[Event] = field(default_factory=list)

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        self.events.append(event)

    @property
    def reasons(self) -> list[str]:
        return [event.reason for event in self.events]


class World:
    """The cluster and what one controller of analysis runs needs; `controller()` starts one, as often as one likes."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = SimulatedCluster(self.clock)
        self.sources = Sources(self.clock)
        self.notes = Notes()
        self.writes: list[tuple[float, dict[str, Any]]] = []  # committed updates of runs: when, and the whole object
        self._written = asyncio.Event()
        self.cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}])
        self.cluster.on_commit(self._committed)

    def _committed(self, verb: str, resource: Any, old: Any, new: Any) -> None:
        self._written.set()
        if resource.plural == "analysisruns" and verb == "update" and old.get("status") != new.get("status"):
            self.writes.append((self.seconds, msgspec.json.decode(msgspec.json.encode(new))))

    @property
    def seconds(self) -> float:
        return round((self.clock.now() - EPOCH).total_seconds(), 3)

    def create(self, *metrics: dict[str, Any], name: str = "run", **spec: Any) -> None:
        """Create a run of metrics named a, b, c..., which ask the web unless they say otherwise."""
        named = [
            {"name": chr(ord("a") + index), "provider": {"web": {"url": "http://shop"}}, **metric}
            for index, metric in enumerate(metrics)
        ]
        body = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisRun",
            "metadata": {"name": name, "namespace": "shop"},
            "spec": {"metrics": named, **spec},
        }
        self.cluster.apply([body], namespace="shop")

    def secret(self, name: str, **data: str) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "namespace": "shop"},
            "stringData": data,
        }
        self.cluster.apply([body], namespace="shop")

    async def patch(self, body: dict[str, Any]) -> None:
        """Merge-patch the run, as kubectl does."""
        await self.cluster.as_manager("kubectl").patch(ANALYSIS_RUNS, KEY, MergePatch(body))

    async def run(self) -> AnalysisRun | None:
        try:
            return await self.cluster.get(ANALYSIS_RUNS, KEY)
        except NotFound:
            return None

    async def status(self) -> AnalysisRunStatus:
        run = await self.run()
        assert run is not None
        return decode_status(run.status)

    async def reached(self) -> tuple[str, str]:
        status = await self.status()
        return str(status.phase), status.message

    async def until_completed(self, *, seconds: float = 10_000) -> AnalysisRunStatus:
        """Let time pass until the stored run is completed."""
        async with asyncio.timeout(seconds):
            while not (status := await self.status()).is_completed:
                self._written.clear()
                await self._written.wait()
        return status

    @asynccontextmanager
    async def controller(
        self, cluster: Cluster | None = None, *, settings: MeasuringSettings = DEFAULTS, is_cached: bool = True
    ) -> AsyncIterator[AnalysisRunReconciler]:
        """Run a controller over the given cluster (by default this one) until the block ends, as a crash ends it.

        With `is_cached` False its own writes reach it by the watch only, as in somebody's own controller.
        """
        informers = Informers(cluster or self.cluster, self.clock)
        runs = informers.add(ANALYSIS_RUNS)
        jobs = informers.add(JOBS, label_selector=JOB_UID_LABEL)
        queue: WorkQueue[ObjectKey] = WorkQueue(self.clock)
        feed(runs, queue, own_key)
        feed(jobs, queue, runs_of_job)
        reconciler = AnalysisRunReconciler(
            informers.cluster if is_cached else cluster or self.cluster,
            runs,
            self.sources,
            self.clock,
            recorder=self.notes,
            wake=queue.add,
            jobs=jobs,
            announcer=runs if is_cached else None,
            settings=settings,
        )
        controller = Controller("AnalysisRun", queue, reconciler.reconcile, clock=self.clock, workers=2)
        self.seen = runs
        tasks = [asyncio.create_task(informers.run()), asyncio.create_task(controller.run())]
        try:
            await informers.wait_synced()
            yield reconciler
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await reconciler.close(store=False)


def after(seconds: float, given: Answer) -> Script:
    """A script that answers after a while."""

    async def script(_: Question) -> Answer:
        await asyncio.sleep(seconds)
        return given

    return script


async def never(_: Question) -> Answer:
    """A script that does not answer."""
    await asyncio.sleep(10**9)
    raise AssertionError("time stood still")


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(seconds=seconds)

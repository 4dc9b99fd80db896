"""The whole reference controller in a simulated world: cluster, built-in controllers, kubelet, waypoint, wire.

    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60)))
        await world.update(2)
        await world.rest()

    play(tale, routing=Routing.WAYPOINT)

Everything happens under virtual time, and all of it follows from a seed. Each committed write goes to a `Story`,
which checks every invariant of `invariants.py` on it; `play` fails when one was broken.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, TypeVar

from fairlead.analysis._expressions import Value
from fairlead.analysis.ports import Question
from fairlead.analysis.providers import ProviderTools
from fairlead.analysis.providers._base import OneCallProvider, failed
from fairlead.analysis.status import Measurement
from fairlead.controller.metrics import ControllerMetrics
from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.core import errors
from fairlead.core.cluster import Cluster, JsonPatch, MergePatch
from fairlead.core.decision import Blocker
from fairlead.core.forwarding import Write
from fairlead.core.kinds import ANALYSIS_RUNS, EVENTS, PODS, REPLICA_SETS, ROLLOUTS
from fairlead.core.objects import Kind, ObjectKey
from fairlead.core.objects import T as K
from fairlead.rollouts import commands
from fairlead.rollouts.commands import Command
from fairlead.testing._wire import WireState
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.faults import Faults, FaultyCluster, Killed, KillingCluster, KillPoint
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.waypoint import Behaviour, MemoryWire, WaypointTranslator
from fairlead.testing.workloads import Workloads
from tests.simulation.invariants import check, check_at_rest
from tests.simulation.manifests import KNOBS, NAMESPACE, WEB, Doc, Routing, pod_template, surroundings
from tests.simulation.story import Commit, Story

A = TypeVar("A")
T = TypeVar("T")
Answer = float | Exception | None
Script = Callable[[int], Answer]
Tale = Callable[["World"], Awaitable[T]]

CONTROLLER = "controller"
PATIENCE_SECONDS = 600.0
_ACTOR: contextvars.ContextVar[str] = contextvars.ContextVar("actor", default="user")
_KUBELET = KubeletSettings(nodes=("node-1",), lease_seconds=None, node_status_seconds=1e9)


class MemoryProvider(OneCallProvider):
    """A metric source without a source: asks the world's script."""

    def __init__(self, tools: ProviderTools, world: World) -> None:
        super().__init__(tools)
        self._world = world

    async def measure(self, question: Question) -> Measurement:
        started_at = self.tools.clock.now()
        answer = self._world.script(question.number)
        self._world.asked.append((started_at, question.run.name, question.number))
        if isinstance(answer, Exception):
            return failed(str(answer), started_at)
        return self.judged(question.metric, Value.json(answer), str(answer), started_at, {})


class RecordingWire(MemoryWire):
    """A wire in memory that tells what it routes by whenever that changes."""

    def __init__(self, tell: Callable[[Mapping[str, float]], None]) -> None:
        super().__init__()
        self._tell = tell

    async def make_true(self, state: WireState) -> None:
        await super().make_true(state)
        chain = next((one for one in self.state.chains if one.service == WEB), None)
        backends = chain.routes[-1].backends if chain is not None and chain.routes else ()
        self._tell({backend.cluster.rpartition("|")[2].partition(".")[0]: backend.weight for backend in backends})


class WatchedMetrics(ControllerMetrics):
    """Metrics that tell of reconciliations which failed for no reason that an API server could give."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def on_reconcile(self, name: str, seconds: float, error: str) -> None:
        super().on_reconcile(name, seconds, error)
        if error and not hasattr(errors, error):
            self._tell(f"a reconciliation of {name} broke down: {error}")


class DyingCluster(KillingCluster):
    """As its base, but Events are not counted: they are written beside the rest, and nobody decides on them."""

    def __init__(self, inner: Cluster, world: World, *, point: KillPoint | None, died: Callable[[], None]) -> None:
        super().__init__(inner, point=point, died=died)
        self._world = world
        self.reads = 0

    async def get(self, kind: Kind[K], key: ObjectKey) -> K:
        self.reads += 1
        return await super().get(kind, key)

    async def write(self, write: Write, call: Callable[[], Awaitable[A]]) -> A:
        self._world.all_writes.append(write)
        if write.kind == "events":
            if self.is_dead:
                raise Killed("a dead process makes no calls")
            return await call()
        before = self._revision(write)
        answer = await super().write(write, call)
        if write.verb == "patch" and self._revision(write) == before:
            self._world.story.broken.append(f"56 a request that changes nothing: {write}")
        return answer

    def _revision(self, write: Write) -> int:
        """Return the revision of the object that a write is about; 0 when there is none."""
        stored = self._world.cluster.api.storage.get(write.kind, write.key)
        return stored.revision if stored is not None else 0


class World:
    """One world. Made by `play`; what happens in it is told by a tale."""

    def __init__(
        self,
        *,
        routing: Routing,
        seed: int,
        has_evidence: bool,
        behaviour: Behaviour | None,
        faults: Faults | None,
        settings: Settings | None,
        kubelet: KubeletSettings | None,
        staleness: float,
    ) -> None:
        self.routing = routing
        self.seed = seed
        self.clock = LoopClock()
        self.cluster = SimulatedCluster(self.clock, seed=seed)
        self.story = Story(routing=routing, has_evidence=has_evidence, staleness=staleness, check=check)
        self.wire = RecordingWire(self._wire_changed)
        self.plane = WaypointTranslator(
            self.cluster.as_manager("istiod"), self.clock, self.wire, behaviour=behaviour, seed=seed
        )
        self._has_evidence = has_evidence
        self._settings = settings or Settings()
        self._kubelet = kubelet or _KUBELET
        self._faults = faults
        self.faulty: FaultyCluster | None = None
        self.script: Script = lambda number: 0.0
        self.asked: list[tuple[datetime, str, int]] = []
        self.controller: ReferenceController | None = None
        self.writes: list[Write] = []  # of every controller since the last `begin`, Events aside
        self.all_writes: list[Write] = []  # of every controller, Events too
        self.written_at = 0.0  # when a controller wrote last, Events included
        self._lives = 0
        self.deaths: Iterator[KillPoint] = iter(())  # where the controllers die that `begin` and later ones start
        self._broken = ""
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._died = asyncio.Event()
        self.cluster.on_commit(self._committed)
        self.cluster.apply(surroundings(routing))

    # --- what happens by itself -------------------------------------------------------------------------------------

    def _committed(self, verb: str, resource: Any, old: Doc | None, new: Doc | None) -> None:
        # Garbage is collected by a timer, which belongs to no task but carries the name of whoever left it behind.
        actor = _ACTOR.get() if asyncio.current_task() is not None else "garbage-collector"
        if actor == CONTROLLER:
            self.written_at = self.clock.monotonic()
        commit = Commit(at=self.clock.now(), actor=actor, verb=str(verb), kind=str(resource.kind), old=old, new=new)
        self.story.observe(commit)
        self._changed.set()
        is_new_pod = commit.kind == "Pod" and commit.verb == "create"
        if is_new_pod and commit.found["spec"]["containers"][0]["image"] == self._broken:
            asyncio.get_running_loop().create_task(self._break(commit.name))

    def _wire_changed(self, weights: Mapping[str, float]) -> None:
        self.story.observe_wire(self.clock.now(), weights)
        self._changed.set()

    @asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Run everything but the controller."""
        workloads = Workloads(self.cluster.as_manager("kube-controller-manager"), self.clock, self.seed)
        kubelet = Kubelet(self.cluster.as_manager("kubelet"), self.clock, self.seed, settings=self._kubelet)
        parts = [("workloads", workloads.run()), ("kubelet", kubelet.run())]
        if self.routing.is_routed:
            parts.append(("istiod", self.plane.run()))
        tasks = [_start(name, work) for name, work in parts]
        try:
            yield
            for task in tasks:
                assert not task.done(), f"ended before its time: {task}"
        finally:
            await self.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- the controller ---------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Put a fresh controller in the place of the one that runs; the first of `deaths` is its own."""
        await self.stop()
        self.writes = []
        self.start(next(self.deaths, None))

    def start(self, point: KillPoint | None = None) -> None:
        """Start a controller that knows nothing; it dies at the given write and another takes its place at once."""
        assert self._task is None, "one controller at a time"
        self._lives += 1
        inner: Cluster = self.cluster
        if self._faults is not None:
            inner = self.faulty = FaultyCluster(inner, seed=self.seed * 1000 + self._lives, faults=self._faults)
        self._died = died = asyncio.Event()
        killing = DyingCluster(inner, self, point=point, died=died.set)
        self._killing = killing
        killing.writes = self.writes
        self.controller = ReferenceController(
            killing,
            self.clock,
            self._settings,
            metrics=WatchedMetrics(self.story.broken.append),
            evidence=self.wire if self._has_evidence else None,
            providers={"memory": lambda tools: MemoryProvider(tools, self)},
            rng=random.Random(f"controller/{self.seed}/{self._lives}"),
        )
        self._task = _start(CONTROLLER, self._live(self.controller, died))

    async def _live(self, controller: ReferenceController, died: asyncio.Event) -> None:
        """Run a controller until it is told to stop or dies; then start the next."""
        running = asyncio.create_task(controller.run(), name="controller-run")
        dying = asyncio.create_task(died.wait(), name="controller-death")
        try:
            await asyncio.wait((running, dying), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (running, dying):
                task.cancel()
            results = await asyncio.gather(running, dying, return_exceptions=True)
        if died.is_set():
            self._task = None
            self.start(next(self.deaths, None))
        elif isinstance(results[0], BaseException):
            raise results[0]

    async def stop(self, *, gracefully: bool = False) -> None:
        """End the controller: at once as by SIGKILL, or in its own time."""
        task, controller, self._task = self._task, self.controller, None
        if task is None:
            return
        if gracefully and controller is not None:
            controller.stop()
        else:
            task.cancel()
        outcome = (await asyncio.gather(task, return_exceptions=True))[0]
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome

    async def restart(self, *, gracefully: bool = False) -> None:
        """Put a fresh controller in the place of the one that runs."""
        await self.stop(gracefully=gracefully)
        self.start()

    @property
    def lives(self) -> int:
        """How many controllers have been started."""
        return self._lives

    async def explain(self) -> Blocker | None:
        """Return what the controller says that the Rollout waits for."""
        return await self.controller.explain(WEB) if self.controller is not None else None

    # --- what users do ----------------------------------------------------------------------------------------------

    def apply(self, *documents: Doc) -> None:
        self.cluster.as_manager("kubectl").apply(documents)

    async def patch(
        self, kind: Kind[Any], key: ObjectKey, body: Mapping[str, Any], *, manager: str = "kubectl"
    ) -> None:
        await self.cluster.as_manager(manager).patch(kind, key, MergePatch(body))

    async def command(self, *given: Command) -> None:
        """Send a person's command, as `fairlead.rollouts.commands` spells it."""
        user = self.cluster.as_manager("kubectl")
        for command in given:
            await user.patch(ROLLOUTS, WEB, command.patch, subresource=command.subresource)

    async def promote(self, *, full: bool = False) -> None:
        await self.command(*commands.promote(self.rollout, full=full))

    async def abort(self) -> None:
        await self.command(*commands.abort())

    async def retry(self) -> None:
        await self.command(*commands.retry())

    async def deploy(self, document: Doc) -> None:
        """Apply a Rollout, start the controller if none runs, and wait until the first revision is healthy."""
        self.apply(document)
        if self._task is None:
            self.start()
        await self.until(lambda: self.status.get("phase") == "Healthy")
        await self.rest()

    async def update(self, version: int | str, **knobs: str) -> None:
        """Give the Rollout another pod template."""
        replace = {"op": "replace", "path": "/spec/template", "value": pod_template(version, **knobs)}
        await self.cluster.as_manager("kubectl").patch(ROLLOUTS, WEB, JsonPatch([replace]))

    async def scale(self, replicas: int) -> None:
        await self.patch(ROLLOUTS, WEB, {"spec": {"replicas": replicas}})

    def break_new_pods(self, version: int | str) -> None:
        """Let no pod of a version become ready that is made from now on."""
        self._broken = f"web:{version}"

    async def _break(self, pod: str) -> None:
        body = {"metadata": {"annotations": {KNOBS + "unready": "true"}}}
        await self.patch(PODS, ObjectKey(NAMESPACE, pod), body)

    async def unready(self, version: int | str, count: int | None = None) -> None:
        """Make pods of a version lose their readiness, for good."""
        await self._mark_pods(version, "true", count)

    async def mend(self, version: int | str) -> None:
        """Let the pods of a version become ready again."""
        await self._mark_pods(version, None, None)

    async def _mark_pods(self, version: int | str, value: str | None, count: int | None = None) -> None:
        found = [one for one in self.pods(version) if "deletionTimestamp" not in one["metadata"]]
        for pod in found[:count]:
            key = ObjectKey(NAMESPACE, pod["metadata"]["name"])
            await self.patch(PODS, key, {"metadata": {"annotations": {KNOBS + "unready": value}}})

    # --- waiting ----------------------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> None:
        """Return as soon as something holds, in virtual time; asked after every write, and once a second."""
        deadline = self.clock.monotonic() + seconds
        while not holds():
            if self.clock.monotonic() >= deadline:
                blocker = await self.explain()
                raise AssertionError(f"does not hold after {seconds} s; {blocker}\n{self.describe()}")
            self._changed.clear()
            try:
                async with asyncio.timeout(1.0):
                    await self._changed.wait()
            except TimeoutError:
                continue

    async def rest(self, seconds: float = 90.0) -> None:
        """Return once no controller has written anything for so long; longer than any delay of the scenario."""
        began = self.clock.monotonic()
        while (quiet := self.clock.monotonic() - max(self.written_at, began)) < seconds:
            assert self.clock.monotonic() - began < 10 * PATIENCE_SECONDS, f"no rest\n{self.describe()}"
            await asyncio.sleep(seconds - quiet + 0.001)  # the clock rounds
        self.story.broken += check_at_rest(self.story)

    async def until_step(self, index: int) -> None:
        """Return once an update of the version of the spec has come to a step."""
        await self.until(lambda: self._is_updating() and (self.status.get("currentStepIndex") or 0) >= index)

    def _is_updating(self) -> bool:
        is_seen = self.status.get("observedGeneration") == str(self.rollout["metadata"]["generation"])
        return is_seen and self.status.get("currentPodHash") != self.status.get("stableRS")

    async def until_done(self, *, seconds: float = PATIENCE_SECONDS) -> None:
        """Return once the version of the spec is stable and healthy."""
        await self.until(lambda: self._is_observed() and self.status.get("phase") == "Healthy", seconds=seconds)

    async def until_step_end(self) -> None:
        """Return once the version of the spec is stable, healthy or not."""
        await self.until(self._is_observed)

    async def until_aborted(self) -> None:
        await self.until(lambda: bool(self.status.get("abort")) and self.status.get("phase") == "Degraded")

    def _is_observed(self) -> bool:
        is_seen = self.status.get("observedGeneration") == str(self.rollout["metadata"]["generation"])
        return is_seen and self.status.get("currentPodHash") == self.status.get("stableRS")

    async def until_weight(self, canary: int) -> None:
        """Return once the route stores a weight of the canary."""
        await self.until(lambda: self.weights is not None and self.weights[1] == canary)

    async def until_phase(self, phase: str) -> None:
        await self.until(lambda: self.status.get("phase") == phase)

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def rollout(self) -> Doc:
        found = self.cluster.read(ROLLOUTS, WEB)
        assert found is not None, "there is no Rollout"
        return found

    @property
    def status(self) -> Doc:
        status: Doc = (self.cluster.read(ROLLOUTS, WEB) or {}).get("status") or {}
        return status

    def condition(self, type_: str) -> Doc | None:
        return next((one for one in self.status.get("conditions", ()) if one["type"] == type_), None)

    @property
    def sizes(self) -> dict[str, int]:
        """Pods wanted, by version."""
        return {
            version_of(found): found["spec"]["replicas"] for found in self.cluster.read_all(REPLICA_SETS, NAMESPACE)
        }

    @property
    def weights(self) -> tuple[int, int] | None:
        """Weights of stable and canary in the stored route; None: there is none."""
        return self.story.split.now

    @property
    def events(self) -> list[str]:
        """Reasons of the Rollout's Events in the order of their first occurrence."""
        found = [one for one in self.cluster.read_all(EVENTS, NAMESPACE) if one["involvedObject"]["kind"] == "Rollout"]
        found.sort(key=lambda one: int(one["metadata"]["resourceVersion"]))
        return [one["reason"] for one in found]

    def pods(self, version: int | str) -> list[Doc]:
        """Return the pods of a version."""
        return [
            one
            for one in self.cluster.read_all(PODS, NAMESPACE)
            if one["spec"]["containers"][0]["image"] == f"web:{version}"
        ]

    def runs(self) -> list[Doc]:
        return self.cluster.read_all(ANALYSIS_RUNS, NAMESPACE)

    @property
    def reads(self) -> int:
        """How many objects the controller that runs has asked for by themselves."""
        return self._killing.reads

    def requests(self) -> Counter[str]:
        """Return how often controllers have written what; Events aside."""
        return Counter(str_of(write) for write in self.writes)

    def describe(self) -> str:
        """Return what a person needs to see of a world that went wrong."""
        return "\n".join(
            (
                f"at {self.clock.now().isoformat()} (seed {self.seed})",
                f"status: {self.status}",
                f"sizes: {self.sizes}, weights: {self.weights}, wire: {self.story.wire.now}",
                *self.story.tail(45),
            )
        )


def str_of(write: Write) -> str:
    """Return a write in words, without the name of the object."""
    subresource = f"/{write.subresource}" if write.subresource else ""
    return f"{write.verb} {write.kind}{subresource}"


def version_of(replica_set: Doc) -> str:
    """Return the version that a ReplicaSet runs: the tag of its image."""
    image: str = replica_set["spec"]["template"]["spec"]["containers"][0]["image"]
    return image.rpartition(":")[2]


def _start(actor: str, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
    """Run something as somebody: every write that comes of it carries the name."""
    context = contextvars.copy_context()
    context.run(_ACTOR.set, actor)
    return asyncio.get_running_loop().create_task(work, name=actor, context=context)


async def as_controller(work: Coroutine[Any, Any, T]) -> T:
    """Do something under the controller's name; for tests of the invariants."""
    return await _start(CONTROLLER, work)


def play(
    tale: Tale[T],
    *,
    routing: Routing = Routing.BASIC,
    seed: int = 0,
    has_evidence: bool = True,
    behaviour: Behaviour | None = None,
    faults: Faults | None = None,
    settings: Settings | None = None,
    kubelet: KubeletSettings | None = None,
    staleness: float = 0.5,
) -> T:
    """Return what a tale returns that happens in a world of its own; fail if an invariant was broken meanwhile."""

    async def run() -> T:
        world = World(
            routing=routing,
            seed=seed,
            has_evidence=has_evidence and routing.is_routed,
            behaviour=behaviour,
            faults=faults,
            settings=settings,
            kubelet=kubelet,
            staleness=staleness,
        )
        async with world.going_on():
            try:
                result = await tale(world)
            except Exception as error:
                error.add_note("\n".join((*world.story.broken, world.describe())))
                raise
        assert not world.story.broken, "\n".join((*world.story.broken, world.describe()))
        return result

    return run_virtual(run(), seed)


__all__ = ["World", "play"]

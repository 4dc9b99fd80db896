"""Unit tests for rollout policies: a Rollout's manifests, run by the very controller, in a simulated cluster.

    @simulated
    async def test_a_failing_canary_is_stopped() -> None:
        async with PolicyRun(manifests, seed=1) as run:
            run.answer("success-rate", lambda: 0.99 if run.step < 2 else 0.5)
            await run.set_image("shop/web:2")
            await run.until_aborted(within=600)
            assert run.share_max <= 20

Time is virtual: minutes of pauses take milliseconds, and the same seed gives the same run. Pods are those of the fake
kubelet, so probes, images and annotations in the manifests matter (`fairlead.testing.kubelet`); Jobs run on it too.
Metrics of all other providers are answered by the test, and a metric without an answer is an Error, as when its source
cannot be reached. Traffic moves on a wire in memory that lags as a waypoint's (`fairlead.testing.waypoint`).

Not played: Gateways as parents of routes (nobody accepts those), autoscalers, admission.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import random
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any, ParamSpec, Self

import msgspec
import structlog

from fairlead.analysis.ports import MetricProvider, Question
from fairlead.analysis.providers import OneCallProvider, ProviderTools, Value, failed
from fairlead.analysis.status import Measurement
from fairlead.controller.settings import Settings
from fairlead.controller.wiring import ReferenceController
from fairlead.core.kinds import ANALYSIS_RUNS, REPLICA_SETS, ROLLOUTS, SERVICES
from fairlead.core.objects import Manifest, ObjectKey, decode_manifest
from fairlead.mesh_routing.spec import GATEWAY_API_BLOCK, WAYPOINT_BLOCK
from fairlead.rollouts import commands
from fairlead.rollouts.commands import HASH_LABEL, Command
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.kubelet import Kubelet, KubeletSettings
from fairlead.testing.waypoint import Behaviour, MemoryWire, WaypointTranslator
from fairlead.testing.workloads import Workloads

__all__ = ["PolicyRun", "simulated"]

Json = dict[str, Any]
P = ParamSpec("P")

WITHIN_SECONDS = 3600.0
_TEMPLATES = ("AnalysisTemplate", "ClusterAnalysisTemplate")
# Nobody looks at the leases of nodes, and a run may last for days.
_KUBELET = KubeletSettings(lease_seconds=None, node_status_seconds=1e9)


def simulated(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Turn an asynchronous test into one that runs under virtual time."""

    @functools.wraps(test)
    def run(*args: P.args, **rest: P.kwargs) -> None:
        run_virtual(test(*args, **rest))

    return run


class PolicyRun:
    """One Rollout in a world of its own, while the context is open. On entering, its first version is healthy.

    What the manifests lack, and the Rollout needs, is made: the namespace with a waypoint, and the Services that the
    Rollout names.

    Args:
        manifests: one Rollout and what belongs to it, as JSON data; without a namespace they go to `default`.
        seed: of the durations of pods, lags and names.
        settings: of the controller.
        behaviour: of the control plane: how the wire lags, is cut off, refuses.
        has_evidence: whether the controller can ask the data plane; if not, the settle delay decides.

    Raises:
        ValueError: the manifests hold no Rollout, or several.
    """

    def __init__(
        self,
        manifests: Iterable[Mapping[str, Any]],
        *,
        seed: int = 0,
        settings: Settings | None = None,
        behaviour: Behaviour | None = None,
        has_evidence: bool = True,
    ) -> None:
        self._manifests = [dict(one) for one in manifests]
        rollouts = [one for one in self._manifests if one.get("kind") == "Rollout"]
        if len(rollouts) != 1:
            raise ValueError(f"found {len(rollouts)} Rollouts among the manifests, expected exactly one")
        self._given = rollouts[0]
        metadata = self._given["metadata"]
        self.key = ObjectKey(metadata.get("namespace") or "default", metadata["name"])
        self._seed = seed
        self._settings = settings
        self._behaviour = behaviour
        self._has_evidence = has_evidence
        self._answers: dict[str, Any] = {}
        self._history: list[tuple[float, float]] = []
        self._since = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._logging: Json = {}

    # --- beginning and end ------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        self._logging = structlog.get_config()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
        self.clock = LoopClock()
        self.cluster = SimulatedCluster(self.clock, seed=self._seed)
        self.wire = MemoryWire(self._look)
        self.cluster.on_commit(lambda *_commit: self._look())
        cluster, clock, seed = self.cluster, self.clock, self._seed
        self.plane = WaypointTranslator(
            cluster.as_manager("istiod"), clock, self.wire, behaviour=self._behaviour, seed=seed
        )
        self.controller = ReferenceController(
            cluster,
            clock,
            self._settings,
            evidence=self.wire if self._has_evidence else None,
            providers=dict.fromkeys(self._providers(), self._provider),
            rng=random.Random(f"controller/{seed}"),
        )
        workloads = Workloads(cluster.as_manager("kube-controller-manager"), clock, seed)
        kubelet = Kubelet(cluster.as_manager("kubelet"), clock, seed, settings=_KUBELET)
        parts = (workloads.run(), kubelet.run(), self.plane.run(), self.controller.run())
        try:
            self.apply(*self._surroundings(), *self._manifests)
            self._tasks += [asyncio.create_task(part) for part in parts]
            await self.until_healthy()
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        structlog.configure(**self._logging)

    def _surroundings(self) -> Iterator[Json]:
        """Yield what the Rollout needs and the manifests lack."""
        present = {(one.get("kind"), one["metadata"]["name"]) for one in self._manifests}
        kinds = {kind for kind, _ in present}
        namespace, spec = self.key.namespace, self._given["spec"]
        if "Namespace" not in kinds:
            labels = {"istio.io/use-waypoint": "waypoint"}
            metadata: Json = {"name": namespace, "labels": labels}
            yield {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        if "Gateway" not in kinds:
            listener = {"name": "mesh", "port": 15008, "protocol": "HBONE"}
            yield {
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "metadata": {"name": "waypoint", "namespace": namespace},
                "spec": {"gatewayClassName": "istio-waypoint", "listeners": [listener]},
            }
        labels = (spec.get("selector") or {}).get("matchLabels") or {}
        for name in self._services():
            if ("Service", name) not in present:
                port = {"name": "http", "port": 80, "targetPort": _port(spec)}
                yield {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "metadata": {"name": name, "namespace": namespace},
                    "spec": {"selector": dict(labels), "ports": [port]},
                }

    def _services(self) -> list[str]:
        canary = self._canary
        names = [
            canary.get("stableService"),
            canary.get("canaryService"),
            self._plugins.get(WAYPOINT_BLOCK, {}).get("service"),
        ]
        return [name for name in dict.fromkeys(names) if name]

    @property
    def _canary(self) -> Json:
        canary: Json = (self._given["spec"].get("strategy") or {}).get("canary") or {}
        return canary

    @property
    def _plugins(self) -> Json:
        plugins: Json = (self._canary.get("trafficRouting") or {}).get("plugins") or {}
        return plugins

    # --- metrics ----------------------------------------------------------------------------------------------------

    def answer(self, metric: str, value: Any) -> None:
        """Let a metric's source answer this from now on.

        Args:
            metric: its name in the template.
            value: what the conditions see as `result`: JSON data, for Prometheus a list of numbers, of which one
                number stands for a list of one. An exception is an answer that cannot be had. A function is called
                for each measurement, and returns one of these.
        """
        self._answers[metric] = value

    def _providers(self) -> set[str]:
        """Return the names of all providers that the templates use, but for Jobs: those run."""
        found = {"prometheus", "web"}
        for document in self._manifests:
            if document.get("kind") in _TEMPLATES:
                for metric in document["spec"].get("metrics") or ():
                    provider = metric.get("provider") or {}
                    found |= {*provider, *(provider.get("plugin") or {})}
        return found - {"job", "plugin"}

    def _provider(self, tools: ProviderTools) -> MetricProvider:
        return _Answers(tools, self._answers)

    # --- what people do ---------------------------------------------------------------------------------------------

    def apply(self, *documents: Mapping[str, Any]) -> None:
        """Apply manifests, as kubectl does."""
        self.cluster.as_manager("kubectl").apply(documents, namespace=self.key.namespace)
        self._since = self.clock.monotonic()

    async def set_image(self, image: str, *, container: str = "*") -> None:
        """Bring out a version: give the containers another image."""
        await self._command(commands.set_images(self._manifest(), {container: image}))
        self._since = self.clock.monotonic()

    async def promote(self, *, full: bool = False) -> None:
        """Go past the current pause or step; or past everything."""
        await self._command(commands.promote(self.rollout, full=full))

    async def abort(self) -> None:
        """Send all traffic back to stable."""
        await self._command(commands.abort())

    async def retry(self) -> None:
        """Start again after an abort."""
        await self._command(commands.retry())

    async def _command(self, given: Iterable[Command]) -> None:
        user = self.cluster.as_manager("kubectl")
        for command in given:
            await user.patch(ROLLOUTS, self.key, command.patch, subresource=command.subresource)

    # --- waiting ----------------------------------------------------------------------------------------------------

    async def until(self, holds: Callable[[], bool], *, within: float = WITHIN_SECONDS) -> float:
        """Return how many seconds it took until something holds.

        Raises:
            AssertionError: it does not hold in time; the text says how things stand.
        """
        began = self.seconds
        while not holds():
            for task in self._tasks:
                if task.done():
                    task.result()
            if self.seconds - began >= within:
                raise AssertionError(f"does not hold within {within:g} s: {await self.describe()}")
            self._changed.clear()
            try:
                async with asyncio.timeout(min(1.0, began + within - self.seconds)):
                    await self._changed.wait()
            except TimeoutError:
                continue
        return self.seconds - began

    async def until_healthy(self, *, within: float = WITHIN_SECONDS) -> float:
        """Return how many seconds it took until the latest version is stable and healthy."""
        return await self.until(lambda: self.phase == "Healthy", within=within)

    async def until_aborted(self, *, within: float = WITHIN_SECONDS) -> float:
        """Return how many seconds it took until the update was aborted and the canary's traffic was gone."""
        return await self.until(lambda: self.status.get("abort") is True and self.share == 0, within=within)

    # --- looking ----------------------------------------------------------------------------------------------------

    @property
    def seconds(self) -> float:
        """Virtual seconds since the loop began."""
        return self.clock.monotonic()

    @property
    def rollout(self) -> Json:
        """The Rollout as it is stored."""
        found = self.cluster.read(ROLLOUTS, self.key)
        assert found is not None, f"Rollout {self.key} has been deleted"
        return found

    @property
    def status(self) -> Json:
        """The status of the Rollout, as far as it is about its latest spec; else empty."""
        rollout = self.rollout
        status: Json = rollout.get("status") or {}
        return status if status.get("observedGeneration") == str(rollout["metadata"]["generation"]) else {}

    @property
    def phase(self) -> str:
        """Healthy, Progressing, Paused or Degraded; empty while the latest spec has not been noticed."""
        return str(self.status.get("phase", ""))

    @property
    def message(self) -> str:
        """Why it is in this phase."""
        return str(self.status.get("message", ""))

    @property
    def step(self) -> int:
        """The index of the current step; the number of steps when all are done."""
        return int((self.rollout.get("status") or {}).get("currentStepIndex") or 0)

    @property
    def share(self) -> float:
        """The percentage of requests that the canary gets now: on the wire, without a router by available pods."""
        status = self.rollout.get("status") or {}
        pod_hash, stable = status.get("currentPodHash"), status.get("stableRS")
        if not pod_hash or pod_hash == stable:
            return 0.0
        if WAYPOINT_BLOCK in self._plugins or GATEWAY_API_BLOCK in self._plugins:
            return self._wire_share(pod_hash)
        available = {
            one["metadata"]["labels"].get(HASH_LABEL): (one.get("status") or {}).get("availableReplicas", 0)
            for one in self.cluster.read_all(REPLICA_SETS, self.key.namespace)
            if HASH_LABEL in one["metadata"].get("labels", {})
        }
        total = sum(available.values())
        return 100 * available.get(pod_hash, 0) / total if total else 0.0

    def _wire_share(self, pod_hash: str) -> float:
        """Return the percentage of the requests to the Service in front that these pods get, by what Services select.

        The one in front is that of which they get most; the canary Service's own clients are not split.
        """
        selecting = tuple(
            f"{one['metadata']['name']}.{one['metadata']['namespace']}."
            for one in self.cluster.read_all(SERVICES, self.key.namespace)
            if (one["spec"].get("selector") or {}).get(HASH_LABEL) == pod_hash
        )
        found = [0.0]
        for chain in self.wire.state.chains:
            if chain.service.name != self._canary.get("canaryService"):
                shares = self.wire.shares(chain.service, chain.port).items()
                found.append(sum(part for name, part in shares if name.rpartition("|")[2].startswith(selecting)))
        return round(100 * max(found), 6)  # 7, and not 7.000000000000001

    @property
    def share_max(self) -> float:
        """The highest `share` since the latest version was brought out."""
        return max((share for at, share in self._history if at >= self._since), default=0.0)

    @property
    def history(self) -> tuple[tuple[float, float], ...]:
        """Every `share` with the second from which on it was so, oldest first."""
        return tuple(self._history)

    @property
    def runs(self) -> list[Json]:
        """The AnalysisRuns, as they are stored."""
        return self.cluster.read_all(ANALYSIS_RUNS, self.key.namespace)

    async def describe(self) -> str:
        """Return how things stand, for people."""
        blocker = await self.controller.explain(self.key)
        waits = blocker.what if blocker is not None else "nothing"
        return (
            f"{self.phase or 'not noticed yet'} ({self.message}), step {self.step}, the canary gets "
            f"{self.share:g} % of the traffic; it waits for: {waits} (seed {self._seed})"
        )

    def _manifest(self) -> Manifest:
        return decode_manifest(msgspec.json.encode(self.rollout))

    def _look(self) -> None:
        self._changed.set()
        if self.cluster.read(ROLLOUTS, self.key) is None:
            return
        share = self.share
        if not self._history or self._history[-1][1] != share:
            self._history.append((self.seconds, share))


class _Answers(OneCallProvider):
    """Answers what the test says."""

    def __init__(self, tools: ProviderTools, answers: Mapping[str, Any]) -> None:
        super().__init__(tools)
        self._answers = answers

    async def measure(self, question: Question) -> Measurement:
        now, metric = self.tools.clock.now(), question.metric
        if metric.name not in self._answers:
            return failed(f"nobody said what {metric.name} is: see PolicyRun.answer", now)
        answer = self._answers[metric.name]
        answer = answer() if callable(answer) else answer
        if isinstance(answer, Exception):
            return failed(str(answer), now)
        if metric.provider.names == ("prometheus",):
            numbers = tuple(float(one) for one in (answer if isinstance(answer, list | tuple) else [answer]))
            return self.judged(metric, Value.floats(numbers), msgspec.json.encode(numbers).decode(), now, {})
        return self.judged(metric, Value.json(answer), msgspec.json.encode(answer).decode(), now, {})


def _port(spec: Json) -> int:
    """Return the first port of the pod template, 8080 without any."""
    for container in ((spec.get("template") or {}).get("spec") or {}).get("containers") or ():
        for port in container.get("ports") or ():
            return int(port["containerPort"])
    return 8080

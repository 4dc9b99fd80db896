"""Everything that takes part in the demo, started and ended together.

In this process: the simulated cluster and its HTTP API, its built-in controllers, the fake kubelet, a server per pod,
the control plane of the waypoint, and the load. In processes of their own: Envoy, the reference controller, and
Prometheus if it is installed. Everything listens on loopback only.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from fairlead.cli._demo.manifests import APEX, CANARY, Json, Pace, prometheus_metric, web_metric
from fairlead.core.errors import ProviderError
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.envoy import EnvoyProcess, EnvoyWire, free_port
from fairlead.testing.http import serve
from fairlead.testing.kubelet import Kubelet
from fairlead.testing.load import LoadGenerator
from fairlead.testing.pods import PodServers
from fairlead.testing.waypoint import WaypointTranslator
from fairlead.testing.workloads import Workloads

DRAIN_SECONDS = 5
# Of the act of blue-green: what users call, and what testers do.
ACTIVE, PREVIEW = ObjectKey("till", "till"), ObjectKey("till", "till-preview")
# Of the act of GitOps: where Applications are, and the Services of what is released.
GITOPS_NAMESPACE = "argocd"
MAIL, MAIL_CANARY = ObjectKey("mail", "mail"), ObjectKey("mail", "mail-canary")
READY_SECONDS = 30.0
STOP_SECONDS = 12.0  # more than the controller's own patience with what it is doing
CONCURRENCY = 16


class Child:
    """A process of ours, its output in a file."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.log = log
        self._process = process

    @classmethod
    async def start(
        cls, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
    ) -> Child:
        """Start it. Signals that a terminal sends to our group do not reach it: they are for us to pass on.

        Args:
            environment: None: ours.
        """
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env=environment,
            )
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    def epitaph(self) -> str:
        """Return how it ended, with its last words."""
        words = " ".join(self.log.read_text(errors="replace").splitlines()[-3:])
        return f"{self.name} ended with {self._process.returncode}: {words}"

    async def stop(self) -> None:
        """Return when it has ended."""
        if self.has_ended:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def wait_answering(self, url: str) -> None:
        """Return once it answers 200.

        Raises:
            ProviderError: it ended, or did not answer in time.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + READY_SECONDS
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as session:
            while loop.time() < until:
                if self.has_ended:
                    raise ProviderError(self.epitaph(), provider="demo")
                try:
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            return
                except (aiohttp.ClientError, OSError, TimeoutError):
                    pass  # it does not listen yet
                await asyncio.sleep(0.05)
        raise ProviderError(f"{self.name} does not answer on {url} after {READY_SECONDS:g} s", provider="demo")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The running world.

    Attributes:
        ports: where clients of a Service dial.
        kubeconfig: the path of a file.
        measure: from a Service to what an analysis of it asks, and of whom.
        source: the same in words.
        counts_for_ever: the analysis sees all that was counted since the counters were reset.
    """

    clock: LoopClock
    cluster: SimulatedCluster
    pods: PodServers
    envoy: EnvoyProcess
    controller: Child
    children: tuple[Child, ...]
    tasks: tuple[asyncio.Task[None], ...]
    ports: Mapping[ObjectKey, int]
    kubeconfig: Path
    measure: Callable[[ObjectKey], Json]
    source: str
    counts_for_ever: bool

    @property
    def port(self) -> int:
        """Where clients of the canaries' Service dial."""
        return self.ports[APEX]

    @property
    def metric(self) -> Json:
        """What the analysis of the canaries asks, and of whom."""
        return self.measure(CANARY)

    def load(self, rate: int, total_max: int, of: ObjectKey = APEX) -> LoadGenerator:
        """Return load on a Service, not yet running."""
        return LoadGenerator(
            "127.0.0.1",
            self.ports[of],
            rate=rate,
            concurrency=CONCURRENCY,
            total_max=total_max,
            host_header=f"{of.name}.{of.namespace}",
        )

    def apply(self, *documents: Json) -> None:
        """Apply manifests as a person with kubectl does."""
        self.cluster.as_manager("kubectl").apply(documents)

    async def reset_counters(self) -> None:
        """Let Envoy count from 0 again."""
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.post(f"http://{self.envoy.admin}/reset_counters") as answer,
        ):
            answer.raise_for_status()

    def check(self) -> None:
        """Fail if a part has ended.

        Raises:
            ProviderError: it has; the text ends with its last words.
        """
        for child in self.children:
            if child.has_ended:
                raise ProviderError(child.epitaph(), provider="demo")
        for task in self.tasks:
            if task.done():
                raise ProviderError(f"a part of the world has ended: {task!r}", provider="demo")


@asynccontextmanager
async def stage(directory: Path, pace: Pace, seed: int) -> AsyncIterator[Stage]:
    """Start everything; all of it ends with the context, whatever happens.

    Raises:
        ProviderError: something did not start.
    """
    clock = LoopClock()
    cluster = SimulatedCluster(clock, seed=seed)
    pods = PodServers(seed)
    ports = {key: free_port() for key in (APEX, ACTIVE, PREVIEW, MAIL_CANARY)}
    children: list[Child] = []
    tasks: list[asyncio.Task[None]] = []
    async with (
        serve(cluster) as served,
        EnvoyProcess(directory, drain_time_s=DRAIN_SECONDS) as envoy,
    ):
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(served.kubeconfig(), encoding="utf-8")
        wire = EnvoyWire(directory, {(key, 80): port for key, port in ports.items()})
        plane = WaypointTranslator(cluster.as_manager("istiod"), clock, wire, seed=seed)
        parts: tuple[Coroutine[Any, Any, None], ...] = (
            Workloads(cluster.as_manager("kube-controller-manager"), clock, seed).run(),
            Kubelet(cluster.as_manager("kubelet"), clock, seed, hook=pods).run(),
            plane.run(),
        )
        try:
            tasks += [asyncio.create_task(part) for part in parts]
            health = free_port()
            controller = await Child.start(
                "the controller", _controller(directory, envoy.admin, health), directory / "controller.log"
            )
            children.append(controller)
            prometheus = await _prometheus(directory, envoy.admin, children)
            await controller.wait_answering(f"http://127.0.0.1:{health}/readyz")
            measure: Callable[[ObjectKey], Json]
            if prometheus:
                measure = partial(prometheus_metric, pace, prometheus)
                source = "Prometheus, which scrapes Envoy every second"
            else:
                measure = partial(web_metric, pace, envoy.admin)
                source = "Envoy's own counters as JSON (provider web; prometheus is not on the PATH)"
            yield Stage(
                clock=clock,
                cluster=cluster,
                pods=pods,
                envoy=envoy,
                controller=controller,
                children=tuple(children),
                tasks=tuple(tasks),
                ports=ports,
                kubeconfig=kubeconfig,
                measure=measure,
                source=source,
                counts_for_ever=not prometheus,
            )
        finally:
            await _end(children, tasks, pods)


async def _end(children: Sequence[Child], tasks: Sequence[asyncio.Task[None]], pods: PodServers) -> None:
    # The controller first, while it still has an API server to say goodbye to.
    await asyncio.gather(*(child.stop() for child in children))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await pods.close()


def _controller(directory: Path, admin: str, health: int) -> list[str]:
    command = [sys.executable, "-m", "fairlead.cli.main", "controller", "--kubeconfig", str(directory / "kubeconfig")]
    command += ["--envoy-admin", admin, "--drain", f"{DRAIN_SECONDS}s", "--no-leader-elect"]
    command += ["--gitops", "--gitops-namespace", GITOPS_NAMESPACE, "--gitops-folder", str(directory / "gitops")]
    command += ["--git-poll", "1s", "--git-poll-jitter", "0s", "--git-protocol", "file", "--offline-store", "none"]
    return [*command, "--host", "127.0.0.1", "--healthzPort", str(health), "--metricsPort", "0"]


async def _prometheus(directory: Path, admin: str, children: list[Child]) -> str:
    """Start a Prometheus that scrapes Envoy, and return its address; empty: it is not installed."""
    program = shutil.which("prometheus")
    if program is None:
        return ""
    job = {"job_name": "envoy", "metrics_path": "/stats/prometheus", "static_configs": [{"targets": [admin]}]}
    config = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}
    path = directory / "prometheus.yml"
    path.write_bytes(msgspec.json.encode(config))  # JSON is YAML
    listen = f"127.0.0.1:{free_port()}"
    data = f"--storage.tsdb.path={directory / 'prometheus'}"
    command = [program, f"--config.file={path}", data, f"--web.listen-address={listen}", "--log.level=warn"]
    child = await Child.start("Prometheus", command, directory / "prometheus.log")
    children.append(child)
    await child.wait_answering(f"http://{listen}/-/ready")
    return f"http://{listen}"

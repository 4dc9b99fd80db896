"""What the benchmarks of the controller share: a real control plane with the controller as a process, and its twin.

Requests are counted from the API server's audit log, and in the simulation at the Cluster port: the same Rollouts, the
same kubelet, the same controller, so that both must agree.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from fairlead.controller.settings import Settings, Traffic
from fairlead.core.cluster import Cluster, MergePatch, Page
from fairlead.core.errors import AlreadyExists, Unavailable
from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.core.objects import Kind, ObjectKey, T
from fairlead.testing.kubelet import KubeletSettings
from tests.children import bound
from tests.controlplane import plane as planes
from tests.controlplane.plane import ControlPlane
from tests.controlplane.stage import BY_KIND, ROLLOUTS, SETS, Stage, Theatre, theatre

# 1.2 s from bound to ready, as the upstream figures were taken.
KUBELET = KubeletSettings(start_seconds=(0.1, 0.1), ready_seconds_min=1.1, ready_jitter_seconds=(0.0, 0.0))
SETTINGS = Settings(traffic=Traffic(settle=timedelta(0), drain=timedelta(0)))
FLAGS = ("--settle=0s", "--drain=0s", "--no-leader-elect")
USER = "fairlead"
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Requests by what they were for, watches and leases left out."""

    by_kind: Mapping[str, int]

    @property
    def total(self) -> int:
        return sum(self.by_kind.values())

    @property
    def events(self) -> int:
        return sum(count for what, count in self.by_kind.items() if what.endswith(" events"))

    @property
    def reads(self) -> int:
        return sum(count for what, count in self.by_kind.items() if what.partition(" ")[0] in ("get", "list"))

    @property
    def writes(self) -> int:
        """Events left out."""
        return self.total - self.events - self.reads


def counted(found: Iterable[tuple[str, str, str]]) -> Counts:
    """Return counts of (verb, resource, subresource)."""
    kept = Counter(
        f"{verb} {resource}{'/' + subresource if subresource else ''}"
        for verb, resource, subresource in found
        if verb != "watch" and resource != "leases"
    )
    return Counts(by_kind=dict(sorted(kept.items())))


class AuditLog:
    """Reads what the API server has answered since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.skip()

    def skip(self) -> None:
        self._offset = self._path.stat().st_size

    def entries(self, *users: str) -> list[dict[str, Any]]:
        """Return the requests of the controller (or of these users) since the last look or skip."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        end = data.rfind(b"\n") + 1
        self._offset += end
        found = [json.loads(line) for line in data[:end].splitlines()]
        return [entry for entry in found if entry["user"]["username"] in (users or (USER,)) and entry.get("objectRef")]

    @staticmethod
    def counts(entries: Iterable[Mapping[str, Any]]) -> Counts:
        refs = ((entry["verb"], entry["objectRef"]) for entry in entries)
        return counted((verb, ref.get("resource", ""), ref.get("subresource", "")) for verb, ref in refs)


class CountingCluster(Forwarding):
    """Notes each request that passes, as an audit log would."""

    def __init__(self, inner: Cluster) -> None:
        super().__init__(inner)
        self.calls: list[tuple[str, str, str]] = []

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        self.calls.append((write.verb, write.kind.partition(".")[0], write.subresource))
        return await super().write(write, call)

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        self.calls.append(("get", kind.plural, ""))
        return await super().get(kind, key)

    async def list(self, kind: Kind[T], **options: Any) -> Page[T]:
        self.calls.append(("list", kind.plural, ""))
        return await super().list(kind, **options)


@dataclass(slots=True)
class Process:
    """`fairlead controller` as a process of its own, measured from outside."""

    arguments: Sequence[str]
    log: Path
    port: int = 0
    _process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        self.port = planes.free_ports(1)[0]
        command = [sys.executable, "-c", "from fairlead.cli.main import main; main()", "controller"]
        ports = ("--host=127.0.0.1", f"--healthzPort={self.port}", "--metricsPort=0", "--loglevel=warning")
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(bound([*command, *ports, *self.arguments]), stdout=log, stderr=log)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    async def ready(self, *, seconds: float = 120.0) -> None:
        """Wait until its caches are filled."""
        deadline = time.monotonic() + seconds
        while not await asyncio.to_thread(self._is_ready):
            assert time.monotonic() < deadline, f"not ready:\n{self.log.read_text()[-2000:]}"
            await asyncio.sleep(0.02)

    def _is_ready(self) -> bool:
        assert self._process is not None and self._process.poll() is None, self.log.read_text()[-2000:]
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    @property
    def _proc(self) -> Path:
        assert self._process is not None, "it runs"
        return Path("/proc") / str(self._process.pid)

    def cpu_seconds(self) -> float:
        """Return the processor time that it has had, in user and kernel mode."""
        after_name = (self._proc / "stat").read_text().rpartition(")")[2].split()
        return (int(after_name[11]) + int(after_name[12])) / _TICKS

    def pss_mib(self) -> float:
        """Return its proportional set size."""
        lines = (self._proc / "smaps_rollup").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@dataclass(slots=True, kw_only=True)
class Rig:
    plane: ControlPlane
    place: Theatre
    process: Process
    audit: AuditLog


@asynccontextmanager
async def rig(folder: Path, *flags: str, kubelet: KubeletSettings = KUBELET) -> AsyncIterator[Rig]:
    """Give a control plane with the controller running on it, ready."""
    with planes.started(users=("admin", USER, "kubelet")) as plane:
        assert plane.audit_log is not None, "it was started here"
        async with theatre(plane, kubelet=kubelet, is_light=True) as place:
            config = plane.kubeconfig_for(USER)
            process = Process([f"--kubeconfig={config}", *(flags or FLAGS)], folder / "controller.log")
            process.start()
            try:
                await process.ready()
                yield Rig(plane=plane, place=place, process=process, audit=AuditLog(plane.audit_log))
            finally:
                process.stop()


# --- many Rollouts at once --------------------------------------------------------------------------------------------


async def create_all(stage: Stage, documents: Iterable[Mapping[str, Any]], *, at_once: int = 16) -> None:
    limit = asyncio.Semaphore(at_once)

    async def one(document: Mapping[str, Any]) -> None:
        async with limit:
            for _ in range(10):
                try:
                    await stage.cluster.create(BY_KIND[str(document["kind"])], document, namespace=stage.namespace)
                    return
                except AlreadyExists:
                    return  # an attempt whose answer did not come in time
                except Unavailable:
                    await asyncio.sleep(1.0)
            raise AssertionError("the API server takes nothing any more")

    await asyncio.gather(*map(one, documents))


async def patch_all(stage: Stage, names: Iterable[str], body: Mapping[str, Any], *, subresource: str = "") -> None:
    """Patch all these Rollouts at once."""
    patch = MergePatch(body)
    await asyncio.gather(
        *(stage.cluster.patch(ROLLOUTS, stage.key(name), patch, subresource=subresource) for name in names)
    )


async def all_stable(stage: Stage, count: int, *, revision: int) -> bool:
    """Return whether all Rollouts are healthy at a revision."""
    found = await stage.list(ROLLOUTS)
    done = 0
    for one in found:
        status, metadata = one.get("status") or {}, one["metadata"]
        done += (
            status.get("phase") == "Healthy"
            and status.get("observedGeneration") == str(metadata["generation"])
            and status.get("stableRS") == status.get("currentPodHash")
            and metadata.get("annotations", {}).get("rollout.argoproj.io/revision") == str(revision)
        )
    return done == count


async def old_gone(stage: Stage, count: int) -> bool:
    """Return whether only one ReplicaSet of each Rollout has pods."""
    sets = await stage.list(SETS)
    return sum(one["spec"].get("replicas", 0) > 0 for one in sets) == count and all(
        (one.get("status") or {}).get("replicas", 0) == one["spec"].get("replicas", 0) for one in sets
    )


def canary_weight(route: Mapping[str, Any]) -> int:
    backends = route["spec"]["rules"][0]["backendRefs"]
    return int(next(one.get("weight", 1) for one in backends if one["name"].endswith("-canary")))

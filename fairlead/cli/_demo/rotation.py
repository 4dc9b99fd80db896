"""The act of the secret: it comes from its store into the cluster and to who uses it, and is rotated there.

What is mounted by a kubelet is mounted here in the same way: a watch on the Secret keeps a file up to date, and the
workload reads that file again and again. Values are never shown: a version and the beginning of a digest are.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairlead.cli._demo.facts import Rotation, Rotations
from fairlead.cli._demo.manifests import (
    NAMESPACE,
    REFRESH_SECONDS,
    SECRET,
    SECRET_KEY,
    SECRET_PATH,
    STORE_NAME,
    Json,
    external_secret,
)
from fairlead.cli._demo.screen import Screen
from fairlead.cli._demo.stage import Stage
from fairlead.cli._demo.vault import Vault
from fairlead.controller.secret_explain import explain_external_secret
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.kube.config import connect
from fairlead.runtime.informers import Informers
from fairlead.runtime.store import Change
from fairlead.secrets.kinds import LIVE_SECRETS, MANAGED_SELECTOR, LiveSecret

ROTATIONS = 2
READ_SECONDS = 0.02
QUIET_SECONDS = 1.2 * REFRESH_SECONDS  # in which a refresh finds nothing new
ARRIVING_SECONDS_MAX = 20.0
Until = Callable[[str, Callable[[], bool], float], Awaitable[None]]


def digest(value: bytes) -> str:
    """Return what is shown in the place of a value."""
    return hashlib.sha256(value).hexdigest()[:8]


class Mount:
    """Keeps the files of a Secret up to date, as a kubelet does for a pod that mounts it."""

    def __init__(self, cluster: Cluster, clock: Clock, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700)
        self._informers = Informers(cluster, clock, namespace=NAMESPACE)
        self._informers.add(LIVE_SECRETS, label_selector=MANAGED_SELECTOR).subscribe(self._changed)

    async def run(self) -> None:
        await self._informers.run()

    def _changed(self, change: Change[LiveSecret]) -> None:
        found = change.new
        if found is None or found.metadata.key != SECRET:
            return
        for name, value in found.data.items():
            fresh = self._folder / f".{name}"
            fresh.write_bytes(value.reveal())
            fresh.replace(self._folder / name)  # whoever reads sees the old value or the new one


@dataclass(slots=True)
class _Seen:
    """When a value came where, in seconds of the screen."""

    version: int
    put_at: float
    secret_at: float | None = None
    workload_at: float | None = None


class RotationAct:
    """Puts values into the store, and sees them arrive."""

    key = "secret"
    name = "secret rotated"
    title = "a secret comes from its store, and is rotated there"
    subject = "ExternalSecret"

    def __init__(self, stage: Stage, screen: Screen, vault: Vault) -> None:
        self._stage = stage
        self._screen = screen
        self._vault = vault
        self._file = stage.kubeconfig.with_name("mounted") / SECRET_KEY
        self._seen: dict[str, _Seen] = {}  # by digest
        self._values: list[str] = []
        self._writes = {"Secret": 0, "ExternalSecret": 0}
        self._quiet_writes: int | None = None
        stage.cluster.on_commit(self._on_commit)

    async def prepare(self) -> None:
        """Nothing takes long."""

    @asynccontextmanager
    async def mounted(self) -> AsyncIterator[None]:
        """Mount the Secret and let the workload read it, until the end of the context."""
        async with await connect(str(self._stage.kubeconfig)) as cluster:
            mount = Mount(cluster, self._stage.clock, self._file.parent)
            parts = [asyncio.create_task(mount.run()), asyncio.create_task(self._read())]
            try:
                yield
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)

    async def put(self) -> _Seen:
        """Store a new value; return what is to be seen of it."""
        value = secrets.token_urlsafe(24)
        self._values.append(value)
        short = digest(value.encode())
        # Noted before: it may be in the Secret before the answer of the store is here.
        self._seen[short] = seen = _Seen(version=len(self._values), put_at=self._screen.seconds)
        seen.version = await self._vault.put(value)
        self._screen.say("store", f"{SECRET_PATH} has version {seen.version} (sha256 {short}...)")
        return seen

    async def play(self, until: Until) -> None:
        """Tell the act.

        Args:
            until: waits until something holds, for so many seconds.
        """
        say = self._screen.say
        first = await self.put()
        self._stage.apply(*self._vault.store(), external_secret())
        say("demo", f"applied: SecretStore {STORE_NAME}: {self._vault.source}")
        say("demo", f"applied: ExternalSecret {SECRET}, refreshInterval {REFRESH_SECONDS}s")
        first.put_at = self._screen.seconds
        async with self.mounted():
            await self._arrived(first, until)
            for _ in range(ROTATIONS):
                await self._arrived(await self.put(), until)
            before = sum(self._writes.values())
            await asyncio.sleep(QUIET_SECONDS)
            self._quiet_writes = sum(self._writes.values()) - before
            say(
                "waits for",
                f"{await self.waits()}; {QUIET_SECONDS:g} s without a new value: {self._quiet_writes} writes",
            )

    async def _arrived(self, seen: _Seen, until: Until) -> None:
        what = f"the workload has version {seen.version}"
        await until(what, lambda: seen.workload_at is not None, ARRIVING_SECONDS_MAX)

    async def waits(self) -> str:
        """Return what the ExternalSecret waits for, as `fairlead explain` does."""
        found = await explain_external_secret(self._stage.cluster, self._stage.clock, SECRET)
        return found.blocked_on.what if found.blocked_on is not None else "nothing"

    def found(self) -> Rotations:
        """Return what has been found out."""
        first, *later = self._seen.values() or [_Seen(version=0, put_at=0.0)]
        log = self._stage.controller.log.read_bytes()
        return Rotations(
            source=self._vault.source,
            first=_rotation(first),
            rotations=tuple(map(_rotation, later)),
            secret_writes=self._writes["Secret"],
            quiet_writes=self._quiet_writes,
            leaks=sum(log.count(value.encode()) for value in self._values),
        )

    def _on_commit(self, verb: str, resource: Any, old: Json | None, new: Json | None) -> None:
        metadata = (new or old or {}).get("metadata", {})
        if resource.kind not in self._writes or metadata.get("name") != SECRET.name:
            return
        self._writes[resource.kind] += 1
        if resource.kind != "Secret" or new is None:
            return
        short = digest(base64.b64decode((new.get("data") or {}).get(SECRET_KEY, "")))
        seen = self._seen.get(short)
        if seen is not None and seen.secret_at is None:
            seen.secret_at = self._screen.seconds

    async def _read(self) -> None:
        """Read the file again and again, as the workload does."""
        last = b""
        while True:
            await asyncio.sleep(READ_SECONDS)
            try:
                value = self._file.read_bytes()
            except FileNotFoundError:
                continue  # not mounted yet
            if value == last:
                continue
            last, short = value, digest(value)
            seen = self._seen.get(short)
            if seen is None or seen.workload_at is not None:
                continue
            seen.workload_at = self._screen.seconds
            if seen.secret_at is not None:
                text = f"Secret {SECRET} has it {seen.secret_at - seen.put_at:.2f} s after that"
                self._screen.say("secret", text, at=seen.secret_at)
            text = f"reads sha256 {short}... {seen.workload_at - seen.put_at:.2f} s after that"
            self._screen.say("workload", text, at=seen.workload_at)


def _rotation(seen: _Seen) -> Rotation:
    times = [None if at is None else at - seen.put_at for at in (seen.secret_at, seen.workload_at)]
    return Rotation(version=seen.version, secret=times[0], workload=times[1])

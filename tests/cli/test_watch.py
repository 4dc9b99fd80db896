"""`fairlead get rollout --watch`: it follows the changes until the Rollout is gone or the person has seen enough."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from fairlead.core.kinds import ROLLOUTS
from tests.cli.test_commands import KEY, Stage, rollout, staged


@dataclass
class Screen:
    """What a running command has printed."""

    process: asyncio.subprocess.Process
    text: str = ""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        assert self.process.stdout is not None
        while chunk := await self.process.stdout.read(65536):
            self.text += chunk.decode()
            self._changed.set()

    async def shows(self, *texts: str) -> None:
        """Return once the texts have appeared, one after the other."""
        async with asyncio.timeout(60):
            for text in texts:
                while text not in self.text:
                    self._changed.clear()
                    await self._changed.wait()
                self.text = self.text[self.text.index(text) :]


@asynccontextmanager
async def watched(stage: Stage, *words: str) -> AsyncIterator[Screen]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fairlead.cli.main", "get", "rollout", "web", "--watch", *words),
        *("--kubeconfig", str(stage.kubeconfig)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    screen = Screen(process)
    reading = asyncio.create_task(screen.read())
    try:
        yield screen
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def test_a_canary_is_followed_until_it_is_gone(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        stage.cluster.apply([rollout()])
        await stage.until("Healthy")
        async with watched(stage) as screen:
            await screen.shows("Status:          ✔ Healthy", "web:1 (stable)")
            await stage.run("set", "image", "web", "web=web:2")
            await screen.shows("Status:          ॥ Paused", "SetWeight:     50", "web:2 (canary)")
            await stage.run("promote", "web")
            await screen.shows("Status:          ✔ Healthy", "web:2 (stable)")
            await stage.cluster.delete(ROLLOUTS, KEY)
            async with asyncio.timeout(30):
                assert await screen.process.wait() == 1
            assert screen.process.stderr is not None
            assert b'Error: rollouts.argoproj.io "web" not found' in await screen.process.stderr.read()


async def test_whoever_has_seen_enough_interrupts_it(tmp_path: Path) -> None:
    async with staged(tmp_path) as stage:
        stage.cluster.apply([rollout()])
        await stage.until("Healthy")
        async with watched(stage, "-o", "json") as screen:
            await screen.shows('"status": "Healthy"')
            screen.process.send_signal(signal.SIGINT)
            async with asyncio.timeout(30):
                assert await screen.process.wait() == 130
            assert screen.process.stderr is not None
            assert b"Traceback" not in await screen.process.stderr.read()

"""The reference controller as a process of its own, that can be killed, stopped and started again at once.

Processes are forked from a server that has imported everything already: a start costs the caches, not the imports.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

_ROOT = str(Path(__file__).resolve().parents[2])
_PRELOADED = [
    "fairlead.cli.controller",
    "fairlead.cli.main",
    "fairlead.controller.main",
    "fairlead.kube.config",
    "kubernetes_asyncio.client",
]


def context() -> ForkServerContext:
    """Return the context whose processes start with the controller's modules imported."""
    # Under plain `pytest`, `tests` has been found without its folder on the path; a new process must find it too.
    if _ROOT not in sys.path:
        sys.path.append(_ROOT)
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(_PRELOADED)
    return found


def _run(arguments: list[str], log: str) -> None:
    """Be `fairlead controller` from here on."""
    with open(log, "ab", buffering=0) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    from fairlead.cli.main import main

    main(["controller", *arguments])


class ControllerProcess:
    """`fairlead controller`, started, killed and started again.

    Args:
        kubeconfig: of the API server, or of a proxy before it.
        arguments: further ones of the command line; no port is served.
        log: file that the output of all its lives is appended to.
    """

    def __init__(self, kubeconfig: Path, *arguments: str, log: Path) -> None:
        self.log = log
        self._arguments = [
            f"--kubeconfig={kubeconfig}",
            "--host=127.0.0.1",
            "--healthzPort=0",
            "--metricsPort=0",
            *arguments,
        ]
        self._process: BaseProcess | None = None
        self.starts = 0

    def start(self) -> None:
        assert self._process is None, "one at a time"
        self._process = context().Process(target=_run, args=(self._arguments, str(self.log)), daemon=True)
        self._process.start()
        self.starts += 1

    @property
    def pid(self) -> int:
        assert self._process is not None and self._process.pid is not None, "it has been started"
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.is_alive()

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is None:
            return
        self._process.kill()
        await self._ended()

    async def terminate(self) -> int:
        """Ask it to stop; return its exit code."""
        assert self._process is not None, "it has been started"
        self._process.terminate()
        return await self._ended()

    async def _ended(self) -> int:
        process = self._process
        assert process is not None, "it has been started"
        for _ in range(3000):
            if not process.is_alive():
                break
            await asyncio.sleep(0.01)
        else:
            raise AssertionError(f"process {process.pid} does not end")
        self._process = None
        process.join()
        return process.exitcode or 0

    def tail(self, lines: int = 30) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

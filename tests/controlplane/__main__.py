"""A control plane for a person.

    python -m tests.controlplane up

Starts one, installs the Gateway API's kinds and ours, registers three nodes, runs the fake kubelet and a waypoint's
control plane, prints where the kubeconfig is, and goes on until Ctrl-C. Nothing of it stays behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys

from fairlead.controller import logs
from fairlead.testing.kubelet import KubeletSettings
from tests.controlplane.build import Absent
from tests.controlplane.plane import ControlPlane, started
from tests.controlplane.stage import theatre


async def _stay(plane: ControlPlane) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    async with theatre(plane, kubelet=KubeletSettings()):
        sys.stdout.write(f"export KUBECONFIG={plane.kubeconfig}\n")
        sys.stdout.flush()
        sys.stderr.write("==> ready; Ctrl-C ends it\n")
        await ended.wait()
        sys.stderr.write("==> stopping\n")


def main(arguments: list[str]) -> int:
    if arguments != ["up"]:
        sys.stderr.write("usage: python -m tests.controlplane up\n")
        return 2
    logs.configure(level="warning", json=False)
    try:
        with started() as plane, contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_stay(plane))
    except Absent as error:
        sys.stderr.write(f"no control plane: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

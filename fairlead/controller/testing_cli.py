"""`fairlead-testing`: parts of a simulated world, run alone against any API server.

They live here because `fairlead.testing` may not know the client of a real one.
"""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress

import click

from fairlead.controller import logs


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Parts of a test cluster that no container runtime stands behind."""


@main.command()
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Default: KUBECONFIG, ~/.kube.")
@click.option("--context", help="Context of the kubeconfig to use.")
@click.option("--node", "nodes", multiple=True, help="Name of a node to register; may be repeated. Default: three.")
@click.option("--seed", type=int, default=1, show_default=True, help="Every pod's durations follow from it.")
@click.option("--loglevel", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True)
def kubelet(kubeconfig: str | None, context: str | None, nodes: tuple[str, ...], seed: int, loglevel: str) -> None:
    """Register nodes and play their kubelets until SIGTERM or Ctrl-C: pods become ready, no container runs."""
    logs.configure(level=loglevel, json=False)
    with suppress(asyncio.CancelledError, KeyboardInterrupt):
        asyncio.run(_kubelet(kubeconfig, context, nodes, seed))


async def _kubelet(kubeconfig: str | None, context: str | None, nodes: tuple[str, ...], seed: int) -> None:
    from fairlead.kube.config import connect
    from fairlead.runtime.clock import SystemClock
    from fairlead.testing.kubelet import Kubelet, KubeletSettings

    settings = KubeletSettings(nodes=nodes) if nodes else KubeletSettings()
    async with await connect(kubeconfig=kubeconfig, context=context, field_manager="kubelet") as cluster:
        task = asyncio.create_task(Kubelet(cluster, SystemClock(), seed, settings=settings).run())
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError):  # loops without signals: Ctrl-C ends the process
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        await task


if __name__ == "__main__":
    main()

"""Commands as a person types them, carried out against a simulated world in virtual time."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click

from fairlead.cli._options import Connection
from fairlead.cli.main import main
from fairlead.core.cluster import Cluster
from fairlead.testing.cluster import SimulatedCluster
from tests.simulation.manifests import NAMESPACE


@dataclass(frozen=True, slots=True, kw_only=True)
class _ToWorld(Connection):
    """Leads to a cluster in memory instead of the one of a kubeconfig."""

    cluster: SimulatedCluster

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Cluster, str]]:
        yield self.cluster, NAMESPACE


async def typed(cluster: SimulatedCluster, line: str) -> None:
    """Carry out what stands behind `fairlead` on a command line: its own parser, its own code, another connection."""
    words, command = line.split(), main
    found: click.Command = command
    while isinstance(found, click.Group):
        following = found.get_command(click.Context(found), words.pop(0))
        assert following is not None, f"there is no such command: {line}"
        found = following
    given = found.make_context(found.name, words).params
    for option in ("kubeconfig", "context", "namespace"):
        del given[option]
    connection = _ToWorld(
        kubeconfig=None, context=None, namespace=NAMESPACE, cluster=cluster.as_manager("kubectl-argo-rollouts")
    )
    assert found.callback is not None, f"{line} does nothing"
    # Beneath the layer that starts a loop of its own: this one has virtual time.
    await inspect.unwrap(found.callback)(**given, connection=connection)

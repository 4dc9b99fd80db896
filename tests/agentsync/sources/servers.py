"""Git servers on loopback: smart HTTP with basic authentication, and sshd with keys of its own."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web


@dataclass
class HttpServer:
    """`git http-backend` behind a small CGI.

    Attributes:
        root: the folder that holds repositories.
        user, password: what it asks for; empty: nothing.
        requests: method and path of each request.
        rejected: how many had wrong credentials, or none.
        failures: how many requests are answered by 503 before all goes well.
        is_old: whether it speaks the first protocol alone, in which only tips may be asked for.
    """

    root: Path
    user: str = ""
    password: str = ""
    port: int = 0
    requests: list[str] = field(default_factory=list)
    rejected: int = 0
    failures: int = 0
    is_old: bool = False

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/{name}"

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        if self.failures:
            self.failures -= 1
            return web.Response(status=503)
        if self.user and request.headers.get("Authorization") != self._wanted():
            self.rejected += 1
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="git"'})
        process = await asyncio.create_subprocess_exec(
            "git",
            "http-backend",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(request),
        )
        output, _ = await process.communicate(await request.read())
        head, _, body = output.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = int(headers.pop("Status", "200").split()[0])
        return web.Response(status=status, headers=headers, body=body)

    def _wanted(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _environment(self, request: web.Request) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": "" if self.is_old else request.headers.get("Git-Protocol", ""),
            "REMOTE_USER": self.user,
            "REMOTE_ADDR": "127.0.0.1",
        }


@contextlib.asynccontextmanager
async def http_server(root: Path, user: str = "", password: str = "") -> AsyncIterator[HttpServer]:
    """Serve repositories over smart HTTP."""
    server = HttpServer(root=root, user=user, password=password)
    # Bodies that git compressed go on as they are: http-backend knows that by itself.
    app = web.Application(client_max_size=64 * 1024 * 1024)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    server.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # asyncio's Server has it
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass(frozen=True)
class SshServer:
    """sshd for one user.

    Attributes:
        port: on loopback.
        private_key: that opens it, PEM.
        host_key: its public key, as a line of known_hosts needs it.
    """

    port: int
    private_key: str
    host_key: str

    def url(self, path: Path) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}{path}"

    @property
    def known_hosts(self) -> str:
        return f"[127.0.0.1]:{self.port} {self.host_key}\n"


def _key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


@contextlib.contextmanager
def ssh_server(folder: Path) -> Iterator[SshServer]:
    """Serve this machine's files over ssh, for our key alone."""
    program = shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    assert program is not None, "the caller checked"
    folder.mkdir()
    _key(folder / "host")
    _key(folder / "user")
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    settings = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "authorized_keys",
        "PidFile": folder / "pid",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "PermitRootLogin": "yes",
        "AllowTcpForwarding": "no",
    }
    (folder / "config").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    process = subprocess.Popen(
        [program, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if b"Server listening" in line:
                break
        assert process.poll() is None, "sshd did not start"
        host_key = " ".join((folder / "host.pub").read_text().split()[:2])
        yield SshServer(port=port, private_key=(folder / "user").read_text(), host_key=host_key)
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()

"""A Git host on loopback, as a company has one: smart HTTP over TLS with basic authentication, and ssh.

Nothing of it is made up: `git http-backend` answers behind TLS with an authority of its own, and sshd serves the same
repositories. Commits are written by `git fast-import`, a whole tree at a time.
"""

from __future__ import annotations

import base64
import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.agentsync.sources.servers import HttpServer, SshServer, ssh_server
from tests.analysis.providers.certificates import authority, issue

USERNAME = "deploy"
_ADDRESS = "127.0.0.1"
_ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/nonexistent"}
_AUTHOR = "Shop <shop@example.com>"
_FIRST_AT = 1_780_000_000  # seconds since 1970; each commit is a second younger


class Absent(Exception):
    """A program that the host needs is not installed."""


def missing() -> str:
    """Return which program a host would need and is not there; empty: none."""
    if shutil.which("git") is None:
        return "git"
    folder = subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()
    if not (Path(folder) / "git-http-backend").exists():
        return "git-http-backend"
    return "" if shutil.which("sshd", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin") else "sshd"


@dataclass
class Repository:
    """One bare repository of the host.

    Attributes:
        folder: where it lies.
        head: the newest commit of the branch `main`; empty: there is none.
    """

    folder: Path
    head: str = ""
    _commits: int = 0

    def create(self) -> None:
        self._git("init", "--quiet", "--bare", "--initial-branch=main", str(self.folder))

    def push(self, files: Mapping[str, str], message: str, *, onto: str | None = None) -> str:
        """Make a tree the newest commit of `main`, and return the commit.

        Args:
            files: text by path: the whole tree.
            onto: the parent; None: what is newest. Another one is a force push.
        """
        parent = self.head if onto is None else onto
        self._commits += 1
        parts = [
            b"commit refs/heads/main\n",
            f"committer {_AUTHOR} {_FIRST_AT + self._commits} +0000\n".encode(),
            _data(message),
            f"from {parent}\n".encode() if parent else b"",
            b"deleteall\n",
        ]
        for path, text in sorted(files.items()):
            parts += [f"M 100644 inline {path}\n".encode(), _data(text)]
        self._git("-C", str(self.folder), "fast-import", "--quiet", "--force", stdin=b"".join(parts) + b"\n")
        self.head = self._git("-C", str(self.folder), "rev-parse", "refs/heads/main").strip()
        return self.head

    def _git(self, *arguments: str, stdin: bytes = b"") -> str:
        environment = {**_ENVIRONMENT, "PATH": os.environ["PATH"]}
        done = subprocess.run(["git", *arguments], input=stdin, check=True, capture_output=True, env=environment)
        return done.stdout.decode()


def _data(text: str) -> bytes:
    content = text.encode()
    return b"data %d\n%s\n" % (len(content), content)


@dataclass(kw_only=True)
class GitHost:
    """A host that serves every repository of a folder.

    Attributes:
        authorities: PEM of who has issued its certificate.
        is_away: whether it answers nobody over HTTP.
    """

    http: HttpServer
    ssh: SshServer
    authorities: str
    is_away: bool = False

    def create(self, name: str) -> Repository:
        repository = Repository(self.http.root / f"{name}.git")
        repository.create()
        return repository

    def https_url(self, name: str) -> str:
        return f"https://{_ADDRESS}:{self.http.port}/{name}.git"

    def ssh_url(self, name: str) -> str:
        return self.ssh.url(self.http.root / f"{name}.git")

    def documents(self, name: str) -> list[dict[str, Any]]:
        """Return what makes a controller able to read a repository both ways: Secrets, host keys and authorities."""
        return [
            _secret(f"{name}-https", url=self.https_url(name), username=USERNAME, password=self.http.password),
            _secret(f"{name}-ssh", url=self.ssh_url(name), sshPrivateKey=self.ssh.private_key),
            _config_map("argocd-ssh-known-hosts-cm", {"ssh_known_hosts": self.ssh.known_hosts}),
            _config_map("argocd-tls-certs-cm", {_ADDRESS: self.authorities}),
        ]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        return web.Response(status=503, text="away\n") if self.is_away else await self.http.handle(request)


def _secret(name: str, **data: str) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"argocd.argoproj.io/secret-type": "repository"}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"type": "git", **data}}


def _config_map(name: str, data: Mapping[str, str]) -> dict[str, Any]:
    metadata = {"name": name, "labels": {"app.kubernetes.io/part-of": "argocd"}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data)}


@asynccontextmanager
async def git_host(folder: Path) -> AsyncIterator[GitHost]:
    """Serve a Git host while the context lasts.

    Args:
        folder: made here.

    Raises:
        Absent: this machine lacks a program for it.
    """
    if what := missing():
        raise Absent(f"{what} is not installed")
    root, context, authorities = _furnish(folder)
    server = HttpServer(root=root, user=USERNAME, password=base64.urlsafe_b64encode(os.urandom(12)).decode())
    with ssh_server(folder / "ssh") as opened:
        host = GitHost(http=server, ssh=opened, authorities=authorities)
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_route("*", "/{path:.*}", host.handle)
        runner = web.AppRunner(application, auto_decompress=False, access_log=None)
        await runner.setup()
        try:
            site = web.TCPSite(runner, _ADDRESS, 0, ssl_context=context)
            await site.start()
            assert site._server is not None, "it was started"
            server.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # asyncio's Server has it
            yield host
        finally:
            await runner.cleanup()


def _furnish(folder: Path) -> tuple[Path, ssl.SSLContext, str]:
    """Return where repositories go, how TLS is spoken, and the PEM of who vouches for that."""
    root = folder / "repositories"
    root.mkdir(mode=0o700, parents=True)
    issuer = authority()
    certificate = folder / "server.pem"
    certificate.write_bytes(issue(issuer, _ADDRESS, valid_for=timedelta(days=1)).pem)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    return root, context, issuer.pem.decode().partition("-----BEGIN PRIVATE KEY")[0]

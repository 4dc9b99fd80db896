"""GitHub Apps: what is stated, signed and exchanged, and how often."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from fairlead.agentsync.sources import Access, RenderRequest, RepositoryError, SourceError, read_repositories
from fairlead.agentsync.sources._access import GitHubApp
from fairlead.agentsync.sources._github import GitHubTokens, statement
from fairlead.agentsync.spec import Source
from tests.agentsync.sources.conftest import MakeSources
from tests.agentsync.sources.repository import Repository, config_map
from tests.agentsync.sources.servers import http_server

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)


@cache
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(private: Any) -> str:
    encoded: bytes = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return encoded.decode()


def app(base_url: str = "") -> GitHubApp:
    return GitHubApp(app_id="123", installation_id="456", private_key=pem(key()), base_url=base_url)


def decoded(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_the_statement_is_signed_and_short_lived() -> None:
    head, claims, signature = statement(app(), NOW).split(".")
    key().public_key().verify(decoded(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256())
    assert json.loads(decoded(head)) == {"alg": "RS256", "typ": "JWT"}
    at = int(NOW.timestamp())
    assert json.loads(decoded(claims)) == {"iat": at - 60, "exp": at + 540, "iss": "123"}


@pytest.mark.parametrize(
    ("private_key", "message"),
    [
        ("hush", "GitHub App 123: githubAppPrivateKey is no PEM without passphrase"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "GitHub App 123: githubAppPrivateKey is no RSA key"),
    ],
)
def test_a_key_that_cannot_sign_is_told_and_not_shown(private_key: str, message: str) -> None:
    with pytest.raises(SourceError, match=f"^{message}$"):
        statement(replace(app(), private_key=private_key), NOW)


class Api:
    """GitHub's API, as far as it gives tokens."""

    def __init__(self) -> None:
        self.url = ""
        self.status = 201
        self.body: Any = None
        self.asked: list[str] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        assert request.headers["Authorization"].startswith("Bearer ey")
        body = {"token": f"t0ken-{len(self.asked)}"} if self.body is None else self.body
        return web.json_response(body, status=self.status)


@contextlib.asynccontextmanager
async def api() -> AsyncIterator[Api]:
    found = Api()
    application = web.Application()
    application.router.add_post("/{path:.*}", found.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # asyncio's Server has it
    found.url = f"http://127.0.0.1:{port}/api/v3"
    try:
        yield found
    finally:
        await runner.cleanup()


async def test_a_token_is_got_once_and_again_before_it_expires() -> None:
    seconds = 0.0
    tokens = GitHubTokens(frozenset({"http"}), clock=lambda: seconds, now=lambda: NOW)
    async with api() as server:
        access = Access(github_app=app(server.url))
        for at, token in ((0.0, "t0ken-1"), (2900.0, "t0ken-1"), (3100.0, "t0ken-2")):
            seconds = at
            opened = await tokens.opened(access)
            assert (opened.username, opened.password) == ("x-access-token", token)
        assert server.asked == ["/api/v3/app/installations/456/access_tokens"] * 2


async def test_a_password_needs_no_app() -> None:
    access = Access(github_app=app("http://127.0.0.1:9"), password="x")
    assert await GitHubTokens().opened(access) is access
    assert await GitHubTokens().opened(Access()) == Access()


@pytest.mark.parametrize(
    ("status", "body"), [(401, {"message": "Bad credentials"}), (201, {}), (201, []), (302, {"token": "x"})]
)
async def test_no_token_is_an_error(status: int, body: Any) -> None:
    async with api() as server:
        server.status, server.body = status, body
        with pytest.raises(RepositoryError, match=f"^GitHub App 123: no token for installation 456: HTTP {status}$"):
            await GitHubTokens(frozenset({"http"})).opened(Access(github_app=app(server.url)))


async def test_where_it_must_not_ask() -> None:
    with pytest.raises(SourceError, match="http is not allowed"):
        await GitHubTokens().opened(Access(github_app=app("http://host/api")))
    with pytest.raises(RepositoryError, match=r"http://127\.0\.0\.1:9 cannot be reached"):
        await GitHubTokens(frozenset({"http"})).opened(Access(github_app=app("http://127.0.0.1:9")))


@pytest.mark.real
async def test_git_is_opened_by_the_token(repository: Repository, make_sources: MakeSources, tmp_path: Path) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    async with api() as server, http_server(repository.folder.parent, "x-access-token", "t0ken-1") as host:
        secret = {
            "metadata": {"name": "github", "labels": {"argocd.argoproj.io/secret-type": "repo-creds"}},
            "stringData": {
                "url": host.url(""),
                "githubAppID": "123",
                "githubAppInstallationID": "456",
                "githubAppPrivateKey": pem(key()),
                "githubAppEnterpriseBaseUrl": server.url,
            },
        }
        sources = make_sources(read_repositories([secret]))
        source = Source(repo_url=host.url("shop"), path="app")
        resolved = await sources.resolve(source, project="default")
        found = await sources.render(RenderRequest(application="shop", source=source, revision=resolved.revision))
        assert len(found.objects) == len(server.asked) == 1

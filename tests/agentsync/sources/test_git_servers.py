"""Git over smart HTTP and over ssh: credentials, host keys, and what is said when they are wrong."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync.sources import (
    Freshness,
    GitSettings,
    RenderRequest,
    Repositories,
    RepositoryError,
    Sources,
    read_repositories,
)
from fairlead.agentsync.spec import Source
from tests.agentsync.sources.conftest import MakeSources, need
from tests.agentsync.sources.repository import Repository, config_map
from tests.agentsync.sources.servers import SshServer, http_server, ssh_server

pytestmark = pytest.mark.real

PASSWORD = "s3cret/with:odd@characters%"


def secret(kind: str = "repository", name: str = "web", **data: str) -> dict[str, Any]:
    """Return a repository Secret."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": "argocd",
            "labels": {"argocd.argoproj.io/secret-type": kind},
        },
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in data.items()},
    }


async def names(sources: Sources, source: Source, project: str = "default") -> list[str]:
    resolved = await sources.resolve(source, project=project, freshness=Freshness.REFRESH)
    request = RenderRequest(application="shop", project=project, source=source, revision=resolved.revision)
    return [each["metadata"]["name"] for each in (await sources.render(request)).objects]


@dataclass
class Seen:
    """Command lines and environments of every program that was started."""

    text: str = ""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    found = Seen()
    really = asyncio.create_subprocess_exec

    async def watching(*argv: str, **more: Any) -> Any:
        found.text += f"{argv} {more.get('env')}\n"
        return await really(*argv, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", watching)
    return found


async def test_basic_authentication_over_smart_http(
    repository: Repository, make_sources: MakeSources, seen: Seen
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    async with http_server(repository.folder.parent, "ada", PASSWORD) as server:
        url = server.url("shop")
        sources = make_sources(read_repositories([secret(url=url, username="ada", password=PASSWORD)]))
        assert await names(sources, Source(repo_url=url, path="app")) == ["one"]
        before = len(server.requests)
        repository.commit({"app/a.yaml": config_map("two")})
        assert await names(sources, Source(repo_url=url, path="app")) == ["two"]
        assert any("git-upload-pack" in each for each in server.requests[before:])
    assert "git" in seen.text and "s3cret" not in seen.text


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({}, id="none"),
        pytest.param({"username": "ada", "password": "wr0ng-one"}, id="wrong-password"),
        pytest.param({"password": "wr0ng-one", "forceHttpBasicAuth": "true"}, id="forced"),
        pytest.param({"bearerToken": "wr0ng-one"}, id="token"),
    ],
)
async def test_wrong_credentials_are_an_error_that_does_not_tell_them(
    data: dict[str, str], repository: Repository, make_sources: MakeSources
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    async with http_server(repository.folder.parent, "ada", PASSWORD) as server:
        url = server.url("shop")
        sources = make_sources(read_repositories([secret(url=url, **data)] if data else []))
        with pytest.raises(RepositoryError) as error:
            await names(sources, Source(repo_url=url, path="app"))
        assert server.rejected
    assert url in str(error.value)
    assert "wr0ng-one" not in f"{error.value!r} {error.value.__cause__!r}"


async def test_credentials_in_the_url_work_and_are_not_shown(
    repository: Repository, make_sources: MakeSources, seen: Seen
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    async with http_server(repository.folder.parent, "ada", "s3cret") as server:
        url = server.url("shop").replace("://", "://ada:s3cret@")
        assert await names(make_sources(), Source(repo_url=url, path="app")) == ["one"]
        with pytest.raises(RepositoryError) as error:
            await names(make_sources(), Source(repo_url=f"{url}-absent", path="app"))
    assert "s3cret" not in str(error.value) + seen.text


async def test_forced_basic_authentication_is_sent_unasked(repository: Repository, make_sources: MakeSources) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    async with http_server(repository.folder.parent, "x-access-token", "t0ken") as server:
        url = server.url("shop")
        entry = secret(url=url, password="t0ken", forceHttpBasicAuth="true")
        assert await names(make_sources(read_repositories([entry])), Source(repo_url=url, path="app")) == ["one"]
        assert not server.rejected


async def test_what_one_project_may_read_is_not_lent_to_another(
    repository: Repository, make_sources: MakeSources
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    async with http_server(repository.folder.parent, "ada", PASSWORD) as server:
        url = server.url("shop")
        entry = secret(url=url, username="ada", password=PASSWORD, project="team-a")
        sources = make_sources(read_repositories([entry]))
        source = Source(repo_url=url, path="app")
        assert await names(sources, source, project="team-a") == ["one"]
        with pytest.raises(RepositoryError):
            await names(sources, source, project="team-b")


async def test_an_unreachable_server_is_an_error(make_sources: MakeSources) -> None:
    need("git")
    with pytest.raises(RepositoryError, match=r"http://127\.0\.0\.1:9/shop: .*(refused|connect)"):
        await names(make_sources(), Source(repo_url="http://127.0.0.1:9/shop", path="app"))


@pytest.mark.parametrize(("attempts", "is_reached"), [(1, False), (2, False), (3, True)])
async def test_refs_are_asked_for_as_often_as_settings_say(
    attempts: int, is_reached: bool, repository: Repository, make_sources: MakeSources
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    async with http_server(repository.folder.parent) as server:
        server.failures = 2
        sources = make_sources(git=GitSettings(protocols=frozenset({"http"}), attempts=attempts))
        source = Source(repo_url=server.url("shop"), path="app")
        if is_reached:
            assert await names(sources, source) == ["one"]
        else:
            with pytest.raises(RepositoryError, match="503"):
                await names(sources, source)


async def test_a_server_that_gives_only_tips_is_asked_for_everything(
    repository: Repository, make_sources: MakeSources
) -> None:
    old = repository.commit({"app/a.yaml": config_map("old")})
    repository.commit({"app/a.yaml": config_map("new")})
    async with http_server(repository.folder.parent) as server:
        server.is_old = True
        for revision, wanted in (("main", "new"), (old, "old"), (old[:9], "old")):
            source = Source(repo_url=server.url("shop"), path="app", target_revision=revision)
            assert await names(make_sources(), source) == [wanted]
        gone = Source(repo_url=server.url("shop"), path="app", target_revision="0" * 40)
        with pytest.raises(RepositoryError, match=f"the repository has no commit {'0' * 40}"):
            await names(make_sources(), gone)


# -- ssh ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def sshd(tmp_path: Path) -> Iterator[SshServer]:
    need("git", "ssh", "sshd", "ssh-keygen")
    with ssh_server(tmp_path / "sshd") as server:
        yield server


def known(hosts: str, **data: str) -> Repositories:
    return read_repositories([secret(**data)], known_hosts={"data": {"ssh_known_hosts": hosts}})


async def test_a_known_host_is_asked_over_ssh(
    repository: Repository, make_sources: MakeSources, sshd: SshServer, seen: Seen
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    url = sshd.url(repository.folder)
    sources = make_sources(known(sshd.known_hosts, url=url, sshPrivateKey=sshd.private_key))
    assert await names(sources, Source(repo_url=url, path="app")) == ["one"]
    assert "PRIVATE KEY" not in seen.text


async def test_an_unknown_host_is_refused(repository: Repository, make_sources: MakeSources, sshd: SshServer) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    url = sshd.url(repository.folder)
    sources = make_sources(known("", url=url, sshPrivateKey=sshd.private_key))
    with pytest.raises(RepositoryError, match="Host key verification failed"):
        await names(sources, Source(repo_url=url, path="app"))


async def test_a_host_with_another_key_is_refused(
    repository: Repository, make_sources: MakeSources, sshd: SshServer
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    url = sshd.url(repository.folder)
    forged = (
        f"[127.0.0.1]:{sshd.port} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPpe+ecq7vSuR6nM1WIyFKY+bFfOYKxAbJ3+Qp0v+OQa\n"
    )
    sources = make_sources(known(forged, url=url, sshPrivateKey=sshd.private_key))
    with pytest.raises(RepositoryError, match=r"Host key verification failed|REMOTE HOST IDENTIFICATION"):
        await names(sources, Source(repo_url=url, path="app"))


async def test_host_keys_are_ignored_only_when_asked(
    repository: Repository, make_sources: MakeSources, sshd: SshServer
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    url = sshd.url(repository.folder)
    entry = {"url": url, "sshPrivateKey": sshd.private_key, "insecureIgnoreHostKey": "true"}
    assert await names(make_sources(known("", **entry)), Source(repo_url=url, path="app")) == ["one"]


async def test_without_a_key_ssh_asks_nobody(
    repository: Repository, make_sources: MakeSources, sshd: SshServer
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    url = sshd.url(repository.folder)
    sources = make_sources(read_repositories([], known_hosts={"data": {"ssh_known_hosts": sshd.known_hosts}}))
    with pytest.raises(RepositoryError, match="Permission denied"):
        await names(sources, Source(repo_url=url, path="app"))

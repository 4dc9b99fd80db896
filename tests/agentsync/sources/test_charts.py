"""Repositories of charts over HTTP: versions, credentials, archives that are meant to hurt."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import io
import json
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fairlead.agentsync.sources import (
    Access,
    Freshness,
    HelmSettings,
    RenderError,
    RenderRequest,
    RepositoryError,
    SourceError,
    SourceType,
    ToolSettings,
    Verification,
    read_repositories,
)
from fairlead.agentsync.sources.charts import ChartFetcher
from fairlead.agentsync.spec import HelmSource, Source
from tests.agentsync.sources.conftest import MakeSources

CHART = {
    "web/Chart.yaml": "apiVersion: v2\nname: web\nversion: 1.2.0\n",
    "web/templates/a.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}'}\n",
}


def archive(files: dict[str, str], *odd: tarfile.TarInfo) -> bytes:
    """Return a chart as `helm package` would write it, with odd members at its end."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content.encode())
            tar.addfile(member, io.BytesIO(content.encode()))
        for member in odd:
            tar.addfile(member)
    return packed.getvalue()


class Charts:
    """A chart repository.

    Attributes:
        files: what it serves, by path.
        seen: path and Authorization of each request.
        password: of user `ada`; empty: it asks for none.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.seen: list[tuple[str, str]] = []
        self.password = ""
        self.url = ""

    def publish(self, content: bytes, *versions: str, name: str = "web", **more: Any) -> None:
        self.files["web.tgz"] = content
        entry = {"urls": ["web.tgz"], "digest": hashlib.sha256(content).hexdigest(), **more}
        listed = [{"name": name, "version": version, **entry} for version in versions]
        self.files["index.yaml"] = json.dumps({"apiVersion": "v1", "entries": {name: listed}}).encode()

    async def handle(self, request: web.Request) -> web.Response:
        path = request.match_info["path"]
        sent = request.headers.get("Authorization", "")
        self.seen.append((path, sent))
        if self.password and sent != "Basic " + base64.b64encode(f"ada:{self.password}".encode()).decode():
            return web.Response(status=401)
        if path in self.redirects:
            raise web.HTTPFound(self.redirects[path])
        if path not in self.files:
            return web.Response(status=404)
        return web.Response(body=self.files[path])


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Charts]:
    charts = Charts()
    app = web.Application()
    app.router.add_get("/{path:.*}", charts.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]  # asyncio's Server has it
    charts.url = f"http://127.0.0.1:{port}"
    try:
        yield charts
    finally:
        await runner.cleanup()


@pytest.fixture
async def charts() -> AsyncIterator[Charts]:
    async with serving() as found:
        found.publish(archive(CHART), "1.0.0", "1.2.0", "1.10.0", "v2.0.0", "3.0.0-rc.1")
        yield found


def fetcher(tmp_path: Path, access: Access | None = None) -> ChartFetcher:
    return ChartFetcher(
        tmp_path / "charts", access=lambda _url, _project: access or Access(), protocols=frozenset({"http"})
    )


def source(charts: Charts, revision: str = "1.2.0", chart: str = "web", **more: Any) -> Source:
    return Source(repo_url=charts.url, chart=chart, target_revision=revision, **more)


@pytest.mark.parametrize(
    ("revision", "wanted"),
    [
        ("1.2.0", "1.2.0"),
        ("1.x", "1.10.0"),
        ("^1.0", "1.10.0"),
        ("*", "v2.0.0"),
        ("2.0.0", "v2.0.0"),
        (">=3.0.0-0", "3.0.0-rc.1"),
    ],
)
async def test_versions(revision: str, wanted: str, charts: Charts, tmp_path: Path) -> None:
    resolved = await fetcher(tmp_path).resolve(source(charts, revision), project="")
    assert resolved.revision == wanted


@pytest.mark.parametrize(
    ("revision", "chart", "message"),
    [
        ("", "web", "targetRevision is required for a chart"),
        ("main", "web", "'main' is neither a version nor a constraint"),
        ("9.x", "web", "chart web has no version that matches '9.x'"),
        ("1.0.0", "absent", "there is no chart 'absent'"),
        ("1.0.0", "../x", "'../x' is no name of a chart"),
        ("-1", "web", "starts with '-'"),
    ],
)
async def test_what_is_refused(revision: str, chart: str, message: str, charts: Charts, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        await fetcher(tmp_path).resolve(source(charts, revision, chart), project="")


async def test_the_index_is_asked_for_once_and_the_archive_unpacked_once(charts: Charts, tmp_path: Path) -> None:
    found = fetcher(tmp_path)
    for _ in range(3):
        resolved = await found.resolve(source(charts), project="")
        tree = await found.tree(source(charts), resolved.revision, project="", verification=Verification())
    assert list(await tree.entries("")) == ["Chart.yaml", "templates/a.yaml"]
    assert [path for path, _ in charts.seen] == ["index.yaml", "web.tgz"]
    await found.resolve(source(charts), project="", freshness=Freshness.REFRESH)
    found.forget(charts.url)
    await found.resolve(source(charts), project="")
    assert [path for path, _ in charts.seen].count("index.yaml") == 3


async def test_credentials_go_to_the_repository_alone(charts: Charts, tmp_path: Path) -> None:
    async with serving() as elsewhere:
        elsewhere.files["web.tgz"] = archive(CHART)
        charts.password = "hush"
        charts.publish(archive(CHART), "1.2.0", urls=[f"{elsewhere.url}/web.tgz"])
        found = fetcher(tmp_path, Access(username="ada", password="hush"))
        await found.tree(source(charts), "1.2.0", project="", verification=Verification())
        assert charts.seen[-1][1].startswith("Basic ")
        assert elsewhere.seen == [("web.tgz", "")]
        other = fetcher(tmp_path / "other", Access(username="ada", password="hush"))
        passing_on = source(charts, helm=HelmSource(pass_credentials=True))
        await other.tree(passing_on, "1.2.0", project="", verification=Verification())
        assert elsewhere.seen[-1][1].startswith("Basic ")


async def test_credentials_do_not_follow_a_redirect(charts: Charts, tmp_path: Path) -> None:
    async with serving() as elsewhere:
        elsewhere.files["index.yaml"] = charts.files["index.yaml"]
        charts.redirects["index.yaml"] = f"{elsewhere.url}/index.yaml"
        found = fetcher(tmp_path, Access(bearer_token="hush"))
        await found.resolve(source(charts), project="")
        assert charts.seen == [("index.yaml", "Bearer hush")] and elsewhere.seen == [("index.yaml", "")]


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://host/x", "https://host/x"])
async def test_a_redirect_to_another_protocol_is_refused(target: str, charts: Charts, tmp_path: Path) -> None:
    charts.redirects["index.yaml"] = target
    with pytest.raises(SourceError, match=r"is not allowed"):
        await fetcher(tmp_path).resolve(source(charts), project="")


async def test_redirects_without_end_are_refused(charts: Charts, tmp_path: Path) -> None:
    charts.redirects["index.yaml"] = "/index.yaml"
    with pytest.raises(RepositoryError, match="more than 5 redirects"):
        await fetcher(tmp_path).resolve(source(charts), project="")


async def test_errors_name_the_repository_and_no_credential(charts: Charts, tmp_path: Path) -> None:
    charts.password = "right"
    with pytest.raises(RepositoryError, match=rf"^{charts.url}: HTTP 401 for {charts.url}/index\.yaml$") as error:
        await fetcher(tmp_path, Access(username="ada", password="hush")).resolve(source(charts), project="")
    assert "hush" not in str(error.value)
    gone = Source(repo_url="http://127.0.0.1:9", chart="web", target_revision="1.0.0")
    with pytest.raises(RepositoryError, match=r"^http://127\.0\.0\.1:9 cannot be reached: "):
        await fetcher(tmp_path).resolve(gone, project="")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (b"entries: [", "index.yaml cannot be read: line 2"),
        (b"<html>login</html>", "index.yaml has no entries"),
        (b"{}", "index.yaml has no entries"),
        (b'{"entries": {"web": 5}}', "there is no chart 'web'"),
        (b'{"entries": {"web": [null, {"version": 1}]}}', "has no version that matches"),
    ],
)
async def test_bad_indexes(index: bytes, message: str, charts: Charts, tmp_path: Path) -> None:
    charts.files["index.yaml"] = index
    with pytest.raises(RepositoryError, match=message):
        await fetcher(tmp_path).resolve(source(charts), project="")


def member(name: str, kind: bytes = tarfile.REGTYPE, target: str = "", size: int = 0) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.size = kind, target, size
    return found


@pytest.mark.parametrize("name", ["../evil", "web/../../evil", "/evil", "web/.git/config", "web\\..\\evil"])
async def test_archives_that_leave_their_folder_are_refused(name: str, charts: Charts, tmp_path: Path) -> None:
    charts.publish(archive(CHART, member(name)), "1.2.0")
    with pytest.raises(RenderError, match="cannot be unpacked: a path leaves it"):
        await fetcher(tmp_path).tree(source(charts), "1.2.0", project="", verification=Verification())
    assert list((tmp_path / "charts").iterdir()) == []


async def test_links_and_devices_of_an_archive_are_left_out(charts: Charts, tmp_path: Path) -> None:
    odd = [
        member("web/link", tarfile.SYMTYPE, "/etc/passwd"),
        member("web/hard", tarfile.LNKTYPE, "web/Chart.yaml"),
        member("web/device", tarfile.CHRTYPE),
        member("web/pipe", tarfile.FIFOTYPE),
    ]
    charts.publish(archive(CHART, *odd), "1.2.0")
    tree = await fetcher(tmp_path).tree(source(charts), "1.2.0", project="", verification=Verification())
    assert list(await tree.entries("")) == ["Chart.yaml", "templates/a.yaml"]


@pytest.mark.parametrize("content", [b"no archive", b"", archive(CHART)[:-40]], ids=["text", "nothing", "cut-off"])
async def test_damaged_archives(content: bytes, charts: Charts, tmp_path: Path) -> None:
    charts.publish(content, "1.2.0")
    with pytest.raises(RenderError, match=r"chart web 1\.2\.0 cannot be unpacked"):
        await fetcher(tmp_path).tree(source(charts), "1.2.0", project="", verification=Verification())


async def test_an_archive_that_is_not_what_the_index_says(charts: Charts, tmp_path: Path) -> None:
    charts.files["web.tgz"] = archive({**CHART, "web/more.yaml": "x"})
    with pytest.raises(RepositoryError, match="is not what the index says it is"):
        await fetcher(tmp_path).tree(source(charts), "1.2.0", project="", verification=Verification())


async def test_an_archive_that_unpacks_to_too_much(
    charts: Charts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fairlead.agentsync.sources import _archives as module

    monkeypatch.setattr(module, "UNPACKED_BYTES_MAX", 1000)
    charts.publish(archive({**CHART, "web/zeros": "0" * 100_000}), "1.2.0")
    with pytest.raises(RenderError, match="it holds more than 1000 bytes"):
        await fetcher(tmp_path).tree(source(charts), "1.2.0", project="", verification=Verification())


# -- with helm ---------------------------------------------------------------------------------------------------------


@pytest.mark.real
async def test_a_chart_is_rendered(charts: Charts, make_sources: MakeSources, helm: Path) -> None:
    sources = make_sources(tools=ToolSettings(helm=HelmSettings(program=str(helm))))
    resolved = await sources.resolve(source(charts, "1.2.x"), project="default")
    request = RenderRequest(application="shop", source=source(charts, "1.2.x"), revision=resolved.revision)
    found = await sources.render(request)
    assert [each["metadata"]["name"] for each in found.objects] == ["shop"]
    assert (found.source_type, found.revision) == (SourceType.HELM, "1.2.0")


@pytest.mark.real
async def test_dependencies_are_fetched_with_the_credentials_of_their_repository(
    charts: Charts, make_sources: MakeSources, helm: Path, tmp_path: Path
) -> None:
    from tests.agentsync.sources.repository import Repository

    charts.password = "hush"
    charts.files["index.yaml"] = json.dumps(
        {
            "apiVersion": "v1",
            "entries": {"web": [{"name": "web", "apiVersion": "v2", "version": "1.2.0", "urls": ["web.tgz"]}]},
        }
    ).encode()
    repository = Repository(tmp_path / "repositories" / "umbrella")
    dependencies = f"dependencies:\n- {{name: web, version: 1.2.x, repository: {charts.url}}}\n"
    repository.commit({"Chart.yaml": f"apiVersion: v2\nname: umbrella\nversion: 1.0.0\n{dependencies}"})
    umbrella = Source(repo_url=repository.url, path=".")

    async def names(secrets: list[dict[str, Any]]) -> list[str]:
        sources = make_sources(read_repositories(secrets), tools=ToolSettings(helm=HelmSettings(program=str(helm))))
        resolved = await sources.resolve(umbrella, project="default")
        request = RenderRequest(application="shop", source=umbrella, revision=resolved.revision)
        return [each["metadata"]["name"] for each in (await sources.render(request)).objects]

    data = {"url": charts.url, "type": "helm", "name": "charts", "username": "ada", "password": "hush"}
    secret = {
        "metadata": {"name": "charts", "labels": {"argocd.argoproj.io/secret-type": "repository"}},
        "stringData": data,
    }
    assert await names([secret]) == ["shop"]
    with pytest.raises(RenderError, match="helm dependency build failed") as error:
        await names([secret | {"stringData": data | {"password": "wr0ng"}}])
    assert "wr0ng" not in str(error.value)

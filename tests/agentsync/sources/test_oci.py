"""OCI registries: charts that a real helm pushed to a real registry, tokens, and answers that are meant to hurt."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import subprocess
import urllib.request
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from fairlead.agentsync.sources import (
    Access,
    GitSettings,
    HelmSettings,
    RenderError,
    RenderRequest,
    RepositoryError,
    SourceError,
    Sources,
    SourceType,
    ToolSettings,
    Verification,
)
from fairlead.agentsync.sources.oci import OciFetcher
from fairlead.agentsync.spec import Source
from tests.agentsync.sources.conftest import MakeSources
from tests.agentsync.sources.folders import folder
from tests.agentsync.sources.repository import config_map
from tests.agentsync.sources.test_charts import CHART, archive

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
HTTP = GitSettings(protocols=frozenset({"http"}))


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry:
    """A registry that says what the test wants; with a token of its own kind if a password is set."""

    def __init__(self) -> None:
        self.host = ""
        self.manifests: dict[str, bytes] = {}
        self.blobs: dict[str, bytes] = {}
        self.tags: list[Any] = []
        self.password = ""
        self.seen: list[str] = []

    def publish(self, tag: str, content: bytes, **layer: Any) -> str:
        described = {"mediaType": LAYER, "digest": digest(content), "size": len(content), **layer}
        manifest = json.dumps({"schemaVersion": 2, "layers": [described]}).encode()
        self.blobs[described["digest"]] = content
        self.manifests[tag] = self.manifests[digest(manifest)] = manifest
        self.tags.append(tag)
        return digest(manifest)

    async def handle(self, request: web.Request) -> web.Response:
        self.seen.append(request.path)
        sent = request.headers.get("Authorization", "")
        if request.path == "/token":
            good = "Basic " + base64.b64encode(f"ada:{self.password}".encode()).decode()
            assert request.query["scope"] == "repository:team/web:pull"
            return web.json_response({"token": "t0ken"}) if sent == good else web.Response(status=401)
        if self.password and sent != "Bearer t0ken":
            scheme = f'Bearer realm="http://{self.host}/token",service="r",scope="repository:team/web:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": scheme})
        kind, _, name = request.path.removeprefix("/v2/team/web/").partition("/")
        if kind == "tags":
            return self._page(request)
        found = (self.manifests if kind == "manifests" else self.blobs).get(name)
        return web.Response(body=found) if found is not None else web.Response(status=404)

    def _page(self, request: web.Request) -> web.Response:
        first = int(request.query.get("last", "0"))
        more = {"Link": f'</v2/team/web/tags/list?last={first + 2}>; rel="next"'} if first + 2 < len(self.tags) else {}
        return web.json_response({"name": "team/web", "tags": self.tags[first : first + 2]}, headers=more)


@pytest.fixture
async def played() -> AsyncIterator[Registry]:
    async with serving() as found:
        yield found


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Registry]:
    found = Registry()
    app = web.Application()
    app.router.add_get("/{path:.*}", found.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert site._server is not None
    found.host = f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]  # asyncio's Server
    try:
        yield found
    finally:
        await runner.cleanup()


def fetcher(tmp_path: Path, access: Access | None = None) -> OciFetcher:
    return OciFetcher(tmp_path / "oci", access=lambda _url, _project: access or Access(), protocols=frozenset({"http"}))


def source(played: Registry, revision: str = "1.0.0", **more: Any) -> Source:
    return Source(repo_url=f"oci://{played.host}/team/web", target_revision=revision, path=".", **more)


MANIFESTS = archive({"a.yaml": config_map("a"), "deep/b.yaml": config_map("b")})


async def read(found: OciFetcher, wanted: Source) -> list[str]:
    resolved = await found.resolve(wanted, project="")
    return list(
        await (await found.tree(wanted, resolved.revision, project="", verification=Verification())).entries("")
    )


async def test_a_tag_is_resolved_to_its_digest(played: Registry, tmp_path: Path) -> None:
    wanted = played.publish("1.0.0", MANIFESTS)
    found = fetcher(tmp_path)
    for revision in ("1.0.0", wanted):
        assert (await found.resolve(source(played, revision), project="")).revision == wanted
    assert await read(found, source(played)) == ["a.yaml", "deep/b.yaml"]


async def test_constraints_look_at_all_pages_of_tags(played: Registry, tmp_path: Path) -> None:
    for tag in ("1.0.0", "latest", "1.2.0", "2.0.0", "1.10.0", "1.11.0_build"):
        played.publish(tag, MANIFESTS + tag.encode())
    chart = Source(repo_url=f"oci://{played.host}/team", chart="web", target_revision="1.x")
    assert (await fetcher(tmp_path).resolve(chart, project="")).revision == "1.11.0+build"
    with pytest.raises(RepositoryError, match=r"has no tag that matches '9\.x'"):
        await fetcher(tmp_path).resolve(source(played, "9.x"), project="")


async def test_a_token_is_got_where_the_registry_says(played: Registry, tmp_path: Path) -> None:
    played.publish("1.0.0", MANIFESTS)
    played.password = "hush"
    found = fetcher(tmp_path, Access(username="ada", password="hush"))
    assert await read(found, source(played)) == ["a.yaml", "deep/b.yaml"]
    assert played.seen.count("/token") == 1
    with pytest.raises(RepositoryError, match=r"no token of .*/token: HTTP 401") as error:
        await read(fetcher(tmp_path / "other", Access(username="ada", password="wr0ng")), source(played))
    assert "wr0ng" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"digest": "sha256:" + "0" * 64}, "HTTP 404|is not what its manifest says", id="other-digest"),
        pytest.param({"digest": "md5:0"}, "holds 1 archives: expected one", id="odd-digest"),
        pytest.param({"mediaType": "text/plain"}, "holds 0 archives: expected one", id="no-archive"),
        pytest.param({"size": 10**12}, "has 1000000000000 bytes: at most", id="large"),
        pytest.param({"size": "x"}, "has x bytes: at most", id="odd-size"),
    ],
)
async def test_manifests_that_say_odd_things(
    change: dict[str, Any], message: str, played: Registry, tmp_path: Path
) -> None:
    played.publish("1.0.0", MANIFESTS, **change)
    played.blobs["sha256:" + "0" * 64] = b"something else"
    with pytest.raises(SourceError, match=message):
        await read(fetcher(tmp_path), source(played))


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"layers": 5}', b'{"layers": [null]}', b"[" * 100_000])
async def test_manifests_that_are_none(manifest: bytes, played: Registry, tmp_path: Path) -> None:
    played.manifests["1.0.0"] = played.manifests[digest(manifest)] = manifest
    with pytest.raises((RepositoryError, RenderError)):
        await read(fetcher(tmp_path), source(played))


async def test_a_manifest_must_be_the_one_of_its_digest(played: Registry, tmp_path: Path) -> None:
    wanted = played.publish("1.0.0", MANIFESTS)
    played.manifests[wanted] = played.manifests["1.0.0"] + b" "
    with pytest.raises(RepositoryError, match="the manifest is not sha256:"):
        await read(fetcher(tmp_path), source(played, wanted))


async def test_archives_that_leave_their_folder_are_refused(played: Registry, tmp_path: Path) -> None:
    played.publish("1.0.0", archive({"../evil": "x"}))
    with pytest.raises(RenderError, match="cannot be unpacked: a path leaves it"):
        await read(fetcher(tmp_path), source(played))


@pytest.mark.parametrize(
    ("url", "revision", "message"),
    [
        ("oci://host/Team/Web", "1.0.0", "'Team/Web' is no name in a registry"),
        ("oci://host/team/../web", "1.0.0", "is no name in a registry"),
        ("oci://host", "1.0.0", "is no name in a registry"),
        ("oci://host/web", "", "targetRevision is required"),
        ("oci://host/web", "-x", "starts with '-'"),
    ],
)
async def test_what_is_refused(url: str, revision: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        await fetcher(tmp_path).resolve(Source(repo_url=url, target_revision=revision), project="")


async def test_plain_http_is_spoken_only_when_allowed(played: Registry, tmp_path: Path) -> None:
    played.publish("1.0.0", MANIFESTS)
    secure = OciFetcher(tmp_path / "oci", access=lambda _url, _project: Access())
    with pytest.raises(RepositoryError, match="cannot be reached"):
        await secure.resolve(source(played), project="")
    assert played.seen == []


# -- with a registry and helm ------------------------------------------------------------------------------------------


def push_chart(helm: Path, registry: str, tmp_path: Path, version: str) -> None:
    content = CHART | {"web/Chart.yaml": f"apiVersion: v2\nname: web\nversion: {version}\n"}
    root = folder(tmp_path / f"chart-{version}", content)
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    package = [str(helm), "package", str(root / "web"), "-d", str(root)]
    push = [str(helm), "push", str(root / f"web-{version}.tgz"), f"oci://{registry}/charts", "--plain-http"]
    for command in (package, push):
        subprocess.run(command, check=True, capture_output=True, env=environment)


def push_manifests(registry: str, content: bytes) -> str:
    """Push an artefact of one layer as any client does; return its digest."""

    def send(method: str, url: str, body: bytes, kind: str) -> str:
        request = urllib.request.Request(url, data=body, method=method, headers={"Content-Type": kind})
        with urllib.request.urlopen(request) as answer:
            return str(answer.headers.get("Location", ""))

    base = f"http://{registry}/v2/team/manifests"
    config = b"{}"
    for blob in (config, content):
        place = send("POST", f"{base}/blobs/uploads/", b"", "application/octet-stream")
        place = place if place.startswith("http") else f"http://{registry}{place}"
        send("PUT", f"{place}?digest={digest(blob)}", blob, "application/octet-stream")
    layers = [{"mediaType": LAYER, "digest": digest(content), "size": len(content)}]
    described = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(config), "size": 2}
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": described,
            "layers": layers,
        }
    ).encode()
    send("PUT", f"{base}/manifests/1.0.0", manifest, "application/vnd.oci.image.manifest.v1+json")
    return digest(manifest)


async def rendered(sources: Sources, wanted: Source) -> tuple[list[str], str, SourceType | None]:
    resolved = await sources.resolve(wanted, project="default")
    found = await sources.render(RenderRequest(application="shop", source=wanted, revision=resolved.revision))
    return [each["metadata"]["name"] for each in found.objects], found.revision, found.source_type


@pytest.mark.real
async def test_charts_that_helm_pushed(registry: str, helm: Path, make_sources: MakeSources, tmp_path: Path) -> None:
    for version in ("1.0.0", "1.2.0", "2.0.0"):
        push_chart(helm, registry, tmp_path, version)
    sources = make_sources(git=HTTP, tools=ToolSettings(helm=HelmSettings(program=str(helm))))
    for url in (f"oci://{registry}/charts", f"{registry}/charts"):
        wanted = Source(repo_url=url, chart="web", target_revision="1.x")
        assert await rendered(sources, wanted) == (["shop"], "1.2.0", SourceType.HELM)


@pytest.mark.real
async def test_manifests_of_an_artefact(registry: str, make_sources: MakeSources) -> None:
    pushed = push_manifests(registry, MANIFESTS)
    sources = make_sources(git=HTTP)
    wanted = Source(repo_url=f"oci://{registry}/team/manifests", target_revision="1.0.0", path="deep")
    assert await rendered(sources, wanted) == (["b"], pushed, SourceType.DIRECTORY)

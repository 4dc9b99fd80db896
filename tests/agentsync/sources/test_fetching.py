"""The facade: one commit per set of objects, caches, failures, several sources, plug-ins."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync.sources import (
    Entry,
    FetcherContext,
    Freshness,
    ManifestSources,
    RenderError,
    RenderRequest,
    RepositoryError,
    Resolved,
    SourceError,
    Sources,
    SourcesSettings,
    SourceType,
    Tree,
    Verification,
)
from fairlead.agentsync.sources._tools import explicit_type
from fairlead.agentsync.sources.fetching import with_scheme
from fairlead.agentsync.spec import (
    DirectorySource,
    HelmSource,
    Jsonnet,
    KustomizeSource,
    PluginSource,
    Source,
)
from tests.agentsync.sources.folders import MemoryTree
from tests.agentsync.sources.repository import config_map


class Bucket:
    """A fetcher of `mem://` URLs whose revisions are trees in memory."""

    def __init__(self) -> None:
        self.revisions: dict[str, Mapping[str, str]] = {}
        self.newest = ""
        self.trees = 0
        self.error: SourceError | None = None

    async def resolve(self, source: Source, *, project: str, freshness: Freshness) -> Resolved:
        return Resolved(revision=source.target_revision or self.newest)

    async def tree(self, source: Source, revision: str, *, project: str, verification: Verification) -> Tree:
        self.trees += 1
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        return CountedTree(self.revisions[revision])


class CountedTree(MemoryTree):
    async def entries(self, under: str) -> Mapping[str, Entry]:
        await asyncio.sleep(0)  # so that others get their turn in between
        return await super().entries(under)


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sources(bucket: Bucket, clock: Clock, tmp_path: Path) -> Sources:
    return Sources(tmp_path / "sources", SourcesSettings(), plugins={"mem": lambda _: bucket}, clock=clock)


SOURCE = Source(repo_url="mem://host/web", path="app")


def request(revision: str, **more: Any) -> RenderRequest:
    given: dict[str, Any] = {"application": "shop", "source": SOURCE, "revision": revision, **more}
    return RenderRequest(**given)


async def names(sources: Sources, wanted: RenderRequest) -> list[str]:
    return [each["metadata"]["name"] for each in (await sources.render(wanted)).objects]


def test_it_is_the_port(sources: Sources) -> None:
    port: ManifestSources = sources
    assert port is sources


async def test_invariant_45_objects_come_from_the_commit_that_was_asked_for(sources: Sources, bucket: Bucket) -> None:
    bucket.revisions = {
        "one": {"app/a.yaml": config_map("a1"), "app/b.yaml": config_map("b1")},
        "two": {"app/a.yaml": config_map("a2"), "app/b.yaml": config_map("b2")},
    }
    bucket.newest = "one"
    resolved = await sources.resolve(SOURCE, project="default")
    bucket.newest = "two"  # pushed in between
    found = await sources.render(request(resolved.revision))
    assert [each["metadata"]["name"] for each in found.objects] == ["a1", "b1"]
    assert (found.revision, found.source_type) == ("one", SourceType.DIRECTORY)


async def test_many_requests_render_once_and_share_nothing(sources: Sources, bucket: Bucket) -> None:
    bucket.revisions = {"one": {"app/a.yaml": config_map("a")}}
    found = await asyncio.gather(*(sources.render(request("one")) for _ in range(20)))
    assert bucket.trees == 1
    found[0].objects[0]["metadata"]["name"] = "changed"
    assert [each.objects[0]["metadata"]["name"] for each in found[1:]] == ["a"] * 19
    assert await names(sources, request("one")) == ["a"]


async def test_a_hard_refresh_renders_anew(sources: Sources, bucket: Bucket) -> None:
    bucket.revisions = {"one": {"app/a.yaml": config_map("a")}}
    for freshness, trees in ((Freshness.CACHED, 1), (Freshness.REFRESH, 1), (Freshness.HARD, 2)):
        assert await names(sources, request("one", freshness=freshness)) == ["a"]
        assert bucket.trees == trees


async def test_a_bad_revision_is_rendered_three_times_and_then_remembered(
    sources: Sources, bucket: Bucket, clock: Clock
) -> None:
    bucket.revisions = {"bad": {"app/a.yaml": config_map("a") + "---\n["}, "good": {"app/a.yaml": config_map("a")}}
    for _ in range(3):
        with pytest.raises(RenderError, match=r"^Failed to unmarshal"):
            await sources.render(request("bad"))
    with pytest.raises(RenderError, match=r"^Manifest generation error \(cached\): Failed to unmarshal"):
        await sources.render(request("bad"))
    assert bucket.trees == 3
    assert await names(sources, request("good")) == ["a"]
    with pytest.raises(RenderError, match=r"^Failed"):
        await sources.render(request("bad", freshness=Freshness.HARD))
    clock.seconds = 4000
    with pytest.raises(RenderError, match=r"^Failed"):
        await sources.render(request("bad"))


async def test_an_unreachable_repository_is_no_failure_of_its_revision(sources: Sources, bucket: Bucket) -> None:
    bucket.revisions = {"one": {"app/a.yaml": config_map("a")}}
    bucket.error = RepositoryError("gone")
    for _ in range(5):
        with pytest.raises(RepositoryError, match=r"^gone$"):
            await sources.render(request("one"))
    bucket.error = None
    assert await names(sources, request("one")) == ["a"]


async def test_a_source_that_only_lends_files_has_no_objects(sources: Sources, bucket: Bucket) -> None:
    found = await sources.render(request("one", source=Source(repo_url="mem://host/values", ref="values")))
    assert (found.objects, found.source_type, bucket.trees) == ((), None, 0)


async def test_a_source_with_ref_and_chart_is_refused(sources: Sources) -> None:
    with pytest.raises(SourceError, match="a source with ref cannot have a chart"):
        await sources.render(request("one", source=Source(repo_url="mem://host/x", ref="x", chart="y")))


@pytest.mark.parametrize(
    ("files", "wanted"),
    [
        ({"app/Chart.yaml": "x", "app/kustomization.yaml": "x"}, "Helm"),
        ({"app/kustomization.yml": "x"}, "Kustomize"),
        ({"app/Kustomization": "x"}, "Kustomize"),
        ({"app/sub/Chart.yaml": "x", "app/a.yaml": config_map("a")}, "Directory"),
    ],
)
async def test_the_tool_is_found_by_its_files(files: dict[str, str], wanted: str) -> None:
    from fairlead.agentsync.sources._tools import discovered_type

    assert await discovered_type(MemoryTree(files), "app") == wanted


@pytest.mark.parametrize(
    ("source", "message"),
    [
        pytest.param(
            Source(kustomize=KustomizeSource(), helm=HelmSource()),
            "^multiple application sources defined: Kustomize,Helm$",
            id="two-tools",
        ),
        pytest.param(Source(plugin=PluginSource(name="x")), "plug-ins are not supported", id="plug-in"),
        pytest.param(
            Source(directory=DirectorySource(jsonnet=Jsonnet(libs=("lib",)))), "Jsonnet is not supported", id="jsonnet"
        ),
        pytest.param(Source(chart="x", kustomize=KustomizeSource()), "rendered by Helm, not by Kustomize", id="chart"),
    ],
)
def test_what_no_tool_can_do(source: Source, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        explicit_type(source)


async def test_an_explicit_tool_beats_the_files(sources: Sources, bucket: Bucket) -> None:
    bucket.revisions = {"one": {"app/Chart.yaml": "a: 1\n", "app/a.yaml": config_map("a")}}
    source = Source(repo_url="mem://host/web", path="app", directory=DirectorySource())
    assert await names(sources, request("one", source=source)) == ["a"]


# -- plug-ins ----------------------------------------------------------------------------------------------------------


async def test_a_plug_in_gets_a_folder_and_credentials(tmp_path: Path) -> None:
    seen: list[FetcherContext] = []

    def make(context: FetcherContext) -> Bucket:
        seen.append(context)
        found = Bucket()
        found.newest = "one"
        return found

    sources = Sources(tmp_path / "sources", plugins={"mem": make})
    for _ in range(2):
        assert (await sources.resolve(SOURCE, project="default")).revision == "one"
    (context,) = seen
    assert context.folder.stat().st_mode & 0o777 == 0o700
    assert not context.access("https://host/web", "default").has_credentials


async def test_an_installed_plug_in_is_found_by_its_scheme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from fairlead.agentsync.sources import registry

    def installed(*, group: str, name: str) -> list[EntryPoint]:
        assert group == "fairlead.manifest_sources"
        values = {"mem": "tests.agentsync.sources.test_fetching:make_bucket", "odd": "no.such.module:x"}
        return [EntryPoint(name=name, value=values[name], group=group)] if name in values else []

    monkeypatch.setattr(registry, "entry_points", installed)
    sources = Sources(tmp_path / "sources")
    assert (await sources.resolve(SOURCE, project="")).revision == "installed"
    with pytest.raises(SourceError, match=r"the plug-in no\.such\.module:x cannot be loaded"):
        await sources.resolve(Source(repo_url="odd://x/y"), project="")
    with pytest.raises(SourceError, match=r"no plug-in of fairlead\.manifest_sources knows none://"):
        await sources.resolve(Source(repo_url="none://x/y"), project="")


def make_bucket(_: FetcherContext) -> Bucket:
    found = Bucket()
    found.newest = "installed"
    return found


def test_folders_are_ours_alone(sources: Sources, tmp_path: Path) -> None:
    assert {each.name: each.stat().st_mode & 0o777 for each in (tmp_path / "sources").iterdir()} == dict.fromkeys(
        ("scratch", "stores", "charts", "oci", "plugins"), 0o700
    )


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    scratch = tmp_path / "sources" / "scratch"
    for name, age in (("run-old", 7200), ("run-young", 60)):
        (scratch / name).mkdir(parents=True)
        (scratch / name / "key").write_text("hush")
        os.utime(scratch / name, (time.time() - age,) * 2)
    Sources(tmp_path / "sources")
    assert [each.name for each in scratch.iterdir()] == ["run-young"]


@pytest.mark.parametrize(
    ("url", "chart", "wanted"),
    [
        ("ghcr.io/team/charts", "web", "oci://ghcr.io/team/charts"),
        ("https://host/charts", "web", "https://host/charts"),
        ("oci://ghcr.io/team/charts", "web", "oci://ghcr.io/team/charts"),
        ("git@host:team/web", "", "git@host:team/web"),
    ],
)
def test_registries_of_charts_need_no_scheme(url: str, chart: str, wanted: str) -> None:
    assert with_scheme(Source(repo_url=url, chart=chart)).repo_url == wanted

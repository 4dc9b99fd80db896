"""What an earlier commit yielded holds for a later one exactly when nothing that it was made from changed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync.sources import (
    Freshness,
    HelmSettings,
    KustomizeSettings,
    ProgramMissing,
    Reference,
    Rendered,
    RenderError,
    RenderRequest,
    Sources,
    SourcesSettings,
    ToolSettings,
    Verification,
    VerificationMode,
    _programs,
)
from fairlead.agentsync.sources._tools import Tools
from fairlead.agentsync.spec import DirectorySource, HelmParameter, HelmSource, KustomizeSource, Source
from tests.agentsync.sources.conftest import MakeSources
from tests.agentsync.sources.folders import MemoryTree
from tests.agentsync.sources.repository import Repository, config_map
from tests.agentsync.sources.test_fetching import Bucket

SOURCE = Source(repo_url="mem://host/web", path="app")
DEEP = Source(repo_url="mem://host/web", path="app", directory=DirectorySource(recurse=True))
BASE = {"app/a.yaml": config_map("a"), "app/sub/b.yaml": config_map("b"), "other/c.yaml": config_map("c")}


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def sources(bucket: Bucket, tmp_path: Path) -> Sources:
    return Sources(tmp_path / "sources", SourcesSettings(), plugins={"mem": lambda _: bucket})


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that were read."""
    found: list[str] = []
    really = MemoryTree.read

    async def reading(tree: MemoryTree, entries: Sequence[Any]) -> list[bytes]:
        found.extend(entry.path for entry in entries)
        return await really(tree, entries)

    monkeypatch.setattr(MemoryTree, "read", reading)
    return found


async def at(sources: Sources, revision: str, **more: Any) -> Rendered:
    given: dict[str, Any] = {"application": "shop", "source": DEEP, "revision": revision, **more}
    return await sources.render(RenderRequest(**given))


def names(found: Rendered) -> list[str]:
    return [each["metadata"]["name"] for each in found.objects]


@pytest.mark.parametrize(
    ("change", "is_reused"),
    [
        pytest.param({"other/c.yaml": config_map("changed")}, True, id="elsewhere"),
        pytest.param({"more.yaml": "x"}, True, id="new-elsewhere"),
        pytest.param({"app/a.yaml": config_map("changed")}, False, id="changed"),
        pytest.param({"app/new.yaml": config_map("new")}, False, id="new"),
        pytest.param({"app/readme": "x"}, False, id="new-that-does-not-count"),
        pytest.param({"app/Chart.yaml": "x: 1"}, False, id="other-tool"),
        pytest.param({"app/.argocd-source.yaml": "directory: {recurse: true}"}, False, id="parameter-file"),
        pytest.param({"app/.argocd-source-shop.yaml": "{}"}, False, id="own-parameter-file"),
    ],
)
async def test_what_counts_as_a_change(
    change: dict[str, str], is_reused: bool, sources: Sources, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    rendered: list[str] = []
    really = Tools.render

    async def rendering(tools: Tools, tree: Any, request: RenderRequest, **more: Any) -> Rendered:
        rendered.append(request.revision)
        return await really(tools, tree, request, **more)

    monkeypatch.setattr(Tools, "render", rendering)
    bucket.revisions = {"one": BASE, "two": BASE | change}
    await at(sources, "one", source=SOURCE)
    try:
        assert (await at(sources, "two", source=SOURCE)).revision == "two"
    except (ProgramMissing, RenderError):
        assert "app/Chart.yaml" in change  # no chart, and perhaps no helm
    assert rendered == (["one"] if is_reused else ["one", "two"])


async def test_nothing_is_read_when_nothing_changed(sources: Sources, bucket: Bucket, read: list[str]) -> None:
    bucket.revisions = {name: BASE | {"other/c.yaml": config_map(name)} for name in ("one", "two", "three")}
    assert names(await at(sources, "one")) == ["a", "b"]
    assert read == ["app/a.yaml", "app/sub/b.yaml"]
    for revision in ("two", "three", "two"):
        found = await at(sources, revision)
        assert (names(found), found.revision) == (["a", "b"], revision)
    assert len(read) == 2


async def test_a_deleted_file_is_a_change(sources: Sources, bucket: Bucket) -> None:
    bucket.revisions = {"one": BASE, "two": {"app/a.yaml": BASE["app/a.yaml"]}}
    assert names(await at(sources, "one")) == ["a", "b"]
    assert names(await at(sources, "two")) == ["a"]


async def test_another_request_is_another_thing(sources: Sources, bucket: Bucket) -> None:
    bucket.revisions = {"one": BASE, "two": BASE}
    await at(sources, "one")
    assert names(await at(sources, "two", source=SOURCE)) == ["a"]


async def test_a_hard_refresh_renders_anew(sources: Sources, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.revisions = {"one": BASE, "two": BASE}
    await at(sources, "one")

    async def never(*_: Any) -> None:
        raise AssertionError("a hard refresh asks nobody what was")

    monkeypatch.setattr("fairlead.agentsync.sources._reuse.Reuse.find", never)
    assert names(await at(sources, "two", freshness=Freshness.HARD)) == ["a", "b"]


async def test_every_reader_still_gets_objects_of_its_own(sources: Sources, bucket: Bucket) -> None:
    bucket.revisions = {"one": BASE, "two": BASE}
    for revision in ("one", "two"):
        found = await at(sources, revision)
        found.objects[0]["metadata"]["name"] = "changed"
    assert names(await at(sources, "two")) == ["a", "b"]


async def test_trust_that_changed_forgets_all(sources: Sources, bucket: Bucket, read: list[str]) -> None:
    from fairlead.agentsync.sources import Repositories

    bucket.revisions = {"one": BASE, "two": BASE}
    await at(sources, "one")
    sources.trust(Repositories(), {"K": "key"})
    assert sources._reuse._known == {}
    assert names(await at(sources, "two")) == ["a", "b"]


# -- with programs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each rendering program was started."""
    found: Counter[str] = Counter()
    really = _programs.run

    async def counting(argv: Sequence[str], **more: Any) -> Any:
        found[Path(argv[0]).name.split("-")[0]] += 1
        return await really(argv, **more)

    for module in ("kustomize", "helm"):
        monkeypatch.setattr(f"fairlead.agentsync.sources.{module}.run", counting)
    return found


async def newest(sources: Sources, source: Source, **more: Any) -> Rendered:
    resolved = await sources.resolve(source, project="default", freshness=Freshness.REFRESH)
    given: dict[str, Any] = {"application": "shop", "source": source, "revision": resolved.revision, **more}
    return await sources.render(RenderRequest(**given))


@pytest.mark.real
async def test_kustomize_runs_only_for_what_changed(
    repository: Repository, make_sources: MakeSources, kustomize: Path, started: Counter[str]
) -> None:
    repository.commit(
        {
            "base/kustomization.yaml": "resources: [a.yaml]\n",
            "base/a.yaml": config_map("a"),
            **{f"apps/{n}/kustomization.yaml": f"resources: [../../base]\nnamePrefix: p{n}-\n" for n in range(10)},
        }
    )
    sources = make_sources(tools=ToolSettings(kustomize=KustomizeSettings(program=str(kustomize))))

    async def all_names() -> list[str]:
        one = (newest(sources, Source(repo_url=repository.url, path=f"apps/{n}")) for n in range(10))
        return [name for found in await asyncio.gather(*one) for name in names(found)]

    assert await all_names() == [f"p{n}-a" for n in range(10)]
    assert started["kustomize"] == 10
    repository.commit({"apps/3/kustomization.yaml": "resources: [../../base]\nnamePrefix: changed-\n", "readme": "x"})
    assert (await all_names())[2:5] == ["p2-a", "changed-a", "p4-a"]
    assert started["kustomize"] == 11
    repository.commit({"base/a.yaml": config_map("b")})  # all of them lean on it
    assert (await all_names())[0] == "p0-b"
    assert started["kustomize"] == 21


@pytest.mark.real
async def test_what_names_its_commit_is_rendered_for_each(
    repository: Repository, make_sources: MakeSources, kustomize: Path, started: Counter[str]
) -> None:
    repository.commit({"app/kustomization.yaml": "resources: [a.yaml]\n", "app/a.yaml": config_map("a")})
    sources = make_sources(tools=ToolSettings(kustomize=KustomizeSettings(program=str(kustomize))))
    options = KustomizeSource(common_labels={"commit": "$ARGOCD_APP_REVISION"})
    source = Source(repo_url=repository.url, path="app", kustomize=options)
    for _ in range(2):
        commit = repository.commit({"readme": repository.head()})
        assert (await newest(sources, source)).objects[0]["metadata"]["labels"] == {"commit": commit}
    assert started["kustomize"] == 2


@pytest.mark.real
async def test_helm_runs_again_when_a_lent_value_file_changed(
    repository: Repository, make_sources: MakeSources, helm: Path, tmp_path: Path, started: Counter[str]
) -> None:
    template = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Values.name }}'}\n"
    repository.commit({"app/Chart.yaml": "apiVersion: v2\nname: a\nversion: 1.0.0\n", "app/templates/a.yaml": template})
    values = Repository(tmp_path / "repositories" / "values")
    sources = make_sources(tools=ToolSettings(helm=HelmSettings(program=str(helm))))
    parameters = (HelmParameter(name="unused", value="$ARGOCD_APP_NAME"),)
    source = Source(
        repo_url=repository.url, path="app", helm=HelmSource(value_files=("$v/live.yaml",), parameters=parameters)
    )
    lender = Source(repo_url=values.url, ref="v")
    for content, other, runs in (("name: a", "1", 1), ("name: a", "2", 1), ("name: b", "2", 2)):
        commit = values.commit({"live.yaml": content, "other": other})
        repository.commit({"readme": other})
        found = await newest(sources, source, references=(Reference(source=lender, revision=commit),))
        assert names(found) == [content.removeprefix("name: ")]
        assert started["helm"] == runs


@pytest.mark.real
async def test_invariant_54_an_unsigned_commit_is_refused_even_if_its_files_are_known(
    repository: Repository, make_sources: MakeSources
) -> None:
    from fairlead.agentsync.sources import SignatureError

    repository.commit({"app/a.yaml": config_map("a")})
    source = Source(repo_url=repository.url, path="app")
    sources = make_sources()
    await newest(sources, source)
    repository.commit({"readme": "x"})
    listed = Verification(mode=VerificationMode.HEAD, keys=("A" * 16,))
    with pytest.raises(SignatureError):
        await newest(sources, source, verification=listed)

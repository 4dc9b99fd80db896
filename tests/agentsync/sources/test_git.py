"""Git over files: what is fetched, what is held, what a repository cannot do to us (bad inputs, rows 40 to 43)."""

from __future__ import annotations

import asyncio
import resource
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync.sources import (
    Freshness,
    GitSettings,
    RenderError,
    RenderRequest,
    RepositoryError,
    SourceError,
    Sources,
    _programs,
    _store,
)
from fairlead.agentsync.spec import DirectorySource, Source
from tests.agentsync.sources.conftest import MakeSources
from tests.agentsync.sources.repository import Repository, config_map

pytestmark = pytest.mark.real


def source_of(repository: Repository, revision: str = "", path: str = "app", **more: Any) -> Source:
    return Source(repo_url=repository.url, target_revision=revision, path=path, **more)


async def rendered(sources: Sources, source: Source, freshness: Freshness = Freshness.REFRESH) -> list[str]:
    """Return the names of what a source yields now."""
    resolved = await sources.resolve(source, project="default", freshness=freshness)
    request = RenderRequest(application="shop", source=source, revision=resolved.revision)
    found = await sources.render(request)
    assert found.revision == resolved.revision
    return [each["metadata"]["name"] for each in found.objects]


async def test_a_branch_is_rendered_and_followed(repository: Repository, make_sources: MakeSources) -> None:
    sources, source = make_sources(), source_of(repository, "main")
    repository.commit({"app/a.yaml": config_map("one")})
    assert await rendered(sources, source) == ["one"]
    repository.commit({"app/a.yaml": config_map("two")})
    assert await rendered(sources, source, Freshness.CACHED) == ["one"]
    assert await rendered(sources, source) == ["two"]


async def test_a_force_push_is_followed_and_takes_nothing_away(
    repository: Repository, make_sources: MakeSources
) -> None:
    sources, source = make_sources(), source_of(repository, "main")
    first = repository.commit({"app/a.yaml": config_map("one")})
    repository.commit({"app/a.yaml": config_map("lost")})
    assert await rendered(sources, source) == ["lost"]
    lost = repository.head()
    repository.git("reset", "--quiet", "--hard", first)
    repository.commit({"app/a.yaml": config_map("rewritten")})
    repository.git("reflog", "expire", "--expire=now", "--all")
    repository.git("gc", "--quiet", "--prune=now")
    assert await rendered(sources, source) == ["rewritten"]
    # The commit that nobody has any more is still held by us: its manifests can be had anew.
    request = RenderRequest(application="shop", source=source, revision=lost, freshness=Freshness.HARD)
    assert [each["metadata"]["name"] for each in (await sources.render(request)).objects] == ["lost"]


async def test_a_moved_tag_is_followed(repository: Repository, make_sources: MakeSources) -> None:
    sources, source = make_sources(), source_of(repository, "v1.0.0")
    repository.commit({"app/a.yaml": config_map("one")})
    repository.git("tag", "v1.0.0")
    assert await rendered(sources, source) == ["one"]
    repository.commit({"app/a.yaml": config_map("two")})
    repository.git("tag", "--force", "-a", "-m", "again", "v1.0.0")
    assert await rendered(sources, source) == ["two"]


async def test_a_deleted_branch_is_an_error_and_no_empty_set(repository: Repository, make_sources: MakeSources) -> None:
    sources, source = make_sources(), source_of(repository, "dev")
    repository.commit({"app/a.yaml": config_map("one")})
    repository.git("branch", "dev")
    assert await rendered(sources, source) == ["one"]
    repository.git("branch", "-D", "dev")
    with pytest.raises(RepositoryError, match=r"^unable to resolve 'dev' to a commit SHA$"):
        await rendered(sources, source)


async def test_a_vanished_repository_is_an_error(repository: Repository, make_sources: MakeSources) -> None:
    sources, source = make_sources(), source_of(repository)
    repository.commit({"app/a.yaml": config_map("one")})
    assert await rendered(sources, source) == ["one"]
    repository.folder.rename(repository.folder.with_name("elsewhere"))
    with pytest.raises(RepositoryError, match="does not appear to be a git repository"):
        await rendered(sources, source)


async def test_short_hashes_are_completed_and_old_commits_fetched(
    repository: Repository, make_sources: MakeSources
) -> None:
    old = repository.commit({"app/a.yaml": config_map("old")})
    repository.commit({"app/a.yaml": config_map("new")})
    sources = make_sources()
    assert await rendered(sources, source_of(repository, old[:8])) == ["old"]
    assert await rendered(sources, source_of(repository, old)) == ["old"]
    with pytest.raises(RepositoryError, match="unable to resolve 'abcdef12' to a commit SHA"):
        await rendered(sources, source_of(repository, "abcdef12"))
    with pytest.raises(RepositoryError, match=r"has no commit 0{40}|not our ref"):
        await rendered(sources, source_of(repository, "0" * 40))


async def test_a_shallow_origin_is_enough(repository: Repository, make_sources: MakeSources, tmp_path: Path) -> None:
    repository.commit({"app/a.yaml": config_map("old")})
    repository.commit({"app/a.yaml": config_map("new")})
    shallow = tmp_path / "shallow"
    repository.git("clone", "--quiet", "--bare", "--depth=1", repository.url, str(shallow))
    source = Source(repo_url=f"file://{shallow}", path="app")
    assert await rendered(make_sources(), source) == ["new"]


async def test_many_ask_and_each_thing_is_done_once(
    repository: Repository, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: Counter[str] = Counter()
    really = _programs.run

    async def counting(argv: Sequence[str], **more: Any) -> Any:
        commands.update(each for each in argv if each in ("ls-remote", "fetch", "ls-tree", "cat-file"))
        return await really(argv, **more)

    monkeypatch.setattr("fairlead.agentsync.sources._gitprogram.run", counting)
    repository.commit({f"app-{n}/a.yaml": config_map(f"a{n}") for n in range(100)})
    sources = make_sources()

    async def all_names() -> list[list[str]]:
        one = (rendered(sources, source_of(repository, path=f"app-{n}"), Freshness.CACHED) for n in range(100))
        return list(await asyncio.gather(*one))

    assert await all_names() == [[f"a{n}"] for n in range(100)]
    assert (commands["ls-remote"], commands["fetch"], commands["ls-tree"]) == (1, 1, 1)
    assert commands["cat-file"] <= 20  # who asks while one is read is served by the next
    repository.commit({"app-7/a.yaml": config_map("changed")})
    sources.moved(repository.url)
    commands.clear()
    assert (await all_names())[7] == ["changed"]
    assert commands == {"ls-remote": 1, "fetch": 1, "ls-tree": 1, "cat-file": 1}


async def test_a_webhook_makes_the_next_question_reach_the_server(
    repository: Repository, make_sources: MakeSources
) -> None:
    sources, source = make_sources(), source_of(repository)
    repository.commit({"app/a.yaml": config_map("one")})
    assert await rendered(sources, source, Freshness.CACHED) == ["one"]
    repository.commit({"app/a.yaml": config_map("two")})
    sources.moved(repository.url + ".git")
    assert await rendered(sources, source, Freshness.CACHED) == ["two"]


async def test_a_restart_uses_the_store_and_a_damaged_one_is_made_anew(
    repository: Repository, make_sources: MakeSources, tmp_path: Path
) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    source = source_of(repository)
    assert await rendered(make_sources(), source) == ["one"]
    (store,) = (tmp_path / "sources" / "stores").iterdir()
    (store / "shallow.lock").write_text("")  # what a process leaves that is killed while it fetches
    repository.commit({"app/a.yaml": config_map("two")})
    assert await rendered(make_sources(), source) == ["two"]


async def test_a_store_lets_old_commits_go_and_joins_packs(
    repository: Repository, make_sources: MakeSources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("HELD_MAX", 3), ("UNUSED_SECONDS", -1), ("PACKS_MAX", 4)):
        monkeypatch.setattr(_store, name, value)
    sources, source = make_sources(), source_of(repository)
    first = repository.commit({"app/a.yaml": config_map("first")})
    assert await rendered(sources, source) == ["first"]
    for n in range(12):
        repository.commit({"app/a.yaml": config_map(f"a{n}"), f"app/{n}.yaml": config_map(f"b{n}")})
        assert (await rendered(sources, source))[-1] == f"a{n}"
    (store,) = (tmp_path / "sources" / "stores").iterdir()
    assert len(list((store / "objects" / "pack").glob("*.pack"))) <= 5
    held = list((store / "refs" / "fairlead").glob("*")) if (store / "refs" / "fairlead").exists() else []
    packed = (store / "packed-refs").read_text().count("refs/fairlead/") if (store / "packed-refs").exists() else 0
    assert 1 <= len(held) + packed <= 8
    # What was let go is fetched again when somebody goes back to it.
    request = RenderRequest(application="shop", source=source, revision=first, freshness=Freshness.HARD)
    assert [each["metadata"]["name"] for each in (await sources.render(request)).objects] == ["first"]


async def test_hooks_and_settings_of_the_machine_are_not_run(
    repository: Repository, make_sources: MakeSources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    home = tmp_path / "home"
    home.mkdir()
    (home / ".gitconfig").write_text(
        f"[core]\n\tfsmonitor = {trap}\n\thooksPath = {tmp_path}\n[credential]\n\thelper = !{trap}\n"
        f'[url "ext::{trap} "]\n\tinsteadOf = file://\n'
    )
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_SSH_COMMAND", str(trap))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.sshCommand")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(trap))
    repository.commit({"app/a.yaml": config_map("one")})
    assert await rendered(make_sources(), source_of(repository)) == ["one"]
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("url", "message"),
    [
        pytest.param("ext::sh -c 'touch sprung'", "repoURL", id="ext"),
        pytest.param("ext://x/y", "no plug-in of fairlead.manifest_sources knows ext://", id="ext-scheme"),
        pytest.param("-c core.sshCommand=x", "starts with '-'", id="option"),
        pytest.param("https://host/web", "https is not allowed, only file", id="not-allowed"),
        pytest.param("git@host:web", "ssh is not allowed, only file", id="ssh-not-allowed"),
        pytest.param("git://host/web", "knows git://", id="git-protocol"),
    ],
)
async def test_row_42_protocols(url: str, message: str, make_sources: MakeSources) -> None:
    sources = make_sources(git=GitSettings(protocols=frozenset({"file"})))
    with pytest.raises(SourceError, match=message):
        await sources.resolve(Source(repo_url=url, path="."), project="default")


async def test_row_42_files_are_no_source_by_default(repository: Repository, tmp_path: Path) -> None:
    sources = Sources(tmp_path / "sources")
    with pytest.raises(SourceError, match="file is not allowed, only https, ssh"):
        await sources.resolve(source_of(repository), project="default")


async def test_row_42_submodules_are_left_out_with_a_warning(repository: Repository, make_sources: MakeSources) -> None:
    head = repository.commit({"a.yaml": config_map("one"), ".gitmodules": '[submodule "m.yaml"]\n\tpath = m.yaml\n'})
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{head},m.yaml")
    repository.git("commit", "--quiet", "-m", "submodule")
    sources, source = make_sources(), source_of(repository, path=".")
    resolved = await sources.resolve(source, project="default")
    found = await sources.render(RenderRequest(application="shop", source=source, revision=resolved.revision))
    assert len(found.objects) == 1
    assert found.warnings == ("m.yaml is a Git submodule, and submodules are off: it is skipped",)


async def test_row_42_lfs_pointers_are_an_error(repository: Repository, make_sources: MakeSources) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 12\n"
    repository.commit({"app/a.yaml": pointer})
    with pytest.raises(RenderError, match=r"a\.yaml is a Git LFS pointer"):
        await rendered(make_sources(), source_of(repository))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        pytest.param({"..": ("100644", b"x")}, "path that leaves it: '..'", id="dot-dot"),
        pytest.param({".git": ("100644", b"x")}, "path that leaves it", id="dot-git"),
        pytest.param({".GIT": ("100644", b"x")}, "path that leaves it", id="dot-git-upper-case"),
    ],
)
async def test_row_40_trees_that_leave_themselves(
    entries: dict[str, tuple[str, bytes]], message: str, repository: Repository, make_sources: MakeSources
) -> None:
    repository.commit()
    try:
        repository.tree_with(entries | {"a.yaml": ("100644", config_map("one").encode())})
    except AssertionError as error:
        pytest.skip(f"this git makes no such tree: {error}")
    with pytest.raises(RepositoryError, match=message):
        await rendered(make_sources(), source_of(repository, path="."))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        pytest.param("/etc/passwd", r"repository contains out-of-bounds symlinks\. file: app/a\.yaml", id="absolute"),
        pytest.param("../../x", r"repository contains out-of-bounds symlinks\. file: app/a\.yaml", id="relative"),
    ],
)
async def test_row_40_links_out_of_the_repository(
    target: str, message: str, repository: Repository, make_sources: MakeSources
) -> None:
    (repository.folder / "app").mkdir()
    (repository.folder / "app" / "a.yaml").symlink_to(target)
    repository.commit()
    with pytest.raises(RenderError, match=message):
        await rendered(make_sources(), source_of(repository))


async def test_row_40_links_inside_are_followed_and_others_skipped(
    repository: Repository, make_sources: MakeSources
) -> None:
    repository.commit({"base/a.yaml": config_map("one"), "app/b.yaml": config_map("two")})
    app = repository.folder / "app"
    (app / "a.yaml").symlink_to("../base/a.yaml")
    (app / "broken.yaml").symlink_to("nothing.yaml")
    (app / "circle.yaml").symlink_to("circle.yaml")
    (app / "folder.yaml").symlink_to("../base")
    (repository.folder / "linked").symlink_to("app")
    repository.commit()
    sources, source = make_sources(), source_of(repository, path="linked")
    resolved = await sources.resolve(source, project="default")
    found = await sources.render(RenderRequest(application="shop", source=source, revision=resolved.revision))
    assert [each["metadata"]["name"] for each in found.objects] == ["one", "two"]
    assert found.warnings == (
        "app/broken.yaml is a broken link: it is skipped",
        "link app/circle.yaml leads in a circle: it is skipped",
        "app/folder.yaml is a link to a directory: it is skipped",
    )


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("../app", "app path outside root"),
        ("a/../../app", "app path outside root"),
        ("/app", "app path is absolute"),
        ("a\\b", "backslash"),
        ("absent", "absent: app path does not exist"),
        ("app/a.yaml", "app path is not a directory"),
        (".git", "goes through .git"),
        ("-x", "-x: app path does not exist"),
    ],
)
async def test_row_40_paths(path: str, message: str, repository: Repository, make_sources: MakeSources) -> None:
    repository.commit({"app/a.yaml": config_map("one")})
    with pytest.raises(SourceError, match=message):
        await rendered(make_sources(), source_of(repository, path=path))


async def test_row_41_a_repository_larger_than_the_bound(repository: Repository, make_sources: MakeSources) -> None:
    import random

    chance = random.Random(1)
    repository.commit({"app/a.yaml": config_map("one"), "blob": chance.randbytes(3_000_000)})
    git = GitSettings(protocols=frozenset({"file"}), store_bytes=1_000_000)
    with pytest.raises(SourceError, match="the repository is larger than 1000000 bytes"):
        await rendered(make_sources(git=git), source_of(repository))


async def test_row_41_a_large_repository_is_listed_by_directory(
    repository: Repository, make_sources: MakeSources, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_store, "WHOLE_LISTING_BYTES", 1000)
    repository.commit({f"app-{n}/a.yaml": config_map(f"a{n}") for n in range(40)})
    (repository.folder / "linked").symlink_to("app-7")
    repository.commit()
    sources = make_sources()
    assert await rendered(sources, source_of(repository, path="app-3")) == ["a3"]
    assert await rendered(sources, source_of(repository, path="linked")) == ["a7"]


async def test_5000_files_are_read_quickly(repository: Repository, make_sources: MakeSources) -> None:
    repository.commit({f"app/d{n // 100}/c{n}.yaml": config_map(f"c{n}") for n in range(5000)})
    source = source_of(repository, directory=DirectorySource(recurse=True))
    sources = make_sources()
    before = cpu_seconds()
    assert len(await rendered(sources, source)) == 5000
    first = cpu_seconds() - before
    repository.commit({"app/d0/c0.yaml": config_map("changed")})
    before = cpu_seconds()
    assert "changed" in await rendered(sources, source)
    second = cpu_seconds() - before
    # 0.7 s and 0.2 s on a quiet machine, git included: nothing is checked out, and what did not change is not parsed.
    assert first < 5 and second < 2, (first, second)


def cpu_seconds() -> float:
    """Return what we and our programs have used."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)

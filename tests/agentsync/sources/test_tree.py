"""Paths, links and private copies: what stays in a tree and what does not (bad inputs, row 40)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fairlead.agentsync.sources import RenderError, SourceError, TreeLimits
from fairlead.agentsync.sources._tree import BrokenLink, FolderTree, Listing, clean_path, real_path
from fairlead.agentsync.sources._workspace import materialise
from fairlead.agentsync.sources.port import Entry, EntryKind
from tests.agentsync.sources.folders import MemoryTree, folder


@pytest.mark.parametrize(
    ("path", "wanted"), [("", ""), (".", ""), ("a/./b//c/", "a/b/c"), ("a/../b", "b"), ("-x", "-x"), ("a b", "a b")]
)
def test_clean_paths(path: str, wanted: str) -> None:
    assert clean_path(path) == wanted


@pytest.mark.parametrize(
    "path", ["..", "a/../../b", "/a", "~/a", "a\\b", "a\0b", "a\nb", ".git/config", "a/.GIT", "x" * 5000], ids=repr
)
def test_paths_that_leave_or_deceive(path: str) -> None:
    with pytest.raises(SourceError):
        clean_path(path)


LINKS = MemoryTree(
    {
        "a/file": "x",
        "one": "-> a",
        "two": "-> one/file",
        "out": "-> ../x",
        "absolute": "-> /etc/passwd",
        "a/up": "-> ../../x",
        "circle": "-> circle",
        "ping": "-> pong",
        "pong": "-> ping",
        "a/back": "-> ../one/file",
    }
)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("one/file", "a/file"), ("two", "a/file"), ("one/back", "a/file"), ("none/x", "none/x"), ("", "")],
)
async def test_links_are_followed_inside(path: str, wanted: str) -> None:
    assert await real_path(LINKS, path) == wanted


@pytest.mark.parametrize("path", ["out", "absolute", "one/up", "a/up", "../x"])
async def test_links_out_of_the_tree(path: str) -> None:
    with pytest.raises(RenderError, match=r"^repository contains out-of-bounds symlinks\. file: "):
        await real_path(LINKS, path)


@pytest.mark.parametrize("path", ["circle", "ping"])
async def test_links_in_a_circle(path: str) -> None:
    with pytest.raises(BrokenLink, match="leads in a circle"):
        await real_path(LINKS, path)


def test_a_listing_finds_what_is_below() -> None:
    entries = [Entry(path=path, kind=EntryKind.FILE, size=0, key="k") for path in ("a/b", "a.x", "a/c/d", "a0", "b")]
    listing = Listing(entries)
    assert list(listing.under("a")) == ["a/b", "a/c/d"]
    assert list(listing.under("a/c/d")) == ["a/c/d"]
    assert list(listing.under("none")) == []
    assert len(listing.under("")) == len(listing) == 5


# -- on disk -----------------------------------------------------------------------------------------------------------


async def test_a_directory_is_a_tree(tmp_path: Path) -> None:
    root = folder(tmp_path / "tree", {"a/b": "x", "c": "y", ".git/config": "no"})
    (root / "link").symlink_to("c")
    (root / "folder").symlink_to("a")
    tree = FolderTree(root)
    found = await tree.entries("")
    assert {path: entry.kind.value for path, entry in found.items()} == {
        "a/b": "file",
        "c": "file",
        "folder": "link",
        "link": "link",
    }
    assert await tree.read([found["a/b"], found["link"]]) == [b"x", b"c"]
    assert await tree.leaf("a") is None and await tree.leaf("none") is None and await tree.leaf("../tree/c") is None


async def test_a_file_that_becomes_something_else_is_not_read(tmp_path: Path) -> None:
    root = folder(tmp_path / "tree", {"a": "x", "b": "x", "c": "x"})
    tree = FolderTree(root)
    found = await tree.entries("")
    (root / "a").unlink()
    (root / "a").symlink_to("/etc/passwd")
    (root / "b").write_text("xx")
    (root / "c").unlink()
    for name, message in (("a", "a cannot be read"), ("b", "b grew while it was read"), ("c", "c cannot be read")):
        with pytest.raises(SourceError, match=message):
            await tree.read([found[name]])


# -- private copies ----------------------------------------------------------------------------------------------------


def written(root: Path) -> dict[str, str]:
    return {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()}


async def test_copies_have_no_links_and_are_ours_alone(tmp_path: Path) -> None:
    tree = MemoryTree(
        {
            "base/a": "A",
            "base/deep/b": "B",
            "app/own": "O",
            "app/file": "-> ../base/a",
            "app/folder": "-> ../base",
            "app/broken": "-> nothing",
            "app/circle": "-> circle",
            "else/x": "X",
        }
    )
    await materialise(tree, ["app"], tmp_path)
    assert written(tmp_path) == {"app/file": "A", "app/folder/a": "A", "app/folder/deep/b": "B", "app/own": "O"}
    assert modes(tmp_path) == {0o100600, 0o040700}  # files and directories, and no link


def modes(root: Path) -> set[int]:
    return {path.lstat().st_mode for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        pytest.param({"a/x": "-> ../../out"}, "out-of-bounds symlinks", id="link-out"),
        pytest.param({"a/x": "1", "a/X": "2"}, "'a/[xX]' and 'a/[xX]' differ only in case", id="case"),
        pytest.param({"a/d/x": "1", "a/D/y": "2"}, "'a/[dD]' and 'a/[dD]' differ only in case", id="case-of-folders"),
        pytest.param({"a/strasse": "1", "a/straße": "2"}, "differ only in case", id="case-of-other-letters"),
        pytest.param({"a/x": "-> ../a"}, "links to directories, more than 8 within each other", id="link-to-itself"),
        pytest.param({"a/x": "version https://git-lfs.github.com/spec/v1\n"}, "a/x is a Git LFS pointer", id="lfs"),
        pytest.param({f"a/{n}": "" for n in range(20)}, "more than 10 files are needed", id="many"),
        pytest.param({"a/x": "1" * 200}, "1 files have 200 bytes, more than 100; the largest is a/x", id="large"),
    ],
)
async def test_row_40_what_is_not_copied(files: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        await materialise(MemoryTree(files), ["a"], tmp_path, TreeLimits(files=10, read_bytes=100))


async def test_names_that_are_no_utf_8_are_copied_as_they_are(tmp_path: Path) -> None:
    name = b"a/\xff.yaml".decode("utf-8", "surrogateescape")
    await materialise(MemoryTree({name: "x"}), ["a"], tmp_path)
    assert os.listdir(os.fsencode(tmp_path / "a")) == [b"\xff.yaml"]

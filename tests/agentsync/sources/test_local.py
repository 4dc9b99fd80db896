"""Rendering a directory of this machine, as a library."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fairlead.agentsync
import fairlead.agentsync.sources
from fairlead.agentsync import Source, render
from fairlead.agentsync.sources import RenderError, SourceError
from fairlead.agentsync.spec import DirectorySource, HelmSource
from tests.agentsync.sources.folders import folder
from tests.agentsync.sources.repository import config_map


async def test_a_directory_is_rendered(tmp_path: Path) -> None:
    root = folder(tmp_path / "tree", {"deploy/a.yaml": config_map("a"), "deploy/sub/b.yaml": config_map("b")})
    source = Source(path="deploy", directory=DirectorySource(recurse=True))
    assert [each["metadata"]["name"] for each in await render(root, source)] == ["a", "b"]
    assert [each["metadata"]["name"] for each in await render(str(root), Source(path="deploy"))] == ["a"]


async def test_parameter_files_count_as_for_the_agent(tmp_path: Path) -> None:
    files = {
        "a.yaml": config_map("a"),
        "b.yaml": config_map("b"),
        ".argocd-source-shop.yaml": "directory: {include: b*}\n",
    }
    root = folder(tmp_path / "tree", files)
    assert len(await render(root, Source(path="."))) == 2
    assert [each["metadata"]["name"] for each in await render(root, Source(path="."), application="shop")] == ["b"]


async def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="absent is no directory"):
        await render(tmp_path / "absent", Source(path="."))
    with pytest.raises(SourceError, match="x: app path does not exist"):
        await render(tmp_path, Source(path="x"))
    root = folder(tmp_path / "tree", {"a.yaml": config_map("a")})
    with pytest.raises(SourceError, match=r"has no Chart\.yaml|is not on the PATH"):
        await render(root, Source(path=".", helm=HelmSource()))


@pytest.mark.parametrize("module", [fairlead.agentsync, fairlead.agentsync.sources])
def test_every_public_name_is_there(module: object) -> None:
    names = module.__all__  # type: ignore[attr-defined]  # both have it
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    for name in names:
        assert getattr(module, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'absent'"):
        _ = module.absent  # type: ignore[attr-defined]  # on purpose


def test_pure_parts_do_not_load_programs_and_parsers() -> None:
    code = (
        "import sys, fairlead.agentsync.project, fairlead.agentsync.sources.port\n"
        "print([each for each in ('asyncio', 'yaml', 'tarfile', 'aiohttp') if each in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "[]\n"

"""What tests of sources share: repositories, and programs that are there or a reason to skip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fairlead.agentsync.sources import GitSettings, Repositories, Sources, SourcesSettings
from tests.agentsync.sources.repository import Repository


def absent(what: str) -> None:
    """Skip a test without a real part; fail in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} is not installed")
    pytest.skip(f"needs {what}")


def need(*programs: str) -> None:
    """Skip, or fail in CI, when a program is absent."""
    for program in programs:
        if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
            absent(program)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    need("git")
    return Repository(tmp_path / "repositories" / "shop")


MakeSources = Callable[..., Sources]


@pytest.fixture
def make_sources(tmp_path: Path) -> MakeSources:
    """Make `Sources` that may speak every protocol of the tests."""

    def make(
        repositories: Repositories | None = None, keys: dict[str, str] | None = None, **settings: object
    ) -> Sources:
        git = GitSettings(protocols=frozenset({"file", "http", "ssh"}))
        sources = Sources(tmp_path / "sources", SourcesSettings(**({"git": git} | settings)))  # type: ignore[arg-type]  # given by name
        sources.trust(repositories or Repositories(), keys or {})
        return sources

    return make


def _tool(name: str) -> Path:
    from tests.agentsync.tools.build import installed
    from tests.controlplane.build import Absent

    try:
        return installed(name)
    except Absent as error:
        absent(str(error))
        raise


@pytest.fixture(scope="session")
def helm() -> Path:
    """A real helm."""
    return _tool("helm")


@pytest.fixture(scope="session")
def kustomize() -> Path:
    """A real kustomize."""
    return _tool("kustomize")


@pytest.fixture(scope="session")
def kubectl() -> Path:
    """A real kubectl."""
    beside = Path(sys.executable).parent
    found = shutil.which("kubectl", path=str(beside)) or shutil.which("kubectl")
    if found is None:
        absent("kubectl")
    assert found is not None, "absent() does not return"
    return Path(found)


@pytest.fixture(scope="session")
def registry(helm: Path) -> Iterator[str]:
    """Host and port of an OCI registry on loopback."""
    from tests.agentsync.tools.build import program
    from tests.controlplane.build import Absent

    try:
        path = program("registry")
    except Absent as error:
        absent(str(error))
        raise
    process = subprocess.Popen([path, "-port", "0"], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        yield f"localhost:{line.split()[-1]}"
    finally:
        process.kill()
        process.wait()
        process.stderr.close()

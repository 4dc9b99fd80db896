"""What `fairlead.agentsync` offers, and what asking for it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fairlead.agentsync as package


def test_every_name_is_there() -> None:
    assert sorted(package._LATER) == package.__all__ == sorted(package.__all__)
    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        package.nothing  # noqa: B018 -- the access is what is tested


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("import fairlead.agentsync", id="the-package"),
        pytest.param("from fairlead.agentsync import Health, Project, destination_rights", id="health-and-projects"),
        pytest.param("from fairlead.agentsync.plan import plan", id="plan"),
        pytest.param("from fairlead.agentsync import decide", id="machine"),
        pytest.param("from fairlead.agentsync.preview import preview", id="preview"),
    ],
)
def test_what_decides_loads_nothing_that_acts(code: str) -> None:
    acting = ("asyncio", "yaml", "fairlead.agentsync.sources", "fairlead.agentsync.reconciler")
    asked = f"{code}; import sys; print(*(name for name in {acting!r} if name in sys.modules))"
    done = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []

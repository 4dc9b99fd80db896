"""The public names: all of them exist, and loading the package loads none of their modules."""

from __future__ import annotations

import subprocess
import sys

import pytest

import fairlead.rollouts


@pytest.mark.parametrize("name", fairlead.rollouts.__all__)
def test_every_public_name_exists(name: str) -> None:
    assert getattr(fairlead.rollouts, name) is not None
    assert name in dir(fairlead.rollouts)


def test_the_names_are_sorted() -> None:
    assert sorted(fairlead.rollouts.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)) == (
        fairlead.rollouts.__all__
    )


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = fairlead.rollouts.nothing


def test_the_package_alone_is_cheap_and_the_machine_knows_no_cluster() -> None:
    code = (
        "import sys, fairlead.rollouts; assert 'fairlead.rollouts.machine' not in sys.modules; "
        "from fairlead.rollouts import decide; "
        "print([name for name in ('asyncio', 'kubernetes_asyncio', 'structlog', 'aiohttp') if name in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"

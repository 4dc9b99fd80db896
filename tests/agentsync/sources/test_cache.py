"""Rendered manifests: by what, for how long, how many; and failures after three in a row (gitops 9.1)."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync.sources import (
    Reference,
    Rendered,
    RenderError,
    RenderRequest,
    SourceType,
    Verification,
    VerificationMode,
)
from fairlead.agentsync.sources._cache import RenderedCache, cache_key
from fairlead.agentsync.spec import HelmSource, Source

REQUEST: dict[str, Any] = {"application": "shop", "source": Source(repo_url="https://host/web"), "revision": "a" * 40}


def rendered(name: str = "a", size: int = 0) -> Rendered:
    objects = ({"kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "x" * size}},)
    return Rendered(objects=objects, revision="a" * 40, source_type=SourceType.DIRECTORY, warnings=("w",))


@pytest.mark.parametrize(
    "change",
    [
        {"application": "other"},
        {"namespace": "other"},
        {"project": "other"},
        {"revision": "b" * 40},
        {"source": Source(repo_url="https://host/web", helm=HelmSource(values="a: 1"))},
        {"kube_version": "1.36.0"},
        {"api_versions": ("v1",)},
        {"references": (Reference(source=Source(repo_url="https://host/v", ref="v"), revision="c" * 40),)},
        {"verification": Verification(mode=VerificationMode.HEAD, keys=("A" * 16,))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_that_changes_objects_is_in_the_key(change: dict[str, Any]) -> None:
    assert cache_key(RenderRequest(**REQUEST)) == cache_key(RenderRequest(**REQUEST))
    assert cache_key(RenderRequest(**(REQUEST | change))) != cache_key(RenderRequest(**REQUEST))


def test_every_reader_gets_objects_of_its_own() -> None:
    cache = RenderedCache()
    cache.put("k", rendered(), 0)
    one = cache.get("k", 1)
    assert one is not None and one == rendered()
    one.objects[0]["metadata"]["name"] = "changed"
    assert cache.get("k", 1) == rendered()


def test_manifests_are_good_for_a_day() -> None:
    cache = RenderedCache()
    cache.put("k", rendered(), 0)
    assert cache.get("k", 24 * 3600 - 1) is not None
    assert cache.get("k", 24 * 3600) is None
    assert cache.bytes == 0


def test_bytes_are_bounded_and_the_unused_go_first() -> None:
    cache = RenderedCache(bytes_max=3500)
    for name in "abc":
        cache.put(name, rendered(name, 1000), 0)
    assert cache.get("a", 1) is not None
    cache.put("d", rendered("d", 1000), 2)
    assert [name for name in "abcd" if cache.get(name, 3) is not None] == ["a", "c", "d"]
    assert cache.bytes <= 3500
    cache.put("e", rendered("e", 10_000), 4)
    assert cache.get("e", 5) is None and cache.get("a", 5) is not None


def test_a_failure_is_cached_after_three_in_a_row_for_an_hour() -> None:
    cache = RenderedCache()
    for at in (0.0, 10.0):
        cache.put_failure("k", RenderError("bad"), at)
        assert cache.get("k", at) is None
    cache.put_failure("k", RenderError("bad"), 20.0)
    with pytest.raises(RenderError, match=r"^Manifest generation error \(cached\): bad$"):
        cache.get("k", 3619.9)
    assert cache.get("k", 3620.0) is None
    cache.put_failure("k", RenderError("bad"), 3621.0)
    assert cache.get("k", 3622.0) is None  # counted anew


def test_a_success_in_between_starts_the_count_again() -> None:
    cache = RenderedCache()
    for _ in range(2):
        cache.put_failure("k", RenderError("bad"), 0)
    cache.put("k", rendered(), 0)
    cache.forget("k")
    for _ in range(2):
        cache.put_failure("k", RenderError("bad"), 0)
    assert cache.get("k", 0) is None


def test_a_hard_refresh_forgets_failures_too() -> None:
    cache = RenderedCache()
    for _ in range(3):
        cache.put_failure("k", RenderError("bad"), 0)
    cache.forget("k")
    assert cache.get("k", 0) is None

"""What a cluster serves: asked once, and again when there is reason to."""

from __future__ import annotations

import asyncio

import pytest

from fairlead.core.discovery import ResourceKind, Served, served
from fairlead.core.errors import Unavailable
from fairlead.runtime.discovery import PAUSE_SECONDS, STALE_SECONDS, DiscoveredKinds
from fairlead.testing.clock import LoopClock, run_virtual


def kind(name: str, group: str = "", version: str = "v1") -> ResourceKind:
    return ResourceKind(group=group, version=version, kind=name, plural=f"{name.lower()}s", namespaced=True)


class Asked:
    """Answers what a test says, and counts."""

    def __init__(self, *kinds: ResourceKind) -> None:
        self.answer: Served | Exception = Served(kinds)
        self.count = 0

    async def discover(self) -> Served:
        self.count += 1
        await asyncio.sleep(0.1)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_one_question_serves_all_who_ask_at_once() -> None:
    async def play() -> None:
        asked = Asked(kind("Pod"))
        kinds = DiscoveredKinds(asked, LoopClock())
        assert kinds.find("", "Pod") is None
        assert await asyncio.gather(*(kinds.look() for _ in range(10))) == [True] * 10
        assert asked.count == 1 and kinds.is_known and kinds.find("", "Pod") == kind("Pod")
        assert await kinds.look([("", "Pod")])
        assert asked.count == 1

    run_virtual(play(), 1)


def test_a_missing_kind_is_asked_for_again_but_not_all_the_time() -> None:
    async def play() -> None:
        asked = Asked(kind("Pod"))
        kinds = DiscoveredKinds(asked, LoopClock())
        await kinds.look()
        for _ in range(100):
            assert not await kinds.look([("example.com", "Widget")])
        assert asked.count == 1  # the answer is fresh
        await asyncio.sleep(PAUSE_SECONDS)
        asked.answer = Served((kind("Pod"), kind("Widget", "example.com")))
        assert await kinds.look([("example.com", "Widget")])
        assert asked.count == 2

    run_virtual(play(), 1)


def test_doubt_and_age_are_reasons() -> None:
    async def play() -> None:
        asked = Asked(kind("Pod"))
        kinds = DiscoveredKinds(asked, LoopClock())
        await kinds.look()
        await asyncio.sleep(PAUSE_SECONDS)
        await kinds.look()
        assert asked.count == 1
        kinds.doubt()
        await kinds.look()
        await kinds.look()
        assert asked.count == 2
        await asyncio.sleep(STALE_SECONDS)
        await kinds.look()
        assert asked.count == 3

    run_virtual(play(), 1)


def test_an_outage_keeps_what_is_known_and_is_an_error_only_while_nothing_is() -> None:
    async def play() -> None:
        asked = Asked(kind("Pod"))
        good, asked.answer = asked.answer, Unavailable("connection refused")
        kinds = DiscoveredKinds(asked, LoopClock())
        with pytest.raises(Unavailable):
            await kinds.look()
        asked.answer = good
        await kinds.look()
        asked.answer = Unavailable("connection refused")
        kinds.doubt()
        await asyncio.sleep(PAUSE_SECONDS)
        assert await kinds.look([("", "Pod")])
        assert kinds.find("", "Pod") is not None

    run_virtual(play(), 1)


def test_kinds_of_an_aggregated_api_that_is_down_are_kept() -> None:
    async def play() -> None:
        metrics = kind("PodMetrics", "metrics.k8s.io", "v1beta1")
        asked = Asked(kind("Pod"), metrics)
        kinds = DiscoveredKinds(asked, LoopClock())
        await kinds.look()
        asked.answer = Served((kind("Pod"),), ("metrics.k8s.io/v1beta1",))
        kinds.doubt()
        await asyncio.sleep(PAUSE_SECONDS)
        await kinds.look()
        assert kinds.find("metrics.k8s.io", "PodMetrics") == metrics
        assert kinds.stale == ("metrics.k8s.io/v1beta1",)
        asked.answer = Served((kind("Pod"),))
        kinds.doubt()
        await asyncio.sleep(PAUSE_SECONDS)
        await kinds.look()
        assert kinds.find("metrics.k8s.io", "PodMetrics") is None

    run_virtual(play(), 1)


def test_the_preferred_version_comes_first_and_every_version_is_found() -> None:
    both = Served((kind("Job", "batch", "v1"), kind("Job", "batch", "v1beta1")))
    assert both.find("batch", "Job") == kind("Job", "batch", "v1")
    assert both.find("batch", "Job", "v1beta1") == kind("Job", "batch", "v1beta1")
    assert both.find("batch", "Job", "v2") is None
    assert list(both.all()) == [kind("Job", "batch", "v1")]


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"items": None},
        {"items": [None, 7, {}]},
        {"items": [{"metadata": {"name": "x"}, "versions": [{"version": "v1", "resources": [{"resource": "xs"}]}]}]},
        {"items": [{"metadata": None, "versions": [{"resources": {"resource": "xs", "responseKind": {"kind": "X"}}}]}]},
    ],
    ids=["empty", "null", "odd-items", "no-kind", "no-list"],
)
def test_what_cannot_be_read_is_left_out(document: dict[str, object]) -> None:
    assert served(document) == Served()

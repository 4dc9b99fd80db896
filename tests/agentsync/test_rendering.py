"""From sources to one desired state, and what is kept of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest

from fairlead.agentsync import _rendering
from fairlead.agentsync._rendering import For, Renderings, Renders, render
from fairlead.agentsync.actions import Depth, Render
from fairlead.agentsync.offline import Shelf, decode_desired
from fairlead.agentsync.sources.port import Freshness, RenderError, RenderRequest, Verification, VerificationMode
from fairlead.agentsync.spec import Destination, Source
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import EPOCH, LoopClock, run_virtual
from tests.agentsync.forge import PATH, URL, Forge, config_map
from tests.agentsync.stage import MemoryStore

KEY = ObjectKey("argocd", "web")
SOURCE = Source(repo_url=URL, path=PATH)
WHOM = For(application="web", project="default", namespace="shop")


@dataclass
class Scene:
    forge: Forge = field(default_factory=Forge)
    store: MemoryStore = field(default_factory=MemoryStore)
    woken: list[ObjectKey] = field(default_factory=list)
    measured: list[bool] = field(default_factory=list)

    def on_render(self, seconds: float, *, failed: bool) -> None:
        self.measured.append(failed)

    def renderings(self) -> Renderings:
        return Renderings(self.forge, self.store, LoopClock(), wake=self.woken.append, hook=self)

    async def ask(self, renderings: Renderings, known: Renders, **request: object) -> None:
        action = replace(Render(sources=(SOURCE,)), **request)  # type: ignore[arg-type]
        renderings.start(KEY, known, action, WHOM)
        await asyncio.sleep(1)


def played(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def play() -> None:
        await story(Scene())

    run_virtual(play(), 1)


# --- once -------------------------------------------------------------------------------------------------------------


def test_all_sources_become_one_state_in_their_order() -> None:
    async def story(scene: Scene) -> None:
        one = scene.forge.push(config_map("one"), path="a")
        two = scene.forge.push(config_map("two"), path="b", url="https://git.example/other")
        values = Source(repo_url=URL, ref="values")
        sources = (Source(repo_url="https://git.example/other", path="b"), values, Source(repo_url=URL, path="a"))
        asked: list[RenderRequest] = []
        scene.forge.before_render = asked.append
        destination = Destination(name="in-cluster", namespace="shop")
        found = await render(scene.forge, Render(sources=sources, destination=destination), WHOM, EPOCH)
        assert [one["metadata"]["name"] for one in found.objects] == ["two", "one"]
        assert found.revisions == (two, one, one)
        assert (found.sources, found.destination, found.rendered_at) == (sources, destination, EPOCH)
        assert found.source_types == ("Directory", "Directory")
        assert [(each.source, each.revision) for each in asked[0].references] == [(values, one)]

    played(story)


def test_given_revisions_are_taken_and_not_resolved() -> None:
    async def story(scene: Scene) -> None:
        old = scene.forge.push(config_map("one"))
        scene.forge.push(config_map("two"))
        found = await render(scene.forge, Render(sources=(SOURCE,), revisions=(old,)), WHOM, EPOCH)
        assert found.revisions == found.requested == (old,)
        assert found.objects == (config_map("one"),) and scene.forge.calls["resolve"] == 0

    played(story)


@pytest.mark.parametrize(
    ("depth", "freshness"),
    [(Depth.CACHED, Freshness.CACHED), (Depth.FRESH, Freshness.REFRESH), (Depth.HARD, Freshness.HARD)],
)
def test_depth_reaches_the_sources(depth: Depth, freshness: Freshness) -> None:
    async def story(scene: Scene) -> None:
        scene.forge.push(config_map("one"))
        asked: list[RenderRequest] = []
        scene.forge.before_render = asked.append
        await render(scene.forge, Render(sources=(SOURCE,), depth=depth), WHOM, EPOCH)
        assert (scene.forge.asked, asked[0].freshness) == ([freshness], freshness)

    played(story)


def test_each_source_is_verified_as_its_repository_needs_it() -> None:
    async def story(scene: Scene) -> None:
        scene.forge.push(config_map("one"))
        signed = Verification(mode=VerificationMode.HEAD, keys=("ABCD",))
        asked: list[RenderRequest] = []
        scene.forge.before_render = asked.append
        whom = replace(WHOM, verifications=(signed,))
        await render(scene.forge, Render(sources=(SOURCE, SOURCE)), whom, EPOCH)
        assert [each.verification for each in asked] == [signed, Verification()]

    played(story)


def test_one_source_that_fails_leaves_nothing_of_the_others() -> None:
    async def story(scene: Scene) -> None:
        scene.forge.push(config_map("one"))
        scene.forge.push_broken(path="broken")
        sources = (SOURCE, Source(repo_url=URL, path="broken"))
        with pytest.raises(RenderError):
            await render(scene.forge, Render(sources=sources), WHOM, EPOCH)

    played(story)


# --- kept -------------------------------------------------------------------------------------------------------------


def test_a_success_is_kept_durably_and_once() -> None:
    async def story(scene: Scene) -> None:
        commit = scene.forge.push(config_map("one"))
        renderings = scene.renderings()
        known = renderings.begin(KEY, "uid")
        await scene.ask(renderings, known, request="normal@1")
        own, operation = known.seen()
        assert own.desired is not None and own.desired.revisions == (commit,)
        assert own.answered == "normal@1" and operation.desired is None
        known.answered()
        assert known.seen()[0].answered == ""
        assert scene.woken == [KEY] and scene.measured == [False]
        await scene.ask(renderings, known)  # the same commit again: nothing is written for it
        assert scene.store.writes == [(Shelf.DESIRED, str(KEY))]
        scene.forge.push(config_map("two"))
        await scene.ask(renderings, known)
        assert len(scene.store.writes) == 2

    played(story)


def test_a_failure_keeps_what_was_and_tells_since_when() -> None:
    async def story(scene: Scene) -> None:
        scene.forge.push(config_map("one"))
        renderings = scene.renderings()
        known = renderings.begin(KEY, "uid")
        await scene.ask(renderings, known)
        scene.forge.cut()
        await scene.ask(renderings, known)
        first = known.seen()[0]
        await scene.ask(renderings, known)
        second = known.seen()[0]
        assert first.failure is not None and second.failure is not None and second.desired is not None
        assert second.failure.is_repository and second.failure.since == first.failure.at < second.failure.at
        assert second.desired.objects == (config_map("one"),)
        scene.forge.mend()
        await scene.ask(renderings, known)
        assert known.seen()[0].failure is None

    played(story)


def test_a_bug_is_a_failed_render_without_its_details() -> None:
    async def story(scene: Scene) -> None:
        scene.forge.trouble = KeyError("a-password")
        renderings = scene.renderings()
        known = renderings.begin(KEY, "uid")
        await scene.ask(renderings, known)
        failure = known.seen()[0].failure
        assert failure is not None and failure.message == "rendering broke down: KeyError"
        assert not failure.is_repository

    played(story)


def test_a_source_that_takes_too_long_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rendering, "RENDER_SECONDS_MAX", 0.1)

    async def story(scene: Scene) -> None:
        scene.forge.push(config_map("one"))
        renderings = scene.renderings()
        known = renderings.begin(KEY, "uid")
        await scene.ask(renderings, known)
        failure = known.seen()[0].failure
        assert failure is not None and failure.is_repository and "took longer than 0.1 s" in failure.message

    played(story)


def test_what_the_last_process_left_is_taken_for_the_same_application_only() -> None:
    async def story(scene: Scene) -> None:
        commit = scene.forge.push(config_map("one"))
        first = scene.renderings()
        await scene.ask(first, first.begin(KEY, "uid"))
        second = scene.renderings()
        await second.recover()
        desired = second.begin(KEY, "uid").seen()[0].desired
        assert desired is not None and desired.revisions == (commit,)
        third = scene.renderings()
        await third.recover()
        assert third.begin(KEY, "another-uid").seen()[0].desired is None
        await third.drop(KEY)
        assert scene.store.entries[Shelf.DESIRED] == {}

    played(story)


# --- operations -------------------------------------------------------------------------------------------------------


def test_an_operation_at_a_known_commit_needs_no_repository() -> None:
    async def story(scene: Scene) -> None:
        commit = scene.forge.push(config_map("one"))
        renderings = scene.renderings()
        known = renderings.begin(KEY, "uid")
        await scene.ask(renderings, known)
        scene.forge.cut()
        await scene.ask(renderings, known, revisions=(commit,), for_operation=True)
        operation = known.seen()[1]
        assert operation.desired is not None and operation.failure is None
        assert operation.desired.requested == (commit,)
        await scene.ask(renderings, known, revisions=("f" * 40,), for_operation=True)
        operation = known.seen()[1]
        assert operation.desired is None and operation.failure is not None

    played(story)


def test_a_newer_request_of_an_operation_replaces_the_one_under_way() -> None:
    async def story(scene: Scene) -> None:
        one = scene.forge.push(config_map("one"))
        two = scene.forge.push(config_map("two"))
        renderings = scene.renderings()
        known = renderings.begin(KEY, "uid")
        for commit in (one, two):
            action = Render(sources=(SOURCE,), revisions=(commit,), for_operation=True)
            renderings.start(KEY, known, action, WHOM)
            assert known.seen()[1].in_flight and known.seen()[1].desired is None
            await asyncio.sleep(0)
        await asyncio.sleep(1)
        desired = known.seen()[1].desired
        assert desired is not None and desired.revisions == (two,) and scene.woken == [KEY]

    played(story)


def test_what_is_wanted_is_that_of_spec_and_operation() -> None:
    async def story(scene: Scene) -> None:
        one = scene.forge.push(config_map("one"))
        scene.forge.push(config_map("two"))
        renderings = scene.renderings()
        known = renderings.begin(KEY, "uid")
        await scene.ask(renderings, known)
        assert known.objects() == (config_map("two"),)
        await scene.ask(renderings, known, revisions=(one,), for_operation=True)
        assert known.objects() == (config_map("two"), config_map("one"))

    played(story)


def test_what_is_kept_reads_back() -> None:
    async def story(scene: Scene) -> None:
        scene.forge.push(config_map("one"))
        renderings = scene.renderings()
        known = renderings.begin(KEY, "uid")
        await scene.ask(renderings, known)
        [content] = scene.store.entries[Shelf.DESIRED].values()
        assert decode_desired(content, "uid") == known.desired

    played(story)

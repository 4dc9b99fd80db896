"""Reports on Applications: written, or kept until they can be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fairlead.agentsync._belief import believed
from fairlead.agentsync._reporting import Reporter
from fairlead.agentsync.kinds import APPLICATIONS, Application
from fairlead.agentsync.offline import Shelf
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.errors import ClusterError, Conflict, Forbidden, Invalid, Unavailable
from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.core.objects import ObjectKey, rfc3339
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from tests.agentsync.stage import RAW, MemoryStore

KEY = ObjectKey("argocd", "web")
SYNCED = {"status": {"sync": {"status": "Synced", "comparedTo": {"destination": {}}}}}
DEGRADED = {"status": {"health": {"status": "Degraded"}}}


class Troubled(Forwarding):
    """Fails writes as the test says."""

    def __init__(self, inner: Cluster, scene: Scene) -> None:
        super().__init__(inner)
        self._scene = scene

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        self._scene.writes += 1
        if error := self._scene.trouble():
            raise error
        return await call()


@dataclass
class Scene:
    cluster: SimulatedCluster
    clock: LoopClock
    store: MemoryStore = field(default_factory=MemoryStore)
    trouble: Callable[[], ClusterError | None] = lambda: None
    writes: int = 0
    postponed: int = 0

    def on_postponed(self) -> None:
        self.postponed += 1

    def reporter(self) -> Reporter:
        return Reporter(Troubled(self.cluster.as_manager("fairlead"), self), self.store, self.clock, hook=self)

    async def found(self) -> Application:
        return await self.cluster.get(APPLICATIONS, KEY)

    async def patch(self, body: dict[str, Any]) -> None:
        await self.cluster.as_manager("kubectl").patch(RAW, KEY, MergePatch(body))

    def status(self) -> dict[str, Any]:
        return dict((self.cluster.read(RAW, KEY) or {}).get("status") or {})


def played(story: Callable[[Scene], Awaitable[None]]) -> None:
    async def play() -> None:
        clock = LoopClock()
        cluster = SimulatedCluster(clock, field_manager="user")
        spec = {
            "project": "default",
            "destination": {"name": "in-cluster"},
            "source": {"repoURL": "https://x", "path": "."},
        }
        cluster.apply(
            [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}},
                {
                    "apiVersion": RAW.api_version,
                    "kind": "Application",
                    "metadata": {"name": "web", "namespace": "argocd"},
                    "spec": spec,
                },
            ]
        )
        await story(Scene(cluster, clock))

    run_virtual(play(), 1)


def test_what_is_decided_is_written_and_nothing_is_written_twice() -> None:
    async def story(scene: Scene) -> None:
        reporter = scene.reporter()
        ours = reporter.ours(KEY, await scene.found())
        ours = await reporter.report(KEY, believed(ours, SYNCED)) or ours
        assert scene.status()["sync"]["status"] == "Synced" and scene.writes == 1
        assert await reporter.report(KEY, ours) is not None and scene.writes == 1
        assert not reporter.pending and reporter.retry_at(KEY) is None

    played(story)


def test_the_date_of_a_comparison_alone_is_written_now_and_then() -> None:
    async def story(scene: Scene) -> None:
        def dated() -> dict[str, Any]:
            return {"status": {"reconciledAt": rfc3339(scene.clock.now())}}

        reporter = scene.reporter()
        ours = believed(reporter.ours(KEY, await scene.found()), {**SYNCED, **dated()})
        ours = await reporter.report(KEY, ours) or ours
        for _ in range(9):
            await asyncio.sleep(65)
            assert await reporter.report(KEY, believed(ours, dated())) is not None
        assert scene.writes == 1 and not reporter.pending
        await asyncio.sleep(65)
        await reporter.report(KEY, believed(ours, dated()))
        assert scene.writes == 2 and scene.status()["reconciledAt"] == rfc3339(scene.clock.now())

    played(story)


def test_the_cache_may_be_behind_our_own_writes() -> None:
    async def story(scene: Scene) -> None:
        reporter = scene.reporter()
        old = await scene.found()
        written = await reporter.report(KEY, believed(reporter.ours(KEY, old), SYNCED))
        assert reporter.ours(KEY, old) is written
        await scene.patch({"metadata": {"labels": {"x": "y"}}})
        assert reporter.ours(KEY, await scene.found()).metadata.labels == {"x": "y"}

    played(story)


def test_what_cannot_be_written_is_kept_and_tried_again_ever_more_patiently() -> None:
    async def story(scene: Scene) -> None:
        scene.trouble = lambda: Unavailable("the link is cut")
        reporter = scene.reporter()
        ours = believed(reporter.ours(KEY, await scene.found()), SYNCED)
        assert await reporter.report(KEY, ours) is None
        assert reporter.pending == (KEY,) and scene.postponed == 1 and scene.store.entries[Shelf.REPORT]
        first = reporter.retry_at(KEY)
        assert first is not None
        # Before its time nobody is asked, but what is newer is kept in place of what was.
        newer = believed(reporter.ours(KEY, await scene.found()), DEGRADED)
        assert await reporter.report(KEY, newer) is None and scene.writes == 1
        assert b"Degraded" in scene.store.entries[Shelf.REPORT][str(KEY)]
        await asyncio.sleep(3)
        await reporter.report(KEY, newer)
        second = reporter.retry_at(KEY)
        assert second is not None and (second - scene.clock.now()).total_seconds() > 3
        scene.trouble = lambda: None
        await asyncio.sleep(10)
        assert await reporter.report(KEY, newer) is not None
        assert scene.status()["health"]["status"] == "Degraded" and scene.status()["sync"]["status"] == "Synced"
        assert list(reporter.pending) == [] and scene.store.entries[Shelf.REPORT] == {}

    played(story)


def test_the_next_process_delivers_what_the_last_one_could_not() -> None:
    async def story(scene: Scene) -> None:
        scene.trouble = lambda: Unavailable("the link is cut")
        first = scene.reporter()
        await first.report(KEY, believed(first.ours(KEY, await scene.found()), SYNCED))
        await scene.patch({"spec": {"project": "other"}})
        scene.trouble = lambda: None
        second = scene.reporter()
        await second.recover()
        assert second.pending == (KEY,)
        ours = second.ours(KEY, await scene.found())
        assert b'"other"' in bytes(ours.spec)  # the spec is of others
        assert await second.report(KEY, ours) is not None
        assert scene.status()["sync"]["status"] == "Synced" and scene.store.entries[Shelf.REPORT] == {}

    played(story)


def test_a_report_about_another_application_of_the_name_is_dropped() -> None:
    async def story(scene: Scene) -> None:
        scene.trouble = lambda: Unavailable("the link is cut")
        first = scene.reporter()
        found = await scene.found()
        await first.report(KEY, believed(first.ours(KEY, found), SYNCED))
        body = dict(scene.cluster.read(RAW, KEY) or {})
        await scene.cluster.delete(RAW, KEY)
        scene.cluster.apply([{**body, "metadata": {"name": "web", "namespace": "argocd"}}])
        second = scene.reporter()
        await second.recover()
        ours = second.ours(KEY, await scene.found())
        assert ours.metadata.uid != found.metadata.uid and b"Synced" not in bytes(ours.status)
        assert not second.pending

    played(story)


def test_somebody_who_wrote_first_is_read_and_respected() -> None:
    async def story(scene: Scene) -> None:
        reporter = scene.reporter()
        ours = believed(reporter.ours(KEY, await scene.found()), {"operation": {"sync": {"revision": "ours"}}})
        await scene.patch({"operation": {"sync": {"revision": "theirs"}}})
        written = await reporter.report(KEY, believed(ours, SYNCED))
        assert written is not None and b"theirs" in bytes(written.operation)
        assert scene.status()["sync"]["status"] == "Synced"

    played(story)


def test_somebody_who_writes_all_the_time_does_not_hold_us_for_ever() -> None:
    async def story(scene: Scene) -> None:
        scene.trouble = lambda: Conflict("the object has been modified", status=409)
        reporter = scene.reporter()
        assert await reporter.report(KEY, believed(reporter.ours(KEY, await scene.found()), SYNCED)) is None
        assert reporter.pending == (KEY,) and scene.writes == 5

    played(story)


def test_a_right_that_is_missing_is_asked_for_rarely() -> None:
    async def story(scene: Scene) -> None:
        scene.trouble = lambda: Forbidden("applications is forbidden", status=403)
        reporter = scene.reporter()
        await reporter.report(KEY, believed(reporter.ours(KEY, await scene.found()), SYNCED))
        at = reporter.retry_at(KEY)
        assert at is not None and (at - scene.clock.now()).total_seconds() >= 30

    played(story)


def test_a_status_that_is_too_large_is_cut() -> None:
    async def story(scene: Scene) -> None:
        answers = iter([Invalid("Request entity too large: limit is 3145728", status=413), None])
        scene.trouble = lambda: next(answers)
        resources = [{"kind": "ConfigMap", "name": f"map-{number}", "status": "Synced"} for number in range(100)]
        reporter = scene.reporter()
        ours = believed(
            reporter.ours(KEY, await scene.found()), {"status": {"resources": resources, **SYNCED["status"]}}
        )
        assert await reporter.report(KEY, ours) is not None
        [condition] = scene.status()["conditions"]
        assert condition["type"] == "ComparisonError" and "size limit" in condition["message"]
        assert not scene.status().get("resources")

    played(story)


def test_an_application_that_has_gone_is_nobodys_trouble() -> None:
    async def story(scene: Scene) -> None:
        reporter = scene.reporter()
        ours = believed(reporter.ours(KEY, await scene.found()), SYNCED)
        await scene.cluster.delete(RAW, KEY)
        assert await reporter.report(KEY, ours) is None
        await reporter.drop(KEY)
        assert not reporter.pending

    played(story)

"""Watches of exactly what Applications use: begun and ended by need, narrowed by rights."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fairlead.agentsync._live import Wanted
from fairlead.agentsync.resources import ResourceKey, ResourceKind, name_of
from fairlead.agentsync.tracking import Tracking, owner_of
from fairlead.controller import gitops_live
from fairlead.controller.gitops_live import LiveWatches
from fairlead.core.cluster import MergePatch, Page, WatchEvent
from fairlead.core.errors import Forbidden, Unavailable
from fairlead.core.forwarding import Forwarding
from fairlead.core.kinds import SECRETS, carried
from fairlead.core.objects import Kind, ObjectKey, T
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
MAP = ResourceKind(group="", version="v1", kind="ConfigMap", plural="configmaps", namespaced=True)
SECRET = ResourceKind(group="", version="v1", kind="Secret", plural="secrets", namespaced=True)
NAMESPACE = ResourceKind(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False)
WEB = ObjectKey("argocd", "web")
API = ObjectKey("argocd", "api")


class Allowed(Forwarding):
    """A cluster in which only some kinds may be listed in some namespaces."""

    def __init__(self, inner: SimulatedCluster, namespaces: dict[str, set[str]] | None = None) -> None:
        super().__init__(inner)
        self.namespaces = namespaces  # by plural; None: everything is allowed
        self.lists: list[tuple[str, str]] = []
        self.is_away = False

    async def list(self, kind: Kind[T], *, namespace: str = "", **more: Any) -> Page[T]:
        self.lists.append((kind.plural, namespace))
        self._check()
        if self.namespaces is not None and namespace not in self.namespaces.get(kind.plural, set()):
            raise Forbidden(f"{kind.plural} is forbidden in {namespace or 'all namespaces'}", status=403)
        return await super().list(kind, namespace=namespace, **more)

    async def watch(self, kind: Kind[T], **how: Any) -> AsyncIterator[WatchEvent[T]]:
        self._check()
        async with aclosing(super().watch(kind, **how)) as stream:  # type: ignore[type-var]
            async for event in stream:
                self._check()
                yield event

    def _check(self) -> None:
        if self.is_away:
            raise Unavailable("connection refused")


@dataclass
class Scene:
    """A cluster with two namespaces, and the watches on it."""

    cluster: SimulatedCluster
    allowed: Allowed
    clock: LoopClock
    live: LiveWatches
    woken: list[ObjectKey] = field(default_factory=list)

    def config_map(self, name: str, *, namespace: str = "shop", application: str = "", **metadata: Any) -> None:
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": name, "namespace": namespace, **metadata},
            "data": {"a": "1"},
        }
        self.cluster.apply([Tracking(application=application).stamp(body) if application else body])

    def names(self, application: ObjectKey = WEB) -> list[str]:
        return sorted(name_of(found) for found in self.live.look(application).live.tracked())

    async def settle(self) -> None:
        await asyncio.sleep(1)


@asynccontextmanager
async def staged(rights: dict[str, set[str]] | None = None, **more: Any) -> AsyncIterator[Scene]:
    clock = LoopClock()
    cluster = SimulatedCluster(clock, crds=(), field_manager="user")
    cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in ("shop", "other")])
    allowed = Allowed(cluster, rights)
    woken: list[ObjectKey] = []
    live = LiveWatches(
        allowed,
        clock,
        owner=owner_of,
        name=lambda key: key.name,
        wake=lambda key, is_first: woken.append(key),
        **more,
    )
    running = asyncio.create_task(live.run())
    try:
        yield Scene(cluster=cluster, allowed=allowed, clock=clock, live=live, woken=woken)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def played(story: Callable[[Scene], Awaitable[None]], rights: dict[str, set[str]] | None = None, **more: Any) -> None:
    async def play() -> None:
        async with staged(rights, **more) as scene:
            await story(scene)

    run_virtual(play(), 1)


def wanted(*kinds: ResourceKind, keys: tuple[ResourceKey, ...] = (), **more: Any) -> Wanted:
    return Wanted(kinds=frozenset(kinds), namespaces=frozenset({"shop"}), keys=frozenset(keys), **more)


def test_nothing_is_watched_before_somebody_asks() -> None:
    async def story(scene: Scene) -> None:
        await scene.settle()
        assert scene.allowed.lists == []
        assert list(scene.live.watched) == []

    played(story)


def test_tracked_objects_are_seen_and_others_are_not() -> None:
    async def story(scene: Scene) -> None:
        scene.config_map("ours", application="web")
        scene.config_map("theirs", application="api")
        scene.config_map("nobodys")
        scene.live.follow(WEB, wanted(MAP))
        sight = scene.live.look(WEB)
        assert sight.waiting == {"/ConfigMap"} and not sight.error
        await scene.settle()
        assert scene.woken == [WEB]
        assert scene.live.look(WEB).waiting == frozenset()
        assert scene.names() == ["ours"]

    played(story)


def test_an_object_with_the_key_of_a_target_is_seen_whoever_it_belongs_to() -> None:
    async def story(scene: Scene) -> None:
        scene.config_map("nobodys")
        key = ResourceKey("", "ConfigMap", "shop", "nobodys")
        scene.live.follow(WEB, wanted(MAP, keys=(key,)))
        await scene.settle()
        found = scene.live.look(WEB).live.find(key)
        assert found is not None and found["data"] == {"a": "1"}
        assert scene.live.look(WEB).live.find(ResourceKey("", "ConfigMap", "shop", "absent")) is None
        assert scene.names() == []

    played(story)


def test_changes_wake_whom_they_concern() -> None:
    async def story(scene: Scene) -> None:
        scene.config_map("shared", application="web")
        key = ResourceKey("", "ConfigMap", "shop", "shared")
        scene.live.follow(WEB, wanted(MAP))
        scene.live.follow(API, wanted(MAP, keys=(key,)))
        await scene.settle()
        scene.woken.clear()
        scene.config_map("unrelated")
        await scene.settle()
        assert scene.woken == []
        await scene.cluster.patch(CONFIG_MAPS, ObjectKey("shop", "shared"), MergePatch({"data": {"a": "2"}}))
        await scene.settle()
        assert set(scene.woken) == {WEB, API}
        scene.woken.clear()
        await scene.cluster.delete(CONFIG_MAPS, ObjectKey("shop", "shared"))
        await scene.settle()
        assert set(scene.woken) == {WEB, API}
        assert scene.names() == []

    played(story)


def test_an_object_may_want_its_updates_passed_over_but_not_its_end() -> None:
    async def story(scene: Scene) -> None:
        scene.config_map("noisy", application="web", annotations={"argocd.argoproj.io/ignore-resource-updates": "true"})
        scene.live.follow(WEB, wanted(MAP))
        await scene.settle()
        scene.woken.clear()
        await scene.cluster.patch(CONFIG_MAPS, ObjectKey("shop", "noisy"), MergePatch({"data": {"a": "2"}}))
        await scene.settle()
        assert scene.woken == []
        [found] = scene.live.look(WEB).live.tracked()
        assert found["data"] == {"a": "2"}  # it is seen all the same
        await scene.cluster.delete(CONFIG_MAPS, ObjectKey("shop", "noisy"))
        await scene.settle()
        assert scene.woken == [WEB]

    played(story)


def test_what_we_write_is_seen_at_once() -> None:
    async def story(scene: Scene) -> None:
        scene.live.follow(WEB, wanted(MAP))
        await scene.settle()
        body = Tracking(application="web").stamp(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new", "namespace": "shop"}}
        )
        await scene.live.cached(scene.allowed).create(scene.live.kind(MAP, "shop"), body, namespace="shop")
        assert scene.names() == ["new"]  # no event has arrived yet
        await scene.live.cached(scene.allowed).delete(scene.live.kind(MAP, "shop"), ObjectKey("shop", "new"))
        assert scene.names() == []

    played(story)


def test_managed_fields_are_dropped_unless_somebody_needs_them() -> None:
    async def story(scene: Scene) -> None:
        scene.config_map("ours", application="web")
        scene.live.follow(WEB, wanted(MAP))
        await scene.settle()
        [found] = scene.live.look(WEB).live.tracked()
        assert "managedFields" not in found["metadata"]
        assert found["metadata"]["annotations"]  # only the kept metadata is slim
        scene.live.follow(API, wanted(MAP, with_managers=True))
        await scene.settle()
        [found] = scene.live.look(WEB).live.tracked()
        assert found["metadata"]["managedFields"][0]["manager"] == "user"
        assert list(scene.live.watched) == ["configmaps"]

    played(story)


def test_a_watch_ends_when_nobody_needs_it_any_more() -> None:
    async def story(scene: Scene) -> None:
        scene.live.follow(WEB, wanted(MAP, SECRET))
        scene.live.follow(API, wanted(MAP))
        await scene.settle()
        assert list(scene.live.watched) == ["configmaps", "secrets"]
        scene.live.follow(WEB, wanted(MAP))
        await asyncio.sleep(gitops_live.IDLE_SECONDS * 2)
        assert list(scene.live.watched) == ["configmaps"]
        scene.live.forget(WEB)
        await asyncio.sleep(gitops_live.IDLE_SECONDS * 2)
        assert list(scene.live.watched) == ["configmaps"]
        scene.live.forget(API)
        await asyncio.sleep(gitops_live.IDLE_SECONDS * 2)
        assert list(scene.live.watched) == [] and scene.live.count == 0

    played(story)


def test_a_short_pause_of_need_costs_no_second_list() -> None:
    async def story(scene: Scene) -> None:
        scene.live.follow(WEB, wanted(MAP))
        await scene.settle()
        scene.live.forget(WEB)
        await asyncio.sleep(gitops_live.IDLE_SECONDS / 4)
        scene.live.follow(WEB, wanted(MAP))
        await asyncio.sleep(gitops_live.IDLE_SECONDS * 3)
        assert scene.allowed.lists == [("configmaps", "")]

    played(story)


def test_a_cluster_that_does_not_answer_for_long_is_not_taken_for_what_it_was() -> None:
    async def story(scene: Scene) -> None:
        scene.config_map("ours", application="web")
        scene.live.follow(WEB, wanted(MAP))
        await scene.settle()
        scene.woken.clear()
        scene.allowed.is_away = True
        await asyncio.sleep(60)
        assert scene.live.look(WEB).error == ""  # a restart is not worth a word
        await asyncio.sleep(600)
        assert "connection refused" in scene.live.look(WEB).error
        assert scene.woken == [WEB]
        scene.allowed.is_away = False
        await asyncio.sleep(150)
        assert scene.live.look(WEB).error == "" and scene.woken == [WEB, WEB]
        await asyncio.sleep(3000)
        assert scene.live.look(WEB).error == "" and scene.woken == [WEB, WEB]

    played(story)


# --- rights -----------------------------------------------------------------------------------------------------------


def test_where_everywhere_is_forbidden_single_namespaces_are_watched() -> None:
    async def story(scene: Scene) -> None:
        scene.config_map("ours", application="web")
        scene.config_map("elsewhere", namespace="other", application="web")
        scene.live.follow(WEB, wanted(MAP))
        await scene.settle()
        assert list(scene.live.watched) == ["configmaps in shop"]
        assert scene.names() == ["ours"]
        assert not scene.live.look(WEB).error
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "new", "namespace": "shop"}}
        stamped = Tracking(application="web").stamp(body)
        await scene.live.cached(scene.allowed).create(scene.live.kind(MAP, "shop"), stamped, namespace="shop")
        assert scene.names() == ["new", "ours"]

    played(story, {"configmaps": {"shop"}})


def test_a_forbidden_kind_is_reported_to_whom_it_concerns_and_is_not_fatal() -> None:
    async def story(scene: Scene) -> None:
        scene.config_map("ours", application="web")
        scene.live.follow(WEB, wanted(MAP))
        scene.live.follow(API, wanted(MAP, SECRET))
        await scene.settle()
        assert scene.live.look(WEB).error == ""
        assert scene.live.look(API).error == "Secret: secrets is forbidden in shop"
        assert scene.names() == ["ours"]
        assert scene.allowed.namespaces is not None
        scene.allowed.namespaces["secrets"] = {"shop"}  # a person grants the right
        await asyncio.sleep(120)
        assert scene.live.look(API).error == ""
        assert API in scene.woken

    played(story, {"configmaps": {"shop"}})


def test_only_the_given_namespaces_are_looked_at() -> None:
    async def story(scene: Scene) -> None:
        both = Wanted(kinds=frozenset({MAP, NAMESPACE}), namespaces=frozenset({"shop", "other"}))
        scene.live.follow(WEB, both)
        await scene.settle()
        assert list(scene.live.watched) == ["configmaps in other", "namespaces"]

    played(story, namespaces=("other",))


def test_the_value_of_a_secret_is_in_no_repr() -> None:
    async def story(scene: Scene) -> None:
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "db"},
            "stringData": {"password": "a-password"},
        }
        scene.cluster.apply([body], namespace="shop")
        found = await scene.cluster.get(SECRETS, ObjectKey("shop", "db"))
        live = await scene.cluster.get(scene.live.kind(SECRET, "shop"), ObjectKey("shop", "db"))
        assert found.data["password"].encode() in live.raw
        assert found.data["password"] not in repr(live)

    played(story)

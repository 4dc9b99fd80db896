"""The executor on the simulated cluster: what an action changes there, what it costs, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import pytest

from fairlead.agentsync._live import LiveObject, LiveView, Sight, Wanted, live_kind
from fairlead.agentsync._performing import Performer
from fairlead.agentsync._writing import DryRuns, Manner
from fairlead.agentsync.actions import (
    Action,
    Apply,
    ApplyWave,
    DeleteHooks,
    DeleteResources,
    DryRun,
    Propagation,
    Prune,
    ReleaseHooks,
    Removal,
)
from fairlead.agentsync.diff import LAST_APPLIED, DiffOptions, IgnoreRule
from fairlead.agentsync.kinds import HOOK_FINALIZER
from fairlead.agentsync.observation import Result
from fairlead.agentsync.resources import Object, ResourceKey, ResourceKind, key_of
from fairlead.agentsync.status import ResultCode, SyncPhase
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.errors import ClusterError, Invalid, Unavailable
from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.core.kinds import CRDS, carried
from fairlead.core.objects import Kind, ObjectKey
from fairlead.runtime.discovery import DiscoveredKinds
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from tests.agentsync.forge import config_map, deployment

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
DEPLOYMENTS = carried("apps", "v1", "Deployment", "deployments")
BINDINGS = carried("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {
                                    "size": {"type": "integer", "maximum": 10},
                                    "frozen": {
                                        "type": "string",
                                        "x-kubernetes-validations": [
                                            {"rule": "self == oldSelf", "message": "frozen is immutable"}
                                        ],
                                    },
                                },
                            }
                        },
                    }
                },
            }
        ],
    },
}


class Counting(Forwarding):
    """Counts writes, and fails those that the test wants to fail."""

    def __init__(self, inner: Cluster, world: World) -> None:
        super().__init__(inner)
        self._world = world

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        self._world.writes.append(f"{write.verb} {write.kind} {write.key.name}")
        self._world.running += 1
        self._world.running_most = max(self._world.running_most, self._world.running)
        try:
            await asyncio.sleep(0.01)
            if error := self._world.trouble(write):
                raise error
            return await call()
        finally:
            self._world.running -= 1


class World(LiveView):
    """A cluster, the executor, and caches that show what is there, or what the test says."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.cluster = SimulatedCluster(self.clock, crds=(), field_manager="user")
        self.cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}])
        self.writes: list[str] = []
        self.running = self.running_most = 0
        self.trouble: Callable[[Write], ClusterError | None] = lambda write: None
        self.stale: dict[ResourceKey, Object | None] = {}
        self.kinds = DiscoveredKinds(self.cluster, self.clock, pause_seconds=0.5)
        self.performer = Performer(self.managers, self, self.kinds, self.clock)

    def managers(self, field_manager: str, *, dry_run: bool = False, strict: bool = False) -> Cluster:
        return Counting(self.cluster.as_manager(field_manager, dry_run=dry_run, strict=strict), self)

    # the part of LiveView that the executor uses

    def kind(self, kind: ResourceKind, namespace: str) -> Kind[LiveObject]:
        return live_kind(kind, with_managers=True)

    def follow(self, application: ObjectKey, wanted: Wanted) -> None:
        raise AssertionError("the executor follows nothing")

    def look(self, application: ObjectKey) -> Sight:
        raise AssertionError("the executor is told what lives")

    def strays(self, namespace: str) -> tuple[ResourceKey, ...]:
        raise AssertionError("the executor looks for nothing")

    def forget(self, application: ObjectKey) -> None:
        raise AssertionError("the executor follows nothing")

    # what the test does

    def live(self, key: ResourceKey) -> Object | None:
        if key in self.stale:
            return self.stale.pop(key)
        kind = self.kinds.find(key.group, key.kind)
        found = self.cluster.read(live_kind(kind), ObjectKey(key.namespace, key.name)) if kind is not None else None
        if found is None or kind is None:
            return None
        api = self.cluster.api
        target = api.target(kind.group, kind.version, kind.plural, namespace=key.namespace, name=key.name)
        whole: Object = msgspec.json.decode(msgspec.json.encode(api.stored(target).full()))
        return whole

    async def perform(self, action: Action, manner: Manner = Manner()) -> tuple[Result, ...]:  # noqa: B008 (frozen)
        await self.kinds.look()
        self.writes.clear()
        return await self.performer.perform(action, self.live, manner)

    async def apply(self, *targets: Object, manner: Manner = Manner(), **how: Any) -> tuple[Result, ...]:  # noqa: B008
        return await self.perform(ApplyWave(groups=(tuple(apply_of(target, **how) for target in targets),)), manner)

    def read(self, kind: Kind[Any], name: str) -> Mapping[str, Any]:
        return self.cluster.read(kind, ObjectKey("shop" if kind.namespaced else "", name)) or {}


def placed(target: Object) -> Object:
    if target["kind"] in ("CustomResourceDefinition", "Namespace"):
        return target
    return {**target, "metadata": {"namespace": "shop", **target["metadata"]}}


def apply_of(target: Object, **how: Any) -> Apply:
    whole = placed(target)
    return Apply(key=key_of(whole), target=whole, **how)


def removal_of(target: Object, uid: str = "") -> Removal:
    whole = placed(target)
    return Removal(key=key_of(whole), version=whole["apiVersion"].rpartition("/")[2], uid=uid)


def played(story: Callable[[World], Awaitable[None]]) -> None:
    async def play() -> None:
        await story(World())

    run_virtual(play(), 1)


def said(results: tuple[Result, ...]) -> list[tuple[str, str]]:
    return [(str(result.status), result.message) for result in results]


# --- client-side apply ------------------------------------------------------------------------------------------------


def test_an_object_is_created_then_left_alone_then_changed() -> None:
    async def story(world: World) -> None:
        assert said(await world.apply(config_map("web"))) == [("Synced", "configmap/web created")]
        assert world.writes == ["create configmaps web"]
        assert LAST_APPLIED in world.read(CONFIG_MAPS, "web")["metadata"]["annotations"]
        assert said(await world.apply(config_map("web"))) == [("Synced", "configmap/web unchanged")]
        assert world.writes == []
        assert said(await world.apply(config_map("web", a="2"))) == [("Synced", "configmap/web configured")]
        assert world.writes == ["patch configmaps web"]
        assert world.read(CONFIG_MAPS, "web")["data"] == {"a": "2"}

    played(story)


def test_a_field_that_left_the_manifest_goes_and_what_others_added_stays() -> None:
    async def story(world: World) -> None:
        await world.apply(config_map("web", a="1", b="2"))
        await world.cluster.patch(CONFIG_MAPS, ObjectKey("shop", "web"), MergePatch({"data": {"c": "3"}}))
        await world.apply(config_map("web", a="1"))
        assert world.read(CONFIG_MAPS, "web")["data"] == {"a": "1", "c": "3"}

    played(story)


def test_defaults_of_the_server_are_no_difference() -> None:
    async def story(world: World) -> None:
        await world.apply(deployment("web"))
        assert said(await world.apply(deployment("web"))) == [("Synced", "deployment.apps/web unchanged")]
        assert world.writes == []

    played(story)


def test_fields_have_the_manager_that_upstream_uses() -> None:
    async def story(world: World) -> None:
        await world.apply(config_map("web"))
        live = world.live(ResourceKey("", "ConfigMap", "shop", "web"))
        assert live is not None
        assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["argocd-controller"]

    played(story)


def test_a_cache_that_is_behind_costs_one_more_look() -> None:
    async def story(world: World) -> None:
        key = ResourceKey("", "ConfigMap", "shop", "web")
        await world.apply(config_map("web"))
        old = world.live(key)
        await world.cluster.patch(CONFIG_MAPS, ObjectKey("shop", "web"), MergePatch({"data": {"c": "3"}}))
        world.stale[key] = old
        assert said(await world.apply(config_map("web", a="2"))) == [("Synced", "configmap/web configured")]
        assert world.read(CONFIG_MAPS, "web")["data"] == {"a": "2", "c": "3"}
        world.stale[key] = None  # as if it were not there
        assert said(await world.apply(config_map("web", a="3"))) == [("Synced", "configmap/web configured")]
        assert world.writes == ["create configmaps web", "patch configmaps web"]

    played(story)


def test_one_bad_object_ends_its_group_and_not_its_neighbours() -> None:
    async def story(world: World) -> None:
        bad = config_map("Not_A_Name")
        wave = ApplyWave(
            groups=(
                (apply_of(config_map("one")), apply_of(bad), apply_of(config_map("two"))),
                (apply_of(config_map("later")),),
            )
        )
        results = await world.perform(wave)
        assert [result.status for result in results] == [
            ResultCode.SYNCED,
            ResultCode.SYNC_FAILED,
            ResultCode.SYNCED,
        ]
        assert "Not_A_Name" in results[1].message
        assert world.read(CONFIG_MAPS, "two") and not world.read(CONFIG_MAPS, "later")

    played(story)


def test_objects_of_a_group_go_in_parallel_within_bounds() -> None:
    async def story(world: World) -> None:
        await world.apply(*(config_map(f"map-{number}") for number in range(100)))
        assert len(world.writes) == 100
        assert world.running_most == 20

    played(story)


def test_a_short_outage_is_waited_out_and_a_long_one_is_a_failure() -> None:
    async def story(world: World) -> None:
        ends_at = world.clock.monotonic() + 3

        def restarting(write: Write) -> ClusterError | None:
            return Unavailable("connection refused") if world.clock.monotonic() < ends_at else None

        world.trouble = restarting
        assert said(await world.apply(config_map("web"))) == [("Synced", "configmap/web created")]
        world.trouble = lambda write: Unavailable("connection refused")
        assert said(await world.apply(config_map("api"))) == [("SyncFailed", "connection refused")]

    played(story)


def test_an_answer_that_was_lost_is_found_out() -> None:
    async def story(world: World) -> None:
        lost: list[Write] = []

        class Losing(Counting):
            async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
                answer = await super().write(write, call)
                if not lost:
                    lost.append(write)
                    raise Unavailable("connection lost before the answer")
                return answer

        def managers(field_manager: str, *, dry_run: bool = False, strict: bool = False) -> Cluster:
            return Losing(world.cluster.as_manager(field_manager, dry_run=dry_run, strict=strict), world)

        performer = Performer(managers, world, world.kinds, world.clock)
        await world.kinds.look()
        wave = ApplyWave(groups=((apply_of(config_map("web")),),))
        assert said(await performer.perform(wave, lambda key: None, Manner())) == [
            ("Synced", "configmap/web unchanged")
        ]

    played(story)


def test_a_last_applied_annotation_that_is_too_long_names_the_way_out() -> None:
    async def story(world: World) -> None:
        [result] = await world.apply(config_map("large", a="x" * 300_000))
        assert result.status is ResultCode.SYNC_FAILED and "ServerSideApply=true" in result.message
        assert world.writes == []

    played(story)


# --- dry runs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(DryRuns))
def test_a_dry_run_changes_nothing_and_says_so(mode: DryRuns) -> None:
    async def story(world: World) -> None:
        await world.apply(config_map("old"))
        before = world.cluster.api.storage.revision
        trial = DryRun(applies=(apply_of(config_map("new")), apply_of(config_map("old", a="2"))))
        results = await world.perform(trial, Manner(dry_runs=mode))
        assert said(results) == [
            ("Synced", "configmap/new created (dry run)"),
            ("Synced", "configmap/old configured (dry run)"),
        ]
        assert all(result.dry_run for result in results)
        assert world.cluster.api.storage.revision == before
        assert len(world.writes) == (2 if mode is DryRuns.SERVER else 0)

    played(story)


def test_the_server_refuses_in_a_dry_run_what_it_would_refuse() -> None:
    async def story(world: World) -> None:
        world.cluster.install_crds([DEFINITION])
        trial = DryRun(
            applies=(
                apply_of(
                    {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 11}}
                ),
                apply_of(
                    {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "v"}, "spec": {"sise": 1}}
                ),
                apply_of(config_map("fine")),
            )
        )
        results = await world.perform(trial, Manner(dry_runs=DryRuns.SERVER))
        assert [result.is_successful for result in results] == [False, False, True]
        assert "spec.size" in results[0].message and 'unknown field "spec.sise"' in results[1].message

    played(story)


@pytest.mark.parametrize("mode", list(DryRuns))
def test_a_dry_run_overlooks_what_the_same_sync_brings(mode: DryRuns) -> None:
    async def story(world: World) -> None:
        widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
        elsewhere = config_map("map", namespace="to-be-made")
        results = await world.perform(DryRun(applies=(apply_of(widget), apply_of(elsewhere))), Manner(dry_runs=mode))
        assert all(result.is_successful for result in results)

    played(story)


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_a_definition_and_its_object_go_in_one_wave() -> None:
    async def story(world: World) -> None:
        widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
        results = await world.perform(ApplyWave(groups=((apply_of(DEFINITION),), (apply_of(widget),))))
        assert said(results) == [
            ("Synced", "customresourcedefinition.apiextensions.k8s.io/widgets.example.com created"),
            ("Synced", "widget.example.com/w created"),
        ]

    played(story)


def test_a_kind_that_nobody_serves_is_named() -> None:
    async def story(world: World) -> None:
        widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}}
        assert said(await world.apply(widget)) == [
            (
                "SyncFailed",
                "The Kubernetes API could not find example.com/Widget for requested resource shop/w. "
                'Make sure the "Widget" CRD is installed on the destination cluster.',
            )
        ]

    played(story)


def test_unknown_fields_are_refused_unless_validation_is_off() -> None:
    async def story(world: World) -> None:
        world.cluster.install_crds([DEFINITION])
        widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"sise": 1}}
        [result] = await world.apply(widget)
        assert result.status is ResultCode.SYNC_FAILED and 'unknown field "spec.sise"' in result.message
        assert said(await world.apply(widget, validate=False)) == [("Synced", "widget.example.com/w created")]

    played(story)


# --- server-side apply ------------------------------------------------------------------------------------------------


def test_server_side_apply_owns_its_fields_and_costs_nothing_the_second_time() -> None:
    async def story(world: World) -> None:
        said_so = [("Synced", "configmap/web serverside-applied")]
        assert said(await world.apply(config_map("web"), server_side=True)) == said_so
        live = world.live(ResourceKey("", "ConfigMap", "shop", "web"))
        assert live is not None and LAST_APPLIED not in (live["metadata"].get("annotations") or {})
        [entry] = live["metadata"]["managedFields"]
        assert (entry["manager"], entry["operation"]) == ("argocd-controller", "Apply")
        assert said(await world.apply(config_map("web"), server_side=True)) == [("Synced", "configmap/web unchanged")]
        assert world.writes == []

    played(story)


def test_server_side_apply_takes_fields_of_others_by_force() -> None:
    async def story(world: World) -> None:
        world.cluster.as_manager("scaler").apply([deployment("web", replicas=5)], namespace="shop")
        await world.apply(deployment("web", replicas=2), server_side=True)
        assert world.read(DEPLOYMENTS, "web")["spec"]["replicas"] == 2

    played(story)


def test_fields_of_a_client_side_manager_go_after_migration() -> None:
    async def story(world: World) -> None:
        kubectl = world.cluster.as_manager("kubectl-client-side-apply")
        await kubectl.create(CONFIG_MAPS, config_map("web", a="1", b="2"), namespace="shop")
        await world.apply(config_map("web", a="1"), server_side=True, migrate_from="kubectl-client-side-apply")
        assert world.read(CONFIG_MAPS, "web")["data"] == {"a": "1"}
        await kubectl.create(CONFIG_MAPS, config_map("api", a="1", b="2"), namespace="shop")
        await world.apply(config_map("api", a="1"), server_side=True)
        assert world.read(CONFIG_MAPS, "api")["data"] == {"a": "1", "b": "2"}  # the old manager still has it

    played(story)


# --- replace and force ------------------------------------------------------------------------------------------------


def test_replace_keeps_nothing_that_the_manifest_does_not_say() -> None:
    async def story(world: World) -> None:
        assert said(await world.apply(config_map("web"), replace=True)) == [("Synced", "configmap/web created")]
        await world.cluster.patch(
            CONFIG_MAPS,
            ObjectKey("shop", "web"),
            MergePatch({"metadata": {"labels": {"x": "y"}}, "data": {"c": "3"}}),
        )
        assert said(await world.apply(config_map("web"), replace=True)) == [("Synced", "configmap/web replaced")]
        found = world.read(CONFIG_MAPS, "web")
        assert found["data"] == {"a": "1"} and "labels" not in found["metadata"]

    played(story)


def test_replace_updates_definitions_and_namespaces_in_place() -> None:
    async def story(world: World) -> None:
        await world.apply(DEFINITION)
        [result] = await world.apply(DEFINITION, replace=True, force=True)
        assert result.message == "CustomResourceDefinition/widgets.example.com updated"
        assert world.cluster.read(CRDS, ObjectKey("", "widgets.example.com"))
        assert "delete" not in " ".join(world.writes)

    played(story)


def test_force_makes_anew_what_cannot_be_changed() -> None:
    async def story(world: World) -> None:
        await world.apply(DEFINITION)
        await asyncio.sleep(1)

        def widget(frozen: str) -> Object:
            spec = {"frozen": frozen}
            return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}

        await world.apply(widget("ice"))
        [refused] = await world.apply(widget("snow"))
        assert refused.status is ResultCode.SYNC_FAILED and "frozen is immutable" in refused.message
        assert said(await world.apply(widget("snow"), force=True)) == [("Synced", "widget.example.com/w created")]
        live = world.live(ResourceKey("example.com", "Widget", "shop", "w"))
        assert live is not None and live["spec"] == {"frozen": "snow"}

    played(story)


def test_a_binding_to_another_role_is_made_anew() -> None:
    async def story(world: World) -> None:
        def binding(role: str) -> Object:
            return {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "RoleBinding",
                "metadata": {"name": "web"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
                "subjects": [],
            }

        await world.apply(binding("reader"))
        await world.apply(binding("writer"))
        assert world.read(BINDINGS, "web")["roleRef"]["name"] == "writer"

    played(story)


def test_create_only_leaves_alone_what_is_there() -> None:
    async def story(world: World) -> None:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}}}
        assert said(await world.apply(namespace, create_only=True)) == [("Synced", "namespace/shop unchanged")]
        assert world.writes == []

    played(story)


def test_ignored_fields_keep_their_live_value_when_asked() -> None:
    async def story(world: World) -> None:
        manner = Manner(
            options=DiffOptions(
                ignores=(IgnoreRule(group="apps", kind="Deployment", json_pointers=("/spec/replicas",)),)
            )
        )
        await world.apply(deployment("web", replicas=1), manner=manner, keep_ignored=True)
        await world.cluster.patch(DEPLOYMENTS, ObjectKey("shop", "web"), MergePatch({"spec": {"replicas": 7}}))
        await world.apply(deployment("web", replicas=1, image="web:2"), manner=manner, keep_ignored=True)
        spec = world.read(DEPLOYMENTS, "web")["spec"]
        assert (spec["replicas"], spec["template"]["spec"]["containers"][0]["image"]) == (7, "web:2")

    played(story)


# --- removals ---------------------------------------------------------------------------------------------------------


def test_pruning_deletes_and_minds_who_is_meant() -> None:
    async def story(world: World) -> None:
        await world.apply(config_map("one"), config_map("two"))
        uid = world.read(CONFIG_MAPS, "one")["metadata"]["uid"]
        prune = Prune(
            removals=(
                removal_of(config_map("one"), uid),
                removal_of(config_map("two"), "another-uid"),
                removal_of(config_map("three")),
            ),
            propagation=Propagation.BACKGROUND,
        )
        results = await world.perform(prune)
        assert [str(result.status) for result in results] == ["Pruned", "SyncFailed", "Pruned"]
        assert not world.read(CONFIG_MAPS, "one") and world.read(CONFIG_MAPS, "two")

    played(story)


def test_hooks_lose_our_finalizer_and_no_other() -> None:
    async def story(world: World) -> None:
        for name in ("one", "two"):
            target = config_map(name)
            target["metadata"]["finalizers"] = [HOOK_FINALIZER, "example.com/other"]
            await world.apply(target)
        assert await world.perform(ReleaseHooks(removals=(removal_of(config_map("one")),))) == ()
        assert world.read(CONFIG_MAPS, "one")["metadata"]["finalizers"] == ["example.com/other"]
        assert "deletionTimestamp" not in world.read(CONFIG_MAPS, "one")["metadata"]
        assert await world.perform(DeleteHooks(removals=(removal_of(config_map("two")),))) == ()
        assert world.read(CONFIG_MAPS, "two")["metadata"]["finalizers"] == ["example.com/other"]
        assert "deletionTimestamp" in world.read(CONFIG_MAPS, "two")["metadata"]

    played(story)


def test_what_is_gone_already_is_no_failure() -> None:
    async def story(world: World) -> None:
        gone = (removal_of(config_map("gone")),)
        for action in (DeleteHooks(removals=gone), ReleaseHooks(removals=gone), DeleteResources(removals=gone)):
            assert await world.perform(action) == ()

    played(story)


def test_a_removal_that_is_refused_is_reported() -> None:
    async def story(world: World) -> None:
        await world.apply(config_map("one"))
        world.trouble = lambda write: Unavailable("connection refused")
        [result] = await world.perform(DeleteResources(removals=(removal_of(config_map("one")),)))
        assert (result.status, result.message) == (ResultCode.SYNC_FAILED, "connection refused")

    played(story)


def test_results_carry_the_phase_of_their_action() -> None:
    async def story(world: World) -> None:
        [result] = await world.apply(config_map("hook"), phase=SyncPhase.POST_SYNC, is_hook=True)
        assert result.phase is SyncPhase.POST_SYNC

    played(story)


def test_no_value_of_a_secret_is_in_a_message() -> None:
    async def story(world: World) -> None:
        secret: Object = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}}
        secret["stringData"] = {"password": "hunter2!"}

        def echoing(write: Write) -> ClusterError | None:
            return Invalid("data[password]: hunter2! is aHVudGVyMiE= and will not do", status=422)

        world.trouble = echoing
        [result] = await world.apply(secret)
        assert result.message == "data[password]: ++++++++ is ++++++++ and will not do"

    played(story)

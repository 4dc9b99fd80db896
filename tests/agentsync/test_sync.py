"""One pass of a sync after the other: what is done, in which order, and what is said of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairlead.agentsync._doing import hook_state
from fairlead.agentsync._sync import Manner, Pass, advance, terminate
from fairlead.agentsync._targets import prepare_targets, scope_of
from fairlead.agentsync._tasks import Course, Pair, build_tasks
from fairlead.agentsync._waves import Task
from fairlead.agentsync.actions import ApplyWave, DeleteHooks, DryRun, Prune
from fairlead.agentsync.kinds import HOOK_FINALIZER
from fairlead.agentsync.observation import Result
from fairlead.agentsync.options import SyncOptions
from fairlead.agentsync.resources import Object, ResourceKey, key_of
from fairlead.agentsync.status import Phase, ResourceResult, ResultCode, SyncPhase
from tests.agentsync.world import Served, World, definition, job, manifest

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def tasks(wanted: list[Object], live: tuple[Object, ...] | list[Object] = (), **course: Any) -> tuple[Task, ...]:
    targets = prepare_targets(wanted, namespace="shop", scope=scope_of(Served({}), wanted)).targets
    alive = {key_of(one): one for one in live}
    hooks = tuple(one for one in targets if "argocd.argoproj.io/hook" in one.content["metadata"].get("annotations", {}))
    plain = [one for one in targets if one not in hooks]
    pairs = [Pair(key=one.key, target=one.content, live=alive.get(one.key)) for one in plain]
    wanted_keys = {one.key for one in targets}
    pairs += [Pair(key=key, live=one) for key, one in alive.items() if key not in wanted_keys]
    return build_tasks(pairs, hooks, Course(namespace="shop", started_at=NOW, **course), alive.get)


def step(
    found: tuple[Task, ...],
    recorded: tuple[ResourceResult, ...] = (),
    fresh: tuple[Result, ...] = (),
    **manner: Any,
) -> Pass:
    return advance(found, recorded, fresh, Manner(**manner), NOW)


def tried(found: tuple[Task, ...]) -> tuple[Result, ...]:
    return tuple(
        Result(key=one.key, phase=one.phase, status=ResultCode.SYNCED, message="created (dry run)", dry_run=True)
        for one in found
    )


def alive(kind: str, name: str, **extra: Any) -> Object:
    return {**manifest(kind, name, "shop"), **extra}


def test_the_first_step_tries_everything_of_every_phase() -> None:
    found = tasks([job("before", "PreSync"), job("rescue", "SyncFail"), manifest("ConfigMap", "one")])
    passed = step(found)
    (action,) = passed.actions
    assert isinstance(action, DryRun)
    assert [one.key.name for one in action.applies] == ["before", "one", "rescue"]
    assert (passed.phase, passed.message, passed.results) == (Phase.RUNNING, "one or more tasks are running", ())


def test_a_dry_run_that_fails_ends_it() -> None:
    found = tasks([manifest("ConfigMap", "one"), manifest("ConfigMap", "two")])
    bad = Result(
        key=found[0].key, phase=SyncPhase.SYNC, status=ResultCode.SYNC_FAILED, message="is invalid", dry_run=True
    )
    passed = step(found, (), (bad, *tried(found[1:])))
    assert (passed.phase, passed.message) == (Phase.FAILED, "one or more objects failed to apply (dry run)")
    assert [(one.name, one.status, one.message) for one in passed.results] == [("one", "SyncFailed", "is invalid")]


def test_a_wave_is_applied_kind_after_kind() -> None:
    found = tasks([manifest("Service", "web"), manifest("ConfigMap", "b"), manifest("ConfigMap", "a")])
    (action,) = step(found, (), tried(found)).actions
    assert isinstance(action, ApplyWave)
    assert [[one.key.name for one in group] for group in action.groups] == [["a", "b"], ["web"]]


def test_without_anything_to_do_it_succeeds() -> None:
    passed = step(())
    assert (passed.phase, passed.message) == (Phase.SUCCEEDED, "successfully synced (no more tasks)")


@pytest.mark.parametrize(
    ("wanted", "manner", "message"),
    [
        pytest.param(
            manifest("Widget", "w"),
            {},
            'The Kubernetes API could not find example.com/Widget for requested resource shop/w. Make sure the "Widget"'
            " CRD is installed on the destination cluster.",
            id="kind-is-not-served",
        ),
        pytest.param(
            manifest("ConfigMap", "one"),
            {"refuses": lambda key, namespaced: "resource :ConfigMap is not permitted in project shop"},
            "resource :ConfigMap is not permitted in project shop",
            id="project-forbids-the-kind",
        ),
        pytest.param(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "one-"}},
            {},
            "metadata.name: expected a name, found none (generateName is for hooks only)",
            id="a-prefix-is-for-hooks",
        ),
    ],
)
def test_tasks_that_cannot_be_carried_out_end_it(wanted: Object, manner: dict[str, Any], message: str) -> None:
    passed = step(tasks([wanted]), served=Served({}), **manner)
    assert passed.phase is Phase.FAILED
    assert passed.message == f"one or more synchronization tasks are not valid: {message}"
    assert [one.message for one in passed.results] == [message]
    assert passed.actions == ()


@pytest.mark.parametrize(
    ("wanted", "options"),
    [
        pytest.param([manifest("Widget", "w"), definition("Widget")], [], id="defined-in-the-same-sync"),
        pytest.param([manifest("Widget", "w")], ["SkipDryRunOnMissingResource=true"], id="option"),
        pytest.param([manifest("Widget", "w", options="SkipDryRunOnMissingResource=true")], [], id="annotation"),
    ],
)
def test_an_unknown_kind_may_come_later_and_is_not_tried(wanted: list[Object], options: list[str]) -> None:
    found = tasks(wanted)
    passed = step(found, served=Served({}), options=SyncOptions.of(options))
    assert passed.phase is Phase.RUNNING
    names = [one.key.kind for action in passed.actions if isinstance(action, DryRun) for one in action.applies]
    assert "Widget" not in names


@pytest.mark.parametrize(
    ("annotations", "options", "expected"),
    [
        pytest.param({}, [], {}, id="plain"),
        pytest.param({"options": "Replace=true"}, [], {"replace": True}, id="replace"),
        pytest.param({"options": "Force=true"}, [], {"force": True}, id="force"),
        pytest.param({}, ["Validate=false"], {"validate": False}, id="validate"),
        pytest.param(
            {},
            ["ServerSideApply=true"],
            {"server_side": True, "migrate_from": "kubectl-client-side-apply"},
            id="server-side",
        ),
        pytest.param(
            {}, ["ServerSideApply=true", "ClientSideApplyMigration=false"], {"server_side": True}, id="no-migration"
        ),
        pytest.param({"options": "ServerSideApply=false"}, ["ServerSideApply=true"], {}, id="opted-out"),
    ],
)
def test_how_an_object_is_applied(annotations: dict[str, str], options: list[str], expected: dict[str, Any]) -> None:
    found = tasks([manifest("ConfigMap", "one", **annotations)])
    (action,) = step(found, (), tried(found), options=SyncOptions.of(options)).actions
    assert isinstance(action, ApplyWave)
    ((apply,),) = action.groups
    defaults = {"replace": False, "force": False, "validate": True, "server_side": False, "migrate_from": ""}
    assert {name: getattr(apply, name) for name in defaults} == {**defaults, **expected}


def test_ignored_fields_are_kept_on_what_is_there_only() -> None:
    options = SyncOptions.of(["RespectIgnoreDifferences=true"])
    found = tasks([manifest("ConfigMap", "new"), manifest("ConfigMap", "old")], [alive("ConfigMap", "old")])
    (action,) = step(found, (), tried(found), options=options).actions
    assert isinstance(action, ApplyWave)
    assert {one.key.name: one.keep_ignored for group in action.groups for one in group} == {"new": False, "old": True}


# -- pruning -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "prune", "status", "message"),
    [
        pytest.param("", False, "PruneSkipped", "ignored (requires pruning)", id="not-asked-for"),
        pytest.param("Prune=false", True, "PruneSkipped", "ignored (no prune)", id="forbidden"),
    ],
)
def test_what_is_not_pruned_says_why(options: str, prune: bool, status: str, message: str) -> None:
    gone = manifest("ConfigMap", "gone", "shop", options=options)
    passed = step(tasks([], [gone]), prune=prune)
    assert (passed.phase, passed.message) == (Phase.SUCCEEDED, "successfully synced (all tasks run)")
    assert [(one.status, one.message) for one in passed.results] == [(status, message)]


def test_prunes_come_before_what_is_applied_and_name_the_incarnation() -> None:
    gone = alive("ConfigMap", "gone")
    gone["metadata"]["uid"] = "abc"
    found = tasks([manifest("ConfigMap", "one")], [gone])
    actions = step(found, (), tried(found), prune=True).actions
    assert [type(action) for action in actions] == [Prune, ApplyWave]
    assert isinstance(actions[0], Prune)
    assert [(one.key.name, one.uid, one.version) for one in actions[0].removals] == [("gone", "abc", "v1")]


def test_what_was_pruned_is_told_even_when_it_is_out_of_sight_before_that() -> None:
    found = tasks([manifest("ConfigMap", "one")], [alive("ConfigMap", "old")])
    (old,) = [one for one in found if one.key.name == "old"]
    recorded = step(found, (), tried(found), prune=True).results
    done = (
        Result(key=old.key, phase=old.phase, status=ResultCode.PRUNED, message="pruned"),
        Result(key=found[-1].key, phase=SyncPhase.SYNC, status=ResultCode.SYNCED, message="configmap/one created"),
    )
    passed = step(tasks([manifest("ConfigMap", "one")], [alive("ConfigMap", "one")]), recorded, done, prune=True)
    assert passed.phase is Phase.SUCCEEDED
    told = {one.name: (one.version, one.status, one.message, one.hook_phase) for one in passed.results}
    assert told["old"] == ("v1", "Pruned", "pruned", "Succeeded")
    assert set(told) == {"old", "one"}


def test_what_is_going_already_counts_as_pruned_and_is_waited_for() -> None:
    gone = alive("ConfigMap", "gone")
    gone["metadata"]["deletionTimestamp"] = "2026-03-02T09:00:00Z"
    passed = step(tasks([], [gone]), prune=True)
    assert [(one.status, one.message) for one in passed.results] == [("Pruned", "pruned")]


def test_a_dry_run_operation_only_tries_and_tells() -> None:
    world = World()
    world.have(manifest("ConfigMap", "gone"), manifest("ConfigMap", "kept", options="Prune=false"))
    world.commit(job("before", "PreSync"), manifest("ConfigMap", "one", wave="5"))
    before = dict(world.objects)
    world.ask(prune=True, dryRun=True)
    world.settle()
    assert world.objects == before
    assert (world.phase, world.message) == ("Succeeded", "successfully synced (no more tasks)")
    assert world.result("one") == "Synced: configmap/one created (dry run)"
    assert world.result("gone") == "Pruned: pruned (dry run)"
    assert world.result("kept") == "PruneSkipped: ignored (no prune)"
    assert world.status.history == ()


@pytest.mark.parametrize("recorded", [0, 1, 2], ids=["nothing", "one", "both"])
def test_a_dry_run_operation_never_acts_wherever_it_is_taken_up(recorded: int) -> None:
    found = tasks([manifest("ConfigMap", "one"), manifest("ConfigMap", "two")], [alive("ConfigMap", "gone")])
    results = step(found, (), tried(found[:recorded]), dry_run=True).results if recorded else ()
    passed = step(found, results, (), dry_run=True, prune=True)
    assert [type(action) for action in passed.actions] == [DryRun]


# -- stories -----------------------------------------------------------------------------------------------------------


def test_hooks_run_around_the_resources_and_are_waited_for() -> None:
    world = World()
    world.commit(
        job("before", "PreSync"), job("during", "Sync"), job("after", "PostSync"), manifest("ConfigMap", "one")
    )
    world.ask()
    world.settle()
    assert world.message == "waiting for completion of hook batch/Job/before"
    assert world.names() == {"Job/before"}
    world.finish("before")
    world.settle()
    assert world.message == "waiting for completion of hook batch/Job/during"
    assert world.names() == {"Job/before", "Job/during", "ConfigMap/one"}
    world.finish("during")
    world.settle()
    assert world.message == "waiting for completion of hook batch/Job/after"
    world.finish("after")
    world.settle()
    assert (world.phase, world.message) == ("Succeeded", "successfully synced (no more tasks)")
    state = world.status.operation_state
    assert state is not None
    assert state.sync_result is not None
    assert [(one.name, one.hook_type, one.hook_phase, one.sync_phase) for one in state.sync_result.resources] == [
        ("before", "PreSync", "Succeeded", "PreSync"),
        ("one", "", "Succeeded", "Sync"),
        ("during", "Sync", "Succeeded", "Sync"),
        ("after", "PostSync", "Succeeded", "PostSync"),
    ]


def test_several_that_are_waited_for_are_counted() -> None:
    world = World()
    world.commit(job("a", "PreSync"), job("b", "PreSync"), job("c", "PreSync"))
    world.ask()
    world.settle()
    assert world.message == "waiting for completion of hook batch/Job/a and 2 more hooks"


def test_a_failed_hook_runs_what_is_for_failures_then_fails() -> None:
    world = World()
    world.commit(
        job("before", "PreSync", policy="HookFailed"),
        job("rescue", "SyncFail"),
        manifest("ConfigMap", "one"),
    )
    world.ask()
    world.settle()
    world.finish("before", well=False)
    world.settle()
    assert world.message == "waiting for completion of hook batch/Job/rescue"
    assert world.phase == "Running"
    world.finish("rescue")
    world.settle()
    assert (world.phase, world.message) == (
        "Failed",
        "one or more synchronization tasks completed unsuccessfully",
    )
    assert world.names() == {"Job/rescue"}


def test_failed_hooks_for_failures_add_a_line() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "one"), job("rescue", "SyncFail"))
    world.rejected_late.add("one")
    world.ask()
    world.settle()
    world.finish("rescue", well=False)
    world.settle()
    assert world.phase == "Failed"
    assert world.message == (
        "one or more synchronization tasks completed unsuccessfully, reason: configmap/one is invalid\n"
        "one or more SyncFail hooks failed"
    )


def test_an_object_that_is_rejected_ends_it_with_the_reason_and_stops_before_the_next_kind() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "bad"), manifest("ConfigMap", "good"), manifest("Deployment", "web"))
    world.rejected_late.add("bad")
    world.ask()
    world.settle()
    assert (world.phase, world.message) == (
        "Failed",
        "one or more objects failed to apply, reason: configmap/bad is invalid",
    )
    assert world.names() == {"ConfigMap/good"}


def test_degraded_in_an_earlier_wave_fails_the_sync() -> None:
    world = World()
    world.commit(manifest("Deployment", "web"), manifest("ConfigMap", "later", wave="1"))
    world.ask()
    world.settle()
    world.roll_out("web", well=False)
    world.settle()
    assert (world.phase, world.message) == ("Failed", "one or more synchronization tasks completed unsuccessfully")
    assert world.result("web") == 'Synced: Deployment "web" exceeded its progress deadline'


def test_between_waves_it_rests_for_two_seconds() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "first"), manifest("ConfigMap", "second", wave="1"))
    world.ask()
    begun = world.now
    world.settle(until=timedelta(seconds=1))
    assert world.names() == {"ConfigMap/first"}
    assert world.message == "one or more tasks are running"
    assert world.decision is not None
    assert world.decision.wake_at == begun + timedelta(seconds=2)
    world.now = begun + timedelta(seconds=2)
    world.settle(until=timedelta(0))
    assert world.phase == "Succeeded"


def test_what_vanishes_while_it_is_waited_for_fails() -> None:
    world = World()
    world.commit(manifest("Deployment", "web"), manifest("ConfigMap", "later", wave="1"))
    world.ask()
    world.settle()
    del world.objects[ResourceKey("apps", "Deployment", "shop", "web")]
    world.run(timedelta(minutes=1))
    assert world.phase == "Failed"
    assert world.result("web") == ("SyncFailed: Resource apps/Deployment/web is missing, it might have been deleted")


def test_a_pruned_object_that_lingers_is_waited_for() -> None:
    world = World()
    lingering = manifest("ConfigMap", "gone", wave="-1")
    lingering["metadata"]["finalizers"] = ["somebody/else"]
    world.have(lingering)
    world.commit(manifest("ConfigMap", "one", wave="1"))
    world.ask(prune=True)
    world.settle()
    assert world.message == "waiting for deletion of /ConfigMap/gone"
    assert world.get("ConfigMap", "one") is None
    del world.objects[ResourceKey("", "ConfigMap", "shop", "gone")]
    world.settle()
    assert world.phase == "Succeeded"
    assert world.result("gone") == "Pruned: pruned"


def test_a_previous_hook_goes_first_and_is_waited_for() -> None:
    world = World()
    old = job("before", "PreSync")
    old["metadata"]["finalizers"] = [HOOK_FINALIZER, "foregroundDeletion"]
    world.have(old)
    world.commit(job("before", "PreSync"), manifest("ConfigMap", "one"))
    world.ask()
    world.settle()
    assert world.message == "waiting for deletion of batch/Job/before"
    left = world.get("Job", "before")
    assert left is not None
    assert left["metadata"]["finalizers"] == ["foregroundDeletion"]
    assert left["metadata"]["deletionTimestamp"]
    del world.objects[ResourceKey("batch", "Job", "shop", "before")]
    world.settle()
    assert world.message == "waiting for completion of hook batch/Job/before"


def test_the_namespace_is_made_before_anything_is_tried() -> None:
    world = World(spec={"syncPolicy": {"syncOptions": ["CreateNamespace=true"]}})
    world.commit(manifest("ConfigMap", "one"))
    world.ask()
    kinds: list[str] = []
    for _ in range(10):
        kinds += [type(action).__name__ for action in world.step().actions]
    assert [kind for kind in kinds if kind != "Render"] == ["ApplyWave", "DryRun", "ApplyWave"]
    assert world.phase == "Succeeded"
    assert world.names() == {"Namespace/shop", "ConfigMap/one"}
    namespace = world.get("Namespace", "shop")
    assert namespace is not None
    assert "annotations" not in namespace["metadata"], "trap 14: it is not tracked"


def test_trap_14_the_namespace_is_neither_pruned_nor_deleted_with_its_application() -> None:
    world = World(spec={"syncPolicy": {"syncOptions": ["CreateNamespace=true"]}})
    world.commit(manifest("ConfigMap", "one"))
    world.ask()
    world.settle()
    world.app["spec"]["syncPolicy"] = {}
    world.app["metadata"]["finalizers"] = ["resources-finalizer.argocd.argoproj.io"]
    world.app["metadata"]["deletionTimestamp"] = "2026-03-02T09:00:00Z"
    world.run(timedelta(minutes=1))
    assert world.names() == {"Namespace/shop"}


def test_a_namespace_that_cannot_be_made_ends_it() -> None:
    world = World(spec={"syncPolicy": {"syncOptions": ["CreateNamespace=true"]}})
    world.commit(manifest("ConfigMap", "one"))
    world.rejected.add("shop")
    world.ask()
    world.settle()
    assert (world.phase, world.message) == (
        "Failed",
        "the namespace failed to apply, reason: namespace/shop is invalid",
    )
    assert world.names() == set()


def test_metadata_of_the_namespace_is_applied_by_its_fields() -> None:
    policy = {"syncOptions": ["CreateNamespace=true"], "managedNamespaceMetadata": {"labels": {"team": "shop"}}}
    world = World(spec={"syncPolicy": policy})
    world.have(manifest("Namespace", "shop"), tracked=False)
    world.commit(manifest("ConfigMap", "one"))
    world.ask()
    applied = [
        one
        for _ in range(12)
        for action in world.step().actions
        if isinstance(action, ApplyWave)
        for group in action.groups
        for one in group
        if one.key.kind == "Namespace"
    ]
    assert [(one.server_side, one.create_only) for one in applied] == [(True, False)]
    namespace = world.get("Namespace", "shop")
    assert namespace is not None
    assert namespace["metadata"]["labels"] == {"team": "shop"}


def test_only_what_differs_is_applied_with_that_option() -> None:
    world = World(spec={"syncPolicy": {"syncOptions": ["ApplyOutOfSyncOnly=true"]}})
    world.have(manifest("ConfigMap", "same"))
    world.commit(manifest("ConfigMap", "same"), manifest("ConfigMap", "new"))
    world.ask()
    world.settle()
    assert world.phase == "Succeeded"
    assert [line for line in world.log if line.startswith("apply")] == ["apply ConfigMap/new"]


def test_with_the_strategy_apply_no_hook_runs() -> None:
    world = World()
    world.commit(job("before", "PreSync"), manifest("ConfigMap", "one"))
    world.ask(syncStrategy={"apply": {"force": True}})
    world.settle()
    assert world.phase == "Succeeded"
    assert world.names() == {"ConfigMap/one"}
    assert len(world.status.history) == 1


def test_a_choice_of_resources_touches_no_others() -> None:
    world = World()
    world.commit(job("before", "PreSync"), manifest("ConfigMap", "one"), manifest("ConfigMap", "two"))
    world.have(manifest("ConfigMap", "gone"))
    world.ask(prune=True, resources=[{"kind": "ConfigMap", "name": "one"}])
    world.settle()
    assert world.phase == "Succeeded"
    assert world.names() == {"ConfigMap/one", "ConfigMap/gone"}
    assert world.status.history == ()
    assert f"OperationCompleted: Partial sync operation to {world.head} succeeded" in world.log


def test_many_waves_in_which_nothing_is_done_are_passed_at_once() -> None:
    gone = [manifest("ConfigMap", f"gone-{wave}", "shop", wave=str(wave)) for wave in range(2000)]
    passed = step(tasks([], gone))
    assert passed.phase is Phase.SUCCEEDED
    assert len(passed.results) == 2000


# -- ending it early ---------------------------------------------------------------------------------------------------


def test_terminate_deletes_hooks_that_run() -> None:
    world = World()
    world.commit(job("before", "PreSync"), manifest("ConfigMap", "one"))
    world.ask()
    world.settle()
    world.app["status"]["operationState"]["phase"] = "Terminating"
    world.settle()
    assert (world.phase, world.message) == ("Failed", "Operation terminated")
    assert world.names() == set()
    assert world.result("before").endswith(": Terminated")
    assert "operation" not in world.app


def test_terminate_tells_when_a_hook_could_not_be_deleted() -> None:
    found = tasks([job("before", "PreSync")], [{**job("before", "PreSync"), **alive("Job", "before")}])
    recorded = (
        ResourceResult(
            group="batch", kind="Job", namespace="shop", name="before", hook_phase="Running", sync_phase="PreSync"
        ),
    )
    first = terminate(found, recorded, (), Manner(), NOW)
    assert first.phase is Phase.TERMINATING
    assert [type(action) for action in first.actions] == [DeleteHooks]
    lost = Result(key=found[0].key, phase=SyncPhase.PRE_SYNC, status=ResultCode.SYNC_FAILED, message="forbidden")
    last = terminate(found, first.results, (lost,), Manner(), NOW)
    assert (last.phase, last.message) == (Phase.ERROR, "Operation termination had errors")


def test_terminate_leaves_hooks_of_earlier_syncs() -> None:
    world = World()
    world.have(job("other", "PostSync"))
    world.commit(job("before", "PreSync"), job("other", "PostSync"))
    world.ask()
    world.settle()
    world.app["status"]["operationState"]["phase"] = "Terminating"
    world.settle()
    assert world.names() == {"Job/other"}


@pytest.mark.parametrize(
    ("live", "phase", "message"),
    [
        pytest.param(manifest("ConfigMap", "one"), Phase.SUCCEEDED, "one created", id="no-check"),
        pytest.param(alive("Job", "one"), Phase.RUNNING, "", id="progressing"),
        pytest.param(
            alive("Job", "one", status={"conditions": [{"type": "Failed", "status": "True", "message": "no"}]}),
            Phase.FAILED,
            "no",
            id="degraded",
        ),
        pytest.param(
            alive("Job", "one", status={"conditions": [{"type": "Suspended", "status": "True", "message": "later"}]}),
            Phase.RUNNING,
            "later",
            id="suspended",
        ),
        pytest.param(
            alive("PersistentVolumeClaim", "one", status={"phase": "Strange"}), Phase.FAILED, "", id="unknown"
        ),
    ],
)
def test_how_far_a_hook_has_come(live: Object, phase: Phase, message: str) -> None:
    assert hook_state(live) == (phase, message)


def test_results_that_are_told_twice_do_not_run_a_rescue_twice() -> None:
    found = tasks([manifest("ConfigMap", "bad"), job("rescue", "SyncFail")])
    lost = Result(key=found[0].key, phase=SyncPhase.SYNC, status=ResultCode.SYNC_FAILED, message="is invalid")
    first = step(found, (), (lost,))
    assert [type(action) for action in first.actions] == [ApplyWave]
    made = Result(key=found[1].key, phase=SyncPhase.SYNC_FAIL, status=ResultCode.SYNCED, message="created")
    again = step(found, first.results, (lost, made))
    assert again.actions == ()
    assert (again.phase, again.message) == (Phase.RUNNING, "waiting for completion of hook batch/Job/rescue")


def test_a_dry_run_operation_that_fails_says_so() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "bad"))
    world.rejected.add("bad")
    world.ask(dryRun=True)
    world.settle()
    assert (world.phase, world.message) == ("Failed", "one or more objects failed to apply (dry run)")

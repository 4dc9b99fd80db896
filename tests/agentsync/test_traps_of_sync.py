"""What surprises users of Argo CD about syncs, held as it is; numbers are those of the reference's list of traps."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fairlead.agentsync.actions import DryRun
from fairlead.agentsync.kinds import APPLICATIONS, HOOK_FINALIZER
from fairlead.agentsync.machine import application_patch, prepare
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.core.patches import merge
from tests.agentsync.world import World, definition, job, manifest

AUTOMATED: dict[str, Any] = {"automated": {"prune": True, "selfHeal": True}}


def test_trap_1_no_write_names_more_than_what_changed_and_none_revives_an_operation() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "one"))
    world.app["status"] = {"somebodyElses": {"field": 1}}
    world.app["spec"]["unknown"] = "kept"
    world.ask()
    for _ in range(12):
        subject = prepare(APPLICATIONS.decode(msgspec.json.encode(world.app)))
        before = world.status
        decision = world.step()
        patch = application_patch(subject, before, decision)
        assert "spec" not in patch
        assert "somebodyElses" not in patch.get("status", {})
    assert world.phase == "Succeeded"
    assert "operation" not in world.app
    assert world.app["status"]["somebodyElses"] == {"field": 1}
    # A decision made on a stale copy carries the version of that copy: the server refuses it.
    stale = application_patch(subject, before, decision)
    assert "operation" not in stale or "resourceVersion" in stale["metadata"]


def test_trap_3_the_last_wave_is_never_waited_for() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "first", wave="0"), manifest("Deployment", "last", wave="1"))
    world.ask()
    world.settle()
    assert world.phase == "Succeeded"
    assert world.message == "successfully synced (all tasks run)"
    assert world.status.health.status == "Progressing"


def test_trap_4_one_wave_succeeds_at_once_even_if_it_crashes() -> None:
    world = World()
    world.have(manifest("Deployment", "web"))
    world.roll_out("web", well=False)
    changed = manifest("Deployment", "web")
    changed["spec"] = {"paused": False, "minReadySeconds": 3}
    world.commit(changed)
    world.ask()
    world.settle()
    assert (world.phase, world.status.health.status) == ("Succeeded", "Degraded")


def test_trap_4_of_two_waves_the_first_must_become_healthy_for_ever_if_it_cannot() -> None:
    world = World()
    world.commit(manifest("Deployment", "web", wave="0"), manifest("ConfigMap", "after", wave="1"))
    world.ask()
    world.run(timedelta(hours=3))
    assert world.phase == "Running"
    assert world.message == "waiting for healthy state of apps/Deployment/web"
    assert world.get("ConfigMap", "after") is None
    world.roll_out("web")
    world.settle()
    assert world.phase == "Succeeded"
    assert world.get("ConfigMap", "after") is not None


def test_trap_5_only_degraded_fails_what_is_waited_for() -> None:
    world = World()
    volume = manifest("PersistentVolumeClaim", "data", wave="0")
    world.commit(volume, manifest("Pod", "uses-it", wave="1"))
    world.ask()
    world.settle()
    claim = world.get("PersistentVolumeClaim", "data")
    assert claim is not None
    for phase in ("Pending", "Strange"):  # Progressing, Unknown
        claim["status"] = {"phase": phase}
        world.run(timedelta(minutes=5))
        assert world.phase == "Running"
    claim["status"] = {"phase": "Lost"}
    world.settle()
    assert world.phase == "Failed"
    assert world.message == "one or more synchronization tasks completed unsuccessfully"


def test_trap_6_self_heal_runs_no_hooks_and_writes_no_history() -> None:
    world = World(spec={"syncPolicy": AUTOMATED})
    world.commit(job("migrate", "PreSync"), manifest("ConfigMap", "one"), manifest("ConfigMap", "two"))
    world.settle()
    world.finish("migrate")
    world.settle()
    assert world.phase == "Succeeded"
    assert len(world.status.history) == 1
    ran = world.log.count("apply Job/migrate")
    drifted = world.get("ConfigMap", "one")
    assert drifted is not None
    drifted["metadata"]["annotations"].clear()
    drifted["metadata"]["annotations"].update({"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/one", "x": "y"})
    del world.objects[ResourceKey("", "ConfigMap", "shop", "two")]
    world.run(timedelta(minutes=1))
    assert world.get("ConfigMap", "two") is not None
    state = world.status.operation_state
    assert state is not None
    assert state.operation.sync is not None
    assert [one.name for one in state.operation.sync.resources] == ["two"]
    assert world.log.count("apply Job/migrate") == ran
    assert len(world.status.history) == 1


def test_trap_7_a_failed_revision_is_not_tried_again_by_itself() -> None:
    world = World(spec={"syncPolicy": {**AUTOMATED, "retry": {"limit": 0}}})
    bad = world.commit(manifest("ConfigMap", "bad"))
    world.rejected.add("bad")
    world.settle()
    assert world.phase == "Failed"
    failed_at = world.status.operation_state
    world.rejected.clear()
    world.run(timedelta(hours=1))
    assert world.condition("SyncError").startswith(f"Failed last sync attempt to {bad}: ")
    assert world.status.operation_state == failed_at
    world.commit(manifest("ConfigMap", "bad"), manifest("ConfigMap", "more"))
    world.run(timedelta(minutes=5))
    assert world.phase == "Succeeded"
    assert world.condition("SyncError") == ""


def test_trap_8_retries_are_one_exponent_later_than_the_message_says() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "bad"))
    world.rejected.add("bad")
    world.ask(retry={"limit": 5})
    begun = world.now
    world.settle(until=timedelta(0))
    waits = []
    for attempt in range(1, 6):
        assert f"Retrying attempt #{attempt} at " in world.message
        state = world.status.operation_state
        assert state is not None
        assert state.finished_at is not None
        assert world.decision is not None
        assert world.decision.blocked_on is not None
        assert world.decision.blocked_on.at is not None
        due = world.decision.blocked_on.at
        waits.append((due - state.finished_at).total_seconds())
        if attempt == 1:
            shown = begun.replace(microsecond=0) + timedelta(seconds=5)
            assert f"at {shown.hour}:{shown.minute:02d}AM." in world.message
        world.now = due
        world.settle(until=timedelta(0))
    assert waits == [10, 20, 40, 80, 160]
    assert world.phase == "Failed"
    assert world.message == "one or more objects failed to apply (dry run) (retried 5 times)."


def test_trap_9_an_unknown_hook_value_makes_an_object_vanish() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "one"), job("lost", "PreSnyc"))
    world.ask()
    world.settle()
    assert world.phase == "Succeeded"
    assert world.get("Job", "lost") is None
    assert [one.name for one in world.status.resources] == ["one"]


def test_trap_10_hooks_live_until_the_sync_ends_and_without_policy_until_the_next() -> None:
    world = World()
    world.commit(
        job("goes", "PreSync", policy="HookSucceeded"),
        job("stays", "PreSync", policy="HookFailed"),
        job("old", "PreSync"),
        job("later", "PostSync"),
        manifest("ConfigMap", "one"),
    )
    world.ask()
    world.settle()
    for name in ("goes", "stays", "old"):
        world.finish(name)
    world.settle()
    assert world.get("Job", "goes") is not None, "its own success is not the end of the sync"
    assert world.message == "waiting for completion of hook batch/Job/later"
    world.finish("later")
    world.settle()
    assert world.phase == "Succeeded"
    assert world.message == "successfully synced (no more tasks)"
    assert {"Job/stays", "Job/old", "Job/later"} <= world.names()
    assert world.get("Job", "goes") is None
    before = world.get("Job", "old")
    world.ask()
    world.settle()
    after = world.get("Job", "old")
    assert before is not None
    assert after is not None
    assert before["metadata"]["uid"] != after["metadata"]["uid"]


def test_trap_11_the_finalizer_of_a_hook_is_removed_when_it_is_complete() -> None:
    world = World()
    world.commit(job("migrate", "PreSync"), manifest("ConfigMap", "one"))
    world.ask()
    world.settle()
    hook = world.get("Job", "migrate")
    assert hook is not None
    assert hook["metadata"]["finalizers"] == [HOOK_FINALIZER]
    world.finish("migrate")
    hook["metadata"]["deletionTimestamp"] = "2026-03-02T09:00:01Z"  # ttlSecondsAfterFinished
    world.settle()
    assert world.phase == "Succeeded"
    assert world.get("Job", "migrate") is None, "nothing hangs in its deletion"


def test_trap_12_a_confirmation_stops_the_dry_run_and_its_wave() -> None:
    world = World()
    world.have(manifest("ConfigMap", "asks", options="Prune=confirm"))
    world.commit(manifest("ConfigMap", "one"), manifest("ConfigMap", "bad"))
    world.rejected.add("bad")
    world.ask(prune=True)
    runs = []
    for _ in range(10):
        runs += [action for action in world.step().actions if isinstance(action, DryRun)]
    assert runs == []
    assert world.phase == "Running"
    assert world.message == "waiting for pruning confirmation of /ConfigMap/asks"
    assert world.get("ConfigMap", "one") is None
    world.now += timedelta(seconds=5)
    world.rejected.clear()
    world.annotate(deletion_approved="2026-03-02T09:00:05Z")
    world.settle()
    assert world.phase == "Succeeded"
    assert world.names() == {"ConfigMap/one", "ConfigMap/bad"}


def test_trap_12_an_approval_from_before_the_operation_does_not_count() -> None:
    world = World()
    world.have(manifest("ConfigMap", "asks", options="Prune=confirm"))
    world.commit(manifest("ConfigMap", "one"))
    world.annotate(deletion_approved="2026-03-02T08:59:59Z")
    world.ask(prune=True)
    world.settle()
    assert world.get("ConfigMap", "asks") is not None


def test_trap_19_a_dry_run_is_never_server_side() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "one", options="ServerSideApply=true"))
    world.ask()
    actions = [action for _ in range(8) for action in world.step().actions]
    tried = [one for action in actions if isinstance(action, DryRun) for one in action.applies]
    assert [one.server_side for one in tried] == [False]
    assert world.phase == "Succeeded"


def test_trap_26_two_applications_with_one_object_are_both_warned() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "one"))
    world.have(manifest("ConfigMap", "one"))
    world.others[ResourceKey("", "ConfigMap", "shop", "one")] = "argocd/other"
    world.settle()
    expected = "ConfigMap/one is part of applications argocd/shop and argocd/other"
    assert world.condition("SharedResourceWarning") == expected
    world.ask(syncOptions=["FailOnSharedResource=true"])
    world.settle()
    assert (world.phase, world.message) == ("Failed", f"Shared resource found: {expected}")


def test_trap_28_without_its_project_an_application_leaves_its_resources_behind() -> None:
    world = World()
    world.have(manifest("ConfigMap", "one"))
    world.app["metadata"]["finalizers"] = ["resources-finalizer.argocd.argoproj.io"]
    world.app["metadata"]["deletionTimestamp"] = "2026-03-02T09:00:00Z"
    world.project = None
    world.settle()
    assert not world.app["metadata"].get("finalizers")
    assert world.names() == {"ConfigMap/one"}


def test_trap_28_without_its_cluster_an_application_leaves_its_resources_behind() -> None:
    world = World()
    world.have(manifest("ConfigMap", "one"))
    world.app["metadata"]["finalizers"] = ["resources-finalizer.argocd.argoproj.io", "somebody/else"]
    world.app["metadata"]["deletionTimestamp"] = "2026-03-02T09:00:00Z"
    world.destination = type(world.destination)(error="there is no such cluster", is_gone=True)
    world.settle()
    assert world.app["metadata"]["finalizers"] == ["somebody/else"]
    assert world.names() == {"ConfigMap/one"}


def test_trap_29_a_cascade_leaves_definitions() -> None:
    world = World()
    tracked = definition("Widget")
    tracked["metadata"]["annotations"] = {
        "argocd.argoproj.io/tracking-id": "shop:apiextensions.k8s.io/CustomResourceDefinition:/widgets.example.com"
    }
    world.have(tracked, manifest("ConfigMap", "one"))
    world.app["metadata"]["finalizers"] = ["resources-finalizer.argocd.argoproj.io"]
    world.app["metadata"]["deletionTimestamp"] = "2026-03-02T09:00:00Z"
    world.run(timedelta(minutes=1))
    assert not world.app["metadata"].get("finalizers")
    assert world.names() == {"CustomResourceDefinition/widgets.example.com"}


def test_trap_34_an_emptied_source_prunes_nothing_by_itself() -> None:
    world = World(spec={"syncPolicy": AUTOMATED})
    world.commit(manifest("ConfigMap", "one"))
    world.settle()
    empty = world.commit()
    world.run(timedelta(minutes=10))
    assert world.names() == {"ConfigMap/one"}
    expected = f"Skipping sync attempt to {empty}: auto-sync will wipe out all resources"
    assert world.condition("SyncError") == expected


def test_trap_34_with_allow_empty_it_does() -> None:
    world = World(spec={"syncPolicy": {"automated": {"prune": True, "allowEmpty": True}}})
    world.commit(manifest("ConfigMap", "one"))
    world.settle()
    world.commit()
    world.run(timedelta(minutes=10))
    assert world.names() == set()


@pytest.mark.parametrize("rest", [(), (job("hook", "PostSync"),)], ids=["nothing", "only-a-hook"])
def test_trap_34_a_person_has_to_approve_that_an_empty_source_prunes_all(rest: tuple[Object, ...]) -> None:
    # Upstream deletes all at once here. An empty render is more often an accident, so ours asks for a word.
    world = World()
    world.have(manifest("ConfigMap", "one"))
    world.commit(*rest)
    world.ask(prune=True)
    world.run(timedelta(minutes=10))
    assert world.names() == {"ConfigMap/one"}
    assert world.message == "waiting for pruning confirmation of /ConfigMap/one"
    world.annotate(deletion_approved="2026-03-02T09:30:00Z")
    world.settle()
    assert world.get("ConfigMap", "one") is None


def test_trap_13_prunes_are_mirrored_among_the_waves_that_hold_prunes() -> None:
    world = World()
    for name, wave in (("low", "-1"), ("middle", "2"), ("high", "7")):
        world.have(manifest("ConfigMap", name, wave=wave))
    world.commit(manifest("ConfigMap", "kept"))
    world.ask(prune=True)
    world.settle(until=timedelta(minutes=1))
    deleted = [line.split("/")[1] for line in world.log if line.startswith("delete")]
    assert deleted == ["high", "middle", "low"]


def test_a_patch_of_a_decision_made_twice_changes_nothing_more() -> None:
    world = World()
    world.commit(manifest("ConfigMap", "one"))
    world.settle()
    before = dict(world.app)
    subject = prepare(APPLICATIONS.decode(msgspec.json.encode(world.app)))
    patch = application_patch(subject, world.status, world.step(store=False))
    assert merge(before, patch) == before

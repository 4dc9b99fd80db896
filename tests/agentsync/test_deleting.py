"""How an Application goes: hooks, its resources wave by wave, and what stays."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.agentsync.actions import DeleteResources, Propagation
from fairlead.agentsync.kinds import HOOK_FINALIZER
from fairlead.agentsync.project import Project, parse
from fairlead.agentsync.resources import ResourceKey
from tests.agentsync.world import START, World, job, manifest

CASCADE = "resources-finalizer.argocd.argoproj.io"
PRE = ["pre-delete-finalizer.argocd.argoproj.io", "pre-delete-finalizer.argocd.argoproj.io/cleanup"]
POST = ["post-delete-finalizer.argocd.argoproj.io", "post-delete-finalizer.argocd.argoproj.io/cleanup"]


def going(*finalizers: str) -> World:
    world = World()
    world.commit()
    world.app["metadata"]["finalizers"] = list(finalizers or (CASCADE,))
    world.app["metadata"]["deletionTimestamp"] = "2026-03-02T09:00:00Z"
    return world


def left(world: World) -> list[str]:
    return world.app["metadata"].get("finalizers") or []


def test_without_a_finalizer_resources_stay() -> None:
    world = going("somebody/else")
    world.have(manifest("ConfigMap", "one"))
    world.run(timedelta(minutes=1))
    assert world.names() == {"ConfigMap/one"}
    assert left(world) == ["somebody/else"]


def test_the_highest_wave_goes_first_and_each_is_waited_for() -> None:
    world = going()
    for name, wave in (("low", "-3"), ("middle", "0"), ("high", "4")):
        one = manifest("ConfigMap", name, wave=wave)
        one["metadata"]["finalizers"] = ["somebody/else"]
        world.have(one)
    for name in ("high", "middle", "low"):
        world.run(timedelta(seconds=30))
        going_now = {key.name for key, one in world.objects.items() if one["metadata"].get("deletionTimestamp")}
        assert going_now == {name}
        assert left(world) == [CASCADE]
        del world.objects[ResourceKey("", "ConfigMap", "shop", name)]
    world.run(timedelta(seconds=30))
    assert left(world) == []


def test_what_stays() -> None:
    world = going()
    world.have(
        manifest("ConfigMap", "kept", options="Delete=false"),
        manifest("ConfigMap", "helm-keeps", **{"helm.sh/resource-policy": "keep"}),
        manifest("ConfigMap", "goes"),
    )
    world.have(manifest("ConfigMap", "foreign"), tracked=False)
    owned = manifest("ConfigMap", "owned")
    owned["metadata"]["ownerReferences"] = [{"kind": "Widget", "name": "w", "uid": "u"}]
    world.have(owned)
    copied = manifest("ConfigMap", "copied")
    copied["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "shop:/ConfigMap:shop/goes"}
    world.have(copied, tracked=False)
    other = manifest("ConfigMap", "of-another")
    other["metadata"]["annotations"] = {"argocd.argoproj.io/tracking-id": "other:/ConfigMap:shop/of-another"}
    world.have(other, tracked=False)
    myself = manifest("Application", "shop", "argocd")
    world.have(myself)
    world.run(timedelta(minutes=1))
    assert left(world) == []
    assert world.names() == {
        "ConfigMap/kept",
        "ConfigMap/helm-keeps",
        "ConfigMap/foreign",
        "ConfigMap/owned",
        "ConfigMap/copied",
        "ConfigMap/of-another",
        "Application/shop",
    }


def test_what_the_project_forbids_is_invisible() -> None:
    world = going()
    world.have(manifest("ConfigMap", "one"), manifest("Secret", "hidden"))
    raw = b"""{"sourceRepos": ["*"], "destinations": [{"server": "*", "namespace": "*"}],
        "namespaceResourceBlacklist": [{"group": "", "kind": "Secret"}]}"""
    world.project = Project(name="default", spec=parse(raw))
    world.run(timedelta(minutes=1))
    assert world.names() == {"Secret/hidden"}
    assert left(world) == []


@pytest.mark.parametrize("option", ["Delete=confirm", "Prune=confirm"])
def test_a_confirmation_stops_all_until_somebody_approves(option: str) -> None:
    world = going()
    world.have(manifest("ConfigMap", "asks", options=option), manifest("ConfigMap", "one"))
    world.annotate(deletion_approved="2026-03-02T08:59:59Z")  # of an earlier deletion
    world.run(timedelta(minutes=5))
    assert world.names() == {"ConfigMap/asks", "ConfigMap/one"}
    world.annotate(deletion_approved="2026-03-02T09:00:00Z")
    world.run(timedelta(minutes=5))
    assert world.names() == set()


@pytest.mark.parametrize(
    ("finalizer", "propagation"),
    [
        (CASCADE, Propagation.FOREGROUND),
        (f"{CASCADE}/foreground", Propagation.FOREGROUND),
        (f"{CASCADE}/background", Propagation.BACKGROUND),
    ],
)
def test_the_finalizer_says_how_dependents_go(finalizer: str, propagation: Propagation) -> None:
    world = going(finalizer)
    world.have(manifest("ConfigMap", "one"))
    actions = [action for _ in range(3) for action in world.step().actions]
    assert [action.propagation for action in actions if isinstance(action, DeleteResources)] == [propagation]
    world.settle()
    assert left(world) == []


def test_hooks_of_syncs_go_along_without_hanging() -> None:
    world = going()
    running = job("migrate", "PreSync")
    running["metadata"]["finalizers"] = [HOOK_FINALIZER]
    gone = job("ttl", "PreSync")
    gone["metadata"].update(finalizers=[HOOK_FINALIZER], deletionTimestamp="2026-03-02T08:00:00Z")
    world.have(running, gone)
    world.run(timedelta(minutes=1))
    assert world.names() == set()
    assert left(world) == []


def test_nothing_is_deleted_while_the_cluster_does_not_answer() -> None:
    world = going()
    world.have(manifest("ConfigMap", "one"))
    world.is_live_known, world.live_error = False, "connection refused"
    world.run(timedelta(minutes=5))
    assert left(world) == [CASCADE]
    assert world.condition("DeletionError") == "Failed to load live state: connection refused"
    world.is_live_known, world.live_error = True, ""
    world.run(timedelta(minutes=5))
    assert left(world) == []
    assert world.names() == set()


def test_a_spec_that_cannot_be_read_keeps_everything() -> None:
    world = going()
    world.have(manifest("ConfigMap", "one"))
    world.app["spec"]["source"] = "text"
    world.run(timedelta(minutes=5))
    assert left(world) == [CASCADE]
    assert world.names() == {"ConfigMap/one"}
    assert world.condition("DeletionError").startswith("spec.source: Invalid value")


# -- hooks -------------------------------------------------------------------------------------------------------------


def test_finalizers_are_added_when_the_source_has_hooks_of_the_deletion() -> None:
    world = World()
    world.commit(job("before", "PreDelete"), job("after", "PostDelete"), manifest("ConfigMap", "one"))
    world.settle()
    assert left(world) == [*PRE, *POST]
    world.ask()
    world.settle()
    assert world.names() == {"ConfigMap/one"}, "a sync does not run them"


def test_hooks_run_before_and_after_and_others_stay_behind() -> None:
    world = going(*PRE, CASCADE, *POST)
    world.commit(
        job("before", "PreDelete", policy="HookSucceeded"),
        job("after", "PostDelete"),
        manifest("ConfigMap", "one"),
    )
    world.have(manifest("ConfigMap", "one"))
    world.run(timedelta(minutes=1))
    assert world.names() == {"Job/before", "ConfigMap/one"}
    world.finish("before")
    world.run(timedelta(minutes=1))
    assert world.names() == {"Job/after"}
    assert left(world) == POST
    world.finish("after")
    world.run(timedelta(minutes=1))
    assert left(world) == []
    stayed = world.get("Job", "after")
    assert stayed is not None, "the default policy matches no outcome"
    assert stayed["metadata"]["finalizers"] == []


def test_a_hook_that_fails_before_is_made_anew_and_stops_the_deletion() -> None:
    world = going(*PRE, CASCADE)
    world.commit(job("before", "PreDelete"), manifest("ConfigMap", "one"))
    world.have(manifest("ConfigMap", "one"))
    world.settle()
    first = world.get("Job", "before")
    assert first is not None
    world.finish("before", well=False)
    world.settle(until=timedelta(0))
    assert world.condition("DeletionError") == "PreDelete hook(s) failed: shop/before"
    assert world.get("Job", "before") is None
    world.run(timedelta(minutes=1))
    again = world.get("Job", "before")
    assert again is not None
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    assert world.get("ConfigMap", "one") is not None
    world.finish("before")
    world.run(timedelta(minutes=1))
    assert left(world) == []
    assert world.condition("DeletionError") == ""


def test_a_hook_that_fails_afterwards_is_over_all_the_same() -> None:
    world = going(*POST)
    world.commit(job("after", "PostDelete", policy="HookFailed"))
    world.settle()
    world.finish("after", well=False)
    world.run(timedelta(minutes=1))
    assert left(world) == []
    assert world.names() == set()


def test_hooks_that_cannot_be_rendered_keep_the_application() -> None:
    world = going(*PRE, CASCADE)
    world.have(manifest("ConfigMap", "one"))
    world.break_commit()
    world.run(timedelta(minutes=5))
    assert left(world) == [*PRE, CASCADE]
    assert world.names() == {"ConfigMap/one"}
    assert world.condition("DeletionError") == "Failed to load target state: bad YAML"
    world.commit(manifest("ConfigMap", "one"))
    world.run(timedelta(minutes=5))
    assert left(world) == []


def test_hooks_of_a_source_that_the_project_does_not_permit_are_not_rendered() -> None:
    world = going(*PRE, CASCADE)
    world.have(manifest("ConfigMap", "one"))
    world.commit(job("before", "PreDelete"))
    raw = b"""{"sourceRepos": ["https://other.example.com/*"], "destinations": [{"server": "*", "namespace": "*"}]}"""
    world.project = Project(name="default", spec=parse(raw))
    world.run(timedelta(minutes=5))
    assert world.rendering.desired is None
    assert world.names() == {"ConfigMap/one"}
    assert world.condition("DeletionError") == (
        "Failed to load target state: application repo https://git.example.com/shop.git is not permitted in project"
        " 'default'"
    )


def test_without_a_project_no_hook_runs() -> None:
    world = going(*PRE, CASCADE, *POST)
    world.commit(job("before", "PreDelete"), job("after", "PostDelete"))
    world.project = None
    world.run(timedelta(minutes=5))
    assert left(world) == []
    assert world.names() == set()


def test_a_hook_with_a_prefix_is_found_again() -> None:
    world = going(*PRE)
    hook = job("", "PreDelete")
    del hook["metadata"]["name"]
    hook["metadata"]["generateName"] = "before-"
    world.commit(hook)
    world.run(timedelta(minutes=2))
    (key,) = world.objects
    assert key.name == f"before-{world.head[:7]}-predelete-{int(START.timestamp())}"
    world.finish(key.name)
    world.run(timedelta(minutes=1))
    assert left(world) == []


def test_a_project_that_cannot_be_read_keeps_everything() -> None:
    # One that is gone lets the finalizer go (trap 28); one that is merely broken will be mended.
    world = going()
    world.have(manifest("ConfigMap", "one"))
    good, broken = world.project, Project(name="default", spec=parse(b"{}"), error="spec.destinations: expected array")
    world.project = broken
    world.run(timedelta(minutes=5))
    assert left(world) == [CASCADE]
    assert world.names() == {"ConfigMap/one"}
    assert world.condition("DeletionError") == "project default cannot be read: spec.destinations: expected array"
    world.project = good
    world.run(timedelta(minutes=5))
    assert left(world) == []
    assert world.names() == set()


# -- whatever happens --------------------------------------------------------------------------------------------------

WISHES = st.sampled_from(["", "Delete=false", "Delete=confirm", "Prune=confirm", "PruneLast=true"])
RESOURCES = st.lists(
    st.tuples(st.integers(-2, 2), WISHES, st.booleans()),
    min_size=1,
    max_size=5,  # wave, options, lingers
)
HAPPENINGS = st.lists(st.sampled_from(["time", "approve", "let-go", "down", "up", "crash", "restart"]), max_size=15)


@settings(max_examples=60, deadline=None)
@given(resources=RESOURCES, happenings=HAPPENINGS)
def test_the_finalizer_goes_last_and_nothing_of_others_goes(
    resources: list[tuple[int, str, bool]], happenings: list[str]
) -> None:
    world = going()
    world.have(manifest("ConfigMap", "foreign"), tracked=False)
    for number, (wave, options, lingers) in enumerate(resources):
        one = manifest("ConfigMap", f"one-{number}", wave=str(wave), options=options)
        if lingers:
            one["metadata"]["finalizers"] = ["somebody/else"]
        world.have(one)
    kept = {f"ConfigMap/one-{number}" for number, (_, options, _) in enumerate(resources) if options == "Delete=false"}
    is_approved = False
    for happening in [*happenings, "up", "approve", *["let-go", "time"] * 12]:
        match happening:
            case "time":
                world.now += timedelta(seconds=30)
            case "approve":
                world.annotate(deletion_approved="2026-03-02T09:00:00Z")
                is_approved = True
            case "let-go":
                for key, one in list(world.objects.items()):
                    if one["metadata"].get("deletionTimestamp"):
                        del world.objects[key]
            case "down" | "up":
                world.is_live_known, world.live_error = happening == "up", "" if happening == "up" else "refused"
            case "crash":
                world.step(store=False, actions_max=1)
            case _:
                world.forget()
        before = world.names()
        world.step()
        gone = before - world.names()
        assert not gone & (kept | {"ConfigMap/foreign"})
        asking = any("confirm" in options for _, options, _ in resources)
        assert not gone or is_approved or not asking
        if not left(world):
            assert world.names() == kept | {"ConfigMap/foreign"}
    assert left(world) == []

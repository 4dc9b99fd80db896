"""Whatever happens in whatever order, a source that fails changes nothing, and nothing of others is ever deleted.

A run is a list of things that happen to one Application: commits, broken ones, empty ones, an unreachable repository,
drift, requests by people, crashes between an action and its record, time. After each decision what lives is held
against what it may be.
"""

from __future__ import annotations

import copy
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.agentsync.actions import ApplyWave, DeleteResources, DryRun, Prune
from fairlead.agentsync.resources import Object, ResourceKey, key_of
from tests.agentsync.world import World, definition, job, manifest

NAMES = ("one", "two", "three")
FOREIGN = (manifest("ConfigMap", "foreign"), manifest("Secret", "somebody-elses"))

commits = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(("-1", "0", "3"))), unique_by=lambda pair: pair[0], max_size=3
)
events = st.one_of(
    st.tuples(st.just("commit"), commits),
    st.tuples(st.just("hooks"), commits),
    st.tuples(st.just("break"), st.none()),
    st.tuples(st.just("git"), st.booleans()),
    st.tuples(st.just("delete-live"), st.sampled_from(NAMES)),
    st.tuples(st.just("drift"), st.sampled_from(NAMES)),
    st.tuples(st.just("ask"), st.booleans()),
    st.tuples(st.just("ask-part"), st.sampled_from(NAMES)),
    st.tuples(st.just("refresh"), st.sampled_from(("normal", "hard"))),
    st.tuples(st.just("terminate"), st.none()),
    st.tuples(st.just("finish"), st.booleans()),
    st.tuples(st.just("reject"), st.sampled_from(NAMES)),
    st.tuples(st.just("accept"), st.none()),
    st.tuples(st.just("live"), st.booleans()),
    st.tuples(st.just("project"), st.booleans()),
    st.tuples(st.just("time"), st.integers(min_value=0, max_value=400)),
    st.tuples(st.just("crash"), st.integers(min_value=0, max_value=3)),
    st.tuples(st.just("slow"), st.booleans()),
    st.tuples(st.just("deliver"), st.none()),
    st.tuples(st.just("restart"), st.none()),
    st.tuples(st.just("step"), st.integers(min_value=1, max_value=6)),
)


def content(entries: list[tuple[str, str]], sha: str) -> list[Object]:
    made = []
    for name, wave in entries:
        one = manifest("ConfigMap", name, wave=wave)
        one["data"] = {"commit": sha}
        made.append(one)
    return made


class Story:
    """A world, and what must hold of it."""

    def __init__(self, *, automated: bool, allow_empty: bool = False) -> None:
        policy = {"automated": {"prune": True, "selfHeal": True, "allowEmpty": allow_empty}} if automated else {}
        self.allow_empty = allow_empty
        self.world = World(spec={"syncPolicy": policy} if policy else {})
        self.world.have(*FOREIGN, tracked=False)
        self.project = self.world.project
        self.number = 0
        self.commit([("one", "0"), ("two", "0")])
        self.foreign = {key: copy.deepcopy(one) for key, one in self.world.objects.items()}

    def commit(self, entries: list[tuple[str, str]], *extra: Object) -> None:
        self.number += 1
        sha = f"{self.number:040x}"
        self.world.commit(*content(entries, sha), *extra, name=sha)

    def happen(self, what: str, detail: object) -> None:
        world = self.world
        match what, detail:
            case "commit", list() as entries:
                self.commit(entries)
            case "hooks", list() as entries:
                self.commit(entries, job("before", "PreSync"), job("after", "PostSync"), definition("Widget"))
            case "break", _:
                self.number += 1
                world.commits[f"{self.number:040x}"] = "bad YAML"
                world.head = f"{self.number:040x}"
            case "git", bool() as is_up:
                world.is_git_up = is_up
            case "delete-live", str() as name:
                world.objects.pop(ResourceKey("", "ConfigMap", "shop", name), None)
            case "drift", str() as name:
                if (found := world.get("ConfigMap", name)) is not None:
                    found["data"] = {"commit": "drifted"}
            case "ask", bool() as prune if "operation" not in world.app:
                world.ask(prune=prune)
            case "ask-part", str() as name if "operation" not in world.app:
                world.ask(prune=True, resources=[{"kind": "ConfigMap", "name": name, "namespace": "shop"}])
            case "refresh", str() as depth:
                world.annotate(refresh=depth)
            case "terminate", _ if world.phase == "Running":
                world.app["status"]["operationState"]["phase"] = "Terminating"
            case "finish", bool() as well:
                for name in ("before", "after"):
                    if world.get("Job", name) is not None:
                        world.finish(name, well=well)
            case "reject", str() as name:
                world.rejected_late.add(name)
            case "accept", _:
                world.rejected_late.clear()
            case "live", bool() as is_known:
                world.is_live_known = is_known
            case "project", bool() as is_there:
                world.project = self.project if is_there else None
            case "time", int() as seconds:
                world.now += timedelta(seconds=seconds)
            case "crash", int() as actions:
                self.step(store=False, actions_max=actions)
                world.forget()
            case "slow", bool() as is_slow:
                world.is_slow = is_slow
            case "deliver", _:
                world.deliver()
            case "restart", _:
                world.forget()
            case "step", int() as count:
                for _ in range(count):
                    self.step()

    def step(self, *, store: bool = True, actions_max: int | None = None) -> None:
        before = copy.deepcopy(self.world.objects)
        decision = self.world.step(store=store, actions_max=actions_max)
        self.check(before, decision.actions)

    def check(self, before: dict[ResourceKey, Object], actions: tuple[object, ...]) -> None:
        world = self.world
        for key, one in self.foreign.items():
            assert world.objects[key] == one, "an object of somebody else was touched"
        state = world.status.operation_state
        for action in actions:
            if isinstance(action, Prune):
                desired = [self._desired(revision) for revision in self._revisions()]
                assert all(isinstance(wanted, tuple) for wanted in desired), "a prune without a render"
                named = {key_of(one).name for wanted in desired if isinstance(wanted, tuple) for one in wanted}
                assert named or self.allow_empty, "an empty render has pruned"
                for removal in action.removals:
                    assert removal.key.name not in named, "what is wanted was pruned"
                    marks = before[removal.key]["metadata"].get("annotations", {})
                    assert marks.get("argocd.argoproj.io/tracking-id", "").startswith("shop:")
            if isinstance(action, ApplyWave | DryRun):
                groups = action.groups if isinstance(action, ApplyWave) else (action.applies,)
                data = {one.target.get("data", {}).get("commit") for group in groups for one in group} - {None}
                assert len(data) <= 1, "objects of two commits in one wave"
                assert data <= set(self._revisions()), "objects of another commit than the operation is pinned to"
            assert not isinstance(action, DeleteResources), "an Application that stays deletes nothing of its own"
        if world.objects != before:
            assert state is not None, "something changed without an operation"

    def _desired(self, revision: str) -> object:
        return self.world.commits[revision]

    def _revisions(self) -> tuple[str, ...]:
        decision = self.world.decision
        assert decision is not None
        state = decision.status.operation_state
        assert state is not None
        assert state.sync_result is not None
        return state.sync_result.all_revisions


@pytest.mark.parametrize("automated", [True, False], ids=["automated", "by-hand"])
@settings(max_examples=60, deadline=None)
@given(happenings=st.lists(events, max_size=25))
def test_no_order_of_events_breaks_an_invariant(automated: bool, happenings: list[tuple[str, object]]) -> None:
    story = Story(automated=automated)
    for what, detail in happenings:
        story.happen(what, detail)
        story.step()


meanwhile = st.one_of(
    st.tuples(st.just("commit"), commits),
    st.tuples(st.just("hooks"), commits),
    st.tuples(st.just("break"), st.none()),
    st.tuples(st.just("refresh"), st.just("hard")),
    st.tuples(st.just("finish"), st.just(True)),
    st.tuples(st.just("time"), st.integers(min_value=0, max_value=200)),
    st.tuples(st.just("restart"), st.none()),
)


@settings(max_examples=40, deadline=None)
@given(happenings=st.lists(meanwhile, min_size=2, max_size=8))
def test_a_sync_that_takes_its_time_applies_one_commit_whatever_is_committed_meanwhile(
    happenings: list[tuple[str, object]],
) -> None:
    story = Story(automated=False)
    world = story.world
    story.commit([("one", "0"), ("two", "1"), ("three", "2")], job("before", "PreSync"))
    world.ask(prune=True)
    pinned = world.head
    for _ in range(6):
        story.step()
    for what, detail in happenings:
        story.happen(what, detail)
        for _ in range(4):
            story.step()
    story.happen("finish", True)
    for _ in range(30):
        world.now += timedelta(seconds=3)
        story.step()
    assert world.phase == "Succeeded"
    assert {world.get("ConfigMap", name)["data"]["commit"] for name in NAMES} == {pinned}  # type: ignore[index]


@settings(max_examples=25, deadline=None)
@given(happenings=st.lists(events, max_size=20))
def test_when_the_faults_stop_the_last_commit_lives_and_stays(happenings: list[tuple[str, object]]) -> None:
    story = Story(automated=True)
    for what, detail in happenings:
        story.happen(what, detail)
        story.step()
    world = story.world
    world.is_git_up, world.is_live_known, world.project = True, True, story.project
    world.rejected_late.clear()
    world.is_slow = False
    world.deliver()
    if world.phase == "Running":
        world.app["status"]["operationState"]["phase"] = "Terminating"
    story.commit([("one", "1"), ("three", "0")])
    for _ in range(20):
        world.run(timedelta(minutes=1))
        story.happen("finish", True)
    world.run(timedelta(minutes=5))
    wanted = {"one", "three"}
    lives = {key.name for key in world.objects if key.kind == "ConfigMap"} - {"foreign"}
    assert lives == wanted
    assert {world.get("ConfigMap", name)["data"]["commit"] for name in wanted} == {world.head}  # type: ignore[index]
    assert (world.status.sync.status, world.phase) == ("Synced", "Succeeded")
    writes = world.writes
    world.settle(until=timedelta(0))
    assert world.writes == writes, "it has come to rest"


@settings(max_examples=25, deadline=None)
@given(
    failure=st.sampled_from(["git", "render", "live", "project"]),
    seconds=st.lists(st.integers(min_value=1, max_value=1000), min_size=1, max_size=8),
)
def test_a_source_that_fails_changes_nothing_that_lives(failure: str, seconds: list[int]) -> None:
    story = Story(automated=True)
    world = story.world
    world.settle()
    assert world.phase == "Succeeded"
    before = copy.deepcopy(world.objects)
    match failure:
        case "git":
            world.is_git_up = False
        case "render":
            story.happen("break", None)
        case "live":
            world.is_live_known, world.live_error = False, "connection refused"
        case "project":
            world.project = None
    for span in seconds:
        world.now += timedelta(seconds=span)
        world.annotate(refresh="hard")
        world.settle(until=timedelta(0))
        assert world.objects == before
    if sum(seconds[1:]) > 180 or failure != "git":
        assert world.status.sync.status == "Unknown"

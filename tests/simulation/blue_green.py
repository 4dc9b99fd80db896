"""Blue-green Rollouts in the simulated world: what is applied, how it ends, and what is promised at every commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from fairlead.core.kinds import SERVICES
from fairlead.core.objects import ObjectKey
from tests.simulation.ends import healthy, shown
from tests.simulation.harness import CONTROLLER, World, version_of
from tests.simulation.manifests import NAMESPACE, Doc, Routing, analysis, rollout, service
from tests.simulation.story import Commit, Story, hash_of, read, selected

ACTIVE, PREVIEW = ObjectKey(NAMESPACE, "web-active"), ObjectKey(NAMESPACE, "web-preview")
EVERYTHING: Mapping[str, Any] = {
    "previewReplicaCount": 1,
    "autoPromotionEnabled": False,
    "prePromotionAnalysis": analysis(),
    "postPromotionAnalysis": analysis(),
}


def blue_green(fields: Mapping[str, Any] | None = None, *, replicas: int = 2, **spec: Any) -> Doc:
    """Return a blue-green Rollout; `fields` are further ones of the strategy, `spec` of the spec."""
    found = rollout([], replicas=replicas, **spec)
    strategy = {"activeService": ACTIVE.name, "previewService": PREVIEW.name, **(fields or {})}
    found["spec"]["strategy"] = {"blueGreen": {key: value for key, value in strategy.items() if value is not None}}
    return found


async def deploy(world: World, document: Doc) -> None:
    """Apply the two Services and the Rollout, watch what is promised, and wait until it is healthy."""
    watch(world)
    world.apply(service(ACTIVE), service(PREVIEW))
    await world.deploy(document)


def selects(world: World, name: ObjectKey = ACTIVE) -> str:
    """Return which version a Service selects."""
    versions = {pod_hash: version_of(found) for pod_hash, found in world.story.replica_sets.items()}
    return versions.get(selected(world.cluster.read(SERVICES, name)), "")


def ended(world: World) -> Doc:
    """Return what people see of the Rollout and its two Services."""
    found = shown(world)
    return found | {"services": {"active": selects(world), "preview": selects(world, PREVIEW)}}


def at_rest(*, version: str = "2", replicas: int = 2) -> Doc:
    """Return what is shown once a version is stable and nothing else is left."""
    found = healthy(Routing.BASIC, version=version, replicas=replicas)
    return found | {"step": None, "services": {"active": version, "preview": version}}


def aborted(cause: str = "", *, stable: str = "1", preview: str = "2", replicas: int = 2) -> Doc:
    """Return what is shown once an update is aborted and users are on stable."""
    message = "RolloutAborted: Rollout aborted update to revision 2"
    conditions = at_rest()["conditions"] | {
        "Completed": "False/RolloutCompleted",
        "Healthy": "False/RolloutHealthy",
        "Progressing": "False/RolloutAborted",
    }
    return at_rest(version=stable, replicas=replicas) | {
        "phase": "Degraded",
        "message": f"{message}: {cause}" if cause else message,
        "services": {"active": stable, "preview": preview},
        "conditions": conditions,
    }


# --- promises --------------------------------------------------------------------------------------------------------


def watch(world: World) -> None:
    """Add a complaint to the story for every commit of the controller that breaks a promise."""

    def committed(verb: str, resource: Any, old: Doc | None, new: Doc | None) -> None:
        # Nobody else changes selectors or sizes here.
        commit = Commit(
            at=world.clock.now(), actor=CONTROLLER, verb=str(verb), kind=str(resource.kind), old=old, new=new
        )
        for name, check in PROMISES.items():
            world.story.broken += [f"{name}: {complaint}" for complaint in check(world.story, commit)]

    world.cluster.on_commit(committed)


def _switch(commit: Commit, key: ObjectKey) -> tuple[str, str] | None:
    if commit.kind != "Service" or commit.name != key.name or commit.new is None:
        return None
    before, after = selected(commit.old), selected(commit.new)
    return (before, after) if after and before != after else None


def _strategy(story: Story) -> Doc:
    strategy: Doc = read(story.spec, "strategy", "blueGreen") or {}
    return strategy


def users_reach_pods(story: Story, commit: Commit) -> Iterator[str]:
    """Invariant 10."""
    switch = _switch(commit, ACTIVE)
    if switch and story.replicas and story.available(switch[1]) < 1:
        yield f"the active Service selects {switch[1]}, which has no pod"


def users_move_to_whole_revisions(story: Story, commit: Commit) -> Iterator[str]:
    """Invariant 21: to another revision than stable only with all pods."""
    switch = _switch(commit, ACTIVE)
    if switch and switch[1] != story.stable and story.available(switch[1]) < story.replicas:
        yield f"users are moved to {story.available(switch[1])} of {story.replicas} pods of {switch[1]}"


def users_keep_their_pods(story: Story, commit: Commit) -> Iterator[str]:
    """Nobody makes the ReplicaSet smaller that the active Service selects, unless fewer pods are wanted."""
    if commit.kind != "ReplicaSet" or commit.old is None:
        return
    before, after = read(commit.old, "spec", "replicas") or 0, read(commit.new or {}, "spec", "replicas") or 0
    if after < min(before, story.replicas) and hash_of(commit.found) == selected(story.service(ACTIVE.name)):
        yield f"{commit.name} made smaller from {before} to {after} under its users"


def stable_stays_whole(story: Story, commit: Commit) -> Iterator[str]:
    """An abort finds everything as it left it."""
    if commit.kind != "ReplicaSet" or commit.old is None or not _strategy(story):
        return
    if hash_of(commit.found) != story.stable:
        return
    before, after = read(commit.old, "spec", "replicas") or 0, read(commit.new or {}, "spec", "replicas") or 0
    if after < min(before, story.replicas):
        yield f"stable {commit.name} made smaller from {before} to {after}"


def testers_come_before_pods(story: Story, commit: Commit) -> Iterator[str]:
    """T60."""
    if commit.kind != "ReplicaSet" or commit.new is None or "previewService" not in _strategy(story):
        return
    before, after = read(commit.old or {}, "spec", "replicas") or 0, read(commit.new, "spec", "replicas") or 0
    shown = selected(story.service(PREVIEW.name))
    if before == 0 < after and hash_of(commit.found) not in (story.stable, shown):
        yield f"{commit.name} has pods, and the preview Service selects {shown}"


def nothing_is_skipped(story: Story, commit: Commit) -> Iterator[str]:
    """Users see a new revision only after its analysis, unless a person said so or it was good before."""
    switch = _switch(commit, ACTIVE)
    strategy = _strategy(story)
    if switch is None or switch[1] in (story.stable, "") or "prePromotionAnalysis" not in strategy or not story.stable:
        return
    found = story.replica_sets[switch[1]]
    is_fast = "fairlead.dev/kept-since-stable" in found["metadata"]["annotations"]
    if is_fast or story.status.get("promoteFull") or "full" in story.commands:
        return
    runs = [one for one in story.runs if hash_of(one) == switch[1] and "-pre" in one["metadata"]["name"]]
    if not any(read(run, "status", "phase") == "Successful" for run in runs):
        yield f"users are moved to {switch[1]}, and no analysis says that it is good"


PROMISES: Mapping[str, Callable[[Story, Commit], Iterator[str]]] = {
    check.__name__: check
    for check in (
        users_reach_pods,
        users_move_to_whole_revisions,
        users_keep_their_pods,
        stable_stays_whole,
        testers_come_before_pods,
        nothing_is_skipped,
    )
}

"""Every invariant notices what it is for: each is shown a history that breaks it, and a like one that does not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import pytest

from fairlead.core.cluster import JsonPatch
from fairlead.core.kinds import HTTP_ROUTES
from fairlead.core.objects import rfc3339
from tests.simulation.harness import World, as_controller, play
from tests.simulation.invariants import AT_REST, INVARIANTS
from tests.simulation.manifests import CANARY, HASH_LABEL, NAME, STABLE, WEB, Doc, Routing, pairs, rollout, route
from tests.simulation.story import Commit, Story

START = datetime(2026, 1, 1, tzinfo=UTC)
STEPS: list[Doc] = [{"setWeight": 20}, {"pause": {"duration": "10s"}}, {"setWeight": 60}, {"pause": {}}]


class Scene:
    """A routed update of four replicas from revision `old` to `new`: weight 20 stored, accepted and on the wire."""

    def __init__(self, routing: Routing = Routing.WAYPOINT, *, steps: list[Doc] | None = None, **spec: Any) -> None:
        self.at = START
        self.story = Story(routing=routing)
        self.documents: dict[tuple[str, str], Doc] = {}
        spec = {"replicas": 4, "strategy": {"canary": {"steps": STEPS if steps is None else steps}}} | spec
        status = {
            "currentPodHash": "new",
            "stableRS": "old",
            "currentStepHash": "steps",
            "currentStepIndex": 1,
            "conditions": [],
        }
        self.write("Rollout", NAME, {"spec": spec, "status": status}, actor="user")
        self.replica_set("old", 4)
        self.replica_set("new", 1)
        if routing.is_routed:
            self.service(STABLE.name, "old", actor="user")
            self.service(CANARY.name, "new", actor="user")
            self.endpoints(new=1)
            self.route(80, 20, actor="user")
            self.accept()
            self.wire(80, 20)
        self.wait(100)

    def wait(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)

    def write(self, kind: str, name: str, content: Doc, *, actor: str = "controller") -> None:
        """Put an object there, or change it."""
        old = self.documents.get((kind, name))
        metadata = {"name": name, **((old or {}).get("metadata") or {}), **content.get("metadata", {})}
        new = copy.deepcopy({**(old or {}), **content, "metadata": metadata})
        self.documents[(kind, name)] = new
        verb = "create" if old is None else "update"
        self.story.observe(Commit(at=self.at, actor=actor, verb=verb, kind=kind, old=old, new=new))

    def delete(self, kind: str, name: str) -> None:
        old = self.documents.pop((kind, name))
        self.story.observe(Commit(at=self.at, actor="controller", verb="delete", kind=kind, old=old, new=None))

    def status(self, *, actor: str = "controller", **fields: Any) -> None:
        status = {**self.documents[("Rollout", NAME)]["status"], **fields}
        self.write(
            "Rollout", NAME, {"status": {key: one for key, one in status.items() if one is not None}}, actor=actor
        )

    def spec(self, **fields: Any) -> None:
        self.write("Rollout", NAME, {"spec": {**self.documents[("Rollout", NAME)]["spec"], **fields}}, actor="user")

    def replica_set(self, pod_hash: str, replicas: int, available: int | None = None, *, actor: str = "rs") -> None:
        status = {"availableReplicas": replicas if available is None else available}
        metadata = {"labels": {HASH_LABEL: pod_hash}}
        content = {"metadata": metadata, "spec": {"replicas": replicas}, "status": status}
        self.write("ReplicaSet", f"web-{pod_hash}", content, actor=actor)

    def resize(self, pod_hash: str, replicas: int) -> None:
        """Change the size alone, as the controller does."""
        self.write("ReplicaSet", f"web-{pod_hash}", {"spec": {"replicas": replicas}})

    def service(self, name: str, pod_hash: str, *, actor: str = "controller", port: int = 80) -> None:
        selector = {HASH_LABEL: pod_hash} if pod_hash else {}
        self.write("Service", name, {"spec": {"selector": selector, "ports": [{"port": port}]}}, actor=actor)

    def endpoints(self, **counts: int) -> None:
        endpoints = []
        for pod_hash, count in counts.items():
            for number in range(count):
                name = f"{pod_hash}-{number}"
                self.write("Pod", name, {"metadata": {"labels": {HASH_LABEL: pod_hash}}}, actor="rs")
                endpoints.append({"targetRef": {"name": name}, "conditions": {"ready": True}})
        metadata = {"labels": {"kubernetes.io/service-name": CANARY.name}}
        self.write("EndpointSlice", CANARY.name, {"metadata": metadata, "endpoints": endpoints}, actor="slices")

    def route(self, stable: int, canary: int, *, actor: str = "controller", **labels: str) -> None:
        generation = (self.documents.get(("HTTPRoute", NAME)) or {}).get("metadata", {}).get("generation", 0) + 1
        spec = route(stable, canary)["spec"]
        content = {"metadata": {"generation": generation, "labels": labels}, "spec": spec}
        self.write("HTTPRoute", NAME, content, actor=actor)

    def accept(self) -> None:
        generation = self.documents[("HTTPRoute", NAME)]["metadata"]["generation"]
        accepted = {"type": "Accepted", "status": "True", "observedGeneration": generation}
        self.write("HTTPRoute", NAME, {"status": {"parents": [{"conditions": [accepted]}]}}, actor="istiod")

    def wire(self, stable: int, canary: int) -> None:
        weights = {STABLE.name: stable, CANARY.name: canary}
        self.story.observe_wire(self.at, {name: weight for name, weight in weights.items() if weight})

    def hold(self, stable: int, canary: int) -> None:
        """Store weights, have them accepted and followed, long ago."""
        self.route(stable, canary, actor="user")
        self.accept()
        self.wire(stable, canary)
        self.wait(100)

    def run(self, name: str, phase: str, *, actor: str = "controller", step: int | None = 1, **fields: Any) -> None:
        labels = {HASH_LABEL: "new"} | ({} if step is None else {"step-index": str(step)})
        result = {"name": "m", "phase": phase, **fields}
        metrics = [{"name": "m", "failureLimit": 1, "consecutiveErrorLimit": 1}]
        status = {"phase": phase, "metricResults": [result]}
        content = {"metadata": {"labels": labels}, "spec": {"metrics": metrics}, "status": status}
        self.write("AnalysisRun", name, content, actor=actor)


Tale = Callable[[Scene], None]
CASES: dict[str, tuple[Callable[[], Scene], Tale, Tale]] = {}


class Tales(Protocol):
    """Two tales: `wrong` breaks the invariant, `right` is alike and does not."""

    @staticmethod
    def wrong(scene: Scene) -> None: ...

    @staticmethod
    def right(scene: Scene) -> None: ...


def case(name: str, make: Callable[[], Scene] = Scene) -> Callable[[type[Tales]], type[Tales]]:
    """Register the tales of an invariant, and where they begin."""

    def register(tales: type[Tales]) -> type[Tales]:
        CASES[name] = (make, tales.wrong, tales.right)
        return tales

    return register


def basic() -> Scene:
    return Scene(Routing.BASIC)


def gateway() -> Scene:
    return Scene(Routing.GATEWAY)


def analysed() -> Scene:
    return Scene(steps=[{"setWeight": 20}, {"analysis": {"templates": []}}, {"setWeight": 60}])


def paused(scene: Scene, ago: float) -> None:
    started = rfc3339(scene.at - timedelta(seconds=ago))
    pause = {"reason": "CanaryPauseStep", "startTime": started}
    scene.status(pauseConditions=[pause], controllerPause=True)
    scene.wait(1)


def ready_for_sixty(scene: Scene) -> None:
    scene.status(currentStepIndex=2)
    scene.replica_set("new", 3)
    scene.endpoints(new=3)


@case("weights_add_up")
class WeightsAddUp:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.route(80, 30)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.route(70, 30)


@case("both_weights_move_together")
class BothMove:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.route(80, 0)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.route(100, 0)


@case("canary_has_pods_before_weight")
class CanaryHasPods:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.replica_set("new", 3, available=2)
        scene.wait(5)
        scene.route(40, 60)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.replica_set("new", 3)
        scene.route(40, 60)


@case("stable_has_pods_before_weight")
class StableHasPods:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.replica_set("old", 4, available=0)
        scene.wait(5)
        scene.route(100, 0)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.replica_set("old", 4, available=1)
        scene.wait(5)
        scene.route(100, 0)


@case("weight_follows_the_steps")
class FollowsSteps:
    @staticmethod
    def wrong(scene: Scene) -> None:
        paused(scene, 5)
        scene.route(40, 60)

    @staticmethod
    def right(scene: Scene) -> None:
        paused(scene, 12)
        scene.route(40, 60)


@case("abort_is_final")
class AbortIsFinal:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.hold(100, 0)
        scene.status(abort=True, abortedAt=rfc3339(scene.at))
        scene.route(80, 20)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(abort=True, abortedAt=rfc3339(scene.at))
        scene.route(100, 0)


@case("abort_restores")
class AbortRestores:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status(abort=True, abortedAt=rfc3339(scene.at))

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(abort=True, abortedAt=rfc3339(scene.at))
        scene.hold(100, 0)
        scene.service(CANARY.name, "old")


@case("abort_takes_weight_before_pods_and_selectors")
class WeightBeforePods:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status(abort=True, abortedAt=rfc3339(scene.at))
        scene.resize("new", 0)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(abort=True, abortedAt=rfc3339(scene.at))
        scene.hold(100, 0)
        scene.resize("new", 0)


@case("empty_canary_loses_weight_at_once")
class EmptyCanary:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.replica_set("new", 1, available=0)
        scene.wait(10)
        scene.status(phase="Progressing")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.replica_set("new", 1, available=0)
        scene.route(100, 0)
        scene.wait(10)
        scene.status(phase="Progressing")


@case("nobody_ready_nothing_written")
class NobodyReady:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.replica_set("new", 1, available=0)
        scene.replica_set("old", 4, available=0)
        scene.wait(5)
        scene.route(100, 0)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.replica_set("new", 1, available=0)
        scene.replica_set("old", 4, available=1)
        scene.wait(5)
        scene.route(100, 0)


@case("endpoints_before_weight")
class EndpointsFirst:
    @staticmethod
    def wrong(scene: Scene) -> None:
        ready_for_sixty(scene)
        scene.endpoints(new=3, old=1)
        scene.wait(5)
        scene.route(40, 60)

    @staticmethod
    def right(scene: Scene) -> None:
        ready_for_sixty(scene)
        scene.wait(5)
        scene.route(40, 60)


@case("selector_before_weight")
class SelectorFirst:
    @staticmethod
    def wrong(scene: Scene) -> None:
        ready_for_sixty(scene)
        scene.service(CANARY.name, "old", actor="argocd")
        scene.route(40, 60)

    @staticmethod
    def right(scene: Scene) -> None:
        ready_for_sixty(scene)
        scene.route(40, 60)


@case("services_select_live_pods")
class SelectLivePods:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.replica_set("newer", 1, available=0)
        scene.service(CANARY.name, "newer")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.replica_set("newer", 1)
        scene.service(CANARY.name, "newer")


@case("newer_revision_waits_for_weight_zero")
class NewerWaits:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.replica_set("newer", 1)
        scene.route(100, 0)
        scene.service(CANARY.name, "newer")  # the wire still sends a fifth there

    @staticmethod
    def right(scene: Scene) -> None:
        scene.replica_set("newer", 1)
        scene.hold(100, 0)
        scene.service(CANARY.name, "newer")


@case("stable_service_moves_to_whole_revisions")
class StableMoves:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.hold(0, 100)
        scene.replica_set("new", 4, available=3)
        scene.wait(5)
        scene.service(STABLE.name, "new")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.hold(0, 100)
        scene.replica_set("new", 4)
        scene.service(STABLE.name, "new")


@case("all_weight_is_on_the_canary_before_stable_moves")
class AllWeightFirst:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.replica_set("new", 4)
        scene.route(0, 100, actor="user")
        scene.service(STABLE.name, "new")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.replica_set("new", 4)
        scene.hold(0, 100)
        scene.service(STABLE.name, "new")


@case("pods_that_carry_traffic_stay")
class CarryingPodsStay:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.hold(100, 0)
        scene.at -= timedelta(seconds=60)
        scene.resize("new", 0)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.hold(100, 0)
        scene.resize("new", 0)


@case("aborted_canary_drains")
class AbortedDrains:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status(abort=True, abortedAt=rfc3339(scene.at))
        scene.hold(100, 0)
        scene.at -= timedelta(seconds=60)
        scene.resize("new", 0)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(abort=True, abortedAt=rfc3339(scene.at))
        scene.hold(100, 0)
        scene.resize("new", 0)


def with_header(scene: Scene) -> None:
    """Add a rule that sends some requests to the canary, whatever the weights."""
    found = scene.documents[("HTTPRoute", NAME)]["spec"]["rules"]
    rule = {"name": "qa", "backendRefs": [{"name": CANARY.name}]}
    scene.write("HTTPRoute", NAME, {"spec": {"rules": [*found, rule]}})


@case("rules_without_weight_have_pods")
class RulesHavePods:
    @staticmethod
    def wrong(scene: Scene) -> None:
        with_header(scene)
        scene.wait(10)
        scene.hold(100, 0)  # and the rule is gone
        scene.at -= timedelta(seconds=60)
        scene.resize("new", 0)

    @staticmethod
    def right(scene: Scene) -> None:
        with_header(scene)
        scene.wait(10)
        scene.hold(100, 0)
        scene.resize("new", 0)


@case("only_ready_revision_stays")
class OnlyReadyStays:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.replica_set("new", 1, available=0)
        scene.wait(5)
        scene.delete("ReplicaSet", "web-old")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.delete("ReplicaSet", "web-old")


@case("foreign_parts_stay", gateway)
class ForeignParts:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.route(70, 30, team="mesh")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.route(70, 30, **{"rollouts.argoproj.io/gatewayapi-canary": "in-progress"})


@case("services_change_by_their_hash_alone")
class HashAlone:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.service(STABLE.name, "old", port=81)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.service(STABLE.name, "new")


@case("steps_go_forward_through_their_gates")
class Gates:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status(actor="user", currentStepIndex=3)
        scene.status(currentStepIndex=4)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(actor="user", currentStepIndex=3, controllerPause=True)
        scene.status(currentStepIndex=4)


@case("pauses_last")
class PausesLast:
    @staticmethod
    def wrong(scene: Scene) -> None:
        paused(scene, 5)
        scene.status(currentStepIndex=2, pauseConditions=None)

    @staticmethod
    def right(scene: Scene) -> None:
        paused(scene, 12)
        scene.status(currentStepIndex=2, pauseConditions=None)


@case("weights_hold_before_steps_count")
class WeightsHoldFirst:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status(actor="user", currentStepIndex=2)
        scene.route(40, 60)
        scene.status(currentStepIndex=3)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(actor="user", currentStepIndex=2)
        scene.hold(40, 60)
        scene.status(currentStepIndex=3)


@case("pauses_begin_when_weights_hold")
class PausesBegin:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.wire(100, 0)
        paused(scene, 0)

    @staticmethod
    def right(scene: Scene) -> None:
        paused(scene, 0)


def progressing(scene: Scene, at: datetime, reason: str = "ReplicaSetUpdated", **fields: Any) -> None:
    condition = {"type": "Progressing", "status": "True", "reason": reason, "lastUpdateTime": rfc3339(at)}
    scene.status(conditions=[condition], **fields)


@case("only_progress_renews_the_deadline")
class OnlyProgressRenews:
    @staticmethod
    def wrong(scene: Scene) -> None:
        progressing(scene, scene.at)
        scene.wait(10)
        progressing(scene, scene.at)

    @staticmethod
    def right(scene: Scene) -> None:
        progressing(scene, scene.at)
        scene.wait(10)
        progressing(scene, scene.at, availableReplicas=5)


@case("rollback_to_stable_is_taken")
class RollbackIsTaken:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status(currentPodHash="old", phase="Progressing")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(currentPodHash="old", phase="Healthy")


@case("sizes_stay_within_limits", basic)
class SizesWithinLimits:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.resize("old", 1)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.resize("old", 2)


@case("suspended_is_still")
class SuspendedIsStill:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.spec(paused=True)
        scene.wait(5)
        scene.resize("new", 2)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.spec(paused=True)
        scene.wait(5)
        scene.route(100, 0)


@case("no_command_is_lost")
class NoCommandIsLost:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status(actor="user", abort=True)
        scene.status(abort=None, phase="Progressing")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(actor="user", abort=True)
        scene.status(abortedAt=rfc3339(scene.at), phase="Degraded")


@case("every_command_is_acknowledged")
class EveryCommandAcknowledged:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status(actor="user", abort=True)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(actor="user", abort=True)
        scene.status(abortedAt=rfc3339(scene.at))


@case("nothing_is_written_for_nothing")
class NothingForNothing:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.status()

    @staticmethod
    def right(scene: Scene) -> None:
        scene.status(phase="Paused")


@case("history_is_bounded", lambda: Scene(revisionHistoryLimit=2))
class HistoryIsBounded:
    @staticmethod
    def wrong(scene: Scene) -> None:
        for number in range(6):
            scene.replica_set(f"gone-{number}", 0, actor="controller")

    @staticmethod
    def right(scene: Scene) -> None:
        for number in range(3):
            scene.replica_set(f"gone-{number}", 0, actor="controller")


@case("analysis_begins_when_weights_hold", analysed)
class AnalysisBegins:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.wire(100, 0)
        scene.run("run", "")

    @staticmethod
    def right(scene: Scene) -> None:
        scene.run("run", "")


GOOD = {"phase": "Successful", "startedAt": "1", "finishedAt": "1", "value": "0.1"}
BAD = {"phase": "Failed", "startedAt": "1", "finishedAt": "1", "value": "0.9"}


@case("no_data_is_no_success")
class NoDataNoSuccess:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.run("run", "Successful", count=1, successful=1, measurements=[GOOD | {"value": "NaN"}])

    @staticmethod
    def right(scene: Scene) -> None:
        scene.run("run", "Successful", count=1, successful=1, measurements=[GOOD])


@case("doubts_never_promote", analysed)
class DoubtsNeverPromote:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.run("run", "Inconclusive", actor="user")
        scene.status(canary={"currentStepAnalysisRunStatus": {"name": "run", "status": "Inconclusive"}})
        scene.status(currentStepIndex=2)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.run("run", "Successful", actor="user")
        scene.status(canary={"currentStepAnalysisRunStatus": {"name": "run", "status": "Successful"}})
        scene.status(currentStepIndex=2)


@case("measurements_count_once")
class CountOnce:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.run("run", "Running", count=1, failed=1, measurements=[BAD])
        scene.run("run", "Running", count=1, successful=1, measurements=[GOOD])

    @staticmethod
    def right(scene: Scene) -> None:
        scene.run("run", "Running", count=1, failed=1, measurements=[BAD])
        scene.run("run", "Running", count=2, failed=1, successful=1, measurements=[BAD, GOOD | {"startedAt": "2"}])


@case("limits_are_exact")
class LimitsAreExact:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.run("run", "Running", count=2, failed=2)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.run("run", "Running", count=1, failed=1)
        scene.run("run", "Failed", count=2, failed=2)


@case("verdicts_stand")
class VerdictsStand:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.run("run", "Failed", count=2, failed=2)
        scene.run("run", "Successful", count=3, failed=2, successful=1)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.run("run", "Running", count=1, failed=1)
        scene.run("run", "Failed", count=2, failed=2)


@case("bad_verdicts_abort_at_once")
class BadVerdictsAbort:
    @staticmethod
    def wrong(scene: Scene) -> None:
        scene.run("run", "Failed", actor="user")
        scene.status(canary={"currentStepAnalysisRunStatus": {"name": "run", "status": "Failed"}})
        scene.status(availableReplicas=5)

    @staticmethod
    def right(scene: Scene) -> None:
        scene.run("run", "Failed", actor="user")
        scene.status(canary={"currentStepAnalysisRunStatus": {"name": "run", "status": "Failed"}})
        scene.status(abort=True)


def complaints(name: str, scene: Scene, tale: Tale) -> list[str]:
    """Return what one invariant has to say about what happens in a scene after it was set."""
    every = {one.name: one.check for one in INVARIANTS}
    if name in every:
        scene.story.check = every[name]
        tale(scene)
        return scene.story.broken
    tale(scene)
    resting = {one.name: one.check for one in AT_REST}
    return list(resting[name](scene.story))


@pytest.mark.parametrize("name", CASES)
def test_an_invariant_notices_what_it_is_for(name: str) -> None:
    make, wrong, _ = CASES[name]
    assert complaints(name, make(), wrong)


@pytest.mark.parametrize("name", CASES)
def test_an_invariant_accepts_what_is_right(name: str) -> None:
    make, _, right = CASES[name]
    assert complaints(name, make(), right) == []


def test_every_invariant_has_a_case() -> None:
    assert {one.name for one in INVARIANTS} | {one.name for one in AT_REST} == set(CASES)


def test_numbers_of_the_catalogue() -> None:
    """The catalogue's invariants that concern canaries are all watched; the rest has tests of its own."""
    numbers = [one.numbers for one in INVARIANTS] + [one.numbers for one in AT_REST]
    watched = {number for several in numbers for number in several}
    by_scenario = {"15", "23", "26", "34"}  # two runs are compared, or the end is looked at
    plain = {str(number) for number in (*range(1, 15), 16, 17, *range(19, 23), *range(24, 32), 56, 58)}
    assert plain | {"R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9"} <= watched | by_scenario


def test_a_world_that_breaks_a_rule_is_noticed() -> None:
    """From the wire of a real world to the complaint: somebody writes as the controller what it would never write."""

    async def tale(world: World) -> None:
        await world.deploy(rollout(pairs(20, 60), routing=Routing.WAYPOINT))
        found = world.cluster.read(HTTP_ROUTES, WEB)
        assert found is not None
        operations = [{"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": 50}]
        await as_controller(world.cluster.patch(HTTP_ROUTES, WEB, JsonPatch(operations)))

    with pytest.raises(AssertionError, match="both_weights_move_together"):
        play(tale, routing=Routing.WAYPOINT)

"""Bad objects before the whole controller: each degrades itself alone and says why; the good one beside them finishes.

Which row of the list of bad inputs is shown where stands in `docs/bad-inputs.md`.
"""

from __future__ import annotations

import asyncio
import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Forbidden
from fairlead.core.forwarding import Forwarding
from fairlead.core.kinds import REPLICA_SETS, ROLLOUTS
from fairlead.core.objects import Kind, ObjectKey, T
from fairlead.testing.clock import run_virtual
from tests.controller.stage import NAMESPACE, Json, lax_crds, rollout, staged

PAUSED = ({"setWeight": 50}, {"pause": {"duration": "3s"}})


def good(name: str = "good", **fields: Any) -> Json:
    """Return a Rollout whose updates take some seconds."""
    return rollout(name, steps=list(PAUSED), **fields)


# --- Rollouts that are wrong by themselves, or name something that is -------------------------------------------------


@dataclass(frozen=True, slots=True)
class Poison:
    """A bad Rollout, as a change of a good one, and what its condition says.

    Attributes:
        at: where the value is put, from the root of the object.
        says: part of the message.
        other: further objects.
    """

    name: str
    at: str
    value: Any
    says: str
    other: tuple[Json, ...] = ()

    @property
    def rollout(self) -> Json:
        document = rollout(self.name)
        *front, last = self.at.split("/")
        place = document
        for key in front:
            place = place[key]
        place[last] = copy.deepcopy(self.value)
        return document


STEPS = "spec/strategy/canary/steps"
LABELS = "spec/template/metadata/labels"


def _step(name: str, step: Any, says: str) -> Poison:
    return Poison(name, STEPS, [{"setWeight": 5}, step], says)


def _analysis(name: str, says: str, *specs: tuple[str, Any], asked: str = "") -> Poison:
    """Return a Rollout with an analysis step on a template, and the templates."""
    templates = tuple(
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisTemplate",
            "metadata": {"name": template, "namespace": NAMESPACE},
            "spec": spec,
        }
        for template, spec in specs
    )
    stanza = {"templates": [{"templateName": asked or specs[0][0]}]}
    return Poison(name, STEPS, [{"analysis": stanza}], says, templates)


def _metric(**fields: Any) -> Json:
    content = {"name": "m", "provider": {"plugin": {"memory": {}}}, "successCondition": "result == 1"}
    return content | fields


NOT_A_LABEL = "a valid label must be an empty string or consist of alphanumeric characters"
POISONS = [
    # 1
    _step(
        "weight-negative", {"setWeight": -1}, "steps[1].setWeight: Invalid value: -1: SetWeight needs to be between 0"
    ),
    _step("weight-101", {"setWeight": 101}, "steps[1].setWeight: Invalid value: 101: SetWeight needs to be"),
    _step("weight-1e9", {"setWeight": 10**9}, "steps[1].setWeight: Invalid value: 1000000000"),
    _step("weight-2e31", {"setWeight": 2**31}, "steps[1].setWeight: Invalid value: 2147483648: expected int <="),
    _step("weight-percent", {"setWeight": "20%"}, 'steps[1].setWeight: Invalid value: "20%": expected int, found str'),
    _step("weight-fraction", {"setWeight": 20.5}, "steps[1].setWeight: Invalid value: 20.5: expected int, found float"),
    _step("weight-bool", {"setWeight": True}, "steps[1].setWeight: Invalid value: true: expected int, found bool"),
    _step("weight-null", {"setWeight": None}, "steps[1]: Invalid value: {}: Step must have one of the following set"),
    # 3
    Poison("steps-object", STEPS, {"setWeight": 5}, 'steps: Invalid value: {"setWeight": 5}: expected array, found'),
    _step("step-null", None, "steps[1]: Invalid value: null: expected object, found null"),
    _step("step-text", "20", 'steps[1]: Invalid value: "20": expected object, found str'),
    _step("step-empty", {}, "steps[1]: Invalid value: {}: Step must have one of the following set"),
    # 4
    _step("pause-negative", {"pause": {"duration": "-5s"}}, 'steps[1].pause.duration: Invalid value: "-5s"'),
    _step("pause-year", {"pause": {"duration": "1y"}}, 'steps[1].pause.duration: Invalid value: "1y"'),
    _step("pause-no-unit", {"pause": {"duration": "5m5"}}, 'steps[1].pause.duration: Invalid value: "5m5"'),
    _step("pause-2e63", {"pause": {"duration": 2**63}}, "steps[1].pause.duration: Invalid value: 9223372036854775808"),
    _step("pause-2e63-text", {"pause": {"duration": f"{2**63}ns"}}, "steps[1].pause.duration: Invalid value"),
    _step("pause-fraction", {"pause": {"duration": 1.5}}, "expected int | str, found float"),
    _step("pause-list", {"pause": {"duration": []}}, "expected int | str, found array"),
    _step("pause-text", {"pause": "5s"}, 'steps[1].pause: Invalid value: "5s": expected object, found str'),
    # 7
    Poison("selector-other", "spec/selector", {"matchLabels": {"app": "x"}}, "`selector` does not match template"),
    Poison("selector-empty", "spec/selector", {}, "spec.selector: Invalid value: {}: empty selector is invalid"),
    Poison("selector-text", "spec/selector", "app=x", 'spec.selector: Invalid value: "app=x": expected object'),
    # 9
    Poison(
        "same-service",
        "spec/strategy/canary",
        {"stableService": "a", "canaryService": "a"},
        'stableService: Invalid value: "a": This rollout uses the same service for the stable and canary services',
    ),
    Poison(
        "no-service",
        "spec/strategy/canary",
        {"stableService": "a", "canaryService": "b"},
        'spec.strategy.canary.stableService: Invalid value: "a": services "a" not found',
    ),
    # 10
    Poison(
        "workload-gone",
        "spec",
        {
            "selector": {"matchLabels": {"app": "x"}},
            "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gone"},
            "strategy": {"canary": {}},
        },
        'deployments.apps "gone" not found',
    ),
    Poison(
        "workload-itself",
        "spec",
        {
            "selector": {"matchLabels": {"app": "x"}},
            "workloadRef": {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "workload-itself"},
            "strategy": {"canary": {}},
        },
        "workload of type argoproj.io/Rollout is not supported",
    ),
    # 11
    Poison("replicas-negative", "spec/replicas", -1, "spec.replicas: Invalid value: -1: must be greater than or equal"),
    Poison("replicas-2e31", "spec/replicas", 2**31, "spec.replicas: Invalid value: 2147483648: expected int <="),
    Poison("replicas-text", "spec/replicas", "3", 'spec.replicas: Invalid value: "3": expected int, found str'),
    # 12
    Poison("wrong-case", "spec/strategy", {"Canary": {}}, "Rollout has missing field '.spec.strategy.canary or"),
    Poison("spec-text", "spec", "x", 'spec: Invalid value: "x": expected object, found str'),
    Poison("spec-list", "spec", [], "spec: Invalid value: []: expected object, found array"),
    Poison("spec-null", "spec", None, "spec: Invalid value: null: expected object, found null"),
    Poison("template-list", "spec/template", [], "spec.template.metadata.labels: Invalid value: {}: `selector` does"),
    # 13
    Poison("n" * 250, "spec/replicas", 1, "must be no more than 63 bytes"),
    # 14
    Poison("label-newline", LABELS, {"app": "label-newline", "x": "a\nb"}, 'Invalid value: "a\\nb": ' + NOT_A_LABEL),
    Poison("label-long", LABELS, {"app": "label-long", "x": "a" * 64}, "must be no more than 63 bytes"),
    Poison("label-key", LABELS, {"app": "label-key", "a b": "c"}, 'Invalid value: "a b"'),
    # 15
    Poison(
        "container-nul",
        "spec/template/spec/containers",
        [{"name": "w\0eb", "image": "web:1"}],
        'spec.template.spec.containers[0].name: Invalid value: "w\\u0000eb"',
    ),
    Poison(
        "container-reversed",
        "spec/template/spec/containers",
        [{"name": "\u202ebew", "image": "web:1"}],
        "spec.template.spec.containers[0].name: Invalid value",
    ),
    # 20, 21, 22
    _analysis("template-gone", "Invalid value: \"gone\": AnalysisTemplate 'gone' not found", asked="gone"),
    _analysis(
        "argument-missing",
        "args.x was not resolved",
        ("argument-missing", {"args": [{"name": "x"}], "metrics": [_metric()]}),
    ),
    _analysis(
        "argument-undeclared",
        "failed to resolve {{args.nope}}",
        ("undeclared", {"metrics": [_metric(successCondition="{{args.nope}} == 1")]}),
    ),
    _analysis(
        "template-cycle",
        "AnalysisTemplate 'a' includes itself: a -> b -> a",
        ("a", {"templates": [{"templateName": "b"}]}),
        ("b", {"templates": [{"templateName": "a"}]}),
    ),
    _analysis("template-typed", "spec.metrics: Invalid value", ("template-typed", {"metrics": "x"})),
]


# --- analyses that cannot work, found when they run -------------------------------------------------------------------

SELF = [{"name": "y", "value": "{{args.y}}"}]
GONE = [{"name": "z", "valueFrom": {"secretKeyRef": {"name": "gone", "key": "token"}}}]
RUNS: Mapping[str, tuple[Json, list[Json], str]] = {
    # 5, 6
    "interval-junk": (
        {"interval": "1 fortnight", "count": 2},
        [],
        "metrics[0]: invalid interval string: time:",
    ),
    "limit-above-count": ({"count": 1, "failureLimit": 5}, [], "metrics[0]: count (1) must be >= failureLimit"),
    # 20
    "argument-of-itself": ({"successCondition": "{{args.y}} == 1"}, SELF, 'could not evaluate successCondition "{{arg'),
    "secret-gone": ({"successCondition": "{{args.z}} == 1"}, GONE, 'secrets "gone" not found'),
    # 22
    "attribute": ({"successCondition": "result.__class__.__mro__ != nil"}, [], "type float64 has no field __class__"),
    "function-unknown": ({"successCondition": "system('id')"}, [], "unknown name system"),
    "while-like": ({"successCondition": "[x for x in result while true]"}, [], "could not evaluate successCondition"),
    "parentheses": ({"successCondition": "(" * 10**4 + "true" + ")" * 10**4}, [], "nest"),
    "parentheses-many": ({"successCondition": "(" * 10**5 + "true" + ")" * 10**5}, [], "longer than 65536 characters"),
    "a-megabyte": ({"successCondition": "'" + "a" * 2**20 + "' == result"}, [], "longer than 65536 characters"),
}


def _with_run(name: str, metric: Json, args: list[Json]) -> list[Json]:
    template = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"args": args, "metrics": [_metric(**metric)]},
    }
    return [template, rollout(name, steps=[{"setWeight": 50}, {"analysis": {"templates": [{"templateName": name}]}}])]


@functools.cache
def aftermath() -> tuple[dict[str, Json], list[str], list[Any]]:
    """Return the statuses when all is over, who is still written, and what only a bug logs."""

    async def tale() -> tuple[dict[str, Json], list[str], list[Any]]:
        documents = [document for one in POISONS for document in (*one.other, one.rollout)]
        async with staged([*documents, good()]) as stage:
            await stage.until(lambda: stage.is_healthy("good"))
            await stage.set_image("good", "web:2")
            await stage.until(lambda: stage.is_healthy("good", "web:2"))
            await asyncio.sleep(30)
            written = await stage.quiet()
            names = [str(one.rollout["metadata"]["name"]) for one in POISONS]
            return {name: stage.status(name) for name in ("good", *names)}, written, list(stage.bugs())

    return run_virtual(tale())


@pytest.mark.parametrize("poison", [pytest.param(one, id=one.name[:30]) for one in POISONS])
def test_a_bad_rollout_says_what_is_wrong(poison: Poison) -> None:
    status = aftermath()[0][poison.name]
    [condition] = [one for one in status["conditions"] if one["type"] == "InvalidSpec"]
    assert poison.says in condition["message"]
    assert condition["message"].startswith(f'The Rollout "{poison.name}" is invalid: ')
    assert (status["phase"], status["message"]) == ("Degraded", f"InvalidSpec: {condition['message']}")


def test_the_good_one_beside_them_finishes_and_then_nothing_is_written() -> None:
    statuses, written, bugs = aftermath()
    assert statuses["good"]["phase"] == "Healthy"
    assert written == []
    assert bugs == []


@functools.cache
def aborted() -> tuple[dict[str, Json], list[str], list[Any]]:
    """Return the statuses after an update with each analysis, who is still written, and what only a bug logs."""

    async def tale() -> tuple[dict[str, Json], list[str], list[Any]]:
        documents = [one for name, (metric, args, _) in RUNS.items() for one in _with_run(name, metric, args)]
        async with staged([*documents, good()]) as stage:
            await stage.until(lambda: all(stage.is_healthy(name) for name in ("good", *RUNS)))
            for name in ("good", *RUNS):
                await stage.set_image(name, "web:2")
            await stage.until(lambda: stage.is_healthy("good", "web:2"))
            await asyncio.sleep(120)
            written = await stage.quiet()
            return {name: stage.status(name) for name in ("good", *RUNS)}, written, list(stage.bugs())

    return run_virtual(tale())


@pytest.mark.parametrize("name", RUNS)
def test_an_analysis_that_cannot_work_stops_its_update_and_says_why(name: str) -> None:
    status = aborted()[0][name]
    assert (status["phase"], status["abort"]) == ("Degraded", True)
    assert status["message"].startswith(
        "RolloutAborted: Rollout aborted update to revision 2: Step-based analysis phase"
    )
    assert RUNS[name][2] in status["message"]
    assert len(status["message"]) < 5_000


def test_the_good_one_beside_bad_analyses_finishes_and_then_nothing_is_written() -> None:
    statuses, written, bugs = aborted()
    assert statuses["good"]["phase"] == "Healthy"
    assert written == []
    assert bugs == []


# --- what somebody else writes into good ones -------------------------------------------------------------------------

REVISION = "rollout.argoproj.io/revision"
STATUSES: Mapping[str, Any] = {
    "index-99": {"currentStepIndex": 99, "currentStepHash": "x", "currentPodHash": "fake"},
    "fake-weights": {"canary": {"weights": {"canary": {"weight": 77, "podTemplateHash": "x"}, "verified": True}}},
    "fake-stable": {"stableRS": "nobody"},
    "wrong-types": {"currentStepIndex": "x", "conditions": "none", "pauseConditions": {"a": 1}, "abort": "yes"},
    "negative": {"currentStepIndex": -5, "collisionCount": -1, "replicas": -7},
    "future-pause": {"pauseConditions": [{"reason": "Nonsense", "startTime": "2999-01-01T00:00:00Z"}]},
    "odd-text": {"message": "a\0b", "stableRS": "\u202e", "selector": "\ud7ff"},
    "only-text": "hello",
}
ANNOTATIONS: Mapping[str, Any] = {
    "revision-text": {REVISION: "x"},
    "revision-huge": {REVISION: "9" * 60},
    "desired-junk": {"rollout.argoproj.io/desired-replicas": "many", "rollout.argoproj.io/revision-history": "1,x,,9"},
    "deadline-junk": {"scale-down-deadline": "soon"},
    "deadline-future": {"scale-down-deadline": "9999-12-31T23:59:59Z"},
    "journal-junk": {"fairlead.dev/journal": "!!!", "rollout.argoproj.io/workload-generation": "\0"},
}


def test_a_strangers_status_and_annotations_stop_nothing() -> None:
    names = (*STATUSES, *ANNOTATIONS)

    async def tale() -> None:
        async with staged([good(), *(good(name) for name in names)]) as stage:
            await stage.until(lambda: all(stage.is_healthy(name) for name in names))
            for name in names:
                await stage.set_image(name, "web:2")
            await stage.until(lambda: all(stage.status(name).get("currentStepIndex") == 1 for name in names))
            for name, status in STATUSES.items():
                key = ObjectKey(NAMESPACE, name)
                await stage.user.patch(ROLLOUTS, key, MergePatch({"status": status}), subresource="status")
            junk = MergePatch(
                {"metadata": {"annotations": {k: v for one in ANNOTATIONS.values() for k, v in one.items()}}}
            )
            for name, annotations in ANNOTATIONS.items():
                key = ObjectKey(NAMESPACE, name)
                await stage.user.patch(ROLLOUTS, key, MergePatch({"metadata": {"annotations": annotations}}))
            for found in stage.cluster.read_all(REPLICA_SETS, NAMESPACE):
                if found["metadata"]["labels"]["app"] in ANNOTATIONS:
                    await stage.user.patch(REPLICA_SETS, ObjectKey(NAMESPACE, found["metadata"]["name"]), junk)
            await stage.until(lambda: all(stage.is_healthy(name, "web:2") for name in names))
            await asyncio.sleep(60)
            assert await stage.quiet() == []
            assert stage.bugs() == []

    run_virtual(tale())


def test_an_abort_that_a_stranger_writes_is_an_abort() -> None:
    async def tale() -> None:
        async with staged([good()]) as stage:
            await stage.until(lambda: stage.is_healthy("good"))
            await stage.set_image("good", "web:2")
            await stage.until(lambda: stage.status("good").get("currentStepIndex") == 1)
            fake = MergePatch({"status": {"abort": True, "abortedAt": "yesterday"}})
            await stage.user.patch(ROLLOUTS, ObjectKey(NAMESPACE, "good"), fake, subresource="status")
            await stage.until(lambda: stage.status("good").get("phase") == "Degraded")
            assert stage.status("good")["message"] == "RolloutAborted: Rollout aborted update to revision 2"
            assert stage.status("good")["abortedAt"].startswith("2026-")

    run_virtual(tale())


# --- owners and ends --------------------------------------------------------------------------------------------------


def _owner(name: str, uid: str, *, controller: bool = True) -> Json:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": name,
        "uid": uid,
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def test_owners_in_a_circle_and_owners_elsewhere_stop_nothing() -> None:
    async def tale() -> None:
        elsewhere = good("elsewhere")
        elsewhere["metadata"]["namespace"] = "other"
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
        async with staged([namespace, elsewhere, good("a"), good("b")]) as stage:
            await stage.until(lambda: stage.is_healthy("a") and stage.is_healthy("b"))

            def uid(name: str, namespace: str = NAMESPACE) -> str:
                found = stage.cluster.read(ROLLOUTS, ObjectKey(namespace, name))
                assert found is not None
                return str(found["metadata"]["uid"])

            for name, other in (("a", "b"), ("b", "a")):
                body = {"metadata": {"ownerReferences": [_owner(other, uid(other), controller=False)]}}
                await stage.user.patch(ROLLOUTS, ObjectKey(NAMESPACE, name), MergePatch(body))
            # A ReplicaSet that looks like one of a's, of an owner whose UID is known in another namespace only.
            spec = rollout("a")["spec"]
            stranger = {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {
                    "name": "stranger",
                    "labels": {"app": "a"},
                    "ownerReferences": [_owner("elsewhere", uid("elsewhere", "other"))],
                },
                "spec": {"replicas": 0, "selector": spec["selector"], "template": spec["template"]},
            }
            stage.cluster.as_manager("stranger").apply([stranger])
            for name in ("a", "b"):
                await stage.set_image(name, "web:2")
            await stage.until(lambda: stage.is_healthy("a", "web:2") and stage.is_healthy("b", "web:2"))
            assert "create ReplicaSet stranger" in stage.writes
            assert stage.bugs() == []

    run_virtual(tale())


def test_a_rollout_that_is_held_by_a_foreign_finalizer_is_left_alone() -> None:
    async def tale() -> None:
        held = good("held")
        held["metadata"]["finalizers"] = ["example.com/hold"]
        async with staged([held, good()]) as stage:
            await stage.until(lambda: stage.is_healthy("held") and stage.is_healthy("good"))
            for name in ("held", "good"):
                await stage.set_image(name, "web:2")
            await stage.until(lambda: stage.status("held").get("currentStepIndex") == 1)
            await stage.user.delete(ROLLOUTS, ObjectKey(NAMESPACE, "held"))
            before = stage.status("held")
            await stage.until(lambda: stage.is_healthy("good", "web:2"))
            await asyncio.sleep(60)
            assert await stage.quiet() == []
            assert stage.status("held").get("currentStepIndex") == before.get("currentStepIndex")
            assert stage.bugs() == []

    run_virtual(tale())


# --- an API server that says no ---------------------------------------------------------------------------------------


class Refusing(Forwarding):
    """A cluster whose admission lets nobody create ReplicaSets of Rollouts with a certain name."""

    async def create(self, kind: Kind[T], body: Mapping[str, Any], *, namespace: str = "") -> T:
        if kind == REPLICA_SETS and body["metadata"]["name"].startswith("denied"):
            text = 'admission webhook "policy.example.com" denied the request: exceeded quota: pods'
            raise Forbidden(text, status=403, reason="Forbidden")
        return await super().create(kind, body, namespace=namespace)


def test_a_denied_replica_set_is_told_and_the_others_go_on() -> None:
    async def tale() -> None:
        async with staged([good("denied"), good()], wrap=Refusing) as stage:
            await stage.until(lambda: stage.is_healthy("good"))
            await asyncio.sleep(60)
            said = [one["message"] for one in stage.status("denied")["conditions"] if one["reason"].endswith("Error")]
            assert said
            assert all("denied the request: exceeded quota: pods" in one for one in said)
            status = stage.status("denied")
            assert (status["phase"], status["observedGeneration"]) == ("Progressing", "1")
            assert status["message"] == f"ReplicaSetCreateError: {said[0]}"
            assert any(event.startswith("ReplicaSetCreateError: ") for event in stage.events("denied"))
            tries = [one for one in stage.logs.entries if one.get("error") == "Forbidden"]
            assert 2 <= len(tries) <= 12  # a person has to act: it is tried now and then
            assert stage.bugs() == []

    run_virtual(tale())


def test_a_rollout_too_large_to_be_written_is_told_and_the_others_go_on() -> None:
    """What is stored fits into etcd by a little; with a status it does not."""

    async def tale() -> None:
        large = good("large")
        large["spec"]["filler"] = "x" * 1_571_900
        async with staged([large, good()]) as stage:
            await stage.until(lambda: stage.is_healthy("good"))
            await stage.set_image("good", "web:2")
            await stage.until(lambda: stage.is_healthy("good", "web:2"))
            refused = [one for one in stage.logs.entries if "too large" in str(one.get("message") or one.get("error"))]
            assert refused
            assert {one["object"] for one in refused} == {"default/large"}
            assert len(refused) < 20
            assert stage.bugs() == []

    run_virtual(tale())


def test_definitions_that_come_later_are_noticed() -> None:
    async def tale() -> None:
        async with staged(crds=()) as stage:
            await asyncio.sleep(60)
            absent = {one.get("resource") for one in stage.logs.entries if one["event"] == "kind_not_served"}
            assert "rollouts.argoproj.io" in absent
            stage.cluster.install_crds(lax_crds())
            stage.cluster.apply([good()])
            await stage.until(lambda: stage.is_healthy("good"))
            assert stage.bugs() == []

    run_virtual(tale())


def test_steps_by_the_thousand_are_gone_through() -> None:
    """3: ten thousand steps, which take nothing but a look; and a megabyte of them whose last one is wrong."""

    async def tale() -> None:
        many = rollout("many", steps=[{"setWeight": 50}] * 10_000)
        heavy = rollout("heavy", steps=[{"setWeight": 1, "note": "y" * 100}] * 8_000 + [{"setWeight": "20%"}])
        async with staged([many, heavy, good()]) as stage:
            await stage.until(lambda: stage.is_healthy("many") and stage.is_healthy("good"))
            assert 'canary.steps[8000].setWeight: Invalid value: "20%"' in stage.status("heavy")["message"]
            await stage.set_image("good", "web:2")
            await stage.until(lambda: stage.is_healthy("good", "web:2"))
            assert stage.bugs() == []

    run_virtual(tale())


def test_two_on_one_service_is_one_too_many() -> None:
    async def tale() -> None:
        ports = [{"name": "http", "port": 80}]
        services = [
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "spec": {"selector": {"app": "first"}, "ports": ports},
            }
            for name in ("stable", "canary")
        ]
        pair = {"stableService": "stable", "canaryService": "canary"}
        async with staged([*services, good("first", **pair), good()]) as stage:
            await stage.until(lambda: stage.is_healthy("first"))
            second = good("second", **pair)
            second["spec"]["selector"]["matchLabels"] = second["spec"]["template"]["metadata"]["labels"] = {
                "app": "first"
            }
            stage.user.apply([second])
            await stage.until(lambda: stage.status("second").get("phase") == "Degraded")
            said = stage.status("second")["message"]
            assert "spec.strategy.canary.stableService: Invalid value" in said
            assert 'Service "stable" is managed by another Rollout' in said
            await stage.set_image("first", "web:2")
            await stage.until(lambda: stage.is_healthy("first", "web:2"))
            assert stage.bugs() == []

    run_virtual(tale())

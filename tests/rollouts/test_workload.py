"""Pod templates from other workloads: found, put in place, watched, and the workload's pods taken over."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fairlead.core.errors import SpecError
from fairlead.core.kinds import DEPLOYMENTS, POD_TEMPLATES, REPLICA_SETS, ROLLOUTS, Deployment, PodTemplate, ReplicaSet
from fairlead.core.objects import Kind, ObjectKey
from fairlead.rollouts.actions import PatchRollout, ScaleWorkload
from fairlead.rollouts.machine import decide
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus, read
from fairlead.rollouts.triggers import INDEXES, ROLLOUTS_BY_WORKLOAD, Triggers, workload_values
from fairlead.rollouts.workload import (
    GENERATION,
    NotSeenYet,
    Resolution,
    StoredWorkloads,
    Workload,
    hand_over,
    resolve,
)
from fairlead.runtime import Store
from fairlead.testing.builders import (
    START,
    observation,
    pod_hash,
    pod_template,
    replica_set,
    rollout_metadata,
    services,
    spec_content,
    spec_of,
    status_content,
    traffic,
)
from fairlead.testing.clock import ManualClock

UNWRITTEN = RolloutStatus()


def deployment(version: int = 1, *, replicas: int = 2, generation: int = 4, name: str = "cart-old") -> Deployment:
    content = {
        "metadata": {"name": name, "namespace": "shop", "uid": f"uid-{name}", "generation": generation},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "cart"}},
            "template": pod_template(version),
        },
    }
    return DEPLOYMENTS.decode(msgspec.json.encode(content))


def pod_template_object(version: int = 1) -> PodTemplate:
    metadata = {"name": "cart-old", "namespace": "shop", "uid": "uid-t", "generation": 1}
    return POD_TEMPLATES.decode(msgspec.json.encode({"metadata": metadata, "template": pod_template(version)}))


def workload_replica_set() -> ReplicaSet:
    found = deployment()
    return ReplicaSet(metadata=found.metadata, spec=found.spec)


def content(kind: str = "Deployment", api: str = "apps/v1", scale_down: str = "", **fields: Any) -> dict[str, Any]:
    reference = {"apiVersion": api, "kind": kind, "name": "cart-old"}
    found = spec_content({"setWeight": 50}, {"pause": {}}, replicas=3, **fields)
    del found["template"]
    return {**found, "workloadRef": reference | ({"scaleDown": scale_down} if scale_down else {})}


def rollout(kind: str = "Deployment", api: str = "apps/v1", **fields: Any) -> RolloutSpec:
    return spec_of(content(kind, api, **fields))


def without_selector(spec: RolloutSpec) -> RolloutSpec:
    return replace(spec, selector=None)


def stored(kind: Kind[Any], *found: Any) -> StoredWorkloads:
    store: Store[Any] = Store(str(kind), ManualClock())
    for one in found:
        store.put(one)
    return StoredWorkloads(views={kind: store})


def resolved(
    spec: RolloutSpec,
    workloads: StoredWorkloads,
    *,
    status: RolloutStatus = UNWRITTEN,
    owned: tuple[ReplicaSet, ...] = (),
) -> Resolution:
    return resolve(spec, "shop", workloads, status=status, owned=owned)


# --- finding it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "kind", "found"),
    [
        pytest.param(rollout(), DEPLOYMENTS, deployment(), id="deployment"),
        pytest.param(rollout(api="apps/v1beta1"), DEPLOYMENTS, deployment(), id="any-version"),
        pytest.param(rollout("ReplicaSet"), REPLICA_SETS, workload_replica_set(), id="replicaset"),
        pytest.param(rollout("PodTemplate", "v1"), POD_TEMPLATES, pod_template_object(), id="podtemplate"),
    ],
)
def test_a_template_is_put_in_place(spec: RolloutSpec, kind: Kind[Any], found: Any) -> None:
    result = resolved(spec, stored(kind, found))
    assert result.problem is None
    assert isinstance(result.spec, RolloutSpec)
    assert msgspec.json.decode(result.spec.template) == pod_template(1)
    assert result.workload is not None
    assert result.workload.kind == kind.kind


def test_the_selector_comes_along_where_there_is_none() -> None:
    result = resolved(without_selector(rollout()), stored(DEPLOYMENTS, deployment()))
    assert isinstance(result.spec, RolloutSpec)
    assert result.spec.selector is not None
    assert result.spec.selector.match_labels == {"app": "cart"}


def test_a_pod_template_has_no_selector_to_give() -> None:
    spec = without_selector(rollout("PodTemplate", "v1"))
    result = resolved(spec, stored(POD_TEMPLATES, pod_template_object()))
    assert "missing field '.spec.selector'" in str(result.problem)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        pytest.param(rollout(), 'deployments.apps "cart-old" not found', id="missing"),
        pytest.param(rollout("PodTemplate", "v1"), 'podtemplates "cart-old" not found', id="missing-core"),
        pytest.param(rollout("StatefulSet"), "workload of type apps/StatefulSet is not supported", id="kind"),
        pytest.param(rollout("Deployment", "v1"), "workload of type /Deployment is not supported", id="group"),
    ],
)
def test_what_cannot_be_resolved_is_told(spec: RolloutSpec, message: str) -> None:
    result = resolved(spec, stored(DEPLOYMENTS))
    assert isinstance(result.spec, SpecError)
    assert str(result.spec) == message
    decision = decide(result.spec, read({}), observation(), START)
    assert decision.actions == ()
    assert decision.status.phase == "Degraded"
    assert decision.status.message == f'InvalidSpec: The Rollout "cart" is invalid: {message}'


def test_a_template_that_does_not_match_the_selector_is_refused() -> None:
    found = deployment()
    odd = replace(found, spec=replace(found.spec, template=msgspec.Raw(b'{"metadata": {"labels": {"app": "x"}}}')))
    result = resolved(rollout(), stored(DEPLOYMENTS, odd))
    assert result.problem is not None
    assert result.problem.path.startswith("spec.template")


def test_before_its_kind_has_been_listed_nothing_is_said() -> None:
    store: Store[Any] = Store("deployments", ManualClock())
    asked: list[Kind[Any]] = []

    def want(kind: Kind[Any]) -> bool:
        asked.append(kind)
        return False

    with pytest.raises(NotSeenYet):
        resolved(rollout(), StoredWorkloads(views={DEPLOYMENTS: store}, want=want))
    assert asked == [DEPLOYMENTS]


def test_an_abort_is_obeyed_while_the_workload_is_missing() -> None:
    """The template of the current revision stands in for it: enough to take the weight off, and nothing else."""
    spec = rollout(routed=True)
    status = read({**status_content(spec, current=2, step=1), "abort": True})
    owned = (replica_set(1, replicas=3), replica_set(2, replicas=2))
    result = resolved(spec, stored(DEPLOYMENTS), status=status, owned=owned)
    assert isinstance(result.spec, RolloutSpec)
    seen = observation(
        *owned, services=services(stable=1, canary=2), traffic=traffic(50), workload_problem=result.problem
    )
    decision = decide(result.spec, status, seen, START)
    assert [type(action).__name__ for action in decision.actions] == ["SetWeights"]
    assert decision.status.phase == "Degraded"
    calm = decide(result.spec, replace(status, abort=False), seen, START)
    assert calm.actions == ()


# --- what is written --------------------------------------------------------------------------------------------------


def decided(spec: RolloutSpec, found: Deployment, status: dict[str, Any], *owned: ReplicaSet, **fields: Any) -> Any:
    result = resolved(spec, stored(DEPLOYMENTS, found))
    assert isinstance(result.spec, RolloutSpec)
    return decide(result.spec, read(status), observation(*owned, workload=result.workload, **fields), START)


def test_the_generation_is_recorded_and_observed() -> None:
    decision = decided(rollout(), deployment(generation=7), {}, revision=0)
    patch = next(action for action in decision.actions if isinstance(action, PatchRollout))
    assert (GENERATION, "7") in patch.annotations
    assert decision.status.workload_observed_generation == "7"


def test_nothing_of_the_template_is_written_back() -> None:
    """T7: the only write to the Rollout's spec is the number of replicas that an absent field stands for."""
    spec = replace(rollout(), replicas=None)
    decision = decided(spec, deployment(), {}, revision=0)
    (patch,) = (action for action in decision.actions if isinstance(action, PatchRollout))
    assert patch.replicas == 1
    assert {key for key, _ in patch.annotations} == {"rollout.argoproj.io/revision", GENERATION}


def test_the_observed_generation_goes_with_the_reference() -> None:
    own = spec_of(spec_content({"setWeight": 50}, replicas=3))
    status = {**status_content(own), "workloadObservedGeneration": "7"}
    decision = decide(own, read(status), observation(replica_set(1, replicas=3)), START)
    assert decision.status.workload_observed_generation == ""


def test_another_template_of_the_workload_is_another_revision() -> None:
    meta = rollout_metadata(annotations={"rollout.argoproj.io/revision": "1", GENERATION: "4"})
    status = status_content(rollout(), step=2)
    at_rest = decided(rollout(), deployment(1), status, replica_set(1, replicas=3), metadata=meta)
    assert at_rest.actions == ()
    decision = decided(rollout(), deployment(2), status, replica_set(1, replicas=3), metadata=meta)
    assert decision.status.pod_hash == pod_hash(2)


# --- scaleDown --------------------------------------------------------------------------------------------------------

HEALTHY_ONCE = {"conditions": [{"type": "Healthy", "status": "False", "reason": "RolloutHealthy"}]}


@pytest.mark.parametrize(
    ("mode", "phase", "ready", "before", "expected"),
    [
        pytest.param("never", "Healthy", 3, {}, None, id="never"),
        pytest.param("", "Healthy", 3, {}, None, id="not-said"),
        pytest.param("onsuccess", "Progressing", 2, {}, None, id="success-not-yet"),
        pytest.param("onsuccess", "Healthy", 3, {}, 0, id="success"),
        pytest.param("onsuccess", "Healthy", 3, HEALTHY_ONCE, None, id="success-only-once"),
        pytest.param("progressively", "Progressing", 0, {}, None, id="nobody-is-ready"),
        pytest.param("progressively", "Progressing", 1, {}, 2, id="one-for-one"),
        pytest.param("progressively", "Progressing", 5, {}, 0, id="never-below-zero"),
        pytest.param("progressively", "Healthy", 3, {}, 0, id="done"),
        pytest.param("progressively", "Progressing", 1, HEALTHY_ONCE, None, id="never-up-again"),
    ],
)
def test_scale_down(mode: str, phase: str, ready: int, before: dict[str, Any], expected: int | None) -> None:
    spec = rollout(scale_down=mode)
    status = read({"phase": phase, "readyReplicas": ready})
    found = Workload.of(deployment(replicas=3))
    action = hand_over(spec, found, read(before), status, revision=1, is_shrinking=False)
    assert (action.replicas if action is not None else None) == expected
    assert hand_over(spec, found, read(before), status, revision=2, is_shrinking=False) is None


def test_a_pod_less_of_ours_gives_the_deployment_time() -> None:
    spec, found = rollout(scale_down="progressively"), Workload.of(deployment(replicas=2))
    status = read({"phase": "Progressing"})
    assert hand_over(spec, found, read({}), status, revision=1, is_shrinking=False) is None
    action = hand_over(spec, found, read({}), status, revision=1, is_shrinking=True)
    assert action is not None
    assert action.replicas == 3


def test_only_a_deployment_is_scaled() -> None:
    spec = rollout("ReplicaSet", scale_down="progressively")
    status = read({"phase": "Healthy"})
    found = Workload.of(workload_replica_set())
    assert hand_over(spec, found, read({}), status, revision=1, is_shrinking=False) is None


def test_a_manual_pause_holds_the_deployment_too() -> None:
    for paused, expected in ((False, [1]), (True, [])):
        spec = rollout(scale_down="progressively", paused=paused)
        status = status_content(spec, step=2)
        seen = replica_set(1, replicas=3, created=3, available=2)
        decision = decided(spec, deployment(replicas=3), status, seen)
        scaled = [action.replicas for action in decision.actions if isinstance(action, ScaleWorkload)]
        assert scaled == expected


# --- who is woken -----------------------------------------------------------------------------------------------------


def test_a_change_of_its_spec_wakes_the_rollout() -> None:
    clock = ManualClock()
    store: Store[Any] = Store("rollouts", clock, indexes=INDEXES[ROLLOUTS])
    body = {"metadata": {"name": "cart", "namespace": "shop", "uid": "u", "resourceVersion": "1"}, "spec": content()}
    store.put(ROLLOUTS.decode(msgspec.json.encode(body)))
    (found,) = store.list()
    assert list(workload_values(found)) == ["deployments/shop/cart-old"]
    assert len(store.by_index(ROLLOUTS_BY_WORKLOAD, "deployments/shop/cart-old")) == 1
    triggers = Triggers(store)
    old, same, new = deployment(generation=1), deployment(generation=1, replicas=9), deployment(generation=2)
    assert triggers.workload(DEPLOYMENTS, old, new).keys == (ObjectKey("shop", "cart"),)
    assert triggers.workload(DEPLOYMENTS, None, new).keys == (ObjectKey("shop", "cart"),)
    assert triggers.workload(DEPLOYMENTS, old, None).keys == (ObjectKey("shop", "cart"),)
    assert triggers.workload(DEPLOYMENTS, old, same).keys == ()
    assert triggers.workload(REPLICA_SETS, old, new).keys == ()
    assert triggers.workload(DEPLOYMENTS, None, deployment(name="other")).keys == ()


@pytest.mark.parametrize("reference", [None, 5, {}, {"kind": "Deployment"}, {"apiVersion": [], "kind": {}, "name": 1}])
def test_a_reference_that_makes_no_sense_wakes_nobody(reference: Any) -> None:
    body = {"metadata": {"name": "cart", "namespace": "shop"}, "spec": {"workloadRef": reference}}
    assert list(workload_values(ROLLOUTS.decode(msgspec.json.encode(body)))) == []

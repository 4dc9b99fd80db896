"""The machine as a whole: its table of modes, and what must hold whatever is read and seen."""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fairlead.core.decision import Decision
from fairlead.rollouts._modes import Facts, Mode, applies
from fairlead.rollouts.actions import Action, CreateReplicaSet, EvictPod, PatchReplicaSet, SetWeights, SwitchService
from fairlead.rollouts.machine import MODES, decide, rule_for
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus, parse, read, render
from fairlead.testing.builders import HASH_LABEL, START, observation, pod_hash, replica_set, spec, spec_of, status
from tests.rollouts.strategies import observations, spec_contents, status_contents
from tests.rollouts.world import World

ALL_FACTS = [
    Facts(has_stable=stable, is_promoted=promoted, abort=abort, promote_full=full, is_fast=fast, has_step=step)
    for stable, promoted, abort, full, fast, step in product((False, True), repeat=6)
    if stable or not promoted  # a revision cannot be promoted while none is
]


@pytest.mark.parametrize("facts", ALL_FACTS, ids=str)
def test_exactly_one_mode_applies(facts: Facts) -> None:
    assert sum(applies(rule, facts) for rule in MODES) == 1


def test_every_mode_is_reached() -> None:
    assert {rule_for(facts).mode for facts in ALL_FACTS} == set(Mode)


def test_abort_is_stronger_than_promotion() -> None:
    facts = Facts(has_stable=True, is_promoted=False, abort=True, promote_full=True, is_fast=True, has_step=True)
    assert rule_for(facts).mode is Mode.ABORTED


# --- whatever is read and seen ---------------------------------------------------------------------------------------

Case = tuple[RolloutSpec, RolloutStatus, Observation]


@st.composite
def cases(draw: st.DrawFn) -> Case:
    rollout = spec_of(draw(spec_contents()))
    stored = read(draw(status_contents(rollout, junk=draw(st.booleans()))))
    return rollout, stored, draw(observations(rollout))


def checked(case: Case) -> Decision[RolloutStatus, Action]:
    return decide(*case, START)


THOROUGH = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


@THOROUGH
@given(cases())
def test_any_case_is_decided_and_always_alike(case: Case) -> None:
    first = checked(case)
    assert first == checked(case)
    assert read(render(first.status)).step_index == first.status.step_index


@THOROUGH
@given(cases())
def test_something_is_waited_for_unless_all_is_well(case: Case) -> None:
    decision = checked(case)
    if decision.blocked_on is None:
        assert decision.status.phase == "Healthy"
        assert not decision.actions
    else:
        assert decision.blocked_on.what
        assert decision.blocked_on.reason


@THOROUGH
@given(cases())
def test_it_wakes_in_the_future(case: Case) -> None:
    decision = checked(case)
    assert decision.wake_at is None or decision.wake_at > START


@THOROUGH
@given(cases())
def test_weights_add_up_and_rise_only_with_reason(case: Case) -> None:
    rollout, _, seen = case
    decision = checked(case)
    for action in decision.actions:
        if not isinstance(action, SetWeights):
            continue
        assert rollout.canary is not None
        assert action.weights.canary + action.weights.stable == action.weights.total == rollout.canary.weight_max
        assert seen.traffic is not None
        before = seen.traffic.weights.canary if seen.traffic.weights is not None else 0
        if action.weights.canary > before:
            current = next(one for one in seen.replica_sets if one.metadata.labels[HASH_LABEL] == pod_hash(2))
            assert current.status.available_replicas > 0
            assert not seen.traffic.blocked
            service = seen.services["cart-canary"]
            assert service.spec.selector.get(HASH_LABEL) == pod_hash(2)


@THOROUGH
@given(cases())
def test_an_aborted_rollout_sends_nothing_to_the_canary(case: Case) -> None:
    decision = checked(case)
    if not decision.status.abort:
        return
    weights = [action.weights.canary for action in decision.actions if isinstance(action, SetWeights)]
    assert weights in ([], [0])
    if weights and case[2].traffic is not None and case[2].traffic.weights is not None:
        assert isinstance(decision.actions[0], SetWeights), "and before anything else"


@THOROUGH
@given(cases())
def test_pods_that_carry_traffic_are_not_taken_away(case: Case) -> None:
    rollout, _, seen = case
    decision = checked(case)
    if rollout.canary is None or not rollout.canary.is_routed or rollout.replicas_wanted == 0:
        return
    selected = {one.spec.selector.get(HASH_LABEL) for one in seen.services.values()}
    by_name = {one.metadata.name: one for one in seen.replica_sets}
    for action in decision.actions:
        if isinstance(action, PatchReplicaSet) and action.replicas == 0:
            found = by_name[action.target.name]
            is_current = found.metadata.labels[HASH_LABEL] == decision.status.pod_hash
            assert is_current or found.metadata.labels[HASH_LABEL] not in selected
            assert found.metadata.labels[HASH_LABEL] != decision.status.stable_hash


@THOROUGH
@given(cases())
def test_a_manual_pause_stops_everything_but_an_abort(case: Case) -> None:
    rollout, _, seen = case
    decision = checked(case)
    if not rollout.paused or decision.status.abort or decision.status.phase == "Degraded":
        return
    for action in decision.actions:
        assert not isinstance(action, PatchReplicaSet | SwitchService | EvictPod)
        if isinstance(action, SetWeights):
            assert seen.traffic is not None and seen.traffic.weights is not None
            assert action.weights.canary < seen.traffic.weights.canary
        if isinstance(action, CreateReplicaSet):
            assert action.replicas == 0


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_from_any_state_it_comes_to_rest(data: st.DataObject) -> None:
    """Whatever the status says and wherever pods and weights are: what is decided ends, and is not asked for again."""
    content = data.draw(spec_contents())
    rollout = spec_of(content)
    found = World(content=content)
    found.status = data.draw(status_contents(rollout, junk=True))
    for one in data.draw(st.lists(st.sampled_from([1, 2, 3]), unique=True)):
        replicas = data.draw(st.integers(0, 6))
        stored = replica_set(one, replicas=replicas, age=timedelta(minutes=one))
        found.replica_sets[stored.metadata.name] = stored
    found.verdicts["cart-"] = data.draw(st.sampled_from(["Successful", "Failed", "Inconclusive"]))
    found.run(seconds=3600)
    before = len(found.writes)
    found.now += timedelta(hours=1)
    found.run(seconds=3600)
    assert len(found.writes) - before <= 3, "at most the deadline is still to come"


def test_it_says_nothing_of_a_rollout_that_is_being_deleted() -> None:
    rollout = spec({"setWeight": 20})
    stored = status(rollout)
    seen = observation(replica_set(1))
    metadata = replace(seen.metadata, deletion_timestamp=START)
    decision = decide(rollout, stored, observation(replica_set(1), metadata=metadata), START)
    assert decision.actions == ()
    assert decision.status == stored
    assert decision.blocked_on is not None


@pytest.mark.parametrize("raw", [b"null", b"[]", b'"x"', b"{", b"\xff", b"1"])
def test_a_status_that_is_none_is_a_new_one(raw: bytes) -> None:
    assert parse(raw) == RolloutStatus()

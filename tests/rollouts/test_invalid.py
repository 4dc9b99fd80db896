"""A spec that cannot work: it is said once, and nothing moves but what an abort asks for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fairlead.core.conditions import find
from fairlead.core.errors import SpecError
from fairlead.core.plans import Plan
from fairlead.core.traffic import Weights
from fairlead.rollouts._invalid import LOOK_AGAIN, reference_problem, refuse, understand
from fairlead.rollouts.actions import SetWeights
from fairlead.rollouts.machine import decide
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import RolloutStatus
from fairlead.testing.builders import START, replica_set, rollout_metadata, service, services, spec_content, traffic
from tests.rollouts.situations import routed

ANALYSIS = {"analysis": {"templates": [{"templateName": "t"}]}}


def test_a_good_spec_is_understood() -> None:
    assert isinstance(understand(msgspec.json.encode(spec_content()), name="cart"), RolloutSpec)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        pytest.param(b'{"replicas": "three"}', "spec.replicas", id="wrong-type"),
        pytest.param(b"[]", "spec", id="no-object"),
        pytest.param(msgspec.json.encode(spec_content({"setWeight": 120})), "between 0 and 100", id="out-of-range"),
        pytest.param(
            msgspec.json.encode(spec_content({"experiment": {"templates": [{"name": "a", "specRef": "canary"}]}})),
            "experiment",
            id="not-carried-out-yet",
        ),
    ],
)
def test_what_is_wrong_is_named(raw: bytes, text: str) -> None:
    found = understand(raw, name="cart")
    assert isinstance(found, SpecError)
    assert text in str(found)


PROBLEM = SpecError("Invalid value: 120: too much", path="spec.strategy.steps[0].setWeight")


def test_the_outcome() -> None:
    decision = decide(PROBLEM, RolloutStatus(), Observation(metadata=rollout_metadata(generation=7)), START)
    found = decision.status
    text = 'The Rollout "cart" is invalid: spec.strategy.steps[0].setWeight: Invalid value: 120: too much'
    condition = find(found.conditions, "InvalidSpec")
    assert condition is not None
    assert (condition.status, condition.reason, condition.message) == ("True", "InvalidSpec", text)
    assert (found.phase, found.message) == ("Degraded", f"InvalidSpec: {text}")
    assert found.observed_generation == "7"
    assert decision.actions == ()
    assert decision.wake_at == START + LOOK_AGAIN
    assert decision.blocked_on is not None


def test_it_is_said_once_and_anew_when_it_is_something_else() -> None:
    """T41."""
    seen = Observation(metadata=rollout_metadata())
    first = refuse(RolloutStatus(), seen, PROBLEM, START)
    assert refuse(first, seen, PROBLEM, START + timedelta(hours=1)) == first
    other = refuse(first, seen, SpecError("another"), START + timedelta(hours=1))
    condition = find(other.conditions, "InvalidSpec")
    assert condition is not None
    assert condition.message.endswith("another")
    assert condition.last_update_time == START + timedelta(hours=1)


@pytest.mark.parametrize(
    ("seen", "text"),
    [
        pytest.param({"services": {}}, 'services "cart-stable" not found', id="service-missing"),
        pytest.param(
            {"services": {**services(), "cart-stable": service("cart-stable", managed=False)}}, None, id="unmanaged"
        ),
        pytest.param(
            {"plans": {0: Plan(error="AnalysisTemplate 't' not found", field="templates", value="t")}},
            "spec.strategy.canary.steps[0].analysis.templates: Invalid value: \"t\": AnalysisTemplate 't' not found",
            id="template-missing",
        ),
        pytest.param({"plans": {}}, None, id="not-planned"),
        pytest.param(
            {"router_problems": (SpecError("Required value", path="service"),)}, "service: Required", id="router"
        ),
    ],
)
def test_references(seen: dict[str, Any], text: str | None) -> None:
    case = routed(ANALYSIS, seen=seen)
    found = reference_problem(case.situation.spec, case.situation.seen)
    if text is None:
        assert found is None
    else:
        assert found is not None
        assert text in str(found)


def test_a_service_of_another_rollout_is_not_stolen() -> None:
    """T6."""
    other = service("cart-stable", 1)
    other.metadata.annotations["argo-rollouts.argoproj.io/managed-by-rollouts"] = "basket"
    case = routed(ANALYSIS, seen={"services": {**services(), "cart-stable": other}})
    assert "is managed by another Rollout" in str(reference_problem(case.situation.spec, case.situation.seen))


@pytest.mark.parametrize(("abort", "expected"), [(True, [Weights.of_canary(0)]), (False, [])])
def test_an_abort_takes_the_weight_away_nevertheless(abort: bool, expected: list[Weights]) -> None:
    fields: dict[str, Any] = {"abort": True} if abort else {}
    case = routed(
        {"setWeight": 20},
        canary=replica_set(2),
        seen={"traffic": traffic(20), "router_problems": (SpecError("x"),)},
        **fields,
    )
    decision = decide(case.situation.spec, case.status, case.situation.seen, START)
    assert [action.weights for action in decision.actions if isinstance(action, SetWeights)] == expected
    assert decision.status.phase == "Degraded"

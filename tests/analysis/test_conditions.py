"""What one measurement comes to: the truth table of conditions, and no success without data."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from fairlead.analysis._conditions import NO_DATA, judge
from fairlead.analysis._expressions import ErrorKind, ExpressionError, Value, evaluate
from fairlead.analysis.status import Phase

PHASES = {"S": Phase.SUCCESSFUL, "F": Phase.FAILED, "I": Phase.INCONCLUSIVE, "E": Phase.ERROR}
GROUPS = json.loads(Path(__file__).with_name("truth_table.json").read_text())


def _float(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else float(value.replace("Inf", "inf"))


def value(kind: str, data: Any) -> Value:
    """Return the result that a group of the table stands for."""
    match kind:
        case "float":
            return Value.number(_float(data))
        case "floats":
            return Value.floats([_float(item) for item in data])
        case "nil":
            return Value.nil()
        case "json":
            return Value.json(data)
        case "records":
            return Value.records([float(item) if name == "float" else item for name, item in data])
        case _:
            assert kind == "cloudwatch"
            return Value.cloudwatch(data)


CASES = [
    pytest.param(
        group["type"],
        group["value"],
        *[*case, "", ""][:5],
        id=f"{group['type']}-{json.dumps(group['value'])[:20]}-{case[0]}-{case[1]}",
    )
    for group in GROUPS
    for case in group["cases"]
]


def test_the_table_is_whole() -> None:
    assert len(CASES) == 161


@pytest.mark.parametrize(("kind", "data", "success", "failure", "phase", "error", "text"), CASES)
def test_truth_table(kind: str, data: Any, success: str, failure: str, phase: str, error: str, text: str) -> None:
    result = value(kind, data)
    found, message = judge(success, failure, result)
    assert found is PHASES[phase], message
    if phase != "E":
        assert message == ""
        return
    sort, _, where = error.partition("@")
    name, condition = ("failureCondition", failure) if where else ("successCondition", success)
    prefix = f'could not evaluate {name} "{condition}": '
    assert message.startswith(prefix)
    inner = message.removeprefix(prefix)
    if sort == "empty":
        assert inner.startswith(f"{NO_DATA} (")  # and the real cause behind it
    else:
        assert inner == text
        with pytest.raises(ExpressionError) as caught:
            evaluate(condition, result)
        assert caught.value.kind == ErrorKind(sort)


@pytest.mark.parametrize(
    ("success", "failure", "result", "phase"),
    [
        pytest.param("", "", Value.number(0.5), Phase.SUCCESSFUL, id="no-conditions"),
        pytest.param("", "", Value.nil(), Phase.INCONCLUSIVE, id="no-conditions-nil"),
        pytest.param("", "", Value.floats([]), Phase.INCONCLUSIVE, id="no-conditions-empty"),
        pytest.param("", "", Value.text(""), Phase.INCONCLUSIVE, id="no-conditions-empty-text"),
        pytest.param("", "", Value.number(math.nan), Phase.INCONCLUSIVE, id="no-conditions-nan"),
        pytest.param("", "", Value.floats([1, math.inf]), Phase.INCONCLUSIVE, id="no-conditions-infinity"),
        pytest.param("", "result[0] > 0.1", Value.floats([math.nan]), Phase.INCONCLUSIVE, id="failure-only-nan"),
        pytest.param("", "result < 0.9", Value.number(math.inf), Phase.INCONCLUSIVE, id="failure-only-infinity"),
        pytest.param("", "any(result, # > 1)", Value.floats([]), Phase.INCONCLUSIVE, id="failure-only-empty"),
        pytest.param("", "any(result, # > 1)", Value.floats([0.5]), Phase.SUCCESSFUL, id="failure-only-data"),
        pytest.param(
            "", "len(result) > 0 && result[0] > 1", Value.floats([]), Phase.SUCCESSFUL, id="failure-speaks-of-absence"
        ),
        pytest.param(
            "", "!isNaN(result) && result > 1", Value.number(math.nan), Phase.SUCCESSFUL, id="failure-speaks-of-nan"
        ),
        pytest.param("result[0] > 0", "", Value.floats([]), Phase.ERROR, id="success-on-nothing"),
    ],
)
def test_a_missing_metric_is_no_success(success: str, failure: str, result: Value, phase: Phase) -> None:
    found, message = judge(success, failure, result)
    assert found is phase
    assert bool(message) is (phase in (Phase.INCONCLUSIVE, Phase.ERROR))


@pytest.mark.parametrize(
    ("success", "result", "phase"),
    [
        pytest.param("all(result, # < 5)", Value.floats([]), Phase.INCONCLUSIVE, id="true-of-nothing"),
        pytest.param("all(result, # < 5)", Value.floats([1]), Phase.SUCCESSFUL, id="data"),
        pytest.param("none(result, # >= 5)", Value.floats([math.nan]), Phase.INCONCLUSIVE, id="nan"),
        pytest.param("len(result) == 0 || result[0] < 5", Value.floats([]), Phase.SUCCESSFUL, id="speaks-of-absence"),
        pytest.param("isNaN(result) || result > 5", Value.number(math.nan), Phase.SUCCESSFUL, id="speaks-of-nan"),
        pytest.param("result > 5", Value.number(math.inf), Phase.INCONCLUSIVE, id="infinity"),
        pytest.param("result < 5", Value.number(math.inf), Phase.FAILED, id="failed-stays-failed"),
    ],
)
def test_strict_judgement_wants_data_or_words_about_its_absence(success: str, result: Value, phase: Phase) -> None:
    assert judge(success, "", result, strict=True)[0] is phase


def test_the_failure_condition_is_not_looked_at_after_an_error() -> None:
    phase, message = judge("bogus", "also_bogus", Value.number(1))
    assert (phase, message) == (Phase.ERROR, 'could not evaluate successCondition "bogus": unknown name bogus')

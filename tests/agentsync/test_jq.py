"""Path expressions of ignore rules: what they name, what they make of a value, and that none of them runs away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync._jq import JqError, JqFailure, compile_expression
from fairlead.core.errors import SpecError

ROWS = [json.loads(line) for line in (Path(__file__).parent / "data" / "jq.jsonl").read_text().splitlines()]


def deployment() -> dict[str, Any]:
    return {
        "metadata": {"annotations": {"a.b/c": "1", "d": "2"}},
        "spec": {
            "replicas": 3,
            "template": {
                "spec": {
                    "containers": [
                        {"name": "web", "image": "web:1", "env": [{"name": "A", "value": "1"}, {"name": "B"}]},
                        {"name": "istio-proxy", "image": "proxy:1"},
                    ]
                }
            },
        },
    }


@pytest.mark.parametrize("row", ROWS, ids=[row["expression"] for row in ROWS])
def test_an_expression_makes_of_a_value_what_jq_makes_of_it(row: dict[str, Any]) -> None:
    expression = compile_expression(row["expression"])
    try:
        found: Any = list(expression.results(row["input"]))
    except JqFailure:
        found = None
    assert found == row["results"]
    if row["deleted"] is not None:
        assert expression.delete(row["input"]) == row["deleted"]


@pytest.mark.parametrize(
    ("expression", "gone"),
    [
        pytest.param(".spec.replicas", "spec.replicas", id="field"),
        pytest.param('.metadata.annotations["a.b/c"]', "metadata.annotations.a.b/c", id="quoted-field"),
        pytest.param('.metadata.annotations."a.b/c"', "metadata.annotations.a.b/c", id="quoted-field-after-a-dot"),
    ],
)
def test_a_field(expression: str, gone: str) -> None:
    before = deployment()
    after = compile_expression(expression).delete(before)
    assert before == deployment()  # not changed
    section, _, name = gone.partition(".")
    holder = after[section]["annotations"] if section == "metadata" else after[section]
    assert name.removeprefix("annotations.") not in holder
    assert len(json.dumps(after)) < len(json.dumps(before))


def test_what_loses_nothing_stays_the_very_same_object() -> None:
    before = deployment()
    assert compile_expression(".spec.nothing.here").delete(before) is before
    after = compile_expression(".spec.replicas").delete(before)
    assert after["metadata"] is before["metadata"]
    assert after["spec"]["template"] is before["spec"]["template"]


@pytest.mark.parametrize(
    "expression", [".spec.replicas[]", ".a[].b", '.spec | select(.replicas | test("x"))', "1", "error"]
)
def test_an_expression_that_fails_on_this_object_names_nothing(expression: str) -> None:
    before = deployment()
    assert compile_expression(expression).delete(before) is before


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        pytest.param(".a |", "jq: unexpected end of the expression", id="end"),
        pytest.param(".a[", "jq: unexpected end of the expression", id="bracket"),
        pytest.param('"abc', "jq: a string is not closed", id="string"),
        pytest.param(r'"\q"', "jq: invalid escape in a string at character 2", id="escape"),
        pytest.param(".a }", "jq: unexpected } at character 4", id="brace"),
        pytest.param("spec.replicas", "jq: spec/0 is not defined", id="without-a-dot"),
        pytest.param("select()", "jq: unexpected ) at character 8", id="no-argument"),
        pytest.param("selct(.a)", "jq: selct/1 is not defined", id="misspelled"),
        pytest.param("$x", "jq: $x is not defined", id="variable"),
        pytest.param("break $x", "jq: label $x is not defined", id="label"),
        pytest.param('import "a" as a; .', "jq: import is not supported", id="import"),
        pytest.param("input", "jq: input/0 is not defined", id="input"),
        pytest.param("env", "jq: env/0 is not defined", id="environment"),
        pytest.param("$ENV", "jq: $ENV is not defined", id="environment-variable"),
        pytest.param("now", "jq: now/0 is not defined", id="time"),
        pytest.param(
            ". as [$a] | $a", "jq: destructuring is not supported: bind a name and index it", id="destructuring"
        ),
        pytest.param("@csv", "jq: format @csv is not supported", id="format"),
        pytest.param("(" * 5000 + "." + ")" * 5000, "jq: nested too deeply", id="nested"),
        pytest.param("-" * 9000 + "1", "jq: nested too deeply", id="negated"),
        pytest.param("." + "?" * 9000, "jq: nested too deeply", id="tried"),
        pytest.param("." * 20_000, "jq: an expression may have at most 16384 characters", id="long"),
    ],
)
def test_what_is_no_expression_is_refused_before_it_is_used(expression: str, message: str) -> None:
    with pytest.raises(JqError) as caught:
        compile_expression(expression)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "expression",
    [
        "def f: f; f",
        "def f: ., f; f",
        "[range(1e9)]",
        "range(0; 1; 0.0000001)",
        "repeat(.)",
        '"x" * 1e9',
        "last(repeat(1))",
        "reduce range(1e9) as $x (0; . + $x)",
        "[limit(1e9; repeat(1))]",
        'reduce range(64) as $x ("x"; . + .)',
        "reduce range(64) as $x ([1]; . + .)",
        "until(false; .)",
        "[range(10000)] as $a | [range(10000)] | . - $a",
        "[range(9000)] as $a | [range(9000) | $a == $a] | length",
        "[range(9000)] as $a | [range(9000) | $a | tojson] | length",
        "[range(9000)] as $a | [range(9000) | $a + [.]] | length",
        "reduce range(9000) as $i ([]; .[90000 - $i] = 1)",
        "[range(9000)] | del(.[])",
        '[range(9000) | "a"] | add | . as $a | [range(9000) | $a | test("^(a|b)*c")]',
        "[range(9000)] as $a | [$a, $a] | contains([$a])",
        "[range(50)] | [.[] as $a | .[] as $b | .[] as $c | .[] as $d | 1]",
    ],
)
def test_an_expression_that_would_never_end_is_stopped(expression: str) -> None:
    compiled = compile_expression(expression)
    with pytest.raises(SpecError, match="takes too much work and was stopped"):
        list(compiled.results(deployment()))


def test_a_rule_that_would_never_end_is_an_error_and_not_left_out() -> None:
    # Left out, what it meant to ignore would be reverted.
    with pytest.raises(SpecError, match=r"jq: the expression .* takes too much work and was stopped"):
        compile_expression(".spec | select(last(repeat(1)) == 2)").delete(deployment())


def test_a_regular_expression_that_would_backtrack_does_not() -> None:
    found = {"a": "a" * 5000 + "!"}
    assert list(compile_expression('.a | test("^(a+)+$")').results(found)) == [False]

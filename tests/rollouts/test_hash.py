"""Pod template hashes: the published table, what Go does to a template, and Go itself as the oracle."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest

from fairlead.rollouts._hash import fnv1a_32, steps_hash, template_hash
from fairlead.rollouts._template import Form, html_escaped, written
from fairlead.rollouts.spec import parse
from tests.rollouts.templates import TABLE, value_of

EMPTY = '{"metadata":{},"spec":{"containers":null}}'
SCALEDOWN = (
    '{"metadata":{"labels":{"app":"canary-scaledowndelay"}},"spec":{"containers":[{"name":"canary-scaledowndelay",'
    '"image":"nginx:1.19-alpine","ports":[{"name":"http","containerPort":80,"protocol":"TCP"}],'
    '"resources":{"requests":{"cpu":"5m","memory":"16Mi"}}}]}}'
)
DYNAMIC = (
    '{"metadata":{"labels":{"app":"dynamic-stable-scale"}},"spec":{"containers":[{"name":"dynamic-stable-scale",'
    '"image":"nginx:1.19-alpine","ports":[{"name":"http","containerPort":80,"protocol":"TCP"}],'
    '"resources":{"requests":{"cpu":"5m","memory":"16Mi"}}}],'
    '"readinessGates":[{"conditionType":"argoproj.io/e2e-readiness"}]}}'
)
ABORT = (
    '{"metadata":{"labels":{"app":"abort-retry-promote"}},"spec":{"containers":[{"name":"abort-retry-promote",'
    '"image":"nginx:1.19-alpine","resources":{"requests":{"cpu":"1m","memory":"16Mi"}}}]}}'
)


@pytest.mark.parametrize(
    ("template", "collision_count", "v1_9", "v1_8"),
    [
        pytest.param(EMPTY, None, "658c46c486", "76bbb58f74", id="empty"),
        pytest.param(EMPTY, 1, "6746d5bbc", "688c48b575", id="empty-after-one-collision"),
        pytest.param(SCALEDOWN, None, "674d8cf959", "66597877b7", id="ports-and-resources"),
        pytest.param(DYNAMIC, None, "6b56c8cdb4", "868d98995b", id="readiness-gate"),
        pytest.param(ABORT, None, "67589bccf7", "7fd9b5545c", id="resources-only"),
    ],
)
def test_hashes_are_those_of_argo_rollouts(template: str, collision_count: int | None, v1_9: str, v1_8: str) -> None:
    raw = template.encode()
    assert written(raw) == raw  # these are in Go's form already
    assert template_hash(raw, collision_count=collision_count) == v1_9
    assert template_hash(raw, collision_count=collision_count, form=Form.V1_8) == v1_8


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, EMPTY, id="nothing"),
        pytest.param(None, EMPTY, id="null"),
        pytest.param(["odd"], EMPTY, id="no-object"),
        pytest.param({"spec": {"containers": []}}, '{"metadata":{},"spec":{"containers":[]}}', id="empty-list-stays"),
        pytest.param({"spec": {"zone": 1, "containers": None}, "kind": "x"}, EMPTY, id="unknown-fields-are-dropped"),
        pytest.param({"Spec": {"hostNetwork": True}}, EMPTY, id="wrong-case-is-unknown"),
        pytest.param(
            {"metadata": {"labels": {"b": "<&>\u2028", "a": None}, "name": "n"}},
            '{"metadata":{"name":"n","labels":{"a":"","b":"\\u003c\\u0026\\u003e\\u2028"}},"spec":{"containers":null}}',
            id="sorted-maps-html-escapes-null-values",
        ),
        pytest.param(
            {"metadata": {"creationTimestamp": "2026-01-02T03:04:05.678+01:00"}},
            '{"metadata":{"creationTimestamp":"2026-01-02T02:04:05Z"},"spec":{"containers":null}}',
            id="times-are-utc-seconds",
        ),
        pytest.param(
            {"spec": {"containers": [{"name": "a", "env": [{"name": "x", "valueFrom": {"resourceFieldRef": {}}}]}]}},
            '{"metadata":{},"spec":{"containers":[{"name":"a","env":[{"name":"x","valueFrom":{"resourceFieldRef":'
            '{"resource":"","divisor":"0"}}}],"resources":{}}]}}',
            id="zero-quantity-is-written",
        ),
        pytest.param(
            {"spec": {"containers": [{"name": "a", "livenessProbe": {"httpGet": {"path": ""}}, "tty": False}]}},
            '{"metadata":{},"spec":{"containers":[{"name":"a","resources":{},"livenessProbe":{"httpGet":{"port":0}}}]}}',
            id="empty-values-are-left-out-but-a-port",
        ),
        pytest.param(
            {"spec": {"terminationGracePeriodSeconds": 0, "priority": 3.0, "hostNetwork": False, "hostPID": None}},
            '{"metadata":{},"spec":{"containers":null,"terminationGracePeriodSeconds":0,"priority":3}}',
            id="a-pointer-to-zero-stays",
        ),
    ],
)
def test_a_template_is_written_as_go_writes_it(given: Any, expected: str) -> None:
    assert written(json.dumps(given).encode()).decode() == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param(
            {"name": "a", "resources": {"limits": {"memory": "invalid", "cpu": "1"}}, "tty": True},
            {"name": "a", "resources": {"limits": {"cpu": "1"}}, "tty": True},
            id="quantity",
        ),
        pytest.param({"name": "a", "ports": "http"}, {"name": "a", "resources": {}}, id="text-for-a-list"),
        pytest.param({"name": 5, "stdin": "yes"}, {"name": "", "resources": {}}, id="number-for-text"),
        pytest.param(
            {"name": "a", "ports": [{"containerPort": "80"}, 7]},
            {"name": "a", "ports": [{"containerPort": 0}], "resources": {}},
            id="inside-a-list",
        ),
        pytest.param({"name": "a", "resources": []}, {"name": "a", "resources": {}}, id="list-for-an-object"),
        pytest.param(
            {"name": "a", "resources": {"limits": {"cpu": "1e1000000000"}}},
            {"name": "a", "resources": {}},
            id="absurd-exponent",
        ),
    ],
)
def test_what_cannot_be_decoded_is_dropped_and_the_rest_stands(given: Any, expected: Any) -> None:
    template = written(json.dumps({"spec": {"containers": [given]}}).encode())
    assert json.loads(template)["spec"]["containers"] == [expected]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b'{"metadata":{"labels":{"a":"\xff"}}}', id="broken-utf-8"),
        pytest.param(b'{"metadata":{"labels":{"a":"\\ud800"}}}', id="lone-surrogate"),
    ],
)
def test_broken_text_becomes_the_replacement_character(raw: bytes) -> None:
    assert json.loads(written(raw))["metadata"]["labels"] == {"a": "\ufffd"}


def test_deep_nesting_and_garbage_are_an_empty_template() -> None:
    assert written(b'{"spec":' + b"[" * 100_000).decode() == EMPTY
    assert written(b"{").decode() == EMPTY


def test_what_go_wrote_is_written_unchanged() -> None:
    draw = random.Random(20_260_804)
    for _ in range(100):
        once = written(json.dumps(value_of(draw)).encode())
        assert written(once) == once


@pytest.mark.parametrize(
    ("data", "checksum"), [(b"", 0x811C9DC5), (b"a", 0xE40C292C), (b"foobar", 0xBF9CF968)], ids=["empty", "a", "foobar"]
)
def test_the_checksum_is_fnv1a(data: bytes, checksum: int) -> None:
    assert fnv1a_32(data) == checksum  # vectors of the FNV draft


def steps_of(*steps: dict[str, Any]) -> tuple[Any, ...]:
    return parse(json.dumps({"strategy": {"canary": {"steps": list(steps)}}}).encode()).steps


def test_steps_are_hashed_in_the_order_of_the_go_types() -> None:
    analysis = {"args": [{"value": "<", "name": "a"}], "templates": [{"clusterScope": True}], "zone": 1}
    steps = steps_of({"setWeight": 0}, {"pause": {"duration": "1h"}}, {"pause": {}}, {"analysis": analysis})
    text = html_escaped(msgspec.json.encode(steps, order="deterministic")).decode()
    assert text == (
        '[{"setWeight":0},{"pause":{"duration":"1h"}},{"pause":{}},{"analysis":{"templates":[{"templateName":"",'
        '"clusterScope":true}],"args":[{"name":"a","value":"\\u003c"}],"analysisRunMetadata":{}}}]'
    )


def test_a_null_and_an_unknown_field_do_not_change_the_hash_of_the_steps() -> None:
    plain = steps_hash(steps_of({"setWeight": 20}, {"pause": {}}))
    assert plain == steps_hash(steps_of({"setWeight": 20, "pause": None}, {"pause": {"until": "noon"}}))
    assert plain != steps_hash(steps_of({"pause": {}}, {"setWeight": 20}))
    assert steps_hash(()) == steps_hash(steps_of()) != plain


# --- Go as the oracle -----------------------------------------------------------------------------------------------

ORACLE = Path(__file__).parent.parent / "oracle" / "podtemplate"


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("go") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("go is not installed")
        pytest.skip("go is not installed")
    program = tmp_path_factory.mktemp("oracle") / "podtemplate"
    built = subprocess.run(
        ["go", "build", "-o", str(program), "."],
        cwd=ORACLE,
        env=os.environ | {"GOFLAGS": "-mod=mod"},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return program


def ask(program: Path, mode: str, lines: list[Any]) -> list[dict[str, str]]:
    text = "\n".join(json.dumps(line) for line in lines)
    done = subprocess.run([program, mode], input=text, capture_output=True, text=True, timeout=120, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.real
@pytest.mark.timeout(900)  # the first build downloads and compiles
def test_generated_templates_are_hashed_as_go_hashes_them(oracle: Path) -> None:
    draw = random.Random(20_260_801)
    cases = [
        {"template": value_of(draw), "collisionCount": draw.choice([None, None, 0, 1, 70_000])} for _ in range(400)
    ]
    differing = []
    for case, answer in zip(cases, ask(oracle, "hash", cases), strict=True):
        assert not answer.get("error"), answer
        raw = json.dumps(case["template"]).encode()
        if written(raw).decode() != answer["json"]:
            differing.append((case, answer["json"], written(raw).decode()))
        elif template_hash(raw, collision_count=case["collisionCount"]) != answer["hash"]:
            differing.append((case, answer["hash"], "hash"))
    assert differing == []


@pytest.mark.real
@pytest.mark.timeout(900)  # the first build downloads and compiles
def test_the_committed_table_is_what_reflection_over_the_go_types_gives(oracle: Path) -> None:
    printed = subprocess.run([oracle, "table"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert json.loads(printed) == {name: [list(field) for field in fields] for name, fields in TABLE.items()}

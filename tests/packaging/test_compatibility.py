"""Every field of a Rollout is honoured, refused, or listed as without effect; and what is refused really is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fairlead.controller.compatibility import DOCUMENT, main, render
from fairlead.controller.crds import definitions
from fairlead.core.schema import leaves
from fairlead.rollouts._compatibility import TABLE, Entry, Support, ignored, unknown_routers, unsupported
from fairlead.rollouts._validation import validate
from fairlead.rollouts.spec import RolloutSpec, parse

SCHEMA: dict[str, Any] = definitions()["rollout-crd.yaml"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
LEAVES = list(leaves(SCHEMA["properties"]["spec"], "spec"))
REFUSED = [entry for entry in TABLE if entry.support is Support.REFUSED]
IGNORED = [entry for entry in TABLE if entry.support is Support.IGNORED]


def ids(entries: list[Entry]) -> list[str]:
    return [entry.path for entry in entries]


@pytest.mark.parametrize("leaf", LEAVES)
def test_each_field_of_the_schema_has_exactly_one_entry(leaf: str) -> None:
    assert len([entry for entry in TABLE if entry.covers(leaf)]) == 1


@pytest.mark.parametrize("entry", TABLE, ids=ids(list(TABLE)))
def test_no_entry_is_stale(entry: Entry) -> None:
    assert any(entry.covers(leaf) for leaf in LEAVES)


def test_entries_without_effect_say_why() -> None:
    assert [entry.path for entry in TABLE if entry.support is not Support.HONOURED and not entry.note] == []


def sample(schema: dict[str, Any]) -> Any:
    """Return a value with every field of a schema."""
    if "items" in schema:
        return [sample(schema["items"])]
    if "properties" in schema:
        return {name: sample(inner) for name, inner in schema["properties"].items()}
    if isinstance(schema.get("additionalProperties"), dict):
        return {"a": sample(schema["additionalProperties"])}
    if schema.get("x-kubernetes-int-or-string"):
        return "5"
    if schema.get("format") == "date-time":
        return "2026-08-01T12:00:00Z"
    return {"integer": 1, "boolean": True, "string": "a", "object": {}}[schema["type"]]


def schema_at(path: str) -> dict[str, Any]:
    schema = SCHEMA
    for part in path.split("."):
        schema = schema["properties"][part.removesuffix("[]")]
        schema = schema["items"] if part.endswith("[]") else schema
    return schema


def spec_with(path: str) -> RolloutSpec:
    """Return a Rollout that is good but for one field, in which everything is set."""
    pod = {"containers": [{"name": "web", "image": "web:1"}]}
    labels = {"app": "web"}
    spec: dict[str, Any] = {"selector": {"matchLabels": labels}, "strategy": {"canary": {}}}
    if path != "spec.workloadRef":
        spec["template"] = {"metadata": {"labels": labels}, "spec": pod}
    if path.startswith("spec.strategy.blueGreen"):
        spec["strategy"] = {"blueGreen": {"activeService": "web"}}
    where: Any = {"spec": spec}
    *parents, last = path.split(".")
    for part in parents:
        where = where.setdefault(part.removesuffix("[]"), [{}] if part.endswith("[]") else {})
        where = where[0] if part.endswith("[]") else where
    where[last] = sample(schema_at(path))
    return parse(json.dumps(spec).encode())


@pytest.mark.parametrize("entry", REFUSED, ids=ids(REFUSED))
def test_what_is_refused_really_is(entry: Entry) -> None:
    root = entry.path.removesuffix(".**")
    spec = spec_with(root)
    concrete = root.replace("[]", "[0]")
    assert f"{concrete}: Forbidden: {entry.note}" in [str(error) for error in unsupported(spec)]
    assert concrete in [error.path for error in validate(spec)]
    assert "not supported yet" in entry.note


@pytest.mark.parametrize("entry", IGNORED, ids=ids(IGNORED))
def test_what_is_ignored_is_told_and_not_refused(entry: Entry) -> None:
    root = entry.path.removesuffix(".**")
    spec = spec_with(root)
    assert (root, entry.note) in ignored(spec)
    assert root not in [error.path for error in unsupported(spec)]


@pytest.mark.parametrize(
    "path", [entry.path.removesuffix(".**") for entry in TABLE if entry.support is Support.HONOURED]
)
def test_what_is_honoured_is_neither_refused_nor_ignored(path: str) -> None:
    spec = spec_with(path)
    assert unsupported(spec) == []
    assert ignored(spec) == []


def test_every_step_is_looked_at() -> None:
    steps = [{"setWeight": 5}, {"plugin": {"name": "a"}}, {"experiment": {"templates": []}}]
    spec = parse(json.dumps({"strategy": {"canary": {"steps": steps}}}).encode())
    assert [error.path for error in unsupported(spec)] == [
        "spec.strategy.canary.steps[2].experiment",
        "spec.strategy.canary.steps[1].plugin",
    ]


def test_a_router_that_is_not_installed_is_refused() -> None:
    plugins: dict[str, Any] = {"argoproj-labs/gatewayAPI": {}, "org/unknown": {}}
    spec = parse(json.dumps({"strategy": {"canary": {"trafficRouting": {"plugins": plugins}}}}).encode())
    (error,) = unknown_routers(spec, ["fairlead/waypoint", "argoproj-labs/gatewayAPI"])
    assert str(error) == (
        "spec.strategy.canary.trafficRouting.plugins[org/unknown]: Forbidden: there is no router of this name;"
        " installed: argoproj-labs/gatewayAPI, fairlead/waypoint"
    )
    assert unknown_routers(parse(b"{}"), []) == []


def test_the_committed_page_is_what_the_table_gives(capsys: pytest.CaptureFixture[str]) -> None:
    committed = Path(DOCUMENT).read_text(encoding="utf-8")
    assert committed == render(), "run: python -m fairlead.controller.compatibility --write"
    assert main([]) == 0
    assert capsys.readouterr().out == committed


def test_the_page_lists_every_field_without_effect() -> None:
    section = render().split("## Accepted, no effect yet")[1].split("\n# ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{entry.path}` | {entry.note} |" for entry in IGNORED]

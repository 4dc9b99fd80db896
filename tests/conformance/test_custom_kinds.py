"""The contract of custom kinds: their schema defaults, prunes and refuses."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Invalid
from fairlead.core.kinds import CRDS, HTTP_ROUTES
from fairlead.core.objects import ObjectKey
from tests.conformance.arena import GADGETS, WIDGETS, Arena


async def test_the_definition_says_that_it_is_served(arena: Arena) -> None:
    definition = await arena.cluster.get(CRDS, ObjectKey("", str(WIDGETS)))
    conditions = {one["type"]: one["status"] for one in definition.content["status"]["conditions"]}
    assert conditions["Established"] == conditions["NamesAccepted"] == "True"
    assert definition.content["status"]["storedVersions"] == ["v1"]
    assert definition.content["spec"]["names"]["listKind"] == "WidgetList"


async def test_defaults_reach_into_lists(arena: Arena) -> None:
    made = await arena.create(WIDGETS, "one", spec={"parts": [{"name": "a"}, {"name": "b", "count": 7}]})
    assert made.content["spec"] == {
        "replicas": 1,
        "color": "red",
        "parts": [{"name": "a", "count": 1}, {"name": "b", "count": 7}],
    }


async def test_a_null_takes_the_default(arena: Arena) -> None:
    made = await arena.create(WIDGETS, "one", spec={"color": None})
    assert made.content["spec"]["color"] == "red"


async def test_unknown_fields_are_dropped_unless_preserved(arena: Arena) -> None:
    spec = {"unknown": 1, "parts": [{"name": "a", "odd": True}], "open": {"any": {"thing": [1]}}}
    made = await arena.create(WIDGETS, "one", spec=spec, extra="gone")
    assert "unknown" not in made.content["spec"]
    assert made.content["spec"]["parts"] == [{"name": "a", "count": 1}]
    assert made.content["spec"]["open"] == {"any": {"thing": [1]}}
    assert "extra" not in made.content
    kept = await arena.create(GADGETS, "one", whatever={"a": [1, None]})
    assert kept.content["whatever"] == {"a": [1, None]}


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        pytest.param(
            {"replicas": "two"},
            [("spec.replicas", 'Invalid value: "string": spec.replicas in body must be of type integer: "string"')],
            id="wrong-type",
        ),
        pytest.param(
            {"replicas": -1},
            [("spec.replicas", "Invalid value: -1: spec.replicas in body should be greater than or equal to 0")],
            id="below-minimum",
        ),
        pytest.param(
            {"replicas": 11},
            [("spec.replicas", "Invalid value: 11: spec.replicas in body should be less than or equal to 10")],
            id="above-maximum",
        ),
        pytest.param(
            {"color": "blue"},
            [("spec.color", 'Unsupported value: "blue": supported values: "red", "green"')],
            id="enum",
        ),
        pytest.param(
            {"size": "big"},
            [("spec.size", "Invalid value: \"big\": spec.size in body should match '^[0-9]+(mm|cm)$'")],
            id="pattern",
        ),
        pytest.param(
            {"surge": True},
            [("spec.surge", 'Invalid value: "boolean": spec.surge in body must be of type integer,string: "boolean"')],
            id="int-or-string",
        ),
        pytest.param({"parts": [{}]}, [("spec.parts[0].name", "Required value")], id="required-in-a-list"),
        pytest.param(
            {"parts": [{"name": "a"}, {"name": "a"}]},
            [("spec.parts[1]", 'Duplicate value: {"name":"a"}')],
            id="duplicate-key",
        ),
        pytest.param({"tags": ["a", "a"]}, [("spec.tags[1]", 'Duplicate value: "a"')], id="duplicate-in-a-set"),
        pytest.param(
            {"parts": [{"name": name} for name in "abcde"]},
            [("spec.parts", "Too many: 5: must have at most 4 items")],
            id="too-many",
        ),
        pytest.param(
            {"settings": {"a": 1}},
            [
                (
                    "spec.settings.a",
                    'Invalid value: "integer": spec.settings.a in body must be of type string: "integer"',
                )
            ],
            id="value-of-a-map",
        ),
        pytest.param(
            {"sequence": {"a": "b"}},
            [("spec.sequence", 'Invalid value: "object": spec.sequence in body must be of type array: "object"')],
            id="object-for-a-list",
        ),
    ],
)
async def test_the_schema_refuses(arena: Arena, spec: dict[str, Any], causes: list[tuple[str, str]]) -> None:
    with pytest.raises(Invalid) as caught:
        await arena.create(WIDGETS, "one", spec=spec)
    assert caught.value.status == 422
    found = [(cause.field, cause.message) for cause in caught.value.causes]
    # A list of the wrong length or type is also reported by checks that come later: the first word counts.
    assert found[: len(causes)] == causes
    assert str(caught.value).startswith(f'Widget.{WIDGETS.group} "one" is invalid: ')
    assert await arena.is_gone(WIDGETS, "one")


async def test_several_faults_are_listed_together(arena: Arena) -> None:
    with pytest.raises(Invalid) as caught:
        await arena.create(WIDGETS, "one", spec={"replicas": -1, "color": "blue"})
    # A real server also reports that the scale subresource finds no number, and that rules were not run.
    assert {"spec.color", "spec.replicas"} <= {cause.field for cause in caught.value.causes}


@pytest.mark.parametrize("surge", [1, "25%"], ids=["integer", "string"])
async def test_int_or_string_takes_both(arena: Arena, surge: int | str) -> None:
    made = await arena.create(WIDGETS, "one", spec={"surge": surge})
    assert made.content["spec"]["surge"] == surge


async def test_an_update_is_validated_too(arena: Arena) -> None:
    await arena.create(WIDGETS, "one", spec={"frozen": "ice"})
    with pytest.raises(Invalid, match="frozen is immutable"):
        await arena.cluster.patch(WIDGETS, arena.key("one"), MergePatch({"spec": {"frozen": "snow"}}))
    status = {"status": {"replicas": "many"}}
    with pytest.raises(Invalid) as caught:
        await arena.cluster.patch(WIDGETS, arena.key("one"), MergePatch(status), subresource="status")
    assert (caught.value.causes[0].field, caught.value.causes[0].message) == (
        "status.replicas",
        'Invalid value: "string": replicas in body must be of type integer: "string"',
    )


@pytest.mark.parametrize(
    ("rules", "field"),
    [
        pytest.param(
            [{"backendRefs": [{"name": "a", "weight": 1_000_001}]}], "spec.rules[0].backendRefs[0].weight", id="weight"
        ),
        pytest.param(
            [{"backendRefs": [{"name": "a", "weight": -1}]}], "spec.rules[0].backendRefs[0].weight", id="negative"
        ),
        pytest.param([{"backendRefs": [{"weight": 1}]}], "spec.rules[0].backendRefs[0].name", id="nameless"),
        pytest.param([{"name": f"rule-{i}"} for i in range(17)], "spec.rules", id="too-many-rules"),
    ],
)
async def test_routes_are_bounded(arena: Arena, rules: list[dict[str, Any]], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        await arena.create(HTTP_ROUTES, "web", spec={"rules": rules})
    assert caught.value.causes[0].field == field

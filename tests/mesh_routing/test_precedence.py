from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.objects import Manifest, ObjectKey
from fairlead.mesh_routing._precedence import CATCH_ALL, has_catch_all, matches_of, parents_on, shadowing
from tests.mesh_routing.builders import T0, http_route, parent, read, seconds, split

APEX = ObjectKey("shop", "web")
OLD, YOUNG = T0 - seconds(60), T0 + seconds(60)


def match(**fields: Any) -> dict[str, Any]:
    return {"matches": [fields], "backendRefs": []}


HEADER = {"type": "Exact", "name": "X-QA", "value": "1"}


@pytest.mark.parametrize(
    ("other", "shadowed"),
    [
        pytest.param(http_route({}, name="user", created=OLD), True, id="older-catch-all"),
        pytest.param(http_route({}, name="user", created=YOUNG), False, id="younger-catch-all"),
        pytest.param(http_route({}, name="a", created=T0), True, id="same-age-name-first"),
        pytest.param(http_route({}, name="z", created=T0), False, id="same-age-name-last"),
        pytest.param(http_route(match(headers=[HEADER]), name="user", created=OLD), False, id="more-specific"),
        pytest.param(http_route({}, name="user", created=OLD, parents=[parent(port=None)]), False, id="another-style"),
        pytest.param(http_route({}, name="user", created=OLD, parents=[parent(port=81)]), False, id="another-port"),
        pytest.param(http_route({}, name="user", created=OLD, parents=[parent("api")]), False, id="another-service"),
        pytest.param(
            http_route({}, name="user", namespace="else", created=OLD, parents=[parent(namespace="shop")]),
            False,
            id="consumer-route",
        ),
    ],
)
def test_shadowing(other: Manifest, shadowed: bool) -> None:
    ours = read(http_route(split()))
    found = shadowing(ours, ours.rules[0], (ours, read(other)), APEX)
    assert found == ((read(other), 0) if shadowed else None)


def test_an_earlier_rule_of_our_own_route_shadows_too() -> None:
    ours = read(http_route({"backendRefs": []}, split()))
    assert shadowing(ours, ours.rules[1], (ours,), APEX) == (ours, 0)
    assert shadowing(ours, ours.rules[0], (ours,), APEX) is None


def test_equal_matches_are_equal_however_they_are_written() -> None:
    left = read(http_route(match(headers=[HEADER, {"name": "b", "value": "2"}])))
    right = read(
        http_route(
            match(
                path={"type": "PathPrefix", "value": "/"},
                headers=[{"type": "Exact", "name": "B", "value": "2"}, {"name": "x-qa", "value": "1"}],
            )
        )
    )
    assert matches_of(left, left.rules[0]) == matches_of(right, right.rules[0]) != (CATCH_ALL,)


@pytest.mark.parametrize(
    ("route", "found"),
    [
        pytest.param(http_route(split()), True, id="split"),
        pytest.param(http_route({"backendRefs": []}), True, id="no-matches-is-all"),
        pytest.param(http_route(match(headers=[HEADER])), False, id="header-only"),
        pytest.param(http_route(match(path={"type": "Exact", "value": "/"})), False, id="exact-root"),
        pytest.param(http_route(match(), kind="GRPCRoute"), True, id="grpc-empty-match"),
        pytest.param(http_route(match(method={"service": "a.B"}), kind="GRPCRoute"), False, id="grpc-service"),
    ],
)
def test_catch_all(route: Manifest, found: bool) -> None:
    assert has_catch_all((read(route),)) == found


def test_parents_on() -> None:
    route = read(http_route(parents=[parent(port=80), parent(port=None), parent("api"), {"name": "web"}]))
    assert parents_on(route, APEX) == (80, None)

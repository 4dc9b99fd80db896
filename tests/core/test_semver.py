"""Versions and constraints, as Masterminds/semver v3 reads them. Templates compare the same code with Go's answers."""

from __future__ import annotations

import pytest

from fairlead.core.semver import parse_constraint, parse_version, satisfies


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1", "1.0.0"),
        ("v1.2", "1.2.0"),
        ("1.2.3-rc.1+build", "1.2.3-rc.1+build"),
        ("01.2.3", "1.2.3"),
    ],
)
def test_versions(text: str, wanted: str) -> None:
    assert str(parse_version(text)) == wanted


@pytest.mark.parametrize(
    "text", ["", "main", "1.2.3.4", "1.x", "v", "1.2.3-", "1.2.3-01", "-1", "1 2", "9" * 30, "1" * 300]
)
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match=r"invalid semantic version|segment starts with 0"):
        parse_version(text)


def test_the_order() -> None:
    ordered = [
        "1.0.0-1",
        "1.0.0-2",
        "1.0.0-10",
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-beta",
        "1.0.0",
        "1.0.1",
        "1.10.0",
        "2.0.0",
    ]
    versions = [parse_version(text) for text in ordered]
    for at, one in enumerate(versions):
        assert [one.compare(other) for other in versions] == [(at > n) - (at < n) for n in range(len(versions))]
    assert parse_version("1.0.0+a").compare(parse_version("1.0.0+b")) == 0


CONSTRAINTS: list[tuple[str, list[str], list[str]]] = [
    ("*", ["0.0.1", "9.9.9"], ["1.0.0-rc.1"]),
    ("1.2.x", ["1.2.0", "1.2.99"], ["1.3.0", "1.1.9", "1.2.3-rc.1"]),
    ("1.X", ["1.0.0", "1.9.0"], ["2.0.0"]),
    ("^1", ["1.0.0", "1.9.9"], ["2.0.0", "0.9.0"]),
    ("^1.2.3", ["1.2.3", "1.9.0"], ["1.2.2", "2.0.0"]),
    ("^0.2.3", ["0.2.3", "0.2.9"], ["0.3.0", "0.2.2"]),
    ("^0.0.3", ["0.0.3"], ["0.0.4", "0.1.0"]),
    ("^0", ["0.0.0", "0.9.9"], ["1.0.0"]),
    ("~1.4", ["1.4.0", "1.4.9"], ["1.5.0"]),
    ("~1.2.3", ["1.2.3", "1.2.9"], ["1.2.2", "1.3.0"]),
    ("~1", ["1.0.0", "1.9.9"], ["2.0.0"]),
    (">=1.0 <2", ["1.0.0", "1.9.9"], ["2.0.0", "0.9.9"]),
    (">=1.0, <2", ["1.0.0"], ["2.0.0"]),
    (">1.2", ["1.3.0", "2.0.0"], ["1.2.9", "1.2.0"]),
    (">1.2.3", ["1.2.4"], ["1.2.3"]),
    ("<=1.2", ["1.2.9", "1.0.0"], ["1.3.0"]),
    ("=<1.2.3", ["1.2.3"], ["1.2.4"]),
    ("!=1.2.3", ["1.2.4", "1.2.2"], ["1.2.3"]),
    ("!=1.2.x", ["1.3.0"], ["1.2.9"]),
    ("1.2 - 1.4.5", ["1.2.0", "1.4.5"], ["1.4.6", "1.1.9"]),
    ("<1 || >=2.0.0", ["0.9.0", "2.1.0"], ["1.5.0"]),
    (">=1.0.0-0", ["1.0.0-rc.1", "1.1.0-rc.1", "1.0.0"], ["0.9.0"]),
    ("~1.2.3-beta.2", ["1.2.3-beta.2", "1.2.4-beta.1"], ["1.2.3-beta.1", "1.3.0"]),
]


@pytest.mark.parametrize(("constraint", "inside", "outside"), CONSTRAINTS, ids=[each[0] for each in CONSTRAINTS])
def test_constraints(constraint: str, inside: list[str], outside: list[str]) -> None:
    parsed = parse_constraint(constraint)
    assert [text for text in inside if not parsed.admits(parse_version(text))] == []
    assert [text for text in outside if satisfies(constraint, parse_version(text))] == []


@pytest.mark.parametrize("text", ["", "main", ">", "1.2.3.4", ">=1.0 main", "1 |", "^", "a.b.c", "1" * 300])
def test_what_is_no_constraint(text: str) -> None:
    with pytest.raises(ValueError, match=r"improper constraint|invalid semantic version"):
        parse_constraint(text)

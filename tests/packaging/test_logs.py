"""The page of log events lists what the code logs: names, levels and keys are an interface."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "logs.md"
LEVELS = {"debug": "debug", "info": "info", "warning": "warning", "error": "error", "exception": "error"}
_ROW = re.compile(r"^\| `(?P<event>\w+)` \| (?P<levels>[\w, ]+) \| (?P<keys>[^|]+) \| (?P<text>.+) \|$", re.MULTILINE)
Events = dict[str, tuple[set[str], set[str]]]


def _levels(call: ast.Call, aliases: dict[str, set[str]]) -> set[str]:
    """Return the levels that a call may log at; empty if it logs nothing."""
    match call.func:
        case ast.Attribute(value=ast.Name(id="log") | ast.Attribute(attr="_log"), attr=level) if level in LEVELS:
            return {LEVELS[level]}
        case ast.Name(id=name):
            return aliases.get(name, set())
    return set()


def _named(tree: ast.AST) -> dict[str, dict[str, ast.expr]]:
    """Return dictionaries that are written out and given a name, for `**facts`."""
    found: dict[str, dict[str, ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.Dict):
            keys = [key for key in node.value.keys if isinstance(key, ast.Constant)]
            found[node.targets[0].id] = {
                str(key.value): value for key, value in zip(keys, node.value.values, strict=False)
            }
    return found


def _aliases(tree: ast.AST) -> dict[str, set[str]]:
    """Return names that stand for a method of the logger: `write = log.info if changed else log.debug`."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and isinstance(node.value, ast.IfExp):
            parts = [ast.unparse(part) for part in (node.value.body, node.value.orelse)]
            if all(part.startswith("log.") for part in parts):
                found[node.targets[0].id] = {LEVELS[part.removeprefix("log.")] for part in parts}
    return found


def _calls(tree: ast.AST) -> Iterator[tuple[str, set[str], set[str]]]:
    named, aliases = _named(tree), _aliases(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not (levels := _levels(node, aliases)):
            continue
        event = node.args[0]
        assert isinstance(event, ast.Constant), f"an event's name is a constant: {ast.unparse(node)}"
        keys: set[str] = set()
        for keyword in node.keywords:
            if keyword.arg is None:
                keys |= named[ast.unparse(keyword.value)].keys()
            elif keyword.arg == "exc_info":
                keys.add("exception")
            else:
                keys.add(keyword.arg)
        yield str(event.value), levels, keys


@cache
def logged() -> Events:
    """Return the levels and keys of every event that the code logs, parts for tests aside."""
    found: Events = {}
    for path in sorted((ROOT / "fairlead").rglob("*.py")):
        if path.relative_to(ROOT / "fairlead").parts[0] in ("testing", "cli"):
            continue
        for event, levels, keys in _calls(ast.parse(path.read_text(encoding="utf-8"))):
            before = found.setdefault(event, (set(), set()))
            before[0].update(levels)
            before[1].update(keys)
    return found


def listed() -> Events:
    """Return what the page says."""
    rows = _ROW.finditer(PAGE.read_text(encoding="utf-8"))
    return {row["event"]: (set(row["levels"].split(", ")), set(re.findall(r"`(\w+)`", row["keys"]))) for row in rows}


def test_the_page_lists_every_event_with_its_levels_and_keys() -> None:
    code, page = logged(), listed()
    assert {name: facts for name, facts in code.items() if page.get(name) != facts} == {}, "not, or otherwise, in docs/"
    assert page.keys() - code.keys() == set(), "in docs/logs.md, but logged nowhere"


def test_names_are_snake_case_and_rows_are_sorted() -> None:
    assert [name for name in logged() if not re.fullmatch(r"[a-z]+(_[a-z]+)+", name)] == []
    assert list(listed()) == sorted(listed())
    assert len(logged()) > 40

"""The page of bad inputs names tests that exist, and has a row for each number."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "bad-inputs.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)))


def test_every_number_has_its_row_and_its_tests() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\| ([^|]*) \|$", TEXT, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 46))
    assert [number for number, shown in rows if "`tests/" not in shown] == []


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[f"{Path(path).stem}-{name}" for path, name in NAMED])
def test_the_test_exists(path: str, name: str) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in functions if name else any(one.startswith("test_") for one in functions)

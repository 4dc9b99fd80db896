"""The merge of three sides against what Kubernetes' own libraries make of hundreds of generated objects."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync._strategic import is_zero, merge, same
from fairlead.agentsync._types import Shape, is_builtin, shape_of

FIXTURE = Path(__file__).parent / "data" / "three-way.jsonl.gz"
CASES = [json.loads(line) for line in gzip.decompress(FIXTURE.read_bytes()).splitlines()]
KINDS = sorted({case["target"]["kind"] for case in CASES})


def unexplained(mine: Any, theirs: Any, live: Any, shape: Shape, path: str) -> Iterator[str]:
    """Yield where the two outcomes differ and nothing of this says why.

    - What left the target we remove; theirs has what the server fills in again, or what types write for nothing.
    - A false in the target is meant: theirs leaves a true that somebody made of it.
    - Of a map or a list with keys that left the target as a whole, what others added stays.
    - A removed item of a list that is not there comes back there as a bare name.
    - The order of finalizers is nobody's.
    """
    if (mine is None and theirs is None) or (mine is not None and theirs is not None and same(mine, theirs, shape)):
        return
    if isinstance(mine, dict) and isinstance(theirs, dict):
        inner = live if isinstance(live, dict) else {}
        for key in mine.keys() | theirs.keys():
            yield from unexplained(mine.get(key), theirs.get(key), inner.get(key), shape.of(key), f"{path}.{key}")
    elif isinstance(mine, list) and isinstance(theirs, list) and shape.keys:
        sides = [{_name(one, shape): one for one in side} for side in (mine, theirs, live or [])]
        for name in sides[0].keys() | sides[1].keys():
            if name not in sides[0] and name not in sides[2]:
                continue  # a bare name
            one, other, found = (side.get(name) for side in sides)
            yield from unexplained(one, other, found, shape.item, f"{path}[{name}]")
    elif not _is_explained(mine, theirs, shape, path):
        yield f"{path}: ours {mine!r}, theirs {theirs!r}, live {live!r}"


def _is_explained(mine: Any, theirs: Any, shape: Shape, path: str) -> bool:
    is_set = shape.merges and not shape.keys
    if is_set and sorted(mine or []) == sorted(theirs or []):
        return True
    if theirs is None and (shape.is_map or shape.merges):  # what others added to it stays
        return True
    if path.endswith(".targetPort"):  # filled in from the port
        return True
    return mine is None or theirs in ("", 0) or is_zero(mine)


def _name(item: dict[str, Any], shape: Shape) -> str:
    return ",".join(str(item.get(key, "TCP")) for key in shape.keys)


@pytest.mark.parametrize("kind", KINDS)
def test_an_apply_makes_of_an_object_what_kubernetes_makes_of_it(kind: str) -> None:
    cases = [case for case in CASES if case["target"]["kind"] == kind]
    assert len(cases) > 20
    for case in cases:
        shape = shape_of(case["target"])
        mine = merge(case["original"], case["target"], case["live"], shape)
        if not is_builtin(case["target"]):  # there metadata merges as such, on purpose
            mine, case["predicted"] = mine["spec"], case["predicted"]["spec"]
            case["live"], shape = case["live"]["spec"], shape.of("spec")
        assert list(unexplained(mine, case["predicted"], case["live"], shape, "")) == []


def test_what_kubernetes_finds_modified_we_find_modified() -> None:
    wrong = []
    for number, case in enumerate(CASES):
        if not is_builtin(case["target"]):
            continue  # see above; and what is null in a custom object is there something, here nothing
        mine = merge(case["original"], case["target"], case["live"], shape_of(case["target"]))
        if (mine is not case["live"]) is not case["modified"]:
            wrong.append((number, case["target"]["kind"]))
    # One object whose finalizers are only in another order.
    assert wrong == [(140, "Secret")]
    assert sum(case["modified"] for case in CASES) > 200


def test_a_second_apply_changes_nothing() -> None:
    for case in CASES:
        shape = shape_of(case["target"])
        once = merge(case["original"], case["target"], case["live"], shape)
        assert merge(case["target"], case["target"], once, shape) is once

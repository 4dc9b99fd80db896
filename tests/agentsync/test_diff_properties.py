"""What holds for any objects: applying twice changes nothing, ignored fields appear nowhere, no value gets lost."""

from __future__ import annotations

import copy
import json
import random
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.agentsync.diff import (
    LAST_APPLIED,
    DiffOptions,
    IgnoreRule,
    Strategy,
    client_side_apply,
    difference,
    keep_ignored,
    render_diff,
)
from fairlead.agentsync.resources import Object
from fairlead.core.patches import diff as merge_patch
from fairlead.core.patches import merge as apply_merge_patch
from tests.agentsync.builders_diff import custom, read
from tests.oracle.threeway.generate import bases, mutated, without_empty

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "1", "1000m", "60s"])
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=12,
)
SPECS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)
BASES = bases()


@st.composite
def sides(draw: st.DrawFn) -> tuple[Object, Object, Object]:
    """Return what was applied last, the target, and the live object, all made of one object of a built-in kind."""
    base = draw(st.sampled_from(BASES))
    chance = draw(st.sampled_from([0.02, 0.1, 0.3]))
    chosen = random.Random(draw(st.integers(0, 2**32)))  # many small choices are no work for the shrinker
    original, target = (without_empty(mutated(chosen, base, chance)) for _ in range(2))
    live = read(mutated(chosen, base, chance), last_applied=False)
    live["metadata"].setdefault("annotations", {})[LAST_APPLIED] = json.dumps(original)
    return original, target, live


def custom_live(original: dict[str, Any], found: dict[str, Any]) -> Object:
    live = read(custom(**found), last_applied=False)
    live["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(custom(**original))}
    return live


@given(sides(), st.sampled_from([Strategy.THREE_WAY, Strategy.STRUCTURED]))
@settings(max_examples=150, deadline=None)
def test_built_in_kinds(found: tuple[Object, Object, Object], strategy: Strategy) -> None:
    original, target, live = found
    options = DiffOptions(strategy=strategy)
    before = copy.deepcopy(found)
    was_modified = difference(target, live, options)
    applied = client_side_apply(target, live)
    assert found == before
    assert original == before[0]
    assert not difference(target, applied).modified
    assert client_side_apply(target, applied) == applied
    assert bool(was_modified.changes) is was_modified.modified
    assert was_modified.modified is (was_modified.predicted != was_modified.live)
    # What is sent turns the one into the other, and is nothing when there is nothing to do.
    assert apply_merge_patch(live, merge_patch(live, applied)) == applied
    assert merge_patch(applied, client_side_apply(target, applied)) == {}


@given(SPECS, SPECS, SPECS)
@settings(max_examples=300, deadline=None)
def test_custom_kinds(original: dict[str, Any], target: dict[str, Any], found: dict[str, Any]) -> None:
    live, wanted = custom_live(original, found), custom(**target)
    applied = client_side_apply(wanted, live)
    assert not difference(wanted, applied).modified
    assert client_side_apply(wanted, applied) == applied
    # A value that only the live side ever had stays.
    for key, value in found.items():
        if key not in target and key not in original:
            assert applied["spec"][key] == value


@given(SPECS, SPECS)
@settings(max_examples=200, deadline=None)
def test_a_structured_merge_settles(target: dict[str, Any], found: dict[str, Any]) -> None:
    options = DiffOptions(strategy=Strategy.STRUCTURED)
    predicted = difference(custom(**target), read(custom(**found)), options).predicted
    assert predicted is not None
    assert not difference(custom(**target), predicted, options).modified


@given(SPECS, SPECS, SPECS, st.sets(st.sampled_from("abcd"), min_size=1), st.booleans())
@settings(max_examples=200, deadline=None)
def test_ignored_fields_appear_nowhere_and_are_kept_when_respected(
    original: dict[str, Any], target: dict[str, Any], found: dict[str, Any], ignored: set[str], by_jq: bool
) -> None:
    names = sorted(ignored)
    rule = IgnoreRule(
        group="example.com",
        kind="Widget",
        json_pointers=() if by_jq else tuple(f"/spec/{name}" for name in names),
        jq_path_expressions=tuple(f".spec.{name}" for name in names) if by_jq else (),
    )
    live, options = custom_live(original, found), DiffOptions(ignores=(rule,))
    compared = difference(custom(**target), live, options)
    assert not [change for change in compared.changes if change.path.split(".")[1][0] in ignored]
    kept = keep_ignored(custom(**target), live, (rule,))["spec"]
    applied = client_side_apply(custom(**target), live, options, respect_ignored=True)
    for name in names:
        assert (name in kept) is (name in found)
        assert kept.get(name) == found.get(name)
        if found.get(name) is not None:
            assert applied["spec"][name] == found[name]
    assert not difference(custom(**target), applied, options).modified


@given(SPECS)
@settings(max_examples=100, deadline=None)
def test_an_object_that_went_through_json_is_the_same(spec: dict[str, Any]) -> None:
    target = custom(**spec)
    live = json.loads(json.dumps(client_side_apply(target, None)))
    assert not difference(target, live).modified
    assert not difference(json.loads(json.dumps(target)), live).modified


@given(
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner), max_leaves=20)
)
@settings(max_examples=200, deadline=None)
def test_no_object_is_too_odd_to_be_compared(odd: Any) -> None:
    for kind in ("Secret", "Endpoints", "Deployment", "Service"):
        found: Object = {
            "apiVersion": "v1",
            "kind": kind,
            "metadata": {"name": "a"},
            "spec": odd,
            "data": odd,
            "subsets": odd,
        }
        assert not difference(found, copy.deepcopy(found)).modified
        difference(found, {**found, "metadata": odd, "stringData": odd})
        render_diff(found, {**found, "spec": 1})


@pytest.mark.parametrize("strategy", [Strategy.THREE_WAY, Strategy.STRUCTURED])
def test_a_thousand_equal_objects_take_well_under_a_second(strategy: Strategy) -> None:
    options = DiffOptions(strategy=strategy)
    pairs = [
        (base, read(base)) for base in BASES if base["kind"] in ("ConfigMap", "Service", "ServiceAccount", "Ingress")
    ]
    for target, live in pairs:
        assert not difference(target, live, options).modified
    started = time.process_time()
    for number in range(1000):
        difference(*pairs[number % len(pairs)], options)
    # About 0.1 s; ten times that is another algorithm.
    assert time.process_time() - started < 1.0

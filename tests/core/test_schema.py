"""Structural schemas from types."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
import pytest

from fairlead.core.decoding import PRESERVED, Int32, Wire, doc
from fairlead.core.schema import leaves, opaque, structural

KEPT = {"x-kubernetes-preserve-unknown-fields": True}


class Leaf(Wire, frozen=True, kw_only=True):
    """A leaf."""

    size: Annotated[Int32, doc("Its size.")]
    words: dict[str, str] = msgspec.field(default_factory=dict)


class Tree(Wire, frozen=True, kw_only=True):
    """A tree."""

    first_leaf: Annotated[Leaf | None, doc("The first.")] = None
    leaves: tuple[Leaf, ...] = ()
    limit: int | str | None = None
    kind: Literal["oak", "elm"] = "oak"
    seen_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    foreign: Annotated[dict[str, Any], msgspec.Meta(extra_json_schema=PRESERVED)] = msgspec.field(default_factory=dict)
    anything: Any = None


class Endless(Wire, frozen=True, kw_only=True):
    again: Endless | None = None


LEAF = {
    "type": "object",
    "required": ["size"],
    "properties": {
        "size": {"type": "integer", "format": "int32", "description": "Its size."},
        "words": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    **KEPT,
}


def test_a_type_becomes_a_structural_schema() -> None:
    assert structural(Tree) == {
        "description": "A tree.",
        "type": "object",
        "properties": {
            "firstLeaf": {"description": "The first.", **LEAF},
            "leaves": {"type": "array", "items": {"description": "A leaf.", **LEAF}},
            "limit": {"x-kubernetes-int-or-string": True},
            "kind": {"enum": ["elm", "oak"], "type": "string"},
            "seenAt": {"type": "string", "format": "date-time"},
            "foreign": {"type": "object", **KEPT},
            "anything": KEPT,
        },
        **KEPT,
    }


def test_recursion_is_refused() -> None:
    with pytest.raises(ValueError, match="recursive types have no structural schema: Endless → Endless"):
        structural(Endless)


def test_a_choice_of_objects_is_refused() -> None:
    class Choice(Wire, frozen=True, kw_only=True):
        one: bool | str = ""

    with pytest.raises(ValueError, match="no structural schema for a choice"):
        structural(Choice)


def test_leaves_are_listed_with_their_path() -> None:
    assert list(leaves(structural(Tree), "spec")) == [
        "spec.firstLeaf.size",
        "spec.firstLeaf.words{}",
        "spec.leaves[].size",
        "spec.leaves[].words{}",
        "spec.limit",
        "spec.kind",
        "spec.seenAt",
        "spec.foreign",
        "spec.anything",
    ]


def test_what_is_opaque_is_kept() -> None:
    assert opaque("Somebody's.") == {"description": "Somebody's.", "type": "object", **KEPT}
    assert opaque() == {"type": "object", **KEPT}

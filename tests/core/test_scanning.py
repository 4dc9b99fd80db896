"""Envelopes cut open by scanning, however deep their contents are."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.scanning import elements, members

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text('a"\\{}[],:ü\n', max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text('k"\\}', max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text('k"\\},:', max_size=3), JSON, max_size=5), st.sampled_from([None, 1]))
def test_members_are_what_a_decoder_finds(document: dict[str, Any], indent: int | None) -> None:
    raw = json.dumps(document, indent=indent).encode()
    assert {key: json.loads(value) for key, value in members(raw).items()} == document


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 1]))
def test_elements_are_what_a_decoder_finds(document: list[Any], indent: int | None) -> None:
    assert [json.loads(item) for item in elements(json.dumps(document, indent=indent).encode())] == document


def test_depth_does_not_matter() -> None:
    deep = b"[" * 9_999 + b"]" * 9_999
    assert members(b'{"a":' + deep + b',"b":2}') == {"a": deep, "b": b"2"}
    assert elements(b"[1," + deep + b"]") == [b"1", deep]


@pytest.mark.parametrize("raw", [b"", b"5", b"[1]", b'{"a":1', b'{"a":[1}', b'{"a":"}', b"{1:2}", b"null"], ids=repr)
def test_what_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"expected|does not end|without a key"):
        members(raw)


def test_what_is_no_array_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected \[, found '\{'"):
        elements(b'{"a":1}')

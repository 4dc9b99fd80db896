"""Hashes equal those that External Secrets writes."""

from __future__ import annotations

import pytest

from fairlead.secrets._hash import data_hash, metadata_hash, text_hash


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param({"a": b"", "b": b"hi"}, "1502c667c51473986903f433f5b890c4894c7a52d989ccf189512419", id="two-keys"),
        pytest.param(
            {"b": b"hi", "a": b""}, "1502c667c51473986903f433f5b890c4894c7a52d989ccf189512419", id="any-order"
        ),
        pytest.param({}, "74a974446e359fb3e6baff9bd0058950e6edd0f040888d9989b0a11b", id="empty"),
        pytest.param(
            {"password": b"s3cr3t", "username": b"admin"},
            "4dc87f1bc1b42f99971f11cd8a752c3c1babc6486c0744d841d68c6a",
            id="text",
        ),
    ],
)
def test_data(data: dict[str, bytes], expected: str) -> None:
    assert data_hash(data) == expected


def test_text() -> None:
    assert text_hash("default/my-es") == "b8464376b5fe3535e690594280bfe59b60be2603cb6cbb6d6c8bcbb4"


@pytest.mark.parametrize(
    ("annotations", "labels", "expected"),
    [
        pytest.param(
            {"a": "b"}, {"l": "m"}, "05082bc3d9ec4f3516c3dc6a918ab1f3410f65b302c74eb353b0b535", id="one-of-each"
        ),
        pytest.param({}, {}, "f47fe3c0b255b6dd8047cdffa772587bb829efe7a1cb70febeda2eb2", id="none"),
    ],
)
def test_metadata(annotations: dict[str, str], labels: dict[str, str], expected: str) -> None:
    assert metadata_hash(annotations, labels) == expected


def test_keys_are_sorted_by_their_bytes() -> None:
    # UTF-16 order, as some languages sort, would put the second first.
    assert data_hash({"\uffff": b"1", "\U0001f600": b"2"}) == text_hash("map[\uffff:[49] \U0001f600:[50]]")

"""Names and values on their way to a Secret: the tables of the reference, collisions, and operations that mean harm."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.secrets._base64 import Base64Error, decode_base64
from fairlead.secrets._rewrites import UnfitValue, convert_key, convert_keys, decode, restore_key, rewrite
from fairlead.secrets.spec import Rewrite, RewriteMerge, RewriteRegexp, RewriteTransform
from fairlead.secrets.values import SecretBytes

DATA = Path(__file__).with_name("data")
MARKER = "Hidden-5f2c"


def loaded(name: str) -> Any:
    return json.loads((DATA / name).read_text(encoding="utf-8"))


def secret(values: dict[str, str]) -> dict[str, SecretBytes]:
    return {key: SecretBytes(value.encode()) for key, value in values.items()}


def shown(values: dict[str, SecretBytes]) -> dict[str, str]:
    return {key: value.reveal().decode() for key, value in values.items()}


REWRITES = [json.loads(line) for line in (DATA / "rewrites.jsonl").read_text(encoding="utf-8").splitlines()]
# Where upstream repeats data, or how Go names a template.
DIFFERENT_TEXTS = {
    "R17": "transform failed with failed to parse template: line 1: unclosed action",
    "R26": "merge failed with failed to unmarshal JSON: invalid JSON at character 1",
}
DECODINGS = loaded("decodings.json")
CONVERSIONS = loaded("conversions.json")
REVERSE = loaded("reverse-conversions.json")


def test_the_tables_are_complete() -> None:
    assert [len(one) for one in (REWRITES, DECODINGS, CONVERSIONS, REVERSE)] == [30, 15, 8, 5]


@pytest.mark.parametrize("row", REWRITES, ids=[row["id"] for row in REWRITES])
def test_rewrites(row: dict[str, Any]) -> None:
    operations = msgspec.convert(row["rw"], list[Rewrite])
    if "err" in row:
        with pytest.raises(UnfitValue) as caught:
            rewrite(secret(row["in"]), operations)
        assert str(caught.value) == DIFFERENT_TEXTS.get(row["id"], row["err"])
    else:
        assert shown(rewrite(secret(row["in"]), operations)) == row["out"]


@pytest.mark.parametrize(("strategy", "text", "expected"), DECODINGS)
def test_decodings(strategy: str, text: str, expected: Any) -> None:
    value = SecretBytes(text.encode())
    if isinstance(expected, dict) and "err" in expected:
        with pytest.raises(UnfitValue) as caught:
            decode(value, strategy)
        assert str(caught.value) == expected["err"]
    else:
        found = decode(value, strategy).reveal()
        assert found == (base64.b64decode(expected["b64"]) if isinstance(expected, dict) else expected.encode())


@pytest.mark.parametrize(("strategy", "keys", "expected"), CONVERSIONS)
def test_conversions(strategy: str, keys: list[str], expected: Any) -> None:
    values = {key: SecretBytes(key.encode()) for key in keys}
    if isinstance(expected, dict):
        with pytest.raises(UnfitValue) as caught:
            convert_keys(values, strategy)
        assert str(caught.value) == expected["err"]
    else:
        assert list(convert_keys(values, strategy)) == expected


@pytest.mark.parametrize(("strategy", "key", "expected"), REVERSE)
def test_reverse_conversions(strategy: str, key: str, expected: str) -> None:
    assert restore_key(key, strategy) == expected


@given(st.text("ab/._-é😀 $", max_size=8))
def test_a_name_can_be_restored(name: str) -> None:
    assert restore_key(convert_key(name, "Unicode"), "ReverseUnicode") == name


# Base 64: what Go takes, and the position that it names.


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (b"a", 0),
        (b"ab", 0),
        (b"abc", 0),
        (b"abcde", 4),
        (b"ab=", 3),
        (b"ab=c", 2),
        (b"ab==c", 4),
        (b"abc=d", 4),
        (b"a===", 1),
        (b"=", 0),
        (b"ab\ncd\ne", 6),
        (b"ab!d", 2),
        (b"ab -", 2),
        (b"abcd====", 4),
        (b"ab==abcd", 4),
    ],
)
def test_base64_errors_name_the_position_as_go_does(text: bytes, position: int) -> None:
    with pytest.raises(Base64Error, match=f"illegal base64 data at input byte {position}$"):
        decode_base64(text)


@given(st.binary(max_size=40), st.booleans())
def test_base64_is_undone(value: bytes, url_safe: bool) -> None:
    encoded = (base64.urlsafe_b64encode if url_safe else base64.b64encode)(value)
    broken = b"\r\n".join(encoded[at : at + 7] for at in range(0, len(encoded), 7))
    assert decode_base64(broken, url_safe=url_safe) == value


# Collisions: upstream lets chance decide.


def test_two_values_under_one_name_are_an_error() -> None:
    operation = Rewrite(regexp=RewriteRegexp(source="(.*)", target="$1_suffix"))  # the group is named 1_suffix
    with pytest.raises(UnfitValue, match="two values the name ''"):
        rewrite(secret({"a": "1", "b": "2"}), [operation])


def test_one_value_under_two_names_may_become_one() -> None:
    operation = Rewrite(transform=RewriteTransform(template="same"))
    assert shown(rewrite(secret({"a": "1", "b": "1"}), [operation])) == {"same": "1"}


# What is said when it fails


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(Rewrite(merge=RewriteMerge()), id="merge"),
        pytest.param(Rewrite(merge=RewriteMerge(into="x")), id="merge-into"),
        pytest.param(Rewrite(transform=RewriteTransform(template="{{ mustFromJson .value }}")), id="transform"),
    ],
)
def test_errors_hold_no_value(operation: Rewrite) -> None:
    with pytest.raises(UnfitValue) as caught:
        rewrite(secret({"a": f'{{"x": {MARKER}'}), [operation])
    assert MARKER not in f"{caught.value} {caught.value.__cause__}"


# Operations that mean harm


@pytest.mark.parametrize(
    ("operation", "key"),
    [
        pytest.param(Rewrite(regexp=RewriteRegexp(source="(.*)x|a", target="b")), "a" * 50_000, id="quadratic"),
        pytest.param(Rewrite(regexp=RewriteRegexp(source="", target="x" * 100_000)), "a" * 1_000, id="growing"),
        pytest.param(Rewrite(transform=RewriteTransform(template="{{ until 100000000 }}")), "a", id="template"),
        pytest.param(Rewrite(regexp=RewriteRegexp(source="(" * 5_000, target="")), "a", id="nesting"),
    ],
)
def test_harm_is_bounded(operation: Rewrite, key: str) -> None:
    with pytest.raises(UnfitValue):
        rewrite(secret({key: "1"}), [operation])


def test_a_pattern_that_explodes_elsewhere_is_quick_here() -> None:
    operation = Rewrite(regexp=RewriteRegexp(source="^(a+)+$", target="x"))
    key = "a" * 200 + "b"
    assert shown(rewrite(secret({key: "1"}), [operation])) == {key: "1"}


def test_many_keys_share_one_budget() -> None:
    operation = Rewrite(transform=RewriteTransform(template='{{ .value }}{{ repeat 100000 "x" | len }}'))
    with pytest.raises(UnfitValue, match="works on more than"):
        rewrite(secret({f"k{at}": "1" for at in range(500)}), [operation])

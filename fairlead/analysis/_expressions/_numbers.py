"""Texts to numbers, as Go's strconv reads them."""

from __future__ import annotations

import json
import math
import re
from typing import Final

_DECIMAL: Final = re.compile(r"[+-]?(?:[0-9][0-9_]*(?:\.[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"[+-]?0[xX][0-9a-fA-F_]*\.?[0-9a-fA-F_]*[pP][+-]?[0-9]+", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_DIGITS_MAX: Final = 1000  # more of them cannot change the value of anything that people write


def parse_float(text: str) -> float:
    """Return the float that a text stands for.

    Raises:
        ValueError: with Go's text.
    """
    bare = text.lstrip("+-").lower() if text[:1] in ("+", "-") and text[1:2] not in ("+", "-") else text.lower()
    if bare in ("inf", "infinity"):
        return -math.inf if text.startswith("-") else math.inf
    if text.lower() == "nan":
        return math.nan
    what = f"strconv.ParseFloat: parsing {json.dumps(text[:16_384], ensure_ascii=False)}: "
    if len(text) <= _DIGITS_MAX:
        if _DECIMAL.fullmatch(text):
            value = float(text.replace("_", ""))
        elif _HEXADECIMAL.fullmatch(text):
            try:
                value = float.fromhex(text.replace("_", ""))
            except OverflowError:
                value = math.inf
            except ValueError:
                raise ValueError(what + "invalid syntax") from None
        else:
            raise ValueError(what + "invalid syntax")
        if math.isinf(value):
            raise ValueError(what + "value out of range")
        return value
    raise ValueError(what + "invalid syntax")


def parse_int(text: str) -> int:
    """Return the 64-bit integer that a text in base 10 stands for.

    Raises:
        ValueError: with Go's text.
    """
    what = f"strconv.ParseInt: parsing {json.dumps(text[:16_384], ensure_ascii=False)}: "
    if not _INTEGER.fullmatch(text):
        raise ValueError(what + "invalid syntax")
    digits = text.lstrip("+-").lstrip("0")
    value = int(digits or "0") if len(digits) <= 19 else 2**64
    value = -value if text.startswith("-") else value
    if not -(2**63) <= value < 2**63:
        raise ValueError(what + "value out of range")
    return value

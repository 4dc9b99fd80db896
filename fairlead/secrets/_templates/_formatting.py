"""How values print: `print`, `println`, and the verbs of `printf`.

Source: Go's `fmt`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from fairlead.secrets._templates._budget import Budget
from fairlead.secrets._templates._errors import TemplateLimit
from fairlead.secrets._templates._numbers import binary_float, format_float, hexadecimal_float
from fairlead.secrets._templates._semver import Version
from fairlead.secrets._templates._text import quoted, runes, unrunes
from fairlead.secrets._templates._times import Duration, Month, Time, Weekday
from fairlead.secrets._templates._values import Certificate, NoList, NoStrings, Uint8, Uint64, Value, type_name

_NUMBER_MAX: Final = 1_000_000  # Go's own limit on width and precision
_STRINGERS: Final = (Month, Weekday, Duration, Time, Version)


@dataclass(slots=True)
class _Flags:
    plus: bool = False
    minus: bool = False
    sharp: bool = False
    space: bool = False
    zero: bool = False
    go_syntax: bool = False  # %#v
    names_fields: bool = False  # %+v
    plainly: bool = False  # within a complaint: values print without their own String method
    width: int | None = None
    precision: int | None = None


def sprint(values: Sequence[Value], budget: Budget) -> bytes:
    """Return the values printed, with a space between two that are both no strings."""
    parts: list[bytes] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, bytes) and not isinstance(values[number - 1], bytes):
            parts.append(b" ")
        parts.append(display(value, budget))
    return b"".join(parts)


def sprintln(values: Sequence[Value], budget: Budget) -> bytes:
    """Return the values printed with spaces between them and the end of a line behind them."""
    return b" ".join(display(value, budget) for value in values) + b"\n"


def display(value: Value, budget: Budget) -> bytes:
    """Return a value as `%v` prints it."""
    if isinstance(value, bytes):
        return value
    found = b"".join(_printed(value, "v", _Flags(), budget, 0))
    budget.allocate(len(found))
    return found


def sprintf(form: bytes, values: Sequence[Value], budget: Budget) -> bytes:
    """Return the form with its verbs replaced by the values.

    Raises:
        TemplateLimit: the result would be too long.
    """
    return _Printer(runes(form), values, budget).run()


class _Printer:
    """Carries one form out."""

    def __init__(self, form: str, values: Sequence[Value], budget: Budget) -> None:
        self._form = form
        self._values = values
        self._budget = budget
        self._at = 0
        self._next = 0
        self._is_reordered = False
        self._is_indexed = False  # the current verb has an index of its own
        self._is_good = True

    def run(self) -> bytes:
        parts: list[bytes] = []
        while (percent := self._form.find("%", self._at)) >= 0:
            parts.append(unrunes(self._form[self._at : percent]))
            self._at = percent + 1
            self._budget.step()
            part = self._verb()
            self._budget.allocate(len(part))
            parts.append(part)
        parts.append(unrunes(self._form[self._at :]))
        if not self._is_reordered and self._next < len(self._values):
            extra = [
                b"<nil>" if value is None else type_name(value).encode() + b"=" + display(value, self._budget)
                for value in self._values[self._next :]
            ]
            parts.append(b"%!(EXTRA " + b", ".join(extra) + b")")
        return b"".join(parts)

    def _here(self) -> str:
        return self._form[self._at : self._at + 1]

    def _verb(self) -> bytes:
        flags = _Flags()
        self._is_good = True
        self._is_indexed = False
        complaints = b""
        while (one := self._here()) and one in "#0+- ":
            match one:
                case "#":
                    flags.sharp = True
                case "0":
                    flags.zero = True
                case "+":
                    flags.plus = True
                case "-":
                    flags.minus = True
                case _:
                    flags.space = True
            self._at += 1
        self._index()
        if self._here() == "*":
            self._at += 1
            width = self._star()
            if width is None:
                complaints += b"%!(BADWIDTH)"
            elif width < 0:
                flags.minus, flags.zero, flags.width = True, False, -width
            else:
                flags.width = width
            self._is_indexed = False
        else:
            flags.width = self._digits()
            if self._is_indexed and flags.width is not None:
                self._is_good = False
        if self._here() == ".":
            self._at += 1
            if self._is_indexed:
                self._is_good = False
            self._index()
            if self._here() == "*":
                self._at += 1
                precision = self._star()
                if precision is None or precision < 0:
                    complaints += b"%!(BADPREC)"
                else:
                    flags.precision = precision
                self._is_indexed = False
            else:
                flags.precision = self._digits() or 0
        if not self._is_indexed:
            self._index()
        if not self._here():
            return complaints + b"%!(NOVERB)"
        verb = self._here()
        self._at += 1
        return complaints + self._argument(verb, flags)

    def _argument(self, verb: str, flags: _Flags) -> bytes:
        shown = unrunes(verb)
        if verb == "%":
            return b"%"
        if not self._is_good:
            return b"%!" + shown + b"(BADINDEX)"
        if self._next >= len(self._values):
            return b"%!" + shown + b"(MISSING)"
        value = self._values[self._next]
        self._next += 1
        if flags.minus:
            flags.zero = False
        if verb == "T" and value is None:
            return b"<nil>"
        if verb == "T":
            return _text(type_name(value).encode(), "s", flags, value, self._budget)
        if verb in "vw":
            flags.go_syntax, flags.sharp = flags.sharp, False
            flags.names_fields, flags.plus = flags.plus, False
        if verb in "pw":
            return _bad(verb, value, flags, self._budget)
        return b"".join(_printed(value, verb, flags, self._budget, 0))

    def _digits(self) -> int | None:
        start = self._at
        while (one := self._here()) and one in "0123456789":
            self._at += 1
        text = self._form[start : self._at]
        if not text:
            return None
        if len(text) > 7 or int(text) > _NUMBER_MAX:
            raise TemplateLimit("printf: a width or precision above one million")
        return int(text)

    def _index(self) -> None:
        """Read an argument index such as [2]."""
        if self._here() != "[":
            return
        self._is_reordered = True
        end = self._form.find("]", self._at)
        text = self._form[self._at + 1 : end] if end > 0 else ""
        self._at = end + 1 if end > 0 else self._at + 1
        is_number = text.isascii() and text.isdigit() and len(text) < 7
        if is_number and 1 <= int(text) <= len(self._values):
            self._next = int(text) - 1
            self._is_indexed = True
        else:
            self._is_good = False

    def _star(self) -> int | None:
        value = self._values[self._next] if self._next < len(self._values) else None
        self._next += self._next < len(self._values)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _NUMBER_MAX:
            return int(value)
        return None


def _padded(text: bytes, flags: _Flags) -> bytes:
    if flags.width is None:
        return text
    missing = flags.width - len(runes(text))
    if missing <= 0:
        return text
    if flags.minus:
        return text + b" " * missing
    return (b"0" if flags.zero else b" ") * missing + text


def _bad(verb: str, value: Value, flags: _Flags, budget: Budget) -> bytes:
    """Return what stands for a value that a verb cannot print; flags hold for the value in it."""
    shown = b"<nil>"
    if value is not None:
        inner = replace(flags, plainly=True)
        shown = type_name(value).encode() + b"=" + b"".join(_printed(value, "v", inner, budget, 0))
    return b"%!" + unrunes(verb) + b"(" + shown + b")"


def _printed(value: Value, verb: str, flags: _Flags, budget: Budget, depth: int) -> Iterator[bytes]:
    """Yield a value printed in pieces."""
    budget.step()
    if depth > budget.limits.depth:
        raise TemplateLimit(f"a value nests more than {budget.limits.depth} deep")
    if value is None:
        if depth:
            yield b"interface {}(nil)" if flags.go_syntax else b"<nil>"
        else:
            yield _padded(b"<nil>", flags) if verb == "v" else b"%!" + unrunes(verb) + b"(<nil>)"
    elif isinstance(value, list):
        yield from _printed_list(value, verb, flags, budget, depth)
    elif isinstance(value, dict):
        yield from _printed_map(value, verb, flags, budget, depth)
    elif isinstance(value, _STRINGERS) and verb in "vsxXq" and not flags.go_syntax and not _is_number(value, flags):
        yield _text(str(value).encode(), verb, flags, value, budget)
    elif isinstance(value, Certificate):
        yield b"sprig.certificate{" if flags.go_syntax else b"{"
        for number, (name, part) in enumerate(((b"Cert:", value.cert), (b"Key:", value.key))):
            if number:
                yield b", " if flags.go_syntax else b" "
            if flags.go_syntax or flags.names_fields:
                yield name
            yield from _printed(part, verb, flags, budget, depth + 1)
        yield b"}"
    else:
        yield _scalar(value, verb, flags, budget)


def _is_number(value: Value, flags: _Flags) -> bool:
    return flags.plainly and isinstance(value, int)


def _printed_list(value: list[Any], verb: str, flags: _Flags, budget: Budget, depth: int) -> Iterator[bytes]:
    go_syntax = flags.go_syntax
    if go_syntax and isinstance(value, NoStrings | NoList):
        yield f"{type_name(value)}(nil)".encode()
        return
    yield f"{type_name(value)}{{".encode() if go_syntax else b"["
    for number, item in enumerate(value):
        if number:
            yield b", " if go_syntax else b" "
        yield from _printed(item, verb, flags, budget, depth + 1)
    yield b"}" if go_syntax else b"]"


def _printed_map(value: dict[bytes, Any], verb: str, flags: _Flags, budget: Budget, depth: int) -> Iterator[bytes]:
    go_syntax = flags.go_syntax
    yield f"{type_name(value)}{{".encode() if go_syntax else b"map["
    for number, key in enumerate(sorted(value)):
        if number:
            yield b", " if go_syntax else b" "
        yield from _printed(key, verb, flags, budget, depth + 1)
        yield b":"
        yield from _printed(value[key], verb, flags, budget, depth + 1)
    yield b"}" if go_syntax else b"]"


def _scalar(value: Value, verb: str, flags: _Flags, budget: Budget) -> bytes:
    if isinstance(value, bytes):
        return _text(value, verb, flags, value, budget)
    if isinstance(value, bool):
        return _padded(b"true" if value else b"false", flags) if verb in "tv" else _bad(verb, value, flags, budget)
    if isinstance(value, int):
        return _whole(value, verb, flags, budget)
    if isinstance(value, float):
        return _real(value, verb, flags, budget)
    if isinstance(value, complex):
        if verb not in "bgGxXfFeEv":
            return _bad(verb, value, flags, budget)
        signed = replace(flags, plus=True)
        return b"(" + _real(value.real, verb, flags, budget) + _real(value.imag, verb, signed, budget) + b"i)"
    return _text(str(value).encode(), "v", flags, value, budget) if verb in "vs" else _bad(verb, None, flags, budget)


def _text(text: bytes, verb: str, flags: _Flags, value: Value, budget: Budget) -> bytes:
    if flags.precision is not None and verb in "vsq":
        text = unrunes(runes(text)[: flags.precision])
    match verb:
        case "v" if flags.go_syntax:
            return _padded(quoted(text), flags)
        case "v" | "s":
            return _padded(text, flags)
        case "x" | "X":
            return _hexadecimal(text, verb, flags)
        case "q":
            if flags.sharp and _can_be_raw(text):
                return _padded(b"`" + text + b"`", flags)
            return _padded(quoted(text, ascii_only=flags.plus), flags)
        case _:
            return _bad(verb, value, flags, budget)


def _can_be_raw(text: bytes) -> bool:
    return not any(
        one in "`\ufeff\x7f" or (one < " " and one != "\t") or "\ud800" <= one <= "\udfff" for one in runes(text)
    )


def _hexadecimal(text: bytes, verb: str, flags: _Flags) -> bytes:
    if flags.precision is not None:
        text = text[: flags.precision]
    prefix = "0x" if flags.sharp else ""
    pairs = [f"{byte:02x}" for byte in text]
    joined = prefix + "".join(pairs) if not flags.space else " ".join(prefix + pair for pair in pairs)
    if not pairs:
        joined = ""
    return _padded((joined.upper() if verb == "X" else joined).encode(), flags)


def _whole(value: int, verb: str, flags: _Flags, budget: Budget) -> bytes:
    if flags.go_syntax and isinstance(value, Uint8 | Uint64):
        return _digits_of(value, 16, "0x", flags)
    match verb:
        case "v" | "d":
            return _digits_of(value, 10, "", flags)
        case "b":
            return _digits_of(value, 2, "0b" if flags.sharp else "", flags)
        case "o":
            return _digits_of(value, 8, "0" if flags.sharp else "", flags)
        case "O":
            return _digits_of(value, 8, "0o0" if flags.sharp else "0o", flags)
        case "x":
            return _digits_of(value, 16, "0x" if flags.sharp else "", flags)
        case "X":
            found = _digits_of(value, 16, "0x" if flags.sharp else "", flags)
            return found.upper()
        case "c":
            return _padded(_character(value).encode(), flags)
        case "q":
            return _padded(quoted(_character(value).encode(), "'", ascii_only=flags.plus), flags)
        case "U":
            return _padded(_code_point(value, flags).encode(), _Flags(width=flags.width, minus=flags.minus))
        case _:
            return _bad(verb, value, flags, budget)


def _code_point(value: int, flags: _Flags) -> str:
    code = f"{value % 2**64:04X}"
    if flags.precision is not None:
        code = code.rjust(flags.precision, "0")
    shows = flags.sharp and 0 <= value <= 0x10FFFF and _character(value).isprintable()
    return f"U+{code} '{_character(value)}'" if shows else f"U+{code}"


def _character(code: int) -> str:
    return chr(code) if 0 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else "\ufffd"


def _digits_of(value: int, base: int, prefix: str, flags: _Flags) -> bytes:
    negative, value = value < 0, abs(value)
    digits = format(int(value), {2: "b", 8: "o", 10: "d", 16: "x"}[base])
    sign = "-" if negative else "+" if flags.plus else " " if flags.space else ""
    if flags.precision is not None:
        if flags.precision == 0 and value == 0:
            return b" " * (flags.width or 0)
        digits = digits.rjust(flags.precision, "0")
    elif flags.zero and flags.width is not None:
        digits = digits.rjust(flags.width - len(sign), "0")
    if prefix.endswith("0") and digits.startswith("0"):
        prefix = prefix[:-1]
    padding = _Flags(width=flags.width, minus=flags.minus)
    return _padded(f"{sign}{prefix}{digits}".encode(), padding)


def _real(value: float, verb: str, flags: _Flags, budget: Budget) -> bytes:
    match verb:
        case "v":
            text = format_float(value, "g", -1 if flags.precision is None else flags.precision)
        case "e" | "E" | "f" | "F":
            text = format_float(value, verb, 6 if flags.precision is None else flags.precision)
        case "b":
            text = binary_float(value)
        case "x" | "X":
            text = hexadecimal_float(value, flags.precision)
            text = text.upper() if verb == "X" else text
        case "g" | "G":
            text = format_float(value, verb, -1 if flags.precision is None else flags.precision)
        case _:
            return _bad(verb, value, flags, budget)
    if flags.sharp and verb not in "bxX" and math.isfinite(value):
        text = _with_point(text, verb, flags)
    negative = text.startswith("-")
    body = text.lstrip("+-")
    sign = "-" if negative else "+" if flags.plus or text.startswith("+") else " " if flags.space else ""
    if text == "+Inf" and not flags.plus and not flags.space:
        sign = "+"
    zero = flags.zero and math.isfinite(value)
    if zero and flags.width is not None:
        body = body.rjust(flags.width - len(sign), "0")
    return _padded((sign + body).encode(), _Flags(width=flags.width, minus=flags.minus))


def _with_point(text: str, verb: str, flags: _Flags) -> str:
    """Return a number with its point and, for g, with all digits of its precision."""
    mantissa, mark, exponent = text.partition("e" if "e" in text else "E")
    if "." not in mantissa:
        mantissa += "."
    if verb in "gGv":
        wanted = 6 if flags.precision is None else flags.precision
        mantissa += "0" * (wanted - len(mantissa.lstrip("+-0.").replace(".", "")))
    return mantissa + mark + exponent


def shown_text(value: Value, budget: Budget) -> bytes:
    """Return a value as text the way sprig does: strings as they are, all else printed."""
    return value if isinstance(value, bytes) else display(value, budget)

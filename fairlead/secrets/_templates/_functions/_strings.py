"""Functions on text. Positions and lengths are bytes, as in Go.

Source: `Masterminds/sprig` v3, and by comparison with its answers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._formatting import display, shown_text
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._text import (
    is_digit,
    is_letter,
    is_lower,
    is_number,
    is_punctuation,
    is_space,
    is_upper,
    mapped,
    quoted,
    runes,
    to_lower,
    to_title,
    to_upper,
    trimmed,
    trimmed_of,
    unrunes,
    valid,
)
from fairlead.secrets._templates._values import StringMap, Strings, Value

REGISTRY: Final = Registry()
_add = REGISTRY.add
_ANY, _STRING, _INT = Type.ANY, Type.STRING, Type.INT


def _slow(c: Context, text: bytes) -> bytes:
    """Pay for a walk over every character."""
    c.budget.step(len(text) // 64)
    return text


@_add("hello")
def _hello(_: Context) -> bytes:
    return b"Hello!"


@_add("trim", takes=(_STRING,))
def _trim(_: Context, text: bytes) -> bytes:
    return trimmed(text)


@_add("upper", takes=(_STRING,))
def _upper(c: Context, text: bytes) -> bytes:
    return text.upper() if text.isascii() else mapped(_slow(c, text), to_upper)


@_add("lower", takes=(_STRING,))
def _lower(c: Context, text: bytes) -> bytes:
    return text.lower() if text.isascii() else mapped(_slow(c, text), to_lower)


def _separates(one: str) -> bool:
    if one.isascii():
        return not (one.isalnum() or one == "_")
    return not (is_letter(one) or is_digit(one)) and is_space(one)


@_add("title", takes=(_STRING,))
def _title(c: Context, text: bytes) -> bytes:
    previous = " "

    def change(one: str) -> str:
        nonlocal previous
        changed = to_title(one) if _separates(previous) else one
        previous = one
        return changed

    return mapped(_slow(c, text), change)


@_add("untitle", takes=(_STRING,))
def _untitle(c: Context, text: bytes) -> bytes:
    previous = " "

    def change(one: str) -> str:
        nonlocal previous
        changed = to_lower(one) if is_space(previous) else one
        previous = one
        return changed

    return mapped(_slow(c, text), change)


@_add("swapcase", takes=(_STRING,))
def _swapcase(c: Context, text: bytes) -> bytes:
    after_space = True

    def change(one: str) -> str:
        nonlocal after_space
        if is_upper(one) or one != to_title(one) != to_upper(one):
            after_space = False
            return to_lower(one)
        if is_lower(one):
            changed = to_title(one) if after_space else to_upper(one)
            after_space = False
            return changed
        after_space = is_space(one)
        return one

    return mapped(_slow(c, text), change)


def _latin(text: bytes) -> str:
    """Return one character for each byte. Upstream does so in two functions, and breaks what is not ASCII."""
    return text.decode("latin-1")


@_add("nospace", takes=(_STRING,))
def _nospace(c: Context, text: bytes) -> bytes:
    kept = "".join(one for one in _latin(_slow(c, text)) if not is_space(one))
    return text if len(kept) == len(text) else kept.encode()


@_add("initials", takes=(_STRING,))
def _initials(c: Context, text: bytes) -> bytes:
    found: list[str] = []
    after_gap = True
    for one in _latin(_slow(c, text)):
        if is_space(one):
            after_gap = True
        elif after_gap:
            found.append(one)
            after_gap = False
    return "".join(found).encode()


@_add("trunc", takes=(_INT, _STRING))
def _trunc(_: Context, count: int, text: bytes) -> bytes:
    if count < 0:
        return text[count:] if len(text) + count > 0 else text
    return text[:count]


@_add("substr", takes=(_INT, _INT, _STRING))
def _substr(_: Context, start: int, end: int, text: bytes) -> bytes:
    low, high = (0, end) if start < 0 else (start, len(text) if end < 0 or end > len(text) else end)
    if not 0 <= low <= high <= len(text):
        raise FunctionError("runtime error: slice bounds out of range")
    return text[low:high]


@_add("repeat", takes=(_INT, _STRING))
def _repeat(c: Context, count: int, text: bytes) -> bytes:
    if count < 0:
        raise FunctionError("strings: negative Repeat count")
    c.budget.allocate(count * len(text))
    return text * count


@_add("trimAll", "trimall", takes=(_STRING, _STRING))
def _trim_all(_: Context, cut: bytes, text: bytes) -> bytes:
    return trimmed_of(text, cut)


@_add("trimPrefix", takes=(_STRING, _STRING))
def _trim_prefix(_: Context, prefix: bytes, text: bytes) -> bytes:
    return text.removeprefix(prefix)


@_add("trimSuffix", takes=(_STRING, _STRING))
def _trim_suffix(_: Context, suffix: bytes, text: bytes) -> bytes:
    return text.removesuffix(suffix)


@_add("contains", takes=(_STRING, _STRING))
def _contains(_: Context, part: bytes, text: bytes) -> bool:
    return part in text


@_add("hasPrefix", takes=(_STRING, _STRING))
def _has_prefix(_: Context, prefix: bytes, text: bytes) -> bool:
    return text.startswith(prefix)


@_add("hasSuffix", takes=(_STRING, _STRING))
def _has_suffix(_: Context, suffix: bytes, text: bytes) -> bool:
    return text.endswith(suffix)


def replaced(c: Context, text: bytes, old: bytes, new: bytes) -> bytes:
    """Return the text with each `old` replaced; an empty one stands before each character and at the end."""
    if old:
        c.budget.allocate(max(0, text.count(old) * (len(new) - len(old))) + len(text))
        return text.replace(old, new)
    characters = runes(text)
    c.budget.allocate((len(characters) + 1) * len(new) + len(text))
    return new + b"".join(unrunes(one) + new for one in characters)


@_add("replace", takes=(_STRING, _STRING, _STRING))
def _replace(c: Context, old: bytes, new: bytes, text: bytes) -> bytes:
    return replaced(c, text, old, new)


@_add("quote", rest=_ANY)
def _quote(c: Context, *values: Value) -> bytes:
    texts = [shown_text(value, c.budget) for value in values if value is not None]
    c.budget.step(sum(map(len, texts)) // 64)
    return b" ".join(map(quoted, texts))


@_add("squote", rest=_ANY)
def _squote(c: Context, *values: Value) -> bytes:
    return b" ".join(b"'" + display(value, c.budget) + b"'" for value in values if value is not None)


@_add("cat", rest=_ANY)
def _cat(c: Context, *values: Value) -> bytes:
    return b" ".join(display(value, c.budget) for value in values if value is not None)


@_add("indent", takes=(_INT, _STRING))
def _indent(c: Context, spaces: int, text: bytes) -> bytes:
    if spaces < 0:
        raise FunctionError("strings: negative Repeat count")
    c.budget.allocate(spaces * (text.count(b"\n") + 1) + len(text))
    pad = b" " * spaces
    return pad + text.replace(b"\n", b"\n" + pad)


@_add("nindent", takes=(_INT, _STRING))
def _nindent(c: Context, spaces: int, text: bytes) -> bytes:
    indented: bytes = _indent(c, spaces, text)
    return b"\n" + indented


@_add("wrap", takes=(_INT, _STRING))
def _wrap(c: Context, width: int, text: bytes) -> bytes:
    return wrapped(c, text, width, b"\n", cuts_words=False)


@_add("wrapWith", takes=(_INT, _STRING, _STRING))
def _wrap_with(c: Context, width: int, separator: bytes, text: bytes) -> bytes:
    return wrapped(c, text, width, separator or b"\n", cuts_words=True)


def wrapped(c: Context, text: bytes, width: int, separator: bytes, *, cuts_words: bool) -> bytes:
    """Return the text in lines of at most so many bytes, broken at spaces."""
    width = max(width, 1)
    c.budget.step(len(text) // 64)
    c.budget.allocate((text.count(b" ") + (len(text) // width if cuts_words else 0)) * len(separator))
    parts: list[bytes] = []
    at = 0
    while len(text) - at > width:
        if text[at] == 32:
            at += 1
            continue
        space = text.rfind(b" ", at, at + width + 1)
        if space >= 0:
            parts.append(text[at:space])
            at = space + 1
        elif cuts_words:
            parts.append(text[at : at + width])
            at += width
        else:
            space = text.find(b" ", at + width)
            if space < 0:
                break
            parts.append(text[at:space])
            at = space + 1
    parts.append(text[at:])
    return separator.join(parts)


@_add("abbrev", takes=(_INT, _STRING))
def _abbrev(_: Context, width: int, text: bytes) -> bytes:
    return text if width < 4 else abbreviated(text, 0, width)


@_add("abbrevboth", takes=(_INT, _INT, _STRING))
def _abbrevboth(_: Context, left: int, right: int, text: bytes) -> bytes:
    if right < 4 or (left > 0 and right < 7):
        return text
    return abbreviated(text, left, right)


def abbreviated(text: bytes, offset: int, width: int) -> bytes:
    """Return at most `width` bytes around `offset`, with three dots where something is missing."""
    if len(text) <= width:
        return text
    offset = min(offset, len(text))
    offset = min(offset, len(text) - (width - 3)) if len(text) - offset < width - 3 else offset
    if offset <= 4:
        return text[: width - 3] + b"..."
    if width < 7:
        return b""
    if offset + width - 3 < len(text):
        return b"..." + abbreviated(text[offset:], 0, width - 3)
    return b"..." + text[len(text) - (width - 3) :]


@_add("plural", takes=(_STRING, _STRING, _INT))
def _plural(_: Context, one: bytes, many: bytes, count: int) -> bytes:
    return one if count == 1 else many


@_add("toString", takes=(_ANY,))
def _to_string(c: Context, value: Value) -> bytes:
    return shown_text(value, c.budget)


def texts_of(c: Context, value: Value) -> Strings:
    """Return the texts of a list without nil; of anything else, a list of its own text."""
    if isinstance(value, Strings):
        return value
    if isinstance(value, list):
        c.budget.step(len(value) // 16)
        return Strings(shown_text(item, c.budget) for item in value if item is not None)
    return Strings() if value is None else Strings([shown_text(value, c.budget)])


@_add("toStrings", takes=(_ANY,))
def _to_strings(c: Context, value: Value) -> Strings:
    return texts_of(c, value)


@_add("join", takes=(_STRING, _ANY))
def _join(c: Context, separator: bytes, value: Value) -> bytes:
    texts = texts_of(c, value)
    c.budget.allocate(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


@_add("sortAlpha", takes=(_ANY,))
def _sort_alpha(c: Context, value: Value) -> Strings:
    texts = texts_of(c, value) if value is not None else Strings([b"<nil>"])
    c.budget.step(len(texts) // 8)
    return Strings(sorted(texts))


def pieces(c: Context, text: bytes, separator: bytes, most: int = -1) -> list[bytes]:
    """Return the text cut at the separator, into at most so many pieces; an empty one cuts between characters."""
    if most == 0:
        return []
    if separator:
        c.budget.step(text.count(separator) // 8)
        return text.split(separator, most - 1 if most > 0 else -1)
    characters = runes(text)
    c.budget.step(len(characters) // 8)
    if 0 < most < len(characters):
        return [*map(unrunes, characters[: most - 1]), unrunes(characters[most - 1 :])]
    return list(map(unrunes, characters))


def _numbered(parts: list[bytes]) -> StringMap:
    return StringMap((b"_%d" % number, part) for number, part in enumerate(parts))


@_add("split", takes=(_STRING, _STRING))
def _split(c: Context, separator: bytes, text: bytes) -> StringMap:
    return _numbered(pieces(c, text, separator))


@_add("splitn", takes=(_STRING, _INT, _STRING))
def _splitn(c: Context, separator: bytes, most: int, text: bytes) -> StringMap:
    return _numbered(pieces(c, text, separator, most))


@_add("splitList", takes=(_STRING, _STRING))
def _split_list(c: Context, separator: bytes, text: bytes) -> Strings:
    return Strings(pieces(c, text, separator))


# words

_CONNECTORS: Final = frozenset("-_")


def _connects(one: str) -> bool:
    return one in _CONNECTORS or is_space(one)


@_add("camelcase", takes=(_STRING,))
def _camelcase(c: Context, text: bytes) -> bytes:
    """Return the words of a text joined, each with a capital; the first too, for the sake of old templates."""
    characters = valid(_slow(c, text))
    start = 0
    while start < len(characters) and _connects(characters[start]):
        start += 1
    parts = [characters[:start]]  # leading connectors stay
    if start == len(characters):
        # Upstream writes the last of nothing but connectors twice.
        return (characters + characters[-1:]).encode()
    previous = to_upper(characters[start])
    run_is_upper = is_upper(characters[start])
    for one in characters[start + 1 :]:
        current = one
        if _connects(current) and _connects(previous):
            parts.append(previous)
        elif _connects(previous):
            run_is_upper = is_upper(current)
            current = to_upper(current)
        else:
            if run_is_upper:
                if is_upper(current):
                    current = to_lower(current)
                else:
                    run_is_upper = False
            parts.append(previous)
        previous = current
    return "".join([*parts, previous]).encode()


def _is_alphabet(one: str) -> bool:
    """Return whether a character is a letter, and none of the Chinese ones that upstream knows."""
    ideographs = "\u4e00" <= one <= "\u9fcc" or "\u3400" <= one <= "\u4d85" or "\U00020000" <= one <= "\U0002b81d"
    return is_letter(one) and not ideographs


def _words(text: str) -> Iterator[tuple[str, str]]:
    """Yield the kind and the text of each run of characters of one kind."""
    at = 0
    while at < len(text):
        kind, end = _word(text, at)
        yield kind, text[at:end]
        at = end


def _run(text: str, at: int, kind: str) -> int:
    while at < len(text) and _kind_of(text[at]) == kind:
        at += 1
    return at


def _kind_of(one: str) -> str:
    if _connects(one):
        return "connector"
    if is_punctuation(one):
        return "punctuation"
    if is_upper(one):
        return "upper"
    if _is_alphabet(one):
        return "letters"
    return "number" if is_number(one) else "other"


def _word(text: str, at: int) -> tuple[str, int]:
    kind = _kind_of(text[at])
    if kind != "upper":
        return kind, _run(text, at, kind)
    end = at + 1
    if end == len(text):
        return kind, end
    if _kind_of(text[end]) == "upper":
        end = _run(text, end, "upper")
        # HTTPStatus is HTTP and Status: the last capital belongs to what follows.
        return kind, end - 1 if end < len(text) and _kind_of(text[end]) == "letters" else end
    return kind, _run(text, end, "letters")


def _lowered_word(kind: str, word: str, connector: str) -> str:
    if kind == "connector":
        return connector * len(word)
    return "".join(map(to_lower, word)) if kind == "upper" else word


def separated(text: str, connector: str) -> str:
    """Return the words of a text in small letters with a connector between them."""
    words = list(_words(text))
    words.append(("end", ""))
    parts: list[str] = []
    at = 0

    def joins(kind: str) -> bool:
        return kind not in ("connector", "punctuation", "end")

    def take_word(index: int) -> int:
        parts.append(_lowered_word(*words[index], connector))
        return index + 1

    def take_run(index: int) -> int:
        while words[index][0] in ("letters", "number"):
            index = take_word(index)
        return index

    while words[at][0] != "end" and words[at + 1][0] != "end":
        kind = words[at][0]
        at = take_word(at)
        following = words[at][0]
        if kind == "number":
            at = take_run(at)
            if joins(words[at][0]):
                parts.append(connector)
        elif kind in ("connector", "punctuation"):
            continue
        elif following != "number":
            if joins(following):
                parts.append(connector)
        elif words[at + 1][0] != "end":
            if words[at + 1][0] != "letters":  # Bld4Floor: the number belongs to what stands before it
                at = take_word(at)
                if joins(words[at][0]):
                    parts.append(connector)
            else:  # HTTP2xx: it belongs to what follows
                parts.append(connector)
                at = take_run(take_word(at))
                if joins(words[at][0]):
                    parts.append(connector)
    if words[at][0] != "end":
        take_word(at)
    return "".join(parts)


@_add("snakecase", takes=(_STRING,))
def _snakecase(c: Context, text: bytes) -> bytes:
    return unrunes(separated(runes(_slow(c, text)), "_"))


@_add("kebabcase", takes=(_STRING,))
def _kebabcase(c: Context, text: bytes) -> bytes:
    return unrunes(separated(runes(_slow(c, text)), "-"))

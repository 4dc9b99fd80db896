"""The syntax of RE2: a pattern becomes a tree, or an error in Go's words.

Source: RE2's syntax page, Go's `regexp/syntax` for the error texts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from fairlead.core._regex_basics import RegexError, is_word

NESTING_MAX: Final = 100
REPEAT_MAX: Final = 1000  # as in RE2

_LAST: Final = 0x10FFFF


Ranges = tuple[tuple[int, int], ...]

_DIGIT: Ranges = ((0x30, 0x39),)
_SPACE: Ranges = ((0x09, 0x0A), (0x0C, 0x0D), (0x20, 0x20))
_WORD: Ranges = ((0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A))
_PERL: Mapping[str, Ranges] = {"d": _DIGIT, "s": _SPACE, "w": _WORD}
_POSIX: Mapping[str, Ranges] = {
    "alnum": ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)),
    "alpha": ((0x41, 0x5A), (0x61, 0x7A)),
    "ascii": ((0x00, 0x7F),),
    "blank": ((0x09, 0x09), (0x20, 0x20)),
    "cntrl": ((0x00, 0x1F), (0x7F, 0x7F)),
    "digit": _DIGIT,
    "graph": ((0x21, 0x7E),),
    "lower": ((0x61, 0x7A),),
    "print": ((0x20, 0x7E),),
    "punct": ((0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E)),
    "space": ((0x09, 0x0D), (0x20, 0x20)),
    "upper": ((0x41, 0x5A),),
    "word": _WORD,
    "xdigit": ((0x30, 0x39), (0x41, 0x46), (0x61, 0x66)),
}
_ESCAPES: Mapping[str, int] = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_MINOR_CATEGORIES = {"C": "cfos", "L": "lmotu", "M": "cen", "N": "dlo", "P": "cdefios", "S": "ckmo", "Z": "lps"}
_CATEGORIES = frozenset(
    {"C", "L", "M", "N", "P", "S", "Z"}
    | {f"{major}{minor}" for major, minors in _MINOR_CATEGORIES.items() for minor in minors}
)


@dataclass(frozen=True, slots=True)
class CharacterClass:
    """A set of characters: ranges, general categories (with their sign), and whether all of it is negated."""

    ranges: Ranges = ()
    categories: tuple[tuple[str, bool], ...] = ()
    negated: bool = False
    fold: bool = False

    def holds(self, character: str) -> bool:
        return self._member(character) != self.negated

    def _member(self, character: str) -> bool:
        if self._plain(character):
            return True
        return self.fold and any(self._plain(other) for other in _folds(character))

    def _plain(self, character: str) -> bool:
        code = ord(character)
        if any(low <= code <= high for low, high in self.ranges):
            return True
        if self.categories:
            category = unicodedata.category(character)
            return any(category.startswith(name) == sign for name, sign in self.categories)
        return False


def _folds(character: str) -> tuple[str, ...]:
    """Return the characters that differ from this one in case alone, as far as single characters go."""
    lower, upper = character.lower(), character.upper()
    found = {lower, upper, upper.lower(), lower.upper()}
    if lower == "k":
        found.add("\u212a")  # the Kelvin sign
    if lower == "s":
        found.add("\u017f")  # the long s
    return tuple(other for other in found if len(other) == 1 and other != character)


@dataclass(frozen=True, slots=True)
class Nothing:
    """Matches the empty text."""


@dataclass(frozen=True, slots=True)
class Assertion:
    what: str  # one of: start, end, line-start, line-end, word, not-word


@dataclass(frozen=True, slots=True)
class Group:
    node: Node
    index: int


@dataclass(frozen=True, slots=True)
class Sequence:
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    node: Node
    least: int
    most: int  # -1: without end
    greedy: bool


Node = CharacterClass | Nothing | Assertion | Group | Sequence | Either | Repeat

_NEWLINE_FREE = CharacterClass(ranges=((0x0A, 0x0A),), negated=True)
_ANYTHING = CharacterClass(ranges=((0, _LAST),))


def fail(what: str, where: str) -> RegexError:
    return RegexError(f"error parsing regexp: {what}: `{where}`")


@dataclass(slots=True)
class _Flags:
    fold: bool = False
    multiline: bool = False
    dot_all: bool = False
    ungreedy: bool = False


class _Parser:
    """Turns a pattern into a tree."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0
        self.groups = 0
        self.names: dict[str, int] = {}
        self.depth = 0

    def parse(self) -> Node:
        node = self._either(_Flags())
        if self.at < len(self.pattern):
            raise fail("unexpected )", self.pattern)
        return node

    def _peek(self, text: str) -> bool:
        return self.pattern.startswith(text, self.at)

    def _either(self, flags: _Flags) -> Node:
        self.depth += 1
        if self.depth > NESTING_MAX:
            raise fail("expression nests too deeply", self.pattern)
        branches: list[Node] = []
        items: list[Node] = []
        while self.at < len(self.pattern) and not self._peek(")"):
            if self._peek("|"):
                self.at += 1
                branches.append(Sequence(tuple(items)))
                items = []
                continue
            self._item(items, flags)
        branches.append(Sequence(tuple(items)))
        self.depth -= 1
        return branches[0] if len(branches) == 1 else Either(tuple(branches))

    def _item(self, items: list[Node], flags: _Flags) -> None:
        """Append one atom with its repetitions; flags may change for what follows in this group."""
        character = self.pattern[self.at]
        if self._peek("(?"):
            inner = self._extension(flags)
            if inner is not None:
                items.append(inner)
        elif self._peek("\\Q"):
            items.extend(self._quoted(flags))
        elif character not in "*+?" and not (character == "{" and self._counts() is not None):
            items.append(self._atom(character, flags))
        # Flags alone, as in a(?i)*, are no atom: what stands before them is repeated. So does RE2.
        if items:
            items[-1] = self._repeated(items[-1], flags)
        elif self.at < len(self.pattern) and (character := self.pattern[self.at]) in "*+?{":
            counts = self._counts() if character == "{" else None
            if counts is not None:
                self._check_counts(counts)
            if character != "{" or counts is not None:
                raise fail("missing argument to repetition operator", self._operator())

    def _atom(self, character: str, flags: _Flags) -> Node:
        if character == "(":
            return self._group(1, flags)
        if character == "[":
            return self._bracket(flags)
        if character == "\\":
            return self._escape(flags)
        self.at += 1
        match character:
            case ".":
                return _ANYTHING if flags.dot_all else _NEWLINE_FREE
            case "^":
                return Assertion("line-start" if flags.multiline else "start")
            case "$":
                return Assertion("line-end" if flags.multiline else "end")
            case _:
                return self._literal(ord(character), flags)

    @staticmethod
    def _literal(code: int, flags: _Flags) -> Node:
        return CharacterClass(ranges=((code, code),), fold=flags.fold)

    def _group(self, skip: int, flags: _Flags, *, name: str = "", capture: bool = True) -> Node:
        self.at += skip
        index = 0
        if capture:
            self.groups += 1
            index = self.groups
            if name:
                self.names.setdefault(name, index)
        own = _Flags(flags.fold, flags.multiline, flags.dot_all, flags.ungreedy)
        node = self._either(own)
        if not self._peek(")"):
            raise fail("missing closing )", self.pattern)
        self.at += 1
        return Group(node, index) if capture else Sequence((node,))

    def _extension(self, flags: _Flags) -> Node | None:
        """Read `(?...`: a named or non-capturing group, or flags (None)."""
        rest = self.pattern[self.at :]
        for opening in ("(?P<", "(?<"):
            if rest.startswith(opening) and rest[3:4] not in ("=", "!") and rest != opening:
                end = rest.find(">")
                if end < 0:
                    raise fail("invalid named capture", rest)
                name = rest[len(opening) : end]
                if not name or not all(is_word(letter) for letter in name):
                    raise fail("invalid named capture", rest[: end + 1])
                return self._group(end + 1, flags, name=name)
        at, sign, seen = 2, True, False
        own = _Flags(flags.fold, flags.multiline, flags.dot_all, flags.ungreedy)
        while at < len(rest):
            letter = rest[at]
            at += 1
            if letter in "imsU":
                seen = True
                match letter:
                    case "i":
                        own.fold = sign
                    case "m":
                        own.multiline = sign
                    case "s":
                        own.dot_all = sign
                    case _:
                        own.ungreedy = sign
            elif letter == "-" and sign:
                sign, seen = False, False
            elif letter in ":)" and (sign or seen):
                if letter == ")":
                    flags.fold, flags.multiline = own.fold, own.multiline
                    flags.dot_all, flags.ungreedy = own.dot_all, own.ungreedy
                    self.at += at
                    return None
                return self._group(at, own, capture=False)
            else:
                break
        raise fail("invalid or unsupported Perl syntax", rest[:at])

    # repetition

    def _operator(self) -> str:
        """Return the text of the repetition operator at the cursor, with a lazy mark if there is one."""
        end = self.at + 1
        if self.pattern[self.at] == "{":
            counts = self._counts()
            end = counts[2] if counts else end
        if self.pattern[end : end + 1] == "?":
            end += 1
        return self.pattern[self.at : end]

    def _counts(self) -> tuple[int, int, int] | None:
        """Return (least, most, end) of `{n}`, `{n,}` or `{n,m}` at the cursor, or None: a literal brace."""
        end = self.pattern.find("}", self.at)
        if end < 0 or end - self.at > 24:
            return None
        low, comma, high = self.pattern[self.at + 1 : end].partition(",")
        if not low.isascii() or not low.isdigit() or (len(low) > 1 and low[0] == "0"):
            return None
        if high and (not high.isascii() or not high.isdigit() or (len(high) > 1 and high[0] == "0")):
            return None
        least = int(low)
        most = least if not comma else int(high) if high else -1
        return least, most, end + 1

    def _check_counts(self, counts: tuple[int, int, int]) -> None:
        least, most, end = counts
        if least > REPEAT_MAX or most > REPEAT_MAX or (most >= 0 and least > most):
            raise fail("invalid repeat count", self.pattern[self.at : end])

    def _repeated(self, atom: Node, flags: _Flags) -> Node:
        first = ""
        while self.at < len(self.pattern):
            character = self.pattern[self.at]
            if character in "*+?":
                least, most, end = {"*": (0, -1), "+": (1, -1), "?": (0, 1)}[character] + (self.at + 1,)
            elif character == "{" and (counts := self._counts()) is not None:
                least, most, end = counts
                self._check_counts(counts)
            else:
                break
            text = self._operator()
            if first:
                raise fail("invalid nested repetition operator", first + text)
            first = text
            greedy = not flags.ungreedy
            if self.pattern[end : end + 1] == "?":
                greedy, end = not greedy, end + 1
            self.at = end
            atom = Repeat(atom, least, most, greedy)
        return atom

    # escapes and classes

    def _quoted(self, flags: _Flags) -> list[Node]:
        """Read `\\Q...\\E` as single literals, so that a repetition behind it means the last one."""
        end = self.pattern.find("\\E", self.at)
        quoted = self.pattern[self.at + 2 :] if end < 0 else self.pattern[self.at + 2 : end]
        self.at = len(self.pattern) if end < 0 else end + 2
        return [self._literal(ord(one), flags) for one in quoted]

    def _escape(self, flags: _Flags) -> Node:
        rest = self.pattern[self.at :]
        letter = rest[1:2]
        match letter:
            case "":
                raise RegexError("error parsing regexp: trailing backslash at end of expression: ``")
            case "A" | "z" | "b" | "B":
                self.at += 2
                return Assertion({"A": "start", "z": "end", "b": "word", "B": "not-word"}[letter])
            case "C":
                raise fail("invalid escape sequence", "\\C")
            case _:
                pass
        found = self._shorthand()
        if found is not None:
            ranges, categories, negated = found
            return CharacterClass(ranges, categories, negated, fold=flags.fold)
        return self._literal(self._escaped_code(), flags)

    def _shorthand(self) -> tuple[Ranges, tuple[tuple[str, bool], ...], bool] | None:
        """Read `\\d`, `\\W`, `\\pL`, `\\P{Lu}` at the cursor, or return None and stay."""
        letter = self.pattern[self.at + 1 : self.at + 2]
        if letter and letter.lower() in _PERL and letter.lower() != letter:
            self.at += 2
            return _PERL[letter.lower()], (), True
        if letter in _PERL:
            self.at += 2
            return _PERL[letter], (), False
        if letter not in ("p", "P"):
            return None
        end = self.at + 3
        name = self.pattern[self.at + 2 : end]
        if name == "{":
            end = self.pattern.find("}", self.at) + 1
            if end == 0:
                raise fail("invalid character class range", self.pattern[self.at :])
            name = self.pattern[self.at + 3 : end - 1]
        text = self.pattern[self.at : end]
        negated = letter == "P"
        if name.startswith("^"):
            name, negated = name[1:], not negated
        if name == "Any":
            self.at = end
            return ((0, _LAST),), (), negated
        if name not in _CATEGORIES:
            raise fail("invalid character class range", text)
        self.at = end
        return (), ((name, True),), negated

    def _escaped_code(self) -> int:
        """Return the code point of the escape at the cursor, and step over it."""
        rest = self.pattern[self.at :]
        letter = rest[1:2]
        if not letter:
            raise RegexError("error parsing regexp: trailing backslash at end of expression: ``")
        if letter in _ESCAPES:
            self.at += 2
            return _ESCAPES[letter]
        if letter == "0" or (letter in "1234567" and rest[2:3] in tuple("01234567")):
            digits = letter  # a lone digit other than 0 would be a back-reference
            while len(digits) < 3 and rest[1 + len(digits) : 2 + len(digits)] in tuple("01234567"):
                digits += rest[1 + len(digits)]
            self.at += 1 + len(digits)
            return int(digits, 8)
        if letter == "x":
            end = rest.find("}") if rest[2:3] == "{" else 4
            digits = rest[3:end] if rest[2:3] == "{" else rest[2:4]
            is_hexadecimal = bool(digits) and all(one in "0123456789abcdefABCDEF" for one in digits)
            if end < 0 or not is_hexadecimal or (rest[2:3] != "{" and len(digits) < 2) or int(digits, 16) > _LAST:
                raise fail("invalid escape sequence", rest[: max(2, min(end, len(rest)))])
            self.at += end + 1 if rest[2:3] == "{" else 4
            return int(digits, 16)
        if ord(letter) < 0x80 and not letter.isalnum() and letter != "_":
            self.at += 2
            return ord(letter)
        if letter == "_":
            self.at += 2
            return ord(letter)
        raise fail("invalid escape sequence", rest[:2])

    def _bracket(self, flags: _Flags) -> Node:
        start = self.at
        self.at += 1
        negated = self._peek("^")
        self.at += int(negated)
        ranges: list[tuple[int, int]] = []
        categories: list[tuple[str, bool]] = []
        first = True
        while first or not self._peek("]"):
            if self.at >= len(self.pattern):
                raise fail("missing closing ]", self.pattern[start:])
            first = False
            if self._peek("[:") and (end := self.pattern.find(":]", self.at)) >= 0:
                name = self.pattern[self.at + 2 : end]
                text = self.pattern[self.at : end + 2]
                self.at = end + 2
                members = _POSIX.get(name.removeprefix("^"))
                if members is None:
                    raise fail("invalid character class range", text)
                ranges.extend(_complement(members) if name.startswith("^") else members)
                continue
            if self._peek("\\") and (found := self._shorthand()) is not None:
                members, named, is_negated = found
                ranges.extend(_complement(members) if is_negated and members else members)
                categories.extend((name, not is_negated) for name, _ in named)
                continue
            ranges.append(self._range())
        self.at += 1
        return CharacterClass(tuple(ranges), tuple(categories), negated, flags.fold)

    def _range(self) -> tuple[int, int]:
        start = self.at
        low = self._member()
        if not self._peek("-") or self.pattern[self.at + 1 : self.at + 2] in ("]", ""):
            return low, low
        self.at += 1
        high = self._member()
        if high < low:
            raise fail("invalid character class range", self.pattern[start : self.at])
        return low, high

    def _member(self) -> int:
        if self.at >= len(self.pattern):
            raise fail("missing closing ]", self.pattern)
        if self._peek("\\"):
            return self._escaped_code()
        self.at += 1
        return ord(self.pattern[self.at - 1])


def _complement(ranges: Ranges) -> Ranges:
    found: list[tuple[int, int]] = []
    at = 0
    for low, high in sorted(ranges):
        if low > at:
            found.append((at, low - 1))
        at = max(at, high + 1)
    if at <= _LAST:
        found.append((at, _LAST))
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Syntax:
    """A parsed pattern: its tree, how many capturing groups it has, and the numbers of the named ones."""

    tree: Node
    groups: int
    names: Mapping[str, int]


def parse(pattern: str) -> Syntax:
    """Return the tree of a pattern.

    Raises:
        RegexError: with Go's text.
    """
    parser = _Parser(pattern)
    tree = parser.parse()
    return Syntax(tree, parser.groups, parser.names)

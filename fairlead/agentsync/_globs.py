"""Which names a glob stands for, in the two dialects that Argo CD's settings use.

A pattern that is none matches nothing: a project that cannot be understood must not permit.

Source: argo-cd: util/glob (github.com/gobwas/glob), Go's `path/filepath.Match`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from fairlead.core.regex import Pattern, RegexError, RegexLimit
from fairlead.core.regex import compile as compile_regex

_PATTERN_CHARACTERS_MAX: Final = 4096
_SPECIAL: Final = frozenset(r"\.+*?()|[]{}^$")


class _Bad(Exception):
    """The pattern is none."""


def glob(pattern: str, text: str, *, separators: str = "") -> bool:
    """Return whether a pattern with `*`, `**`, `?`, `[a-z]`, `[!a-z]`, `{a,b}` and `\\` stands for the whole text.

    Args:
        pattern: what the user wrote.
        text: the name in question.
        separators: characters at which `*` and `?` stop, and `**` does not.

    >>> glob("team-*", "team-a"), glob("https://host/*", "https://host/a/b", separators="/")
    (True, False)
    """
    return _test(_translated(pattern, separators, True), text)


def file_glob(pattern: str, text: str) -> bool:
    """Return whether a pattern with `*`, `?`, `[a-z]`, `[^a-z]` and `\\` stands for the whole text; `*` stops at `/`.

    Here `{a,b}` has no meaning: Argo CD matches groups and kinds of projects so, and we must not permit more.

    >>> file_glob("*", "Deployment"), file_glob("{Job,Pod}", "Job")
    (True, False)
    """
    return _test(_translated(pattern, "/", False), text)


def is_pattern(text: str) -> bool:
    """Return whether a glob may stand for more than one text."""
    return any(character in text for character in r"*?[{\!")


def is_glob(pattern: str) -> bool:
    """Return whether `glob` can understand a pattern; what it cannot, it matches with nothing.

    >>> is_glob("*.{yaml,yml}"), is_glob("*.{yaml")
    (True, False)
    """
    return _translated(pattern, "", True) is not None


def name_matches(pattern: str, text: str) -> bool:
    """Return whether a name is meant by `/a regular expression/` (somewhere in it), or by a glob."""
    if len(pattern) > 1 and pattern.startswith("/") and pattern.endswith("/"):
        try:
            return compile_regex(pattern[1:-1]).test(text)
        except (RegexError, RegexLimit):
            return False
    return glob(pattern, text)


def _test(compiled: Pattern | None, text: str) -> bool:
    if compiled is None:
        return False
    try:
        return compiled.test(text)
    except RegexLimit:
        return False


@lru_cache(maxsize=1024)
def _translated(pattern: str, separators: str, alternatives: bool) -> Pattern | None:
    # A regular expression whose running time is linear: a project's patterns are tried against every object.
    if len(pattern) > _PATTERN_CHARACTERS_MAX:
        return None
    try:
        return compile_regex(rf"(?s)\A(?:{_Translation(pattern, separators, alternatives).expression()})\z")
    except (_Bad, RegexError, RegexLimit):
        return None


def _quoted(character: str) -> str:
    return f"\\{character}" if character in _SPECIAL else character


class _Translation:
    """One walk over a glob."""

    def __init__(self, pattern: str, separators: str, alternatives: bool) -> None:
        self._pattern = pattern
        self._alternatives = alternatives
        self._one = f"[^{''.join(map(_quoted, separators))}]" if separators else "."
        self._at = 0

    def expression(self) -> str:
        found: list[str] = []
        depth = 0
        while self._at < len(self._pattern):
            character = self._pattern[self._at]
            self._at += 1
            if character == "{" and self._alternatives:
                depth += 1
                found.append("(?:")
            elif character == "}" and depth:
                depth -= 1
                found.append(")")
            elif character == "," and depth:
                found.append("|")
            else:
                found.append(self._piece(character))
        if depth:
            raise _Bad
        return "".join(found)

    def _piece(self, character: str) -> str:
        match character:
            case "*":
                is_double = self._alternatives and self._pattern[self._at : self._at + 1] == "*"
                while self._pattern[self._at : self._at + 1] == "*":
                    self._at += 1
                return ".*" if is_double else f"{self._one}*"
            case "?":
                return self._one
            case "[":
                return self._set()
            case "\\":
                return _quoted(self._next())
            case _:
                return _quoted(character)

    def _set(self) -> str:
        negation = "!" if self._alternatives else "^"
        parts: list[str] = []
        is_negated = self._pattern[self._at : self._at + 1] == negation
        if is_negated:
            self._at += 1
        while (character := self._next()) != "]":
            first = self._next() if character == "\\" else character
            if self._pattern[self._at : self._at + 1] == "-" and self._pattern[self._at + 1 : self._at + 2] != "]":
                self._at += 1
                last = self._next()
                parts.append(f"{_in_set(first)}-{_in_set(self._next() if last == chr(92) else last)}")
            else:
                parts.append(_in_set(first))
        if not parts:
            raise _Bad
        return f"[{'^' if is_negated else ''}{''.join(parts)}]"

    def _next(self) -> str:
        if self._at >= len(self._pattern):
            raise _Bad
        self._at += 1
        return self._pattern[self._at - 1]


def _in_set(character: str) -> str:
    return f"\\{character}" if character in r"\]^-[" else character

"""Regular expressions of RE2's syntax in time linear in the text: patterns of users can never stall us.

Python's own `re` backtracks, so a pattern from a manifest could hang the process. Here a pattern becomes a small
program for a non-deterministic automaton. `Pattern.test` runs it as a lazily built deterministic one (fast, yes or
no), `Pattern.search` and `Pattern.fullmatch` as threads in lockstep, with captures. Every run has a work limit.

What differs from RE2: Unicode scripts (`\\p{Greek}`) and `\\C` are refused; general categories (`\\p{Lu}`) work.

Source: RE2's syntax page, Go's `regexp`; the constructions of Thompson and Pike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from fairlead.core._regex_basics import RegexError, RegexLimit, is_word

if TYPE_CHECKING:
    from fairlead.core._regex_program import Instruction

__all__ = ["Match", "Pattern", "RegexError", "RegexLimit", "Work", "compile", "expand"]

PATTERN_LENGTH_MAX: Final = 64 * 1024
WORK_MAX: Final = 2_000_000  # automaton steps of one match: about a second
_CACHED_MOVES_MAX: Final = 5_000


@dataclass(frozen=True, slots=True)
class Match:
    """Where a pattern matched. Group 0 is the whole; a group that took no part is None."""

    text: str
    spans: tuple[tuple[int, int] | None, ...]
    names: Mapping[str, int] = field(default_factory=dict)

    def span(self, group: int | str = 0) -> tuple[int, int] | None:
        return self.spans[self.names[group] if isinstance(group, str) else group]

    def group(self, group: int | str = 0) -> str | None:
        span = self.span(group)
        return None if span is None else self.text[span[0] : span[1]]


class Work:
    """Counts the steps of one run, or of several that share a limit."""

    __slots__ = ("left",)

    def __init__(self, limit: int = WORK_MAX) -> None:
        self.left = limit

    def spend(self, steps: int) -> None:
        self.left -= steps
        if self.left < 0:
            raise RegexLimit("regular expression: too much work for a text of this length")


def _holds(what: str, before: str, after: str) -> bool:
    """Return whether an assertion holds between two characters; an empty one is the end of the text."""
    match what:
        case "start":
            return not before
        case "end":
            return not after
        case "line-start":
            return before in ("", "\n")
        case "line-end":
            return after in ("", "\n")
        case _:
            boundary = bool(before and is_word(before)) != bool(after and is_word(after))
            return boundary == (what == "word")


class Pattern:
    """A compiled pattern. Safe to share; its cache of automaton states is bounded."""

    def __init__(self, pattern: str) -> None:
        # The parser is loaded with the first pattern: many a process never compiles one.
        from fairlead.core._regex_program import Program
        from fairlead.core._regex_syntax import parse

        if len(pattern) > PATTERN_LENGTH_MAX:
            raise RegexError("error parsing regexp: expression too large")
        syntax = parse(pattern)
        program = Program(pattern, syntax.tree)
        self.pattern = pattern
        self.groups = syntax.groups
        self.names: Mapping[str, int] = dict(syntax.names)
        self._entry = program.entry
        self._program: list[Instruction] = program.instructions
        # (waiting instructions, what stood before) -> next character -> (waiting instructions, matched)
        self._cached = 0
        self._moves: dict[tuple[frozenset[int], str], dict[str, tuple[frozenset[int], bool]]] = {}

    def __repr__(self) -> str:
        return f"Pattern({self.pattern!r})"

    # yes or no

    @property
    def size(self) -> int:
        """How many instructions the pattern has become; compiling it took about so many steps."""
        return len(self._program)

    def test(self, text: str, *, work: Work | None = None) -> bool:
        """Return whether the pattern matches anywhere in the text.

        Raises:
            RegexLimit: too much work.
        """
        work = work or Work()
        waiting: frozenset[int] = frozenset()
        before = "start"
        for character in (*text, "") if len(text) < 64 else _with_end(text):
            moves = self._moves.get((waiting, before))
            move = moves.get(character) if moves is not None else None
            if move is None:
                if self._cached >= _CACHED_MOVES_MAX:
                    self._moves.clear()
                    self._cached = 0
                move = self._move(waiting, before, character, work)
                self._moves.setdefault((waiting, before), {})[character] = move
                self._cached += 1
            waiting, is_match = move
            if is_match:
                return True
            before = _kind(character)
        return False

    def _move(self, waiting: frozenset[int], before: str, after: str, work: Work) -> tuple[frozenset[int], bool]:
        """Return the states behind the character `after`, and whether a match ends in front of it."""
        previous = {"start": "", "line": "\n", "word": "w", "other": " "}[before]
        seen: set[int] = set()
        found: set[int] = set()
        stack = [*waiting, self._entry]
        while stack:
            at = stack.pop()
            if at in seen:
                continue
            seen.add(at)
            instruction = self._program[at]
            match instruction.operation:
                case "match":
                    work.spend(len(seen))
                    return frozenset(), True
                case "split":
                    stack += (instruction.next, instruction.other)
                case "save":
                    stack.append(instruction.next)
                case "assert":
                    if _holds(instruction.what, previous, after):
                        stack.append(instruction.next)
                case _:
                    if after and instruction.set is not None and instruction.set.holds(after):
                        found.add(instruction.next)
        work.spend(len(seen))
        return frozenset(found), False

    # where

    def search(self, text: str, start: int = 0, *, work: Work | None = None) -> Match | None:
        """Return the leftmost match that begins at `start` or later; alternatives count in their order.

        Args:
            work: what the run may cost, shared with other runs; by default an allowance of its own.

        Raises:
            RegexLimit: too much work.
        """
        return self._run(text, start, work or Work(), anchored=False, whole=False)

    def fullmatch(self, text: str) -> Match | None:
        """Return the match that covers the whole text.

        Raises:
            RegexLimit: too much work.
        """
        return self._run(text, 0, Work(), anchored=True, whole=True)

    def _run(self, text: str, start: int, work: Work, *, anchored: bool, whole: bool) -> Match | None:
        blank: tuple[int, ...] = (-1,) * (2 * self.groups + 2)
        threads: list[tuple[int, tuple[int, ...]]] = []
        best: tuple[int, ...] | None = None
        for at in range(start, len(text) + 1):
            after = text[at : at + 1]
            before = text[at - 1 : at] if at else ""
            starts = best is None and (not anchored or at == start)
            if not threads and not starts:
                break
            seeds = threads
            if starts:
                seeds = [*threads, (self._entry, (at, *blank[1:]))]
            threads = []
            seen: set[int] = set()
            for state, saved in self._closure(seeds, seen, at, before, after):
                instruction = self._program[state]
                if instruction.operation == "match":
                    if whole and after:
                        continue
                    best = (saved[0], at, *saved[2:])
                    break  # threads of lower priority are cut off
                if after and instruction.set is not None and instruction.set.holds(after):
                    threads.append((instruction.next, saved))
            work.spend(len(seen) + 1)
        if best is None:
            return None
        pairs = zip(best[::2], best[1::2], strict=True)
        return Match(text, tuple((low, high) if low >= 0 and high >= 0 else None for low, high in pairs), self.names)

    def _closure(
        self, seeds: list[tuple[int, tuple[int, ...]]], seen: set[int], at: int, before: str, after: str
    ) -> list[tuple[int, tuple[int, ...]]]:
        """Return the consuming and matching states that the seeds reach without a character, best first."""
        found: list[tuple[int, tuple[int, ...]]] = []
        stack = list(reversed(seeds))
        while stack:
            state, saved = stack.pop()
            if state in seen:
                continue
            seen.add(state)
            instruction = self._program[state]
            match instruction.operation:
                case "split":
                    stack += ((instruction.other, saved), (instruction.next, saved))
                case "save":
                    slot = instruction.slot
                    stack.append((instruction.next, (*saved[:slot], at, *saved[slot + 1 :])))
                case "assert":
                    if _holds(instruction.what, before, after):
                        stack.append((instruction.next, saved))
                case _:
                    found.append((state, saved))
        return found

    def replace(self, text: str, by: str | Callable[[Match], str]) -> str:
        """Return the text with every match replaced; in a string `$1`, `${1}` and `${name}` stand for groups.

        Source: Go's `Regexp.ReplaceAllString` and `Expand`.
        """
        parts: list[str] = []
        at, copied = 0, 0
        while at <= len(text):
            match = self.search(text, at)
            if match is None:
                break
            low, high = match.spans[0] or (at, at)
            if high > low or low >= copied:
                parts.append(text[copied:low])
                parts.append(by(match) if callable(by) else expand(by, match))
                copied = high
            at = high if high > low else high + 1
            if high == low:
                continue
            # An empty match right behind a match is skipped, as Go does.
            following = self.search(text, at)
            if following is not None and following.spans[0] == (at, at):
                at += 1
        parts.append(text[copied:])
        return "".join(parts)


def _with_end(text: str) -> list[str]:
    return [*text, ""]


def _kind(character: str) -> str:
    if character == "\n":
        return "line"
    return "word" if character and is_word(character) else "other"


def expand(template: str, match: Match) -> str:
    """Return the template with `$name`, `${name}`, `$1` and `$$` filled in; unknown groups are empty."""
    parts: list[str] = []
    at = 0
    while (dollar := template.find("$", at)) >= 0:
        parts.append(template[at:dollar])
        rest = template[dollar + 1 :]
        if rest.startswith("$"):
            parts.append("$")
            at = dollar + 2
            continue
        braced = rest.startswith("{")
        end = rest.find("}") if braced else 0
        if braced and end > 0:
            name, width = rest[1:end], end + 1
        else:
            width = 0
            while not braced and width < len(rest) and is_word(rest[width]):
                width += 1
            name = rest[:width]
        if not name or not all(is_word(one) for one in name):
            parts.append("$")  # malformed: a plain dollar
            at = dollar + 1
            continue
        index = int(name) if name.isdigit() and len(name) < 6 else match.names.get(name, -1)
        if 0 <= index < len(match.spans):
            parts.append(match.group(index) or "")
        at = dollar + 1 + width
    parts.append(template[at:])
    return "".join(parts)


@lru_cache(maxsize=256)
def compile(pattern: str) -> Pattern:  # noqa: A001 - as in the standard library's module
    """Return the compiled pattern, perhaps one compiled earlier.

    Raises:
        RegexError: with Go's text, such as "error parsing regexp: missing closing ): `(a`".

    >>> bool(compile("^succ").test("success-rate"))
    True
    """
    return Pattern(pattern)

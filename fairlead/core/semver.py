"""Semantic versions and ranges of them, as charts, templates and Git tags use them.

Source: `Masterminds/semver` v3 and semver.org; by comparison with the former's answers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_SUFFIX: Final = r"(?:-([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?(?:\+([0-9A-Za-z\-]+(?:\.[0-9A-Za-z\-]+)*))?"
_VERSION: Final = re.compile(r"v?([0-9]+)(?:\.([0-9]+))?(?:\.([0-9]+))?" + _SUFFIX)
_NUMBER: Final = r"[0-9xX*|]+"
_RANGE: Final = rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?" + _SUFFIX
_OPERATOR: Final = r"(?:!=|>=|=>|<=|=<|~>|=|>|<|~|\^)?"
_HYPHEN: Final = re.compile(rf"\s*({_RANGE})\s+-\s+({_RANGE})\s*")
_TERM: Final = re.compile(rf"\s*({_OPERATOR})\s*({_RANGE})\s*")
_TEXT_LENGTH_MAX: Final = 256
_UINT64_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Version:
    """A version; `original` is the text that it was read from."""

    major: int
    minor: int
    patch: int
    prerelease: str = ""
    metadata: str = ""
    original: str = ""

    def __str__(self) -> str:
        text = f"{self.major}.{self.minor}.{self.patch}"
        return (
            text + (f"-{self.prerelease}" if self.prerelease else "") + (f"+{self.metadata}" if self.metadata else "")
        )

    def compare(self, other: Version) -> int:
        """Return -1, 0 or 1; metadata does not count, and a prerelease comes before its release."""
        mine, its = (self.major, self.minor, self.patch), (other.major, other.minor, other.patch)
        if mine != its:
            return -1 if mine < its else 1
        if not self.prerelease or not other.prerelease:
            return bool(other.prerelease) - bool(self.prerelease)
        return compare_prereleases(self.prerelease, other.prerelease)


def compare_prereleases(one: str, other: str) -> int:
    """Return -1, 0 or 1: numbers by size and before words, fewer parts before more."""
    left, right = one.split("."), other.split(".")
    for mine, its in zip(left, right, strict=False):
        if mine == its:
            continue
        if mine.isdigit() and its.isdigit():
            return -1 if int(mine) < int(its) else 1
        if mine.isdigit() or its.isdigit():
            return -1 if mine.isdigit() else 1
        return -1 if mine < its else 1
    return (len(left) > len(right)) - (len(left) < len(right))


def parse_version(text: str) -> Version:
    """Return a version; a leading v, and missing numbers, are allowed.

    Raises:
        ValueError: it is none.
    """
    found = _VERSION.fullmatch(text) if len(text) <= _TEXT_LENGTH_MAX else None
    if found is None:
        raise ValueError("invalid semantic version")
    numbers = [int(one or "0") for one in found.group(1, 2, 3)]
    if max(numbers) > _UINT64_MAX:
        raise ValueError("invalid semantic version")
    prerelease = found.group(4) or ""
    if any(part.isdigit() and len(part) > 1 and part[0] == "0" for part in prerelease.split(".")):
        raise ValueError("version segment starts with 0")
    return Version(numbers[0], numbers[1], numbers[2], prerelease, found.group(5) or "", text)


@dataclass(frozen=True, slots=True)
class _Bound:
    """One comparison. `given` counts the numbers that are no wildcards."""

    operator: str
    version: Version
    given: int

    def admits(self, version: Version) -> bool:
        bound = self.version
        if self.operator == "!=":
            return self._differs(version)
        # Prereleases are wanted only where the range itself names one.
        if version.prerelease and not bound.prerelease:
            return False
        order = version.compare(bound)
        match self.operator:
            case ">":
                return self._is_above(version, order)
            case "<":
                return order < 0
            case ">=" | "=>":
                return order >= 0
            case "<=" | "=<":
                return self._is_at_most(version, order)
            case "^":
                return order >= 0 and self._is_compatible(version)
            case "~" | "~>":
                return order >= 0 and self._is_near(version)
            case _:
                return order >= 0 and self._is_near(version) if self.given < 3 else order == 0

    def _differs(self, version: Version) -> bool:
        bound = self.version
        if self.given == 3:
            return version.compare(bound) != 0
        if version.prerelease and not bound.prerelease:
            return False
        if version.major != bound.major:
            return True
        if self.given == 0:
            # `!=*`: all wildcards are read as 0.0.0 here.
            return version.minor != 0 or version.patch != 0 or version.compare(bound) != 0
        if self.given == 1:
            return False
        return version.minor != bound.minor or bool(
            (version.prerelease or bound.prerelease) and compare_prereleases(version.prerelease, bound.prerelease)
        )

    def _is_above(self, version: Version, order: int) -> bool:
        if self.given in (0, 3):
            return order > 0
        if version.major != self.version.major or self.given == 1:
            return version.major > self.version.major
        return version.minor > self.version.minor

    def _is_at_most(self, version: Version, order: int) -> bool:
        if self.given == 3:
            return order <= 0
        if version.major > self.version.major:
            return False
        return self.given == 1 or version.major != self.version.major or version.minor <= self.version.minor

    def _is_near(self, version: Version) -> bool:
        bound = self.version
        if (bound.major, bound.minor, bound.patch) == (0, 0, 0) and self.given in (0, 3):
            return True
        return version.major == bound.major and (self.given == 1 or version.minor == bound.minor)

    def _is_compatible(self, version: Version) -> bool:
        bound = self.version
        if version.major != bound.major:
            return False
        if bound.major > 0 or self.given == 1:
            return True
        if bound.minor > 0 or self.given == 2:
            return version.minor == bound.minor
        return version.minor == 0 and version.patch == bound.patch


@dataclass(frozen=True, slots=True)
class Constraint:
    """A range of versions; `alternatives` holds what `||` parts, and each bound of one must admit a version."""

    alternatives: tuple[tuple[_Bound, ...], ...]

    def admits(self, version: Version) -> bool:
        """Return whether a version lies in it."""
        return any(all(bound.admits(version) for bound in bounds) for bounds in self.alternatives)


def parse_constraint(text: str) -> Constraint:
    """Return a range such as `>=1.2, <2 || ^3`.

    Raises:
        ValueError: it cannot be read.

    >>> parse_constraint("1.x - 2.x").admits(parse_version("3.0.0"))
    False
    """
    if len(text) > _TEXT_LENGTH_MAX:
        raise ValueError("improper constraint")
    rewritten = _HYPHEN.sub(lambda found: f">= {found[1]}, <= {found[7]} ", text)
    return Constraint(tuple(tuple(_bounds(part)) for part in rewritten.split("||")))


def satisfies(constraint: str, version: Version) -> bool:
    """Return whether a version lies in a range such as `>=1.2, <2 || ^3`.

    Raises:
        ValueError: the range cannot be read.

    >>> satisfies("^1.2", parse_version("v1.9.0")), satisfies("1.x - 2.x", parse_version("3.0.0"))
    (True, False)
    """
    return parse_constraint(constraint).admits(version)


def _bounds(text: str) -> list[_Bound]:
    found: list[_Bound] = []
    at = 0
    while True:
        term = _TERM.match(text, at)
        if term is None:
            raise ValueError("improper constraint")
        found.append(_bound(term[1], [term[3], term[4], term[5]], term[6]))
        at = term.end()
        if at == len(text):
            return found
        if text[at] == ",":
            at += 1
        elif not text[at - 1].isspace():
            raise ValueError("improper constraint")


def _bound(operator: str, numbers: list[str | None], prerelease: str | None) -> _Bound:
    given = 0
    while given < 3 and numbers[given] not in (None, "x", "X", "*"):
        given += 1
    known = [number or "0" for number in numbers[:given]] + ["0"] * (3 - given)
    return _Bound(operator, parse_version(".".join(known) + (f"-{prerelease}" if prerelease else "")), given)

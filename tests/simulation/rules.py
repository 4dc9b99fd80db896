"""How an invariant is stated: a function from what has happened to complaints, known by its number.

Numbers are those of the catalogue of invariants of the project's reference; R1 to R9 are the ordering rules of routes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.simulation.story import Commit, Story

Check = Callable[[Story, Commit], Iterator[str]]
RestCheck = Callable[[Story], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Invariant:
    """What must be true at every commit."""

    numbers: tuple[str, ...]
    check: Check

    @property
    def name(self) -> str:
        return self.check.__name__


@dataclass(frozen=True, slots=True)
class RestInvariant:
    """What must be true once nothing happens any more."""

    numbers: tuple[str, ...]
    check: RestCheck

    @property
    def name(self) -> str:
        return self.check.__name__


INVARIANTS: list[Invariant] = []
AT_REST: list[RestInvariant] = []


def invariant(*numbers: str) -> Callable[[Check], Check]:
    """Register a function that is asked about every commit."""

    def register(check: Check) -> Check:
        INVARIANTS.append(Invariant(numbers, check))
        return check

    return register


def at_rest(*numbers: str) -> Callable[[RestCheck], RestCheck]:
    """Register a function that is asked when everything has come to rest."""

    def register(check: RestCheck) -> RestCheck:
        AT_REST.append(RestInvariant(numbers, check))
        return check

    return register

"""The acts that are told after the canaries, each a module of its own behind one small interface.

A new one is a module with a class of this shape, and its place in `side_acts`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

from fairlead.cli._demo.commits import CommitsAct, has_git
from fairlead.cli._demo.facts import Findings, SideFacts
from fairlead.cli._demo.preview import PreviewAct
from fairlead.cli._demo.rotation import RotationAct
from fairlead.cli._demo.screen import Screen
from fairlead.cli._demo.stage import Stage
from fairlead.cli._demo.vault import Vault

Until = Callable[[str, Callable[[], bool], float], Awaitable[None]]
"""Waits until something holds, for so many seconds; the first argument says what, for people."""

FIRST_NUMBER = 3  # acts one and two are the canaries


class SideAct(Protocol):
    """An act about something else than the Rollout of the canaries.

    Attributes:
        key: its name among the facts in JSON.
        name: what it is about, in the table of facts.
        title: what is shown when it begins.
        subject: the kind of object that it waits for.
    """

    key: str
    name: str
    title: str
    subject: str

    async def prepare(self) -> None:
        """Apply what takes a while, before the first act; return at once."""
        ...

    async def play(self, until: Until) -> None:
        """Tell the act."""
        ...

    async def waits(self) -> str:
        """Return what it waits for, as `fairlead explain` says it."""
        ...

    def found(self) -> Findings:
        """Return what has been found out."""
        ...


def side_acts(stage: Stage, screen: Screen, vault: Vault) -> tuple[SideAct, ...]:
    """Return the acts in the order in which they are told; that of commits only where there is a git."""
    acts: tuple[SideAct, ...] = RotationAct(stage, screen, vault), PreviewAct(stage, screen)
    if has_git():
        return *acts, CommitsAct(stage, screen)
    screen.say("demo", "git is not on the PATH: the act of GitOps is left out")
    return acts


def facts_of(acts: tuple[SideAct, ...], played: int) -> tuple[SideFacts, ...]:
    """Return what came of each; only so many of them were played."""
    return tuple(
        SideFacts(
            number=FIRST_NUMBER + index,
            key=act.key,
            name=act.name,
            found=act.found() if index < played else None,
        )
        for index, act in enumerate(acts)
    )

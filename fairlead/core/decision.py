"""What a machine answers: the next status, what to do, when to look again, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Generic, TypeVar

S = TypeVar("S")
A = TypeVar("A")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """Why an object is not in its wished-for state yet. One text feeds explain, conditions and Events.

    Example: reason `WaitingForPods`, what `2 of 5 canary pods are ready`, next `weight 20 is written`.
    """

    reason: str  # UpperCamelCase, from the machine's own enum
    what: str  # what is waited for, a sentence without a full stop
    since: datetime | None = None
    next: str = ""  # what happens once it is over
    at: datetime | None = None  # when at the latest something happens by itself; None: when something changes


class EventType(StrEnum):
    """The two types that Kubernetes Events have."""

    NORMAL = "Normal"
    WARNING = "Warning"


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event to be recorded on the decided object, in this order."""

    reason: str
    message: str
    type: EventType = EventType.NORMAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[S, A]):
    """The answer of a machine. Actions are performed in order, before the status that records them."""

    status: S
    actions: tuple[A, ...] = ()
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None  # look again by then; None: when something changes
    blocked_on: Blocker | None = None  # None only in a terminal state: nothing is waited for


def earliest(*instants: datetime | None) -> datetime | None:
    """Return the first of several deadlines; None stands for never."""
    return min((instant for instant in instants if instant is not None), default=None)

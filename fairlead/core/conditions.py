"""Kubernetes conditions as values: set, read, remove.

Source: `k8s.io/apimachinery: pkg/api/meta/conditions.go`, and the Rollout's own habit (rollouts: utils/conditions)
that a condition whose status and reason are unchanged keeps its times and message.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One condition; `last_update_time` is absent for kinds that do not have it."""

    type: str
    status: str  # "True", "False" or "Unknown"
    reason: str = ""
    message: str = ""
    last_update_time: datetime | None = None
    last_transition_time: datetime | None = None
    observed_generation: int | None = None

    @property
    def is_true(self) -> bool:
        return self.status == "True"


def find(conditions: Sequence[Condition], type_: str) -> Condition | None:
    """Return the condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def put(
    conditions: Sequence[Condition], new: Condition, now: datetime, *, refresh: bool = False
) -> tuple[Condition, ...]:
    """Return the conditions with `new` set; the order of the others is kept.

    Unchanged status and reason: nothing changes, unless `refresh` renews message and update time. The transition
    time moves only with the status.
    """
    old = find(conditions, new.type)
    if old is None:
        stamped = msgspec.structs.replace(new, last_update_time=now, last_transition_time=now)
        return (*conditions, stamped)
    if old.status == new.status and old.reason == new.reason and not refresh:
        return tuple(conditions)
    transition = old.last_transition_time if old.status == new.status else now
    stamped = msgspec.structs.replace(new, last_update_time=now, last_transition_time=transition)
    return tuple(stamped if condition.type == new.type else condition for condition in conditions)


def drop(conditions: Sequence[Condition], type_: str) -> tuple[Condition, ...]:
    """Return the conditions without the one of that type."""
    return tuple(condition for condition in conditions if condition.type != type_)

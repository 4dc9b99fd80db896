"""The controller dies before and after every one of its writes, and a fresh one ends the tale the same way.

A reference run counts the writes that a tale makes once its Rollout is healthy; then every death of them is tried.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest

from fairlead.testing.faults import KillPoint, When
from tests.simulation.ends import shown, stored
from tests.simulation.harness import World, play, str_of
from tests.simulation.manifests import Doc, Routing
from tests.simulation.tales import TALES

MATRIX = ("happy", "abort-by-verdict", "abort-by-command", "retry", "rollback")
SLICES = 4  # parts of a tale's deaths that are tests of their own
Outcome = tuple[Doc, Doc, list[str]]


def told(tale: str, routing: Routing, point: KillPoint | None = None) -> Outcome:
    """Return how a tale ends: what is shown, everything that is stored, and the writes that were made."""

    async def telling(world: World) -> Outcome:
        if point is not None:
            world.deaths = iter((point,))
        await TALES[tale](world)
        await world.rest()
        assert world.lives == (2 if point is None else 3), f"nobody died at {point}"
        return shown(world), stored(world), [str_of(write) for write in world.writes]

    return play(telling, routing=routing)


@cache
def reference(tale: str, routing: Routing) -> Outcome:
    return told(tale, routing)


@pytest.mark.parametrize("part", range(SLICES))
@pytest.mark.parametrize("tale", MATRIX)
@pytest.mark.parametrize("routing", [Routing.BASIC, Routing.WAYPOINT])
def test_a_death_at_any_write_changes_nothing(routing: Routing, tale: str, part: int) -> None:
    expected_shown, expected, writes = reference(tale, routing)
    wrong: list[str] = []
    for number in range(1 + part, len(writes) + 1, SLICES):
        for when in When:
            point = KillPoint(at=number, when=when)
            try:
                found_shown, found, _ = told(tale, routing, point)
            except AssertionError as error:
                wrong.append(f"{point}: {error}\n" + "\n".join(getattr(error, "__notes__", ())))
                continue
            if found_shown != expected_shown:
                wrong.append(f"{point} ({writes[number - 1]}): {found_shown} where {expected_shown} was expected")
            elif found != expected:
                wrong.append(f"{point} ({writes[number - 1]}): {_difference(expected, found)}")
    assert not wrong, f"{len(wrong)} deaths end otherwise:\n" + "\n".join(wrong[:5])


def _difference(expected: Any, found: Any, path: str = "") -> str:
    """Return the first places where two documents differ."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = [
            _difference(expected.get(key), found.get(key), f"{path}/{key}")
            for key in sorted(expected.keys() | found.keys())
            if expected.get(key) != found.get(key)
        ]
        return "; ".join(lines)
    return f"{path}: {json.dumps(expected)} became {json.dumps(found)}"


@pytest.mark.parametrize("routing", list(Routing))
@pytest.mark.parametrize("tale", TALES)
def test_controllers_that_never_live_long(tale: str, routing: Routing) -> None:
    """One death after another: each controller makes three writes and dies of the fourth."""

    async def telling(world: World) -> Doc:
        world.deaths = iter([KillPoint(at=4, when=When.AFTER)] * 20)
        await TALES[tale](world)
        await world.rest()
        assert world.lives > 3
        return shown(world)

    assert play(telling, routing=routing) == reference(tale, routing)[0]

"""A person aborts while another one promotes, and the controller looks in between: every order of every step.

Three parties take turns. The promoter reads the Rollout and then sends one patch or two, made from what was read. The
other one sends the abort. The controller reads, and later carries out what it has decided; its status is stored only
if nobody has written meanwhile, as the API server sees to. All merges of the three are played.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.decision import Decision
from fairlead.core.patches import merge
from fairlead.core.traffic import Weights
from fairlead.rollouts import commands
from fairlead.rollouts.actions import Action
from fairlead.rollouts.commands import Command
from fairlead.rollouts.status import RolloutStatus, patch
from fairlead.testing.builders import pod_hash
from tests.rollouts import blue_green_world as blue_green
from tests.rollouts.blue_green_world import ACTIVE, BY_HAND
from tests.rollouts.world import World, deployed, update

UNTIMED: tuple[dict[str, Any], ...] = ({"setWeight": 20}, {"pause": {}}, {"setWeight": 60}, {"pause": {}})
LOOKS = 2  # of the controller; what it has left to do follows when all have taken their turns

Promote = Callable[[dict[str, Any]], tuple[Command, ...]]


@dataclass(slots=True, kw_only=True)
class Match:
    """One order of turns: who has read and written what so far."""

    found: World
    promote: Promote
    version: int = 0  # of the Rollout: another one after each write
    read: tuple[Command, ...] = ()
    decided: Decision[RolloutStatus, Action] | None = None
    decided_on: int = 0
    sent_after_abort: bool = False  # a promotion was asked for when the abort was in force already
    notes: list[str] = field(default_factory=list)

    def turn(self, who: str) -> None:
        self.notes.append(who)
        match who[0], int(who[1:]):
            case "P", 0:
                self.read = self.promote({"spec": self.found.content, "status": self.found.status})
            case "P", number:
                self._send(self.read[number - 1])
            case "A", _:
                self._send(commands.abort()[0])
            case "C", number if number % 2 == 0:
                self.decided, self.decided_on = self.found.decide(), self.version
            case "C", _:
                self._carry_out()

    def _send(self, command: Command) -> None:
        assert isinstance(command.patch, MergePatch)
        body = command.patch.body
        if command.subresource == "status":
            self.sent_after_abort |= "promoteFull" in body["status"] and "abortedAt" in self.found.status
            self.found.command(body["status"])
        else:
            self.found.change(merge(self.found.content, body["spec"]))
        self.version += 1

    def _carry_out(self) -> None:
        assert self.decided is not None, "it has been decided before"
        for action in self.decided.actions:
            self.found.perform(action)
        body = patch(self.found.status, self.decided.status)
        if body and self.version == self.decided_on:
            self.found.status = merge(self.found.status, body)
            self.version += 1


def orders(writes: int) -> Iterator[tuple[str, ...]]:
    """Yield every merge of the turns of the three."""
    parties: list[Sequence[str]] = [
        [f"P{number}" for number in range(writes + 1)],
        ["A0"],
        [f"C{number}" for number in range(2 * LOOKS)],
    ]
    total = sum(len(party) for party in parties)
    for places in itertools.combinations(range(total), len(parties[0])):
        rest = [place for place in range(total) if place not in places]
        for place in rest:
            turns = dict(zip(places, parties[0], strict=True)) | {place: "A0"}
            looks = iter(parties[2])
            yield tuple(turns[one] if one in turns else next(looks) for one in range(total))


def paused(*, routed: bool = False, by_hand: bool = False) -> World:
    found = deployed(*UNTIMED, replicas=5, routed=routed)
    update(found).run()
    assert found.parsed.phase == "Paused"
    if by_hand:
        found.change({**found.content, "paused": True})
        found.run()
    return found


def before_the_switch() -> World:
    found = blue_green.deployed(BY_HAND)
    update(found).run()
    assert found.parsed.phase == "Paused"
    return found


def between_pauses() -> World:
    found = deployed(*UNTIMED, replicas=5, routed=True)
    update(found).run(lambda world: world.parsed.pod_hash == pod_hash(2))
    return found


def full(rollout: dict[str, Any]) -> tuple[Command, ...]:
    return commands.promote(rollout, full=True)


CASES: dict[str, tuple[Callable[[], World], Promote]] = {
    "promote": (paused, commands.promote),
    "promote-routed": (lambda: paused(routed=True), commands.promote),
    "promote-between-pauses": (between_pauses, commands.promote),
    "promote-paused-by-hand": (lambda: paused(routed=True, by_hand=True), commands.promote),
    "promote-blue-green": (before_the_switch, commands.promote),
    "full": (paused, full),
    "full-routed": (lambda: paused(routed=True), full),
    "full-paused-by-hand": (lambda: paused(routed=True, by_hand=True), full),
    "full-blue-green": (before_the_switch, full),
    "skip-step": (lambda: paused(routed=True), commands.skip_step),
    "skip-all-steps": (lambda: paused(routed=True), commands.skip_all_steps),
}


@pytest.mark.parametrize("name", CASES)
def test_abort_wins_over_any_promotion_that_is_not_applied(name: str) -> None:
    """In every order but two: the update was over before, or full promotion was asked for after the abort (T67)."""
    before, promote = CASES[name]
    start = before()
    writes = len(promote({"spec": start.content, "status": start.status}))
    ends: dict[str, World] = {}
    seen = 0
    for order in orders(writes):
        match = Match(found=copy.deepcopy(start), promote=promote)
        promoted_first = False
        for who in order:
            match.turn(who)
            promoted_first |= who == "A0" and match.found.parsed.is_promoted
        seen += 1
        found = match.found
        found.reconcile()
        if promoted_first:
            continue
        status = found.parsed
        goes_forward = match.sent_after_abort
        assert status.abort is not goes_forward, order
        assert (status.promote_full or status.is_promoted) is goes_forward, order
        ends.setdefault(json.dumps([found.status, found.content, found.sizes()], sort_keys=True, default=str), found)
    assert seen == _multinomial(writes + 1, 1, 2 * LOOKS)
    for found in ends.values():
        is_forward = not found.parsed.abort
        found.run()
        _ended(found, is_forward=is_forward)


def _ended(found: World, *, is_forward: bool) -> None:
    """After whatever order: everything is where the winner wants it."""
    version = 2 if is_forward else 1
    assert found.parsed.phase == ("Healthy" if is_forward else "Degraded"), found.explain()
    if "blueGreen" in found.content["strategy"]:
        assert found.selects(ACTIVE) == pod_hash(version)
    assert found.sizes()[str(version)] == found.content["replicas"]
    if found.is_routed:
        assert found.weights == Weights.of_canary(0)


def _multinomial(*counts: int) -> int:
    return math.factorial(sum(counts)) // math.prod(math.factorial(count) for count in counts)

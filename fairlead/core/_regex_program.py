"""A tree of `_regex_syntax` becomes the program of a non-deterministic automaton (Thompson's construction)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from fairlead.core._regex_syntax import (
    Assertion,
    CharacterClass,
    Either,
    Group,
    Node,
    Nothing,
    Repeat,
    Sequence,
    fail,
)

PROGRAM_LENGTH_MAX: Final = 20_000  # instructions; a{1000} has 1,000


@dataclass(slots=True)
class Instruction:
    """One step. `take`: consume a character; `split`: go to `next`, then `other`; `save`; `assert`; `match`."""

    operation: str
    next: int = -1
    other: int = -1
    set: CharacterClass | None = None
    what: str = ""
    slot: int = 0


class Program:
    """The instructions of a tree, and where to enter them."""

    def __init__(self, pattern: str, tree: Node) -> None:
        self.pattern = pattern
        self.instructions: list[Instruction] = []
        self.entry = self.compile(tree, self.add(Instruction("match")))

    def add(self, instruction: Instruction) -> int:
        if len(self.instructions) >= PROGRAM_LENGTH_MAX:
            raise fail("expression too large", self.pattern[:200])
        self.instructions.append(instruction)
        return len(self.instructions) - 1

    def compile(self, node: Node, follow: int) -> int:
        """Return where to enter a program that matches `node` and goes on at `follow`."""
        match node:
            case CharacterClass():
                return self.add(Instruction("take", follow, set=node))
            case Nothing():
                return follow
            case Assertion():
                return self.add(Instruction("assert", follow, what=node.what))
            case Group():
                closing = self.add(Instruction("save", follow, slot=2 * node.index + 1))
                entry = self.compile(node.node, closing)
                return self.add(Instruction("save", entry, slot=2 * node.index))
            case Sequence():
                for item in reversed(node.nodes):
                    follow = self.compile(item, follow)
                return follow
            case Either():
                entries = [self.compile(branch, follow) for branch in node.nodes]
                entry = entries[-1]
                for earlier in reversed(entries[:-1]):
                    entry = self.add(Instruction("split", earlier, entry))
                return entry
            case Repeat():
                return self._repeat(node, follow)

    def _repeat(self, node: Repeat, follow: int) -> int:
        if node.most < 0:
            loop = self.add(Instruction("split"))
            body = self.compile(node.node, loop)
            self._aim(loop, body, follow, node.greedy)
            entry = body if node.least else loop
            if node.least == 0 and _can_be_empty(node.node):
                # x* as (x+)?: one empty round still sets the captures inside, as in RE2.
                entry = self.add(Instruction("split"))
                self._aim(entry, body, follow, node.greedy)
            mandatory = max(0, node.least - 1)
        else:
            entry, mandatory = follow, node.least
            for _ in range(node.most - node.least):
                body = self.compile(node.node, entry)
                choice = self.add(Instruction("split"))
                self._aim(choice, body, follow, node.greedy)
                entry = choice
        for _ in range(mandatory):
            entry = self.compile(node.node, entry)
        return entry

    def _aim(self, split: int, inside: int, outside: int, greedy: bool) -> None:
        self.instructions[split].next, self.instructions[split].other = (
            (inside, outside) if greedy else (outside, inside)
        )


def _can_be_empty(node: Node) -> bool:
    match node:
        case CharacterClass():
            return False
        case Group():
            return _can_be_empty(node.node)
        case Sequence():
            return all(_can_be_empty(item) for item in node.nodes)
        case Either():
            return any(_can_be_empty(item) for item in node.nodes)
        case Repeat():
            return node.least == 0 or _can_be_empty(node.node)
        case _:
            return True

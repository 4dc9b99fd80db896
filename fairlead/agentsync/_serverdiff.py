"""Comparisons by the server: a dry run of the server-side apply tells what an object would become.

Asking takes requests, and deciding asks nobody. So a decision is tried with what is known; what it missed is asked for,
and it is decided again. Answers hold for one version of the live object and one target.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import msgspec

from fairlead.agentsync.diff import DiffOptions, Strategy, difference
from fairlead.agentsync.resources import Object, ResourceKey, key_of, metadata_of
from fairlead.core.errors import ClusterError, FairleadError

ROUNDS_MAX = 3  # a target that changes with each look is not waited for

Ask = Callable[[list[Object]], Awaitable[list[Object | ClusterError]]]
_Mark = tuple[str, bytes]  # version of what lives, and a digest of the target


class ServerDiffError(FairleadError):
    """The server would refuse what is to be compared."""


@dataclass(slots=True)
class ServerDiffs:
    """What the server has said about the objects of one Application.

    Attributes:
        answers: by key, what was asked about, and the outcome or the refusal.
        missing: targets that the last decision wanted to know about.
    """

    answers: dict[ResourceKey, tuple[_Mark, Object | str]] = field(default_factory=dict)
    missing: list[tuple[_Mark, Object]] = field(default_factory=list)

    def differs(self, target: Object, live: Object, options: DiffOptions) -> bool:
        """Return whether what lives is not what is wanted; until the server has been asked, as it is computed here.

        Raises:
            ServerDiffError: the server would refuse the target.
        """
        mark = _mark(target, live)
        known = self.answers.get(key_of(live))
        if known is None or known[0] != mark:
            self.missing.append((mark, target))
            return difference(target, live, replace(options, strategy=Strategy.STRUCTURED)).modified
        answer = known[1]
        if isinstance(answer, str):
            raise ServerDiffError(f"error calculating server side diff: {answer}")
        return difference(target, live, replace(options, strategy=Strategy.SERVER_SIDE), dry_run=answer).modified

    async def ask(self, outcomes: Ask) -> bool:
        """Ask about what was missing; return whether there was anything."""
        missing, self.missing = self.missing, []
        if not missing:
            return False
        answers = await outcomes([target for _, target in missing])
        for (mark, target), answer in zip(missing, answers, strict=True):
            self.answers[key_of(target)] = (mark, str(answer) if isinstance(answer, ClusterError) else answer)
        return True

    def keep(self, keys: frozenset[ResourceKey]) -> None:
        """Forget what is about other objects."""
        for key in self.answers.keys() - keys:
            del self.answers[key]


def _mark(target: Object, live: Object) -> _Mark:
    return str(metadata_of(live).get("resourceVersion") or ""), sha256(msgspec.json.encode(target)).digest()

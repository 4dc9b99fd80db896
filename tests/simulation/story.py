"""What has happened in a world so far, as the invariants look at it: objects, weights, when which of them changed."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tests.simulation.manifests import CANARY, STABLE, Doc, Routing


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    at: datetime
    actor: str
    verb: str
    kind: str
    old: Doc | None
    new: Doc | None


class Story:
    def __init__(self, *, routing: Routing, has_evidence: bool, staleness: float) -> None:
        self.broken: list[str] = []
        self.wire: Mapping[str, float] = {}
        self.objects: dict[tuple[str, str], Doc] = {}
        self.log: deque[str] = deque(maxlen=400)

    def observe(self, commit: Commit) -> None:
        found = commit.new or commit.old
        assert found is not None
        key = (commit.kind, found["metadata"]["name"])
        if commit.new is None:
            self.objects.pop(key, None)
        else:
            self.objects[key] = commit.new
        if commit.actor == "controller":
            self.log.append(f"{commit.at:%M:%S.%f} {commit.verb} {commit.kind} {found['metadata']['name']}")

    def observe_wire(self, at: datetime, weights: Mapping[str, float]) -> None:
        self.wire = weights
        self.log.append(f"{at:%M:%S.%f} wire {dict(weights)}")

    def tail(self, n: int) -> list[str]:
        return list(self.log)[-n:]

    def weights(self) -> tuple[int, int] | None:
        route = self.objects.get(("HTTPRoute", "web"))
        if route is None:
            return None
        for rule in route["spec"]["rules"]:
            found = {one["name"]: one.get("weight", 1) for one in rule.get("backendRefs", ())}
            if STABLE.name in found and CANARY.name in found:
                return found[STABLE.name], found[CANARY.name]
        return None

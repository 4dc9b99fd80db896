"""Worlds with a blue-green Rollout, and what is promised of every one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.testing.builders import HASH_LABEL, ROLLOUT, pod_hash, spec_content
from tests.rollouts.world import World

ACTIVE, PREVIEW = f"{ROLLOUT}-active", f"{ROLLOUT}-preview"
ANALYSIS: dict[str, Any] = {"templates": [{"templateName": "t"}]}
PRE: dict[str, Any] = {"prePromotionAnalysis": ANALYSIS}
POST: dict[str, Any] = {"postPromotionAnalysis": ANALYSIS}
BY_HAND: dict[str, Any] = {"autoPromotionEnabled": False}
PREVIEWED: dict[str, Any] = {"previewService": PREVIEW}


@dataclass(slots=True, kw_only=True)
class BlueGreenWorld(World):
    """Minds after every write that users reach pods that are there, and enough of them."""

    def check(self) -> None:
        World.check(self)
        selected = self.services[ACTIVE].spec.selector.get(HASH_LABEL)
        owner = self.replica_set_of(selected) if selected else None
        if owner is not None and self.content.get("replicas", 1) > 0:
            assert self.available(owner.metadata.name) > 0 or owner.metadata.name in self._ill(), (
                f"{ACTIVE} selects {owner.metadata.name}, of which no pod is available"
            )

    def _ill(self) -> set[str]:
        return {
            one.metadata.name for one in self.replica_sets.values() if one.metadata.labels[HASH_LABEL] in self.broken
        }


def content(*fields: Mapping[str, Any], version: int | str = 1, replicas: int = 2, **others: Any) -> dict[str, Any]:
    """Return a spec as JSON data; `fields` are those of `strategy.blueGreen`."""
    found = spec_content(version=version, replicas=replicas, **others)
    merged: dict[str, Any] = {"activeService": ACTIVE}
    for one in fields:
        merged |= one
    return {**found, "strategy": {"blueGreen": merged}}


def world(*fields: Mapping[str, Any], **settings: Any) -> BlueGreenWorld:
    """Return a world in which nothing has happened yet; fields of the World may be given among the settings."""
    own = {name: settings.pop(name) for name in tuple(settings) if name in World.__dataclass_fields__}
    return BlueGreenWorld(content=content(*fields, **settings), **own)


def deployed(*fields: Mapping[str, Any], **settings: Any) -> BlueGreenWorld:
    """Return a world in which version 1 has been rolled out, with everything at rest."""
    found = world(*fields, **settings)
    found.run()
    assert found.parsed.phase == "Healthy", found.explain()
    assert found.selects(ACTIVE) == pod_hash(1)
    found.events.clear()
    found.writes.clear()
    return found


def told(found: World) -> list[str]:
    """Return the reasons of the events so far, without those of runs."""
    return [reason for reason in found.reasons() if not reason.startswith("AnalysisRun")]

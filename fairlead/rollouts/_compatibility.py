"""Which fields of a Rollout are honoured, refused, or accepted without effect: one table for code, docs and tests.

A field that would be dangerous to ignore is refused: traffic or tests would go elsewhere than the user believes. A
field is ignored only when the rollout is as safe without it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from fairlead.core.errors import SpecError
from fairlead.rollouts._managed_routes import clash
from fairlead.rollouts._problems import forbidden
from fairlead.rollouts.spec import RolloutSpec


class Support(StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"
    REFUSED = "refused"
    IGNORED = "accepted, no effect yet"


@dataclass(frozen=True, slots=True)
class Entry:
    """A field, or with `.**` all fields below one.

    Attributes:
        path: the field; `[]` is any item of a list, `{}` any entry of a mapping.
        support: what becomes of it.
        note: why it is refused (the text of the error), what its absence means, or what to know.
    """

    path: str
    support: Support
    note: str = ""

    def covers(self, leaf: str) -> bool:
        """Return whether a leaf of the schema belongs to this entry."""
        if not self.path.endswith(".**"):
            return leaf == self.path
        root = self.path.removesuffix(".**")
        return leaf == root or leaf.startswith((f"{root}.", f"{root}[", f"{root}{{"))


def _honoured(*paths: str, note: str = "") -> list[Entry]:
    return [Entry(path, Support.HONOURED, note) for path in paths]


def _refused(path: str, what: str) -> Entry:
    return Entry(path, Support.REFUSED, f"{what} not supported yet")


def _ignored(path: str, note: str) -> Entry:
    return Entry(path, Support.IGNORED, note)


_BLUE_GREEN = "spec.strategy.blueGreen"
_CANARY = "spec.strategy.canary"
_STEP = f"{_CANARY}.steps[]"
_ROUTING = f"{_CANARY}.trafficRouting"
_TWO_PAIRS = "found beside stableService or canaryService: which of the pairs carries the traffic would not be clear"
ROUTERS_NOTE = "the routers that are installed; another name is refused"

TABLE: tuple[Entry, ...] = (
    *_honoured(
        "spec.replicas",
        "spec.selector.**",
        "spec.template",
        "spec.minReadySeconds",
        "spec.revisionHistoryLimit",
        "spec.progressDeadlineSeconds",
        "spec.progressDeadlineAbort",
        "spec.paused",
        "spec.restartAt",
        "spec.analysis.**",
        "spec.rollbackWindow.**",
        "spec.workloadRef.**",
    ),
    *_honoured(
        f"{_BLUE_GREEN}.activeService",
        f"{_BLUE_GREEN}.previewService",
        f"{_BLUE_GREEN}.previewReplicaCount",
        f"{_BLUE_GREEN}.autoPromotionEnabled",
        f"{_BLUE_GREEN}.autoPromotionSeconds",
        f"{_BLUE_GREEN}.maxUnavailable",
        f"{_BLUE_GREEN}.scaleDownDelaySeconds",
        f"{_BLUE_GREEN}.scaleDownDelayRevisionLimit",
        f"{_BLUE_GREEN}.abortScaleDownDelaySeconds",
        f"{_BLUE_GREEN}.prePromotionAnalysis.**",
        f"{_BLUE_GREEN}.postPromotionAnalysis.**",
        f"{_BLUE_GREEN}.antiAffinity.**",
    ),
    *_honoured(
        f"{_BLUE_GREEN}.previewMetadata.**",
        f"{_BLUE_GREEN}.activeMetadata.**",
        note="but for labels that the Rollout selects by",
    ),
    *_honoured(
        f"{_CANARY}.canaryService",
        f"{_CANARY}.stableService",
        f"{_STEP}.setWeight",
        f"{_STEP}.pause.**",
        f"{_STEP}.setCanaryScale.**",
        f"{_STEP}.analysis.**",
    ),
    _refused(f"{_STEP}.experiment.**", "experiment steps are"),
    *_honoured(f"{_STEP}.setHeaderRoute.**", f"{_STEP}.setMirrorRoute.**", note="derived from all steps so far"),
    _refused(f"{_STEP}.plugin.**", "plugin steps are"),
    *(
        _refused(f"{_ROUTING}.{router}.**", f"the {router} router is")
        for router in ("alb", "ambassador", "apisix", "appMesh", "istio", "nginx", "smi", "traefik")
    ),
    *_honoured(f"{_ROUTING}.plugins.**", note=ROUTERS_NOTE),
    *_honoured(f"{_ROUTING}.maxTrafficWeight"),
    *_honoured(f"{_ROUTING}.managedRoutes.**"),
    *_honoured(
        f"{_CANARY}.maxSurge",
        f"{_CANARY}.maxUnavailable",
        f"{_CANARY}.analysis.**",
        f"{_CANARY}.scaleDownDelaySeconds",
        f"{_CANARY}.scaleDownDelayRevisionLimit",
        f"{_CANARY}.abortScaleDownDelaySeconds",
        f"{_CANARY}.minPodsPerReplicaSet",
        f"{_CANARY}.replicaProgressThreshold.**",
        f"{_CANARY}.antiAffinity.**",
    ),
    *_honoured(
        f"{_CANARY}.canaryMetadata.**",
        f"{_CANARY}.stableMetadata.**",
        note="but for labels that the Rollout selects by",
    ),
    *_honoured(
        f"{_CANARY}.dynamicStableScale",
        note="an abort gives stable all pods at once and lowers the weight with each that is available, not by steps",
    ),
    *_honoured(
        f"{_CANARY}.pingPong.**",
        note="in the place of stableService and canaryService; beside either of them it is refused",
    ),
)


def unsupported(spec: RolloutSpec) -> list[SpecError]:
    """Return why a valid spec is refused nevertheless: fields that would be dangerous to ignore."""
    data = _plain(spec)
    found = [
        forbidden(path, entry.note)
        for entry in TABLE
        if entry.support is Support.REFUSED
        for path in _occurrences(data, entry.path.removesuffix(".**"))
    ]
    canary = spec.canary
    if canary is not None and canary.ping_pong is not None and (canary.stable_service or canary.canary_service):
        found.append(forbidden(f"{_CANARY}.pingPong", _TWO_PAIRS))
    if canary is not None and canary.traffic_routing is not None:
        names = [one.name for one in canary.traffic_routing.managed_routes]
        if (two := clash(canary.steps, names)) is not None:
            kind = "setHeaderRoute" if canary.steps[two.index].set_header_route is not None else "setMirrorRoute"
            why = f"found the match of managed route {two.first} once more: only one of the two rules would ever apply"
            found.append(forbidden(f"{_CANARY}.steps[{two.index}].{kind}", why))
    return found


def unknown_routers(spec: RolloutSpec, installed: Collection[str]) -> list[SpecError]:
    """Return an error for every plug-in router of the spec that is not installed.

    Args:
        spec: the spec.
        installed: names of the routers that there are.
    """
    routing = spec.canary.traffic_routing if spec.canary else None
    known = ", ".join(sorted(installed)) or "none"
    return [
        forbidden(f"{_ROUTING}.plugins[{name}]", f"there is no router of this name; installed: {known}")
        for name in (routing.plugins if routing else ())
        if name not in installed
    ]


def ignored(spec: RolloutSpec) -> list[tuple[str, str]]:
    """Return the fields of a spec that have no effect yet: path, and what that means."""
    data = _plain(spec)
    return [
        (path, entry.note)
        for entry in TABLE
        if entry.support is Support.IGNORED
        for path in _occurrences(data, entry.path.removesuffix(".**"))
    ]


def _plain(spec: RolloutSpec) -> dict[str, Any]:
    without_template = msgspec.structs.replace(spec, template=msgspec.Raw(b"{}"))
    return {"spec": msgspec.json.decode(msgspec.json.encode(without_template))}


def _occurrences(data: Mapping[str, Any], pattern: str) -> Iterator[str]:
    """Yield the paths in `data` that a pattern such as `spec.steps[].experiment` stands for."""
    yield from _descend(data, pattern.split("."), "")


def _descend(value: Any, names: Sequence[str], path: str) -> Iterator[str]:
    if not names:
        yield path
        return
    name, is_list = names[0].removesuffix("[]"), names[0].endswith("[]")
    if not isinstance(value, dict) or name not in value:
        return
    at = f"{path}.{name}" if path else name
    if not is_list:
        yield from _descend(value[name], names[1:], at)
        return
    for index, item in enumerate(value[name]):
        yield from _descend(item, names[1:], f"{at}[{index}]")

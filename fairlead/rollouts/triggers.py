"""Which Rollouts a change of something else concerns, how urgent it is, and the indexes that find them.

The controller builds its stores with `INDEXES` and asks a `Triggers` at every change; nothing here waits or requests.

Source: argo-rollouts: rollout/controller.go: NewController (event handlers), controller/controller.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from fairlead.core.cluster import View
from fairlead.core.kinds import (
    ANALYSIS_RUNS,
    ENDPOINT_SLICES,
    REPLICA_SETS,
    ROLLOUTS,
    SERVICES,
    AnalysisRun,
    AnalysisTemplate,
    EndpointSlice,
    ReplicaSet,
    Rollout,
    Service,
)
from fairlead.core.objects import HasMetadata, Kind, Manifest, ObjectKey
from fairlead.rollouts._analysis import INSTANCE_ID
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts._validation import MANAGED_BY
from fairlead.rollouts.spec import WorkloadRef
from fairlead.rollouts.workload import kind_of

# Indexes that the views of the reconciler must have, by kind. Values are written as `namespace/name`.
REPLICA_SETS_BY_OWNER = "rollout-owner"  # UID of the controller; `orphans:NAMESPACE` when there is none
RUNS_BY_OWNER = "rollout-owner"  # UID of the controller
ROLLOUTS_BY_SERVICE = "rollout-service"  # Services that the spec names
ROLLOUTS_BY_WORKLOAD = "rollout-workload"  # workload that the spec refers to, as `plural/namespace/name`
ROLLOUTS_BY_TEMPLATE = "rollout-template"  # templates that the spec names; `/name` for cluster-scoped ones
SERVICES_BY_MANAGER = "rollout-manager"  # Rollout that the mark names
SLICES_BY_SERVICE = "rollout-service"  # Service that the slice belongs to

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


def orphans_of(namespace: str) -> str:
    """Return the index value of a namespace's ReplicaSets that nobody controls."""
    return f"orphans:{namespace}"


def owner_values(found: HasMetadata) -> Iterator[str]:
    """Yield the index values of an object by who controls it."""
    controller = found.metadata.controller
    if controller is not None:
        yield controller.uid
    elif HASH_LABEL in found.metadata.labels:
        yield orphans_of(found.metadata.namespace)


def service_values(rollout: Rollout) -> Iterator[str]:
    """Yield the Services that a Rollout names, also in a spec that is not valid."""
    strategy = _map(_plain(rollout.spec).get("strategy"))
    canary, blue_green = _map(strategy.get("canary")), _map(strategy.get("blueGreen"))
    pair = _map(canary.get("pingPong"))
    for value in (
        canary.get("stableService"),
        canary.get("canaryService"),
        pair.get("pingService"),
        pair.get("pongService"),
        blue_green.get("activeService"),
        blue_green.get("previewService"),
    ):
        if isinstance(value, str) and value:
            yield f"{rollout.metadata.namespace}/{value}"


def workload_values(rollout: Rollout) -> Iterator[str]:
    """Yield the workload that a Rollout takes its pod template from."""
    reference = _map(_plain(rollout.spec).get("workloadRef"))
    kind, group, name = reference.get("kind"), reference.get("apiVersion"), reference.get("name")
    if isinstance(kind, str) and isinstance(group, str) and isinstance(name, str):
        found = kind_of(WorkloadRef(api_version=group, kind=kind, name=name))
        if found is not None:
            yield f"{found.plural}/{rollout.metadata.namespace}/{name}"


def template_values(rollout: Rollout) -> Iterator[str]:
    """Yield the analysis templates that a Rollout names."""
    strategy = _map(_plain(rollout.spec).get("strategy"))
    canary, blue_green = _map(strategy.get("canary")), _map(strategy.get("blueGreen"))
    steps = canary.get("steps")
    stanzas = [canary.get("analysis"), *(blue_green.get(f"{when}PromotionAnalysis") for when in ("pre", "post"))]
    stanzas += [_map(step).get("analysis") for step in steps] if isinstance(steps, list) else []
    for stanza in stanzas:
        templates = _map(stanza).get("templates")
        for ref in templates if isinstance(templates, list) else ():
            name = _map(ref).get("templateName")
            if isinstance(name, str) and name:
                namespace = "" if _map(ref).get("clusterScope") is True else rollout.metadata.namespace
                yield f"{namespace}/{name}"


def manager_values(service: Service) -> Iterator[str]:
    """Yield the Rollout that manages a Service."""
    if manager := service.metadata.annotations.get(MANAGED_BY):
        yield f"{service.metadata.namespace}/{manager}"


def slice_values(found: EndpointSlice) -> Iterator[str]:
    """Yield the Service that an EndpointSlice belongs to."""
    if name := found.metadata.labels.get(SERVICE_NAME_LABEL):
        yield f"{found.metadata.namespace}/{name}"


# To be merged with what others want of the same stores.
INDEXES: Mapping[Kind[Any], Mapping[str, Callable[[Any], Iterable[str]]]] = {
    REPLICA_SETS: {REPLICA_SETS_BY_OWNER: owner_values},
    ANALYSIS_RUNS: {RUNS_BY_OWNER: owner_values},
    ROLLOUTS: {
        ROLLOUTS_BY_SERVICE: service_values,
        ROLLOUTS_BY_TEMPLATE: template_values,
        ROLLOUTS_BY_WORKLOAD: workload_values,
    },
    SERVICES: {SERVICES_BY_MANAGER: manager_values},
    ENDPOINT_SLICES: {SLICES_BY_SERVICE: slice_values},
}


def is_ours(found: HasMetadata, instance_id: str) -> bool:
    """Return whether an object belongs to the controller of this instance id (empty: to the one without)."""
    return found.metadata.labels.get(INSTANCE_ID, "") == instance_id


@dataclass(frozen=True, slots=True)
class Wake:
    """Which Rollouts to look at; urgent: before everything else (a command, or a verdict that aborts)."""

    keys: tuple[ObjectKey, ...] = ()
    is_urgent: bool = False


NOBODY = Wake()


class Triggers:
    """From a change (old and new state; None: there was none, or it is gone) to the Rollouts that it concerns.

    Args:
        rollouts: with the indexes of `INDEXES`.
        instance_id: of this controller.
    """

    def __init__(self, rollouts: View[Rollout], *, instance_id: str = "") -> None:
        self._rollouts = rollouts
        self._instance_id = instance_id

    def rollout(self, old: Rollout | None, new: Rollout | None) -> Wake:
        """Return the Rollout itself; a command is urgent."""
        found = new or old
        if found is None or not is_ours(found, self._instance_id):
            return NOBODY
        return Wake((found.metadata.key,), is_urgent=_is_command(old, new))

    def replica_set(self, old: ReplicaSet | None, new: ReplicaSet | None) -> Wake:
        """Return the Rollouts that control it, before and now."""
        return Wake(_controllers(old, new))

    def run(self, old: AnalysisRun | None, new: AnalysisRun | None) -> Wake:
        """Return the Rollout that controls it, if its phase has changed; a bad verdict is urgent."""
        if old is not None and new is not None and old.phase == new.phase:
            return NOBODY
        return Wake(_controllers(old, new), is_urgent=new is not None and new.phase in ("Failed", "Error"))

    def service(self, old: Service | None, new: Service | None) -> Wake:
        """Return the Rollouts that name the Service, and the one that it is marked with."""
        keys: dict[ObjectKey, None] = {}
        for found in (old, new):
            if found is None:
                continue
            keys |= dict.fromkeys(self._naming(found.metadata.key))
            if manager := found.metadata.annotations.get(MANAGED_BY):
                keys[ObjectKey(found.metadata.namespace, manager)] = None
        return Wake(tuple(keys))

    def endpoint_slice(self, old: EndpointSlice | None, new: EndpointSlice | None) -> Wake:
        """Return the Rollouts that name the slice's Service."""
        values = {value for found in (old, new) if found is not None for value in slice_values(found)}
        return Wake(self._by_service(values))

    def route(self, old: Manifest | None, new: Manifest | None) -> Wake:
        """Return the Rollouts whose Services a route names as backends, before or now, and the route's owner."""
        values: set[str] = set()
        owners: list[ObjectKey] = []
        for found in (old, new):
            if found is None:
                continue
            values |= set(_backends(found))
            owners += _controllers(found)
        return Wake(tuple(dict.fromkeys((*owners, *self._by_service(values)))))

    def template(self, old: AnalysisTemplate | None, new: AnalysisTemplate | None) -> Wake:
        """Return the Rollouts that name an analysis template (whose InvalidSpec may be cured by it)."""
        found = new or old
        if found is None:
            return NOBODY
        value = f"{found.metadata.namespace}/{found.metadata.name}"
        return Wake(tuple(one.metadata.key for one in self._rollouts.by_index(ROLLOUTS_BY_TEMPLATE, value)))

    def workload(self, kind: Kind[Any], old: HasMetadata | None, new: HasMetadata | None) -> Wake:
        """Return the Rollouts that take their pod template from a workload, if its spec has changed."""
        if old is not None and new is not None and 0 < old.metadata.generation == new.metadata.generation:
            return NOBODY
        found = new or old
        if found is None:
            return NOBODY
        value = f"{kind.plural}/{found.metadata.namespace}/{found.metadata.name}"
        return Wake(tuple(one.metadata.key for one in self._rollouts.by_index(ROLLOUTS_BY_WORKLOAD, value)))

    def _naming(self, service: ObjectKey) -> tuple[ObjectKey, ...]:
        return self._by_service((str(service),))

    def _by_service(self, values: Iterable[str]) -> tuple[ObjectKey, ...]:
        found = (
            rollout.metadata.key
            for value in sorted(values)
            for rollout in self._rollouts.by_index(ROLLOUTS_BY_SERVICE, value)
        )
        return tuple(dict.fromkeys(found))


def _controllers(*states: HasMetadata | None) -> tuple[ObjectKey, ...]:
    keys: dict[ObjectKey, None] = {}
    for found in states:
        owner = found.metadata.controller if found is not None else None
        if (
            found is None
            or owner is None
            or owner.kind != "Rollout"
            or not owner.api_version.startswith("argoproj.io/")
        ):
            continue
        keys[ObjectKey(found.metadata.namespace, owner.name)] = None
    return tuple(keys)


def _is_command(old: Rollout | None, new: Rollout | None) -> bool:
    """Return whether a person (or somebody in their place) has asked for something; our own steps are not urgent."""
    if old is None or new is None:
        return False
    if _paused(old) != _paused(new):
        return True
    if bytes(old.status) == bytes(new.status):
        return False
    before, after = _plain(old.status), _plain(new.status)
    is_resumed = after.get("controllerPause") is True and not after.get("pauseConditions")
    is_promoted = after.get("promoteFull") is True and before.get("promoteFull") is not True
    return is_resumed or is_promoted or (before.get("abort") is True) != (after.get("abort") is True)


def _paused(rollout: Rollout) -> bool:
    return _plain(rollout.spec).get("paused") is True


def _backends(route: Manifest) -> Iterator[str]:
    for rule in _list(_map(route.content.get("spec")).get("rules")):
        for backend in _list(_map(rule).get("backendRefs")):
            name, namespace = _map(backend).get("name"), _map(backend).get("namespace")
            if isinstance(name, str):
                yield f"{namespace if isinstance(namespace, str) else route.metadata.namespace}/{name}"


def _plain(raw: msgspec.Raw) -> Mapping[str, Any]:
    try:
        return _map(msgspec.json.decode(raw))
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return {}


def _map(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []

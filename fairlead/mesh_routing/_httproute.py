"""Weights to backendRefs and back, for the rules of an HTTPRoute or a GRPCRoute.

In a user's route (shared mode) only these are ours: the weights of refs that name stable, canary or a Service that
we added for an experiment; the in-progress label; and two annotations. Everything else stays as it is, byte for byte:
we write JSON patches of single places, under a test of the resourceVersion, because `spec.rules` is an atomic list
that nobody can own in part. Our own route (dedicated mode) is applied as a whole.

Both refs stay at weight 0, in their order: no index churn. A Service that a rule names twice cannot be split.

Source: the Gateway API's HTTPBackendRef; rollouts-plugin-trafficrouter-gatewayapi: pkg/plugin/httproute.go (which
rules are meant, error text, label). Unlike the plug-in: `maxTrafficWeight` is honoured, nothing unchanged is written,
and a rule is managed by its name alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectKey, ObjectMeta, controller_reference
from fairlead.core.traffic import AdditionalWeight, ManagedRoute, TrafficTarget, Weights
from fairlead.mesh_routing._managed import RECORD, UNKNOWN, record, recorded, rules_for
from fairlead.mesh_routing.actions import ApplyRoute, PatchRoute, RouteAction
from fairlead.mesh_routing.observation import Route, Rule
from fairlead.mesh_routing.spec import FIELD_MANAGER, InProgressLabel, RouteRef, WaypointSpec

CLAIM = "fairlead.dev/rollout-uid"  # annotation: the UID of the Rollout whose weights a route holds
CLAIM_NAME = "fairlead.dev/rollout"  # annotation: its namespace/name, so that a recreated Rollout finds its own route
ADDED = "fairlead.dev/rollout-services"  # annotation: Services that we added to the rules, comma-separated
DEDICATED_RULE = "split"
MANAGED_BY = "app.kubernetes.io/managed-by"

_CONFLICTING = "{route} is claimed by Rollout {owner}; remove its annotation {claim} if that Rollout has gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a route does not carry our split: a word for conditions and a sentence for people.

    `is_mended_by_writing`: it is a route of our own, and writing it anew puts it right.
    """

    reason: str
    message: str
    is_mended_by_writing: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Where a route splits between stable and canary, and how.

    Attributes:
        rules: indexes of the rules that are ours to weight.
        weights: what they hold. Rules that disagree show the highest weight of each side, which equals no split that
            anybody can ask for: so it is written anew, and is still an upper bound of what each side gets.
    """

    rules: tuple[int, ...]
    weights: Weights


def find_split(route: Route, target: TrafficTarget) -> Split | Problem:
    """Return where the route splits between the target's Services, or why it does not."""
    stable, canary = services_of(target)
    ours: list[Rule] = []
    seen: set[ObjectKey] = set()
    for rule in route.rules:
        if is_managed(rule, target):
            continue
        named = [service for backend in rule.backends if (service := backend.service) is not None]
        seen.update(named)
        for service in (stable, canary, *_added(route, target)):
            if named.count(service) > 1:
                return Problem(
                    reason="DuplicateBackend",
                    message=f"{route.ref}: spec.rules[{rule.index}].backendRefs names Service {service.name} "
                    f"{named.count(service)} times, expected once: such a split cannot be expressed",
                )
        if stable in named and canary in named:
            ours.append(rule)
    if not ours:
        missing = next((service for service in (canary, stable) if service not in seen), canary)
        apart = "" if {stable, canary} - seen else f" in one rule with {stable.name}"
        message = f"backendRef {missing.name} not found in {route.ref.kind.kind} {route.ref.key.name}{apart}"
        return Problem(reason="BackendNotFound", message=message)
    return Split(rules=tuple(rule.index for rule in ours), weights=_weights(route, ours, target))


def services_of(target: TrafficTarget) -> tuple[ObjectKey, ObjectKey]:
    """Return the keys of the stable and the canary Service."""
    namespace = target.rollout.namespace
    return ObjectKey(namespace, target.stable_service), ObjectKey(namespace, target.canary_service)


def is_managed(rule: Rule, target: TrafficTarget) -> bool:
    """Return whether a rule is one of the rollout's header or mirror routes: named so, or so with a number."""
    return any(re.fullmatch(rf"{re.escape(name)}(-\d+)?", rule.name) for name in target.managed_routes)


def claimed_by_another(route: Route, target: TrafficTarget) -> Problem | None:
    """Return the problem that another Rollout has claimed the route, if one has.

    A claim by the same namespace/name with another UID is our own from before the Rollout was recreated.
    """
    uid, owner = route.annotations.get(CLAIM, ""), route.annotations.get(CLAIM_NAME, "")
    if not uid or uid == target.uid or owner == str(target.rollout):
        return None
    shown = f"{owner or 'unknown'} (uid {uid})"
    return Problem(reason="RouteClaimed", message=_CONFLICTING.format(route=route.ref, owner=shown, claim=CLAIM))


def check_weights(weights: Weights) -> None:
    """Refuse weights that cannot be written.

    Raises:
        SpecError: a share is negative, or the shares do not add up to the total.
    """
    shares = (weights.canary, weights.stable, *(share.weight for share in weights.additional))
    if min(shares) < 0 or sum(shares) != weights.total or weights.total <= 0:
        added = "".join(f", {share.service} {share.weight}" for share in weights.additional)
        raise SpecError(
            f"found weights canary {weights.canary}, stable {weights.stable}{added}, "
            f"expected shares of 0 or more that add up to {weights.total}"
        )


def write_shared(
    route: Route, target: TrafficTarget, weights: Weights, *, label: InProgressLabel | None, in_progress: bool
) -> PatchRoute | Problem | None:
    """Return the one patch that makes the route hold these weights; None when it holds them already.

    Guarantees: no place but ours is named by the patch, and it applies to exactly this resourceVersion.
    """
    check_weights(weights)
    split = find_split(route, target)
    if isinstance(split, Problem):
        return split
    operations = [
        *_rule_operations(route, split, target, weights),
        *_managed_operations(route, split, target, weights),
        *_label_operations(route, label, in_progress),
    ]
    if not operations:
        return None
    marks = {CLAIM: target.uid, CLAIM_NAME: str(target.rollout)} if target.uid else {}
    marks[ADDED] = ",".join(share.service for share in weights.additional)
    marks[RECORD] = record(weights.managed)
    operations += _map_operations("/metadata/annotations", route.annotations, marks)
    return PatchRoute(route=route.ref, operations=(_test(route), *operations))


def release_shared(
    route: Route, target: TrafficTarget, *, label: InProgressLabel | None
) -> PatchRoute | Problem | None:
    """Return the one patch that gives all weight to stable and takes our marks off; None when nothing is left to do."""
    split = find_split(route, target)
    weights = Weights.of_canary(0, total=target.total)
    operations: list[Mapping[str, Any]] = []
    if isinstance(split, Split):
        operations += _rule_operations(route, split, target, weights)
        operations += _managed_operations(route, split, target, weights)
    operations += _label_operations(route, label, False)
    marks = {CLAIM: "", CLAIM_NAME: "", ADDED: "", RECORD: ""}
    operations += _map_operations("/metadata/annotations", route.annotations, marks)
    return PatchRoute(route=route.ref, operations=(_test(route), *operations)) if operations else None


def write_dedicated(
    live: Route | None,
    ref: RouteRef,
    spec: WaypointSpec,
    target: TrafficTarget,
    weights: Weights,
    *,
    port: int,
    label: InProgressLabel | None,
    in_progress: bool,
) -> RouteAction | None:
    """Return the apply that makes our own route hold these weights; None when it holds them already.

    Every default is written out, so that what is read back equals what was meant.
    """
    check_weights(weights)
    labels = {MANAGED_BY: FIELD_MANAGER}
    if label is not None and in_progress:
        labels[label.key] = label.value
    annotations = {CLAIM: target.uid, CLAIM_NAME: str(target.rollout)}
    if weights.additional:
        annotations[ADDED] = ",".join(share.service for share in weights.additional)
    if weights.managed:
        annotations[RECORD] = record(weights.managed)
    owner = ObjectMeta(name=target.rollout.name, uid=target.uid)
    body = {
        "apiVersion": ref.kind.api_version,
        "kind": ref.kind.kind,
        "metadata": {
            "name": ref.key.name,
            "namespace": ref.key.namespace,
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [
                controller_reference(api_version="argoproj.io/v1alpha1", kind="Rollout", metadata=owner)
            ],
        },
        "spec": dedicated_spec(spec, target, weights, port=port, is_grpc=ref.plural == "grpcroutes"),
    }
    if live is not None and covers(live.manifest.content, body) and _label_is_right(live, label, in_progress):
        return None
    return ApplyRoute(route=ref, body=body)


def release_dedicated(
    live: Route, ref: RouteRef, spec: WaypointSpec, target: TrafficTarget, *, port: int, label: InProgressLabel | None
) -> RouteAction | None:
    """Return the apply that gives all weight to stable and drops our claim; None when nothing is left to do.

    The owner stays: with its Rollout the route goes as well.
    """
    weights = Weights.of_canary(0, total=target.total)
    action = write_dedicated(None, ref, spec, target, weights, port=port, label=label, in_progress=False)
    assert isinstance(action, ApplyRoute), "without a live route there is always something to write"
    metadata = {key: value for key, value in action.body["metadata"].items() if key != "annotations"}
    body = {**action.body, "metadata": metadata}
    is_marked = CLAIM in live.annotations or CLAIM_NAME in live.annotations
    if not is_marked and covers(live.manifest.content, body) and _label_is_right(live, label, False):
        return None
    return ApplyRoute(route=ref, body=body)


def dedicated_spec(
    spec: WaypointSpec, target: TrafficTarget, weights: Weights, *, port: int, is_grpc: bool = False
) -> dict[str, Any]:
    """Return the whole spec of our own route."""
    shares = [(target.stable_service, weights.stable), (target.canary_service, weights.canary)]
    if target.first_service == target.canary_service:
        shares.reverse()
    shares += [(share.service, share.weight) for share in weights.additional]
    refs = [_new_ref(service, port, weight) for service, weight in shares]
    rule = {"name": DEDICATED_RULE, "matches": [{"path": {"type": "PathPrefix", "value": "/"}}], "backendRefs": refs}
    _, canary = services_of(target)
    return {
        "parentRefs": [{"group": "", "kind": "Service", "name": spec.service.name, "port": port}],
        "rules": [rule, *rules_for(weights.managed, [(rule, refs)], canary, is_grpc=is_grpc)],
    }


def covers(live: Any, wanted: Any) -> bool:
    """Return whether everything that is wanted is live as well; live mappings may hold more, lists may not."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(covers(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list):
        return isinstance(live, list) and len(live) == len(wanted) and all(map(covers, live, wanted))
    return bool(live == wanted)


def _added(route: Route, target: TrafficTarget) -> tuple[ObjectKey, ...]:
    names = filter(None, route.annotations.get(ADDED, "").split(","))
    return tuple(ObjectKey(target.rollout.namespace, name) for name in names)


def _weights(route: Route, ours: list[Rule], target: TrafficTarget) -> Weights:
    stable, canary = services_of(target)

    def most(service: ObjectKey) -> int:
        return max(
            (backend.weight for rule in ours for backend in rule.backends if backend.service == service), default=0
        )

    added = tuple(AdditionalWeight(service=key.name, weight=most(key)) for key in _added(route, target))
    managed = _managed(route, ours, target)
    return Weights(canary=most(canary), stable=most(stable), total=target.total, additional=added, managed=managed)


def _managed(route: Route, ours: list[Rule], target: TrafficTarget) -> tuple[ManagedRoute, ...]:
    """Return the managed routes that a route holds: those of its record, if its rules are exactly as they should be."""
    live = [dict(rule.content) for rule in route.rules if is_managed(rule, target)]
    known = recorded(route.annotations)
    if known == UNKNOWN:
        return UNKNOWN
    _, canary = services_of(target)
    sources = [(rule.content, list(rule.content["backendRefs"])) for rule in ours]
    wanted = rules_for(known, sources, canary, is_grpc=route.ref.plural == "grpcroutes")
    return known if covers(live, wanted) else UNKNOWN


def _managed_operations(route: Route, split: Split, target: TrafficTarget, weights: Weights) -> list[Mapping[str, Any]]:
    """Return the operations that make the managed rules what they should be; to be applied after those on weights."""
    _, canary = services_of(target)
    ours = [route.rules[index] for index in split.rules]
    sources = [(rule.content, _refs_after(route, rule, target, weights)) for rule in ours]
    wanted = rules_for(weights.managed, sources, canary, is_grpc=route.ref.plural == "grpcroutes")
    managed = [rule for rule in route.rules if is_managed(rule, target)]
    is_recorded = recorded(route.annotations) == weights.managed
    if is_recorded and covers([dict(rule.content) for rule in managed], wanted):
        return []
    operations: list[Mapping[str, Any]] = [
        {"op": "remove", "path": f"/spec/rules/{rule.index}"} for rule in reversed(managed)
    ]
    operations += [{"op": "add", "path": "/spec/rules/-", "value": rule} for rule in wanted]
    return operations


def _wanted_weights(target: TrafficTarget, weights: Weights) -> dict[ObjectKey, int]:
    stable, canary = services_of(target)
    wanted = {stable: weights.stable, canary: weights.canary}
    return wanted | {ObjectKey(target.rollout.namespace, share.service): share.weight for share in weights.additional}


def _refs_after(route: Route, rule: Rule, target: TrafficTarget, weights: Weights) -> list[dict[str, Any]]:
    """Return the backendRefs of a rule as they should be."""
    stable, _ = services_of(target)
    wanted = _wanted_weights(target, weights)
    gone = set(_added(route, target)) - set(wanted)
    contents: list[Any] = list(rule.content["backendRefs"])
    named = {backend.service for backend in rule.backends}
    kept = [
        ({**content, "weight": wanted[backend.service]} if backend.service in wanted else dict(content))
        for backend, content in zip(rule.backends, contents, strict=True)
        if backend.service not in gone
    ]
    # An experiment's Service must offer the port that the stable ref names.
    model = next(content for backend, content in zip(rule.backends, contents, strict=True) if backend.service == stable)
    return kept + [_like(model, service.name, wanted[service]) for service in wanted if service not in named]


def _rule_operations(route: Route, split: Split, target: TrafficTarget, weights: Weights) -> list[Mapping[str, Any]]:
    wanted = _wanted_weights(target, weights)
    gone = set(_added(route, target)) - set(wanted)
    operations: list[Mapping[str, Any]] = []
    for index in split.rules:
        rule = route.rules[index]
        contents: list[Any] = list(rule.content["backendRefs"])
        named = {backend.service for backend in rule.backends}
        missing = [service for service in wanted if service not in named]
        if missing or gone & named:
            kept = _refs_after(route, rule, target, weights)
            operations.append({"op": "replace", "path": f"/spec/rules/{index}/backendRefs", "value": kept})
            continue
        for place, backend in enumerate(rule.backends):
            weight = wanted.get(backend.service) if backend.service else None
            if weight is None or ("weight" in contents[place] and backend.weight == weight):
                continue
            path = f"/spec/rules/{index}/backendRefs/{place}/weight"
            operations.append(
                {"op": "replace" if "weight" in contents[place] else "add", "path": path, "value": weight}
            )
    return operations


def _like(model: Mapping[str, Any], service: str, weight: int) -> dict[str, Any]:
    places = {key: model[key] for key in ("group", "kind", "namespace", "port") if key in model}
    return {**places, "name": service, "weight": weight}


def _new_ref(service: str, port: int, weight: int) -> dict[str, Any]:
    return {"group": "", "kind": "Service", "name": service, "port": port, "weight": weight}


def _test(route: Route) -> Mapping[str, Any]:
    return {"op": "test", "path": "/metadata/resourceVersion", "value": route.resource_version}


def _label_is_right(route: Route, label: InProgressLabel | None, in_progress: bool) -> bool:
    if label is None:
        return True
    return (route.labels.get(label.key) == label.value) == in_progress


def _label_operations(route: Route, label: InProgressLabel | None, in_progress: bool) -> list[Mapping[str, Any]]:
    if label is None or _label_is_right(route, label, in_progress):
        return []
    return _map_operations("/metadata/labels", route.labels, {label.key: label.value if in_progress else ""})


def _map_operations(path: str, live: Mapping[str, str], wanted: Mapping[str, str]) -> list[Mapping[str, Any]]:
    """Return the operations that set entries of a string map; an empty value removes its entry."""
    added = {key: value for key, value in wanted.items() if value and live.get(key) != value}
    if added and not live:
        return [{"op": "add", "path": path, "value": added}]
    operations: list[Mapping[str, Any]] = [
        {"op": "add", "path": f"{path}/{_escape(key)}", "value": value} for key, value in added.items()
    ]
    operations += [
        {"op": "remove", "path": f"{path}/{_escape(key)}"} for key, value in wanted.items() if not value and key in live
    ]
    return operations


def _escape(segment: str) -> str:
    return segment.replace("~", "~0").replace("/", "~1")

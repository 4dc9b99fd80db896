"""What a rollout of ours decides on objects that Git has too: it keeps its live value, whatever the target says.

| kind | what is kept |
|---|---|
| HTTPRoute, GRPCRoute, TLSRoute, TCPRoute | weights of backendRefs, backendRefs and rules that a rollout added |
| Service | the pod template hash in its selector |
| Deployment that a Rollout refers to | the replicas, which the Rollout scales down |

A route or Service that a rollout has marked speaks for itself; the others are told by key. Nothing here reads Rollouts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from fairlead.agentsync.resources import (
    Object,
    ResourceKey,
    annotations_of,
    group_version,
    key_of,
    kind_of,
    namespace_of,
)

POD_TEMPLATE_HASH: Final = "rollouts-pod-template-hash"
_ROUTE_GROUP: Final = "gateway.networking.k8s.io"
_ROUTES: Final = frozenset({"HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"})
# Annotations that the routing of this project writes on a route while a rollout has it.
_CLAIMS: Final = ("fairlead.dev/rollout", "fairlead.dev/rollout-uid")
_ADDED_SERVICES: Final = "fairlead.dev/rollout-services"
_ADDED_ROUTES: Final = "fairlead.dev/managed-routes"
_MANAGED_SERVICE: Final = "argo-rollouts.argoproj.io/managed-by-rollouts"
_NUMBER: Final = re.compile(r"-\d+$", re.ASCII)


def keep_owned(target: Object, live: Object, managed: Collection[ResourceKey]) -> Object:
    """Return the target with the live values of what a rollout decides; the target itself when that is nothing.

    Args:
        managed: keys of routes, Services and Deployments that a rollout manages.
    """
    group, kind = group_version(live)[0], kind_of(live)
    if group == _ROUTE_GROUP and kind in _ROUTES:
        marks = annotations_of(live)
        is_managed = key_of(live) in managed or any(claim in marks for claim in _CLAIMS)
        return _with_live_rules(target, live, managed) if is_managed else target
    if (group, kind) == ("", "Service"):
        return _with_live_hash(target, live)
    if (group, kind) == ("apps", "Deployment") and key_of(live) in managed:
        return _with_live_replicas(target, live)
    return target


def _spec(found: Object) -> Mapping[str, Any]:
    spec = found.get("spec")
    return spec if isinstance(spec, dict) else {}


def _with_live_hash(target: Object, live: Object) -> Object:
    """The key is nobody's but a rollout's, so that no mark is asked for: a mark may lag behind the switch."""
    selector, wanted = _spec(live).get("selector"), _spec(target).get("selector")
    if not isinstance(selector, dict) or POD_TEMPLATE_HASH not in selector or not isinstance(wanted, dict):
        return target
    kept = {**wanted, POD_TEMPLATE_HASH: selector[POD_TEMPLATE_HASH]}
    return {**target, "spec": {**_spec(target), "selector": kept}}


def _with_live_replicas(target: Object, live: Object) -> Object:
    spec = {key: value for key, value in _spec(target).items() if key != "replicas"}
    if "replicas" in _spec(live):
        spec["replicas"] = _spec(live)["replicas"]
    return {**target, "spec": spec}


def _maps(found: Any) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _with_live_rules(target: Object, live: Object, managed: Collection[ResourceKey]) -> Object:
    wanted, found = _maps(_spec(target).get("rules")), _maps(_spec(live).get("rules"))
    marks = annotations_of(live)
    added_services = set(filter(None, marks.get(_ADDED_SERVICES, "").split(",")))
    added_routes = _added_routes(marks.get(_ADDED_ROUTES, ""))
    names = {rule.get("name") for rule in wanted if rule.get("name")}
    ours = [rule for rule in found if _is_added(rule, added_routes) and rule.get("name") not in names]
    standing = [rule for rule in found if rule not in ours]
    weighted = _services(managed, namespace_of(live))
    rules = [
        _with_live_refs(rule, counterpart, added_services, weighted)
        if (counterpart := _counterpart(rule, place, standing)) is not None
        else rule
        for place, rule in enumerate(wanted)
    ]
    return {**target, "spec": {**_spec(target), "rules": [*rules, *ours]}}


def _added_routes(text: str) -> set[str]:
    try:
        found = json.loads(text) if text else []
    except ValueError:
        return set()
    return {name for one in _maps(found) if isinstance(name := one.get("name"), str) and name}


def _is_added(rule: Mapping[str, Any], added: Collection[str]) -> bool:
    name = rule.get("name")
    return isinstance(name, str) and (name in added or _NUMBER.sub("", name) in added)


def _services(managed: Collection[ResourceKey], namespace: str) -> frozenset[str] | None:
    """Return the Services of a namespace that a rollout manages; None when none are told: then any may be."""
    return frozenset(one.name for one in managed if (one.kind, one.namespace) == ("Service", namespace)) or None


def _counterpart(rule: Mapping[str, Any], place: int, live: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the live rule that a wanted one is: by name, or by place if it splits between the same Services."""
    if name := rule.get("name"):
        named = next((one for one in live if one.get("name") == name), None)
        if named is not None:
            return named
    backends = {_backend(ref) for ref in _maps(rule.get("backendRefs"))}
    alike = [one for one in live if backends & {_backend(ref) for ref in _maps(one.get("backendRefs"))}]
    by_matches = [one for one in alike if one.get("matches") == rule.get("matches")]
    if len(by_matches) == 1:
        return by_matches[0]
    at_place = live[place] if place < len(live) else None
    return at_place if at_place in alike else next(iter(alike), None)


def _backend(ref: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        ref.get("group") or "",
        ref.get("kind") or "Service",
        ref.get("namespace") or "",
        ref.get("name"),
        ref.get("port"),
    )


def _with_live_refs(
    rule: dict[str, Any], live: Mapping[str, Any], added: Collection[str], weighted: Collection[str] | None
) -> dict[str, Any]:
    refs, found = _maps(rule.get("backendRefs")), _maps(live.get("backendRefs"))
    by_backend = {_backend(ref): ref for ref in found}
    # A rule of none of the Services that were told is split by a rollout that was not.
    told = {name for ref in refs if (name := ref.get("name")) in (weighted or ())}
    result = []
    for ref in refs:
        counterpart = by_backend.get(_backend(ref))
        is_ours = not told or ref.get("name") in told
        result.append(_with_weight_of(counterpart, ref) if counterpart is not None and is_ours else ref)
    named = {ref.get("name") for ref in refs}
    result += [ref for ref in found if ref.get("name") in added and ref.get("name") not in named]
    return {**rule, "backendRefs": result} if "backendRefs" in rule else rule


def _with_weight_of(live: Mapping[str, Any], ref: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in ref.items() if key != "weight"}
    return {**kept, "weight": live["weight"]} if "weight" in live else kept

"""The kinds of Gateway API.

Source: gitops.md 10.3; argo-cd: resource_customizations/gateway.networking.k8s.io.
"""

from __future__ import annotations

from collections.abc import Sequence

from fairlead.agentsync._health._reading import Condition, Reading
from fairlead.agentsync._health.verdict import Health, degraded, healthy, progressing


def http_route(found: Reading) -> Health:
    return _route(found, "HTTPRoute", is_stale_skipped=True)


def grpc_route(found: Reading) -> Health:
    return _route(found, "GRPCRoute", is_stale_skipped=False)


def _route(found: Reading, kind: str, *, is_stale_skipped: bool) -> Health:
    is_reported = False
    for parent in found.parts("status.parents"):
        conditions = parent.conditions("conditions")
        if not conditions or (is_stale_skipped and not _is_current(found, conditions)):
            continue
        is_reported = True
        problem = _problem(conditions, f"Parent {parent.text('parentRef.name')}: ", "Route is still being programmed")
        if problem is not None:
            return problem
    return healthy(f"{kind} is healthy") if is_reported else progressing(f"Waiting for {kind} status")


def _is_current(found: Reading, conditions: Sequence[Condition]) -> bool:
    generation = found.number("metadata.generation")
    return generation is None or any(one.observed_generation == generation for one in conditions)


def _problem(conditions: Sequence[Condition], prefix: str, waiting: str) -> Health | None:
    for kind in ("ResolvedRefs", "Accepted"):
        failed = next((one for one in conditions if one.type == kind and one.is_false), None)
        if failed is not None:
            return degraded(prefix + (failed.message or f"Failed condition: {kind}"))
    for one in conditions:
        if one.type == "Programmed" and not one.is_true:
            return progressing(prefix + (one.message or waiting))
    return None


def gateway(found: Reading) -> Health:
    own = found.conditions()
    problem = _problem(own, "", "Gateway is still being programmed")
    if problem is not None:
        return problem
    listeners = found.parts("status.listeners")
    for listener in listeners:
        problem = _problem(listener.conditions("conditions"), "Listener: ", "Listener is still being programmed")
        if problem is not None:
            return problem
    return healthy("Gateway is healthy") if own or listeners else progressing("Waiting for Gateway status")


def gateway_class(found: Reading) -> Health:
    generation = found.number("metadata.generation")
    for one in found.conditions():
        if one.type != "Accepted" or (
            None not in (generation, one.observed_generation) and one.observed_generation != generation
        ):
            continue
        if one.is_true:
            return healthy(one.message or "GatewayClass is accepted")
        if one.is_false:
            return degraded(one.message or "GatewayClass is not accepted")
        return progressing(one.message or "Waiting for GatewayClass status")
    return progressing("Waiting for GatewayClass status")


def backend_tls_policy(found: Reading) -> Health:
    generation = found.number("metadata.generation")
    ancestors = [
        (one.text("ancestorRef.name"), one.conditions("conditions")) for one in found.parts("status.ancestors")
    ]
    for name, conditions in ancestors:
        observed = {one.observed_generation for one in conditions} - {None}
        if generation is not None and observed - {generation}:
            return progressing(f"Waiting for Ancestor {name} to update BackendTLSPolicy status")
    is_accepted = False
    for name, conditions in ancestors:
        for one in conditions:
            if one.type in ("Accepted", "ResolvedRefs") and not one.is_true:
                return degraded(f"Ancestor {name}: {one.message}")
            is_accepted = is_accepted or one.type == "Accepted"
    return healthy("BackendTLSPolicy is healthy") if is_accepted else progressing("Waiting for BackendTLSPolicy status")

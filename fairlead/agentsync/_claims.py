"""Which objects a rollout decides about, read from the Rollouts themselves: Git must not take them back. Pure.

Routes and Services that a rollout has marked speak for themselves (`_owned`); what is read here also holds before the
first mark, and for a Deployment that a Rollout refers to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fairlead.agentsync.resources import Object, ResourceKey, group_version, kind_of, namespace_of

_ROUTE_GROUP: Final = "gateway.networking.k8s.io"
_ROUTES: Final = {
    "httproute": "HTTPRoute",
    "grpcroute": "GRPCRoute",
    "tcproute": "TCPRoute",
    "tlsroute": "TLSRoute",
}
_SERVICES: Final = ("canaryService", "stableService", "activeService", "previewService")
_BLUE_GREEN_OR_CANARY: Final = ("canary", "blueGreen")


def is_rollout(found: Object) -> bool:
    """Return whether an object is a Rollout."""
    return kind_of(found) == "Rollout" and group_version(found)[0] == "argoproj.io"


def claimed(rollouts: Iterable[Object], *, namespace: str = "") -> frozenset[ResourceKey]:
    """Return the keys of routes, Services and Deployments that these Rollouts decide about.

    Args:
        namespace: of Rollouts that name none.
    """
    found: set[ResourceKey] = set()
    for rollout in rollouts:
        place = namespace_of(rollout) or namespace
        spec = _mapping(rollout.get("spec"))
        reference = _mapping(spec.get("workloadRef"))
        if reference.get("kind") == "Deployment" and isinstance(name := reference.get("name"), str):
            found.add(ResourceKey("apps", "Deployment", place, name))
        strategy = _mapping(spec.get("strategy"))
        for block in _BLUE_GREEN_OR_CANARY:
            inner = _mapping(strategy.get(block))
            names = [inner.get(field) for field in _SERVICES]
            names += _mapping(inner.get("pingPong")).values()
            found |= {ResourceKey("", "Service", place, name) for name in names if isinstance(name, str) and name}
            plugins = _mapping(_mapping(inner.get("trafficRouting")).get("plugins"))
            for plugin in plugins.values():
                found |= _routes(_mapping(plugin), place)
    return frozenset(found)


def _routes(plugin: Mapping[str, Any], place: str) -> set[ResourceKey]:
    """Return the routes that a plug-in's block names, as `httpRoute` or in `httpRoutes`."""
    home = plugin.get("namespace")
    home = home if isinstance(home, str) and home else place
    found: set[ResourceKey] = set()
    for field, value in plugin.items():
        kind = _ROUTES.get(field.lower().removesuffix("s"))
        for entry in (value if isinstance(value, list) else [value]) if kind is not None else ():
            name = entry.get("name") if isinstance(entry, Mapping) else entry
            if kind is not None and isinstance(name, str) and name:
                found.add(ResourceKey(_ROUTE_GROUP, kind, home, name))
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

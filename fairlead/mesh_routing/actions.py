"""What may be asked of the cluster by a router: two kinds of write, both of which can be performed twice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.mesh_routing.spec import RouteRef


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchRoute:
    """Change single places of a user's route (JSON patch); the first operation tests the resourceVersion."""

    route: RouteRef
    operations: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyRoute:
    """Make a route of our own look like this (server-side apply with force: it is ours alone)."""

    route: RouteRef
    body: Mapping[str, Any]


RouteAction = PatchRoute | ApplyRoute

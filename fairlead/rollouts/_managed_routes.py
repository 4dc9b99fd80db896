"""Rules beside the split: what `setHeaderRoute` and `setMirrorRoute` of all steps so far add up to.

They are derived anew at each look, and so come back by themselves after whatever took them away.

Source: argo-rollouts: rollout/trafficrouting.go, utils/trafficrouting (which makes the call of a single step instead).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fairlead.core.traffic import ManagedRoute, RequestMatch, TextMatch, TextMatchKind
from fairlead.rollouts._stanzas import StringMatch
from fairlead.rollouts._steps import CanaryStep, SetHeaderRoute, SetMirrorRoute


def routes_at(steps: Sequence[CanaryStep], index: int | None, names: Sequence[str]) -> tuple[ManagedRoute, ...]:
    """Return the managed routes in force at a step, in the order of their names.

    Args:
        index: past the last step, those of all steps are in force.
        names: of `managedRoutes`; the first one wins where two match.
    """
    found: dict[str, ManagedRoute] = {}
    for step in steps[: len(steps) if index is None else index + 1]:
        for asked in (step.set_header_route, step.set_mirror_route):
            if asked is None:
                continue
            found.pop(asked.name, None)
            if asked.match:
                found[asked.name] = _route(asked)
    return tuple(found[name] for name in names if name in found)


@dataclass(frozen=True, slots=True)
class Clash:
    """Two managed routes in force at the same time that match the same requests: only one of them would ever apply.

    Attributes:
        index: of the step that asks for the second one.
    """

    index: int
    first: str
    second: str


def clash(steps: Sequence[CanaryStep], names: Sequence[str]) -> Clash | None:
    """Return the first two routes that clash; None: no two do."""
    for index, step in enumerate(steps):
        asked = step.set_header_route or step.set_mirror_route
        if asked is None or not asked.match:
            continue
        in_force = {found.name: _meant(found) for found in routes_at(steps, index, names)}
        own = in_force.pop(asked.name, frozenset())
        for name, others in in_force.items():
            if own & others:
                return Clash(index, name, asked.name)
    return None


def _meant(route: ManagedRoute) -> frozenset[RequestMatch]:
    """Return what a route matches; names of headers are the same in any case, and their order does not matter."""
    return frozenset(
        replace(match, headers=tuple(sorted((name.lower(), value) for name, value in match.headers)))
        for match in route.matches
    )


def all_routes(steps: Sequence[CanaryStep]) -> tuple[ManagedRoute, ...]:
    """Return every managed route that some step asks for."""
    asked = (found for step in steps for found in (step.set_header_route, step.set_mirror_route))
    return tuple(_route(found) for found in asked if found is not None and found.match)


def _route(asked: SetHeaderRoute | SetMirrorRoute) -> ManagedRoute:
    if isinstance(asked, SetHeaderRoute):
        headers = tuple((match.header_name, _text(match.header_value)) for match in asked.match)
        return ManagedRoute(name=asked.name, matches=(RequestMatch(headers=headers),))
    matches = tuple(
        RequestMatch(
            method=_text(match.method) if match.method is not None else None,
            path=_text(match.path) if match.path is not None else None,
            headers=tuple((name, _text(value)) for name, value in sorted(match.headers.items())),
        )
        for match in asked.match
    )
    percent = 100 if asked.percentage is None else asked.percentage
    return ManagedRoute(name=asked.name, matches=matches, mirror_percent=percent)


def _text(match: StringMatch) -> TextMatch:
    if match.exact:
        return TextMatch(TextMatchKind.EXACT, match.exact)
    if match.prefix:
        return TextMatch(TextMatchKind.PREFIX, match.prefix)
    return TextMatch(TextMatchKind.REGEX, match.regex)

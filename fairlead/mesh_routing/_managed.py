"""Rules that send or copy requests to the canary beside the split, made from each rule that we split.

| asked for | rule |
|---|---|
| requests with headers go to the canary | the source's matches, each with the headers; one backendRef, the canary |
| requests are mirrored | the source's matches, narrowed; its backendRefs with their weights; a RequestMirror filter |

Filters, timeouts, retries and session persistence are the source's own. What is asked for is recorded in an annotation;
rules are ours by their name alone. Rules that are not exactly as the record would have them show as something that
nobody can ask for, so that they are written anew.

Source: the Gateway API's HTTPRouteRule; rollouts-plugin-trafficrouter-gatewayapi: pkg/plugin/httproute.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fairlead.core.errors import SpecError
from fairlead.core.objects import ObjectKey
from fairlead.core.traffic import ManagedRoute, RequestMatch, TextMatch, TextMatchKind, TrafficTarget

RECORD = "fairlead.dev/managed-routes"  # annotation: the managed routes that the rules were made from
UNKNOWN = (ManagedRoute(name=""),)  # equals nothing that can be asked for

_COPIED = ("timeouts", "retry", "sessionPersistence")
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
_ALL: Mapping[str, Any] = {"path": {"type": "PathPrefix", "value": "/"}}
_decoder = msgspec.json.Decoder(tuple[ManagedRoute, ...])


def recorded(annotations: Mapping[str, str]) -> tuple[ManagedRoute, ...]:
    """Return the managed routes that a route's annotation records; what makes no sense counts as unknown."""
    text = annotations.get(RECORD, "")
    if not text:
        return ()
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError:
        return UNKNOWN


def record(routes: Sequence[ManagedRoute]) -> str:
    """Return the value of the annotation; empty when there is nothing to record."""
    return msgspec.json.encode(tuple(routes)).decode() if routes else ""


def rules_for(
    routes: Iterable[ManagedRoute],
    sources: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
    canary: ObjectKey,
    *,
    is_grpc: bool,
) -> list[dict[str, Any]]:
    """Return the rules for managed routes, as JSON data.

    Args:
        sources: the rules that we split, each with its backendRefs as they should be.
        canary: the canary Service.
    """
    found: list[dict[str, Any]] = []
    for route in routes:
        for number, (source, refs) in enumerate(sources):
            name = route.name if number == 0 else f"{route.name}-{number}"
            found.append({"name": name, **_rule(route, source, refs, canary, is_grpc=is_grpc)})
    return found


def _rule(
    route: ManagedRoute,
    source: Mapping[str, Any],
    refs: Sequence[Mapping[str, Any]],
    canary: ObjectKey,
    *,
    is_grpc: bool,
) -> dict[str, Any]:
    standing = source.get("matches") or [{} if is_grpc else _ALL]
    rule: dict[str, Any] = {"matches": [_match(one, wanted) for one in standing for wanted in route.matches]}
    filters = list(source.get("filters") or ())
    model = next(ref for ref in refs if ref.get("name") == canary.name)
    if route.mirror_percent is None:
        rule["backendRefs"] = [{**model, "weight": 1}]
    else:
        target = {key: model[key] for key in ("group", "kind", "name", "namespace", "port") if key in model}
        mirror: dict[str, Any] = {"backendRef": target}
        if route.mirror_percent != 100:
            mirror["percent"] = route.mirror_percent
        filters.append({"type": "RequestMirror", "requestMirror": mirror})
        rule["backendRefs"] = [dict(ref) for ref in refs]
    if filters:
        rule["filters"] = filters
    return rule | {key: source[key] for key in _COPIED if key in source}


def _match(source: Mapping[str, Any], wanted: RequestMatch) -> dict[str, Any]:
    """Return a match that takes what the source takes, and only if it is as wanted."""
    result = dict(source)
    if wanted.method is not None:
        result["method"] = wanted.method.value
    if wanted.path is not None:
        kinds = {
            TextMatchKind.EXACT: "Exact",
            TextMatchKind.PREFIX: "PathPrefix",
            TextMatchKind.REGEX: "RegularExpression",
        }
        result["path"] = {"type": kinds[wanted.path.kind], "value": wanted.path.value}
    if wanted.headers:
        named = {name.lower() for name, _ in wanted.headers}
        kept = [entry for entry in source.get("headers") or () if str(entry.get("name", "")).lower() not in named]
        result["headers"] = [*kept, *(_header(name, value) for name, value in wanted.headers)]
    return result


def _header(name: str, value: TextMatch) -> dict[str, Any]:
    if value.kind is TextMatchKind.EXACT:
        return {"type": "Exact", "name": name, "value": value.value}
    # Headers have no prefix match; expressions match the whole value.
    text = value.value if value.kind is TextMatchKind.REGEX else f"{re.escape(value.value)}.*"
    return {"type": "RegularExpression", "name": name, "value": text}


def check_routes(target: TrafficTarget, *, is_grpc: bool) -> None:
    """Refuse managed routes that a route cannot express.

    Raises:
        SpecError: which one, and why.
    """
    for route in target.routes:
        for match in route.matches:
            if is_grpc and (match.method is not None or match.path is not None):
                raise SpecError(
                    f"managed route {route.name}: a GRPCRoute is matched by headers only, not by method or path"
                )
            if match.method is None:
                continue
            if match.method.kind is not TextMatchKind.EXACT or match.method.value not in _METHODS:
                raise SpecError(
                    f"managed route {route.name}: found the method {match.method.value!r} ({match.method.kind}), "
                    f"expected exactly one of {', '.join(_METHODS)}"
                )

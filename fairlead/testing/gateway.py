"""Gateway API's kinds as CustomResourceDefinitions of our own: compact schemas with the defaults that matter.

They stand in until somebody installs the real bundle, which then takes their place. Fields that are not named are
kept as they are.

Source: `sigs.k8s.io/gateway-api` v1: field names, defaults and bounds of HTTPRoute, GRPCRoute, Gateway,
GatewayClass and ReferenceGrant. The other kinds of the standard channel are carried without any schema.
"""

from __future__ import annotations

from typing import Any

GROUP = "gateway.networking.k8s.io"
BUNDLE_VERSION = "v1.6.1"
_KEEP = {"x-kubernetes-preserve-unknown-fields": True}


def _object(properties: dict[str, Any], *, required: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, **_KEEP, **more}
    if required:
        schema["required"] = list(required)
    return schema


def _list(items: dict[str, Any], *, most: int = 0, keys: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "array", "items": items, **more}
    if most:
        schema["maxItems"] = most
    if keys:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    else:
        schema["x-kubernetes-list-type"] = "atomic"
    return schema


def _text(**more: Any) -> dict[str, Any]:
    return {"type": "string", **more}


def _number(low: int, high: int, **more: Any) -> dict[str, Any]:
    return {"type": "integer", "format": "int32", "minimum": low, "maximum": high, **more}


_PORT = _number(1, 65535)
_WEIGHT = _number(0, 1_000_000, default=1)
_ANY = {"type": "object", **_KEEP}


_FILTERS = (
    "RequestHeaderModifier",
    "ResponseHeaderModifier",
    "RequestMirror",
    "RequestRedirect",
    "URLRewrite",
    "ExtensionRef",
    "CORS",
)


def _filters() -> dict[str, Any]:
    mirrored = {"group": _text(default=""), "kind": _text(default="Service"), "name": _text(minLength=1)}
    members = {
        "type": _text(enum=list(_FILTERS)),
        "requestMirror": _object({"backendRef": _object(mirrored, required=("name",))}, required=("backendRef",)),
        "requestRedirect": _object({"statusCode": {"type": "integer", "default": 302}}),
    }
    return _list(_object(members, required=("type",)), most=16)


def _parent() -> dict[str, Any]:
    return _object(
        {
            "group": _text(default=GROUP, maxLength=253),
            "kind": _text(default="Gateway", minLength=1, maxLength=63),
            "namespace": _text(minLength=1, maxLength=63),
            "name": _text(minLength=1, maxLength=253),
            "sectionName": _text(minLength=1, maxLength=253),
            "port": _PORT,
        },
        required=("name",),
    )


def _backends() -> dict[str, Any]:
    backend = _object(
        {
            "group": _text(default="", maxLength=253),
            "kind": _text(default="Service", minLength=1, maxLength=63),
            "namespace": _text(minLength=1, maxLength=63),
            "name": _text(minLength=1, maxLength=253),
            "port": _PORT,
            "weight": _WEIGHT,
            "filters": _filters(),
        },
        required=("name",),
    )
    return _list(backend, most=16)


_CONDITIONS = _list(
    _object(
        {
            "type": _text(),
            "status": _text(enum=["True", "False", "Unknown"]),
            "reason": _text(),
            "message": _text(),
            "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
            "lastTransitionTime": _text(format="date-time"),
        },
        required=("type", "status", "reason", "message", "lastTransitionTime"),
    ),
    keys=("type",),
    maxItems=8,
)


def _route_status() -> dict[str, Any]:
    parent = _object(
        {"parentRef": _parent(), "controllerName": _text(minLength=1), "conditions": _CONDITIONS},
        required=("parentRef", "controllerName", "conditions"),
    )
    return _object({"parents": _list(parent, most=32)}, required=("parents",))


def _http_match() -> dict[str, Any]:
    return _object(
        {
            "path": _object(
                {
                    "type": _text(default="PathPrefix", enum=["Exact", "PathPrefix", "RegularExpression"]),
                    "value": _text(default="/", maxLength=1024),
                },
                default={"type": "PathPrefix", "value": "/"},
            ),
            "headers": _list(
                _object(
                    {
                        "type": _text(default="Exact", enum=["Exact", "RegularExpression"]),
                        "name": _text(minLength=1, maxLength=256),
                        "value": _text(minLength=1, maxLength=4096),
                    },
                    required=("name", "value"),
                ),
                keys=("name",),
                maxItems=16,
            ),
            "queryParams": _list(
                _object(
                    {"type": _text(default="Exact"), "name": _text(), "value": _text()}, required=("name", "value")
                ),
                keys=("name",),
                maxItems=16,
            ),
            "method": _text(),
        }
    )


def _route(match: dict[str, Any], matches_default: list[Any] | None) -> dict[str, Any]:
    matches = _list(match, most=64)
    if matches_default is not None:
        matches["default"] = matches_default
    rule = _object(
        {
            "name": _text(minLength=1, maxLength=253),
            "matches": matches,
            "filters": _filters(),
            "backendRefs": _backends(),
            "timeouts": _ANY,
            "retry": _ANY,
            "sessionPersistence": _ANY,
        }
    )
    rules = _list(rule, most=16, minItems=1)
    if matches_default is not None:
        rules["default"] = [{"matches": matches_default}]
    hostnames = _list(_text(minLength=1, maxLength=253), most=16)
    return _object(
        {
            "spec": _object({"parentRefs": _list(_parent(), most=32), "hostnames": hostnames, "rules": rules}),
            "status": _route_status(),
        },
        required=("spec",),
    )


def _http_route() -> dict[str, Any]:
    return _route(_http_match(), [{"path": {"type": "PathPrefix", "value": "/"}}])


def _grpc_route() -> dict[str, Any]:
    exact = _object({"type": _text(default="Exact")})
    match = _object({"method": exact, "headers": _list(exact, most=16)})
    return _route(match, None)


def _gateway() -> dict[str, Any]:
    listener = _object(
        {
            "name": _text(minLength=1, maxLength=253),
            "hostname": _text(),
            "port": _PORT,
            "protocol": _text(minLength=1),
            "tls": _object(
                {
                    "mode": _text(default="Terminate"),
                    "certificateRefs": _list(
                        _object({"group": _text(default=""), "kind": _text(default="Secret")}), most=64
                    ),
                }
            ),
            "allowedRoutes": _object(
                {"namespaces": _object({"from": _text(default="Same")}, default={"from": "Same"})},
                default={"namespaces": {"from": "Same"}},
            ),
        },
        required=("name", "port", "protocol"),
    )
    spec = _object(
        {
            "gatewayClassName": _text(minLength=1, maxLength=253),
            "listeners": _list(listener, keys=("name",), maxItems=64, minItems=1),
            "addresses": _list(_ANY, most=16),
            "infrastructure": _ANY,
        },
        required=("gatewayClassName", "listeners"),
    )
    waiting = [
        {
            "type": kind,
            "status": "Unknown",
            "reason": "Pending",
            "message": "Waiting for controller",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }
        for kind in ("Accepted", "Programmed")
    ]
    status = _object(
        {
            "addresses": _list(_ANY, most=16),
            "conditions": {**_CONDITIONS, "default": waiting},
            "listeners": _list(_object({"name": _text()}, required=("name",)), keys=("name",), maxItems=64),
        },
        default={"conditions": waiting},
    )
    return _object({"spec": spec, "status": status}, required=("spec",))


def _gateway_class() -> dict[str, Any]:
    controller = _text(
        minLength=1,
        maxLength=253,
        **{"x-kubernetes-validations": [{"message": "Value is immutable", "rule": "self == oldSelf"}]},
    )
    waiting = {
        "type": "Accepted",
        "status": "Unknown",
        "reason": "Pending",
        "message": "Waiting for controller",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }
    spec = _object(
        {"controllerName": controller, "parametersRef": _ANY, "description": _text(maxLength=64)},
        required=("controllerName",),
    )
    status = _object({"conditions": {**_CONDITIONS, "default": [waiting]}}, default={"conditions": [waiting]})
    return _object({"spec": spec, "status": status}, required=("spec",))


def _reference_grant() -> dict[str, Any]:
    ends = {
        "from": _list(
            _object(
                {"group": _text(), "kind": _text(minLength=1), "namespace": _text(minLength=1)},
                required=("group", "kind", "namespace"),
            ),
            most=16,
            minItems=1,
        ),
        "to": _list(
            _object({"group": _text(), "kind": _text(minLength=1), "name": _text()}, required=("group", "kind")),
            most=16,
            minItems=1,
        ),
    }
    return _object({"spec": _object(ends, required=("from", "to"))})


_CARRIED = (
    ("BackendTLSPolicy", "backendtlspolicies"),
    ("ListenerSet", "listenersets"),
    ("TCPRoute", "tcproutes"),
    ("TLSRoute", "tlsroutes"),
    ("UDPRoute", "udproutes"),
)


def _definition(
    kind: str,
    plural: str,
    schema: dict[str, Any],
    versions: tuple[str, ...],
    *,
    columns: tuple[tuple[str, str, str], ...] = (),
    cluster: bool = False,
    status: bool = True,
    short: tuple[str, ...] = (),
) -> dict[str, Any]:
    printed = [
        *({"name": name, "type": type_, "jsonPath": path} for name, type_, path in columns),
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{plural}.{GROUP}",
            "annotations": {
                # A real API server refuses kinds of this protected group without it.
                "api-approved.kubernetes.io": "https://github.com/kubernetes-sigs/gateway-api",
                f"{GROUP}/bundle-version": BUNDLE_VERSION,
                f"{GROUP}/channel": "standard",
            },
        },
        "spec": {
            "group": GROUP,
            "scope": "Cluster" if cluster else "Namespaced",
            "names": {
                "kind": kind,
                "plural": plural,
                "singular": kind.lower(),
                "listKind": f"{kind}List",
                "shortNames": list(short),
                "categories": ["gateway-api"],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": index == 0,
                    "schema": {"openAPIV3Schema": schema},
                    "additionalPrinterColumns": printed,
                    **({"subresources": {"status": {}}} if status else {}),
                }
                for index, version in enumerate(versions)
            ],
        },
    }


def definitions() -> tuple[dict[str, Any], ...]:
    """Return the CustomResourceDefinitions; the first version of each is the one that objects are kept in."""
    hostnames = (("Hostnames", "string", ".spec.hostnames"),)
    gateway_columns = (
        ("Class", "string", ".spec.gatewayClassName"),
        ("Address", "string", ".status.addresses[*].value"),
        ("Programmed", "string", '.status.conditions[?(@.type=="Programmed")].status'),
    )
    class_columns = (
        ("Controller", "string", ".spec.controllerName"),
        ("Accepted", "string", '.status.conditions[?(@.type=="Accepted")].status'),
    )
    return (
        _definition("HTTPRoute", "httproutes", _http_route(), ("v1", "v1beta1"), columns=hostnames),
        _definition("GRPCRoute", "grpcroutes", _grpc_route(), ("v1",), columns=hostnames),
        _definition("Gateway", "gateways", _gateway(), ("v1", "v1beta1"), columns=gateway_columns, short=("gtw",)),
        _definition(
            "GatewayClass",
            "gatewayclasses",
            _gateway_class(),
            ("v1", "v1beta1"),
            columns=class_columns,
            cluster=True,
            short=("gc",),
        ),
        _definition(
            "ReferenceGrant",
            "referencegrants",
            _reference_grant(),
            ("v1beta1", "v1"),
            status=False,
            short=("refgrant",),
        ),
        # Carried as they are: controllers watch them and would wait for ever for kinds that are not served.
        *(_definition(kind, plural, _object({}), ("v1",)) for kind, plural in _CARRIED),
    )

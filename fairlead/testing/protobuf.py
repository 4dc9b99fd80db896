"""Reads the few kinds that typed clients send as protobuf, whatever the server would like. No answer is written in it.

A field that no table here knows refuses the whole request unless it is empty: nothing is lost in silence.

Source: `k8s.io/api` and `k8s.io/apimachinery`: generated.proto (field numbers), `pkg/runtime/serializer/protobuf`
(the envelope).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fairlead.core.errors import Invalid
from fairlead.core.objects import rfc3339, rfc3339_micro

MAGIC = b"k8s\x00"

# Per message: number, name and type of its fields. A type ends in `*` when repeated and in `?` when the server can
# tell a zero from nothing; `{}` before a type makes it a map by string.
_MESSAGES = {
    "ObjectMeta": (
        "1 name string, 2 generateName string, 3 namespace string, 5 uid string, 6 resourceVersion string, "
        "7 generation int, 8 creationTimestamp Time, 9 deletionTimestamp Time, 10 deletionGracePeriodSeconds int?, "
        "11 labels {}string, 12 annotations {}string, 13 ownerReferences OwnerReference*, 14 finalizers string*"
    ),
    "OwnerReference": (
        "5 apiVersion string, 1 kind string, 3 name string, 4 uid string, 6 controller bool?, "
        "7 blockOwnerDeletion bool?"
    ),
    "LabelSelector": "1 matchLabels {}string, 2 matchExpressions LabelSelectorRequirement*",
    "LabelSelectorRequirement": "1 key string, 2 operator string, 3 values string*",
    "DeleteOptions": (
        "1 gracePeriodSeconds int?, 2 preconditions Preconditions, 3 orphanDependents bool?, "
        "4 propagationPolicy string?, 5 dryRun string*"
    ),
    "Preconditions": "1 uid string, 2 resourceVersion string",
    "ConfigMap": "1 metadata ObjectMeta, 2 data {}string, 3 binaryData {}bytes, 4 immutable bool?",
    "Secret": "1 metadata ObjectMeta, 2 data {}bytes, 3 type string, 4 stringData {}string, 5 immutable bool?",
    "Namespace": "1 metadata ObjectMeta, 2 spec NamespaceSpec, 3 status Empty",
    "NamespaceSpec": "1 finalizers string*",
    "ServiceAccount": (
        "1 metadata ObjectMeta, 2 secrets ObjectReference*, 3 imagePullSecrets LocalObjectReference*, "
        "4 automountServiceAccountToken bool?"
    ),
    "LocalObjectReference": "1 name string",
    "ObjectReference": (
        "1 kind string, 2 namespace string, 3 name string, 4 uid string, 5 apiVersion string, "
        "6 resourceVersion string, 7 fieldPath string"
    ),
    "Event": (
        "1 metadata ObjectMeta, 2 involvedObject ObjectReference, 3 reason string, 4 message string, "
        "5 source EventSource, 6 firstTimestamp Time, 7 lastTimestamp Time, 8 count int, 9 type string, "
        "10 eventTime MicroTime, 12 action string, 13 related ObjectReference, 14 reportingComponent string, "
        "15 reportingInstance string"
    ),
    "events.Event": (
        "1 metadata ObjectMeta, 2 eventTime MicroTime, 4 reportingController string, 5 reportingInstance string, "
        "6 action string, 7 reason string, 8 regarding ObjectReference, 9 related ObjectReference, 10 note string, "
        "11 type string, 12 deprecatedSource EventSource, 13 deprecatedFirstTimestamp Time, "
        "14 deprecatedLastTimestamp Time, 15 deprecatedCount int"
    ),
    "EventSource": "1 component string, 2 host string",
    "Lease": "1 metadata ObjectMeta, 2 spec LeaseSpec",
    "LeaseSpec": (
        "1 holderIdentity string?, 2 leaseDurationSeconds int?, 3 acquireTime MicroTime, 4 renewTime MicroTime, "
        "5 leaseTransitions int?"
    ),
    "Eviction": "1 metadata ObjectMeta, 2 deleteOptions DeleteOptions",
    "Scale": "1 metadata ObjectMeta, 2 spec ScaleSpec, 3 status Empty",
    "ScaleSpec": "1 replicas int?",
    "SelfSubjectAccessReview": "1 metadata ObjectMeta, 2 spec SelfSubjectAccessReviewSpec, 3 status Empty",
    "SelfSubjectAccessReviewSpec": (
        "1 resourceAttributes ResourceAttributes, 2 nonResourceAttributes NonResourceAttributes"
    ),
    "ResourceAttributes": (
        "1 namespace string, 2 verb string, 3 group string, 4 version string, 5 resource string, 6 subresource string, "
        "7 name string"
    ),
    "NonResourceAttributes": "1 path string, 2 verb string",
    "SelfSubjectReview": "1 metadata ObjectMeta, 2 status Empty",
    "TokenReview": "1 metadata ObjectMeta, 2 spec TokenReviewSpec, 3 status Empty",
    "TokenReviewSpec": "1 token string, 2 audiences string*",
    "Service": "1 metadata ObjectMeta, 2 spec ServiceSpec, 3 status Empty",
    "ServiceSpec": (
        "1 ports ServicePort*, 2 selector {}string, 3 clusterIP string, 18 clusterIPs string*, 4 type string, "
        "7 sessionAffinity string, 10 externalName string, 13 publishNotReadyAddresses bool"
    ),
    "ServicePort": (
        "1 name string, 2 protocol string, 6 appProtocol string?, 3 port int, 4 targetPort IntOrString, 5 nodePort int"
    ),
    "Deployment": "1 metadata ObjectMeta, 2 spec DeploymentSpec, 3 status Empty",
    "DeploymentSpec": (
        "1 replicas int?, 2 selector LabelSelector, 3 template PodTemplateSpec, 4 strategy DeploymentStrategy, "
        "5 minReadySeconds int, 6 revisionHistoryLimit int?, 7 paused bool, 9 progressDeadlineSeconds int?"
    ),
    "DeploymentStrategy": "1 type string, 2 rollingUpdate RollingUpdate",
    "RollingUpdate": "1 maxUnavailable IntOrString, 2 maxSurge IntOrString",
    "Job": "1 metadata ObjectMeta, 2 spec JobSpec, 3 status Empty",
    "JobSpec": (
        "1 parallelism int?, 2 completions int?, 3 activeDeadlineSeconds int?, 7 backoffLimit int?, "
        "6 template PodTemplateSpec, 8 ttlSecondsAfterFinished int?, 10 suspend bool?"
    ),
    "Pod": "1 metadata ObjectMeta, 2 spec PodSpec, 3 status Empty",
    "PodTemplateSpec": "1 metadata ObjectMeta, 2 spec PodSpec",
    "PodSpec": (
        "20 initContainers Container*, 2 containers Container*, 3 restartPolicy string, "
        "4 terminationGracePeriodSeconds int?, 5 activeDeadlineSeconds int?, 6 dnsPolicy string, "
        "7 nodeSelector {}string, 8 serviceAccountName string, 9 serviceAccount string, 10 nodeName string, "
        "11 hostNetwork bool, 14 securityContext Empty, 15 imagePullSecrets LocalObjectReference*, 16 hostname string, "
        "17 subdomain string, 19 schedulerName string"
    ),
    "Container": (
        "1 name string, 2 image string, 3 command string*, 4 args string*, 5 workingDir string, "
        "6 ports ContainerPort*, 7 env EnvVar*, 8 resources ResourceRequirements, 13 terminationMessagePath string, "
        "14 imagePullPolicy string, 16 stdin bool, 17 stdinOnce bool, 18 tty bool, 20 terminationMessagePolicy string"
    ),
    "ContainerPort": "1 name string, 2 hostPort int, 3 containerPort int, 4 protocol string, 5 hostIP string",
    "EnvVar": "1 name string, 2 value string",
    "ResourceRequirements": "1 limits {}Quantity, 2 requests {}Quantity",
    "Empty": "",
}


class ProtobufError(Invalid):
    """The body cannot be read; the client should send JSON (415)."""

    def __init__(self, why: str) -> None:
        super().__init__(f"{why}; send application/json", status=415, reason="UnsupportedMediaType")


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    type: str
    repeated: bool
    optional: bool
    mapped: bool


@cache
def _fields(message: str) -> dict[int, _Field]:
    found: dict[int, _Field] = {}
    for entry in filter(None, _MESSAGES[message].split(", ")):
        number, name, type_ = entry.split(" ")
        plain = type_.removeprefix("{}").rstrip("*?")
        found[int(number)] = _Field(name, plain, type_.endswith("*"), type_.endswith("?"), type_.startswith("{}"))
    return found


def decode(raw: bytes) -> dict[str, Any]:
    """Return the object of a request as JSON data.

    Raises:
        ProtobufError: it is of a kind, or has a field, that we do not read; or it is no such message.
    """
    if not raw.startswith(MAGIC):
        raise ProtobufError("the body is no Kubernetes protobuf message")
    envelope = dict(_wire(raw[len(MAGIC) :]))
    type_meta = {number: value.decode() for number, value in _wire(_bytes(envelope.get(1, b""))) if value}
    api_version, kind = type_meta.get(1, ""), type_meta.get(2, "")
    message = f"events.{kind}" if api_version.startswith("events.k8s.io/") else kind
    if message not in _MESSAGES or not kind:
        raise ProtobufError(f"{kind or 'this kind'} is not read from protobuf")
    return {"apiVersion": api_version, "kind": kind, **_message(message, _bytes(envelope.get(2, b"")))}


def _bytes(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ProtobufError("a message was expected")
    return value


def _varint(raw: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(raw) or shift > 63:
            raise ProtobufError("the message is cut off")
        byte = raw[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return value, at
        shift += 7


def _wire(raw: bytes) -> Iterator[tuple[int, Any]]:
    """Yield field numbers with their raw values: integers, or bytes."""
    at = 0
    while at < len(raw):
        tag, at = _varint(raw, at)
        number, wire_type = tag >> 3, tag & 7
        match wire_type:
            case 0:
                value, at = _varint(raw, at)
                yield number, value
            case 1 | 5:
                size = 8 if wire_type == 1 else 4
                yield number, raw[at : at + size]
                at += size
            case 2:
                size, at = _varint(raw, at)
                if at + size > len(raw):
                    raise ProtobufError("the message is cut off")
                yield number, raw[at : at + size]
                at += size
            case _:
                raise ProtobufError(f"wire type {wire_type} is unknown")


def _is_empty(value: Any) -> bool:
    """Whether a field that we do not know says nothing: the server's own clients write such ones out."""
    if isinstance(value, int):
        return value == 0
    try:
        return all(_is_empty(inner) for _, inner in _wire(value))
    except ProtobufError:
        return False


def _message(message: str, raw: bytes) -> dict[str, Any]:
    fields = _fields(message)
    result: dict[str, Any] = {}
    for number, value in _wire(raw):
        field = fields.get(number)
        if field is None:
            if _is_empty(value):
                continue
            raise ProtobufError(f"field {number} of {message} is not read from protobuf")
        if field.mapped:
            entry = dict(_wire(_bytes(value)))
            key = _bytes(entry.get(1, b"")).decode()
            result.setdefault(field.name, {})[key] = _value(field.type, entry.get(2, b""))
            continue
        decoded = _value(field.type, value)
        if field.repeated:
            result.setdefault(field.name, []).append(decoded)
        elif field.optional or decoded not in ("", 0, False, None, {}):
            result[field.name] = decoded
    return result


def _value(type_: str, value: Any) -> Any:
    match type_:
        case "int":
            return value - (1 << 64) if value >= 1 << 63 else value
        case "bool":
            return bool(value)
        case "string":
            return _bytes(value).decode()
        case "bytes":
            return base64.b64encode(_bytes(value)).decode()
        case "Quantity":
            return _bytes(dict(_wire(_bytes(value))).get(1, b"")).decode()
        case "Time" | "MicroTime":
            return _instant(type_, dict(_wire(_bytes(value))))
        case "IntOrString":
            parts = dict(_wire(_bytes(value)))
            return _bytes(parts.get(3, b"")).decode() if parts.get(1) else parts.get(2, 0)
        case "Empty":
            if not _is_empty(value):
                raise ProtobufError("a part is filled that is not read from protobuf")
            return None
        case _:
            return _message(type_, _bytes(value))


def _instant(type_: str, parts: dict[int, Any]) -> str | None:
    if not parts:
        return None  # Go's zero time is written as an empty message
    instant = datetime.fromtimestamp(_value("int", parts.get(1, 0)), UTC)
    if type_ == "Time":
        return rfc3339(instant)
    return rfc3339_micro(instant.replace(microsecond=int(parts.get(2, 0)) // 1000))

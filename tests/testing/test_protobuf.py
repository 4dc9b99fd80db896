"""Reading what typed clients send as protobuf."""

from __future__ import annotations

import pytest

from fairlead.testing.protobuf import MAGIC, ProtobufError, decode


def varint(value: int) -> bytes:
    out = bytearray()
    while True:
        out.append((value & 0x7F) | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def field(number: int, value: bytes | str | int) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    raw = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def entry(key: str, value: bytes | str) -> bytes:
    return field(1, key) + field(2, value)


def envelope(api_version: str, kind: str, body: bytes) -> bytes:
    return MAGIC + field(1, field(1, api_version) + field(2, kind)) + field(2, body) + field(3, "") + field(4, "")


META = field(1, "one") + field(2, "") + field(8, b"") + field(11, entry("a", "b"))


def test_a_config_map() -> None:
    body = field(1, META) + field(2, entry("k", "v")) + field(2, entry("l", "w")) + field(3, entry("bin", b"\x00\x01"))
    assert decode(envelope("v1", "ConfigMap", body)) == {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "one", "labels": {"a": "b"}},
        "data": {"k": "v", "l": "w"},
        "binaryData": {"bin": "AAE="},
    }


def test_a_lease_with_its_micro_times() -> None:
    instant = field(1, 1_767_225_600) + field(2, 123_456_000)
    spec = field(1, "me") + field(2, 15) + field(4, instant) + field(5, 0)
    assert decode(envelope("coordination.k8s.io/v1", "Lease", field(1, META) + field(2, spec)))["spec"] == {
        "holderIdentity": "me",
        "leaseDurationSeconds": 15,
        "renewTime": "2026-01-01T00:00:00.123456Z",
        "leaseTransitions": 0,  # said, not left out
    }


def test_a_deployment_keeps_zeros_that_mean_something() -> None:
    container = field(1, "web") + field(2, "web:1") + field(6, field(3, 80) + field(2, 0)) + field(8, b"")
    template = field(1, b"") + field(2, field(2, container) + field(3, ""))
    surge = field(1, 1) + field(3, "25%")
    spec = (
        field(1, 0) + field(3, template) + field(4, field(1, "RollingUpdate") + field(2, field(2, surge))) + field(5, 0)
    )
    found = decode(envelope("apps/v1", "Deployment", field(1, META) + field(2, spec) + field(3, field(1, 0))))
    assert found["spec"]["replicas"] == 0
    assert found["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": "25%"}
    assert found["spec"]["template"]["spec"]["containers"] == [
        {"name": "web", "image": "web:1", "ports": [{"containerPort": 80}]}
    ]
    assert "minReadySeconds" not in found["spec"]


def test_events_of_the_two_groups_are_told_apart() -> None:
    core = decode(envelope("v1", "Event", field(1, META) + field(4, "text")))
    other = decode(envelope("events.k8s.io/v1", "Event", field(1, META) + field(10, "text")))
    assert (core["message"], other["note"]) == ("text", "text")


def test_a_negative_number() -> None:
    spec = field(1, (1 << 64) - 1)
    assert decode(envelope("autoscaling/v1", "Scale", field(1, META) + field(2, spec)))["spec"] == {"replicas": -1}


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"{}", id="json"),
        pytest.param(MAGIC, id="nothing"),
        pytest.param(envelope("v1", "Teapot", b""), id="unknown-kind"),
        pytest.param(envelope("v1", "ConfigMap", field(1, META))[:-9], id="cut-off"),
        pytest.param(envelope("v1", "Pod", field(2, field(1, field(1, "volume")))), id="a-field-that-we-do-not-read"),
        pytest.param(envelope("apps/v1", "Deployment", field(3, field(1, 3))), id="a-status-that-we-do-not-read"),
        pytest.param(MAGIC + b"\xff" * 20, id="endless-number"),
    ],
)
def test_what_is_not_read_is_refused(raw: bytes) -> None:
    with pytest.raises(ProtobufError) as caught:
        decode(raw)
    assert caught.value.status == 415


def test_an_unknown_field_that_says_nothing_is_skipped() -> None:
    body = field(1, META) + field(2, field(26, b"") + field(99, 0))
    assert decode(envelope("v1", "Pod", body))["metadata"]["name"] == "one"

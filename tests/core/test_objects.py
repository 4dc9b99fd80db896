"""Keys, metadata, times, owners; and objects that are odd."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from fairlead.core.cluster import Undecodable
from fairlead.core.decoding import decode_object
from fairlead.core.kinds import ENDPOINT_SLICES, HTTP_ROUTES, NAMESPACES, REPLICA_SETS, ROLLOUTS, SECRETS
from fairlead.core.objects import (
    Kind,
    ObjectKey,
    ObjectMeta,
    OwnerReference,
    compact,
    controller_reference,
    decode_manifest,
    parse_rfc3339,
    rfc3339,
    rfc3339_micro,
)

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def test_keys_sort_by_namespace_and_read_as_people_write_them() -> None:
    keys = [ObjectKey("b", "a"), ObjectKey("a", "b"), ObjectKey("", "node"), ObjectKey("a", "a")]
    assert [str(key) for key in sorted(keys)] == ["node", "a/a", "a/b", "b/a"]


@pytest.mark.parametrize(
    ("kind", "api_version", "path", "name"),
    [
        pytest.param(
            ROLLOUTS, "argoproj.io/v1alpha1", "/apis/argoproj.io/v1alpha1", "rollouts.argoproj.io", id="group"
        ),
        pytest.param(NAMESPACES, "v1", "/api/v1", "namespaces", id="core"),
    ],
)
def test_kinds(kind: Kind[Any], api_version: str, path: str, name: str) -> None:
    assert (kind.api_version, kind.path, str(kind)) == (api_version, path, name)


@pytest.mark.parametrize(
    ("version", "number"),
    [("12", 12), ("", 0), ("x7", 0), ("-3", 0), ("1.5", 0), ("²", 0), ("9" * 30, int("9" * 30))],
)
def test_versions_as_numbers(version: str, number: int) -> None:
    assert ObjectMeta(resource_version=version).version == number


def test_the_controller_is_the_owner_that_manages() -> None:
    owner = OwnerReference(api_version="v1", kind="A", name="a", uid="1")
    manager = OwnerReference(api_version="v1", kind="B", name="b", uid="2", controller=True)
    assert ObjectMeta(owner_references=(owner, manager)).controller is manager
    assert ObjectMeta(owner_references=(owner,)).controller is None


def test_a_controller_reference() -> None:
    meta = ObjectMeta(name="cart", namespace="shop", uid="u")
    assert controller_reference(api_version="argoproj.io/v1alpha1", kind="Rollout", metadata=meta) == {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "name": "cart",
        "uid": "u",
        "controller": True,
        "blockOwnerDeletion": True,
    }


def test_times_as_kubernetes_writes_them() -> None:
    tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    assert rfc3339(tokyo + timedelta(microseconds=999_999)) == "2026-03-01T12:00:00Z"
    assert rfc3339_micro(tokyo) == "2026-03-01T12:00:00.000000Z", "the server insists on six digits, zeros too"


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        pytest.param("2026-03-01T12:00:00Z", NOON, id="utc"),
        pytest.param("2026-03-01T13:00:00+01:00", NOON, id="offset"),
        pytest.param("2026-03-01T12:00:00.000000Z", NOON, id="micro"),
        pytest.param("2026-03-01T12:00:00", None, id="no-zone"),
        pytest.param("yesterday", None, id="no-time"),
        pytest.param("", None, id="empty"),
    ],
)
def test_times_are_read(text: str, instant: datetime | None) -> None:
    assert parse_rfc3339(text) == instant


def test_compact_leaves_out_what_says_nothing() -> None:
    values: dict[str, Any] = {"a": None, "b": "", "c": [], "d": {}, "e": (), "f": 0, "g": False, "h": "x"}
    assert compact(values) == {"f": 0, "g": False, "h": "x"}


def test_a_manifest_keeps_everything() -> None:
    raw = b'{"metadata":{"name":"r","unknown":1},"spec":{"future":[1,null]}}'
    found = decode_manifest(raw)
    assert found.metadata.name == "r"
    assert found.content == msgspec.json.decode(raw)


def test_a_secret_does_not_show_its_values() -> None:
    found = SECRETS.decode(b'{"metadata":{"name":"s"},"data":{"password":"aHVzaA=="}}')
    assert "aHVzaA" not in f"{found} {found!r}"
    assert "password" in repr(found)


DEEP = b'{"metadata":{"name":"a","resourceVersion":"4"},"x":' + b"[" * 200_000 + b"]" * 200_000 + b"}"


@pytest.mark.parametrize(
    ("kind", "raw", "key", "version", "error"),
    [
        pytest.param(
            REPLICA_SETS,
            b'{"metadata":{"name":"a","namespace":"n","resourceVersion":"4"},"spec":{"replicas":"x"}}',
            "n/a",
            4,
            "spec.replicas: expected int, got str",
            id="wrong-type",
        ),
        pytest.param(
            REPLICA_SETS,
            b'{"metadata":{"name":"a","resourceVersion":"4","labels":{"a":1}}}',
            "a",
            4,
            "metadata.labels[...]: expected str, got int",
            id="odd-label",
        ),
        pytest.param(
            REPLICA_SETS,
            b'{"metadata":{"name":"a","resourceVersion":"4","creationTimestamp":"soon"}}',
            "a",
            4,
            "metadata.creationTimestamp: invalid RFC3339 encoded datetime",
            id="odd-time",
        ),
        pytest.param(
            REPLICA_SETS, b'{"spec":{}}', "", 0, "metadata.name: expected a name, found none", id="no-metadata"
        ),
        pytest.param(
            REPLICA_SETS, b'{"metadata":null}', "", 0, "metadata.name: expected a name, found none", id="null-metadata"
        ),
        pytest.param(HTTP_ROUTES, b"[]", "", 0, "expected object, got array", id="no-object"),
        pytest.param(REPLICA_SETS, b'{"metadata":', "", 0, "input data was truncated", id="truncated"),
        pytest.param(ROLLOUTS, DEEP.replace(b'"x"', b'"spec"'), "a", 4, "nested too deeply to be read", id="deep-spec"),
        pytest.param(REPLICA_SETS, DEEP, "a", 4, "nested too deeply to be read", id="deep"),
    ],
)
def test_an_odd_object_degrades_itself_alone(kind: Kind[Any], raw: bytes, key: str, version: int, error: str) -> None:
    found = decode_object(kind, raw)
    assert isinstance(found, Undecodable)
    assert (str(found.metadata.key), found.metadata.version, found.error) == (key, version, error)


def test_bytes_that_are_no_utf_8_degrade_an_object_alone() -> None:
    found = decode_object(ROLLOUTS, b'{"metadata":{"name":"\xff\xfe"}}')
    assert isinstance(found, Undecodable)
    assert "utf-8" in found.error.lower()


def test_duplicate_keys_and_unknown_fields_do_no_harm() -> None:
    found = decode_object(
        REPLICA_SETS, b'{"x":1,"metadata":{"name":"a","name":"b"},"spec":{"replicas":1,"replicas":2}}'
    )
    assert not isinstance(found, Undecodable)
    assert (found.metadata.name, found.spec.replicas) == ("b", 2)


def test_null_stands_for_an_absent_field() -> None:
    raw = b'{"metadata": {"name": "a"}, "endpoints": null, "ports": [{"name": null, "port": 80}]}'
    found = ENDPOINT_SLICES.decode(raw)
    assert found.endpoints == ()
    assert [(port.name, port.port) for port in found.ports] == [("", 80)]


def test_what_is_wrong_is_said_also_beside_null() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.ports\[0\]\.port"):
        ENDPOINT_SLICES.decode(b'{"endpoints": null, "ports": [{"port": "http"}]}')


def test_values_do_not_hold_on_to_the_page_that_they_came_with() -> None:
    page = b'[{"metadata":{"name":"a"},"spec":{"replicas":1},"status":{"phase":"Healthy"}}]' + b" " * 100_000
    (raw,) = msgspec.json.decode(page, type=list[msgspec.Raw])
    before = sys.getrefcount(page)
    found = ROLLOUTS.decode(raw)
    assert bytes(found.spec) == b'{"replicas":1}'
    assert bytes(found.status) == b'{"phase":"Healthy"}'
    assert sys.getrefcount(page) == before


def test_a_route_says_only_who_owns_rules() -> None:
    fields: list[Any] = [
        {"f:spec": {"f:rules": {"f:x": {}}, "f:parentRefs": {}}},
        {"f:metadata": {"f:labels": {"f:a": {}}}},
        None,
    ]
    entries = [{"manager": str(number), "fieldsV1": value} for number, value in enumerate(fields)]
    raw = msgspec.json.encode({"metadata": {"name": "web", "managedFields": entries}, "spec": {"rules": []}})
    content = HTTP_ROUTES.decode(raw).content
    assert [one["fieldsV1"] for one in content["metadata"]["managedFields"]] == [{"f:spec": {"f:rules": {}}}, {}, None]
    assert content["spec"] == {"rules": []}

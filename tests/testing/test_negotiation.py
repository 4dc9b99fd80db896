"""Headers and queries: what a client means by them."""

from __future__ import annotations

import pytest

from fairlead.core.cluster import Propagation
from fairlead.core.errors import Invalid
from fairlead.testing.negotiation import Form, delete_options, form_of, patch_type, read_body, write_options
from fairlead.testing.requests import PatchType


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Form.WHOLE),
        ("application/json", Form.WHOLE),
        ("*/*", Form.WHOLE),
        ("application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Form.TABLE),
        ("application/vnd.kubernetes.protobuf;as=Table,application/json;as=Table;v=v1;g=meta.k8s.io", Form.TABLE),
        ("application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json", Form.METADATA_LIST),
        ("application/json;as=Hologram", Form.WHOLE),
        ("application/vnd.kubernetes.protobuf,application/json", Form.WHOLE),
    ],
)
def test_forms(accept: str, form: Form) -> None:
    assert form_of(accept) is form


def test_who_writes() -> None:
    assert write_options({"fieldManager": "me"}, "kubectl/1.2").manager == "me"
    assert write_options({}, "kubectl/v1.37 (linux)").manager == "kubectl"
    assert write_options({}, "").manager == "unknown"
    assert write_options({"dryRun": "All", "force": "true", "fieldValidation": "Strict"}, "x").dry_run
    with pytest.raises(Invalid):
        write_options({"dryRun": "Some"}, "x")


@pytest.mark.parametrize(
    ("query", "body", "propagation", "grace"),
    [
        pytest.param({}, None, Propagation.BACKGROUND, None, id="nothing-said"),
        pytest.param({"propagationPolicy": "Foreground"}, None, Propagation.FOREGROUND, None, id="query"),
        pytest.param({}, {"propagationPolicy": "Orphan", "gracePeriodSeconds": 0}, Propagation.ORPHAN, 0, id="body"),
        pytest.param({"orphanDependents": "true"}, {}, Propagation.ORPHAN, None, id="old-word"),
        pytest.param({"gracePeriodSeconds": "7"}, None, Propagation.BACKGROUND, 7, id="grace"),
    ],
)
def test_deletions(query: dict[str, str], body: object, propagation: Propagation, grace: int | None) -> None:
    options = delete_options(query, body)
    assert (options.propagation, options.grace_period_seconds) == (propagation, grace)


def test_preconditions_come_from_the_body() -> None:
    options = delete_options({}, {"preconditions": {"uid": "u", "resourceVersion": "7"}, "dryRun": ["All"]})
    assert (options.preconditions.uid, options.preconditions.resource_version, options.dry_run) == ("u", "7", True)


@pytest.mark.parametrize(
    ("content_type", "type_"),
    [
        ("application/merge-patch+json", PatchType.MERGE),
        ("application/json-patch+json; charset=utf-8", PatchType.JSON),
        ("application/strategic-merge-patch+json", PatchType.STRATEGIC),
        ("application/apply-patch+yaml", PatchType.APPLY),
        ("application/apply-patch+json", PatchType.APPLY),
    ],
)
def test_patch_types(content_type: str, type_: PatchType) -> None:
    assert patch_type(content_type) is type_


@pytest.mark.parametrize("content_type", ["application/json", "", "text/plain"])
def test_other_patch_types_are_refused(content_type: str) -> None:
    with pytest.raises(Invalid) as caught:
        patch_type(content_type)
    assert caught.value.status == 415


def test_bodies() -> None:
    assert read_body(b"  ", "application/json") is None
    assert read_body(b'{"a": 1}', "application/json") == {"a": 1}
    assert read_body(b"a: 2026-01-01", "application/yaml") == {"a": "2026-01-01"}
    assert read_body(b'{"a": 1}', "application/apply-patch+yaml") == {"a": 1}
    for raw, content_type in ((b"{", "application/json"), (b"a: [", "application/yaml"), (b"\xff", "application/json")):
        with pytest.raises(Invalid):
            read_body(raw, content_type)
    with pytest.raises(Invalid) as caught:
        read_body(b"\xd9\xd9\xf7", "application/cbor")
    assert caught.value.status == 415


def test_yaml_cannot_call_anything() -> None:
    with pytest.raises(Invalid):
        read_body(b"!!python/object/apply:os.getcwd []", "application/yaml")

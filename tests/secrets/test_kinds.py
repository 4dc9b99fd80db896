"""Secrets as they are watched: hashes and owners, no value."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import msgspec
import pytest

from fairlead.core.cluster import Undecodable
from fairlead.core.decoding import decode_object
from fairlead.core.kinds import SECRETS
from fairlead.secrets._hash import data_hash
from fairlead.secrets.kinds import LIVE_SECRETS, TARGETS, Owned, TargetSecret, decode_live, decode_target, digest

MARKER = b"m4rker-of-a-value"


def raw(*managers: tuple[str, dict[str, Any]], **fields: Any) -> bytes:
    managed = [{"manager": manager, "operation": "Update", "fieldsV1": owned} for manager, owned in managers]
    body = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": "n", "managedFields": managed},
        "type": "Opaque",
        "data": {"password": b64encode(MARKER).decode(), "empty": ""},
        **fields,
    }
    return msgspec.json.encode(body)


def test_a_watched_secret_holds_its_hash_and_no_value() -> None:
    target = decode_target(raw())
    assert target.hash == data_hash({"password": MARKER, "empty": b""})
    assert target.digests == {"password": digest(MARKER), "empty": digest(b"")}
    held = repr([getattr(target, name) for name in TargetSecret.__slots__])
    assert MARKER.decode() not in held
    assert b64encode(MARKER).decode() not in held


def test_a_live_secret_hides_its_values() -> None:
    live = decode_live(raw())
    assert live.data["password"].reveal() == MARKER
    assert MARKER.decode() not in repr(live)


@pytest.mark.parametrize("data", [None, {}], ids=["null", "empty"])
def test_a_secret_without_data(data: dict[str, str] | None) -> None:
    assert decode_target(raw(data=data)).hash == data_hash({})


def test_what_external_secrets_own_is_known_by_manager() -> None:
    mine, other = "externalsecrets.external-secrets.io/a", "externalsecrets.external-secrets.io/b"
    target = decode_target(
        raw(
            (mine, {"f:data": {".": {}, "f:password": {}}, "f:metadata": {"f:labels": {".": {}, "f:team": {}}}}),
            (mine, {"f:data": {"f:empty": {}}, "f:metadata": {"f:annotations": {"f:note": {}}}}),
            (other, {"f:data": {"f:x": {}}}),
            ("kubectl", {"f:data": {"f:y": {}}}),
            (other, {"f:data": []}),
        )
    )
    assert target.owned == {
        mine: Owned(frozenset({"password", "empty"}), frozenset({"team"}), frozenset({"note"})),
        other: Owned(frozenset({"x"})),
    }


def test_what_is_no_base64_degrades_this_secret_alone() -> None:
    found = decode_object(TARGETS, raw(data={"password": "a value that is none!"}))
    assert isinstance(found, Undecodable)
    assert "data.password" in found.error
    assert "a value" not in found.error


def test_forms_of_one_kind_are_cached_apart() -> None:
    assert len({SECRETS, TARGETS, LIVE_SECRETS}) == 3
    assert str(SECRETS) == str(TARGETS)

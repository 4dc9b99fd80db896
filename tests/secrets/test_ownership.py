"""Whose a Secret is, by name where it may be written, by UID where it may be deleted."""

from __future__ import annotations

from hashlib import sha3_224

import pytest

from fairlead.core.objects import ObjectMeta, OwnerReference
from fairlead.secrets._ownership import Claim, claim, controls, created_by, field_manager, owned, owner_references
from fairlead.secrets.kinds import Owned
from tests.secrets.builders import meta, owner, secret


def bearer(*owners: OwnerReference) -> ObjectMeta:
    return ObjectMeta(name="db", namespace="shop", uid="u", owner_references=owners)


@pytest.mark.parametrize(
    ("name", "manager"),
    [
        pytest.param("db", "externalsecrets.external-secrets.io/db", id="short"),
        pytest.param("a" * 28, None, id="64"),
        pytest.param("a" * 27, f"externalsecrets.external-secrets.io/{'a' * 27}", id="63"),
    ],
)
def test_trap_23_field_managers_are_measured_as_a_whole(name: str, manager: str | None) -> None:
    hashed = f"externalsecrets.external-secrets.io/sha3/{sha3_224(name.encode()).hexdigest()}"
    assert field_manager(name) == (manager or hashed)


def test_created_by_is_the_hash_of_the_key() -> None:
    found = created_by(ObjectMeta(namespace="default", name="my-es"))
    assert found == "b8464376b5fe3535e690594280bfe59b60be2603cb6cbb6d6c8bcbb4"


def test_trap_24_what_external_secrets_wrote_is_ours_and_what_others_wrote_is_not() -> None:
    target = secret({"a": b"1"}, owned=Owned(frozenset({"a"}))).target
    assert owned(target, meta("db")).data == {"a"}
    assert owned(target, meta("other")) == Owned()


@pytest.mark.parametrize(
    ("owners", "expected", "may_delete"),
    [
        pytest.param((), Claim.FREE, False, id="nobody"),
        pytest.param((owner(),), Claim.OURS, True, id="ours"),
        pytest.param((owner(api_version="external-secrets.io/v1beta1"),), Claim.OURS, True, id="ours-of-old"),
        pytest.param((owner(uid="uid-of-an-earlier-one"),), Claim.OURS, False, id="our-name-another-uid"),
        pytest.param((owner("other", "uid-other"),), Claim.ANOTHER_EXTERNAL_SECRET, False, id="another-one"),
        pytest.param((owner(kind="Deployment", api_version="apps/v1"),), Claim.SOMEBODY_ELSE, True, id="same-uid"),
        pytest.param(
            (owner("db", "x", kind="ExternalSecret", api_version="example.com/v1"),),
            Claim.SOMEBODY_ELSE,
            False,
            id="other-group",
        ),
        pytest.param((owner("other", "x", controller=False),), Claim.FREE, False, id="an-owner-that-does-not-control"),
    ],
)
def test_claims(owners: tuple[OwnerReference, ...], expected: Claim, may_delete: bool) -> None:
    assert claim(bearer(*owners), meta()) is expected
    assert controls(meta(), bearer(*owners)) is may_delete


def test_nothing_is_controlled_by_what_has_no_uid() -> None:
    assert not controls(meta(uid=""), bearer(owner(uid="")))


FOREIGN = owner("app", "uid-app", kind="Deployment", api_version="apps/v1", controller=False)


def test_references_that_are_right_stay() -> None:
    assert owner_references(bearer(owner()), meta(), take=True) is None
    assert owner_references(bearer(owner(api_version="external-secrets.io/v1beta1")), meta(), take=True) is None
    assert owner_references(bearer(FOREIGN), meta(), take=False) is None
    assert owner_references(bearer(owner("other", "x")), meta(), take=False) is None


def test_references_of_others_are_kept() -> None:
    taken = owner_references(bearer(FOREIGN), meta(), take=True)
    assert taken is not None
    assert [reference["name"] for reference in taken] == ["app", "db"]
    assert taken[1] == {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "name": "db",
        "uid": "uid-db",
        "controller": True,
        "blockOwnerDeletion": True,
    }
    left = owner_references(bearer(FOREIGN, owner()), meta(), take=False)
    assert left is not None
    assert [reference["name"] for reference in left] == ["app"]


def test_a_reference_to_an_earlier_bearer_of_our_name_is_replaced() -> None:
    (reference,) = owner_references(bearer(owner(uid="old")), meta(), take=True) or []
    assert reference["uid"] == "uid-db"

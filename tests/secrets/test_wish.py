"""The Secret that is wanted, against the Secret that is there: creation policies, precedence, immutability."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.patches import merge
from fairlead.secrets import _wish
from fairlead.secrets._hash import data_hash
from fairlead.secrets._ownership import created_by
from fairlead.secrets._wish import Refusal, Rendered, Wish
from fairlead.secrets.kinds import CREATED_BY_LABEL, DATA_HASH_ANNOTATION, MANAGED_LABEL, LiveSecret, Owned
from fairlead.secrets.spec import CreationPolicy
from tests.secrets.builders import encoded, hidden, meta, owner, secret

OWNER, ORPHAN, MERGE, BOTH = (
    CreationPolicy.OWNER,
    CreationPolicy.ORPHAN,
    CreationPolicy.MERGE,
    CreationPolicy.CREATE_OR_MERGE,
)
ALL = [OWNER, ORPHAN, MERGE, BOTH]


def wish(
    data: dict[str, bytes] | None = None,
    policy: CreationPolicy = OWNER,
    *,
    immutable: bool = False,
    **rendered: Any,
) -> Wish:
    values = hidden(data if data is not None else {"password": b"s3cr3t"})
    return Wish(owner=meta(), name="db", policy=policy, immutable=immutable, rendered=Rendered(data=values, **rendered))


def unowned(data: dict[str, bytes], **fields: Any) -> LiveSecret:
    """A Secret that somebody made by hand."""
    return secret(data, owners=(), labels={}, annotations={}, owned=Owned(), **fields)


# -- creation --------------------------------------------------------------------------------------------------------


def test_a_new_secret_under_owner() -> None:
    body = _wish.creation(wish({"a": b"1"}, labels={"team": "x"}, annotations={"note": "y"}))
    assert body == {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "data": {"a": "MQ=="},
        "metadata": {
            "name": "db",
            "namespace": "shop",
            "labels": {"team": "x", MANAGED_LABEL: "true", CREATED_BY_LABEL: created_by(meta())},
            "annotations": {"note": "y", DATA_HASH_ANNOTATION: data_hash({"a": b"1"})},
            "ownerReferences": [
                {
                    "apiVersion": "external-secrets.io/v1",
                    "kind": "ExternalSecret",
                    "name": "db",
                    "uid": "uid-db",
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
    }


@pytest.mark.parametrize("policy", [ORPHAN, BOTH])
def test_a_new_secret_that_is_nobodys(policy: CreationPolicy) -> None:
    metadata = _wish.creation(wish(policy=policy))["metadata"]
    assert "ownerReferences" not in metadata
    assert metadata["labels"] == {MANAGED_LABEL: "true"}


def test_type_immutability_and_finalizers() -> None:
    body = _wish.creation(wish(immutable=True, type="kubernetes.io/tls", finalizers=("x/y",)))
    assert (body["type"], body["immutable"], body["metadata"]["finalizers"]) == ("kubernetes.io/tls", True, ["x/y"])


# -- what is there ---------------------------------------------------------------------------------------------------


def test_a_secret_that_external_secrets_left_behind_needs_no_write() -> None:
    live = secret({"password": b"s3cr3t"})
    assert not _wish.differs(wish(), live.target)
    assert _wish.patch(wish(), live) == {}


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        pytest.param(OWNER, {"a": b"1"}, id="owner-wipes-foreign-keys"),
        pytest.param(ORPHAN, {"a": b"1"}, id="orphan-wipes-foreign-keys"),
        pytest.param(MERGE, {"a": b"1", "foreign": b"f"}, id="merge-keeps-foreign-keys"),
        pytest.param(BOTH, {"a": b"1", "foreign": b"f"}, id="create-or-merge-keeps-foreign-keys"),
    ],
)
def test_keys_by_creation_policy(policy: CreationPolicy, kept: dict[str, bytes]) -> None:
    before = {"a": b"0", "stale": b"s", "foreign": b"f"}
    live = secret(before, owned=Owned(frozenset({"a", "stale"})))
    wished = wish({"a": b"1"}, policy)
    assert _wish.differs(wished, live.target)
    patch = _wish.patch(wished, live)
    after = merge({key: encoded(value) for key, value in before.items()}, patch["data"])
    assert after == {key: encoded(value) for key, value in kept.items()}
    assert patch["metadata"]["annotations"][DATA_HASH_ANNOTATION] == data_hash(kept), "over the final data (trap 25)"
    assert (patch["metadata"]["uid"], patch["metadata"]["resourceVersion"]) == ("uid-of-secret-db", "20")


@pytest.mark.parametrize("policy", ALL)
def test_a_foreign_secret_is_labelled_and_hashed_in_one_write(policy: CreationPolicy) -> None:
    live = unowned({"a": b"1"})
    patch = _wish.patch(wish({"a": b"1"}, policy), live)
    assert "data" not in patch, "the values are right already"
    assert patch["metadata"]["labels"][MANAGED_LABEL] == "true"
    assert ("ownerReferences" in patch["metadata"]) is (policy is OWNER)


@pytest.mark.parametrize("policy", [ORPHAN, MERGE, BOTH])
def test_ownership_is_given_up(policy: CreationPolicy) -> None:
    live = secret({"password": b"s3cr3t"})
    wished = wish(policy=policy)
    assert _wish.differs(wished, live.target)
    metadata = _wish.patch(wished, live)["metadata"]
    assert metadata["ownerReferences"] == []
    assert metadata["labels"] == {CREATED_BY_LABEL: None}


def test_a_created_by_label_of_another_is_left_alone() -> None:
    live = secret({"password": b"s3cr3t"}, by="other", owners=())
    assert not _wish.differs(wish(policy=MERGE), live.target)


def test_labels_and_annotations_that_we_no_longer_want_go_and_those_of_others_stay() -> None:
    live = secret()
    labels = {**live.metadata.labels, "old": "x", "theirs": "y"}
    annotations = {**live.metadata.annotations, "old": "x", "theirs": "y"}
    owned = Owned(frozenset({"password"}), frozenset({"old"}), frozenset({"old"}))
    live = secret(labels=labels, annotations=annotations, owned=owned)
    metadata = _wish.patch(wish(labels={"new": "1"}), live)["metadata"]
    assert metadata["labels"] == {"old": None, "new": "1"}
    assert metadata["annotations"] == {"old": None}


def test_finalizers_are_added_and_never_taken_away() -> None:
    assert _wish.patch(wish(finalizers=("x/y",)), secret())["metadata"]["finalizers"] == ["x/y"]


def test_a_hash_that_is_not_of_the_data_is_mended() -> None:
    live = secret(annotations={DATA_HASH_ANNOTATION: "other"})
    patch = _wish.patch(wish(), live)
    assert patch["metadata"]["annotations"] == {DATA_HASH_ANNOTATION: data_hash({"password": b"s3cr3t"})}


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ALL)
def test_invariant_38_a_secret_of_another_external_secret_is_refused(policy: CreationPolicy) -> None:
    with pytest.raises(Refusal) as caught:
        _wish.check(wish(policy=policy), secret(by="other").target)
    assert caught.value.message == "target is owned by another ExternalSecret"


DEPLOYMENT = owner("app", "uid-app", kind="Deployment", api_version="apps/v1")


def test_owner_refuses_what_some_other_controller_has() -> None:
    with pytest.raises(Refusal) as caught:
        _wish.check(wish(), secret(owners=(DEPLOYMENT,)).target)
    assert caught.value.message == "failed to take ownership of target secret"


@pytest.mark.parametrize("policy", [ORPHAN, MERGE, BOTH])
def test_other_policies_tolerate_it(policy: CreationPolicy) -> None:
    _wish.check(wish(policy=policy), secret(owners=(DEPLOYMENT,)).target)


def test_an_unowned_secret_is_adopted() -> None:
    _wish.check(wish(), unowned({}).target)


def test_trap_7_a_type_that_cannot_change_is_named() -> None:
    with pytest.raises(Refusal, match=r"Opaque and cannot become kubernetes.io/tls"):
        _wish.check(wish(type="kubernetes.io/tls"), secret().target)
    _wish.check(wish(type="Opaque"), secret().target)
    _wish.check(wish(), secret(type="kubernetes.io/tls").target)


# -- immutability ----------------------------------------------------------------------------------------------------


def test_immutable_makes_an_existing_secret_immutable_and_never_touches_its_data() -> None:
    live = secret({"password": b"old"})
    wished = wish({"password": b"new"}, immutable=True, labels={"team": "x"})
    patch = _wish.patch(wished, live)
    assert patch["immutable"] is True
    assert "data" not in patch
    assert patch["metadata"]["labels"] == {"team": "x"}
    assert not _wish.is_frozen(wished, live.target)


def test_immutable_once_made_is_left_alone() -> None:
    live = secret({"password": b"old"}, immutable=True)
    assert not _wish.differs(wish({"password": b"new"}, immutable=True), live.target)


def test_a_secret_that_somebody_made_immutable_gets_its_metadata_only() -> None:
    live = secret({"password": b"old"}, immutable=True)
    wished = wish({"password": b"new"}, labels={"team": "x"})
    assert _wish.is_frozen(wished, live.target)
    assert _wish.differs(wished, live.target)
    patch = _wish.patch(wished, live)
    assert patch.keys() == {"metadata"}
    assert patch["metadata"]["labels"] == {"team": "x"}
    assert not _wish.is_frozen(wish({"password": b"old"}), live.target)


# -- properties ------------------------------------------------------------------------------------------------------

_datas = st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=3), max_size=4)


@given(_datas, _datas, st.sets(st.sampled_from("abcd")), st.sampled_from(ALL))
def test_what_is_written_once_is_not_written_again(
    before: dict[str, bytes], wished_data: dict[str, bytes], ours: set[str], policy: CreationPolicy
) -> None:
    live = secret(before, owned=Owned(frozenset(ours & before.keys())))
    wished = wish(wished_data, policy)
    patch = _wish.patch(wished, live)
    assert bool(patch) is _wish.differs(wished, live.target), "hashes and values agree on whether to write"
    data = {key: value.reveal() for key, value in live.data.items()}
    for key, value in (patch.get("data") or {}).items():
        if value is None:
            del data[key]
        else:
            data[key] = wished_data[key]
    kept = {key: value for key, value in before.items() if policy.keeps_foreign_keys and key not in ours}
    assert data == {**kept, **wished_data}
    metadata = patch.get("metadata", {})
    after = secret(
        data,
        labels=merge(live.metadata.labels, metadata.get("labels", {})),
        annotations=merge(live.metadata.annotations, metadata.get("annotations", {})),
        owners=live.metadata.owner_references if metadata.get("ownerReferences") is None else (),
        owned=Owned(frozenset(wished_data)),
    )
    assert not _wish.differs(wished, after.target)

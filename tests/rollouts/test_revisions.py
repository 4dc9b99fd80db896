"""Which ReplicaSet has the template of the spec, and how revisions are numbered and forgotten."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fairlead.core.kinds import ReplicaSet
from fairlead.rollouts._hash import template_hash
from fairlead.rollouts._revisions import (
    MADE_FROM,
    annotations_wanted,
    beyond_history,
    claims,
    identify,
    is_within_rollback_window,
    next_revision,
    replica_set_body,
    revision_of,
)
from fairlead.rollouts._template import HASH_LABEL, Form, digest
from fairlead.rollouts.actions import AdoptReplicaSet, DeleteReplicaSet, ReleaseReplicaSet
from fairlead.rollouts.status import RolloutStatus
from fairlead.testing.builders import pod_hash, pod_template, replica_set, rollout_metadata, spec

SPEC = spec(version=2)
META = rollout_metadata()
MINUTE = timedelta(minutes=1)


def labelled(found: ReplicaSet, label: str) -> ReplicaSet:
    labels = {**found.metadata.labels, HASH_LABEL: label}
    return replace(found, metadata=replace(found.metadata, labels=labels, name=f"cart-{label}", uid=f"uid-{label}"))


def marked(found: ReplicaSet, *, version: int) -> ReplicaSet:
    """The ReplicaSet, marked as made by us from the template of that version."""
    annotations = {**found.metadata.annotations, MADE_FROM: digest(msgspec.json.encode(pod_template(version)))}
    return replace(found, metadata=replace(found.metadata, annotations=annotations))


def found_hash(*known: ReplicaSet, **fields: Any) -> str:
    revisions = identify(META, SPEC, RolloutStatus(**fields), known)
    return revisions.pod_hash if revisions.exists else "none"


def test_the_hash_label_names_it() -> None:
    assert found_hash(replica_set(1), replica_set(2), replica_set(3)) == pod_hash(2)


def test_a_new_template_has_none() -> None:
    assert found_hash(replica_set(1), replica_set(3)) == "none"
    assert identify(META, SPEC, RolloutStatus(), ()).current.metadata.name == f"cart-{pod_hash(2)}"


def test_a_hash_from_before_a_collision_is_still_known() -> None:
    assert found_hash(replica_set(2), collision_count=3) == pod_hash(2)
    raw = msgspec.json.encode(pod_template(2))
    collided = template_hash(raw, collision_count=2)
    assert found_hash(labelled(replica_set(2), collided), collision_count=3) == collided


def test_a_huge_collision_count_costs_little_and_harms_nothing() -> None:
    assert found_hash(replica_set(2), collision_count=2_000_000_000) == pod_hash(2)


def test_the_hash_of_older_controllers_is_known() -> None:
    older = template_hash(msgspec.json.encode(pod_template(2)), form=Form.V1_8)
    assert found_hash(labelled(replica_set(2), older)) == older


def test_another_hash_and_the_same_meaning_is_the_same_revision() -> None:
    """T1: a controller with another hash function made it; nothing must be deployed anew."""
    assert found_hash(labelled(replica_set(2), "otherhash")) == "otherhash"


def test_among_several_alike_the_one_in_use_wins() -> None:
    """T1 (a): the oldest first rule would flip revisions after a change of hash."""
    older = labelled(replica_set(2, age=3 * MINUTE), "older")
    newer = labelled(replica_set(2, age=MINUTE), "newer")
    assert found_hash(older, newer) == "older"
    assert found_hash(older, newer, pod_hash="newer") == "newer"
    assert found_hash(older, newer, stable_hash="newer") == "newer"


def test_a_template_that_was_edited_in_place_is_not_taken_for_the_new_one() -> None:
    """T3: its mark says which template it was made from."""
    edited = marked(labelled(replica_set(2), pod_hash(1)), version=1)
    assert found_hash(edited) == "none"


def test_a_template_that_was_read_back_with_defaults_is_the_revision_it_came_from() -> None:
    """`undo` writes the template as the API server shows it: another hash, and no other pods."""
    live = marked(labelled(replica_set(2), "otherhash"), version=2)
    template = pod_template(2)
    template["spec"] |= {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}
    revisions = identify(META, spec(version=2, template=template), RolloutStatus(), (live, replica_set(3)))
    assert revisions.pod_hash == "otherhash"


def test_defaults_of_the_server_make_no_difference() -> None:
    """T2, T4."""
    template = pod_template(2)
    template["metadata"]["labels"] = {**template["metadata"]["labels"], HASH_LABEL: "otherhash"}
    template["spec"] |= {"restartPolicy": "Always", "serviceAccountName": "", "dnsPolicy": "ClusterFirst"}
    template["spec"]["containers"][0] |= {"imagePullPolicy": "IfNotPresent", "resources": {}}
    live = labelled(replica_set(2), "otherhash")
    live = replace(live, spec=replace(live.spec, template=msgspec.Raw(msgspec.json.encode(template))))
    assert found_hash(live) == "otherhash"


def test_revisions_are_numbered_above_all_others() -> None:
    revisions = identify(META, SPEC, RolloutStatus(), (replica_set(1), replica_set(3, revision=7)))
    assert next_revision(revisions) == 8
    taken_up = identify(META, SPEC, RolloutStatus(), (replica_set(1), replica_set(2), replica_set(3, revision=7)))
    assert next_revision(taken_up) == 8
    assert annotations_wanted(META, taken_up)["rollout.argoproj.io/revision-history"] == "2"
    highest = identify(META, SPEC, RolloutStatus(), (replica_set(1), replica_set(2, revision=9)))
    assert next_revision(highest) == 9
    assert "rollout.argoproj.io/revision-history" not in annotations_wanted(META, highest)


@pytest.mark.parametrize("text", ["", "two", "-1", "1.5", "9" * 30, "²"])
def test_a_revision_that_is_no_number_counts_as_none(text: str) -> None:
    """T45."""
    found = replica_set(1, annotations={"rollout.argoproj.io/revision": text})
    assert revision_of(found.metadata) == 0
    assert next_revision(identify(META, SPEC, RolloutStatus(), (found,))) == 1


def test_two_of_the_same_revision_are_tolerated() -> None:
    """T45."""
    known = (replica_set(1, revision=4), replica_set(3, revision=4, age=MINUTE))
    assert next_revision(identify(META, SPEC, RolloutStatus(), known)) == 5


def test_a_complete_replica_set() -> None:
    meta = rollout_metadata(
        annotations={
            "team": "shop",
            "kubectl.kubernetes.io/last-applied-configuration": "{}",
            "rollout.argoproj.io/revision": "1",
            "scale-down-deadline": "2026-01-01T00:00:00Z",
            "rollout.argoproj.io/ephemeral-metadata": "{}",
            MADE_FROM: "somebody's",
        }
    )
    rollout = spec(version=2, replicas=4, minReadySeconds=5)
    revisions = identify(meta, rollout, RolloutStatus(), (replica_set(1),))
    body = replica_set_body(meta, rollout, revisions, 2)
    label = pod_hash(2)
    assert body["metadata"]["name"] == f"cart-{label}"
    assert body["metadata"]["labels"] == {"app": "cart", HASH_LABEL: label}
    assert body["metadata"]["annotations"] == {
        "team": "shop",
        "rollout.argoproj.io/revision": "2",
        "rollout.argoproj.io/desired-replicas": "4",
        MADE_FROM: digest(bytes(rollout.template)),
    }
    assert body["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "name": "cart",
            "uid": "rollout-uid",
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]
    assert body["spec"]["selector"] == {"matchLabels": {"app": "cart", HASH_LABEL: label}}
    assert body["spec"]["template"]["metadata"]["labels"] == {"app": "cart", HASH_LABEL: label}
    assert body["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/cart:2"
    assert (body["spec"]["replicas"], body["spec"]["minReadySeconds"]) == (2, 5)


def test_a_value_that_cannot_be_read_does_not_reach_the_replica_set() -> None:
    """T40: the API server would refuse everything for it."""
    template = pod_template(2)
    template["spec"]["containers"][0]["resources"] = {"limits": {"memory": "invalid", "cpu": "1"}}
    rollout = spec(version=2, template=template)
    revisions = identify(META, rollout, RolloutStatus(), ())
    body = replica_set_body(META, rollout, revisions, 1)
    assert body["spec"]["template"]["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}


def test_orphans_are_adopted_and_strangers_released() -> None:
    orphan = replica_set(1)
    stranger = replica_set(3)
    stranger = replace(stranger, metadata=replace(stranger.metadata, labels={HASH_LABEL: "x", "app": "other"}))
    actions = claims(SPEC, (stranger,), (orphan,))
    assert [type(action) for action in actions] == [AdoptReplicaSet, ReleaseReplicaSet]
    assert claims(SPEC, (orphan,), (stranger,)) == ()


@pytest.mark.parametrize(
    ("limit", "sizes", "deleted"),
    [
        pytest.param(2, [0, 0, 0], [0], id="the-oldest-goes"),
        pytest.param(3, [0, 0, 0], [], id="within-the-limit"),
        pytest.param(1, [1, 0, 0], [1], id="one-with-pods-keeps-its-place"),
        pytest.param(0, [0, 0, 0], [0, 1, 2], id="no-history"),
    ],
)
def test_history(limit: int, sizes: list[int], deleted: list[int]) -> None:
    others = [replica_set(f"old-{index}", replicas=size, age=(9 - index) * MINUTE) for index, size in enumerate(sizes)]
    names = [others[index].metadata.name for index in deleted]
    actions = beyond_history(limit, reversed(others))
    assert [action.target.name for action in actions] == names
    assert all(isinstance(action, DeleteReplicaSet) for action in actions)


def test_a_replica_set_whose_controller_lags_is_not_deleted() -> None:
    found = replica_set(1, replicas=0)
    lagging = replace(found, metadata=replace(found.metadata, generation=5))
    assert beyond_history(0, (lagging,)) == ()


@pytest.mark.parametrize(
    ("window", "ages", "expected"),
    [
        pytest.param(0, (3, 1), False, id="no-window"),
        pytest.param(1, (3, 1), True, id="next-to-it"),
        pytest.param(1, (3, 1, 2), False, id="one-between-is-too-many"),
        pytest.param(2, (3, 1, 2), True, id="one-between"),
        pytest.param(9, (1, 3), False, id="newer-is-no-rollback"),
    ],
)
def test_rollback_window(window: int, ages: tuple[int, ...], expected: bool) -> None:
    new, stable, *between = (replica_set(index, age=age * MINUTE) for index, age in enumerate(ages, 1))
    assert is_within_rollback_window(window, new, stable, (new, stable, *between)) is expected

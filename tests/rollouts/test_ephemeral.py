"""What pods carry to show which part they play: on ReplicaSets, and on pods that live already."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.core.kinds import ReplicaSet
from fairlead.core.patches import merge
from fairlead.rollouts._ephemeral import (
    EARLIER,
    INJECTED,
    OVERRIDDEN,
    Marking,
    bare_template,
    inject,
    injected_into,
    mark,
    text_of,
    wanted_for,
)
from fairlead.rollouts._template import digest, templates_equal
from fairlead.rollouts.spec import Metadata
from fairlead.testing.builders import pod_hash, pod_template, replica_set, spec
from tests.rollouts.world import World, deployed, update, world

CANARY_MARKS = {"labels": {"role": "canary", "tier": "new"}, "annotations": {"note": "careful"}}
STABLE_MARKS = {"labels": {"role": "stable"}}
MARKS: dict[str, Any] = {"canaryMetadata": CANARY_MARKS, "stableMetadata": STABLE_MARKS}
NOTHING = Metadata()
ON_CANARY = Metadata(labels=CANARY_MARKS["labels"], annotations=CANARY_MARKS["annotations"])
ON_STABLE = Metadata(labels=STABLE_MARKS["labels"])
PAIR: tuple[dict[str, Any], ...] = ({"setWeight": 50}, {"pause": {}})


def applied(found: ReplicaSet, marking: Marking) -> ReplicaSet:
    """Return the ReplicaSet after the write that a marking asks for."""
    content = msgspec.json.decode(msgspec.json.encode(found))
    body = {"metadata": {"annotations": marking.annotations}, "spec": {"template": {"metadata": marking.template}}}
    return msgspec.json.decode(msgspec.json.encode(merge(content, body)), type=ReplicaSet)


def labels_of(found: ReplicaSet) -> dict[str, str]:
    labels: dict[str, str] = msgspec.json.decode(found.spec.template)["metadata"]["labels"]
    return {key: value for key, value in labels.items() if key not in ("app", "rollouts-pod-template-hash")}


# --- who gets what ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("is_new", "is_stable", "has_stable", "expected"),
    [
        pytest.param(True, False, False, ON_STABLE, id="first-deploy"),
        pytest.param(True, True, True, ON_STABLE, id="at-rest"),
        pytest.param(True, False, True, ON_CANARY, id="canary"),
        pytest.param(False, True, True, ON_STABLE, id="stable-during-an-update"),
        pytest.param(False, False, True, NOTHING, id="any-other"),
    ],
)
def test_who_gets_what(is_new: bool, is_stable: bool, has_stable: bool, expected: Metadata) -> None:
    rollout = spec(canary=MARKS)
    assert wanted_for(rollout, is_new=is_new, is_stable=is_stable, has_stable=has_stable) == expected


def test_nobody_gets_what_is_not_configured() -> None:
    assert wanted_for(spec(), is_new=True, is_stable=False, has_stable=True) == NOTHING


def test_labels_that_are_selected_by_are_left_alone() -> None:
    """The API server would refuse a ReplicaSet whose selector does not match its template."""
    marks = {"canaryMetadata": {"labels": {"app": "other", "rollouts-pod-template-hash": "x", "role": "canary"}}}
    found = wanted_for(spec(canary=marks), is_new=True, is_stable=False, has_stable=True)
    assert found.labels == {"role": "canary"}


# --- ReplicaSets ------------------------------------------------------------------------------------------------------


def test_a_new_replica_set_is_born_with_it() -> None:
    template, recorded = inject(pod_template(2), ON_CANARY)
    assert template["metadata"]["labels"] == {"app": "cart", "role": "canary", "tier": "new"}
    assert template["metadata"]["annotations"] == {"note": "careful"}
    assert recorded == {INJECTED: '{"annotations":{"note":"careful"},"labels":{"role":"canary","tier":"new"}}'}
    assert inject(pod_template(2), NOTHING) == (pod_template(2), {})


def test_parts_change_and_end() -> None:
    found = replica_set(2)
    as_canary = applied(found, mark(found, ON_CANARY, is_marked=True))
    assert labels_of(as_canary) == {"role": "canary", "tier": "new"}
    assert injected_into(as_canary) == ON_CANARY
    marking = mark(as_canary, ON_STABLE, is_marked=True)
    as_stable = applied(as_canary, marking)
    assert labels_of(as_stable) == {"role": "stable"}
    assert (marking.labels, marking.pod_annotations) == ({"role": "stable", "tier": None}, {"note": None})
    gone = applied(as_stable, mark(as_stable, NOTHING, is_marked=True))
    assert labels_of(gone) == {}
    assert INJECTED not in gone.metadata.annotations


def test_a_value_of_the_users_own_comes_back() -> None:
    template = pod_template(2)
    template["metadata"]["labels"] |= {"tier": "mine", "rollouts-pod-template-hash": pod_hash(2)}
    found = msgspec.structs.replace(
        replica_set(2),
        spec=msgspec.structs.replace(replica_set(2).spec, template=msgspec.Raw(msgspec.json.encode(template))),
    )
    as_canary = applied(found, mark(found, ON_CANARY, is_marked=True))
    assert labels_of(as_canary)["tier"] == "new"
    assert as_canary.metadata.annotations[OVERRIDDEN] == '{"labels":{"tier":"mine"}}'
    assert digest(bare_template(as_canary)) == digest(bytes(found.spec.template))
    marking = mark(as_canary, ON_STABLE, is_marked=True)
    as_stable = applied(as_canary, marking)
    assert labels_of(as_stable) == {"role": "stable", "tier": "mine"}
    assert marking.labels == {"role": "stable", "tier": "mine"}
    assert OVERRIDDEN not in as_stable.metadata.annotations


def test_nothing_is_written_twice() -> None:
    found = replica_set(2)
    once = applied(found, mark(found, ON_CANARY, is_marked=True))
    again = mark(once, ON_CANARY, is_marked=True)
    assert (again.template, again.annotations) == ({}, {})
    assert again.text == mark(found, ON_CANARY, is_marked=True).text


def test_what_argo_rollouts_injected_is_known() -> None:
    text = '{"labels":{"role":"canary","tier":"new"},"annotations":{"note":"careful"}}'
    plain = replica_set(2, annotations={INJECTED: text})
    template = pod_template(2)
    template["metadata"] = {"labels": {"app": "cart", **ON_CANARY.labels}, "annotations": ON_CANARY.annotations}
    live = msgspec.structs.replace(
        plain, spec=msgspec.structs.replace(plain.spec, template=msgspec.Raw(msgspec.json.encode(template)))
    )
    marking = mark(live, ON_CANARY, is_marked=False)
    assert (marking.template, marking.annotations) == ({}, {})
    assert templates_equal(msgspec.json.encode(pod_template(2)), bare_template(live))


@pytest.mark.parametrize("text", ["", "{", "[]", '{"labels": 5}', "null"])
def test_a_record_that_makes_no_sense_counts_as_none(text: str) -> None:
    found = replica_set(2, annotations={INJECTED: text})
    assert injected_into(found) == NOTHING
    assert bare_template(found) == bytes(found.spec.template) or templates_equal(
        found.spec.template, bare_template(found)
    )


def test_keys_of_a_change_that_a_crash_cut_in_two_are_remembered() -> None:
    """Pods were not marked as stable yet when the configuration changed again: their first keys must go, too."""
    found = replica_set(2)
    as_canary = applied(found, mark(found, ON_CANARY, is_marked=True))
    as_stable = applied(as_canary, mark(as_canary, ON_STABLE, is_marked=True))
    other = Metadata(labels={"who": "else"})
    assert mark(as_stable, other, is_marked=False).labels == {"role": None, "tier": None, "who": "else"}
    assert mark(as_stable, other, is_marked=True).labels == {"role": None, "who": "else"}
    assert as_stable.metadata.annotations[EARLIER] == text_of(ON_CANARY)


# --- a whole update ---------------------------------------------------------------------------------------------------


def marks_of(found: World, version: int) -> dict[str, str]:
    one = found.replica_set_of(pod_hash(version))
    assert one is not None
    return labels_of(one)


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_marks_follow_the_parts_through_an_update(routed: bool) -> None:
    found = deployed(*PAIR, replicas=2, routed=routed, canary=MARKS)
    assert marks_of(found, 1) == {"role": "stable"}
    assert found.carried == {}, "pods are born with their marks"
    update(found).run()
    assert (marks_of(found, 1), marks_of(found, 2)) == ({"role": "stable"}, {"role": "canary", "tier": "new"})
    assert found.carried == {}
    found.command({"pauseConditions": None})
    found.run()
    assert (marks_of(found, 1), marks_of(found, 2)) == ({}, {"role": "stable"})
    assert found.carried[f"cart-{pod_hash(2)}"] == {"role": "stable", "tier": None}
    assert found.parsed.phase == "Healthy"


def test_an_aborted_canary_stays_what_it_is_until_it_is_stable() -> None:
    found = deployed(*PAIR, replicas=2, routed=True, canary=MARKS)
    update(found).run()
    found.command({"abort": True})
    found.run()
    assert marks_of(found, 2) == {"role": "canary", "tier": "new"}
    update(found, 1).run()
    assert (marks_of(found, 1), marks_of(found, 2)) == ({"role": "stable"}, {})


def test_marks_that_are_configured_later_reach_what_runs() -> None:
    found = deployed(*PAIR, replicas=2)
    canary = {**found.content["strategy"]["canary"], **MARKS}
    found.change({**found.content, "strategy": {"canary": canary}})
    found.run()
    assert marks_of(found, 1) == {"role": "stable"}
    assert found.carried[f"cart-{pod_hash(1)}"] == {"role": "stable"}
    found.writes.clear()
    found.marked = {}
    found.run()
    assert found.writes == [], "a controller that has started anew finds everything right"


def test_without_pods_or_configuration_no_pod_is_looked_at() -> None:
    for found in (deployed(*PAIR, replicas=2), deployed(*PAIR, replicas=0, canary=MARKS)):
        update(found).run()
        found.marked = {}
        found.run()
        assert not any(type(action).__name__ == "MarkPods" for one in found.decisions for action in one.actions)


@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_killing_the_controller_after_any_write_leaves_the_same_marks(routed: bool) -> None:
    def story(found: World) -> tuple[Any, ...]:
        found.run()
        update(found).run()
        found.command({"pauseConditions": None})
        found.run()
        return marks_of(found, 1), marks_of(found, 2), found.carried, found.facts()

    calm = world(*PAIR, replicas=2, routed=routed, canary=MARKS)
    expected = story(calm)
    for writes in range(len(calm.writes)):
        shaken = world(*PAIR, replicas=2, routed=routed, canary=MARKS, crash_after=writes)
        result = story(shaken)
        assert result[0:2] == expected[0:2], f"after {writes} writes"
        assert result[3] == expected[3], f"after {writes} writes"
        final = shaken.carried.get(f"cart-{pod_hash(2)}", {})
        assert final.get("role", "stable") == "stable"

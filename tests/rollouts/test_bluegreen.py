"""Blue-green as a whole: its table of modes, and complete stories in worlds."""

from __future__ import annotations

from itertools import product

import pytest

from fairlead.rollouts._bluegreen import MODES, rule_for
from fairlead.rollouts._bluegreen_modes import Facts, Mode, applies
from fairlead.testing.builders import pod_hash
from tests.rollouts.blue_green_world import ACTIVE, BY_HAND, POST, PRE, PREVIEW, PREVIEWED, deployed, told, world
from tests.rollouts.world import update

ALL_FACTS = [
    Facts(has_stable=stable, is_promoted=promoted, abort=abort, promote_full=full, is_fast=fast, is_switched=switched)
    for stable, promoted, abort, full, fast, switched in product((False, True), repeat=6)
    if stable or not promoted  # a revision cannot be promoted while none is
]


@pytest.mark.parametrize("facts", ALL_FACTS, ids=str)
def test_exactly_one_mode_applies(facts: Facts) -> None:
    assert sum(applies(rule, facts) for rule in MODES) == 1


def test_every_mode_is_reached() -> None:
    assert {rule_for(facts).mode for facts in ALL_FACTS} == set(Mode)


# --- Events in argo-rollouts' order ----------------------------------------------------------------------------------

_OPENING = ["RolloutUpdated", "NewReplicaSetCreated"]


def test_events_of_a_first_deployment() -> None:
    found = world(replicas=1).run()
    assert found.reasons() == [*_OPENING, "ScalingReplicaSet", "RolloutCompleted", "SwitchService"]


def test_events_of_an_update() -> None:
    found = deployed(replicas=1)
    update(found).run(lambda one: one.parsed.phase == "Healthy" and one.parsed.is_promoted)
    assert found.reasons() == [
        *_OPENING,
        "RolloutNotCompleted",
        "ScalingReplicaSet",
        "SwitchService",
        "RolloutCompleted",
    ]


def test_events_of_everything() -> None:
    found = deployed(PREVIEWED, {"previewReplicaCount": 1}, PRE, POST, BY_HAND)
    found.verdicts["cart-"] = "Successful"
    update(found).run()
    found.command({"pauseConditions": None})
    found.run()
    assert found.reasons() == [
        *_OPENING,
        "SwitchService",
        "RolloutNotCompleted",
        "ScalingReplicaSet",
        "AnalysisRunRunning",
        "AnalysisRunSuccessful",
        "RolloutPaused",
        "RolloutResumed",
        "ScalingReplicaSet",
        "SwitchService",
        "AnalysisRunRunning",
        "AnalysisRunSuccessful",
        "RolloutCompleted",
        "ScalingReplicaSet",
    ]
    messages = [event.message for event in found.events if event.reason in ("SwitchService", "RolloutCompleted")]
    assert messages == [
        f"Switched selector for service '{PREVIEW}' from '{pod_hash(1)}' to '{pod_hash(2)}'",
        f"Switched selector for service '{ACTIVE}' from '{pod_hash(1)}' to '{pod_hash(2)}'",
        f"Rollout completed update to revision 2 ({pod_hash(2)}): Completed blue-green update",
    ]


def test_counts_of_the_full_sequence() -> None:
    """As argo-rollouts shows them for n = 2, previewReplicaCount 1: (current, updated, ready, available)."""
    found = deployed(PREVIEWED, {"previewReplicaCount": 1}, PRE, POST, BY_HAND)
    found.verdicts["cart-"] = "Successful"
    update(found).run()
    status = found.parsed
    assert (status.phase, status.message) == ("Paused", "BlueGreenPause")
    counts = status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas
    assert counts == (3, 1, 2, 2)
    found.command({"pauseConditions": None})
    found.run(lambda one: one.parsed.active_hash == pod_hash(2))
    status = found.parsed
    counts = status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas
    assert counts == (4, 2, 2, 2)
    assert (status.phase, status.message) == ("Progressing", "waiting for analysis to complete")
    found.run()
    assert found.facts()["sizes"] == {"1": 0, "2": 2}
    assert told(found)[-2:] == ["RolloutCompleted", "ScalingReplicaSet"]


def test_events_of_an_abort_before_the_switch_and_of_a_retry() -> None:
    found = deployed(PREVIEWED, BY_HAND, replicas=1)
    update(found).run()
    assert found.reasons() == [
        *_OPENING,
        "SwitchService",
        "RolloutNotCompleted",
        "ScalingReplicaSet",
        "RolloutPaused",
    ]
    found.events.clear()
    found.command({"abort": True})
    found.run()
    assert found.reasons() == ["RolloutAborted", "ScalingReplicaSet"]
    found.events.clear()
    found.command({"abort": False})
    found.run()
    assert found.reasons() == ["ScalingReplicaSet", "RolloutPaused"]
    found.events.clear()
    found.command({"pauseConditions": None})
    found.run()
    assert found.reasons() == ["SwitchService", "RolloutResumed", "RolloutCompleted", "ScalingReplicaSet"]


def test_events_of_an_abort_after_the_switch() -> None:
    found = deployed(POST, replicas=1)
    found.verdicts["cart-"] = "Failed"
    update(found).run()
    assert found.reasons() == [
        *_OPENING,
        "RolloutNotCompleted",
        "ScalingReplicaSet",
        "SwitchService",
        "AnalysisRunRunning",
        "AnalysisRunFailed",
        "SwitchService",
        "RolloutAborted",
        "ScalingReplicaSet",
    ]
    back = [event.message for event in found.events if event.reason == "SwitchService"][-1]
    assert back == f"Switched selector for service '{ACTIVE}' from '{pod_hash(2)}' to '{pod_hash(1)}'"


def test_events_of_a_rollback_while_it_waits() -> None:
    found = deployed(PREVIEWED, BY_HAND, replicas=1)
    update(found).run()
    found.events.clear()
    update(found, 1).run()
    assert found.reasons() == ["RolloutUpdated", "SwitchService", "RolloutResumed", "ScalingReplicaSet"]

"""The builders: valid by default, equal for equal arguments."""

from __future__ import annotations

import pytest

from fairlead.core.errors import SpecError
from fairlead.core.traffic import Held, Weights
from fairlead.rollouts._hash import template_hash
from fairlead.testing import builders
from fairlead.testing.builders import START


def test_a_spec_is_valid_and_has_what_was_asked_for() -> None:
    found = builders.spec({"setWeight": 20}, {"pause": {}}, replicas=3, routed=True, minReadySeconds=5)
    assert [step.text for step in found.steps] == ["setWeight: 20", "pause"]
    assert (found.replicas_wanted, found.min_ready_seconds) == (3, 5)
    assert found.canary is not None
    assert found.canary.is_routed


def test_a_spec_that_is_not_valid_is_refused() -> None:
    with pytest.raises(SpecError, match="between 0 and 100"):
        builders.spec({"setWeight": 101})


def test_versions_have_hashes_of_their_own() -> None:
    hashes = {builders.pod_hash(version) for version in (1, 2, "x")}
    assert len(hashes) == 3
    assert builders.pod_hash(1) == template_hash(builders.spec().template)


def test_a_replica_set_is_whole_unless_said_otherwise() -> None:
    found = builders.replica_set(2, replicas=3)
    assert (found.spec.replicas, found.status.replicas, found.status.available_replicas) == (3, 3, 3)
    assert found.metadata.labels[builders.HASH_LABEL] == builders.pod_hash(2)
    assert found.metadata.controller is not None
    assert found.metadata.controller.uid == builders.ROLLOUT_UID
    assert found == builders.replica_set(2, replicas=3)
    broken = builders.replica_set(2, replicas=3, created=2, available=1)
    assert (broken.status.replicas, broken.status.available_replicas) == (2, 1)


def test_services_select_what_was_asked_for() -> None:
    found = builders.services(stable=1, canary=None)
    assert found["cart-stable"].spec.selector == {"app": "cart", builders.HASH_LABEL: builders.pod_hash(1)}
    assert found["cart-canary"].spec.selector == {"app": "cart"}


def test_traffic() -> None:
    assert builders.traffic(20).weights == Weights.of_canary(20)
    assert builders.traffic(None, Held.NOT_STORED).weights is None


def test_a_status_fits_its_spec() -> None:
    rollout = builders.spec({"setWeight": 20}, version=2)
    found = builders.status(rollout, stable=1, current=2, step=0, abort=True)
    assert (found.stable_hash, found.pod_hash) == (builders.pod_hash(1), builders.pod_hash(2))
    assert (found.step_index, found.abort) == (0, True)
    assert builders.status(builders.spec()).step_index is None


def test_an_observation_records_the_highest_revision() -> None:
    found = builders.observation(builders.replica_set(1), builders.replica_set(3, revision=7))
    assert found.metadata.annotations["rollout.argoproj.io/revision"] == "7"


def test_pods_and_runs() -> None:
    owner = builders.replica_set(1)
    found = builders.pod("p", owner, created_at=START, ready=False)
    assert not found.is_ready
    assert found.metadata.controller is not None
    assert found.metadata.controller.uid == owner.metadata.uid
    run = builders.analysis_run("r", "Failed", step=2, message="no")
    assert (run.phase, run.message, run.metadata.labels["step-index"]) == ("Failed", "no", "2")

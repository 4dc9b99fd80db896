"""Rollouts that argo-rollouts has left behind: nothing is written but the status, and they go on from where they stand.

The objects below are as argo-rollouts leaves them: v1.7 and v1.8 with the older form of the hash, v1.9 with the newer
one; templates as the API server returns them, with its defaults. Handing back is the same look in a mirror: what we
add to objects is ours alone, and everything that argo-rollouts reads is as it writes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from fairlead.core.kinds import ReplicaSet, Service
from fairlead.core.traffic import Held
from fairlead.rollouts._hash import steps_hash, template_hash
from fairlead.rollouts._template import Form
from fairlead.rollouts.actions import CreateReplicaSet, MarkPods
from fairlead.rollouts.machine import decide
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.rollouts.status import patch, read
from fairlead.testing.builders import (
    HASH_LABEL,
    MANAGED_BY,
    ROLLOUT,
    START,
    owned_by_rollout,
    pod_template,
    rollout_metadata,
    spec_content,
    spec_of,
    traffic,
)

STEPS: tuple[dict[str, Any], ...] = ({"setWeight": 50}, {"pause": {}}, {"setWeight": 80}, {"pause": {"duration": "1h"}})
AT = "2025-12-31T23:59:00Z"
FORMS = {"v1.7": Form.V1_8, "v1.8": Form.V1_8, "v1.9": Form.V1_9}
MARKS = {"canaryMetadata": {"labels": {"role": "canary"}}, "stableMetadata": {"labels": {"role": "stable"}}}


def hash_of(version: int, form: Form) -> str:
    return template_hash(msgspec.json.encode(pod_template(version)), form=form)


def live_template(version: int, label: str, marks: Mapping[str, str]) -> dict[str, Any]:
    """Return a template as the API server shows it."""
    container = {
        "name": "app",
        "image": f"registry.example/cart:{version}",
        "imagePullPolicy": "IfNotPresent",
        "resources": {},
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
    }
    return {
        "metadata": {"creationTimestamp": None, "labels": {"app": "cart", HASH_LABEL: label, **marks}},
        "spec": {
            "containers": [container],
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "terminationGracePeriodSeconds": 30,
        },
    }


@dataclass(frozen=True, kw_only=True)
class Left:
    """What a version of argo-rollouts has left: a Rollout of two versions."""

    form: Form
    routed: bool
    canary: Mapping[str, Any]
    replicas: int = 4

    @property
    def content(self) -> dict[str, Any]:
        return spec_content(
            *STEPS, version=2, replicas=self.replicas, routed=self.routed, canary=self.canary, revisionHistoryLimit=5
        )

    @property
    def spec(self) -> RolloutSpec:
        return spec_of(self.content)

    def hash(self, version: int) -> str:
        return hash_of(version, self.form)

    def replica_set(self, version: int, size: int, *, role: str = "", deadline: str = "") -> ReplicaSet:
        label = self.hash(version)
        marks = {"role": role} if role and self.canary else {}
        annotations = {
            "rollout.argoproj.io/desired-replicas": str(self.replicas),
            "rollout.argoproj.io/revision": str(version),
            "team": "shop",
        }
        if marks:
            annotations["rollout.argoproj.io/ephemeral-metadata"] = msgspec.json.encode({"labels": marks}).decode()
        if deadline:
            annotations["scale-down-deadline"] = deadline
        content = {
            "metadata": {
                "name": f"{ROLLOUT}-{label}",
                "namespace": "shop",
                "uid": f"uid-{version}",
                "generation": 2,
                "resourceVersion": "9",
                "creationTimestamp": f"2025-12-2{version}T10:00:00Z",
                "labels": {"app": "cart", HASH_LABEL: label},
                "annotations": annotations,
                "ownerReferences": owned_by_rollout(),
            },
            "spec": {
                "replicas": size,
                "selector": {"matchLabels": {"app": "cart", HASH_LABEL: label}},
                "template": live_template(version, label, marks),
            },
            "status": {
                "replicas": size,
                "readyReplicas": size,
                "availableReplicas": size,
                "observedGeneration": 2,
                "fullyLabeledReplicas": size,
            },
        }
        return msgspec.json.decode(msgspec.json.encode(content), type=ReplicaSet)

    def services(self, *, stable: int, canary: int) -> dict[str, Service]:
        if not self.routed:
            return {}
        found: dict[str, Service] = {}
        for name, version in ((f"{ROLLOUT}-stable", stable), (f"{ROLLOUT}-canary", canary)):
            content = {
                "metadata": {"name": name, "namespace": "shop", "uid": name, "annotations": {MANAGED_BY: ROLLOUT}},
                "spec": {"selector": {"app": "cart", HASH_LABEL: self.hash(version)}},
            }
            found[name] = msgspec.json.decode(msgspec.json.encode(content), type=Service)
        return found

    def status(
        self, *, stable: int, step: int, weight: int, counts: tuple[int, int], canary: int = 2, **fields: Any
    ) -> dict[str, Any]:
        """Return the status.

        Args:
            counts: pods of the current version, and of all.
            canary: version that the canary Service selects.
        """
        updated, total = counts
        content: dict[str, Any] = {
            "HPAReplicas": total,
            "availableReplicas": total,
            "blueGreen": {},
            "canary": {},
            "currentPodHash": self.hash(2),
            "currentStepHash": steps_hash(self.spec.steps),
            "currentStepIndex": step,
            "observedGeneration": "1",
            "readyReplicas": total,
            "replicas": total,
            "selector": "app=cart",
            "stableRS": self.hash(stable),
            **({"updatedReplicas": updated} if updated else {}),
            "workloadObservedGeneration": "",
            **fields,
        }
        if self.routed:
            destinations = {
                "canary": {"podTemplateHash": self.hash(canary), "serviceName": f"{ROLLOUT}-canary", "weight": weight},
                "stable": {
                    "podTemplateHash": self.hash(stable),
                    "serviceName": f"{ROLLOUT}-stable",
                    "weight": 100 - weight,
                },
            }
            content["canary"] = {"weights": destinations}
        return content


def condition(type_: str, status: str, reason: str, message: str) -> dict[str, Any]:
    return {
        "type": type_,
        "status": status,
        "reason": reason,
        "message": message,
        "lastUpdateTime": AT,
        "lastTransitionTime": AT,
    }


def completed(is_so: bool) -> dict[str, Any]:
    return condition("Completed", "True" if is_so else "False", "RolloutCompleted", "RolloutCompleted")


AVAILABLE = condition("Available", "True", "AvailableReason", "Rollout has minimum availability")


def at_rest(left: Left) -> tuple[dict[str, Any], Observation]:
    progressed = f'ReplicaSet "{ROLLOUT}-{left.hash(2)}" has successfully progressed.'
    status = left.status(
        stable=2,
        step=4,
        weight=0,
        counts=(4, 4),
        phase="Healthy",
        conditions=[
            AVAILABLE,
            condition("Progressing", "True", "NewReplicaSetAvailable", progressed),
            condition("Paused", "False", "RolloutPaused", "Rollout is paused"),
            completed(True),
            condition("Healthy", "True", "RolloutHealthy", "Rollout is healthy"),
        ],
    )
    seen = (left.replica_set(1, 0), left.replica_set(2, 4, role="stable"))
    return status, look(left, *seen, stable=2, canary=2, weight=0)


def paused(left: Left) -> tuple[dict[str, Any], Observation]:
    status = left.status(
        stable=1,
        step=1,
        weight=50,
        counts=(2, 6 if left.routed else 4),
        phase="Paused",
        message="CanaryPauseStep",
        controllerPause=True,
        pauseConditions=[{"reason": "CanaryPauseStep", "startTime": AT}],
        conditions=[
            AVAILABLE,
            completed(False),
            condition("Healthy", "False", "RolloutHealthy", "Rollout is not healthy"),
            condition("Progressing", "Unknown", "RolloutPaused", "Rollout is paused"),
            condition("Paused", "True", "RolloutPaused", "Rollout is paused"),
        ],
    )
    old = left.replica_set(1, 4 if left.routed else 2, role="stable")
    return status, look(left, old, left.replica_set(2, 2, role="canary"), stable=1, canary=2, weight=50)


def aborted(left: Left) -> tuple[dict[str, Any], Observation]:
    message = "Rollout aborted update to revision 2"
    status = left.status(
        stable=1,
        step=0,
        weight=0,
        counts=(0, 4),
        canary=1,
        phase="Degraded",
        message=f"RolloutAborted: {message}",
        abort=True,
        abortedAt=AT,
        conditions=[
            AVAILABLE,
            completed(False),
            condition("Healthy", "False", "RolloutHealthy", "Rollout is not healthy"),
            condition("Progressing", "False", "RolloutAborted", message),
        ],
    )
    old = left.replica_set(1, 4, role="stable")
    return status, look(left, old, left.replica_set(2, 0, role="canary"), stable=1, canary=1, weight=0)


def draining(left: Left) -> tuple[dict[str, Any], Observation]:
    """Promoted a moment ago: the former stable revision is kept for another twenty seconds."""
    status, _ = at_rest(left)
    old = left.replica_set(1, 4, deadline="2026-01-01T00:00:20Z")
    kept = dict.fromkeys(("HPAReplicas", "availableReplicas", "readyReplicas", "replicas"), 8)
    conditions = [one for one in status["conditions"] if one["type"] != "Healthy"]
    unhealthy = condition("Healthy", "False", "RolloutHealthy", "Rollout is not healthy")
    both = (old, left.replica_set(2, 4, role="stable"))
    return {**status, **kept, "conditions": [*conditions, unhealthy]}, look(left, *both, stable=2, canary=2, weight=0)


def look(left: Left, *owned: ReplicaSet, stable: int, canary: int, weight: int) -> Observation:
    annotations = {"rollout.argoproj.io/revision": "2", "team": "shop"}
    return Observation(
        metadata=rollout_metadata(annotations=annotations),
        replica_sets=owned,
        services=left.services(stable=stable, canary=canary),
        traffic=traffic(weight, Held.SETTLED) if left.routed else None,
    )


STATES = {"at-rest": at_rest, "paused": paused, "aborted": aborted, "draining": draining}
NOT_WITHOUT_A_ROUTER = ("draining",)
CASES = [
    pytest.param(version, state, routed, canary, id=f"{version}-{state}-{kind}{suffix}")
    for version in FORMS
    for state in STATES
    for routed, kind in ((False, "basic"), (True, "routed"))
    for canary, suffix in (({}, ""), (MARKS, "-marked"))
    if routed or state not in NOT_WITHOUT_A_ROUTER
]


@pytest.mark.parametrize(("version", "state", "routed", "canary"), CASES)
def test_nothing_is_written_but_the_status(version: str, state: str, routed: bool, canary: dict[str, Any]) -> None:
    left = Left(form=FORMS[version], routed=routed, canary=canary)
    stored, seen = STATES[state](left)
    decision = decide(left.spec, read(stored), seen, START)
    # Pods may have to be looked at once: whether they carry what they should stands nowhere.
    written = [action for action in decision.actions if not isinstance(action, MarkPods)]
    assert written == []
    assert decision.events == ()
    changed = patch(stored, decision.status)
    new = [one for one in changed.pop("conditions", []) if one not in stored["conditions"]]
    assert [one["type"] for one in new] == (["TrafficRouted"] if routed else []), new
    assert set(changed) <= {"highWater"}, changed


@pytest.mark.parametrize("version", FORMS)
@pytest.mark.parametrize("routed", [False, True], ids=["basic", "routed"])
def test_a_canary_goes_on_from_the_step_where_it_stands(version: str, routed: bool) -> None:
    left = Left(form=FORMS[version], routed=routed, canary={})
    stored, seen = paused(left)
    del stored["pauseConditions"]  # a person has promoted it
    decision = decide(left.spec, read(stored), seen, START)
    assert decision.status.step_index == 2
    assert decision.status.pod_hash == left.hash(2)
    assert {event.reason for event in decision.events} >= {"RolloutStepCompleted", "RolloutResumed"}
    assert not any(isinstance(action, CreateReplicaSet) for action in decision.actions)


@pytest.mark.parametrize("version", FORMS)
def test_a_new_version_gets_the_next_revision_and_a_hash_of_today(version: str) -> None:
    left = Left(form=FORMS[version], routed=False, canary={})
    stored, seen = at_rest(left)
    content = {**left.content, "template": pod_template(3)}
    decision = decide(spec_of(content), read(stored), seen, START)
    created = next(action for action in decision.actions if isinstance(action, CreateReplicaSet))
    assert created.name == f"{ROLLOUT}-{hash_of(3, Form.V1_9)}"
    assert created.body["metadata"]["annotations"]["rollout.argoproj.io/revision"] == "3"


@pytest.mark.parametrize("version", FORMS)
def test_back_to_a_revision_of_the_former_controller_takes_it_up_again(version: str) -> None:
    left = Left(form=FORMS[version], routed=False, canary={})
    stored, seen = at_rest(left)
    decision = decide(spec_of({**left.content, "template": pod_template(1)}), read(stored), seen, START)
    assert decision.status.pod_hash == left.hash(1)
    assert not any(isinstance(action, CreateReplicaSet) for action in decision.actions)


# --- handing back -----------------------------------------------------------------------------------------------------


def test_what_we_leave_is_what_argo_rollouts_reads() -> None:
    """Hash, labels, owner, selector and annotations of a ReplicaSet are its own; what is ours has a prefix of ours."""
    left = Left(form=Form.V1_9, routed=False, canary=MARKS)
    stored, seen = at_rest(left)
    decision = decide(spec_of({**left.content, "template": pod_template(3)}), read(stored), seen, START)
    body = next(action.body for action in decision.actions if isinstance(action, CreateReplicaSet))
    label = hash_of(3, Form.V1_9)
    annotations = {
        key: value for key, value in body["metadata"]["annotations"].items() if not key.startswith("fairlead.dev/")
    }
    assert annotations == {
        "team": "shop",
        "rollout.argoproj.io/revision": "3",
        "rollout.argoproj.io/desired-replicas": "4",
        "rollout.argoproj.io/ephemeral-metadata": '{"labels":{"role":"canary"}}',
    }
    assert body["metadata"]["labels"] == {"app": "cart", HASH_LABEL: label}
    assert body["spec"]["selector"] == {"matchLabels": {"app": "cart", HASH_LABEL: label}}
    assert body["spec"]["template"]["metadata"]["labels"] == {"app": "cart", HASH_LABEL: label, "role": "canary"}
    assert body["metadata"]["ownerReferences"] == owned_by_rollout()

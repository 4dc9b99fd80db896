from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from fairlead.cli import _family, _tree
from fairlead.core.objects import Manifest, decode_manifest

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
CREATED = "2026-01-01T00:07:00Z"


def manifest(name: str, owner: str = "", **content: Any) -> Manifest:
    owners = [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": owner, "controller": True}] if owner else []
    metadata = {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-{name}",
        "creationTimestamp": CREATED,
        "ownerReferences": owners,
        **content.pop("metadata", {}),
    }
    return decode_manifest(json.dumps({"metadata": metadata, **content}).encode())


def replica_set(name: str, revision: int, wanted: int, available: int, *, image: str, **annotations: str) -> Manifest:
    return manifest(
        name,
        "uid-cart",
        metadata={
            "labels": {"rollouts-pod-template-hash": name},
            "annotations": {"rollout.argoproj.io/revision": str(revision), **annotations},
        },
        spec={"replicas": wanted, "template": {"spec": {"containers": [{"name": "c", "image": image}]}}},
        status={"replicas": wanted, "availableReplicas": available},
    )


def pod(name: str, owner: str, *, ready: bool) -> Manifest:
    container = {"name": "c", "ready": ready, "restartCount": 0 if ready else 3}
    if not ready:
        container["state"] = {"waiting": {"reason": "CrashLoopBackOff"}}
    return manifest(
        name,
        f"uid-{owner}",
        spec={"containers": [{"name": "c"}]},
        status={"phase": "Running", "containerStatuses": [container]},
    )


def cart(**status: Any) -> Manifest:
    return manifest(
        "cart",
        metadata={"generation": 2},
        spec={
            "replicas": 5,
            "strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}, {"setWeight": 50}]}},
        },
        status={
            "phase": "Paused",
            "message": "CanaryPauseStep",
            "observedGeneration": "2",
            "currentStepIndex": 1,
            "currentPodHash": "new",
            "stableRS": "old",
            "replicas": 6,
            "updatedReplicas": 1,
            "readyReplicas": 5,
            "availableReplicas": 5,
            **status,
        },
    )


def family(rollout: Manifest) -> _family.Family:
    run = manifest(
        "cart-new-2",
        "uid-cart",
        metadata={"labels": {"rollouts-pod-template-hash": "new"}},
        status={"phase": "Running", "metricResults": [{"name": "errors", "successful": 3, "failed": 1}]},
    )
    return _family.gather(
        rollout,
        [
            replica_set("old", 1, 5, 5, image="web:1", **{"scale-down-deadline": "2026-01-01T00:10:30Z"}),
            replica_set("new", 2, 1, 0, image="web:2"),
            manifest("stranger", "uid-other"),
        ],
        [pod("new-1", "new", ready=False), pod("old-1", "old", ready=True), pod("lonely", "other", ready=True)],
        [run, manifest("foreign", "uid-other")],
    )


EXPECTED = """\
Name:            cart
Namespace:       shop
Status:          ॥ Paused
Message:         CanaryPauseStep
Strategy:        Canary
  Step:          1/3
  SetWeight:     20
  ActualWeight:  20 (verified)
Images:          web:2 (canary)
                 web:1 (stable)
Replicas:
  Desired:       5
  Current:       6
  Updated:       1
  Ready:         5
  Available:     5

NAME                                      KIND         STATUS              AGE     INFO
⟳ cart                                    Rollout      ॥ Paused            3m
├──# revision:2
│  ├──⧉ new                               ReplicaSet   ◌ Progressing       3m      canary
│  │  └──□ new-1                          Pod          ✖ CrashLoopBackOff  3m      ready:0/1,restarts:3
│  └──α cart-new-2                        AnalysisRun  ◌ Running           3m      ✔ 3,✖ 1
└──# revision:1
   └──⧉ old                               ReplicaSet   ✔ Healthy           3m      stable,delay:30s
      └──□ old-1                          Pod          ✔ Running           3m      ready:1/1
"""


def test_tree_shows_what_belongs_to_the_rollout_and_nothing_else() -> None:
    weights = {"canary": {"weight": 20}, "stable": {"weight": 80}, "verified": True}
    assert _tree.render(family(cart(canary={"weights": weights})), NOW) == EXPECTED


@pytest.mark.parametrize(
    ("selected", "old", "new"),
    [
        pytest.param({"activeSelector": "old", "previewSelector": "new"}, ("stable", "active"), ("preview",), id="up"),
        pytest.param({"activeSelector": "new", "previewSelector": "new"}, ("stable",), ("active",), id="switched"),
        pytest.param({}, ("stable",), (), id="first"),
    ],
)
def test_tags_of_a_blue_green_rollout(selected: dict[str, str], old: tuple[str, ...], new: tuple[str, ...]) -> None:
    status = {"currentPodHash": "new", "stableRS": "old", "blueGreen": selected}
    rollout = manifest("cart", spec={"strategy": {"blueGreen": {"activeService": "a"}}}, status=status)
    found = family(rollout)
    tags = {one.metadata.name: _family.tags_of(found, one) for one in found.replica_sets}
    assert tags == {"old": old, "new": new}


@pytest.mark.parametrize(
    ("turn", "stable", "old", "new"),
    [
        pytest.param("ping", "old", ("stable", "ping"), ("canary", "pong"), id="ping-is-stable"),
        pytest.param("pong", "old", ("stable", "pong"), ("canary", "ping"), id="pong-is-stable"),
        pytest.param("", "old", ("stable", "pong"), ("canary", "ping"), id="nothing-is-said"),
        pytest.param("pong", "new", (), ("stable", "pong"), id="at-rest"),
    ],
)
def test_tags_where_two_services_take_turns(turn: str, stable: str, old: tuple[str, ...], new: tuple[str, ...]) -> None:
    pair = {"pingService": "a", "pongService": "b"}
    status = {"currentPodHash": "new", "stableRS": stable, "canary": {"stablePingPong": turn}}
    found = family(manifest("cart", spec={"strategy": {"canary": {"pingPong": pair}}}, status=status))
    tags = {one.metadata.name: _family.tags_of(found, one) for one in found.replica_sets}
    assert tags == {"old": old, "new": new}


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        pytest.param({"observedGeneration": "1"}, "waiting for rollout spec update to be observed", id="not-observed"),
        pytest.param({"controllerPause": True}, "waiting for rollout to unpause", id="resumed"),
        pytest.param({"phase": "Degraded", "message": "RolloutAborted: x"}, "RolloutAborted: x", id="as-stored"),
    ],
)
def test_phase_as_clients_override_it(status: dict[str, Any], shown: str) -> None:
    assert _family.phase_of(cart(**status))[1] == shown


@pytest.mark.parametrize(
    ("status", "wanted", "actual"),
    [
        pytest.param({}, 20, 0, id="basic-no-canary-pod-available"),
        pytest.param({"abort": True, "currentStepIndex": 0}, 0, 0, id="aborted"),
        pytest.param({"currentStepIndex": 3}, 100, 100, id="done"),
        pytest.param({"currentStepIndex": 2}, 50, 0, id="later-step"),
        pytest.param({"currentStepIndex": "junk", "canary": "junk"}, 100, 100, id="status-of-a-stranger"),
    ],
)
def test_weights(status: dict[str, Any], wanted: int, actual: int) -> None:
    found = family(cart(**status))
    assert (_family.set_weight(found.rollout), _family.actual_weight(found)) == (wanted, actual)

"""A controller of one's own: fairlead's canary machine decides, and what it steers are workers and a feature flag.

`decide` is a pure function. All that it needs around it is something that looks, something that acts, and a clock: the
class `Flags`. No cluster, no network, no waiting:

    python -m examples.custom_controller
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec.structs import replace

from fairlead.core.kinds import REPLICA_SETS, ReplicaSet, ReplicaSetStatus
from fairlead.core.objects import ObjectMeta
from fairlead.core.traffic import Held, TrafficSeen, Weights
from fairlead.rollouts import Action, Observation, RolloutStatus, decide, understand
from fairlead.rollouts.actions import CreateReplicaSet, PatchReplicaSet, PatchRollout, SetWeights

LOOKS_MAX = 100


class Flags:
    """A job runner, played: the share of each side is a feature flag, and new workers are ready at once."""

    def __init__(self) -> None:
        self.metadata = ObjectMeta(name="worker", namespace="default", uid="worker")
        self.shares = {"stable": 100, "canary": 0}
        self.workers: dict[str, ReplicaSet] = {}

    def observe(self) -> Observation:
        # A flag is in force as soon as it is set. A data plane that takes its time is ACCEPTED first.
        traffic = TrafficSeen(weights=Weights.of_canary(self.shares["canary"]), held=Held.APPLIED)
        return Observation(metadata=self.metadata, replica_sets=tuple(self.workers.values()), traffic=traffic)

    def act(self, action: Action) -> None:
        match action:
            case SetWeights(weights=weights):
                self.shares = {"stable": weights.stable, "canary": weights.canary}
            case CreateReplicaSet(name=name, body=body, replicas=replicas):
                created = REPLICA_SETS.decode(msgspec.json.encode(body))
                created = replace(created, metadata=replace(created.metadata, uid=name))
                self.workers[name] = _run(created, replicas)
            case PatchReplicaSet(target=target, replicas=replicas, annotations=annotations):
                found = self.workers[target.name]
                found = replace(found, metadata=_annotated(found.metadata, dict(annotations)))
                self.workers[target.name] = _run(found, found.spec.replicas if replicas is None else replicas)
            case PatchRollout(annotations=annotations):
                self.metadata = _annotated(self.metadata, dict(annotations))
            case _:
                raise NotImplementedError(f"nothing here knows how to carry out {action}")


def _run(found: ReplicaSet, replicas: int) -> ReplicaSet:
    status = ReplicaSetStatus(replicas=replicas, ready_replicas=replicas, available_replicas=replicas)
    return replace(found, spec=replace(found.spec, replicas=replicas), status=status)


def _annotated(metadata: ObjectMeta, changes: dict[str, str | None]) -> ObjectMeta:
    merged = {**metadata.annotations, **changes}
    return replace(metadata, annotations={key: value for key, value in merged.items() if value is not None})


def reconcile(
    flags: Flags, content: dict[str, Any], status: RolloutStatus, now: datetime, *, until: datetime | None = None
) -> tuple[RolloutStatus, datetime]:
    """Observe, decide and act until nothing is waited for but a person; time jumps to where something happens."""
    spec = understand(msgspec.json.encode(content), name=flags.metadata.name)
    for _ in range(LOOKS_MAX):
        decision = decide(spec, status, flags.observe(), now)
        shares = flags.shares
        for action in decision.actions:
            flags.act(action)
        if flags.shares != shares:
            print(f"{now:%H:%M:%S}  {flags.shares}  {decision.status.phase}")
        if not decision.actions and decision.status == status:
            if decision.wake_at is None or (until is not None and decision.wake_at > until):
                break
            print(f"{now:%H:%M:%S}  waits: {decision.blocked_on.what if decision.blocked_on else ''}")
            now = decision.wake_at
        status = decision.status
    return status, now


def rollout(version: str) -> dict[str, Any]:
    """Return the spec of a Rollout as users write it; the router below `plugins` is ours."""
    steps = [{"setWeight": 20}, {"pause": {"duration": "10m"}}, {"setWeight": 50}, {"pause": {"duration": "5m"}}]
    container = {"name": "worker", "image": f"worker:{version}"}
    return {
        "replicas": 10,
        "selector": {"matchLabels": {"app": "worker"}},
        "template": {"metadata": {"labels": {"app": "worker"}}, "spec": {"containers": [container]}},
        "strategy": {"canary": {"trafficRouting": {"plugins": {"example/flags": {}}}, "steps": steps}},
    }


def main() -> Flags:
    """Bring out two versions, and take a third one back in its first pause."""
    flags = Flags()
    status, now = RolloutStatus(), datetime(2026, 1, 1, tzinfo=UTC)
    for version in ("1", "2"):
        print(f"version {version}")
        status, now = reconcile(flags, rollout(version), status, now)
    print("version 3, which somebody aborts")
    status, now = reconcile(flags, rollout("3"), status, now, until=now + timedelta(minutes=1))
    reconcile(flags, rollout("3"), replace(status, abort=True), now)  # as `fairlead abort` writes it
    return flags


if __name__ == "__main__":
    main()

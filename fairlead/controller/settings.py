"""Everything that an operator can set, read once and handed on as the part that is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from fairlead.controller.gitops_settings import GitOps
from fairlead.secrets.settings import PlannerSettings, SecretSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """How many objects of a kind are reconciled at once. Defaults of the first two are Argo Rollouts'."""

    rollouts: int = 10
    analysis_runs: int = 30
    external_secrets: int = 30  # each waits for three writes, one after the other
    marked_pods: int = 10  # of a ReplicaSet, at the same time
    marking_tries: int = 3  # for each of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """How often the API server may be asked, leases aside.

    Attributes:
        per_second: on average; 0: as often as there is need.
        burst: so many requests may come at once.
    """

    per_second: float = 0.0
    burst: int = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How weights are confirmed.

    Attributes:
        evidence: admin addresses of the Envoys whose `config_dump` proves that weights were taken, as
            `http://host:port`. Empty: no evidence, the settle delay decides ("settled, not verified").
        settle: between the acceptance of a route and the start of a step's clock, where there is no evidence.
            12 s is istiod's longest debounce and its push.
        drain: how long pods that lost traffic stay after `settle`, at least. 45 s is a waypoint's drain time.
    """

    evidence: tuple[str, ...] = ()
    settle: timedelta = timedelta(seconds=12)
    drain: timedelta = timedelta(seconds=45)


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where health and metrics are served. Ports are Argo Rollouts'; 0 picks a free one, None serves nothing."""

    host: str = "0.0.0.0"  # noqa: S104 - probes and Prometheus come from outside the pod
    health_port: int | None = 8080
    metrics_port: int | None = 8090


@dataclass(frozen=True, slots=True, kw_only=True)
class Election:
    """The lease by which one replica leads. Name and times are Argo Rollouts', so that the two never run together.

    Attributes:
        namespace: where the lease is.
        duration: others may take over when they saw no renewal for so long.
        renew_deadline: the leader gives up when it could not renew for so long.
        retry: between attempts.
    """

    namespace: str
    name: str = "argo-rollouts-controller-lock"
    duration: timedelta = timedelta(seconds=15)
    renew_deadline: timedelta = timedelta(seconds=10)
    retry: timedelta = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The whole tree.

    Attributes:
        namespace: the only namespace to work in; empty: all of them.
        instance_id: only objects that carry this controller instance id; empty: only objects that carry none.
        resync: every object is looked at again after this time even if nothing changed (missed watches).
        stop_grace: how long running reconciliations may take to finish when the process is asked to stop.
    """

    namespace: str = ""
    instance_id: str = ""
    workers: Workers = field(default_factory=Workers)
    traffic: Traffic = field(default_factory=Traffic)
    serving: Serving = field(default_factory=Serving)
    election: Election | None = None  # None: the only replica
    resync: timedelta = timedelta(minutes=15)
    stop_grace: timedelta = timedelta(seconds=10)
    requests: Requests = field(default_factory=Requests)
    with_rollouts: bool = True  # whether Rollouts are looked after; AnalysisRuns always are
    with_secrets: bool = True  # whether external secrets are synced
    secrets: SecretSettings = field(default_factory=SecretSettings)  # how they are served
    stores: PlannerSettings = field(default_factory=PlannerSettings)  # how the stores that they come from are asked
    prometheus_address: str = ""  # for prometheus metrics that name no address
    gitops: GitOps | None = None  # how Applications are looked after; None: not at all

"""What an operator can set about external secrets: how they are served, and how stores are asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSettings:
    """How ExternalSecrets are served.

    Attributes:
        controller_class: stores of another class are somebody else's.
        cluster_stores: whether ClusterSecretStores are served.
        flood_gate: whether a store must be Ready before it is asked.
        aligned: let those who share store and interval refresh together, so that they share reads. Nobody refreshes
            later than asked; the first interval of each is shorter.
        refresh_time_every: a status in which only refreshTime would change is written at most that often.
        unvalidated: for so long after its creation a store without a condition is waited for, and is no error.
        store_interval: pause between two validations of a store that says nothing itself.
    """

    controller_class: str = "default"
    cluster_stores: bool = True
    flood_gate: bool = True
    aligned: bool = True
    refresh_time_every: timedelta = timedelta(hours=1)
    unvalidated: timedelta = timedelta(minutes=1)
    store_interval: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannerSettings:
    """How stores are asked.

    Attributes:
        reads_per_second: budget of one store. Vault and Secrets Manager take far more; a store that says 429 gets less.
        burst: reads that may come without a pause after a quiet time.
        batch_max: keys handed to a store at a time; Secrets Manager takes 20.
        batches_in_flight_max: so many at a time, per store.
        gather_seconds: how long the first question waits for others to join its batch.
        share_seconds: how long an answer serves those who come later. While new objects keep coming, it serves them
            for so long after the last of them: all of a first sync share, however busy the machine is.
        share_seconds_max: values are held for so long, and no longer, whoever comes.
        call_seconds: a call that takes longer has failed.
        wait_seconds: who has no answer by then is told why.
        idle_seconds: a connection that nobody used for so long is closed.
        pause_seconds_max: the longest time that a store may tell us to stay away.
        failures_max: so many failed calls in a row open the circuit.
        reopen_seconds: a connection that is refused everything is opened anew, with the credentials of the moment, if
            it is older than this.
    """

    reads_per_second: float = 100.0
    burst: int = 20
    batch_max: int = 20
    batches_in_flight_max: int = 4
    gather_seconds: float = 0.02
    share_seconds: float = 15.0
    share_seconds_max: float = 120.0
    call_seconds: float = 60.0
    wait_seconds: float = 120.0
    idle_seconds: float = 900.0
    pause_seconds_max: float = 300.0
    failures_max: int = 3
    reopen_seconds: float = 60.0


SECRET_DEFAULTS = SecretSettings()
PLANNER_DEFAULTS = PlannerSettings()

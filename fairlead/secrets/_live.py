"""What one process knows of an ExternalSecret beyond the cluster: between two decisions, and only in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from fairlead.core.decision import Blocker
from fairlead.core.objects import ObjectMeta
from fairlead.secrets import _sources
from fairlead.secrets._questions import StoreName
from fairlead.secrets.machine import SecretDecision, Subject
from fairlead.secrets.observation import Outcome, Told
from fairlead.secrets.status import ExternalSecretStatus

ATTEMPTS_REMEMBERED_MAX = 8  # the API server shows one of the last few writes, or none

Marks = tuple[tuple[str, str, int], ...]
"""Name, UID and generation of each store: whether they are the same as before."""


@dataclass(slots=True)
class Live:
    """An ExternalSecret that this process looks after.

    Attributes:
        version: the newest resourceVersion of it that we know.
        status: decided last; the truth until somebody else writes.
        stored: what the API server holds, as far as we know.
        written: what we tried to store since then: an answer may have been lost although it was written.
        outcome: what no decision has seen yet, and the version of the object that it is about.
        refreshed_at: when the last successful sync of this process started; the status says that once an hour.
        attempts: failures in a row.
        mark: of object, stores and target at the last failure.
        stores: marks of the stores at the last success.
        began_at: when the attempt began that has not ended yet; monotonic.
    """

    uid: str
    subject: Subject
    refers_to: tuple[StoreName, ...]
    version: str
    status: ExternalSecretStatus
    stored: ExternalSecretStatus
    written: tuple[ExternalSecretStatus, ...] = ()
    outcome: Outcome | None = None
    outcome_version: str = ""
    refreshed_at: datetime | None = None
    attempts: int = 0
    retry_at: datetime | None = None
    mark: object = None
    stores: Marks | None = None
    told: Told = field(default_factory=Told)
    blocker: Blocker | None = None
    began_at: float | None = None

    @classmethod
    def of(cls, subject: Subject, status: ExternalSecretStatus) -> Live:
        """Return what is known of an object that is seen for the first time."""
        meta = subject.metadata
        return cls(
            uid=meta.uid,
            subject=subject,
            refers_to=_refers_to(subject),
            version=meta.resource_version,
            status=status,
            stored=status,
        )

    # --- what the cluster shows --------------------------------------------------------------------------------------

    def is_older_than(self, metadata: ObjectMeta) -> bool:
        """Return whether the cluster shows something newer than what is known here."""
        known = int(self.version) if self.version.isdecimal() else 0
        if metadata.version and known:
            return metadata.version > known
        return metadata.resource_version != self.version  # versions that are no numbers cannot be compared

    def renew(self, subject: Subject, shown: ExternalSecretStatus) -> bool:
        """Take over a newer version of the object; return whether somebody else has changed its status."""
        self.version = subject.metadata.resource_version
        self.subject = subject
        self.refers_to = _refers_to(subject)
        is_foreign = shown != self.stored and shown not in self.written
        if is_foreign:
            self.status = shown
            self.written = ()
        self.stored = shown
        return is_foreign

    # --- what was found out ------------------------------------------------------------------------------------------

    def put(self, outcome: Outcome | None, version: str) -> None:
        """Keep what came of an action for the next decision; `version`: of the object that it is about."""
        self.outcome, self.outcome_version = outcome, version

    def take_outcome(self) -> Outcome | None:
        """Return what no decision has seen yet, once; not what answers a question that nobody asks any more."""
        outcome, self.outcome = self.outcome, None
        return outcome if self.outcome_version == self.subject.version else None

    def take_over(self, decision: SecretDecision, *, mark: object, stores: Marks) -> None:
        """Remember what a decision says.

        Args:
            mark: of object, stores and target as they are now.
            stores: marks of the stores as they are now.
        """
        self.status = decision.status
        self.blocker = decision.blocked_on
        if decision.synced is not None:
            self.refreshed_at = decision.synced.started_at
            self.attempts, self.retry_at, self.mark = 0, None, None
            self.stores = stores
            self.told = Told(missing=decision.synced.missing)
        if decision.failure is not None:
            self.attempts += 1
            self.retry_at = decision.wake_at
            self.mark = mark
            self.told = msgspec.structs.replace(self.told, error=decision.failure.detail)

    # --- what is stored ----------------------------------------------------------------------------------------------

    def is_worth_writing(self, *, refresh_time_every: timedelta) -> bool:
        """Return whether the status is to be stored; a refreshTime alone is no change for a while."""
        stored, status = self.stored, self.status
        if status == stored:
            return False
        if msgspec.structs.replace(status, refresh_time=stored.refresh_time) != stored:
            return True
        if stored.refresh_time is None or status.refresh_time is None:
            return True
        return status.refresh_time - stored.refresh_time >= refresh_time_every

    def attempt(self) -> ExternalSecretStatus:
        """Return the status to store, and remember that it was tried."""
        if self.status not in self.written:
            self.written = (*self.written[1 - ATTEMPTS_REMEMBERED_MAX :], self.status)
        return self.status

    def has_stored(self, status: ExternalSecretStatus, version: str) -> None:
        """Take note that the API server holds a status, in that version of the object."""
        self.stored = status
        self.written = ()
        self.version = version


def _refers_to(subject: Subject) -> tuple[StoreName, ...]:
    return _sources.store_names(subject.spec) if subject.spec is not None else ()

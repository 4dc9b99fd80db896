"""A task of a sync with what has become of it, and how that is told."""

from __future__ import annotations

from dataclasses import dataclass

from fairlead.agentsync._summary import images_of
from fairlead.agentsync._waves import Task
from fairlead.agentsync.actions import Removal
from fairlead.agentsync.health import HealthCode, health
from fairlead.agentsync.resources import Object, ResourceKey, metadata_of, name_of
from fairlead.agentsync.status import Phase, ResourceResult, ResultCode, SyncPhase


@dataclass(slots=True)
class Doing:
    """A task with what has become of it."""

    task: Task
    result: ResourceResult | None

    @property
    def phase(self) -> str:
        return self.result.hook_phase if self.result is not None else ""

    @property
    def is_pending(self) -> bool:
        return not self.phase

    @property
    def is_running(self) -> bool:
        return self.phase == Phase.RUNNING

    @property
    def has_failed(self) -> bool:
        return self.phase in (Phase.FAILED, Phase.ERROR)

    @property
    def is_completed(self) -> bool:
        return self.has_failed or self.phase == Phase.SUCCEEDED

    @property
    def at(self) -> tuple[SyncPhase, int]:
        return (self.task.phase, self.task.wave)

    def record(self, phase: Phase | str, message: str, code: ResultCode | str = "") -> None:
        """Note what has become of it; without a code that of before stays."""
        task = self.task
        before = self.result
        self.result = ResourceResult(
            group=task.key.group,
            version=task.version,
            kind=task.key.kind,
            namespace=task.key.namespace,
            name=task.key.name,
            status=code or (before.status if before is not None else ""),
            message=message,
            hook_type=task.phase if task.is_hook else "",
            hook_phase=phase,
            sync_phase=task.phase,
            images=images_of(task.found),
        )


PHASES = {
    ResultCode.SYNCED: Phase.RUNNING,
    ResultCode.SYNC_FAILED: Phase.FAILED,
    ResultCode.PRUNED: Phase.SUCCEEDED,
    ResultCode.PRUNE_SKIPPED: Phase.SUCCEEDED,
}


def hook_state(live: Object) -> tuple[Phase, str]:
    """Return how far a hook has come, by its health; one of a kind without a check has succeeded."""
    found = health(live, is_hook=True)
    if found is None or found.code is HealthCode.MISSING:
        return Phase.SUCCEEDED, f"{name_of(live)} created"
    if found.code in (HealthCode.DEGRADED, HealthCode.UNKNOWN):
        return Phase.FAILED, found.message
    return (Phase.SUCCEEDED if found.code is HealthCode.HEALTHY else Phase.RUNNING), found.message


def sync_phase(result: ResourceResult) -> SyncPhase:
    """Return in which phase something was done, as its result says it."""
    return SyncPhase(result.sync_phase) if result.sync_phase in tuple(SyncPhase) else SyncPhase.SYNC


def not_served(key: ResourceKey) -> str:
    """Return why an object of a kind that the cluster does not serve cannot be applied."""
    return (
        f"The Kubernetes API could not find {key.group}/{key.kind} for requested resource {key.namespace}/{key.name}."
        f' Make sure the "{key.kind}" CRD is installed on the destination cluster.'
    )


def is_deleting(found: Object | None) -> bool:
    """Return whether an object is there and going."""
    return found is not None and bool(metadata_of(found).get("deletionTimestamp"))


def removal_of(task: Task) -> Removal:
    """Return what names the live object of a task for its deletion."""
    uid = metadata_of(task.live).get("uid") if task.live is not None else ""
    return Removal(key=task.key, version=task.version, uid=uid if isinstance(uid, str) else "", phase=task.phase)


def is_sync_failed(doing: Doing) -> bool:
    """Return whether the object of a task was rejected."""
    return doing.result is not None and doing.result.status == ResultCode.SYNC_FAILED


def with_reason(message: str, failed: list[Doing]) -> str:
    """Return a message with what is said about those that failed."""
    reasons = [doing.result.message for doing in failed if doing.result is not None]
    return f"{message}, reason: {','.join(reasons)}" if reasons else message


def waiting_for(doings: list[Doing], *, deletion: bool = False) -> str:
    """Return what is waited for: the first, and how many more."""
    first = doings[0].task
    what, more = ("completion of hook", "hooks") if first.is_hook else ("healthy state of", "resources")
    if deletion:
        what = "deletion of"
    message = f"waiting for {what} {first.key.group}/{first.key.kind}/{first.key.name}"
    return f"{message} and {len(doings) - 1} more {more}" if len(doings) > 1 else message


def waiting_for_confirmation(doings: list[Doing]) -> str:
    """Return whose pruning somebody has to approve."""
    key = doings[0].task.key
    message = f"waiting for pruning confirmation of {key.group}/{key.kind}/{key.name}"
    return f"{message} and {len(doings) - 1} more resources" if len(doings) > 1 else message

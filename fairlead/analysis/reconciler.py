"""Takes AnalysisRuns one decision further: observe, decide, act, store.

What is kept between calls, per run, until it is stored: the status that was decided last (a good measurement may wait
half a minute to be written, `machine.store_by`), and the measurements under way (`_measuring`). Losing it, as in a
crash, costs questions asked again, and nothing else.

The status is merge-patched on the main resource, with only what changed. UID and resourceVersion are preconditions:
whoever wrote in between is read first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec
import structlog

from fairlead.analysis._measuring import DEFAULTS, Measuring, MeasuringSettings, Subject
from fairlead.analysis.actions import Action, Cancel, DeleteRun, GarbageCollect, Measure, Resume, Terminate
from fairlead.analysis.machine import PreparedRun, RunDecision, decide, prepare, store_by, unreadable
from fairlead.analysis.observation import Observation
from fairlead.analysis.ports import Providers
from fairlead.analysis.spec import decode_run_spec
from fairlead.analysis.status import AnalysisRunStatus, Phase, decode_status, status_to_json
from fairlead.analysis.triggers import has_ended
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, Preconditions, View
from fairlead.core.decision import Event, earliest
from fairlead.core.errors import ClusterError, NotFound, SpecError
from fairlead.core.kinds import ANALYSIS_RUNS, AnalysisRun, Job
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta
from fairlead.core.patches import diff

log = structlog.get_logger(__name__)

ATTEMPTS_REMEMBERED_MAX = 16  # the API server shows one of the last few writes, or none


class Recorder(Protocol):
    """Writes Kubernetes Events."""

    def record(self, kind: Kind[Any], metadata: ObjectMeta, event: Event) -> None:
        """Take note of an event about an object; returns at once and never fails."""
        ...


class Announcer(Protocol):
    """Shows a verdict to the readers of a cache before its write is answered: an abort need not wait for that."""

    def anticipate(self, wished: AnalysisRun) -> None:
        """Show the run as it will be."""
        ...

    def forget(self, key: ObjectKey) -> None:
        """Show the stored run again: the write failed."""
        ...


@dataclass(slots=True)
class _Live:
    """A run that this process decides on.

    Attributes:
        status: decided last; the truth until somebody else writes.
        stored: what the API server holds, as far as we know.
        attempts: what we tried to write since then: an answer may have been lost although it was written.
        version: of the last state that is taken into account.
        told: Jobs whose end has been reported to a decision, by metric: the Job's resourceVersion.
    """

    uid: str
    spec: msgspec.Raw
    run: PreparedRun
    status: AnalysisRunStatus
    stored: AnalysisRunStatus
    version: str
    attempts: list[AnalysisRunStatus] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)


class AnalysisRunReconciler:
    """Decides on AnalysisRuns and measures for them.

    Args:
        cluster: runs are written to it, Secrets are read from it.
        runs: the runs as a cache shows them.
        providers: find the source of a metric.
        clock: tells the time.
        recorder: is given the Events.
        wake: is called with a run that wants to be reconciled soon (an answer arrived).
        jobs: the Jobs of runs, so that the end of one is seen at once; None: they are looked at by and by.
        announcer: shows bad verdicts to others before they are written; usually the store behind `runs`.
    """

    def __init__(
        self,
        cluster: Cluster,
        runs: View[AnalysisRun],
        providers: Providers,
        clock: Clock,
        *,
        recorder: Recorder,
        wake: Callable[[ObjectKey], None],
        jobs: View[Job] | None = None,
        announcer: Announcer | None = None,
        settings: MeasuringSettings = DEFAULTS,
    ) -> None:
        self._cluster = cluster
        self._runs = runs
        self._clock = clock
        self._recorder = recorder
        self._jobs = jobs
        self._announcer = announcer
        self._measuring = Measuring(cluster, providers, clock, wake=wake, settings=settings)
        self._live: dict[ObjectKey, _Live] = {}

    async def reconcile(self, key: ObjectKey) -> datetime | None:
        """Observe, decide, act; return when to look again at the latest.

        Raises:
            ClusterError: the status could not be stored; what was decided is kept and tried again.
        """
        run = self._runs.get(key)
        if run is None or run.metadata.is_deleting:
            self._drop(key)
            return None
        live = self._known(key, run)
        now = self._clock.now()
        decision = self._decide(run, live, now)
        if any(isinstance(action, DeleteRun) for action in decision.actions):
            await self._delete(key, run)
            return None
        self._act(key, live, decision.actions)
        due_at = store_by(live.stored, live.status, now)
        if due_at is not None and due_at <= now:
            await self._store(key, run, live)
            due_at = None
        log.debug(
            "analysis_run_reconciled",
            object=str(key),
            phase=str(live.status.phase),
            actions=len(decision.actions),
            wake_at=str(earliest(decision.wake_at, due_at)),
        )
        if live.status.is_completed and self._is_settled(key, live):
            self._drop(key)
        return earliest(decision.wake_at, due_at)

    async def close(self, *, store: bool = True) -> None:
        """Stop measuring, and store what is decided and not stored yet. The object cannot be used any more."""
        await self._measuring.close()
        for key, live in tuple(self._live.items()) if store else ():
            run = self._runs.get(key)
            if run is None or run.metadata.uid != live.uid:
                continue
            self._decide(run, live, self._clock.now())  # answers that have just arrived; nothing new is begun
            try:
                if live.stored != live.status:
                    await self._store(key, run, live)
            except ClusterError as error:
                log.warning("analysis_run_not_stored", object=str(key), error=str(error))

    # --- observe -----------------------------------------------------------------------------------------------------

    def _known(self, key: ObjectKey, run: AnalysisRun) -> _Live:
        """Return what is known of a run, brought up to date with what the cache shows."""
        live = self._live.get(key)
        if live is not None and live.uid != run.metadata.uid:  # another run of the same name
            self._drop(key)
            live = None
        if live is None:
            status = decode_status(run.status)
            live = _Live(
                uid=run.metadata.uid,
                spec=run.spec,
                run=_prepared(run.spec),
                status=status,
                stored=status,
                version=run.metadata.resource_version,
            )
            self._live[key] = live
        if bytes(live.spec) != bytes(run.spec):
            live.spec, live.run = run.spec, _prepared(run.spec)
        if _is_newer(run.metadata, live.version):
            live.version = run.metadata.resource_version
            self._take_in(key, live, decode_status(run.status))
        return live

    def _take_in(self, key: ObjectKey, live: _Live, shown: AnalysisRunStatus) -> None:
        """Accept a newer status of the API server: our own, late or unanswered, or somebody else's."""
        if shown != live.stored and shown not in live.attempts:
            log.info("analysis_run_status_changed_by_others", object=str(key), phase=str(shown.phase))
            live.status = shown
            live.attempts.clear()
        live.stored = shown

    def _ended_jobs(self, live: _Live) -> Mapping[str, str]:
        """Return the metrics whose Job has ended since we last said so, with the version of the Job."""
        ended: dict[str, str] = {}
        if self._jobs is None:
            return ended
        for result in live.status.metric_results:
            last = result.last
            if last is None or not last.is_in_flight or "job-name" not in last.metadata:
                continue
            job = self._jobs.get(ObjectKey(last.metadata.get("job-namespace", ""), last.metadata["job-name"]))
            if job is not None and has_ended(job) and live.told.get(result.name) != job.metadata.resource_version:
                ended[result.name] = job.metadata.resource_version
        return ended

    # --- decide and act ----------------------------------------------------------------------------------------------

    def _decide(self, run: AnalysisRun, live: _Live, now: datetime) -> RunDecision:
        """Decide and take the new status over at once, so that no answer is taken in twice or lost."""
        ended = self._ended_jobs(live)
        seen = Observation(
            outcomes=self._measuring.outcomes(live.uid),
            in_flight=self._measuring.in_flight(live.uid),
            news=frozenset(ended),
            arguments_error=self._measuring.arguments_error(live.uid),
        )
        decision = decide(live.run, live.status, seen, now)
        for action in decision.actions:
            if isinstance(action, Resume) and action.metric in ended:
                live.told[action.metric] = ended[action.metric]
        was_completed = live.status.is_completed
        live.status = decision.status
        self._measuring.taken(live.uid, seen.outcomes)
        if decision.status.is_completed and not was_completed:
            log.info("analysis_run_completed", object=str(run.metadata.key), phase=str(decision.status.phase))
        for event in decision.events:
            self._recorder.record(ANALYSIS_RUNS, run.metadata, event)
        return decision

    def _act(self, key: ObjectKey, live: _Live, actions: tuple[Action, ...]) -> None:
        """Begin what takes time; nothing here waits."""
        subject = Subject(key=key, uid=live.uid, run=live.run, status=live.status)
        for action in actions:
            match action:
                case Measure() | Resume() | Terminate():
                    self._measuring.start(subject, action)
                case Cancel(metric=metric):
                    self._measuring.cancel(live.uid, metric)
                case GarbageCollect():
                    self._measuring.clean(subject, action)
                case DeleteRun():
                    raise AssertionError("deleting a run is its last action")

    async def _delete(self, key: ObjectKey, run: AnalysisRun) -> None:
        log.info("analysis_run_expired", object=str(key))
        with suppress(NotFound):
            await self._cluster.delete(ANALYSIS_RUNS, key, preconditions=Preconditions(uid=run.metadata.uid))
        self._drop(key)

    # --- store -------------------------------------------------------------------------------------------------------

    async def _store(self, key: ObjectKey, run: AnalysisRun, live: _Live) -> None:
        status = live.status
        wished = status_to_json(status)
        patch = diff(status_to_json(live.stored), wished)
        if not patch:
            live.stored = status
            return
        body = {"metadata": {"uid": live.uid, "resourceVersion": live.version}, "status": patch}
        # A bad verdict must not wait for its write. A good one must: nothing goes forward on what may yet be lost.
        if status.is_completed and status.phase is not Phase.SUCCESSFUL and self._announcer is not None:
            shown = msgspec.structs.replace(run, status=msgspec.Raw(msgspec.json.encode(wished)))
            self._announcer.anticipate(shown)
        if status not in live.attempts:
            live.attempts = [*live.attempts[-ATTEMPTS_REMEMBERED_MAX:], status]
        try:
            reply = await self._cluster.patch(ANALYSIS_RUNS, key, MergePatch(body))
        except ClusterError:
            if self._announcer is not None:
                self._announcer.forget(key)
            raise
        live.stored = status
        live.attempts.clear()
        live.version = reply.metadata.resource_version

    def _is_settled(self, key: ObjectKey, live: _Live) -> bool:
        """Whether nothing of a completed run is left to do, and the cache shows it as we stored it."""
        run = self._runs.get(key)
        return (
            live.stored == live.status
            and not self._measuring.in_flight(live.uid)
            and not self._measuring.outcomes(live.uid)
            and run is not None
            and decode_status(run.status) == live.stored
        )

    def _drop(self, key: ObjectKey) -> None:
        live = self._live.pop(key, None)
        if live is not None:
            self._measuring.drop(live.uid)


def _prepared(spec: msgspec.Raw) -> PreparedRun:
    try:
        return prepare(decode_run_spec(spec))
    except SpecError as error:
        return unreadable(error)


def _is_newer(metadata: ObjectMeta, version: str) -> bool:
    known = int(version) if version.isdecimal() else 0
    if metadata.version and known:
        return metadata.version > known
    return metadata.resource_version != version  # versions that are no numbers cannot be compared

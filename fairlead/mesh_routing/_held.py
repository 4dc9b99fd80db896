"""How far stored weights have come: a small machine per route.

    generation or UID new ──▶ STORED ──accepted──▶ ACCEPTED ──evidence──▶ APPLIED
                                 │                    └──settle delay, without evidence──▶ SETTLED
                                 ├──not accepted within the confirm time-out──▶ REFUSED (RouteNotAccepted)
                                 └──a reference is not resolved──▶ REFUSED (RefsNotResolved)
                              ACCEPTED ──the proxy refuses──▶ REFUSED (ProxyRefused)

Every refusal can heal: acceptance or evidence of the same generation leads on. Acceptance that is lost starts anew.
Instants count from when this process saw something, so after a restart everything errs on the late side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fairlead.core.decision import earliest
from fairlead.core.traffic import Applied, Evidence, Held
from fairlead.mesh_routing._acceptance import Acceptance, Verdict

_PENDING_LOOK = timedelta(seconds=15)  # while evidence is polled in the background: it wakes us, this is the safety net

# From worst to best: of several routes the one that has come least far speaks.
PROGRESS: Mapping[Held, int] = {
    held: rank
    for rank, held in enumerate(
        (Held.CONFLICT, Held.REFUSED, Held.NOT_STORED, Held.STORED, Held.ACCEPTED, Held.SETTLED, Held.APPLIED)
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What is remembered of one generation of one route.

    Attributes:
        stored_at: when this process first saw the generation.
        accepted_at: when it first saw it accepted; None: it is not.
        evidence: the data plane's last answer about it.
        evident_at: since when that answer is what it is.
    """

    uid: str
    generation: int
    stored_at: datetime
    accepted_at: datetime | None = None
    evidence: Evidence | None = None
    evident_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """How far the stored weights of one route have come, and when that may change by time alone."""

    held: Held
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    settled_at: datetime | None = None
    wake_at: datetime | None = None


def follow(progress: Progress | None, *, uid: str, generation: int, acceptance: Acceptance, now: datetime) -> Progress:
    """Return what is to be remembered after seeing a route with this generation and acceptance."""
    if progress is None or progress.uid != uid or progress.generation != generation:
        progress = Progress(uid=uid, generation=generation, stored_at=now)
    if acceptance.verdict is not Verdict.CONFIRMED:
        return replace(progress, accepted_at=None)
    return progress if progress.accepted_at is not None else replace(progress, accepted_at=now)


def learn(progress: Progress, evidence: Evidence, now: datetime) -> Progress:
    """Return the progress with the data plane's answer; what was applied stays applied, unless it is refused now.

    An answer that could not be had teaches nothing about what was shown before.
    """
    before = progress.evidence.applied if progress.evidence else None
    if before is Applied.APPLIED and evidence.applied is not Applied.REFUSED:
        return progress
    if before is Applied.REFUSED and evidence.applied is Applied.UNKNOWN:
        return progress
    if progress.evidence == evidence:
        return progress
    evident_at = progress.evident_at if before is evidence.applied else now
    return replace(progress, evidence=evidence, evident_at=evident_at)


def hold(
    progress: Progress,
    acceptance: Acceptance,
    *,
    route: str,
    has_evidence: bool,
    settle: timedelta,
    confirm: timedelta,
    now: datetime,
) -> Holding:
    """Return how far the weights have come.

    Args:
        progress: what is remembered, after `follow`.
        acceptance: what the controllers say now.
        route: how to call the route in messages.
        has_evidence: whether the data plane is asked; then time alone never settles anything.
        settle: from acceptance to SETTLED.
        confirm: how long acceptance may take.
        now: this instant.
    """
    accepted_at = progress.accepted_at
    if accepted_at is None:
        return _unaccepted(progress, acceptance, route, confirm, now)
    if has_evidence:
        return _evident(progress, route, accepted_at, now)
    settled_at = accepted_at + settle
    if now >= settled_at:
        return Holding(held=Held.SETTLED, reason="Settled", message="settled, not verified", since=settled_at)
    message = f"{route} is accepted at generation {progress.generation}; waiting for the data plane to settle"
    return Holding(
        held=Held.ACCEPTED,
        reason="RouteSettling",
        message=message,
        since=accepted_at,
        settled_at=settled_at,
        wake_at=settled_at,
    )


def _unaccepted(progress: Progress, acceptance: Acceptance, route: str, confirm: timedelta, now: datetime) -> Holding:
    why = acceptance.message
    if acceptance.verdict is Verdict.UNRESOLVED:
        return Holding(held=Held.REFUSED, reason="RefsNotResolved", message=f"{route}: {why}", since=progress.stored_at)
    overdue_at = progress.stored_at + confirm
    if now >= overdue_at:
        message = f"{route} generation {progress.generation} is not accepted after {confirm.total_seconds():g} s: {why}"
        return Holding(held=Held.REFUSED, reason="RouteNotAccepted", message=message, since=overdue_at)
    message = f"{route} generation {progress.generation} is not accepted yet: {why}"
    return Holding(
        held=Held.STORED, reason="RoutePending", message=message, since=progress.stored_at, wake_at=overdue_at
    )


def _evident(progress: Progress, route: str, accepted_at: datetime, now: datetime) -> Holding:
    evidence = progress.evidence
    # Applied means: acceptance and evidence, whichever came later. Pods are kept from this instant on.
    shown_at = max(accepted_at, progress.evident_at) if progress.evident_at is not None else accepted_at
    match evidence.applied if evidence else None:
        case Applied.APPLIED:
            return Holding(held=Held.APPLIED, reason="Applied", message="applied by the data plane", since=shown_at)
        case Applied.REFUSED:
            why = evidence.why if evidence else ""
            return Holding(
                held=Held.REFUSED,
                reason="ProxyRefused",
                message=f"{route}: the proxy refuses its configuration: {why}",
                since=shown_at,
                wake_at=now + _PENDING_LOOK,
            )
        case _:
            why = evidence.why if evidence and evidence.why else "it has not answered yet"
            return Holding(
                held=Held.ACCEPTED,
                reason="DataPlanePending",
                message=f"{route} is accepted; the data plane has not shown the weights: {why}",
                since=accepted_at,
                wake_at=now + _PENDING_LOOK,
            )


def worst(holdings: tuple[Holding, ...]) -> Holding:
    """Return the one that has come least far, with the latest settling and the earliest wake-up of all."""
    chosen = min(holdings, key=lambda holding: PROGRESS[holding.held])
    settling = [holding.settled_at for holding in holdings if holding.settled_at is not None]
    waking = earliest(*(holding.wake_at for holding in holdings))
    return replace(chosen, settled_at=max(settling, default=None), wake_at=waking)

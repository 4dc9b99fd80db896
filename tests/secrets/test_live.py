"""What one process knows of an ExternalSecret between two decisions."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from fairlead.core.conditions import Condition
from fairlead.core.objects import ObjectMeta
from fairlead.secrets._live import Live
from fairlead.secrets.machine import SecretDecision, prepare
from fairlead.secrets.observation import Failed, Fetched
from fairlead.secrets.status import ExternalSecretStatus
from fairlead.testing.clock import EPOCH

SPEC = {"secretStoreRef": {"name": "store"}, "data": [{"secretKey": "a", "remoteRef": {"key": "b"}}]}
HOUR = timedelta(hours=1)
SYNCED = ExternalSecretStatus(
    refresh_time=EPOCH, binding="db", conditions=(Condition(type="Ready", status="True", reason="SecretSynced"),)
)


def meta(version: str = "5", **fields: Any) -> ObjectMeta:
    return ObjectMeta(name="db", namespace="shop", uid="u", resource_version=version, **fields)


def subject(version: str = "5", **fields: Any) -> Any:
    return prepare(meta(version, **fields), msgspec.json.encode(SPEC))


def live(status: ExternalSecretStatus = SYNCED) -> Live:
    return Live.of(subject(), status)


def at(refresh_time: datetime | None, **fields: Any) -> ExternalSecretStatus:
    return msgspec.structs.replace(SYNCED, refresh_time=refresh_time, **fields)


@pytest.mark.parametrize(
    ("known", "shown", "is_older"),
    [("5", "6", True), ("5", "5", False), ("5", "4", False), ("5", "10", True), ("x", "y", True), ("x", "x", False)],
)
def test_only_what_is_newer_is_taken_in(known: str, shown: str, is_older: bool) -> None:
    assert Live.of(subject(known), SYNCED).is_older_than(meta(shown)) is is_older


def test_a_status_that_somebody_else_wrote_is_the_truth() -> None:
    found = live()
    found.status = at(EPOCH + HOUR)
    foreign = at(EPOCH, binding="other")
    assert found.renew(subject("6"), foreign)
    assert (found.status, found.stored, found.version) == (foreign, foreign, "6")


def test_an_own_status_whose_answer_was_lost_is_recognised() -> None:
    found = live()
    found.status = at(EPOCH + HOUR)
    written = found.attempt()
    found.status = at(EPOCH + 2 * HOUR)
    assert not found.renew(subject("6"), written)
    assert found.status == at(EPOCH + 2 * HOUR), "what was decided since then is kept"
    assert found.stored == written


def test_of_many_attempts_the_last_few_are_remembered() -> None:
    found = live()
    tried = [at(EPOCH + number * HOUR) for number in range(1, 12)]
    for found.status in tried:
        found.attempt()
        found.attempt()
    assert found.written == tuple(tried[-8:])
    found.has_stored(tried[-1], "9")
    assert (found.written, found.stored, found.version) == ((), tried[-1], "9")


@pytest.mark.parametrize(
    ("status", "is_worth_it"),
    [
        pytest.param(SYNCED, False, id="unchanged"),
        pytest.param(at(EPOCH + HOUR - timedelta(seconds=1)), False, id="only-a-time-and-not-yet"),
        pytest.param(at(EPOCH + HOUR), True, id="only-a-time-after-an-hour"),
        pytest.param(at(EPOCH, binding="other"), True, id="something-else"),
        pytest.param(at(None), True, id="no-time-any-more"),
    ],
)
def test_a_time_alone_is_no_change_for_a_while(status: ExternalSecretStatus, is_worth_it: bool) -> None:
    found = live()
    found.status = status
    assert found.is_worth_writing(refresh_time_every=HOUR) is is_worth_it


def test_an_outcome_is_seen_once_and_only_of_the_object_that_it_is_about() -> None:
    found = live()
    outcome = Fetched(values={}, started_at=EPOCH)
    found.put(outcome, found.subject.version)
    assert found.take_outcome() is outcome
    assert found.take_outcome() is None
    found.put(outcome, found.subject.version)
    found.renew(subject("6", generation=2), SYNCED)
    assert found.take_outcome() is None


def test_failures_add_up_until_a_success() -> None:
    found = live()
    mark, stores = ("mark",), (("store", "uid", 1),)
    for number in (1, 2):
        failed = SecretDecision(
            status=SYNCED, failure=Failed(message="m", detail="d"), wake_at=EPOCH + timedelta(seconds=number)
        )
        found.take_over(failed, mark=mark, stores=stores)
        assert (found.attempts, found.retry_at) == (number, failed.wake_at)
    assert (found.mark, found.stores, found.told.error) == (mark, None, "d")
    synced = SecretDecision(status=SYNCED, synced=Fetched(values={}, missing=("x",), started_at=EPOCH))
    found.take_over(synced, mark=None, stores=stores)
    assert (found.attempts, found.retry_at, found.mark, found.stores) == (0, None, None, stores)
    assert (found.refreshed_at, found.told.missing, found.told.error) == (EPOCH, ("x",), "")

"""What happens next to an ExternalSecret: the rules of `decide`, one by one and together."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fairlead.core.decision import Event, EventType
from fairlead.core.objects import ObjectKey
from fairlead.secrets.actions import (
    AddFinalizer,
    DeleteOrphans,
    DeleteTarget,
    Fetch,
    RemoveFinalizer,
    Urgency,
    WriteTarget,
)
from fairlead.secrets.kinds import DATA_HASH_ANNOTATION, MANAGED_LABEL
from fairlead.secrets.machine import (
    FRESH,
    GET_FAILED,
    ORPHANS_FAILED,
    RETAINED,
    UPDATE_FAILED,
    Limits,
    SecretDecision,
    Subject,
    decide,
    prepare,
)
from fairlead.secrets.observation import (
    Change,
    Deleted,
    Failed,
    Fetched,
    Observation,
    Readiness,
    StoreSeen,
    Told,
    Written,
)
from fairlead.secrets.spec import StoreKind
from fairlead.secrets.status import ExternalSecretStatus, with_ready
from tests.secrets.builders import NOW, VALUE, hidden, meta, owner, secret, subject, target_spec

HOUR = timedelta(hours=1)
EVERYTHING = Limits()
READY_STORE = StoreSeen(kind=StoreKind.NAMESPACED, name="store")
FETCHED = Fetched(values=hidden({"password": b"s3cr3t"}), started_at=NOW)
NOTHING = Fetched(values={}, started_at=NOW)
CHANGED: dict[str, Any] = {"generation": 2}


def synced(
    minutes_ago: float = 0, *, of: Subject | None = None, reason: str = "SecretSynced", message: str = "secret synced"
) -> ExternalSecretStatus:
    """The status after a sync of that object."""
    at = NOW - timedelta(minutes=minutes_ago)
    return ExternalSecretStatus(
        refresh_time=at,
        synced_resource_version=(of or subject()).version,
        conditions=with_ready((), is_ready=True, reason=reason, message=message, now=at),
        binding="db",
    )


def seen(**fields: Any) -> Observation:
    return Observation(**{"target": secret().target, "stores": (READY_STORE,), **fields})


def decided(
    spec: dict[str, Any] | None = None,
    status: ExternalSecretStatus | None = None,
    observation: Observation | None = None,
    *,
    at: datetime = NOW,
    limits: Limits = EVERYTHING,
    **metadata: Any,
) -> SecretDecision:
    found = subject(spec, metadata=meta(**metadata))
    if status is None:
        status = synced(of=found)
    return decide(found, status, observation or seen(), at, limits=limits)


def ready(decision: SecretDecision) -> tuple[str, str, str]:
    condition = decision.status.ready
    assert condition is not None
    return condition.status, condition.reason, condition.message


# -- when to read ----------------------------------------------------------------------------------------------------


def test_a_new_object_is_read_at_once_and_ahead_of_refreshes() -> None:
    decision = decided(status=ExternalSecretStatus(), observation=seen(target=None))
    assert decision.actions == (Fetch(urgency=Urgency.FIRST, not_before=NOW - FRESH),)


def test_a_periodic_refresh_takes_any_value_read_since_it_was_due() -> None:
    found = subject()
    decision = decided(status=synced(70, of=found))
    assert decision.actions == (Fetch(urgency=Urgency.REFRESH, not_before=NOW - timedelta(minutes=10)),)


def test_a_change_asks_for_the_value_of_this_moment() -> None:
    """The annotation `force-sync`, with whatever value, is such a change."""
    decision = decided(status=synced(5), annotations={"force-sync": "now"})
    assert decision.actions == (Fetch(urgency=Urgency.FIRST, not_before=NOW),)


def test_nothing_is_done_before_it_is_time() -> None:
    decision = decided(status=synced(5))
    assert (decision.actions, decision.wake_at) == ((), NOW + timedelta(minutes=55))
    assert decision.status == synced(5)
    assert decision.blocked_on is not None
    assert decision.blocked_on.at == decision.wake_at


def test_the_time_of_this_process_counts_where_the_status_lags_behind() -> None:
    decision = decided(status=synced(600), observation=seen(refreshed_at=NOW - timedelta(minutes=10)))
    assert (decision.actions, decision.wake_at) == ((), NOW + timedelta(minutes=50))


def test_while_values_are_being_read_nothing_else_is_asked() -> None:
    decision = decided(status=ExternalSecretStatus(), observation=seen(in_flight=True))
    assert (decision.actions, decision.wake_at) == ((), None)


def stripped(**changes: Any) -> Any:
    target = secret().target
    return dataclasses.replace(target, metadata=replace(target.metadata, **changes))


@pytest.mark.parametrize(
    "target",
    [
        pytest.param(None, id="deleted"),
        pytest.param(stripped(annotations={}), id="hash-removed"),
        pytest.param(stripped(annotations={DATA_HASH_ANNOTATION: "other"}), id="data-edited"),
        pytest.param(stripped(labels={MANAGED_LABEL: "false"}), id="label-edited"),
    ],
)
@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="periodic"),
        pytest.param({"refreshInterval": "0"}, id="trap-1-interval-0-still-repairs"),
        pytest.param({"refreshPolicy": "CreatedOnce"}, id="created-once"),
        pytest.param({"refreshPolicy": "OnChange"}, id="on-change"),
    ],
)
def test_drift_is_corrected_whatever_the_refresh_policy(target: Any, spec: dict[str, Any]) -> None:
    decision = decided(spec, observation=seen(target=target))
    assert decision.actions == (Fetch(urgency=Urgency.FIRST, not_before=NOW - FRESH),)


@pytest.mark.parametrize("policy", ["Orphan", "None"])
def test_drift_is_nothing_to_those_who_do_not_own(policy: str) -> None:
    assert decided(target_spec(creationPolicy=policy), observation=seen(target=None)).actions == ()


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        pytest.param("SecretDeleted", "secret deleted due to DeletionPolicy=Delete", id="deleted-with-the-remote"),
        pytest.param("SecretMissing", "secret will not be created due to CreationPolicy=Merge", id="merge-waits"),
        pytest.param("SecretSynced", RETAINED, id="nothing-at-the-provider"),
    ],
)
def test_a_secret_that_is_rightly_absent_is_no_drift(reason: str, message: str) -> None:
    status = synced(5, reason=reason, message=message)
    assert decided(status=status, observation=seen(target=None)).actions == ()


@pytest.mark.parametrize(
    ("spec", "is_read"),
    [
        pytest.param({}, True, id="periodic"),
        pytest.param({"refreshInterval": "0s"}, False, id="once"),
        pytest.param({"refreshPolicy": "CreatedOnce"}, False, id="created-once"),
        pytest.param({"refreshPolicy": "OnChange"}, False, id="on-change"),
    ],
)
def test_another_store_is_another_source(spec: dict[str, Any], is_read: bool) -> None:
    assert bool(decided(spec, observation=seen(stores_changed=True)).actions) is is_read


# -- who is served ---------------------------------------------------------------------------------------------------


def test_stores_of_another_class_are_somebody_elses() -> None:
    foreign = replace(READY_STORE, is_ours=False)
    decision = decided(status=ExternalSecretStatus(), observation=seen(stores=(READY_STORE, foreign)), finalizers=())
    assert decision == SecretDecision(status=ExternalSecretStatus())


def test_cluster_stores_may_be_switched_off() -> None:
    spec = {"secretStoreRef": {"name": "store", "kind": "ClusterSecretStore"}}
    off = Limits(cluster_stores=False)
    assert decided(spec, ExternalSecretStatus(), limits=off) == SecretDecision(status=ExternalSecretStatus())
    assert decided(spec, ExternalSecretStatus()).actions


def test_nothing_is_written_before_the_finalizer_and_reading_does_not_wait_for_it() -> None:
    decision = decided(status=ExternalSecretStatus(), finalizers=("other",))
    assert decision.actions == (Fetch(urgency=Urgency.FIRST, not_before=NOW - FRESH), AddFinalizer())
    assert decided(status=synced(5), finalizers=()).actions == (AddFinalizer(),), "nothing to read"
    assert decided({"data": []}, ExternalSecretStatus(), finalizers=()).actions == (AddFinalizer(),)
    written = seen(outcome=FETCHED)
    assert decided(status=ExternalSecretStatus(), observation=written, finalizers=()).actions == (AddFinalizer(),)


def test_a_new_object_takes_any_value_read_since_it_was_created() -> None:
    created = NOW - timedelta(seconds=9)
    decision = decided(status=ExternalSecretStatus(), creation_timestamp=created)
    assert decision.actions == (Fetch(urgency=Urgency.FIRST, not_before=created),)
    ahead = NOW + timedelta(seconds=9)
    decision = decided(status=ExternalSecretStatus(), creation_timestamp=ahead)
    assert decision.actions == (Fetch(urgency=Urgency.FIRST, not_before=NOW),), "the server's clock is ahead of ours"


@pytest.mark.parametrize(
    ("store", "detail"),
    [
        pytest.param(
            replace(READY_STORE, readiness=Readiness.NOT_READY), 'SecretStore "store" is not ready', id="flood-gate"
        ),
        pytest.param(replace(READY_STORE, readiness=Readiness.MISSING), 'SecretStore "store" not found', id="missing"),
        pytest.param(replace(READY_STORE, denial="denied by spec.condition"), "denied by spec.condition", id="denied"),
    ],
)
def test_invariant_39_stores_that_must_not_be_asked_are_not(store: StoreSeen, detail: str) -> None:
    decision = decided(status=ExternalSecretStatus(), observation=seen(stores=(READY_STORE, store)))
    assert decision.actions == ()
    assert ready(decision) == ("False", "SecretSyncedError", GET_FAILED)
    assert decision.events == (Event("UpdateFailed", detail, EventType.WARNING),)


def test_a_store_that_is_being_validated_for_the_first_time_is_waited_for() -> None:
    new = replace(READY_STORE, readiness=Readiness.UNKNOWN)
    decision = decided(status=ExternalSecretStatus(), observation=seen(stores=(new,)))
    assert (decision.actions, decision.events, decision.status) == ((), (), ExternalSecretStatus())
    assert decision.blocked_on is not None
    assert "validated" in decision.blocked_on.what


# -- what the values mean --------------------------------------------------------------------------------------------

CREATION = ("Owner", "Orphan", "Merge", "None", "CreateOrMerge")
DELETION = ("Retain", "Delete", "Merge")
REJECTED = {("Merge", "Delete"), ("None", "Delete"), ("CreateOrMerge", "Delete"), ("None", "Merge")}


@pytest.mark.parametrize("deletion", DELETION)
@pytest.mark.parametrize("creation", CREATION)
def test_the_matrix_of_policies_when_the_provider_has_nothing(creation: str, deletion: str) -> None:
    spec = target_spec(creationPolicy=creation, deletionPolicy=deletion)
    before = synced(70, of=subject(spec))
    decision = decided(spec, before, seen(outcome=NOTHING))
    if (creation, deletion) in REJECTED:
        assert ready(decision)[2] == "invalid ExternalSecret"
        assert (decision.actions, decision.wake_at) == ((), None)
    elif deletion == "Delete" and creation == "Owner":
        assert decision.actions == (DeleteTarget(fetched=NOTHING),)
    elif deletion == "Delete":
        # Trap 6: Orphan with Delete is admitted, and fails for ever once there is nothing.
        assert ready(decision) == ("False", "SecretSyncedError", "could not delete secret")
        assert (decision.actions, decision.wake_at) == ((), None)
    elif deletion == "Retain":
        assert decision.actions == ()
        assert ready(decision) == ("True", "SecretSynced", RETAINED)
        assert decision.status.refresh_time == NOW
    else:
        assert decision.actions == (WriteTarget(fetched=NOTHING),), "which removes our keys"


@pytest.mark.parametrize("deletion", DELETION)
@pytest.mark.parametrize("creation", CREATION)
def test_the_matrix_of_policies_when_the_provider_has_values(creation: str, deletion: str) -> None:
    if (creation, deletion) in REJECTED:
        return
    spec = target_spec(creationPolicy=creation, deletionPolicy=deletion)
    decision = decided(spec, ExternalSecretStatus(), seen(outcome=FETCHED))
    if creation == "None":
        assert decision.actions == ()
        assert ready(decision) == ("True", "SecretSynced", "secret synced"), "trap 5: read, and said to be synced"
    else:
        assert decision.actions == (WriteTarget(fetched=FETCHED),)


@pytest.mark.parametrize(
    ("change", "events"),
    [
        pytest.param(Change.CREATED, (Event("Created", "secret created"),), id="created"),
        pytest.param(Change.UPDATED, (Event("Updated", "secret updated"),), id="updated"),
        pytest.param(Change.NONE, (), id="invariant-41-unchanged-says-nothing"),
    ],
)
def test_a_sync_is_recorded(change: Change, events: tuple[Event, ...]) -> None:
    found = subject()
    decision = decided(status=ExternalSecretStatus(), observation=seen(outcome=Written(change=change, fetched=FETCHED)))
    assert decision.status == synced(of=found)
    assert decision.events == events
    assert decision.synced is FETCHED


def test_a_target_that_merge_may_not_create_is_waited_for() -> None:
    spec = target_spec(creationPolicy="Merge")
    outcome = Written(change=Change.ABSENT, fetched=FETCHED)
    decision = decided(spec, ExternalSecretStatus(), seen(target=None, outcome=outcome))
    assert ready(decision) == ("True", "SecretMissing", "secret will not be created due to CreationPolicy=Merge")
    after = decide(subject(spec), decision.status, seen(target=None), NOW)
    assert (after.actions, after.wake_at) == ((), NOW + HOUR), "trap 4: the next refresh looks again"


@pytest.mark.parametrize("was_there", [True, False])
def test_a_deleted_target_is_recorded(was_there: bool) -> None:
    spec = target_spec(deletionPolicy="Delete")
    decision = decided(spec, observation=seen(target=None, outcome=Deleted(was_there=was_there, fetched=NOTHING)))
    assert ready(decision) == ("True", "SecretDeleted", "secret deleted due to DeletionPolicy=Delete")
    assert [event.reason for event in decision.events] == (["Deleted"] if was_there else [])


def test_what_is_missing_at_the_provider_is_told_once() -> None:
    text = "secret does not exist at provider using spec.dataFrom[0] (key=db)"
    partly = replace(FETCHED, missing=(text,))
    outcome = Written(change=Change.NONE, fetched=partly)
    assert decided(observation=seen(outcome=outcome)).events == (Event("MissingProviderSecret", text),)
    assert decided(observation=seen(outcome=outcome, told=Told(missing=(text,)))).events == ()


def test_invariant_40_the_stored_time_never_moves_backwards() -> None:
    ahead = synced(-60)
    outcome = Written(change=Change.NONE, fetched=FETCHED)
    decision = decided(status=ahead, observation=seen(outcome=outcome))
    assert decision.status.refresh_time == ahead.refresh_time


def test_invariant_40_a_time_in_the_future_costs_one_reading_and_no_storm() -> None:
    ahead = synced(-60)
    assert decided(status=ahead).actions != ()
    after = decided(status=ahead, observation=seen(refreshed_at=NOW))
    assert (after.actions, after.wake_at) == ((), NOW + HOUR)


# -- failures --------------------------------------------------------------------------------------------------------


def failed(**fields: Any) -> Failed:
    return Failed(**{"message": GET_FAILED, "detail": "why", **fields})


@pytest.mark.parametrize(("attempts", "seconds"), [(0, 1), (1, 2), (2, 4), (8, 256), (9, 420), (1000, 420)], ids=str)
def test_invariant_37_a_failure_changes_the_condition_only_and_is_tried_again(attempts: int, seconds: int) -> None:
    before = synced(70)
    decision = decided(status=before, observation=seen(outcome=failed(), attempts=attempts))
    assert decision.actions == ()
    assert replace(decision.status, conditions=()) == replace(before, conditions=())
    assert ready(decision) == ("False", "SecretSyncedError", GET_FAILED)
    assert decision.wake_at == NOW + timedelta(seconds=seconds)
    assert decision.events == (Event("UpdateFailed", "why", EventType.WARNING),)


def test_jitter_takes_away_up_to_half() -> None:
    decision = decided(observation=seen(outcome=failed(), attempts=3, jitter=1.0))
    assert decision.wake_at == NOW + timedelta(seconds=4)


def test_a_provider_that_asks_for_patience_gets_it() -> None:
    decision = decided(observation=seen(outcome=failed(retry_after=90.0)))
    assert decision.wake_at == NOW + timedelta(seconds=90)


def test_the_same_failure_is_told_once() -> None:
    assert decided(observation=seen(outcome=failed(), told=Told(error="why"))).events == ()


def test_a_failure_waits_for_its_time() -> None:
    later = NOW + timedelta(seconds=8)
    waiting = seen(attempts=3, retry_at=later, has_changed=False)
    decision = decided(status=synced(70), observation=waiting)
    assert (decision.actions, decision.wake_at) == ((), later)
    assert decided(status=synced(70), observation=waiting, at=later).actions


def test_a_failure_is_tried_again_at_once_when_something_changes() -> None:
    waiting = seen(attempts=3, retry_at=NOW + timedelta(seconds=8), has_changed=True)
    assert decided(status=synced(70), observation=waiting).actions


def test_a_failure_that_no_retry_mends_waits_for_a_change() -> None:
    decision = decided(observation=seen(outcome=failed(is_final=True)))
    assert decision.wake_at is None
    given_up = seen(attempts=1, retry_at=None, has_changed=False)
    assert decided(status=synced(700), observation=given_up).actions == ()
    assert decided(status=synced(700), observation=replace(given_up, has_changed=True)).actions


@pytest.mark.parametrize(
    ("spec", "detail"),
    [
        pytest.param({"data": []}, "either data or dataFrom", id="rule-of-admission"),
        pytest.param({"refreshInterval": "1d"}, "unknown unit", id="interval"),
        pytest.param({"target": {"creationPolicy": "Mine"}}, "spec.target.creationPolicy", id="unknown-word"),
        pytest.param({"data": 7}, "expected array", id="wrong-type"),
        pytest.param(
            target_spec(template={"type": "bootstrap.kubernetes.io/token"}), "is not allowed", id="token-template"
        ),
    ],
)
def test_what_cannot_work_says_why_and_reads_nothing(spec: dict[str, Any], detail: str) -> None:
    decision = decided(spec, ExternalSecretStatus())
    assert ready(decision) == ("False", "SecretSyncedError", "invalid ExternalSecret")
    assert detail in decision.events[0].message
    assert (decision.actions, decision.wake_at) == ((), None)


def test_generic_targets_are_refused() -> None:
    decision = decided(target_spec(manifest={"apiVersion": "v1", "kind": "ConfigMap"}), ExternalSecretStatus())
    assert ready(decision) == ("False", "SecretSyncedError", "invalid generic target")
    assert decision.wake_at is None
    assert decided(target_spec(manifest={"apiVersion": "v1", "kind": "Secret"}), ExternalSecretStatus()).actions


# -- orphans and the end ---------------------------------------------------------------------------------------------

LEFT = (ObjectKey("shop", "earlier-name"),)


def test_what_an_earlier_name_left_behind_goes_once_the_new_one_is_there() -> None:
    assert decided(status=synced(5), observation=seen(orphans=LEFT)).actions == (DeleteOrphans(keys=LEFT),)
    renamed = decided(status=ExternalSecretStatus(), observation=seen(target=None, orphans=LEFT))
    assert not any(isinstance(action, DeleteOrphans) for action in renamed.actions)


def test_orphans_that_cannot_be_deleted_are_reported_and_mended() -> None:
    failure = failed(message=ORPHANS_FAILED)
    decision = decided(status=synced(5), observation=seen(orphans=LEFT, outcome=failure))
    assert ready(decision) == ("False", "SecretSyncedError", ORPHANS_FAILED)
    mended = decided(status=decision.status, observation=seen(attempts=1, retry_at=NOW))
    assert ready(mended) == ("True", "SecretSynced", "secret synced")


GOING: dict[str, Any] = {"deletion_timestamp": NOW}


@pytest.mark.parametrize(
    ("spec", "target", "actions"),
    [
        pytest.param({}, secret().target, (RemoveFinalizer(),), id="retain-leaves-it-to-garbage-collection"),
        pytest.param(
            target_spec(deletionPolicy="Delete"), secret().target, (DeleteTarget(), RemoveFinalizer()), id="delete"
        ),
        pytest.param(target_spec(deletionPolicy="Delete"), None, (RemoveFinalizer(),), id="nothing-to-delete"),
        pytest.param(
            target_spec(deletionPolicy="Delete"),
            secret(owners=(owner(uid="uid-of-another"),)).target,
            (RemoveFinalizer(),),
            id="invariant-38-not-ours-by-uid",
        ),
        pytest.param(
            {"data": 7}, secret().target, (RemoveFinalizer(),), id="what-cannot-be-understood-deletes-nothing"
        ),
    ],
)
def test_the_end(spec: dict[str, Any], target: Any, actions: tuple[Any, ...]) -> None:
    assert decided(spec, observation=seen(target=target, outcome=FETCHED), **GOING).actions == actions


def test_after_the_end_there_is_nothing_to_do() -> None:
    assert decided(finalizers=("other",), **GOING) == SecretDecision(status=synced())


def test_stores_of_another_class_do_not_keep_an_object_from_going() -> None:
    foreign = seen(stores=(replace(READY_STORE, is_ours=False),))
    assert decided(observation=foreign, **GOING).actions == (RemoveFinalizer(),)


# -- alignment -------------------------------------------------------------------------------------------------------


def test_those_who_share_store_and_interval_share_a_phase() -> None:
    def phase(**spec: Any) -> timedelta | None:
        whole = {"secretStoreRef": {"name": "store"}, "data": [VALUE], **spec}
        timing = prepare(meta(), msgspec.json.encode(whole), aligned=True).timing
        assert timing is not None
        return timing.align

    first = phase()
    assert first is not None
    assert timedelta(0) <= first < HOUR
    assert phase(data=[{**VALUE, "secretKey": "other"}]) == first
    assert phase(secretStoreRef={"name": "other"}) != first
    assert phase(refreshInterval="0") is None
    plain = subject().timing
    assert plain is not None
    assert plain.align is None


# -- properties ------------------------------------------------------------------------------------------------------

_outcomes = st.sampled_from(
    [
        None,
        FETCHED,
        NOTHING,
        Written(change=Change.UPDATED, fetched=FETCHED),
        Written(change=Change.ABSENT, fetched=FETCHED),
        Deleted(was_there=True, fetched=NOTHING),
        failed(),
        failed(is_final=True, message=UPDATE_FAILED),
    ]
)
_specs = st.fixed_dictionaries(
    {
        "target": st.fixed_dictionaries(
            {"creationPolicy": st.sampled_from(CREATION), "deletionPolicy": st.sampled_from(DELETION)}
        ),
        "refreshPolicy": st.sampled_from(["Periodic", "CreatedOnce", "OnChange"]),
        "refreshInterval": st.sampled_from(["0", "1ns", "1m", "1h", "-5s", "soon"]),
    }
)
_observations = st.builds(
    Observation,
    target=st.sampled_from([None, secret().target, stripped(annotations={})]),
    orphans=st.sampled_from([(), LEFT]),
    stores=st.builds(
        StoreSeen,
        kind=st.just(StoreKind.NAMESPACED),
        name=st.just("store"),
        readiness=st.sampled_from(Readiness),
        is_ours=st.booleans(),
        denial=st.sampled_from(["", "denied"]),
    ).map(lambda store: (store,)),
    outcome=_outcomes,
    in_flight=st.booleans(),
    refreshed_at=st.sampled_from([None, NOW - HOUR, NOW, NOW + HOUR]),
    attempts=st.integers(min_value=0, max_value=3),
    retry_at=st.sampled_from([None, NOW, NOW + HOUR]),
    has_changed=st.booleans(),
    stores_changed=st.booleans(),
)
_statuses = st.sampled_from([ExternalSecretStatus(), synced(), synced(70), synced(-70)])
_metas = st.sampled_from([meta(), meta(finalizers=()), meta(**GOING), meta(finalizers=(), **GOING), meta(**CHANGED)])


@given(_specs, _observations, _statuses, _metas)
def test_every_situation_has_an_answer_that_keeps_the_promises(
    spec: dict[str, Any], observation: Observation, status: ExternalSecretStatus, metadata: Any
) -> None:
    found = subject(spec, metadata=metadata)
    decision = decide(found, status, observation, NOW)
    assert decision == decide(found, status, observation, NOW), "the same again for the same input"
    deletes = [action for action in decision.actions if isinstance(action, DeleteTarget)]
    writes = [action for action in decision.actions if isinstance(action, WriteTarget)]
    if writes:
        assert isinstance(observation.outcome, Fetched), "invariant 36: written only from a complete reading"
    if deletes and not metadata.is_deleting:
        assert observation.outcome == NOTHING
        assert spec["target"] == {"creationPolicy": "Owner", "deletionPolicy": "Delete"}
    if isinstance(observation.outcome, Failed) and not metadata.is_deleting:
        assert not deletes
        assert not writes
    if status.refresh_time is not None:
        assert decision.status.refresh_time is not None
        assert decision.status.refresh_time >= status.refresh_time
    if decision.failure is None and decision.synced is None and not decision.events:
        ready_before, ready_after = status.ready, decision.status.ready
        assert ready_before == ready_after

"""When sources are asked, when an Application syncs by itself, and how long it waits."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.agentsync import _auto
from fairlead.agentsync._auto import (
    Auto,
    Timing,
    auto_sync,
    heal_delay,
    is_of,
    kitchen,
    retry_delay,
    same_sources,
    was_attempted,
    when_to_render,
)
from fairlead.agentsync._comparing import Comparison
from fairlead.agentsync.actions import Depth
from fairlead.agentsync.observation import Desired, RenderFailure, Rendering
from fairlead.agentsync.operation import Operation, SyncOperation, SyncResource
from fairlead.agentsync.spec import ApplicationSpec, Backoff, Destination, RetryStrategy, Source, decode_spec
from fairlead.agentsync.status import (
    ApplicationStatus,
    OperationState,
    Phase,
    ResourceStatus,
    SyncCode,
    SyncResult,
    decode_status,
    to_json,
)

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SOURCE = Source(repo_url="https://git.example.com/shop.git", path="deploy")
SPEC = ApplicationSpec(source=SOURCE, destination=Destination(name="in-cluster"))
TIMING = Timing(jitter=timedelta(0))
NOTHING_YET = ApplicationStatus()


def desired(age: float = 0, **changes: Any) -> Desired:
    given = {"objects": (), "revisions": ("abc",), "sources": (SOURCE,), **changes}
    return Desired(rendered_at=NOW - timedelta(seconds=age), **given)


def failure(age: float, *, is_repository: bool = True, **changes: Any) -> RenderFailure:
    at = NOW - timedelta(seconds=age)
    return RenderFailure(message="no", is_repository=is_repository, since=at, at=at, **changes)


# -- when to ask -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rendering", "refresh", "timing", "depth"),
    [
        pytest.param(Rendering(), "", TIMING, Depth.FRESH, id="nothing-is-known"),
        pytest.param(Rendering(in_flight=True), "", TIMING, None, id="it-is-being-rendered"),
        pytest.param(Rendering(desired=desired(119)), "", TIMING, None, id="young"),
        pytest.param(Rendering(desired=desired(120)), "", TIMING, Depth.CACHED, id="old"),
        pytest.param(Rendering(desired=desired(0)), "normal", TIMING, Depth.FRESH, id="somebody-asks"),
        pytest.param(Rendering(desired=desired(0)), "hard", TIMING, Depth.HARD, id="somebody-asks-for-all"),
        pytest.param(Rendering(desired=desired(0, sources=())), "", TIMING, Depth.FRESH, id="another-source"),
        pytest.param(
            Rendering(desired=desired(0, destination=Destination(name="other"))),
            "",
            TIMING,
            Depth.FRESH,
            id="another-destination",
        ),
        pytest.param(
            Rendering(desired=desired(9999)), "", Timing(reconciliation=timedelta(0)), None, id="never-by-itself"
        ),
        pytest.param(
            Rendering(desired=desired(3600)),
            "",
            Timing(hard_reconciliation=timedelta(hours=1)),
            Depth.HARD,
            id="hard-by-itself",
        ),
        pytest.param(Rendering(failure=failure(29)), "", TIMING, None, id="failed-just-now"),
        pytest.param(Rendering(failure=failure(30)), "", TIMING, Depth.CACHED, id="failed-a-while-ago"),
        pytest.param(
            Rendering(desired=desired(200), failure=failure(30, is_repository=False)), "", TIMING, None, id="bad-commit"
        ),
        pytest.param(
            Rendering(desired=desired(300), failure=failure(120, is_repository=False)),
            "",
            TIMING,
            Depth.CACHED,
            id="bad-commit-long-ago",
        ),
        pytest.param(
            Rendering(failure=failure(1, sources=(Source(repo_url="other"),))),
            "",
            TIMING,
            Depth.FRESH,
            id="failed-for-another-source",
        ),
    ],
)
def test_when_sources_are_asked(rendering: Rendering, refresh: str, timing: Timing, depth: Depth | None) -> None:
    assert when_to_render(SPEC, rendering, refresh, timing, NOW, jitter=0.0).depth is depth


def test_jitter_makes_it_later() -> None:
    rendering = Rendering(desired=desired(0))
    due = when_to_render(SPEC, rendering, "", Timing(), NOW, jitter=0.5)
    assert due.at == NOW + timedelta(seconds=150)


def test_null_in_values_makes_no_difference_to_what_a_status_can_hold() -> None:
    raw = b'{"source": {"repoURL": "a", "helm": {"valuesObject": {"a": null, "b": {"c": null, "d": 1}}}}}'
    given = decode_spec(raw).all_sources
    stored = {"sync": {"comparedTo": {"source": to_json(given[0])}}}
    stored["sync"]["comparedTo"]["source"]["helm"]["valuesObject"] = {"b": {"d": 1}}
    compared = decode_status(msgspec.json.encode(stored)).sync.compared_to
    assert compared is not None
    assert compared.source is not None
    assert same_sources((compared.source,), given)
    assert not same_sources((SOURCE,), given)
    assert is_of(desired(), SPEC)


# -- whether to sync ---------------------------------------------------------------------------------------------------

OUT = ResourceStatus(kind="ConfigMap", name="out", namespace="shop", status="OutOfSync")
SAME = ResourceStatus(kind="ConfigMap", name="same", status="Synced")
EXTRA = ResourceStatus(kind="ConfigMap", name="extra", status="OutOfSync", requires_pruning=True)
HOOK = ResourceStatus(kind="Job", name="hook", hook=True)


def spec(automated: str, more: str = "") -> ApplicationSpec:
    source = '{"repoURL": "https://git.example.com/shop.git", "path": "deploy"}'
    raw = f'{{"source": {source}, "syncPolicy": {{"automated": {automated}{more}}}}}'
    return decode_spec(raw.encode())


def last(
    phase: Phase = Phase.SUCCEEDED, *, age: float = 0, revision: str = "abc", count: int = 0, **changes: Any
) -> Any:
    state = OperationState(
        operation=Operation(sync=SyncOperation(revision=revision, auto_heal_attempts_count=count)),
        phase=phase,
        message="it went wrong",
        sync_result=SyncResult(revision=revision, source=SOURCE),
        started_at=NOW - timedelta(seconds=age),
        finished_at=NOW - timedelta(seconds=age),
    )
    return ApplicationStatus(operation_state=msgspec.structs.replace(state, **changes))


def decided(
    automated: str,
    *resources: ResourceStatus,
    status: ApplicationStatus = NOTHING_YET,
    code: SyncCode = SyncCode.OUT_OF_SYNC,
    more: str = "",
    **options: Any,
) -> Auto:
    comparison = Comparison(code=code, resources=resources)
    return auto_sync(spec(automated, more), status, comparison, desired(), Timing(), NOW, **options)


def sync_of(auto: Auto) -> SyncOperation:
    assert auto.operation is not None
    assert auto.operation.sync is not None
    return auto.operation.sync


def test_1_not_without_the_block_or_if_it_is_off() -> None:
    assert decided("null", OUT).why_not == "automatic sync is off"
    assert decided('{"enabled": false}', OUT).operation is None


def test_3_not_unless_something_differs() -> None:
    assert decided("{}", SAME, code=SyncCode.SYNCED).operation is None
    assert decided("{}", OUT, code=SyncCode.UNKNOWN).operation is None


def test_4_not_for_prunes_alone_that_are_off() -> None:
    assert decided("{}", EXTRA, SAME).operation is None
    assert decided('{"prune": true}', EXTRA, SAME).operation is not None
    assert decided("{}", EXTRA, OUT).operation is not None
    assert decided("{}", namespace_changed=True).operation is not None


def test_5_not_again_after_a_failure_whatever_self_heal_says() -> None:
    for automated in ("{}", '{"selfHeal": true}'):
        auto = decided(automated, OUT, status=last(Phase.FAILED))
        assert auto.operation is None
        assert auto.error == "Failed last sync attempt to abc: it went wrong"


def test_5_not_again_after_a_success_without_self_heal() -> None:
    auto = decided("{}", OUT, status=last())
    assert (auto.operation, auto.error) == (None, "")


@pytest.mark.parametrize(
    "status",
    [
        pytest.param(last(Phase.FAILED, revision="older"), id="another-revision"),
        pytest.param(
            last(Phase.FAILED, sync_result=SyncResult(revision="abc", source=Source(repo_url="other"))),
            id="another-source",
        ),
        pytest.param(last(Phase.ERROR, sync_result=None), id="it-never-came-to-a-revision"),
        pytest.param(last(Phase.FAILED, operation=Operation()), id="it-was-no-sync"),
    ],
)
def test_5_again_if_it_was_about_something_else(status: ApplicationStatus) -> None:
    assert sync_of(decided("{}", OUT, status=status)).resources == ()


def test_5_a_source_without_revisions_counts_as_attempted_too() -> None:
    state = last(sync_result=SyncResult(revision="", source=SOURCE)).operation_state
    assert was_attempted(state, ("",), (SOURCE,))
    assert not was_attempted(state, ("abc",), (SOURCE,))


def test_5_self_heal_mends_only_what_differs_and_counts() -> None:
    auto = decided('{"selfHeal": true}', OUT, SAME, HOOK, status=last(age=5))
    sync = sync_of(auto)
    assert sync.resources == (SyncResource(kind="ConfigMap", name="out", namespace="shop"),)
    assert sync.auto_heal_attempts_count == 1
    assert sync.revision == "abc"


@pytest.mark.parametrize(
    ("count", "seconds"), [(0, 0), (1, 2), (2, 6), (3, 18), (4, 54), (5, 162), (6, 300), (7, 300), (99, 300)]
)
def test_5_self_heal_waits_longer_each_time(count: int, seconds: int) -> None:
    assert heal_delay(count, Timing()) == timedelta(seconds=seconds)
    healing = '{"selfHeal": true}'
    if seconds:
        early = decided(healing, OUT, status=last(age=seconds - 1, count=count))
        assert early.operation is None
        assert early.wait_until == NOW + timedelta(seconds=1)
    assert sync_of(decided(healing, OUT, status=last(age=seconds, count=count))).auto_heal_attempts_count == count + 1


def test_5_the_count_begins_anew_after_a_quiet_time() -> None:
    quiet = last(age=601, count=6)
    assert sync_of(decided('{"selfHeal": true}', OUT, status=quiet)).auto_heal_attempts_count == 1


def test_a_plain_delay_replaces_the_back_off() -> None:
    plain = Timing(heal_first=timedelta(0), heal_timeout=timedelta(seconds=5))
    assert [heal_delay(count, plain).seconds for count in (0, 3)] == [5, 5]


def test_6_not_if_everything_would_be_pruned() -> None:
    auto = decided('{"prune": true}', EXTRA, HOOK)
    assert auto.operation is None
    assert auto.error == "Skipping sync attempt to abc: auto-sync will wipe out all resources"
    assert decided('{"prune": true, "allowEmpty": true}', EXTRA).operation is not None


def test_7_the_operation_is_pinned_and_takes_the_policy_along() -> None:
    more = ', "syncOptions": ["PruneLast=true"], "retry": {"limit": 2}'
    auto = decided('{"prune": true}', OUT, more=more)
    assert auto.operation is not None
    assert to_json(auto.operation) == {
        "sync": {"revision": "abc", "prune": True, "syncOptions": ["PruneLast=true"]},
        "initiatedBy": {"automated": True},
        "retry": {"limit": 2},
    }
    assert auto.event is not None
    assert (auto.event.reason, auto.event.message) == ("OperationStarted", "Initiated automated sync to 'abc'")


def test_7_without_a_block_there_are_five_retries() -> None:
    auto = decided("{}", OUT)
    assert auto.operation is not None
    assert auto.operation.retry == RetryStrategy(limit=5)


def test_7_several_sources_are_pinned_by_position() -> None:
    many = ApplicationSpec(sources=(SOURCE, SOURCE), sync_policy=spec("{}").sync_policy)
    found = desired(sources=(SOURCE, SOURCE), revisions=("one", "two"))
    comparison = Comparison(code=SyncCode.OUT_OF_SYNC, resources=(OUT,))
    sync = sync_of(auto_sync(many, ApplicationStatus(), comparison, found, Timing(), NOW))
    assert (sync.revision, sync.revisions, sync.sources) == ("", ("one", "two"), (SOURCE, SOURCE))


# -- retry -------------------------------------------------------------------------------------------------------------


def test_the_examples_in_docstrings() -> None:
    assert doctest.testmod(_auto).failed == 0


@given(st.integers(min_value=1, max_value=2**62), st.integers(min_value=0, max_value=10**4))
def test_delays_never_exceed_the_longest(factor: int, count: int) -> None:
    retry = RetryStrategy(backoff=Backoff(duration="1s", factor=factor, max_duration="1h"))
    assert timedelta(seconds=1) <= retry_delay(retry, count) <= timedelta(hours=1)


@pytest.mark.parametrize(("hour", "text"), [(0, "12:05AM"), (9, "9:05AM"), (12, "12:05PM"), (15, "3:05PM")], ids=str)
def test_the_time_of_day_is_written_as_go_writes_it(hour: int, text: str) -> None:
    assert kitchen(datetime(2026, 3, 2, hour, 5, tzinfo=UTC)) == text

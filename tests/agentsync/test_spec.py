"""Applications as users write them: read leniently, read back equal, and wrong types named."""

from __future__ import annotations

import copy
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fairlead.agentsync.operation import Operation, SyncOperation, SyncResource, decode_operation
from fairlead.agentsync.resources import ResourceKey
from fairlead.agentsync.spec import ApplicationSpec, Backoff, RetryStrategy, decode_spec
from fairlead.agentsync.status import to_json
from fairlead.core.errors import SpecError
from tests.agentsync.manifests import EVERY_FIELD, OPERATION


def decoded(spec: dict[str, Any]) -> ApplicationSpec:
    return decode_spec(msgspec.json.encode(spec))


def test_every_field_reads_back_equal() -> None:
    assert to_json(decoded(EVERY_FIELD)) == EVERY_FIELD


def test_every_field_of_an_operation_reads_back_equal() -> None:
    assert to_json(decode_operation(msgspec.json.encode(OPERATION))) == OPERATION


def test_unknown_fields_and_nulls_are_skipped() -> None:
    spec = copy.deepcopy(EVERY_FIELD)
    spec["fromTheFuture"] = {"a": 1}
    spec["source"]["alsoNew"] = [1]
    spec["syncPolicy"]["automated"]["prune"] = None
    spec["info"] = None
    spec["ignoreDifferences"] = None
    found = decoded(spec)
    assert found.source == decoded(EVERY_FIELD).source
    assert found.automated is not None
    assert not found.automated.prune
    assert (found.info, found.ignore_differences) == ((), ())


def test_null_in_values_of_a_chart_is_data() -> None:
    (helm, *_) = decoded(EVERY_FIELD).sources
    assert helm.helm is not None
    assert helm.helm.values_object == {
        "replica": {"replicaCount": 0},
        "master": {"resources": None},
        "tags": ["a", None],
    }


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        pytest.param(
            ("source",),
            "https://git.example.com",
            'spec.source: Invalid value: "https://git.example.com": expected object, found str',
            id="source",
        ),
        pytest.param(
            ("source", "targetRevision"),
            1.2,
            "spec.source.targetRevision: Invalid value: 1.2: expected str, found float",
            id="revision-that-yaml-made-a-number",
        ),
        pytest.param(
            ("syncPolicy", "automated", "prune"),
            "true",
            'spec.syncPolicy.automated.prune: Invalid value: "true": expected bool, found str',
            id="boolean",
        ),
        pytest.param(
            ("syncPolicy", "syncOptions"),
            {"CreateNamespace": True},
            'spec.syncPolicy.syncOptions: Invalid value: {"CreateNamespace": true}: expected array, found object',
            id="options",
        ),
        pytest.param(
            ("sources", 1, "kustomize", "patches", 0, "options"),
            {"allowNameChange": "yes"},
            'spec.sources[1].kustomize.patches[0].options.allowNameChange: Invalid value: "yes": expected bool,'
            " found str",
            id="in-a-list",
        ),
        pytest.param(
            ("revisionHistoryLimit",),
            "10",
            'spec.revisionHistoryLimit: Invalid value: "10": expected int, found str',
            id="number",
        ),
    ],
)
def test_a_wrong_type_names_path_found_and_expected(path: tuple[str | int, ...], value: Any, message: str) -> None:
    spec: Any = msgspec.json.decode(msgspec.json.encode(EVERY_FIELD))  # nothing in it is there twice
    where = spec
    for part in path[:-1]:
        where = where[part]
    where[path[-1]] = value
    with pytest.raises(SpecError) as caught:
        decoded(spec)
    assert str(caught.value) == message


def test_defaults() -> None:
    spec = decoded({})
    assert spec.project_name == "default"
    assert spec.history_limit == 10
    assert spec.automated is None
    assert spec.all_sources == ()
    retry = RetryStrategy()
    assert (retry.limit, retry.duration, retry.factor, retry.duration_max) == (
        0,
        timedelta(seconds=5),
        2,
        timedelta(minutes=3),
    )


def test_sources_win_over_source() -> None:
    spec = decoded({"source": {"repoURL": "one", "path": "."}, "sources": [{"repoURL": "two", "path": "."}]})
    assert [source.repo_url for source in spec.all_sources] == ["two"]
    assert spec.is_multi_source


def test_a_block_that_is_not_enabled_is_off() -> None:
    assert decoded({"syncPolicy": {"automated": {}}}).automated is not None
    assert decoded({"syncPolicy": {"automated": {"enabled": True}}}).automated is not None
    assert decoded({"syncPolicy": {"automated": {"enabled": False, "prune": True}}}).automated is None


@pytest.mark.parametrize(
    ("text", "span"),
    [("5", timedelta(seconds=5)), ("1m30s", timedelta(seconds=90)), ("", timedelta(seconds=5))],
    ids=["bare-number", "go", "absent"],
)
def test_a_bare_number_is_seconds(text: str, span: timedelta) -> None:
    assert RetryStrategy(backoff=Backoff(duration=text)).duration == span


def test_a_duration_that_is_none_names_its_path() -> None:
    with pytest.raises(SpecError, match=r"spec\.syncPolicy\.retry\.backoff\.maxDuration: time: unknown unit"):
        _ = RetryStrategy(backoff=Backoff(max_duration="3d")).duration_max


def test_history_limit_is_never_negative() -> None:
    assert decoded({"revisionHistoryLimit": -3}).history_limit == 0


@pytest.mark.parametrize(
    ("strategy", "runs", "forces"),
    [
        pytest.param({}, True, False, id="absent"),
        pytest.param({"syncStrategy": {"hook": {"force": True}}}, True, True, id="hook"),
        pytest.param({"syncStrategy": {"apply": {}}}, False, False, id="apply"),
        pytest.param({"syncStrategy": {"apply": {"force": True}}}, False, True, id="apply-with-force"),
        pytest.param({"resources": [{"kind": "Pod", "name": "a"}]}, False, False, id="partial"),
    ],
)
def test_hooks_run_unless_the_strategy_or_a_choice_says_otherwise(
    strategy: dict[str, Any], runs: bool, forces: bool
) -> None:
    sync = decode_operation(msgspec.json.encode({"sync": strategy})).sync
    assert sync is not None
    assert (sync.runs_hooks, sync.force) == (runs, forces)


def test_a_chosen_resource_without_namespace_is_in_any() -> None:
    key = ResourceKey("apps", "Deployment", "shop", "web")
    assert SyncResource(group="apps", kind="Deployment", name="web").matches(key)
    assert SyncResource(group="apps", kind="Deployment", name="web", namespace="shop").matches(key)
    assert not SyncResource(group="apps", kind="Deployment", name="web", namespace="other").matches(key)
    assert not SyncResource(kind="Deployment", name="web").matches(key)


def test_an_empty_operation_asks_for_nothing() -> None:
    assert decode_operation(b"{}") == Operation()
    assert SyncOperation().all_revisions == ()

"""Reading the spec of a Rollout: what is tolerated, what is refused with its place, and what follows from it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fairlead.core.errors import SpecError
from fairlead.core.selectors import format_selector
from fairlead.rollouts.spec import (
    AnalysisStep,
    CanaryStep,
    ExperimentStep,
    Pause,
    PluginStep,
    SetCanaryScale,
    SetHeaderRoute,
    SetMirrorRoute,
    SetWeight,
    Share,
    parse,
)


def spec_of(**fields: Any) -> Any:
    return parse(json.dumps(fields).encode())


def canary_of(**fields: Any) -> Any:
    return spec_of(strategy={"canary": fields}).canary


def step_of(**fields: Any) -> CanaryStep:
    step: CanaryStep = canary_of(steps=[fields]).steps[0]
    return step


def test_an_empty_spec_has_every_default() -> None:
    spec = spec_of()
    assert spec.replicas is None
    assert spec.replicas_wanted == 1
    assert spec.history_limit == 10
    assert spec.progress_deadline == timedelta(seconds=600)
    assert spec.min_ready == timedelta(0)
    assert (spec.successful_runs_kept, spec.unsuccessful_runs_kept) == (5, 5)
    assert spec.rollback_window_revisions == 0
    assert spec.steps == ()
    assert spec.canary is None and spec.blue_green is None
    assert spec.template_labels == {} and spec.services == () and spec.analyses == ()
    assert spec.selector_terms == ()


def test_zero_is_not_absent() -> None:
    spec = spec_of(
        replicas=0, revisionHistoryLimit=0, progressDeadlineSeconds=0, analysis={"successfulRunHistoryLimit": 0}
    )
    assert (spec.replicas_wanted, spec.history_limit, spec.progress_deadline) == (0, 0, timedelta(0))
    assert (spec.successful_runs_kept, spec.unsuccessful_runs_kept) == (0, 5)


@pytest.mark.parametrize(
    ("fields", "scale_down", "abort", "kept"),
    [
        pytest.param({}, timedelta(0), timedelta(0), 2**31 - 1, id="basic"),
        pytest.param({"trafficRouting": {}}, timedelta(seconds=30), timedelta(seconds=30), 2**31 - 1, id="routed"),
        pytest.param(
            {
                "trafficRouting": {},
                "scaleDownDelaySeconds": 5,
                "abortScaleDownDelaySeconds": 7,
                "scaleDownDelayRevisionLimit": 2,
            },
            timedelta(seconds=5),
            timedelta(seconds=7),
            2,
            id="routed-explicit",
        ),
        pytest.param(
            {"trafficRouting": {}, "scaleDownDelaySeconds": 0, "abortScaleDownDelaySeconds": 0},
            timedelta(0),
            None,
            2**31 - 1,
            id="zero-means-at-once-and-never",
        ),
    ],
)
def test_delays_follow_the_kind_of_canary(
    fields: dict[str, Any], scale_down: timedelta, abort: timedelta | None, kept: int
) -> None:
    canary = canary_of(**fields)
    assert canary.scale_down_delay == scale_down
    assert canary.abort_scale_down_delay == abort
    assert canary.delayed_revisions_max == kept


def test_what_needs_a_router_does_not_apply_without_one() -> None:
    assert canary_of(minPodsPerReplicaSet=3).pods_min == 0
    assert canary_of(minPodsPerReplicaSet=3, trafficRouting={}).pods_min == 3
    assert canary_of(minPodsPerReplicaSet=-3, trafficRouting={}).pods_min == 0
    assert canary_of().weight_max == 100
    assert canary_of(trafficRouting={"maxTrafficWeight": 1000}).weight_max == 1000


def test_a_negative_progress_threshold_has_no_effect() -> None:
    assert canary_of(replicaProgressThreshold={"type": "Pods", "value": -1}).progress_threshold is None
    assert canary_of(replicaProgressThreshold={"type": "Pods", "value": 0}).progress_threshold is not None


@pytest.mark.parametrize(
    ("written", "share"),
    [
        pytest.param(None, Share(25, True), id="absent"),
        pytest.param(2, Share(2, False), id="number"),
        pytest.param("2", Share(2, True), id="text-is-always-percent"),
        pytest.param("30%", Share(30, True), id="percent"),
        pytest.param("0", Share(0, True), id="zero"),
        pytest.param("many", Share(0, True), id="unreadable-is-zero"),
        pytest.param("٣%", Share(0, True), id="foreign-digits-are-unreadable"),
    ],
)
def test_surge_is_a_number_or_a_percentage(written: int | str | None, share: Share) -> None:
    canary = canary_of(maxSurge=written, maxUnavailable=written)
    assert canary.surge == canary.unavailable == share


def test_a_share_rounds_as_it_is_told() -> None:
    assert Share(25, True).of(10, round_up=True) == 3
    assert Share(25, True).of(10, round_up=False) == 2
    assert Share(25, True).of(0, round_up=True) == 0
    assert Share(7, False).of(2, round_up=True) == 7


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        pytest.param(None, None, id="until-promoted"),
        pytest.param(30, 30, id="number"),
        pytest.param("10", 10, id="text-without-unit"),
        pytest.param("1h30m", 5400, id="go-duration"),
        pytest.param("1.9s", 1, id="fraction-is-cut-off"),
        pytest.param("500ms", 0, id="less-than-a-second"),
        pytest.param("0", 0, id="zero"),
        pytest.param("-5s", -5, id="negative"),
        pytest.param(-3, -3, id="negative-number"),
        pytest.param("1y", -1, id="unknown-unit"),
        pytest.param("5m5", -1, id="missing-unit"),
        pytest.param("", -1, id="empty"),
        pytest.param("9223372036854775808ns", -1, id="beyond-64-bits"),
        pytest.param("99999999999", -1, id="number-beyond-32-bits"),
        pytest.param("9" * 5000, -1, id="5000-digits"),
        pytest.param("۵", -1, id="foreign-digit"),
    ],
)
def test_the_duration_of_a_pause(duration: int | str | None, seconds: int | None) -> None:
    step = step_of(pause={"duration": duration})
    assert step.pause is not None
    assert step.pause.seconds == seconds
    expected = None if seconds is None else timedelta(seconds=max(0, seconds))
    assert step.action == Pause(expected)


EXPERIMENT = {"templates": [{"name": "a", "specRef": "canary"}]}


@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"setWeight": 20}, SetWeight, "setWeight: 20"),
        ({"setWeight": 0}, SetWeight, "setWeight: 0"),
        ({"pause": {}}, Pause, "pause"),
        ({"pause": {"duration": "3s"}}, Pause, "pause: 3s"),
        ({"pause": {"duration": 3}}, Pause, "pause: 3"),
        ({"setCanaryScale": {"weight": 25}}, SetCanaryScale, "setCanaryScale{weight: 25}"),
        ({"setCanaryScale": {"replicas": 3}}, SetCanaryScale, "setCanaryScale{replicas: 3}"),
        (
            {"setCanaryScale": {"matchTrafficWeight": True}},
            SetCanaryScale,
            "setCanaryScale{matchTrafficWeight: true}",
        ),
        ({"analysis": {}}, AnalysisStep, "analysis"),
        ({"experiment": EXPERIMENT}, ExperimentStep, "experiment"),
        ({"plugin": {"name": "org/step"}}, PluginStep, "plugin: org/step"),
        ({"setHeaderRoute": {"name": "h"}}, SetHeaderRoute, "setHeaderRoute: h"),
        ({"setMirrorRoute": {"name": "m"}}, SetMirrorRoute, "setMirrorRoute: m"),
    ],
)
def test_each_step_is_one_value_with_one_text(fields: dict[str, Any], kind: type, text: str) -> None:
    step = step_of(**fields)
    assert isinstance(step.action, kind)
    assert step.text == text


def test_of_several_keys_the_pause_decides_and_the_weight_stays_visible() -> None:
    step = step_of(setWeight=20, pause={}, setCanaryScale={"replicas": 1})
    assert isinstance(step.action, Pause)
    assert step.set_weight == 20
    assert step.set_canary_scale == SetCanaryScale(replicas=1)
    assert isinstance(step_of(setWeight=20, setCanaryScale={"replicas": 1}).action, SetCanaryScale)


def test_a_step_without_a_known_key_is_none() -> None:
    step = step_of(setwight=20)
    assert (step.action, step.text) == (None, "invalid")


def test_null_is_absent() -> None:
    spec = spec_of(
        replicas=None,
        selector=None,
        paused=None,
        restartAt=None,
        strategy={"canary": {"steps": None, "trafficRouting": None, "maxSurge": None, "analysis": {"args": None}}},
    )
    assert spec.replicas is None and spec.selector is None and not spec.paused
    assert spec.canary is not None and spec.steps == () and not spec.canary.is_routed


def test_null_within_a_plug_in_is_data() -> None:
    canary = canary_of(
        trafficRouting={"plugins": {"org/router": {"a": None}}, "nginx": None},
        steps=[{"plugin": {"name": "x", "config": {"b": [None]}}, "pause": None}],
    )
    assert canary.traffic_routing.plugins == {"org/router": {"a": None}}
    assert canary.traffic_routing.built_in == ()
    assert canary.steps[0].plugin.config == {"b": [None]}


def test_unknown_fields_and_wrong_case_are_skipped() -> None:
    spec = spec_of(Replicas=5, color="blue", strategy={"canary": {"steps": [{"setWeight": 1, "zone": []}], "x": 1}})
    assert (spec.replicas_wanted, spec.steps[0].set_weight) == (1, 1)


def test_the_last_of_duplicate_keys_counts_as_for_the_api_server() -> None:
    assert parse(b'{"replicas": 1, "replicas": 2}').replicas == 2


@pytest.mark.parametrize(
    "template",
    [
        pytest.param({"spec": {"containers": [{"resources": {"limits": {"memory": "invalid"}}}]}}, id="bad-quantity"),
        pytest.param({"spec": {"ephemeralContainers": [{"name": "a"}, {"name": "a"}]}}, id="duplicate-container"),
        pytest.param({"metadata": {"labels": {"a": 1, "b": None}}, "spec": 7}, id="wrong-types"),
        pytest.param("text", id="no-object"),
        pytest.param(None, id="null"),
    ],
)
def test_nothing_in_a_pod_template_can_make_reading_fail(template: Any) -> None:
    spec = spec_of(template=template, replicas=2)
    assert spec.replicas == 2
    assert spec.template_labels == {}
    assert spec.template_annotations == {}


def test_labels_that_are_text_survive_those_that_are_not() -> None:
    spec = spec_of(template={"metadata": {"labels": {"app": "web", "bad": 1}, "annotations": {"a": "b"}}})
    assert (spec.template_labels, spec.template_annotations) == ({"app": "web"}, {"a": "b"})


def test_the_selector_becomes_terms() -> None:
    spec = spec_of(
        selector={"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}
    )
    assert format_selector(spec.selector_terms) == "app=web,tier"


def test_times_are_aware() -> None:
    assert spec_of(restartAt="2026-08-01T12:00:00+02:00").restart_at == datetime(2026, 8, 1, 10, tzinfo=UTC)


STEPS = "spec.strategy.canary.steps"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        pytest.param(
            {"steps": [{"pause": {}}, {"setWeight": "20%"}]},
            f'{STEPS}[1].setWeight: Invalid value: "20%": expected int, found str',
            id="weight-as-text",
        ),
        pytest.param(
            {"steps": [{"setWeight": 20.5}]},
            f"{STEPS}[0].setWeight: Invalid value: 20.5: expected int, found float",
            id="weight-with-a-fraction",
        ),
        pytest.param(
            {"steps": [{"setWeight": 10**10}]},
            f"{STEPS}[0].setWeight: Invalid value: 10000000000: expected int <= 2147483647",
            id="weight-beyond-32-bits",
        ),
        pytest.param(
            {"steps": {"setWeight": 1}},
            f'{STEPS}: Invalid value: {{"setWeight": 1}}: expected array, found object',
            id="steps-as-object",
        ),
        pytest.param({"steps": [7]}, f"{STEPS}[0]: Invalid value: 7: expected object, found int", id="step-as-number"),
        pytest.param(
            {"steps": [{"pause": {"duration": 1.5}}]},
            f"{STEPS}[0].pause.duration: Invalid value: 1.5: expected int | str, found float",
            id="pause-with-a-fraction",
        ),
        pytest.param(
            {"steps": [{"analysis": {"args": [{"name": "a", "value": 9090}]}}]},
            f"{STEPS}[0].analysis.args[0].value: Invalid value: 9090: expected str, found int",
            id="unquoted-argument",
        ),
        pytest.param(
            {"steps": [{"setMirrorRoute": {}}]}, f"{STEPS}[0].setMirrorRoute.name: Required value", id="missing-field"
        ),
        pytest.param(
            {"stableMetadata": {"labels": {"a": "b", "c": 1}}},
            "spec.strategy.canary.stableMetadata.labels.c: Invalid value: 1: expected str, found int",
            id="label-as-number",
        ),
        pytest.param(
            {"canaryService": "x" * 200, "stableService": ["y" * 200]},
            f'spec.strategy.canary.stableService: Invalid value: ["{"y" * 78}…: expected str, found array',
            id="long-values-are-cut",
        ),
    ],
)
def test_a_wrong_type_is_told_with_place_found_and_expected(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        canary_of(**fields)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        pytest.param(b'{"replicas": 2147483648}', "spec.replicas: Invalid value: 2147483648: expected", id="replicas"),
        pytest.param(b'{"restartAt": "noon"}', 'spec.restartAt: Invalid value: "noon": invalid RFC3339', id="time"),
        pytest.param(b'{"restartAt": "2026-08-01T12:00:00"}', "spec.restartAt: Invalid value", id="time-without-zone"),
        pytest.param(b"[]", "spec: Invalid value: []: expected object, found array", id="array"),
        pytest.param(b'{"replicas": 1', "spec: not valid JSON: Input data was truncated", id="truncated"),
        pytest.param(b'{"strategy": "\\ud800"}', "spec: not valid JSON", id="lone-surrogate"),
        pytest.param(b'{"strategy": ' + b"[" * 200_000, "spec: nested too deeply", id="deep"),
    ],
)
def test_what_is_no_spec_is_refused(raw: bytes, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(raw)
    assert str(caught.value).startswith(message)


def test_broken_utf_8_is_refused_by_name() -> None:
    with pytest.raises(SpecError) as caught:
        parse(b'{"paused": "\xff"}')
    assert str(caught.value).startswith("spec: not valid JSON: ")
    assert "utf-8" in str(caught.value).lower()  # the library's words differ between its releases


def test_ten_thousand_steps_are_read() -> None:
    assert len(canary_of(steps=[{"setWeight": 1}] * 10_000).steps) == 10_000


def test_names_in_any_script_are_kept_as_they_are() -> None:
    name = "שלום-\u202e\x00-日本"
    assert step_of(analysis={"args": [{"name": name, "value": name}]}).analysis.args[0].value == name  # type: ignore[union-attr]


def test_services_and_analyses_are_listed_in_the_order_of_their_checks() -> None:
    spec = spec_of(
        strategy={
            "canary": {
                "canaryService": "canary",
                "stableService": "stable",
                "pingPong": {"pingService": "ping", "pongService": ""},
                "steps": [{"setWeight": 1}, {"analysis": {"templates": [{"templateName": "t"}]}}],
                "analysis": {"startingStep": 1},
            }
        }
    )
    assert [(use.path, use.name) for use in spec.services] == [
        ("spec.strategy.canary.stableService", "stable"),
        ("spec.strategy.canary.canaryService", "canary"),
        ("spec.strategy.canary.pingPong.pingService", "ping"),
    ]
    assert [(use.path, use.is_background, use.step) for use in spec.analyses] == [
        (f"{STEPS}[1].analysis", False, 1),
        ("spec.strategy.canary.analysis", True, None),
    ]
    blue_green = spec_of(
        strategy={"blueGreen": {"activeService": "a", "previewService": "p", "postPromotionAnalysis": {}}}
    )
    assert [use.name for use in blue_green.services] == ["a", "p"]
    assert [use.path for use in blue_green.analyses] == ["spec.strategy.blueGreen.postPromotionAnalysis"]

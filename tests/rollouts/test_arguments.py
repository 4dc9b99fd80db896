"""Arguments of analysis: what the stanzas of a Rollout ask the planner."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.plans import Plan, PlanArg, PlanRequest, TemplateRef
from fairlead.rollouts._arguments import plans
from fairlead.testing.builders import rollout_metadata, spec, spec_content

META = rollout_metadata(labels={"region": "eu"}, annotations={"note": 'a "b"', "rollout.argoproj.io/revision": "1"})
CONTENT = {"spec": spec_content({"setWeight": 20}, replicas=1_000_000), "status": {"stableRS": "abc", "abort": True}}


class Planner:
    def __init__(self) -> None:
        self.requests: list[PlanRequest] = []

    def plan(self, request: PlanRequest) -> Plan:
        self.requests.append(request)
        return Plan(spec={"metrics": []})


def asked(args: list[dict[str, Any]], **stanza: Any) -> tuple[Planner, Plan]:
    planner = Planner()
    step = {
        "analysis": {
            "templates": [{"templateName": "t"}, {"templateName": "c", "clusterScope": True}],
            "args": args,
            **stanza,
        }
    }
    found = plans(META, CONTENT, spec(step), planner, latest_hash="new", stable_hash="old")
    return planner, found[0]


def field(path: str) -> dict[str, Any]:
    return {"name": "a", "valueFrom": {"fieldRef": {"fieldPath": path}}}


def test_the_whole_request() -> None:
    planner, _ = asked(
        [{"name": "a", "value": "1"}],
        dryRun=[{"metricName": "m"}],
        measurementRetention=[{"metricName": "n", "limit": 3}],
    )
    assert planner.requests == [
        PlanRequest(
            namespace="shop",
            templates=(TemplateRef("t"), TemplateRef("c", True)),
            args=(PlanArg("a", "1"),),
            dry_run=("m",),
            measurement_retention=(("n", 3),),
        )
    ]


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        pytest.param({"name": "a", "value": "literal"}, "literal", id="literal"),
        pytest.param({"name": "a"}, None, id="named-without-a-value"),
        pytest.param({"name": "a", "valueFrom": {"podTemplateHashValue": "Latest"}}, "new", id="latest"),
        pytest.param({"name": "a", "valueFrom": {"podTemplateHashValue": "Stable"}}, "old", id="stable"),
        pytest.param({"name": "a", "valueFrom": {"podTemplateHashValue": "Other"}}, "", id="neither"),
        pytest.param(field("metadata.name"), "cart", id="name"),
        pytest.param(field("metadata.namespace"), "shop", id="namespace"),
        pytest.param(field("metadata.uid"), "rollout-uid", id="uid"),
        pytest.param(field("metadata.labels['region']"), "eu", id="label"),
        pytest.param(field("metadata.labels['gone']"), "", id="missing-label"),
        pytest.param(field("metadata.annotations['note']"), 'a "b"', id="annotation"),
        pytest.param(field("metadata.labels"), 'region="eu"', id="labels"),
        pytest.param(field("status.stableRS"), "abc", id="status"),
        pytest.param(field("status.abort"), "true", id="bool"),
        pytest.param(field("spec.replicas"), "1e+06", id="numbers-as-go-prints-them"),
        pytest.param(field("spec.strategy.canary.steps[0].setWeight"), "20", id="index"),
        pytest.param(field("spec.template.spec.containers[0].image"), "registry.example/cart:1", id="deep"),
    ],
)
def test_values(argument: dict[str, Any], value: str | None) -> None:
    planner, plan = asked([argument])
    assert plan.error == ""
    assert planner.requests[0].args == (PlanArg("a", value),)


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("spec.gone", "invalid path spec.gone in rollout"),
        ("spec.replicas.more", "invalid path spec.replicas.more in rollout"),
        ("spec.strategy.canary.steps[x]", "invalid index 'x'"),
        ("spec.strategy.canary.steps[9]", "index 9 out of range"),
        ("spec.strategy.canary.steps[-1]", "invalid index '-1'"),
        ("spec.strategy", "path spec.strategy in rollout must terminate in a primitive value"),
    ],
)
def test_paths_that_lead_nowhere(path: str, error: str) -> None:
    planner, plan = asked([field(path)])
    assert planner.requests == []
    assert (plan.error, plan.field) == (error, "args")


def test_every_stanza_is_planned_under_its_step() -> None:
    stanza = {"templates": [{"templateName": "t"}]}
    rollout = spec(
        {"setWeight": 1}, {"analysis": stanza}, {"pause": {}}, {"analysis": stanza}, canary={"analysis": stanza}
    )
    planner = Planner()
    assert set(plans(META, CONTENT, rollout, planner, latest_hash="", stable_hash="")) == {1, 3, None}
    assert [request.is_background for request in planner.requests] == [False, False, True]


def test_an_empty_list_of_templates_is_no_analysis() -> None:
    """T57."""
    planner = Planner()
    rollout = spec({"setWeight": 1}, canary={"analysis": {"templates": []}})
    assert plans(META, CONTENT, rollout, planner, latest_hash="", stable_hash="") == {}


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (600, "600"),
        (999_999, "999999"),
        (1_000_000, "1e+06"),
        (21_474_836, "2.1474836e+07"),
        (0.5, "0.5"),
        (0.00001, "1e-05"),
        (-1_000_000, "-1e+06"),
        (123456.789, "123456.789"),
        (0, "0"),
    ],
)
def test_numbers(number: float, text: str) -> None:
    planner = Planner()
    step = {"analysis": {"templates": [{"templateName": "t"}], "args": [field("status.number")]}}
    content = {"status": {"number": number}}
    plans(META, content, spec(step), planner, latest_hash="", stable_hash="")
    assert planner.requests[0].args[0].value == text

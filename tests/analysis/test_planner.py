"""From an analysis stanza of a Rollout to the spec of its AnalysisRun."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from fairlead.analysis.planner import TemplatePlanner
from fairlead.core.kinds import AnalysisTemplate
from fairlead.core.objects import ObjectKey, ObjectMeta
from fairlead.core.plans import AnalysisPlanner, Plan, PlanArg, PlanRequest, TemplateRef


class Templates:
    """A View of templates that are given as JSON data by name."""

    def __init__(self, specs: Mapping[str, dict[str, Any]], namespace: str) -> None:
        self._specs = specs
        self._namespace = namespace

    def get(self, key: ObjectKey) -> AnalysisTemplate | None:
        if key.namespace != self._namespace or key.name not in self._specs:
            return None
        meta = ObjectMeta(name=key.name, namespace=key.namespace)
        return AnalysisTemplate(metadata=meta, spec=msgspec.Raw(msgspec.json.encode(self._specs[key.name])))

    def list(self, namespace: str = "") -> Sequence[AnalysisTemplate]:
        raise NotImplementedError

    def by_index(self, index: str, value: str) -> Sequence[AnalysisTemplate]:
        raise KeyError(index)


def planner(
    specs: Mapping[str, dict[str, Any]], cluster_specs: Mapping[str, dict[str, Any]] | None = None
) -> AnalysisPlanner:
    return TemplatePlanner(Templates(specs, "shop"), Templates(cluster_specs or {}, ""))


def metric(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "provider": {"web": {"url": "http://{{args.host}}"}}, **fields}


RATE = {"metrics": [metric("rate", futureField={"kept": None})], "args": [{"name": "host"}]}
HOST = (PlanArg("host", "shop.svc"),)


def request(*names: str, **fields: Any) -> PlanRequest:
    refs = tuple(TemplateRef(name.lstrip("@"), name.startswith("@")) for name in names)
    return PlanRequest(namespace="shop", templates=refs, **fields)


def test_a_stanza_becomes_the_spec_of_a_run() -> None:
    extra = {"metrics": [metric("latency")], "dryRun": [{"metricName": "latency"}]}
    plan = planner({"rate": RATE}, {"extra": extra}).plan(
        request(
            "@extra",
            "rate",
            args=(*HOST, PlanArg("unknown", "x")),
            dry_run=("rate",),
            measurement_retention=(("rate", 3),),
        )
    )
    assert plan == Plan(
        spec={
            "metrics": [*RATE["metrics"], *extra["metrics"]],  # placeholders and unknown fields as they are
            "args": [{"name": "host", "value": "shop.svc"}],
            "dryRun": [{"metricName": "rate"}, {"metricName": "latency"}],
            "measurementRetention": [{"metricName": "rate", "limit": 3}],
        }
    )


def test_the_same_request_gives_the_same_bytes() -> None:
    # A plan that differs from the stored run would make the rollout create runs without end.
    asked = request("rate", args=HOST, dry_run=("rate",))
    one, other = planner({"rate": RATE}).plan(asked), planner({"rate": RATE}).plan(asked)
    assert msgspec.json.encode(one.spec) == msgspec.json.encode(other.spec)


def test_a_plan_is_nobodys_to_change() -> None:
    of_web = planner({"rate": RATE})
    of_web.plan(request("rate", args=HOST)).spec["metrics"][0]["provider"].clear()
    assert of_web.plan(request("rate", args=HOST)).spec["metrics"] == RATE["metrics"]


ENDLESS = "AnalysisTemplate t has metric m which runs indefinitely. Invalid value for count: "


@pytest.mark.parametrize(
    ("specs", "asked", "error", "value"),
    [
        pytest.param({}, request("t"), "AnalysisTemplate 't' not found", "t", id="missing"),
        pytest.param({}, request("@t"), "ClusterAnalysisTemplate 't' not found", "t", id="missing-in-the-cluster"),
        pytest.param(
            {"t": {"templates": [{"templateName": "t"}]}},
            request("t"),
            "AnalysisTemplate 't' includes itself: t -> t",
            "t",
            id="includes-itself",
        ),
        pytest.param(
            {"t": RATE}, request("t"), "args.host was not resolved", "templateNames: [t]", id="missing-argument"
        ),
        pytest.param(
            {"t": RATE, "u": RATE},
            request("t", "u", args=HOST),
            "two metrics have the same name 'rate'",
            "templateNames: [t u]",
            id="two-metrics-of-one-name",
        ),
        pytest.param(
            {"t": {"metrics": [metric("m", interval="1m")], "args": [{"name": "host"}]}},
            request("t", args=HOST),
            ENDLESS + "<nil>",
            "t",
            id="endless",
        ),
        pytest.param(
            {"t": {"metrics": [metric("m", interval="1m", count="{{args.host}}")], "args": [{"name": "host"}]}},
            request("t", args=HOST),
            ENDLESS + "shop.svc",
            "t",
            id="a-count-that-is-no-number",
        ),
        pytest.param(
            {
                "t": {
                    "metrics": [metric("m", interval="1m")],
                    "args": [{"name": "host"}],
                    "dryRun": [{"metricName": "m"}],
                }
            },
            request("t", args=HOST),
            ENDLESS + "<nil>",
            "t",
            id="endless-in-dry-run",
        ),
        pytest.param(
            {"t": {"metrics": [metric("m")]}},
            request("t", args=HOST),
            "AnalysisTemplate t: failed to resolve {{args.host}}",
            "t",
            id="undeclared-argument",
        ),
        pytest.param(
            {"t": {"args": [{"name": "a", "value": "1", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]}},
            request("t"),
            "AnalysisTemplate t: arg 'a' has both Value and ValueFrom fields",
            "t",
            id="value-and-secret",
        ),
        pytest.param(
            {"t": {"metrics": [{"name": "m", "interval": 5}]}},
            request("t"),
            "AnalysisTemplate t: spec.metrics[0].interval: Invalid value: 5: expected str, found int",
            "t",
            id="not-a-template",
        ),
        pytest.param(
            {"t": RATE, "u": {"args": [{"name": "host", "value": "h"}]}},
            request("t", "u", is_background=True),
            "missing analysis arguments in rollout spec",
            "t",
            id="background-without-arguments",
        ),
        pytest.param(
            {"t": RATE, "u": {"args": [{"name": "host", "value": "h"}]}},
            request("t", "u", is_background=True, args=(PlanArg("other", "x"),)),
            "host",
            "t",
            id="background-without-this-argument",
        ),
    ],
)
def test_a_stanza_that_cannot_work(
    specs: dict[str, dict[str, Any]], asked: PlanRequest, error: str, value: str
) -> None:
    assert planner(specs).plan(asked) == Plan(error=error, field="templates", value=value)


@pytest.mark.parametrize(
    ("specs", "asked"),
    [
        pytest.param(
            {"t": {"metrics": [metric("m", interval="1m")], "args": [{"name": "host"}]}},
            request("t", args=HOST, is_background=True),
            id="endless-in-the-background",
        ),
        pytest.param(
            # upstream looks at the template's default only, and refuses this
            {
                "t": {
                    "metrics": [metric("m", interval="1m", count="{{args.count}}")],
                    "args": [{"name": "host"}, {"name": "count", "value": "0"}],
                }
            },
            request("t", args=(*HOST, PlanArg("count", "4"))),
            id="a-count-that-the-rollout-passes",
        ),
        pytest.param(
            {"t": {"metrics": [metric("m")], "args": [{"name": "host", "valueFrom": {"secretKeyRef": {}}}]}},
            request("t"),
            id="a-secret",
        ),
    ],
)
def test_a_stanza_that_can_work(specs: dict[str, dict[str, Any]], asked: PlanRequest) -> None:
    plan = planner(specs).plan(asked)
    assert plan.error == ""
    assert plan.spec["metrics"] == specs["t"]["metrics"]


def test_without_a_view_of_cluster_templates_there_are_none() -> None:
    alone = TemplatePlanner(Templates({"rate": RATE}, "shop"))
    assert alone.plan(request("@rate")).error == "ClusterAnalysisTemplate 'rate' not found"
    assert alone.plan(request("rate", args=HOST)).error == ""

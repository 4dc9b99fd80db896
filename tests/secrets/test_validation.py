"""The rules of admission, rule by rule."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.secrets._validation import problems, store_problems
from fairlead.secrets.spec import decode_spec, decode_store_spec

VALUE = {"secretKey": "a", "remoteRef": {"key": "k"}}
EXTRACT = {"extract": {"key": "k"}}
GENERATOR = {"generatorRef": {"kind": "Password", "name": "p"}}


def found(**spec: Any) -> list[str]:
    return [str(problem) for problem in problems(decode_spec(msgspec.json.encode({"data": [VALUE], **spec})))]


def target(**fields: Any) -> dict[str, Any]:
    return {"target": fields}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({}, id="smallest"),
        pytest.param({"data": [], "dataFrom": [EXTRACT]}, id="data-from-only"),
        pytest.param(target(creationPolicy="Orphan", deletionPolicy="Delete"), id="trap-6-orphan-delete-is-admitted"),
        pytest.param({"data": [VALUE, VALUE], **target(deletionPolicy="Merge")}, id="duplicates-without-retain"),
        pytest.param(target(template={"type": "kubernetes.io/service-account-token"}), id="token-type-without-name"),
        pytest.param(target(template={"templateFrom": [{"target": "LABELS"}]}), id="targets-in-any-case"),
        pytest.param({"dataFrom": [{"sourceRef": GENERATOR}]}, id="generator"),
        pytest.param({"dataFrom": [{**EXTRACT, "rewrite": [{}]}]}, id="rewrite-of-nothing"),
    ],
)
def test_admitted(spec: dict[str, Any]) -> None:
    assert found(**spec) == []


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        pytest.param(target(creationPolicy=policy, deletionPolicy="Delete"), "spec.target.deletionPolicy", id=policy)
        for policy in ("Merge", "None", "CreateOrMerge")
    ]
    + [
        pytest.param(target(creationPolicy="None", deletionPolicy="Merge"), "spec.target.deletionPolicy", id="2"),
        pytest.param({"data": []}, "spec", id="3-no-source"),
        pytest.param({"dataFrom": [{**EXTRACT, "find": {}}]}, "spec.dataFrom[0]", id="4-two-sources"),
        pytest.param({"dataFrom": [{**EXTRACT, "sourceRef": GENERATOR}]}, "spec.dataFrom[0]", id="4-with-generator"),
        pytest.param({"dataFrom": [{}]}, "spec.dataFrom[0]", id="4-no-source"),
        pytest.param({"dataFrom": [EXTRACT, {**EXTRACT, "sourceRef": {}}]}, "spec.dataFrom[1].sourceRef", id="4-empty"),
        pytest.param({"data": [VALUE, VALUE]}, "spec.data", id="5-duplicates"),
        pytest.param(
            target(template={"type": "bootstrap.kubernetes.io/token"}), "spec.target.template.type", id="6-bootstrap"
        ),
        pytest.param(
            target(
                template={
                    "type": "kubernetes.io/service-account-token",
                    "metadata": {"annotations": {"kubernetes.io/service-account.name": "x"}},
                }
            ),
            "spec.target.template.type",
            id="6-service-account",
        ),
        pytest.param(
            target(
                template={"type": "kubernetes.io/service-account-token", "templateFrom": [{"target": "annotations"}]}
            ),
            "spec.target.template.type",
            id="6-annotations-from-elsewhere",
        ),
        pytest.param(
            target(template={"templateFrom": [{"target": "spec"}]}),
            "spec.target.template.templateFrom[0].target",
            id="7-target",
        ),
        pytest.param({"refreshInterval": "1d"}, "spec.refreshInterval", id="interval"),
        pytest.param(
            {"dataFrom": [{**EXTRACT, "rewrite": [{"transform": {"template": "x"}, "merge": {}}]}]},
            "spec.dataFrom[0].rewrite[0]",
            id="two-operations",
        ),
    ],
)
def test_rejected(spec: dict[str, Any], path: str) -> None:
    (problem,) = found(**spec)
    assert problem.startswith(f"{path}: ")


def stores(**spec: Any) -> list[str]:
    raw = msgspec.json.encode({"provider": {"fake": {}}, **spec})
    return [str(problem) for problem in store_problems(decode_store_spec(raw))]


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        pytest.param({"provider": {}}, "spec.provider", id="no-provider"),
        pytest.param({"provider": {"fake": {}, "vault": {}}}, "spec.provider", id="two-providers"),
        pytest.param({"refreshInterval": -1}, "spec.refreshInterval", id="negative"),
        pytest.param({"refreshInterval": "-1s"}, "spec.refreshInterval", id="negative-duration"),
        pytest.param({"refreshInterval": "soon"}, "spec.refreshInterval", id="no-duration"),
        pytest.param({"refreshInterval": 10**18}, "spec.refreshInterval", id="for-ever"),
        pytest.param(
            {"conditions": [{"namespaceRegexes": ["ok", "("]}]}, "spec.conditions[0].namespaceRegexes[1]", id="regex"
        ),
        pytest.param(
            {"conditions": [{"namespaceRegexes": ["(?=x)"]}]}, "spec.conditions[0].namespaceRegexes[0]", id="look-ahead"
        ),
    ],
)
def test_stores_that_are_rejected(spec: dict[str, Any], path: str) -> None:
    (problem,) = stores(**spec)
    assert problem.startswith(f"{path}: ")


@pytest.mark.parametrize("interval", [0, 60, "5m", "0s", None])
def test_stores_that_are_accepted(interval: int | str | None) -> None:
    assert stores(refreshInterval=interval) == []

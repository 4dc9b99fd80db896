"""Templates and runs as users write them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.analysis.spec import Metric, Provider, RunSpec, TemplateSpec, decode_run_spec, decode_template_spec
from fairlead.core.errors import SpecError

FULL_METRIC: dict[str, Any] = {
    "name": "rate",
    "interval": "1m",
    "initialDelay": "30s",
    "count": "{{args.count}}",
    "successCondition": "result[0] > 0.95",
    "failureCondition": "result[0] < 0.5",
    "failureLimit": 3,
    "inconclusiveLimit": "2",
    "consecutiveErrorLimit": 1,
    "consecutiveSuccessLimit": 5,
}

PROVIDERS: list[dict[str, Any]] = [
    {
        "prometheus": {
            "address": "http://prometheus:9090",
            "query": "up",
            "rangeQuery": {"start": 'now() - duration("1h")', "end": "now()", "step": "1m"},
            "authentication": {
                "basicAuth": {"username": "u", "password": "p"},
                "oauth2": {"tokenUrl": "t", "clientId": "i", "clientSecret": "s", "scopes": ["a"]},
                "sigv4": {"region": "r", "profile": "p", "roleArn": "a"},
            },
            "timeout": 40,
            "insecure": True,
            "headers": [{"key": "X-Scope-OrgID", "value": "t"}],
        }
    },
    {
        "web": {
            "method": "POST",
            "url": "https://shop",
            "headers": [{"key": "a", "value": "b"}],
            "body": "x",
            "timeoutSeconds": 20,
            "jsonPath": "{$.data}",
            "insecure": True,
            "jsonBody": {"a": [1, None, {"b": None}]},
            "authentication": {"oauth2": {"tokenUrl": "t"}},
        }
    },
    {"job": {"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}, "spec": {"backoffLimit": 1}}},
    {
        "kayenta": {
            "address": "a",
            "application": "b",
            "canaryConfigName": "c",
            "metricsAccountName": "d",
            "configurationAccountName": "e",
            "storageAccountName": "f",
            "threshold": {"pass": 90, "marginal": 75},
            "scopes": [
                {
                    "name": "default",
                    "controlScope": {"scope": "s", "region": "r", "step": 60, "start": "x", "end": "y"},
                    "experimentScope": {"scope": "s"},
                }
            ],
            "lookback": True,
        }
    },
    {
        "datadog": {
            "apiVersion": "v2",
            "interval": "5m",
            "queries": {"a": "q"},
            "formula": "a",
            "aggregator": "last",
            "requestTimeout": "30s",
            "secretRef": {"name": "s", "namespaced": True},
        }
    },
    {"wavefront": {"address": "a", "query": "q"}},
    {"newRelic": {"profile": "p", "query": "q", "timeout": 10}},
    {"cloudWatch": {"interval": "5m", "metricDataQueries": [{"id": "a", "expression": "b"}]}},
    {"graphite": {"address": "a", "query": "q"}},
    {"influxdb": {"profile": "p", "query": "q"}},
    {"skywalking": {"address": "a", "query": "q", "interval": "5m"}},
    {"plugin": {"vendor/name": {"deep": {"null": None}}}},
]


def as_json(spec: msgspec.Struct) -> Any:
    return msgspec.json.decode(msgspec.json.encode(spec))


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: next(iter(provider)))
def test_a_metric_that_uses_every_field_reads_back_equal(provider: dict[str, Any]) -> None:
    content = {"metrics": [{**FULL_METRIC, "provider": provider}]}
    assert as_json(decode_run_spec(msgspec.json.encode(content))) == content


def test_every_provider_is_in_that_list() -> None:
    assert {next(iter(provider)) for provider in PROVIDERS} == {
        field.encode_name for field in msgspec.structs.fields(Provider)
    }


def test_a_template_that_uses_every_field_reads_back_equal() -> None:
    content = {
        "metrics": [{"name": "a", "provider": {"web": {"url": "u"}}}],
        "args": [
            {"name": "plain", "value": ""},
            {"name": "secret", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"name": "field", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "mandatory"},
        ],
        "dryRun": [{"metricName": ".*"}],
        "measurementRetention": [{"metricName": "a", "limit": 3}],
        "templates": [{"templateName": "t", "clusterScope": True}],
    }
    spec = decode_template_spec(msgspec.json.encode(content))
    assert as_json(spec) == content
    assert [argument.value for argument in spec.args] == ["", None, None, None]


def test_a_run_that_uses_every_field_reads_back_equal() -> None:
    content = {
        "metrics": [{"name": "a", "provider": {"web": {"url": "u"}}}],
        "terminate": True,
        "ttlStrategy": {"secondsAfterCompletion": 0, "secondsAfterSuccess": 1, "secondsAfterFailure": 2},
    }
    assert as_json(decode_run_spec(msgspec.json.encode(content))) == content


def test_unknown_fields_are_skipped_and_nulls_are_absent() -> None:
    raw = b'{"future": 1, "metrics": [{"name": "a", "interval": null, "provider": {"web": null, "job": {}}, "x": []}]}'
    spec = decode_run_spec(raw)
    assert spec.metrics[0].provider.names == ("job",)
    assert spec == RunSpec(metrics=(msgspec.convert({"name": "a", "provider": {"job": {}}}, Metric),))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            {"metrics": [{"name": "a"}, {"name": "b", "provider": {"prometheus": {"timeout": "30"}}}]},
            'spec.metrics[1].provider.prometheus.timeout: Invalid value: "30": expected int, found str',
        ),
        (
            {"args": [{"name": "port", "value": 9090}]},
            "spec.args[0].value: Invalid value: 9090: expected str, found int",
        ),
        ({"metrics": {}}, "spec.metrics: Invalid value: {}: expected array, found object"),
        (
            {"measurementRetention": [{"metricName": "a", "limit": 2**31}]},
            "spec.measurementRetention[0].limit: Invalid value: 2147483648: expected int <= 2147483647",
        ),
    ],
)
def test_a_field_of_the_wrong_type_is_named(content: dict[str, Any], text: str) -> None:
    with pytest.raises(SpecError) as caught:
        decode_run_spec(msgspec.json.encode(content))
    assert str(caught.value) == text


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"\xff"', b"[" * 100_000])
def test_what_is_no_object_is_an_error_of_the_spec(raw: bytes) -> None:
    with pytest.raises(SpecError, match=r"^spec"):
        decode_template_spec(raw)


def test_each_key_of_plugin_counts_as_a_provider() -> None:
    provider = msgspec.convert({"web": {}, "plugin": {"a": {}, "b": {}}}, Provider)
    assert provider.names == ("web", "a", "b")


@pytest.mark.parametrize("of", [RunSpec, TemplateSpec])
def test_the_fields_that_users_see_are_described(of: type[msgspec.Struct]) -> None:
    for definition in ("Metric", "Argument", "PrometheusMetric", "WebMetric", "JobMetric"):
        for name, field in msgspec.json.schema(of)["$defs"][definition]["properties"].items():
            assert field.get("description"), f"{definition}.{name}"

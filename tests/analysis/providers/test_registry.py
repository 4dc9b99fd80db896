"""Finding the provider of a metric."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from fairlead.analysis.ports import MetricProvider
from fairlead.analysis.providers import ProviderRegistry, ProviderTools, registry
from fairlead.analysis.providers.prometheus import PrometheusProvider
from fairlead.analysis.providers.web import WebProvider
from fairlead.core.errors import ProviderError
from tests.analysis.providers.servers import FixedClock, metric

TOOLS = ProviderTools(clock=FixedClock())


def own_factory(tools: ProviderTools) -> MetricProvider:
    """What a plug-in's entry point leads to."""
    return WebProvider(tools)


def test_one_provider_serves_all_metrics_of_its_kind() -> None:
    found = ProviderRegistry(TOOLS)
    first = found.provider(metric({"web": {"url": "http://a"}}))
    assert isinstance(first, WebProvider)
    assert found.provider(metric({"web": {"url": "http://b"}})) is first
    assert isinstance(found.provider(metric({"prometheus": {"query": "x"}})), PrometheusProvider)
    found.close()


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ({}, "no valid provider in metric 'error-rate': expected exactly one, found none"),
        (
            {"web": {"url": "x"}, "prometheus": {"query": "y"}},
            "no valid provider in metric 'error-rate': expected exactly one, found prometheus, web",
        ),
        ({"datadog": {"query": "x"}}, "provider 'datadog' of metric 'error-rate' is not built into fairlead yet: "),
        ({"newRelic": {"query": "x"}}, "provider 'newRelic' of metric 'error-rate' is not built into fairlead yet: "),
        (
            {"plugin": {"mine": {}}},
            "no valid provider in metric 'error-rate': 'mine' is neither built in nor installed",
        ),
        ({"job": {"spec": {}}}, "jobs need a cluster"),
    ],
    ids=["none", "two", "datadog", "newrelic", "unknown-plugin", "job-without-cluster"],
)
def test_metrics_without_a_provider(block: dict[str, Any], message: str) -> None:
    with pytest.raises(ProviderError) as caught:
        ProviderRegistry(TOOLS).provider(metric(block))
    assert str(caught.value).startswith(message)


def test_providers_can_be_handed_over() -> None:
    found = ProviderRegistry(TOOLS, {"mine": own_factory})
    assert isinstance(found.provider(metric({"plugin": {"mine": {"a": 1}}})), WebProvider)


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (f"{__name__}:own_factory", ""),
        (f"{__name__}:nothing_here", "provider 'mine' of metric 'error-rate' cannot be loaded: "),
        ("no_such_module_anywhere:x", "provider 'mine' of metric 'error-rate' cannot be loaded: "),
    ],
    ids=["good", "no-object", "no-module"],
)
def test_providers_can_be_installed(target: str, error: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def points(*, group: str, name: str) -> EntryPoints:
        assert (group, name) == ("fairlead.metric_providers", "mine")
        return EntryPoints([EntryPoint(name, target, group)])

    monkeypatch.setattr(registry, "entry_points", points)
    found, asked = ProviderRegistry(TOOLS), metric({"plugin": {"mine": {}}})
    if not error:
        assert isinstance(found.provider(asked), WebProvider)
        return
    with pytest.raises(ProviderError) as caught:
        found.provider(asked)
    assert str(caught.value).startswith(error)


def test_libraries_are_imported_only_by_who_needs_them() -> None:
    code = (
        "import sys, fairlead.analysis.providers, fairlead.analysis._conditions, fairlead.core.jsonpath\n"
        "heavy = ('aiohttp', 'requests', 'prometheus_api_client', 'boto3', 'asyncio')\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout == "[]\n"

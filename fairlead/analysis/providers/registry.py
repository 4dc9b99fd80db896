"""Which provider measures which metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Final

from fairlead.analysis.ports import MetricProvider
from fairlead.analysis.providers.settings import ProviderTools
from fairlead.analysis.spec import Metric
from fairlead.core.errors import ProviderError

GROUP: Final = "fairlead.metric_providers"
ProviderFactory = Callable[[ProviderTools], MetricProvider]

# Known to the API, and not built here. A plug-in of the same name takes their place.
_NOT_BUILT: Final = frozenset(
    ["kayenta", "datadog", "wavefront", "newRelic", "cloudWatch", "graphite", "influxdb", "skywalking"]
)


def _prometheus(tools: ProviderTools) -> MetricProvider:
    from fairlead.analysis.providers.prometheus import PrometheusProvider

    return PrometheusProvider(tools)


def _web(tools: ProviderTools) -> MetricProvider:
    from fairlead.analysis.providers.web import WebProvider

    return WebProvider(tools)


def _job(tools: ProviderTools) -> MetricProvider:
    from fairlead.analysis.providers.job import JobProvider

    return JobProvider(tools)


BUILT_IN: Final[Mapping[str, ProviderFactory]] = {"prometheus": _prometheus, "web": _web, "job": _job}


class ProviderRegistry:
    """Finds the source of a metric: built-in ones, those handed over, and those that are installed.

    A provider is made when a metric first needs it, and serves all metrics from then on; the libraries that it needs
    are imported then, too.
    """

    def __init__(self, tools: ProviderTools, extra: Mapping[str, ProviderFactory] | None = None) -> None:
        self._tools = tools
        self._factories: dict[str, ProviderFactory] = {**BUILT_IN, **(extra or {})}
        self._providers: dict[str, MetricProvider] = {}

    def provider(self, metric: Metric) -> MetricProvider:
        """Return the provider of the metric's block.

        Raises:
            ProviderError: there is none, or it cannot be set up.
        """
        names = metric.provider.names
        if len(names) != 1:
            found = ", ".join(names) or "none"
            raise ProviderError(
                f"no valid provider in metric '{metric.name}': expected exactly one, found {found}", provider=found
            )
        name = names[0]
        if name not in self._providers:
            self._providers[name] = self._factory(name, metric)(self._tools)
        return self._providers[name]

    def _factory(self, name: str, metric: Metric) -> ProviderFactory:
        if name in self._factories:
            return self._factories[name]
        for point in entry_points(group=GROUP, name=name):
            try:
                factory: ProviderFactory = point.load()
            except (ImportError, AttributeError) as error:
                raise ProviderError(
                    f"provider '{name}' of metric '{metric.name}' cannot be loaded: {error}", provider=name
                ) from error
            return factory
        if name in _NOT_BUILT:
            text = f"provider '{name}' of metric '{metric.name}' is not built into fairlead yet"
            raise ProviderError(f"{text}: use prometheus, web, job or a plug-in of the group {GROUP}", provider=name)
        raise ProviderError(
            f"no valid provider in metric '{metric.name}': '{name}' is neither built in nor installed as {GROUP}",
            provider=name,
        )

    def close(self) -> None:
        """End what the providers keep running; they must not be used any more."""
        for provider in self._providers.values():
            close = getattr(provider, "close", None)
            if callable(close):
                close()
        self._providers.clear()

"""Metric sources: one module each, found by the block of a metric.

A third party adds one through the entry-point group `fairlead.metric_providers`: the name is the key that users write
below `plugin`, the object a callable that takes `ProviderTools` and returns a `MetricProvider`. `OneCallProvider` is a
good start for one that answers at once: it leaves `measure`, which hands a `Value` to `judged` or returns `failed`.
"""

from __future__ import annotations

from fairlead.analysis._expressions import Value
from fairlead.analysis.providers._base import OneCallProvider, failed
from fairlead.analysis.providers.registry import ProviderFactory, ProviderRegistry
from fairlead.analysis.providers.settings import ProviderSettings, ProviderTools, WebGuard

__all__ = [
    "OneCallProvider",
    "ProviderFactory",
    "ProviderRegistry",
    "ProviderSettings",
    "ProviderTools",
    "Value",
    "WebGuard",
    "failed",
]

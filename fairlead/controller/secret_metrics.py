"""Prometheus metrics about external secrets, under the names of external-secrets' own.

There is a series for each object, so values are plain numbers in dictionaries: the client library's children would
take more memory than all that is known of an object otherwise. What is gone is exposed no more.

Source: `external-secrets: pkg/controllers/*/esmetrics, ssmetrics, cssmetrics`, `pkg/metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from fairlead.core.conditions import Condition
from fairlead.core.objects import Kind, ObjectKey

_OF_OBJECT = ("namespace", "name")
_NANOSECONDS: Final = 1e9  # the unit of the durations: existing dashboards divide by it
_STATUSES = ("True", "False")
_KINDS = ("externalsecret", "secretstore", "clustersecretstore")


class _Series(Collector):
    """Numbers by the values of labels, which are namespace and name where a metric is about objects.

    A counter whose name does not end in `_total` is exposed as `unknown`, which Prometheus stores alike.
    """

    def __init__(
        self, name: str, help_text: str, labels: tuple[str, ...], *, type_: str, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._help = help_text
        self._labels = labels
        self._type = type_
        self._values: dict[tuple[str, ...], float] = {}
        registry.register(self)

    def set(self, value: float, *labels: str) -> None:
        self._values[labels] = value

    def inc(self, *labels: str) -> None:
        self._values[labels] = self._values.get(labels, 0.0) + 1.0

    def forget(self, key: ObjectKey) -> None:
        """Expose an object no more."""
        self._values.pop((key.namespace, key.name), None)

    def collect(self) -> Iterator[Metric]:
        name = self._name.removesuffix("_total") if self._type == "counter" else self._name
        metric = Metric(name, self._help, self._type)
        for values, number in self._values.items():
            metric.add_sample(self._name, dict(zip(self._labels, values, strict=True)), number)
        yield metric


class _Conditions(Collector):
    """One series per object, condition and status: 1 for the one that holds, 0 for the opposite."""

    def __init__(self, name: str, *, registry: CollectorRegistry) -> None:
        self._name = name
        self._by_object: dict[ObjectKey, dict[str, str]] = {}
        registry.register(self)

    def set(self, key: ObjectKey, condition: Condition) -> None:
        self._by_object.setdefault(key, {})[condition.type] = condition.status

    def forget(self, key: ObjectKey) -> None:
        self._by_object.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        metric = Metric(self._name, "The status of a condition.", "gauge")
        for key, conditions in self._by_object.items():
            for type_, found in conditions.items():
                for status in _STATUSES:
                    labels = {"namespace": key.namespace, "name": key.name, "condition": type_, "status": status}
                    metric.add_sample(self._name, labels, 1.0 if status == found else 0.0)
        yield metric


class SecretMetrics:
    """What the reconcilers of external secrets count; implements their hook.

    Args:
        registry: exposes it.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._syncs = _Series(
            "externalsecret_sync_calls_total", "Attempts to sync.", _OF_OBJECT, type_="counter", registry=registry
        )
        self._sync_errors = _Series(
            "externalsecret_sync_calls_error",
            "Attempts to sync that failed.",
            _OF_OBJECT,
            type_="unknown",
            registry=registry,
        )
        self._provider_calls = _Series(
            "externalsecret_provider_api_calls_count",
            "Calls to stores of secrets.",
            ("provider", "call", "status"),
            type_="unknown",
            registry=registry,
        )
        self._reconciled = _Series(
            "controller_runtime_reconcile_total",
            "Reconciliations by controller.",
            ("controller", "result"),
            type_="counter",
            registry=registry,
        )
        self._conditions: Mapping[str, _Conditions] = {
            kind: _Conditions(f"{kind}_status_condition", registry=registry) for kind in _KINDS
        }
        self._durations: Mapping[str, _Series] = {
            kind: _Series(
                f"{kind}_reconcile_duration",
                "Nanoseconds that the last attempt took, from its beginning to its end.",
                _OF_OBJECT,
                type_="gauge",
                registry=registry,
            )
            for kind in _KINDS
        }

    def on_reconcile(self, controller: str, *, failed: bool) -> None:
        """Count one reconciliation, if it is one of external secrets: dashboards ask for these by that name."""
        if controller in _KINDS:
            self._reconciled.inc(controller, "error" if failed else "success")

    def on_sync(self, key: ObjectKey, *, failed: bool) -> None:
        """Count one attempt to sync an ExternalSecret."""
        self._syncs.inc(key.namespace, key.name)
        if failed:
            self._sync_errors.inc(key.namespace, key.name)

    def on_duration(self, kind: Kind[Any], key: ObjectKey, seconds: float) -> None:
        """Show how long an attempt to sync or to validate took."""
        self._durations[kind.kind.lower()].set(round(seconds * _NANOSECONDS), key.namespace, key.name)

    def on_condition(self, kind: Kind[Any], key: ObjectKey, condition: Condition) -> None:
        """Show a condition of an ExternalSecret or a store; the opposite status becomes 0."""
        self._conditions[kind.kind.lower()].set(key, condition)

    def on_gone(self, kind: Kind[Any], key: ObjectKey) -> None:
        """Forget an object: nothing of it is exposed any more."""
        self._conditions[kind.kind.lower()].forget(key)
        self._durations[kind.kind.lower()].forget(key)
        if kind.kind == "ExternalSecret":
            self._syncs.forget(key)
            self._sync_errors.forget(key)

    def on_provider_call(self, provider: str, call: str, succeeded: bool) -> None:
        """Count one call to a store of secrets."""
        self._provider_calls.inc(provider, call, "success" if succeeded else "error")

"""The blocks that several parts of a Rollout's spec share: analysis stanzas, metadata, selectors, matches.

Fields stand in the order of the Go types, because the hash of the steps depends on it.

Source: argo-rollouts: pkg/apis/rollouts/v1alpha1/types.go.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import msgspec

from fairlead.core.decoding import Int32, Wire, doc
from fairlead.core.selectors import Selector, from_label_selector


class SelectorRequirement(Wire, frozen=True, kw_only=True):
    """One `matchExpressions` entry."""

    key: Annotated[str, doc("Label key that the selector applies to.")]
    operator: Annotated[str, doc("In, NotIn, Exists or DoesNotExist.")]
    values: Annotated[tuple[str, ...], doc("Values for In and NotIn; empty for the others.")] = ()


class LabelSelector(Wire, frozen=True, kw_only=True):
    """A `metav1.LabelSelector`; terms are ANDed."""

    match_expressions: Annotated[tuple[SelectorRequirement, ...], doc("Requirements that all must hold.")] = ()
    match_labels: Annotated[dict[str, str], doc("Labels that must have exactly these values.")] = msgspec.field(
        default_factory=dict
    )

    @property
    def is_empty(self) -> bool:
        return not self.match_labels and not self.match_expressions

    def terms(self) -> Selector:
        """Return the selector as terms.

        Raises:
            ValueError: an operator that does not exist, or values that it cannot have.
        """
        expressions = [
            {"key": entry.key, "operator": entry.operator, "values": entry.values} for entry in self.match_expressions
        ]
        return from_label_selector(self.match_labels, expressions)


class Metadata(Wire, frozen=True, kw_only=True):
    """Labels and annotations to be added to something that the controller creates."""

    labels: Annotated[dict[str, str], doc("Labels to add.")] = msgspec.field(default_factory=dict)
    annotations: Annotated[dict[str, str], doc("Annotations to add.")] = msgspec.field(default_factory=dict)


class FieldRef(Wire, frozen=True, kw_only=True):
    field_path: Annotated[str, doc("Path into the Rollout, such as metadata.labels['region'] or status.stableRS.")]


class ArgumentValueFrom(Wire, frozen=True, kw_only=True):
    pod_template_hash_value: Annotated[str | None, doc("Stable or Latest: the hash label of that ReplicaSet.")] = None
    field_ref: Annotated[FieldRef | None, doc("A field of the Rollout itself.")] = None


class AnalysisArgument(Wire, frozen=True, kw_only=True):
    """An argument that the Rollout hands to its analysis."""

    name: Annotated[str, doc("Name of the argument, as the template declares it.")]
    value: Annotated[str, doc("A literal value.")] = ""
    value_from: Annotated[ArgumentValueFrom | None, doc("Where the value is read from.")] = None


class DryRun(Wire, frozen=True, kw_only=True):
    metric_name: Annotated[str, doc("Regular expression of metric names whose verdict does not count.")]


class MeasurementRetention(Wire, frozen=True, kw_only=True):
    metric_name: Annotated[str, doc("Regular expression of metric names.")]
    limit: Annotated[Int32, doc("How many measurements are kept.")]


class AnalysisTemplateRef(Wire, frozen=True, kw_only=True):
    # Go always writes the name, so it has a factory and not a plain default, which would be left out.
    template_name: Annotated[str, doc("Name of the AnalysisTemplate.")] = msgspec.field(default_factory=lambda: "")
    cluster_scope: Annotated[bool, doc("True: a ClusterAnalysisTemplate.")] = False


class RolloutAnalysis(Wire, frozen=True, kw_only=True):
    """One analysis stanza: the templates to combine, and their arguments."""

    templates: Annotated[tuple[AnalysisTemplateRef, ...], doc("Templates to combine into one AnalysisRun.")] = ()
    args: Annotated[tuple[AnalysisArgument, ...], doc("Arguments of the AnalysisRun.")] = ()
    dry_run: Annotated[tuple[DryRun, ...], doc("Metrics that are measured without consequences.")] = ()
    measurement_retention: Annotated[
        tuple[MeasurementRetention, ...], doc("How many measurements of which metrics are kept.")
    ] = ()
    # A struct without pointer in Go: `{}` is written even when it is empty.
    analysis_run_metadata: Annotated[Metadata, doc("Labels and annotations of the AnalysisRun.")] = msgspec.field(
        default_factory=Metadata
    )


class BackgroundAnalysis(RolloutAnalysis, frozen=True, kw_only=True):
    """The stanza that runs beside the steps."""

    starting_step: Annotated[Int32 | None, doc("Index of the step with which it starts; 0 when absent.")] = None


class StringMatch(Wire, frozen=True, kw_only=True):
    """How a string is compared; exactly one of the three."""

    exact: Annotated[str, doc("The whole string is equal.")] = ""
    prefix: Annotated[str, doc("The string begins so.")] = ""
    regex: Annotated[str, doc("The string matches this regular expression.")] = ""

    @property
    def chosen(self) -> int:
        """How many of the three are set; 1 is right."""
        return sum(bool(text) for text in (self.exact, self.prefix, self.regex))


PING, PONG = "ping", "pong"


class PingPong(Wire, frozen=True, kw_only=True):
    ping_service: Annotated[str, doc("One Service of the pair.")]
    pong_service: Annotated[str, doc("The other one.")]


class Pair(NamedTuple):
    """Which Services stand for stable and canary; empty: none does."""

    stable: str
    canary: str

"""The spec of an Experiment, as written.

Source: argo-rollouts: pkg/apis/rollouts/v1alpha1/experiment_types.go.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from fairlead.core.decoding import PRESERVED, Int32, Wire, doc
from fairlead.rollouts._stanzas import DryRun, LabelSelector, MeasurementRetention, Metadata
from fairlead.rollouts._steps import TemplateService

_TEMPLATE = {"type": "object"} | PRESERVED


class SecretKeyRef(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of the Secret.")]
    key: Annotated[str, doc("Key within it.")]


class ExperimentFieldRef(Wire, frozen=True, kw_only=True):
    field_path: Annotated[str, doc("Path of a field.")]


class ExperimentValueFrom(Wire, frozen=True, kw_only=True):
    secret_key_ref: Annotated[SecretKeyRef | None, doc("A key of a Secret.")] = None
    field_ref: Annotated[ExperimentFieldRef | None, doc("A field of the object.")] = None


class ExperimentArgument(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of the argument.")]
    value: Annotated[str | None, doc("A literal value.")] = None
    value_from: Annotated[ExperimentValueFrom | None, doc("Where the value is read from.")] = None


class ExperimentTemplateSpec(Wire, frozen=True, kw_only=True):
    """One ReplicaSet of an Experiment."""

    name: Annotated[str, doc("Name within the Experiment; its ReplicaSet is named experiment-name.")]
    replicas: Annotated[Int32 | None, doc("Number of pods; 1 when absent.")] = None
    min_ready_seconds: Annotated[Int32, doc("A pod counts as available so long after it became ready.")] = 0
    selector: Annotated[LabelSelector, doc("Which pods belong to the ReplicaSet.")]
    template: Annotated[msgspec.Raw, msgspec.Meta(extra_json_schema=_TEMPLATE), doc("The pods that are created.")]
    service: Annotated[TemplateService | None, doc("Asks for a Service in front of the pods.")] = None


class ExperimentAnalysisSpec(Wire, frozen=True, kw_only=True):
    """One analysis of an Experiment."""

    name: Annotated[str, doc("Name within the Experiment.")]
    template_name: Annotated[str, doc("Name of the AnalysisTemplate.")]
    cluster_scope: Annotated[bool, doc("True: a ClusterAnalysisTemplate.")] = False
    args: Annotated[tuple[ExperimentArgument, ...], doc("Arguments of the AnalysisRun.")] = ()
    required_for_completion: Annotated[bool, doc("The Experiment ends once this analysis has.")] = False


class ExperimentSpec(Wire, frozen=True, kw_only=True):
    """What an Experiment starts, and for how long."""

    templates: Annotated[tuple[ExperimentTemplateSpec, ...], doc("ReplicaSets to start.")]
    duration: Annotated[str, doc("How long it runs once all are available; absent: until its analyses end.")] = ""
    progress_deadline_seconds: Annotated[
        Int32 | None, doc("A template without progress for so long fails; 600 when absent.")
    ] = None
    terminate: Annotated[bool, doc("End it.")] = False
    analyses: Annotated[tuple[ExperimentAnalysisSpec, ...], doc("Analyses that run meanwhile.")] = ()
    scale_down_delay_seconds: Annotated[Int32 | None, doc("How long the pods stay after the end; 30 when absent.")] = (
        None
    )
    dry_run: Annotated[tuple[DryRun, ...], doc("Metrics that are measured without consequences.")] = ()
    measurement_retention: Annotated[
        tuple[MeasurementRetention, ...], doc("How many measurements of which metrics are kept.")
    ] = ()
    analysis_run_metadata: Annotated[Metadata | None, doc("Labels and annotations of the AnalysisRuns.")] = None

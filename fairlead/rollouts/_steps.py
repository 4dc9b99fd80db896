"""The steps of a canary: as the user writes them, and as one value of a union each.

Fields stand in the order of the Go types, because `status.currentStepHash` depends on it.

Source: argo-rollouts: pkg/apis/rollouts/v1alpha1/types.go (CanaryStep), utils/rollout/rolloututil.go (texts).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import msgspec

from fairlead.core.decoding import INT32_MAX, PRESERVED, Int32, Wire, doc
from fairlead.core.durations import parse_go_seconds
from fairlead.rollouts._stanzas import (
    AnalysisArgument,
    DryRun,
    LabelSelector,
    Metadata,
    RolloutAnalysis,
    StringMatch,
)


class PauseBlock(Wire, frozen=True, kw_only=True):
    """The `pause` of a step, as written."""

    duration: Annotated[
        Int32 | str | None, doc("Seconds as a number, or a Go duration such as 1h30m; absent: until promoted.")
    ] = None

    @property
    def seconds(self) -> int | None:
        """Whole seconds (fractions are cut off), -1 when unreadable; None: it never ends by itself."""
        match self.duration:
            case None:
                return None
            case int():
                return self.duration
            case str():
                return _seconds(self.duration)


def _seconds(text: str) -> int:
    # A plain number is seconds only within 32 bits; what Go's ParseInt refuses is read as a duration.
    if text.isascii() and text.removeprefix("-").removeprefix("+").isdigit() and abs(int(text[:20])) <= INT32_MAX:
        return int(text)
    try:
        return int(parse_go_seconds(text))
    except ValueError:
        return -1


class TemplateService(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of the generated Service; the template's own name when absent.")] = ""


class ExperimentTemplate(Wire, frozen=True, kw_only=True):
    """One ReplicaSet of an experiment step."""

    name: Annotated[str, doc("Name of the template within the experiment.")]
    spec_ref: Annotated[str, doc("canary or stable: whose pod template is used.")]
    replicas: Annotated[Int32 | None, doc("Number of pods; 1 when absent.")] = None
    metadata: Annotated[Metadata, doc("Labels and annotations of the pods.")] = msgspec.field(default_factory=Metadata)
    selector: Annotated[LabelSelector | None, doc("Overrides the Rollout's selector.")] = None
    weight: Annotated[Int32 | None, doc("Share of the traffic for these pods.")] = None
    service: Annotated[TemplateService | None, doc("Asks for a Service in front of these pods.")] = None


class ExperimentAnalysis(Wire, frozen=True, kw_only=True):
    """One analysis of an experiment step."""

    name: Annotated[str, doc("Name of this analysis within the experiment.")]
    template_name: Annotated[str, doc("Name of the AnalysisTemplate.")]
    cluster_scope: Annotated[bool, doc("True: a ClusterAnalysisTemplate.")] = False
    args: Annotated[tuple[AnalysisArgument, ...], doc("Arguments of the AnalysisRun.")] = ()
    required_for_completion: Annotated[bool, doc("The experiment ends once this analysis has.")] = False


class ExperimentBlock(Wire, frozen=True, kw_only=True):
    """The `experiment` of a step, as written."""

    templates: Annotated[tuple[ExperimentTemplate, ...], doc("ReplicaSets to start.")]
    duration: Annotated[str, doc("How long it runs, as a Go duration.")] = ""
    analyses: Annotated[tuple[ExperimentAnalysis, ...], doc("Analyses that run meanwhile.")] = ()
    dry_run: Annotated[tuple[DryRun, ...], doc("Metrics that are measured without consequences.")] = ()
    analysis_run_metadata: Annotated[Metadata, doc("Labels and annotations of the AnalysisRuns.")] = msgspec.field(
        default_factory=Metadata
    )
    scale_down_delay_seconds: Annotated[Int32 | None, doc("How long the pods stay after the end; 30 when absent.")] = (
        None
    )


class SetCanaryScale(Wire, frozen=True, kw_only=True):
    """Decouples the size of the canary from its weight, until `match_traffic_weight`."""

    weight: Annotated[Int32 | None, doc("Size in percent of the Rollout's replicas.")] = None
    replicas: Annotated[Int32 | None, doc("Size in pods.")] = None
    match_traffic_weight: Annotated[bool, doc("Follow the weight again.")] = False


class HeaderMatch(Wire, frozen=True, kw_only=True):
    header_name: Annotated[str, doc("Name of the request header.")]
    header_value: Annotated[StringMatch, doc("How its value is compared.")]


class SetHeaderRoute(Wire, frozen=True, kw_only=True):
    """Sends requests with certain headers to the canary; without `match` the route is removed."""

    name: Annotated[str, doc("One of trafficRouting.managedRoutes.")] = ""
    match: Annotated[tuple[HeaderMatch, ...], doc("Headers that all must match.")] = ()


class RouteMatch(Wire, frozen=True, kw_only=True):
    method: Annotated[StringMatch | None, doc("HTTP method.")] = None
    path: Annotated[StringMatch | None, doc("URL path.")] = None
    headers: Annotated[dict[str, StringMatch], doc("Request headers.")] = msgspec.field(default_factory=dict)


class SetMirrorRoute(Wire, frozen=True, kw_only=True):
    """Copies matching requests to the canary; without `match` the route is removed."""

    name: Annotated[str, doc("One of trafficRouting.managedRoutes.")]
    match: Annotated[tuple[RouteMatch, ...], doc("Requests to mirror.")] = ()
    percentage: Annotated[Int32 | None, doc("Share of the matching requests.")] = None


Opaque = Annotated[dict[str, Any], msgspec.Meta(extra_json_schema=PRESERVED), doc("Opaque here.")]


class PluginStep(Wire, frozen=True, kw_only=True):
    """A step that a plug-in performs."""

    name: Annotated[str, doc("Name of the plug-in, such as org/name.")]
    config: Annotated[Opaque | None, doc("What the plug-in is told.")] = None


@dataclass(frozen=True, slots=True)
class SetWeight:
    """From now on `weight` parts of the traffic (or of the pods) go to the canary."""

    weight: int


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait; `duration` None: until a person promotes."""

    duration: timedelta | None


@dataclass(frozen=True, slots=True)
class AnalysisStep:
    """Run an analysis and go on when it is successful."""

    analysis: RolloutAnalysis


@dataclass(frozen=True, slots=True)
class ExperimentStep:
    """Run an experiment and go on when it is successful."""

    experiment: ExperimentBlock


Step = SetWeight | Pause | SetCanaryScale | AnalysisStep | ExperimentStep | SetHeaderRoute | SetMirrorRoute | PluginStep


class CanaryStep(Wire, frozen=True, kw_only=True):
    """One entry of `steps`, as written; `action` says which kind of step decides when it is complete.

    A step may carry both a weight and a scale: whoever looks for the weight or the scale in force reads
    `set_weight` and `set_canary_scale` of every step, not `action`.
    """

    set_weight: Annotated[Int32 | None, doc("Weight of the canary from now on.")] = None
    pause: Annotated[PauseBlock | None, doc("Wait, for a time or until promoted.")] = None
    experiment: Annotated[ExperimentBlock | None, doc("Run an Experiment.")] = None
    analysis: Annotated[RolloutAnalysis | None, doc("Run an AnalysisRun.")] = None
    set_canary_scale: Annotated[SetCanaryScale | None, doc("Size of the canary, apart from its weight.")] = None
    set_header_route: Annotated[SetHeaderRoute | None, doc("Route by header.")] = None
    set_mirror_route: Annotated[SetMirrorRoute | None, doc("Mirror requests.")] = None
    plugin: Annotated[PluginStep | None, doc("Let a plug-in do something.")] = None

    @property
    def action(self) -> Step | None:
        """The step as one value; None when no known key is set (validation refuses that).

        With several keys the first of this order decides, as in argo-rollouts' completion test.
        """
        if self.pause is not None:
            seconds = self.pause.seconds
            return Pause(None if seconds is None else timedelta(seconds=max(0, seconds)))
        if self.set_canary_scale is not None:
            return self.set_canary_scale
        if self.set_weight is not None:
            return SetWeight(self.set_weight)
        if self.experiment is not None:
            return ExperimentStep(self.experiment)
        if self.analysis is not None:
            return AnalysisStep(self.analysis)
        return self.set_header_route or self.set_mirror_route or self.plugin

    @property
    def text(self) -> str:
        """The words for it in the event `RolloutStepCompleted` and in the tables of the command line.

        >>> CanaryStep(set_weight=20).text
        'setWeight: 20'
        """
        if self.set_weight is not None:
            return f"setWeight: {self.set_weight}"
        if self.pause is not None:
            return "pause" if self.pause.duration is None else f"pause: {self.pause.duration}"
        if self.experiment is not None:
            return "experiment"
        if self.analysis is not None:
            return "analysis"
        if self.set_canary_scale is not None:
            return _scale_text(self.set_canary_scale)
        if self.plugin is not None:
            return f"plugin: {self.plugin.name}"
        if self.set_header_route is not None:
            return f"setHeaderRoute: {self.set_header_route.name}"
        if self.set_mirror_route is not None:
            return f"setMirrorRoute: {self.set_mirror_route.name}"
        return "invalid"


def _scale_text(scale: SetCanaryScale) -> str:
    if scale.weight is not None:
        return f"setCanaryScale{{weight: {scale.weight}}}"
    if scale.match_traffic_weight:
        return "setCanaryScale{matchTrafficWeight: true}"
    if scale.replicas is not None:
        return f"setCanaryScale{{replicas: {scale.replicas}}}"
    return "invalid"

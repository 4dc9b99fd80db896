"""What the user asked for: the spec of a Rollout, parsed, with defaults applied when they are read.

Structs hold what is written (`replicas` None: absent); properties in our words hold what follows from it
(`replicas_wanted`, `progress_deadline`). The pod template stays raw JSON: nothing in it can make parsing fail.
Whether the whole makes sense is decided by `validate`.

Source: argo-rollouts: pkg/apis/rollouts/v1alpha1/types.go, utils/defaults/defaults.go.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from math import ceil, floor
from typing import Annotated, Any, Literal

import msgspec

from fairlead.core.decoding import INT32_MAX, PRESERVED, Decoder, Int32, Wire, doc
from fairlead.core.selectors import Selector
from fairlead.rollouts._routing_blocks import ManagedRoute, TrafficRouting
from fairlead.rollouts._stanzas import (
    PING,
    AnalysisArgument,
    AnalysisTemplateRef,
    BackgroundAnalysis,
    LabelSelector,
    Metadata,
    Pair,
    PingPong,
    RolloutAnalysis,
    SelectorRequirement,
    StringMatch,
)
from fairlead.rollouts._steps import (
    AnalysisStep,
    CanaryStep,
    ExperimentBlock,
    ExperimentStep,
    HeaderMatch,
    Pause,
    PauseBlock,
    PluginStep,
    SetCanaryScale,
    SetHeaderRoute,
    SetMirrorRoute,
    SetWeight,
    Step,
)

__all__ = [
    "AnalysisArgument",
    "AnalysisStep",
    "AnalysisTemplateRef",
    "AnalysisUse",
    "BackgroundAnalysis",
    "BlueGreenStrategy",
    "CanaryStep",
    "CanaryStrategy",
    "ExperimentBlock",
    "ExperimentStep",
    "HeaderMatch",
    "LabelSelector",
    "ManagedRoute",
    "Metadata",
    "Pause",
    "PauseBlock",
    "PluginStep",
    "ReplicaProgressThreshold",
    "RolloutAnalysis",
    "RolloutSpec",
    "RunKey",
    "SelectorRequirement",
    "ServiceUse",
    "SetCanaryScale",
    "SetHeaderRoute",
    "SetMirrorRoute",
    "SetWeight",
    "Share",
    "Step",
    "StringMatch",
    "TrafficRouting",
    "WorkloadRef",
    "parse",
]

IntOrString = Int32 | str
_DELAY = timedelta(seconds=30)  # argo-rollouts' default for every scale-down delay of routed and blue-green rollouts


@dataclass(frozen=True, slots=True)
class Share:
    """A number of pods, or a percentage of them."""

    value: int
    is_percent: bool

    def of(self, total: int, *, round_up: bool) -> int:
        """Return the number of pods that this share of `total` is.

        >>> Share(25, True).of(10, round_up=True), Share(25, True).of(10, round_up=False)
        (3, 2)
        """
        if not self.is_percent:
            return self.value
        exact = Fraction(self.value * total, 100)
        return ceil(exact) if round_up else floor(exact)


def _share(value: int | str | None) -> Share:
    """Return an int-or-string as a Share: any string is a percentage, with or without `%`; absent means 25 %.

    What is no number counts as 0, as in argo-rollouts.
    """
    if isinstance(value, int):
        return Share(value, False)
    text = "25" if value is None else value.strip().removesuffix("%")
    is_number = text.isascii() and text.removeprefix("-").removeprefix("+").isdigit() and len(text) <= 10
    return Share(int(text) if is_number else 0, True)


def _delay(seconds: int | None, default: timedelta = _DELAY) -> timedelta:
    return default if seconds is None else timedelta(seconds=max(0, seconds))


class PreferredAntiAffinity(Wire, frozen=True, kw_only=True):
    weight: Annotated[Int32, doc("1 to 100.")]


class RequiredAntiAffinity(Wire, frozen=True, kw_only=True):
    """Carries nothing."""


class AntiAffinity(Wire, frozen=True, kw_only=True):
    """Keeps new pods away from the nodes of stable ones; exactly one of the two."""

    preferred_during_scheduling_ignored_during_execution: Annotated[
        PreferredAntiAffinity | None, doc("A wish, with a weight.")
    ] = None
    required_during_scheduling_ignored_during_execution: Annotated[RequiredAntiAffinity | None, doc("A condition.")] = (
        None
    )


class BlueGreenStrategy(Wire, frozen=True, kw_only=True):
    """`strategy.blueGreen`, as written."""

    active_service: Annotated[str, doc("Service that users reach.")]
    preview_service: Annotated[str, doc("Service for testers.")] = ""
    preview_replica_count: Annotated[Int32 | None, doc("Size of the preview before the switch.")] = None
    auto_promotion_enabled: Annotated[bool | None, doc("False: a person promotes. True when absent.")] = None
    auto_promotion_seconds: Annotated[Int32, doc("Wait so long before the switch.")] = 0
    max_unavailable: Annotated[IntOrString | None, doc("How many pods a restart may take away at a time.")] = None
    scale_down_delay_seconds: Annotated[Int32 | None, doc("How long the old pods stay; 30 when absent.")] = None
    scale_down_delay_revision_limit: Annotated[Int32 | None, doc("How many old ReplicaSets may wait so.")] = None
    pre_promotion_analysis: Annotated[RolloutAnalysis | None, doc("Runs before the switch.")] = None
    anti_affinity: Annotated[AntiAffinity | None, doc("Where new pods may not run.")] = None
    post_promotion_analysis: Annotated[RolloutAnalysis | None, doc("Runs after the switch.")] = None
    preview_metadata: Annotated[Metadata | None, doc("Labels and annotations of preview pods.")] = None
    active_metadata: Annotated[Metadata | None, doc("Labels and annotations of active pods.")] = None
    abort_scale_down_delay_seconds: Annotated[
        Int32 | None, doc("How long the preview stays after an abort; 0: for ever.")
    ] = None

    @property
    def unavailable(self) -> Share:
        """`maxUnavailable`; absolute numbers follow by rounding down."""
        return _share(self.max_unavailable)

    @property
    def auto_promotion_delay(self) -> timedelta | None:
        """How long to pause before the switch; None: until a person promotes."""
        if self.auto_promotion_enabled is False:
            return None
        return timedelta(seconds=max(0, self.auto_promotion_seconds))

    @property
    def scale_down_delay(self) -> timedelta:
        """How long a ReplicaSet that was stable keeps its pods after a promotion."""
        return _delay(self.scale_down_delay_seconds)

    @property
    def delayed_revisions_max(self) -> int:
        """How many old ReplicaSets may keep their pods at a time."""
        return INT32_MAX if self.scale_down_delay_revision_limit is None else self.scale_down_delay_revision_limit

    @property
    def abort_scale_down_delay(self) -> timedelta | None:
        """How long the preview keeps its pods after an abort; None: for ever."""
        return None if self.abort_scale_down_delay_seconds == 0 else _delay(self.abort_scale_down_delay_seconds)


class ReplicaProgressThreshold(Wire, frozen=True, kw_only=True):
    """How many canary pods are enough for a step to count."""

    type: Annotated[str, doc("Percent or Pods.")]
    value: Annotated[Int32, doc("How many; negative: ignored.")]


class CanaryStrategy(Wire, frozen=True, kw_only=True):
    """`strategy.canary`, as written, and what follows from it."""

    canary_service: Annotated[str, doc("Service that selects the canary's pods.")] = ""
    stable_service: Annotated[str, doc("Service that selects the stable pods.")] = ""
    steps: Annotated[tuple[CanaryStep, ...], doc("What happens, in this order.")] = ()
    traffic_routing: Annotated[TrafficRouting | None, doc("Who splits the traffic.")] = None
    max_unavailable: Annotated[IntOrString | None, doc("How many pods may be missing; 25% when absent.")] = None
    max_surge: Annotated[IntOrString | None, doc("How many pods may be too many; 25% when absent.")] = None
    analysis: Annotated[BackgroundAnalysis | None, doc("Runs beside the steps.")] = None
    anti_affinity: Annotated[AntiAffinity | None, doc("Where new pods may not run.")] = None
    canary_metadata: Annotated[Metadata | None, doc("Labels and annotations of canary pods.")] = None
    stable_metadata: Annotated[Metadata | None, doc("Labels and annotations of stable pods.")] = None
    scale_down_delay_seconds: Annotated[Int32 | None, doc("How long the old pods stay; routed only, 30.")] = None
    scale_down_delay_revision_limit: Annotated[Int32 | None, doc("How many old ReplicaSets may wait so.")] = None
    abort_scale_down_delay_seconds: Annotated[
        Int32 | None, doc("How long the canary stays after an abort; 30, and 0: for ever. Routed only.")
    ] = None
    dynamic_stable_scale: Annotated[bool, doc("Stable shrinks as its traffic does. Routed only.")] = False
    ping_pong: Annotated[PingPong | None, doc("A pair of Services that take turns.")] = None
    min_pods_per_replica_set: Annotated[Int32 | None, doc("Smallest size of a ReplicaSet. Routed only.")] = None
    replica_progress_threshold: Annotated[
        ReplicaProgressThreshold | None, doc("How many pods are enough for a step to count.")
    ] = None

    @property
    def is_routed(self) -> bool:
        """Whether a router splits the traffic (else the numbers of pods do)."""
        return self.traffic_routing is not None

    def pair(self, stable_turn: str) -> Pair:
        """Return which Services stand for stable and canary.

        Args:
            stable_turn: `status.canary.stablePingPong`: whose turn it is to be stable, `ping` or `pong` (also when
                empty). Without a pair that takes turns it does not matter.
        """
        if self.ping_pong is None:
            return Pair(self.stable_service, self.canary_service)
        ping, pong = self.ping_pong.ping_service, self.ping_pong.pong_service
        return Pair(ping, pong) if stable_turn == PING else Pair(pong, ping)

    @property
    def weight_max(self) -> int:
        """What all weights add up to."""
        routing = self.traffic_routing
        return 100 if routing is None or routing.max_traffic_weight is None else routing.max_traffic_weight

    @property
    def surge(self) -> Share:
        """`maxSurge`; absolute numbers follow by rounding up."""
        return _share(self.max_surge)

    @property
    def unavailable(self) -> Share:
        """`maxUnavailable`; absolute numbers follow by rounding down."""
        return _share(self.max_unavailable)

    @property
    def scale_down_delay(self) -> timedelta:
        """How long a ReplicaSet that was stable keeps its pods after a promotion; zero without a router."""
        if not self.is_routed or self.is_dynamic:
            return timedelta(0)
        return _delay(self.scale_down_delay_seconds)

    @property
    def is_dynamic(self) -> bool:
        """Whether stable shrinks as its traffic does."""
        return self.dynamic_stable_scale and self.is_routed

    @property
    def delayed_revisions_max(self) -> int:
        """How many old ReplicaSets may keep their pods at a time."""
        return INT32_MAX if self.scale_down_delay_revision_limit is None else self.scale_down_delay_revision_limit

    @property
    def abort_scale_down_delay(self) -> timedelta | None:
        """How long the canary keeps its pods after an abort; None: for ever. Zero without a router."""
        if not self.is_routed:
            return timedelta(0)
        return None if self.abort_scale_down_delay_seconds == 0 else _delay(self.abort_scale_down_delay_seconds)

    @property
    def pods_min(self) -> int:
        """`minPodsPerReplicaSet`, 0 when it does not apply."""
        return max(0, self.min_pods_per_replica_set or 0) if self.is_routed else 0

    @property
    def progress_threshold(self) -> ReplicaProgressThreshold | None:
        """`replicaProgressThreshold` when it has effect."""
        threshold = self.replica_progress_threshold
        return threshold if threshold is not None and threshold.value >= 0 else None


class RolloutStrategy(Wire, frozen=True, kw_only=True):
    """Exactly one of the two."""

    blue_green: Annotated[BlueGreenStrategy | None, doc("Two full sets of pods, and a switch.")] = None
    canary: Annotated[CanaryStrategy | None, doc("Step by step.")] = None


class WorkloadRef(Wire, frozen=True, kw_only=True):
    """Where the pod template is taken from, instead of `template`."""

    api_version: Annotated[str, doc("API version of the workload.")] = ""
    kind: Annotated[str, doc("Deployment, ReplicaSet or PodTemplate.")] = ""
    name: Annotated[str, doc("Its name, in the Rollout's namespace.")] = ""
    scale_down: Annotated[str, doc("never, onsuccess or progressively: when the workload is scaled to 0.")] = ""


class RollbackWindow(Wire, frozen=True, kw_only=True):
    revisions: Annotated[Int32, doc("A rollback over fewer revisions than this skips the steps.")] = 0


class AnalysisHistory(Wire, frozen=True, kw_only=True):
    successful_run_history_limit: Annotated[Int32 | None, doc("Successful runs and experiments to keep; 5.")] = None
    unsuccessful_run_history_limit: Annotated[Int32 | None, doc("Other completed runs and experiments to keep; 5.")] = (
        None
    )


@dataclass(frozen=True, slots=True)
class ServiceUse:
    """A Service that the spec names, and where."""

    path: str
    name: str


# Which run is meant: that of a step (by its index), before or after the switch of a blue-green Rollout, or (None) the
# one in the background.
RunKey = int | Literal["pre", "post"] | None


@dataclass(frozen=True, slots=True)
class AnalysisUse:
    """An analysis stanza of the spec: where it stands, and whether it runs in the background."""

    path: str
    analysis: RolloutAnalysis
    is_background: bool
    step: RunKey = None


class _TemplateHead(msgspec.Struct, frozen=True):
    metadata: dict[str, Any] = {}


_template_head = msgspec.json.Decoder(_TemplateHead)
NO_TEMPLATE = msgspec.Raw(b"{}")
_SELECTOR_RULE = {"rule": "self == oldSelf", "message": ".spec.selector is immutable"}


class RolloutSpec(Wire, frozen=True, kw_only=True):
    """The spec of a Rollout, as written, and what follows from it."""

    replicas: Annotated[Int32 | None, doc("Wanted number of pods; 1 when absent.")] = None
    selector: Annotated[
        LabelSelector | None,
        msgspec.Meta(extra_json_schema={"x-kubernetes-validations": [_SELECTOR_RULE]}),
        doc("Which pods belong to the Rollout; immutable."),
    ] = None
    template: Annotated[
        msgspec.Raw, msgspec.Meta(extra_json_schema={"type": "object"} | PRESERVED), doc("The pods that are created.")
    ] = msgspec.field(default_factory=lambda: NO_TEMPLATE)  # by factory: a schema cannot show raw JSON as a default
    workload_ref: Annotated[WorkloadRef | None, doc("Take the pod template from another workload.")] = None
    min_ready_seconds: Annotated[Int32, doc("A pod counts as available so long after it became ready.")] = 0
    rollback_window: Annotated[RollbackWindow | None, doc("When a rollback may skip the steps.")] = None
    strategy: Annotated[RolloutStrategy, doc("How a new version takes over.")] = RolloutStrategy()
    revision_history_limit: Annotated[Int32 | None, doc("How many old ReplicaSets are kept; 10 when absent.")] = None
    paused: Annotated[bool, doc("Nothing moves while this is true.")] = False
    progress_deadline_seconds: Annotated[Int32 | None, doc("No progress for so long: degraded; 600 when absent.")] = (
        None
    )
    progress_deadline_abort: Annotated[bool, doc("Abort the update at the deadline.")] = False
    restart_at: (
        Annotated[datetime, msgspec.Meta(tz=True), doc("Pods that are older than this are replaced.")] | None
    ) = None
    analysis: Annotated[AnalysisHistory | None, doc("How many analysis runs are kept.")] = None

    @property
    def replicas_wanted(self) -> int:
        return 1 if self.replicas is None else self.replicas

    @property
    def canary(self) -> CanaryStrategy | None:
        return self.strategy.canary

    @property
    def blue_green(self) -> BlueGreenStrategy | None:
        return self.strategy.blue_green

    @property
    def steps(self) -> tuple[CanaryStep, ...]:
        """The steps of the canary; none for blue-green."""
        return self.strategy.canary.steps if self.strategy.canary else ()

    @property
    def history_limit(self) -> int:
        return 10 if self.revision_history_limit is None else self.revision_history_limit

    @property
    def progress_deadline(self) -> timedelta:
        return timedelta(seconds=600 if self.progress_deadline_seconds is None else self.progress_deadline_seconds)

    @property
    def min_ready(self) -> timedelta:
        return timedelta(seconds=self.min_ready_seconds)

    @property
    def rollback_window_revisions(self) -> int:
        """How far a fast rollback reaches, in revisions; 0: there is none."""
        return max(0, self.rollback_window.revisions) if self.rollback_window else 0

    @property
    def successful_runs_kept(self) -> int:
        limit = self.analysis.successful_run_history_limit if self.analysis else None
        return 5 if limit is None else limit

    @property
    def unsuccessful_runs_kept(self) -> int:
        limit = self.analysis.unsuccessful_run_history_limit if self.analysis else None
        return 5 if limit is None else limit

    @property
    def template_labels(self) -> dict[str, str]:
        """Labels of the pod template; entries that are no strings are left out."""
        return self._template_map("labels")

    @property
    def template_annotations(self) -> dict[str, str]:
        """Annotations of the pod template; entries that are no strings are left out."""
        return self._template_map("annotations")

    def _template_map(self, name: str) -> dict[str, str]:
        try:
            values = _template_head.decode(self.template).metadata.get(name)
        except (msgspec.MsgspecError, RecursionError):  # not an object at all: it has no labels either
            return {}
        return {key: text for key, text in values.items() if isinstance(text, str)} if isinstance(values, dict) else {}

    @property
    def selector_terms(self) -> Selector:
        """The selector as terms; empty when it is absent.

        Raises:
            ValueError: an operator that does not exist, or values that it cannot have.
        """
        return self.selector.terms() if self.selector else ()

    @property
    def services(self) -> tuple[ServiceUse, ...]:
        """Every Service that the spec names, in the order in which they are checked."""
        named: list[tuple[str, str]] = []
        if canary := self.strategy.canary:
            root = "spec.strategy.canary"
            named += [
                (f"{root}.stableService", canary.stable_service),
                (f"{root}.canaryService", canary.canary_service),
            ]
            if pair := canary.ping_pong:
                named += [
                    (f"{root}.pingPong.pingService", pair.ping_service),
                    (f"{root}.pingPong.pongService", pair.pong_service),
                ]
        if blue_green := self.strategy.blue_green:
            root = "spec.strategy.blueGreen"
            named += [
                (f"{root}.activeService", blue_green.active_service),
                (f"{root}.previewService", blue_green.preview_service),
            ]
        return tuple(ServiceUse(path, name) for path, name in named if name)

    @property
    def analyses(self) -> tuple[AnalysisUse, ...]:
        """Every analysis stanza of the spec, in the order in which they are checked."""
        found: list[AnalysisUse] = []
        if blue_green := self.strategy.blue_green:
            root = "spec.strategy.blueGreen"
            before, after = blue_green.pre_promotion_analysis, blue_green.post_promotion_analysis
            if before:
                found.append(AnalysisUse(f"{root}.prePromotionAnalysis", before, False, "pre"))
            if after:
                found.append(AnalysisUse(f"{root}.postPromotionAnalysis", after, False, "post"))
        if canary := self.strategy.canary:
            root = "spec.strategy.canary"
            for index, step in enumerate(canary.steps):
                if step.analysis is not None:
                    found.append(AnalysisUse(f"{root}.steps[{index}].analysis", step.analysis, False, index))
            if canary.analysis is not None:
                found.append(AnalysisUse(f"{root}.analysis", canary.analysis, True))
        return tuple(found)


# Below these keys a null is the user's data: the pod template is tolerated as it is, and plug-ins read their own.
_decoder = Decoder(RolloutSpec, root="spec", opaque=("template", "plugins", "config"))


def parse(raw: bytes | msgspec.Raw) -> RolloutSpec:
    """Return the spec of a Rollout from the JSON below `spec`.

    Unknown fields are skipped, `null` counts as absent, and nothing within the pod template can fail.

    Raises:
        SpecError: a field outside the pod template has the wrong type; with its path, what was found and expected.

    >>> parse(b'{"replicas": 3, "strategy": {"canary": {"steps": [{"setWeight": 20}]}}}').steps[0].text
    'setWeight: 20'
    """
    return _decoder.decode(raw)

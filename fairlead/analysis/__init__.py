"""Metric analysis: measurements to verdicts, for AnalysisRuns of `argoproj.io/v1alpha1`.

What is imported here is pure. The parts that do something stand apart: `fairlead.analysis.reconciler` takes runs of a
cluster to their verdict, `fairlead.analysis.providers` asks metric sources.
"""

from fairlead.analysis.explain import explain
from fairlead.analysis.machine import PreparedRun, RunDecision, decide, prepare, store_by
from fairlead.analysis.observation import Observation, Outcome
from fairlead.analysis.planner import TemplatePlanner
from fairlead.analysis.spec import (
    Argument,
    Metric,
    Provider,
    RunSpec,
    TemplateSpec,
    decode_run_spec,
    decode_template_spec,
)
from fairlead.analysis.status import (
    AnalysisRunStatus,
    Measurement,
    MetricResult,
    Phase,
    RunSummary,
    decode_status,
    status_to_json,
)

__all__ = [
    "AnalysisRunStatus",
    "Argument",
    "Measurement",
    "Metric",
    "MetricResult",
    "Observation",
    "Outcome",
    "Phase",
    "PreparedRun",
    "Provider",
    "RunDecision",
    "RunSpec",
    "RunSummary",
    "TemplatePlanner",
    "TemplateSpec",
    "decide",
    "decode_run_spec",
    "decode_status",
    "decode_template_spec",
    "explain",
    "prepare",
    "status_to_json",
    "store_by",
]

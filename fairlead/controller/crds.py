"""The custom resource definitions, generated from the types that read the objects.

    python -m fairlead.controller.crds --write

Names, scopes, short names, subresources and printer columns are those of Argo Rollouts, Argo CD and External
Secrets, whose own definitions work as well. Unknown fields are kept everywhere, and nothing inside a pod template is
checked.

Source: argo-rollouts: manifests/crds/.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from fairlead.analysis.spec import RunSpec, TemplateSpec
from fairlead.controller import gitops_crds, secret_crds
from fairlead.core.schema import opaque, structural
from fairlead.rollouts._experiment import ExperimentSpec
from fairlead.rollouts.spec import RolloutSpec

FOLDER = Path(__file__).parents[1] / "crds"
GROUP = "argoproj.io"
VERSION = "v1alpha1"

_AGE = {
    "name": "Age",
    "type": "date",
    "jsonPath": ".metadata.creationTimestamp",
    "description": "Time since the object was created",
}
_PHASE = {"name": "Status", "type": "string", "jsonPath": ".status.phase", "description": "Phase of the object"}
_ROLLOUT_COLUMNS = [
    {"name": name, "type": "integer", "jsonPath": path, "description": description}
    for name, path, description in (
        ("Desired", ".spec.replicas", "Wanted number of pods"),
        ("Current", ".status.replicas", "Number of pods that are there"),
        ("Up-to-date", ".status.updatedReplicas", "Number of pods of the wanted template"),
        ("Available", ".status.availableReplicas", "Number of pods that are available"),
    )
]
_ROLLOUT_SUBRESOURCES = {
    "status": {},
    "scale": {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.HPAReplicas",
        "labelSelectorPath": ".status.selector",
    },
}


# Types of analysis decode leniently; what argo-rollouts' schemas ask for is added here. Lists add `[]`.
_REQUIRED = {
    "metrics[]": ["name", "provider"],
    "args[]": ["name"],
    "args[].valueFrom.fieldRef": ["fieldPath"],
    "args[].valueFrom.secretKeyRef": ["key", "name"],
    "dryRun[]": ["metricName"],
    "measurementRetention[]": ["limit", "metricName"],
}


def _analysis_schema(of: type, *, required: list[str] | None = None) -> dict[str, Any]:
    schema = structural(of)
    for path, names in _REQUIRED.items():
        at = schema
        for part in path.split("."):
            at = at["properties"][part.removesuffix("[]")]
            at = at["items"] if part.endswith("[]") else at
        at["required"] = names
    return schema | ({"required": required} if required else {})


def definitions() -> dict[str, dict[str, Any]]:
    """Return the definitions by file name."""
    return {
        "rollout-crd.yaml": _definition(
            "Rollout",
            "rollouts",
            "ro",
            "How the pods of an application are replaced by those of another version.",
            structural(RolloutSpec),
            status="What the controller has decided so far.",
            columns=_ROLLOUT_COLUMNS,
            subresources=_ROLLOUT_SUBRESOURCES,
        ),
        "analysis-run-crd.yaml": _definition(
            "AnalysisRun",
            "analysisruns",
            "ar",
            "Metrics that are being measured, and the verdict on them.",
            _analysis_schema(RunSpec, required=["metrics"]),
            status="What has been measured so far.",
            columns=[_PHASE],
        ),
        "analysis-template-crd.yaml": _definition(
            "AnalysisTemplate",
            "analysistemplates",
            "at",
            "Metrics to measure, for AnalysisRuns of its namespace.",
            _analysis_schema(TemplateSpec),
        ),
        "cluster-analysis-template-crd.yaml": _definition(
            "ClusterAnalysisTemplate",
            "clusteranalysistemplates",
            "cat",
            "Metrics to measure, for AnalysisRuns of any namespace.",
            _analysis_schema(TemplateSpec),
            scope="Cluster",
        ),
        "experiment-crd.yaml": _definition(
            "Experiment",
            "experiments",
            "exp",
            "ReplicaSets that run for a while and are analysed meanwhile.",
            structural(ExperimentSpec),
            status="What the controller has decided so far.",
            columns=[_PHASE],
        ),
        **gitops_crds.definitions(),
        **secret_crds.definitions(),
    }


def _definition(
    kind: str,
    plural: str,
    short_name: str,
    description: str,
    spec: dict[str, Any],
    *,
    scope: str = "Namespaced",
    status: str = "",
    columns: list[dict[str, str]] | None = None,
    subresources: dict[str, Any] | None = None,
) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    }
    if status:
        properties["status"] = opaque(status)
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [*(columns or ()), _AGE],
        "schema": {
            "openAPIV3Schema": {
                "description": description,
                "type": "object",
                "required": ["spec"],
                "properties": properties,
            }
        },
    }
    if subresources:
        version["subresources"] = subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "names": {
                "kind": kind,
                "listKind": f"{kind}List",
                "plural": plural,
                "shortNames": [short_name],
                "singular": kind.lower(),
            },
            "scope": scope,
            "versions": [version],
        },
    }


class _Dumper(yaml.SafeDumper):
    """Writes the same mapping twice in full: definitions share columns."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(definition: dict[str, Any]) -> str:
    """Return a definition as YAML, keys sorted."""
    text: str = yaml.dump(definition, Dumper=_Dumper, width=120, allow_unicode=True)
    return text


def main(arguments: list[str]) -> int:
    """Write the files, or print them."""
    if arguments == ["--write"]:
        FOLDER.mkdir(exist_ok=True)
        for name, definition in definitions().items():
            (FOLDER / name).write_text(render(definition), encoding="utf-8")
        return 0
    sys.stdout.write("---\n".join(render(definition) for definition in definitions().values()))
    return 0 if not arguments else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

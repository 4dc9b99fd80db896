"""The committed definitions: generated, structural, like those of Argo Rollouts, and open to unknown fields."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fairlead.cli.yaml import load_all
from fairlead.controller.crds import FOLDER, definitions, main, render
from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Invalid
from fairlead.core.kinds import ROLLOUTS
from fairlead.core.objects import ObjectKey
from fairlead.core.schema import leaves
from fairlead.rollouts.spec import parse
from fairlead.testing.clock import ManualClock
from fairlead.testing.cluster import SimulatedCluster

EVERY_FIELD = Path(__file__).parents[1] / "rollouts" / "data" / "every-field.yaml"
NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)


def every_field() -> dict[str, Any]:
    (manifest,) = load_all(EVERY_FIELD.read_text())
    return manifest


def schema_of(name: str) -> dict[str, Any]:
    schema: dict[str, Any] = definitions()[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def objects(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema of a definition, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from objects(inner, f"{path}.{name}" if path else name)
    for key, mark in (("items", "[]"), ("additionalProperties", "{}")):
        if isinstance(schema.get(key), dict):
            yield from objects(schema[key], path + mark)


@pytest.mark.parametrize("name", sorted(definitions()))
def test_the_committed_file_is_what_the_types_give(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")
    assert committed == render(definitions()[name]), "run: python -m fairlead.controller.crds --write"


def test_no_other_files_are_committed() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.yaml")) == sorted(definitions())


def test_the_command_prints_what_it_would_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = list(yaml.safe_load_all(capsys.readouterr().out))
    assert printed == list(definitions().values())


@pytest.mark.parametrize(
    ("name", "kind", "plural", "short", "scope", "columns", "has_status"),
    [
        (
            "rollout-crd.yaml",
            "Rollout",
            "rollouts",
            "ro",
            "Namespaced",
            {
                "Desired": ".spec.replicas",
                "Current": ".status.replicas",
                "Up-to-date": ".status.updatedReplicas",
                "Available": ".status.availableReplicas",
            },
            True,
        ),
        (
            "analysis-run-crd.yaml",
            "AnalysisRun",
            "analysisruns",
            "ar",
            "Namespaced",
            {"Status": ".status.phase"},
            False,
        ),
        ("experiment-crd.yaml", "Experiment", "experiments", "exp", "Namespaced", {"Status": ".status.phase"}, False),
        ("analysis-template-crd.yaml", "AnalysisTemplate", "analysistemplates", "at", "Namespaced", {}, False),
        (
            "cluster-analysis-template-crd.yaml",
            "ClusterAnalysisTemplate",
            "clusteranalysistemplates",
            "cat",
            "Cluster",
            {},
            False,
        ),
    ],
)
def test_names_and_columns_are_those_of_argo_rollouts(
    name: str, kind: str, plural: str, short: str, scope: str, columns: dict[str, str], has_status: bool
) -> None:
    definition = definitions()[name]
    assert definition["metadata"]["name"] == f"{plural}.argoproj.io"
    spec = definition["spec"]
    assert (spec["group"], spec["scope"]) == ("argoproj.io", scope)
    names = spec["names"]
    assert (names["kind"], names["plural"], names["shortNames"]) == (kind, plural, [short])
    (version,) = spec["versions"]
    assert (version["name"], version["served"], version["storage"]) == ("v1alpha1", True, True)
    found = {column["name"]: column["jsonPath"] for column in version["additionalPrinterColumns"]}
    assert found == columns | {"Age": ".metadata.creationTimestamp"}
    assert list(found) == [*columns, "Age"]
    assert ("status" in version.get("subresources", {})) is has_status


def test_the_scale_subresource_is_that_of_argo_rollouts() -> None:
    (version,) = definitions()["rollout-crd.yaml"]["spec"]["versions"]
    assert version["subresources"]["scale"] == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.HPAReplicas",
        "labelSelectorPath": ".status.selector",
    }


def test_the_selector_of_a_rollout_is_immutable() -> None:
    selector = schema_of("rollout-crd.yaml")["properties"]["spec"]["properties"]["selector"]
    assert selector["x-kubernetes-validations"] == [
        {"rule": "self == oldSelf", "message": ".spec.selector is immutable"}
    ]


CANARY = "spec.strategy.canary"
STEP = f"{CANARY}.steps[]"
ANALYSIS = f"{STEP}.analysis"


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("", ["spec"]),
        ("spec.strategy.blueGreen", ["activeService"]),
        (f"{CANARY}.pingPong", ["pingService", "pongService"]),
        (f"{CANARY}.replicaProgressThreshold", ["type", "value"]),
        (f"{CANARY}.antiAffinity.preferredDuringSchedulingIgnoredDuringExecution", ["weight"]),
        (f"{STEP}.experiment", ["templates"]),
        (f"{STEP}.experiment.templates[]", ["name", "specRef"]),
        (f"{STEP}.experiment.analyses[]", ["name", "templateName"]),
        (f"{ANALYSIS}.args[]", ["name"]),
        (f"{ANALYSIS}.args[].valueFrom.fieldRef", ["fieldPath"]),
        (f"{ANALYSIS}.dryRun[]", ["metricName"]),
        (f"{ANALYSIS}.measurementRetention[]", ["limit", "metricName"]),
        (f"{STEP}.setHeaderRoute.match[]", ["headerName", "headerValue"]),
        (f"{STEP}.setMirrorRoute", ["name"]),
        (f"{STEP}.plugin", ["name"]),
        (f"{CANARY}.trafficRouting.managedRoutes[]", ["name"]),
        (f"{CANARY}.trafficRouting.alb", ["servicePort"]),
    ],
)
def test_required_fields_of_a_rollout(path: str, fields: list[str]) -> None:
    found = dict(objects(schema_of("rollout-crd.yaml")))
    assert sorted(found[path]["required"]) == fields


@pytest.mark.parametrize("path", ["spec", "spec.strategy", CANARY, STEP, f"{ANALYSIS}.templates[]", ANALYSIS])
def test_nothing_else_is_required_where_workload_references_and_defaults_need_freedom(path: str) -> None:
    assert "required" not in dict(objects(schema_of("rollout-crd.yaml")))[path]


def test_required_fields_of_analyses() -> None:
    run = dict(objects(schema_of("analysis-run-crd.yaml")))
    assert run["spec"]["required"] == ["metrics"]
    for name in ("analysis-run-crd.yaml", "analysis-template-crd.yaml", "cluster-analysis-template-crd.yaml"):
        schema = dict(objects(schema_of(name)))
        assert schema["spec.metrics[]"]["required"] == ["name", "provider"]
        assert schema["spec.args[]"]["required"] == ["name"]
        assert schema["spec.args[].valueFrom.secretKeyRef"]["required"] == ["key", "name"]
        assert schema["spec.dryRun[]"]["required"] == ["metricName"]
        assert schema["spec.measurementRetention[]"]["required"] == ["limit", "metricName"]


@pytest.mark.parametrize("name", sorted(definitions()))
def test_schemas_are_structural_and_keep_unknown_fields(name: str) -> None:
    for path, schema in objects(schema_of(name)):
        assert not schema.keys() & {"$ref", "anyOf", "oneOf", "allOf", "default", "title", "nullable"}, path
        has_type = "type" in schema or schema.get("x-kubernetes-int-or-string")
        assert has_type or schema.get("x-kubernetes-preserve-unknown-fields"), path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        if path.startswith("spec") and schema.get("type") == "object" and "additionalProperties" not in schema:
            assert schema["x-kubernetes-preserve-unknown-fields"] is True, path


def test_pod_templates_are_only_objects() -> None:
    template = schema_of("rollout-crd.yaml")["properties"]["spec"]["properties"]["template"]
    assert "properties" not in template
    assert template["x-kubernetes-preserve-unknown-fields"] is True


def at(data: Any, path: str) -> list[Any]:
    """Return what stands at the path of a leaf, in every item of the lists on the way."""
    found = [data]
    for part in path.replace("[]", ".[]").replace("{}", ".{}").split("."):
        if part == "[]":
            found = [item for value in found for item in value]
        elif part == "{}":
            found = [item for value in found for item in value.values()]
        else:
            found = [value[part] for value in found if part in value]
    return found


def test_the_example_uses_every_field() -> None:
    manifest = every_field()
    schema = schema_of("rollout-crd.yaml")["properties"]["spec"]
    assert [leaf for leaf in leaves(schema, "spec") if not at(manifest, leaf)] == []


def test_the_example_is_read_by_the_types_in_full() -> None:
    manifest = every_field()
    spec = msgspec.json.decode(msgspec.json.encode(parse(json.dumps(manifest["spec"]).encode())))
    expected = dict(manifest["spec"])
    del expected["unknownField"]
    assert spec == expected


async def test_a_manifest_that_uses_every_field_reads_back_equal() -> None:
    cluster = SimulatedCluster(ManualClock(NOW))
    key = ObjectKey("default", "every-field")
    await cluster.create(ROLLOUTS, every_field(), namespace="default")
    stored = cluster.read(ROLLOUTS, key)
    assert stored is not None
    assert stored["spec"] == every_field()["spec"]


async def test_the_selector_cannot_be_changed_once_it_is_stored() -> None:
    cluster = SimulatedCluster(ManualClock(NOW))
    await cluster.create(ROLLOUTS, every_field(), namespace="default")
    patch = MergePatch({"spec": {"selector": {"matchLabels": {"app": "shop"}}}})
    with pytest.raises(Invalid, match=r"\.spec\.selector is immutable"):
        await cluster.patch(ROLLOUTS, ObjectKey("default", "every-field"), patch)


@pytest.mark.parametrize(
    "spec",
    [
        {"strategy": {"canary": {"steps": [{"setWeight": "20%"}]}}},
        {"strategy": {"canary": {"steps": [{"setWeight": 20.5}]}}},
        {"strategy": {"blueGreen": {}}},
    ],
    ids=["text-for-a-weight", "fraction-for-a-weight", "no-active-service"],
)
async def test_wrong_types_are_refused_by_the_api(spec: dict[str, Any]) -> None:
    cluster = SimulatedCluster(ManualClock(NOW))
    body = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "a"}, "spec": spec}
    with pytest.raises(Invalid):
        await cluster.create(ROLLOUTS, body, namespace="default")

"""The definitions of Application and AppProject: names, columns and rules as upstream has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from fairlead.agentsync.kinds import APP_PROJECTS, APPLICATIONS
from fairlead.controller.crds import definitions
from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Invalid
from fairlead.core.kinds import carried
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import ManualClock
from fairlead.testing.cluster import SimulatedCluster
from tests.agentsync.manifests import EVERY_FIELD

NOW = datetime(2026, 8, 1, 12, tzinfo=UTC)
WHOLE = carried("argoproj.io", "v1alpha1", "Application", "applications")


@pytest.mark.parametrize(
    ("name", "kind", "plural", "short", "columns"),
    [
        pytest.param(
            "application-crd.yaml",
            "Application",
            "applications",
            ["app", "apps"],
            {
                "Sync Status": ".status.sync.status",
                "Health Status": ".status.health.status",
                "Revision": ".status.sync.revision",
                "Project": ".spec.project",
            },
            id="application",
        ),
        pytest.param("appproject-crd.yaml", "AppProject", "appprojects", ["appproj", "appprojs"], {}, id="project"),
    ],
)
def test_names_and_columns(name: str, kind: str, plural: str, short: list[str], columns: dict[str, str]) -> None:
    definition = definitions()[name]
    assert definition["metadata"]["name"] == f"{plural}.argoproj.io"
    spec = definition["spec"]
    assert (spec["names"]["kind"], spec["names"]["shortNames"], spec["scope"]) == (kind, short, "Namespaced")
    (version,) = spec["versions"]
    found = {column["name"]: column["jsonPath"] for column in version.get("additionalPrinterColumns", ())}
    assert found == columns
    assert "subresources" not in version, "status is an ordinary field"


def application(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "shop", "namespace": "default"},
        "spec": {"project": "default", "destination": {"server": "https://kubernetes.default.svc"}, **spec},
    }


async def test_one_write_changes_spec_operation_and_status() -> None:
    cluster = SimulatedCluster(clock=ManualClock(NOW))
    await cluster.create(APPLICATIONS, application(source={"repoURL": "https://git.example.com/shop", "path": "."}))
    patch = {"operation": {"sync": {"prune": True}}, "status": {"sync": {"status": "Synced"}}}
    await cluster.patch(APPLICATIONS, ObjectKey("default", "shop"), MergePatch(patch))
    found = await cluster.get(WHOLE, ObjectKey("default", "shop"))
    assert found.content["operation"] == {"sync": {"prune": True}}
    assert found.content["status"] == {"sync": {"status": "Synced"}}


async def test_every_field_is_kept_as_it_was_written() -> None:
    cluster = SimulatedCluster(clock=ManualClock(NOW))
    await cluster.create(APPLICATIONS, {**application(), "spec": {**EVERY_FIELD, "fromTheFuture": {"a": [1]}}})
    found = await cluster.get(WHOLE, ObjectKey("default", "shop"))
    assert found.content["spec"] == {**EVERY_FIELD, "fromTheFuture": {"a": [1]}}


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param({"source": "https://git.example.com"}, id="source-is-a-text"),
        pytest.param({"syncPolicy": {"automated": {"prune": "yes"}}}, id="prune-is-a-text"),
        pytest.param({"revisionHistoryLimit": "ten"}, id="limit-is-a-text"),
    ],
)
async def test_a_wrong_type_is_refused_by_the_server(spec: dict[str, Any]) -> None:
    cluster = SimulatedCluster(clock=ManualClock(NOW))
    with pytest.raises(Invalid):
        await cluster.create(APPLICATIONS, application(**spec))


async def test_projects_are_served() -> None:
    cluster = SimulatedCluster(clock=ManualClock(NOW))
    project = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AppProject",
        "metadata": {"name": "default", "namespace": "default"},
        "spec": {"sourceRepos": ["*"], "roles": [{"name": "ci", "policies": []}]},
    }
    await cluster.create(APP_PROJECTS, project)
    whole = carried("argoproj.io", "v1alpha1", "AppProject", "appprojects")
    assert (await cluster.get(whole, ObjectKey("default", "default"))).content["spec"] == project["spec"]

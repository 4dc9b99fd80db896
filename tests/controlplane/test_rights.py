"""The controller under exactly the rights that `fairlead manifests` grants, on a real API server."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks._rig import AuditLog
from fairlead.controller.manifests import Installation, manifests
from fairlead.core.cluster import ApplyPatch, Cluster
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.secrets.stores.cluster_credentials import ClusterCredentials
from tests.controlplane.plane import ControlPlane
from tests.controlplane.process import ControllerProcess
from tests.controlplane.scenarios import SCENARIOS
from tests.controlplane.stage import Stage, theatre

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane"), pytest.mark.timeout(300)]

_RBAC = "rbac.authorization.k8s.io"
KINDS: dict[str, Kind[Manifest]] = {
    kind.kind: kind
    for kind in (
        carried("", "v1", "Namespace", "namespaces", namespaced=False),
        carried("", "v1", "ServiceAccount", "serviceaccounts"),
        carried("", "v1", "Service", "services"),
        carried("apps", "v1", "Deployment", "deployments"),
        carried(_RBAC, "v1", "Role", "roles"),
        carried(_RBAC, "v1", "RoleBinding", "rolebindings"),
        carried(_RBAC, "v1", "ClusterRole", "clusterroles", namespaced=False),
        carried(_RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False),
        carried("external-secrets.io", "v1", "SecretStore", "secretstores"),
        carried("external-secrets.io", "v1", "ExternalSecret", "externalsecrets"),
    )
}
STORE = {
    "apiVersion": "external-secrets.io/v1",
    "kind": "SecretStore",
    "metadata": {"name": "fake"},
    "spec": {"provider": {"fake": {"data": [{"key": "/db", "value": "planted", "version": "v1"}]}}},
}
WANTED = {
    "apiVersion": "external-secrets.io/v1",
    "kind": "ExternalSecret",
    "metadata": {"name": "db"},
    "spec": {
        "secretStoreRef": {"name": "fake"},
        "data": [{"secretKey": "password", "remoteRef": {"key": "/db", "version": "v1"}}],
    },
}


async def apply(cluster: Cluster, body: dict[str, Any], namespace: str = "") -> None:
    metadata = body["metadata"]
    key = ObjectKey(metadata.get("namespace", namespace), metadata["name"])
    await cluster.patch(KINDS[body["kind"]], key, ApplyPatch(body, force=True))


async def kubeconfig_of_account(plane: ControlPlane, cluster: Cluster, namespace: str, folder: Path) -> Path:
    """Return a kubeconfig with a fresh token of the controller's account."""
    account = ObjectKey(namespace, "fairlead")
    token = await ClusterCredentials(cluster).token(account, audiences=(), lifetime=timedelta(hours=1))
    text = plane.kubeconfig_text("admin").replace(plane.tokens["admin"], token.reveal().decode())
    path = folder / "account.kubeconfig"
    path.touch(mode=0o600)
    path.write_text(text)
    return path


async def secret_is_synced(stage: Stage) -> bool:
    found = await stage.read(KINDS["ExternalSecret"], "db")
    conditions = (found.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@pytest.mark.parametrize("is_wide", [False, True], ids=["one-namespace", "all-namespaces"])
async def test_canaries_and_secrets_under_the_least_rights(
    control_plane: ControlPlane, tmp_path: Path, is_wide: bool
) -> None:
    assert control_plane.audit_log is not None
    home = f"tools-{os.getpid()}-{int(is_wide)}"
    async with theatre(control_plane) as place:
        stage = await place.stage("rights")
        only = "" if is_wide else stage.namespace
        place.made.append(home)
        for body in manifests(Installation(image="registry.example/fairlead:1", namespace=home, only=only)):
            await apply(place.cluster, body)
        config = await kubeconfig_of_account(control_plane, place.cluster, home, tmp_path)
        audit = AuditLog(control_plane.audit_log)
        log = tmp_path / "controller.log"
        flags = ("--settle=200ms", "--drain=300ms", f"--leader-election-namespace={home}")
        process = ControllerProcess(config, *flags, *((f"--namespace={only}",) if only else ()), log=log)
        process.start()
        try:
            for body in (STORE, WANTED):
                await apply(place.cluster, body, stage.namespace)
            await SCENARIOS["abort-verdict"].run(stage)
            await stage.until("the secret is synced", lambda: secret_is_synced(stage))
            assert await process.terminate() == 0
        except AssertionError as error:
            error.add_note(process.tail())
            raise
        finally:
            await process.kill()
        await asyncio.sleep(0.5)  # until the API server has written the last lines
        entries = audit.entries(f"system:serviceaccount:{home}:fairlead")
    refused = [
        f"{entry['verb']} {entry['objectRef']}: {entry['responseStatus'].get('message')}"
        for entry in entries
        if entry["responseStatus"]["code"] in (401, 403)
    ]
    logged = [line for line in log.read_text().splitlines() if "orbidden" in line]
    # What earlier tests have left is on its way out, and nobody may create anything there: no matter of rights.
    assert [line for line in (*refused, *logged) if "being terminated" not in line] == []
    assert {"externalsecrets", "jobs", "httproutes", "leases", "events"} <= {
        entry["objectRef"]["resource"] for entry in entries
    }, "everything was put to the test"

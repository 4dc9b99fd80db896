"""Applications on a real API server: what it keeps, what it refuses, and what one write changes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from fairlead.agentsync.kinds import APPLICATIONS as TYPED
from fairlead.agentsync.machine import ApplicationDecision, application_patch, prepare
from fairlead.agentsync.operation import Operation, SyncOperation
from fairlead.agentsync.status import decode_status, to_json
from fairlead.core.cluster import MergePatch
from fairlead.core.errors import Conflict, Invalid
from fairlead.core.objects import ObjectKey
from fairlead.kube.config import connect
from tests.agentsync.manifests import EVERY_FIELD, OPERATION, STATUS
from tests.controlplane.gitops import APPLICATIONS, Site
from tests.controlplane.plane import ControlPlane

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane"), pytest.mark.timeout(120)]
NAMESPACE = "gitops-definitions"
KEY = ObjectKey(NAMESPACE, "every-field")


@pytest_asyncio.fixture
async def site(control_plane: ControlPlane) -> AsyncIterator[Site]:
    async with await connect(str(control_plane.kubeconfig), field_manager="admin") as admin:
        found = Site(admin, NAMESPACE, NAMESPACE)
        await found.furnish()
        yield found
        await admin.delete(APPLICATIONS, KEY)


def application(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": APPLICATIONS.api_version, "kind": "Application", "metadata": {"name": KEY.name}, "spec": spec}


async def test_every_field_is_kept_and_one_write_changes_all_three_parts(site: Site) -> None:
    body = {**application(**EVERY_FIELD), "operation": OPERATION, "status": STATUS}
    await site.admin.create(APPLICATIONS, body, namespace=NAMESPACE)
    found = await site.read(APPLICATIONS, KEY.name, NAMESPACE)
    assert (found["spec"], found["operation"], found["status"]) == (EVERY_FIELD, OPERATION, STATUS)

    subject = prepare(TYPED.decode(msgspec.json.encode(found)))
    before = decode_status(msgspec.json.encode(found["status"]))
    assert to_json(before) == STATUS
    asked = Operation(sync=SyncOperation(revision="b" * 40))
    after = msgspec.structs.replace(before, history=(), source_type="Helm")
    decision = ApplicationDecision(status=after, operation=asked, finalizers=("somebody/else",))
    patch = application_patch(subject, before, decision)
    await site.admin.patch(APPLICATIONS, KEY, MergePatch(patch))
    stored = await site.read(APPLICATIONS, KEY.name, NAMESPACE)
    assert stored["spec"] == EVERY_FIELD
    assert stored["operation"] == {"sync": {"revision": "b" * 40}}
    assert stored["metadata"]["finalizers"] == ["somebody/else"]
    assert decode_status(msgspec.json.encode(stored["status"])) == after
    # The same patch once more is made on a stale copy: a request must not be revived.
    with pytest.raises(Conflict):
        await site.admin.patch(APPLICATIONS, KEY, MergePatch(patch))
    await site.change(APPLICATIONS, KEY.name, {"metadata": {"finalizers": None}}, NAMESPACE)


async def test_a_wrong_type_is_refused(site: Site) -> None:
    good = {"project": "default", "destination": {"name": "in-cluster"}, "source": {"repoURL": "a", "path": "."}}
    await site.admin.create(APPLICATIONS, application(**good), namespace=NAMESPACE)
    with pytest.raises(Invalid, match=r"spec\.syncPolicy\.automated\.prune"):
        body = {"spec": {"syncPolicy": {"automated": {"prune": "yes"}}}}
        await site.admin.patch(APPLICATIONS, KEY, MergePatch(body))

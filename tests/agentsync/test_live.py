"""Live objects as they are kept: complete, and without what nobody needs."""

from __future__ import annotations

import pytest

from fairlead.agentsync._live import live_kind
from fairlead.agentsync.resources import ResourceKind

DEPLOYMENTS = ResourceKind(group="apps", version="v1", kind="Deployment", plural="deployments", namespaced=True)
ITEM = b' {"metadata": {"name": "web", "namespace": "shop", "managedFields": [{}]}, "spec": {"replicas": 2}}'
WHOLE = b'{"kind": "Deployment", "apiVersion": "apps/v1",' + ITEM.strip()[1:]


@pytest.mark.parametrize("raw", [pytest.param(ITEM, id="of-a-list"), pytest.param(WHOLE, id="by-itself")])
@pytest.mark.parametrize("with_managers", [False, True])
def test_an_object_says_what_it_is_wherever_it_was_read(raw: bytes, with_managers: bool) -> None:
    content = live_kind(DEPLOYMENTS, with_managers=with_managers).decode(raw).content
    assert (content["apiVersion"], content["kind"]) == ("apps/v1", "Deployment")
    assert content["spec"] == {"replicas": 2}
    assert ("managedFields" in content["metadata"]) is with_managers

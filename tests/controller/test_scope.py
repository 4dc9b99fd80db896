"""Which objects a controller takes care of: those of its instance, in its namespace."""

from __future__ import annotations

import asyncio

from fairlead.controller.settings import Settings
from fairlead.core.cluster import MergePatch
from fairlead.core.kinds import REPLICA_SETS, ROLLOUTS
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import run_virtual
from tests.controller.stage import NAMESPACE, Json, rollout, staged

LABEL = "argo-rollouts.argoproj.io/controller-instance-id"


def labelled(name: str, instance_id: str) -> Json:
    document = rollout(name)
    document["metadata"]["labels"] = {LABEL: instance_id}
    return document


def test_two_controllers_share_a_cluster_by_their_instance_ids() -> None:
    async def tale() -> None:
        documents = [rollout("nobodys"), labelled("of-a", "a"), labelled("of-b", "b"), labelled("of-c", "c")]
        async with staged(documents, settings=(Settings(instance_id="a"), Settings(instance_id="b"))) as stage:
            await stage.until(lambda: stage.is_healthy("of-a") and stage.is_healthy("of-b"))
            await asyncio.sleep(60)
            assert (stage.status("nobodys"), stage.status("of-c")) == ({}, {})
            for name in ("of-a", "of-b"):
                assert (
                    stage.events(name).count(
                        f"RolloutAddedToInformer: Rollout resource added to informer: default/{name}"
                    )
                    == 1
                )
            # It changes hands: the new one takes over where the old one stood.
            await stage.set_image("of-a", "web:2")
            body = {"metadata": {"labels": {LABEL: "b"}}}
            await stage.user.patch(ROLLOUTS, ObjectKey(NAMESPACE, "of-a"), MergePatch(body))
            await stage.until(lambda: stage.is_healthy("of-a", "web:2"))
            await stage.quiet(60)
            assert await stage.quiet() == []
            assert stage.bugs() == []

    run_virtual(tale())


def test_in_one_namespace_nothing_else_is_touched() -> None:
    async def tale() -> None:
        elsewhere = rollout("web")
        elsewhere["metadata"]["namespace"] = "other"
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "other"}}
        async with staged([namespace, elsewhere, rollout("web")], settings=(Settings(namespace=NAMESPACE),)) as stage:
            await stage.until(lambda: stage.is_healthy("web"))
            await asyncio.sleep(60)
            found = stage.cluster.read(ROLLOUTS, ObjectKey("other", "web"))
            assert found is not None
            assert "status" not in found
            assert stage.cluster.read_all(REPLICA_SETS, "other") == []
            assert stage.bugs() == []

    run_virtual(tale())

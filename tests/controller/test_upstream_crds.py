"""The controller on the definitions of argo-rollouts, which prune what they do not know: it works, and rests."""

from __future__ import annotations

from collections import Counter

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.kinds import ROLLOUTS
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import run_virtual
from tests.controller.pruning import upstream_crds
from tests.controller.stage import NAMESPACE, Json, Stage, rollout, staged

TEMPLATE: Json = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "AnalysisTemplate",
    "metadata": {"name": "good-enough", "namespace": NAMESPACE},
    "spec": {
        "metrics": [
            {
                "name": "m",
                "interval": "1s",
                "count": 3,
                "successCondition": "result == 1",
                "consecutiveSuccessLimit": 3,
                "failureLimit": -1,
                "provider": {"plugin": {"memory": {}}},
            }
        ]
    },
}
STEPS = [
    {"setWeight": 50},
    {"pause": {"duration": "3s"}},
    {"analysis": {"templates": [{"templateName": "good-enough"}]}},
    {"setWeight": 75},
]


async def update(stage: Stage, image: str) -> Counter[str]:
    """Bring out a version; return how often objects of which kind were written until nothing moved any more."""
    stage.writes.clear()
    await stage.set_image("web", image)
    await stage.until(lambda: stage.is_healthy("web", image))
    written = list(stage.writes)
    written += await stage.quiet(60)
    assert await stage.quiet() == []
    return Counter(" ".join(one.split()[:2]) for one in written)


def counts(crds: list[Json] | None) -> Counter[str]:
    async def tale() -> Counter[str]:
        async with staged([TEMPLATE, rollout("web", steps=STEPS, replicas=4)], crds=crds) as stage:
            await stage.until(lambda: stage.is_healthy("web"))
            await stage.quiet(60)
            written = await update(stage, "web:2")
            assert [one["status"]["phase"] for one in stage.runs()] == ["Successful"]
            assert stage.bugs() == []
            if crds is not None:
                assert "highWater" not in stage.status("web")  # the stand-in prunes
            return written

    return run_virtual(tale())


@pytest.mark.parametrize("old", [False, True], ids=["of-today", "older"])
def test_a_canary_costs_no_more_writes_where_our_fields_are_pruned(old: bool) -> None:
    assert counts(upstream_crds(old=old)) == counts(None)


def test_an_abort_and_a_retry_where_our_fields_are_pruned() -> None:
    async def tale() -> None:
        crds = upstream_crds(old=True)
        async with staged([TEMPLATE, rollout("web", steps=STEPS, replicas=4)], crds=crds) as stage:
            key = ObjectKey(NAMESPACE, "web")
            await stage.until(lambda: stage.is_healthy("web"))
            await stage.set_image("web", "web:2")
            await stage.until(lambda: stage.status("web").get("phase") == "Paused")
            await stage.user.patch(ROLLOUTS, key, MergePatch({"status": {"abort": True}}), subresource="status")
            await stage.until(lambda: stage.status("web").get("phase") == "Degraded")
            await stage.quiet(60)
            assert await stage.quiet() == []
            await stage.user.patch(ROLLOUTS, key, MergePatch({"status": {"abort": False}}), subresource="status")
            await stage.until(lambda: stage.is_healthy("web", "web:2"))
            await stage.quiet(60)
            assert await stage.quiet() == []
            assert stage.bugs() == []

    run_virtual(tale())

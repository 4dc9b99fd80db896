"""`explain application/NAME`: from the stored object to the text of a terminal."""

from __future__ import annotations

import pytest

from fairlead.controller.explain import text
from fairlead.controller.gitops_explain import explain_application
from fairlead.core.errors import NotFound
from fairlead.core.objects import ObjectKey
from fairlead.testing.clock import EPOCH, LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster

KEY = ObjectKey("argocd", "web")


def test_an_application_that_differs_is_explained_with_its_objects() -> None:
    async def play() -> str:
        clock = LoopClock()
        cluster = SimulatedCluster(clock)
        resource = {"kind": "ConfigMap", "namespace": "shop", "name": "one", "status": "OutOfSync"}
        failed = {"type": "SyncError", "message": "Failed last sync attempt to c0ffee: one object was refused"}
        cluster.apply(
            [
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}},
                {
                    "apiVersion": "argoproj.io/v1alpha1",
                    "kind": "Application",
                    "metadata": {"name": "web", "namespace": "argocd"},
                    "spec": {
                        "project": "default",
                        "source": {"repoURL": "https://git.example/shop", "path": "."},
                        "destination": {"server": "https://kubernetes.default.svc"},
                        "syncPolicy": {"automated": {}},
                    },
                    "status": {
                        "sync": {"status": "OutOfSync"},
                        "health": {"status": "Healthy"},
                        "resources": [resource],
                        "conditions": [failed],
                    },
                },
            ]
        )
        return text("application/web", await explain_application(cluster, clock, KEY), EPOCH)

    shown = run_virtual(play())
    assert shown.startswith("application/web: OutOfSync, Healthy\n")
    assert "waits for   Failed last sync attempt to c0ffee: one object was refused  [OutOfSync]" in shown
    assert "ConfigMap shop/one: OutOfSync" in shown
    assert "SyncError  True     Failed last sync attempt" in shown


def test_one_that_is_not_there_is_an_error() -> None:
    async def play() -> None:
        clock = LoopClock()
        with pytest.raises(NotFound):
            await explain_application(SimulatedCluster(clock), clock, KEY)

    run_virtual(play())

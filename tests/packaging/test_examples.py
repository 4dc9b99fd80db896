"""What is in `examples/` runs as its own words say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_custom_controller_steers_by_the_canary_machine() -> None:
    shown = run("-m", "examples.custom_controller").splitlines()
    weights = [line[10:] for line in shown if "{" in line]
    assert weights == [
        "{'stable': 80, 'canary': 20}  Progressing",
        "{'stable': 50, 'canary': 50}  Progressing",
        "{'stable': 0, 'canary': 100}  Progressing",
        "{'stable': 100, 'canary': 0}  Healthy",
        "{'stable': 80, 'canary': 20}  Progressing",
        "{'stable': 100, 'canary': 0}  Degraded",
    ]
    assert "00:00:00  waits: the pause of 600 s is over" in shown


def test_the_custom_controller_needs_no_cluster() -> None:
    code = "import examples.custom_controller, sys; print({'kubernetes_asyncio', 'aiohttp'} & set(sys.modules))"
    assert run("-c", code).strip() == "set()"


def test_the_policy_is_tested() -> None:
    shown = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "examples/test_policy.py")
    assert "5 passed" in shown


def test_the_preview_of_a_commit_tells_what_it_will_do() -> None:
    assert [line.strip() for line in run("-m", "examples.gitops_preview").splitlines()] == [
        "What an apply would change:",
        "extra    /ConfigMap/shop/old",
        "created  /Service/shop/web",
        "changed  apps/Deployment/shop/web",
        "spec.template.spec.containers[name=web].image: wanted 'registry.example.com/web:2',"
        " found 'registry.example.com/web:1'",
        "What a sync would do, in this order:",
        "hook     batch/Job/shop/migrate",
        "prune    /ConfigMap/shop/old",
        "create   /Service/shop/web",
        "apply    apps/Deployment/shop/web",
        "How the live objects are:",
        "Deployment web: Progressing Waiting for rollout to finish: 3 of 5 updated replicas are available...",
        "ConfigMap old: -",
    ]


def test_the_preview_needs_no_cluster() -> None:
    code = "import examples.gitops_preview, sys; print({'kubernetes_asyncio', 'aiohttp'} & set(sys.modules))"
    assert run("-c", code).strip() == "set()"


@pytest.mark.parametrize("path", sorted(path.name for path in (ROOT / "examples").glob("*.yaml")))
def test_nothing_is_wrong_with_the_manifests(path: str) -> None:
    run("-m", "fairlead.cli.main", "lint", f"examples/{path}")

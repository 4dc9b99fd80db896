"""Upstream's flags of the controller: what each does here."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from fairlead.cli.main import main
from fairlead.controller import main as controller
from fairlead.controller.settings import Settings

UPSTREAMS_DEPLOYMENT = (
    "--namespaced=true",
    "--namespace=shop",
    "--instance-id=blue",
    "--leader-elect=false",
    "--rollout-threads=5",
    "--experiment-threads=10",
    "--analysis-threads=7",
    "--service-threads=10",
    "--ingress-threads=10",
    "--ephemeral-metadata-threads=4",
    "--ephemeral-metadata-update-pod-retries=6",
    "--qps=40",
    "--burst=90",
    "--rollout-resync=600",
    "--metricsport=8091",
    "--healthzPort=8081",
    "--loglevel=warn",
    "--logformat=text",
    "--kloglevel=2",
    "--istio-api-version=v1beta1",
    "--alb-ingress-classes=alb",
    "--nginx-ingress-classes=nginx",
    "--traefik-api-version=traefik.io/v1alpha1",
    "--ambassador-api-version=x",
    "--traffic-split-api-version=x",
    "--appmesh-crd-version=x",
    "--ingress-api-version=x",
    "--aws-target-group-binding-api-version=x",
    "--alb-tag-key-resource-id=x",
    "--self-service-notification-enabled=false",
    "--aws-verify-target-group=false",
)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What the controller would have been started with."""
    found: list[Settings] = []

    async def run(settings: Settings, **_rest: Any) -> None:
        found.append(settings)

    monkeypatch.setattr(controller, "run", run)
    monkeypatch.setattr("fairlead.controller.logs.configure", lambda **_rest: None)
    return found


def test_the_arguments_of_upstreams_deployment_are_taken(started: list[Settings]) -> None:
    result = CliRunner().invoke(main, ["controller", *UPSTREAMS_DEPLOYMENT])
    assert result.exit_code == 0, result.output
    (settings,) = started
    assert (settings.namespace, settings.instance_id, settings.election) == ("shop", "blue", None)
    assert (settings.workers.rollouts, settings.workers.analysis_runs) == (5, 7)
    assert (settings.workers.marked_pods, settings.workers.marking_tries) == (4, 6)
    assert (settings.requests.per_second, settings.requests.burst) == (40, 90)
    assert settings.resync.total_seconds() == 600
    assert (settings.serving.metrics_port, settings.serving.health_port) == (8091, 8081)
    assert settings.with_rollouts


def test_without_flags_nothing_is_limited(started: list[Settings]) -> None:
    assert CliRunner().invoke(main, ["controller"]).exit_code == 0
    assert started[0].requests.per_second == 0
    assert (started[0].workers.marked_pods, started[0].workers.marking_tries) == (10, 3)
    assert started[0].election is not None


@pytest.mark.parametrize(
    ("flags", "leads_alone"),
    [
        ((), False),
        (("--leader-elect",), False),
        (("--leader-elect", "--no-secrets"), False),
        (("--leader-elect=true",), False),
        (("--leader-elect=false",), True),
        (("--no-leader-elect",), True),
    ],
)
def test_switches_are_read_as_go_reads_them(started: list[Settings], flags: tuple[str, ...], leads_alone: bool) -> None:
    result = CliRunner().invoke(main, ["controller", *flags])
    assert result.exit_code == 0, result.output
    assert (started[0].election is None) is leads_alone


@pytest.mark.parametrize("value", ["analysis", "analysis,analysis"])
def test_analysis_may_run_by_itself(started: list[Settings], value: str) -> None:
    assert CliRunner().invoke(main, ["controller", f"--controllers={value}"]).exit_code == 0
    assert (started[0].with_rollouts, started[0].with_secrets) == (False, False)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--self-service-notification-enabled", "notifications are not supported yet: nobody would be told"),
        ("--aws-verify-target-group", "AWS target groups are not verified here"),
        ("--enable-pprof-address=:6060", "there are no Go profiles here"),
        ("--controllers=rollouts", "expected analysis, found 'rollouts'"),
        ("--burst=0", "0 is not in the range"),
    ],
)
def test_what_cannot_be_had_is_refused_in_clear_words(started: list[Settings], flag: str, message: str) -> None:
    result = CliRunner().invoke(main, ["controller", flag])
    assert result.exit_code == 2
    assert message in result.output
    assert started == []


def test_the_version_is_told() -> None:
    assert CliRunner().invoke(main, ["controller", "--version"]).output.startswith("fairlead, version ")

"""What `fairlead controller` makes of its options."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from click.testing import CliRunner

from fairlead.cli.main import main
from fairlead.controller import logs
from fairlead.controller import main as process
from fairlead.controller.settings import Settings
from fairlead.secrets.settings import PlannerSettings, SecretSettings


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """Return the settings of controllers that would have been run."""
    found: list[Settings] = []

    async def run(settings: Settings, **_: Any) -> None:
        found.append(settings)

    monkeypatch.setattr(process, "run", run)
    monkeypatch.setattr(logs, "configure", lambda **_: None)
    return found


def test_without_options_the_defaults_of_the_library_hold(started: list[Settings]) -> None:
    result = CliRunner().invoke(main, ["controller"])
    assert result.exit_code == 0, result.output
    assert (started[0].secrets, started[0].stores) == (SecretSettings(), PlannerSettings())


def test_options_of_external_secrets_reach_the_settings(started: list[Settings]) -> None:
    options = [
        "--controller-class=team",
        "--enable-cluster-store-reconciler=false",
        "--enable-flood-gate=false",
        "--store-requeue-interval=30s",
        "--no-align-refreshes",
        "--refresh-time-every=10m",
        "--store-reads-per-second=7.5",
        "--store-burst=3",
        "--store-calls=2",
        "--store-timeout=5s",
        "--store-share=0s",
        "--store-idle=1m",
    ]
    result = CliRunner().invoke(main, ["controller", *options])
    assert result.exit_code == 0, result.output
    assert started[0].secrets == SecretSettings(
        controller_class="team",
        cluster_stores=False,
        flood_gate=False,
        aligned=False,
        refresh_time_every=timedelta(minutes=10),
        store_interval=timedelta(seconds=30),
    )
    assert started[0].stores == PlannerSettings(
        reads_per_second=7.5,
        burst=3,
        batches_in_flight_max=2,
        call_seconds=5.0,
        share_seconds=0.0,
        idle_seconds=60.0,
    )


@pytest.mark.parametrize("option", ["--enable-flood-gate", "--enable-flood-gate=true", "--enable-flood-gate=True"])
def test_switches_are_written_as_flags_of_go_programs(started: list[Settings], option: str) -> None:
    assert CliRunner().invoke(main, ["controller", option]).exit_code == 0
    assert started[0].secrets.flood_gate


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--store-timeout=0s", "--store-timeout: expected a time above 0"),
        ("--store-requeue-interval=soon", "'--store-requeue-interval': time: invalid duration"),
        ("--store-reads-per-second=0", "'--store-reads-per-second': 0.0 is not in the range"),
        ("--enable-flood-gate=maybe", "'--enable-flood-gate': 'maybe' is not a valid boolean"),
    ],
)
def test_what_cannot_work_is_refused_by_name(started: list[Settings], option: str, text: str) -> None:
    result = CliRunner().invoke(main, ["controller", option])
    assert result.exit_code == 2
    assert text in result.output
    assert started == []

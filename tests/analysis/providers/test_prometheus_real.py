"""Prometheus metrics against a real Prometheus, whose own answers are the measure."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fairlead.analysis.providers.prometheus import PrometheusProvider
from fairlead.analysis.providers.settings import ProviderTools
from fairlead.analysis.status import Measurement, Phase
from tests.analysis.providers.servers import FixedClock, metric, question

pytestmark = pytest.mark.real

# Two hours ago, on the minute: old enough to be a block of its own, young enough to be kept.
START = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(hours=2)
END = START + timedelta(minutes=30)


def _samples() -> str:
    """Half an hour of requests: canary with 5 % errors, stable with none, one count a minute."""
    lines = ["# TYPE requests counter"]
    counts = (("canary", "200", 95), ("canary", "500", 5), ("stable", "200", 100))
    for version, code, per_minute in counts:
        for minute in range(31):
            at = (START + timedelta(minutes=minute)).timestamp()
            lines.append(f'requests_total{{version="{version}",code="{code}"}} {per_minute * minute} {at:.0f}')
    # A process that restarts in the middle: its counter begins at 0 again.
    lines.append("# TYPE restarted counter")
    for minute in range(31):
        at = (START + timedelta(minutes=minute)).timestamp()
        lines.append(f"restarted_total {10 * (minute if minute < 25 else minute - 25)} {at:.0f}")
    return "\n".join([*lines, "# EOF", ""])


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Prometheus on loopback that knows the samples."""
    if shutil.which("prometheus") is None or shutil.which("promtool") is None:
        assert not os.environ.get("CI"), "CI must have prometheus and promtool"
        pytest.skip("prometheus and promtool are not installed")
    folder = tmp_path_factory.mktemp("prometheus")
    (folder / "samples.txt").write_text(_samples())
    (folder / "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    blocks = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "samples.txt", "data"]
    subprocess.run(blocks, cwd=folder, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [
        "prometheus",
        "--config.file=prometheus.yml",
        "--storage.tsdb.path=data",
        f"--web.listen-address={listen}",
    ]
    with (
        (folder / "log.txt").open("wb") as log,
        subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process,
    ):
        try:
            _wait_until_ready(f"http://{listen}", process, folder)
            yield f"http://{listen}"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_until_ready(address: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"{address}/-/ready", timeout=5):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
    raise AssertionError("prometheus does not become ready:\n" + (folder / "log.txt").read_text())


async def ask(address: str, query: str, *, success: str = "true", **block: Any) -> Measurement:
    provider = PrometheusProvider(ProviderTools(clock=FixedClock(END)))
    try:
        spec = {"prometheus": {"address": address, "query": query, **block}}
        return await provider.measure(question(metric(spec, success=success)))
    finally:
        provider.close()


RATIO = 'sum(rate(requests_total{version="%s",code!~"5.."}[10m])) / sum(rate(requests_total{version="%s"}[10m]))'


@pytest.mark.parametrize(
    ("query", "success", "phase", "value"),
    [
        pytest.param(RATIO % ("canary", "canary"), "result[0] >= 0.95 - 1e-9", Phase.SUCCESSFUL, None, id="ratio-good"),
        pytest.param(RATIO % ("canary", "canary"), "result[0] >= 0.99", Phase.FAILED, None, id="ratio-bad"),
        pytest.param(RATIO % ("stable", "stable"), "result[0] == 1", Phase.SUCCESSFUL, "[1]", id="ratio-whole"),
        pytest.param(RATIO % ("none", "none"), "result[0] >= 0.95", Phase.ERROR, "", id="no-such-series"),
        pytest.param("vector(0) / vector(0)", "result[0] >= 0.95", Phase.FAILED, "[NaN]", id="nan"),
        pytest.param("vector(1) / vector(0)", "isInf(result[0])", Phase.SUCCESSFUL, "[+Inf]", id="infinity"),
        pytest.param("scalar(vector(0.25))", "result == 0.25", Phase.SUCCESSFUL, "0.25", id="scalar"),
        pytest.param("scalar(up)", "isNaN(result)", Phase.SUCCESSFUL, "NaN", id="scalar-of-nothing"),
        pytest.param(
            "sum by (version) (requests_total) > 1", "len(result) == 2", Phase.SUCCESSFUL, "[3000,3000]", id="two"
        ),
        pytest.param('requests_total{code="500"}[90s]', "result == [145, 150]", Phase.SUCCESSFUL, None, id="matrix"),
        pytest.param('"text"', "true", Phase.ERROR, "", id="string"),
        pytest.param("1e-7 * vector(1)", "result[0] > 0", Phase.SUCCESSFUL, "[0.0000001]", id="small"),
    ],
)
async def test_answers(address: str, query: str, success: str, phase: Phase, value: str | None) -> None:
    found = await ask(address, query, success=success)
    assert found.phase is phase, (found.message, found.value)
    if value is not None:
        assert found.value == value


@pytest.mark.parametrize(
    ("query", "success"),
    [
        pytest.param("increase(restarted_total[10m])", "result[0] > 85 && result[0] < 105", id="increase"),
        pytest.param("rate(restarted_total[10m]) * 60", "result[0] > 8.5 && result[0] < 10.5", id="rate"),
        pytest.param("resets(restarted_total[10m])", "result[0] == 1", id="it-was-reset"),
        pytest.param("delta(restarted_total[10m])", "result[0] < 0", id="what-it-would-be-without"),
    ],
)
async def test_a_counter_that_was_reset_inside_the_window_still_counts(address: str, query: str, success: str) -> None:
    found = await ask(address, query, success=success)
    assert found.phase is Phase.SUCCESSFUL, (found.message, found.value)


async def test_values_are_those_of_promtool(address: str) -> None:
    query = RATIO % ("canary", "canary")
    command = ["promtool", "query", "instant", "--format=json", f"--time={END.timestamp():.0f}", address, query]
    answer = await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, text=True)
    theirs = json.loads(answer.stdout)
    found = await ask(address, query)
    assert json.loads(found.value) == [float(series["value"][1]) for series in theirs]


async def test_a_range(address: str) -> None:
    span = {"start": 'now() - duration("3m")', "end": "now()", "step": "1m"}
    found = await ask(address, 'requests_total{code="500"}', success="result == [135, 140, 145, 150]", rangeQuery=span)
    assert (found.phase, found.value) == (Phase.SUCCESSFUL, "[135,140,145,150]")


@pytest.mark.parametrize(
    ("query", "block", "message"),
    [
        pytest.param("sum(", {}, "bad_data: ", id="no-query"),
        pytest.param("", {}, "bad_data: ", id="empty-query"),
        pytest.param(
            "up",
            {"rangeQuery": {"start": 'now() - duration("9000h")', "end": "now()", "step": "1s"}},
            "bad_data: ",
            id="points",
        ),
        pytest.param("up + on() requests_total", {}, "execution: ", id="many-to-one"),
    ],
)
async def test_errors_are_those_of_the_server(address: str, query: str, block: dict[str, Any], message: str) -> None:
    if message == "execution: ":
        query = "requests_total + on() requests_total"
    found = await ask(address, query, **block)
    assert found.phase is Phase.ERROR
    assert found.message.startswith(message), found.message


async def test_a_query_of_a_hundred_kilobytes(address: str) -> None:
    codes = "|".join(str(code) for code in range(10_000, 27_000))
    found = await ask(address, f'count(requests_total{{code!~"{codes}"}})', success="result[0] == 3")
    assert found.phase is Phase.SUCCESSFUL, found.message[:200]


async def test_a_path_that_is_not_prometheus(address: str) -> None:
    found = await ask(f"{address}/elsewhere", "up")
    assert (found.phase, found.message) == (Phase.ERROR, "client_error: client error: 404")

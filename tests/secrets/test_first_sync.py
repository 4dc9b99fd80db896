"""What somebody waits for goes before what is merely refreshed, in the numbers of the benchmark (virtual time)."""

from __future__ import annotations

import json
import subprocess
import sys


def test_new_secrets_do_not_queue_up_behind_refreshes() -> None:
    command = [sys.executable, "-m", "benchmarks.secret_first_sync", "--secrets", "200", "--new", "20"]
    done = subprocess.run(
        [*command, "--latency", "50", "--interval", "30"], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["fifo_s"] == 2.0
    assert 0.05 <= found["burst"]["p50_s"] <= found["burst"]["p99_s"] < 0.6
    assert 0.05 <= found["trickle"]["p50_s"] <= found["trickle"]["p99_s"] < 0.4
    assert 0.95 <= found["refreshes_per_interval"] <= 1.1  # and nobody is starved for it

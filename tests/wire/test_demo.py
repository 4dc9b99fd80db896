"""`fairlead demo` as a person runs it: a process that shows its acts and checks them, or is interrupted."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tests.wire.arena import need_envoy

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

SECONDS_MAX = 120.0
_PROCESS = re.compile(r"process (\d+)")  # of whatever the demo starts, as it tells


@asynccontextmanager
async def demo(*options: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the demo; it has ended when the context is left."""
    command = (sys.executable, "-m", "fairlead.cli.main", "demo", *options)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


def alive(shown: str) -> list[int]:
    """Return the processes that the demo has told of and that still run."""
    found = [int(number) for number in _PROCESS.findall(shown)]
    assert len(found) >= 2, shown  # Envoy and the controller; act three starts an OpenBao where there is one
    return [number for number in found if os.path.exists(f"/proc/{number}")]


async def test_a_good_version_is_promoted_and_a_bad_one_is_stopped() -> None:
    need_envoy()
    async with demo("--fast", "--json", "--seed", "3") as process:
        async with asyncio.timeout(SECONDS_MAX):
            output, shown = (text.decode() for text in await process.communicate())
    assert process.returncode == 0, shown
    facts = json.loads(output)
    assert (facts["holds"], facts["problems"]) == (True, [])
    assert [(step["act"], step["wanted"], step["holds"]) for step in facts["steps"]] == [
        *((1, 20, True), (1, 50, True), (1, 100, True)),
        *((2, 20, True), (2, 0, True)),
    ]
    assert all(step["requests"] >= 1000 for step in facts["steps"])
    assert (facts["lost"], facts["failedByOthers"]) == (0, 0)
    assert facts["failedByBadVersion"] > 0  # else there was nothing to be stopped
    assert 'Metric "success-rate" assessed Failed' in facts["verdict"]
    preview = facts["blueGreen"]
    assert (preview["stopped"], preview["answeredByNewVersion"], preview["switches"]) == (True, 0, 0)
    assert (preview["lost"], preview["failed"]) == (0, 0)
    assert preview["requestsOfUsers"] > 200
    assert preview["failedOfTesters"] > 0
    assert "Blue/green pre-promotion analysis phase error/failed" in preview["verdict"]
    commits = facts["gitOps"]
    assert (commits["promoted"], commits["stopped"], commits["applicationInSync"]) == (True, True, True)
    assert commits["applicationHealth"] == "Degraded"
    assert commits["applicationCause"] == "Caused by argoproj.io/Rollout:mail/mail"
    assert facts["seconds"] < 90
    assert max(facts["secondsToZeroInApi"], facts["secondsToZeroOnWire"]) < 5
    assert alive(shown) == []


async def test_an_interrupt_ends_all_that_was_started() -> None:
    need_envoy()
    async with demo("--fast") as process:
        assert process.stdout is not None, "it is a pipe"
        shown = ""
        async with asyncio.timeout(SECONDS_MAX):
            while "load:" not in shown:
                line = await process.stdout.readline()
                assert line, shown
                shown += line.decode()
            assert len(alive(shown)) == 2
            process.send_signal(signal.SIGINT)
            await process.communicate()
    assert process.returncode == 130
    assert alive(shown) == []

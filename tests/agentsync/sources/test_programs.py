"""Programs under limits: what breaks one is killed with its children, and nothing of ours reaches it."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from fairlead.agentsync.sources._programs import (
    Limits,
    OutputTooLarge,
    ProgramTimeout,
    clean_environment,
    find_program,
    one_line,
    run,
)
from fairlead.agentsync.sources.port import ProgramMissing, SourceError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_output_errors_and_code_come_back(tmp_path: Path) -> None:
    code = "import sys; print(sys.stdin.read()[::-1]); print('oh', file=sys.stderr); sys.exit(3)"
    ended = await run(
        python(code), environment=clean_environment(tmp_path), folder=tmp_path, limits=Limits(), stdin=b"abc"
    )
    assert (ended.code, ended.output, ended.errors) == (3, b"cba\n", "oh\n")


async def test_only_the_path_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    ended = await run(
        python("import os; print(sorted(os.environ))"),
        environment=clean_environment(tmp_path),
        folder=tmp_path,
        limits=Limits(),
    )
    assert b"AWS" not in ended.output and b"'HOME'" in ended.output


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


# A program with a child of its own that would outlive it.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("child", "w").write(str(child.pid))
{what}
"""


async def gone(folder: Path) -> None:
    pid = int((folder / "child").read_text())
    for _ in range(200):
        if not is_alive(pid):
            return
        await asyncio.sleep(0.01)
    os.kill(pid, 9)
    pytest.fail("the child outlived its parent's end")


async def test_a_slow_program_is_killed_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(ProgramTimeout, match=r"took longer than 1\.5 s"):
        await run(
            python(PARENT.format(what="time.sleep(600)")),
            environment=clean_environment(tmp_path),
            folder=tmp_path,
            limits=Limits(seconds=1.5),
        )
    await gone(tmp_path)


async def test_a_talkative_program_is_killed(tmp_path: Path) -> None:
    code = "import sys\nwhile True: sys.stdout.write('x' * 65536)"
    with pytest.raises(OutputTooLarge, match="wrote more than 100000 bytes"):
        await run(
            python(code),
            environment=clean_environment(tmp_path),
            folder=tmp_path,
            limits=Limits(output_bytes=100_000),
        )


async def test_errors_without_end_are_cut(tmp_path: Path) -> None:
    code = "import sys; sys.stderr.write('first ' + 'x' * 1000000 + ' last')"
    ended = await run(python(code), environment=clean_environment(tmp_path), folder=tmp_path, limits=Limits())
    assert (ended.code, len(ended.errors)) == (0, 65536)
    assert ended.errors.startswith("first x") and ended.errors.endswith("x last")


async def test_a_guard_ends_a_program(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^enough$"):
        await run(
            python("import time; time.sleep(600)"),
            environment=clean_environment(tmp_path),
            folder=tmp_path,
            limits=Limits(),
            guard=lambda: "enough",
        )


async def test_a_cancelled_wait_kills_the_group(tmp_path: Path) -> None:
    task = asyncio.create_task(
        run(
            python(PARENT.format(what="time.sleep(600)")),
            environment=clean_environment(tmp_path),
            folder=tmp_path,
            limits=Limits(),
        )
    )
    for _ in range(1000):
        if (tmp_path / "child").exists() and (tmp_path / "child").read_text():
            break
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await gone(tmp_path)


async def test_a_program_that_does_not_read_is_no_fault(tmp_path: Path) -> None:
    ended = await run(
        python("pass"),
        environment=clean_environment(tmp_path),
        folder=tmp_path,
        limits=Limits(),
        stdin=b"x" * 1_000_000,
    )
    assert ended.code == 0


async def test_an_absent_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissing, match="'no-such-program' is not on the PATH"):
        find_program("no-such-program")
    with pytest.raises(ProgramMissing, match="'absent' is not there"):
        await run([str(tmp_path / "absent")], environment={}, folder=tmp_path, limits=Limits())


def test_messages_are_one_bounded_line_without_secrets() -> None:
    text = "fatal: 'https://me:pw@host/r'\n\n token=hush\x1b[31m\n" + "x" * 2000
    found = one_line(text, ["hush"])
    assert found.startswith("fatal: 'https://host/r'; token=***?[31m; xxx")
    assert len(found) < 700


async def test_a_program_that_takes_too_much_memory_fails(tmp_path: Path) -> None:
    code = "import time; time.sleep(0.2); x = bytearray(500_000_000)"
    ended = await run(
        python(code),
        environment=clean_environment(tmp_path),
        folder=tmp_path,
        limits=Limits(memory_bytes=200_000_000),
    )
    assert ended.code == 1 and "MemoryError" in ended.errors

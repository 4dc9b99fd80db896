"""Programs of others, run under limits: time, output, a clean environment, and nothing left behind.

Every program is the leader of a process group of its own. Whatever ends the wait early (a limit, a cancelled task)
kills the whole group, so that no `ssh` or `git-remote-https` outlives its parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import shutil
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fairlead.agentsync.sources._urls import hide_userinfo
from fairlead.agentsync.sources.port import ProgramMissing, SourceError

ERROR_BYTES_MAX: Final = 64 * 1024  # of a program's stderr; what lies between its ends is read and dropped
MESSAGE_CHARACTERS_MAX: Final = 600
_CHUNK_BYTES: Final = 256 * 1024
_GUARD_SECONDS: Final = 0.25


class ProgramTimeout(SourceError):
    """A program took too long, and was killed."""


class OutputTooLarge(SourceError):
    """A program wrote more than allowed, and was killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a program may use.

    Args:
        seconds: wall time until it is killed.
        output_bytes: of stdout until it is killed.
        memory_bytes: that it may write to; 0: no bound. Only Linux can hold a program to it.
    """

    seconds: float = 90.0  # ARGOCD_EXEC_TIMEOUT's default
    output_bytes: int = 64 * 1024 * 1024
    memory_bytes: int = 2 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """How a program ended.

    Args:
        code: its exit code; negative: the signal that ended it.
        output: its stdout.
        errors: its stderr, cut at ERROR_BYTES_MAX.
    """

    code: int
    output: bytes
    errors: str


def find_program(name: str) -> str:
    """Return the absolute path of a program on the PATH, or of one that is given by its path.

    Raises:
        ProgramMissing: there is none.
    """
    found = shutil.which(name)
    if found is None:
        raise ProgramMissing(f"the program {name!r} is not on the PATH: install it, or configure its path")
    return str(Path(found).absolute())


def clean_environment(home: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment that has nothing of ours but the PATH; home and temporary files are in `home`."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(home),
        "TMPDIR": str(home),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_DATA_HOME": str(home / ".local"),
        "LC_ALL": "C.UTF-8",
        **(extra or {}),
    }


def one_line(text: str, secrets: Sequence[str] = ()) -> str:
    """Return a program's words as one line for a message: bounded, without users in URLs, without these secrets."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    lines = [line.strip() for line in hide_userinfo(text).splitlines() if line.strip()]
    joined = "".join(each if each.isprintable() else "?" for each in "; ".join(lines))
    if len(joined) <= MESSAGE_CHARACTERS_MAX:
        return joined
    half = MESSAGE_CHARACTERS_MAX // 2  # the beginning says what was done, the end why it failed
    return f"{joined[:half]} ... {joined[-half:]}"


async def run(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    folder: Path,
    limits: Limits,
    stdin: bytes = b"",
    guard: Callable[[], str] | None = None,
) -> Finished:
    """Return how a program ended, whatever its exit code.

    Args:
        argv: the program's path and its arguments; no shell sees them.
        environment: all of it.
        folder: where it runs.
        limits: what it may use.
        stdin: what it reads.
        guard: asked four times a second; a text other than empty ends the program, and is the error's.

    Raises:
        ProgramMissing: it cannot be started.
        ProgramTimeout, OutputTooLarge, SourceError: it broke a limit.
    """
    name = Path(argv[0]).name
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env=dict(environment),
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise ProgramMissing(f"the program {name!r} is not there: install it, or configure its path") from error
    except PermissionError as error:
        raise ProgramMissing(f"the program {name!r} may not be run: {error.strerror}") from error
    try:
        _bound_memory(process.pid, limits.memory_bytes)
        async with asyncio.timeout(limits.seconds):
            return await _talk(process, name, limits, stdin, guard)
    except TimeoutError:
        raise ProgramTimeout(f"{name} took longer than {limits.seconds:g} s and was stopped") from None
    finally:
        await _end(process)


def _bound_memory(pid: int, memory_bytes: int) -> None:
    """Bound what a program may write to: a template that asks for the moon must not take ours.

    It is done from outside and a moment after the start, as code between fork and exec is not safe beside threads.
    """
    if memory_bytes and hasattr(resource, "prlimit"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            resource.prlimit(pid, resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


async def _talk(
    process: asyncio.subprocess.Process, name: str, limits: Limits, stdin: bytes, guard: Callable[[], str] | None
) -> Finished:
    assert process.stdout is not None and process.stderr is not None, "both are pipes"
    feeding = asyncio.create_task(_feed(process, stdin))
    output = asyncio.create_task(_collect(process.stdout, limits.output_bytes, name))
    errors = asyncio.create_task(_ends(process.stderr))
    talking: tuple[asyncio.Task[Any], ...] = (feeding, output, errors)
    pending: set[asyncio.Task[Any]] = set(talking)
    try:
        while pending:
            done, pending = await asyncio.wait(
                pending, timeout=_GUARD_SECONDS if guard is not None else None, return_when=asyncio.FIRST_EXCEPTION
            )
            for task in done:
                task.result()
            if guard is not None and (found := guard()):
                raise SourceError(found)
        code = await process.wait()
    finally:
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
    return Finished(code=code, output=output.result(), errors=errors.result().decode("utf-8", "replace"))


async def _feed(process: asyncio.subprocess.Process, content: bytes) -> None:
    assert process.stdin is not None, "it is a pipe"
    # A program that ends before it has read everything says why by its exit code.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if content:
            process.stdin.write(content)
            await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _collect(stream: asyncio.StreamReader, bytes_max: int, name: str) -> bytes:
    found: list[bytes] = []
    total = 0
    while chunk := await stream.read(_CHUNK_BYTES):
        total += len(chunk)
        if total > bytes_max:
            raise OutputTooLarge(f"{name} wrote more than {bytes_max} bytes and was stopped")
        found.append(chunk)
    return b"".join(found)


async def _ends(stream: asyncio.StreamReader) -> bytes:
    """Return the beginning and the end of what a program wrote; the middle is dropped when it is long."""
    half = ERROR_BYTES_MAX // 2
    first, last = b"", b""
    while chunk := await stream.read(_CHUNK_BYTES):
        room = half - len(first)
        first += chunk[:room]
        last = (last + chunk[room:])[-half:]
    return first + last


async def _end(process: asyncio.subprocess.Process) -> None:
    """Make sure that the program and its children are gone, and its pipes closed."""
    if process.returncode is not None:
        return  # its stdout ended too, so no child of it that could still talk is left
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stdout is not None and process.stderr is not None, "both are pipes"
    # What they hold must be read, or the transport never closes.
    await asyncio.shield(asyncio.gather(_drop(process.stdout), _drop(process.stderr), process.wait()))


async def _drop(stream: asyncio.StreamReader) -> None:
    while await stream.read(_CHUNK_BYTES):
        pass

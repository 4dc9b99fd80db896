"""What a container of the simulated world does, read from its image, its command and its pod's annotations.

No container runs anywhere: this table is the whole of the "operating system".

| Written | Meaning |
|---|---|
| image contains `does-not-exist`, `bad-image` or `no-such-image` | `ErrImagePull`, then `ImagePullBackOff` |
| image name with upper-case letters or spaces | `InvalidImageName` |
| image tag `crash` or `crash-…` | runs for a moment, exits 1; again and again: `CrashLoopBackOff` |
| command `true`, `false`, `exit N`, `sleep N`, `sleep infinity`, `echo …`, joined by `;` or `&&` | that |
| the same as `sh -c "…"` (any shell, also `-ec`) | that |
| first word of the command contains `does-not-exist` or `no-such` | cannot start: `StartError`, code 128 |
| any other command, or none | a server: runs until it is stopped |
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from fairlead.core.durations import parse_go_seconds
from fairlead.testing.workloads._objects import PREFIX, Container, LifecycleHandler

MISSING_IMAGES = ("does-not-exist", "bad-image", "no-such-image")
MISSING_COMMANDS = ("does-not-exist", "no-such")
CRASH_SECONDS = 0.3  # how long a program that fails at once takes to do so

_SHELLS = ("sh", "bash", "ash", "dash", "zsh")
_IMAGE = re.compile(r"[a-z0-9][a-z0-9._/:@-]*")
_COUNT = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
_RATIO = re.compile(r"0(\.\d+)?|1(\.0+)?")
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a container does when it is started.

    Attributes:
        refusal: not empty: it never starts; the reason that its waiting state shows.
        seconds: how long it runs; None: until it is stopped.
        exit_code: with which it ends by itself.
        post_start: seconds that the postStart hook takes.
        pre_stop: seconds that the preStop hook takes.
    """

    refusal: str = ""
    seconds: float | None = None
    exit_code: int = 0
    post_start: float = 0.0
    pre_stop: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Knobs:
    """How a pod's annotations steer its life; each is named as here, with hyphens, after `testing.fairlead.dev/`.

    Attributes:
        start_after: seconds until its containers run (pulling, creating); None: the kubelet's own choice.
        ready_after: seconds from running to ready, instead of the readiness probe's initial delay.
        stop_after: seconds from SIGTERM to the end of its processes; None: the kubelet's own choice.
        crash_after: seconds after which the first container exits with 1, each time it is started.
        never_ready: `"true"`: runs and never becomes ready.
        unready: `"true"`: is not ready as long as this stands there. May be changed on the living pod (the monkey).
        fail_ratio: 0..1: the share of requests that its server answers with 500.
        latency: seconds that its server takes for each answer.
        problem: names the first annotation that cannot be understood, with what was found and expected.
    """

    start_after: float | None = None
    ready_after: float | None = None
    stop_after: float | None = None
    crash_after: float | None = None
    never_ready: bool = False
    unready: bool = False
    fail_ratio: float = 0.0
    latency: float = 0.0
    problem: str = ""


def knobs(annotations: Mapping[str, str]) -> Knobs:
    """Return what the annotations of a pod ask for; what cannot be understood is named in `problem`."""
    found: dict[str, Any] = {}
    problem = ""
    for name in ("start-after", "ready-after", "stop-after", "crash-after", "latency"):
        if (text := annotations.get(PREFIX + name)) is None:
            continue
        try:
            found[name.replace("-", "_")] = span(text)
        except ValueError:
            problem = problem or f'annotation {PREFIX}{name}: found "{text}", expected a duration such as "5s"'
    for name in ("never-ready", "unready"):
        if (text := annotations.get(PREFIX + name)) is None:
            continue
        if text not in ("true", "false"):
            problem = problem or f'annotation {PREFIX}{name}: found "{text}", expected "true" or "false"'
        found[name.replace("-", "_")] = text == "true"
    if (text := annotations.get(PREFIX + "fail-ratio")) is not None:
        if _RATIO.fullmatch(text):
            found["fail_ratio"] = float(text)
        else:
            problem = problem or f'annotation {PREFIX}fail-ratio: found "{text}", expected a number from 0 to 1'
    return Knobs(**found, problem=problem)


def span(text: str) -> float:
    """Return the seconds that a Go duration, or a plain number of seconds, names.

    Raises:
        ValueError: it is neither, or negative.
    """
    seconds = float(text) if _COUNT.fullmatch(text) and text[-1].isdecimal() else float(parse_go_seconds(text))
    if seconds < 0:
        raise ValueError(f"negative duration {text!r}")
    return seconds


def program(container: Container) -> Program:
    """Return what the container does when it is started."""
    lifecycle = container.lifecycle
    post_start = _hook_seconds(lifecycle.post_start) if lifecycle else 0.0
    pre_stop = _hook_seconds(lifecycle.pre_stop) if lifecycle else 0.0
    refusal = _image_refusal(container.image)
    if refusal:
        return Program(refusal=refusal)
    words = (*container.command, *container.args)
    if words and any(part in words[0] for part in MISSING_COMMANDS):
        return Program(refusal="StartError", exit_code=128)
    outcome = _outcome(words)
    tag = container.image.rpartition(":")[2] if ":" in container.image else ""
    if tag == "crash" or tag.startswith("crash-"):
        outcome = _Outcome(CRASH_SECONDS, 1)
    return Program(seconds=outcome.seconds, exit_code=outcome.exit_code, post_start=post_start, pre_stop=pre_stop)


class _Outcome(NamedTuple):
    seconds: float | None
    exit_code: int


def _image_refusal(image: str) -> str:
    if any(part in image for part in MISSING_IMAGES):
        return "ErrImagePull"
    # A tag may hold capitals, the name may not.
    name, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "")
    if not _IMAGE.fullmatch(name) or " " in tag:
        return "InvalidImageName"
    return ""


def _outcome(words: Sequence[str]) -> _Outcome:
    """Return how long the words run and with which code they end."""
    if not words:
        return _Outcome(None, 0)
    if words[0].rpartition("/")[2] in _SHELLS and len(words) > 2 and words[1].startswith("-") and "c" in words[1]:
        return _script(words[2])
    return _script(shlex.join(words))


def _script(text: str) -> _Outcome:
    seconds, code = 0.0, 0
    for chained, step in _steps(text):
        if chained and code:
            continue  # `a && b`: b is skipped when a failed
        match step:
            case ["exit", *rest]:
                ended = int(rest[0]) if rest and rest[0].isdecimal() else code
                return _Outcome(max(seconds, CRASH_SECONDS), ended)
            case ["true" | ":" | "echo" | "set", *_]:
                code = 0
            case ["false", *_]:
                code = 1
            case ["sleep", length, *_] if (count := _COUNT.fullmatch(length)) is not None:
                seconds, code = seconds + float(count.group(1)) * _UNIT_SECONDS[count.group(2)], 0
            case _:
                return _Outcome(None, 0)  # a server, or `sleep infinity`
    return _Outcome(max(seconds, CRASH_SECONDS), code)


def _steps(text: str) -> list[tuple[bool, list[str]]]:
    """Return the commands of a script, each with whether it runs only after a success.

    A script that a shell could not read is a server as well: one step that nobody knows.
    """
    steps: list[tuple[bool, list[str]]] = []
    chained = False
    for part in re.split(r"(;|&&|\n)", text):
        if part in (";", "&&", "\n"):
            chained = part == "&&"
            continue
        try:
            words = shlex.split(part)
        except ValueError:
            return [(False, [text])]
        if words:
            steps.append((chained, words))
    return steps or [(False, ["true"])]


def _hook_seconds(handler: LifecycleHandler | None) -> float:
    """Return how long a lifecycle hook takes: what it sleeps; a hook that never ends counts as no hook."""
    if handler is None:
        return 0.0
    if handler.sleep is not None:
        return float(handler.sleep.seconds)
    if handler.exec is not None:
        words = handler.exec.command
        seconds = _outcome(words).seconds
        has_sleep = any("sleep" in word for word in words)
        return seconds if seconds is not None and has_sleep else 0.0
    return 0.0

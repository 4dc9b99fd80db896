from __future__ import annotations

from typing import Any

import pytest

from fairlead.testing._programs import CRASH_SECONDS, Knobs, Program, knobs, program, span
from fairlead.testing.workloads._objects import Container, ExecAction, Lifecycle, LifecycleHandler, SleepAction

SERVER = Program()
CRASH = Program(seconds=CRASH_SECONDS, exit_code=1)
DONE = Program(seconds=CRASH_SECONDS)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        pytest.param("web:1", SERVER, id="a-server"),
        pytest.param("registry.example:5000/shop/web@sha256:00", SERVER, id="with-registry-and-digest"),
        pytest.param("web:V2", SERVER, id="capitals-in-a-tag"),
        pytest.param("web:does-not-exist", Program(refusal="ErrImagePull"), id="missing-tag"),
        pytest.param("shop/bad-image:1", Program(refusal="ErrImagePull"), id="missing-name"),
        pytest.param("Web:1", Program(refusal="InvalidImageName"), id="capitals-in-a-name"),
        pytest.param("", Program(refusal="InvalidImageName"), id="no-name"),
        pytest.param("web:crash", CRASH, id="crash"),
        pytest.param("localhost:5000/web:crash-2", CRASH, id="crash-behind-a-port"),
        pytest.param("web:crashless", SERVER, id="only-that-tag"),
    ],
)
def test_images(image: str, expected: Program) -> None:
    assert program(Container(name="web", image=image)) == expected


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param(["true"], DONE, id="true"),
        pytest.param(["/bin/false"], SERVER, id="a-path-is-a-program-of-its-own"),
        pytest.param(["false"], CRASH, id="false"),
        pytest.param(["sleep", "30"], Program(seconds=30), id="sleep"),
        pytest.param(["sleep", "1.5m"], Program(seconds=90), id="sleep-minutes"),
        pytest.param(["sleep", "infinity"], SERVER, id="for-ever"),
        pytest.param(["sh", "-c", "sleep 5; exit 3"], Program(seconds=5, exit_code=3), id="shell"),
        pytest.param(["/bin/bash", "-ec", "sleep 5 && exit 0"], Program(seconds=5), id="shell-by-path"),
        pytest.param(["sh", "-c", "false && sleep 9"], CRASH, id="the-rest-is-skipped-after-a-failure"),
        pytest.param(["sh", "-c", "false; sleep 9"], Program(seconds=9), id="a-semicolon-goes-on"),
        pytest.param(["sh", "-c", "echo hi; exit"], DONE, id="exit-with-the-last-code"),
        pytest.param(["sh", "-c", "echo 'hi"], SERVER, id="unreadable-script"),
        pytest.param(["sh", "-c", "sleep 1; ./serve"], SERVER, id="ends-in-a-server"),
        pytest.param(["./no-such-program"], Program(refusal="StartError", exit_code=128), id="cannot-start"),
        pytest.param(["nginx", "-g", "daemon off;"], SERVER, id="a-server"),
    ],
)
def test_commands(words: list[str], expected: Program) -> None:
    assert program(Container(name="web", image="web:1", command=tuple(words))) == expected
    assert program(Container(name="web", image="web:1", args=tuple(words))) == expected


@pytest.mark.parametrize(
    ("handler", "seconds"),
    [
        pytest.param(LifecycleHandler(sleep=SleepAction(seconds=7)), 7.0, id="sleep"),
        pytest.param(LifecycleHandler(exec=ExecAction(command=("sleep", "7"))), 7.0, id="exec"),
        pytest.param(LifecycleHandler(exec=ExecAction(command=("sh", "-c", "echo x; sleep 7"))), 7.0, id="shell"),
        pytest.param(LifecycleHandler(exec=ExecAction(command=("nginx", "-s", "quit"))), 0.0, id="no-sleep"),
        pytest.param(LifecycleHandler(), 0.0, id="http"),
    ],
)
def test_hooks(handler: LifecycleHandler, seconds: float) -> None:
    container = Container(name="web", image="web:1", lifecycle=Lifecycle(post_start=handler, pre_stop=handler))
    assert (program(container).post_start, program(container).pre_stop) == (seconds, seconds)


@pytest.mark.parametrize(
    ("annotations", "expected"),
    [
        pytest.param({}, Knobs(), id="none"),
        pytest.param({"example.com/ready-after": "x"}, Knobs(), id="others"),
        pytest.param(
            {"start-after": "2s", "ready-after": "1m", "stop-after": "3", "crash-after": "500ms"},
            Knobs(start_after=2, ready_after=60, stop_after=3, crash_after=0.5),
            id="durations",
        ),
        pytest.param({"fail-ratio": "0.3", "latency": "50ms"}, Knobs(fail_ratio=0.3, latency=0.05), id="answers"),
        pytest.param({"never-ready": "true", "unready": "false"}, Knobs(never_ready=True), id="booleans"),
    ],
)
def test_knobs(annotations: dict[str, str], expected: Knobs) -> None:
    prefixed = {name if "/" in name else f"testing.fairlead.dev/{name}": value for name, value in annotations.items()}
    assert knobs(prefixed) == expected


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        pytest.param("ready-after", "soon", 'a duration such as "5s"', id="no-duration"),
        pytest.param("crash-after", "-5s", 'a duration such as "5s"', id="negative"),
        pytest.param("latency", "slow", 'a duration such as "5s"', id="no-latency"),
        pytest.param("fail-ratio", "30%", "a number from 0 to 1", id="no-ratio"),
        pytest.param("fail-ratio", "1.5", "a number from 0 to 1", id="ratio-above-1"),
        pytest.param("never-ready", "yes", '"true" or "false"', id="no-boolean"),
    ],
)
def test_knob_that_cannot_be_understood_is_named(name: str, text: str, expected: str) -> None:
    found: Any = knobs({f"testing.fairlead.dev/{name}": text})
    assert found.problem == f'annotation testing.fairlead.dev/{name}: found "{text}", expected {expected}'


def test_span() -> None:
    assert (span("1m30s"), span("2.5"), span("0")) == (90.0, 2.5, 0.0)

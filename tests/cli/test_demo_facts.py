from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest

from fairlead.cli._demo.commits import Commits
from fairlead.cli._demo.facts import (
    Facts,
    Findings,
    Rotation,
    Rotations,
    Sample,
    SideFacts,
    Step,
    as_json,
    deviation,
    problems,
    table,
)
from fairlead.cli._demo.preview import Previewed
from fairlead.cli._demo.witness import Window

GOOD = Sample(205, 1000)  # of 20 %: 0.4 sigma
BAD = Sample(241, 1000)  # of 20 %: 3.2 sigma


def step(first: Sample | None = GOOD, second: Sample | None = None, *, wanted: int = 20) -> Step:
    return Step(act=1, wanted=wanted, first=first, second=second)


ROTATED = Rotations(
    source="a fake store",
    first=Rotation(version=1, secret=0.4, workload=0.5),
    rotations=(Rotation(version=2, secret=0.9, workload=1.0), Rotation(version=3, secret=1.1, workload=1.2)),
    secret_writes=3,
    quiet_writes=0,
    leaks=0,
)
PREVIEWED = Previewed(
    users=900,
    seen=0,
    lost=0,
    failed=0,
    testers=300,
    testers_failed=140,
    switches=0,
    verdict="RolloutAborted: ...: Blue/green pre-promotion analysis phase error/failed: ...",
)

COMMITTED = Commits(
    started=1.1,
    is_promoted=True,
    is_stopped=True,
    health="Degraded",
    cause="Caused by argoproj.io/Rollout:mail/mail",
    is_kept=True,
)


def sides(
    secret: Findings | None, preview: Findings | None, commits: Findings | None = COMMITTED
) -> tuple[SideFacts, ...]:
    return (
        SideFacts(number=3, key="secret", name="secret rotated", found=secret),
        SideFacts(number=4, key="blueGreen", name="bad preview stopped", found=preview),
        SideFacts(number=5, key="gitOps", name="bad commit stopped", found=commits),
    )


HOLDS = Facts(
    steps=(step(), step(Sample(1000, 1000), wanted=100), step(Sample(0, 1200), wanted=0)),
    requests=9000,
    failed_bad=84,
    is_promoted=True,
    is_aborted=True,
    zero_in_api=0.01,
    zero_on_wire=0.13,
    sides=sides(ROTATED, PREVIEWED),
)


@pytest.mark.parametrize(
    ("wanted", "sample", "off"),
    [
        pytest.param(20, Sample(200, 1000), 0.0, id="exact"),
        pytest.param(50, Sample(530, 900), 8 / 1.5, id="sigma-of-a-half-is-half-the-root"),
        pytest.param(50, Sample(450, 1000), math.sqrt(10), id="below-counts-as-above"),
        pytest.param(0, Sample(0, 1000), 0.0, id="nothing-of-nothing"),
        pytest.param(0, Sample(1, 1000), math.inf, id="one-request-too-many-at-0"),
        pytest.param(100, Sample(999, 1000), math.inf, id="one-request-too-few-at-100"),
        pytest.param(20, Sample(0, 0), math.inf, id="no-requests-prove-nothing"),
    ],
)
def test_deviation_is_counted_in_standard_deviations(wanted: int, sample: Sample, off: float) -> None:
    assert deviation(wanted, sample) == pytest.approx(off)


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        pytest.param(step(), "", id="first-sample-holds"),
        pytest.param(step(BAD, Sample(410, 2000)), "", id="a-miss-that-the-second-sample-puts-right"),
        pytest.param(step(GOOD, Sample(900, 2000)), "", id="a-second-sample-that-nobody-needed"),
        pytest.param(step(None), "act 1, 20 %: this weight was never in force", id="never-in-force"),
        pytest.param(
            step(Sample(199, 999)),
            "act 1, 20 %: only 999 requests were counted, expected at least 1000",
            id="too-few-requests",
        ),
        pytest.param(
            step(BAD),
            "act 1, 20 %: 241 of 1000 requests came to the canary (24.1 %), 3.2 sigma away, "
            "and no second sample ruled chance out",
            id="a-miss-without-a-second-sample",
        ),
        pytest.param(
            step(BAD, Sample(200, 1000)),
            "act 1, 20 %: only 1000 requests were counted, expected at least 1001",
            id="a-second-sample-that-is-too-small",
        ),
        pytest.param(
            step(BAD, Sample(480, 2000)),
            "act 1, 20 %: 480 of 2000 requests came to the canary (24.0 %), 4.5 sigma away",
            id="a-miss-that-the-second-sample-confirms",
        ),
        pytest.param(
            step(Sample(999, 1000), Sample(2000, 2000), wanted=100),
            "",
            id="a-second-sample-decides-at-100-too",
        ),
        pytest.param(
            step(Sample(1, 1000), Sample(1, 2000), wanted=0),
            "act 1, 0 %: 1 of 2000 requests came to the canary (0.1 %), where none may differ",
            id="requests-that-should-not-be",
        ),
    ],
)
def test_a_miss_is_decided_by_a_second_larger_sample(found: Step, problem: str) -> None:
    assert found.problem() == problem


def test_everything_holds() -> None:
    assert problems(HOLDS) == []
    assert as_json(HOLDS)["holds"] is True


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        pytest.param(replace(HOLDS, broken="Envoy ended"), "Envoy ended", id="broken"),
        pytest.param(
            replace(HOLDS, is_promoted=False), "act 1: the good version did not become stable", id="not-promoted"
        ),
        pytest.param(replace(HOLDS, is_aborted=False), "act 2: the bad version was not stopped", id="not-stopped"),
        pytest.param(replace(HOLDS, steps=(step(None),)), "act 1, 20 %: this weight was never in force", id="step"),
        pytest.param(replace(HOLDS, requests=0), "no request was sent", id="no-load"),
        pytest.param(
            replace(HOLDS, lost=2, losses=("1.0 s: reset", "2.0 s: refused")),
            "2 requests got no answer (1.0 s: reset; 2.0 s: refused)",
            id="lost",
        ),
        pytest.param(
            replace(HOLDS, failed_other=1),
            "1 requests failed though the bad version had no part in them",
            id="failed",
        ),
        pytest.param(
            replace(HOLDS, troubles=("reconcile_broken", "leaked")),
            "the controller logged 2 errors, first: reconcile_broken",
            id="controller-errors",
        ),
        pytest.param(
            replace(HOLDS, zero_in_api=None), "act 2: the weight did not become 0 in the API", id="never-zero-in-api"
        ),
        pytest.param(
            replace(HOLDS, zero_on_wire=None), "act 2: the weight did not become 0 on the wire", id="never-zero"
        ),
        pytest.param(
            replace(HOLDS, zero_on_wire=5.2),
            "act 2: the weight became 0 on the wire 5.2 s after the failing measurement",
            id="late-zero",
        ),
    ],
)
def test_each_thing_that_does_not_hold_is_named(facts: Facts, problem: str) -> None:
    assert problems(facts) == [problem]
    assert as_json(facts)["problems"] == [problem]
    assert as_json(facts)["holds"] is False


def test_the_table_says_for_each_fact_whether_it_holds() -> None:
    facts = replace(HOLDS, steps=(step(), step(BAD, Sample(410, 2000)), step(None, wanted=50)), lost=3)
    lines = table(facts)
    assert [line.split()[-1] for line in lines[1:]] == [
        *("yes", "sample", "no"),  # the steps
        *("no", "yes", "yes", "yes", "yes", "yes", "yes"),
        *("yes", "yes", "yes", "yes", "yes"),  # the secret
        *("yes", "yes", "yes", "yes", "yes"),  # the preview
        *("yes", "yes", "yes", "yes", "yes"),  # the commits
    ]
    assert lines[2].split("  ")[-1] == "yes, 2nd sample"
    assert "20.5 %" in lines[2]
    assert max(map(len, lines)) <= 118


def counts(canary: int, stable: int) -> dict[str, int]:
    return {"2": canary, "1": stable}


def test_a_window_takes_its_sample_at_the_first_look_that_finds_enough() -> None:
    window = Window(act=1, wanted=20, version="2", began=counts(500, 700))
    assert not window.look(counts(600, 1199))
    assert window.first is None
    assert not window.look(counts(704, 1504))
    assert not window.look(counts(1500, 1600))  # what comes later does not change it
    assert window.step() == Step(act=1, wanted=20, first=Sample(204, 1008))


def test_a_window_asks_for_a_second_sample_once_and_begins_it_anew() -> None:
    window = Window(act=1, wanted=20, version="2", began=counts(0, 0))
    assert window.look(counts(260, 740))
    assert not window.look(counts(300, 1000))
    assert window.second is None
    assert not window.look(counts(660, 2345))
    assert window.step() == Step(act=1, wanted=20, first=Sample(260, 1000), second=Sample(400, 2005))
    assert window.step().problem() == ""


def test_a_window_that_is_closed_early_tells_how_little_it_has_seen() -> None:
    window = Window(act=2, wanted=20, version="2", began=counts(0, 0))
    window.close(counts(100, 400))
    assert window.step().problem() == "act 2, 20 %: only 500 requests were counted, expected at least 1000"
    assert not window.is_open


def test_true_shares_practically_never_fail() -> None:
    # 3 sigma twice: 1 in 137,000. That is what keeps the demo from failing by chance.
    rng = random.Random(7)
    failed = missed = 0
    for _ in range(2000):
        first = sum(rng.random() < 0.2 for _ in range(1000))
        found = step(Sample(first, 1000))
        if found.needs_second:
            missed += 1
            found = replace(found, second=Sample(sum(rng.random() < 0.2 for _ in range(2000)), 2000))
        failed += bool(found.problem())
    assert missed > 0  # so a single sample would be flaky
    assert failed == 0


@pytest.mark.parametrize(
    ("secret", "problem"),
    [
        pytest.param(None, "act 3: it was not played", id="not-played"),
        pytest.param(
            replace(ROTATED, first=Rotation(version=1)), "act 3: the workload never read the secret", id="never-read"
        ),
        pytest.param(
            replace(ROTATED, rotations=(Rotation(version=2, secret=0.9, workload=3.2),), secret_writes=2),
            "act 3: a rotated value came to the workload after 3.2 s",
            id="late",
        ),
        pytest.param(
            replace(ROTATED, rotations=(Rotation(version=2, workload=1.0),), secret_writes=2),
            "act 3: a rotated value did not come to the Secret",
            id="lost",
        ),
        pytest.param(
            replace(ROTATED, secret_writes=5), "act 3: 3 values took 5 writes of the Secret", id="needless-writes"
        ),
        pytest.param(
            replace(ROTATED, quiet_writes=1), "act 3: a refresh that found nothing new took 1 writes", id="not-quiet"
        ),
        pytest.param(
            replace(ROTATED, quiet_writes=None),
            "act 3: nobody has looked whether a refresh that finds nothing new writes nothing",
            id="nobody-looked",
        ),
        pytest.param(
            replace(ROTATED, leaks=2), "act 3: a value stands 2 times in the controller's log", id="value-in-the-log"
        ),
    ],
)
def test_what_does_not_hold_of_the_secret_is_named(secret: Rotations | None, problem: str) -> None:
    facts = replace(HOLDS, sides=sides(secret, PREVIEWED))
    assert problems(facts) == [problem]
    assert any(line.startswith("act 3: ") and line.endswith(" no") for line in table(facts)) is (
        problem != "act 3: the workload never read the secret"
    )


@pytest.mark.parametrize(
    ("preview", "problem"),
    [
        pytest.param(None, "act 4: it was not played", id="not-played"),
        pytest.param(
            replace(PREVIEWED, verdict="RolloutAborted: somebody did it"),
            "act 4: the bad version was not stopped by its analysis (RolloutAborted: somebody did it)",
            id="stopped-by-something-else",
        ),
        pytest.param(
            replace(PREVIEWED, verdict=""),
            "act 4: the bad version was not stopped by its analysis (nothing was said)",
            id="not-stopped",
        ),
        pytest.param(replace(PREVIEWED, users=0), "act 4: no user sent a request", id="no-users"),
        pytest.param(
            replace(PREVIEWED, seen=1), "act 4: 1 of 900 requests of users came to the new version", id="seen"
        ),
        pytest.param(
            replace(PREVIEWED, lost=2, failed=3),
            "act 4: of 900 requests of users 2 were lost and 3 failed",
            id="lost-and-failed",
        ),
        pytest.param(
            replace(PREVIEWED, switches=2), "act 4: the active Service was led elsewhere 2 times", id="switched"
        ),
        pytest.param(
            replace(PREVIEWED, testers_failed=0),
            "act 4: 300 requests of testers found nothing wrong with the new version",
            id="nothing-to-find",
        ),
    ],
)
def test_what_does_not_hold_of_the_preview_is_named(preview: Previewed | None, problem: str) -> None:
    facts = replace(HOLDS, sides=sides(ROTATED, preview))
    assert problems(facts) == [problem]
    assert any(line.startswith("act 4: ") and line.endswith(" no") for line in table(facts))
    assert as_json(facts)["problems"] == [problem]


@pytest.mark.parametrize(
    ("commits", "problem"),
    [
        pytest.param(None, "act 5: it was not played", id="not-played"),
        pytest.param(replace(COMMITTED, started=None), "act 5: the good commit was not applied", id="not-applied"),
        pytest.param(
            replace(COMMITTED, is_promoted=False),
            "act 5: the version of the good commit did not become stable",
            id="not-promoted",
        ),
        pytest.param(
            replace(COMMITTED, is_stopped=False),
            "act 5: the version of the bad commit was not stopped",
            id="not-stopped",
        ),
        pytest.param(
            replace(COMMITTED, health="Healthy", cause=""),
            "act 5: the Application does not tell of it (Healthy: nothing)",
            id="not-told",
        ),
        pytest.param(
            replace(COMMITTED, cause="Caused by /Service:mail/mail"),
            "act 5: the Application does not tell of it (Degraded: Caused by /Service:mail/mail)",
            id="told-of-something-else",
        ),
        pytest.param(
            replace(COMMITTED, is_kept=False),
            "act 5: the Application is not in sync with the bad commit",
            id="reverted",
        ),
    ],
)
def test_what_does_not_hold_of_the_commits_is_named(commits: Commits | None, problem: str) -> None:
    facts = replace(HOLDS, sides=sides(ROTATED, PREVIEWED, commits))
    assert problems(facts) == [problem]
    assert any(line.startswith("act 5: ") and line.endswith(" no") for line in table(facts))
    assert as_json(facts)["problems"] == [problem]


def test_each_act_has_its_own_key_in_json() -> None:
    found = as_json(HOLDS)
    assert found["gitOps"]["applicationHealth"] == "Degraded"
    assert found["secret"]["secretWrites"] == 3
    assert found["blueGreen"] == {
        "stopped": True,
        "verdict": PREVIEWED.verdict,
        "requestsOfUsers": 900,
        "answeredByNewVersion": 0,
        "lost": 0,
        "failed": 0,
        "requestsOfTesters": 300,
        "failedOfTesters": 140,
        "switches": 0,
    }
    assert as_json(replace(HOLDS, sides=sides(ROTATED, None)))["blueGreen"] is None


def test_of_several_rotations_the_slowest_counts() -> None:
    assert [line.split()[-4:-1] for line in table(HOLDS) if "longest" in line] == [
        ["s", "1.10", "s"],
        ["s", "1.20", "s"],
    ]

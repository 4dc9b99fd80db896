"""What the demo claims at its end, and whether it holds: computed from plain numbers.

A share that is truly as wanted misses three sigma in 1 of 370 samples, far too often for a demo with five of them. So a
miss is decided by a second, larger sample alone: then 1 in 137,000.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, Protocol

REQUESTS_MIN = 1000  # of a sample
SECOND_WANTED = 2 * REQUESTS_MIN  # of the sample that decides a miss, if the step lasts long enough
SIGMAS = 3.0
ROTATION_SECONDS_MAX = 3.0  # an interval of a second, two calls, a write, and a busy machine
ZERO_SECONDS_MAX = 5.0  # from the failing measurement until the last request has reached the bad version


@dataclass(frozen=True, slots=True)
class Sample:
    """How many of so many requests came to the canary, counted by the backends."""

    canary: int
    total: int

    @property
    def share(self) -> float:
        """The canary's part; 0.0 of nothing."""
        return self.canary / self.total if self.total else 0.0

    def minus(self, other: Sample) -> Sample:
        return Sample(self.canary - other.canary, self.total - other.total)


def deviation(wanted: int, sample: Sample) -> float:
    """Return by how many standard deviations a sample is off.

    Args:
        wanted: the canary's weight in percent. At 0 and 100 nothing is left to chance: a single request that went
            the other way is infinitely far off.
    """
    share = wanted / 100
    if not sample.total:
        return math.inf
    if share in (0.0, 1.0):
        return 0.0 if sample.share == share else math.inf
    return abs(sample.share - share) / math.sqrt(share * (1 - share) / sample.total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One weight that was in force for a while.

    Attributes:
        act: 1 or 2.
        wanted: the canary's weight in percent.
        first: the first sample; None: the weight was never in force.
        second: the sample that decides when the first one missed.
    """

    act: int
    wanted: int
    first: Sample | None = None
    second: Sample | None = None

    @property
    def needs_second(self) -> bool:
        """Whether the first sample missed, so that chance has to be ruled out."""
        return self.first is not None and deviation(self.wanted, self.first) > SIGMAS

    @property
    def decisive(self) -> Sample | None:
        return self.second if self.second is not None and self.needs_second else self.first

    def problem(self) -> str:
        """Return what does not hold, empty if all does."""
        name = f"act {self.act}, {self.wanted} %"
        sample, least = self.decisive, REQUESTS_MIN
        if sample is None:
            return f"{name}: this weight was never in force"
        if self.first is not None and self.needs_second:
            if self.second is None:
                return f"{name}: {_off(self.wanted, sample)}, and no second sample ruled chance out"
            least = self.first.total + 1
        if sample.total < least:
            return f"{name}: only {sample.total} requests were counted, expected at least {least}"
        if deviation(self.wanted, sample) > SIGMAS:
            return f"{name}: {_off(self.wanted, sample)}"
        return ""


def _off(wanted: int, sample: Sample) -> str:
    off = deviation(wanted, sample)
    far = f"{off:.1f} sigma away" if math.isfinite(off) else "where none may differ"
    return f"{sample.canary} of {sample.total} requests came to the canary ({100 * sample.share:.1f} %), {far}"


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the table: what was wanted, what was found, and whether it holds."""

    name: str
    wanted: str
    shown: str
    _: KW_ONLY
    holds: bool


class Findings(Protocol):
    """What an act has found out about something else than the two canaries."""

    def problems(self) -> list[str]:
        """Return what does not hold, one sentence each; empty: everything does."""
        ...

    def rows(self) -> list[Row]:
        """Return its lines of the table."""
        ...

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFacts:
    """What came of one act that is told after the canaries.

    Attributes:
        number: of the act.
        key: its name in JSON.
        name: what it is about, in the table.
        found: None: it was not played.
    """

    number: int
    key: str
    name: str
    found: Findings | None = None

    def problems(self) -> list[str]:
        problems = self.found.problems() if self.found is not None else ["it was not played"]
        return [f"act {self.number}: {problem}" for problem in problems]

    def rows(self) -> list[Row]:
        rows = self.found.rows() if self.found is not None else [Row(self.name, "yes", "no", holds=False)]
        return [replace(row, name=f"act {self.number}: {row.name}") for row in rows]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """One value on its way from the store.

    Attributes:
        secret, workload: seconds until the Secret had it, and until the workload read it; None: never.
    """

    version: int
    secret: float | None = None
    workload: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotations:
    """What the third act has found out.

    Attributes:
        source: the store, in words.
        first: the value that was there from the beginning.
        rotations: those that came later.
        secret_writes: of the Secret; one for each value is right.
        quiet_writes: to Secret and ExternalSecret while a refresh found nothing new; None: it did not come to that.
        leaks: how often a value stands in the controller's log.
    """

    source: str
    first: Rotation
    rotations: tuple[Rotation, ...]
    secret_writes: int
    quiet_writes: int | None
    leaks: int

    def latest(self, of: Callable[[Rotation], float | None]) -> float | None:
        """Return the longest time of all rotations; None: one never arrived, or there was none."""
        found = [of(one) for one in self.rotations]
        times = [seconds for seconds in found if seconds is not None]
        return max(times) if times and len(times) == len(found) else None

    def problems(self) -> list[str]:
        """Return what does not hold, one sentence each."""
        found = []
        if self.first.workload is None:
            found.append("the workload never read the secret")
        for where, seconds in (("Secret", self.latest(_of_secret)), ("workload", self.latest(_of_workload))):
            if seconds is None:
                found.append(f"a rotated value did not come to the {where}")
            elif seconds > ROTATION_SECONDS_MAX:
                found.append(f"a rotated value came to the {where} after {seconds:.1f} s")
        values = 1 + len(self.rotations)
        if self.secret_writes != values:
            found.append(f"{values} values took {self.secret_writes} writes of the Secret")
        if self.quiet_writes:
            found.append(f"a refresh that found nothing new took {self.quiet_writes} writes")
        elif self.quiet_writes is None:
            found.append("nobody has looked whether a refresh that finds nothing new writes nothing")
        if self.leaks:
            found.append(f"a value stands {self.leaks} times in the controller's log")
        return found

    def rows(self) -> list[Row]:
        """Return the rows of the table."""
        rows = []
        for name, seconds in (("Secret", self.latest(_of_secret)), ("workload", self.latest(_of_workload))):
            shown = "never" if seconds is None else f"{seconds:.2f} s"
            holds = seconds is not None and seconds <= ROTATION_SECONDS_MAX
            rows.append(Row(f"rotation to {name}, longest", f"<= {ROTATION_SECONDS_MAX:g} s", shown, holds=holds))
        wanted, writes, quiet = 1 + len(self.rotations), self.secret_writes, self.quiet_writes
        rows.append(Row("writes of the Secret", str(wanted), str(writes), holds=writes == wanted))
        rows.append(Row("writes when nothing is new", "0", "-" if quiet is None else str(quiet), holds=quiet == 0))
        rows.append(Row("values in the controller's log", "0", str(self.leaks), holds=not self.leaks))
        return rows

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "source": self.source,
            "values": [
                {
                    "version": one.version,
                    "secondsToSecret": rounded(one.secret),
                    "secondsToWorkload": rounded(one.workload),
                }
                for one in (self.first, *self.rotations)
            ],
            "secretWrites": self.secret_writes,
            "writesWhenNothingIsNew": self.quiet_writes,
            "valuesInLog": self.leaks,
        }


def _of_secret(one: Rotation) -> float | None:
    return one.secret


def _of_workload(one: Rotation) -> float | None:
    return one.workload


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that the demo has found out.

    Attributes:
        steps: the weights that the two acts are about, in order.
        requests: sent in total.
        lost: got no answer.
        losses: the first few of them, in words.
        failed_bad: answered with 5xx by the version that is meant to fail.
        failed_other: answered with 5xx by anybody else.
        is_promoted: the good version became stable.
        is_aborted: the bad version was stopped.
        verdict: why, in the Rollout's words.
        zero_in_api, zero_on_wire: seconds from the failing measurement that decided until weight 0 was written, and
            until the last request came to the bad version; None: never.
        source: where the analysis took its numbers from.
        sides: of the acts that come after the canaries.
        seconds: how long it all took.
        troubles: errors that the controller logged.
        broken: why the story could not be told to its end, empty if it could.
    """

    steps: tuple[Step, ...]
    requests: int = 0
    lost: int = 0
    losses: tuple[str, ...] = ()
    failed_bad: int = 0
    failed_other: int = 0
    is_promoted: bool = False
    is_aborted: bool = False
    verdict: str = ""
    zero_in_api: float | None = None
    zero_on_wire: float | None = None
    source: str = ""
    sides: tuple[SideFacts, ...] = ()
    seconds: float = 0.0
    settings: Mapping[str, Any] = field(default_factory=dict)
    troubles: tuple[str, ...] = ()
    broken: str = ""


def problems(facts: Facts) -> list[str]:
    """Return what does not hold, one sentence each; empty: everything does."""
    found = [facts.broken] if facts.broken else []
    if not facts.is_promoted:
        found.append("act 1: the good version did not become stable")
    if not facts.is_aborted:
        found.append("act 2: the bad version was not stopped")
    found += [problem for step in facts.steps if (problem := step.problem())]
    if not facts.requests:
        found.append("no request was sent")
    if facts.lost:
        found.append(f"{facts.lost} requests got no answer ({'; '.join(facts.losses[:3])})")
    if facts.failed_other:
        found.append(f"{facts.failed_other} requests failed though the bad version had no part in them")
    if facts.troubles:
        found.append(f"the controller logged {len(facts.troubles)} errors, first: {facts.troubles[0]}")
    if facts.is_aborted:
        found += _late("in the API", facts.zero_in_api) + _late("on the wire", facts.zero_on_wire)
    return found + [problem for side in facts.sides for problem in side.problems()]


def _late(where: str, seconds: float | None) -> list[str]:
    if seconds is None:
        return [f"act 2: the weight did not become 0 {where}"]
    if seconds > ZERO_SECONDS_MAX:
        return [f"act 2: the weight became 0 {where} {seconds:.1f} s after the failing measurement"]
    return []


def table(facts: Facts) -> list[str]:
    """Return the table of facts, line by line."""
    rows = [("", "wanted", "measured", "requests", "off by", "holds")]
    for step in facts.steps:
        sample = step.decisive or Sample(0, 0)
        off = deviation(step.wanted, sample)
        rows.append(
            (
                f"act {step.act}: share of the canary",
                f"{step.wanted} %",
                f"{100 * sample.share:.1f} %" if sample.total else "-",
                str(sample.total),
                f"{off:.1f} sigma" if math.isfinite(off) else "-",
                "no" if step.problem() else "yes, 2nd sample" if step.needs_second else "yes",
            )
        )
    failed = f"{facts.failed_other} (beside {facts.failed_bad} of the bad version)"
    rows += [
        ("requests lost", "0", str(facts.lost), str(facts.requests), "", _word(facts.requests and not facts.lost)),
        ("requests failed", "0", failed, "", "", _word(facts.requests and not facts.failed_other)),
        ("errors of the controller", "0", str(len(facts.troubles)), "", "", _word(not facts.troubles)),
        ("good version promoted", "yes", _word(facts.is_promoted), "", "", _word(facts.is_promoted)),
        ("bad version stopped", "yes", _word(facts.is_aborted), "", "", _word(facts.is_aborted)),
        _zero("failing measurement to weight 0, API", facts.zero_in_api),
        _zero("failing measurement to weight 0, wire", facts.zero_on_wire),
    ]
    rows += [(row.name, row.wanted, row.shown, "", "", _word(row.holds)) for side in facts.sides for row in side.rows()]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    # Long texts may run over the columns to their right, which are empty then.
    widths[2] = max(len(row[2]) for row in rows if row[3] or row[4])
    lines = []
    for row in rows:
        cells = [f"{row[0]:<{widths[0]}}", f"{row[1]:>{widths[1]}}"]
        rest = f"{row[2]:>{widths[2]}}  {row[3]:>{widths[3]}}  {row[4]:>{widths[4]}}"
        span = widths[2] + widths[3] + widths[4] + 4
        cells.append(f"{rest:<{span}}" if row[3] or row[4] else f"{row[2]:<{span}}")
        lines.append("  ".join([*cells, row[5]]).rstrip())
    return lines


def _zero(name: str, seconds: float | None) -> tuple[str, str, str, str, str, str]:
    shown = "never" if seconds is None else f"{seconds:.2f} s"
    return name, f"<= {ZERO_SECONDS_MAX:g} s", shown, "", "", _word(not _late("", seconds))


def _word(holds: object) -> str:
    return "yes" if holds else "no"


def as_json(facts: Facts) -> dict[str, Any]:
    """Return everything as JSON data, `holds` and `problems` first."""
    found = problems(facts)
    return {
        "holds": not found,
        "problems": found,
        "steps": [
            {
                "act": step.act,
                "wanted": step.wanted,
                "measured": round(100 * step.decisive.share, 2) if step.decisive else None,
                "requests": step.decisive.total if step.decisive else 0,
                "canaryRequests": step.decisive.canary if step.decisive else 0,
                "secondSample": step.needs_second and step.second is not None,
                "holds": not step.problem(),
            }
            for step in facts.steps
        ],
        "requests": facts.requests,
        "lost": facts.lost,
        "losses": list(facts.losses),
        "failedByBadVersion": facts.failed_bad,
        "failedByOthers": facts.failed_other,
        "promoted": facts.is_promoted,
        "aborted": facts.is_aborted,
        "verdict": facts.verdict,
        "secondsToZeroInApi": rounded(facts.zero_in_api),
        "secondsToZeroOnWire": rounded(facts.zero_on_wire),
        "controllerErrors": list(facts.troubles),
        "source": facts.source,
        **{side.key: side.found.as_json() if side.found is not None else None for side in facts.sides},
        "seconds": round(facts.seconds, 1),
        "settings": dict(facts.settings),
    }


def rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)

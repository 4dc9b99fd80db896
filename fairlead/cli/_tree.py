"""The tree that `get rollout` prints: pure text from a family, in the shape that users of Argo Rollouts know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from fairlead.cli import _family as family_
from fairlead.cli._family import Family, mapping, number
from fairlead.core.durations import human_duration
from fairlead.core.objects import Manifest, parse_rfc3339
from fairlead.rollouts.commands import revision_of

_ICONS = {
    "Healthy": "✔",
    "Successful": "✔",
    "Running": "✔",
    "Completed": "✔",
    "Succeeded": "✔",
    "Progressing": "◌",
    "Pending": "◌",
    "ContainerCreating": "◌",
    "Terminating": "◌",
    "Paused": "॥",
    "ScaledDown": "•",
    "Inconclusive": "?",
    "Unknown": "?",
}
_BAD = "✖"  # Degraded, Failed, Error, CrashLoopBackOff and whatever else has no icon of its own
_COLOURS = {"✔": "32", "◌": "33", "॥": "36", "•": "90", "?": "35", _BAD: "31"}


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    kind: str
    status: str
    age: str
    info: str
    icon: str


def _icon(word: str, kind: str = "") -> str:
    # A running AnalysisRun has not succeeded yet.
    return "◌" if kind == "AnalysisRun" and word == "Running" else _ICONS.get(word, _BAD)


def _age(found: Manifest, now: datetime) -> str:
    created = found.metadata.creation_timestamp
    return human_duration(now - created) if created else ""


def render(family: Family, now: datetime, *, colour: bool = False) -> str:
    """Return the header and the tree of a Rollout, ending with a line break."""
    lines = [*_header(family), "", *_table(_rows(family, now), colour=colour)]
    return "\n".join(lines) + "\n"


def _header(family: Family) -> list[str]:
    rollout = family.rollout
    phase, message = family_.phase_of(rollout)
    strategy = mapping(family_.spec_of(rollout).get("strategy"))
    name = "Canary" if "canary" in strategy else "BlueGreen" if "blueGreen" in strategy else "none"
    pairs = [
        ("Name:", rollout.metadata.name),
        ("Namespace:", rollout.metadata.namespace),
        ("Status:", f"{_icon(phase)} {phase}"),
    ]
    if message:
        pairs.append(("Message:", message))
    pairs.append(("Strategy:", name))
    if name == "Canary":
        steps = family_.steps_of(rollout)
        if steps:
            index = family_.status_of(rollout).get("currentStepIndex")
            pairs.append(("  Step:", f"{index if isinstance(index, int) else len(steps)}/{len(steps)}"))
        pairs += [("  SetWeight:", str(family_.set_weight(rollout))), ("  ActualWeight:", _actual(family))]
    images = family_.images_of(family)
    for position, (image, tags) in enumerate(images):
        text = f"{image} ({', '.join(tags)})" if tags else image
        pairs.append(("Images:" if position == 0 else "", text))
    pairs += [
        ("Replicas:", ""),
        ("  Desired:", str(family_.spec_of(rollout).get("replicas", 1))),
        ("  Current:", str(number(rollout, "status", "replicas"))),
        ("  Updated:", str(number(rollout, "status", "updatedReplicas"))),
        ("  Ready:", str(number(rollout, "status", "readyReplicas"))),
        ("  Available:", str(number(rollout, "status", "availableReplicas"))),
    ]
    return [f"{label:<17}{value}".rstrip() for label, value in pairs]


def _actual(family: Family) -> str:
    weights = mapping(mapping(family_.status_of(family.rollout).get("canary")).get("weights"))
    verified = weights.get("verified")
    word = " (verified)" if verified is True else " (not in force yet)" if verified is False else ""
    return f"{family_.actual_weight(family)}{word}"


def _rows(family: Family, now: datetime) -> list[_Row]:
    rollout = family.rollout
    phase, _message = family_.phase_of(rollout)
    rows = [_Row(f"⟳ {rollout.metadata.name}", "Rollout", phase, _age(rollout, now), "", _icon(phase))]
    revisions = sorted({revision_of(one) for one in family.replica_sets}, reverse=True)
    for position, revision in enumerate(revisions):
        is_last = position == len(revisions) - 1
        rows.append(_Row(f"{'└' if is_last else '├'}──# revision:{revision}", "", "", "", "", ""))
        stem = "   " if is_last else "│  "
        members = [one for one in family.replica_sets if revision_of(one) == revision]
        children: list[tuple[Manifest, bool]] = [(one, True) for one in members]
        children += [(run, False) for one in members for run in family.runs_of(one)]
        for place, (found, is_replica_set) in enumerate(children):
            ends = place == len(children) - 1
            branch = f"{stem}{'└' if ends else '├'}──"
            if not is_replica_set:
                rows.append(_run_row(branch, found, now))
                continue
            rows.append(_replica_set_row(branch, family, found, now))
            pods = family.pods_of(found)
            for number_, pod in enumerate(pods):
                bend = "└" if number_ == len(pods) - 1 else "├"
                rows.append(_pod_row(f"{stem}{' ' if ends else '│'}  {bend}──", pod, now))
    return rows


def _replica_set_row(branch: str, family: Family, found: Manifest, now: datetime) -> _Row:
    status = family_.replica_set_status(found)
    info = list(family_.tags_of(family, found))
    if deadline := parse_rfc3339(family_.deadline_of(found)):
        info.append(f"delay:{human_duration(deadline - now)}" if deadline > now else "delay:passed")
    name = f"{branch}⧉ {found.metadata.name}"
    return _Row(name, "ReplicaSet", status, _age(found, now), ",".join(info), _icon(status))


def _pod_row(branch: str, pod: Manifest, now: datetime) -> _Row:
    word, ready, total, restarts = family_.pod_status(pod)
    info = f"ready:{ready}/{total}" + (f",restarts:{restarts}" if restarts else "")
    icon = "◌" if word == "Running" and ready < total else _icon(word)
    return _Row(f"{branch}□ {pod.metadata.name}", "Pod", word, _age(pod, now), info, icon)


def _run_row(branch: str, run: Manifest, now: datetime) -> _Row:
    phase = str(mapping(run.content.get("status")).get("phase") or "Pending")
    summary = mapping(mapping(run.content.get("status")).get("runSummary"))
    results = mapping(run.content.get("status")).get("metricResults") or ()
    counts = dict.fromkeys(("successful", "failed", "inconclusive", "error"), 0)
    for result in results:
        for word in counts:
            value = mapping(result).get(word)
            counts[word] += value if isinstance(value, int) else 0
    marks = zip(counts.values(), ("✔", _BAD, "?", "⚠"), strict=True)
    info = ",".join(f"{mark} {count}" for count, mark in marks if count) or str(summary.get("count", ""))
    return _Row(
        f"{branch}α {run.metadata.name}", "AnalysisRun", phase, _age(run, now), info, _icon(phase, "AnalysisRun")
    )


def _table(rows: Sequence[_Row], *, colour: bool) -> list[str]:
    name = max([len(row.name) for row in rows] + [40])
    lines = [f"{'NAME':<{name}}  {'KIND':<11}  {'STATUS':<18}  {'AGE':<6}  INFO"]
    for row in rows:
        status = f"{row.icon} {row.status}" if row.icon else ""
        padded = f"{status:<18}"
        if colour and row.icon:
            padded = f"\x1b[{_COLOURS[row.icon]}m{padded}\x1b[0m"
        lines.append(f"{row.name:<{name}}  {row.kind:<11}  {padded}  {row.age:<6}  {row.info}".rstrip())
    return lines

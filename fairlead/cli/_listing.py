"""Tables of many objects, one row each, in the columns that users of Argo Rollouts know.

Source: argo-rollouts: pkg/kubectl-argo-rollouts/cmd/list/.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from fairlead.cli import _family
from fairlead.core.durations import human_duration, parse_go_seconds
from fairlead.core.objects import Manifest, parse_rfc3339

Row = tuple[str, ...]

ROLLOUT_COLUMNS: Row = (
    "NAMESPACE",
    "NAME",
    "STRATEGY",
    "STATUS",
    "STEP",
    "SET-WEIGHT",
    "READY",
    "DESIRED",
    "UP-TO-DATE",
    "AVAILABLE",
)
EXPERIMENT_COLUMNS: Row = ("NAMESPACE", "NAME", "STATUS", "DURATION", "REMAINING", "AGE")
_ENDED = ("Successful", "Failed", "Error", "Inconclusive")


def rollout_row(rollout: Manifest) -> Row:
    """Return the cells of a Rollout, in the order of `ROLLOUT_COLUMNS`."""
    strategy = _family.mapping(_family.spec_of(rollout).get("strategy"))
    name = "BlueGreen" if "blueGreen" in strategy else "Canary" if "canary" in strategy else "-"
    steps, index = len(_family.steps_of(rollout)), _family.status_of(rollout).get("currentStepIndex")
    replicas = {
        field: _family.number(rollout, "status", field)
        for field in ("readyReplicas", "replicas", "updatedReplicas", "availableReplicas")
    }
    return (
        rollout.metadata.namespace,
        rollout.metadata.name,
        name,
        _family.phase_of(rollout)[0],
        f"{index if isinstance(index, int) else 0}/{steps}" if steps else "-",
        str(_family.set_weight(rollout)) if name == "Canary" else "-",
        f"{replicas['readyReplicas']}/{replicas['replicas']}",
        str(_family.spec_of(rollout).get("replicas", 1)),
        str(replicas["updatedReplicas"]),
        str(replicas["availableReplicas"]),
    )


def experiment_row(experiment: Manifest, now: datetime) -> Row:
    """Return the cells of an Experiment, in the order of `EXPERIMENT_COLUMNS`."""
    phase = str(_family.status_of(experiment).get("phase") or "Pending")
    created = experiment.metadata.creation_timestamp
    lasts = _duration(_family.spec_of(experiment).get("duration"))
    began = parse_rfc3339(str(_family.status_of(experiment).get("availableAt") or ""))
    left = None
    if lasts is not None and phase not in _ENDED:
        left = lasts if began is None else max(timedelta(0), began + lasts - now)
    return (
        experiment.metadata.namespace,
        experiment.metadata.name,
        phase,
        human_duration(lasts) if lasts is not None else "-",
        human_duration(left) if left is not None else "-",
        human_duration(now - created) if created else "-",
    )


def _duration(text: object) -> timedelta | None:
    """Return how long an Experiment lasts: whole seconds or a Go duration; None: no end is set, or none that is one."""
    if not isinstance(text, str) or not text:
        return None
    if text.isdecimal():
        return timedelta(seconds=int(text))
    try:
        return timedelta(seconds=float(parse_go_seconds(text)))
    except ValueError:
        return None


def print_rollouts(rows: Sequence[Row], *, all_namespaces: bool) -> None:
    """Print a table of Rollouts."""
    print_table(ROLLOUT_COLUMNS, rows, all_namespaces=all_namespaces)


def print_table(columns: Row, rows: Sequence[Row], *, all_namespaces: bool) -> None:
    """Print rows under their columns; the first is the namespace, which only a table of all of them shows."""
    first = 0 if all_namespaces else 1
    click.echo("\n".join(table([columns[first:], *(row[first:] for row in rows)])))


def table(rows: Sequence[Row]) -> list[str]:
    """Return rows as lines whose cells stand under each other."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

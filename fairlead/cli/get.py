"""`fairlead get`: one Rollout as a tree (followed live with `--watch`), or all of them as a table."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import click

from fairlead.cli import _family, _tree
from fairlead.cli._family import ANALYSIS_RUNS, PODS, REPLICA_SETS, ROLLOUTS, Family
from fairlead.cli._listing import print_rollouts, rollout_row
from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.cluster import Cluster
from fairlead.core.errors import NotFound
from fairlead.core.objects import Manifest, ObjectKey
from fairlead.rollouts.commands import revision_of

_SCREEN_SECONDS = 0.2  # changes that come closer together are drawn once


@click.group("get")
def get_() -> None:
    """Show a Rollout with all that belongs to it, or list them."""


@get_.command("rollout")
@click.argument("name")
@click.option("-w", "--watch", is_flag=True, help="Follow the changes until interrupted.")
@click.option("-o", "--output", type=click.Choice(["tree", "json"]), default="tree", show_default=True)
@click.option("--no-color", is_flag=True, help="Plain text.")
@connection_options
@asynchronous
async def get_rollout(name: str, watch: bool, output: str, no_color: bool, connection: Connection) -> None:
    """Show rollout NAME with its ReplicaSets, pods and analysis runs."""
    colour = sys.stdout.isatty() and not no_color
    async with connection.open() as (cluster, namespace):
        key = ObjectKey(namespace, name)
        if not watch:
            click.echo(_text(await _family.read(cluster, key), output, colour=colour), nl=False)
            return
        async with following(cluster, key) as families:
            async for family in families:
                if sys.stdout.isatty():
                    click.echo("\x1b[H\x1b[2J", nl=False)
                click.echo(_text(family, output, colour=colour), nl=False)


def _text(family: Family, output: str, *, colour: bool) -> str:
    if output == "json":
        return json.dumps(summary(family), indent=2, ensure_ascii=False) + "\n"
    return _tree.render(family, datetime.now(UTC), colour=colour)


def summary(family: Family) -> dict[str, Any]:
    """Return what the tree shows, as JSON data."""
    rollout = family.rollout
    phase, message = _family.phase_of(rollout)
    status = _family.status_of(rollout)
    return {
        "name": rollout.metadata.name,
        "namespace": rollout.metadata.namespace,
        "status": phase,
        "message": message,
        "step": status.get("currentStepIndex"),
        "steps": len(_family.steps_of(rollout)),
        "setWeight": _family.set_weight(rollout),
        "actualWeight": _family.actual_weight(family),
        "verified": _family.mapping(_family.mapping(status.get("canary")).get("weights")).get("verified"),
        "images": [{"image": image, "tags": list(tags)} for image, tags in _family.images_of(family)],
        "replicas": {
            "desired": _family.spec_of(rollout).get("replicas", 1),
            "current": status.get("replicas", 0),
            "updated": status.get("updatedReplicas", 0),
            "ready": status.get("readyReplicas", 0),
            "available": status.get("availableReplicas", 0),
        },
        "replicaSets": [
            {
                "name": one.metadata.name,
                "revision": revision_of(one),
                "status": _family.replica_set_status(one),
                "tags": list(_family.tags_of(family, one)),
                "scaleDownDeadline": _family.deadline_of(one) or None,
                "pods": [_pod(pod) for pod in family.pods_of(one)],
            }
            for one in family.replica_sets
        ],
        "analysisRuns": [
            {
                "name": run.metadata.name,
                "status": _family.mapping(run.content.get("status")).get("phase"),
                "message": _family.mapping(run.content.get("status")).get("message", ""),
            }
            for run in family.runs
        ],
    }


def _pod(pod: Manifest) -> dict[str, Any]:
    word, ready, total, restarts = _family.pod_status(pod)
    return {"name": pod.metadata.name, "status": word, "ready": f"{ready}/{total}", "restarts": restarts}


@asynccontextmanager
async def following(cluster: Cluster, key: ObjectKey) -> AsyncIterator[AsyncIterator[Family]]:
    """Yield the family of a Rollout, again and again as it changes, from watches. NotFound: there is none."""
    from fairlead.runtime.clock import SystemClock
    from fairlead.runtime.informers import Informers

    await cluster.get(ROLLOUTS, key)  # an error now, not an empty screen
    informers = Informers(cluster, SystemClock(), namespace=key.namespace)
    stores = {kind: informers.add(kind) for kind in (ROLLOUTS, REPLICA_SETS, PODS, ANALYSIS_RUNS)}
    changed = asyncio.Event()
    for store in stores.values():
        store.subscribe(lambda _change: changed.set())
    watching = asyncio.create_task(informers.run())

    async def families() -> AsyncIterator[Family]:
        await informers.wait_synced()
        while True:
            changed.clear()
            rollout = stores[ROLLOUTS].get(key)
            if rollout is None:
                raise NotFound(f'rollouts.argoproj.io "{key.name}" not found', status=404, reason="NotFound")
            yield _family.gather(
                rollout, *(stores[kind].list(key.namespace) for kind in (REPLICA_SETS, PODS, ANALYSIS_RUNS))
            )
            await asyncio.sleep(_SCREEN_SECONDS)
            await changed.wait()

    try:
        yield families()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


@get_.command("rollouts")
@click.option("-A", "--all-namespaces", is_flag=True)
@click.option("-o", "--output", type=click.Choice(["table", "json"]), default="table", show_default=True)
@connection_options
@asynchronous
async def get_rollouts(all_namespaces: bool, output: str, connection: Connection) -> None:
    """List rollouts: strategy, status, step, weights and replicas."""
    async with connection.open() as (cluster, namespace):
        scope = "" if all_namespaces else namespace
        rollouts = await _family.list_all(cluster, ROLLOUTS, scope)
        replica_sets = await _family.list_all(cluster, REPLICA_SETS, scope)
    summaries = [summary(_family.gather(rollout, replica_sets, (), ())) for rollout in rollouts]
    if output == "json":
        click.echo(json.dumps(summaries, indent=2, ensure_ascii=False))
        return
    if not summaries:
        click.echo("No resources found." if all_namespaces else f"No resources found in {scope} namespace.", err=True)
        return
    print_rollouts([rollout_row(one) for one in rollouts], all_namespaces=all_namespaces)

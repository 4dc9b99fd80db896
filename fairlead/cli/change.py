"""Commands that change an object: each writes exactly what Argo Rollouts' client writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from fairlead.cli._family import ANALYSIS_RUNS, EXPERIMENTS, REPLICA_SETS, ROLLOUTS, list_all
from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.cluster import Cluster
from fairlead.core.durations import human_duration, parse_go_duration
from fairlead.core.errors import Conflict, Invalid, NotFound, SpecError
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.rollouts import commands
from fairlead.rollouts.commands import Command

_WORKLOADS = {
    "Deployment": carried("apps", "v1", "Deployment", "deployments"),
    "PodTemplate": carried("", "v1", "PodTemplate", "podtemplates"),
    "ReplicaSet": carried("apps", "v1", "ReplicaSet", "replicasets"),
}
_TRIES = 5


async def _send(cluster: Cluster, kind: Kind[Manifest], key: ObjectKey, patches: tuple[Command, ...]) -> None:
    for number, command in enumerate(patches):
        try:
            await cluster.patch(kind, key, command.patch, subresource=command.subresource)
        except NotFound:
            if not command.subresource:
                raise
            # An old definition has no status subresource: the server then knows no such path.
            return await _send(cluster, kind, key, commands.without_subresource(patches[number:]))
    return None


@click.command("promote")
@click.argument("name")
@click.option("--full", is_flag=True, help="Skip all that is left: steps, pauses and analysis.")
@click.option("-c", "--skip-current-step", is_flag=True, help="Go to the next step (deprecated).")
@click.option("-a", "--skip-all-steps", is_flag=True, help="Go past the last step (deprecated; see --full).")
@connection_options
@asynchronous
async def promote_(
    name: str, full: bool, skip_current_step: bool, skip_all_steps: bool, connection: Connection
) -> None:
    """Take rollout NAME past its pause or its current step."""
    if skip_current_step and skip_all_steps:
        raise click.ClickException("Cannot use skip-current-step and skip-all-steps flags at the same time")
    async with connection.open() as (cluster, namespace):
        key = ObjectKey(namespace, name)
        rollout = (await cluster.get(ROLLOUTS, key)).content
        if skip_current_step:
            patches = commands.skip_step(rollout)
        elif skip_all_steps:
            patches = commands.skip_all_steps(rollout)
        else:
            patches = commands.promote(rollout, full=full)
        await _send(cluster, ROLLOUTS, key, patches)
    click.echo(f"rollout '{name}' {'fully promoted' if full else 'promoted'}")


@click.command("abort")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@connection_options
@asynchronous
async def abort_(names: tuple[str, ...], connection: Connection) -> None:
    """Send all traffic of rollouts NAME... back to stable. Wins over any promote that is not applied yet."""
    async with connection.open() as (cluster, namespace):
        for name in names:
            await _send(cluster, ROLLOUTS, ObjectKey(namespace, name), commands.abort())
            click.echo(f"rollout '{name}' aborted")


@click.group("retry")
def retry_() -> None:
    """Start an aborted Rollout again at its first step, or an Experiment."""


@retry_.command("rollout")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@connection_options
@asynchronous
async def retry_rollout(names: tuple[str, ...], connection: Connection) -> None:
    """Start aborted rollouts NAME... again at their first step."""
    async with connection.open() as (cluster, namespace):
        for name in names:
            await _send(cluster, ROLLOUTS, ObjectKey(namespace, name), commands.retry())
            click.echo(f"rollout '{name}' retried")


@retry_.command("experiment")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@connection_options
@asynchronous
async def retry_experiment(names: tuple[str, ...], connection: Connection) -> None:
    """Start experiments NAME... again: they forget all that they were."""
    async with connection.open() as (cluster, namespace):
        for name in names:
            await _send(cluster, EXPERIMENTS, ObjectKey(namespace, name), commands.retry_experiment())
            click.echo(f"experiment '{name}' retried")


@click.command("pause")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@connection_options
@asynchronous
async def pause_(names: tuple[str, ...], connection: Connection) -> None:
    """Halt rollouts NAME... until they are promoted."""
    async with connection.open() as (cluster, namespace):
        for name in names:
            await _send(cluster, ROLLOUTS, ObjectKey(namespace, name), commands.pause())
            click.echo(f"rollout '{name}' paused")


class _GoDuration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return parse_go_duration(str(value))
        except ValueError as error:
            self.fail(f"{error}; expected something like 10s or 1h30m", param, ctx)


DURATION = _GoDuration()


def now() -> datetime:
    """Return this instant."""
    return datetime.now(UTC)


@click.command("restart")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("-i", "--in", "after", type=DURATION, default="0s", help="Wait that long before, such as 10s.")
@connection_options
@asynchronous
async def restart_(names: tuple[str, ...], after: timedelta, connection: Connection) -> None:
    """Restart the pods of rollouts NAME..., as disruption budgets allow."""
    async with connection.open() as (cluster, namespace):
        for name in names:
            await _send(cluster, ROLLOUTS, ObjectKey(namespace, name), commands.restart(now() + after))
            click.echo(f"rollout '{name}' restarts in {human_duration(after)}")


@click.command("undo")
@click.argument("name")
@click.option("--to-revision", type=click.IntRange(min=0), default=0, help="Which revision; 0: the one before.")
@connection_options
@asynchronous
async def undo_(name: str, to_revision: int, connection: Connection) -> None:
    """Put the pod template of an earlier revision back."""
    async with connection.open() as (cluster, namespace):
        key = ObjectKey(namespace, name)
        rollout = await cluster.get(ROLLOUTS, key)
        listed = await list_all(cluster, REPLICA_SETS, namespace)
        kind, target, workload = ROLLOUTS, key, None
        if reference := rollout.content.get("spec", {}).get("workloadRef"):
            kind, target = _workload(reference), ObjectKey(namespace, str(reference.get("name", "")))
            workload = await cluster.get(kind, target)
        patches = commands.undo(rollout, listed, to_revision=to_revision, workload=workload)
        await _send(cluster, kind, target, patches)
    if patches:
        click.echo(f"rollout '{name}' undo")
    else:
        click.echo(f"skipped rollback (current template already matches revision {to_revision})")


@click.group("set")
def set_() -> None:
    """Change the images of a Rollout."""


@set_.command("image")
@click.argument("name")
@click.argument("images", metavar="CONTAINER=IMAGE...", nargs=-1, required=True)
@connection_options
@asynchronous
async def set_image(name: str, images: tuple[str, ...], connection: Connection) -> None:
    """Give containers of rollout NAME new images; `*=IMAGE` is every container."""
    wanted = dict(_pair(text) for text in images)
    async with connection.open() as (cluster, namespace):
        key = ObjectKey(namespace, name)
        rollout = await cluster.get(ROLLOUTS, key)
        kind, target = ROLLOUTS, key
        if reference := rollout.content.get("spec", {}).get("workloadRef"):
            kind, target = _workload(reference), ObjectKey(namespace, str(reference.get("name", "")))
        await _with_retries(lambda: _set_once(cluster, kind, target, wanted))
    click.echo(f'rollout "{name}" image updated')


async def _set_once(cluster: Cluster, kind: Kind[Manifest], key: ObjectKey, images: Mapping[str, str]) -> None:
    await _send(cluster, kind, key, commands.set_images(await cluster.get(kind, key), images))


async def _with_retries(attempt: Callable[[], Awaitable[None]]) -> None:
    """Read and write again when somebody wrote in between (a failed `test` of a JSON patch is Invalid)."""
    for _ in range(_TRIES - 1):
        try:
            return await attempt()
        except (Conflict, Invalid):
            continue
    return await attempt()


def _pair(text: str) -> tuple[str, str]:
    container, separator, image = text.partition("=")
    if not separator or not container or not image:
        raise SpecError(f"expected CONTAINER=IMAGE, found {text!r}")
    return container, image


def _workload(reference: Mapping[str, Any]) -> Kind[Manifest]:
    kind = str(reference.get("kind", ""))
    if kind not in _WORKLOADS:
        expected = ", ".join(sorted(_WORKLOADS))
        raise SpecError(f"expected one of {expected}, found {kind!r}", path="spec.workloadRef.kind")
    return _WORKLOADS[kind]


@click.group("terminate")
def terminate_() -> None:
    """End an AnalysisRun or an Experiment."""


@terminate_.command("analysisrun")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@connection_options
@asynchronous
async def terminate_analysisrun(names: tuple[str, ...], connection: Connection) -> None:
    """End analysis runs NAME...: nothing more is measured, what was found counts."""
    async with connection.open() as (cluster, namespace):
        for name in names:
            await _send(cluster, ANALYSIS_RUNS, ObjectKey(namespace, name), commands.terminate_run())
            click.echo(f"analysisRun '{name}' terminated")


@terminate_.command("experiment")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@connection_options
@asynchronous
async def terminate_experiment(names: tuple[str, ...], connection: Connection) -> None:
    """End experiments NAME...: their pods go after their delay."""
    async with connection.open() as (cluster, namespace):
        for name in names:
            await _send(cluster, EXPERIMENTS, ObjectKey(namespace, name), commands.terminate_run())
            click.echo(f"experiment '{name}' retried")  # upstream's words, wrong as they are: scripts compare them

"""`fairlead app diff`: what a sync would change, from a cluster or from files alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairlead.cli import _app_view as view
from fairlead.cli._app_access import APPLICATIONS, LOCAL, complete_names, control_namespace, key_of
from fairlead.cli._family import mapping
from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.core.errors import FairleadError, NotFound, SpecError
from fairlead.core.kinds import carried
from fairlead.core.objects import ObjectKey

if TYPE_CHECKING:
    from fairlead.agentsync.config import Configuration
    from fairlead.agentsync.preview import Preview
    from fairlead.agentsync.resources import ResourceKey
    from fairlead.agentsync.spec import ApplicationSpec
    from fairlead.core.discovery import Served
    from fairlead.kube.client import KubeCluster

Object = dict[str, Any]
_READS_AT_ONCE = 10
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command("diff")
@click.argument("name", required=False, shell_complete=complete_names)
@click.option("--application", "application_file", type=_FILE, help="The Application's manifest, instead of NAME.")
@click.option("--local", type=_FOLDER, help="Render this directory instead of asking Git.")
@click.option("--local-repo-root", type=_FOLDER, help="Root of the repository that --local is in.")
@click.option("--offline-live", type=_FILE, help="Live objects from this file: no cluster is asked.")
@click.option("--live-context", help="Context of the cluster that the application deploys to, if it is another one.")
@click.option("--revision", default="", help="Render this revision instead of the spec's.")
@click.option(
    "--exit-code/--no-exit-code", default=True, show_default=True, help="Exit with 1 when there are differences."
)
@click.option("-o", "--output", type=click.Choice(["diff", "name", "json"]), default="diff", show_default=True)
@connection_options
@asynchronous
async def diff(
    name: str | None,
    application_file: Path | None,
    local: Path | None,
    local_repo_root: Path | None,
    offline_live: Path | None,
    live_context: str | None,
    revision: str,
    exit_code: bool,
    output: str,
    connection: Connection,
) -> int:
    """Show what a sync of application NAME would change. Exit code 1: something; 2 or more: it cannot be told.

    Values of Secrets are never shown. Hooks are left out.

    \b
    Examples:
      fairlead app diff web
      fairlead app diff web --local ./deploy
      fairlead app diff --application web.yaml --local ./deploy --offline-live live.yaml
    """
    if (name is None) == (application_file is None):
        raise click.UsageError("name an application, or give its manifest with --application")
    if offline_live is not None and (application_file is None or local is None):
        raise click.UsageError("--offline-live asks no cluster: give --application and --local too")
    from fairlead.agentsync.preview import preview
    from fairlead.cli._app_rendering import rendered

    try:
        async with _opened(connection, live_context, is_offline=offline_live is not None) as place:
            application = await place.application(name, application_file)
            place.check(application)
            spec = _spec(application)
            objects = await rendered(place.cluster, application, spec, local, local_repo_root, revision)
            served = await place.served()
            live = await place.live(application, objects, served, offline_live)
            system = await place.configuration(application)
            found = preview(
                application,
                objects,
                live,
                served=served,
                system=system.system,
                is_excluded=system.is_excluded,
                control_namespace=control_namespace(application),
            )
    except FairleadError as error:
        click.echo(f"Error: {error}", err=True)
        return 2
    _print(found, output)
    return 1 if found and exit_code else 0


def _print(found: Sequence[Preview], output: str) -> None:
    if output == "json":
        data = [
            {
                "group": one.key.group,
                "kind": one.key.kind,
                "namespace": one.key.namespace,
                "name": one.key.name,
                "fate": one.fate.value,
                "changes": [{"path": c.path, "wanted": c.wanted, "found": c.found} for c in one.changes],
            }
            for one in found
        ]
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    for one in found:
        click.echo(f"{one.fate.value} {one.key}" if output == "name" else one.text)


# -- where things come from --------------------------------------------------------------------------------------------


def _documents(path: Path) -> list[Object]:
    from fairlead.cli.yaml import YamlError, load_all

    try:
        return load_all(path.read_bytes())
    except YamlError as error:
        raise SpecError(f"{path}: {error}") from error


def _application_in(path: Path) -> Object:
    found = [one for one in _documents(path) if one.get("kind") == "Application"]
    if len(found) != 1:
        raise SpecError(f"{path}: expected one Application, found {len(found)}")
    return found[0]


def _spec(application: Object) -> ApplicationSpec:
    import msgspec

    from fairlead.agentsync.spec import decode_spec

    return decode_spec(msgspec.json.encode(application.get("spec") or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where things are read: clusters, or (None) files alone.

    Args:
        cluster: that holds the Application.
        destination: that it deploys to.
        is_chosen: whether the destination was named by the user.
        namespace: in force.
    """

    cluster: KubeCluster | None = None
    destination: KubeCluster | None = None
    is_chosen: bool = False
    namespace: str = ""

    def check(self, application: Object) -> None:
        """Raise SpecError when live objects would be looked for in the wrong cluster."""
        destination = mapping(mapping(application.get("spec")).get("destination"))
        where = view.text(destination.get("server")) or view.text(destination.get("name"))
        if self.cluster is not None and not self.is_chosen and where not in LOCAL:
            raise SpecError(f"the application deploys to {where}: name the context of that cluster with --live-context")

    async def application(self, name: str | None, file: Path | None) -> Object:
        if file is not None:
            return _application_in(file)
        assert self.cluster is not None and name is not None, "checked with the options"
        return (await self.cluster.get(APPLICATIONS, key_of(name, self.namespace))).content

    async def configuration(self, application: Object) -> Configuration:
        """Return what the installation says in `argocd-cm`; where it cannot be read, the defaults hold."""
        from fairlead.agentsync._auto import Timing
        from fairlead.agentsync.config import read_configuration
        from fairlead.cli._app_rendering import config_map

        namespace = control_namespace(application)
        found = await config_map(self.cluster, namespace, "argocd-cm") if self.cluster is not None else None
        data = mapping((found or {}).get("data"))
        return read_configuration({key: view.text(value) for key, value in data.items()}, Timing())

    async def served(self) -> Served | None:
        return await self.destination.discover() if self.destination is not None else None

    async def live(
        self, application: Object, rendered: Sequence[Object], served: Served | None, file: Path | None
    ) -> list[Object]:
        """Return the live objects of what is wanted and of what the status knows."""
        from fairlead.agentsync._targets import flattened
        from fairlead.agentsync.preview import wanted_keys
        from fairlead.agentsync.resources import ResourceKey

        if self.destination is None or served is None:
            return list(flattened(_documents(file))) if file is not None else []
        known = [
            ResourceKey(*(view.text(one.get(field)) for field in ("group", "kind", "namespace", "name")))
            for one in view.items(view.status_of(application).get("resources"))
        ]
        keys = dict.fromkeys((*wanted_keys(application, rendered, served), *known))
        return await _read(self.destination, served, keys)


@asynccontextmanager
async def _opened(connection: Connection, live_context: str | None, *, is_offline: bool) -> AsyncIterator[_Place]:
    if is_offline:
        yield _Place()
        return
    from fairlead.kube.config import connect, current_namespace

    file, context = connection.kubeconfig, connection.context
    namespace = connection.namespace or current_namespace(kubeconfig=file, context=context)
    cluster = await connect(kubeconfig=file, context=context)
    destination = cluster
    try:
        if live_context is not None:
            destination = await connect(kubeconfig=file, context=live_context)
        yield _Place(cluster=cluster, destination=destination, is_chosen=live_context is not None, namespace=namespace)
    finally:
        if destination is not cluster:
            await destination.close()
        await cluster.close()


async def _read(cluster: KubeCluster, served: Served, keys: Iterable[ResourceKey]) -> list[Object]:
    """Return those of the objects that are there; kinds that are not served have none."""
    gate = asyncio.Semaphore(_READS_AT_ONCE)

    async def read(key: ResourceKey) -> Object | None:
        kind = served.find(key.group, key.kind)
        if kind is None:
            return None
        described = carried(kind.group, kind.version, kind.kind, kind.plural, namespaced=kind.namespaced)
        async with gate:
            try:
                found = await cluster.get(described, ObjectKey(key.namespace if kind.namespaced else "", key.name))
            except NotFound:
                return None
        return {"apiVersion": kind.api_version, "kind": kind.kind, **found.content}

    found = await asyncio.gather(*(read(key) for key in keys))
    return [one for one in found if one is not None]

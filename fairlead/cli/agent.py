"""`fairlead agent`: what an installation of the GitOps agent needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairlead.cli._family import mapping
from fairlead.cli._options import Connection, asynchronous, connection_options
from fairlead.cli.agent_run import run_
from fairlead.core.errors import SpecError

if TYPE_CHECKING:
    from fairlead.agentsync.project import Cluster, Project
    from fairlead.agentsync.rbac import Rights
    from fairlead.core.discovery import Served

_FILE = click.Path(exists=True, dir_okay=False, allow_dash=True)


@click.group("agent")
def agent_() -> None:
    """Prepare a cluster for the GitOps agent, and run it."""


agent_.add_command(run_)


@agent_.command("rbac")
@click.option("-p", "--project", "names", multiple=True, help="Name of an AppProject; may be repeated.")
@click.option(
    "-f", "--filename", "files", multiple=True, type=_FILE, help="File with AppProjects instead of the cluster's."
)
@click.option("--agent-namespace", default="fairlead", show_default=True, help="Where the agent runs.")
@click.option("--service-account", default="fairlead-agent", show_default=True, help="Who it is.")
@click.option(
    "--destination", default="", help="What the projects call this cluster, by URL or name, if not the local one."
)
@click.option("--only-served", is_flag=True, help="List the kinds that are served now where a project allows all.")
@click.option(
    "--hub", "is_hub", is_flag=True, help="This cluster only holds the Applications: nothing is applied here."
)
@click.option("--spoke", "is_spoke", is_flag=True, help="The Applications are in another cluster.")
@click.option("--stores-state", is_flag=True, help="The agent has no disk and keeps its state in Secrets.")
@click.option("--offline", is_flag=True, help="Ask no cluster: kinds of a plain one with Gateway API and fairlead's.")
@click.option("--existing-namespace", "existing", multiple=True, help="With --offline: a namespace that is there.")
@connection_options
@asynchronous
async def rbac(
    names: tuple[str, ...],
    files: tuple[str, ...],
    agent_namespace: str,
    service_account: str,
    destination: str,
    only_served: bool,
    is_hub: bool,
    is_spoke: bool,
    stores_state: bool,
    offline: bool,
    existing: tuple[str, ...],
    connection: Connection,
) -> None:
    """Print the Roles that let the agent apply what AppProjects allow, and nothing else, as YAML.

    The rights are those for one cluster that holds the Applications (in the namespace of -n) and is applied to. With a
    central cluster, print them twice: --hub for that one, --spoke for the cluster of the agent.

    Comments at the top say where Kubernetes' RBAC cannot say what a project says.

    \b
    Examples:
      fairlead agent rbac -p shop -n argocd | kubectl apply -f -
      fairlead agent rbac -p shop -n argocd --context hub --hub
      fairlead agent rbac -f project.yaml --context spoke --spoke --destination spoke-1
      fairlead agent rbac -f project.yaml --offline --existing-namespace shop
    """
    if not names and not files:
        raise click.UsageError("name a project with -p, or give a file with -f")
    if offline and not files:
        raise click.UsageError("--offline asks no cluster: give the projects with -f")
    if is_hub and is_spoke:
        raise click.UsageError("--hub and --spoke exclude each other")
    from fairlead.agentsync.rbac import Account, Rights, control_plane_rights, destination_rights, own_rights

    account = Account(namespace=agent_namespace, name=service_account)
    projects = [one for file in files for one in _in_file(file)]
    if offline:
        control = connection.namespace or agent_namespace
        found, served, namespaces = _chosen(projects, names), await _plain_kinds(), existing
    else:
        found, served, namespaces, control = await _asked(connection, projects, names, is_from_file=bool(files))
    rights = Rights()
    if not is_spoke:
        rights += control_plane_rights(account, namespace=control)
    if not is_hub:
        rights += own_rights(account, stores_state=stores_state)
    for project in () if is_hub else found:
        rights += destination_rights(
            project,
            account,
            served=served,
            namespaces=namespaces,
            cluster=_cluster(destination),
            only_served=only_served,
        )
    _print(rights)


def _print(rights: Rights) -> None:
    from fairlead.cli.yaml import dump

    for note in dict.fromkeys(rights.notes):
        click.echo(f"# {note}")
    click.echo("---\n".join(dump(one) for one in rights.manifests), nl=False)


def _cluster(destination: str) -> Cluster | None:
    from fairlead.agentsync.project import Cluster

    if not destination:
        return None
    return Cluster(server=destination) if "://" in destination else Cluster(name=destination)


def _project(document: dict[str, Any]) -> Project:
    import msgspec

    from fairlead.agentsync.project import Project, parse, problems

    name = mapping(document.get("metadata")).get("name")
    spec = parse(msgspec.json.encode(document.get("spec") or {}))
    if wrong := problems(spec):
        raise SpecError(f"AppProject {name}: {'; '.join(wrong)}")
    return Project(name=str(name or ""), spec=spec)


def _in_file(file: str) -> list[Project]:
    import sys

    from fairlead.cli.yaml import YamlError, load_all

    try:
        documents = load_all(sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
        return [_project(one) for one in documents if one.get("kind") == "AppProject"]
    except (YamlError, SpecError) as error:
        raise SpecError(f"{file}: {error}") from error


def _chosen(projects: list[Project], names: tuple[str, ...]) -> list[Project]:
    found = [one for one in projects if not names or one.name in names]
    if missing := sorted(set(names) - {one.name for one in found}):
        raise SpecError(f"there is no AppProject {', '.join(missing)} in the files")
    if not found:
        raise SpecError("there is no AppProject in the files")
    return found


async def _plain_kinds() -> Served:
    from fairlead.testing.clock import ManualClock
    from fairlead.testing.cluster import SimulatedCluster

    return await SimulatedCluster(ManualClock(), seed=0).discover()


async def _asked(
    connection: Connection, projects: list[Project], names: tuple[str, ...], *, is_from_file: bool
) -> tuple[list[Project], Served, tuple[str, ...], str]:
    """Return projects, kinds, namespaces, and the namespace of the Applications."""
    from fairlead.cli._app_access import PROJECTS, list_all
    from fairlead.core.kinds import carried
    from fairlead.core.objects import ObjectKey
    from fairlead.kube.config import connect, current_namespace

    file, context = connection.kubeconfig, connection.context
    namespace = connection.namespace or current_namespace(kubeconfig=file, context=context)
    cluster = await connect(kubeconfig=file, context=context)
    try:
        if is_from_file:
            found = _chosen(projects, names)
        else:
            found = [_project((await cluster.get(PROJECTS, ObjectKey(namespace, name))).content) for name in names]
        served = await cluster.discover()
        listed = await list_all(cluster, carried("", "v1", "Namespace", "namespaces", namespaced=False), "")
    finally:
        await cluster.close()
    return found, served, tuple(one.metadata.name for one in listed), namespace

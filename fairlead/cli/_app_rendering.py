"""What the sources of an Application yield, for `fairlead app diff`: from a directory, or from Git."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fairlead.cli import _app_view as view
from fairlead.cli._app_access import control_namespace, list_all, project_of
from fairlead.cli._family import mapping
from fairlead.core.errors import Forbidden, NotFound, SpecError
from fairlead.core.kinds import carried
from fairlead.core.objects import ObjectKey

if TYPE_CHECKING:
    from fairlead.agentsync.sources.port import Verification
    from fairlead.agentsync.sources.repositories import Repositories
    from fairlead.agentsync.spec import ApplicationSpec, Source
    from fairlead.kube.client import KubeCluster

Object = dict[str, Any]
_SECRETS = carried("", "v1", "Secret", "secrets")
_SIGNERS = "argocd-gpg-keys-cm"
_CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")


async def rendered(
    cluster: KubeCluster | None,
    application: Object,
    spec: ApplicationSpec,
    local: Path | None,
    repository: Path | None,
    revision: str,
) -> tuple[Object, ...]:
    if local is None:
        return await _from_git(cluster, application, spec, revision)
    import msgspec

    from fairlead.agentsync.sources.local import render

    if len(spec.all_sources) != 1:
        raise SpecError(f"--local renders one source, and the Application has {len(spec.all_sources)}")
    source = spec.all_sources[0]
    root, path = _local_place(local, repository, source.path)
    return await render(
        root,
        msgspec.structs.replace(source, path=path, chart=""),
        application=view.text(mapping(application.get("metadata")).get("name")),
        namespace=spec.destination.namespace,
        project=spec.project_name,
        revision=revision,
    )


def _local_place(local: Path, repository: Path | None, path: str) -> tuple[Path, str]:
    """Return root and path below it: bases outside of the directory are found if it lies where the spec says.

    >>> _local_place(Path("/home/jo/web/deploy/prod"), None, "deploy/prod")
    (PosixPath('/home/jo/web'), 'deploy/prod')
    """
    folder = local.resolve()
    if repository is not None:
        root = repository.resolve()
        if not folder.is_relative_to(root):
            raise SpecError(f"--local {local} is not below --local-repo-root {repository}")
        return root, folder.relative_to(root).as_posix()
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if parts and ".." not in parts and list(folder.parts[-len(parts) :]) == parts:
        return folder.parents[len(parts) - 1], "/".join(parts)
    return folder, "."


async def _from_git(
    cluster: KubeCluster | None, application: Object, spec: ApplicationSpec, revision: str
) -> tuple[Object, ...]:
    """Render what the sources say, with the credentials that this user may read."""
    import tempfile

    import msgspec

    from fairlead.agentsync._rendering import For, render
    from fairlead.agentsync.actions import Render
    from fairlead.agentsync.sources.fetching import Sources
    from fairlead.cli._app_access import now

    sources = spec.all_sources
    if revision and len(sources) != 1:
        raise SpecError("an Application with several sources has no single --revision")
    if revision:
        sources = (msgspec.structs.replace(sources[0], target_revision=revision),)
    namespace = control_namespace(application)
    with tempfile.TemporaryDirectory(prefix="fairlead-") as folder:
        fetching = Sources(Path(folder))
        verifications: tuple[Verification, ...] = ()
        if cluster is not None:
            keys = await config_map(cluster, namespace, _SIGNERS)
            fetching.trust(await _repositories(cluster, namespace), mapping((keys or {}).get("data")))
            verifications = await _verifications(cluster, application, sources)
        whom = For(
            application=view.text(mapping(application.get("metadata")).get("name")),
            project=spec.project_name,
            namespace=spec.destination.namespace,
            verifications=verifications,
        )
        return (await render(fetching, Render(sources=sources), whom, now())).objects


async def _verifications(
    cluster: KubeCluster, application: Object, sources: tuple[Source, ...]
) -> tuple[Verification, ...]:
    """Return which signature each source needs: what is not signed as the project demands is not rendered here either.

    Raises:
        ClusterError: the project cannot be read, so that nobody knows.
    """
    from fairlead.agentsync.sources.port import Verification, VerificationMode

    project = await project_of(cluster, application)
    policies = [project.signature_policy(source.repo_url) for source in sources]
    return tuple(
        Verification(mode=VerificationMode(policy.mode or "none"), keys=policy.keys) if policy else Verification()
        for policy in policies
    )


async def _repositories(cluster: KubeCluster, namespace: str) -> Repositories:
    """Return what opens repositories, as far as this user may read it."""
    from fairlead.agentsync.sources.repositories import CERTIFICATES, KNOWN_HOSTS, TYPE_LABEL, read_repositories

    try:
        secrets = [one.content for one in await list_all(cluster, _SECRETS, namespace, TYPE_LABEL)]
    except Forbidden:
        click.echo(
            f"Warning: Secrets in {namespace} may not be read: repositories are asked without credentials", err=True
        )
        secrets = []
    hosts, certificates = [await config_map(cluster, namespace, name) for name in (KNOWN_HOSTS[0], CERTIFICATES)]
    return read_repositories(secrets, known_hosts=hosts, certificates=certificates)


async def config_map(cluster: KubeCluster, namespace: str, name: str) -> Object | None:
    """Return a ConfigMap; None: there is none, or it may not be read."""
    try:
        return (await cluster.get(_CONFIG_MAPS, ObjectKey(namespace, name))).content
    except (NotFound, Forbidden):
        return None

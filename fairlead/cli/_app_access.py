"""How `fairlead app` reads, writes and follows Applications."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import msgspec

from fairlead.cli._app_view import text
from fairlead.cli._family import mapping
from fairlead.cli._options import Connection
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.durations import parse_go_duration
from fairlead.core.errors import ClusterError, Conflict, FairleadError, NotFound
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, Manifest, ObjectKey, ObjectMeta, decode_manifest

if TYPE_CHECKING:
    from fairlead.agentsync.project import Project

APPLICATIONS = carried("argoproj.io", "v1alpha1", "Application", "applications")
PROJECTS = carried("argoproj.io", "v1alpha1", "AppProject", "appprojects")
LOCAL = ("", "https://kubernetes.default.svc", "in-cluster")  # destinations: the very cluster of the Application
_TRIES = 10
_SCREEN_SECONDS = 0.1  # changes that come closer together are looked at once
_COMPLETION_SECONDS = 3.0


def now() -> datetime:
    """Return this instant."""
    return datetime.now(UTC)


def _decode_review(raw: bytes) -> Manifest:
    """Return the answer to a question, which is stored nowhere and so has no name of its own."""
    return msgspec.structs.replace(decode_manifest(raw), metadata=ObjectMeta(name="self"))


_REVIEWS = Kind(
    "authentication.k8s.io", "v1", "SelfSubjectReview", "selfsubjectreviews", _decode_review, namespaced=False
)


class _Limit(click.ParamType[float]):
    """A time limit: a Go duration, or a bare number of seconds as argocd takes it; 0 is none."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        given = str(value)
        try:
            return parse_go_duration(f"{given}s" if given.isdecimal() else given).total_seconds()
        except (ValueError, OverflowError) as error:
            self.fail(f"{error}; expected something like 90, 90s or 5m", param, ctx)


LIMIT = _Limit()


def key_of(name: str, namespace: str) -> ObjectKey:
    """Return which Application is meant by `NAME`, or by `NAMESPACE/NAME`."""
    place, slash, own = name.rpartition("/")
    return ObjectKey(place if slash else namespace, own)


async def whoami(cluster: Cluster) -> str:
    """Return the name that the API server knows us by; `unknown` if it does not tell."""
    try:
        review = await cluster.create(_REVIEWS, {"apiVersion": _REVIEWS.api_version, "kind": _REVIEWS.kind})
    except ClusterError:
        return "unknown"
    user = mapping(mapping(review.content.get("status")).get("userInfo"))
    return text(user.get("username")) or "unknown"


async def list_all(cluster: Cluster, kind: Kind[Manifest], namespace: str, selector: str = "") -> list[Manifest]:
    """Return every object of a kind in a namespace (empty: in all) that has these labels."""
    found: list[Manifest] = []
    token = ""
    while True:
        page = await cluster.list(kind, namespace=namespace, label_selector=selector, continue_token=token)
        found.extend(page.items)
        token = page.continue_token
        if not token:
            return found


async def send(cluster: Cluster, key: ObjectKey, decide: Callable[[dict[str, Any]], MergePatch]) -> Manifest:
    """Patch an Application as it is now: read and decide again whenever somebody wrote in between.

    Returns:
        What the server answered.

    Raises:
        Refused: by `decide`.
        Conflict: somebody wrote in between, again and again.
    """
    for _ in range(_TRIES - 1):
        found = await cluster.get(APPLICATIONS, key)
        try:
            return await cluster.patch(APPLICATIONS, key, decide(found.content))
        except Conflict:
            continue
    found = await cluster.get(APPLICATIONS, key)
    return await cluster.patch(APPLICATIONS, key, decide(found.content))


@asynccontextmanager
async def following(cluster: Cluster, key: ObjectKey) -> AsyncIterator[AsyncIterator[dict[str, Any]]]:
    """Yield an Application, again and again as it changes, from a watch. NotFound: there is none, or none any more."""
    from fairlead.runtime.clock import SystemClock
    from fairlead.runtime.informers import Informers

    await cluster.get(APPLICATIONS, key)  # an error now, not silence
    informers = Informers(cluster, SystemClock(), namespace=key.namespace)
    store = informers.add(APPLICATIONS, field_selector=f"metadata.name={key.name}")
    changed = asyncio.Event()
    store.subscribe(lambda _change: changed.set())
    watching = asyncio.create_task(informers.run())

    async def states() -> AsyncIterator[dict[str, Any]]:
        await informers.wait_synced()
        while True:
            changed.clear()
            found = store.get(key)
            if found is None:
                raise NotFound(f'applications.argoproj.io "{key.name}" not found', status=404, reason="NotFound")
            yield found.content
            await asyncio.sleep(_SCREEN_SECONDS)
            await changed.wait()

    try:
        yield states()
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


def control_namespace(application: Mapping[str, Any]) -> str:
    """Return where settings, projects and repositories of an Application are: its own namespace, unless it says."""
    said = text(mapping(application.get("status")).get("controllerNamespace"))
    return said or text(mapping(application.get("metadata")).get("namespace"))


async def project_of(cluster: Cluster, application: dict[str, Any]) -> Project:
    """Return the AppProject of an Application; a project `default` that nobody made permits everything.

    Raises:
        ClusterError: it cannot be read.
        SpecError: it cannot be understood.
    """
    from fairlead.agentsync.project import Project, open_project, parse
    from fairlead.agentsync.spec import DEFAULT_PROJECT

    name = text(mapping(application.get("spec")).get("project")) or DEFAULT_PROJECT
    try:
        found = await cluster.get(PROJECTS, ObjectKey(control_namespace(application), name))
    except NotFound:
        if name != DEFAULT_PROJECT:
            raise
        return open_project(name)
    return Project(name=name, spec=parse(msgspec.json.encode(found.content.get("spec") or {})))


async def window_permission(cluster: Cluster, application: dict[str, Any]) -> tuple[bool, bool] | None:
    """Return whether sync windows allow an automatic and a manual sync now; None: the project cannot be read."""
    from fairlead.agentsync.windows import matching, permission

    metadata, spec = mapping(application.get("metadata")), mapping(application.get("spec"))
    try:
        windows = (await project_of(cluster, application)).spec.sync_windows
    except FairleadError:
        return None
    destination = mapping(spec.get("destination"))
    held = matching(
        windows,
        application=text(metadata.get("name")),
        namespace=text(destination.get("namespace")),
        server=text(destination.get("server")),
        cluster=text(destination.get("name")),
    )
    at = now()
    automatic, manual = (permission(held, at, is_manual=by_hand).is_allowed for by_hand in (False, True))
    return automatic, manual


def complete_names(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of Applications that begin so, for a shell; none when the cluster does not answer."""
    connection = Connection(**{field: ctx.params.get(field) for field in ("kubeconfig", "context", "namespace")})

    async def names() -> list[str]:
        async with asyncio.timeout(_COMPLETION_SECONDS), connection.open() as (cluster, namespace):
            page = await cluster.list(APPLICATIONS, namespace=namespace)
        return sorted(one.metadata.name for one in page.items if one.metadata.name.startswith(incomplete))

    try:
        return asyncio.run(names())
    except (FairleadError, TimeoutError, OSError):
        return []

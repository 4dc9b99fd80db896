"""The simulated cluster as a Kubernetes API on loopback, good enough for kubectl and client-go.

Nobody is asked who they are and everything is allowed: it listens on 127.0.0.1 only. `python -m fairlead.testing.http`
serves an empty cluster until it is interrupted.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from fairlead.core.errors import ClusterError, Invalid
from fairlead.testing import discovery, failures, negotiation, openapi
from fairlead.testing.clock import LoopClock
from fairlead.testing.cluster import BOOKMARK_SECONDS, SimulatedCluster
from fairlead.testing.negotiation import View
from fairlead.testing.requests import Listing, ListOptions, PatchType, Target, WriteOptions

BODY_BYTES_MAX = 3 * 1024 * 1024  # what a real API server reads of a request
WATCH_SECONDS = 1800.0  # how long a watch lasts that asks for no time-out
VERSION = {
    "major": "1",
    "minor": "36",
    "gitVersion": "v1.36.3+fairlead",
    "gitCommit": "",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "python/any",
}
_AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# Kinds whose deletion is answered by the object itself and not by a Status.
_SHOWN_WHEN_DELETED = ("pods", "podtemplates", "serviceaccounts", "services")
_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running server."""

    host: str
    port: int

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def kubeconfig(self) -> str:
        """Return the text of a kubeconfig file for it."""
        return kubeconfig(self.port, host=self.host)


def kubeconfig(port: int, *, host: str = "127.0.0.1") -> str:
    """Return the text of a kubeconfig file for a server on that port."""
    return (
        "apiVersion: v1\n"
        "kind: Config\n"
        "current-context: fairlead\n"
        f"clusters: [{{name: fairlead, cluster: {{server: 'http://{host}:{port}'}}}}]\n"
        "contexts: [{name: fairlead, context: {cluster: fairlead, user: anyone, namespace: default}}]\n"
        "users: [{name: anyone, user: {}}]\n"
    )


@asynccontextmanager
async def serve(cluster: SimulatedCluster, port: int = 0, *, host: str = "127.0.0.1") -> AsyncIterator[Served]:
    """Serve the cluster while the context lasts; port 0 takes a free one."""
    runner = web.AppRunner(application(cluster), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield Served(host=host, port=runner.addresses[0][1])
    finally:
        await runner.cleanup()


def application(cluster: SimulatedCluster) -> web.Application:
    """Return the web application that serves the cluster."""
    api = _Api(cluster)
    app = web.Application(client_max_size=BODY_BYTES_MAX, middlewares=[_errors_to_status])
    for path in ("/healthz", "/readyz", "/livez"):
        app.router.add_get(path, _healthy)
    app.router.add_get("/version", _version)
    app.router.add_get("/api", api.core)
    app.router.add_get("/apis", api.groups)
    app.router.add_get("/openapi/v2", api.openapi_v2)
    app.router.add_get("/openapi/v3", api.openapi_v3_index)
    app.router.add_get("/openapi/v3/{path:.+}", api.openapi_v3)
    app.router.add_get("/api/{version}", api.resources)
    app.router.add_get("/apis/{group}", api.group)
    app.router.add_get("/apis/{group}/{version}", api.resources)
    for root in ("/api/{version}", "/apis/{group}/{version}"):
        for place in (
            "/namespaces/{namespace}/{plural}/{name}/{subresource}",
            "/namespaces/{namespace}/{plural}/{name}",
            "/namespaces/{namespace}/{plural}",
            "/{plural}/{name}",
            "/{plural}",
        ):
            app.router.add_route("*", root + place, api.objects)
        app.router.add_route("*", root + "/{plural}/{name}/{subresource}", api.objects)
    app.on_shutdown.append(api.end_watches)
    return app


def _json(body: Any, *, status: int = 200, content_type: str = "application/json") -> web.Response:
    raw = body if isinstance(body, bytes) else _encode(body)
    return web.Response(body=raw, status=status, headers={"Content-Type": content_type})


async def _healthy(request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _version(request: web.Request) -> web.Response:
    return _json(VERSION)


@web.middleware
async def _errors_to_status(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """Answer every failure by a Status, as the API server does."""
    try:
        answer: web.StreamResponse = await handler(request)
        return answer
    except ClusterError as error:
        return _failure(error)
    except web.HTTPRequestEntityTooLarge:
        message = f"Request entity too large: limit is {BODY_BYTES_MAX}"
        return _failure(Invalid(message, status=413, reason="RequestEntityTooLarge"))
    except web.HTTPMethodNotAllowed:
        message = "the server does not allow this method on the requested resource"
        return _failure(Invalid(message, status=405, reason="MethodNotAllowed"))
    except web.HTTPNotFound:
        return _failure(failures.not_served())


def _failure(error: ClusterError, target: Target | None = None) -> web.Response:
    if target is not None:
        kind = target.resource.kind if error.reason == "Invalid" else target.resource.plural
        body = failures.status_body(error, name=target.name, group=target.resource.group, kind=kind)
    else:
        body = failures.status_body(error)
    answer = _json(body, status=body["code"])
    retry_after = body.get("details", {}).get("retryAfterSeconds")
    if retry_after is not None:
        answer.headers["Retry-After"] = str(retry_after)
    return answer


class _Api:
    def __init__(self, cluster: SimulatedCluster) -> None:
        self._cluster = cluster
        self._api = cluster.api
        self._registry = cluster.api.registry
        self._index: tuple[int, bytes] = (-1, b"")
        self._watches: set[asyncio.Task[None]] = set()

    # -- discovery ------------------------------------------------------------------------------------------------

    async def core(self, request: web.Request) -> web.Response:
        if "APIGroupDiscoveryList" in request.headers.get("Accept", ""):
            return _json(discovery.aggregated(self._registry, core=True), content_type=_AGGREGATED)
        return _json(discovery.api_versions(request.host))

    async def groups(self, request: web.Request) -> web.Response:
        if "APIGroupDiscoveryList" in request.headers.get("Accept", ""):
            return _json(discovery.aggregated(self._registry, core=False), content_type=_AGGREGATED)
        return _json(discovery.group_list(self._registry))

    async def group(self, request: web.Request) -> web.Response:
        found = discovery.group(self._registry, request.match_info["group"])
        if found is None:
            raise failures.not_served()
        return _json(found)

    async def resources(self, request: web.Request) -> web.Response:
        info = request.match_info
        found = discovery.resource_list(self._registry, info.get("group", ""), info["version"])
        if found is None:
            raise failures.not_served()
        return _json(found)

    async def openapi_v2(self, request: web.Request) -> web.Response:
        return _json(openapi.v2(self._registry))

    async def openapi_v3_index(self, request: web.Request) -> web.Response:
        if self._index[0] != self._registry.changes:
            self._index = (self._registry.changes, _encode(openapi.v3_index(self._registry)))
        return _json(self._index[1])

    async def openapi_v3(self, request: web.Request) -> web.Response:
        found = openapi.v3(self._registry, request.match_info["path"])
        if found is None:
            raise failures.not_served()
        return _json(found)

    # -- objects --------------------------------------------------------------------------------------------------

    async def objects(self, request: web.Request) -> web.StreamResponse:
        """Any verb on a collection, an object or a subresource."""
        target = self._target(request)
        if target is None:
            return await self._review(request)
        await asyncio.sleep(0)
        try:
            return await self._perform(request, target)
        except ClusterError as error:
            return _failure(error, target)

    async def _perform(self, request: web.Request, target: Target) -> web.StreamResponse:
        if request.method == "GET":
            return await self._read(request, target)
        raw = await request.read()
        body_type = request.content_type if request.method != "PATCH" else request.headers.get("Content-Type", "")
        body = negotiation.read_body(raw, body_type)
        match request.method:
            case "POST" if not target.name or target.subresource:
                return self._create(request, target, body)
            case "PUT" if target.name:
                stored = self._api.update(target, body, self._options(request))
                return _json(self._view(request, target).one(stored))
            case "PATCH" if target.name:
                return self._patch(request, target, body)
            case "DELETE":
                return self._delete(request, target, body)
            case _:
                raise web.HTTPMethodNotAllowed(request.method, ["GET", "POST", "PUT", "PATCH", "DELETE"])

    def _target(self, request: web.Request) -> Target | None:
        info = request.match_info
        group, version, plural = info.get("group", ""), info["version"], info["plural"]
        namespace, name, subresource = (info.get(part, "") for part in ("namespace", "name", "subresource"))
        if (group, version) in discovery.REVIEWS:
            return None
        # `/namespaces/{name}/status` and `/finalize` look like a kind inside of a namespace.
        if namespace and not name and plural in ("status", "finalize"):
            plural, name, namespace, subresource = "namespaces", namespace, "", plural
        return self._api.target(group, version, plural, namespace=namespace, name=name, subresource=subresource)

    def _options(self, request: web.Request) -> WriteOptions:
        return negotiation.write_options(request.query, request.headers.get("User-Agent", ""))

    def _view(self, request: web.Request, target: Target) -> View:
        return View(
            target=target,
            form=negotiation.form_of(request.headers.get("Accept", "")),
            include=request.query.get("includeObject", "Metadata"),
            now=self._cluster.clock.now(),
        )

    def _create(self, request: web.Request, target: Target, body: Any) -> web.Response:
        if not isinstance(body, dict):
            raise failures.bad_request("the body must be an object")
        try:
            stored = self._api.create(target, body, self._options(request))
        except ClusterError as error:
            name = (body.get("metadata") or {}).get("name", "")
            return _failure(error, replace(target, name=target.name or str(name)))
        if target.subresource in ("eviction", "binding"):
            return _json({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}, status=201)
        return _json(self._view(request, target).one(stored), status=201)

    def _patch(self, request: web.Request, target: Target, body: Any) -> web.Response:
        type_ = negotiation.patch_type(request.headers.get("Content-Type", ""))
        existed = self._api.storage.get(target.resource.collection, target.key) is not None
        options = self._options(request)
        if type_ is PatchType.APPLY and not request.query.get("fieldManager"):
            cause = failures.required("fieldManager", "is required for apply patch")
            raise failures.invalid("PatchOptions", "meta.k8s.io", "", (cause,))
        stored = self._api.patch(target, type_, body, options)
        return _json(self._view(request, target).one(stored), status=200 if existed else 201)

    def _delete(self, request: web.Request, target: Target, body: Any) -> web.Response:
        options = negotiation.delete_options(request.query, body)
        view = self._view(request, target)
        if not target.name:
            which = negotiation.list_options(request.query, target)
            deleted = self._api.delete_collection(target, which, options)
            listing = Listing(items=deleted, resource_version=str(self._api.storage.revision))
            return _json(view.many(listing))
        stored = self._api.delete(target, options)
        is_held = self._api.storage.get(target.resource.collection, target.key) is not None
        if options.dry_run or is_held or target.resource.collection in _SHOWN_WHEN_DELETED:
            return _json(view.one(stored))
        return _json(negotiation.deleted(target, stored))

    async def _read(self, request: web.Request, target: Target) -> web.StreamResponse:
        view = self._view(request, target)
        if negotiation.is_true(request.query.get("watch", "")):
            return await self._watch(request, target, view)
        if target.name:
            return _json(view.one(self._api.get(target)))
        if target.subresource:
            raise failures.not_served()
        return _json(view.many(self._api.list(target, negotiation.list_options(request.query, target))))

    # -- watches --------------------------------------------------------------------------------------------------

    async def _watch(self, request: web.Request, target: Target, view: View) -> web.StreamResponse:
        query = request.query
        seconds = float(query.get("timeoutSeconds", "0") or 0) or WATCH_SECONDS
        options = negotiation.list_options(query, replace(target, subresource=""))
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        bookmarks = negotiation.is_true(query.get("allowWatchBookmarks", ""))
        task = asyncio.ensure_future(self._stream(answer, target, view, options, seconds, bookmarks))
        self._watches.add(task)
        task.add_done_callback(self._watches.discard)
        with contextlib.suppress(ConnectionError):  # the client has gone: it knows
            await task
        return answer

    async def _stream(
        self,
        answer: web.StreamResponse,
        target: Target,
        view: View,
        options: ListOptions,
        seconds: float,
        bookmarks: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + seconds
        try:
            # As on a real server a version that is too old is told in the stream: the headers are out.
            watcher = self._api.watch(target, options)
        except ClusterError as error:
            await answer.write(negotiation.error_event(error))
            await answer.write_eof()
            return
        first = True
        try:
            while loop.time() < ends_at and not watcher.closed:
                item = await watcher.next(min(BOOKMARK_SECONDS, ends_at - loop.time()))
                view = replace(view, now=self._cluster.clock.now())
                if item is None:
                    if bookmarks:
                        await answer.write(view.bookmark(self._api.storage.revision))
                elif item.stored is None:
                    await answer.write(view.bookmark(item.revision, initial_events_end=item.initial_events_end))
                else:
                    await answer.write(view.event(item.type, item.stored, first=first))
                    first = False
        except ClusterError as error:
            await answer.write(negotiation.error_event(error))
        finally:
            watcher.close()
        await answer.write_eof()

    async def end_watches(self, app: web.Application) -> None:
        """Cut off every watch, as a server that stops does."""
        for task in tuple(self._watches):
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)

    # -- reviews --------------------------------------------------------------------------------------------------

    async def _review(self, request: web.Request) -> web.Response:
        """Answer a question about rights or identity: everybody may do everything."""
        info = request.match_info
        key = (info["group"], info["version"])
        kind = next((kind for plural, kind, _ in discovery.REVIEWS[key] if plural == info["plural"]), None)
        if kind is None or request.method != "POST":
            raise failures.not_served()
        body = negotiation.read_body(await request.read(), request.content_type) or {}
        user = {"username": "anyone", "groups": ["system:masters"]}
        statuses: dict[str, Any] = {
            "TokenReview": {"authenticated": True, "user": user},
            "SelfSubjectReview": {"userInfo": user},
            "SelfSubjectRulesReview": {
                "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
                "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                "incomplete": False,
            },
        }
        status = statuses.get(kind, {"allowed": True})
        answer = {"metadata": {}, **body, "kind": kind, "apiVersion": "/".join(key), "status": status}
        return _json(answer, status=201)


def _announce(served: Served, path: Path) -> None:
    path.write_text(served.kubeconfig(), encoding="utf-8")
    sys.stdout.write(f"export KUBECONFIG={path}\n")
    sys.stdout.flush()


async def _run(port: int, path: Path) -> None:
    cluster = SimulatedCluster(LoopClock())
    async with serve(cluster, port) as served:
        _announce(served, path)
        await asyncio.Event().wait()


def main(arguments: list[str] | None = None) -> None:
    """Serve an empty cluster until interrupted."""
    parser = argparse.ArgumentParser(description="Serve an empty simulated Kubernetes cluster on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--kubeconfig", type=Path, help="where to write it; default: a temporary file")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="fairlead-cluster-") as folder, contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_run(given.port, given.kubeconfig or Path(folder) / "kubeconfig"))


if __name__ == "__main__":
    main()

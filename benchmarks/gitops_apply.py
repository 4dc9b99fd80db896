"""How long one commit takes to become 1,000 applied apps. Prints one JSON line; exits 1 if a count is not golden.

`python -m benchmarks.gitops_apply [--apps 1000] [--shape applications|one] [--simulated]`

An app is a Deployment without replicas, a ServiceAccount, a Service and an Ingress, in a folder of its own of one
repository, which a Git server hands out over HTTPS; each folder is an Application (`--shape one`: one Application holds
them all). The control plane is a real one; the controller is a process of its own with its usual settings, that has
seen all Applications while their folders were empty. Then

- `first`: one commit brings all manifests; measured from the push (and the webhook's call) until the last Application
  is Synced and its sync has succeeded;
- `unchanged`: a commit that changes no manifest, until every status names it;
- `one_image`: a commit that changes one Deployment.

Requests are those of the controller in the audit log, watches and leases left out. Flux publishes 253 s and 223 MiB for
the same objects as 1,000 Kustomizations, with 2 CPUs (flux-benchmark, 2.9.0).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog

from benchmarks._gitops_apps import CONTROL, NAMESPACE, application, files, name_of, path_of, simulated
from benchmarks._rig import USER, AuditLog, Counts, Process
from fairlead.core.cluster import Cluster
from fairlead.core.errors import Expired, TooManyRequests, Unavailable
from fairlead.core.kinds import NAMESPACES, carried
from fairlead.core.objects import Kind, ObjectMeta
from fairlead.kube.config import connect
from tests.controlplane import plane as planes
from tests.controlplane.git_host import GitHost, Repository, git_host
from tests.controlplane.stage import install

GOLDEN = Path(__file__).with_name("gitops_apply.golden.json")
FLAGS = ("--no-leader-elect",)
REPOSITORY = "apps"
_AT_ONCE = 16
_WAIT_SECONDS = 1200.0
_QUIET_SECONDS = 8.0  # what is held back, and what other controllers still do, comes in this time
_SEEN = {kind: carried("", "v1", kind, f"{kind.lower()}s") for kind in ("Secret", "ConfigMap")}


class _Sync(msgspec.Struct):
    status: str = ""
    revision: str = ""


class _Operation(msgspec.Struct):
    phase: str = "Succeeded"


class _Status(msgspec.Struct, rename="camel"):
    sync: _Sync = msgspec.field(default_factory=_Sync)
    operation_state: _Operation = msgspec.field(default_factory=_Operation)


class _Application(msgspec.Struct):
    metadata: ObjectMeta
    status: _Status = msgspec.field(default_factory=_Status)


APPLICATIONS = Kind(
    "argoproj.io", "v1alpha1", "Application", "applications", msgspec.json.Decoder(_Application).decode, form="short"
)
_WHOLE = carried("argoproj.io", "v1alpha1", "Application", "applications")


@dataclass(kw_only=True)
class Bench:
    """Everything that runs.

    Attributes:
        done: Applications that are Synced, by the commit that they are Synced to.
        names: of all Applications.
    """

    cluster: Cluster
    host: GitHost
    repository: Repository
    process: Process
    audit: AuditLog
    webhook: str
    names: tuple[str, ...]
    at: dict[str, str] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def follow(self) -> None:
        """Keep up with what Applications say of themselves, until cancelled."""
        while True:
            page = await self.cluster.list(APPLICATIONS, namespace=CONTROL, limit=0)
            for found in page.items:
                self._note(found)
            version = page.resource_version
            with suppress(Expired, Unavailable, TooManyRequests):  # it ends now and then: list again
                async for event in self.cluster.watch(APPLICATIONS, namespace=CONTROL, resource_version=version):
                    if isinstance(event.object, _Application):
                        self._note(event.object)

    def _note(self, found: _Application) -> None:
        status = found.status
        is_done = status.sync.status == "Synced" and status.operation_state.phase == "Succeeded"
        self.at[found.metadata.name] = status.sync.revision if is_done else ""
        self.changed.set()

    async def until(self, commit: str) -> None:
        """Wait until every Application is Synced to a commit."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while any(self.at.get(name) != commit for name in self.names):
                self.changed.clear()
                await self.changed.wait()

    async def push(self, tree: Mapping[str, str], message: str) -> str:
        """Commit a tree, and tell the controller as a Git host would; return the commit."""
        commit = await asyncio.to_thread(self.repository.push, tree, message)
        body = {"ref": "refs/heads/main", "repository": {"html_url": self.host.https_url(REPOSITORY)}, "after": commit}
        headers = {"X-GitHub-Event": "push", "Content-Type": "application/json"}
        async with aiohttp.ClientSession() as session, session.post(self.webhook, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
        return commit

    async def measured(self, tree: Mapping[str, str], message: str) -> tuple[Counts, dict[str, float]]:
        """Push a tree; return what was asked of the API server until all was quiet, and what was measured."""
        self.audit.skip()
        cpu, began = self.process.cpu_seconds(), time.monotonic()
        commit = await self.push(tree, message)
        await self.until(commit)
        seconds = time.monotonic() - began
        busy = self.process.cpu_seconds() - cpu
        await asyncio.sleep(_QUIET_SECONDS)
        figures = {"seconds": round(seconds, 2), "cpu_s": round(busy, 2), "pss_mib": round(self.process.pss_mib(), 1)}
        return AuditLog.counts(self.audit.entries()), figures


@asynccontextmanager
async def bench(folder: Path, count: int, shape: str, flags: tuple[str, ...]) -> AsyncIterator[Bench]:
    """Give a control plane, a Git host and the controller, with all Applications known and nothing in their folders."""
    with planes.started(users=("admin", USER)) as plane:
        assert plane.audit_log is not None, "it was started here"
        async with (
            git_host(folder / "git") as host,
            await connect(str(plane.kubeconfig), field_manager="user") as cluster,
        ):
            await install(cluster)
            repository = host.create(REPOSITORY)
            repository.push(files(count, is_empty=True), "Make room")
            names = await _furnish(cluster, host, count, shape)
            port = planes.free_ports(1)[0]
            arguments = (
                f"--kubeconfig={plane.kubeconfig_for(USER)}",
                "--gitops",
                f"--gitops-folder={folder / 'agent'}",
                "--webhook-host=127.0.0.1",
                f"--webhook-port={port}",
            )
            process = Process([*arguments, *FLAGS, *flags], folder / "controller.log")
            process.start()
            made = Bench(
                cluster=cluster,
                host=host,
                repository=repository,
                process=process,
                audit=AuditLog(plane.audit_log),
                webhook=f"http://127.0.0.1:{port}/api/webhook",
                names=names,
            )
            following = asyncio.create_task(made.follow())
            try:
                await process.ready()
                await made.until(repository.head)
                await asyncio.sleep(_QUIET_SECONDS)
                yield made
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                process.stop()


async def _furnish(cluster: Cluster, host: GitHost, count: int, shape: str) -> tuple[str, ...]:
    """Create what the controller needs to know and the Applications; return their names."""
    for name in (CONTROL, NAMESPACE):
        await cluster.create(NAMESPACES, {"metadata": {"name": name}})
    for document in host.documents(REPOSITORY):
        await cluster.create(_SEEN[document["kind"]], document, namespace=CONTROL)
    url = host.https_url(REPOSITORY)
    if shape == "one":
        documents = [application("all", url, "apps", recurse=True)]
    else:
        documents = [application(name_of(number), url, path_of(number)) for number in range(count)]
    limit = asyncio.Semaphore(_AT_ONCE)

    async def create(document: Mapping[str, Any]) -> None:
        async with limit:
            await cluster.create(_WHOLE, document, namespace=CONTROL)

    await asyncio.gather(*map(create, documents))
    return tuple(document["metadata"]["name"] for document in documents)


async def real(count: int, shape: str = "applications", flags: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return what was measured, and the requests of each part."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench(Path(folder), count, shape, flags) as made:
            idle = round(made.process.pss_mib(), 1)
            parts = (
                ("first", files(count), "Deploy everything"),
                ("unchanged", {**files(count), "README.md": "Still many small apps.\n"}, "Say it again"),
                ("one_image", files(count, images={0: "1.0.1"}), "Release one app"),
            )
            found: dict[str, Any] = {"idle_pss_mib": idle}
            for name, tree, message in parts:
                counts, figures = await made.measured(tree, message)
                found[name] = {**figures, "load": round(os.getloadavg()[0], 2), "requests": dict(counts.by_kind)}
            return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="gitops_apply", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--apps", type=int, default=1000)
    parser.add_argument("--shape", choices=("applications", "one"), default="applications")
    parser.add_argument("--simulated", action="store_true", help="count in the simulation only")
    parser.add_argument("--write", action="store_true", help="make what the simulation counts golden")
    parser.add_argument("flags", nargs="*", help="further flags of the controller, after --")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    count = options.apps
    line: dict[str, Any] = {"benchmark": "gitops_apply", "apps": count, "shape": options.shape}
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if options.simulated or options.write or str(count) in golden:
        line["simulated"] = {name: dict(counts.by_kind) for name, counts in simulated(count).items()}
        line["is_golden"] = golden.get(str(count)) == line["simulated"]
    if options.write:
        GOLDEN.write_text(json.dumps(golden | {str(count): line["simulated"]}, indent=2) + "\n")
    if not options.simulated:
        line |= asyncio.run(real(count, options.shape, tuple(options.flags)))
    print(json.dumps(line))
    return int(str(count) in golden and not line["is_golden"])


if __name__ == "__main__":
    sys.exit(main())

"""What refreshing secrets costs when nothing has changed. Prints one JSON line; exits 1 if a count is not golden.

`python -m benchmarks.secret_refresh [--provider vault|aws] [--secrets 1000] [--keys 200] [--interval 60] [--cycles 2]`

A real OpenBao (or a moto server) and a real control plane run on loopback, the controllers in a process of their own.
The API server's audit log says what it was asked, OpenBao's audit log what that was asked. Measured are:

- `first_sync_s`: from the start of the controllers to the last of all Secrets written for the first time;
- per cycle (one refresh interval): requests to the API server, watches aside; calls to the provider; processor time;
- `pss_mib`: proportional set size of the process beyond what it has with no object at all.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog
import yaml

from fairlead.core.cluster import ApplyPatch, Cluster
from fairlead.core.kinds import CRDS
from fairlead.core.objects import Kind, ObjectKey, decode_manifest
from fairlead.kube.config import connect
from tests.children import bound
from tests.controlplane import plane as planes
from tests.controlplane.plane import ControlPlane
from tests.secrets.stores import motoserver, openbao

NAMESPACE = "bench"
FOLDER = Path(__file__).resolve().parent.parent / "fairlead" / "crds"
GOLDEN = Path(__file__).with_name("secret_refresh.golden.json")
STARTING_SECONDS_MAX = 60.0
SYNCING_SECONDS_MAX = 300.0
LATE_SECONDS_MAX = 5.0  # beyond the interval, between two refreshes of one secret: all come at once, by a budget
_TICKS = os.sysconf("SC_CLK_TCK")

_STORES = Kind("external-secrets.io", "v1", "SecretStore", "secretstores", decode_manifest)
_EXTERNAL = Kind("external-secrets.io", "v1", "ExternalSecret", "externalsecrets", decode_manifest)
_SECRETS = Kind("", "v1", "Secret", "secrets", decode_manifest)
_NAMESPACES = Kind("", "v1", "Namespace", "namespaces", decode_manifest, namespaced=False)


# -- the provider -----------------------------------------------------------------------------------------------------


class Vault:
    """OpenBao with a policy and an AppRole."""

    def __init__(self, server: openbao.OpenBao, keys: int) -> None:
        self._server = server
        policy = 'path "secret/data/*" { capabilities = ["read"] }'
        server.call("PUT", "sys/policies/acl/reader", {"policy": policy})
        server.call("POST", "sys/auth/approle", {"type": "approle"})
        role = {"token_policies": ["reader"], "token_ttl": "1h"}
        server.call("POST", "auth/approle/role/bench", role)
        for number in range(keys):
            server.put(f"bench/{number}", {"user": f"user-{number}", "password": f"password-{number}"})
        role_id = server.call("GET", "auth/approle/role/bench/role-id")["data"]["role_id"]
        secret_id = server.call("POST", "auth/approle/role/bench/secret-id", {})["data"]["secret_id"]
        auth = {"appRole": {"roleId": role_id, "secretRef": {"name": "creds", "key": "key"}}}
        self.block = {"vault": {"server": server.address, "path": "secret", "version": "v2", "auth": auth}}
        self.credentials = {"key": secret_id}
        self.environment: dict[str, str] = {}
        self.calls()

    def key(self, number: int) -> str:
        return f"bench/{number}"

    def calls(self) -> Counter[str]:
        """Return what reached the server since the last time."""
        found: Counter[str] = Counter()
        for request in self._server.requests():
            operation, _, path = request.partition(" ")
            found[
                "reads" if path.startswith("secret/data/") else "logins" if path.endswith("/login") else operation
            ] += 1
        return found


class Aws:
    """moto with secrets in Secrets Manager."""

    def __init__(self, server: motoserver.Moto, keys: int) -> None:
        manager = server.client("secretsmanager")
        for number in range(keys):
            content = {"user": f"user-{number}", "password": f"password-{number}"}
            manager.create_secret(Name=f"bench-{number}", SecretString=json.dumps(content))
        ref = {"accessKeyIDSecretRef": {"name": "creds", "key": "id"}}
        ref["secretAccessKeySecretRef"] = {"name": "creds", "key": "key"}
        self.block = {
            "aws": {"service": "SecretsManager", "region": motoserver.REGION, "auth": {"secretRef": ref}},
        }
        self.credentials = {"id": "AKIA", "key": "key"}
        self.environment = server.environment

    def key(self, number: int) -> str:
        return f"bench-{number}"

    def calls(self) -> None:
        """moto keeps no log of calls: the process's own count has to do."""
        return


@contextmanager
def provider(name: str, keys: int) -> Iterator[Vault | Aws]:
    """Yield a provider that has so many keys."""
    if name == "vault":
        with openbao.started() as bao:
            yield Vault(bao, keys)
    else:
        with motoserver.started() as moto:
            yield Aws(moto, keys)


# -- the cluster ------------------------------------------------------------------------------------------------------


class Audit:
    """Reads what the API server was asked by a user."""

    def __init__(self, plane: ControlPlane, user: str) -> None:
        assert plane.audit_log is not None
        self._path = plane.audit_log
        self._user = user
        self._offset = 0

    def requests(self) -> Counter[str]:
        """Return the requests since the last time by verb and resource, watches aside."""
        found: Counter[str] = Counter()
        with self._path.open("rb") as log:
            log.seek(self._offset)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._offset += len(line)
                entry = json.loads(line)
                if entry["user"]["username"] == self._user and entry["verb"] != "watch":
                    about = entry.get("objectRef", {})
                    name = f"{entry['verb']} {about.get('resource', '')}"
                    found[f"{name}/{about['subresource']}" if "subresource" in about else name] += 1
        return found


async def _apply(cluster: Cluster, kind: Kind[Any], body: dict[str, Any]) -> None:
    key = ObjectKey(body["metadata"].get("namespace", ""), body["metadata"]["name"])
    await cluster.patch(kind, key, ApplyPatch(body, force=True))


async def prepare(cluster: Cluster, source: Vault | Aws) -> None:
    """Install the kinds and one store."""
    for path in sorted(FOLDER.glob("*secret*.yaml")):
        await _apply(cluster, CRDS, yaml.safe_load(path.read_text()))
    await _apply(cluster, _NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    metadata = {"namespace": NAMESPACE, "name": "creds"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": source.credentials}
    await _apply(cluster, _SECRETS, secret)
    store = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"namespace": NAMESPACE, "name": "store"},
        "spec": {"provider": source.block},
    }
    deadline = time.monotonic() + STARTING_SECONDS_MAX
    while True:  # a definition needs a moment until it is served
        try:
            await _apply(cluster, _STORES, store)
            return
        except Exception:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.2)


async def create(cluster: Cluster, source: Vault | Aws, arguments: argparse.Namespace) -> None:
    """Create the ExternalSecrets."""
    gate = asyncio.Semaphore(20)

    async def one(number: int) -> None:
        body = {
            "apiVersion": "external-secrets.io/v1",
            "kind": "ExternalSecret",
            "metadata": {"namespace": NAMESPACE, "name": f"secret-{number}"},
            "spec": {
                "secretStoreRef": {"name": "store"},
                "refreshInterval": f"{arguments.interval}s",
                "data": [
                    {
                        "secretKey": name,
                        "remoteRef": {"key": source.key(number % arguments.keys), "property": name},
                    }
                    for name in ("user", "password")
                ],
            },
        }
        async with gate:
            await _apply(cluster, _EXTERNAL, body)

    await asyncio.gather(*(one(number) for number in range(arguments.secrets)))


async def written(cluster: Cluster) -> int:
    """Return how many Secrets there are that ExternalSecrets made."""
    found, token = 0, ""
    while True:
        page = await cluster.list(
            _SECRETS,
            namespace=NAMESPACE,
            label_selector="reconcile.external-secrets.io/managed=true",
            continue_token=token,
        )
        found += len(page.items)
        token = page.continue_token
        if not token:
            return found


# -- the process ------------------------------------------------------------------------------------------------------


class Process:
    """The controllers, as a process that is measured from outside."""

    def __init__(self, kubeconfig: Path, environment: dict[str, str], folder: Path) -> None:
        self.started_at = time.monotonic()
        self._log = (folder / "controllers.log").open("ab")
        self._process = subprocess.Popen(
            bound([sys.executable, "-m", "benchmarks._secret_process", str(kubeconfig)]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={**os.environ, **environment, "HOME": str(folder), "AWS_EC2_METADATA_DISABLED": "true"},
        )

    def line(self) -> dict[str, Any]:
        """Return the next thing that it says."""
        assert self._process.stdout is not None
        text = self._process.stdout.readline()
        if not text:
            tail = Path(self._log.name).read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the controllers have ended:\n{tail}")
        found: dict[str, Any] = json.loads(text)
        return found

    def until(self, name: str, value: object) -> None:
        """Return when it has said so."""
        deadline = time.monotonic() + SYNCING_SECONDS_MAX
        while time.monotonic() < deadline:
            if self.line().get(name) == value:
                return
        raise RuntimeError(f"the controllers did not get to {name}={value}")

    def taken(self) -> dict[str, Any]:
        """Return what happened since the last time."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()
        while True:
            found = self.line()
            if "refreshes" in found:
                return found

    @property
    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def pss_mib(self) -> float:
        rollup = Path(f"/proc/{self._process.pid}/smaps_rollup").read_text()
        found = re.search(r"^Pss:\s+(\d+) kB", rollup, re.MULTILINE)
        assert found is not None
        return int(found.group(1)) / 1024

    def stop(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._log.close()


@contextmanager
def process(plane: ControlPlane, environment: dict[str, str]) -> Iterator[Process]:
    assert plane.folder is not None
    started = Process(plane.kubeconfig_for("fairlead"), environment, plane.folder)
    try:
        yield started
    finally:
        started.stop()


# -- the measurement --------------------------------------------------------------------------------------------------


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures."""
    with planes.started() as plane, provider(arguments.provider, arguments.keys) as source:
        async with await connect(str(plane.kubeconfig)) as cluster:
            await prepare(cluster, source)
            with process(plane, source.environment) as idle:
                await asyncio.to_thread(idle.until, "ready", True)
                await asyncio.sleep(2)
                idle_pss = idle.pss_mib
            await create(cluster, source, arguments)
            audit = Audit(plane, "fairlead")
            audit.requests()
            source.calls()
            with process(plane, source.environment) as running:
                await asyncio.to_thread(running.until, "synced", arguments.secrets)
                first_sync = time.monotonic() - running.started_at
                count = await written(cluster)
                first_calls, first_requests = source.calls(), audit.requests()
                first = running.taken()
                await settled(running, audit, arguments)
                source.calls()
                cpu = running.cpu_seconds
                await asyncio.sleep(arguments.interval * arguments.cycles)
                cpu = running.cpu_seconds - cpu
                seen, requests, pss = running.taken(), audit.requests(), running.pss_mib
                calls = source.calls()
    cycles = arguments.cycles
    own_calls = Counter(seen["calls"])
    return {
        "benchmark": "secret_refresh",
        "provider": arguments.provider,
        "secrets": arguments.secrets,
        "keys": arguments.keys,
        "interval_s": arguments.interval,
        "cycles": cycles,
        "written": count,
        "first_sync_s": round(first_sync, 2),
        "first_sync_requests": dict(sorted(first_requests.items())),
        "first_sync_calls": dict(sorted((first_calls if first_calls is not None else Counter(first["calls"])).items())),
        "refreshes_per_cycle": seen["refreshes"] / cycles,
        "refreshes_by_secret": seen["by_key"],
        "refresh_gap_max_s": round(seen["gap_max"], 2),
        "failed": seen["failed"] + first["failed"],
        "kubernetes_requests": sum(requests.values()),
        "kubernetes_requests_by_kind": dict(sorted(requests.items())),
        "provider_calls_per_cycle": sum((calls if calls is not None else own_calls).values()) / cycles,
        "provider_calls": dict(sorted((calls if calls is not None else own_calls).items())),
        "cpu_s_per_cycle": round(cpu / cycles, 3),
        "cpu_ms_per_refresh": round(1000 * cpu / max(1, seen["refreshes"]), 3),
        "pss_mib": round(pss - idle_pss, 1),
        "pss_idle_mib": round(idle_pss, 1),
    }


async def settled(running: Process, audit: Audit, arguments: argparse.Namespace) -> None:
    """Return in a quiet moment: all Events of the first sync are written, a whole cycle of refreshes is over."""
    refreshed, requests, quiet = 0, 1, 0
    deadline = time.monotonic() + SYNCING_SECONDS_MAX
    while time.monotonic() < deadline:
        await asyncio.sleep(0.5)
        found, requests = running.taken(), audit.requests().total()
        refreshed += found["refreshes"]
        quiet = 0 if found["refreshes"] or requests or found["pending_events"] else quiet + 1
        if refreshed >= arguments.secrets and quiet >= 4:
            return
    raise RuntimeError("there is no quiet moment between two cycles")


def deviations(found: dict[str, Any]) -> list[str]:
    """Return where counts are above what they may be: times and bytes depend on the machine, counts do not."""
    golden = json.loads(GOLDEN.read_text())[found["provider"]]
    secrets, keys, cycles = found["secrets"], found["keys"], found["cycles"]
    most = {
        "kubernetes_requests": golden["kubernetes_requests"],
        "provider_calls_per_cycle": golden["calls_per_key"] * keys + golden["calls_beside"],
        "logins": golden["logins"],
    }
    logins = found["first_sync_calls"].get("logins", 0) + found["provider_calls"].get("logins", 0)
    have = {**found, "logins": logins}
    wrong = [f"{name}: {have[name]} is above {limit:g}" for name, limit in most.items() if have[name] > limit]
    if found["written"] != secrets:
        wrong.append(f"written: {found['written']} of {secrets}")
    if found["refreshes_by_secret"] != [[cycles, secrets]]:
        wrong.append(f"refreshes_by_secret: {found['refreshes_by_secret']} is not {[[cycles, secrets]]}")
    if found["refresh_gap_max_s"] > found["interval_s"] + LATE_SECONDS_MAX:
        wrong.append(f"refresh_gap_max_s: {found['refresh_gap_max_s']} is late by more than {LATE_SECONDS_MAX:g} s")
    if found["failed"]:
        wrong.append(f"failed: {found['failed']}")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(prog="secret_refresh")
    parser.add_argument("--provider", choices=["vault", "aws"], default="vault")
    parser.add_argument("--secrets", type=int, default=1000, help="a multiple of 50")
    parser.add_argument("--keys", type=int, default=200)
    parser.add_argument("--interval", type=int, default=60, help="seconds between two refreshes of one secret")
    parser.add_argument("--cycles", type=int, default=2)
    arguments = parser.parse_args()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    found = asyncio.run(measure(arguments))
    wrong = deviations(found)
    print(json.dumps({**found, "deviations": wrong}))
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

"""Start and stop etcd, kube-apiserver, kube-controller-manager and kube-scheduler on loopback.

No containers run: a pod is Running because the fake kubelet of `fairlead.testing` says so. Everything lives in one
temporary folder and ends with the context.
"""

from __future__ import annotations

import os
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.children import bound, sigterm_as_interrupt
from tests.controlplane import build

_STARTING_SECONDS_MAX = 90


@dataclass(kw_only=True)
class ControlPlane:
    """A running control plane.

    Attributes:
        kubeconfig: of a cluster admin named `admin`.
        audit_log: one JSON line per finished request; None for a cluster that we did not start.
        folder: everything that the parts wrote, their logs included.
        tokens: bearer token by user name; every user is in system:masters, the audit log tells them apart.
    """

    kubeconfig: Path
    audit_log: Path | None = None
    folder: Path | None = None
    server: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)
    _parts: _Parts | None = None

    def restart_api_server(self, *, away_seconds: float = 0.0) -> None:
        """Kill the API server, leave it away for a while, start it again and wait until it is ready."""
        assert self._parts is not None, "only a control plane that was started here can be restarted"
        self._parts.kill("kube-apiserver")
        time.sleep(away_seconds)
        self._parts.start_again("kube-apiserver")
        _wait_ready(self.server, self.tokens["admin"], self._parts)

    def kubeconfig_for(self, user: str) -> Path:
        """Return a kubeconfig of one of the users in `tokens`."""
        assert self.folder is not None, "a cluster that was not started here has one kubeconfig only"
        path = self.folder / f"{user}.kubeconfig"
        _write_whole(path, self.kubeconfig_text(user))
        return path

    def kubeconfig_text(self, user: str, *, server: str = "") -> str:
        """Return the text of a user's kubeconfig; `server`: lead there instead, to a proxy for instance."""
        assert self.folder is not None, "a cluster that was not started here has one kubeconfig only"
        return _kubeconfig(server or self.server, self.tokens[user], self.folder / "certs" / "apiserver.crt")


def _write_whole(path: Path, text: str) -> None:
    """Write a file that others may be reading: they see the old text or the new one, and never half of it."""
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(text)
    os.replace(file.name, path)


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [opened.getsockname()[1] for opened in sockets]
    finally:
        for opened in sockets:
            opened.close()


def _kubeconfig(server: str, token: str, ca: Path) -> str:
    return f"""\
apiVersion: v1
kind: Config
current-context: controlplane
clusters: [{{name: controlplane, cluster: {{server: "{server}", certificate-authority: "{ca}"}}}}]
contexts: [{{name: controlplane, context: {{cluster: controlplane, user: user, namespace: default}}}}]
users: [{{name: user, user: {{token: "{token}"}}}}]
"""


_AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
"""


def assets() -> Mapping[str, list[str]]:
    """Return how each part is started: command words by part name.

    Looked up in this order: `KUBEBUILDER_ASSETS` (kube-apiserver and etcd; the controller manager and the scheduler
    only where the folder has them), the cached build, a build.

    Raises:
        build.Absent: neither is there.
    """
    if folder := os.environ.get("KUBEBUILDER_ASSETS"):
        found = {
            part: [str(Path(folder) / part)]
            for part in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
            if (Path(folder) / part).exists()
        }
        if {"etcd", "kube-apiserver"} <= found.keys():
            return found
        raise build.Absent(f"KUBEBUILDER_ASSETS={folder} has no etcd and kube-apiserver")
    program = str(build.binary())
    return {part: [program, part] for part in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")}


class _Parts:
    def __init__(self, folder: Path, commands: Mapping[str, list[str]]) -> None:
        self._folder = folder
        self._commands = commands
        self._running: list[tuple[str, subprocess.Popen[bytes]]] = []
        self._flags: dict[str, tuple[str, ...]] = {}

    def start(self, part: str, *flags: str) -> None:
        self._flags[part] = flags
        with (self._folder / f"{part}.log").open("ab") as log:
            process = subprocess.Popen(
                bound([*self._commands[part], *flags]),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self._folder,
                start_new_session=True,  # a Ctrl-C is for us: we stop the parts in their order
            )
        self._running.append((part, process))

    def kill(self, part: str) -> None:
        for entry in [found for found in self._running if found[0] == part]:
            self._running.remove(entry)
            entry[1].kill()
            entry[1].wait()

    def start_again(self, part: str) -> None:
        self.start(part, *self._flags[part])

    def check(self) -> None:
        for part, process in self._running:
            if process.poll() is not None:
                tail = (self._folder / f"{part}.log").read_text(errors="replace").splitlines()[-20:]
                raise RuntimeError(f"{part} exited with {process.returncode}:\n" + "\n".join(tail))

    def stop(self) -> None:
        # Clients before servers, whatever was started again: an API server waits for its watches.
        order = list(self._flags)
        for _part, process in sorted(self._running, key=lambda entry: -order.index(entry[0])):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_ready(url: str, token: str, parts: _Parts) -> None:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only to ask whether it is up: the certificate is written by the start itself
    request = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {token}"})
    deadline = time.monotonic() + _STARTING_SECONDS_MAX
    while True:
        parts.check()
        try:
            with urllib.request.urlopen(request, timeout=2, context=context) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            pass
        if time.monotonic() > deadline:
            raise RuntimeError(f"kube-apiserver was not ready after {_STARTING_SECONDS_MAX} s: see its log")
        time.sleep(0.1)


@contextmanager
def started(*, users: tuple[str, ...] = ("admin", "fairlead", "kubelet")) -> Iterator[ControlPlane]:
    """Yield a fresh control plane; stop it and remove what it wrote at the end.

    Raises:
        build.Absent: this machine has no way to get one.
    """
    commands = assets()
    with (
        sigterm_as_interrupt(),
        tempfile.TemporaryDirectory(prefix="fairlead-controlplane-", ignore_cleanup_errors=True) as name,
    ):
        folder = Path(name)
        (folder / "certs").mkdir()
        tokens = {user: secrets.token_hex(16) for user in dict.fromkeys(("admin", *users))}
        (folder / "tokens.csv").write_text(
            "".join(f"{token},{user},{user},system:masters\n" for user, token in tokens.items())
        )
        (folder / "audit-policy.yaml").write_text(_AUDIT_POLICY)
        key = folder / "service-account.key"
        subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
        etcd, peer, secure, manager, scheduler = free_ports(5)
        server = f"https://127.0.0.1:{secure}"
        parts = _Parts(folder, commands)
        plane = ControlPlane(
            kubeconfig=folder / "admin.kubeconfig",
            audit_log=folder / "audit.log",
            folder=folder,
            server=server,
            tokens=tokens,
            _parts=parts,
        )
        try:
            parts.start(
                "etcd",
                "--unsafe-no-fsync",
                f"--data-dir={folder / 'etcd'}",
                f"--listen-client-urls=http://127.0.0.1:{etcd}",
                f"--advertise-client-urls=http://127.0.0.1:{etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
                f"--initial-cluster=default=http://127.0.0.1:{peer}",
            )
            parts.start(
                "kube-apiserver",
                f"--etcd-servers=http://127.0.0.1:{etcd}",
                "--bind-address=127.0.0.1",
                f"--secure-port={secure}",
                f"--cert-dir={folder / 'certs'}",
                f"--token-auth-file={folder / 'tokens.csv'}",
                "--authorization-mode=RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={key}",
                f"--service-account-signing-key-file={key}",
                "--service-cluster-ip-range=10.0.0.0/16",
                "--disable-admission-plugins=ServiceAccount",
                # Off by default, on in hardened clusters: owner references are for those who may finalize the owner.
                "--enable-admission-plugins=OwnerReferencesPermissionEnforcement",
                "--allow-privileged=true",
                f"--audit-policy-file={folder / 'audit-policy.yaml'}",
                f"--audit-log-path={folder / 'audit.log'}",
            )
            _wait_ready(server, tokens["admin"], parts)
            certificate = ssl.get_server_certificate(("127.0.0.1", secure))
            (folder / "certs" / "apiserver.crt").exists() or (folder / "certs" / "apiserver.crt").write_text(
                certificate
            )
            _write_whole(plane.kubeconfig, _kubeconfig(server, tokens["admin"], folder / "certs" / "apiserver.crt"))
            shared = [
                f"--kubeconfig={plane.kubeconfig}",
                f"--authentication-kubeconfig={plane.kubeconfig}",
                f"--authorization-kubeconfig={plane.kubeconfig}",
                "--leader-elect=false",
                "--bind-address=127.0.0.1",
                f"--cert-dir={folder / 'certs'}",
            ]
            if "kube-controller-manager" in commands:
                parts.start(
                    "kube-controller-manager",
                    *shared,
                    f"--secure-port={manager}",
                    f"--service-account-private-key-file={key}",
                    "--use-service-account-credentials=false",
                    "--kube-api-qps=400",
                    "--kube-api-burst=800",
                )
            if "kube-scheduler" in commands:
                parts.start("kube-scheduler", *shared, f"--secure-port={scheduler}")
            yield plane
        finally:
            parts.stop()


@contextmanager
def found_or_started() -> Iterator[ControlPlane]:
    """Yield the disposable cluster that `KUBECONFIG` names (`FAIRLEAD_TEST_CLUSTER=1` marks it), else a fresh one."""
    if os.environ.get("FAIRLEAD_TEST_CLUSTER") == "1" and os.environ.get("KUBECONFIG"):
        yield ControlPlane(kubeconfig=Path(os.environ["KUBECONFIG"]))
        return
    with started() as plane:
        yield plane


if __name__ == "__main__":
    sys.exit("run `python -m tests.controlplane up`")

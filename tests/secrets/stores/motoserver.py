"""A moto server in a process of its own: Secrets Manager, Parameter Store and STS on loopback."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from tests.children import bound, sigterm_as_interrupt
from tests.controlplane.plane import free_ports

REGION = "eu-central-1"
_STARTING_SECONDS_MAX = 60.0
_OUTSIDE = "AWS_EC2_METADATA_DISABLED"  # else a chain without keys waits for a metadata service


class Absent(Exception):
    """moto is not installed."""


@dataclass(kw_only=True)
class Moto:
    """A running server."""

    address: str

    @property
    def environment(self) -> dict[str, str]:
        """What the operator sets to send calls here."""
        return dict.fromkeys(("AWS_SECRETSMANAGER_ENDPOINT", "AWS_SSM_ENDPOINT", "AWS_STS_ENDPOINT"), self.address)

    def client(self, service: str) -> Any:
        """Return a client with keys of its own, to put things there."""
        session = boto3.session.Session(aws_access_key_id="admin", aws_secret_access_key="admin", region_name=REGION)
        return session.client(service, endpoint_url=self.address)

    def role(self, name: str) -> str:
        """Make a role and return its ARN."""
        made = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps({"Version": "x"}))
        return str(made["Role"]["Arn"])


def check() -> None:
    """Return if moto is there. Raises: Absent."""
    if importlib.util.find_spec("moto") is None or importlib.util.find_spec("flask") is None:
        raise Absent("no moto: pip install 'moto[server]'")


@contextmanager
def started() -> Iterator[Moto]:
    """Yield a fresh server; stop it at the end.

    Raises:
        Absent: moto is not installed.
    """
    check()
    (port,) = free_ports(1)
    address = f"http://127.0.0.1:{port}"
    with sigterm_as_interrupt(), tempfile.TemporaryDirectory(prefix="fairlead-moto-") as name:
        environment = {"HOME": name, "PATH": os.environ.get("PATH", ""), _OUTSIDE: "true"}
        with (Path(name) / "server.log").open("wb") as log:
            process = subprocess.Popen(
                bound([sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=environment,
                cwd=name,
            )
        try:
            _wait(address, process, Path(name) / "server.log")
            yield Moto(address=address)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _STARTING_SECONDS_MAX
    while True:
        try:
            with urllib.request.urlopen(f"{address}/moto-api/data.json", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"moto did not start: {log.read_text(errors='replace')[-2000:]}") from None
            time.sleep(0.1)

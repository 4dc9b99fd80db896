"""The git program, fenced in: it reads no settings but ours, runs nothing of the repository's, and asks nobody.

Credentials reach it through files in a private folder that only we can read and that goes when the program ends; they
are never arguments and never in the environment.
"""

from __future__ import annotations

import base64
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from fairlead.agentsync.sources._access import DEFAULT_USER, Access
from fairlead.agentsync.sources._github import GitHubTokens
from fairlead.agentsync.sources._programs import Finished, Limits, clean_environment, find_program, one_line, run
from fairlead.agentsync.sources._urls import Location
from fairlead.agentsync.sources.port import RepositoryError, SourceError

# Before every command. Hooks, helpers, and whatever else a repository or a machine could bring along, are off.
_FENCE: Final = (
    "-c", "core.hooksPath=/dev/null",
    "-c", "core.fsmonitor=false",
    "-c", "core.attributesFile=/dev/null",
    "-c", "protocol.allow=never",
    "-c", "submodule.recurse=false",
    "-c", "fetch.recurseSubmodules=false",
    "-c", "gc.auto=0",
    "-c", "fetch.unpackLimit=1",
    "-c", "maintenance.auto=false",
    "-c", "http.followRedirects=initial",
    "-c", "advice.detachedHead=false",
)  # fmt: skip
# What a company's machines need to reach the outside; nothing of it is secret.
_PASSED: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")
_LOCAL: Final = Limits(seconds=60, output_bytes=256 * 1024 * 1024, memory_bytes=0)
_REMOTE: Final = Limits(seconds=300, output_bytes=64 * 1024 * 1024, memory_bytes=0)
_COMMAND_MISSING: Final = re.compile(r"cannot run (?:ssh|gpg)[^:]*: No such file")


@dataclass(frozen=True, slots=True, kw_only=True)
class GitSettings:
    """How git is run.

    Args:
        program: its name on the PATH, or its path.
        protocols: URL schemes that it may speak. `http` sends credentials in the clear, and `file` reads whatever we
            may read: both are for tests and for people who ask for them.
        local: limits of commands that stay on this machine.
        remote: limits of commands that speak to a server.
        store_bytes: how large the store of one repository may grow while it is fetched.
        attempts: how often refs are asked for when the server cannot be reached (`ARGOCD_GIT_ATTEMPTS_COUNT`), with
            delays of 250 ms, twice as long each time, at most 5 s.
    """

    program: str = "git"
    protocols: frozenset[str] = frozenset({"https", "ssh"})
    local: Limits = _LOCAL
    remote: Limits = _REMOTE
    store_bytes: int = 1024 * 1024 * 1024
    attempts: int = 1


class Git:
    """Runs git for one scratch folder.

    Args:
        settings: how.
        scratch: where private folders are made; only we may read it.
    """

    def __init__(self, settings: GitSettings, scratch: Path) -> None:
        self._settings = settings
        self._tokens = GitHubTokens(settings.protocols & {"https", "http"})
        self._scratch = scratch
        self._program = ""

    @property
    def settings(self) -> GitSettings:
        return self._settings

    def check(self) -> None:
        """Raise ProgramMissing if there is no git."""
        self._program = self._program or find_program(self._settings.program)

    def permit(self, location: Location) -> None:
        """Raise SourceError if git may not speak to such an address."""
        if location.scheme not in self._settings.protocols:
            allowed = ", ".join(sorted(self._settings.protocols))
            raise SourceError(f"repoURL {location.shown}: {location.scheme} is not allowed, only {allowed}")

    async def local(
        self,
        *arguments: str,
        store: Path,
        stdin: bytes = b"",
        home: Path | None = None,
        limits: Limits | None = None,
    ) -> Finished:
        """Return how a command ended that reads a store and nothing else.

        Args:
            arguments: of git; what a user gave stands after `--` or is checked by the caller.
            store: the bare repository.
            stdin: what it reads.
            home: a private folder with more settings in it; by default an empty one.
            limits: other than those of the settings.
        """
        limits = limits or self._settings.local
        if home is not None:
            return await self._run(arguments, store, home, limits, "", stdin)
        with private_folder(self._scratch) as made:
            return await self._run(arguments, store, made, limits, "", stdin)

    async def remote(
        self,
        *arguments: str,
        location: Location,
        access: Access,
        store: Path,
        stdin: bytes = b"",
        guard: Callable[[], str] | None = None,
    ) -> bytes:
        """Return the output of a command that speaks to a server.

        Raises:
            RepositoryError: it failed; the message is git's, without credentials.
            SourceError: the address is not allowed, or it broke a limit.
        """
        self.permit(location)
        access = await self._tokens.opened(access)
        access.check()
        with private_folder(self._scratch) as home:
            ssh = write_access(home, location, access)
            ended = await self._run(arguments, store, home, self._settings.remote, ssh, stdin, guard, access.no_proxy)
        if ended.code:
            raise RepositoryError(f"{location.shown}: {explain(ended, access)}")
        return ended.output

    async def _run(
        self,
        arguments: Sequence[str],
        store: Path,
        home: Path,
        limits: Limits,
        ssh: str,
        stdin: bytes,
        guard: Callable[[], str] | None = None,
        no_proxy: str = "",
    ) -> Finished:
        self.check()
        extra = {
            "GIT_DIR": str(store),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_LITERAL_PATHSPECS": "1",
            "GIT_NO_REPLACE_OBJECTS": "1",
            "GIT_OPTIONAL_LOCKS": "0",
            "GIT_ALLOW_PROTOCOL": ":".join(sorted(self._settings.protocols)),
            "GIT_SSH_VARIANT": "ssh",
            # Never reached without a key of ours: a command that cannot be run is better than the user's own settings.
            "GIT_SSH_COMMAND": ssh or "false",
        }
        extra |= {name: os.environ[name] for name in _PASSED if name in os.environ}
        if no_proxy:
            extra |= {"NO_PROXY": no_proxy, "no_proxy": no_proxy}
        environment = clean_environment(home, extra)
        return await run(
            [self._program, *_FENCE, *arguments],
            environment=environment,
            folder=home,
            limits=limits,
            stdin=stdin,
            guard=guard,
        )


@contextmanager
def private_folder(parent: Path) -> Iterator[Path]:
    """Lend a new folder that only we may read, and remove it afterwards."""
    made = Path(tempfile.mkdtemp(prefix="run-", dir=parent))  # 0700
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def explain(ended: Finished, access: Access | None = None) -> str:
    """Return one line about why git failed."""
    lines = [line for line in ended.errors.splitlines() if not line.startswith(("hint:", "warning:", "Warning:"))]
    said = one_line("\n".join(lines), access.secrets if access else ())
    if _COMMAND_MISSING.search(said):
        return f"a program that git needs is missing: {said}"
    return said or f"git exited with {ended.code}"


def write_private(path: Path, content: str) -> Path:
    """Write a file that only we may read, and return its path."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(content)
    return path


def write_access(home: Path, location: Location, access: Access) -> str:
    """Write what git needs for an address into its private home; return the command that ssh is started by."""
    if location.scheme == "ssh":
        return _write_ssh(home, access)
    settings: list[tuple[str, str]] = []
    if location.scheme in ("https", "http"):
        settings = _http_settings(home, location, access)
    write_private(home / ".gitconfig", "".join(f"{_section(name)}{_quoted(value)}\n" for name, value in settings))
    return ""


def _http_settings(home: Path, location: Location, access: Access) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    user = access.username or location.username
    password = access.password or location.password
    if access.bearer_token:
        found.append((f"http.{location.address}.extraHeader", f"Authorization: Bearer {access.bearer_token}"))
    elif password or user:
        user = user or DEFAULT_USER
        if access.force_basic:
            pair = base64.b64encode(f"{user}:{password}".encode()).decode()
            found.append((f"http.{location.address}.extraHeader", f"Authorization: Basic {pair}"))
        else:
            root = location.address.partition("://")[2].partition("/")[0]
            line = f"{location.scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{root}\n"
            stored = write_private(home / "credentials", line)
            found.append(("credential.helper", f"store --file={stored}"))
    if access.insecure:
        found.append(("http.sslVerify", "false"))
    if access.certificate_authorities:
        bundle = write_private(home / "authorities.pem", access.certificate_authorities)
        found.append(("http.sslCAInfo", str(bundle)))
    if access.client_certificate and access.client_key:
        found.append(("http.sslCert", str(write_private(home / "client.pem", access.client_certificate))))
        found.append(("http.sslKey", str(write_private(home / "client.key", access.client_key))))
    if access.proxy:
        found.append(("http.proxy", access.proxy))
    return found


def _section(name: str) -> str:
    first, rest = name.split(".", 1)
    middle, dot, key = rest.rpartition(".")
    return f"[{first} {_quoted(middle)}]\n\t{key} = " if dot else f"[{first}]\n\t{key} = "


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _write_ssh(home: Path, access: Access) -> str:
    known = write_private(home / "known_hosts", access.ssh_known_hosts.rstrip("\n") + "\n")
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "StrictHostKeyChecking": "no" if access.insecure_ignore_host_key else "yes",
        "UserKnownHostsFile": str(known) if not access.insecure_ignore_host_key else "/dev/null",
        "GlobalKnownHostsFile": "/dev/null",
        "UpdateHostKeys": "no",
        "ForwardAgent": "no",
        "PermitLocalCommand": "no",
        "ProxyCommand": "none",
        "ConnectTimeout": "20",
        "ServerAliveInterval": "15",
        "LogLevel": "ERROR",
    }
    command = ["ssh", "-F", "/dev/null"]
    for name, value in options.items():
        command += ["-o", f"{name}={value}"]
    if access.ssh_private_key:
        key = write_private(home / "key", access.ssh_private_key.rstrip("\n") + "\n")
        command += ["-i", str(key)]
    else:
        command += ["-o", "IdentityFile=none"]
    return shlex.join(command)

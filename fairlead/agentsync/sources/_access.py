"""What opens a repository: credentials and trust, as values that never show what they hold."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from fairlead.agentsync.sources.port import SourceError

DEFAULT_USER = "x-access-token"  # what Git hosts expect beside a token


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHubApp:
    """An App that is installed where the repository is.

    Args:
        app_id, installation_id: numbers, as GitHub shows them.
        private_key: PEM of RSA.
        base_url: of the API of a GitHub Enterprise server; empty: github.com's.
    """

    app_id: str
    installation_id: str
    private_key: str = field(repr=False)
    base_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How one repository is reached. Everything is optional: a public repository needs none of it.

    Args:
        username, password: of HTTP basic authentication.
        bearer_token: sent instead of them.
        force_basic: whether they are sent without being asked for.
        github_app: what a token is got with when there is no password.
        ssh_private_key: PEM without a passphrase.
        ssh_known_hosts: lines of a known_hosts file; a host that is not in it is refused.
        insecure_ignore_host_key: whether any host key will do.
        insecure: whether any TLS certificate will do.
        certificate_authorities: PEM; replaces the system's.
        client_certificate, client_key: PEM, of mutual TLS.
        proxy: URL of a proxy, possibly with credentials.
        no_proxy: hosts that are reached without it, separated by commas.
        depth: how many commits are fetched; 0: as few as are needed.
        lfs: whether Git LFS is wanted.
    """

    username: str = ""
    password: str = field(default="", repr=False)
    bearer_token: str = field(default="", repr=False)
    github_app: GitHubApp | None = None
    force_basic: bool = False
    ssh_private_key: str = field(default="", repr=False)
    ssh_known_hosts: str = field(default="", repr=False)
    insecure_ignore_host_key: bool = False
    insecure: bool = False
    certificate_authorities: str = field(default="", repr=False)
    client_certificate: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)
    proxy: str = field(default="", repr=False)
    no_proxy: str = ""
    depth: int = 0
    lfs: bool = False

    @property
    def has_credentials(self) -> bool:
        """Whether it says who we are."""
        return bool(
            self.username
            or self.password
            or self.bearer_token
            or self.github_app
            or self.ssh_private_key
            or self.client_certificate
        )

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may hold."""
        return tuple(each for each in (self.password, self.bearer_token, self.ssh_private_key, self.client_key) if each)

    def fingerprint(self) -> str:
        """Return what tells two accesses apart, without telling what they hold.

        Content that one credential may read is kept apart from what another may: hence all of them count.
        """
        content = hashlib.sha256()
        for each in (
            self.username,
            self.password,
            self.bearer_token,
            self.ssh_private_key,
            self.client_certificate,
            self.client_key,
            *self._app(),
        ):
            encoded = each.encode("utf-8", "surrogatepass")
            content.update(b"%d:" % len(encoded) + encoded)
        return content.hexdigest()

    def _app(self) -> tuple[str, ...]:
        app = self.github_app
        return (app.app_id, app.installation_id, app.private_key, app.base_url) if app is not None else ()

    def check(self) -> None:
        """Refuse what would change the meaning of a file that it is written to.

        Raises:
            SourceError: a name, a password or a token has a line break or NUL in it.
        """
        for name, text in (
            ("username", self.username),
            ("password", self.password),
            ("bearerToken", self.bearer_token),
            ("proxy", self.proxy),
            ("noProxy", self.no_proxy),
        ):
            if any(each in text for each in "\r\n\0"):
                raise SourceError(f"the repository's {name} has a line break in it")

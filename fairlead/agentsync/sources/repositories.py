"""Repository Secrets to credentials: which Secret opens which URL for which project. Pure.

Secrets are labelled `argocd.argoproj.io/secret-type`: `repository` names one URL, `repo-creds` the beginning of many.
Host keys come from the ConfigMap `argocd-ssh-known-hosts-cm`, certificate authorities from `argocd-tls-certs-cm`.

Source: argo-cd: util/db/repository_secrets.go, pkg/apis/application/v1alpha1/repository_types.go.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from fairlead.agentsync.resources import labels_of, name_of, namespace_of
from fairlead.agentsync.sources._access import Access, GitHubApp
from fairlead.agentsync.sources._urls import locate, normalise
from fairlead.agentsync.sources.port import SourceError

TYPE_LABEL: Final = "argocd.argoproj.io/secret-type"
REPOSITORY: Final = "repository"
TEMPLATE: Final = "repo-creds"
KNOWN_HOSTS: Final = ("argocd-ssh-known-hosts-cm", "ssh_known_hosts")
CERTIFICATES: Final = "argocd-tls-certs-cm"

# In the order in which upstream looks for them, after all others; none of these is built.
_NOT_BUILT: Final[Mapping[str, str]] = {
    "gcpServiceAccountKey": "a Google service account",
    "useAzureWorkloadIdentity": "an Azure workload identity",
    "azureServicePrincipalClientId": "an Azure service principal",
    "azureServicePrincipalClientID": "an Azure service principal",
}
_PROXY: Final = re.compile(r"(?:https?|socks5h?)://[^\s]+")
_BOOLS: Final = ("insecure", "insecureIgnoreHostKey", "enableLfs", "forceHttpBasicAuth", "enableOCI")


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
    """What one Secret says.

    Args:
        origin: `namespace/name` of the Secret, for messages.
        url: normalised; of a template the beginning of many.
        project: whose it is; empty: everybody's.
        kind: `git`, `helm` or `oci`.
        name: of a chart repository.
        access: credentials and transport.
        problem: why it cannot be used; empty if it can.
        is_template: whether it is of type `repo-creds`.
    """

    origin: str
    url: str
    project: str = ""
    kind: str = "git"
    name: str = ""
    access: Access = Access()  # noqa: RUF009 -- frozen
    problem: str = ""
    is_template: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Repositories:
    """All repositories that are registered, and whom we trust.

    Args:
        entries: of Secrets, in a fixed order.
        known_hosts: lines of a known_hosts file.
        authorities: PEM by host name.
    """

    entries: tuple[Repository, ...] = ()
    known_hosts: str = ""
    authorities: Mapping[str, str] | None = None

    def find(self, url: str, *, project: str = "") -> Access:
        """Return what opens a repository for a project; without credentials when no Secret fits.

        A Secret of the project comes before one of nobody's; if it brings no credentials, the template with the
        longest beginning of the URL does.

        Raises:
            SourceError: the Secret that fits cannot be used, or the URL is none.
        """
        wanted = normalise(url)
        location = locate(url)
        found = self._registered(wanted, project)
        access = _usable(found) if found is not None else Access()
        if not access.has_credentials:
            template = self._template(wanted, project)
            if template is not None:
                access = _filled(access, _usable(template))
        if location.scheme == "ssh":
            return replace(access, ssh_known_hosts=self.known_hosts)
        return replace(access, certificate_authorities=(self.authorities or {}).get(location.host, ""))

    def problems(self) -> tuple[str, ...]:
        """Return what is wrong with Secrets, one line each, without any of their values."""
        return tuple(f"Secret {entry.origin}: {entry.problem}" for entry in self.entries if entry.problem)

    def is_chart_repository(self, url: str, *, project: str = "") -> bool:
        """Return whether a URL is registered as a repository of charts."""
        found = self._registered(normalise(url), project)
        return found is not None and found.kind == "helm"

    def _registered(self, url: str, project: str) -> Repository | None:
        fitting = [entry for entry in self.entries if not entry.is_template and entry.url == url]
        for owner in (project, "") if project else ("",):
            for entry in fitting:
                if entry.project == owner:
                    return entry
        return None

    def _template(self, url: str, project: str) -> Repository | None:
        fitting = [
            entry
            for entry in self.entries
            if entry.is_template and url.startswith(entry.url) and entry.project in ("", project)
        ]
        return max(fitting, key=lambda entry: len(entry.url), default=None)


def _usable(entry: Repository) -> Access:
    if entry.problem:
        raise SourceError(f"repository Secret {entry.origin}: {entry.problem}")
    return entry.access


def _filled(own: Access, template: Access) -> Access:
    """Return a repository's own settings with a template's credentials."""
    return replace(
        template,
        insecure=own.insecure or template.insecure,
        insecure_ignore_host_key=own.insecure_ignore_host_key or template.insecure_ignore_host_key,
        proxy=own.proxy or template.proxy,
        no_proxy=own.no_proxy or template.no_proxy,
        depth=own.depth or template.depth,
        lfs=own.lfs or template.lfs,
    )


def read_repositories(
    secrets: Iterable[Mapping[str, Any]],
    *,
    known_hosts: Mapping[str, Any] | None = None,
    certificates: Mapping[str, Any] | None = None,
) -> Repositories:
    """Return the repositories that Secrets register; others are skipped, and a bad one spoils only itself.

    Args:
        secrets: core/v1 Secrets of the control namespace.
        known_hosts: the ConfigMap `argocd-ssh-known-hosts-cm`.
        certificates: the ConfigMap `argocd-tls-certs-cm`.
    """
    entries = [
        _read(secret, kind)
        for secret in secrets
        if (kind := labels_of(secret).get(TYPE_LABEL)) in (REPOSITORY, TEMPLATE)
    ]
    hosts = _texts(known_hosts).get(KNOWN_HOSTS[1], "")
    authorities = {name.lower(): text for name, text in _texts(certificates).items()}
    return Repositories(
        entries=tuple(sorted(entries, key=lambda entry: entry.origin)), known_hosts=hosts, authorities=authorities
    )


def _texts(config_map: Mapping[str, Any] | None) -> dict[str, str]:
    inner = (config_map or {}).get("data")
    if not isinstance(inner, Mapping):
        return {}
    return {key: value for key, value in inner.items() if isinstance(key, str) and isinstance(value, str)}


def _read(secret: Mapping[str, Any], kind: str | None) -> Repository:
    origin = f"{namespace_of(secret)}/{name_of(secret)}"
    is_template = kind == TEMPLATE
    try:
        data = _decoded(secret)
        url = data.get("url", "").strip()
        if not url:
            raise SourceError("data.url is missing: expected the URL of a repository")
        kind_of_repository = data.get("type", "") or "git"
        if kind_of_repository != "git" and "://" not in url:
            url = f"oci://{url}"  # registries of charts are written without
        place = locate(url)
        if kind_of_repository not in ("git", "helm", "oci"):
            raise SourceError(f"data.type is {kind_of_repository!r}: expected git, helm or oci")
    except SourceError as error:
        url = normalise(_decoded_or_nothing(secret).get("url", ""))
        # Nothing starts with it and nothing equals it: a Secret without URL only shows up among the problems.
        return Repository(origin=origin, url=url or "\0", problem=str(error), is_template=is_template)
    entry = Repository(
        origin=origin,
        url=normalise(url),
        project=data.get("project", ""),
        kind=kind_of_repository,
        name=data.get("name", ""),
        is_template=is_template,
    )
    try:
        return replace(entry, access=_access(data, place.username, place.password))
    except SourceError as error:
        return replace(entry, problem=str(error))


def _decoded_or_nothing(secret: Mapping[str, Any]) -> dict[str, str]:
    try:
        return _decoded(secret)
    except SourceError:
        return {}


def _decoded(secret: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    data = secret.get("data")
    for key, value in data.items() if isinstance(data, Mapping) else ():
        try:
            found[key] = base64.b64decode("".join(str(value).split()), validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError, ValueError):
            raise SourceError(f"data.{key} is no base64 of UTF-8 text") from None
    plain = secret.get("stringData")
    return found | {key: str(value) for key, value in (plain.items() if isinstance(plain, Mapping) else ())}


def _access(data: Mapping[str, str], username: str, password: str) -> Access:
    flags = {name: _flag(data, name) for name in _BOOLS}
    access = Access(
        username=data.get("username", "") or username,
        password=data.get("password", "") or password,
        bearer_token=data.get("bearerToken", ""),
        github_app=_github_app(data),
        force_basic=flags["forceHttpBasicAuth"],
        ssh_private_key=data.get("sshPrivateKey", ""),
        insecure_ignore_host_key=flags["insecureIgnoreHostKey"],
        insecure=flags["insecure"],
        client_certificate=data.get("tlsClientCertData", ""),
        client_key=data.get("tlsClientCertKey", ""),
        proxy=data.get("proxy", ""),
        no_proxy=data.get("noProxy", ""),
        depth=_number(data, "depth"),
        lfs=flags["enableLfs"],
    )
    access.check()
    if access.proxy and not _PROXY.match(access.proxy):
        raise SourceError("data.proxy: expected a URL of http, https or socks5")
    if not (access.password or access.bearer_token or access.ssh_private_key or access.github_app):
        for key, what in _NOT_BUILT.items():
            if data.get(key, "") not in ("", "false"):
                raise SourceError(f"data.{key}: credentials of {what} are not supported: use a token or an SSH key")
    return access


def _github_app(data: Mapping[str, str]) -> GitHubApp | None:
    private_key = data.get("githubAppPrivateKey", "")
    if not private_key:
        return None
    ids = {name: data.get(name, "").strip() for name in ("githubAppID", "githubAppInstallationID")}
    for name, found in ids.items():
        if not found.isascii() or not found.isdecimal():
            raise SourceError(f"data.{name} is {found[:40]!r}: expected a number")
    return GitHubApp(
        app_id=ids["githubAppID"],
        installation_id=ids["githubAppInstallationID"],
        private_key=private_key,
        base_url=data.get("githubAppEnterpriseBaseUrl", "").strip(),
    )


def _flag(data: Mapping[str, str], name: str) -> bool:
    text = data.get(name, "").strip().lower()
    if text in ("", "false", "0", "f"):
        return False
    if text in ("true", "1", "t"):
        return True
    raise SourceError(f"data.{name} is {text[:40]!r}: expected true or false")


def _number(data: Mapping[str, str], name: str) -> int:
    text = data.get(name, "").strip()
    if not text:
        return 0
    if not text.isdecimal() or len(text) > 9:
        raise SourceError(f"data.{name} is {text[:40]!r}: expected a number of commits")
    return int(text)

"""Helm's private home: caches, configuration, and what opens chart repositories, in files that only we may read."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from fairlead.agentsync.sources._access import DEFAULT_USER, Access
from fairlead.agentsync.sources._gitprogram import write_private
from fairlead.agentsync.sources._programs import clean_environment
from fairlead.agentsync.sources._urls import locate
from fairlead.agentsync.sources.port import RenderError

_PASSED: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy")


def helm_environment(folder: Path) -> dict[str, str]:
    """Return an environment in which helm writes below one folder and knows no plug-in and no cluster."""
    home = folder / "helm"
    plugins = home / "plugins"
    plugins.mkdir(mode=0o700, parents=True, exist_ok=True)
    extra = {
        "HELM_CACHE_HOME": str(home / "cache"),
        "HELM_CONFIG_HOME": str(home / "config"),
        "HELM_DATA_HOME": str(home / "data"),
        "HELM_PLUGINS": str(plugins),
        "HELM_REPOSITORY_CONFIG": str(home / "repositories.yaml"),
        "HELM_REGISTRY_CONFIG": str(home / "registry.json"),
        "KUBECONFIG": os.devnull,
    }
    return clean_environment(home, extra | {name: os.environ[name] for name in _PASSED if name in os.environ})


def write_repositories(
    folder: Path, urls: Sequence[str], credentials: Callable[[str], Access], *, pass_on: bool
) -> tuple[str, ...]:
    """Write what helm needs to fetch charts from some repositories; return what no message may hold.

    Args:
        folder: that of `helm_environment`.
        urls: of HTTP repositories and of OCI registries.
        credentials: what opens one.
        pass_on: whether charts on other hosts than their index get the credentials too.

    Raises:
        RenderError: a repository of a kind that helm must not reach.
    """
    home = folder / "helm"
    listed: list[dict[str, Any]] = []
    logins: dict[str, dict[str, str]] = {}
    secrets: list[str] = []
    for at, url in enumerate(dict.fromkeys(urls)):
        place = locate(url)
        access = credentials(url)
        access.check()
        secrets += access.secrets
        user, password = access.username or place.username, access.password or place.password or access.bearer_token
        if place.scheme == "oci":
            if password:
                pair = base64.b64encode(f"{user or DEFAULT_USER}:{password}".encode()).decode()
                logins[place.address.removeprefix("oci://").partition("/")[0]] = {"auth": pair}
        elif place.scheme in ("http", "https"):
            listed.append(
                {
                    "name": f"repository-{at}",
                    "url": place.address,
                    "username": user if password else "",
                    "password": password,
                    "insecure_skip_tls_verify": access.insecure,
                    "pass_credentials_all": pass_on,
                    **_files(home, at, access),
                }
            )
        else:
            raise RenderError(f"charts cannot be fetched from {place.shown}: expected https:// or oci://")
    write_private(home / "repositories.yaml", _text({"apiVersion": "v1", "repositories": listed}))
    write_private(home / "registry.json", _text({"auths": logins}))
    return tuple(secrets)


def _files(home: Path, at: int, access: Access) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, content in (
        ("caFile", access.certificate_authorities),
        ("certFile", access.client_certificate),
        ("keyFile", access.client_key),
    ):
        if content:
            found[name] = str(write_private(home / f"{name}-{at}.pem", content))
    return found


def _text(value: dict[str, Any]) -> str:
    return msgspec.json.encode(value).decode()

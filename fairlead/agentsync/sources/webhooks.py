"""Webhooks of Git hosts: who sends, whether it is them, what moved, and whom that concerns. Pure.

A request is recognised by its headers and authenticated over its raw bytes before any of them is parsed. Its only
effect is that somebody looks at a repository sooner: nothing of its content is ever applied.

Without a secret for a host its requests are believed, as upstream does, unless `WebhookSecrets.is_required`.

Source: argo-cd: util/webhook/webhook.go; util/app/path/path.go, AppFilesHaveChanged.
"""

from __future__ import annotations

import posixpath
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from fairlead.agentsync._globs import file_glob
from fairlead.agentsync.sources._revisions import is_constraint
from fairlead.agentsync.sources._urls import normalise
from fairlead.agentsync.sources._webhook_hosts import (
    HOSTS,
    PREFIXES,
    Host,
    Push,
    WebhookError,
    WebhookSecrets,
    read_webhook_secrets,
    short_revision,
)
from fairlead.core.semver import parse_constraint, parse_version

if TYPE_CHECKING:
    from fairlead.agentsync.spec import Source

BODY_BYTES_MAX: Final = 50 * 1024 * 1024  # webhook.maxPayloadSizeMB
GENERATE_PATHS: Final = "argocd.argoproj.io/manifest-generate-paths"
Key = TypeVar("Key", bound=Hashable)

__all__ = [
    "BODY_BYTES_MAX",
    "GENERATE_PATHS",
    "Push",
    "Watched",
    "WebhookError",
    "WebhookSecrets",
    "affected",
    "is_same_repository",
    "read_webhook_secrets",
    "receive",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What of an Application decides whether a push concerns it.

    Args:
        sources: all of them.
        generate_paths: its annotation `argocd.argoproj.io/manifest-generate-paths`; empty if it has none.
    """

    sources: tuple[Source, ...]
    generate_paths: str = ""


# -- requests ----------------------------------------------------------------------------------------------------------


def receive(
    method: str, headers: Mapping[str, str], body: bytes, secrets: WebhookSecrets, *, bytes_max: int = BODY_BYTES_MAX
) -> tuple[Push, ...]:
    """Return what moved, according to a request; empty for an event that moves nothing.

    Args:
        method: of HTTP.
        headers: their names in any case.
        body: all of it.
        secrets: what proves its sender.
        bytes_max: how large it may be.

    Raises:
        WebhookError: it is not taken; carries the status of the answer.
    """
    if method.upper() != "POST":
        raise WebhookError(405, "Webhook processing failed: invalid HTTP Method")
    if len(body) > bytes_max:
        raise _corrupted(bytes_max)
    known = {name.lower(): value for name, value in headers.items()}
    for host in HOSTS:
        if host.header in known:
            if not host.has_secret(secrets):
                if secrets.is_required:
                    raise WebhookError(401, f"Webhook processing failed: no secret is configured for {host.name}")
            else:
                host.authenticate(known, body, secrets)
            return _parsed(host, known, body, bytes_max)
    raise WebhookError(400, "Unknown webhook event")


def _parsed(host: Host, headers: Mapping[str, str], body: bytes, bytes_max: int) -> tuple[Push, ...]:
    try:
        payload: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _corrupted(bytes_max) from None
    if not isinstance(payload, dict):
        raise _corrupted(bytes_max)
    return tuple(push for push in host.parse(headers, payload) if push.urls and push.revision)


def _corrupted(bytes_max: int) -> WebhookError:
    return WebhookError(
        400,
        "Webhook processing failed: The payload is either too large or corrupted. Please check the payload size "
        f"(must be under {bytes_max // (1024 * 1024)} MB) and ensure it is valid JSON",
    )


# -- whom it concerns --------------------------------------------------------------------------------------------------


def affected(pushes: Sequence[Push], applications: Iterable[tuple[Key, Watched]]) -> list[Key]:
    """Return the Applications that should look at their repositories now, in the order given."""
    return [key for key, watched in applications if any(_concerns(push, watched) for push in pushes)]


def _concerns(push: Push, watched: Watched) -> bool:
    return any(
        not source.chart
        and any(is_same_repository(url, source.repo_url) for url in push.urls)
        and _moved(push, source.target_revision)
        and _touches(push, source.path, watched.generate_paths)
        for source in watched.sources
    )


def is_same_repository(page: str, url: str) -> bool:
    """Return whether a repository's page and the URL of an Application are of one repository, over HTTP or SSH.

    >>> is_same_repository("https://github.com/shop/web", "git@github.com:shop/web.git")
    True
    """
    one, other = _place(page), _place(url)
    return one == other and all(one)


def _place(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(normalise(url))
        return (parts.hostname or "").removeprefix("ssh."), parts.path.strip("/")
    except ValueError:
        return "", ""


def _moved(push: Push, wanted: str) -> bool:
    """Return whether a `targetRevision` may mean something else after a push."""
    if wanted in ("", "HEAD"):
        return push.touched_head
    if short_revision(wanted) == push.revision:
        return True
    if wanted.startswith(PREFIXES) or not is_constraint(wanted):
        return False
    try:
        return parse_constraint(wanted).admits(parse_version(push.revision))
    except ValueError:
        return False


def _touches(push: Push, path: str, generate_paths: str) -> bool:
    """Return whether a changed file may change manifests."""
    paths = [each.strip() for each in generate_paths.split(";") if each.strip()]
    if not paths or push.files is None:
        return True
    wanted = [_absolute(each if each.startswith("/") else f"{path}/{each}") for each in paths]
    return any(_is_within(_absolute(file), each) for file in push.files for each in wanted)


def _absolute(path: str) -> str:
    return posixpath.normpath(f"/{path.lstrip('/')}")


def _is_within(file: str, wanted: str) -> bool:
    return file == wanted or file.startswith(wanted.rstrip("/") + "/") or file_glob(wanted, file)

"""Webhooks of Git hosts: who sends, whether it is them, what moved, and whom that concerns. Pure.

A request is recognised by its headers and authenticated over its raw bytes before any of them is parsed. Its only
effect is that somebody looks at a repository sooner: nothing of its content is ever applied.

Without a secret for a host its requests are believed, as upstream does, unless `WebhookSecrets.is_required`.

Source: argo-cd: util/webhook/webhook.go; util/app/path/path.go, AppFilesHaveChanged.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import posixpath
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from fairlead.agentsync._globs import file_glob
from fairlead.agentsync.sources._revisions import is_constraint
from fairlead.agentsync.sources._urls import normalise
from fairlead.core.errors import FairleadError
from fairlead.core.semver import parse_constraint, parse_version

if TYPE_CHECKING:
    from fairlead.agentsync.spec import Source

BODY_BYTES_MAX: Final = 50 * 1024 * 1024  # webhook.maxPayloadSizeMB
GENERATE_PATHS: Final = "argocd.argoproj.io/manifest-generate-paths"
FILES_MAX: Final = 50_000  # of one push; more of them count as "anything may have changed"
_PREFIXES: Final = ("refs/heads/", "refs/tags/")
Key = TypeVar("Key", bound=Hashable)


class WebhookError(FairleadError):
    """A request is not taken.

    Args:
        status: of the HTTP answer.
        message: its body; nothing of the request stands in it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecrets:
    """What proves that a host is who it says; empty: its requests are believed.

    Args:
        github, gitlab, gogs, bitbucket_uuid, bitbucket_server, azure_username, azure_password: by host.
        is_required: whether a host without a secret is refused instead.
    """

    github: str = field(default="", repr=False)
    gitlab: str = field(default="", repr=False)
    gogs: str = field(default="", repr=False)
    bitbucket_uuid: str = field(default="", repr=False)
    bitbucket_server: str = field(default="", repr=False)
    azure_username: str = field(default="", repr=False)
    azure_password: str = field(default="", repr=False)
    is_required: bool = False


def read_webhook_secrets(data: Mapping[str, str], *, is_required: bool = False) -> WebhookSecrets:
    """Return the secrets in the (decoded) data of the Secret `argocd-secret`."""
    return WebhookSecrets(
        github=data.get("webhook.github.secret", ""),
        gitlab=data.get("webhook.gitlab.secret", ""),
        gogs=data.get("webhook.gogs.secret", ""),
        bitbucket_uuid=data.get("webhook.bitbucket.uuid", ""),
        bitbucket_server=data.get("webhook.bitbucketserver.secret", ""),
        azure_username=data.get("webhook.azuredevops.username", ""),
        azure_password=data.get("webhook.azuredevops.password", ""),
        is_required=is_required,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A ref of a repository that moved.

    Args:
        urls: of the repository, as its host names it; any of them.
        revision: the branch or tag, without `refs/heads/` and `refs/tags/`.
        before, after: commits, if the host says so.
        touched_head: whether it is the default branch; true when the host does not say.
        files: that changed, from the root; None when the host does not say.
    """

    urls: tuple[str, ...]
    revision: str
    before: str = ""
    after: str = ""
    touched_head: bool = True
    files: tuple[str, ...] | None = None


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
    for host in _HOSTS:
        if host.header in known:
            if not host.has_secret(secrets):
                if secrets.is_required:
                    raise WebhookError(401, f"Webhook processing failed: no secret is configured for {host.name}")
            else:
                host.authenticate(known, body, secrets)
            return _parsed(host, known, body, bytes_max)
    raise WebhookError(400, "Unknown webhook event")


def _parsed(host: _Host, headers: Mapping[str, str], body: bytes, bytes_max: int) -> tuple[Push, ...]:
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


def _refused(reason: str) -> WebhookError:
    return WebhookError(400, f"Webhook processing failed: {reason}")


# -- who sends ---------------------------------------------------------------------------------------------------------


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def _check_hmac(secret: str, body: bytes, signature: str, digest: str) -> None:
    wanted = hmac.new(secret.encode(), body, digest).hexdigest()
    if not _same(wanted, signature.strip().lower()):
        raise _refused("HMAC verification failed")


def _github(headers: Mapping[str, str], body: bytes, secrets: WebhookSecrets) -> None:
    signature = headers.get("x-hub-signature-256", "")
    if signature:
        _check_hmac(secrets.github, body, signature.removeprefix("sha256="), "sha256")
    elif headers.get("x-hub-signature"):  # GitHub Enterprise of old
        _check_hmac(secrets.github, body, headers["x-hub-signature"].removeprefix("sha1="), "sha1")
    else:
        raise _refused("missing X-Hub-Signature Header")


def _gitlab(headers: Mapping[str, str], _: bytes, secrets: WebhookSecrets) -> None:
    if not _same(secrets.gitlab, headers.get("x-gitlab-token", "")):
        raise _refused("X-Gitlab-Token validation failed")


def _gogs(headers: Mapping[str, str], body: bytes, secrets: WebhookSecrets) -> None:
    signature = headers.get("x-gogs-signature", "")
    if not signature:
        raise _refused("missing X-Gogs-Signature Header")
    _check_hmac(secrets.gogs, body, signature, "sha256")


def _bitbucket(headers: Mapping[str, str], _: bytes, secrets: WebhookSecrets) -> None:
    if not _same(secrets.bitbucket_uuid, headers.get("x-hook-uuid", "")):
        raise _refused("UUID verification failed")


def _bitbucket_server(headers: Mapping[str, str], body: bytes, secrets: WebhookSecrets) -> None:
    signature = headers.get("x-hub-signature", "")
    if not signature:
        raise _refused("missing X-Hub-Signature Header")
    _check_hmac(secrets.bitbucket_server, body, signature.removeprefix("sha256="), "sha256")


def _azure(headers: Mapping[str, str], _: bytes, secrets: WebhookSecrets) -> None:
    scheme, _blank, pair = headers.get("authorization", "").partition(" ")
    try:
        user, colon, password = base64.b64decode(pair.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user, colon, password = "", "", ""
    is_user, is_password = _same(secrets.azure_username, user), _same(secrets.azure_password, password)
    if scheme.lower() != "basic" or not (colon and is_user and is_password):
        raise _refused("basic auth verification failed")


# -- what they say -----------------------------------------------------------------------------------------------------


def _at(value: Any, *path: str | int) -> Any:
    """Return what lies at a path, or None where it ends."""
    for step in path:
        if isinstance(step, str) and isinstance(value, dict):
            value = value.get(step)
        elif isinstance(step, int) and isinstance(value, list) and step < len(value):
            value = value[step]
        else:
            return None
    return value


def _text(value: Any, *path: str | int) -> str:
    found = _at(value, *path)
    return found if isinstance(found, str) else ""


def _short(ref: str) -> str:
    for prefix in _PREFIXES:
        ref = ref.removeprefix(prefix)
    return ref


def _files(payload: Any) -> tuple[str, ...] | None:
    """Return what the commits of a push changed; None if that cannot be told."""
    commits = _at(payload, "commits")
    if not isinstance(commits, list) or not commits:
        return None
    found: dict[str, None] = {}
    for commit in commits:
        for kind in ("added", "modified", "removed"):
            listed = _at(commit, kind)
            if listed is not None and not isinstance(listed, list):
                return None
            found.update((each, None) for each in listed or () if isinstance(each, str))
        if len(found) > FILES_MAX:
            return None
    return tuple(found) or None


def _push(payload: dict[str, Any], repository: str, url: str) -> Push:
    revision = _short(_text(payload, "ref"))
    default = _text(payload, repository, "default_branch")
    address = _text(payload, repository, url)
    return Push(
        urls=(address,) if address else (),
        revision=revision,
        before=_text(payload, "before"),
        after=_text(payload, "after"),
        touched_head=not default or default == revision,
        files=_files(payload),
    )


def _github_event(headers: Mapping[str, str], payload: dict[str, Any]) -> list[Push]:
    return [_push(payload, "repository", "html_url")] if headers["x-github-event"] == "push" else []


def _gitlab_event(headers: Mapping[str, str], payload: dict[str, Any]) -> list[Push]:
    is_push = headers["x-gitlab-event"] in ("Push Hook", "Tag Push Hook") or (
        headers["x-gitlab-event"] == "System Hook" and _text(payload, "object_kind") in ("push", "tag_push")
    )
    return [_push(payload, "project", "web_url")] if is_push else []


def _gogs_event(headers: Mapping[str, str], payload: dict[str, Any]) -> list[Push]:
    return [_push(payload, "repository", "html_url")] if headers["x-gogs-event"] == "push" else []


def _bitbucket_event(headers: Mapping[str, str], payload: dict[str, Any]) -> list[Push]:
    if headers.get("x-event-key") != "repo:push":
        return []
    url = _text(payload, "repository", "links", "html", "href")
    changes = _at(payload, "push", "changes")
    return [
        Push(
            urls=(url,) if url else (),
            revision=_text(change, "new", "name") or _text(change, "old", "name"),
            before=_text(change, "old", "target", "hash"),
            after=_text(change, "new", "target", "hash"),
        )
        for change in (changes if isinstance(changes, list) else ())
    ]


def _bitbucket_server_event(headers: Mapping[str, str], payload: dict[str, Any]) -> list[Push]:
    if headers["x-event-key"] != "repo:refs_changed":
        return []
    links = _at(payload, "repository", "links", "clone")
    urls = tuple(_text(link, "href") for link in (links if isinstance(links, list) else ()) if _text(link, "href"))
    changes = _at(payload, "changes")
    return [
        Push(
            urls=urls,
            revision=_short(_text(change, "ref", "id") or _text(change, "refId")),
            before=_text(change, "fromHash"),
            after=_text(change, "toHash"),
        )
        for change in (changes if isinstance(changes, list) else ())
    ]


def _azure_event(_: Mapping[str, str], payload: dict[str, Any]) -> list[Push]:
    if _text(payload, "eventType") != "git.push":
        return []
    url = _text(payload, "resource", "repository", "remoteUrl")
    default = _short(_text(payload, "resource", "repository", "defaultBranch"))
    updates = _at(payload, "resource", "refUpdates")
    found: list[Push] = []
    for update in updates if isinstance(updates, list) else ():
        revision = _short(_text(update, "name"))
        found.append(
            Push(
                urls=(url,) if url else (),
                revision=revision,
                before=_text(update, "oldObjectId"),
                after=_text(update, "newObjectId"),
                touched_head=not default or default == revision,
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Host:
    """How one kind of host is recognised, believed and understood."""

    name: str
    header: str
    secret: str
    authenticate: Callable[[Mapping[str, str], bytes, WebhookSecrets], None]
    parse: Callable[[Mapping[str, str], dict[str, Any]], list[Push]]

    def has_secret(self, secrets: WebhookSecrets) -> bool:
        return bool(getattr(secrets, self.secret))


# The first one whose header is there; Bitbucket's two kinds share a header and differ by another.
_HOSTS: Final = (
    _Host("Azure DevOps", "x-vss-activityid", "azure_password", _azure, _azure_event),
    _Host("Gogs", "x-gogs-event", "gogs", _gogs, _gogs_event),
    _Host("GitHub", "x-github-event", "github", _github, _github_event),
    _Host("GitLab", "x-gitlab-event", "gitlab", _gitlab, _gitlab_event),
    _Host("Bitbucket", "x-hook-uuid", "bitbucket_uuid", _bitbucket, _bitbucket_event),
    _Host("Bitbucket Server", "x-event-key", "bitbucket_server", _bitbucket_server, _bitbucket_server_event),
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
    if _short(wanted) == push.revision:
        return True
    if wanted.startswith(_PREFIXES) or not is_constraint(wanted):
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

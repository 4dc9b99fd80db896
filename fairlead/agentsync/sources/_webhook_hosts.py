"""The Git hosts that send webhooks: how each is recognised, believed and understood. Pure.

Source: argo-cd: util/webhook/webhook.go, and the payloads that the hosts document.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fairlead.core.errors import FairleadError

FILES_MAX: Final = 50_000  # of one push; more of them count as "anything may have changed"
PREFIXES: Final = ("refs/heads/", "refs/tags/")


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


def refused(reason: str) -> WebhookError:
    """Return the error of a sender that is not believed."""
    return WebhookError(400, f"Webhook processing failed: {reason}")


# -- who sends ---------------------------------------------------------------------------------------------------------


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def _check_hmac(secret: str, body: bytes, signature: str, digest: str) -> None:
    wanted = hmac.new(secret.encode(), body, digest).hexdigest()
    if not _same(wanted, signature.strip().lower()):
        raise refused("HMAC verification failed")


def _github(headers: Mapping[str, str], body: bytes, secrets: WebhookSecrets) -> None:
    signature = headers.get("x-hub-signature-256", "")
    if signature:
        _check_hmac(secrets.github, body, signature.removeprefix("sha256="), "sha256")
    elif headers.get("x-hub-signature"):  # GitHub Enterprise of old
        _check_hmac(secrets.github, body, headers["x-hub-signature"].removeprefix("sha1="), "sha1")
    else:
        raise refused("missing X-Hub-Signature Header")


def _gitlab(headers: Mapping[str, str], _: bytes, secrets: WebhookSecrets) -> None:
    if not _same(secrets.gitlab, headers.get("x-gitlab-token", "")):
        raise refused("X-Gitlab-Token validation failed")


def _gogs(headers: Mapping[str, str], body: bytes, secrets: WebhookSecrets) -> None:
    signature = headers.get("x-gogs-signature", "")
    if not signature:
        raise refused("missing X-Gogs-Signature Header")
    _check_hmac(secrets.gogs, body, signature, "sha256")


def _bitbucket(headers: Mapping[str, str], _: bytes, secrets: WebhookSecrets) -> None:
    if not _same(secrets.bitbucket_uuid, headers.get("x-hook-uuid", "")):
        raise refused("UUID verification failed")


def _bitbucket_server(headers: Mapping[str, str], body: bytes, secrets: WebhookSecrets) -> None:
    signature = headers.get("x-hub-signature", "")
    if not signature:
        raise refused("missing X-Hub-Signature Header")
    _check_hmac(secrets.bitbucket_server, body, signature.removeprefix("sha256="), "sha256")


def _azure(headers: Mapping[str, str], _: bytes, secrets: WebhookSecrets) -> None:
    scheme, _blank, pair = headers.get("authorization", "").partition(" ")
    try:
        user, colon, password = base64.b64decode(pair.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        user, colon, password = "", "", ""
    is_user, is_password = _same(secrets.azure_username, user), _same(secrets.azure_password, password)
    if scheme.lower() != "basic" or not (colon and is_user and is_password):
        raise refused("basic auth verification failed")


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


def short_revision(ref: str) -> str:
    """Return a ref without the namespace of branches and tags."""
    for prefix in PREFIXES:
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
    revision = short_revision(_text(payload, "ref"))
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
            revision=short_revision(_text(change, "ref", "id") or _text(change, "refId")),
            before=_text(change, "fromHash"),
            after=_text(change, "toHash"),
        )
        for change in (changes if isinstance(changes, list) else ())
    ]


def _azure_event(_: Mapping[str, str], payload: dict[str, Any]) -> list[Push]:
    if _text(payload, "eventType") != "git.push":
        return []
    url = _text(payload, "resource", "repository", "remoteUrl")
    default = short_revision(_text(payload, "resource", "repository", "defaultBranch"))
    updates = _at(payload, "resource", "refUpdates")
    found: list[Push] = []
    for update in updates if isinstance(updates, list) else ():
        revision = short_revision(_text(update, "name"))
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
class Host:
    """How one kind of host is recognised, believed and understood."""

    name: str
    header: str
    secret: str
    authenticate: Callable[[Mapping[str, str], bytes, WebhookSecrets], None]
    parse: Callable[[Mapping[str, str], dict[str, Any]], list[Push]]

    def has_secret(self, secrets: WebhookSecrets) -> bool:
        return bool(getattr(secrets, self.secret))


# The first one whose header is there; Bitbucket's two kinds share a header and differ by another.
HOSTS: Final = (
    Host("Azure DevOps", "x-vss-activityid", "azure_password", _azure, _azure_event),
    Host("Gogs", "x-gogs-event", "gogs", _gogs, _gogs_event),
    Host("GitHub", "x-github-event", "github", _github, _github_event),
    Host("GitLab", "x-gitlab-event", "gitlab", _gitlab, _gitlab_event),
    Host("Bitbucket", "x-hook-uuid", "bitbucket_uuid", _bitbucket, _bitbucket_event),
    Host("Bitbucket Server", "x-event-key", "bitbucket_server", _bitbucket_server, _bitbucket_server_event),
)

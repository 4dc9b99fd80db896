"""Webhooks: who is believed, what moved, whom it concerns (gitops 14.3; bad inputs, row 53)."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest

from fairlead.agentsync.sources import webhooks
from fairlead.agentsync.sources.webhooks import (
    Push,
    Watched,
    WebhookError,
    WebhookSecrets,
    affected,
    is_same_repository,
    read_webhook_secrets,
    receive,
)
from fairlead.agentsync.spec import Source

SECRETS = WebhookSecrets(
    github="gh",
    gitlab="gl",
    gogs="gg",
    bitbucket_uuid="bb",
    bitbucket_server="bs",
    azure_username="az",
    azure_password="pw",
)
COMMITS = [
    {"added": ["app/a.yaml"], "modified": [], "removed": []},
    {"added": [], "modified": ["app/b.yaml"], "removed": ["x.yaml"]},
]
GITHUB = {
    "ref": "refs/heads/main",
    "before": "1" * 40,
    "after": "2" * 40,
    "repository": {"html_url": "https://github.com/shop/web", "default_branch": "main"},
    "commits": COMMITS,
}
FILES = ("app/a.yaml", "app/b.yaml", "x.yaml")


def signed(secret: str, body: bytes, digest: str = "sha256") -> str:
    return hmac.new(secret.encode(), body, digest).hexdigest()


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def request(host: str, payload: Any, secret: str | None = None) -> tuple[dict[str, str], bytes]:
    """Return headers and body as a host sends them; `secret` instead of the right one."""
    body = json.dumps(payload).encode()
    headers = {
        "github": {"X-GitHub-Event": "push", "X-Hub-Signature-256": f"sha256={signed(secret or 'gh', body)}"},
        "github-sha1": {"X-GitHub-Event": "push", "X-Hub-Signature": f"sha1={signed(secret or 'gh', body, 'sha1')}"},
        "gitlab": {"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": secret or "gl"},
        "gogs": {"X-Gogs-Event": "push", "X-GitHub-Event": "push", "X-Gogs-Signature": signed(secret or "gg", body)},
        "bitbucket": {"X-Event-Key": "repo:push", "X-Hook-UUID": secret or "bb"},
        "bitbucket-server": {
            "X-Event-Key": "repo:refs_changed",
            "X-Hub-Signature": f"sha256={signed(secret or 'bs', body)}",
        },
        "azure": {"X-Vss-ActivityId": "1", "Authorization": basic("az", secret or "pw")},
    }[host]
    return headers, body


PUSH = Push(
    urls=("https://github.com/shop/web",),
    revision="main",
    before="1" * 40,
    after="2" * 40,
    touched_head=True,
    files=FILES,
)
SAID: list[tuple[str, Any, Push]] = [
    ("github", GITHUB, PUSH),
    ("github-sha1", GITHUB, PUSH),
    ("gogs", GITHUB, PUSH),
    (
        "gitlab",
        GITHUB | {"project": {"web_url": "https://gitlab.com/shop/web", "default_branch": "trunk"}},
        Push(
            urls=("https://gitlab.com/shop/web",),
            revision="main",
            before="1" * 40,
            after="2" * 40,
            touched_head=False,
            files=FILES,
        ),
    ),
    (
        "bitbucket",
        {
            "repository": {"links": {"html": {"href": "https://bitbucket.org/shop/web"}}},
            "push": {"changes": [{"new": {"name": "main", "target": {"hash": "2"}}, "old": {"target": {"hash": "1"}}}]},
        },
        Push(urls=("https://bitbucket.org/shop/web",), revision="main", before="1", after="2"),
    ),
    (
        "bitbucket-server",
        {
            "repository": {
                "links": {"clone": [{"href": "https://b/scm/shop/web.git"}, {"href": "ssh://git@b:7999/w"}]}
            },
            "changes": [{"ref": {"id": "refs/tags/v1"}, "fromHash": "1", "toHash": "2"}],
        },
        Push(urls=("https://b/scm/shop/web.git", "ssh://git@b:7999/w"), revision="v1", before="1", after="2"),
    ),
    (
        "azure",
        {
            "eventType": "git.push",
            "resource": {
                "repository": {"remoteUrl": "https://dev.azure.com/o/p/_git/web", "defaultBranch": "refs/heads/main"},
                "refUpdates": [{"name": "refs/heads/dev", "oldObjectId": "1", "newObjectId": "2"}],
            },
        },
        Push(urls=("https://dev.azure.com/o/p/_git/web",), revision="dev", before="1", after="2", touched_head=False),
    ),
]


@pytest.mark.parametrize(("host", "payload", "push"), SAID, ids=[host for host, _, _ in SAID])
def test_what_each_host_says(host: str, payload: Any, push: Push) -> None:
    headers, body = request(host, payload)
    assert receive("POST", headers, body, SECRETS) == (push,)


@pytest.mark.parametrize("host", [host for host, _, _ in SAID])
def test_a_wrong_secret_is_refused_before_anything_is_parsed(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def parsing(*_: Any) -> None:
        raise AssertionError("it was parsed")

    headers, body = request(host, GITHUB, secret="wrong")
    monkeypatch.setattr(webhooks, "_parsed", parsing)
    with pytest.raises(WebhookError, match=r"^Webhook processing failed: .*(failed)$") as error:
        receive("POST", headers, body, SECRETS)
    assert error.value.status == 400


@pytest.mark.parametrize(
    "header", ["X-Hub-Signature-256", "X-Gitlab-Token", "X-Gogs-Signature", "X-Hub-Signature", "Authorization"]
)
def test_an_absent_signature_is_refused(header: str) -> None:
    for host, payload, _ in SAID:
        headers, body = request(host, payload)
        if header in headers:
            del headers[header]
            with pytest.raises(WebhookError):
                receive("POST", headers, body, SECRETS)


def test_a_changed_body_is_refused() -> None:
    headers, body = request("github", GITHUB)
    with pytest.raises(WebhookError, match="HMAC verification failed"):
        receive("POST", headers, body + b" ", SECRETS)


def test_without_a_secret_a_host_is_believed_unless_secrets_are_required() -> None:
    headers, body = request("github", GITHUB)
    assert receive("POST", headers, body, WebhookSecrets()) == (PUSH,)
    with pytest.raises(WebhookError, match="no secret is configured for GitHub") as error:
        receive("POST", headers, body, WebhookSecrets(is_required=True))
    assert error.value.status == 401


@pytest.mark.parametrize(
    ("method", "headers", "body", "status", "message"),
    [
        pytest.param("GET", {"X-GitHub-Event": "push"}, b"{}", 405, "invalid HTTP Method", id="method"),
        pytest.param("POST", {}, b"{}", 400, "Unknown webhook event", id="unknown"),
        pytest.param("POST", {"X-GitHub-Event": "push"}, b"{", 400, "too large or corrupted", id="no-json"),
        pytest.param("POST", {"X-GitHub-Event": "push"}, b"[1]", 400, "too large or corrupted", id="no-object"),
        pytest.param("POST", {"X-GitHub-Event": "push"}, b"\xff", 400, "too large or corrupted", id="no-utf-8"),
        pytest.param("POST", {"X-GitHub-Event": "push"}, b"[" * 500_000, 400, "too large or corrupted", id="deep"),
        pytest.param("POST", {"X-GitHub-Event": "push"}, b" " * 1_000_001, 400, "too large or corrupted", id="large"),
    ],
)
def test_row_53_bad_requests(method: str, headers: dict[str, str], body: bytes, status: int, message: str) -> None:
    with pytest.raises(WebhookError, match=message) as error:
        receive(method, headers, body, WebhookSecrets(), bytes_max=1_000_000)
    assert error.value.status == status


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"ref": 5, "repository": []},
        {"repository": {"html_url": None}, "ref": "refs/heads/main"},
        {"ref": "refs/heads/main", "repository": "x", "commits": [None, 1]},
    ],
)
def test_row_53_payloads_without_what_is_needed_move_nothing(payload: Any) -> None:
    for event in ("X-GitHub-Event", "X-Gogs-Event"):
        assert receive("POST", {event: "push"}, json.dumps(payload).encode(), WebhookSecrets()) == ()
    assert receive("POST", {"X-Vss-ActivityId": "1"}, json.dumps(payload).encode(), WebhookSecrets()) == ()


def test_other_events_move_nothing() -> None:
    assert receive("POST", {"x-github-event": "ping"}, b'{"zen": "x"}', WebhookSecrets()) == ()


def test_commits_that_say_odd_things_may_have_changed_anything() -> None:
    odd = GITHUB | {"commits": [{"added": "everything"}]}
    (push,) = receive("POST", {"x-github-event": "push"}, json.dumps(odd).encode(), WebhookSecrets())
    assert push.files is None


def test_secrets_are_read_by_upstream_s_keys_and_not_shown() -> None:
    found = read_webhook_secrets({"webhook.github.secret": "hush", "webhook.azuredevops.password": "hush2"})
    assert (found.github, found.azure_password) == ("hush", "hush2")
    assert "hush" not in repr(found)


# -- whom it concerns --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("page", "url", "same"),
    [
        ("https://github.com/shop/web", "https://github.com/Shop/Web.git", True),
        ("https://github.com/shop/web", "git@github.com:shop/web.git", True),
        ("https://github.com/shop/web", "ssh://git@ssh.github.com:443/shop/web.git", True),
        ("https://github.com/shop/web", "https://me:x@github.com/shop/web/", True),
        ("https://github.com/shop/web", "https://github.com/shop/web2", False),
        ("https://github.com/shop/web", "https://evil.com/github.com/shop/web", False),
        ("https://github.com/shop/web", "https://github.com.evil.com/shop/web", False),
        ("", "", False),
    ],
)
def test_repositories_are_told_apart(page: str, url: str, same: bool) -> None:
    assert is_same_repository(page, url) is same


def moved(revision: str = "main", *, head: bool = True, files: tuple[str, ...] | None = FILES) -> Push:
    return Push(urls=("https://host/web",), revision=revision, touched_head=head, files=files)


def source(revision: str = "", path: str = "app", url: str = "https://host/web", chart: str = "") -> Source:
    return Source(repo_url=url, target_revision=revision, path=path, chart=chart)


@pytest.mark.parametrize(
    ("push", "watched", "is_affected"),
    [
        pytest.param(moved(), Watched(sources=(source(),)), True, id="head"),
        pytest.param(moved("dev", head=False), Watched(sources=(source("HEAD"),)), False, id="not-head"),
        pytest.param(moved("dev", head=False), Watched(sources=(source("dev"),)), True, id="branch"),
        pytest.param(moved("dev"), Watched(sources=(source("refs/heads/dev"),)), True, id="full-name"),
        pytest.param(moved("v1.2.9"), Watched(sources=(source("1.2.x"),)), True, id="constraint"),
        pytest.param(moved("v1.3.0"), Watched(sources=(source("1.2.x"),)), False, id="other-constraint"),
        pytest.param(moved(), Watched(sources=(source("1.2.x"),)), False, id="branch-against-constraint"),
        pytest.param(moved(), Watched(sources=(source(url="https://host/other"),)), False, id="other-repository"),
        pytest.param(moved(), Watched(sources=(source(chart="web"),)), False, id="chart"),
        pytest.param(moved(), Watched(sources=(source(url="https://host/other"), source())), True, id="one-of-several"),
        pytest.param(moved(), Watched(sources=(source(),), generate_paths="."), True, id="own-path"),
        pytest.param(moved(), Watched(sources=(source(path="db"),), generate_paths="."), False, id="other-path"),
        pytest.param(moved(), Watched(sources=(source(path="db"),), generate_paths=".;../app"), True, id="relative"),
        pytest.param(moved(), Watched(sources=(source(path="db"),), generate_paths="/app/a.yaml"), True, id="a-file"),
        pytest.param(moved(), Watched(sources=(source(path="db"),), generate_paths="/*/b.yaml"), True, id="glob"),
        pytest.param(moved(), Watched(sources=(source(path="db"),), generate_paths="/ap"), False, id="part-of-a-name"),
        pytest.param(moved(), Watched(sources=(source(path="db"),), generate_paths="/"), True, id="everything"),
        pytest.param(
            moved(files=None), Watched(sources=(source(path="db"),), generate_paths="."), True, id="files-unknown"
        ),
    ],
)
def test_whom_a_push_concerns(push: Push, watched: Watched, is_affected: bool) -> None:
    assert affected([push], [("shop", watched)]) == (["shop"] if is_affected else [])

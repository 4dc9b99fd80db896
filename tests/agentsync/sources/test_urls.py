"""Addresses: which may reach a program, and which are one repository (bad inputs, row 42)."""

from __future__ import annotations

import pytest

from fairlead.agentsync.sources._urls import hide_userinfo, locate, normalise
from fairlead.agentsync.sources.port import SourceError


@pytest.mark.parametrize(
    ("url", "scheme", "host", "address"),
    [
        ("https://Host/shop/web.git", "https", "host", "https://host/shop/web.git"),
        ("https://me:secret@host:8443/web", "https", "host", "https://host:8443/web"),
        ("git@host:shop/web.git", "ssh", "host", "git@host:shop/web.git"),
        ("ssh://git@host:2222/shop/web", "ssh", "host", "ssh://git@host:2222/shop/web"),
        ("file:///srv/web.git", "file", "", "file:///srv/web.git"),
        ("https://[::1]:8443/web", "https", "::1", "https://[::1]:8443/web"),
        ("oci://host/charts", "oci", "host", "oci://host/charts"),
    ],
)
def test_parts(url: str, scheme: str, host: str, address: str) -> None:
    found = locate(url)
    assert (found.scheme, found.host, found.address) == (scheme, host, address)


def test_a_password_in_a_url_is_never_shown() -> None:
    found = locate("https://me:s3cret@host/web")
    assert (found.username, found.password) == ("me", "s3cret")
    assert "s3cret" not in repr(found) + found.shown + found.address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "-oProxyCommand=touch /tmp/x",
        "ext::sh -c touch% /tmp/x",
        "ext::sh",
        "fd::17",
        "--upload-pack=x",
        "ssh://-oProxyCommand=x/web",
        "ssh://-x@host/web",
        "-x@host:web",
        "git@-host:web",
        "https:///web",
        "https://host/a\nb",
        "https://host/a b",
        "C:\\web",
        "/srv/web",
        "../web",
        "file://host/web",
        "file://web",
        "https://host:port/web",
        "x" * 3000,
    ],
    ids=lambda text: repr(text[:30]),
)
def test_what_could_be_something_else_is_refused(url: str) -> None:
    with pytest.raises(SourceError):
        locate(url)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://host/shop/web.git", "https://HOST/shop/web"),
        ("git@host:shop/web.git", "ssh://git@host/shop/web"),
        (" https://host/web/ ", "https://host/web"),
        ("https://me:x@host/web", "https://host/web"),
    ],
)
def test_urls_of_one_repository(one: str, other: str) -> None:
    assert normalise(one) == normalise(other) != ""


def test_users_vanish_from_what_git_says() -> None:
    text = "fatal: unable to access 'https://me:pw@host/web/': 403"
    assert hide_userinfo(text) == "fatal: unable to access 'https://host/web/': 403"

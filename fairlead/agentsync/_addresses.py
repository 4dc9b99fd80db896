"""What two addresses of one repository have in common, and how an address is shown. Pure.

Source: argo-cd: util/git/git.go.
"""

from __future__ import annotations

import re

SCP = re.compile(r"(?:(?P<user>[^@/:\s]+)@)?(?P<host>[^@/:\s]+):(?!:)(?!//)(?P<path>[^\s]+)")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_SECRET = re.compile(r"(?P<before>[A-Za-z][A-Za-z0-9+.\-]*://)[^/@\s]*@")


def hide_userinfo(text: str) -> str:
    """Return a text in which no URL has a user or a password any more.

    >>> hide_userinfo("fatal: unable to access 'https://me:pw@host/r/'")
    "fatal: unable to access 'https://host/r/'"
    """
    return _SECRET.sub(lambda found: found["before"], text)


def normalise(url: str) -> str:
    """Return what two URLs of one repository have in common; empty when it is none.

    Source: argo-cd: util/git/git.go, NormalizeGitURL.

    >>> normalise(" git@GitHub.com:Shop/Web.git "), normalise("ssh://git@github.com/shop/web")
    ('ssh://git@github.com/shop/web', 'ssh://git@github.com/shop/web')
    """
    text = url.strip().lower()
    if not SCHEME.match(text):
        found = SCP.fullmatch(text)
        if found is not None:
            user = f"{found['user']}@" if found["user"] else ""
            text = f"ssh://{user}{found['host']}/{found['path'].lstrip('/')}"
    return hide_http_user(text.rstrip("/").removesuffix(".git"))


def hide_http_user(text: str) -> str:
    """Return a URL without user and password, unless it is of ssh, where the user belongs to the address."""
    return text if text.startswith("ssh://") else hide_userinfo(text)

"""Addresses of repositories: which ones may reach a program, how two are compared, and how one is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit

from fairlead.agentsync._addresses import SCHEME, SCP, hide_userinfo, normalise
from fairlead.agentsync.sources.port import SourceError

__all__ = ["URL_CHARACTERS_MAX", "Location", "hide_userinfo", "locate", "normalise"]

URL_CHARACTERS_MAX = 2048
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """The address of a repository, taken apart.

    Args:
        scheme: `https`, `http`, `ssh`, `file`, `oci`, or that of a plug-in; lower case.
        host: without user and port; lower case; empty for files.
        address: what a program may be given: over HTTP there is no user and no password in it.
        shown: what a message may say: never a password.
        username, password: those of the URL itself, over HTTP.
    """

    scheme: str
    host: str
    address: str
    shown: str
    username: str = ""
    password: str = field(default="", repr=False)


def locate(url: str) -> Location:
    """Return the parts of a repository's URL.

    Raises:
        SourceError: it is none, or one that a program could take for an option or for a command.
    """
    text = url.strip()
    if not text:
        raise SourceError("repoURL is empty: expected the URL of a repository")
    if len(text) > URL_CHARACTERS_MAX:
        raise SourceError(f"repoURL has {len(text)} characters: at most {URL_CHARACTERS_MAX} are allowed")
    if text.startswith("-") or _UNSAFE.search(text):
        raise SourceError("repoURL starts with '-' or has a blank, a control character or a backslash in it")
    if SCHEME.match(text):
        return _of_url(text)
    found = SCP.fullmatch(text)
    if found is None or "::" in text:
        raise SourceError(f"repoURL {hide_userinfo(text)!r} is no URL: expected https://, ssh:// or user@host:path")
    _check_host(found["host"], text)
    if (found["user"] or "").startswith("-"):
        raise SourceError("the user of repoURL starts with '-'")
    return Location(scheme="ssh", host=found["host"].lower(), address=text, shown=text)


def _of_url(text: str) -> Location:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise SourceError(f"repoURL {hide_userinfo(text)!r} is no URL") from None
    scheme = parts.scheme.lower()
    if scheme == "file":
        if host not in ("", "localhost") or not parts.path.startswith("/"):
            raise SourceError(f"repoURL {text!r} is no path on this machine: expected file:///absolute/path")
        return Location(scheme=scheme, host="", address=f"file://{parts.path}", shown=f"file://{parts.path}")
    _check_host(host, text)
    if not parts.path.strip("/") and scheme == "ssh":
        raise SourceError(f"repoURL {hide_userinfo(text)!r} has no path")
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    rest = parts.path + (f"?{parts.query}" if parts.query else "")
    if scheme == "ssh":
        user = unquote(parts.username or "")
        if user.startswith("-"):
            raise SourceError("the user of repoURL starts with '-'")
        address = f"ssh://{quote(user) + '@' if user else ''}{place}{rest}"
        return Location(scheme=scheme, host=host, address=address, shown=address)
    address = f"{scheme}://{place}{rest}"
    return Location(
        scheme=scheme,
        host=host,
        address=address,
        shown=address,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )


def _check_host(host: str, text: str) -> None:
    # A host that starts with a dash is an option to ssh.
    if not host or host.startswith("-"):
        raise SourceError(f"repoURL {hide_userinfo(text)!r} has no host, or one that starts with '-'")

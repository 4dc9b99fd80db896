"""Paths, URLs and versions. Nothing here looks at a file or a network.

Source: Go's `path` and `net/url`, `Masterminds/sprig` v3.
"""

from __future__ import annotations

import posixpath
import re
from typing import Any, Final

from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._semver import Version, parse_version, satisfies
from fairlead.secrets._templates._text import valid
from fairlead.secrets._templates._values import kind

REGISTRY: Final = Registry()
_add = REGISTRY.add
_STRING, _MAP = Type.STRING, Type.MAP
_UNRESERVED: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")
_IN_PATH: Final = _UNRESERVED | frozenset(b"$&+,/:;=@")
_IN_USER: Final = _UNRESERVED | frozenset(b"$&+,;=")
_IN_FRAGMENT: Final = _UNRESERVED | frozenset(b"$&+,/:;=?@!()*")
_IN_HOST: Final = _UNRESERVED | frozenset(b"!$&'()*+,;=:[]<>\"")
_SCHEME: Final = re.compile(rb"([a-zA-Z][a-zA-Z0-9+.-]*):")
_ESCAPE: Final = re.compile(rb"%([0-9a-fA-F]{2})?")
_PORT: Final = re.compile(rb":[0-9]*")


def _cleaned(path: bytes) -> bytes:
    """Return the shortest path of the same meaning."""
    if not path:
        return b"."
    found = posixpath.normpath(path)
    return found[1:] if found.startswith(b"//") else found


@_add("clean", "osClean", takes=(_STRING,))
def _clean(_: Context, path: bytes) -> bytes:
    return _cleaned(path)


@_add("base", "osBase", takes=(_STRING,))
def _base(_: Context, path: bytes) -> bytes:
    if not path:
        return b"."
    return path.rstrip(b"/").rpartition(b"/")[2] or b"/"


@_add("dir", "osDir", takes=(_STRING,))
def _dir(_: Context, path: bytes) -> bytes:
    head, slash, _tail = path.rpartition(b"/")
    return _cleaned(head + slash)


@_add("ext", "osExt", takes=(_STRING,))
def _ext(_: Context, path: bytes) -> bytes:
    name = path.rpartition(b"/")[2]
    dot = name.rfind(b".")
    return name[dot:] if dot >= 0 else b""


@_add("isAbs", "osIsAbs", takes=(_STRING,))
def _is_abs(_: Context, path: bytes) -> bool:
    return path.startswith(b"/")


@_add("semver", takes=(_STRING,))
def _semver(_: Context, text: bytes) -> Version:
    return parse_version(valid(text))


@_add("semverCompare", takes=(_STRING, _STRING))
def _semver_compare(_: Context, constraint: bytes, text: bytes) -> bool:
    return satisfies(valid(constraint), parse_version(valid(text)))


# URLs


def _escaped(text: bytes, kept: frozenset[int]) -> bytes:
    return b"".join(bytes([byte]) if byte in kept else b"%%%02X" % byte for byte in text)


def _unescaped(text: bytes, what: str) -> bytes:
    def by(found: re.Match[bytes]) -> bytes:
        if found[1] is None:
            raise FunctionError(f"unable to parse url: invalid URL escape in the {what}")
        return bytes([int(found[1], 16)])

    return _ESCAPE.sub(by, text)


@_add("urlParse", takes=(_STRING,))
def _url_parse(c: Context, url: bytes) -> dict[bytes, Any]:
    c.budget.step(len(url) // 64)
    if any(byte < 32 or byte == 127 for byte in url):
        raise FunctionError("unable to parse url: invalid control character in URL")
    rest, has_fragment, fragment = url.partition(b"#")
    scheme = b""
    found = _SCHEME.match(rest)
    if found is not None:
        scheme, rest = found[1].lower(), rest[found.end() :]
    elif rest.startswith(b":"):
        raise FunctionError("unable to parse url: missing protocol scheme")
    parts = dict.fromkeys((b"host", b"hostname", b"path", b"query", b"opaque", b"userinfo"), b"")
    parts |= {b"scheme": scheme, b"fragment": _unescaped(fragment, "fragment") if has_fragment else b""}
    rest, _, parts[b"query"] = rest.partition(b"?")
    if not rest.startswith(b"/"):
        if scheme:
            return parts | {b"opaque": rest}
        if b":" in rest.partition(b"/")[0]:
            raise FunctionError("unable to parse url: first path segment in URL cannot contain colon")
    if rest.startswith(b"//") and (scheme or not rest.startswith(b"///")):
        authority, slash, path = rest[2:].partition(b"/")
        parts |= _authority(authority)
        rest = slash + path
    return parts | {b"path": _unescaped(rest, "path")}


def _authority(authority: bytes) -> dict[bytes, bytes]:
    user, at, host = authority.rpartition(b"@")
    parts: dict[bytes, bytes] = {}
    if at:
        name, colon, password = user.partition(b":")
        if not all(byte in _UNRESERVED or byte in b"-._:~!$&'()*+,;=%@" for byte in user):
            raise FunctionError("unable to parse url: net/url: invalid userinfo")
        name, password = _unescaped(name, "user name"), _unescaped(password, "password")
        parts[b"userinfo"] = _escaped(name, _IN_USER) + (b":" + _escaped(password, _IN_USER) if colon else b"")
    bracket = host.rfind(b"]")
    if host.startswith(b"["):
        if bracket < 0:
            raise FunctionError("unable to parse url: missing ']' in host")
        port, hostname = host[bracket + 1 :], host[1:bracket]
    else:
        hostname, colon, digits = host.rpartition(b":")
        port, hostname = (colon + digits, hostname) if colon else (b"", host)
    if port and not _PORT.fullmatch(port):
        raise FunctionError("unable to parse url: invalid port after host")
    if any(byte in b" \\^`{}|" for byte in host):
        raise FunctionError("unable to parse url: invalid character in host name")
    host = _unescaped(host, "host") if b"%" in host else host
    return parts | {b"host": host, b"hostname": _unescaped(hostname, "host")}


@_add("urlJoin", takes=(_MAP,))
def _url_join(_: Context, parts: dict[bytes, Any]) -> bytes:
    def part(name: bytes) -> bytes:
        value = parts.get(name, b"")
        if not isinstance(value, bytes):
            raise FunctionError(f"unable to parse {name.decode()} key, must be of type string, but {kind(value)} found")
        return value

    scheme, host, path, opaque = part(b"scheme"), part(b"host"), part(b"path"), part(b"opaque")
    user = part(b"userinfo")
    if user:
        user = _authority(user + b"@host")[b"userinfo"]
    url = scheme + b":" if scheme else b""
    if opaque:
        url += opaque
    else:
        if scheme or host or user:
            if host or path or user:
                url += b"//"
            url += user + b"@" if user else b""
            url += _escaped(host, _IN_HOST)
        escaped = _escaped(path, _IN_PATH)
        if escaped and not escaped.startswith(b"/") and host:
            url += b"/"
        if not url and b":" in escaped.partition(b"/")[0]:
            url += b"./"  # else the first segment would be read as a scheme
        url += escaped
    query, fragment = part(b"query"), part(b"fragment")
    url += b"?" + query if query else b""
    return url + (b"#" + _escaped(fragment, _IN_FRAGMENT) if fragment else b"")

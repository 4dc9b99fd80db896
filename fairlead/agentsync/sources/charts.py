"""Repositories of charts: an index over HTTP, versions by constraint, archives checked and unpacked on our side.

Source: helm.sh/docs/topics/chart_repository; argo-cd: util/helm/client.go.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import re
import shutil
import ssl
import tarfile
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from fairlead.agentsync.sources._access import DEFAULT_USER, Access
from fairlead.agentsync.sources._gitprogram import private_folder, write_private
from fairlead.agentsync.sources._revisions import check_revision, greatest_tag, is_constraint, is_version
from fairlead.agentsync.sources._sharing import Shared
from fairlead.agentsync.sources._tree import FolderTree, TreeLimits, is_safe_name
from fairlead.agentsync.sources._urls import Location, locate, normalise
from fairlead.agentsync.sources._yaml import YamlLimits, read_one
from fairlead.agentsync.sources.port import (
    Freshness,
    RenderError,
    RepositoryError,
    Resolved,
    SourceError,
    Tree,
    Verification,
)

if TYPE_CHECKING:
    import aiohttp

    from fairlead.agentsync.spec import Source

INDEX_BYTES_MAX: Final = 64 * 1024 * 1024
ARCHIVE_BYTES_MAX: Final = 32 * 1024 * 1024
UNPACKED_BYTES_MAX: Final = 256 * 1024 * 1024
REQUEST_SECONDS: Final = 60.0
REDIRECTS_MAX: Final = 5
KEPT_MAX: Final = 64  # unpacked charts
_INDEX_LIMITS: Final = YamlLimits(documents=1, values=10_000_000)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-/]*")
Index = Mapping[str, Any]


class ChartFetcher:
    """Resolves versions of charts and fetches them over HTTP.

    Args:
        folder: where unpacked charts lie; only we may read it.
        access: what opens a URL for a project.
        window: seconds for which an index is not asked for again.
        protocols: URL schemes that it may speak.
        limits: how much of a chart is read.
        clock: seconds that only rise.
    """

    def __init__(
        self,
        folder: Path,
        *,
        access: Callable[[str, str], Access],
        window: float = 180.0,
        protocols: frozenset[str] = frozenset({"https"}),
        limits: TreeLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._access = access
        self._protocols = protocols
        self._limits = limits or TreeLimits()
        self._indexes: Shared[str, Index] = Shared(window=window, clock=clock)
        self._unpacked: dict[str, Path] = {}
        self._unpacking: Shared[str, Path] = Shared(window=0, clock=clock)

    async def resolve(self, source: Source, *, project: str, freshness: Freshness = Freshness.CACHED) -> Resolved:
        """Return the version of a chart that a source means now.

        Raises:
            RepositoryError: the repository cannot be reached, or has no such chart or version.
            SourceError: the source cannot be used.
        """
        revision = source.target_revision
        check_revision(revision)
        if not revision:
            raise SourceError("targetRevision is required for a chart")
        if not _NAME.fullmatch(source.chart) or ".." in source.chart:
            raise SourceError(f"chart {source.chart!r} is no name of a chart")
        if not is_version(revision) and not is_constraint(revision):
            raise SourceError(f"targetRevision {revision!r} is neither a version nor a constraint")
        place, access = self._opened(source, project)
        versions = _versions(await self._index(place, access, freshness), source.chart, place)
        if revision in versions:
            return Resolved(revision=revision)
        if is_version(revision):
            same = [each for each in versions if each.removeprefix("v") == revision.removeprefix("v")]
            found = same[0] if same else None
        else:
            found = greatest_tag(revision, versions)
        if found is None:
            raise RepositoryError(f"{place.shown}: chart {source.chart} has no version that matches {revision!r}")
        return Resolved(revision=found)

    async def tree(self, source: Source, revision: str, *, project: str, verification: Verification) -> Tree:
        """Return the files of a chart. Signatures are Git's: a chart has none that could be checked here.

        Raises:
            RepositoryError: it cannot be fetched.
            RenderError: it is damaged, or no chart.
        """
        place, access = self._opened(source, project)
        key = hashlib.sha256(
            "\0".join((place.address, access.fingerprint(), source.chart, revision)).encode()
        ).hexdigest()[:40]

        async def unpack() -> Path:
            return await self._fetched(key, place, access, source, revision)

        if key not in self._unpacked:
            self._unpacked[key] = await self._unpacking.get(key, unpack)
            while len(self._unpacked) > KEPT_MAX:
                oldest = next(iter(self._unpacked))
                shutil.rmtree(self._unpacked.pop(oldest).parent, ignore_errors=True)
        return FolderTree(self._unpacked[key], self._limits)

    def forget(self, url: str) -> None:
        """Let the next question about a repository reach it, with whatever credentials."""
        wanted = normalise(url)
        for key in self._indexes.known():
            if normalise(key.partition("\0")[0]) == wanted:
                self._indexes.forget(key)

    def _opened(self, source: Source, project: str) -> tuple[Location, Access]:
        place = locate(source.repo_url)
        self._permit(place)
        access = self._access(source.repo_url, project)
        access.check()
        return place, access

    def _permit(self, place: Location) -> None:
        if place.scheme not in self._protocols or place.scheme not in ("https", "http"):
            raise SourceError(f"chart repository {place.shown}: {place.scheme} is not allowed")

    async def _index(self, place: Location, access: Access, freshness: Freshness) -> Index:
        async def ask() -> Index:
            content = await self._get(f"{place.address.rstrip('/')}/index.yaml", place, access, INDEX_BYTES_MAX)
            return await asyncio.to_thread(_read_index, content, place)

        is_fresh = freshness is not Freshness.CACHED
        return await self._indexes.get(_index_key(place, access), ask, is_fresh=is_fresh)

    async def _fetched(self, key: str, place: Location, access: Access, source: Source, revision: str) -> Path:
        chart = source.chart
        pass_on = source.helm is not None and source.helm.pass_credentials
        index = await self._index(place, access, Freshness.CACHED)
        entry = _versions(index, chart, place).get(revision)
        if entry is None:
            raise RepositoryError(f"{place.shown}: chart {chart} has no version {revision!r} any more")
        urls = entry.get("urls")
        if not isinstance(urls, list) or not urls or not isinstance(urls[0], str):
            raise RepositoryError(f"{place.shown}: chart {chart} {revision} has no URL")
        url = urljoin(f"{place.address.rstrip('/')}/", urls[0])
        content = await self._get(url, place, access, ARCHIVE_BYTES_MAX, pass_on=pass_on)
        digest = entry.get("digest")
        if isinstance(digest, str) and digest and hashlib.sha256(content).hexdigest() != digest.removeprefix("sha256:"):
            raise RepositoryError(f"{place.shown}: chart {chart} {revision} is not what the index says it is")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=f"{key}-", dir=self._folder))
        try:
            await asyncio.to_thread(_unpack, content, made)
        except (tarfile.TarError, OSError, EOFError) as error:
            shutil.rmtree(made, ignore_errors=True)
            raise RenderError(f"{place.shown}: chart {chart} {revision} cannot be unpacked: {error}") from error
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)
            raise
        return made / chart.rpartition("/")[2]

    async def _get(self, url: str, place: Location, access: Access, bytes_max: int, *, pass_on: bool = False) -> bytes:
        """Return what a URL answers; credentials go to the repository's own host alone, unless they are passed on."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                for _ in range(REDIRECTS_MAX + 1):
                    next_place = locate(url)
                    self._permit(next_place)
                    is_own = pass_on or _origin(next_place.address) == _origin(place.address)
                    async with session.get(
                        url,
                        headers=_headers(place, access) if is_own else None,
                        ssl=self._trust(access) if is_own else True,
                        proxy=_proxy(next_place, access),
                        allow_redirects=False,
                    ) as answer:
                        if answer.status in (301, 302, 303, 307, 308) and "Location" in answer.headers:
                            url = urljoin(url, answer.headers["Location"])
                            continue
                        if answer.status != 200:
                            raise RepositoryError(f"{place.shown}: HTTP {answer.status} for {next_place.shown}")
                        return await _body(answer, bytes_max, next_place)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RepositoryError(f"{place.shown} cannot be reached: {type(error).__name__}") from error
        raise RepositoryError(f"{place.shown}: more than {REDIRECTS_MAX} redirects")

    def _trust(self, access: Access) -> ssl.SSLContext | bool:
        """Return how the server is known, and how we are."""
        if not (access.certificate_authorities or access.client_certificate or access.insecure):
            return True
        context = ssl.create_default_context(cadata=access.certificate_authorities or None)
        if access.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if access.client_certificate and access.client_key:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with private_folder(self._folder) as folder:
                certificate = write_private(folder / "client.pem", access.client_certificate)
                key = write_private(folder / "client.key", access.client_key)
                context.load_cert_chain(certificate, key)
        return context


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


def _index_key(place: Location, access: Access) -> str:
    return f"{place.address}\0{access.fingerprint()}"


def _headers(place: Location, access: Access) -> dict[str, str]:
    user, password = access.username or place.username, access.password or place.password
    if access.bearer_token:
        return {"Authorization": f"Bearer {access.bearer_token}"}
    if not (user or password):
        return {}
    pair = base64.b64encode(f"{user or DEFAULT_USER}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def _proxy(place: Location, access: Access) -> str | None:
    """Return the proxy that leads to a host: the Secret's, or the environment's; nothing else of that is used."""
    if access.proxy:
        hosts = [each.strip().lstrip(".") for each in access.no_proxy.split(",") if each.strip()]
        is_near = any(place.host == each or place.host.endswith(f".{each}") for each in hosts)
        return None if is_near else access.proxy
    return None if proxy_bypass(place.host) else getproxies().get(place.scheme)


async def _body(answer: aiohttp.ClientResponse, bytes_max: int, place: Location) -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_chunked(256 * 1024):
        found += chunk
        if len(found) > bytes_max:
            raise RepositoryError(f"{place.shown} is larger than {bytes_max} bytes")
    return bytes(found)


def _read_index(content: bytes, place: Location) -> Index:
    try:
        found: Any = json.loads(content) if content.lstrip()[:1] == b"{" else read_one(content, _INDEX_LIMITS)
    except (ValueError, RecursionError, RenderError) as error:
        raise RepositoryError(f"{place.shown}: index.yaml cannot be read: {error}") from None
    entries = found.get("entries") if isinstance(found, dict) else None
    if not isinstance(entries, dict):
        raise RepositoryError(f"{place.shown}: index.yaml has no entries")
    return entries


def _versions(index: Index, chart: str, place: Location) -> dict[str, dict[str, Any]]:
    """Return what the index says about each version of a chart, in its order."""
    listed = index.get(chart)
    if not isinstance(listed, list):
        raise RepositoryError(f"{place.shown}: there is no chart {chart!r}")
    found: dict[str, dict[str, Any]] = {}
    for each in listed:
        if isinstance(each, dict) and isinstance(each.get("version"), str):
            found.setdefault(each["version"], each)
    return found


def _unpack(content: bytes, folder: Path) -> None:
    """Write the files of an archive; links, devices and paths that leave the folder are refused or left out."""
    total = 0
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            name = member.name.removeprefix("./").rstrip("/")
            if member.isdir() or not name:
                continue
            if not member.isreg():
                continue  # helm ignores links too
            if name.startswith("/") or "\\" in name or not is_safe_name(name):
                raise tarfile.TarError(f"a path leaves it: {name!r}")
            total += member.size
            if total > UNPACKED_BYTES_MAX:
                raise tarfile.TarError(f"it holds more than {UNPACKED_BYTES_MAX} bytes")
            place = folder / name
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            source = archive.extractfile(member)
            assert source is not None, "it is a regular file"
            with place.open("xb") as target:
                shutil.copyfileobj(source, target)

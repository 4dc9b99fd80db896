"""OCI registries as sources: charts that were pushed to one, and artefacts that hold a directory of manifests.

A tag, a digest or a constraint names a manifest; its one archive is fetched, checked against its digest, and unpacked.

Source: opencontainers/distribution-spec; helm.sh/docs/topics/registries; argo-cd: util/oci/client.go.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urljoin

from fairlead.agentsync.sources._access import Access
from fairlead.agentsync.sources._archives import ARCHIVE_BYTES_MAX, Unpacked
from fairlead.agentsync.sources._downloads import Answer, Downloads, authorization
from fairlead.agentsync.sources._revisions import check_revision, greatest_tag, is_constraint
from fairlead.agentsync.sources._sharing import Shared
from fairlead.agentsync.sources._tree import FolderTree, TreeLimits
from fairlead.agentsync.sources._urls import Location, locate, normalise
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
    from fairlead.agentsync.spec import Source

ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
TAGS_MAX: Final = 20_000
PAGES_MAX: Final = 200
TOKEN_SECONDS: Final = 60.0  # what a registry grants at least
_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
_CHART_LAYER: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class _Artefact:
    """One repository of a registry, and what opens it."""

    place: Location  # as HTTP: https://host
    name: str
    access: Access
    shown: str

    @property
    def key(self) -> str:
        return f"{self.place.address}\0{self.name}\0{self.access.fingerprint()}"


class OciFetcher:
    """Resolves tags and fetches artefacts.

    Args:
        folder: where unpacked artefacts lie; only we may read it.
        access: what opens a URL for a project.
        window: seconds for which tags are not asked for again.
        protocols: URL schemes that may be spoken; with `http`, registries on this machine are asked by it.
        limits: how much of an artefact is read.
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
        self._downloads = Downloads(folder, protocols)
        self._is_plain_http = "http" in protocols
        self._access = access
        self._limits = limits or TreeLimits()
        self._unpacked = Unpacked(folder)
        self._tags: Shared[str, tuple[str, ...]] = Shared(window=window, clock=clock)
        self._digests: Shared[str, str] = Shared(window=window, clock=clock)
        self._tokens: Shared[str, str] = Shared(window=TOKEN_SECONDS, clock=clock)

    async def resolve(self, source: Source, *, project: str, freshness: Freshness = Freshness.CACHED) -> Resolved:
        """Return what a source means now: of a chart its version, of another artefact its digest.

        Raises:
            RepositoryError: the registry cannot be reached, or has no such tag.
            SourceError: the source cannot be used.
        """
        revision = source.target_revision
        check_revision(revision)
        if not revision:
            raise SourceError("targetRevision is required for an OCI artefact: a tag, a digest or a constraint")
        artefact = self._artefact(source, project)
        is_fresh = freshness is not Freshness.CACHED
        if _DIGEST.fullmatch(revision):
            return Resolved(revision=revision)
        tag = revision
        if is_constraint(revision):
            tags = await self._tags.get(artefact.key, lambda: self._list(artefact), is_fresh=is_fresh)
            # A tag cannot hold the `+` of a version; helm writes `_` instead.
            found = greatest_tag(revision, [each.replace("_", "+") for each in tags])
            if found is None:
                raise RepositoryError(f"{artefact.shown} has no tag that matches {revision!r}")
            tag = found
        if source.chart:
            return Resolved(revision=tag)
        key = f"{artefact.key}\0{tag}"
        return Resolved(revision=await self._digests.get(key, lambda: self._digest(artefact, tag), is_fresh=is_fresh))

    async def tree(self, source: Source, revision: str, *, project: str, verification: Verification) -> Tree:
        """Return the files of an artefact. Signatures are Git's: an artefact has none that could be checked here.

        Raises:
            RepositoryError: it cannot be fetched.
            RenderError: it is damaged, or holds no single archive.
        """
        artefact = self._artefact(source, project)
        key = hashlib.sha256(f"{artefact.key}\0{revision}".encode()).hexdigest()[:40]
        name = f"{artefact.shown} {revision}"
        folder = await self._unpacked.folder(key, name, lambda: self._archive(artefact, revision))
        chart = source.chart.rpartition("/")[2]
        return FolderTree(folder / chart if chart else folder, self._limits)

    def forget(self, url: str) -> None:
        """Let the next question about a registry reach it, with whatever credentials."""
        wanted = normalise(url).partition("://")[2]
        for shared in (self._tags, self._digests):
            for key in shared.known():
                address, name, *_ = key.split("\0")
                if f"{address.partition('://')[2]}/{name}".startswith(wanted):
                    shared.forget(key)

    def _artefact(self, source: Source, project: str) -> _Artefact:
        place = locate(source.repo_url)
        host, _, path = place.address.partition("://")[2].partition("/")
        name = "/".join(filter(None, (path.strip("/"), source.chart)))
        if not _NAME.fullmatch(name):
            raise SourceError(f"{place.shown}: {name!r} is no name in a registry")
        is_near = place.host in ("127.0.0.1", "localhost", "::1")
        registry = locate(f"{'http' if is_near and self._is_plain_http else 'https'}://{host}")
        access = self._access(source.repo_url, project)
        access.check()
        return _Artefact(place=registry, name=name, access=access, shown=f"oci://{host}/{name}")

    # -- the registry --------------------------------------------------------------------------------------------------

    async def _list(self, artefact: _Artefact) -> tuple[str, ...]:
        found: list[str] = []
        url = f"{artefact.place.address}/v2/{artefact.name}/tags/list"
        for _ in range(PAGES_MAX):
            answer = await self._ask(artefact, url, accept="application/json", bytes_max=ANSWER_BYTES_MAX)
            tags = _object(answer, artefact).get("tags")
            found += [each for each in tags if isinstance(each, str)] if isinstance(tags, list) else []
            link = re.match(r"\s*<([^>]*)>", answer.headers.get("link", ""))
            if link is None or len(found) > TAGS_MAX:
                break
            url = urljoin(url, link[1])
        return tuple(found[:TAGS_MAX])

    async def _manifest(self, artefact: _Artefact, reference: str) -> Answer:
        if not _DIGEST.fullmatch(reference):
            reference = reference.replace("+", "_")
            if not _TAG.fullmatch(reference):
                raise SourceError(f"{artefact.shown}: {reference!r} is no tag")
        url = f"{artefact.place.address}/v2/{artefact.name}/manifests/{quote(reference, safe=':')}"
        answer = await self._ask(artefact, url, accept=_MANIFEST, bytes_max=ANSWER_BYTES_MAX)
        digest = f"sha256:{hashlib.sha256(answer.body).hexdigest()}"
        if _DIGEST.fullmatch(reference) and digest != reference:
            raise RepositoryError(f"{artefact.shown}: the manifest is not {reference}")
        return answer

    async def _digest(self, artefact: _Artefact, tag: str) -> str:
        return f"sha256:{hashlib.sha256((await self._manifest(artefact, tag)).body).hexdigest()}"

    async def _archive(self, artefact: _Artefact, revision: str) -> bytes:
        manifest = _object(await self._manifest(artefact, revision), artefact)
        layer = _layer(manifest, artefact, revision)
        size = layer.get("size")
        if not isinstance(size, int) or not 0 < size <= ARCHIVE_BYTES_MAX:
            raise RepositoryError(f"{artefact.shown} {revision} has {size} bytes: at most {ARCHIVE_BYTES_MAX}")
        url = f"{artefact.place.address}/v2/{artefact.name}/blobs/{layer['digest']}"
        answer = await self._ask(artefact, url, bytes_max=ARCHIVE_BYTES_MAX)
        if f"sha256:{hashlib.sha256(answer.body).hexdigest()}" != layer["digest"]:
            raise RepositoryError(f"{artefact.shown} {revision} is not what its manifest says it is")
        return answer.body

    async def _ask(self, artefact: _Artefact, url: str, *, bytes_max: int, accept: str = "") -> Answer:
        """Return a good answer; a registry that wants a token of its own kind is given one."""
        who = authorization(artefact.place, artefact.access)
        answer = await self._downloads.get(
            url, artefact.place, artefact.access, bytes_max=bytes_max, authorization=who, accept=accept
        )
        if answer.status == 401 and answer.headers.get("www-authenticate", "").lower().startswith("bearer "):
            challenge = dict(_PARAMETER.findall(answer.headers["www-authenticate"]))
            token = await self._tokens.get(artefact.key, lambda: self._token(artefact, challenge, who))
            answer = await self._downloads.get(
                url,
                artefact.place,
                artefact.access,
                bytes_max=bytes_max,
                authorization=f"Bearer {token}",
                accept=accept,
            )
        if answer.status != 200:
            raise RepositoryError(f"{artefact.shown}: HTTP {answer.status}")
        return answer

    async def _token(self, artefact: _Artefact, challenge: dict[str, str], who: str) -> str:
        realm = locate(challenge.get("realm", ""))
        self._downloads.permit(realm)
        query = urlencode(
            {
                "service": challenge.get("service", ""),
                "scope": challenge.get("scope", f"repository:{artefact.name}:pull"),
            }
        )
        answer = await self._downloads.get(
            f"{realm.address}{'&' if '?' in realm.address else '?'}{query}",
            realm,
            artefact.access,
            bytes_max=ANSWER_BYTES_MAX,
            authorization=who,
        )
        found = _object(answer, artefact) if answer.status == 200 else {}
        token = found.get("token") or found.get("access_token")
        if not isinstance(token, str):
            raise RepositoryError(f"{artefact.shown}: no token of {realm.shown}: HTTP {answer.status}")
        return token


def _object(answer: Answer, artefact: _Artefact) -> dict[str, Any]:
    try:
        found: Any = json.loads(answer.body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise RepositoryError(f"{artefact.shown}: the registry's answer is no object of JSON")
    return found


def _layer(manifest: dict[str, Any], artefact: _Artefact, revision: str) -> dict[str, Any]:
    """Return the one archive of an artefact: a chart's, or else the only one that there is."""
    listed = manifest.get("layers")
    layers = [each for each in listed if isinstance(each, dict)] if isinstance(listed, list) else []
    charts = [each for each in layers if each.get("mediaType") == _CHART_LAYER]
    archives = charts or [each for each in layers if str(each.get("mediaType", "")).endswith("tar+gzip")]
    if len(archives) != 1 or not _DIGEST.fullmatch(str(archives[0].get("digest", ""))):
        raise RenderError(f"{artefact.shown} {revision} holds {len(archives)} archives: expected one, tar+gzip")
    return archives[0]

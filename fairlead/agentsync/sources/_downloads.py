"""Bounded downloads over HTTP: redirects followed by hand, credentials for the repository's own host alone."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from fairlead.agentsync.sources._access import DEFAULT_USER, Access
from fairlead.agentsync.sources._gitprogram import private_folder, write_private
from fairlead.agentsync.sources._urls import Location, locate
from fairlead.agentsync.sources.port import RepositoryError, SourceError

if TYPE_CHECKING:
    import aiohttp

REQUEST_SECONDS: Final = 60.0
REDIRECTS_MAX: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said at the end of all redirects.

    Args:
        status: of HTTP.
        headers: by lower-case name.
        body: all of it.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Downloads:
    """Asks HTTP servers.

    Args:
        scratch: where a client certificate lies for a moment.
        protocols: URL schemes that may be spoken.
    """

    def __init__(self, scratch: Path, protocols: frozenset[str]) -> None:
        self._scratch = scratch
        self._protocols = protocols & {"https", "http"}

    def permit(self, place: Location) -> None:
        """Raise SourceError if such an address may not be asked."""
        if place.scheme not in self._protocols:
            raise SourceError(f"{place.shown}: {place.scheme} is not allowed")

    async def get(
        self,
        url: str,
        place: Location,
        access: Access,
        *,
        bytes_max: int,
        authorization: str = "",
        accept: str = "",
        pass_on: bool = False,
    ) -> Answer:
        """Return what a URL answers, whatever its status.

        Args:
            url: what is asked for.
            place: the repository; messages name it.
            access: what opens it; of the trust in it only its own host has something.
            bytes_max: how large the answer may be.
            authorization: the header, for the repository's own host alone.
            accept: the header.
            pass_on: whether other hosts get the authorization too.

        Raises:
            RepositoryError: nobody answers, or with too much.
            SourceError: a redirect leads to a protocol that may not be spoken.
        """
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        headers = {"Accept": accept} if accept else {}
        try:
            async with aiohttp.ClientSession(timeout=timeout) as session:
                for _ in range(REDIRECTS_MAX + 1):
                    next_place = locate(url)
                    self.permit(next_place)
                    is_own = pass_on or _origin(next_place.address) == _origin(place.address)
                    async with session.get(
                        url,
                        headers=headers | ({"Authorization": authorization} if is_own and authorization else {}),
                        ssl=self._trust(access) if is_own else True,
                        proxy=_proxy(next_place, access),
                        allow_redirects=False,
                    ) as answer:
                        if answer.status not in _REDIRECTS or "Location" not in answer.headers:
                            return await _read(answer, bytes_max, next_place)
                        url = urljoin(url, answer.headers["Location"])
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
            self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
            with private_folder(self._scratch) as folder:
                certificate = write_private(folder / "client.pem", access.client_certificate)
                key = write_private(folder / "client.key", access.client_key)
                context.load_cert_chain(certificate, key)
        return context


def authorization(place: Location, access: Access) -> str:
    """Return the header that says who we are; empty if nobody knows us."""
    user, password = access.username or place.username, access.password or place.password
    if access.bearer_token:
        return f"Bearer {access.bearer_token}"
    if not (user or password):
        return ""
    return "Basic " + base64.b64encode(f"{user or DEFAULT_USER}:{password}".encode()).decode()


def _origin(address: str) -> tuple[str, str]:
    parts = urlsplit(address)
    return parts.scheme, parts.netloc


def _proxy(place: Location, access: Access) -> str | None:
    """Return the proxy that leads to a host: the Secret's, or the environment's; nothing else of that is used."""
    if access.proxy:
        hosts = [each.strip().lstrip(".") for each in access.no_proxy.split(",") if each.strip()]
        is_near = any(place.host == each or place.host.endswith(f".{each}") for each in hosts)
        return None if is_near else access.proxy
    return None if proxy_bypass(place.host) else getproxies().get(place.scheme)


async def _read(answer: aiohttp.ClientResponse, bytes_max: int, place: Location) -> Answer:
    found = bytearray()
    async for chunk in answer.content.iter_chunked(256 * 1024):
        found += chunk
        if len(found) > bytes_max:
            raise RepositoryError(f"{place.shown} is larger than {bytes_max} bytes")
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(status=answer.status, headers=headers, body=bytes(found))

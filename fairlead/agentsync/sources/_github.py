"""Tokens of a GitHub App: a signed statement of who we are, exchanged for a password that is good for an hour.

Source: docs.github.com, "Authenticating as a GitHub App installation".
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from fairlead.agentsync.sources._access import DEFAULT_USER, Access, GitHubApp
from fairlead.agentsync.sources._sharing import Shared
from fairlead.agentsync.sources._urls import locate
from fairlead.agentsync.sources.port import ProgramMissing, RepositoryError, SourceError

API: Final = "https://api.github.com"
STATEMENT: Final = timedelta(minutes=9)  # GitHub takes at most ten
SKEW: Final = timedelta(minutes=1)  # its clock may be behind ours
TOKEN_SECONDS: Final = 50 * 60.0  # of the hour that a token is good for
ANSWER_BYTES_MAX: Final = 1024 * 1024
REQUEST_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)


class GitHubTokens:
    """Gets tokens, and keeps each for as long as it is good.

    Args:
        protocols: URL schemes that may be spoken.
        clock: seconds that only rise.
        now: the time of day, which GitHub checks.
    """

    def __init__(
        self,
        protocols: frozenset[str] = frozenset({"https"}),
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.fromtimestamp(time.time(), UTC),
    ) -> None:
        self._protocols = protocols
        self._now = now
        self._tokens: Shared[str, _Token] = Shared(window=TOKEN_SECONDS, clock=clock)

    async def opened(self, access: Access) -> Access:
        """Return an access with a token in place of the App; one without an App as it is.

        Raises:
            RepositoryError: GitHub cannot be reached, or does not know the App.
            SourceError: the App's key cannot be used.
        """
        app = access.github_app
        if app is None or access.password or access.bearer_token or access.ssh_private_key:
            return access
        token = await self._tokens.get(access.fingerprint(), lambda: self._ask(app, access))
        return replace(access, username=DEFAULT_USER, password=token.text)

    async def _ask(self, app: GitHubApp, access: Access) -> _Token:
        import aiohttp

        place = locate(app.base_url or API)
        if place.scheme not in self._protocols:
            raise SourceError(f"githubAppEnterpriseBaseUrl {place.shown}: {place.scheme} is not allowed")
        url = f"{place.address.rstrip('/')}/app/installations/{app.installation_id}/access_tokens"
        headers = {
            "Authorization": f"Bearer {statement(app, self._now())}",
            "Accept": "application/vnd.github+json",
        }
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, headers=headers, allow_redirects=False, proxy=access.proxy or None) as answer,
            ):
                content = await answer.content.read(ANSWER_BYTES_MAX)
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RepositoryError(f"GitHub App {app.app_id}: {place.shown} cannot be reached") from error
        return _Token(_token(content, status, app))


def _token(content: bytes, status: int, app: GitHubApp) -> str:
    try:
        found: Any = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    token = found.get("token") if isinstance(found, dict) else None
    if status != 201 or not isinstance(token, str) or not token:
        raise RepositoryError(
            f"GitHub App {app.app_id}: no token for installation {app.installation_id}: HTTP {status}"
        )
    return token


def statement(app: GitHubApp, now: datetime) -> str:
    """Return a JSON Web Token (RS256) that says which App this is.

    Raises:
        SourceError: its private key is none of RSA.
        ProgramMissing: the library that signs is not installed.
    """
    try:
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import padding, rsa
    except ImportError as error:
        raise ProgramMissing("GitHub Apps need cryptography: pip install 'fairlead[crypto]'") from error
    try:
        key = serialization.load_pem_private_key(app.private_key.encode(), password=None)
    except (ValueError, TypeError):
        raise SourceError(f"GitHub App {app.app_id}: githubAppPrivateKey is no PEM without passphrase") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SourceError(f"GitHub App {app.app_id}: githubAppPrivateKey is no RSA key")
    claims = {
        "iat": int((now - SKEW).timestamp()),
        "exp": int((now + STATEMENT).timestamp()),
        "iss": app.app_id,
    }
    signed = f"{_part({'alg': 'RS256', 'typ': 'JWT'})}.{_part(claims)}"
    return f"{signed}.{_encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _part(value: dict[str, Any]) -> str:
    return _encoded(json.dumps(value, separators=(",", ":")).encode())


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

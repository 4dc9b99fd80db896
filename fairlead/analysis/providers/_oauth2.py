"""OAuth 2 client credentials: a token for one measurement.

Source: RFC 6749 section 4.4; `golang.org/x/oauth2/clientcredentials`, which tries the credentials in a header first and
then in the form.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote_plus, urlencode

from fairlead.analysis.providers._http import Answer, ExchangeError, Request, exchange
from fairlead.analysis.providers.settings import WebGuard
from fairlead.analysis.spec import OAuth2

MISSING: Final = "missing mandatory parameter in metric for OAuth2 setup"


async def token(
    oauth2: OAuth2,
    guard: WebGuard,
    *,
    headers: Mapping[str, str],
    insecure: bool,
    seconds: float,
    body_bytes_max: int,
) -> str:
    """Return the value of an Authorization header.

    Raises:
        ExchangeError: there is no token.
    """
    if not oauth2.client_id or not oauth2.client_secret:
        raise ExchangeError(MISSING)
    form = {"grant_type": "client_credentials"}
    if oauth2.scopes:
        form["scope"] = " ".join(oauth2.scopes)
    pair = f"{quote_plus(oauth2.client_id)}:{quote_plus(oauth2.client_secret)}"
    basic = {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}
    in_form = {"client_id": oauth2.client_id, "client_secret": oauth2.client_secret}
    answer = Answer(status=0, body=b"")
    for extra_headers, extra_form in ((basic, {}), ({}, in_form)):
        request = Request(
            method="POST",
            url=oauth2.token_url,
            headers={**headers, "Content-Type": "application/x-www-form-urlencoded", **extra_headers},
            body=urlencode({**form, **extra_form}).encode(),
            seconds=seconds,
            insecure=insecure,
        )
        answer = await exchange(request, guard, body_bytes_max=min(body_bytes_max, 2**20))
        if answer.is_good:
            return _header(answer)
    raise ExchangeError(f"oauth2: cannot fetch token: {answer.status}")  # its body might repeat the secret


def _header(answer: Answer) -> str:
    try:
        data = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise ExchangeError("oauth2: cannot parse token answer: not JSON") from None
    found = data if isinstance(data, dict) else {}
    access, kind = found.get("access_token"), found.get("token_type") or "Bearer"
    if not isinstance(access, str) or not access or not isinstance(kind, str):
        raise ExchangeError("oauth2: server response missing access_token")
    if not (access + kind).isascii() or not (access + kind).isprintable():
        raise ExchangeError("oauth2: the token cannot stand in a header")
    return f"{'Bearer' if kind.lower() == 'bearer' else kind} {access}"

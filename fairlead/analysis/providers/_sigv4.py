"""Signs requests to Amazon Managed Prometheus. Imports boto3: only providers.prometheus may, and only when asked to."""

from __future__ import annotations

import importlib
from typing import Any, Final

import requests
from requests.auth import AuthBase

from fairlead.core.errors import ProviderError

_SERVICE: Final = "aps"
_SIGNED: Final = ("Content-Type",)


class Signer(AuthBase):
    """Adds AWS signatures (version 4), with the credentials of the environment, a profile or a role.

    Args:
        region: to sign for; empty: that of the environment or profile.
        profile: of the shared configuration; empty: the default.
        role: ARN of a role to assume first; empty: none.
    """

    def __init__(self, region: str, profile: str, role: str) -> None:
        boto3: Any = importlib.import_module("boto3")
        exceptions: Any = importlib.import_module("botocore.exceptions")
        try:
            session = boto3.Session(profile_name=profile or None, region_name=region or None)
            self._region = region or session.region_name or ""
            self._credentials = session.get_credentials()
            if role:
                given = session.client("sts").assume_role(RoleArn=role, RoleSessionName="fairlead")["Credentials"]
                self._credentials = importlib.import_module("botocore.credentials").Credentials(
                    given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]
                )
        except (exceptions.BotoCoreError, exceptions.ClientError) as error:
            raise ProviderError(f"sigv4: {type(error).__name__}: {error}", provider="prometheus") from error
        if self._credentials is None or not self._region:
            missing = "credentials" if self._credentials is None else "region"
            raise ProviderError(f"sigv4: no AWS {missing} found", provider="prometheus")

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Return the request, signed."""
        auth: Any = importlib.import_module("botocore.auth")
        aws: Any = importlib.import_module("botocore.awsrequest")
        headers = {name: request.headers[name] for name in _SIGNED if name in request.headers}
        unsigned = aws.AWSRequest(method=request.method, url=request.url, data=request.body or b"", headers=headers)
        auth.SigV4Auth(self._credentials, _SERVICE, self._region).add_auth(unsigned)
        request.headers.update(dict(unsigned.headers.items()))
        return request

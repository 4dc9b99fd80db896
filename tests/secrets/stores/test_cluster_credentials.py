"""Credentials of stores, read from a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from fairlead.core.errors import Invalid, NotFound
from fairlead.core.objects import Kind, ObjectKey
from fairlead.secrets.stores.cluster_credentials import ClusterCredentials

KEY = ObjectKey("team", "thing")
OBJECTS = {
    "secrets": b'{"metadata": {"name": "thing"}, "data": {"token": "bTRya2Vy"}}',
    "configmaps": b'{"metadata": {"name": "thing"}, "data": {"ca.crt": "PEM"}}',
    "serviceaccounts": b'{"metadata": {"name": "thing", "annotations": {"a": "b"}}}',
}


class _Cluster:
    """Answers from a table; remembers what was created."""

    def __init__(self, objects: Mapping[str, bytes] = OBJECTS) -> None:
        self._objects = objects
        self.created: list[tuple[str, str, Any]] = []

    async def get(self, kind: Kind[Any], key: ObjectKey) -> Any:
        if key != KEY or kind.plural not in self._objects:
            raise NotFound(f'{kind.plural} "{key.name}" not found', status=404, reason="NotFound")
        return kind.decode(self._objects[kind.plural])

    async def create(self, kind: Kind[Any], body: Mapping[str, Any], *, namespace: str = "") -> Any:
        self.created.append((namespace, kind.plural, body["spec"]))
        return kind.decode(b'{"metadata": {"name": "thing"}, "status": {"token": "m4rker"}}')


def credentials(cluster: _Cluster) -> ClusterCredentials:
    return ClusterCredentials(cluster)  # type: ignore[arg-type]  # two methods of the port are all that is used


async def test_what_is_read() -> None:
    found = credentials(_Cluster())
    assert await found.secret(KEY) == {"token": b"m4rker"}
    assert await found.config_map(KEY) == {"ca.crt": "PEM"}
    assert await found.service_account(KEY) == {"a": "b"}


@pytest.mark.parametrize("method", ["secret", "config_map", "service_account"])
async def test_what_is_not_there(method: str) -> None:
    with pytest.raises(NotFound):
        await getattr(credentials(_Cluster()), method)(ObjectKey("team", "nobody"))


async def test_a_secret_that_is_no_base64_is_an_error_that_quotes_nothing() -> None:
    broken = b'{"metadata": {"name": "thing"}, "data": {"token": "m4rker!"}}'
    with pytest.raises(Invalid) as caught:
        await credentials(_Cluster({"secrets": broken})).secret(KEY)
    assert "m4rker" not in str(caught.value)


async def test_an_empty_config_map() -> None:
    assert await credentials(_Cluster({"configmaps": b'{"metadata": {"name": "thing"}}'})).config_map(KEY) == {}


@pytest.mark.parametrize(("asked", "expected"), [(3600, 3600), (5, 600)])
async def test_a_token_is_requested_below_its_service_account(asked: int, expected: int) -> None:
    cluster = _Cluster()
    token = await credentials(cluster).token(KEY, audiences=("vault",), lifetime=timedelta(seconds=asked))
    assert token.reveal() == b"m4rker"
    spec = {"audiences": ["vault"], "expirationSeconds": expected}
    assert cluster.created == [("team", "serviceaccounts/thing/token", spec)]

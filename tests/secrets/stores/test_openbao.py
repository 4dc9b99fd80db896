"""The `openBao` key of a store's spec."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores import StaticCredentials
from fairlead.secrets.stores.openbao import OpenBaoProvider
from fairlead.secrets.stores.port import FindQuery, RemoteRef
from tests.secrets.stores.badserver import answering, json_answer
from tests.secrets.stores.surroundings import NAMESPACE, Surroundings, opened, spec_of

TOKEN = {"tokenSecretRef": {"name": "creds", "key": "token"}}
PASSWORD = {"userPass": {"username": "u", "secretRef": {"name": "creds"}}}


async def test_it_reads_as_the_vault_provider_does_but_finds_by_name_only() -> None:
    credentials = StaticCredentials(secrets={(NAMESPACE, "creds"): {"token": b"t"}})
    with answering(json_answer(200, '{"data": {"data": {"v": "fine"}}}')) as server:
        spec = spec_of("openBao", {"server": server.address, "path": "secret", "auth": TOKEN})
        async with opened(spec, Surroundings(credentials=credentials)) as store:
            assert (await store.get(RemoteRef(key="db", property="v"))).reveal() == b"fine"
            with pytest.raises(ProviderError, match="by tags"):
                await store.find(FindQuery(tags={"a": "b"}))
    assert server.paths == ["/v1/secret/data/db"]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        pytest.param({"auth": {}}, "spec.provider.openBao.auth", id="no-way-in"),
        pytest.param({"auth": {**TOKEN, **PASSWORD}}, "spec.provider.openBao.auth", id="two-ways"),
        pytest.param({"auth": {"jwt": {"role": "r"}}}, "spec.provider.openBao.auth", id="a-way-of-vault"),
        pytest.param(
            {"auth": {"appRole": {"roleId": "r", "roleRef": {"name": "x"}, "secretRef": {"name": "s"}}}},
            "spec.provider.openBao.auth.appRole",
            id="role-twice",
        ),
        pytest.param(
            {"caBundle": "x", "caProvider": {"type": "Secret", "name": "c"}}, "spec.provider.openBao", id="two-bundles"
        ),
        pytest.param({"server": "bao"}, "spec.provider.openBao.server", id="no-url"),
        pytest.param({"server": 1}, "spec.provider.openBao.server", id="no-text"),
    ],
)
def test_what_cannot_work_is_named_by_its_field(fields: dict[str, Any], path: str) -> None:
    block = {"server": "https://bao", "auth": TOKEN, **fields}
    assert path in [problem.path for problem in OpenBaoProvider().validate_spec(spec_of("openBao", block))]


def test_a_good_block_has_no_problems() -> None:
    block = {"server": "https://bao", "path": "secret", "auth": PASSWORD}
    assert OpenBaoProvider().validate_spec(spec_of("openBao", block)) == []

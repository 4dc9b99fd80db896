"""Kubeconfigs that somebody else wrote."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from fairlead.core.errors import SpecError
from fairlead.kube.endpoints import check_kubeconfig, connect_to, parse_kubeconfig

GOOD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "c",
    "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {"token": "m4rker-token"}}],
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
}


async def test_a_kubeconfig_of_data_is_connected_to() -> None:
    cluster = await connect_to(GOOD)
    try:
        assert cluster.host == "https://127.0.0.1:1"
    finally:
        await cluster.close()


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("users", "exec", {"command": "sh", "args": ["-c", "touch /tmp/pwned"], "apiVersion": "v1"}),
        ("users", "auth-provider", {"name": "gcp"}),
        ("users", "tokenFile", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
        ("users", "client-certificate", "/etc/passwd"),
        ("users", "client-key", "/etc/passwd"),
        ("clusters", "certificate-authority", "/etc/passwd"),
        ("clusters", "insecure-skip-tls-verify", True),
        ("clusters", "proxy-url", "http://127.0.0.1:9"),
    ],
)
async def test_what_would_reach_into_this_process_is_refused(place: str, name: str, value: object) -> None:
    bad = copy.deepcopy(GOOD)
    inner = "user" if place == "users" else "cluster"
    bad[place][0][inner][name] = value
    with pytest.raises(SpecError, match="not allowed") as caught:
        await connect_to(bad)
    assert caught.value.path == f"{place}[0].{inner}.{name}"


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param({**GOOD, "users": "m4rker"}, id="users-are-text"),
        pytest.param({**GOOD, "users": ["m4rker"]}, id="a-user-is-text"),
        pytest.param({**GOOD, "clusters": [{"name": "c"}]}, id="no-cluster"),
        pytest.param({**GOOD, "clusters": [{"name": "c", "cluster": {"server": "http://plain"}}]}, id="without-tls"),
        pytest.param({**GOOD, "current-context": "m4rker"}, id="no-such-context"),
        pytest.param({**GOOD, "contexts": None}, id="no-contexts"),
        pytest.param({}, id="empty"),
        pytest.param(
            {**GOOD, "users": [{"name": "u", "user": {"client-certificate-data": "m4rker", "client-key-data": "x"}}]},
            id="no-base64",
        ),
    ],
)
async def test_what_is_no_kubeconfig_is_an_error_that_quotes_nothing(bad: dict[str, Any]) -> None:
    with pytest.raises(SpecError) as caught:
        await connect_to(bad)
    assert "m4rker" not in str(caught.value)


@pytest.mark.parametrize(
    "text", [b"m4rker: [", b"- m4rker", b"\xff\xfe\x00", b"!!python/object:os.system m4rker", b"x" * 2_000_000]
)
def test_what_is_no_yaml_mapping(text: bytes) -> None:
    with pytest.raises(SpecError) as caught:
        parse_kubeconfig(text)
    assert "m4rker" not in str(caught.value)


def test_a_good_one_passes() -> None:
    check_kubeconfig(GOOD)


async def test_another_field_manager_shares_the_connections() -> None:
    cluster = await connect_to(GOOD)
    try:
        other = cluster.as_manager("somebody")
        assert (other.host, other._field_manager, cluster._field_manager) == (cluster.host, "somebody", "fairlead")
        assert other._transport is cluster._transport
    finally:
        await cluster.close()

"""Which cluster, and as whom; and what the message says when there is none."""

from __future__ import annotations

import base64
import os
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from kubernetes_asyncio import client
from kubernetes_asyncio.config import incluster_config

from fairlead.core.errors import Forbidden, SpecError
from fairlead.core.kinds import REPLICA_SETS
from fairlead.core.objects import ObjectKey
from fairlead.kube import KubeCluster, KubeConfigError, cluster_at, connect
from fairlead.kube.config import InClusterFiles, Times
from tests.kube.server import Server, replica_set, says, serving, status

KEY = ObjectKey("shop", "a")
CA = Path(__file__).parent / "ca.pem"


def kubeconfig(path: Path, user: dict[str, Any] | None = None, *, server: str = "http://api.example.org:8080") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "one",
                "clusters": [
                    {"name": "c", "cluster": {"server": server}},
                    {"name": "d", "cluster": {"server": "http://two.example.org"}},
                ],
                "users": [{"name": "u", "user": user or {}}],
                "contexts": [
                    {"name": "one", "context": {"cluster": "c", "user": "u"}},
                    {"name": "two", "context": {"cluster": "d", "user": "u"}},
                ],
            }
        )
    )
    return str(path)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory of our own, so that nobody's real configuration is read."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def account(tmp_path: Path) -> InClusterFiles:
    """A pod's service account; its token ends with a newline, as those written by hand do."""
    token, certificate = tmp_path / "token", tmp_path / "ca.crt"
    token.write_text("pod-token\n")
    certificate.write_text(CA.read_text())
    return InClusterFiles(token=str(token), certificate=str(certificate))


IN_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
NOWHERE = InClusterFiles(token="/nowhere/token", certificate="/nowhere/ca.crt")


def rotate(account: InClusterFiles, token: str) -> None:
    Path(account.token).write_text(token)


async def host_of(cluster: KubeCluster) -> str:
    async with cluster:
        return cluster.host


async def token_of(cluster: KubeCluster) -> str:
    async with cluster:
        settings = await cluster._transport._api.configuration.auth_settings()
        return str(settings["BearerToken"]["value"])


# --- which one -------------------------------------------------------------------------------------------------------


async def test_the_order_in_which_configurations_are_looked_for(home: Path, account: InClusterFiles) -> None:
    kubeconfig(home / ".kube" / "config", server="http://home.example.org")
    named = kubeconfig(home / "named", server="http://named.example.org")
    given = kubeconfig(home / "given", server="http://given.example.org")
    plain = {"HOME": str(home)}
    everything = plain | IN_POD | {"KUBECONFIG": named}
    assert await host_of(await connect(given, environ=everything, files=account)) == "http://given.example.org"
    assert await host_of(await connect(environ=everything, files=account)) == "http://named.example.org"
    assert await host_of(await connect(environ=plain | IN_POD, files=account)) == "https://10.0.0.1:443"
    assert await host_of(await connect(environ=plain, files=account)) == "http://home.example.org"
    assert (
        await host_of(await connect(context="two", environ=plain | IN_POD, files=account)) == "http://two.example.org"
    )
    assert await host_of(await connect(in_cluster=True, environ=everything, files=account)) == "https://10.0.0.1:443"
    assert (
        await host_of(await connect(in_cluster=False, environ=plain | IN_POD, files=account))
        == "http://home.example.org"
    )


async def test_several_files_are_merged_and_absent_ones_left_out(home: Path) -> None:
    one = kubeconfig(home / "one", server="http://one.example.org")
    paths = os.pathsep.join([str(home / "absent"), one])
    assert await host_of(await connect(environ={"HOME": str(home), "KUBECONFIG": paths})) == "http://one.example.org"


@pytest.mark.parametrize(
    ("given", "environ", "in_cluster", "message"),
    [
        pytest.param(
            None,
            {},
            None,
            "no cluster is configured: no --kubeconfig was given; KUBECONFIG is not set; not in a pod"
            " (KUBERNETES_SERVICE_HOST is missing); {home}/.kube/config does not exist",
            id="nothing-at-all",
        ),
        pytest.param(
            None,
            {"KUBECONFIG": "/nowhere/config"},
            None,
            "no cluster is configured: no --kubeconfig was given; KUBECONFIG=/nowhere/config (not there); not in a pod"
            " (KUBERNETES_SERVICE_HOST is missing)",
            id="variable-points-nowhere",
        ),
        pytest.param(
            "/nowhere/given",
            {},
            None,
            "no cluster is configured: --kubeconfig /nowhere/given does not exist",
            id="given",
        ),
        pytest.param(
            None,
            IN_POD,
            None,
            "no cluster is configured: no --kubeconfig was given; KUBECONFIG is not set; not in a pod"
            " (/nowhere/token is missing); {home}/.kube/config does not exist",
            id="pod-without-account",
        ),
        pytest.param(
            None,
            {},
            False,
            "no cluster is configured: no --kubeconfig was given; KUBECONFIG is not set;"
            " {home}/.kube/config does not exist",
            id="outside-of-a-pod",
        ),
        pytest.param(
            None,
            {},
            True,
            "the service account cannot be used (/nowhere/token): Service host/port is not set.",
            id="in-cluster-but-not-in-one",
        ),
    ],
)
async def test_what_was_looked_for_is_named(
    home: Path, given: str | None, environ: dict[str, str], in_cluster: bool | None, message: str
) -> None:
    with pytest.raises(KubeConfigError) as caught:
        await connect(given, in_cluster=in_cluster, environ={"HOME": str(home)} | environ, files=NOWHERE)
    assert str(caught.value) == message.format(home=home)
    assert isinstance(caught.value, SpecError), "the user's to mend"


@pytest.mark.parametrize(
    ("text", "context", "message"),
    [
        pytest.param("", None, "it is no kubeconfig|NoneType", id="empty"),
        pytest.param("[1, 2]", None, "it is no kubeconfig|list", id="no-mapping"),
        pytest.param("a: b: c", None, "mapping values are not allowed", id="no-yaml"),
        pytest.param("current-context: x", None, "x", id="context-is-missing"),
        pytest.param("clusters: []\ncontexts: []\nusers: []", None, "current-context", id="no-current-context"),
        pytest.param(None, "absent", "context absent: .*absent", id="unknown-context"),
    ],
)
async def test_a_bad_kubeconfig_is_named(home: Path, text: str | None, context: str | None, message: str) -> None:
    path = home / "config"
    if text is None:
        kubeconfig(path)
    else:
        path.write_text(text)
    with pytest.raises(KubeConfigError, match=message) as caught:
        await connect(str(path), context)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    "data", [pytest.param("!!!", id="no-base64"), pytest.param(base64.b64encode(b"nonsense").decode(), id="no-pem")]
)
async def test_bad_certificates_are_named(home: Path, data: str) -> None:
    path = home / "config"
    kubeconfig(path, server="https://api.example.org")
    content = yaml.safe_load(path.read_text())
    content["clusters"][0]["cluster"]["certificate-authority-data"] = data
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(KubeConfigError, match=str(path)):
        await connect(str(path))


# --- settings --------------------------------------------------------------------------------------------------------


async def test_the_librarys_default_is_left_alone_and_the_pool_is_large(home: Path) -> None:
    before = vars(client.Configuration)["_default"]
    async with await connect(kubeconfig(home / "config"), connections_max=300, user_agent="fairlead/9 test") as cluster:
        api = cluster._transport._api
        assert api.rest_client.pool_manager.connector is not None
        assert api.rest_client.pool_manager.connector.limit == 300
        assert api.user_agent == "fairlead/9 test"
    assert vars(client.Configuration)["_default"] is before


async def test_a_cluster_at_a_url() -> None:
    async with serving(says(replica_set())) as server, cluster_at(server.url + "/") as cluster:
        assert (await cluster.get(REPLICA_SETS, KEY)).metadata.name == "a"
        assert server.requests[0].headers["User-Agent"].startswith("fairlead/")
        assert "Authorization" not in server.requests[0].headers


# --- who we are ------------------------------------------------------------------------------------------------------


async def test_a_token_that_ends_with_a_newline_works_and_is_read_again(
    home: Path, account: InClusterFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(incluster_config, "TOKEN_REFRESH_PERIOD", timedelta())  # a minute, ordinarily
    cluster = await connect(environ={"HOME": str(home)} | IN_POD, files=account)
    async with cluster:
        settings = cluster._transport._api.configuration
        assert (await settings.auth_settings())["BearerToken"]["value"] == "Bearer pod-token"
        rotate(account, "rotated\n")
        assert (await settings.auth_settings())["BearerToken"]["value"] == "Bearer rotated"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        pytest.param({"token": "abc\n"}, "Bearer abc", id="token"),
        pytest.param({"username": "u", "password": "p"}, "Basic dTpw", id="password"),
    ],
)
async def test_credentials_of_a_kubeconfig(home: Path, user: dict[str, Any], header: str) -> None:
    assert await token_of(await connect(kubeconfig(home / "config", user))) == header


async def test_a_token_file_is_read_again(home: Path) -> None:
    later = Later()
    (home / "token").write_text("first\n")
    cluster = await connect(kubeconfig(home / "config", {"tokenFile": "token"}), times=later.times)
    async with cluster:
        settings = cluster._transport._api.configuration
        assert (await settings.auth_settings())["BearerToken"]["value"] == "Bearer first"
        (home / "token").write_text("second\n")
        assert (await settings.auth_settings())["BearerToken"]["value"] == "Bearer first", "once a minute is enough"
        later.seconds = 61
        assert (await settings.auth_settings())["BearerToken"]["value"] == "Bearer second"
        (home / "token").unlink()
        later.seconds = 122
        with pytest.raises(Forbidden, match="the credentials cannot be renewed"):
            await cluster.get(REPLICA_SETS, KEY)


class Later:
    """Time that stands still until it is moved on."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.times = Times(monotonic=lambda: self.seconds, wall=lambda: 1.8e9 + self.seconds)


class _Plugin:
    """A credential plug-in: prints the tokens of a list, one per run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script = folder / "plugin"
        self.script.write_text(f'#!/bin/sh\ncd {folder}\nn=$(cat runs); echo $((n + 1)) > runs\ncat "answer-$n"\n')
        self.script.chmod(self.script.stat().st_mode | stat.S_IXUSR)
        (folder / "runs").write_text("0\n")

    def says(self, *credentials: dict[str, Any]) -> dict[str, Any]:
        """Return the user that names the plug-in."""
        version = "client.authentication.k8s.io/v1"
        for number, credential in enumerate(credentials):
            answer = {"apiVersion": version, "kind": "ExecCredential", "status": credential}
            (self.folder / f"answer-{number}").write_bytes(msgspec.json.encode(answer))
        return {"exec": {"apiVersion": version, "command": str(self.script)}}

    @property
    def runs(self) -> int:
        return int((self.folder / "runs").read_text())


@pytest.fixture
def plugin(tmp_path: Path) -> _Plugin:
    folder = tmp_path / "plugin-files"
    folder.mkdir()
    return _Plugin(folder)


def authorizations(server: Server) -> list[str]:
    return [seen.headers["Authorization"] for seen in server.requests]


async def test_a_plugin_runs_again_when_its_token_runs_out(home: Path, plugin: _Plugin) -> None:
    later = Later()
    user = plugin.says(
        {"token": "one\n", "expirationTimestamp": "2999-01-01T00:00:00Z"},
        {"token": "two", "expirationTimestamp": "2999-01-01T00:00:00Z"},
    )
    async with serving(says(replica_set())) as server:
        cluster = await connect(kubeconfig(home / "config", user, server=server.url), times=later.times)
        async with cluster:
            await cluster.get(REPLICA_SETS, KEY)
            await cluster.get(REPLICA_SETS, KEY)
            assert plugin.runs == 1
            later.seconds = 1000 * 365.25 * 86400
            await cluster.get(REPLICA_SETS, KEY)
            await cluster.get(REPLICA_SETS, KEY)
    assert plugin.runs == 2, "not at each request, although its new token is as old as the first"
    assert authorizations(server) == ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]


async def test_a_plugin_runs_again_when_its_token_is_refused(home: Path, plugin: _Plugin) -> None:
    later = Later()
    user = plugin.says({"token": "one"}, {"token": "two"})
    refused = says(status(401, "Unauthorized"), 401)
    async with serving(refused, refused, says(replica_set()), refused) as server:
        cluster = await connect(kubeconfig(home / "config", user, server=server.url), times=later.times)
        async with cluster:
            with pytest.raises(Forbidden):  # it has only just run: another run would bring nothing new
                await cluster.get(REPLICA_SETS, KEY)
            later.seconds = 11
            assert (await cluster.get(REPLICA_SETS, KEY)).metadata.name == "a"
            with pytest.raises(Forbidden):
                await cluster.get(REPLICA_SETS, KEY)
    assert plugin.runs == 2
    assert authorizations(server) == ["Bearer one", "Bearer one", "Bearer two", "Bearer two"]


async def test_a_plugin_that_fails_is_quoted(home: Path, plugin: _Plugin) -> None:
    later = Later()
    user = plugin.says({"token": "one"})
    refused = says(status(401, "Unauthorized"), 401)
    async with serving(refused) as server:
        path = kubeconfig(home / "config", user, server=server.url)
        async with await connect(path, times=later.times) as cluster:
            later.seconds = 11
            with pytest.raises(Forbidden, match=r"the credentials cannot be renewed: .*answer-1"):
                await cluster.get(REPLICA_SETS, KEY)
        with pytest.raises(KubeConfigError, match="answer-2"):
            await connect(path)


async def test_a_plugin_that_is_not_installed_is_named(home: Path) -> None:
    user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/nowhere/plugin"}}
    with pytest.raises(KubeConfigError, match="/nowhere/plugin"):
        await connect(kubeconfig(home / "config", user))


# --- netrc -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "is_refused"),
    [
        pytest.param("machine api.example.org login u password p", True, id="names-the-server"),
        pytest.param("default login u password p", True, id="names-everybody"),
        pytest.param("machine git.example.org login u password p", False, id="names-somebody-else"),
        pytest.param("machine", False, id="cannot-be-parsed"),
        pytest.param(None, False, id="absent"),
    ],
)
async def test_a_netrc_that_would_get_in_the_way_is_named(home: Path, text: str | None, is_refused: bool) -> None:
    if text is not None:
        (home / ".netrc").write_text(text)
        (home / ".netrc").chmod(0o600)
    path = kubeconfig(home / "config", {"token": "abc"})
    if not is_refused:
        assert await host_of(await connect(path)) == "http://api.example.org:8080"
        return
    with pytest.raises(KubeConfigError, match=r"\.netrc has an entry that matches api\.example\.org.*NETRC=/dev/null"):
        await connect(path)
    async with await connect(path, environ={"HOME": str(home), "NETRC": "/dev/null"}) as cluster:
        assert cluster.host == "http://api.example.org:8080"

"""`fairlead app diff` that renders what a real Git server holds, with the credentials of the cluster."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agentsync.sources.conftest import need
from tests.agentsync.sources.repository import Repository
from tests.agentsync.sources.servers import SshServer, ssh_server
from tests.cli.test_app import application, staged

pytestmark = pytest.mark.real

MANIFEST = "{apiVersion: v1, kind: ConfigMap, metadata: {name: web}, data: {a: '%s'}}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SshServer]:
    need("git", "sshd", "ssh", "ssh-keygen")
    with ssh_server(tmp_path / "ssh") as found:
        yield found


def project(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "shop", "namespace": "argocd"}
    return {"apiVersion": "argoproj.io/v1alpha1", "kind": "AppProject", "metadata": metadata, "spec": spec}


def secret(url: str, key: str) -> dict[str, Any]:
    labels = {"argocd.argoproj.io/secret-type": "repository"}
    data = {name: base64.b64encode(text.encode()).decode() for name, text in (("url", url), ("sshPrivateKey", key))}
    metadata = {"name": "repository", "namespace": "argocd", "labels": labels}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}


def hosts(text: str) -> dict[str, Any]:
    metadata = {"name": "argocd-ssh-known-hosts-cm", "namespace": "argocd"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ssh_known_hosts": text}}


def commit(repository: Repository, value: str) -> str:
    folder = repository.folder / "deploy"
    folder.mkdir(exist_ok=True)
    (folder / "web.yaml").write_text(MANIFEST % value)
    repository.git("add", "--all")
    repository.git("commit", "--quiet", "--message", value)
    return repository.git("rev-parse", "HEAD").strip()


async def test_over_ssh(tmp_path: Path, server: SshServer) -> None:
    repository = Repository(tmp_path / "shop")
    first = commit(repository, "1")
    commit(repository, "2")
    app = application(resources=[])
    app["spec"]["source"]["repoURL"] = url = server.url(repository.folder)
    live = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "web",
            "namespace": "shop",
            "annotations": {"argocd.argoproj.io/tracking-id": "web:/ConfigMap:shop/web"},
        },
        "data": {"a": "1"},
    }
    opened = (secret(url, server.private_key), hosts(server.known_hosts))
    async with staged(tmp_path, app, project(), live, *opened) as stage:
        newest = await stage.run("diff", "web")
        earlier = await stage.run("diff", "web", "--revision", first)
        unknown = await stage.run("diff", "web", "--revision", "nowhere")
    assert (newest.exit_code, "+  a: '2'\n" in newest.output) == (1, True), newest.output
    assert (earlier.exit_code, earlier.output) == (0, "")
    assert (unknown.exit_code, unknown.output) == (2, "Error: unable to resolve 'nowhere' to a commit SHA\n")


async def test_what_is_not_signed_as_the_project_demands_is_not_rendered(tmp_path: Path, server: SshServer) -> None:
    need("gpg")
    repository = Repository(tmp_path / "shop")
    commit(repository, "1")
    app = application(resources=[])
    app["spec"]["source"]["repoURL"] = url = server.url(repository.folder)
    demanding = project(signatureKeys=[{"keyID": "4AEE18F83AFDEB23"}])
    opened = (secret(url, server.private_key), hosts(server.known_hosts))
    async with staged(tmp_path, app, demanding, *opened) as stage:
        result = await stage.run("diff", "web")
    assert result.exit_code == 2
    assert "=====" not in result.output
    assert result.output.startswith("Error: a signature")


async def test_a_host_that_nobody_knows_is_refused(tmp_path: Path, server: SshServer) -> None:
    repository = Repository(tmp_path / "shop")
    commit(repository, "1")
    app = application(resources=[])
    app["spec"]["source"]["repoURL"] = url = server.url(repository.folder)
    async with staged(tmp_path, app, project(), secret(url, server.private_key)) as stage:
        result = await stage.run("diff", "web")
    assert result.exit_code == 2
    assert result.output.startswith("Error: ")
    assert "PRIVATE KEY" not in result.output

"""`fairlead app diff`: from files alone, and against the embedded API."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from fairlead.cli.main import main
from tests.cli.test_app import application, put, staged

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"a": "1"}}


def tracked(found: dict[str, Any], **more: Any) -> dict[str, Any]:
    tracking = f"web:/{found['kind']}:shop/{found['metadata']['name']}"
    metadata = {**found["metadata"], "namespace": "shop", "annotations": {"argocd.argoproj.io/tracking-id": tracking}}
    return {**found, "metadata": metadata, **more}


def write(path: Path, *documents: dict[str, Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump_all(documents))
    return str(path)


def offline(folder: Path, manifests: list[dict[str, Any]], live: list[dict[str, Any]], *more: str) -> Result:
    write(folder / "repository" / "deploy" / "all.yaml", *manifests)
    given = ("--application", write(folder / "app.yaml", application()))
    sides = ("--local", str(folder / "repository" / "deploy"), "--offline-live", write(folder / "live.yaml", *live))
    return CliRunner().invoke(main, ["app", "diff", *given, *sides, *more])


def test_equal_is_exit_code_0_and_silent(tmp_path: Path) -> None:
    result = offline(tmp_path, [CONFIG_MAP], [tracked(CONFIG_MAP)])
    assert (result.exit_code, result.output) == (0, "")


def test_different_is_exit_code_1(tmp_path: Path) -> None:
    live = [tracked(CONFIG_MAP, data={"a": "2"}), tracked({**CONFIG_MAP, "metadata": {"name": "old"}})]
    new = {**CONFIG_MAP, "metadata": {"name": "new"}}
    result = offline(tmp_path, [CONFIG_MAP, new], live)
    assert result.exit_code == 1
    assert result.output.count("=====") == 6
    assert "===== /ConfigMap shop/web ======\n--- live\n+++ target\n" in result.output
    assert "-  a: '2'\n+  a: '1'\n" in result.output
    names = offline(tmp_path, [CONFIG_MAP, new], live, "-o", "name", "--no-exit-code")
    assert (names.exit_code, names.output.splitlines()) == (
        0,
        ["created /ConfigMap/shop/new", "extra /ConfigMap/shop/old", "changed /ConfigMap/shop/web"],
    )
    data = json.loads(offline(tmp_path, [CONFIG_MAP], [tracked(CONFIG_MAP, data={"a": "2"})], "-o", "json").output)
    assert data == [
        {
            "group": "",
            "kind": "ConfigMap",
            "namespace": "shop",
            "name": "web",
            "fate": "changed",
            "changes": [{"path": "data.a", "wanted": "1", "found": "2"}],
        }
    ]


def test_secrets_are_hidden(tmp_path: Path) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "bmV3"}}
    result = offline(tmp_path, [secret], [tracked(secret, data={"k": "b2xk"})])
    assert result.exit_code == 1
    assert "bmV3" not in result.output
    assert "b2xk" not in result.output


@pytest.mark.parametrize(
    ("manifests", "message"),
    [
        pytest.param([{"kind": "ConfigMap", "metadata": {"name": "x"}}], "apiVersion", id="no-version"),
        pytest.param(
            [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}], "metadata.name is missing", id="no-name"
        ),
    ],
)
def test_what_cannot_be_told_is_exit_code_2(tmp_path: Path, manifests: list[dict[str, Any]], message: str) -> None:
    result = offline(tmp_path, manifests, [])
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("web", "--application", "{file}"),
        ("web", "--offline-live", "{file}"),
        ("--application", "{file}", "--offline-live", "{file}"),
    ],
)
def test_wrong_usage(tmp_path: Path, words: tuple[str, ...]) -> None:
    file = write(tmp_path / "x.yaml", application())
    result = CliRunner().invoke(main, ["app", "diff", *(word.format(file=file) for word in words)])
    assert result.exit_code == 2
    assert "Usage: " in result.output


async def test_against_a_cluster_with_a_local_directory(tmp_path: Path) -> None:
    write(tmp_path / "repository" / "deploy" / "all.yaml", CONFIG_MAP)
    extra = tracked({**CONFIG_MAP, "metadata": {"name": "old"}})
    status = [
        {"version": "v1", "kind": "ConfigMap", "namespace": "shop", "name": name} for name in ("web", "old", "gone")
    ]
    async with staged(tmp_path, application(resources=status), tracked(CONFIG_MAP, data={"a": "2"}), extra) as stage:
        local = ("--local", str(tmp_path / "repository" / "deploy"))
        first = await stage.run("diff", "web", *local, "-o", "name")
        await put(stage.cluster, tracked(CONFIG_MAP))
        second = await stage.run("diff", "web", *local, "-o", "name")
        elsewhere = await stage.run("diff", "--application", remote(tmp_path), *local)
        missing = await stage.run("diff", "none", *local)
    assert (first.exit_code, first.output) == (1, "extra /ConfigMap/shop/old\nchanged /ConfigMap/shop/web\n")
    assert (second.exit_code, second.output) == (1, "extra /ConfigMap/shop/old\n")
    assert elsewhere.exit_code == 2
    assert "name the context of that cluster with --live-context" in elsewhere.output
    assert (missing.exit_code, missing.output) == (2, 'Error: applications.argoproj.io "none" not found\n')


async def test_an_application_of_another_namespace_than_the_controllers(tmp_path: Path) -> None:
    """Its objects carry the namespace in their tracking, and its project is where the controller is."""
    write(tmp_path / "repository" / "deploy" / "all.yaml", CONFIG_MAP)
    app = application(resources=[], controllerNamespace="argocd")
    app["metadata"]["namespace"] = "shop"
    live = tracked(CONFIG_MAP)
    live["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"] = "shop_web:/ConfigMap:shop/web"
    async with staged(tmp_path, app, live) as stage:
        result = await stage.run("diff", "shop/web", "--local", str(tmp_path / "repository" / "deploy"))
    assert (result.exit_code, result.output) == (0, "")


def remote(folder: Path) -> str:
    found = application()
    found["spec"]["destination"]["server"] = "https://spoke.example.com"
    return write(folder / "remote.yaml", found)


async def test_what_git_says_is_rendered_only_with_a_project(tmp_path: Path) -> None:
    """Which signatures are asked for stands in the project: without it nothing that was fetched is used."""
    async with staged(tmp_path, application()) as stage:
        result = await stage.run("diff", "web")
    assert result.exit_code == 2
    assert 'appprojects.argoproj.io "shop" not found' in result.output


def test_a_base_outside_of_the_directory_is_found(tmp_path: Path) -> None:
    """The directory lies where the spec says, so the root of the repository is known."""
    from fairlead.cli._app_rendering import _local_place
    from fairlead.core.errors import SpecError

    folder = tmp_path / "web" / "deploy" / "prod"
    folder.mkdir(parents=True)
    root = tmp_path.resolve() / "web"
    assert _local_place(folder, None, "deploy/prod") == (root, "deploy/prod")
    assert _local_place(folder, None, "other") == (root / "deploy" / "prod", ".")
    assert _local_place(folder, tmp_path / "web", "other") == (root, "deploy/prod")
    with pytest.raises(SpecError, match="is not below"):
        _local_place(folder, tmp_path / "else", "")

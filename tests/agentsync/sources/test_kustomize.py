"""Kustomize with real programs: the same answer by either, edits as its own, nothing from elsewhere (row 45)."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead.agentsync.sources import KustomizeSettings, Limits, ProgramMissing, RenderError, ToolSettings, render
from fairlead.agentsync.spec import KustomizePatch, KustomizeReplica, KustomizeSelector, KustomizeSource, Source

pytestmark = pytest.mark.real

DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: web, image: "web:1"}]
"""


SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: more}\nspec: {ports: [{port: 80}]}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository with a base, an overlay, a component and files beside them."""
    root = tmp_path / "tree"
    files = {
        "base/kustomization.yaml": "resources: [web.yaml]\n",
        "base/web.yaml": DEPLOYMENT,
        "common/settings.env": "MODE=fast\n",
        "components/extra/kustomization.yaml": (
            "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nresources: [more.yaml]\n"
        ),
        "components/extra/more.yaml": SERVICE,
        "overlays/live/kustomization.yaml": (
            "# kept apart\nresources: [../../base]\nnamePrefix: live-\ncommonAnnotations: {team: a}\n"
            "configMapGenerator:\n- name: settings\n  literals: [A=1]\n"
        ),
    }
    for name, content in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
    return root


def settings_with(**programs: Any) -> ToolSettings:
    return ToolSettings(kustomize=KustomizeSettings(**programs))


async def by(root: Path, path: str, settings: ToolSettings, options: KustomizeSource | None = None) -> list[Any]:
    return list(await render(root, Source(path=path, kustomize=options), settings=settings))


async def test_kustomize_and_kubectl_answer_alike(tree: Path, kustomize: Path, kubectl: Path) -> None:
    one = await by(tree, "overlays/live", settings_with(program=str(kustomize)))
    other = await by(tree, "overlays/live", settings_with(program="no-kustomize", kubectl=str(kubectl)))
    assert one == other
    assert {each["kind"]: each["metadata"]["name"].split("-")[0] for each in one} == {
        "ConfigMap": "live",
        "Deployment": "live",
    }


async def test_without_either_program_the_error_says_so(tree: Path) -> None:
    with pytest.raises(ProgramMissing, match="neither 'no-kustomize' nor 'no-kubectl' is on the PATH"):
        await by(tree, "base", settings_with(program="no-kustomize", kubectl="no-kubectl"))


OPTIONS: list[tuple[KustomizeSource, list[list[str]]]] = [
    (KustomizeSource(name_prefix="x-"), [["set", "nameprefix", "--", "x-"]]),
    (KustomizeSource(name_suffix="-x"), [["set", "namesuffix", "--", "-x"]]),
    (KustomizeSource(namespace="shop"), [["set", "namespace", "--", "shop"]]),
    (KustomizeSource(images=("web=mirror/web:2",)), [["set", "image", "web=mirror/web:2"]]),
    (KustomizeSource(images=("web:3",)), [["set", "image", "web:3"]]),
    (KustomizeSource(images=("web=*:4",)), [["set", "image", "web=*:4"]]),
    (
        KustomizeSource(images=("web=mirror/web@sha256:" + "0" * 64,)),
        [["set", "image", "web=mirror/web@sha256:" + "0" * 64]],
    ),
    (KustomizeSource(replicas=(KustomizeReplica(name="web", count=5),)), [["set", "replicas", "web=5"]]),
    (KustomizeSource(common_labels={"a": "b"}), [["add", "label", "a:b"]]),
    (
        KustomizeSource(common_labels={"a": "b"}, label_without_selector=True),
        [["add", "label", "--without-selector", "a:b"]],
    ),
    (
        KustomizeSource(common_labels={"a": "b"}, label_without_selector=True, label_include_templates=True),
        [["add", "label", "--without-selector", "--include-templates", "a:b"]],
    ),
    (
        KustomizeSource(common_annotations={"team": "b"}, force_common_annotations=True),
        [["add", "annotation", "--force", "team:b"]],
    ),
    (KustomizeSource(components=("../../components/extra",)), [["add", "component", "../../components/extra"]]),
    (
        KustomizeSource(name_prefix="x-", namespace="shop", images=("web:9",), common_labels={"a": "b"}),
        [
            ["set", "nameprefix", "--", "x-"],
            ["set", "image", "web:9"],
            ["add", "label", "a:b"],
            ["set", "namespace", "--", "shop"],
        ],
    ),
]


@pytest.mark.parametrize(("options", "commands"), OPTIONS, ids=[" ".join(each[0]) for _, each in OPTIONS])
async def test_edits_are_those_of_kustomize_edit(
    options: KustomizeSource, commands: list[list[str]], tree: Path, kustomize: Path, tmp_path: Path
) -> None:
    wanted = edited_by(kustomize, tree, tmp_path / "copy", commands)
    before = contents(tree)
    assert await by(tree, "overlays/live", settings_with(program=str(kustomize)), options) == wanted
    # T33: nothing was written where others read.
    assert contents(tree) == before


def edited_by(kustomize: Path, tree: Path, copy: Path, commands: list[list[str]]) -> list[Any]:
    """Return what the program itself makes of edits."""
    shutil.copytree(tree, copy)
    live = copy / "overlays/live"
    for command in commands:
        subprocess.run([kustomize, "edit", *command], cwd=live, check=True, capture_output=True)
    return list(yaml.safe_load_all(subprocess.run([kustomize, "build", live], check=True, capture_output=True).stdout))


def contents(tree: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}


async def test_patches_are_appended(tree: Path, kustomize: Path) -> None:
    patch = '[{"op": "replace", "path": "/spec/replicas", "value": 7}]'
    options = KustomizeSource(patches=(KustomizePatch(patch=patch, target=KustomizeSelector(kind="Deployment")),))
    found = await by(tree, "base", settings_with(program=str(kustomize)), options)
    assert [each["spec"]["replicas"] for each in found] == [7]


async def test_missing_components_are_skipped_only_when_allowed(tree: Path, kustomize: Path) -> None:
    settings = settings_with(program=str(kustomize))
    components = ("../../components/extra", "../../components/absent")
    allowed = KustomizeSource(components=components, ignore_missing_components=True)
    assert len(await by(tree, "overlays/live", settings, allowed)) == 3
    with pytest.raises(RenderError, match=r"kustomize build overlays/live failed: .*absent"):
        await by(tree, "overlays/live", settings, KustomizeSource(components=components))


async def test_a_file_outside_of_the_directory_is_there_for_kustomize_to_judge(tree: Path, kustomize: Path) -> None:
    (tree / "overlays/live/kustomization.yaml").write_text(
        "resources: [../../base]\nconfigMapGenerator:\n- {name: s, envs: [../../common/settings.env]}\n"
    )
    with pytest.raises(RenderError, match=r"security; file .* is not in or below") as error:
        await by(tree, "overlays/live", settings_with(program=str(kustomize)))
    assert "/tmp" not in str(error.value)
    options = ("--load-restrictor", "LoadRestrictionsNone")
    found = await by(tree, "overlays/live", settings_with(program=str(kustomize), build_options=options))
    assert any(each.get("data") == {"MODE": "fast"} for each in found)


@pytest.mark.parametrize(
    ("kustomization", "message"),
    [
        pytest.param(
            "resources: ['https://127.0.0.1:9/x.yaml']\n", "remote bases are off: https://127.0.0.1:9", id="url"
        ),
        pytest.param("resources: [github.com/team/base]\n", "remote bases are off", id="github"),
        pytest.param("resources: [../..]\n", "cycle detected", id="itself"),
        pytest.param("resources: [\n", "invalid Kustomization: yaml: line 1", id="no-yaml"),
        pytest.param("transformers: [run.yaml]\n", "external plugins disabled", id="exec-plugin"),
        pytest.param("helmCharts: [{name: x, repo: 'https://127.0.0.1:9'}]\n", "must specify --enable-helm", id="helm"),
    ],
)
async def test_row_45_what_kustomize_must_not_do(kustomization: str, message: str, tree: Path, kustomize: Path) -> None:
    (tree / "overlays/live/kustomization.yaml").write_text(kustomization)
    (tree / "overlays/live/run.yaml").write_text(
        "apiVersion: someteam.example.com/v1\nkind: Exec\nmetadata:\n  name: x\n  annotations:\n"
        "    config.kubernetes.io/function: |\n      exec: {path: /bin/touch}\n"
    )
    with pytest.raises(RenderError, match=message):
        await by(tree, "overlays/live", settings_with(program=str(kustomize)))


async def test_two_kustomization_files_are_refused(tree: Path, kustomize: Path) -> None:
    (tree / "base/Kustomization").write_text("resources: [web.yaml]\n")
    with pytest.raises(RenderError, match="Found multiple kustomization files"):
        await by(tree, "base", settings_with(program=str(kustomize)))


async def test_row_40_names_that_differ_only_in_case_are_refused(tree: Path, kustomize: Path) -> None:
    (tree / "base/WEB.yaml").write_text(DEPLOYMENT)
    with pytest.raises(Exception, match="differ only in case"):
        await by(tree, "base", settings_with(program=str(kustomize)))


async def test_row_40_links_out_of_the_tree_are_refused(tree: Path, kustomize: Path) -> None:
    (tree / "base/link.yaml").symlink_to("/etc/passwd")
    with pytest.raises(RenderError, match=r"out-of-bounds symlinks\. file: base/link\.yaml"):
        await by(tree, "base", settings_with(program=str(kustomize)))


async def test_row_40_a_pipe_is_refused(tree: Path, kustomize: Path) -> None:
    os.mkfifo(tree / "base/pipe.yaml")
    with pytest.raises(Exception, match=r"base/pipe\.yaml is neither a file nor a directory nor a link"):
        await by(tree, "base", settings_with(program=str(kustomize)))


async def test_a_program_that_hangs_is_stopped(tree: Path, tmp_path: Path) -> None:
    program = tmp_path / "slow"
    program.write_text("#!/bin/sh\nexec /bin/sleep 600\n")
    program.chmod(0o755)
    settings = settings_with(program=str(program), limits=Limits(seconds=0.3))
    with pytest.raises(Exception, match=r"slow took longer than 0\.3 s"):
        await by(tree, "base", settings)


def test_the_environment_of_the_build_has_no_way_out(tmp_path: Path) -> None:
    from fairlead.agentsync.sources.kustomize import _environment

    found = _environment(tmp_path, KustomizeSettings())
    assert list(Path(found["PATH"]).iterdir()) == []
    assert found["https_proxy"] == "http://127.0.0.1:9"

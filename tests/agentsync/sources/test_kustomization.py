"""Edits of a kustomization: which fields change, and what is refused. That they are `kustomize edit`'s own is checked
against the program in test_kustomize.py."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync.sources._kustomization import edited, needs_edits, remote_parts, split_image, texts
from fairlead.agentsync.sources.port import RenderError
from fairlead.agentsync.spec import KustomizePatch, KustomizeReplica, KustomizeSelector, KustomizeSource

VARIABLES = {"ARGOCD_APP_REVISION_SHORT": "abc1234"}


@pytest.mark.parametrize(
    ("before", "options", "after"),
    [
        pytest.param({"namePrefix": "a-"}, {"name_prefix": "b-"}, {"namePrefix": "b-"}, id="prefix"),
        pytest.param({}, {"name_suffix": "-b"}, {"nameSuffix": "-b"}, id="suffix"),
        pytest.param({"namespace": "a"}, {"namespace": "b"}, {"namespace": "b"}, id="namespace"),
        pytest.param(
            {"images": [{"name": "web", "newTag": "1", "newName": "x"}, {"name": "db", "newTag": "9"}]},
            {"images": ("web:2", "cache=mirror/cache:7@sha256:ab", "db=*:10")},
            {
                "images": [
                    {"name": "cache", "newName": "mirror/cache", "newTag": "7", "digest": "sha256:ab"},
                    {"name": "db", "newTag": "10"},
                    {"name": "web", "newTag": "2"},
                ]
            },
            id="images",
        ),
        pytest.param(
            {},
            {"images": ("web:$ARGOCD_APP_REVISION_SHORT",)},
            {"images": [{"name": "web", "newTag": "abc1234"}]},
            id="variables-in-images",
        ),
        pytest.param(
            {"replicas": [{"name": "web", "count": 1}]},
            {"replicas": (KustomizeReplica(name="db", count="3"), KustomizeReplica(name="web", count=2))},
            {"replicas": [{"name": "db", "count": 3}, {"name": "web", "count": 2}]},
            id="replicas",
        ),
        pytest.param(
            {"commonLabels": {"a": "1"}},
            {"common_labels": {"a": "2"}, "force_common_labels": True},
            {"commonLabels": {"a": "2"}},
            id="labels-forced",
        ),
        pytest.param(
            {"labels": [{"pairs": {"a": "1"}, "includeTemplates": True}]},
            {"common_labels": {"b": "2"}, "label_without_selector": True, "label_include_templates": True},
            {"labels": [{"pairs": {"a": "1", "b": "2"}, "includeTemplates": True}]},
            id="labels-without-selector",
        ),
        pytest.param(
            {},
            {"common_annotations": {"a": "$ARGOCD_APP_REVISION_SHORT"}},
            {"commonAnnotations": {"a": "$ARGOCD_APP_REVISION_SHORT"}},
            id="annotations-as-they-are",
        ),
        pytest.param(
            {},
            {"common_annotations": {"a": "${ARGOCD_APP_REVISION_SHORT}"}, "common_annotations_envsubst": True},
            {"commonAnnotations": {"a": "abc1234"}},
            id="annotations-with-variables",
        ),
        pytest.param(
            {"patches": [{"path": "p.yaml"}]},
            {
                "patches": (
                    KustomizePatch(
                        patch="x", target=KustomizeSelector(kind="Deployment"), options={"allowNameChange": True}
                    ),
                )
            },
            {
                "patches": [
                    {"path": "p.yaml"},
                    {"patch": "x", "target": {"kind": "Deployment"}, "options": {"allowNameChange": True}},
                ]
            },
            id="patches",
        ),
        pytest.param(
            {"components": ["../a"]},
            {"components": ("../a", "../b")},
            {"components": ["../a", "../b"]},
            id="components",
        ),
    ],
)
def test_edits(before: dict[str, Any], options: dict[str, Any], after: dict[str, Any]) -> None:
    source = KustomizeSource(**options)
    assert needs_edits(source)
    found = edited({"resources": ["web.yaml"], **before}, source, VARIABLES)
    assert found == {"resources": ["web.yaml"], **after}


@pytest.mark.parametrize(
    ("before", "options", "message"),
    [
        pytest.param(
            {"commonLabels": {"a": "1"}},
            {"common_labels": {"a": "2"}},
            "label a already in kustomization file. Use --force to override.",
            id="label-is-there",
        ),
        pytest.param(
            {"commonAnnotations": {"a": "1"}},
            {"common_annotations": {"a": "2"}},
            "annotation a already in kustomization file",
            id="annotation-is-there",
        ),
        pytest.param({}, {"images": ("web",)}, "kustomize image 'web': expected", id="image-without-tag"),
        pytest.param(
            {},
            {"replicas": (KustomizeReplica(name="web", count="many"),)},
            r"kustomize.replicas\[0\].count: found 'many'",
            id="replicas-that-are-no-number",
        ),
        pytest.param(
            {},
            {"common_labels": {"a": "1"}, "label_include_templates": True},
            "labelIncludeTemplates needs",
            id="templates-with-selectors",
        ),
        pytest.param({"images": "x"}, {"images": ("web:1",)}, "kustomization: images is no list", id="images-no-list"),
    ],
)
def test_what_is_refused(before: dict[str, Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(RenderError, match=message):
        edited(before, KustomizeSource(**options), VARIABLES)


def test_nothing_to_edit() -> None:
    assert not needs_edits(KustomizeSource())


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("web", ("web", "", "")),
        ("web:1", ("web", "1", "")),
        ("host:5000/web", ("host:5000/web", "", "")),
        ("host:5000/team/web:1@sha256:ab", ("host:5000/team/web", "1", "sha256:ab")),
        ("web@sha256:ab", ("web", "", "sha256:ab")),
    ],
)
def test_images_are_taken_apart(text: str, parts: tuple[str, str, str]) -> None:
    assert split_image(text) == parts


def test_every_text_could_be_a_path() -> None:
    found = {"resources": ["../base"], "configMapGenerator": [{"files": ["key=../x/file"], "literals": ["a\nb"]}]}
    assert list(texts(found)) == ["../base", "key=../x/file", "../x/file"]


@pytest.mark.parametrize(
    "base",
    [
        "https://github.com/team/base?ref=v1",
        "github.com/team/base",
        "git@host:team/base.git",
        "ssh://git@host/team/base",
        "git::https://host/base",
        "http://169.254.169.254/latest/meta-data",
    ],
)
def test_row_45_bases_elsewhere_are_seen(base: str) -> None:
    assert remote_parts({"resources": ["../local", base]}) == [base]
    assert remote_parts({"resources": ["vendor/github.com/team/base", "web.yaml"]}) == []

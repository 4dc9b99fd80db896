"""Variables and parameter files (gitops 2.3)."""

from __future__ import annotations

import pytest

from fairlead.agentsync.sources import RenderError, RenderRequest
from fairlead.agentsync.sources._environment import environment, overridden, substitute
from fairlead.agentsync.spec import HelmSource, KustomizeSource, Source
from tests.agentsync.sources.folders import MemoryTree


def test_the_variables() -> None:
    source = Source(repo_url="https://host/web", path="app", target_revision="main")
    found = environment(
        RenderRequest(application="shop", namespace="live", project="team", source=source, revision="0123456789" * 4)
    )
    assert found == {
        "ARGOCD_APP_NAME": "shop",
        "ARGOCD_APP_NAMESPACE": "live",
        "ARGOCD_APP_PROJECT_NAME": "team",
        "ARGOCD_APP_REVISION": "0123456789" * 4,
        "ARGOCD_APP_REVISION_SHORT": "0123456",
        "ARGOCD_APP_REVISION_SHORT_8": "01234567",
        "ARGOCD_APP_SOURCE_REPO_URL": "https://host/web",
        "ARGOCD_APP_SOURCE_PATH": "app",
        "ARGOCD_APP_SOURCE_TARGET_REVISION": "main",
    }


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("$A-${A}x$Ax", "1-1x"),
        ("$$A ${ABSENT}|$1|$", "$A ||$"),
        ("no variables", "no variables"),
        ("${A", "${A"),
    ],
)
def test_substitution(text: str, wanted: str) -> None:
    assert substitute(text, {"A": "1"}) == wanted


async def test_parameter_files_are_merged_in_order() -> None:
    tree = MemoryTree(
        {
            "app/.argocd-source.yaml": (
                "helm: {values: 'a: 1', releaseName: one}\nrepoURL: https://evil/x\npath: ../x\n"
            ),
            "app/.argocd-source-shop.yaml": (
                "helm: {releaseName: two, values: null}\ntargetRevision: evil\nchart: evil\n"
            ),
            "app/.argocd-source-other.yaml": "helm: {releaseName: three}\n",
        }
    )
    source = Source(repo_url="https://host/web", path="app", helm=HelmSource(version="v3"))
    found = await overridden(tree, "app", source, "shop")
    assert found == Source(repo_url="https://host/web", path="app", helm=HelmSource(version="v3", release_name="two"))


async def test_a_parameter_file_may_choose_the_tool() -> None:
    tree = MemoryTree({".argocd-source.yaml": "kustomize: {images: ['web:2']}\n"})
    assert (await overridden(tree, "", Source(), "shop")).kustomize == KustomizeSource(images=("web:2",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("helm: [", r"^\.argocd-source\.yaml: line"),
        ("- 1", r"^\.argocd-source\.yaml: expected a map"),
        ("helm: {values: 5}", r"^\.argocd-source\.yaml: Expected `str`, got `int` - at `\$\.helm\.values`"),
    ],
)
async def test_a_bad_parameter_file_is_an_error(text: str, message: str) -> None:
    with pytest.raises(RenderError, match=message):
        await overridden(MemoryTree({".argocd-source.yaml": text}), "", Source(), "shop")

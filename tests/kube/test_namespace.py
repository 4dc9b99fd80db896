from __future__ import annotations

from pathlib import Path

import pytest

from fairlead.kube.config import KubeConfigError, current_namespace

CONFIG = """\
current-context: one
contexts:
- {name: one, context: {cluster: c, namespace: shop}}
- {name: two, context: {cluster: c}}
"""


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        pytest.param(None, "shop", id="of-the-current-context"),
        pytest.param("two", "default", id="of-a-context-without-one"),
    ],
)
def test_namespace_of_a_context(tmp_path: Path, context: str | None, expected: str) -> None:
    (tmp_path / "config").write_text(CONFIG)
    assert current_namespace(str(tmp_path / "config"), context, environ={}) == expected


def test_the_first_of_several_files_wins(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("contexts: [{name: one, context: {namespace: first}}]")
    (tmp_path / "b").write_text(CONFIG)
    environ = {"KUBECONFIG": f"{tmp_path / 'a'}:{tmp_path / 'b'}:{tmp_path / 'absent'}"}
    assert current_namespace(environ=environ) == "first"


@pytest.mark.parametrize(
    ("content", "context", "message"),
    [
        pytest.param(CONFIG, "three", "has no context 'three'; it has one, two", id="unknown-context"),
        pytest.param("- a\n- b", None, "is no kubeconfig", id="a-list"),
        pytest.param("a: [", None, "is no kubeconfig", id="no-yaml"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, content: str, context: str | None, message: str) -> None:
    (tmp_path / "config").write_text(content)
    with pytest.raises(KubeConfigError, match=message):
        current_namespace(str(tmp_path / "config"), context, environ={})

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from fairlead.cli.main import main

ROLLOUT = """\
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "web:1"}]}
  strategy:
    canary:
      steps: [STEPS]
"""
TEMPLATE = """\
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: errors}
spec:
  metrics:
  - name: ratio
    count: 1
    successCondition: CONDITION
    provider: {web: {url: "http://127.0.0.1"}}
"""


def lint(path: Path, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, ["lint", str(path), *options])
    return result.exit_code, result.output


def test_good_manifests_pass(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        ROLLOUT.replace("STEPS", "{setWeight: 20}, {pause: {duration: 5m}}")
        + TEMPLATE.replace("CONDITION", '"result < 1"')
    )
    assert lint(file) == (0, "2 objects checked, 0 errors, 0 warnings\n")


def test_every_error_is_told_with_its_file_object_and_field(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(ROLLOUT.replace("STEPS", "{setWeight: 120}, {pause: {duration: 5m5}}"))
    (tmp_path / "b.yaml").write_text(TEMPLATE.replace("CONDITION", '"reslt < 1"'))
    (tmp_path / "c.yml").write_text("a: [")
    code, output = lint(tmp_path)
    assert code == 1
    lines = output.splitlines()
    assert "a.yaml: Rollout web: error: spec.strategy.steps[0].setWeight: Invalid value: 120" in lines[0]
    assert "spec.strategy.steps[1].pause.duration" in lines[1]
    assert "b.yaml: AnalysisTemplate errors: error: spec.metrics[0].successCondition: unknown name reslt" in lines[2]
    assert "c.yml: error: " in lines[3]
    assert lines[-1] == "3 objects checked, 4 errors, 0 warnings"


@pytest.mark.parametrize(
    ("options", "code"), [pytest.param((), 0, id="lenient"), pytest.param(("--strict",), 1, id="strict")]
)
def test_what_is_probably_not_meant_is_a_warning(tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(TEMPLATE.replace("CONDITION", '"result < 1"\n    failureLimit: 1'))
    found, output = lint(file, *options)
    assert found == code
    assert "warning: spec.metrics[0].failureLimit: 1 failures are tolerated" in output


def test_other_kinds_are_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n---\napiVersion: other.io/v1\nkind: Rollout\nspec: 1\n"
    )
    assert lint(file) == (0, "0 objects checked, 0 errors, 0 warnings\n")

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from fairlead.cli.main import main

EXTERNAL_SECRET = """\
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: db}
spec:
  secretStoreRef: {name: s}
  target:
    template:
      data:
        url: "postgres://{{ .user }}:{{ .password }}@db"
  data: []
"""
STORE = """\
apiVersion: external-secrets.io/v1
kind: SecretStore
metadata: {name: s, namespace: default}
spec: {provider: {fake: {data: [{key: /db, value: '{"user": "alice", "password": "planted"}'}]}}}
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(main, ["secrets", *words])


@pytest.fixture
def store(tmp_path: Path) -> str:
    (tmp_path / "store.yaml").write_text(STORE)
    return str(tmp_path / "store.yaml")


def test_an_external_secret_is_rendered_offline(tmp_path: Path) -> None:
    (tmp_path / "es.yaml").write_text(EXTERNAL_SECRET)
    (tmp_path / "values.yaml").write_text("user: alice\npassword: from-the-file\n")
    result = run(
        "render", str(tmp_path / "es.yaml"), "--values", str(tmp_path / "values.yaml"), "--value", "password=x"
    )
    assert (result.exit_code, result.output) == (0, "url: postgres://alice:x@db\n")


def test_a_bare_template_is_rendered(tmp_path: Path) -> None:
    (tmp_path / "t.tpl").write_text("{{ .user | upper }}-{{ 1 }}")
    assert run("render", str(tmp_path / "t.tpl"), "--value", "user=alice").output == "ALICE-1"


@pytest.mark.parametrize(
    ("template", "pair", "message"),
    [
        pytest.param("{{ .nope }}", "user=a", "nope", id="missing-key"),
        pytest.param("{{ if }}", "user=a", "if", id="syntax"),
        pytest.param("{{ .user }}", "user", "expected KEY=VALUE, found 'user'", id="pair"),
        pytest.param("{{ env `HOME` }}", "user=a", 'function "env" not defined', id="no-environment"),
    ],
)
def test_what_is_wrong_is_one_line(tmp_path: Path, template: str, pair: str, message: str) -> None:
    (tmp_path / "t.tpl").write_text(template)
    result = run("render", str(tmp_path / "t.tpl"), "--value", pair)
    assert result.exit_code == 1
    assert message in result.output
    assert "Traceback" not in result.output


def test_a_value_of_a_store_is_printed_as_it_is(store: str) -> None:
    assert run("get", store, "/db", "--property", "user").output == "alice"


def test_metadata_never_holds_the_value(store: str) -> None:
    output = run("get", store, "/db", "--show-metadata").output
    assert "bytes:    40\nentries:  password, user\n" in output
    assert "planted" not in output and "alice" not in output


def test_a_missing_key_is_an_error(store: str) -> None:
    result = run("get", store, "/nope")
    assert result.exit_code == 1
    assert "Secret does not exist" in result.output

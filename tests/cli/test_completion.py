"""The completion scripts: what a shell offers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from fairlead.cli.main import main


def script(shell: str) -> str:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_asks_the_command_itself(shell: str) -> None:
    assert f"_FAIRLEAD_COMPLETE={shell}_complete" in script(shell)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        pytest.param("pro", ["promote"], id="command"),
        pytest.param("get roll", ["rollout", "rollouts"], id="subcommand"),
        pytest.param("promote --fu", ["--full"], id="option"),
        pytest.param("get rollout web --output ", ["tree", "json"], id="choice"),
    ],
)
def test_bash_offers(words: str, expected: list[str], tmp_path: Path) -> None:
    """In a real bash, with the printed script and a command of that name on the path."""
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    (tmp_path / "completion").write_text(script("bash"), encoding="utf-8")
    command = tmp_path / "fairlead"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fairlead.cli.main "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    line = f"fairlead {words}"
    last = " ''" if line.endswith(" ") else ""
    # What readline does when Tab is pressed.
    asks = (
        f"source {tmp_path / 'completion'}; compopt() {{ :; }}; "
        f"COMP_WORDS=({line}{last}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); "
        '_fairlead_completion fairlead; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    surroundings = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([bash, "-c", asks], capture_output=True, text=True, env=surroundings, check=True)
    assert done.stderr == ""
    assert done.stdout.split() == expected


def test_an_unknown_shell_is_wrong_usage() -> None:
    assert CliRunner().invoke(main, ["completion", "csh"]).exit_code == 2

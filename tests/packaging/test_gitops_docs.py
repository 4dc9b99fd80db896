"""docs/gitops.md says what the code does: commands, options, kinds, settings; and its program runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from fairlead.agentsync.health import _BUILTIN, _SCRIPTED
from fairlead.cli.agent import agent_
from fairlead.cli.app import _COMMANDS, app_
from fairlead.cli.main import main

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


@pytest.mark.parametrize("name", list(_COMMANDS))
def test_every_command_is_listed_with_its_options(name: str) -> None:
    row = next(line for line in section("Commands").splitlines() if line.startswith(f"| `{name}"))
    command = app_.get_command(click.Context(app_), name)
    assert command is not None
    shared = {"--kubeconfig", "--context", "--namespace", "--output", "--no-color", "--no-children", "--show-operation"}
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            longest = max(parameter.opts, key=len)
            assert (
                longest in shared or any(f"`{option}" in row for option in parameter.opts) or longest == "--exit-code"
            ), longest
    for option in re.findall(r"`(--[a-z-]+)", row):
        assert any(option in parameter.opts for parameter in command.params), option


def test_every_option_of_the_agent_is_listed_and_no_other() -> None:
    group = agent_.get_command(click.Context(agent_), "run")
    assert group is not None
    known = {option for parameter in group.params if isinstance(parameter, click.Option) for option in parameter.opts}
    rows = "\n".join(line for line in section("Running").splitlines() if line.startswith("| `"))
    listed = set(re.findall(r"`(--[a-z-]+)`", rows))
    assert listed <= known
    own = ("--gitops", "--hub", "--cluster", "--git-", "--offline", "--webhook", "--sync", "--application")
    assert {option for option in known if option.startswith(own)} <= listed


def test_every_kind_with_a_check_is_listed_and_no_other() -> None:
    listed: set[tuple[str, str]] = set()
    for line in section("Health").splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 2 and cells[1] not in ("Kinds", "---"):
            listed |= {(group.strip(), kind.strip()) for group in cells[0].split(",") for kind in cells[1].split(",")}
    known = {(group or "core", kind) for group, kind in (*_SCRIPTED, *_BUILTIN)}
    assert known <= listed
    assert {kind for _, kind in listed} == {kind for _, kind in known}


def test_settings_that_are_listed_are_read() -> None:
    source = (ROOT / "fairlead" / "agentsync" / "config.py").read_text(encoding="utf-8")
    source += (ROOT / "fairlead" / "agentsync" / "health.py").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (`.*?) \|", section("Settings"), re.MULTILINE):
        for key in re.findall(r"`([^`]+)`", row):
            last = key.removesuffix(".*").removeprefix("resource.customizations.")
            assert last in source, key


def test_the_program_runs_as_it_stands() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "'apps/Deployment/shop/web'" in done.stdout
    assert done.stdout.rstrip().endswith("True")


def test_the_first_command_prints_what_stands_there() -> None:
    told = re.search(r"\$ (fairlead .*?)\n((?:extra|created|changed).*?)```", PAGE, re.DOTALL)
    assert told is not None
    words = told[1].replace("\\\n", " ").split()[1:]
    words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]
    result = CliRunner().invoke(main, words)
    assert (result.exit_code, result.output) == (1, told[2])


def test_links_lead_somewhere() -> None:
    titles = {
        re.sub(r"[^a-z0-9 -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", PAGE):
        assert target.removeprefix("#") in titles or (ROOT / "docs" / target).exists(), target

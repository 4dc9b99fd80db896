"""Selections, and what a watcher sees of a change."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.core.cluster import EventType
from fairlead.core.errors import Expired, Invalid
from fairlead.core.objects import ObjectKey
from fairlead.testing import watching
from fairlead.testing.clock import run_virtual
from fairlead.testing.resources import Registry
from fairlead.testing.storage import Change, Stored
from fairlead.testing.watching import Item, Selection, Watcher, seen_through, select

PODS = Registry().find("", "pods")


def stored(revision: int, **labels: str) -> Stored:
    metadata: dict[str, Any] = {
        "name": "one",
        "namespace": "default",
        "labels": labels,
        "resourceVersion": str(revision),
    }
    return Stored({"metadata": metadata, "spec": {"hostNetwork": True}, "status": {}}, (), revision)


def change(before: Stored | None, after: Stored, type_: EventType = EventType.MODIFIED) -> Change:
    return Change(type_, "pods", ObjectKey("default", "one"), after, before, after.revision)


ON = {"on": "yes"}


@pytest.mark.parametrize(
    ("made", "type_", "revision"),
    [
        pytest.param(change(None, stored(5, **ON), EventType.ADDED), EventType.ADDED, 5, id="created-inside"),
        pytest.param(change(None, stored(5), EventType.ADDED), None, 0, id="created-outside"),
        pytest.param(change(stored(4), stored(5, **ON)), EventType.ADDED, 5, id="enters"),
        pytest.param(change(stored(4, **ON), stored(5, **ON)), EventType.MODIFIED, 5, id="stays"),
        pytest.param(change(stored(4, **ON), stored(5)), EventType.DELETED, 5, id="leaves"),
        pytest.param(change(stored(4), stored(5)), None, 0, id="never-inside"),
        pytest.param(
            change(stored(4, **ON), stored(5, **ON), EventType.DELETED), EventType.DELETED, 5, id="deleted-inside"
        ),
        pytest.param(change(stored(4), stored(5), EventType.DELETED), None, 0, id="deleted-outside"),
    ],
)
def test_objects_enter_stay_and_leave(made: Change, type_: EventType | None, revision: int) -> None:
    assert PODS is not None
    item = seen_through(made, select(PODS, "", "on=yes", ""))
    if type_ is None:
        assert item is None
    else:
        assert item is not None
        assert (item.type, item.revision) == (type_, revision)
        assert item.stored is not None
        assert item.stored.metadata["resourceVersion"] == str(revision)


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        pytest.param("metadata.name=one", True, id="name"),
        pytest.param("metadata.namespace=other", False, id="namespace"),
        pytest.param("spec.hostNetwork=true", True, id="boolean"),
        pytest.param("spec.nodeName=", True, id="absent-is-empty"),
        pytest.param("spec.nodeName!=", False, id="absent-is-not-something"),
        pytest.param("status.phase!=Failed,metadata.name==one", True, id="several"),
    ],
)
def test_field_selectors(text: str, matches: bool) -> None:
    assert PODS is not None
    assert select(PODS, "", "", text).matches(stored(1)) is matches


@pytest.mark.parametrize(
    ("labels", "fields"),
    [
        pytest.param("a=b=c", "", id="labels"),
        pytest.param("", "spec.color=red", id="unknown-field"),
        pytest.param("", "metadata.name", id="no-operator"),
    ],
)
def test_bad_selectors_are_refused(labels: str, fields: str) -> None:
    assert PODS is not None
    with pytest.raises(Invalid):
        select(PODS, "", labels, fields)


def test_next_waits_for_a_change_a_time_out_or_the_end() -> None:
    async def tell() -> None:
        loop = asyncio.get_running_loop()
        watcher = Watcher(Selection())
        assert await watcher.next(5) is None
        assert loop.time() == 5
        loop.call_later(3, watcher.put, Item(EventType.BOOKMARK, None, 7))
        item = await watcher.next(100)
        assert item is not None
        assert (item.revision, loop.time()) == (7, 8)
        loop.call_later(1, watcher.close)
        assert await watcher.next(100) is None
        assert (loop.time(), watcher.closed) == (9, True)

    run_virtual(tell())


def test_a_watcher_that_falls_behind_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BACKLOG_MAX", 3)
    stopped: list[bool] = []
    watcher = Watcher(Selection())
    watcher.attach(lambda: stopped.append(True))
    for revision in range(5):
        watcher.put(Item(EventType.BOOKMARK, None, revision))
    assert stopped
    assert [item.revision for item in (watcher.take(), watcher.take(), watcher.take()) if item] == [0, 1, 2]
    with pytest.raises(Expired):
        watcher.take()

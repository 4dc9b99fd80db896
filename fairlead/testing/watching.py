"""Which objects a list or watch selects, and what a watcher is told about each change."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.core import selectors
from fairlead.core.cluster import EventType
from fairlead.core.errors import Expired
from fairlead.core.selectors import Selector
from fairlead.testing import failures
from fairlead.testing.resources import Resource
from fairlead.testing.storage import Change, Stored, at_revision

BACKLOG_MAX = 20_000  # a watcher further behind is cut off, as the API server does with slow ones

# Where a selectable field is kept, if not at its own path, and what it reads as when absent.
_ALIASES = {"source": "source.component", "status.successful": "status.succeeded", "name": "metadata.name"}
_ABSENT = {
    "spec.unschedulable": "false",
    "spec.hostNetwork": "false",
    "status.successful": "0",
    "status.replicas": "0",
    "spec.schedulerName": "default-scheduler",
}


def dig(value: Any, path: str) -> Any:
    """Return what stands at a dotted path, or None."""
    for part in path.strip(".").split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


@dataclass(frozen=True, slots=True)
class FieldTerm:
    path: str
    value: str
    negated: bool

    def matches(self, data: Mapping[str, Any]) -> bool:
        found = dig(data, _ALIASES.get(self.path, self.path))
        if found is None:
            text = _ABSENT.get(self.path, "")
        elif isinstance(found, bool):
            text = "true" if found else "false"
        else:
            text = str(found)
        return (text == self.value) is not self.negated


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a kind are meant; an empty namespace means all of them."""

    namespace: str = ""
    labels: Selector = ()
    fields: tuple[FieldTerm, ...] = ()

    def matches(self, stored: Stored) -> bool:
        if self.namespace and stored.metadata.get("namespace") != self.namespace:
            return False
        if self.labels and not selectors.matches(self.labels, stored.labels):
            return False
        return all(term.matches(stored.data) for term in self.fields)


def select(resource: Resource, namespace: str, label_selector: str, field_selector: str) -> Selection:
    """Return the selection that the texts of a request mean.

    Raises:
        Invalid: a selector cannot be parsed, or names a field that the kind does not offer.
    """
    try:
        labels = selectors.parse(label_selector)
    except ValueError as error:
        raise failures.bad_request(str(error)) from error
    return Selection(namespace, labels, _field_terms(resource, field_selector))


def _field_terms(resource: Resource, text: str) -> tuple[FieldTerm, ...]:
    terms = []
    for part in filter(None, (one.strip() for one in text.split(","))):
        negated = "!=" in part
        path, separator, value = part.replace("==", "=").partition("!=" if negated else "=")
        if not separator:
            raise failures.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
        known = (*resource.field_labels, "metadata.name", *(("metadata.namespace",) if resource.namespaced else ()))
        if path not in known:
            raise failures.bad_request(f"field label not supported: {path}")
        terms.append(FieldTerm(path, value, negated))
    return tuple(terms)


@dataclass(frozen=True, slots=True)
class Item:
    """What a watcher is told; for a bookmark `stored` is None."""

    type: EventType
    stored: Stored | None
    revision: int
    initial_events_end: bool = False


def seen_through(change: Change, selection: Selection) -> Item | None:
    """Return what a watcher with this selection sees of a change; objects enter and leave selections."""
    after = change.type is not EventType.DELETED and selection.matches(change.stored)
    before = change.previous is not None and selection.matches(change.previous)
    match before, after:
        case False, True:
            return Item(EventType.ADDED, change.stored, change.revision)
        case True, True:
            return Item(EventType.MODIFIED, change.stored, change.revision)
        case True, False:
            assert change.previous is not None
            return Item(EventType.DELETED, at_revision(change.previous, change.revision), change.revision)
        case _:
            return None


class Watcher:
    """Changes that one client has not read yet. Filled by commits, read by `take` or `next`."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._items: deque[Item] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._stop: Callable[[], None] = lambda: None
        self._failed = False
        self.closed = False

    def attach(self, stop: Callable[[], None]) -> None:
        """Remember how to stop the changes."""
        self._stop = stop

    def push(self, change: Change) -> None:
        """Note a change; a listener of the storage."""
        if item := seen_through(change, self._selection):
            self.put(item)

    def put(self, item: Item) -> None:
        if len(self._items) >= BACKLOG_MAX:
            self._failed = True
            self.close()
            return
        self._items.append(item)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        """End the watch: whoever waits is told that nothing more comes."""
        self.closed = True
        self._stop()
        self._wake()

    def take(self) -> Item | None:
        """Return the oldest change not read yet, or None."""
        if self._items:
            return self._items.popleft()
        if self._failed:
            raise Expired("the watch fell too far behind", status=410, reason="Expired")
        return None

    async def next(self, timeout: float) -> Item | None:
        """Return the next change; None when there was none for `timeout` seconds, or the watch is closed."""
        if (item := self.take()) is not None or self.closed:
            return item
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(timeout, self._wake)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None
        return self.take()

"""The resources of an Application as `fairlead app` prints them: a tree, and what has changed during a sync."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fairlead.cli._app_view import Row, health_of, items, name_of, operation_state, status_of, sync_of, text
from fairlead.cli._family import mapping

PROGRESS_COLUMNS: Row = ("TIMESTAMP", "GROUP", "KIND", "NAMESPACE", "NAME", "STATUS", "HEALTH", "HOOK", "MESSAGE")
_ICONS = {"Healthy": "✔", "Suspended": "॥", "Progressing": "◌", "Missing": "∅", "Unknown": "?"}
_BAD = "✖"
_COLOURS = {"✔": "32", "◌": "33", "॥": "36", "∅": "33", "?": "35", _BAD: "31"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRow:
    """One resource as a sync and a comparison see it."""

    group: str = ""
    kind: str = ""
    namespace: str = ""
    name: str = ""
    status: str = ""
    health: str = ""
    hook: str = ""
    message: str = ""

    @property
    def key(self) -> Row:
        return self.group, self.kind, self.namespace, self.name

    @property
    def cells(self) -> Row:
        return (*self.key, self.status, self.health, self.hook, self.message)


def resource_rows(application: Mapping[str, Any]) -> list[ResourceRow]:
    """Return the resources of the last sync in its order, then those that only the comparison knows."""
    by_key: dict[Row, ResourceRow] = {}
    compared = {_key(one): one for one in items(status_of(application).get("resources"))}
    results = items(mapping(operation_state(application).get("syncResult")).get("resources"))
    for one in results:
        seen = compared.get(_key(one), {})
        is_hook = bool(one.get("hookType"))
        by_key[_key(one)] = ResourceRow(
            **_identity(one),
            status=text(one.get("hookPhase")) if is_hook else text(seen.get("status")) or text(one.get("status")),
            health=_health(seen),
            hook=text(one.get("hookType")),
            message=text(one.get("message")),
        )
    for key, one in compared.items():
        if key not in by_key:
            message = (
                "requires pruning"
                if one.get("requiresPruning") is True
                else text(mapping(one.get("health")).get("message"))
            )
            hook = "hook" if one.get("hook") is True else ""
            by_key[key] = ResourceRow(
                **_identity(one), status=text(one.get("status")), health=_health(one), hook=hook, message=message
            )
    return list(by_key.values())


def _identity(found: Mapping[str, Any]) -> dict[str, str]:
    return {field: text(found.get(field)) for field in ("group", "kind", "namespace", "name")}


def _key(found: Mapping[str, Any]) -> Row:
    return tuple(_identity(found).values())


def _health(found: Mapping[str, Any]) -> str:
    return text(mapping(found.get("health")).get("status"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """An object that belongs to another one of the tree.

    Args:
        kind, name: it.
        health: its health; empty: its kind has none.
        message: why.
        children: what belongs to it.
    """

    kind: str
    name: str
    health: str = ""
    message: str = ""
    children: tuple[Child, ...] = ()


def tree(
    application: Mapping[str, Any],
    children: Mapping[Row, Sequence[Child]],
    *,
    health: Mapping[Row, tuple[str, str]] | None = None,
    colour: bool = False,
) -> list[str]:
    """Return the resources of an Application as a tree with state and health.

    Args:
        children: what belongs to a resource, by group, kind, namespace and name.
        health: health and message of resources of which the status says none.
        colour: mark health by colours of a terminal.
    """
    lines: list[tuple[str, str, str, str]] = []
    rows = sorted(resource_rows(application), key=lambda row: (bool(row.hook), row.key))
    lines.append((f"⟳ {name_of(application)}", sync_of(application), health_of(application), ""))
    for place, row in enumerate(rows):
        is_last = place == len(rows) - 1
        known, why = (health or {}).get(row.key, ("", ""))
        where = f"{row.namespace}/{row.name}" if row.namespace else row.name
        kind = f"{row.group}/{row.kind}" if row.group else row.kind
        hook = f"hook {row.hook}: " if row.hook not in ("", "hook") else "hook: " if row.hook else ""
        lines.append(
            (
                f"{_bend(is_last)}{kind} {where}",
                row.status,
                row.health or known,
                f"{hook}{row.message or why}".strip(": "),
            )
        )
        lines += _below(children.get(row.key, ()), "   " if is_last else "│  ")
    return _table(lines, colour=colour)


def _bend(is_last: bool) -> str:
    return "└──" if is_last else "├──"


def _below(children: Sequence[Child], stem: str) -> Iterable[tuple[str, str, str, str]]:
    for place, child in enumerate(children):
        is_last = place == len(children) - 1
        yield f"{stem}{_bend(is_last)}{child.kind} {child.name}", "", child.health, child.message
        yield from _below(child.children, f"{stem}{'   ' if is_last else '│  '}")


def _table(lines: Sequence[tuple[str, str, str, str]], *, colour: bool) -> list[str]:
    name = max(len(line[0]) for line in lines)
    found = [f"{'NAME':<{name}}  {'SYNC':<10}  {'HEALTH':<13}  MESSAGE"]
    for label, status, health, message in lines:
        icon = _ICONS.get(health, _BAD) if health else ""
        padded = f"{f'{icon} {health}' if health else '':<13}"
        if colour and icon:
            padded = f"\x1b[{_COLOURS[icon]}m{padded}\x1b[0m"
        found.append(f"{label:<{name}}  {status:<10}  {padded}  {message}".rstrip())
    return found


class Progress:
    """Remembers what was said of each resource, and says what has changed since."""

    def __init__(self) -> None:
        self._said: dict[Row, Row] = {}
        self._has_title = False

    def lines(self, application: Mapping[str, Any], now: datetime) -> list[str]:
        """Return a line for each resource that is new or has changed."""
        fresh = [row for row in resource_rows(application) if self._said.get(row.key) != row.cells]
        found: list[str] = []
        if fresh and not self._has_title:
            self._has_title = True
            found.append(_progress_line(PROGRESS_COLUMNS))
        for row in fresh:
            self._said[row.key] = row.cells
            found.append(_progress_line((now.strftime("%Y-%m-%dT%H:%M:%SZ"), *row.cells)))
        return found


_WIDTHS = (20, 20, 22, 16, 30, 10, 11, 9, 0)


def _progress_line(cells: Sequence[str]) -> str:
    return " ".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()

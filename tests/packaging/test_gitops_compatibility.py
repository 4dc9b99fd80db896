"""Every field of Applications and AppProjects is honoured, refused or ignored; and what is refused really is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.agentsync._compatibility import TABLE, Entry, Support
from fairlead.agentsync._validation import problems
from fairlead.agentsync.spec import decode_spec
from fairlead.controller.compatibility import render
from fairlead.controller.crds import definitions
from fairlead.core.schema import leaves


def _leaves(name: str, kind: str, *parts: str) -> list[str]:
    schema: dict[str, Any] = definitions()[name]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]
    return [f"{kind}:{leaf}" for part in parts for leaf in leaves(schema[part], part)]


LEAVES = [
    *_leaves("application-crd.yaml", "Application", "spec", "operation"),
    *_leaves("appproject-crd.yaml", "AppProject", "spec"),
]
REFUSED = [entry for entry in TABLE if entry.support is Support.REFUSED]


def test_each_field_of_the_schemas_has_exactly_one_entry() -> None:
    assert [leaf for leaf in LEAVES if len([entry for entry in TABLE if entry.covers(leaf)]) != 1] == []


def test_no_entry_is_stale() -> None:
    assert [entry.path for entry in TABLE if not any(entry.covers(leaf) for leaf in LEAVES)] == []


def test_entries_without_effect_say_why() -> None:
    assert [entry.path for entry in TABLE if entry.support is not Support.HONOURED and not entry.note] == []


@pytest.mark.parametrize(
    "entry", [entry for entry in REFUSED if ":spec" in entry.path], ids=lambda entry: str(entry.path)
)
def test_what_is_refused_really_is(entry: Entry) -> None:
    path = entry.path.removeprefix("Application:").removesuffix(".**")
    source: dict[str, Any] = {"repoURL": "https://git.example.com/shop.git", "path": "."}
    block = {"plugin": {"name": "a"}, "jsonnet": {"libs": ["vendor"]}, "sourceHydrator": {"drySource": {}}}
    *parents, last = path.split(".")
    spec: dict[str, Any] = {"destination": {"name": "in-cluster"}}
    if last == "sourceHydrator":
        spec |= {"source": source, last: block[last]}
    else:
        inner = {"directory": {last: block[last]}} if "directory" in parents else {last: block[last]}
        found = {**source, **inner}
        spec |= {"sources": [found]} if "sources[]" in parents else {"source": found}
    (problem,) = problems(decode_spec(msgspec.json.encode(spec)))
    assert problem == f"{path.replace('[]', '[0]')}: {entry.note}"


def test_the_page_lists_every_entry() -> None:
    page = render()
    assert [entry.path for entry in TABLE if f"| `{entry.path}` | {entry.note} |" not in page] == []

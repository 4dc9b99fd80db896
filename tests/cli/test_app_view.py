"""What `fairlead app` prints of an Application: pure text, whatever strangers wrote into it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.cli import _app_view as view
from fairlead.cli._app_resources import Child, Progress, tree

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
COMMIT = "6d1b7c2f" + "0" * 32


def application(spec: Any = None, status: Any = None) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "argocd"}, "spec": spec or {}, "status": status or {}}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({}, ("Manual", "Manual"), id="none"),
        pytest.param({"syncPolicy": {"automated": {}}}, ("Auto", "Automated"), id="automated"),
        pytest.param({"syncPolicy": {"automated": {"enabled": False}}}, ("Manual", "Manual"), id="switched-off"),
        pytest.param(
            {"syncPolicy": {"automated": {"prune": True, "selfHeal": True}}},
            ("Auto-Prune", "Automated (Prune, Self Heal)"),
            id="prune-and-heal",
        ),
    ],
)
def test_sync_policy(spec: dict[str, Any], expected: tuple[str, str]) -> None:
    found = application(spec)
    line = next(line for line in view.header(found) if line.startswith("Sync Policy:"))
    assert (view.list_row(found)[6], line.split(":", 1)[1].strip()) == expected


SOURCE = {"repoURL": "https://git.example.com/x", "targetRevision": "main", "path": "a"}
CHART = {"repoURL": "https://charts.example.com", "targetRevision": "1.2.3", "chart": "redis"}


@pytest.mark.parametrize(
    ("spec", "sync", "expected"),
    [
        pytest.param({"source": SOURCE}, {}, "Unknown", id="nothing-compared"),
        pytest.param(
            {"source": SOURCE}, {"status": "Synced", "revision": COMMIT}, "Synced to main (6d1b7c2)", id="branch"
        ),
        pytest.param({"source": CHART}, {"status": "Synced", "revision": "1.2.3"}, "Synced to 1.2.3", id="version"),
        pytest.param(
            {"source": {}}, {"status": "OutOfSync", "revision": COMMIT}, "OutOfSync from HEAD (6d1b7c2)", id="head"
        ),
        pytest.param(
            {"sources": [SOURCE, CHART]},
            {"status": "Synced", "revisions": [COMMIT, "1.2.3"]},
            "Synced to main (6d1b7c2), 1.2.3",
            id="several",
        ),
    ],
)
def test_sync_status(spec: dict[str, Any], sync: dict[str, Any], expected: str) -> None:
    lines = view.header(application(spec, {"sync": sync}))
    assert next(line for line in lines if line.startswith("Sync Status:"))[20:] == expected


def test_several_sources_are_all_told() -> None:
    values = {"repoURL": "https://git.example.com/values", "ref": "values"}
    lines = view.header(application({"sources": [CHART, values]}))
    start = lines.index("Sources:")
    assert [line.split() for line in lines[start + 1 : start + 8]] == [
        ["-", "Repo:", "https://charts.example.com"],
        ["Target:", "1.2.3"],
        ["Chart:", "redis"],
        ["-", "Repo:", "https://git.example.com/values"],
        ["Target:"],
        ["Path:"],
        ["Ref:", "values"],
    ]


def resource(name: str, **more: Any) -> dict[str, Any]:
    return {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": name, **more}


def test_progress_tells_what_is_new_and_what_has_changed() -> None:
    progress = Progress()

    def told(*results: dict[str, Any]) -> list[str]:
        state = {"operationState": {"syncResult": {"resources": list(results)}}}
        return [line.split()[4] for line in progress.lines(application(status=state), NOW)]

    waits = resource("b", status="Synced", hookPhase="Running", hookType="PreSync")
    assert told(resource("a", status="Synced"), waits) == ["NAME", "a", "b"]
    assert told(resource("a", status="Synced"), waits) == []
    assert told(resource("a", status="Synced"), {**waits, "hookPhase": "Succeeded"}) == ["b"]


def test_the_tree_marks_health_in_colour() -> None:
    found = application(status={"resources": [resource("a", status="Synced", health={"status": "Degraded"})]})
    pod = Child(kind="Pod", name="x", health="Healthy")
    children: dict[view.Row, tuple[Child, ...]] = {("apps", "Deployment", "shop", "a"): (pod,)}
    lines = tree(found, children, colour=True)
    assert "\x1b[31m✖ Degraded" in lines[2]
    assert "\x1b[32m✔ Healthy" in lines[3]
    assert not any("\x1b" in line for line in tree(found, children))


_FIELDS = (
    *("sync", "health", "status", "resources", "operationState", "syncResult", "history", "conditions", "source"),
    *("sources", "revisions", "revision", "type", "kind", "name", "destination", "syncPolicy", "automated"),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "Synced", "2026-01-01T10:00:00Z", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(_FIELDS), inner, max_size=5),
    max_leaves=20,
)


@given(_json, _json)
def test_whatever_strangers_write_is_shown(spec: Any, status: Any) -> None:
    found = application(spec, status)
    shown = [
        *view.columns([view.LIST_COLUMNS, view.list_row(found)]),
        *view.header(found),
        *view.operation_lines(found),
        *view.condition_lines(found),
        *view.history_lines(found),
        *tree(found, {}),
        *Progress().lines(found, NOW),
    ]
    assert all(isinstance(line, str) for line in shown)

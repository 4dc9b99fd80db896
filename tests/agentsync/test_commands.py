"""Each command writes what Argo CD's API server writes, and is refused when that refuses."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from fairlead.agentsync.commands import Refused, SyncRequest, parse_resource, refresh, rollback, sync, terminate
from fairlead.agentsync.operation import decode_operation
from fairlead.core.cluster import MergePatch
from fairlead.core.patches import merge

SOURCE = {"repoURL": "https://git.example.com/shop/web", "path": "deploy", "targetRevision": "main"}
OLD = SOURCE | {"path": "old"}
HISTORY = [
    {"id": 3, "revision": "a" * 40, "source": OLD},
    {"id": 4, "revision": "b" * 40, "source": SOURCE},
    {"id": 5, "revision": "c" * 40},
]


def application(**more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "web", "namespace": "argocd", "resourceVersion": "7"},
        "spec": {
            "project": "shop",
            "source": SOURCE,
            "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
            "syncPolicy": {"syncOptions": ["CreateNamespace=true"], "retry": {"limit": 2}},
        },
        "status": {"history": HISTORY, "operationState": {"phase": "Succeeded", "message": "done"}},
    }
    return merge(base, more)  # type: ignore[no-any-return]  # merge of two mappings is one


AUTOMATED: dict[str, Any] = {"spec": {"syncPolicy": {"automated": {}}}}
OFF: dict[str, Any] = {"spec": {"syncPolicy": {"automated": {"enabled": False}}}}


def asked(patch: MergePatch) -> Any:
    """Return the operation of a patch, after checking everything around it."""
    body = dict(patch.body)
    operation = body.pop("operation")
    # The whole of what Argo CD's `SetAppOperation` changes, on the object as it was read.
    assert body == {"metadata": {"resourceVersion": "7"}, "status": {"operationState": None}}
    decode_operation(msgspec.json.encode(operation))  # what we write, we read
    return operation


COMMON = {"initiatedBy": {"username": "jo"}, "retry": {"limit": 2}}
PLAIN = {"source": SOURCE, "syncOptions": ["CreateNamespace=true"], "syncStrategy": {"hook": {}}}


@pytest.mark.parametrize(
    ("request_", "operation"),
    [
        pytest.param(SyncRequest(), {"sync": PLAIN, **COMMON}, id="plain"),
        pytest.param(
            SyncRequest(revision="v2", prune=True, dry_run=True),
            {"sync": PLAIN | {"revision": "v2", "prune": True, "dryRun": True}, **COMMON},
            id="revision-prune-dry-run",
        ),
        pytest.param(
            SyncRequest(force=True), {"sync": PLAIN | {"syncStrategy": {"hook": {"force": True}}}, **COMMON}, id="force"
        ),
        pytest.param(
            SyncRequest(apply_only=True), {"sync": PLAIN | {"syncStrategy": {"apply": {}}}, **COMMON}, id="apply-only"
        ),
        pytest.param(
            SyncRequest(apply_only=True, force=True),
            {"sync": PLAIN | {"syncStrategy": {"apply": {"force": True}}}, **COMMON},
            id="apply-with-force",
        ),
        pytest.param(
            SyncRequest(resources=({"group": "apps", "kind": "Deployment", "name": "web"},)),
            {"sync": PLAIN | {"resources": [{"group": "apps", "kind": "Deployment", "name": "web"}]}, **COMMON},
            id="resources",
        ),
    ],
)
def test_sync_writes(request_: SyncRequest, operation: dict[str, Any]) -> None:
    assert asked(sync(application(), request_, username="jo")) == operation


def test_sync_without_policy_and_with_several_sources() -> None:
    several = application(spec={"sources": [SOURCE, OLD], "syncPolicy": None})
    assert asked(sync(several, SyncRequest(), username="jo")) == {
        "sync": {"sources": [SOURCE, OLD], "syncStrategy": {"hook": {}}},
        "initiatedBy": {"username": "jo"},
        "retry": {},
    }
    with pytest.raises(Refused, match="several sources"):
        sync(several, SyncRequest(revision="v2"), username="jo")


def test_sync_to_another_revision_is_refused_while_automatic_sync_is_on() -> None:
    wish = SyncRequest(revision="v2")
    with pytest.raises(Refused, match=r"^Cannot sync to v2: auto-sync currently set to main$"):
        sync(application(**AUTOMATED), wish, username="jo")
    for state, request in (
        (OFF, wish),
        (AUTOMATED, SyncRequest(revision="v2", dry_run=True)),
        (AUTOMATED, SyncRequest(revision="main")),
        (AUTOMATED, SyncRequest()),
    ):
        assert asked(sync(application(**state), request, username="jo"))["sync"].get("revision", "") == request.revision


@pytest.mark.parametrize(
    ("number", "operation"),
    [
        pytest.param(3, {"revision": "a" * 40, "source": OLD}, id="by-number"),
        pytest.param(None, {"revision": "b" * 40, "source": SOURCE}, id="the-one-before-the-last"),
    ],
)
def test_rollback_writes(number: int | None, operation: dict[str, Any]) -> None:
    expected = {**operation, "syncOptions": ["CreateNamespace=true"], "syncStrategy": {"apply": {}}}
    written = asked(rollback(application(), number, username="jo"))
    assert written == {"sync": expected, "initiatedBy": {"username": "jo"}, "retry": {}}
    written = asked(rollback(application(), number, username="jo", prune=True, dry_run=True))
    assert written["sync"] == expected | {"prune": True, "dryRun": True}


def test_terminate_writes_the_phase_and_nothing_else() -> None:
    running = application(operation={"sync": {}}, status={"operationState": {"phase": "Running"}})
    patch = terminate(running)
    assert patch.body == {
        "metadata": {"resourceVersion": "7"},
        "status": {"operationState": {"phase": "Terminating"}},
    }
    changed = merge(running, patch.body)
    assert changed["status"]["operationState"] == {"phase": "Terminating", "message": "done"}
    assert changed["status"]["history"] == HISTORY


@pytest.mark.parametrize(("hard", "word"), [(False, "normal"), (True, "hard")])
def test_refresh_writes(hard: bool, word: str) -> None:
    at = datetime(2026, 3, 2, 9, 0, 1, 500, tzinfo=UTC)
    assert refresh(at, hard=hard).body == {
        "metadata": {
            "annotations": {
                "argocd.argoproj.io/refresh": word,
                "argocd.argoproj.io/refresh-timestamp": "2026-03-02T09:00:01.000500Z",
            }
        }
    }


def _sync(found: dict[str, Any]) -> MergePatch:
    return sync(found, SyncRequest(), username="jo")


def _rollback(found: dict[str, Any]) -> MergePatch:
    return rollback(found, 3, username="jo")


@pytest.mark.parametrize(
    ("command", "found", "message"),
    [
        pytest.param(_sync, {"operation": {"sync": {}}}, "another operation is already in progress", id="sync-busy"),
        pytest.param(
            _sync,
            {"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}},
            "application is deleting",
            id="sync-deleting",
        ),
        pytest.param(
            _rollback, {"operation": {"sync": {}}}, "another operation is already in progress", id="rollback-busy"
        ),
        pytest.param(
            _rollback, AUTOMATED, "rollback cannot be initiated when auto-sync is enabled", id="rollback-automated"
        ),
        pytest.param(
            lambda found: rollback(found, 9, username="jo"),
            {},
            "application web does not have deployment with id 9",
            id="rollback-unknown",
        ),
        pytest.param(
            lambda found: rollback(found, None, username="jo"),
            {"status": {"history": HISTORY[:1]}},
            "application web has no earlier deployment to return to",
            id="rollback-first",
        ),
        pytest.param(
            lambda found: rollback(found, 5, username="jo"),
            {},
            "the entry 5 of the history names no source: sync to its revision instead",
            id="rollback-without-source",
        ),
        pytest.param(
            terminate, {}, "Unable to terminate operation. No operation is in progress", id="terminate-nothing"
        ),
        pytest.param(
            terminate,
            {"operation": {"sync": {}}, "status": {"operationState": None}},
            "Unable to terminate operation. No operation is in progress",
            id="terminate-not-begun",
        ),
    ],
)
def test_refused(command: Callable[[dict[str, Any]], MergePatch], found: dict[str, Any], message: str) -> None:
    before = application(**found)
    untouched = copy.deepcopy(before)
    with pytest.raises(Refused) as refused:
        command(before)
    assert str(refused.value) == message
    assert before == untouched


KNOWN = [
    {"group": "apps", "kind": "Deployment", "namespace": "shop", "name": "web"},
    {"kind": "Service", "namespace": "shop", "name": "web"},
    {"kind": "Namespace", "name": "shop"},
]
DEPLOYMENT = {"group": "apps", "kind": "Deployment", "name": "web", "namespace": "shop"}
SERVICE = {"group": "", "kind": "Service", "name": "web", "namespace": "shop"}
NAMESPACE = {"group": "", "kind": "Namespace", "name": "shop"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "apps:Deployment:web", [{"group": "apps", "kind": "Deployment", "name": "web"}], id="any-namespace"
        ),
        pytest.param("apps:Deployment:shop/web", [DEPLOYMENT], id="namespace"),
        pytest.param(":Service:web", [{"group": "", "kind": "Service", "name": "web"}], id="core-group"),
        pytest.param(
            "apps:Deployment:unknown", [{"group": "apps", "kind": "Deployment", "name": "unknown"}], id="unseen"
        ),
        pytest.param("*:*:web", [DEPLOYMENT, SERVICE], id="wildcards"),
        pytest.param("*:*:shop/*", [DEPLOYMENT, SERVICE], id="of-a-namespace"),
        pytest.param("!apps:Deployment:*", [SERVICE, NAMESPACE], id="exclusion"),
    ],
)
def test_resources(text: str, expected: list[dict[str, str]]) -> None:
    assert parse_resource(text, KNOWN) == expected


@pytest.mark.parametrize(
    "text", ["web", "apps:Deployment", "a:b:c:d", "apps::web", "apps:Deployment:", "*:Job:*", "!*:*:*"]
)
def test_what_is_no_resource(text: str) -> None:
    with pytest.raises(Refused):
        parse_resource(text, KNOWN)

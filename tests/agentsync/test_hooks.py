"""Which objects are hooks, when they run, and when they go."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from fairlead.agentsync._hooks import (
    DeletePolicy,
    as_hook,
    delete_policies,
    has_finalizer,
    hook_types,
    is_hook,
    is_skipped,
    phases_of,
)
from fairlead.agentsync.kinds import HOOK_FINALIZER
from fairlead.agentsync.resources import Object
from fairlead.agentsync.status import SyncPhase
from tests.agentsync.world import manifest

ARGO = "argocd.argoproj.io/hook"
HELM = "helm.sh/hook"
PRE, SYNC, POST, FAIL = SyncPhase.PRE_SYNC, SyncPhase.SYNC, SyncPhase.POST_SYNC, SyncPhase.SYNC_FAIL


def annotated(**annotations: str) -> Object:
    return manifest("Job", "one", **annotations)


@pytest.mark.parametrize(
    ("annotations", "hook", "phases"),
    [
        pytest.param({}, False, (SYNC,), id="plain"),
        pytest.param({ARGO: "PreSync"}, True, (PRE,), id="one"),
        pytest.param({ARGO: "SyncFail, PreSync"}, True, (PRE, FAIL), id="several"),
        pytest.param({ARGO: "Skip"}, False, (), id="skip"),
        pytest.param({ARGO: "Skip,PostSync"}, True, (POST,), id="skip-and-another"),
        pytest.param({ARGO: "PreDelete"}, True, (), id="delete-hook"),
        pytest.param({ARGO: "presync"}, True, (), id="unknown-value"),
        pytest.param({ARGO: ""}, True, (), id="empty-value"),
        pytest.param({HELM: "pre-install"}, True, (PRE,), id="helm-pre-install"),
        pytest.param({HELM: "pre-upgrade,pre-install"}, True, (PRE,), id="helm-twice-the-same"),
        pytest.param({HELM: "post-install,post-upgrade"}, True, (POST,), id="helm-post"),
        pytest.param({HELM: "post-delete"}, True, (), id="helm-delete"),
        pytest.param({HELM: "test"}, True, (), id="helm-test-is-ignored"),
        pytest.param({HELM: "pre-rollback"}, True, (), id="helm-rollback-is-ignored"),
        pytest.param({HELM: "crd-install"}, False, (SYNC,), id="helm-crd-install-is-none"),
        pytest.param({ARGO: "PostSync", HELM: "pre-install"}, True, (POST,), id="argo-wins"),
        pytest.param({ARGO: "wrong", HELM: "pre-install"}, True, (PRE,), id="helm-counts-without-valid-argo"),
    ],
)
def test_which_phases(annotations: dict[str, str], hook: bool, phases: tuple[SyncPhase, ...]) -> None:
    found = annotated(**annotations)
    assert (is_hook(found), phases_of(found)) == (hook, phases)


def test_delete_hooks_are_told_by_their_types() -> None:
    assert hook_types(annotated(**{HELM: "pre-delete"})) == (SyncPhase.PRE_DELETE,)
    assert is_skipped(annotated(**{ARGO: "Skip"}))


@pytest.mark.parametrize(
    ("annotations", "policies"),
    [
        pytest.param({}, {DeletePolicy.BEFORE_CREATION}, id="default"),
        pytest.param({"policy": "nonsense"}, {DeletePolicy.BEFORE_CREATION}, id="none-valid"),
        pytest.param({"policy": "HookSucceeded"}, {DeletePolicy.SUCCEEDED}, id="argo"),
        pytest.param(
            {"policy": "HookFailed", "helm.sh/hook-delete-policy": "hook-succeeded"},
            {DeletePolicy.FAILED, DeletePolicy.SUCCEEDED},
            id="helm-adds",
        ),
        pytest.param(
            {"helm.sh/hook-delete-policy": "before-hook-creation, hook-failed"},
            {DeletePolicy.BEFORE_CREATION, DeletePolicy.FAILED},
            id="helm",
        ),
    ],
)
def test_when_hooks_go(annotations: dict[str, str], policies: set[DeletePolicy]) -> None:
    assert delete_policies(annotated(**annotations)) == policies


def test_a_prefix_becomes_a_name_of_revision_phase_and_start() -> None:
    prefixed = annotated(**{ARGO: "PreSync"})
    prefixed["metadata"] = {"generateName": "migrate-", "annotations": prefixed["metadata"]["annotations"]}
    started = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
    made = as_hook(prefixed, PRE, revision="0123456789ABCDEF", started_at=started)
    assert made["metadata"]["name"] == f"migrate-0123456-presync-{int(started.timestamp())}"
    assert made["metadata"]["finalizers"] == [HOOK_FINALIZER]
    assert "name" not in prefixed["metadata"], "the manifest stays as it is"


def test_a_hook_keeps_its_own_finalizers_and_gets_ours_once() -> None:
    found = annotated(**{ARGO: "PreSync"})
    found["metadata"]["finalizers"] = ["mine"]
    made = as_hook(found, PRE, revision="a", started_at=None)
    assert made["metadata"]["finalizers"] == ["mine", HOOK_FINALIZER]
    assert as_hook(made, PRE, revision="a", started_at=None) == made
    assert has_finalizer(made)
    assert not has_finalizer(found)

"""What an apply would change, from plain objects."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync._auto import Timing
from fairlead.agentsync.config import read_configuration
from fairlead.agentsync.preview import Fate, preview, wanted_keys
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.core.discovery import ResourceKind, Served
from fairlead.core.errors import SpecError


def application(**spec: Any) -> Object:
    base = {"destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"}}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {"name": "web", "namespace": "argocd"},
        "spec": base | spec,
    }


def config_map(name: str = "web", *, namespace: str = "", data: Any = None, **annotations: str) -> Object:
    metadata: dict[str, Any] = {"name": name} | ({"namespace": namespace} if namespace else {})
    if annotations:
        metadata["annotations"] = {
            f"argocd.argoproj.io/{key.replace('_', '-')}": value for key, value in annotations.items()
        }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data or {"a": "1"}}


def live(name: str = "web", *, data: Any = None, owner: str = "web", **more: Any) -> Object:
    tracking = f"{owner}:/ConfigMap:shop/{name}"
    return config_map(name, namespace="shop", data=data, tracking_id=tracking) | more


def fates(*arguments: Any, **options: Any) -> list[tuple[str, str]]:
    return [(str(one.key), one.fate.value) for one in preview(*arguments, **options)]


def test_what_is_as_it_should_be_is_not_told() -> None:
    assert preview(application(), [config_map()], [live()]) == ()


def test_new_changed_and_extra_objects() -> None:
    found = preview(application(), [config_map("new"), config_map("web")], [live("web", data={"a": "2"}), live("old")])
    assert [(one.key.name, one.fate) for one in found] == [
        ("new", Fate.CREATED),
        ("old", Fate.EXTRA),
        ("web", Fate.CHANGED),
    ]
    changed = found[2]
    assert [(one.path, one.wanted, one.found) for one in changed.changes] == [("data.a", "1", "2")]
    assert "-  a: '2'\n+  a: '1'\n" in changed.text
    assert changed.text.startswith("===== /ConfigMap shop/web ======\n")


def test_objects_of_others_are_not_extra() -> None:
    assert fates(application(), [], [live("theirs", owner="other")]) == []
    owned = live("owned")
    owned["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "X", "name": "x", "uid": "u"}]
    assert fates(application(), [], [owned]) == []
    ignored = live("kept")
    ignored["metadata"]["annotations"]["argocd.argoproj.io/compare-options"] = "IgnoreExtraneous"
    assert fates(application(), [], [ignored]) == []


def test_hooks_and_skipped_objects_are_left_out() -> None:
    assert fates(application(), [config_map("hook", hook="PreSync"), config_map("skip", hook="Skip")], []) == []


def test_ignored_differences_do_not_count() -> None:
    rule = {"group": "", "kind": "ConfigMap", "jsonPointers": ["/data/a"]}
    assert preview(application(ignoreDifferences=[rule]), [config_map()], [live(data={"a": "9"})]) == ()


def test_what_a_rollout_decides_is_not_taken_back() -> None:
    rollout = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "web"},
        "spec": {"strategy": {"canary": {"stableService": "web", "canaryService": "web-canary"}}},
    }

    def service(selector: dict[str, str], **more: Any) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", **more},
            "spec": {"selector": selector},
        }

    ours = {"argocd.argoproj.io/tracking-id": "web:/Service:shop/web"}
    split = service({"app": "web", "rollouts-pod-template-hash": "6f9c"}, namespace="shop", annotations=ours)
    assert ("/Service/shop/web", "changed") not in fates(application(), [rollout, service({"app": "web"})], [split])
    assert ("/Service/shop/web", "changed") in fates(application(), [service({"app": "other"})], [split])


def test_scopes_come_from_the_cluster() -> None:
    kind = ResourceKind(group="", version="v1", kind="Namespace", plural="namespaces", namespaced=False)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    served = Served((kind,))
    assert wanted_keys(application(), [namespace], served) == (ResourceKey("", "Namespace", "", "shop"),)
    assert wanted_keys(application(), [config_map()]) == (ResourceKey("", "ConfigMap", "shop", "web"),)
    ours = {"argocd.argoproj.io/tracking-id": "web:/Namespace:/shop"}
    found = {**namespace, "metadata": {"name": "shop", "annotations": ours}}
    assert preview(application(), [namespace], [found], served=served) == ()
    assert fates(application(), [namespace], [namespace], served=served) == [("/Namespace//shop", "changed")]  # adopted


def test_the_settings_of_the_installation_count() -> None:
    settings = {
        "application.resourceTrackingMethod": "label",
        "resource.customizations.ignoreDifferences.ConfigMap": "jsonPointers: [/data/a]",
        "resource.exclusions": "- {kinds: [Secret]}",
    }
    found = read_configuration(settings, Timing())
    labelled = config_map(namespace="shop", data={"a": "9"})
    labelled["metadata"]["labels"] = {"app.kubernetes.io/instance": "web"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
    options = {"system": found.system, "is_excluded": found.is_excluded}
    assert fates(application(), [config_map(), secret], [labelled], **options) == []
    assert fates(application(), [secret], [labelled], **options) == [("/ConfigMap/shop/web", "extra")]


def test_secrets_are_hidden() -> None:
    def secret(value: str) -> Object:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "s", "namespace": "shop"},
            "data": {"k": value},
        }

    (found,) = preview(application(), [secret("bmV3")], [secret("b2xk")])
    shown = f"{found.text} {found.changes}"
    assert found.fate is Fate.CHANGED
    assert "bmV3" not in shown
    assert "b2xk" not in shown


@pytest.mark.parametrize(
    ("spec", "rendered", "message"),
    [
        pytest.param(
            {"destination": 7}, [], r"^spec\.destination: Invalid value: 7: expected object, found int$", id="spec"
        ),
        pytest.param({}, [{"kind": "ConfigMap"}], "apiVersion", id="manifest"),
        pytest.param(
            {"ignoreDifferences": [{"kind": "ConfigMap", "jqPathExpressions": [".a["]}]}, [config_map()], "a", id="rule"
        ),
    ],
)
def test_bad_input_is_named(spec: dict[str, Any], rendered: list[Object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        preview(application(**spec), rendered, [live()])

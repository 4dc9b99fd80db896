"""The contract of discovery, and of writes that are tried only."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.core.cluster import ApplyPatch, MergePatch
from fairlead.core.discovery import ResourceKind
from fairlead.core.errors import AlreadyExists, Invalid, NotFound
from fairlead.core.kinds import CRDS
from fairlead.core.objects import ObjectKey
from tests.conformance.arena import CONFIG_MAPS, GADGETS, WIDGETS, Arena


def _of(arena: Arena) -> Any:
    """Return the cluster with what it has beside the port."""
    return arena.cluster


@pytest.mark.parametrize(
    ("group", "version", "kind", "plural", "namespaced"),
    [
        ("", "v1", "ConfigMap", "configmaps", True),
        ("", "v1", "Namespace", "namespaces", False),
        ("apps", "v1", "Deployment", "deployments", True),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", False),
        (WIDGETS.group, "v1", "Widget", "widgets", True),
    ],
)
async def test_kinds_are_found(
    arena: Arena, group: str, version: str, kind: str, plural: str, namespaced: bool
) -> None:
    served = await _of(arena).discover()
    for found in (served.find(group, kind), served.find(group, kind, version)):
        assert isinstance(found, ResourceKind)
        assert (found.api_version, found.plural, found.namespaced) == (
            f"{group}/{version}" if group else version,
            plural,
            namespaced,
        )
        assert found.is_watchable


async def test_reviews_cannot_be_watched(arena: Arena) -> None:
    served = await _of(arena).discover()
    review = served.find("authorization.k8s.io", "SelfSubjectAccessReview")
    assert review is not None and review.verbs == {"create"} and not review.is_watchable


async def test_unknown_kinds_and_versions_are_not_found(arena: Arena) -> None:
    served = await _of(arena).discover()
    assert served.find("apps", "Nothing") is None
    assert served.find("apps", "Deployment", "v1beta1") is None
    assert served.find("", "Deployment") is None


async def test_all_lists_every_kind_once(arena: Arena) -> None:
    served = await _of(arena).discover()
    names = [(kind.group, kind.kind) for kind in served.all()]
    assert len(names) == len(set(names))
    assert {("", "Pod"), ("apps", "Deployment"), (WIDGETS.group, "Widget")} <= set(names)


async def test_a_definition_that_goes_takes_its_kind_along(arena: Arena) -> None:
    group = f"{arena.namespace}.fairlead.dev"
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"brieves.{group}"},
        "spec": {
            "group": group,
            "scope": "Cluster",
            "names": {"kind": "Brief", "plural": "brieves", "singular": "brief"},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                }
            ],
        },
    }
    await arena.cluster.create(CRDS, definition)

    async def served() -> bool:
        return (await _of(arena).discover()).find(group, "Brief") is not None

    await arena.eventually(served)
    found = (await _of(arena).discover()).find(group, "Brief")
    assert found is not None and not found.namespaced
    await arena.cluster.delete(CRDS, ObjectKey("", f"brieves.{group}"))

    async def gone() -> bool:
        return not await served()

    await arena.eventually(gone)


# --- writes that are tried only ---------------------------------------------------------------------------------------


async def test_a_dry_run_creates_nothing(arena: Arena) -> None:
    tried = _of(arena).as_manager("fairlead", dry_run=True)
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}, "data": {"a": "1"}}
    made = await tried.create(CONFIG_MAPS, body, namespace=arena.namespace)
    assert made.content["data"] == {"a": "1"}
    assert await arena.is_gone(CONFIG_MAPS, "one")


async def test_a_dry_run_changes_nothing(arena: Arena) -> None:
    made = await arena.create(CONFIG_MAPS, "one", data={"a": "1"})
    tried = _of(arena).as_manager("fairlead", dry_run=True)
    changed = await tried.patch(CONFIG_MAPS, arena.key("one"), MergePatch({"data": {"a": "2"}}))
    applied = {**made.content, "data": {"a": "3"}}
    del applied["metadata"]
    applied["metadata"] = {"name": "one", "namespace": arena.namespace}
    other = _of(arena).as_manager("other", dry_run=True)
    merged = await other.patch(CONFIG_MAPS, arena.key("one"), ApplyPatch(applied, force=True))
    assert (changed.content["data"], merged.content["data"]) == ({"a": "2"}, {"a": "3"})
    await tried.delete(CONFIG_MAPS, arena.key("one"))
    found = await arena.cluster.get(CONFIG_MAPS, arena.key("one"))
    assert found.content["data"] == {"a": "1"}
    assert found.metadata.resource_version == made.metadata.resource_version


async def test_a_dry_run_is_refused_as_the_write_would_be(arena: Arena) -> None:
    tried = _of(arena).as_manager("fairlead", dry_run=True)
    body = {"apiVersion": WIDGETS.api_version, "kind": "Widget", "metadata": {"name": "one"}, "spec": {"replicas": -1}}
    with pytest.raises(Invalid, match=r"spec\.replicas"):
        await tried.create(WIDGETS, body, namespace=arena.namespace)
    with pytest.raises(NotFound):
        await tried.patch(WIDGETS, arena.key("one"), MergePatch({"spec": {"replicas": 1}}))
    await arena.create(WIDGETS, "one")
    with pytest.raises(AlreadyExists):
        await tried.create(WIDGETS, body | {"spec": {}}, namespace=arena.namespace)


async def test_strict_writes_refuse_unknown_fields(arena: Arena) -> None:
    strict = _of(arena).as_manager("fairlead", strict=True)
    body = {"apiVersion": WIDGETS.api_version, "kind": "Widget", "metadata": {"name": "one"}, "spec": {"colour": "red"}}
    with pytest.raises(Invalid, match=r'unknown field "spec\.colour"'):
        await strict.create(WIDGETS, body, namespace=arena.namespace)
    await arena.create(WIDGETS, "one")
    with pytest.raises(Invalid, match=r'unknown field "spec\.colour"'):
        await strict.patch(WIDGETS, arena.key("one"), MergePatch({"spec": {"colour": "red"}}))
    await strict.create(GADGETS, {**body, "kind": "Gadget"}, namespace=arena.namespace)  # preserves unknown fields

"""Whatever stands in specs, requests, statuses and objects: a decision is made, and it can be stored."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fairlead.agentsync.diff import DiffOptions, difference
from fairlead.agentsync.kinds import APPLICATIONS
from fairlead.agentsync.machine import Tools, application_patch, decide, prepare
from fairlead.agentsync.resources import Object, key_of
from fairlead.agentsync.status import decode_status
from fairlead.core.cluster import Undecodable
from fairlead.core.decoding import decode_object
from fairlead.core.patches import merge
from tests.agentsync.manifests import EVERY_FIELD, OPERATION, STATUS
from tests.agentsync.world import World, definition, job, manifest

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.sampled_from(["", "a", "Running", "true", "2026-03-02T09:00:00Z"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "kind", "sync", "phase", "spec", "status"]), inner, max_size=2)
    ),
    max_leaves=4,
)


def paths(found: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Return the paths of everything in a document."""
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    return (
        [at, *(path for name, one in inner for path in paths(one, (*at, name)))]
        if at
        else [path for name, one in inner for path in paths(one, (name,))]
    )


def spoilt(document: Any) -> st.SearchStrategy[Any]:
    """Return the document with up to two places replaced by something else, or taken away."""
    places = st.lists(st.tuples(st.sampled_from(paths(document)), JSON, st.booleans()), max_size=2)

    def spoil(changes: list[tuple[tuple[str | int, ...], Any, bool]]) -> Any:
        made = msgspec.json.decode(msgspec.json.encode(document))
        for path, value, is_removal in changes:
            where: Any = made
            for part in path[:-1]:
                try:
                    where = where[part]
                except (KeyError, IndexError, TypeError):
                    where = None
                    break
            if isinstance(where, dict) and isinstance(path[-1], str):
                if is_removal:
                    where.pop(path[-1], None)
                else:
                    where[path[-1]] = value
        return made

    return places.map(spoil)


GOOD = {
    "project": "default",
    "source": {"repoURL": "https://git.example.com/shop.git", "path": "deploy"},
    "destination": {"server": "https://kubernetes.default.svc", "namespace": "shop"},
    "syncPolicy": EVERY_FIELD["syncPolicy"],
}
DEPLOYMENT = {
    **manifest("Deployment", "web", "shop", wave="1", options="Prune=confirm", compare="IgnoreExtraneous"),
    "spec": {"replicas": 1, "template": {"spec": {"containers": [{"name": "web", "image": "web:1"}]}}},
    "status": {"conditions": [{"type": "Available", "status": "True"}]},
}
OBJECTS: list[Object] = [
    DEPLOYMENT,
    job("before", "PreSync", policy="HookSucceeded"),
    job("gone", "PostDelete"),
    definition("Widget"),
    manifest("Widget", "one"),
    {"apiVersion": "v1", "kind": "List", "items": [manifest("ConfigMap", "one")]},
]


def decided(app: dict[str, Any], wanted: list[Object], live: list[Object], *, steps: int = 4) -> None:
    """Take several decisions and store each; none may fail, and each must be a good patch."""
    world = World(spec=GOOD)
    world.app.update(app)
    world.have(*(one for one in live if isinstance(one, dict) and _is_storable(one)))
    world.commit(*wanted)
    for _ in range(steps):
        found = decode_object(APPLICATIONS, msgspec.json.encode(world.app))
        if isinstance(found, Undecodable):
            return  # the object as a whole cannot be read: the caches say so
        subject, status = prepare(found), world.status
        seen = world.observe()
        tools = Tools(
            tracking=world.tracking,
            differs=lambda target, live: difference(target, live, DiffOptions()).modified,
        )
        decision = decide(subject, status, seen, world.now, tools)
        assert decide(subject, status, seen, world.now, tools) == decision
        patch = application_patch(subject, status, decision)
        patched = merge(world.app, patch)
        assert patched["spec"] == world.app["spec"]
        stored = decode_status(msgspec.json.encode(patched.get("status", {})))
        assert stored == decision.status
        world.step()


def _is_storable(found: Object) -> bool:
    """Return whether an API server can hold the object."""
    meta = found.get("metadata")
    annotations = meta.get("annotations") if isinstance(meta, dict) else None
    is_typed = isinstance(annotations, dict | None) and all(
        isinstance(value, str) for value in (annotations or {}).values()
    )
    return bool(key_of(found).name and key_of(found).kind and isinstance(found.get("apiVersion"), str)) and is_typed


@settings(max_examples=80, deadline=None)
@given(spec=spoilt({**EVERY_FIELD, **GOOD}), operation=spoilt(OPERATION), status=spoilt(STATUS))
def test_any_application(spec: Any, operation: Any, status: Any) -> None:
    decided({"spec": spec, "operation": operation, "status": status}, OBJECTS[:1], [])


@settings(max_examples=80, deadline=None)
@given(
    wanted=st.lists(st.sampled_from(OBJECTS).flatmap(spoilt), max_size=4),
    live=st.lists(st.sampled_from(OBJECTS).flatmap(spoilt), max_size=3),
    is_going=st.booleans(),
)
@example(
    wanted=[{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "annotations": 7}}],
    live=[],
    is_going=False,
)
@example(wanted=[{**definition("Widget"), "spec": 7}, manifest("Widget", "one")], live=[], is_going=False)
def test_any_objects(wanted: list[Object], live: list[Object], is_going: bool) -> None:
    metadata = copy.deepcopy(World().app["metadata"])
    if is_going:
        metadata["finalizers"] = [
            "pre-delete-finalizer.argocd.argoproj.io",
            "resources-finalizer.argocd.argoproj.io",
            "post-delete-finalizer.argocd.argoproj.io/cleanup",
        ]
        metadata["deletionTimestamp"] = "2026-03-02T09:00:00Z"
    decided({"metadata": metadata, "operation": {"sync": {"prune": True}}}, wanted, live)

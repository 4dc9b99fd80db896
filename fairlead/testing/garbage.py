"""What follows from deletions: dependents of owners, the content of namespaces, the objects of dropped kinds.

Level-triggered like the real controller, but run in one go: whoever drives the server calls `collect` when `wake`
asks for it. The order is that of the commits, so a seed decides everything.

Source: `k8s.io/kubernetes: pkg/controller/garbagecollector`, `pkg/controller/namespace`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fairlead.core.cluster import Preconditions, Propagation
from fairlead.core.objects import ObjectKey
from fairlead.testing import custom
from fairlead.testing.requests import DeleteOptions, Server, Target
from fairlead.testing.resources import Resource
from fairlead.testing.storage import Json, Stored, copy_json

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"
Place = tuple[str, ObjectKey]  # collection and key


def _owners(stored: Stored) -> Sequence[Mapping[str, Any]]:
    owners: Sequence[Mapping[str, Any]] = stored.metadata.get("ownerReferences") or ()
    return owners


def _is_deleting(stored: Stored) -> bool:
    return "deletionTimestamp" in stored.metadata


class Collector:
    """Finds and removes what must not outlive its owner."""

    def __init__(self, server: Server, wake: Callable[[], None] = lambda: None) -> None:
        """Call `wake` whenever there is something to collect and nothing was waiting before."""
        self._server = server
        self.wake = wake
        self._dependents: defaultdict[str, dict[Place, None]] = defaultdict(dict)
        self._pending: dict[Place, None] = {}
        self._resources: dict[str, Resource] = {}

    # -- what commits tell ----------------------------------------------------------------------------------------

    def committed(self, resource: Resource, stored: Stored, old: Stored | None) -> None:
        """Note an object that was created or changed."""
        place = (resource.collection, stored.key)
        self._resources[resource.collection] = resource
        before = _owners(old) if old else ()
        after = _owners(stored)
        if before != after:
            for owner in before:
                self._dependents[owner["uid"]].pop(place, None)
            for owner in after:
                self._dependents[owner["uid"]][place] = None
            if before:  # a foreground owner may have been waiting for this one
                self._ask_owners(before)
        if after and any(self._owner_is_leaving(owner, stored) for owner in after):
            self._ask(place)
        if _is_deleting(stored):
            self._ask(place)

    def removed(self, resource: Resource, last: Stored) -> None:
        """Note an object that is gone."""
        place = (resource.collection, last.key)
        for owner in _owners(last):
            self._dependents[owner["uid"]].pop(place, None)
        self._ask_owners(_owners(last))
        for dependent in self._dependents.get(last.metadata["uid"], {}):
            self._ask(dependent)
        if last.key.namespace:
            self._ask_if_deleting(("namespaces", ObjectKey("", last.key.namespace)))
        if resource.custom:
            self._ask_if_deleting((custom.COLLECTION, ObjectKey("", resource.collection)))

    def _ask_owners(self, owners: Sequence[Mapping[str, Any]]) -> None:
        for owner in owners:
            if place := self._server.storage.uids.get(owner["uid"]):
                self._ask_if_deleting(place)

    def _ask_if_deleting(self, place: Place) -> None:
        stored = self._server.storage.get(*place)
        if stored is not None and _is_deleting(stored):
            self._ask(place)

    def _ask(self, place: Place) -> None:
        was_idle = not self._pending
        self._pending[place] = None
        if was_idle:
            self.wake()

    def _owner(self, reference: Mapping[str, Any], dependent: Stored) -> Stored | None:
        """Return the owner that a reference means: UID, name and a namespace in reach must agree."""
        place = self._server.storage.uids.get(reference["uid"])
        if place is None:
            return None
        owner = self._server.storage.get(*place)
        if owner is None or owner.key.name != reference["name"] or owner.data.get("kind") != reference["kind"]:
            return None
        return owner if owner.key.namespace in ("", dependent.key.namespace) else None

    def _owner_is_leaving(self, reference: Mapping[str, Any], dependent: Stored) -> bool:
        owner = self._owner(reference, dependent)
        return owner is None or (_is_deleting(owner) and FOREGROUND in (owner.metadata.get("finalizers") or ()))

    # -- what is done ---------------------------------------------------------------------------------------------

    @property
    def is_idle(self) -> bool:
        return not self._pending

    def collect(self) -> None:
        """Do all that is to do now; what that leads to is done too."""
        while self._pending:
            place = next(iter(self._pending))
            del self._pending[place]
            stored = self._server.storage.get(*place)
            if stored is not None:
                self._judge(place[0], stored)

    def _judge(self, collection: str, stored: Stored) -> None:
        if _is_deleting(stored):
            finalizers = stored.metadata.get("finalizers") or ()
            if ORPHAN in finalizers:
                self._orphan(collection, stored)
                return
            if FOREGROUND in finalizers:
                self._foreground(collection, stored)
                return
            if collection == "namespaces":
                self._empty_namespace(stored)
                return
            if collection == custom.COLLECTION:
                self._empty_kind(stored)
                return
        self._judge_dependent(collection, stored)

    def _judge_dependent(self, collection: str, stored: Stored) -> None:
        owners = _owners(stored)
        if not owners:
            return
        present = [owner for owner in owners if self._owner(owner, stored) is not None]
        staying = [owner for owner in present if not self._owner_is_leaving(owner, stored)]
        if staying:
            if len(present) < len(owners):
                data = copy_json(stored.data)
                data["metadata"]["ownerReferences"] = [copy_json(owner) for owner in present]
                self._server.rewrite(self._resources[collection], stored, data)
            return
        if not _is_deleting(stored):
            self._delete(collection, stored)

    def _delete(self, collection: str, stored: Stored, *, foreground: bool = False) -> None:
        resource = self._resources[collection]
        target = Target(
            resource=resource, version=resource.versions[0].name, namespace=stored.key.namespace, name=stored.key.name
        )
        options = DeleteOptions(
            preconditions=Preconditions(uid=stored.metadata["uid"]),
            propagation=Propagation.FOREGROUND if foreground else Propagation.BACKGROUND,
        )
        self._server.delete(target, options)

    def _dependents_of(self, owner: Stored) -> list[tuple[str, Stored]]:
        found = []
        for place in tuple(self._dependents.get(owner.metadata["uid"], {})):
            stored = self._server.storage.get(*place)
            if stored is not None:
                found.append((place[0], stored))
        return found

    def _foreground(self, collection: str, owner: Stored) -> None:
        """Dependents first; the owner goes when none is left that blocks it."""
        uid = owner.metadata["uid"]
        for kind, dependent in self._dependents_of(owner):
            stays = any(
                reference["uid"] != uid and self._owner(reference, dependent) is not None
                for reference in _owners(dependent)
            )
            if not stays and not _is_deleting(dependent):
                has_own = bool(self._dependents.get(dependent.metadata["uid"]))
                self._delete(kind, dependent, foreground=has_own)
        blocking = any(
            reference["uid"] == uid and reference.get("blockOwnerDeletion")
            for _, dependent in self._dependents_of(owner)
            for reference in _owners(dependent)
        )
        if not blocking:
            self._drop_finalizer(collection, owner, FOREGROUND)

    def _orphan(self, collection: str, owner: Stored) -> None:
        uid = owner.metadata["uid"]
        for kind, dependent in self._dependents_of(owner):
            data: Json = copy_json(dependent.data)
            kept = [reference for reference in data["metadata"]["ownerReferences"] if reference["uid"] != uid]
            if kept:
                data["metadata"]["ownerReferences"] = kept
            else:
                del data["metadata"]["ownerReferences"]
            self._server.rewrite(self._resources[kind], dependent, data)
        self._drop_finalizer(collection, owner, ORPHAN)

    def _drop_finalizer(self, collection: str, stored: Stored, finalizer: str) -> None:
        current = self._server.storage.get(collection, stored.key)
        if current is None:
            return
        data: Json = copy_json(current.data)
        kept = [one for one in data["metadata"].get("finalizers") or () if one != finalizer]
        if kept:
            data["metadata"]["finalizers"] = kept
        else:
            data["metadata"].pop("finalizers", None)
        self._server.rewrite(self._resources[collection], current, data)

    def _empty_namespace(self, namespace: Stored) -> None:
        name = namespace.key.name
        remaining = 0
        for resource in self._server.registry:
            if not resource.namespaced:
                continue
            for key in sorted(self._server.storage.all(resource.collection)):
                stored = self._server.storage.get(resource.collection, key)
                if key.namespace != name or stored is None:
                    continue
                if not _is_deleting(stored):
                    self._delete(resource.collection, stored)
                remaining += self._server.storage.get(resource.collection, key) is not None
        current = self._server.storage.get("namespaces", namespace.key)
        if not remaining and current is not None and current.data.get("spec", {}).get("finalizers"):
            data: Json = copy_json(current.data)
            data["spec"]["finalizers"] = [one for one in data["spec"]["finalizers"] if one != "kubernetes"]
            self._server.rewrite(self._resources["namespaces"], current, data)

    def _empty_kind(self, definition: Stored) -> None:
        """A kind goes with all of its objects."""
        spec = definition.data["spec"]
        resource = self._server.registry.find(spec["group"], spec["names"]["plural"])
        if resource is not None:
            for key in sorted(self._server.storage.all(resource.collection)):
                stored = self._server.storage.get(resource.collection, key)
                if stored is not None and not _is_deleting(stored):
                    self._delete(resource.collection, stored)
            if self._server.storage.all(resource.collection):
                return
        self._drop_finalizer(custom.COLLECTION, definition, custom.CLEANUP)

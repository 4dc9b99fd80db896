"""What is seen of the destination cluster: objects as they are kept, and the port by which the reconciler looks.

Objects are kept as JSON text and become data when somebody looks: an Application is looked at for moments, and kept for
weeks. `managedFields` are the larger half of many objects, and are dropped unless somebody needs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from fairlead.agentsync.kinds import IGNORE_RESOURCE_UPDATES, INSTALLATION_ID, TRACKING_ID
from fairlead.agentsync.observation import LiveObjects
from fairlead.agentsync.resources import Object, ResourceKey, ResourceKind
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta

_plain = msgspec.json.Decoder(dict[str, Any])


class _Envelope(msgspec.Struct, frozen=True):
    kind: str = ""
    metadata: ObjectMeta = ObjectMeta()


_envelope = msgspec.json.Decoder(_Envelope)


class LiveObject(msgspec.Struct, frozen=True, kw_only=True):
    """An object of the destination cluster. Of its annotations only those that caches read stay in `metadata`."""

    metadata: ObjectMeta
    raw: bytes

    @property
    def content(self) -> Object:
        """The whole object as JSON data, made anew at each call: the caller's own."""
        return _plain.decode(self.raw)

    def __repr__(self) -> str:
        return f"LiveObject({self.metadata.key}, {self.metadata.resource_version})"  # it may be a Secret


_KEPT = (TRACKING_ID, INSTALLATION_ID, IGNORE_RESOURCE_UPDATES)


def live_kind(kind: ResourceKind, *, namespace: str = "", with_managers: bool = False) -> Kind[LiveObject]:
    """Return the Kind by which live objects are read, listed and written.

    Args:
        namespace: the only one that is watched; empty: all. Caches are kept apart by it.
        with_managers: keep `managedFields`.
    """

    # Items of a list do not say what they are; objects that do not are no objects for the rest of this package.
    said = msgspec.json.encode({"apiVersion": kind.api_version, "kind": kind.kind})[:-1] + b","

    def decode(raw: bytes) -> LiveObject:
        envelope = _envelope.decode(raw)
        metadata = envelope.metadata
        if not envelope.kind:
            raw = said + bytes(raw).lstrip()[1:]
        found = {name: metadata.annotations[name] for name in _KEPT if name in metadata.annotations}
        slim = msgspec.structs.replace(metadata, annotations=found)
        if not with_managers and b'"managedFields"' in raw:
            content = _plain.decode(raw)
            content["metadata"].pop("managedFields", None)
            raw = msgspec.json.encode(content)
        return LiveObject(metadata=slim, raw=bytes(raw))

    form = f"live{'+managers' * with_managers}/{namespace}"
    return Kind(kind.group, kind.version, kind.kind, kind.plural, decode, kind.namespaced, form)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What one Application needs to see.

    Attributes:
        kinds: that it targets, or that its objects are of, in the version that its manifests name: objects of two
            versions cannot be compared.
        namespaces: where to look if not everywhere may be looked at.
        keys: of the targets: seen whoever they belong to.
        versions: of targets in another version than that of other targets of their kind.
        with_managers: whether `managedFields` are needed.
    """

    kinds: frozenset[ResourceKind] = frozenset()
    namespaces: frozenset[str] = frozenset()
    keys: frozenset[ResourceKey] = frozenset()
    versions: Mapping[ResourceKey, str] = field(default_factory=dict)
    with_managers: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What one Application sees now.

    Attributes:
        live: the objects themselves.
        unread: why a kind cannot be seen, by kind as `group/Kind` (no rights, or the server does not answer).
        waiting: kinds whose first list is under way: what is missing may be there.
    """

    live: LiveObjects
    unread: Mapping[str, str] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()

    @property
    def error(self) -> str:
        """Why not everything can be seen, one line; empty: it can, or soon will."""
        return "; ".join(f"{kind.lstrip('/')}: {why}" for kind, why in sorted(self.unread.items()))


def wakes_nobody(old: LiveObject | None, new: LiveObject | None) -> bool:
    """Return whether a change is one that its object wants to be passed over in silence."""
    if old is None or new is None or old.metadata.uid != new.metadata.uid:
        return False  # that it comes or goes is never silent
    return new.metadata.annotations.get(IGNORE_RESOURCE_UPDATES) == "true"


class LiveView(Protocol):
    """Sees what Applications have in the destination cluster: no request, never stale against our own writes."""

    def follow(self, application: ObjectKey, wanted: Wanted) -> None:
        """Have that seen from now on, in place of what was wanted before; changes wake the Application."""
        ...

    def look(self, application: ObjectKey) -> Sight:
        """Return what is seen now."""
        ...

    def strays(self, namespace: str) -> Iterable[ResourceKey]:
        """Return the objects of a namespace that no Application tracks or wants, and that nothing owns.

        Only of kinds that some Application uses: others are not watched.
        """
        ...

    def forget(self, application: ObjectKey) -> None:
        """Want nothing any more."""
        ...

    def kind(self, kind: ResourceKind, namespace: str) -> Kind[LiveObject]:
        """Return the Kind under which objects in that namespace are cached, for writes whose answers are kept."""
        ...


def is_of_the_cluster(key: ResourceKey) -> bool:
    """Return whether an object is one that clusters make by themselves in each namespace.

    >>> is_of_the_cluster(ResourceKey("", "ConfigMap", "shop", "kube-root-ca.crt"))
    True
    """
    own = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt"), ("Service", "kubernetes")}
    return not key.group and (key.kind, key.name) in own

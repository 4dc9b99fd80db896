"""Which Application an object belongs to: what is written on objects, and how it is read.

An annotation names its own bearer (`<application>:<group>/<kind>:<namespace>/<name>`), so that a copy of it on another
object, made by some controller, proves nothing: such an object is not ours, is not counted and never pruned. A label
holds the name of the Application alone, is cut at 63 characters and may be set by charts themselves; it is read only
when the method says so. Pod templates are never stamped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fairlead.agentsync.kinds import INSTALLATION_ID, TRACKING_ID
from fairlead.agentsync.resources import (
    Object,
    ResourceKey,
    annotations_of,
    group_version,
    key_of,
    labels_of,
    metadata_of,
    namespace_of,
)

INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
_LABEL_MAX: Final = 63
_NO_END = re.compile(r"[^A-Za-z0-9]+$", re.ASCII)


class TrackingMethod(StrEnum):
    """How objects are marked: `application.resourceTrackingMethod`."""

    ANNOTATION = "annotation"
    LABEL = "label"
    ANNOTATION_AND_LABEL = "annotation+label"

    @property
    def reads_annotation(self) -> bool:
        return self is not TrackingMethod.LABEL

    @property
    def writes_label(self) -> bool:
        return self is not TrackingMethod.ANNOTATION


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackingId:
    """A parsed tracking annotation.

    Attributes:
        application: the name, or `<namespace>_<name>` outside the control namespace.
        key: the object that it was written for; of a cluster-scoped one the namespace is empty or the destination's.
    """

    application: str
    key: ResourceKey

    def __str__(self) -> str:
        key = self.key
        return f"{self.application}:{key.group}/{key.kind}:{key.namespace}/{key.name}"

    def names(self, found: Object) -> bool:
        """Return whether the object is the one that the annotation was written for."""
        own = key_of(found)
        if (self.key.group, self.key.kind, self.key.name) != (own.group, own.kind, own.name):
            return False
        # A live object that says no namespace is cluster-scoped: there either form counts.
        return not own.namespace or self.key.namespace == own.namespace


def parse_tracking_id(text: str) -> TrackingId | None:
    """Return the parsed annotation; None when it is not one.

    >>> parse_tracking_id("shop:apps/Deployment:web/cart").key.name
    'cart'
    """
    application, colon, rest = text.partition(":")
    group_kind, second, place = rest.partition(":")
    group, slash, kind = group_kind.partition("/")
    namespace, third, name = place.partition("/")
    # Names of RBAC objects have colons and slashes of their own: only the first ones count.
    if not (colon and second and slash and third and application and kind and name):
        return None
    return TrackingId(application=application, key=ResourceKey(group, kind, namespace, name))


def label_value(application: str) -> str:
    """Return the name as the value of a label: at most 63 characters, with an alphanumeric end.

    >>> label_value("a" * 62 + "-b")[-3:]
    'aaa'
    """
    return application if len(application) <= _LABEL_MAX else _NO_END.sub("", application[:_LABEL_MAX])


def application_name(namespace: str, name: str, *, control_namespace: str) -> str:
    """Return how an Application is called on what it manages.

    >>> application_name("team", "shop", control_namespace="argocd")
    'team_shop'
    """
    return name if namespace in ("", control_namespace) else f"{namespace}_{name}"


def owner_of(
    found: Object,
    *,
    method: TrackingMethod = TrackingMethod.ANNOTATION,
    label_key: str = INSTANCE_LABEL,
    installation_id: str = "",
) -> str:
    """Return the Application that an object belongs to; empty when to none.

    An annotation that was written for another object, or by another installation, says nothing.
    """
    if not method.reads_annotation:
        return labels_of(found).get(label_key, "")
    annotations = annotations_of(found)
    parsed = parse_tracking_id(annotations.get(TRACKING_ID, ""))
    if parsed is None or not parsed.names(found):
        return ""
    if installation_id and annotations.get(INSTALLATION_ID) != installation_id:
        return ""
    return parsed.application


def has_owners(found: Object) -> bool:
    """Return whether another object owns this one: then it is not managed, even if tracked."""
    return bool(metadata_of(found).get("ownerReferences"))


def _is_stamped(found: Object) -> bool:
    group, _ = group_version(found)
    is_definition = (group, found.get("kind")) == ("apiextensions.k8s.io", "CustomResourceDefinition")
    return not is_definition or bool(namespace_of(found))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """How one Application marks what it manages.

    Attributes:
        application: as `application_name` says.
        label_key: `application.instanceLabelKey`.
        installation_id: `installationID`; when set, objects of other installations are not ours.
    """

    application: str
    method: TrackingMethod = TrackingMethod.ANNOTATION
    label_key: str = INSTANCE_LABEL
    installation_id: str = ""

    def stamp(self, target: Object) -> Object:
        """Return the object with our marks; a CRD (that names no namespace) comes back as it is."""
        if not _is_stamped(target):
            return target
        metadata = dict(metadata_of(target))
        if self.method.reads_annotation:
            marks = {TRACKING_ID: str(TrackingId(application=self.application, key=key_of(target)))}
            if self.installation_id:
                marks[INSTALLATION_ID] = self.installation_id
            metadata["annotations"] = {**_mapping(metadata.get("annotations")), **marks}
        if self.method.writes_label:
            value = self.application if self.method is TrackingMethod.LABEL else label_value(self.application)
            metadata["labels"] = {**_mapping(metadata.get("labels")), self.label_key: value}
        return {**target, "metadata": metadata}

    def owner_of(self, found: Object) -> str:
        """Return the Application that an object belongs to, read as we write; empty when to none."""
        return owner_of(found, method=self.method, label_key=self.label_key, installation_id=self.installation_id)

    def owns(self, found: Object) -> bool:
        """Return whether a live object is ours: marked for this Application and, by annotation, for this very object.

        *Guarantees*: an object that is owned by another one is never ours, so that it is never pruned.
        """
        return self.owner_of(found) == self.application and not has_owners(found)


def _mapping(found: object) -> dict[str, object]:
    return dict(found) if isinstance(found, dict) else {}

"""Both sides of a comparison without what never counts, and in one spelling.

Fields that the server keeps, the status, the last-applied annotation, and tracking metadata that the method does not
use, are taken off; the data of Secrets, empty rules and the order of Endpoints get one form. What only needs comparing
by meaning (quantities, durations, defaults) is left to the merge.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from fairlead.agentsync.kinds import INSTALLATION_ID, TRACKING_ID
from fairlead.agentsync.resources import Object, annotations_of, group_version, kind_of, labels_of, metadata_of
from fairlead.agentsync.tracking import Tracking

LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
SERVER_FIELDS: Final = ("creationTimestamp", "managedFields", "resourceVersion", "uid", "generation", "selfLink")
_RBAC: Final = "rbac.authorization.k8s.io"


class IgnoreStatus(StrEnum):
    """Whose status does not count: `ignoreResourceStatusField` of `resource.compareoptions`."""

    ALL = "all"
    CRD = "crd"
    NONE = "none"


def is_secret(found: Object) -> bool:
    """Return whether the object holds values that nobody may see."""
    return group_version(found)[0] == "" and kind_of(found) == "Secret"


def ignores_status(found: Object, mode: IgnoreStatus) -> bool:
    """Return whether the status of an object counts for nothing."""
    if mode is IgnoreStatus.CRD:
        return (group_version(found)[0], kind_of(found)) == ("apiextensions.k8s.io", "CustomResourceDefinition")
    return mode is IgnoreStatus.ALL


def is_aggregated_role(found: Object) -> bool:
    """Return whether a controller fills in the rules."""
    return group_version(found)[0] == _RBAC and kind_of(found) == "ClusterRole" and bool(found.get("aggregationRule"))


def normalised(found: Object, ignore_status: IgnoreStatus = IgnoreStatus.ALL) -> Object:
    """Return the object without what the server keeps, in one spelling. The argument is not changed."""
    metadata = {key: value for key, value in metadata_of(found).items() if key not in SERVER_FIELDS}
    annotations = metadata.get("annotations")
    if isinstance(annotations, dict) and LAST_APPLIED in annotations:
        left = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
        if left:
            metadata["annotations"] = left
        else:  # nobody else had any
            del metadata["annotations"]
    result = {**found, "metadata": metadata}
    if ignores_status(found, ignore_status):
        result.pop("status", None)
    spell = _SPELLINGS.get((group_version(found)[0], kind_of(found)))
    return spell(result) if spell is not None else result


def merge_string_data(found: Object) -> Object:
    """Return a Secret as the server stores it: `stringData` in `data`, where it wins."""
    plain = found.get("stringData")
    if "stringData" not in found:
        return found
    result = {key: value for key, value in found.items() if key != "stringData"}
    if isinstance(plain, dict) and plain:
        data = found.get("data")
        encoded = {key: _encoded(value) for key, value in plain.items() if value is not None}
        result["data"] = {**(data if isinstance(data, dict) else {}), **encoded}
    return result


def _encoded(value: Any) -> Any:
    # What is no text is refused by the server; here it only must not get lost.
    return base64.b64encode(value.encode("utf-8", "surrogatepass")).decode() if isinstance(value, str) else value


def _with_rules(found: Object) -> Object:
    """Return a role with a list of rules; an aggregated one may leave them to its controller."""
    is_left = "rules" not in found and bool(found.get("aggregationRule"))
    return found if is_left or found.get("rules") else {**found, "rules": []}


def _sorted_subsets(found: Object) -> Object:
    subsets = found.get("subsets")
    if not isinstance(subsets, list):
        return found
    return {**found, "subsets": sorted((_sorted_subset(one) for one in subsets), key=_text)}


def _sorted_subset(subset: Any) -> Any:
    if not isinstance(subset, dict):
        return subset
    return {
        key: sorted(value, key=_text)
        if isinstance(value, list) and key in ("addresses", "notReadyAddresses", "ports")
        else value
        for key, value in subset.items()
    }


def _text(found: Any) -> str:
    if isinstance(found, dict):  # an address by its IP first, a port by its name
        first = found.get("ip", found.get("name", ""))
        return f"{first}\0{json.dumps(found, sort_keys=True)}"
    return json.dumps(found, sort_keys=True)


_SPELLINGS: Final[dict[tuple[str, str], Callable[[Object], Object]]] = {
    ("", "Secret"): merge_string_data,
    ("", "Endpoints"): _sorted_subsets,
    (_RBAC, "Role"): _with_rules,
    (_RBAC, "ClusterRole"): _with_rules,
}


def without_rules(found: Object) -> Object:
    """Return a role without its rules."""
    return {key: value for key, value in found.items() if key != "rules"}


def align_tracking(target: Object, live: Object, tracking: Tracking) -> tuple[Object, Object]:
    """Return both sides without tracking metadata that the method does not use.

    By annotation, a live object that still carries the label of an earlier method is as good as annotated; the label
    itself goes unnoticed unless the target has one of its own.
    """
    if not tracking.method.reads_annotation:
        return tuple(_without_entries(side, "annotations", (TRACKING_ID, INSTALLATION_ID)) for side in (target, live))  # type: ignore[return-value]  # two of them
    if tracking.label_key not in labels_of(live):
        return target, live
    marks = {
        key: value
        for key, value in annotations_of(target).items()
        if key in (TRACKING_ID, INSTALLATION_ID) and key not in annotations_of(live)
    }
    if marks:
        metadata = dict(metadata_of(live))
        live = {**live, "metadata": {**metadata, "annotations": {**annotations_of(live), **marks}}}
    if tracking.label_key not in labels_of(target):
        live = _without_entries(live, "labels", (tracking.label_key,))
    return target, live


def _without_entries(found: Object, field: str, names: tuple[str, ...]) -> Object:
    metadata = metadata_of(found)
    entries = metadata.get(field)
    if not isinstance(entries, dict) or not any(name in entries for name in names):
        return found
    left = {key: value for key, value in entries.items() if key not in names}
    return {**found, "metadata": {**metadata, field: left}}

"""Labels and annotations that say which part a revision plays, without a restart of its pods.

| state | current revision | stable revision | others |
|---|---|---|---|
| nothing is stable yet, or the current one is | stable's | – | none |
| an update is under way | canary's | stable's | none |

They are written into the ReplicaSet's pod template first, so that pods born from now on are right, then onto the pods
that live already. What is injected is recorded on the ReplicaSet in argo-rollouts' annotation. Two more of ours make
it exact: what stood in the template before (so that it can be put back, and the template is still recognised), and
what pods may carry from before (so that a crash between the two writes leaves nothing behind).

Pods are looked at only when they may be wrong: after a change, until the ReplicaSet controller has seen the new
template, and once after a start of this process.

Only our own keys are touched. A key that the ReplicaSet selects by is never injected: the API server would refuse it.

Source: argo-rollouts: rollout/ephemeralmetadata.go, utils/replicaset/replicaset.go: SyncReplicaSetEphemeralPodMetadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from fairlead.core.kinds import ReplicaSet
from fairlead.core.objects import compact
from fairlead.rollouts._stanzas import Metadata
from fairlead.rollouts._template import HASH_LABEL
from fairlead.rollouts.spec import RolloutSpec

INJECTED = "rollout.argoproj.io/ephemeral-metadata"
OVERRIDDEN = "fairlead.dev/overridden-metadata"  # what the injected values stand in place of
EARLIER = "fairlead.dev/earlier-metadata"  # what pods may carry from before the last change

_NONE = Metadata()
_encoder = msgspec.json.Encoder(order="deterministic")
_decoder = msgspec.json.Decoder(Metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Marking:
    """What has to be written for a ReplicaSet's metadata, and what its pods must carry.

    Attributes:
        template: merge patch below `spec.template.metadata`; empty when the template is right.
        annotations: of the ReplicaSet itself; None removes one. Written with the template only.
        labels, pod_annotations: of the pods; None: the key must be gone.
    """

    template: Mapping[str, Any]
    annotations: Mapping[str, str | None]
    labels: Mapping[str, str | None]
    pod_annotations: Mapping[str, str | None]

    @property
    def text(self) -> str:
        """What pods must carry, as a short text to compare; empty: nothing is asked of them."""
        return pods_text(self.labels, self.pod_annotations)


_NOTHING = Marking(template={}, annotations={}, labels={}, pod_annotations={})


def pods_text(labels: Mapping[str, str | None], annotations: Mapping[str, str | None]) -> str:
    """Return what pods must carry as a text that is the same for the same demands; empty when there are none."""
    content = compact({"labels": dict(labels), "annotations": dict(annotations)})
    return _encoder.encode(content).decode() if content else ""


def wanted_for(spec: RolloutSpec, *, is_new: bool, is_stable: bool, has_stable: bool) -> Metadata:
    """Return what the pods of a ReplicaSet should carry.

    Args:
        is_new: it has the template of the spec.
        is_stable: it was promoted last.
        has_stable: some ReplicaSet was.
    """
    canary, blue_green = spec.canary, spec.blue_green
    updating, settled = None, None
    if canary is not None:
        updating, settled = canary.canary_metadata, canary.stable_metadata
    elif blue_green is not None:
        updating, settled = blue_green.preview_metadata, blue_green.active_metadata
    chosen = settled if is_stable or (is_new and not has_stable) else updating if is_new else None
    if chosen is None:
        return _NONE
    selected = {HASH_LABEL, *(spec.selector.match_labels if spec.selector else ())}
    labels = {key: value for key, value in chosen.labels.items() if key not in selected}
    return Metadata(labels=labels, annotations=chosen.annotations)


def mark(found: ReplicaSet, wanted: Metadata, *, is_marked: bool) -> Marking:
    """Return how a ReplicaSet that exists comes to carry what is wanted.

    Args:
        is_marked: all its pods are known to carry what was wanted of them before.
    """
    stored = found.metadata.annotations
    if wanted == _NONE and INJECTED not in stored and EARLIER not in stored:
        return _NOTHING  # the usual case: nobody asks for metadata
    injected = injected_into(found)
    overridden, earlier = _parse(stored.get(OVERRIDDEN)), _parse(stored.get(EARLIER))
    if injected == wanted:
        live = _template_metadata(bytes(found.spec.template))
        return _marking({}, {}, wanted, earlier, live)
    live = _template_metadata(bytes(found.spec.template))
    template: dict[str, Any] = {}
    kept: dict[str, dict[str, str]] = {}
    for part in ("labels", "annotations"):
        before, after = getattr(injected, part), getattr(wanted, part)
        standing, original = live[part], getattr(overridden, part)
        changes: dict[str, str | None] = {key: original.get(key) for key in before if key not in after}
        changes |= {key: value for key, value in after.items() if standing.get(key) != value}
        kept[part] = {
            key: value
            for key in after
            if (value := original.get(key) if key in before else standing.get(key)) is not None
        }
        if changes:
            template[part] = changes
            live[part] = {key: value for key, value in {**standing, **changes}.items() if value is not None}
    # Pods carry what was injected last, and what they may not have lost yet from before that.
    left = injected if is_marked else _joined(earlier, injected)
    annotations: dict[str, str | None] = {
        INJECTED: text_of(wanted),
        OVERRIDDEN: text_of(Metadata(labels=kept["labels"], annotations=kept["annotations"])),
        EARLIER: text_of(left),
    }
    changed = {key: value for key, value in annotations.items() if stored.get(key) != value}
    return _marking(template, changed, wanted, left, live)


def _marking(
    template: Mapping[str, Any],
    annotations: Mapping[str, str | None],
    wanted: Metadata,
    earlier: Metadata,
    live: Mapping[str, Mapping[str, str]],
) -> Marking:
    def values(part: str) -> dict[str, str | None]:
        keys = {**getattr(earlier, part), **getattr(wanted, part)}
        return {key: live[part].get(key) for key in sorted(keys)}

    return Marking(
        template=template, annotations=annotations, labels=values("labels"), pod_annotations=values("annotations")
    )


def inject(template: Mapping[str, Any], wanted: Metadata) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a new ReplicaSet's template with what is wanted, and the annotations that record it."""
    if wanted == _NONE:
        return dict(template), {}
    metadata = dict(template.get("metadata", {}))
    kept: dict[str, dict[str, str]] = {}
    for part in ("labels", "annotations"):
        standing, added = metadata.get(part) or {}, getattr(wanted, part)
        kept[part] = {key: standing[key] for key in added if key in standing}
        if added:
            metadata[part] = {**standing, **added}
    recorded = {
        INJECTED: text_of(wanted),
        OVERRIDDEN: text_of(Metadata(labels=kept["labels"], annotations=kept["annotations"])),
    }
    return {**template, "metadata": metadata}, {key: text for key, text in recorded.items() if text is not None}


def injected_into(found: ReplicaSet) -> Metadata:
    """Return what has been injected into a ReplicaSet's template, by us or by argo-rollouts."""
    return _parse(found.metadata.annotations.get(INJECTED))


def bare_template(found: ReplicaSet) -> bytes:
    """Return the template of a ReplicaSet as it was before anything was injected."""
    injected = found.metadata.annotations.get(INJECTED)
    if injected is None:
        return bytes(found.spec.template)
    return _bare(bytes(found.spec.template), injected, found.metadata.annotations.get(OVERRIDDEN, ""))


@lru_cache(maxsize=2048)
def _bare(template: bytes, injected: str, overridden: str) -> bytes:
    try:
        content = msgspec.json.decode(template, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        return template
    metadata = content.get("metadata")
    if not isinstance(metadata, dict):
        return template
    gone, back = _parse(injected), _parse(overridden)
    for part in ("labels", "annotations"):
        standing = metadata.get(part)
        if isinstance(standing, dict):
            left = {key: value for key, value in standing.items() if key not in getattr(gone, part)}
            metadata[part] = left | getattr(back, part)
    return msgspec.json.encode(content)


def _template_metadata(template: bytes) -> dict[str, dict[str, str]]:
    try:
        metadata = msgspec.json.decode(template, type=dict[str, Any]).get("metadata")
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        metadata = None
    parts = metadata if isinstance(metadata, dict) else {}
    return {part: dict(parts.get(part) or {}) for part in ("labels", "annotations")}


def text_of(metadata: Metadata) -> str | None:
    """Return metadata as argo-rollouts writes it into its annotation; None when it is empty."""
    content = compact({"labels": metadata.labels, "annotations": metadata.annotations})
    return msgspec.json.encode(content, order="sorted").decode() if content else None


def _parse(text: str | None) -> Metadata:
    if not text:
        return _NONE
    try:
        return _decoder.decode(text)
    except msgspec.MsgspecError:  # a stranger wrote it: then nothing is known to be injected
        return _NONE


def _joined(one: Metadata, other: Metadata) -> Metadata:
    return Metadata(labels={**one.labels, **other.labels}, annotations={**one.annotations, **other.annotations})

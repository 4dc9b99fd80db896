"""The Secret that an ExternalSecret wants, and what has to change for it.

`wish` is compared with the Secret as it was seen without its values (`differs`); only if something has to be written
is the Secret read with its values, and `creation` or `patch` say what to write.

Source: `external-secrets: pkg/controllers/externalsecret: mutationFunc` (order and precedence).
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairlead.core.objects import ObjectMeta
from fairlead.secrets._hash import data_hash
from fairlead.secrets._ownership import Claim, claim, created_by, owned, owner_references
from fairlead.secrets.kinds import (
    CREATED_BY_LABEL,
    DATA_HASH_ANNOTATION,
    MANAGED_LABEL,
    LiveSecret,
    TargetSecret,
    digest,
)
from fairlead.secrets.spec import CreationPolicy
from fairlead.secrets.values import SecretBytes

OPAQUE = "Opaque"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """What template and values give.

    Attributes:
        type: of the Secret; empty: keep the one that it has.
    """

    data: Mapping[str, SecretBytes]
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    type: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What one ExternalSecret wants of its Secret."""

    owner: ObjectMeta
    name: str
    policy: CreationPolicy
    immutable: bool
    rendered: Rendered

    @property
    def labels(self) -> dict[str, str]:
        labels = {**self.rendered.labels, MANAGED_LABEL: "true"}
        if self.policy is CreationPolicy.OWNER:
            labels[CREATED_BY_LABEL] = created_by(self.owner)
        return labels


class Refusal(Exception):
    """The Secret must not be written as it is wished. `message` is the condition's."""

    def __init__(self, message: str, detail: str) -> None:
        super().__init__(detail)
        self.message = message


def check(wish: Wish, secret: TargetSecret) -> None:
    """Return if the Secret may be written by this ExternalSecret.

    Raises:
        Refusal: it belongs to somebody else, or is of another type.
    """
    match claim(secret.metadata, wish.owner):
        case Claim.ANOTHER_EXTERNAL_SECRET:
            controller = secret.metadata.controller
            name = controller.name if controller is not None else ""
            raise Refusal(
                "target is owned by another ExternalSecret",
                f"secret {wish.name} is owned by the ExternalSecret {name}",
            )
        case Claim.SOMEBODY_ELSE if wish.policy is CreationPolicy.OWNER:
            controller = secret.metadata.controller
            kind = f"{controller.kind} {controller.name}" if controller is not None else "somebody else"
            raise Refusal(
                "failed to take ownership of target secret", f"secret {wish.name} is controlled by the {kind}"
            )
        case _:
            pass
    if wish.rendered.type and secret.type and wish.rendered.type != secret.type:
        raise Refusal(
            "could not update secret",
            f"the type of secret {wish.name} is {secret.type} and cannot become {wish.rendered.type}: "
            "delete the Secret to have it made anew",
        )


def differs(wish: Wish, secret: TargetSecret) -> bool:
    """Return whether anything has to be written, or refused because the Secret is immutable."""
    return (
        _data_differs(wish, secret)
        or bool(_metadata_patch(wish, secret, secret.hash))
        or (wish.immutable and not secret.immutable)
    )


def creation(wish: Wish) -> dict[str, Any]:
    """Return the body of a new Secret."""
    data = {key: value.reveal() for key, value in wish.rendered.data.items()}
    references = owner_references(None, wish.owner, take=wish.policy is CreationPolicy.OWNER)
    metadata: dict[str, Any] = {
        "name": wish.name,
        "namespace": wish.owner.namespace,
        "labels": wish.labels,
        "annotations": {**wish.rendered.annotations, DATA_HASH_ANNOTATION: data_hash(data)},
    }
    if references:
        metadata["ownerReferences"] = references
    if wish.rendered.finalizers:
        metadata["finalizers"] = list(wish.rendered.finalizers)
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": wish.rendered.type or OPAQUE,
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }
    if wish.immutable:
        body["immutable"] = True
    return body


def patch(wish: Wish, live: LiveSecret) -> dict[str, Any]:
    """Return the merge patch that makes the Secret what is wished; empty if it is that.

    UID and resourceVersion are preconditions. The data of an immutable Secret is left alone.
    """
    secret = live.target
    data: dict[str, str | None] = {}
    final = {key: value.reveal() for key, value in live.data.items()}
    if not (wish.immutable or secret.immutable):
        for key in _stale(wish, secret):
            data[key] = None
            del final[key]
        for key, value in wish.rendered.data.items():
            if final.get(key) != value.reveal():
                final[key] = value.reveal()
                data[key] = b64encode(final[key]).decode()
    body: dict[str, Any] = {}
    if data:
        body["data"] = data
    if wish.immutable and not secret.immutable:
        body["immutable"] = True
    metadata = _metadata_patch(wish, secret, data_hash(final))
    if not body and not metadata:
        return {}
    metadata["uid"] = secret.metadata.uid
    metadata["resourceVersion"] = secret.metadata.resource_version
    return {**body, "metadata": metadata}


def is_frozen(wish: Wish, secret: TargetSecret) -> bool:
    """Return whether the data should change and cannot, since somebody made the Secret immutable."""
    return secret.immutable and not wish.immutable and _data_differs(wish, secret)


def _data_differs(wish: Wish, secret: TargetSecret) -> bool:
    if wish.immutable:
        return False  # what exists is never touched
    if _stale(wish, secret):
        return True
    return any(secret.digests.get(key) != digest(value.reveal()) for key, value in wish.rendered.data.items())


def _stale(wish: Wish, secret: TargetSecret) -> list[str]:
    """Return the keys that have to go: ours if foreign ones stay, else all that are not wished."""
    candidates = set(secret.digests)
    if wish.policy.keeps_foreign_keys:
        candidates &= owned(secret, wish.owner).data
    return sorted(key for key in candidates if key not in wish.rendered.data)


def _metadata_patch(wish: Wish, secret: TargetSecret, hashed: str) -> dict[str, Any]:
    meta, ours = secret.metadata, owned(secret, wish.owner)
    takes = wish.policy is CreationPolicy.OWNER
    annotations = {**wish.rendered.annotations, DATA_HASH_ANNOTATION: hashed}
    labels = _changes(meta.labels, wish.labels, ours.labels)
    if not takes and meta.labels.get(CREATED_BY_LABEL) == created_by(wish.owner):
        labels[CREATED_BY_LABEL] = None
    changes: dict[str, Any] = {
        "labels": labels,
        "annotations": _changes(meta.annotations, annotations, ours.annotations),
    }
    references = owner_references(meta, wish.owner, take=takes)
    if references is not None:
        changes["ownerReferences"] = references
    if set(wish.rendered.finalizers) - set(meta.finalizers):
        changes["finalizers"] = [*dict.fromkeys((*meta.finalizers, *wish.rendered.finalizers))]
    return {name: value for name, value in changes.items() if value or name == "ownerReferences"}


def _changes(now: Mapping[str, str], wished: Mapping[str, str], ours: frozenset[str]) -> dict[str, str | None]:
    """Return what to set and, of what we wrote earlier, what to take away."""
    changes: dict[str, str | None] = {key: None for key in ours if key in now and key not in wished}
    changes.update({key: value for key, value in wished.items() if now.get(key) != value})
    return changes

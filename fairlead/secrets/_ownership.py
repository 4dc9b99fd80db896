"""Whose a Secret is, and which of its keys, labels and annotations.

Source: `external-secrets: pkg/controllers/externalsecret/externalsecret_controller_secret.go`. Upstream compares group
and kind of the controlling owner only, and deletes by label; here a Secret is deleted only under the UID of its owner.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from hashlib import sha3_224
from typing import Any

from fairlead.core.objects import ObjectMeta, OwnerReference, controller_reference
from fairlead.secrets._hash import text_hash
from fairlead.secrets.kinds import EXTERNAL_SECRETS, GROUP, MANAGER_PREFIX, Owned, TargetSecret

_MANAGER_MAX = 63  # beyond this the name is hashed


class Claim(StrEnum):
    """Who controls a Secret, as one ExternalSecret sees it."""

    OURS = "Ours"
    FREE = "Free"
    ANOTHER_EXTERNAL_SECRET = "AnotherExternalSecret"  # noqa: S105  # no password, a word
    SOMEBODY_ELSE = "SomebodyElse"


def field_manager(name: str) -> str:
    """Return the field manager under which the Secret of that ExternalSecret is written."""
    plain = f"{MANAGER_PREFIX}{name}"
    return plain if len(plain) <= _MANAGER_MAX else f"{MANAGER_PREFIX}sha3/{sha3_224(name.encode()).hexdigest()}"


def created_by(owner: ObjectMeta) -> str:
    """Return the value of the created-by label on Secrets of that ExternalSecret."""
    return text_hash(f"{owner.namespace}/{owner.name}")


def owned(target: TargetSecret, owner: ObjectMeta) -> Owned:
    """Return what that ExternalSecret wrote on the Secret, by whichever controller."""
    return target.owned.get(field_manager(owner.name), Owned())


def claim(secret: ObjectMeta, owner: ObjectMeta) -> Claim:
    """Return who controls the Secret.

    A reference to an ExternalSecret of our name and another UID is ours: its bearer is gone, since we have the name.
    """
    controller = secret.controller
    if controller is None:
        return Claim.FREE
    if not _is_external_secret(controller):
        return Claim.SOMEBODY_ELSE
    return Claim.OURS if controller.name == owner.name else Claim.ANOTHER_EXTERNAL_SECRET


def controls(owner: ObjectMeta, secret: ObjectMeta) -> bool:
    """Return whether this very ExternalSecret controls the Secret, by UID: only then may it be deleted."""
    controller = secret.controller
    return controller is not None and bool(owner.uid) and controller.uid == owner.uid


def owner_references(secret: ObjectMeta | None, owner: ObjectMeta, *, take: bool) -> list[dict[str, Any]] | None:
    """Return the owner references that the Secret should have, or None if it has them.

    Args:
        take: whether we are to control it; else a reference of ours is taken away.
    """
    before: Sequence[OwnerReference] = secret.owner_references if secret is not None else ()
    others = [
        reference for reference in before if not (_is_external_secret(reference) and reference.name == owner.name)
    ]
    wished = [_to_json(reference) for reference in others]
    if take:
        wished.append(
            controller_reference(api_version=EXTERNAL_SECRETS.api_version, kind=EXTERNAL_SECRETS.kind, metadata=owner)
        )
    had = [_to_json(reference) for reference in before]
    return None if _sorted(had) == _sorted(wished) else wished


def _sorted(references: list[dict[str, Any]]) -> list[dict[str, Any]]:
    # The API version does not matter: v1beta1 and v1 are one kind.
    return sorted(
        ({**reference, "apiVersion": str(reference["apiVersion"]).partition("/")[0]} for reference in references),
        key=lambda reference: (str(reference["kind"]), str(reference["name"]), str(reference["uid"])),
    )


def _to_json(reference: OwnerReference) -> dict[str, Any]:
    plain: dict[str, Any] = {
        "apiVersion": reference.api_version,
        "kind": reference.kind,
        "name": reference.name,
        "uid": reference.uid,
    }
    if reference.controller:
        plain["controller"] = True
    if reference.block_owner_deletion:
        plain["blockOwnerDeletion"] = True
    return plain


def _is_external_secret(reference: OwnerReference) -> bool:
    return reference.kind == EXTERNAL_SECRETS.kind and reference.api_version.partition("/")[0] == GROUP

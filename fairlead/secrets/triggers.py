"""Whose business a change is: which keys to reconcile when an object changes, and what to index for it.

Stores wake those who use them (upstream waits for the next refresh): a store that becomes ready, or another, is asked
at once. Secrets wake those who make them, so drift is mended within moments.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from fairlead.core.cluster import View
from fairlead.core.errors import SpecError
from fairlead.core.objects import HasMetadata, ObjectKey
from fairlead.secrets._questions import StoreName
from fairlead.secrets._sources import store_names
from fairlead.secrets.kinds import CREATED_BY_LABEL, ExternalSecret, SecretStore, TargetSecret
from fairlead.secrets.spec import StoreKind, decode_spec

# Indexes that the views of the reconciler must have.
STORE_INDEX: Final = "secret-store"  # of ExternalSecrets: the stores that the spec names
TARGET_INDEX: Final = "secret-target"  # of ExternalSecrets: the Secret that it makes, `namespace/name`
CREATED_BY_INDEX: Final = "secret-created-by"  # of Secrets: the created-by label, `namespace/hash`


def store_value(store: StoreName, namespace: str) -> str:
    """Return the value under which the users of a store are found, as seen from a namespace."""
    return f"{store.kind}/{'' if store.kind is StoreKind.CLUSTER else namespace}/{store.name}"


def stores_of(found: ExternalSecret) -> Iterator[str]:
    """Yield the index values of the stores that an ExternalSecret refers to; none if it cannot be understood."""
    try:
        spec = decode_spec(found.spec)
    except SpecError:
        return
    for store in store_names(spec):
        yield store_value(store, found.metadata.namespace)


def target_of(found: ExternalSecret) -> Iterator[str]:
    """Yield the index value of the Secret that an ExternalSecret makes."""
    try:
        name = decode_spec(found.spec).target.name
    except SpecError:
        return
    yield str(ObjectKey(found.metadata.namespace, name or found.metadata.name))


def maker_of(found: TargetSecret) -> Iterator[str]:
    """Yield the index value of who created a Secret."""
    maker = found.metadata.labels.get(CREATED_BY_LABEL)
    if maker:
        yield f"{found.metadata.namespace}/{maker}"


EXTERNAL_SECRET_INDEXES: Final = {STORE_INDEX: stores_of, TARGET_INDEX: target_of}
TARGET_INDEXES: Final = {CREATED_BY_INDEX: maker_of}


class Triggers:
    """Finds the ExternalSecrets that a change of something else concerns.

    Args:
        external_secrets: with `EXTERNAL_SECRET_INDEXES`.
    """

    def __init__(self, external_secrets: View[ExternalSecret]) -> None:
        self._external_secrets = external_secrets

    def by_target(self, secret: TargetSecret) -> tuple[ObjectKey, ...]:
        """Return those that make the Secret."""
        return _keys(self._external_secrets.by_index(TARGET_INDEX, str(secret.metadata.key)))

    def by_store(self, store: SecretStore) -> tuple[ObjectKey, ...]:
        """Return those that use the SecretStore, or the ClusterSecretStore: that has no namespace."""
        meta = store.metadata
        kind = StoreKind.NAMESPACED if meta.namespace else StoreKind.CLUSTER
        value = store_value(StoreName(kind, meta.name), meta.namespace)
        return _keys(self._external_secrets.by_index(STORE_INDEX, value))

    def by_namespace(self, namespace: HasMetadata) -> tuple[ObjectKey, ...]:
        """Return those of a namespace: its labels may let them use other stores now."""
        return _keys(self._external_secrets.list(namespace.metadata.name))


def _keys(found: Sequence[ExternalSecret]) -> tuple[ObjectKey, ...]:
    return tuple(item.metadata.key for item in found)

"""What a reconciler sees of stores without a request: whether they are there, ready, ours, and open to a namespace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairlead.core.clock import Clock
from fairlead.core.cluster import View
from fairlead.core.objects import HasMetadata, ObjectKey
from fairlead.secrets._access import denial, is_allowed
from fairlead.secrets._opening import KnownStore, Stores
from fairlead.secrets._questions import StoreName
from fairlead.secrets.kinds import ExternalSecret, SecretStore, TargetSecret
from fairlead.secrets.observation import Readiness, StoreSeen
from fairlead.secrets.settings import SecretSettings
from fairlead.secrets.spec import StoreKind
from fairlead.secrets.status import decode_store_status


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    """What the reconciler sees of the cluster without a request.

    Attributes:
        external_secrets: with `triggers.EXTERNAL_SECRET_INDEXES`.
        targets: Secrets of kind `kinds.TARGETS` with the label `kinds.MANAGED_SELECTOR`, with
            `triggers.TARGET_INDEXES`.
        cluster_stores: None: they are not served.
        namespaces: their labels let them use ClusterSecretStores; None: only names and patterns do.
    """

    external_secrets: View[ExternalSecret]
    targets: View[TargetSecret]
    stores: View[SecretStore]
    cluster_stores: View[SecretStore] | None = None
    namespaces: View[HasMetadata] | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """One store as it stands behind a reference."""

    seen: StoreSeen
    known: KnownStore | None
    mark: tuple[str, str, int]  # name, UID and generation: whether it is the same as before


class Sight:
    """Looks at stores from the namespaces of those who use them.

    Args:
        views: what is seen of the cluster.
        stores: reads specs of stores.
        clock: tells how new a store is.
    """

    def __init__(self, views: Views, stores: Stores, clock: Clock, settings: SecretSettings) -> None:
        self._views = views
        self._stores = stores
        self._clock = clock
        self._settings = settings
        # By store: UID, resourceVersion, and its verdict.
        self._ready: dict[tuple[StoreKind, ObjectKey], tuple[str, str, bool | None]] = {}

    def stores(self, names: Sequence[StoreName], namespace: str) -> tuple[Reach, ...]:
        """Return how the stores look from a namespace, in the given order."""
        return tuple(self._reach(name, namespace) for name in names)

    def _reach(self, name: StoreName, namespace: str) -> Reach:
        """Return how a store looks from a namespace. Cluster stores only where their conditions match, each time."""
        if name.kind is StoreKind.CLUSTER:
            key, view = ObjectKey("", name.name), self._views.cluster_stores if self._settings.cluster_stores else None
        else:
            key, view = ObjectKey(namespace, name.name), self._views.stores
        found = view.get(key) if view is not None else None
        if found is None:
            self._ready.pop((name.kind, key), None)
            seen = StoreSeen(kind=name.kind, name=name.name, readiness=Readiness.MISSING)
            return Reach(seen, None, (name.name, "", 0))
        known = self._stores.known(name.kind, found)
        refusal = ""
        if name.kind is StoreKind.CLUSTER and known.spec is not None:
            home = self._views.namespaces.get(ObjectKey("", namespace)) if self._views.namespaces is not None else None
            labels = home.metadata.labels if home is not None else {}
            if not is_allowed(known.spec.conditions, namespace, labels):
                refusal = denial(name.name, namespace)
        seen = StoreSeen(
            kind=name.kind,
            name=name.name,
            readiness=self._readiness(name.kind, found),
            is_ours=known.controller in ("", self._settings.controller_class),
            denial=refusal,
        )
        return Reach(seen, known, (name.name, found.metadata.uid, found.metadata.generation))

    def _readiness(self, kind: StoreKind, found: SecretStore) -> Readiness:
        if not self._settings.flood_gate:
            return Readiness.READY
        meta = found.metadata
        uid, version, is_ready = self._ready.get((kind, meta.key), ("", "", None))
        if (uid, version) != (meta.uid, meta.resource_version):
            ready = decode_store_status(found.status).ready
            is_ready = ready.is_true if ready is not None else None
            self._ready[kind, meta.key] = (meta.uid, meta.resource_version, is_ready)
        if is_ready is not None:
            return Readiness.READY if is_ready else Readiness.NOT_READY
        created_at = meta.creation_timestamp
        if created_at is not None and self._clock.now() - created_at < self._settings.unvalidated:
            return Readiness.UNKNOWN
        return Readiness.NOT_READY

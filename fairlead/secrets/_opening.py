"""From the stores that the cluster describes to handles that the planner can ask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from fairlead.core.errors import FairleadError, ProviderError, SpecError
from fairlead.core.objects import ObjectMeta
from fairlead.secrets import _validation
from fairlead.secrets._questions import StoreHandle
from fairlead.secrets.kinds import SecretStore
from fairlead.secrets.spec import SecretStoreSpec, StoreKind, decode_store_spec
from fairlead.secrets.stores import port
from fairlead.secrets.stores.opening import store_spec
from fairlead.secrets.stores.port import Store, StoreContext, StoreProvider, StoreSpec, Throttled

FindProvider = Callable[[str], StoreProvider]
_REMEMBERED_MAX = 10_000


class OpeningFailed(ProviderError):
    """The client of a store could not be made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownStore:
    """A store whose spec has been read.

    Attributes:
        spec: as its user wrote it; None: it cannot be understood, and `error` says why.
        error: why it cannot be opened, without asking anybody.
    """

    metadata: ObjectMeta
    spec: SecretStoreSpec | None = None
    error: str = ""
    store: StoreSpec | None = None
    provider: StoreProvider | None = None

    @property
    def controller(self) -> str:
        return self.spec.controller if self.spec is not None else ""

    @property
    def is_referent(self) -> bool:
        """Whether its identity is that of whoever uses it."""
        if self.provider is None or self.store is None or self.store.kind is not StoreKind.CLUSTER:
            return False
        return self.provider.is_referent(self.store)

    @property
    def converts_found_keys(self) -> bool:
        return self.provider is not None and self.provider.converts_found_keys


class Stores:
    """Reads specs of stores, once each, and makes handles.

    Args:
        provider: finds the provider of a key below `spec.provider`.
        context: surroundings of all stores, but for the namespace.
    """

    def __init__(self, provider: FindProvider, context: StoreContext) -> None:
        self._provider = provider
        self._context = context
        self._known: dict[tuple[str, int], KnownStore] = {}

    def known(self, kind: StoreKind, found: SecretStore) -> KnownStore:
        """Return what is known of a store, by its spec alone."""
        key = (found.metadata.uid, found.metadata.generation)
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _REMEMBERED_MAX:
                self._known.clear()
            known = self._known[key] = self._read(kind, found)
        return known

    def handle(self, known: KnownStore, user_namespace: str) -> StoreHandle:
        """Return how to reach a store on behalf of a namespace.

        Args:
            user_namespace: of the ExternalSecret; matters only where the store's identity is that of its user.

        Raises:
            SpecError: its spec cannot work.
        """
        if known.error or known.store is None or known.provider is None:
            raise SpecError(known.error or "the store cannot be understood")
        namespace = user_namespace if known.is_referent else ""
        store, provider = known.store, known.provider
        context = replace(self._context, namespace=namespace or known.metadata.namespace)

        async def open_it() -> Store:
            try:
                return await provider.open(store, context)
            except (Throttled, port.StoreUnavailable):
                raise
            except FairleadError as error:
                raise OpeningFailed(str(error), provider=store.provider) from error

        return StoreHandle(
            uid=known.metadata.uid, revision=str(known.metadata.generation), namespace=namespace, open=open_it
        )

    def _read(self, kind: StoreKind, found: SecretStore) -> KnownStore:
        meta = found.metadata
        try:
            spec = decode_store_spec(found.spec)
        except SpecError as error:
            return KnownStore(metadata=meta, error=str(error))
        problems = _validation.store_problems(spec)
        if problems:
            return KnownStore(metadata=meta, spec=spec, error="; ".join(map(str, problems)))
        try:
            store = store_spec(spec, kind=kind, key=meta.key)
            provider = self._provider(store.provider)
            problems = provider.validate_spec(store)
        except SpecError as error:
            return KnownStore(metadata=meta, spec=spec, error=str(error))
        error_text = "; ".join(map(str, problems))
        return KnownStore(metadata=meta, spec=spec, error=error_text, store=store, provider=provider)

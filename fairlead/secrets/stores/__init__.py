"""Stores of secrets: the port, the providers that ship with fairlead, and how others are found."""

from __future__ import annotations

from fairlead.secrets.stores.opening import open_store, outside_of_a_cluster, spec_of_manifest, store_spec
from fairlead.secrets.stores.port import (
    Denied,
    FindQuery,
    NoSecret,
    RemoteRef,
    Store,
    StoreContext,
    StoreProvider,
    StoreSpec,
    StoreUnavailable,
    Throttled,
)
from fairlead.secrets.stores.registry import GROUP, StoreProviders
from fairlead.secrets.stores.static import StaticCredentials

__all__ = [
    "GROUP",
    "Denied",
    "FindQuery",
    "NoSecret",
    "RemoteRef",
    "StaticCredentials",
    "Store",
    "StoreContext",
    "StoreProvider",
    "StoreProviders",
    "StoreSpec",
    "StoreUnavailable",
    "Throttled",
    "open_store",
    "outside_of_a_cluster",
    "spec_of_manifest",
    "store_spec",
]

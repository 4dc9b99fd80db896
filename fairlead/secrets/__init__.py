"""Secrets of external stores, synced into Secrets of Kubernetes, for `external-secrets.io`.

What is imported here at once is pure: the machine and its vocabulary. Stores and templates are loaded when they are
first asked for, providers' libraries when a store of theirs is opened. The parts that do something stand apart:
`fairlead.secrets.reconciler` makes Secrets, `fairlead.secrets.store_reconciler` validates stores.

    async with open_store(manifest) as store:
        value = await store.get(RemoteRef(key="team/db", property="password"))
    text = render("{{ .user }}:{{ .password }}", {"user": b"alice", "password": value.reveal()})
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fairlead.secrets.machine import SecretDecision, Subject, decide, prepare
from fairlead.secrets.observation import Fetched, Observation, StoreSeen
from fairlead.secrets.spec import ExternalSecretSpec, SecretStoreSpec, decode_spec, decode_store_spec
from fairlead.secrets.status import ExternalSecretStatus, StoreStatus, decode_status, status_to_json
from fairlead.secrets.values import SecretBytes

if TYPE_CHECKING:
    from fairlead.secrets._templates import TemplateError, render
    from fairlead.secrets.stores.opening import open_store
    from fairlead.secrets.stores.port import FindQuery, NoSecret, RemoteRef, Store, StoreContext, StoreSpec

__all__ = [
    "ExternalSecretSpec",
    "ExternalSecretStatus",
    "Fetched",
    "FindQuery",
    "NoSecret",
    "Observation",
    "RemoteRef",
    "SecretBytes",
    "SecretDecision",
    "SecretStoreSpec",
    "Store",
    "StoreContext",
    "StoreSeen",
    "StoreSpec",
    "StoreStatus",
    "Subject",
    "TemplateError",
    "decide",
    "decode_spec",
    "decode_status",
    "decode_store_spec",
    "open_store",
    "prepare",
    "render",
    "status_to_json",
]

_LATER = {
    "FindQuery": "fairlead.secrets.stores.port",
    "NoSecret": "fairlead.secrets.stores.port",
    "RemoteRef": "fairlead.secrets.stores.port",
    "Store": "fairlead.secrets.stores.port",
    "StoreContext": "fairlead.secrets.stores.port",
    "StoreSpec": "fairlead.secrets.stores.port",
    "TemplateError": "fairlead.secrets._templates",
    "open_store": "fairlead.secrets.stores.opening",
    "render": "fairlead.secrets._templates",
}


def __getattr__(name: str) -> Any:
    """Load what is asked for the first time."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_LATER[name]), name)
    globals()[name] = found
    return found

"""What stands beside the Applications in their namespace: settings, repositories, keys, and secrets of webhooks."""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import structlog

from fairlead.agentsync._auto import Timing
from fairlead.agentsync.config import Configuration, read_configuration
from fairlead.agentsync.sources.repositories import TYPE_LABEL, Repositories, read_repositories
from fairlead.agentsync.sources.webhooks import WebhookSecrets, read_webhook_secrets
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, Manifest, ObjectKey
from fairlead.runtime.informers import Informers
from fairlead.runtime.store import Change, Store

log = structlog.get_logger(__name__)

SETTINGS = "argocd-cm"
KEYS = "argocd-gpg-keys-cm"
KNOWN_HOSTS = "argocd-ssh-known-hosts-cm"
CERTIFICATES = "argocd-tls-certs-cm"
SECRET = "argocd-secret"  # noqa: S105 - the name of an object
_SECRETS = carried("", "v1", "Secret", "secrets")


def _named(kind: Kind[Manifest], name: str) -> Kind[Manifest]:
    """Return a kind for the cache of the single object of that name: rights may be given by name only."""
    return replace(kind, form=f"named/{name}")


class ControlConfig:
    """Watches the ConfigMaps and Secrets of the namespace of the Applications. Run it, and ask what holds.

    Each may be absent, and each may be forbidden: then it says nothing.

    Args:
        control: the cluster.
        namespace: where the Applications are.
        timing: what holds where nothing is said.
        rng: draws jitter.
    """

    def __init__(
        self,
        control: Cluster,
        clock: Clock,
        *,
        namespace: str,
        timing: Timing,
        rng: random.Random | None = None,
    ) -> None:
        self._namespace = namespace
        self._timing = timing
        self._informers = Informers(control, clock, namespace=namespace, rng=rng or random.Random())
        config_maps = carried("", "v1", "ConfigMap", "configmaps")
        self._maps: dict[str, Store[Manifest]] = {
            name: self._informers.add(_named(config_maps, name), field_selector=f"metadata.name={name}")
            for name in (SETTINGS, KEYS, KNOWN_HOSTS, CERTIFICATES)
        }
        self._secret: Store[Manifest] = self._informers.add(
            _named(_SECRETS, SECRET), field_selector=f"metadata.name={SECRET}"
        )
        self._repositories: Store[Manifest] = self._informers.add(
            replace(_SECRETS, form="repositories"), label_selector=TYPE_LABEL
        )

    async def run(self) -> None:
        """Keep it up to date until cancelled."""
        await self._informers.run()

    async def wait_synced(self) -> None:
        """Return once everything has been read once; for ever, if something is forbidden."""
        await self._informers.wait_synced()

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back after each change, and once for what is there."""

        def changed(change: Change[Manifest]) -> None:
            callback()

        for store in (*self._maps.values(), self._secret, self._repositories):
            store.subscribe(changed)
        callback()

    def troubles(self) -> Mapping[str, str]:
        """Return why something may be unknown, by kind."""
        return self._informers.troubles()

    # --- what holds --------------------------------------------------------------------------------------------------

    def configuration(self) -> Configuration:
        """Return the settings; what is wrong with them is logged."""
        found = read_configuration(self._data(SETTINGS), self._timing)
        for problem in found.problems:
            log.warning("setting_not_understood", config_map=SETTINGS, problem=problem)
        return found

    def repositories(self) -> Repositories:
        """Return what opens repositories; what is wrong with a Secret is logged, without any of its values."""
        found = read_repositories(
            [secret.content for secret in self._repositories.list()],
            known_hosts=self._content(KNOWN_HOSTS),
            certificates=self._content(CERTIFICATES),
        )
        for problem in found.problems():
            log.warning("repository_secret_unusable", problem=problem)
        return found

    def keys(self) -> Mapping[str, str]:
        """Return the public keys by id."""
        return self._data(KEYS)

    def webhook_secrets(self) -> WebhookSecrets:
        """Return what proves who sends webhooks."""
        found = self._secret.get(ObjectKey(self._namespace, SECRET))
        data = found.content.get("data") if found is not None else None
        decoded: dict[str, str] = {}
        for name, value in data.items() if isinstance(data, dict) else ():
            with suppress(ValueError):
                decoded[str(name)] = base64.b64decode(str(value)).decode()
        return read_webhook_secrets(decoded)

    def _content(self, name: str) -> Mapping[str, Any] | None:
        found = self._maps[name].get(ObjectKey(self._namespace, name))
        return found.content if found is not None else None

    def _data(self, name: str) -> Mapping[str, str]:
        data = (self._content(name) or {}).get("data")
        return {str(key): str(value) for key, value in data.items()} if isinstance(data, dict) else {}

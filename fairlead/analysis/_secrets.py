"""Reads the Secrets that the arguments of a run name: by GET, kept for a few seconds, read once for all who ask."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from fairlead.analysis._arguments import NO_SECRETS, SecretValues, is_secret, secret_text
from fairlead.analysis.spec import Argument
from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster
from fairlead.core.errors import NotFound, SpecError
from fairlead.core.kinds import SECRETS, Secret
from fairlead.core.objects import ObjectKey


@dataclass(slots=True)
class _Entry:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    secret: Secret | None = None
    expires_at: float = 0.0


class SecretReader:
    """Gives the values of a run's secret arguments.

    Args:
        cluster: is asked.
        clock: tells when a Secret must be read again.
        seconds: how long a Secret is kept: long enough for one round of measurements, short enough for a rotation.
    """

    def __init__(self, cluster: Cluster, clock: Clock, *, seconds: float) -> None:
        self._cluster = cluster
        self._clock = clock
        self._seconds = seconds
        self._entries: dict[ObjectKey, _Entry] = {}

    async def values(self, namespace: str, args: tuple[Argument, ...]) -> SecretValues:
        """Return the values by argument, also of arguments that no metric uses.

        Raises:
            SpecError: a Secret or its key does not exist.
            ClusterError: the API server did not answer, or refuses.
        """
        found: dict[str, str] = {}
        for argument in args:
            ref = argument.value_from.secret_key_ref if is_secret(argument) and argument.value_from else None
            if ref is not None:
                secret = await self._read(ObjectKey(namespace, ref.name))
                found[argument.name] = secret_text(secret.data, secret=ref.name, key=ref.key)
        return SecretValues(found) if found else NO_SECRETS

    async def _read(self, key: ObjectKey) -> Secret:
        entry = self._entries.setdefault(key, _Entry())
        async with entry.lock:
            if entry.secret is None or entry.expires_at <= self._clock.monotonic():
                try:
                    entry.secret = await self._cluster.get(SECRETS, key)
                except NotFound:
                    raise SpecError(f'secrets "{key.name}" not found') from None
                finally:
                    self._forget_old(but=key)
                entry.expires_at = self._clock.monotonic() + self._seconds
            return entry.secret

    def _forget_old(self, *, but: ObjectKey) -> None:
        now = self._clock.monotonic()
        for key, entry in tuple(self._entries.items()):
            if key != but and entry.expires_at <= now and not entry.lock.locked():
                del self._entries[key]

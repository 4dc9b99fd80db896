"""Makes Secrets what they should be, and deletes those that should not be.

Every write names UID and resourceVersion of what it was decided on. An unchanged Secret costs no request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Final

import msgspec

from fairlead.core.clock import Clock
from fairlead.core.cluster import Cluster, MergePatch, Preconditions, View
from fairlead.core.errors import AlreadyExists, ClusterError, Conflict, FairleadError, NotFound, SpecError
from fairlead.core.objects import Kind, ObjectKey, ObjectMeta, struct_decoder
from fairlead.secrets import _wish
from fairlead.secrets._ownership import controls, field_manager
from fairlead.secrets._rendering import TextKind, TextName, Texts, is_costly, rendered, wanted_texts
from fairlead.secrets._wish import Refusal, Rendered, Wish
from fairlead.secrets.kinds import LIVE_SECRETS, TARGETS, TargetSecret, decode_live
from fairlead.secrets.machine import DELETE_FAILED, FROZEN, ORPHANS_FAILED, UPDATE_FAILED, Subject
from fairlead.secrets.observation import Change, Deleted, Failed, Fetched, Outcome, Written
from fairlead.secrets.spec import CreationPolicy, ExternalSecretSpec
from fairlead.secrets.values import SecretBytes

_SCRUBBED_BYTES_MIN: Final = 3  # shorter values are found in any text
_SCRUBBED: Final = "***"


class _ConfigMap(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}


_CONFIG_MAPS: Final = Kind("", "v1", "ConfigMap", "configmaps", struct_decoder(_ConfigMap))
_TEXT_SECRETS: Final = Kind("", "v1", "Secret", "secrets", decode_live, form="text")


@dataclass(slots=True)
class _Text:
    """Data of one object, read once for all who want it within a few seconds."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    data: Mapping[str, SecretBytes] | None = None
    expires_at: float = 0.0


class _TextReader:
    """Reads ConfigMaps and Secrets that templates stand in."""

    def __init__(self, cluster: Cluster, clock: Clock, *, seconds: float) -> None:
        self._cluster = cluster
        self._clock = clock
        self._seconds = seconds
        self._texts: dict[tuple[str, TextName], _Text] = {}

    async def read(self, namespace: str, names: Iterable[TextName]) -> Texts:
        """Return the data of the objects.

        Raises:
            SpecError: one does not exist.
            ClusterError: the API server did not answer, or refuses.
        """
        return {name: await self._read(namespace, name) for name in names}

    async def _read(self, namespace: str, name: TextName) -> Mapping[str, SecretBytes]:
        now = self._clock.monotonic()
        for key, text in tuple(self._texts.items()):
            if text.expires_at <= now and not text.lock.locked():
                del self._texts[key]
        text = self._texts.setdefault((namespace, name), _Text())
        async with text.lock:
            if text.data is None:
                text.data = await self._get(ObjectKey(namespace, name.name), name)
                text.expires_at = self._clock.monotonic() + self._seconds
            return text.data

    async def _get(self, key: ObjectKey, name: TextName) -> Mapping[str, SecretBytes]:
        try:
            if name.kind is TextKind.SECRET:
                return (await self._cluster.get(_TEXT_SECRETS, key)).data
            found = await self._cluster.get(_CONFIG_MAPS, key)
            return {item: SecretBytes.of_text(text) for item, text in found.data.items()}
        except NotFound:
            raise SpecError(f"{name.kind} {name.name!r} of templateFrom does not exist") from None


class Writer:
    """Writes and deletes the Secrets of ExternalSecrets.

    Args:
        cluster: is read, and deleted from.
        targets: Secrets as a cache shows them; only managed ones are in it.
        as_manager: the cluster as it is seen by a field manager: each ExternalSecret writes as its own, so that the
            fields of one Secret that several make can be told apart.
        executor: where templates run, so that one that takes long holds up nobody; None: here.
        text_seconds: how long ConfigMaps and Secrets of templates are kept.
    """

    def __init__(
        self,
        cluster: Cluster,
        targets: View[TargetSecret],
        clock: Clock,
        *,
        as_manager: Callable[[str], Cluster],
        executor: Executor | None = None,
        text_seconds: float = 5.0,
    ) -> None:
        self._cluster = cluster
        self._targets = targets
        self._clock = clock
        self._as_manager = as_manager
        self._executor = executor
        self._texts = _TextReader(cluster, clock, seconds=text_seconds)

    async def write(self, subject: Subject, spec: ExternalSecretSpec, fetched: Fetched) -> Outcome:
        """Make the Secret what template and values say.

        Raises:
            Conflict: somebody wrote first; nothing was changed.
        """
        owner = subject.metadata
        try:
            wish = Wish(
                owner=owner,
                name=subject.target_name,
                policy=spec.target.creation,
                immutable=spec.target.immutable,
                rendered=await self._rendered(owner, spec, fetched),
            )
        except FairleadError as error:
            return Failed(message=UPDATE_FAILED, detail=_scrubbed(str(error), fetched.values))
        try:
            return Written(change=await self._make(wish), fetched=fetched)
        except Refusal as refusal:
            return Failed(message=refusal.message, detail=str(refusal), is_final=True)
        except Conflict:
            raise
        except ClusterError as error:
            detail = _scrubbed(_scrubbed(str(error), fetched.values), wish.rendered.data)
            return Failed(message=UPDATE_FAILED, detail=detail)

    async def delete(self, subject: Subject, fetched: Fetched) -> Outcome:
        """Delete the Secret, if it is controlled by this ExternalSecret.

        Raises:
            Conflict: somebody wrote first; nothing was changed.
        """
        key = ObjectKey(subject.metadata.namespace, subject.target_name)
        try:
            target = self._targets.get(key) or await self._seen(key)
            if target is None:
                return Deleted(was_there=False, fetched=fetched)
            if not controls(subject.metadata, target.metadata):
                detail = f"secret {key.name} is not controlled by this ExternalSecret"
                return Failed(message=DELETE_FAILED, detail=detail, is_final=True)
            was_there = await self._delete(target.metadata)
        except Conflict:
            raise
        except ClusterError as error:
            return Failed(message=DELETE_FAILED, detail=str(error))
        return Deleted(was_there=was_there, fetched=fetched)

    async def delete_with_owner(self, subject: Subject) -> None:
        """Delete the Secret of an ExternalSecret that goes, if it is controlled by it.

        Raises:
            ClusterError: it could not be deleted.
        """
        target = self._targets.get(ObjectKey(subject.metadata.namespace, subject.target_name))
        if target is not None and controls(subject.metadata, target.metadata):
            await self._delete(target.metadata)

    async def delete_orphans(self, subject: Subject, keys: Iterable[ObjectKey]) -> Failed | None:
        """Delete Secrets of earlier names that this ExternalSecret still controls; return what went wrong."""
        try:
            for key in keys:
                target = self._targets.get(key)
                if target is not None and controls(subject.metadata, target.metadata):
                    await self._delete(target.metadata)
        except Conflict:
            raise
        except ClusterError as error:
            return Failed(message=ORPHANS_FAILED, detail=str(error))
        return None

    # --- writing -----------------------------------------------------------------------------------------------------

    async def _rendered(self, owner: ObjectMeta, spec: ExternalSecretSpec, fetched: Fetched) -> Rendered:
        template = spec.target.template
        texts = await self._texts.read(owner.namespace, wanted_texts(template))
        now = self._clock.now()
        if self._executor is None or not is_costly(template):
            return rendered(template, owner, fetched.values, texts, now)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, rendered, template, owner, fetched.values, texts, now)

    async def _make(self, wish: Wish) -> Change:
        key = ObjectKey(wish.owner.namespace, wish.name)
        seen = self._targets.get(key)
        if seen is not None:
            _wish.check(wish, seen)
            if not _wish.differs(wish, seen):
                return Change.NONE
        writer = self._as_manager(field_manager(wish.owner.name))
        if seen is None and wish.policy is not CreationPolicy.MERGE:
            try:
                await writer.create(TARGETS, _wish.creation(wish), namespace=key.namespace)
            except AlreadyExists:
                pass  # it is there, and nobody manages it yet
            else:
                return Change.CREATED
        try:
            live = await self._cluster.get(LIVE_SECRETS, key)
        except NotFound:
            if wish.policy is CreationPolicy.MERGE:
                return Change.ABSENT
            await writer.create(TARGETS, _wish.creation(wish), namespace=key.namespace)
            return Change.CREATED
        _wish.check(wish, live.target)
        is_frozen = _wish.is_frozen(wish, live.target)
        body = _wish.patch(wish, live)
        if body:
            await writer.patch(TARGETS, key, MergePatch(body))
        if is_frozen:
            raise Refusal(FROZEN, f"secret {wish.name} is immutable")
        return Change.UPDATED if body else Change.NONE

    # --- deleting ----------------------------------------------------------------------------------------------------

    async def _seen(self, key: ObjectKey) -> TargetSecret | None:
        """Return a Secret that the cache does not show, since it has lost its label."""
        try:
            return await self._cluster.get(TARGETS, key)
        except NotFound:
            return None

    async def _delete(self, meta: ObjectMeta) -> bool:
        try:
            await self._cluster.delete(
                TARGETS, meta.key, preconditions=Preconditions(uid=meta.uid, resource_version=meta.resource_version)
            )
        except NotFound:
            return False
        return True


def _scrubbed(text: str, values: Mapping[str, SecretBytes]) -> str:
    """Return a text of others without any of the values: an API server may quote what it refuses."""
    for value in values.values():
        raw = value.reveal()
        if len(raw) >= _SCRUBBED_BYTES_MIN:
            text = text.replace(raw.decode("utf-8", "replace"), _SCRUBBED)
    return text

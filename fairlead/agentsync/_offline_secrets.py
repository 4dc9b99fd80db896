"""The offline store in Secrets."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from contextlib import suppress
from hashlib import sha256
from typing import Any

import structlog

from fairlead.agentsync.offline import OfflineError, Shelf, packed, unpacked
from fairlead.core.cluster import Cluster, MergePatch
from fairlead.core.errors import AlreadyExists, ClusterError, NotFound
from fairlead.core.kinds import SECRETS
from fairlead.core.objects import ObjectKey

log = structlog.get_logger(__name__)

CHUNK_BYTES = 700_000  # a Secret holds 1 MiB, and base64 takes a third more on the wire
CHUNKS_MAX = 64
LABEL = "fairlead.dev/offline"


class SecretStore:
    """Entries in Secrets of one namespace, for an agent without a disk.

    An entry is compressed. What fits into one Secret is in that Secret. Of a larger one the Secret says what it amounts
    to, and its chunks are in others that are named after their content: they are written before it and removed after
    it, so that the entry before is whole until the new one is.

    Args:
        cluster: where the Secrets are: the destination, which is there when the other one is not.
        namespace: of the agent itself.
        owner: tells agents apart that share the namespace; a label value.
    """

    def __init__(self, cluster: Cluster, *, namespace: str, owner: str) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._owner = owner
        self._chunks: dict[str, tuple[str, ...]] = {}  # names of the chunks of each entry that is known

    async def read(self, shelf: Shelf) -> Mapping[str, bytes]:
        secrets: dict[str, Mapping[str, bytes]] = {}
        token = ""
        selector = f"{LABEL}={self._owner}"
        while True:
            with _translated("the Secrets of the offline store cannot be listed"):
                page = await self._cluster.list(
                    SECRETS, namespace=self._namespace, label_selector=selector, limit=50, continue_token=token
                )
            secrets |= {secret.metadata.name: _decoded(secret.data) for secret in page.items}
            token = page.continue_token
            if not token:
                break
        found: dict[str, bytes] = {}
        for secret, data in secrets.items():
            if data.get("shelf") != str(shelf).encode():
                continue
            name = data.get("name", b"").decode(errors="replace")
            chunks = tuple(data.get("chunks", b"").decode(errors="replace").split())
            self._chunks[secret] = chunks
            content = _joined(data, [secrets.get(chunk, {}) for chunk in chunks])
            if content is None:
                log.error("offline_entry_broken", shelf=str(shelf), name=name)
            else:
                found[name] = content
        return found

    async def keep(self, shelf: Shelf, name: str, content: bytes) -> None:
        compressed = packed(shelf, name, content)
        digest = sha256(compressed).hexdigest()
        parts = [compressed[at : at + CHUNK_BYTES] for at in range(0, len(compressed), CHUNK_BYTES)]
        if len(parts) > CHUNKS_MAX:
            raise OfflineError(
                f"{shelf} {name} is not kept: {len(compressed)} bytes compressed are too many for Secrets"
            )
        head = self._name(shelf, name)
        chunks = tuple(f"{head}-{digest[:8]}-{number}" for number in range(len(parts))) if len(parts) > 1 else ()
        for chunk, part in zip(chunks, parts, strict=False):
            await self._write(chunk, {"content": part})
        said = {"shelf": str(shelf).encode(), "name": name.encode(), "digest": digest.encode()}
        whole = {"content": b"" if chunks else compressed, "chunks": " ".join(chunks).encode()}
        await self._write(head, said | whole)
        await self._remove(chunk for chunk in self._chunks.get(head, ()) if chunk not in chunks)
        self._chunks[head] = chunks

    async def drop(self, shelf: Shelf, name: str) -> None:
        head = self._name(shelf, name)
        await self._remove((head, *self._chunks.pop(head, ())))

    async def close(self) -> None:
        """Nothing is held."""

    def _name(self, shelf: Shelf, name: str) -> str:
        return f"fairlead-offline-{sha256(f'{self._owner}/{shelf}/{name}'.encode()).hexdigest()[:20]}"

    async def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with _translated(f"the Secret {name} cannot be removed"), suppress(NotFound):
                await self._cluster.delete(SECRETS, ObjectKey(self._namespace, name))

    async def _write(self, name: str, data: Mapping[str, bytes]) -> None:
        encoded = {field: base64.b64encode(value).decode() for field, value in data.items()}
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name, "labels": {LABEL: self._owner}},
            "type": "fairlead.dev/offline",
            "data": encoded,
        }
        key, patch = ObjectKey(self._namespace, name), MergePatch({"data": encoded})
        with _translated(f"the Secret {name} cannot be written"):
            try:
                await self._cluster.patch(SECRETS, key, patch)
            except NotFound:
                try:
                    await self._cluster.create(SECRETS, body, namespace=self._namespace)
                except AlreadyExists:
                    await self._cluster.patch(SECRETS, key, patch)


def _joined(head: Mapping[str, bytes], chunks: list[Mapping[str, bytes]]) -> bytes | None:
    compressed = b"".join(chunk.get("content", b"") for chunk in chunks) if chunks else head.get("content", b"")
    return unpacked(compressed) if sha256(compressed).hexdigest().encode() == head.get("digest") else None


def _decoded(data: Mapping[str, str]) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    for field, value in data.items():
        with suppress(ValueError):
            found[field] = base64.b64decode(value)
    return found


class _translated:  # noqa: N801  # reads as a word: `with _translated("..."):`
    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ClusterError) and not isinstance(error, NotFound):
            raise OfflineError(f"{self._what}: {error}") from error

"""What every store can do once it can read: a base for providers, ours and those of plug-ins."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores.port import Document, RemoteRef
from fairlead.secrets.values import SecretBytes


class ReadingStore(ABC):
    """Answers `get`, `get_map` and `get_many` from `read`, and `read` from `read_one` where nothing is batched."""

    @abstractmethod
    async def read_one(self, ref: RemoteRef) -> Document:
        """Return what is under the key of a ref, whose property plays no part. Raises: ProviderError."""

    async def read(self, refs: Sequence[RemoteRef]) -> list[Document | ProviderError]:
        """Return what is under the key of each ref, in order; equal keys are read once."""
        wanted = list(dict.fromkeys(ref.document() for ref in refs))
        answers = dict(zip(wanted, await asyncio.gather(*(self._answer(ref) for ref in wanted)), strict=True))
        return [answers[ref.document()] for ref in refs]

    async def _answer(self, ref: RemoteRef) -> Document | ProviderError:
        try:
            return await self.read_one(ref)
        except ProviderError as error:
            return error

    async def get(self, ref: RemoteRef) -> SecretBytes:
        """Return one value. Raises: ProviderError."""
        return (await self.read_one(ref)).value(ref.property)

    async def get_map(self, ref: RemoteRef) -> dict[str, SecretBytes]:
        """Return the entries of one value. Raises: ProviderError."""
        return (await self.read_one(ref)).entries(ref.property)

    async def get_many(self, refs: Sequence[RemoteRef]) -> list[SecretBytes | ProviderError]:
        """Return the value of each ref, in order; never raises for one."""
        return [_value(answer, ref) for answer, ref in zip(await self.read(refs), refs, strict=True)]


def _value(answer: Document | ProviderError, ref: RemoteRef) -> SecretBytes | ProviderError:
    if isinstance(answer, ProviderError):
        return answer
    try:
        return answer.value(ref.property)
    except ProviderError as error:
        return error

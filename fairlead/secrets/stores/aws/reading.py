"""What Secrets Manager and Parameter Store have in common: batches with a way out, and pages that end."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores._documents import encode
from fairlead.secrets.stores._properties import NAMES_MAX, TextDocument
from fairlead.secrets.stores.aws.client import PROVIDER, AwsClient, chunks
from fairlead.secrets.stores.base import ReadingStore
from fairlead.secrets.stores.port import Denied, Document, FindQuery, MetadataPolicy, NoSecret, RemoteRef
from fairlead.secrets.values import SecretBytes

_PAGES_MAX: Final = 1000


class AwsStore(ReadingStore):
    """A store on one service.

    Args:
        client: calls it.
        prefix: of every key.
    """

    batch_max: int

    def __init__(self, client: AwsClient, *, prefix: str) -> None:
        self._client = client
        self._prefix = prefix
        self._may_batch = True

    @abstractmethod
    async def one(self, name: str, version: str) -> SecretBytes:
        """Return one value by its full name. Raises: ProviderError."""

    @abstractmethod
    async def many(self, names: Sequence[str]) -> Mapping[str, SecretBytes | ProviderError]:
        """Return the newest values of several names, with one call; names without a clear answer are left out.

        Raises:
            ProviderError: the call as a whole failed.
        """

    @abstractmethod
    async def tags(self, name: str) -> dict[str, str]:
        """Return the tags of a full name. Raises: ProviderError."""

    @abstractmethod
    async def names(self, query: FindQuery) -> list[str]:
        """Return the full names that match a query. Raises: ProviderError."""

    # -- the port -------------------------------------------------------------------------------------------------

    async def read_one(self, ref: RemoteRef) -> Document:
        name = self._prefix + ref.key
        if ref.metadata_policy == MetadataPolicy.FETCH:
            return self._document(SecretBytes(encode(await self.tags(name))), name)
        return self._document(await self.one(name, ref.version), name)

    async def read(self, refs: Sequence[RemoteRef]) -> list[Document | ProviderError]:
        wanted = list(dict.fromkeys(ref.document() for ref in refs))
        plain = [ref for ref in wanted if not ref.version and ref.metadata_policy != MetadataPolicy.FETCH]
        special = [ref for ref in wanted if ref not in set(plain)]
        values, others = await asyncio.gather(
            self.values([self._prefix + ref.key for ref in plain]), asyncio.gather(*map(self._answer, special))
        )
        answers: dict[RemoteRef, Document | ProviderError] = dict(zip(special, others, strict=True))
        for ref in plain:
            name = self._prefix + ref.key
            value = values[name]
            answers[ref] = value if isinstance(value, ProviderError) else self._document(value, name)
        return [answers[ref.document()] for ref in refs]

    async def find(self, query: FindQuery) -> dict[str, SecretBytes]:
        if query.name_regexp is None and not query.tags:
            raise ProviderError("find needs a name or tags", provider=PROVIDER)
        found: dict[str, SecretBytes] = {}
        for name, value in (await self.values(await self.names(query))).items():
            if isinstance(value, NoSecret):
                continue  # gone since it was listed
            if isinstance(value, ProviderError):
                raise value
            found[name] = value
        return found

    async def validate(self) -> None:
        await self._client.sign_in()

    async def close(self) -> None:
        await self._client.close()

    # -- batches --------------------------------------------------------------------------------------------------

    async def values(self, names: Sequence[str]) -> dict[str, SecretBytes | ProviderError]:
        """Return the newest value, or an error, of each full name, in order."""
        names = list(dict.fromkeys(names))
        groups = chunks(names, self.batch_max) if self._may_batch else [[name] for name in names]
        found: dict[str, SecretBytes | ProviderError] = {}
        for part in await asyncio.gather(*(self._group(group) for group in groups)):
            found.update(part)
        return {name: found[name] for name in names}

    async def _group(self, names: Sequence[str]) -> dict[str, SecretBytes | ProviderError]:
        found: dict[str, SecretBytes | ProviderError] = {}
        if len(names) > 1 and self._may_batch:
            try:
                found = dict(await self.many(names))
            except Denied:
                # Reading a batch is a right of its own, and manifests were written for those who have the other one.
                self._may_batch = False
            except ProviderError as error:
                if type(error) is not ProviderError:
                    return dict.fromkeys(names, error)
                # One name that the service cannot read (no valid name, say) fails a whole batch: ask one by one.
        rest = [name for name in names if name not in found]
        singles = await asyncio.gather(*map(self._single, rest))
        return found | dict(zip(rest, singles, strict=True))

    async def _single(self, name: str) -> SecretBytes | ProviderError:
        try:
            return await self.one(name, "")
        except ProviderError as error:
            return error

    def _document(self, value: SecretBytes, name: str) -> TextDocument:
        return TextDocument(value, key=name, provider=PROVIDER, dotted=True)

    # -- pages ----------------------------------------------------------------------------------------------------

    async def pages(
        self, operation: str, items: str, *, doing: str, **parameters: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Yield the items of all pages of an operation.

        Raises:
            ProviderError: a page failed, or there is no end to them.
        """
        tokens: set[str] = set()
        count = 0
        for _ in range(_PAGES_MAX):
            answer = await self._client.call(operation, doing=doing, **parameters)
            for item in answer.get(items) or ():
                count += 1
                if count > NAMES_MAX:
                    raise ProviderError(f"{doing}: more than {NAMES_MAX} names", provider=PROVIDER)
                yield item
            token = answer.get("NextToken")
            if not token:
                return
            if token in tokens:
                break
            tokens.add(token)
            parameters["NextToken"] = token
        raise ProviderError(f"{doing}: the pages have no end", provider=PROVIDER)

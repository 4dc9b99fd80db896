"""The fake provider: values stand in the store's own spec. For tests and demonstrations.

Source: `external-secrets: providers/v1/fake/fake.go`. Unlike elsewhere, a missing property is `NoSecret`, and keys
that `find` returns are converted before they are rewritten.
"""

from __future__ import annotations

from typing import Final

from fairlead.core.decoding import Decoder, Wire
from fairlead.core.errors import ProviderError, SpecError
from fairlead.secrets.stores._properties import TextDocument, matching
from fairlead.secrets.stores.base import ReadingStore
from fairlead.secrets.stores.port import (
    Capabilities,
    FindQuery,
    NoSecret,
    RemoteRef,
    Store,
    StoreContext,
    StoreSpec,
    ValidationUnknown,
)
from fairlead.secrets.values import SecretBytes

PROVIDER: Final = "fake"
_UNKNOWN: Final = 1
_ERROR: Final = 2


class _Entry(Wire, frozen=True, kw_only=True):
    key: str = ""
    value: str = ""
    version: str = ""

    def __repr__(self) -> str:
        return f"_Entry(key={self.key!r}, version={self.version!r})"


class _Fake(Wire, frozen=True, kw_only=True):
    data: tuple[_Entry, ...] = ()
    validation_result: int = 0


_decoder: Final = Decoder(_Fake, root="spec.provider.fake")


class FakeProvider:
    """Opens fake stores."""

    capabilities = Capabilities.READ_WRITE
    converts_found_keys = True

    def validate_spec(self, spec: StoreSpec) -> list[SpecError]:
        try:
            block = _decode(spec)
        except SpecError as error:
            return [error]
        return [
            SpecError(f"{name} must not be empty", path=f"spec.provider.fake.data[{index}].{name}")
            for index, entry in enumerate(block.data)
            for name, value in (("key", entry.key), ("value", entry.value))
            if not value
        ]

    def is_referent(self, spec: StoreSpec) -> bool:
        return False

    async def open(self, spec: StoreSpec, context: StoreContext) -> Store:
        return FakeStore(_decode(spec))


def _decode(spec: StoreSpec) -> _Fake:
    try:
        return _decoder.decode(spec.block)
    except SpecError as error:
        # The error itself quotes what it found, and here that may be a value.
        raise SpecError("has the wrong type", path=error.path) from None


class FakeStore(ReadingStore):
    """Answers from the spec."""

    def __init__(self, block: _Fake) -> None:
        self._values = {(entry.key, entry.version): entry.value for entry in block.data}
        self._validation = block.validation_result

    async def read_one(self, ref: RemoteRef) -> TextDocument:
        try:
            value = self._values[ref.key, ref.version]
        except KeyError:
            raise NoSecret(provider=PROVIDER) from None
        return _FakeDocument(SecretBytes.of_text(value), key=ref.key, provider=PROVIDER)

    async def find(self, query: FindQuery) -> dict[str, SecretBytes]:
        if query.tags or query.name_regexp is None:
            raise ProviderError("unsupported find operator: the fake provider finds by name only", provider=PROVIDER)
        newest: dict[str, str] = {}
        for key, version in sorted(self._values):
            newest[key] = self._values[key, version]
        names = matching(newest, query, provider=PROVIDER)
        return {name: SecretBytes.of_text(newest[name]) for name in names}

    async def validate(self) -> None:
        if self._validation == _UNKNOWN:
            raise ValidationUnknown("unknown, as the store's spec says", provider=PROVIDER)
        if self._validation == _ERROR:
            raise ProviderError("unable to validate, as the store's spec says", provider=PROVIDER)

    async def close(self) -> None:
        """Let go of nothing."""


class _FakeDocument(TextDocument):
    def missing(self, property: str) -> ProviderError:  # noqa: A002 - the word of the API
        return NoSecret(provider=PROVIDER)

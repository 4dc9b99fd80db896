"""From the sources of an ExternalSecret to questions, and from the answers to the values of its Secret.

There is no partial success: the first answer that is an error, other than "there is no such secret" under a
deletionPolicy that acts on it, is the error of the whole.

Source: `external-secrets: pkg/controllers/externalsecret: GetProviderSecretData`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairlead.core.errors import FairleadError, SpecError
from fairlead.secrets import _shaping
from fairlead.secrets._questions import Search, StoreName
from fairlead.secrets._templates._text import is_letter, is_number
from fairlead.secrets.spec import (
    Data,
    DataFrom,
    DeletionPolicy,
    ExternalSecretSpec,
    Find,
    MetadataPolicy,
    NullBytePolicy,
    RemoteRef,
    StoreKind,
    StoreRef,
)
from fairlead.secrets.stores import port
from fairlead.secrets.values import SecretBytes

KEY_CHARACTERS_MAX = 253


Reading = port.Document | Mapping[str, SecretBytes] | FairleadError
"""What came back: a document for a key, a mapping for a search, or why there is nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One entry of `dataFrom` or `data`.

    Attributes:
        where: its field path.
        question: what to ask: the document of a key, or a search.
    """

    where: str
    store: StoreName
    question: port.RemoteRef | Search
    entry: Data | DataFrom


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """What all sources gave together.

    Attributes:
        missing: what the provider says does not exist, in the words of the Event.
    """

    values: Mapping[str, SecretBytes]
    missing: tuple[str, ...] = ()


class SourceError(FairleadError):
    """One source could not be read; nothing was.

    Args:
        retry_after: seconds that the provider asked for, or None.
    """

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def store_names(spec: ExternalSecretSpec) -> tuple[StoreName, ...]:
    """Return every store that is read, each once."""
    own = [entry.source_ref.store_ref if entry.source_ref is not None else None for entry in spec.data_from]
    own += [entry.source_ref.store_ref if entry.source_ref is not None else None for entry in spec.data]
    refs = [ref if ref is not None and ref.name else spec.secret_store_ref for ref in own]
    return tuple(dict.fromkeys(_store_name(ref) for ref in refs if ref.name))


def sources(spec: ExternalSecretSpec) -> tuple[Source, ...]:
    """Return the sources in order of precedence: later ones win.

    Raises:
        SpecError: a source that cannot be asked.
    """
    found: list[Source] = []
    for index, entry in enumerate(spec.data_from):
        where = f"spec.dataFrom[{index}]"
        override = entry.source_ref
        if override is not None and override.generator_ref is not None:
            raise SpecError(f"generators are not served: {override.generator_ref.kind}", path=where)
        store = _chosen(override.store_ref if override else None, spec.secret_store_ref, where)
        if entry.extract is not None:
            found.append(Source(where=where, store=store, question=_document(entry.extract), entry=entry))
        elif entry.find is not None:
            found.append(Source(where=where, store=store, question=_search(entry.find), entry=entry))
        else:
            raise SpecError("one of extract and find must be given", path=where)
    for index, value in enumerate(spec.data):
        where = f"spec.data[{index}]"
        if value.source_ref is not None and value.source_ref.generator_ref is not None:
            raise SpecError("a single value cannot come from a generator", path=where)
        store = _chosen(value.source_ref.store_ref if value.source_ref else None, spec.secret_store_ref, where)
        found.append(Source(where=where, store=store, question=_document(value.remote_ref), entry=value))
    return tuple(found)


def is_costly(spec: ExternalSecretSpec) -> bool:
    """Return whether assembling runs patterns or templates of a tenant, which may take a while."""
    return any(entry.rewrite for entry in spec.data_from)


def assemble(
    spec: ExternalSecretSpec,
    asked: Sequence[Source],
    readings: Sequence[Reading],
    *,
    converts_found: Mapping[StoreName, bool] | None = None,
) -> Values:
    """Return the values of the Secret from what came back, in the same order.

    Args:
        converts_found: stores whose found names are converted before they are rewritten.

    Raises:
        SourceError: the first source that failed; its text holds no value.
    """
    tolerates = spec.target.deletion is not DeletionPolicy.RETAIN
    values: dict[str, SecretBytes] = {}
    missing: list[str] = []
    for source, reading in zip(asked, readings, strict=True):
        try:
            values.update(_values(source, reading, converts_found=(converts_found or {}).get(source.store, False)))
        except port.NoSecret as error:
            if not tolerates:
                raise SourceError(f"{_named(source)}: {error}") from None
            missing.append(_missing(source))
        except FairleadError as error:
            asked_for = error.retry_after if isinstance(error, port.Throttled | port.StoreUnavailable) else None
            raise SourceError(f"{_named(source)}: {error}", retry_after=asked_for) from None
    return Values(values=values, missing=tuple(missing))


def _values(source: Source, reading: Reading, *, converts_found: bool) -> dict[str, SecretBytes]:
    if isinstance(reading, FairleadError):
        raise reading
    entry = source.entry
    if isinstance(entry, Data):
        assert not isinstance(reading, Mapping), "a key is answered by a document"
        ref = entry.remote_ref
        value = _shaping.decoded(reading.value(ref.property), ref.decoding_strategy)
        _check_null(entry.secret_key, value, ref.null_byte_policy)
        return {entry.secret_key: value}
    how: RemoteRef | Find
    if entry.extract is not None:
        assert not isinstance(reading, Mapping), "a key is answered by a document"
        how, found = entry.extract, reading.entries(entry.extract.property)
    else:
        assert entry.find is not None, "what is neither is not asked"
        assert isinstance(reading, Mapping), "a search is answered by a mapping"
        how, found = entry.find, dict(reading)
        if converts_found and entry.rewrite:
            found = _shaping.converted(found, how.conversion_strategy)
    found = (
        _shaping.rewritten(found, entry.rewrite)
        if entry.rewrite
        else _shaping.converted(found, how.conversion_strategy)
    )
    values: dict[str, SecretBytes] = {}
    for key, raw in found.items():
        if not key:
            continue
        _check_key(key)
        values[key] = _shaping.decoded(raw, how.decoding_strategy)
        _check_null(key, values[key], how.null_byte_policy)
    return values


def _check_key(key: str) -> None:
    if len(key) > KEY_CHARACTERS_MAX:
        raise SpecError(f"key has length {len(key)} but max is {KEY_CHARACTERS_MAX} (following {key[:32]!r})")
    for character in key:
        if character not in "-._" and not is_letter(character) and not is_number(character):
            raise SpecError(
                f"key {key!r} has the invalid character {character!r}: use rewrite or conversionStrategy, "
                "only letters, numbers, '-', '.' and '_' are allowed"
            )


def _check_null(key: str, value: SecretBytes, policy: NullBytePolicy | None) -> None:
    if policy is NullBytePolicy.FAIL and b"\0" in value.reveal():
        raise SpecError(f"the value of key {key!r} holds a null byte")


def _document(ref: RemoteRef) -> port.RemoteRef:
    policy = ref.metadata_policy or MetadataPolicy.NONE
    return port.RemoteRef(key=ref.key, version=ref.version, metadata_policy=policy)


def _search(find: Find) -> Search:
    regexp = find.name.regexp if find.name is not None else None
    return Search(find.path, regexp, tuple(sorted(find.tags.items())))


def _chosen(own: StoreRef | None, general: StoreRef, where: str) -> StoreName:
    ref = own if own is not None and own.name else general
    if not ref.name:
        raise SpecError("no store is named, here or in spec.secretStoreRef", path=where)
    return _store_name(ref)


def _store_name(ref: StoreRef) -> StoreName:
    return StoreName(ref.kind or StoreKind.NAMESPACED, ref.name or "")


def _named(source: Source) -> str:
    key = source.question.key if isinstance(source.question, port.RemoteRef) else ""
    return f"{source.where} (key: {key})" if key else source.where


def _missing(source: Source) -> str:
    """Return the text of the Event; also values of `data` are said to be of `dataFrom`, as upstream does."""
    index = source.where[source.where.index("[") :]
    text = f"secret does not exist at provider using spec.dataFrom{index}"
    if isinstance(source.entry, Data):
        return f"{text} (key={source.entry.remote_ref.key})"
    return text

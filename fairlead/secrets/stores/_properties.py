"""What of a value is asked for: a property of its JSON, or its entries, in the raw style of most providers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from fairlead.core import regex
from fairlead.core.errors import ProviderError, SpecError
from fairlead.secrets import _gjson
from fairlead.secrets.stores._documents import NotJson, raw_entries
from fairlead.secrets.stores.port import FindQuery
from fairlead.secrets.values import SecretBytes

_DOT = re.compile(r"(?<!\\)\.")
NAMES_MAX: Final = 10_000  # of one find: a Secret holds far fewer


def lookup(document: bytes, path: str, *, provider: str) -> bytes | None:
    """Return what a gjson path finds in a document as the value of a Secret's key, or None if it does not exist.

    Raises:
        ProviderError: the path asks for too much.
    """
    try:
        return _gjson.lookup(document, path)
    except SpecError as error:
        raise ProviderError(str(error), provider=provider) from None


def lookup_dotted(document: bytes, path: str, *, provider: str) -> bytes | None:
    """Return what a path finds, first as the name of one key (`a.b`), then as gjson reads it (`b` within `a`)."""
    if "." in path and (found := lookup(document, _DOT.sub(r"\\.", path), provider=provider)) is not None:
        return found
    return lookup(document, path, provider=provider)


class TextDocument:
    """A value that is text or bytes, and perhaps JSON: what is asked of it stays as it stands in the text.

    Args:
        value: the whole.
        key: named in errors.
        provider: named in errors.
        dotted: whether a property is first taken as the name of one key.
    """

    __slots__ = ("_dotted", "_key", "_provider", "_value")

    def __init__(self, value: SecretBytes, *, key: str, provider: str, dotted: bool = False) -> None:
        self._value = value
        self._key = key
        self._provider = provider
        self._dotted = dotted

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._key!r})"

    def value(self, property: str = "") -> SecretBytes:  # noqa: A002 - the word of the API
        """Return the whole, or what gjson finds."""
        if not property:
            return self._value
        found = (lookup_dotted if self._dotted else lookup)(self._value.reveal(), property, provider=self._provider)
        if found is None:
            raise self.missing(property)
        return SecretBytes(found)

    def entries(self, property: str = "") -> dict[str, SecretBytes]:  # noqa: A002
        """Return the entries of the JSON object: text unquoted, the rest as it stands."""
        try:
            found = raw_entries(self.value(property).reveal())
        except NotJson as error:
            text = f'unable to unmarshal secret "{self._key}": {error}'
            raise ProviderError(text, provider=self._provider) from None
        return {name: SecretBytes.of_text(text) for name, text in found.items()}

    def missing(self, property: str) -> ProviderError:  # noqa: A002
        """Return the error for a property that does not exist."""
        return ProviderError(f"key {property} does not exist in secret {self._key}", provider=self._provider)


def matching(names: Iterable[str], query: FindQuery, *, provider: str) -> list[str]:
    """Return the names that the pattern of a query matches anywhere, in order.

    Raises:
        ProviderError: it is no RE2, too much work, or finds more names than anybody can use.
    """
    try:
        pattern = regex.compile(query.name_regexp or "")
        found = [name for name in names if pattern.test(name)]
    except (regex.RegexError, regex.RegexLimit) as error:
        raise ProviderError(f"could not compile find.name.regexp: {error}", provider=provider) from None
    if len(found) > NAMES_MAX:
        raise ProviderError(f"find matches {len(found)} secrets; at most {NAMES_MAX} are read", provider=provider)
    return found

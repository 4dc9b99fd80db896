"""What is asked of which store, as values that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from fairlead.secrets.spec import StoreKind
from fairlead.secrets.stores.port import FindQuery


class StoreName(NamedTuple):
    """A store as an ExternalSecret refers to it; the namespace of a SecretStore is that of the referrer."""

    kind: StoreKind
    name: str


@dataclass(frozen=True, slots=True)
class Search:
    """A FindQuery that can be compared."""

    path: str | None
    name_regexp: str | None
    tags: tuple[tuple[str, str], ...] = ()

    def query(self) -> FindQuery:
        return FindQuery(path=self.path, name_regexp=self.name_regexp, tags=dict(self.tags))


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether the store can be used at all; asked even of a store that is only probed."""

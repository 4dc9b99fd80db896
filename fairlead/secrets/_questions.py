"""What is asked of which store, as values that can be compared, and what comes back."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from fairlead.core.errors import FairleadError
from fairlead.secrets.spec import StoreKind
from fairlead.secrets.stores.port import Document, FindQuery, RemoteRef, Store
from fairlead.secrets.values import SecretBytes


class StoreName(NamedTuple):
    """A store as an ExternalSecret refers to it; the namespace of a SecretStore is that of the referrer."""

    kind: StoreKind
    name: str


class Identity(NamedTuple):
    """As whom a store is asked: equal ones share connections and answers.

    Attributes:
        revision: of the store's spec.
        namespace: whose identity is used; empty: that of the store itself.
    """

    revision: str
    namespace: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreHandle:
    """How to reach a store.

    Attributes:
        uid: whose budget it is.
        revision: changes with its spec: connections of another one are outdated.
        namespace: whose identity is used; empty: that of the store itself.
        open: makes a connection.
    """

    uid: str
    revision: str
    namespace: str = ""
    open: Callable[[], Awaitable[Store]] = field(compare=False, repr=False)

    @property
    def identity(self) -> Identity:
        return Identity(self.revision, self.namespace)


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


Question = RemoteRef | Search | Validation
Answer = Document | dict[str, SecretBytes] | None | FairleadError
"""What `read`, `find` or `validate` said; an error in the place of an answer."""

Asked = tuple[Identity, Question]
"""What makes two questions to a store one."""

"""The request in `operation` of an Application: what somebody, or automatic sync, asks to be done once.

It lies beside `spec` and is removed when it is done. Its sync options are its own: those of the policy do not count.

Source: `argo-cd: pkg/apis/application/v1alpha1/types.go: Operation`.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from fairlead.agentsync.resources import ResourceKey
from fairlead.agentsync.spec import NameValue, RetryStrategy, Source
from fairlead.core.decoding import Decoder, Int64, Wire, doc


class InitiatedBy(Wire, frozen=True, kw_only=True):
    """Who asked for an operation."""

    username: Annotated[str, doc("Who asked.")] = ""
    automated: Annotated[bool, doc("Whether automatic sync asked.")] = False


class Strategy(Wire, frozen=True, kw_only=True):
    """How objects are applied."""

    force: Annotated[bool, doc("Whether what cannot be changed is deleted and made anew.")] = False


class SyncStrategy(Wire, frozen=True, kw_only=True):
    """Whether hooks run: one of the two."""

    apply: Annotated[Strategy | None, doc("Objects only, no hooks.")] = None
    hook: Annotated[Strategy | None, doc("Objects and hooks; the default.")] = None


class SyncResource(Wire, frozen=True, kw_only=True):
    """One object of a partial sync."""

    group: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""

    def matches(self, key: ResourceKey) -> bool:
        """Return whether this is that object; without a namespace it is in any."""
        same = (self.group, self.kind, self.name) == (key.group, key.kind, key.name)
        return same and self.namespace in ("", key.namespace)


class SyncOperation(Wire, frozen=True, kw_only=True):
    """A sync that is asked for."""

    revision: Annotated[str, doc("Revision to sync to; targetRevision if empty.")] = ""
    revisions: Annotated[tuple[str, ...], doc("Revisions, one for each of several sources.")] = ()
    source: Annotated[Source | None, doc("Instead of the spec's source.")] = None
    sources: Annotated[tuple[Source, ...], doc("Instead of the spec's sources.")] = ()
    prune: Annotated[bool, doc("Whether objects that left the source are deleted.")] = False
    dry_run: Annotated[bool, doc("Whether nothing is changed.")] = False
    sync_strategy: Annotated[SyncStrategy | None, doc("With hooks or without.")] = None
    resources: Annotated[tuple[SyncResource, ...], doc("Only these: no hooks, no history.")] = ()
    manifests: Annotated[tuple[str, ...], doc("These instead of what the source says, as JSON.")] = ()
    sync_options: Annotated[tuple[str, ...], doc("Options of this sync.")] = ()
    auto_heal_attempts_count: Annotated[Int64, doc("Self-heals in a row.")] = 0

    @property
    def is_partial(self) -> bool:
        return bool(self.resources)

    @property
    def runs_hooks(self) -> bool:
        """Whether hooks run: not with the strategy `apply`, not in a partial sync."""
        strategy = self.sync_strategy
        only_apply = strategy is not None and strategy.apply is not None and strategy.hook is None
        return not only_apply and not self.is_partial

    @property
    def force(self) -> bool:
        strategy = self.sync_strategy
        if strategy is None:
            return False
        return any(given is not None and given.force for given in (strategy.apply, strategy.hook))

    @property
    def all_sources(self) -> tuple[Source, ...]:
        return self.sources or ((self.source,) if self.source is not None else ())

    @property
    def all_revisions(self) -> tuple[str, ...]:
        return self.revisions or ((self.revision,) if self.revision else ())


class Operation(Wire, frozen=True, kw_only=True):
    """What is asked for."""

    sync: Annotated[SyncOperation | None, doc("A sync.")] = None
    initiated_by: Annotated[InitiatedBy, doc("Who asked.")] = InitiatedBy()
    info: Annotated[tuple[NameValue, ...], doc("For people.")] = ()
    retry: Annotated[RetryStrategy, doc("What happens after a failure.")] = RetryStrategy()


_operation = Decoder(Operation, root="operation", opaque=("valuesObject",))


def decode_operation(raw: bytes | msgspec.Raw) -> Operation:
    """Return an operation.

    Raises:
        SpecError: naming field path, found and expected.
    """
    return _operation.decode(raw)

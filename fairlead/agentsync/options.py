"""Sync options: of the Application (or its operation), and of single resources, which win where both exist.

Source: `argo-cd: gitops-engine/pkg/sync/common/types.go`, `docs/user-guide/sync-options.md`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from fairlead.agentsync.actions import Propagation
from fairlead.agentsync.kinds import COMPARE_OPTIONS, HELM_RESOURCE_POLICY, SYNC_OPTIONS
from fairlead.agentsync.resources import Object, annotations_of

KUBECTL_MANAGER = "kubectl-client-side-apply"


class Consent(StrEnum):
    """Whether an object may be deleted."""

    ALLOWED = "Allowed"
    CONFIRM = "Confirm"  # once somebody has approved
    NEVER = "Never"


def split_list(text: str) -> tuple[str, ...]:
    """Return the entries of a comma-separated annotation, without blanks and empty ones."""
    return tuple(entry for part in text.split(",") if (entry := part.strip()))


def parse_options(options: Iterable[str]) -> dict[str, str]:
    """Return options by name; the last of a name counts.

    >>> parse_options(["Prune=false", "Validate=false"])
    {'Prune': 'false', 'Validate': 'false'}
    """
    pairs = (option.strip().partition("=") for option in options)
    return {name: value for name, equals, value in pairs if name and equals}


def resource_options(found: Object | None) -> dict[str, str]:
    """Return the options in the `sync-options` annotation of an object; none of no object."""
    return parse_options(split_list(annotations_of(found).get(SYNC_OPTIONS, ""))) if found is not None else {}


def ignores_extraneous(found: Object) -> bool:
    """Return whether an object that left the source does not make its Application OutOfSync."""
    return "IgnoreExtraneous" in split_list(annotations_of(found).get(COMPARE_OPTIONS, ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    """What one sync, or one deletion, goes by.

    Attributes:
        given: the Application's or the operation's options, by name.
    """

    given: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, options: Iterable[str]) -> SyncOptions:
        """Return options as `syncOptions` lists them."""
        return cls(given=parse_options(options))

    def _is_on(self, name: str, *found: Object | None, default: bool = False) -> bool:
        """The first object that says something decides, then the Application."""
        for one in found:
            if (value := resource_options(one).get(name)) in ("true", "false"):
                return value == "true"
        value = self.given.get(name)
        return value == "true" if value in ("true", "false") else default

    def _consent(self, name: str, *found: Object | None) -> Consent:
        meanings = {"false": Consent.NEVER, "confirm": Consent.CONFIRM, "true": Consent.ALLOWED}
        for one in found:
            if (value := resource_options(one).get(name)) in meanings:
                return meanings[value]
        return meanings.get(self.given.get(name, ""), Consent.ALLOWED)

    def validates(self, target: Object) -> bool:
        """Whether unknown fields are rejected."""
        return self._is_on("Validate", target, default=True)

    def skips_dry_run_on_missing(self, found: Object) -> bool:
        """Whether an unknown kind is no error before its definition exists."""
        return self._is_on("SkipDryRunOnMissingResource", found)

    def prunes(self, live: Object) -> Consent:
        """Whether an object that left the source may be deleted."""
        return self._consent("Prune", live)

    def deletes(self, live: Object) -> Consent:
        """Whether an object goes with its Application; `Prune=confirm` asks for confirmation here, too."""
        if annotations_of(live).get(HELM_RESOURCE_POLICY) == "keep":
            return Consent.NEVER
        consent = self._consent("Delete", live)
        if consent is Consent.ALLOWED and self.prunes(live) is Consent.CONFIRM:
            return Consent.CONFIRM
        return consent

    def prunes_last(self, live: Object) -> bool:
        return self._is_on("PruneLast", live)

    def replaces(self, target: Object, live: Object | None) -> bool:
        """Whether it is replaced instead of applied; an annotation left on the live object counts, too."""
        return self._is_on("Replace", target, live)

    def forces(self, target: Object, live: Object | None, *, operation: bool = False) -> bool:
        """Whether it is deleted and made anew when it is rejected. The option of the Application does not count."""
        return operation or any(resource_options(one).get("Force") == "true" for one in (target, live))

    def is_server_side(self, target: Object) -> bool:
        return self._is_on("ServerSideApply", target)

    @property
    def migrates(self) -> bool:
        """Whether fields of client-side managers are taken over before server-side apply."""
        return self._is_on("ClientSideApplyMigration", default=True)

    @property
    def applies_out_of_sync_only(self) -> bool:
        return self._is_on("ApplyOutOfSyncOnly")

    @property
    def creates_namespace(self) -> bool:
        return self._is_on("CreateNamespace")

    @property
    def fails_on_shared(self) -> bool:
        return self._is_on("FailOnSharedResource")

    @property
    def respects_ignores(self) -> bool:
        """Whether ignored fields keep their live value when an object is applied."""
        return self._is_on("RespectIgnoreDifferences")

    @property
    def propagation(self) -> Propagation:
        given = self.given.get("PrunePropagationPolicy", "")
        return Propagation(given) if given in tuple(Propagation) else Propagation.FOREGROUND

"""How one Application's objects are compared and applied: from its spec to the options of `diff`. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from fairlead.agentsync._serverdiff import ServerDiffs
from fairlead.agentsync.diff import DiffOptions, IgnoreRule, IgnoreStatus, KnownTypeField, Strategy, difference
from fairlead.agentsync.kinds import COMPARE_OPTIONS, MIGRATION_MANAGER
from fairlead.agentsync.options import KUBECTL_MANAGER, SyncOptions, split_list
from fairlead.agentsync.resources import Object, ResourceKey
from fairlead.agentsync.spec import ApplicationSpec
from fairlead.agentsync.tracking import INSTANCE_LABEL, Tracking, TrackingMethod, application_name
from fairlead.core.objects import ObjectKey, ObjectMeta

SERVER_SIDE_DIFF: Final = "ServerSideDiff"
INCLUDE_WEBHOOKS: Final = "IncludeMutationWebhook=true"


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemOptions:
    """What holds for all Applications of a controller (`argocd-cm`).

    Attributes:
        tracking_method: how objects are marked.
        label_key: `application.instanceLabelKey`.
        installation_id: `installationID`.
        ignores: `resource.customizations.ignoreDifferences.*`.
        ignore_status: whose status does not count.
        ignore_aggregated_roles: of `resource.compareoptions`.
        known_type_fields: `resource.customizations.knownTypeFields.*`.
    """

    tracking_method: TrackingMethod = TrackingMethod.ANNOTATION
    label_key: str = INSTANCE_LABEL
    installation_id: str = ""
    ignores: tuple[IgnoreRule, ...] = ()
    ignore_status: IgnoreStatus = IgnoreStatus.ALL
    ignore_aggregated_roles: bool = False
    known_type_fields: tuple[KnownTypeField, ...] = DiffOptions().known_type_fields

    def tracking(self, application: ObjectKey, *, control_namespace: str) -> Tracking:
        """Return how an Application marks its objects."""
        return Tracking(
            application=application_name(application.namespace, application.name, control_namespace=control_namespace),
            method=self.tracking_method,
            label_key=self.label_key,
            installation_id=self.installation_id,
        )


def diff_options(
    spec: ApplicationSpec,
    metadata: ObjectMeta,
    tracking: Tracking,
    system: SystemOptions,
    claimed: frozenset[ResourceKey],
) -> DiffOptions:
    """Return what counts as a difference for one Application.

    Args:
        claimed: what rollouts decide about.
    """
    own = tuple(
        IgnoreRule(
            group=rule.group,
            kind=rule.kind,
            name=rule.name,
            namespace=rule.namespace,
            json_pointers=rule.json_pointers,
            jq_path_expressions=rule.jq_path_expressions,
            managed_fields_managers=rule.managed_fields_managers,
        )
        for rule in spec.ignore_differences
    )
    migrated = (metadata.annotations.get(MIGRATION_MANAGER) or KUBECTL_MANAGER,)
    return DiffOptions(
        ignores=own + system.ignores,
        ignore_status=system.ignore_status,
        ignore_aggregated_roles=system.ignore_aggregated_roles,
        known_type_fields=system.known_type_fields,
        tracking=tracking,
        managed_by_rollouts=claimed,
        include_mutation_webhooks=INCLUDE_WEBHOOKS in split_list(metadata.annotations.get(COMPARE_OPTIONS, "")),
        migrated_managers=migrated if SyncOptions.of(spec.sync_options).migrates else (),
    )


def differ(
    spec: ApplicationSpec, options: DiffOptions, server: ServerDiffs | None = None
) -> Callable[[Object, Object], bool]:
    """Return whether what lives is not what is wanted, as a function of target and live object.

    An object that is applied on the server's side is compared by who owns what.

    Args:
        server: compares all objects as the server would; None: they are compared here.
    """
    sync_options = SyncOptions.of(spec.sync_options)
    structured = replace(options, strategy=Strategy.STRUCTURED)

    def differs(target: Object, live: Object) -> bool:
        if server is not None:
            return server.differs(target, live, options)
        return difference(target, live, structured if sync_options.is_server_side(target) else options).modified

    return differs


def asks_for_server_side_diff(metadata: ObjectMeta, *, by_default: bool = False) -> bool:
    """Return whether an Application wants its objects compared as the server would."""
    said = split_list(metadata.annotations.get(COMPARE_OPTIONS, ""))
    return f"{SERVER_SIDE_DIFF}=true" in said or (by_default and f"{SERVER_SIDE_DIFF}=false" not in said)

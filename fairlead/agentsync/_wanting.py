"""What has to be seen of the destination for one Application: the kinds, the places and the keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fairlead.agentsync._live import Wanted
from fairlead.agentsync._targets import Scope, flattened, scope_of
from fairlead.agentsync.kinds import SYNC_OPTIONS
from fairlead.agentsync.resources import (
    Object,
    ResourceKey,
    ResourceKind,
    ServedKinds,
    annotations_of,
    group_version,
    key_of,
)
from fairlead.agentsync.spec import ApplicationSpec
from fairlead.agentsync.status import ApplicationStatus

_SERVER_SIDE = "ServerSideApply=true"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one Application needs.

    Attributes:
        wanted: what is watched for it.
        targets: kinds of what is wanted, as `group/Kind`: without sight of these nothing can be compared.
        missing: group and kind of what the destination does not serve, and no definition among the targets brings.
    """

    wanted: Wanted
    targets: frozenset[str] = frozenset()
    missing: frozenset[tuple[str, str]] = frozenset()


def need(
    spec: ApplicationSpec | None,
    status: ApplicationStatus,
    objects: Iterable[Object],
    served: ServedKinds,
    namespace: str,
    *,
    refuses: Callable[[ResourceKey, bool], str] = lambda key, namespaced: "",
) -> Need:
    """Return what an Application needs to see.

    Args:
        spec: None: it cannot be understood.
        objects: everything that was rendered for it, of which nothing is normalised yet.
        namespace: of the destination.
        refuses: why the project does not permit an object (key, whether it is namespaced); empty: it does. What is not
            permitted is not looked at: the agent may well have no right to, and it must not matter.
    """
    rendered = flattened(objects)
    scope = scope_of(served, rendered)
    versions = {_placed(key_of(found), namespace, scope): group_version(found)[1] for found in rendered}
    keys = set(versions)
    of_status = {resource.key for resource in status.resources}
    state = status.operation_state
    if state is not None and state.sync_result is not None:
        of_status |= {resource.key for resource in state.sync_result.resources}
    options = spec.sync_options if spec is not None else ()
    if state is not None and state.operation.sync is not None:
        options += state.operation.sync.sync_options
    if namespace and "CreateNamespace=true" in options:
        keys.add(ResourceKey("", "Namespace", "", namespace))
    keys, of_status = ({key for key in some if not refuses(key, bool(key.namespace))} for some in (keys, of_status))
    kinds: dict[tuple[str, str], ResourceKind] = {}
    others: dict[ResourceKey, ResourceKind] = {}
    missing: set[tuple[str, str]] = set()
    for key in sorted(keys) + sorted(of_status - keys):  # the version of a manifest goes before that of the server
        name = (key.group, key.kind)
        kind = served.find(*name, versions.get(key, "")) or served.find(*name)
        if kind is None:
            missing.add(name)
        elif kind.is_watchable and kinds.setdefault(name, kind) != kind and key in keys:
            others[key] = kind
    return Need(
        wanted=Wanted(
            kinds=frozenset((*kinds.values(), *others.values())),
            namespaces=frozenset({key.namespace for key in keys | of_status if key.namespace} | {namespace} - {""}),
            keys=frozenset(key for key in keys | of_status if key.name),  # some hooks are known to the status only
            versions={key: kind.version for key, kind in others.items()},
            with_managers=_needs_managers(spec, options, rendered),
        ),
        targets=frozenset(f"{key.group}/{key.kind}" for key in keys),
        missing=frozenset(missing),
    )


def _placed(key: ResourceKey, namespace: str, scope: Scope) -> ResourceKey:
    is_namespaced = scope(key.group, key.kind)
    if is_namespaced is False:
        return ResourceKey(key.group, key.kind, "", key.name)
    return key if key.namespace else ResourceKey(key.group, key.kind, namespace, key.name)


def _needs_managers(spec: ApplicationSpec | None, options: tuple[str, ...], rendered: Iterable[Object]) -> bool:
    """Whether it matters who owns which field: for server-side apply, and for rules that name managers."""
    if spec is not None and any(rule.managed_fields_managers for rule in spec.ignore_differences):
        return True
    if _SERVER_SIDE in options:
        return True
    return any(_SERVER_SIDE in annotations_of(found).get(SYNC_OPTIONS, "") for found in rendered)

"""What an apply of rendered manifests would change, from plain objects alone: for people, for CI, before a commit.

Targets are placed, stamped and compared as the controller does it: the Application's `ignoreDifferences` count, what a
rollout decides is not taken back, hooks and skipped objects are left out. Nothing is asked and nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

import msgspec

from fairlead.agentsync._claims import claimed, is_rollout
from fairlead.agentsync._hooks import is_hook, is_skipped
from fairlead.agentsync._judgement import SystemOptions, asks_for_server_side_diff, diff_options
from fairlead.agentsync._targets import prepare_targets, scope_of
from fairlead.agentsync.diff import Change, Difference, DiffOptions, Strategy, difference, render_diff
from fairlead.agentsync.kinds import APPLICATIONS, Application
from fairlead.agentsync.options import SyncOptions, ignores_extraneous
from fairlead.agentsync.resources import Object, ResourceKey, ServedKinds, key_of
from fairlead.agentsync.spec import ApplicationSpec, decode_spec
from fairlead.agentsync.tracking import Tracking
from fairlead.core.decoding import DECODE_ERRORS, describe_decode_error
from fairlead.core.errors import SpecError

__all__ = ["Fate", "Preview", "preview", "wanted_keys"]


class Fate(StrEnum):
    """What would become of an object."""

    CREATED = "created"
    CHANGED = "changed"
    EXTRA = "extra"  # it left the source: deleted by a sync that prunes


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """One object that is not what its manifest says.

    Args:
        key: which one.
        fate: what would become of it.
        difference: with the two sides as they were compared; values of Secrets are hidden only in `changes` and `text`.
    """

    key: ResourceKey
    fate: Fate
    difference: Difference

    @property
    def changes(self) -> tuple[Change, ...]:
        """The fields that an apply changes; none for an object that is new or extra."""
        return self.difference.changes

    @property
    def text(self) -> str:
        """The difference as a unified diff of YAML, live first."""
        return render_diff(self.difference.predicted, self.difference.live)


def preview(
    application: Object,
    rendered: Iterable[Object],
    live: Iterable[Object],
    *,
    served: ServedKinds | None = None,
    system: SystemOptions | None = None,
    is_excluded: Callable[[ResourceKey], bool] = lambda key: False,
    control_namespace: str = "",
) -> tuple[Preview, ...]:
    """Return what is not as it should be, sorted by key; nothing: an apply would change nothing.

    Args:
        application: whose manifests they are.
        rendered: what its sources yield.
        live: what there is of it; objects that are not wanted count as extra if they carry its tracking.
        served: tells which kinds are namespaced; without it a kind is taken for namespaced, unless its definition is
            among the manifests.
        system: what holds for all Applications (`read_configuration` reads it from `argocd-cm`).
        is_excluded: whether the settings say that a kind is left alone.
        control_namespace: of Argo CD; the Application's own if empty.

    Raises:
        SpecError: the Application, a manifest or a rule of `ignoreDifferences` cannot be read.

    >>> app = {"metadata": {"name": "shop"}, "spec": {"destination": {"namespace": "web"}}}
    >>> service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "cart"}}
    >>> [(str(one.key), one.fate.value) for one in preview(app, [service], [])]
    [('/Service/web/cart', 'created')]
    """
    found, spec = _decoded(application)
    chosen, objects = system or SystemOptions(), tuple(rendered)
    by_key = {key_of(one): one for one in live}
    place = control_namespace or found.metadata.namespace
    tracking = chosen.tracking(found.metadata.key, control_namespace=place)
    namespace = spec.destination.namespace
    scope = scope_of(served, (*objects, *by_key.values()))
    targets = prepare_targets(
        objects, namespace=namespace, scope=scope, stamp=tracking.stamp, is_excluded=is_excluded
    ).targets
    rollouts = [one for one in (*objects, *by_key.values()) if is_rollout(one)]
    options = diff_options(spec, found.metadata, tracking, chosen, claimed(rollouts, namespace=namespace))
    is_structured = asks_for_server_side_diff(found.metadata)
    previews = [
        _wanted(target.content, by_key.get(target.key), _strategy(options, spec, target.content, is_structured))
        for target in targets
        if target.key.name and not is_hook(target.content) and not is_skipped(target.content)
    ]
    wanted = {target.key for target in targets}
    previews += [
        Preview(key=key, fate=Fate.EXTRA, difference=difference(None, one, options))
        for key, one in by_key.items()
        if key not in wanted and not is_excluded(key) and _is_extra(one, tracking)
    ]
    return tuple(sorted((one for one in previews if one is not None), key=lambda one: one.key))


def _is_extra(live: Object, tracking: Tracking) -> bool:
    return tracking.owns(live) and not is_hook(live) and not ignores_extraneous(live)


def wanted_keys(
    application: Object, rendered: Iterable[Object], served: ServedKinds | None = None
) -> tuple[ResourceKey, ...]:
    """Return the keys of the live objects that a preview wants to see: of what is wanted, in its place.

    Raises:
        SpecError: as `preview`.
    """
    _, spec = _decoded(application)
    objects = tuple(rendered)
    targets = prepare_targets(objects, namespace=spec.destination.namespace, scope=scope_of(served, objects)).targets
    return tuple(target.key for target in targets if target.key.name)


def _decoded(application: Object) -> tuple[Application, ApplicationSpec]:
    try:
        found = APPLICATIONS.decode(msgspec.json.encode(application))
        return found, decode_spec(found.spec)
    except SpecError:
        raise
    except DECODE_ERRORS as error:
        raise SpecError(describe_decode_error(error)) from None


def _strategy(options: DiffOptions, spec: ApplicationSpec, target: Object, is_structured: bool) -> DiffOptions:
    is_server_side = is_structured or SyncOptions.of(spec.sync_options).is_server_side(target)
    return replace(options, strategy=Strategy.STRUCTURED) if is_server_side else options


def _wanted(target: Object, live: Object | None, options: DiffOptions) -> Preview | None:
    found = difference(target, live, options)
    if not found.modified:
        return None
    return Preview(key=key_of(target), fate=Fate.CREATED if live is None else Fate.CHANGED, difference=found)

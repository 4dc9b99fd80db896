"""What each command of a person writes: pure functions from the Application as read to the patch to send.

Argo CD's API server writes exactly these fields; here the same is one merge patch with the resourceVersion that was
read as its precondition, so that no status is lost and no second operation slips in.

Source: argo-cd: server/application/application.go (Sync, Rollback, TerminateOperation), util/argo/argo.go
(SetAppOperation, RefreshApp).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from fairlead.agentsync.kinds import REFRESH, REFRESH_TIMESTAMP
from fairlead.agentsync.resources import Object, metadata_of, name_of
from fairlead.core.cluster import MergePatch
from fairlead.core.errors import FairleadError

__all__ = ["Refused", "SyncRequest", "parse_resource", "refresh", "rollback", "sync", "terminate"]

_ANY: Final = "*"


class Refused(FairleadError):
    """The Application is not in a state for this command; the text is Argo CD's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """What a person asks of a sync.

    Args:
        revision: instead of the spec's `targetRevision`; empty: that one.
        prune: delete what left the source.
        dry_run: change nothing.
        force: delete and re-create what cannot be changed.
        apply_only: the strategy `apply`: no hooks.
        resources: only these; none: all.
    """

    revision: str = ""
    prune: bool = False
    dry_run: bool = False
    force: bool = False
    apply_only: bool = False
    resources: tuple[Mapping[str, str], ...] = ()


def sync(application: Object, request: SyncRequest, *, username: str) -> MergePatch:
    """Return the patch that asks for a sync.

    The spec's source, the policy's options and its retry go into the operation, which uses only what is in it.

    Raises:
        Refused: it is being deleted, an operation is present, or automatic sync would undo this at once.
    """
    spec, policy = _mapping(application.get("spec")), _policy(application)
    _check_free(application)
    sources = _list(spec.get("sources"))
    if request.revision and sources:
        raise Refused("an Application with several sources has no single revision to sync to")
    wanted = str(_mapping(spec.get("source")).get("targetRevision") or "HEAD")
    if request.revision and request.revision != wanted and _is_automated(policy) and not request.dry_run:
        raise Refused(f"Cannot sync to {request.revision}: auto-sync currently set to {wanted}")
    asked: dict[str, Any] = {"sources": sources} if sources else {"source": spec.get("source")}
    asked |= _given(
        revision=request.revision,
        prune=request.prune,
        dryRun=request.dry_run,
        syncOptions=_list(policy.get("syncOptions")),
        resources=[dict(one) for one in request.resources],
    )
    asked["syncStrategy"] = {"apply" if request.apply_only else "hook": _given(force=request.force)}
    return _operate(application, asked, retry=_mapping(policy.get("retry")), username=username)


def rollback(
    application: Object, number: int | None, *, username: str, prune: bool = False, dry_run: bool = False
) -> MergePatch:
    """Return the patch that asks for an earlier entry of the history again.

    Args:
        number: the id of that entry; None: the one before the last.

    Raises:
        Refused: automatic sync is on, or there is no such entry.
    """
    _check_free(application)
    policy = _policy(application)
    if _is_automated(policy):
        raise Refused("rollback cannot be initiated when auto-sync is enabled")
    entry = _entry(application, number)
    if not entry.get("source") and not entry.get("sources"):
        raise Refused(f"the entry {entry.get('id')} of the history names no source: sync to its revision instead")
    asked = _given(
        source=entry.get("source"),
        sources=_list(entry.get("sources")),
        revision=entry.get("revision"),
        revisions=_list(entry.get("revisions")),
        prune=prune,
        dryRun=dry_run,
        syncOptions=_list(policy.get("syncOptions")),
    )
    return _operate(application, {**asked, "syncStrategy": {"apply": {}}}, retry={}, username=username)


def _entry(application: Object, number: int | None) -> Mapping[str, Any]:
    history = [_mapping(one) for one in _list(_mapping(application.get("status")).get("history"))]
    if number is None:
        if len(history) < 2:
            raise Refused(f"application {name_of(application)} has no earlier deployment to return to")
        return history[-2]
    for one in history:
        if one.get("id", 0) == number:
            return one
    raise Refused(f"application {name_of(application)} does not have deployment with id {number}")


def terminate(application: Object) -> MergePatch:
    """Return the patch that ends the running operation.

    Raises:
        Refused: none runs.
    """
    state = _mapping(application.get("status")).get("operationState")
    if not application.get("operation") or not state:
        raise Refused("Unable to terminate operation. No operation is in progress")
    return _precondition(application, {"status": {"operationState": {"phase": "Terminating"}}})


def refresh(now: datetime, *, hard: bool = False) -> MergePatch:
    """Return the patch that asks for a comparison now, or (`hard`) for one with manifests rendered anew.

    The instant goes with it, so that a second request during the first one is not lost.
    """
    at = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return MergePatch({"metadata": {"annotations": {REFRESH: "hard" if hard else "normal", REFRESH_TIMESTAMP: at}}})


def parse_resource(text: str, known: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return what `GROUP:KIND:NAME`, or `GROUP:KIND:NAMESPACE/NAME`, stands for in the resources of an Application.

    Args:
        text: each part may be `*`; a leading `!` means all but these.
        known: entries of `status.resources`, which `*` and `!` are looked up in.

    Raises:
        Refused: it has no three parts, or stands for nothing.

    >>> parse_resource("apps:Deployment:shop/web", [])
    [{'group': 'apps', 'kind': 'Deployment', 'name': 'web', 'namespace': 'shop'}]
    """
    is_exclusion, wanted = text.startswith("!"), text.removeprefix("!")
    parts = wanted.split(":")
    if len(parts) != 3 or not parts[1] or not parts[2]:
        raise Refused(f"expected GROUP:KIND:NAME or GROUP:KIND:NAMESPACE/NAME, found {text!r}")
    place, slash, name = parts[2].rpartition("/")
    asked = {"group": parts[0], "kind": parts[1], "name": name} | ({"namespace": place} if slash else {})
    if not is_exclusion and _ANY not in asked.values():
        return [asked]
    found = [one for one in map(_identity, known) if _stands_for(asked, one) is not is_exclusion]
    if not found:
        raise Refused(f"{text!r} stands for none of the resources of the application")
    return found


def _identity(resource: Mapping[str, Any]) -> dict[str, str]:
    found = {field: str(resource.get(field) or "") for field in ("group", "kind", "name", "namespace")}
    return found if found["namespace"] else {field: text for field, text in found.items() if field != "namespace"}


def _stands_for(asked: Mapping[str, str], found: Mapping[str, str]) -> bool:
    return all(text in (_ANY, found.get(field, "")) for field, text in asked.items())


def _check_free(application: Object) -> None:
    if metadata_of(application).get("deletionTimestamp"):
        raise Refused("application is deleting")
    if application.get("operation"):
        raise Refused("another operation is already in progress")


def _operate(application: Object, asked: Mapping[str, Any], *, retry: Mapping[str, Any], username: str) -> MergePatch:
    operation = {"sync": dict(asked), "initiatedBy": {"username": username}, "retry": dict(retry)}
    return _precondition(application, {"operation": operation, "status": {"operationState": None}})


def _precondition(application: Object, body: Mapping[str, Any]) -> MergePatch:
    version = metadata_of(application).get("resourceVersion")
    return MergePatch({"metadata": {"resourceVersion": version}, **body})


def _policy(application: Object) -> Mapping[str, Any]:
    return _mapping(_mapping(application.get("spec")).get("syncPolicy"))


def _is_automated(policy: Mapping[str, Any]) -> bool:
    automated = policy.get("automated")
    return isinstance(automated, Mapping) and automated.get("enabled") is not False


def _given(**fields: Any) -> dict[str, Any]:
    """Return what Go would write: nothing that is empty."""
    return {name: value for name, value in fields.items() if value}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else []

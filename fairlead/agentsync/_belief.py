"""What we hold an Application to be, while the cluster that keeps it cannot be told. Pure.

Our part of an Application is its status, its `operation`, and single annotations and finalizers; the rest is the
users'. As long as every write succeeds, what we believe is what is stored. When the link is cut we go on deciding on
what we believe, and when it is back, our part is laid over what has been stored by others meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fairlead.agentsync.kinds import APPLICATIONS, Application
from fairlead.agentsync.status import (
    AppCondition,
    ConditionType,
    Phase,
    Summary,
    SyncCode,
    decode_status,
    odd_fields,
    status_patch,
    to_json,
)
from fairlead.core.patches import diff, merge

Json = dict[str, Any]


def as_json(application: Application) -> Json:
    """Return an Application as JSON data; parts that are not there are left out."""
    parts = {"spec": application.spec, "operation": application.operation, "status": application.status}
    built: Json = {name: msgspec.json.decode(raw) for name, raw in parts.items() if bytes(raw)}
    return {"metadata": msgspec.json.decode(msgspec.json.encode(application.metadata)), **built}


def from_json(content: Mapping[str, Any]) -> Application:
    """Return the Application again."""
    return APPLICATIONS.decode(msgspec.json.encode(content))


def believed(application: Application, patch: Mapping[str, Any]) -> Application:
    """Return what an Application is once a merge patch of ours has arrived."""
    return from_json(merge(as_json(application), patch))


def rebased(base: Application, ours: Application, theirs: Application) -> Application:
    """Return what we believe after others have written.

    Args:
        base: what was stored when we began to differ from it.
        ours: what we believed since then.
        theirs: what is stored now.

    *Guarantees*: spec, labels and deletion are theirs. The status is ours. An `operation` that others have set since is
    theirs: a person who asks is heard, and so is one who terminates. Annotations and finalizers are theirs but for
    those that we took or gave.
    """
    was, own, now = as_json(base), as_json(ours), as_json(theirs)
    result: Json = {**now, "status": own.get("status", {})}
    if now.get("operation") == was.get("operation"):
        result["operation"] = own.get("operation")
        if result["operation"] is None:
            del result["operation"]
    if _phase(now) == Phase.TERMINATING != _phase(was) and _phase(own) == Phase.RUNNING:
        result["status"] = merge(result["status"], {"operationState": {"phase": Phase.TERMINATING}})
    metadata = dict(now.get("metadata") or {})
    before, after = was.get("metadata") or {}, own.get("metadata") or {}
    annotations = merge(
        metadata.get("annotations") or {}, diff(before.get("annotations") or {}, after.get("annotations") or {})
    )
    taken = set(before.get("finalizers") or ()) - set(after.get("finalizers") or ())
    given = [name for name in after.get("finalizers") or () if name not in (before.get("finalizers") or ())]
    finalizers = [name for name in metadata.get("finalizers") or () if name not in taken]
    finalizers += [name for name in given if name not in finalizers]
    metadata |= {"annotations": annotations, "finalizers": finalizers}
    return from_json({**result, "metadata": metadata})


def _phase(content: Json) -> str:
    status = content.get("status")
    state = status.get("operationState") if isinstance(status, dict) else None
    return str(state.get("phase") or "") if isinstance(state, dict) else ""


def outgoing(stored: Application, ours: Application) -> Json:
    """Return the merge patch that makes our part of what is stored what we believe; empty: it is.

    A patch that touches `operation` carries the resourceVersion: somebody may have asked for something meanwhile, and
    must not be overwritten.
    """
    patch: Json = {}
    odd = odd_fields(stored.status)
    if status := status_patch(decode_status(stored.status), decode_status(ours.status), odd=odd):
        patch["status"] = status
    was, own = as_json(stored), as_json(ours)
    old, new = was.get("operation") or {}, own.get("operation") or {}
    if old != new:
        patch["operation"] = diff(old, new) if new else None
    before, after = was.get("metadata") or {}, own.get("metadata") or {}
    metadata: Json = {}
    if annotations := diff(before.get("annotations") or {}, after.get("annotations") or {}):
        metadata["annotations"] = annotations
    if (before.get("finalizers") or []) != (after.get("finalizers") or []):
        metadata["finalizers"] = after.get("finalizers") or None
    if "operation" in patch or "finalizers" in metadata:
        metadata["resourceVersion"] = stored.metadata.resource_version
    if metadata:
        patch["metadata"] = metadata
    return patch


def too_large(ours: Application, why: str) -> Application:
    """Return the Application with a status that fits, and says that it does not tell everything."""
    status = decode_status(ours.status)
    message = f"Application status exceeds the Kubernetes resource size limit: {why[:500]}"
    condition = AppCondition(type=ConditionType.COMPARISON, message=message)
    state = status.operation_state
    if state is not None and state.sync_result is not None:
        result = msgspec.structs.replace(state.sync_result, resources=())
        state = msgspec.structs.replace(state, sync_result=result, message=state.message[:1000])
    smaller = msgspec.structs.replace(
        status,
        resources=(),
        summary=Summary(),
        conditions=(condition,),
        operation_state=state,
        sync=msgspec.structs.replace(status.sync, status=SyncCode.UNKNOWN),
    )
    return msgspec.structs.replace(ours, status=msgspec.Raw(msgspec.json.encode(to_json(smaller))))

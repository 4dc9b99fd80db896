"""Scale, eviction and binding: requests that act on an object through another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fairlead.core import selectors
from fairlead.core.cluster import Preconditions
from fairlead.core.errors import Cause, TooManyRequests
from fairlead.testing import failures, shapes
from fairlead.testing.requests import DeleteOptions, Server, Target, WriteOptions
from fairlead.testing.resources import Resource, Served
from fairlead.testing.storage import Json, Stored, copy_json
from fairlead.testing.watching import dig

SCALE = Resource(
    group="autoscaling", kind="Scale", plural="scales", versions=(Served(name="v1"),), shape=shapes.DEFAULT
)


def scale_of(resource: Resource, stored: Stored) -> Stored:
    """Return the object's Scale."""
    paths = resource.scale
    assert paths is not None, "only kinds with a scale subresource come here"
    if paths.selector == "-":
        selector = ""
    elif paths.selector:
        selector = str(dig(stored.data, paths.selector) or "")
    else:
        wanted = dig(stored.data, "spec.selector") or {}
        selector = selectors.format_selector(
            selectors.from_label_selector(wanted.get("matchLabels") or {}, wanted.get("matchExpressions") or ())
        )
    kept = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
    data: Json = {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {key: stored.metadata[key] for key in kept if key in stored.metadata},
        "spec": {"replicas": wanted_replicas} if (wanted_replicas := dig(stored.data, paths.spec_replicas)) else {},
        "status": {"replicas": dig(stored.data, paths.status_replicas) or 0},
    }
    if selector:
        data["status"]["selector"] = selector
    return Stored(data, (), stored.revision)


def set_scale(server: Server, target: Target, old: Stored, scale: Any, options: WriteOptions) -> Stored:
    """Set the object's wished-for replicas from a Scale; return the new Scale."""
    paths = target.resource.scale
    assert paths is not None, "only kinds with a scale subresource come here"
    replicas = dig(scale, "spec.replicas")
    if replicas is None:
        replicas = 0
    if not isinstance(replicas, int) or isinstance(replicas, bool):
        raise failures.bad_request("json: cannot unmarshal into Go struct field ScaleSpec.spec.replicas of type int32")
    if replicas < 0:
        cause = failures.bad_value("spec.replicas", replicas, "must be greater than or equal to 0")
        raise failures.invalid("Scale", "autoscaling", target.name, (cause,))
    data: Json = copy_json(old.data)
    metadata = scale.get("metadata") or {}
    for name in ("uid", "resourceVersion"):
        if metadata.get(name):
            data["metadata"][name] = metadata[name]  # preconditions, as in any write
    node = data
    *parents, last = paths.spec_replicas.strip(".").split(".")
    for part in parents:
        node = node.setdefault(part, {})
    node[last] = replicas
    return scale_of(target.resource, server.replace(target, old, data, old.managers, options))


def bind(server: Server, target: Target, body: Mapping[str, Any], options: WriteOptions) -> Stored:
    """Assign the pod to a node."""
    pods = replace(target, subresource="")
    old = server.stored(pods)
    node = dig(body, "target.name")
    if not node:
        raise failures.invalid("Binding", "", target.name, (failures.required("target.name"),))
    if dig(old.data, "spec.nodeName"):
        why = f"pod {target.name} is already assigned to node {dig(old.data, 'spec.nodeName')!r}"
        raise failures.conflict("pods/binding", "", target.name, why)
    data: Json = copy_json(old.data)
    data["spec"]["nodeName"] = node
    conditions = data.setdefault("status", {}).setdefault("conditions", [])
    conditions[:] = [condition for condition in conditions if condition.get("type") != "PodScheduled"]
    conditions.append({"type": "PodScheduled", "status": "True", "lastTransitionTime": server.now})
    # Spec and status in one commit, as the real binding does.
    return server.rewrite(target.resource, old, data)


def evict(server: Server, target: Target, body: Mapping[str, Any], options: WriteOptions) -> Stored:
    """Delete the pod if every disruption budget that covers it allows that.

    Raises:
        TooManyRequests: a budget does not.
    """
    pod = server.stored(replace(target, subresource=""))
    asked = body.get("deleteOptions") or {}
    budgets = _budgets(server, pod)
    if len(budgets) > 1:
        message = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise failures.invalid("Pod", "", target.name, (Cause(message=message),))
    is_over = dig(pod.data, "status.phase") in ("Succeeded", "Failed", "Pending") or "deletionTimestamp" in pod.metadata
    if budgets and not is_over:
        _respect(server, budgets[0], pod)
    preconditions = asked.get("preconditions") or {}
    deletion = DeleteOptions(
        preconditions=Preconditions(
            uid=preconditions.get("uid", ""), resource_version=preconditions.get("resourceVersion", "")
        ),
        grace_period_seconds=asked.get("gracePeriodSeconds"),
        dry_run=options.dry_run or bool(asked.get("dryRun")),
    )
    return server.delete(replace(target, subresource=""), deletion)


def _budgets(server: Server, pod: Stored) -> list[Stored]:
    return [
        stored
        for key, stored in sorted(server.storage.all("poddisruptionbudgets.policy").items())
        if key.namespace == pod.key.namespace and _covers(stored, pod)
    ]


def _covers(budget: Stored, pod: Stored) -> bool:
    selector = dig(budget.data, "spec.selector")
    if selector is None:
        return False
    terms = selectors.from_label_selector(selector.get("matchLabels") or {}, selector.get("matchExpressions") or ())
    return selectors.matches(terms, pod.labels)


def _is_ready(pod: Stored) -> bool:
    conditions = dig(pod.data, "status.conditions") or ()
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in conditions)


def _respect(server: Server, budget: Stored, pod: Stored) -> None:
    """Count what the budget's controller would have counted, and refuse if one pod fewer is too few."""
    pods = [
        stored
        for stored in server.storage.all("pods").values()
        if stored.key.namespace == pod.key.namespace
        and _covers(budget, stored)
        and dig(stored.data, "status.phase") not in ("Succeeded", "Failed")
    ]
    healthy = sum(_is_ready(one) and "deletionTimestamp" not in one.metadata for one in pods)
    expected = _expected(server, pods)
    most = dig(budget.data, "spec.maxUnavailable")
    least = dig(budget.data, "spec.minAvailable")
    if most is not None:
        needed = max(0, expected - _share(most, expected))
    else:
        needed = _share(least if least is not None else 0, expected)
    if not _is_ready(pod):
        if dig(budget.data, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow" or healthy >= needed:
            return
    elif healthy - 1 >= needed:
        return
    cause = Cause(
        reason="DisruptionBudget",
        message=f"The disruption budget {budget.key.name} needs {needed} healthy pods and has {healthy} currently",
    )
    raise TooManyRequests("Cannot evict pod as it would violate the pod's disruption budget.", causes=(cause,))


def _share(value: Any, total: int) -> int:
    if isinstance(value, int):
        return value
    percent = int(str(value).rstrip("%") or 0)
    return -(-total * percent // 100)  # the disruption controller rounds up, both bounds


def _expected(server: Server, pods: list[Stored]) -> int:
    """How many pods their controllers wish for; pods without a scalable one count as themselves."""
    total = 0
    seen: set[str] = set()
    for pod in pods:
        root, replicas = _scaled_root(server, pod)
        if replicas is None:
            total += 1
        elif root not in seen:
            seen.add(root)
            total += replicas
    return total


def _scaled_root(server: Server, stored: Stored) -> tuple[str, int | None]:
    """Follow controller references upwards to the topmost scalable object; its UID and replicas."""
    uid, replicas = stored.metadata["uid"], None
    for _ in range(8):
        owner = next((one for one in stored.metadata.get("ownerReferences") or () if one.get("controller")), None)
        place = server.storage.uids.get(owner["uid"]) if owner else None
        found = server.storage.get(*place) if place else None
        if found is None:
            break
        stored = found
        resource = server.registry.of_kind(found.data.get("apiVersion", ""), found.data.get("kind", ""))
        if resource is not None and resource.scale is not None:
            uid = found.metadata["uid"]
            replicas = int(dig(found.data, resource.scale.spec_replicas) or 0)
    return uid, replicas

"""The kinds that controllers and kubelets read, as slim values: only the fields that they decide on.

`fairlead.core.kinds` has the same kinds as the rest of fairlead looks at them; the ones here see deeper into pods.
Nothing of these values is ever written back: writes are JSON built by the controllers.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeVar

import msgspec

from fairlead.core.objects import HasMetadata, Kind, ObjectMeta, controller_reference, struct_decoder
from fairlead.core.patches import diff

_S = TypeVar("_S", bound=HasMetadata)
EMPTY = msgspec.Raw(b"{}")

PREFIX = "testing.fairlead.dev/"
"""All annotations by which a pod template steers the fake kubelet and the pod servers begin with this."""

ADDRESS = PREFIX + "address"
"""Written to a pod: `host:port` where its server answers, when that is not its podIP."""


class _Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """Settings of every value here."""


class Condition(_Struct, frozen=True, kw_only=True):
    """A condition of a built-in kind; nothing is required."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_probe_time: datetime | None = None
    last_update_time: datetime | None = None
    last_transition_time: datetime | None = None
    observed_generation: int = 0


class ExecAction(_Struct, frozen=True, kw_only=True):
    command: tuple[str, ...] = ()


class SleepAction(_Struct, frozen=True, kw_only=True):
    seconds: int = 0


class LifecycleHandler(_Struct, frozen=True, kw_only=True):
    exec: ExecAction | None = None
    sleep: SleepAction | None = None


class Lifecycle(_Struct, frozen=True, kw_only=True):
    post_start: LifecycleHandler | None = None
    pre_stop: LifecycleHandler | None = None


class Probe(_Struct, frozen=True, kw_only=True):
    initial_delay_seconds: int = 0


class ContainerPort(_Struct, frozen=True, kw_only=True):
    name: str = ""
    container_port: int = 0
    protocol: str = "TCP"


class Container(_Struct, frozen=True, kw_only=True):
    name: str = ""
    image: str = ""
    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    ports: tuple[ContainerPort, ...] = ()
    readiness_probe: Probe | None = None
    lifecycle: Lifecycle | None = None
    restart_policy: str = ""  # `Always` makes an init container a sidecar


class ReadinessGate(_Struct, frozen=True, kw_only=True):
    condition_type: str = ""


class PodSpec(_Struct, frozen=True, kw_only=True):
    node_name: str = ""
    node_selector: dict[str, str] = {}
    scheduler_name: str = "default-scheduler"
    scheduling_gates: tuple[dict[str, Any], ...] = ()
    restart_policy: str = "Always"
    termination_grace_period_seconds: int = 30
    active_deadline_seconds: int | None = None
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()
    readiness_gates: tuple[ReadinessGate, ...] = ()


class Terminated(_Struct, frozen=True, kw_only=True):
    exit_code: int = 0
    finished_at: datetime | None = None


class ContainerState(_Struct, frozen=True, kw_only=True):
    terminated: Terminated | None = None


class ContainerStatus(_Struct, frozen=True, kw_only=True):
    name: str = ""
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()

    @property
    def finished_at(self) -> datetime | None:
        return self.state.terminated.finished_at if self.state.terminated else None


class PodStatus(_Struct, frozen=True, kw_only=True):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    reason: str = ""
    message: str = ""
    start_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(_Struct, frozen=True, kw_only=True):
    """A pod as its controllers, its scheduler and its kubelet look at it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def condition(self, type_: str) -> Condition | None:
        return next((condition for condition in self.status.conditions if condition.type == type_), None)

    @property
    def is_ready(self) -> bool:
        ready = self.condition("Ready")
        return ready is not None and ready.status == "True"

    @property
    def is_finished(self) -> bool:
        return self.status.phase in ("Succeeded", "Failed")

    @property
    def is_active(self) -> bool:
        """Whether a controller counts it: neither finished nor on its way out."""
        return not self.is_finished and not self.metadata.is_deleting

    @property
    def ready_since(self) -> datetime | None:
        """Since when it is Ready (whole seconds, as the API stores instants); None when it is not."""
        ready = self.condition("Ready")
        return ready.last_transition_time if ready is not None and ready.status == "True" else None

    @property
    def restarts(self) -> int:
        return sum(status.restart_count for status in self.status.container_statuses)


class LabelSelector(_Struct, frozen=True, kw_only=True):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[dict[str, Any], ...] = ()


class ReplicaSetSpec(_Struct, frozen=True, kw_only=True):
    replicas: int = 1
    min_ready_seconds: int = 0
    selector: LabelSelector = LabelSelector()
    template: msgspec.Raw = EMPTY


class ReplicaSetStatus(_Struct, frozen=True, kw_only=True):
    replicas: int = 0
    fully_labeled_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    terminating_replicas: int = 0  # deleted, and not ended yet
    observed_generation: int = 0
    conditions: tuple[Condition, ...] = ()


class ReplicaSet(_Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class RollingUpdate(_Struct, frozen=True, kw_only=True):
    max_surge: int | str = "25%"
    max_unavailable: int | str = "25%"


class DeploymentStrategy(_Struct, frozen=True, kw_only=True):
    type: str = "RollingUpdate"
    rolling_update: RollingUpdate = RollingUpdate()


class DeploymentSpec(_Struct, frozen=True, kw_only=True):
    replicas: int = 1
    min_ready_seconds: int = 0
    paused: bool = False
    progress_deadline_seconds: int = 600
    revision_history_limit: int = 10
    selector: LabelSelector = LabelSelector()
    strategy: DeploymentStrategy = DeploymentStrategy()
    template: msgspec.Raw = EMPTY


class DeploymentStatus(_Struct, frozen=True, kw_only=True):
    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    unavailable_replicas: int = 0
    collision_count: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(_Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: DeploymentSpec = DeploymentSpec()
    status: DeploymentStatus = DeploymentStatus()


class JobSpec(_Struct, frozen=True, kw_only=True):
    parallelism: int | None = None
    completions: int | None = None
    backoff_limit: int = 6
    active_deadline_seconds: int | None = None
    ttl_seconds_after_finished: int | None = None
    suspend: bool = False
    selector: LabelSelector = LabelSelector()
    template: msgspec.Raw = EMPTY


class JobStatus(_Struct, frozen=True, kw_only=True):
    active: int = 0
    ready: int = 0
    terminating: int = 0
    succeeded: int = 0
    failed: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    uncounted_terminated_pods: dict[str, Any] | None = None  # {} once a pod has been looked at: here none waits
    conditions: tuple[Condition, ...] = ()


class Job(_Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class NodeSpec(_Struct, frozen=True, kw_only=True):
    unschedulable: bool = False


class NodeStatus(_Struct, frozen=True, kw_only=True):
    allocatable: dict[str, int | str] = {}
    conditions: tuple[Condition, ...] = ()


class Node(_Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: NodeSpec = NodeSpec()
    status: NodeStatus = NodeStatus()

    @property
    def is_ready(self) -> bool:
        return any(condition.type == "Ready" and condition.status == "True" for condition in self.status.conditions)

    @property
    def pods_max(self) -> int:
        found = str(self.status.allocatable.get("pods", 0))
        return int(found) if found.isdecimal() else 0


def _kind(group: str, version: str, kind: str, plural: str, of: type[_S], *, namespaced: bool = True) -> Kind[_S]:
    return Kind(group, version, kind, plural, struct_decoder(of), namespaced)


PODS = _kind("", "v1", "Pod", "pods", Pod)
NODES = _kind("", "v1", "Node", "nodes", Node, namespaced=False)
REPLICA_SETS = _kind("apps", "v1", "ReplicaSet", "replicasets", ReplicaSet)
DEPLOYMENTS = _kind("apps", "v1", "Deployment", "deployments", Deployment)
JOBS = _kind("batch", "v1", "Job", "jobs", Job)


def template_of(raw: msgspec.Raw) -> dict[str, Any]:
    """Return a pod template as plain JSON data, fresh at every call."""
    decoded: dict[str, Any] = msgspec.json.decode(raw)
    return decoded


def set_condition(
    conditions: tuple[Condition, ...],
    new: Condition,
    now: datetime,
    *,
    has_update_time: bool = False,
    has_probe_time: bool = False,
) -> tuple[Condition, ...]:
    """Return the conditions with `new` in them; its transition time moves only with its status.

    Unchanged status, reason and message: nothing changes.
    """
    now = now.replace(microsecond=0)
    old = next((condition for condition in conditions if condition.type == new.type), None)
    if old is not None and (old.status, old.reason, old.message) == (new.status, new.reason, new.message):
        return conditions
    moved = old is None or old.status != new.status
    stamped = msgspec.structs.replace(
        new,
        last_transition_time=now if moved or old is None else old.last_transition_time,
        last_update_time=now if has_update_time else None,
        last_probe_time=now if has_probe_time else None,
    )
    if old is None:
        return (*conditions, stamped)
    return tuple(stamped if condition.type == new.type else condition for condition in conditions)


def without_condition(conditions: tuple[Condition, ...], type_: str) -> tuple[Condition, ...]:
    """Return the conditions but that one."""
    return tuple(condition for condition in conditions if condition.type != type_)


def to_json(value: Any) -> Any:
    """Return a value of this module as JSON data, with instants as the API writes them."""
    return msgspec.json.decode(msgspec.json.encode(value))


def status_diff(old: msgspec.Struct, new: msgspec.Struct, *, always: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the merge patch body that turns the old status into the new one; empty when nothing changed.

    Args:
        old: the status as last seen.
        new: the status to be stored.
        always: counters that the API shows also when they are 0.
    """
    before, after = to_json(old), to_json(new)
    for name in always:
        after.setdefault(name, 0)
        if before:  # a status was stored before, so the counter stands there too
            before.setdefault(name, 0)
    patch = diff(before, after)
    return {"status": patch} if patch else {}


def pod_from_template(template: dict[str, Any], *, name: str, kind: Kind[Any], owner: ObjectMeta) -> dict[str, Any]:
    """Return the pod that a template describes, named and controlled by its owner."""
    found = template.get("metadata") or {}
    metadata: dict[str, Any] = {"name": name, "generateName": owner.name + "-"}
    for key in ("labels", "annotations", "finalizers"):
        if found.get(key):
            metadata[key] = found[key]
    reference = controller_reference(api_version=kind.api_version, kind=kind.kind, metadata=owner)
    metadata["ownerReferences"] = [reference]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec") or {}}

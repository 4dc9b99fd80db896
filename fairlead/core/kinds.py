"""The kinds that more than one package reads, as slim values: only the fields that somebody decides on.

Embedded specs that are decided on by one package only stay raw JSON here, and become types in that package.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from fairlead.core.objects import HasMetadata, Kind, Manifest, ObjectMeta, decode_manifest, struct_decoder

_S = TypeVar("_S", bound=HasMetadata)
EMPTY = msgspec.Raw(b"{}")


class _Struct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """Settings of every value that crosses the wire."""


class _Kept(_Struct, frozen=True, kw_only=True):
    """A value that is kept for long: its raw parts let go of the page or the line that they came with."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, msgspec.Raw):
                msgspec.structs.force_setattr(self, name, value.copy())


class Rollout(_Kept, frozen=True, kw_only=True):
    """A Rollout whose spec and status are parsed by `fairlead.rollouts`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = EMPTY
    status: msgspec.Raw = EMPTY


class _RunPhase(_Struct, frozen=True, kw_only=True):
    phase: str = ""
    message: str = ""


_run_phase = msgspec.json.Decoder(_RunPhase)


class AnalysisRun(_Kept, frozen=True, kw_only=True):
    """An AnalysisRun whose spec and status are parsed by `fairlead.analysis`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = EMPTY
    status: msgspec.Raw = EMPTY

    @property
    def phase(self) -> str:
        return self._summary.phase

    @property
    def message(self) -> str:
        return self._summary.message

    @property
    def is_completed(self) -> bool:
        return self.phase in ("Successful", "Failed", "Error", "Inconclusive")

    @property
    def _summary(self) -> _RunPhase:
        try:
            return _run_phase.decode(self.status)
        except msgspec.MsgspecError:  # a stranger wrote the status: nothing is known of the phase
            return _RunPhase()


class AnalysisTemplate(_Kept, frozen=True, kw_only=True):
    """An AnalysisTemplate or a ClusterAnalysisTemplate; parsed by `fairlead.analysis`."""

    metadata: ObjectMeta = ObjectMeta()
    spec: msgspec.Raw = EMPTY


class LabelSelector(_Struct, frozen=True, kw_only=True):
    match_labels: dict[str, str] = {}
    match_expressions: tuple[dict[str, Any], ...] = ()


class ReplicaSetSpec(_Kept, frozen=True, kw_only=True):
    replicas: int = 1  # the API server's default
    min_ready_seconds: int = 0
    selector: LabelSelector = LabelSelector()
    template: msgspec.Raw = EMPTY


class KindCondition(_Struct, frozen=True, kw_only=True):
    """A condition of a built-in kind; unlike `core.conditions` nothing is required."""

    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    observed_generation: int = 0


class ReplicaSetStatus(_Struct, frozen=True, kw_only=True):
    replicas: int = 0
    ready_replicas: int = 0
    available_replicas: int = 0
    observed_generation: int = 0
    conditions: tuple[KindCondition, ...] = ()


class ReplicaSet(_Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()
    status: ReplicaSetStatus = ReplicaSetStatus()


class Deployment(_Struct, frozen=True, kw_only=True):
    """A Deployment as a Rollout that takes its template from one sees it."""

    metadata: ObjectMeta = ObjectMeta()
    spec: ReplicaSetSpec = ReplicaSetSpec()


class PodTemplate(_Struct, frozen=True, kw_only=True):
    """A pod template that is an object by itself."""

    metadata: ObjectMeta = ObjectMeta()
    template: msgspec.Raw = EMPTY


class PodStatus(_Struct, frozen=True, kw_only=True):
    phase: str = ""
    pod_ip: str = msgspec.field(name="podIP", default="")
    reason: str = ""
    message: str = ""
    conditions: tuple[KindCondition, ...] = ()


class Pod(_Struct, frozen=True, kw_only=True):
    """A pod as people look at it; the kubelet of `fairlead.testing` reads more."""

    metadata: ObjectMeta = ObjectMeta()
    status: PodStatus = PodStatus()

    @property
    def is_ready(self) -> bool:
        return any(condition.type == "Ready" and condition.status == "True" for condition in self.status.conditions)


class ServicePort(_Struct, frozen=True, kw_only=True):
    name: str = ""
    port: int = 0
    protocol: str = "TCP"
    app_protocol: str = ""
    target_port: int | str = 0


class ServiceSpec(_Struct, frozen=True, kw_only=True):
    type: str = "ClusterIP"
    cluster_ip: str = msgspec.field(name="clusterIP", default="")
    external_name: str = ""
    selector: dict[str, str] = {}
    ports: tuple[ServicePort, ...] = ()
    publish_not_ready_addresses: bool = False


class ServiceStatus(_Struct, frozen=True, kw_only=True):
    conditions: tuple[KindCondition, ...] = ()


class Service(_Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: ServiceSpec = ServiceSpec()
    status: ServiceStatus = ServiceStatus()


class EndpointConditions(_Struct, frozen=True, kw_only=True):
    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class TargetRef(_Struct, frozen=True, kw_only=True):
    kind: str = ""
    name: str = ""


class Endpoint(_Struct, frozen=True, kw_only=True):
    addresses: tuple[str, ...] = ()
    conditions: EndpointConditions = EndpointConditions()
    target_ref: TargetRef | None = None


class EndpointPort(_Struct, frozen=True, kw_only=True):
    name: str = ""
    port: int | None = None


class EndpointSlice(_Struct, frozen=True, kw_only=True):
    """Where the pods of a Service are; its annotations and owners, which nobody reads, are not kept."""

    metadata: ObjectMeta = ObjectMeta()
    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[EndpointPort, ...] = ()

    def __post_init__(self) -> None:
        slim = msgspec.structs.replace(self.metadata, annotations={}, owner_references=(), creation_timestamp=None)
        msgspec.structs.force_setattr(self, "metadata", slim)


class JobStatus(_Struct, frozen=True, kw_only=True):
    active: int = 0
    succeeded: int = 0
    failed: int = 0
    conditions: tuple[KindCondition, ...] = ()


class Job(_Struct, frozen=True, kw_only=True):
    metadata: ObjectMeta = ObjectMeta()
    status: JobStatus = JobStatus()


class Secret(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A Secret; its repr and its str show the keys only."""

    metadata: ObjectMeta = ObjectMeta()
    data: dict[str, str] = {}  # base64, as on the wire
    type: str = ""

    def __repr__(self) -> str:
        return f"Secret({self.metadata.key}, keys={sorted(self.data)})"


def _kind(group: str, version: str, kind: str, plural: str, of: type[_S], *, namespaced: bool = True) -> Kind[_S]:
    return Kind(group, version, kind, plural, struct_decoder(of), namespaced)


ROLLOUTS = _kind("argoproj.io", "v1alpha1", "Rollout", "rollouts", Rollout)
ANALYSIS_RUNS = _kind("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns", AnalysisRun)
ANALYSIS_TEMPLATES = _kind("argoproj.io", "v1alpha1", "AnalysisTemplate", "analysistemplates", AnalysisTemplate)
CLUSTER_ANALYSIS_TEMPLATES = _kind(
    "argoproj.io",
    "v1alpha1",
    "ClusterAnalysisTemplate",
    "clusteranalysistemplates",
    AnalysisTemplate,
    namespaced=False,
)
REPLICA_SETS = _kind("apps", "v1", "ReplicaSet", "replicasets", ReplicaSet)
DEPLOYMENTS = _kind("apps", "v1", "Deployment", "deployments", Deployment)
POD_TEMPLATES = _kind("", "v1", "PodTemplate", "podtemplates", PodTemplate)
PODS = _kind("", "v1", "Pod", "pods", Pod)
SERVICES = _kind("", "v1", "Service", "services", Service)
SECRETS = _kind("", "v1", "Secret", "secrets", Secret)
ENDPOINT_SLICES = _kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", EndpointSlice)
JOBS = _kind("batch", "v1", "Job", "jobs", Job)


def carried(group: str, version: str, kind: str, plural: str, *, namespaced: bool = True) -> Kind[Manifest]:
    """Return a Kind whose objects we merely carry, as plain JSON data."""
    return Kind(group, version, kind, plural, decode_manifest, namespaced)


def _decode_route(raw: bytes) -> Manifest:
    """Return a route as a Manifest that says of each field manager only whether it owns rules.

    Which fields it owns in particular is most of what a route would take in memory.
    """
    found = decode_manifest(raw)
    content = found.content
    metadata = content.get("metadata")
    entries = metadata.get("managedFields") if isinstance(metadata, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        fields = entry.get("fieldsV1") if isinstance(entry, dict) else None
        if isinstance(fields, dict):
            spec = fields.get("f:spec")
            entry["fieldsV1"] = {"f:spec": {"f:rules": {}}} if isinstance(spec, dict) and "f:rules" in spec else {}
    return Manifest(metadata=found.metadata, raw=msgspec.json.encode(content))


def _route(kind: str, plural: str) -> Kind[Manifest]:
    return Kind("gateway.networking.k8s.io", "v1", kind, plural, _decode_route)


HTTP_ROUTES = _route("HTTPRoute", "httproutes")
GRPC_ROUTES = _route("GRPCRoute", "grpcroutes")
GATEWAYS = carried("gateway.networking.k8s.io", "v1", "Gateway", "gateways")
NAMESPACES = carried("", "v1", "Namespace", "namespaces", namespaced=False)
EVENTS = carried("", "v1", "Event", "events")
LEASES = carried("coordination.k8s.io", "v1", "Lease", "leases")
CRDS = carried("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)

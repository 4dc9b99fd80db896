"""Which kinds are served, and what is peculiar to each: subresources, selectable fields, generation, columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from fairlead.testing import shapes
from fairlead.testing.names import NameRule
from fairlead.testing.shapes import Shape

SCALE_STATUS = ".status.replicas"
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of `kubectl get`; `priority` above 0 shows only with `-o wide`."""

    name: str
    type: str = "string"
    path: str = ""  # JSONPath for custom kinds; empty for computed columns
    format: str = ""
    description: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalePaths:
    """Where the scale subresource finds its numbers, as dotted paths."""

    spec_replicas: str = ".spec.replicas"
    status_replicas: str = ".status.replicas"
    selector: str = ""  # a string in status, of custom kinds; empty: built from spec.selector


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One version of a kind. `schema` is None for built-in kinds."""

    name: str
    schema: Mapping[str, Any] | None = None
    columns: tuple[Column, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Resource:
    """A kind as the API server serves it.

    Attributes:
        versions: served versions, the preferred one first.
        storage_version: the apiVersion's version that objects are kept in.
        generation: whether metadata.generation counts changes of the wish.
        wish: top-level fields whose change bumps the generation; empty: all but metadata (and status, if separate).
        field_labels: fields that a field selector may name, beside metadata.name and metadata.namespace.
    """

    group: str
    kind: str
    plural: str
    versions: tuple[Served, ...]
    singular: str = ""
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    scale: ScalePaths | None = None
    generation: bool = False
    wish: tuple[str, ...] = ()
    field_labels: tuple[str, ...] = ()
    name_rule: NameRule = NameRule.SUBDOMAIN
    shape: Shape = field(default=shapes.DEFAULT, repr=False)
    custom: bool = False
    subresources: tuple[str, ...] = ()
    storage_version: str = ""

    def __str__(self) -> str:
        return self.collection

    @property
    def collection(self) -> str:
        """The name of its store: `plural.group`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def list_kind(self) -> str:
        return f"{self.kind}List"

    def version(self, name: str) -> Served | None:
        return next((served for served in self.versions if served.name == name), None)

    def api_version(self, version: str = "") -> str:
        """Return `group/version`, of the storage version by default."""
        version = version or self.storage_version or self.versions[0].name
        return f"{self.group}/{version}" if self.group else version


class Registry:
    """All kinds that are served now, by group and plural."""

    def __init__(self) -> None:
        self._resources: dict[tuple[str, str], Resource] = {}
        self.changes = 0  # counts up whenever what is served may have changed
        for resource in built_in():
            self.add(resource)

    def add(self, resource: Resource) -> None:
        self._resources[(resource.group, resource.plural)] = resource
        self.changes += 1

    def remove(self, group: str, plural: str) -> None:
        self._resources.pop((group, plural), None)
        self.changes += 1

    def find(self, group: str, plural: str) -> Resource | None:
        return self._resources.get((group, plural))

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """Return the resource of an object by its apiVersion and kind."""
        group, _, version = api_version.rpartition("/")
        return next((r for r in self if (r.group, r.kind) == (group, kind) and r.version(version) is not None), None)

    def __iter__(self) -> Iterator[Resource]:
        return iter(tuple(self._resources.values()))


def _columns(*texts: str) -> tuple[Column, ...]:
    """Columns in short: `Name`, `Ready:integer`, a trailing `+` for those of the wide output only."""
    columns = []
    for text in texts:
        name, _, type_ = text.rstrip("+").partition(":")
        columns.append(
            Column(
                name=name,
                type=type_ or "string",
                format="name" if name == "Name" else "",
                priority=int(text.endswith("+")),
            )
        )
    return tuple(columns)


_AGE = ("Name", "Age")


def _make(group: str, version: str, kind: str, plural: str, columns: tuple[str, ...] = _AGE, **more: Any) -> Resource:
    return Resource(
        group=group,
        kind=kind,
        plural=plural,
        versions=(Served(name=version, columns=_columns(*columns)),),
        singular=more.pop("singular", kind.lower()),
        shape=shapes.built_in(kind),
        **more,
    )


_WIDE = ("Containers+", "Images+", "Selector+")


def built_in() -> tuple[Resource, ...]:
    """Return the built-in kinds; custom ones (Gateway API too) come from CustomResourceDefinitions."""
    rbac = "rbac.authorization.k8s.io"
    admission = "admissionregistration.k8s.io"
    spec = ("spec",)
    return (
        _make(
            "",
            "v1",
            "Pod",
            "pods",
            ("Name", "Ready", "Status", "Restarts", "Age", "IP+", "Node+", "Nominated Node+", "Readiness Gates+"),
            short_names=("po",),
            categories=("all",),
            status=True,
            generation=True,
            wish=spec,
            subresources=("eviction", "binding", "ephemeralcontainers", "resize"),
            field_labels=(
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
                "status.phase",
                "status.podIP",
                "status.nominatedNodeName",
            ),
        ),
        _make("", "v1", "PodTemplate", "podtemplates", ("Name", "Containers", "Images", "Pod Labels")),
        _make(
            "",
            "v1",
            "Service",
            "services",
            ("Name", "Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector+"),
            short_names=("svc",),
            categories=("all",),
            status=True,
            name_rule=NameRule.LABEL,
            field_labels=("spec.clusterIP", "spec.type"),
        ),
        _make(
            "", "v1", "Endpoints", "endpoints", ("Name", "Endpoints", "Age"), short_names=("ep",), singular="endpoints"
        ),
        _make("", "v1", "Secret", "secrets", ("Name", "Type", "Data", "Age"), field_labels=("type",)),
        _make("", "v1", "ConfigMap", "configmaps", ("Name", "Data", "Age"), short_names=("cm",)),
        _make(
            "",
            "v1",
            "Event",
            "events",
            (
                "Last Seen",
                "Type",
                "Reason",
                "Object",
                "Subobject+",
                "Source+",
                "Message",
                "First Seen+",
                "Count+",
                "Name+",
            ),
            short_names=("ev",),
            name_rule=NameRule.SUBDOMAIN,
            field_labels=(
                *(
                    f"involvedObject.{name}"
                    for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
                ),
                "reason",
                "reportingComponent",
                "source",
                "type",
            ),
        ),
        _make(
            "",
            "v1",
            "Namespace",
            "namespaces",
            ("Name", "Status", "Age"),
            short_names=("ns",),
            namespaced=False,
            status=True,
            name_rule=NameRule.LABEL,
            subresources=("finalize",),
            field_labels=("status.phase", "name"),
        ),
        _make(
            "",
            "v1",
            "Node",
            "nodes",
            ("Name", "Status", "Roles", "Age", "Version"),
            short_names=("no",),
            namespaced=False,
            status=True,
            field_labels=("spec.unschedulable",),
        ),
        _make(
            "",
            "v1",
            "ServiceAccount",
            "serviceaccounts",
            ("Name", "Secrets:integer", "Age"),
            short_names=("sa",),
        ),
        _make(
            "apps",
            "v1",
            "ReplicaSet",
            "replicasets",
            ("Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", *_WIDE),
            short_names=("rs",),
            categories=("all",),
            status=True,
            scale=ScalePaths(),
            generation=True,
            wish=spec,
            field_labels=("status.replicas",),
        ),
        _make(
            "apps",
            "v1",
            "Deployment",
            "deployments",
            ("Name", "Ready", "Up-to-date", "Available", "Age", *_WIDE),
            short_names=("deploy",),
            categories=("all",),
            status=True,
            scale=ScalePaths(),
            generation=True,
            wish=spec,
        ),
        _make(
            "apps",
            "v1",
            "StatefulSet",
            "statefulsets",
            ("Name", "Ready", "Age", "Containers+", "Images+"),
            short_names=("sts",),
            categories=("all",),
            status=True,
            scale=ScalePaths(),
            generation=True,
            wish=spec,
        ),
        _make(
            "apps",
            "v1",
            "DaemonSet",
            "daemonsets",
            ("Name", "Desired:integer", "Current:integer", "Ready:integer", "Age", *_WIDE),
            short_names=("ds",),
            categories=("all",),
            status=True,
            generation=True,
            wish=spec,
        ),
        _make("apps", "v1", "ControllerRevision", "controllerrevisions", ("Name", "Controller", "Revision", "Age")),
        _make(
            "batch",
            "v1",
            "Job",
            "jobs",
            ("Name", "Status", "Completions", "Duration", "Age", *_WIDE),
            categories=("all",),
            status=True,
            generation=True,
            wish=spec,
            field_labels=("status.successful",),
        ),
        _make(
            "batch", "v1", "CronJob", "cronjobs", short_names=("cj",), categories=("all",), status=True, generation=True
        ),
        _make(
            "discovery.k8s.io",
            "v1",
            "EndpointSlice",
            "endpointslices",
            ("Name", "AddressType", "Ports", "Endpoints", "Age"),
            generation=True,
        ),
        _make(
            "policy",
            "v1",
            "PodDisruptionBudget",
            "poddisruptionbudgets",
            ("Name", "Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"),
            short_names=("pdb",),
            status=True,
            generation=True,
            wish=spec,
        ),
        _make("coordination.k8s.io", "v1", "Lease", "leases", ("Name", "Holder", "Age")),
        _make(
            "autoscaling",
            "v2",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            ("Name", "Reference", "MinPods", "MaxPods", "Replicas", "Age"),
            short_names=("hpa",),
            categories=("all",),
            status=True,
        ),
        _make("events.k8s.io", "v1", "Event", "events", ("Type", "Reason", "Name", "Age"), short_names=("ev",)),
        _make(
            "networking.k8s.io",
            "v1",
            "Ingress",
            "ingresses",
            short_names=("ing",),
            status=True,
            generation=True,
            wish=spec,
        ),
        _make("networking.k8s.io", "v1", "IngressClass", "ingressclasses", namespaced=False, generation=True),
        _make("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies", short_names=("netpol",), generation=True),
        _make(rbac, "v1", "Role", "roles", name_rule=NameRule.PATH),
        _make(rbac, "v1", "RoleBinding", "rolebindings", name_rule=NameRule.PATH),
        _make(rbac, "v1", "ClusterRole", "clusterroles", namespaced=False, name_rule=NameRule.PATH),
        _make(rbac, "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False, name_rule=NameRule.PATH),
        _make(
            admission,
            "v1",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            namespaced=False,
            generation=True,
        ),
        _make(
            admission,
            "v1",
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            namespaced=False,
            generation=True,
        ),
        _make(
            admission,
            "v1",
            "ValidatingAdmissionPolicy",
            "validatingadmissionpolicies",
            namespaced=False,
            status=True,
            generation=True,
        ),
        _make(
            admission,
            "v1",
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            namespaced=False,
            generation=True,
        ),
        _make("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", short_names=("pc",), namespaced=False),
        _make(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            ("Name", "Created At"),
            short_names=("crd", "crds"),
            categories=("api-extensions",),
            namespaced=False,
            status=True,
            generation=True,
            wish=spec,
        ),
    )

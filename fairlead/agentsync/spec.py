"""What the user asked for: an Application of `argoproj.io/v1alpha1`, as typed values.

Defaults are applied when a value is read, and not stored: an object stays as its user wrote it. The rules beyond types
are in `_validation`; what an `operation` asks for is in `operation`.

Source: `argo-cd: pkg/apis/application/v1alpha1/types.go`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

import msgspec

from fairlead.core.decoding import PRESERVED, Decoder, Int64, Wire, doc
from fairlead.core.durations import parse_go_duration
from fairlead.core.errors import SpecError

DEFAULT_PROJECT = "default"
HISTORY_LIMIT = 10
AUTO_RETRY_LIMIT = 5  # of automatic syncs without a `retry` block
RETRY_DURATION = timedelta(seconds=5)
RETRY_FACTOR = 2
RETRY_DURATION_MAX = timedelta(minutes=3)

_OPAQUE = ("valuesObject",)  # values of a chart: `null` removes a default there


class NameValue(Wire, frozen=True, kw_only=True):
    """A name with its value."""

    name: str = ""
    value: str = ""


# -- tools -------------------------------------------------------------------------------------------------------------


class JsonnetVar(Wire, frozen=True, kw_only=True):
    """A variable; with `code` its value is evaluated."""

    name: str = ""
    value: str = ""
    code: bool = False


class Jsonnet(Wire, frozen=True, kw_only=True):
    """How Jsonnet would be evaluated."""

    ext_vars: Annotated[tuple[JsonnetVar, ...], doc("External variables.")] = ()
    tlas: Annotated[tuple[JsonnetVar, ...], doc("Top-level arguments.")] = ()
    libs: Annotated[tuple[str, ...], doc("Library paths from the root of the repository.")] = ()


class DirectorySource(Wire, frozen=True, kw_only=True):
    """Plain manifests in a folder."""

    recurse: Annotated[bool, doc("Whether folders below are read too.")] = False
    include: Annotated[str, doc("Glob of the files that count; all if empty.")] = ""
    exclude: Annotated[str, doc("Glob of the files that do not; tested first.")] = ""
    disable_extension_filter: Annotated[bool, doc("Whether files of any name are read.")] = False
    jsonnet: Annotated[Jsonnet | None, doc("How Jsonnet is evaluated.")] = None


class KustomizeReplica(Wire, frozen=True, kw_only=True):
    """Replicas of one workload."""

    name: Annotated[str, doc("Name of the Deployment or StatefulSet.")]
    count: Annotated[int | str, doc("Its replicas.")]


class KustomizeSelector(Wire, frozen=True, kw_only=True):
    """What a patch applies to."""

    group: str = ""
    version: str = ""
    kind: str = ""
    name: str = ""
    namespace: str = ""
    annotation_selector: str = ""
    label_selector: str = ""


class KustomizePatch(Wire, frozen=True, kw_only=True):
    """A patch, in a file or as text."""

    path: Annotated[str, doc("File of the patch.")] = ""
    patch: Annotated[str, doc("The patch itself.")] = ""
    target: Annotated[KustomizeSelector | None, doc("What is patched.")] = None
    options: Annotated[dict[str, bool], doc("Options such as allowNameChange.")] = msgspec.field(default_factory=dict)


class KustomizeSource(Wire, frozen=True, kw_only=True):
    """Edits made before `kustomize build`."""

    version: Annotated[str, doc("A registered version of the program.")] = ""
    name_prefix: Annotated[str, doc("Prefix of all names.")] = ""
    name_suffix: Annotated[str, doc("Suffix of all names.")] = ""
    namespace: Annotated[str, doc("Namespace of all objects.")] = ""
    images: Annotated[tuple[str, ...], doc("[old=]new[:tag|@digest]")] = ()
    replicas: Annotated[tuple[KustomizeReplica, ...], doc("Replicas by name.")] = ()
    patches: Annotated[tuple[KustomizePatch, ...], doc("Patches that are appended.")] = ()
    components: Annotated[tuple[str, ...], doc("Components that are added.")] = ()
    ignore_missing_components: Annotated[bool, doc("Whether absent components are skipped.")] = False
    common_labels: Annotated[dict[str, str], doc("Labels of all objects.")] = msgspec.field(default_factory=dict)
    common_annotations: Annotated[dict[str, str], doc("Annotations of all objects.")] = msgspec.field(
        default_factory=dict
    )
    common_annotations_envsubst: Annotated[bool, doc("Whether $VAR is replaced in them.")] = False
    force_common_labels: Annotated[bool, doc("Whether present labels are overwritten.")] = False
    force_common_annotations: Annotated[bool, doc("Whether present annotations are overwritten.")] = False
    label_without_selector: Annotated[bool, doc("Whether selectors are left alone.")] = False
    label_include_templates: Annotated[bool, doc("Whether templates get the labels too.")] = False
    kube_version: Annotated[str, doc("Version of Kubernetes for inflated charts.")] = ""
    api_versions: Annotated[tuple[str, ...], doc("API versions for inflated charts.")] = ()


class HelmParameter(Wire, frozen=True, kw_only=True):
    """One `--set`, or `--set-string`."""

    name: str = ""
    value: str = ""
    force_string: bool = False


class HelmFileParameter(Wire, frozen=True, kw_only=True):
    """One `--set-file`."""

    name: str = ""
    path: str = ""


class HelmSource(Wire, frozen=True, kw_only=True):
    """Arguments of `helm template`."""

    release_name: Annotated[str, doc("Name of the release; that of the Application if empty.")] = ""
    namespace: Annotated[str, doc("Namespace of the release; destination.namespace if empty.")] = ""
    version: Annotated[str, doc("v3.")] = ""
    value_files: Annotated[tuple[str, ...], doc("Files of values, in order; $ref/… is in another source.")] = ()
    ignore_missing_value_files: Annotated[bool, doc("Whether absent files are skipped.")] = False
    values: Annotated[str, doc("Values as YAML.")] = ""
    values_object: Annotated[
        dict[str, Any] | None, msgspec.Meta(description="Values; wins over `values`.", extra_json_schema=PRESERVED)
    ] = None
    parameters: Annotated[tuple[HelmParameter, ...], doc("Single values.")] = ()
    file_parameters: Annotated[tuple[HelmFileParameter, ...], doc("Single values from files.")] = ()
    pass_credentials: Annotated[bool, doc("Whether other hosts get the credentials too.")] = False
    skip_crds: Annotated[bool, doc("Whether the chart's CRDs are left out.")] = False
    skip_schema_validation: Annotated[bool, doc("Whether values are not checked by the chart's schema.")] = False
    skip_tests: Annotated[bool, doc("Whether the chart's tests are left out.")] = False
    kube_version: Annotated[str, doc("Version of Kubernetes; the destination's if empty.")] = ""
    api_versions: Annotated[tuple[str, ...], doc("API versions; the destination's if empty.")] = ()


class PluginParameter(Wire, frozen=True, kw_only=True):
    """A parameter: one of a text, a list and a mapping."""

    name: str = ""
    string: str | None = None
    array: tuple[str, ...] | None = None
    map: dict[str, str] | None = None


class PluginSource(Wire, frozen=True, kw_only=True):
    """A config management plug-in."""

    name: str = ""
    env: tuple[NameValue, ...] = ()
    parameters: tuple[PluginParameter, ...] = ()


# -- the Application ---------------------------------------------------------------------------------------------------


class Source(Wire, frozen=True, kw_only=True):
    """Where manifests come from, and how they are rendered."""

    repo_url: Annotated[str, doc("URL of the Git, Helm or OCI repository.")] = msgspec.field(
        name="repoURL", default_factory=str
    )  # always written: the schema requires it
    path: Annotated[str, doc("Folder in the repository.")] = ""
    chart: Annotated[str, doc("Name of the chart in a Helm repository.")] = ""
    target_revision: Annotated[str, doc("Branch, tag, commit or version constraint; HEAD if empty.")] = ""
    tag_prefix: Annotated[str, doc("Only tags with this prefix count.")] = ""
    ref: Annotated[str, doc("Name by which value files of other sources reach this one.")] = ""
    name: Annotated[str, doc("Label of this source, for people.")] = ""
    directory: Annotated[DirectorySource | None, doc("Plain manifests.")] = None
    kustomize: Annotated[KustomizeSource | None, doc("Kustomize.")] = None
    helm: Annotated[HelmSource | None, doc("Helm.")] = None
    plugin: Annotated[PluginSource | None, doc("A config management plug-in; refused.")] = None

    @property
    def is_reference_only(self) -> bool:
        """Whether it lends files to other sources and yields no manifests itself."""
        return bool(self.ref) and not self.path and not self.chart


class Destination(Wire, frozen=True, kw_only=True):
    """Which cluster, by URL or by name, and which namespace."""

    server: Annotated[str, doc("URL of the API server.")] = ""
    name: Annotated[str, doc("Name of the cluster, instead of its URL.")] = ""
    namespace: Annotated[str, doc("Namespace of namespaced objects that name none.")] = ""


class Backoff(Wire, frozen=True, kw_only=True):
    """Delays between attempts; a bare number is seconds."""

    duration: Annotated[str, doc("The first delay; 5s if empty.")] = ""
    factor: Annotated[Int64 | None, doc("What each next delay is multiplied by; 2 if absent.")] = None
    max_duration: Annotated[str, doc("The longest delay; 3m if empty.")] = ""


class RetryStrategy(Wire, frozen=True, kw_only=True):
    """What happens after a failed sync."""

    limit: Annotated[Int64, doc("Attempts after the first; negative: endless.")] = 0
    backoff: Annotated[Backoff | None, doc("Delays between them.")] = None
    refresh: Annotated[bool, doc("Whether each attempt takes the newest revision.")] = False

    @property
    def duration(self) -> timedelta:
        """The first delay. Raises SpecError."""
        given = self.backoff.duration if self.backoff is not None else ""
        return _span(given, "spec.syncPolicy.retry.backoff.duration") or RETRY_DURATION

    @property
    def factor(self) -> int:
        """What each next delay is multiplied by."""
        given = self.backoff.factor if self.backoff is not None else None
        return RETRY_FACTOR if given is None or given < 1 else given

    @property
    def duration_max(self) -> timedelta:
        """The longest delay. Raises SpecError."""
        given = self.backoff.max_duration if self.backoff is not None else ""
        return _span(given, "spec.syncPolicy.retry.backoff.maxDuration") or RETRY_DURATION_MAX


def _span(text: str, path: str) -> timedelta | None:
    """Return a Go duration, or a bare number of seconds; None: nothing was given."""
    if not text:
        return None
    try:
        return parse_go_duration(f"{text}s" if text.isdecimal() and text.isascii() else text)
    except (ValueError, OverflowError) as error:
        raise SpecError(str(error), path=path) from None


class Automated(Wire, frozen=True, kw_only=True):
    """Its presence switches automatic sync on, unless `enabled` is false."""

    enabled: Annotated[bool | None, doc("false: keep the block, but switch it off.")] = None
    prune: Annotated[bool, doc("Whether objects that left the source are deleted.")] = False
    self_heal: Annotated[bool, doc("Whether drift of live objects is mended at an unchanged revision.")] = False
    allow_empty: Annotated[bool, doc("Whether a sync may prune everything.")] = False

    @property
    def is_on(self) -> bool:
        return self.enabled is not False


class NamespaceMetadata(Wire, frozen=True, kw_only=True):
    """Labels and annotations of the destination namespace, with CreateNamespace=true."""

    labels: dict[str, str] = msgspec.field(default_factory=dict)
    annotations: dict[str, str] = msgspec.field(default_factory=dict)


class SyncPolicy(Wire, frozen=True, kw_only=True):
    """When and how the source is applied. Absent: when somebody asks."""

    automated: Annotated[Automated | None, doc("Sync by itself.")] = None
    sync_options: Annotated[tuple[str, ...], doc("Options such as CreateNamespace=true.")] = ()
    retry: Annotated[RetryStrategy | None, doc("What happens after a failed sync.")] = None
    managed_namespace_metadata: Annotated[
        NamespaceMetadata | None, doc("Labels and annotations of the namespace that is created.")
    ] = None


class IgnoreDifferences(Wire, frozen=True, kw_only=True):
    """Fields that do not count as a difference."""

    group: Annotated[str, doc("Group, a glob.")] = ""
    kind: Annotated[str, doc("Kind, a glob.")] = ""
    name: Annotated[str, doc("Name; any if empty.")] = ""
    namespace: Annotated[str, doc("Namespace; any if empty.")] = ""
    json_pointers: Annotated[tuple[str, ...], doc("JSON pointers (RFC 6901).")] = ()
    jq_path_expressions: Annotated[tuple[str, ...], doc("Paths in the language of jq.")] = ()
    managed_fields_managers: Annotated[tuple[str, ...], doc("Fields that these managers own.")] = ()


class ApplicationSpec(Wire, frozen=True, kw_only=True):
    """What is synced from where to where."""

    project: Annotated[str, doc("Name of the AppProject; default if empty.")] = ""
    source: Annotated[Source | None, doc("The source; does not count beside `sources`.")] = None
    sources: Annotated[tuple[Source, ...], doc("Several sources.")] = ()
    source_hydrator: Annotated[
        dict[str, Any] | None,
        msgspec.Meta(description="Rendering into another branch; refused.", extra_json_schema=PRESERVED),
    ] = None
    destination: Annotated[Destination, doc("Where to.")] = Destination()
    sync_policy: Annotated[SyncPolicy | None, doc("When and how.")] = None
    ignore_differences: Annotated[tuple[IgnoreDifferences, ...], doc("What does not count as a difference.")] = ()
    info: Annotated[tuple[NameValue, ...], doc("For people.")] = ()
    revision_history_limit: Annotated[Int64 | None, doc("Entries kept in status.history; 10 if absent.")] = None

    @property
    def project_name(self) -> str:
        return self.project or DEFAULT_PROJECT

    @property
    def is_multi_source(self) -> bool:
        return bool(self.sources)

    @property
    def all_sources(self) -> tuple[Source, ...]:
        """The sources that count, in order."""
        return self.sources or ((self.source,) if self.source is not None else ())

    @property
    def automated(self) -> Automated | None:
        """How it syncs by itself; None: it does not."""
        automated = self.sync_policy.automated if self.sync_policy is not None else None
        return automated if automated is not None and automated.is_on else None

    @property
    def sync_options(self) -> tuple[str, ...]:
        return self.sync_policy.sync_options if self.sync_policy is not None else ()

    @property
    def namespace_metadata(self) -> NamespaceMetadata | None:
        return self.sync_policy.managed_namespace_metadata if self.sync_policy is not None else None

    @property
    def history_limit(self) -> int:
        return HISTORY_LIMIT if self.revision_history_limit is None else max(0, self.revision_history_limit)


_application = Decoder(ApplicationSpec, root="spec", opaque=_OPAQUE)


def decode_spec(raw: bytes | msgspec.Raw) -> ApplicationSpec:
    """Return the spec of an Application.

    Raises:
        SpecError: naming field path, found and expected.
    """
    return _application.decode(raw)

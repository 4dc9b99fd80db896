"""What the user asked for: ExternalSecrets and stores of `external-secrets.io`, as typed values.

`v1` and `v1beta1` are field-compatible and read as one type. Defaults are applied when a value is read, and not
stored: an object stays as its user wrote it. The rules beyond types are in `_validation`.

Source: `external-secrets: apis/externalsecrets/v1/externalsecret_types.go, secretstore_types.go`.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any

import msgspec

from fairlead.core.decoding import PRESERVED, Decoder, Int32, Wire, doc
from fairlead.core.durations import parse_go_duration, parse_go_seconds
from fairlead.core.errors import SpecError

_NAME = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
_NAMESPACE = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
_KEY = r"^[-._a-zA-Z0-9]+$"

Name = Annotated[str, msgspec.Meta(pattern=_NAME, min_length=1, max_length=253)]
Namespace = Annotated[str, msgspec.Meta(pattern=_NAMESPACE, min_length=1, max_length=63)]
DataKey = Annotated[str, msgspec.Meta(pattern=_KEY, min_length=1, max_length=253)]

REFRESH_INTERVAL = timedelta(hours=1)
REFRESH_INTERVAL_MIN = timedelta(seconds=1)


class RefreshPolicy(StrEnum):
    """When values are read again."""

    PERIODIC = "Periodic"
    CREATED_ONCE = "CreatedOnce"
    ON_CHANGE = "OnChange"


class CreationPolicy(StrEnum):
    """Whose the target Secret is, and what becomes of keys that are not ours."""

    OWNER = "Owner"
    ORPHAN = "Orphan"
    MERGE = "Merge"
    NONE = "None"
    CREATE_OR_MERGE = "CreateOrMerge"

    @property
    def keeps_foreign_keys(self) -> bool:
        return self in (CreationPolicy.MERGE, CreationPolicy.CREATE_OR_MERGE)


class DeletionPolicy(StrEnum):
    """What happens to the target when secrets vanish from the provider."""

    RETAIN = "Retain"
    DELETE = "Delete"
    MERGE = "Merge"


class MergePolicy(StrEnum):
    """Whether the provider's keys stay beside those of the template."""

    REPLACE = "Replace"
    MERGE = "Merge"


class MetadataPolicy(StrEnum):
    """Whether values are read, or what the provider knows about them."""

    NONE = "None"
    FETCH = "Fetch"


class ConversionStrategy(StrEnum):
    """How a provider's names become keys of a Secret."""

    DEFAULT = "Default"
    UNICODE = "Unicode"


class DecodingStrategy(StrEnum):
    """How values are decoded."""

    NONE = "None"
    AUTO = "Auto"
    BASE64 = "Base64"
    BASE64_URL = "Base64URL"


class NullBytePolicy(StrEnum):
    """Whether a value may hold a zero byte."""

    IGNORE = "Ignore"
    FAIL = "Fail"


class WindowKind(StrEnum):
    """Whether windows open or close the time for periodic refreshes."""

    ALLOW = "allow"
    DENY = "deny"


class TemplateScope(StrEnum):
    """Whether each value is a template, or the whole text is one."""

    VALUES = "Values"
    KEYS_AND_VALUES = "KeysAndValues"


class StoreKind(StrEnum):
    """The kinds that describe a store."""

    NAMESPACED = "SecretStore"
    CLUSTER = "ClusterSecretStore"


class PriorityPolicy(StrEnum):
    STRICT = "Strict"
    IGNORE_NOT_FOUND = "IgnoreNotFound"


class ConflictPolicy(StrEnum):
    ERROR = "Error"
    IGNORE = "Ignore"


class MergeStrategy(StrEnum):
    EXTRACT = "Extract"
    JSON = "JSON"


# -- where values come from ------------------------------------------------------------------------------------------


class StoreRef(Wire, frozen=True, kw_only=True):
    """Which store: a SecretStore is always that of the own namespace."""

    name: Annotated[Name | None, doc("Name of the store.")] = None
    kind: Annotated[StoreKind | None, doc("SecretStore (also if absent) or ClusterSecretStore.")] = None


class GeneratorRef(Wire, frozen=True, kw_only=True):
    api_version: Annotated[str, doc("Group and version of the generator.")] = ""
    kind: Annotated[str, doc("Kind of the generator.")]
    name: Annotated[Name, doc("Name of the generator.")]


class SourceRef(Wire, frozen=True, kw_only=True):
    """Exactly one of a store and a generator."""

    store_ref: Annotated[StoreRef | None, doc("Another store than that of the ExternalSecret.")] = None
    generator_ref: Annotated[GeneratorRef | None, doc("A generator instead of a store.")] = None


class DataSourceRef(Wire, frozen=True, kw_only=True):
    """Another store for one value; a generator is not possible here."""

    store_ref: Annotated[StoreRef | None, doc("Another store than that of the ExternalSecret.")] = None
    generator_ref: Annotated[GeneratorRef | None, doc("Not possible for a single value.")] = None


class RemoteRef(Wire, frozen=True, kw_only=True):
    """One secret at the provider."""

    key: Annotated[str, doc("Which secret, in the words of the provider.")]
    property: Annotated[str, doc("Which part of it; what that means depends on the provider.")] = ""
    version: Annotated[str, doc("Which version; the newest if empty.")] = ""
    metadata_policy: Annotated[MetadataPolicy | None, doc("Fetch: the secret's metadata instead of its value.")] = None
    conversion_strategy: Annotated[ConversionStrategy | None, doc("How names become keys of the Secret.")] = None
    decoding_strategy: Annotated[DecodingStrategy | None, doc("How values are decoded.")] = None
    null_byte_policy: Annotated[NullBytePolicy | None, doc("Whether values may hold a zero byte.")] = None


class FindName(Wire, frozen=True, kw_only=True):
    regexp: Annotated[str, doc("RE2, unanchored.")] = ""


class Find(Wire, frozen=True, kw_only=True):
    """Many secrets at once, by name or by tags."""

    path: Annotated[str | None, doc("Where to look.")] = None
    name: Annotated[FindName | None, doc("Which names.")] = None
    tags: Annotated[dict[str, str], doc("Tags that all must be there.")] = msgspec.field(default_factory=dict)
    conversion_strategy: Annotated[ConversionStrategy | None, doc("How names become keys of the Secret.")] = None
    decoding_strategy: Annotated[DecodingStrategy | None, doc("How values are decoded.")] = None
    null_byte_policy: Annotated[NullBytePolicy | None, doc("Whether values may hold a zero byte.")] = None


class RewriteRegexp(Wire, frozen=True, kw_only=True):
    source: Annotated[str, doc("RE2; every match in a key is replaced.")]
    target: Annotated[str, doc("Replacement; $1 and ${1} are groups.")]


class RewriteTransform(Wire, frozen=True, kw_only=True):
    template: Annotated[str, doc("Template of the new key; .value is the old one.")]


class RewriteMerge(Wire, frozen=True, kw_only=True):
    into: Annotated[str, doc("Key that the JSON strategy puts everything into.")] = ""
    priority: Annotated[tuple[str, ...], doc("Keys in rising order: later ones win.")] = ()
    priority_policy: Annotated[PriorityPolicy | None, doc("What a missing priority means; Strict if absent.")] = None
    conflict_policy: Annotated[ConflictPolicy | None, doc("What two values of one key mean; Error if absent.")] = None
    strategy: Annotated[MergeStrategy | None, doc("Extract (also if absent) or JSON.")] = None


class Rewrite(Wire, frozen=True, kw_only=True):
    """Exactly one operation on the keys."""

    regexp: Annotated[RewriteRegexp | None, doc("Replace parts of keys.")] = None
    transform: Annotated[RewriteTransform | None, doc("Make keys by a template.")] = None
    merge: Annotated[RewriteMerge | None, doc("Merge values that are JSON objects.")] = None


class Data(Wire, frozen=True, kw_only=True):
    """One value, under one key of the Secret."""

    secret_key: Annotated[DataKey, doc("Key in the Secret.")]
    remote_ref: Annotated[RemoteRef, doc("What to read.")]
    source_ref: Annotated[DataSourceRef | None, doc("Where to read it, instead of secretStoreRef.")] = None


class DataFrom(Wire, frozen=True, kw_only=True):
    """Many values at once: exactly one of extract, find and a generator."""

    extract: Annotated[RemoteRef | None, doc("All entries of one secret.")] = None
    find: Annotated[Find | None, doc("All secrets that match.")] = None
    rewrite: Annotated[tuple[Rewrite, ...], doc("Operations on the keys, in order.")] = ()
    source_ref: Annotated[SourceRef | None, doc("Where to read, instead of secretStoreRef.")] = None


# -- the target --------------------------------------------------------------------------------------------------------


class TemplateMetadata(Wire, frozen=True, kw_only=True):
    labels: Annotated[dict[str, str], doc("Labels; values are templates.")] = msgspec.field(default_factory=dict)
    annotations: Annotated[dict[str, str], doc("Annotations; values are templates.")] = msgspec.field(
        default_factory=dict
    )
    finalizers: Annotated[tuple[str, ...], doc("Finalizers; added, never removed.")] = ()


class TemplateItem(Wire, frozen=True, kw_only=True):
    key: Annotated[DataKey, doc("Which entry of the source.")]
    template_as: Annotated[TemplateScope | None, doc("Values (also if absent): it is the template of one key.")] = None


class TemplateSource(Wire, frozen=True, kw_only=True):
    name: Annotated[Name, doc("Name of the ConfigMap or Secret, in the own namespace.")]
    items: Annotated[tuple[TemplateItem, ...], doc("Which of its entries.")]


class TemplateFrom(Wire, frozen=True, kw_only=True):
    config_map: Annotated[TemplateSource | None, doc("Templates in a ConfigMap.")] = None
    secret: Annotated[TemplateSource | None, doc("Templates in a Secret.")] = None
    target: Annotated[str, doc("Data (also if empty), Labels or Annotations.")] = ""
    literal: Annotated[str | None, doc("A template that yields a YAML mapping of keys and values.")] = None
    values_decoding_strategy: Annotated[DecodingStrategy | None, doc("How rendered values are decoded.")] = None


class Template(Wire, frozen=True, kw_only=True):
    """How the Secret is made of the values. Absent: the values are its data."""

    type: Annotated[str, doc("Type of the Secret.")] = ""
    engine_version: Annotated[str, doc("Always v2.")] = "v2"
    metadata: Annotated[TemplateMetadata, doc("Labels and annotations of the Secret.")] = TemplateMetadata()
    merge_policy: Annotated[MergePolicy | None, doc("Whether the provider's keys are kept; Replace if absent.")] = None
    data: Annotated[dict[str, str], doc("Templates by key.")] = msgspec.field(default_factory=dict)
    template_from: Annotated[tuple[TemplateFrom, ...], doc("Templates from elsewhere, in order.")] = ()


class TargetManifest(Wire, frozen=True, kw_only=True):
    api_version: Annotated[str, msgspec.Meta(min_length=1), doc("Group and version of the target.")]
    kind: Annotated[str, msgspec.Meta(min_length=1), doc("Kind of the target.")]


class Target(Wire, frozen=True, kw_only=True):
    name: Annotated[Name | None, doc("Name of the Secret; that of the ExternalSecret if absent.")] = None
    creation_policy: Annotated[CreationPolicy | None, doc("Whose the Secret is; Owner if absent.")] = None
    deletion_policy: Annotated[
        DeletionPolicy | None, doc("What happens when secrets vanish from the provider; Retain if absent.")
    ] = None
    template: Annotated[Template | None, doc("How the Secret is made of the values.")] = None
    immutable: Annotated[bool, doc("Make the Secret immutable.")] = False
    manifest: Annotated[TargetManifest | None, doc("Another kind of target than a Secret; not allowed here.")] = None

    @property
    def creation(self) -> CreationPolicy:
        return self.creation_policy or CreationPolicy.OWNER

    @property
    def deletion(self) -> DeletionPolicy:
        return self.deletion_policy or DeletionPolicy.RETAIN


class SyncWindow(Wire, frozen=True, kw_only=True):
    schedule: Annotated[str, doc("When it begins: cron with five fields, or a word such as @daily; UTC.")]
    duration: Annotated[str, doc("How long it is, a duration.")]


class SyncWindows(Wire, frozen=True, kw_only=True):
    kind: Annotated[WindowKind, doc("allow: refresh inside only; deny: outside only.")]
    windows: Annotated[tuple[SyncWindow, ...], msgspec.Meta(min_length=1), doc("The windows.")]


class ExternalSecretSpec(Wire, frozen=True, kw_only=True):
    """What is read from where, and what Secret is made of it."""

    secret_store_ref: Annotated[StoreRef, doc("Which store is read, unless a source says otherwise.")] = StoreRef()
    target: Annotated[Target, doc("The Secret that is made.")] = Target()
    refresh_policy: Annotated[RefreshPolicy | None, doc("When values are read again; Periodic if absent.")] = None
    refresh_interval: Annotated[str | None, doc("Duration between refreshes; 1h if absent, 0: never again.")] = None
    sync_windows: Annotated[SyncWindows | None, doc("When periodic refreshes may happen.")] = None
    data: Annotated[tuple[Data, ...], doc("Single values.")] = ()
    data_from: Annotated[tuple[DataFrom, ...], doc("Many values at once; `data` wins over them.")] = ()

    @property
    def refresh(self) -> RefreshPolicy:
        return self.refresh_policy or RefreshPolicy.PERIODIC

    @property
    def interval(self) -> timedelta:
        """Time between refreshes, at least a second; not above zero: never again.

        Raises:
            SpecError: it is no duration.
        """
        if self.refresh_interval is None:
            return REFRESH_INTERVAL
        return _interval(self.refresh_interval)


# -- stores ------------------------------------------------------------------------------------------------------------


class RetrySettings(Wire, frozen=True, kw_only=True):
    max_retries: Annotated[Int32 | None, doc("How often a call is repeated.")] = None
    retry_interval: Annotated[str | None, doc("Pause between repetitions, a duration.")] = None


class NamespaceSelector(Wire, frozen=True, kw_only=True):
    match_labels: dict[str, str] = msgspec.field(default_factory=dict)
    match_expressions: tuple[dict[str, Any], ...] = ()


class StoreCondition(Wire, frozen=True, kw_only=True):
    """Namespaces that may use the store: any of these."""

    namespace_selector: Annotated[NamespaceSelector | None, doc("By labels.")] = None
    namespaces: Annotated[tuple[Namespace, ...], doc("By name.")] = ()
    namespace_regexes: Annotated[tuple[str, ...], doc("By RE2, unanchored.")] = ()


class SecretStoreSpec(Wire, frozen=True, kw_only=True):
    """A provider of secrets and how to sign in there."""

    controller: Annotated[str, doc("Class of the controllers that serve this store; empty: all.")] = ""
    provider: Annotated[
        dict[str, msgspec.Raw],
        msgspec.Meta(
            description="Exactly one provider.", extra_json_schema={**PRESERVED, "minProperties": 1, "maxProperties": 1}
        ),
    ]
    retry_settings: Annotated[RetrySettings | None, doc("How calls are repeated.")] = None
    refresh_interval: Annotated[
        int | str | None, doc("How often the store is validated: seconds or a duration; 0: as the controller likes.")
    ] = None
    conditions: Annotated[
        tuple[StoreCondition, ...], doc("Who may use a ClusterSecretStore: any that one of these names; all if empty.")
    ] = ()

    @property
    def revalidate_after(self) -> timedelta | None:
        """Time between validations; None: as the controller likes.

        Raises:
            SpecError: negative, or no duration.
        """
        path, given = "spec.refreshInterval", self.refresh_interval
        if given is None:
            return None
        try:
            span = timedelta(seconds=given) if isinstance(given, int) else _duration(given, path)
        except OverflowError:
            raise SpecError("is too long", path=path) from None
        if span < timedelta(0):
            raise SpecError("must not be negative", path=path)
        return span or None


@lru_cache(maxsize=1024)  # thousands of objects share a handful of intervals
def _interval(text: str) -> timedelta:
    span = _duration(text, "spec.refreshInterval")
    if parse_go_seconds(text) > 0:  # `1ns` is no way to say never, nor to keep us busy
        return max(span, REFRESH_INTERVAL_MIN)
    return span


def _duration(text: str, path: str) -> timedelta:
    try:
        return parse_go_duration(text)
    except ValueError as error:
        raise SpecError(str(error), path=path) from None


_external_secret = Decoder(ExternalSecretSpec, root="spec")
_store = Decoder(SecretStoreSpec, root="spec", opaque=("provider",))


def decode_spec(raw: bytes | msgspec.Raw) -> ExternalSecretSpec:
    """Return the spec of an ExternalSecret, `v1` or `v1beta1`.

    Raises:
        SpecError: naming field path, found and expected.
    """
    return _external_secret.decode(raw)


def decode_store_spec(raw: bytes | msgspec.Raw) -> SecretStoreSpec:
    """Return the spec of a SecretStore or ClusterSecretStore; the provider's block stays raw JSON.

    Raises:
        SpecError: naming field path, found and expected.
    """
    return _store.decode(raw)

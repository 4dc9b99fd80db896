"""What the user asked for: analysis templates and runs, as typed values.

The field names are those of `argoproj.io/v1alpha1`; the descriptions end up in the CRDs that are generated from
these types. Nothing is validated here beyond types: placeholders `{{args.x}}` are still in place (`_arguments`
resolves them) and the rules of a run are checked on what results (`_validation`).

Source: `argo-rollouts: pkg/apis/rollouts/v1alpha1/analysis_types.go`.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from fairlead.core.decoding import Decoder, Int32, Int64, Wire, doc

IntOrString = int | str
"""A number, or text that becomes one once placeholders are resolved (`"{{args.count}}"`)."""


# -- arguments -----------------------------------------------------------------------------------------------------


class SecretKeyRef(Wire, frozen=True, kw_only=True):
    name: Annotated[str, doc("Name of a Secret in the namespace of the run.")] = ""
    key: Annotated[str, doc("Which key of its data to read.")] = ""


class FieldRef(Wire, frozen=True, kw_only=True):
    field_path: Annotated[str, doc("Path of a field; never resolved in templates and runs.")] = ""


class ValueFrom(Wire, frozen=True, kw_only=True):
    secret_key_ref: Annotated[SecretKeyRef | None, doc("Read the value from a Secret at each measurement.")] = None
    field_ref: Annotated[FieldRef | None, doc("Accepted for compatibility; it is never resolved.")] = None


class Argument(Wire, frozen=True, kw_only=True):
    """An input. One with neither value nor valueFrom must be supplied by whoever uses the template."""

    name: Annotated[str, doc("Name by which `{{args.NAME}}` refers to it.")] = ""
    value: Annotated[str | None, doc("The value, always text. A secret of the same argument wins.")] = None
    value_from: Annotated[ValueFrom | None, doc("Where the value is read from instead.")] = None


# -- providers -----------------------------------------------------------------------------------------------------


class Header(Wire, frozen=True, kw_only=True):
    key: Annotated[str, doc("Name of the header.")] = ""
    value: Annotated[str, doc("Value of the header.")] = ""


class BasicAuth(Wire, frozen=True, kw_only=True):
    username: Annotated[str, doc("User name; needs a password beside it.")] = ""
    password: Annotated[str, doc("Password; needs a user name beside it.")] = ""


class OAuth2(Wire, frozen=True, kw_only=True):
    token_url: Annotated[str, doc("Where tokens are fetched by client credentials; empty: not used.")] = ""
    client_id: Annotated[str, doc("The client's id.")] = ""
    client_secret: Annotated[str, doc("The client's secret.")] = ""
    scopes: Annotated[tuple[str, ...], doc("Scopes to ask for.")] = ()


class SigV4(Wire, frozen=True, kw_only=True):
    region: Annotated[str, doc("AWS region to sign for.")] = ""
    profile: Annotated[str, doc("Profile of the shared AWS configuration.")] = ""
    role_arn: Annotated[str, doc("Role to assume before signing.")] = ""


class Authentication(Wire, frozen=True, kw_only=True):
    basic_auth: Annotated[BasicAuth, doc("User name and password; used by prometheus only.")] = BasicAuth()
    oauth2: Annotated[OAuth2, doc("OAuth 2 client credentials.")] = OAuth2()
    sigv4: Annotated[SigV4, doc("AWS signatures; used by prometheus on `aps-workspaces` addresses only.")] = SigV4()


class RangeQuery(Wire, frozen=True, kw_only=True):
    start: Annotated[str, doc('Expression that yields the first instant, such as `now() - duration("1h")`.')] = ""
    end: Annotated[str, doc("Expression that yields the last instant, such as `now()`.")] = ""
    step: Annotated[str, doc("Distance of the points, a duration.")] = ""


class PrometheusMetric(Wire, frozen=True, kw_only=True):
    address: Annotated[str, doc("URL of the server; empty: ARGO_ROLLOUTS_PROMETHEUS_ADDRESS.")] = ""
    query: Annotated[str, doc("PromQL.")] = ""
    range_query: Annotated[RangeQuery | None, doc("Ask for a range of time instead of this instant.")] = None
    authentication: Annotated[Authentication, doc("How to sign in.")] = Authentication()
    timeout: Annotated[Int64 | None, doc("Seconds that the whole query may take; 30 if absent.")] = None
    insecure: Annotated[bool, doc("Do not verify the server's certificate.")] = False
    headers: Annotated[tuple[Header, ...], doc("Headers of each request.")] = ()


class WebMetric(Wire, frozen=True, kw_only=True):
    method: Annotated[str, doc("HTTP method; GET if empty.")] = ""
    url: Annotated[str, doc("What to request.")] = ""
    headers: Annotated[tuple[Header, ...], doc("Headers of the request; of two with one name the last wins.")] = ()
    body: Annotated[str, doc("Body of a POST or PUT; excludes jsonBody.")] = ""
    timeout_seconds: Annotated[Int64, doc("Seconds that the whole exchange may take; 10 if not above 0.")] = 0
    json_path: Annotated[str, doc("Kubernetes JSONPath template, with braces; `{$}` if empty.")] = ""
    insecure: Annotated[bool, doc("Do not verify the server's certificate.")] = False
    json_body: Annotated[Any, doc("Body of a POST or PUT as an object, sent as JSON; excludes body.")] = None
    authentication: Annotated[Authentication, doc("How to sign in; only oauth2 is used.")] = Authentication()


class JobMetadata(Wire, frozen=True, kw_only=True):
    labels: Annotated[dict[str, str], doc("Labels of the Job.")] = msgspec.field(default_factory=dict)
    annotations: Annotated[dict[str, str], doc("Annotations of the Job.")] = msgspec.field(default_factory=dict)


class JobMetric(Wire, frozen=True, kw_only=True):
    metadata: Annotated[JobMetadata, doc("Labels and annotations of the Job; the rest is ignored.")] = JobMetadata()
    spec: Annotated[
        dict[str, Any], doc("A batch/v1 JobSpec. Its completion is the verdict, conditions are ignored.")
    ] = msgspec.field(default_factory=dict)


class KayentaThreshold(Wire, frozen=True, kw_only=True):
    # "pass" is a word of Python
    pass_: Annotated[Int64, doc("Score from which the judgement is good.")] = msgspec.field(name="pass", default=0)
    marginal: Annotated[Int64, doc("Score from which it is at least inconclusive.")] = 0


class KayentaScopeDetail(Wire, frozen=True, kw_only=True):
    scope: str = ""
    region: str = ""
    step: Int64 = 0
    start: str = ""
    end: str = ""


class KayentaScope(Wire, frozen=True, kw_only=True):
    name: str = ""
    control_scope: KayentaScopeDetail = KayentaScopeDetail()
    experiment_scope: KayentaScopeDetail = KayentaScopeDetail()


class KayentaMetric(Wire, frozen=True, kw_only=True):
    address: str = ""
    application: str = ""
    canary_config_name: str = ""
    metrics_account_name: str = ""
    configuration_account_name: str = ""
    storage_account_name: str = ""
    threshold: KayentaThreshold = KayentaThreshold()
    scopes: tuple[KayentaScope, ...] = ()
    lookback: bool = False


class DatadogSecretRef(Wire, frozen=True, kw_only=True):
    name: str = ""
    namespaced: bool = False


class DatadogMetric(Wire, frozen=True, kw_only=True):
    interval: Annotated[str, doc("Look-back window, a duration; 5m by default.")] = ""
    query: str = ""
    queries: dict[str, str] = msgspec.field(default_factory=dict)
    formula: str = ""
    api_version: Annotated[str, doc("v1 or v2; v1 by default.")] = ""
    aggregator: str = ""
    request_timeout: str = ""
    secret_ref: DatadogSecretRef = DatadogSecretRef()


class WavefrontMetric(Wire, frozen=True, kw_only=True):
    address: str = ""
    query: str = ""


class NewRelicMetric(Wire, frozen=True, kw_only=True):
    profile: Annotated[str, doc("Name of the Secret with the credentials.")] = ""
    query: Annotated[str, doc("NRQL.")] = ""
    timeout: Int64 | None = None


class CloudWatchMetric(Wire, frozen=True, kw_only=True):
    interval: str = ""
    metric_data_queries: tuple[dict[str, Any], ...] = ()


class GraphiteMetric(Wire, frozen=True, kw_only=True):
    address: str = ""
    query: str = ""


class InfluxdbMetric(Wire, frozen=True, kw_only=True):
    profile: Annotated[str, doc("Name of the Secret with the credentials.")] = ""
    query: Annotated[str, doc("Flux.")] = ""


class SkyWalkingMetric(Wire, frozen=True, kw_only=True):
    address: str = ""
    query: Annotated[str, doc("GraphQL with a variable `$duration: Duration!`.")] = ""
    interval: str = ""


class Provider(Wire, frozen=True, kw_only=True):
    """Where a metric is measured: exactly one of these."""

    prometheus: Annotated[PrometheusMetric | None, doc("A Prometheus server.")] = None
    kayenta: Annotated[KayentaMetric | None, doc("A Kayenta judge.")] = None
    web: Annotated[WebMetric | None, doc("Any HTTP server.")] = None
    datadog: Annotated[DatadogMetric | None, doc("Datadog.")] = None
    wavefront: Annotated[WavefrontMetric | None, doc("Wavefront.")] = None
    new_relic: Annotated[NewRelicMetric | None, doc("New Relic.")] = None
    job: Annotated[JobMetric | None, doc("A Kubernetes Job.")] = None
    cloud_watch: Annotated[CloudWatchMetric | None, doc("Amazon CloudWatch.")] = None
    graphite: Annotated[GraphiteMetric | None, doc("Graphite.")] = None
    influxdb: Annotated[InfluxdbMetric | None, doc("InfluxDB.")] = None
    skywalking: Annotated[SkyWalkingMetric | None, doc("Apache SkyWalking.")] = None
    plugin: Annotated[dict[str, Any] | None, doc("A provider of a third party: one key, its name.")] = None

    @property
    def names(self) -> tuple[str, ...]:
        """The blocks that are present, as the API spells them; each key of `plugin` counts as one."""
        found: list[str] = []
        for field in msgspec.structs.fields(self):
            block = getattr(self, field.name)
            if field.name == "plugin":
                found.extend(block or ())
            elif block is not None:
                found.append(field.encode_name)
        return tuple(found)


# -- metrics and what holds them -------------------------------------------------------------------------------------


class Metric(Wire, frozen=True, kw_only=True):
    """One question that is asked again and again."""

    name: Annotated[str, doc("Name, unique in the run.")] = ""
    interval: Annotated[str, doc("Pause from the end of a measurement to the start of the next, a duration.")] = ""
    initial_delay: Annotated[str, doc("Wait after the start of the run before the first measurement.")] = ""
    count: Annotated[
        IntOrString | None,
        doc("How many measurements to take, errors not counted. Absent or 0: one, or no end if an interval is set."),
    ] = None
    success_condition: Annotated[str, doc("Expression over `result` that is true when the answer is good.")] = ""
    failure_condition: Annotated[str, doc("Expression over `result` that is true when the answer is bad.")] = ""
    failure_limit: Annotated[
        IntOrString | None, doc("Failed measurements that are tolerated; 0 if absent, -1: any number.")
    ] = None
    inconclusive_limit: Annotated[
        IntOrString | None, doc("Inconclusive measurements that are tolerated; 0 if absent.")
    ] = None
    consecutive_error_limit: Annotated[IntOrString | None, doc("Errors in a row that are tolerated; 4 if absent.")] = (
        None
    )
    consecutive_success_limit: Annotated[
        IntOrString | None, doc("Successful measurements in a row that end the metric at once; 0: not used.")
    ] = None
    provider: Annotated[Provider, doc("Where the answer comes from; exactly one provider.")] = Provider()


class DryRun(Wire, frozen=True, kw_only=True):
    metric_name: Annotated[str, doc("Regular expression (RE2, unanchored) for names of metrics; use .* for all.")] = ""


class MeasurementRetention(Wire, frozen=True, kw_only=True):
    metric_name: Annotated[str, doc("Regular expression (RE2, unanchored) for names of metrics.")] = ""
    limit: Annotated[Int32, doc("How many of the newest measurements to keep; 10 if not above 0.")] = 0


class TemplateRef(Wire, frozen=True, kw_only=True):
    template_name: Annotated[str, doc("Name of a template.")] = ""
    cluster_scope: Annotated[bool, doc("Whether it is a ClusterAnalysisTemplate.")] = False


class TemplateSpec(Wire, frozen=True, kw_only=True):
    """The spec of an AnalysisTemplate and of a ClusterAnalysisTemplate."""

    metrics: Annotated[tuple[Metric, ...], doc("What to measure.")] = ()
    args: Annotated[tuple[Argument, ...], doc("Inputs, for `{{args.NAME}}` in the metrics.")] = ()
    dry_run: Annotated[tuple[DryRun, ...], doc("Metrics that are measured without counting.")] = ()
    measurement_retention: Annotated[tuple[MeasurementRetention, ...], doc("How many measurements are kept.")] = ()
    templates: Annotated[tuple[TemplateRef, ...], doc("Other templates to include.")] = ()


class TtlStrategy(Wire, frozen=True, kw_only=True):
    seconds_after_completion: Annotated[Int32 | None, doc("Seconds after which any completed run is deleted.")] = None
    seconds_after_success: Annotated[Int32 | None, doc("The same for a Successful run, before the general one.")] = None
    seconds_after_failure: Annotated[Int32 | None, doc("The same for a Failed run, before the general one.")] = None


class RunSpec(Wire, frozen=True, kw_only=True):
    """The spec of an AnalysisRun: merged metrics with their placeholders, and the arguments."""

    metrics: Annotated[tuple[Metric, ...], doc("What to measure.")] = ()
    args: Annotated[tuple[Argument, ...], doc("Values for `{{args.NAME}}` in the metrics.")] = ()
    terminate: Annotated[bool, doc("Stop the run; what is in flight is ended.")] = False
    dry_run: Annotated[tuple[DryRun, ...], doc("Metrics that are measured without counting.")] = ()
    measurement_retention: Annotated[tuple[MeasurementRetention, ...], doc("How many measurements are kept.")] = ()
    ttl_strategy: Annotated[TtlStrategy | None, doc("When a completed run is deleted; absent: never.")] = None


# -- reading -------------------------------------------------------------------------------------------------------

_OPAQUE = ("jsonBody", "plugin")  # a null below these is data; anywhere else it means absent
_template_decoder = Decoder(TemplateSpec, root="spec", opaque=_OPAQUE)
_run_decoder = Decoder(RunSpec, root="spec", opaque=_OPAQUE)


def decode_template_spec(raw: bytes | msgspec.Raw) -> TemplateSpec:
    """Return a template's spec.

    Raises:
        SpecError: naming field path, found and expected.
    """
    return _template_decoder.decode(raw)


def decode_run_spec(raw: bytes | msgspec.Raw) -> RunSpec:
    """Return a run's spec.

    Raises:
        SpecError: naming field path, found and expected.
    """
    return _run_decoder.decode(raw)

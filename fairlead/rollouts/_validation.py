"""Whether the spec of a Rollout makes sense, by itself and with what it refers to.

All errors are found, in the order in which argo-rollouts finds them; users see the first. Field paths are those of
argo-rollouts: errors of the spec itself say `spec.strategy.steps[2]`, without `canary`, errors of references say
`spec.strategy.canary.steps[2]`.

Source: argo-rollouts: pkg/apis/rollouts/validation/validation.go, validation_references.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fairlead.core.errors import SpecError
from fairlead.core.kinds import Service
from fairlead.core.plans import Plan
from fairlead.core.selectors import Selector
from fairlead.rollouts._compatibility import unsupported
from fairlead.rollouts._podvalidation import (
    label_key_problem,
    label_problems,
    label_value_problem,
    template_problems,
)
from fairlead.rollouts._problems import forbidden, internal, invalid, required
from fairlead.rollouts._steps import CanaryStep
from fairlead.rollouts._template import HASH_LABEL, meaning
from fairlead.rollouts.spec import (
    AnalysisArgument,
    AnalysisUse,
    AntiAffinity,
    BlueGreenStrategy,
    CanaryStrategy,
    LabelSelector,
    RolloutSpec,
    ServiceUse,
    StringMatch,
    TrafficRouting,
)

MANAGED_BY = "argo-rollouts.argoproj.io/managed-by-rollouts"
NAME_CHARACTERS_MAX = 253 - len("-") - 10  # its ReplicaSets are named after it: a dash and up to ten characters of hash
_NOT_NEGATIVE = "must be greater than or equal to 0"
_STRATEGY = "spec.strategy"


def invalid_spec_message(name: str, error: SpecError) -> str:
    """Return the message of the condition `InvalidSpec`."""
    return f'The Rollout "{name}" is invalid: {error}'


def validate(spec: RolloutSpec, *, name: str = "") -> list[SpecError]:
    """Return why a spec is refused by itself: what is wrong with it, then what is not supported yet.

    Args:
        spec: the spec.
        name: the Rollout's name, from which names are derived; empty: not checked.
    """
    return [*spec_problems(spec, name=name), *unsupported(spec)]


def spec_problems(spec: RolloutSpec, *, name: str = "") -> list[SpecError]:
    """Return what is wrong with a spec by itself, as argo-rollouts sees it; empty when it is good."""
    return [*_top_problems(spec), *_strategy_problems(spec), *_name_problems(name)]


def resolved_problems(spec: RolloutSpec) -> list[SpecError]:
    """Return what is wrong with a pod template and a selector that were taken from a workload."""
    found = list(_selector_problems(spec.selector))
    if not found:
        found += template_problems(meaning(bytes(spec.template)), spec.selector_terms, "spec.template")
    return found


def _name_problems(name: str) -> Iterator[SpecError]:
    if len(name) > NAME_CHARACTERS_MAX:
        detail = f"may not be more than {NAME_CHARACTERS_MAX} characters, as its ReplicaSets are named name-hash"
        yield invalid("metadata.name", name, detail)


def _top_problems(spec: RolloutSpec) -> Iterator[SpecError]:
    if spec.replicas_wanted < 0:
        yield invalid("spec.replicas", spec.replicas_wanted, _NOT_NEGATIVE)
    if spec.workload_ref is None:
        yield from _selector_problems(spec.selector)
    elif spec.template_labels or spec.template_annotations:
        yield internal("spec.template", "template must be empty for workload reference rollout")
    try:
        terms: Selector | None = spec.selector_terms
    except ValueError:
        terms = None
        yield invalid("spec.selector", spec.selector, "invalid label selector")
    if terms is not None and spec.workload_ref is None:
        yield from template_problems(meaning(bytes(spec.template)), terms, "spec.template")
    if spec.min_ready_seconds < 0:
        yield invalid("spec.minReadySeconds", spec.min_ready_seconds, _NOT_NEGATIVE)
    if spec.history_limit < 0:
        yield invalid("spec.revisionHistoryLimit", spec.history_limit, _NOT_NEGATIVE)
    deadline = 600 if spec.progress_deadline_seconds is None else spec.progress_deadline_seconds
    if deadline < 0:
        yield invalid("spec.progressDeadlineSeconds", deadline, _NOT_NEGATIVE)
    if deadline <= spec.min_ready_seconds:
        yield invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")


def _selector_problems(selector: LabelSelector | None) -> Iterator[SpecError]:
    if selector is None:
        yield required("spec.selector", "Rollout has missing field '.spec.selector'")
        return
    yield from label_problems(selector.match_labels, "spec.selector.matchLabels")
    for index, expression in enumerate(selector.match_expressions):
        path = f"spec.selector.matchExpressions[{index}]"
        match expression.operator:
            case "In" | "NotIn" if not expression.values:
                yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
            case "Exists" | "DoesNotExist" if expression.values:
                yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
            case "In" | "NotIn" | "Exists" | "DoesNotExist":
                pass
            case _:
                yield invalid(f"{path}.operator", expression.operator, "not a valid selector operator")
        if problem := label_key_problem(expression.key):
            yield invalid(f"{path}.key", expression.key, problem)
        for position, value in enumerate(expression.values):
            if problem := label_value_problem(value):
                yield invalid(f"{path}.values[{position}]", value, problem)
    if selector.is_empty:
        yield invalid("spec.selector", selector, "empty selector is invalid for deployment")


def _strategy_problems(spec: RolloutSpec) -> Iterator[SpecError]:
    canary, blue_green = spec.canary, spec.blue_green
    # The doubled word is argo-rollouts'.
    if canary is None and blue_green is None:
        missing = "Rollout has missing field '.spec.strategy.canary or .spec.strategy.blueGreen'"
        yield required(f"{_STRATEGY}.strategy", missing)
    elif canary is not None and blue_green is not None:
        both = "blueGreen: true canary: true"
        yield invalid(f"{_STRATEGY}.strategy", both, "Multiple Strategies can not be listed")
    elif blue_green is not None:
        yield from _blue_green_problems(blue_green, spec.history_limit)
    elif canary is not None:
        yield from _canary_problems(canary)


def _blue_green_problems(blue_green: BlueGreenStrategy, history_limit: int) -> Iterator[SpecError]:
    if blue_green.active_service == blue_green.preview_service:
        yield invalid(
            f"{_STRATEGY}.activeService",
            blue_green.active_service,
            "This rollout uses the same service for the active and preview services, but two different services are"
            " required.",
        )
    if (count := blue_green.preview_replica_count) is not None and count < 0:
        yield invalid(f"{_STRATEGY}.previewReplicaCount", count, _NOT_NEGATIVE)  # argo-rollouts' ReplicaSet is refused
    limit = blue_green.scale_down_delay_revision_limit
    if limit is not None and history_limit < limit:
        yield invalid(
            f"{_STRATEGY}.scaleDownDelayRevisionLimit",
            limit,
            "This rollout's revision history limit can not be smaller than the rollout's scale down limit",
        )
    yield from _anti_affinity_problems(blue_green.anti_affinity)


def _anti_affinity_problems(anti_affinity: AntiAffinity | None) -> Iterator[SpecError]:
    if anti_affinity is None:
        return
    preferred = anti_affinity.preferred_during_scheduling_ignored_during_execution
    is_required = anti_affinity.required_during_scheduling_ignored_during_execution is not None
    if (preferred is not None) is is_required:
        yield invalid(f"{_STRATEGY}.antiAffinity", anti_affinity, "AntiAffinity must have exactly one strategy listed")
    if preferred is not None and not 1 <= preferred.weight <= 100:
        yield invalid(f"{_STRATEGY}.antiAffinity.weight", preferred.weight, "AntiAffinity weight must be between 1-100")


def _canary_problems(canary: CanaryStrategy) -> Iterator[SpecError]:
    yield from _surge_problems(canary)
    if canary.canary_service and canary.canary_service == canary.stable_service:
        yield invalid(
            f"{_STRATEGY}.stableService",
            canary.stable_service,
            "This rollout uses the same service for the stable and canary services, but two different services are"
            " required.",
        )
    yield from _ping_pong_problems(canary)
    if _needs_services(canary):
        missing = "Canary service and Stable service must to be set to use Traffic Routing"
        if not canary.stable_service:
            yield invalid(f"{_STRATEGY}.stableService", canary.stable_service, missing)
        if not canary.canary_service:
            yield invalid(f"{_STRATEGY}.canaryService", canary.canary_service, missing)
    yield from _routing_problems(canary)
    for index, step in enumerate(canary.steps):
        yield from _step_problems(canary, step, f"{_STRATEGY}.steps[{index}]")
    yield from _anti_affinity_problems(canary.anti_affinity)


def _surge_problems(canary: CanaryStrategy) -> Iterator[SpecError]:
    surge, unavailable = canary.surge.value, canary.unavailable.value
    if surge == 0 and unavailable == 0:
        yield invalid(f"{_STRATEGY}.maxSurge", canary.max_surge, "MaxSurge and MaxUnavailable both can not be zero")
    # Argo-rollouts calculates with negative ones; nobody can mean them.
    if surge < 0:
        yield invalid(f"{_STRATEGY}.maxSurge", canary.max_surge, _NOT_NEGATIVE)
    if unavailable < 0:
        yield invalid(f"{_STRATEGY}.maxUnavailable", canary.max_unavailable, _NOT_NEGATIVE)


def _ping_pong_problems(canary: CanaryStrategy) -> Iterator[SpecError]:
    pair, routing = canary.ping_pong, canary.traffic_routing
    if pair is None:
        return
    if routing is not None and routing.alb is None and routing.istio is None and not routing.plugins:
        yield invalid(
            f"{_STRATEGY}.trafficRouting.alb",
            routing.alb,
            "Ping-pong feature works with the ALB, Istio, and plugin-based traffic routers only",
        )
    missing = "Ping service and Pong service must to be set to use Ping-Pong feature"
    if not pair.ping_service:
        yield invalid(f"{_STRATEGY}.pingPong.pingService", pair.ping_service, missing)
    if not pair.pong_service:
        yield invalid(f"{_STRATEGY}.pingPong.pongService", pair.pong_service, missing)
    if pair.ping_service == pair.pong_service:
        yield invalid(
            f"{_STRATEGY}.pingPong.pingService",
            pair.ping_service,
            "This rollout uses the same service for the ping and pong services, but two different services are"
            " required.",
        )
    if routing is not None and routing.alb is not None and not routing.alb.root_service:
        yield invalid(
            f"{_STRATEGY}.trafficRouting.alb.rootService",
            routing.alb.root_service,
            "Root service field is required for the configuration with ALB and ping-pong feature enabled",
        )


def _needs_services(canary: CanaryStrategy) -> bool:
    """Whether a router needs both Services. Plug-ins do not: they may find their own way."""
    routing = canary.traffic_routing
    if routing is None:
        return False
    has_pair = canary.ping_pong is not None
    needs = (
        routing.alb is not None and not has_pair,
        routing.istio is not None and routing.istio.destination_rule is None and not has_pair,
        any(
            block is not None
            for block in (
                routing.smi,
                routing.apisix,
                routing.ambassador,
                routing.nginx,
                routing.app_mesh,
                routing.traefik,
            )
        ),
    )
    return any(needs)


def _routing_problems(canary: CanaryStrategy) -> Iterator[SpecError]:
    routing, delay = canary.traffic_routing, canary.scale_down_delay_seconds
    at = f"{_STRATEGY}.dynamicStableScale"
    if routing is None:
        if delay is not None:
            yield invalid(
                f"{_STRATEGY}.scaleDownDelaySeconds",
                delay,
                "Canary scaleDownDelaySeconds can only be used with traffic routing",
            )
        if canary.dynamic_stable_scale:
            yield invalid(at, True, "Canary dynamicStableScale can only be used with traffic routing")
        return
    if delay is not None and canary.dynamic_stable_scale:
        yield invalid(at, True, "Canary dynamicStableScale cannot be used with scaleDownDelaySeconds")
    weight_max = routing.max_traffic_weight
    if weight_max is not None and routing.nginx is None and not routing.plugins:
        yield invalid(
            f"{_STRATEGY}.trafficRouting.maxTrafficWeight",
            weight_max,
            "Canary maxTrafficWeight in traffic routing only supported in Nginx and Plugins",
        )
    if weight_max is not None and weight_max <= 0:
        # Argo-rollouts divides by it.
        yield invalid(f"{_STRATEGY}.trafficRouting.maxTrafficWeight", weight_max, "must be greater than 0")


def _step_problems(canary: CanaryStrategy, step: CanaryStep, path: str) -> Iterator[SpecError]:
    routing = canary.traffic_routing
    exclusive = (step.set_weight, step.pause, step.experiment, step.analysis)
    set_count = sum(key is not None for key in exclusive)
    if step.action is None or set_count > 1:
        yield invalid(
            path,
            step,
            "Step must have one of the following set: experiment, setWeight, setCanaryScale, plugin or pause",
        )
    if step.set_weight is not None and not 0 <= step.set_weight <= canary.weight_max:
        yield invalid(f"{path}.setWeight", step.set_weight, f"SetWeight needs to be between 0 and {canary.weight_max}")
    if step.pause is not None and (step.pause.seconds or 0) < 0:
        yield invalid(f"{path}.pause.duration", step.pause.duration, "Duration needs to be greater than 0")
    if step.set_canary_scale is not None:
        if routing is None:
            yield required(f"{_STRATEGY}.trafficRouting", "SetCanaryScale requires TrafficRouting to be set")
        for field in ("replicas", "weight"):
            number = getattr(step.set_canary_scale, field)
            if number is not None and number < 0:
                yield invalid(f"{path}.setCanaryScale.{field}", number, _NOT_NEGATIVE)
    yield from _header_problems(step, routing, path)
    yield from _mirror_problems(step, routing, path)
    yield from _managed_route_problems(step, routing, path)
    yield from _experiment_problems(step, routing, path)
    yield from _argument_problems(step, path)
    if step.analysis is not None and not any(ref.template_name for ref in step.analysis.templates):
        # Argo-rollouts makes no run then, and the step never ends by itself.
        yield required(f"{path}.analysis.templates", "an analysis step needs a template, or it never completes")


def _header_problems(step: CanaryStep, routing: TrafficRouting | None, path: str) -> Iterator[SpecError]:
    route = step.set_header_route
    if route is None:
        return
    at = f"{path}.setHeaderRoute"
    if routing is None or not (routing.istio or routing.alb or routing.apisix or routing.plugins):
        yield invalid(at, route, "SetHeaderRoute requires TrafficRouting, supports Istio and ALB and Apisix")
        return
    for index, match in enumerate(route.match):
        value = match.header_value
        if routing.alb is None:
            yield from _match_problems(value, f"{at}.match[{index}]")
        elif not value.exact or value.chosen > 1:
            detail = "SetHeaderRoute match value invalid. ALB supports 'exact' value only"
            yield invalid(f"{at}.match[{index}]", value, detail)


def _match_problems(match: StringMatch, path: str) -> Iterator[SpecError]:
    if match.chosen > 1:
        detail = "StringMatch match value must have exactly one of the following: exact, regex, prefix"
        yield invalid(path, match, detail)
    elif not match.chosen:
        detail = "StringMatch value missed, match value must have one of the following: exact, regex, prefix"
        yield invalid(path, match, detail)


def _mirror_problems(step: CanaryStep, routing: TrafficRouting | None, path: str) -> Iterator[SpecError]:
    route = step.set_mirror_route
    if route is None:
        return
    at = f"{path}.setMirrorRoute"
    if routing is None or not (routing.istio or routing.plugins):
        yield invalid(at, route, "SetMirrorRoute requires TrafficRouting, supports Istio and Plugins")
    for index, match in enumerate(route.match):
        for one in (match.method, match.path):
            if one is not None:
                yield from _match_problems(one, f"{at}.match[{index}]")


def _managed_route_problems(step: CanaryStep, routing: TrafficRouting | None, path: str) -> Iterator[SpecError]:
    if routing is None or (step.set_header_route is None and step.set_mirror_route is None):
        return
    managed = [route.name for route in routing.managed_routes]
    if not managed:
        yield required(
            f"{_STRATEGY}.trafficRouting.managedRoutes",
            "Rollout has missing field 'spec.strategy.canary.trafficRouting.managedRoutes'",
        )
        return
    unknown = "Steps define a route that does not exist in spec.strategy.canary.trafficRouting.managedRoutes"
    if step.set_header_route is not None and step.set_header_route.name not in managed:
        yield invalid(f"{path}.setHeaderRoute", step.set_header_route.name, unknown)
    if step.set_mirror_route is not None and step.set_mirror_route.name not in managed:
        yield invalid(f"{path}.setMirrorRoute", step.set_mirror_route.name, unknown)


def _experiment_problems(step: CanaryStep, routing: TrafficRouting | None, path: str) -> Iterator[SpecError]:
    for index, template in enumerate(step.experiment.templates if step.experiment else ()):
        if template.weight is None:
            continue
        at = f"{path}.experiment.templates[{index}].weight"
        if routing is None:
            detail = "Experiment template weight cannot be set unless TrafficRouting is enabled"
            yield invalid(at, template.weight, detail)
        elif not (routing.alb or routing.smi or routing.istio or routing.plugins):
            yield invalid(
                at,
                template.weight,
                "Experiment template weight is only available for TrafficRouting with SMI, ALB, Istio and Plugins at"
                " this time",
            )


def _argument_problems(step: CanaryStep, path: str) -> Iterator[SpecError]:
    args: list[AnalysisArgument] = []
    for analysis in step.experiment.analyses if step.experiment else ():
        args += analysis.args
    args += step.analysis.args if step.analysis else ()
    for arg in args:
        field_path = arg.value_from.field_ref.field_path if arg.value_from and arg.value_from.field_ref else ""
        if field_path.startswith("metadata") and not is_downward_path(field_path):
            detail = "Analyses arguments must refer to valid object metadata supported by downwardAPI"
            yield invalid(f"{path}.analyses", args, detail)


_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]", re.DOTALL)
_WHOLE = frozenset(f"metadata.{field}" for field in ("name", "namespace", "uid", "labels", "annotations"))


def is_downward_path(field_path: str) -> bool:
    """Return whether the downward API can read this path of an object's metadata.

    >>> is_downward_path("metadata.labels['region']"), is_downward_path("metadata.generation")
    (True, False)
    """
    if field_path in _WHOLE:
        return True
    matched = _SUBSCRIPT.fullmatch(field_path)
    if matched is None:
        return False
    key = matched[2].lower() if matched[1] == "annotations" else matched[2]
    return not label_key_problem(key)


# --- what the spec refers to ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlannedAnalysis:
    """An analysis stanza, and what the planner says about it."""

    use: AnalysisUse
    plan: Plan


def validate_references(
    spec: RolloutSpec,
    *,
    name: str,
    services: Mapping[str, Service],
    analyses: Sequence[PlannedAnalysis] = (),
    routers: Iterable[SpecError] = (),
) -> list[SpecError]:
    """Return what is wrong with the things that a valid spec names; empty when all is good.

    Args:
        spec: the spec.
        name: the Rollout's name.
        services: the Services of the namespace that the spec names, by name; missing ones are absent.
        analyses: the plan of every stanza of `spec.analyses` that has templates.
        routers: what the routers say about their blocks (see `router_problem`), in their order.
    """
    found: list[SpecError] = []
    labels = spec.template_labels
    for use in spec.services:
        found += _service_problems(use, services.get(use.name), name, labels)
    for planned in analyses:
        if planned.plan.error:
            field = f"{planned.use.path}.{planned.plan.field or 'templates'}"
            found.append(invalid(field, planned.plan.value, planned.plan.error))
    return [*found, *routers]


def _service_problems(
    use: ServiceUse, service: Service | None, rollout: str, labels: Mapping[str, str]
) -> Iterator[SpecError]:
    if service is None:
        yield invalid(use.path, use.name, f'services "{use.name}" not found')
        return
    for key, value in sorted(service.spec.selector.items()):
        if key != HASH_LABEL and labels.get(key) != value:
            yield invalid(use.path, use.name, f'Service "{use.name}" has unmatch label "{key}" in rollout')
    manager = service.metadata.annotations.get(MANAGED_BY, "")
    if manager and manager != rollout:
        yield invalid(use.path, use.name, f'Service "{use.name}" is managed by another Rollout')


def router_problem(router: str, problem: tuple[str, str]) -> SpecError:
    """Return the error for what a router's factory says about its block.

    Args:
        router: the key under `trafficRouting.plugins`.
        problem: field path below the block (empty: the block itself) and error, as `RouterFactory.validate` returns.
    """
    field, detail = problem
    block = f"spec.strategy.canary.trafficRouting.plugins[{router}]"
    return SpecError(detail, path=f"{block}.{field}" if field else block)

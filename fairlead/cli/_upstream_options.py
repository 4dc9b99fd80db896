"""Flags of Argo Rollouts' controller that came with its deployments: honoured, without effect here, or refused.

A flag that changes nothing here is taken, so that the arguments of a Deployment can stay as they are. One that asks
for something that does not exist is refused: who wrote it relies on it.

Source: argo-rollouts: cmd/rollouts-controller/main.go.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

_NO_EFFECT = "Taken and without effect: "
_ROUTERS = {
    "--istio-api-version": "v1alpha3",
    "--alb-ingress-classes": "alb",
    "--nginx-ingress-classes": "nginx",
    "--traefik-api-version": "traefik.io/v1alpha1",
    "--ambassador-api-version": "getambassador.io/v2",
    "--traffic-split-api-version": "v1alpha1",
    "--appmesh-crd-version": "v1beta2",
    "--ingress-api-version": "networking.k8s.io/v1",
    "--aws-target-group-binding-api-version": "elbv2.k8s.aws/v1beta1",
    "--alb-tag-key-resource-id": "ingress.k8s.aws/resource",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamOptions:
    """Those of upstream's flags that are honoured.

    Attributes:
        qps: requests a second to the API server on average; 0: as many as there are.
        burst: so many may come at once.
        marking_threads: pods of a ReplicaSet that are marked at the same time.
        marking_tries: for each of them.
        with_rollouts: whether Rollouts are looked after, not only AnalysisRuns.
    """

    qps: float
    burst: int
    marking_threads: int
    marking_tries: int
    with_rollouts: bool


def upstream_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command upstream's flags, handed over as one `upstream`."""
    honoured = (
        click.option(
            "--qps",
            type=click.FloatRange(min=0),
            default=0.0,
            show_default=True,
            help="Requests a second; 0: no limit.",
        ),
        click.option(
            "--burst", type=click.IntRange(1), default=80, show_default=True, help="So many may come at once."
        ),
        click.option("--ephemeral-metadata-threads", type=click.IntRange(1, 1000), default=10, show_default=True),
        click.option(
            "--ephemeral-metadata-update-pod-retries", type=click.IntRange(1, 100), default=3, show_default=True
        ),
        click.option(
            "--controllers", multiple=True, callback=_only_analysis, help="Only these; `analysis` may be named."
        ),
    )
    without_effect = (
        *(
            click.option(f"--{name}-threads", type=int, help=f"{_NO_EFFECT}there are no such workers.")
            for name in ("experiment", "service", "ingress")
        ),
        click.option("--kloglevel", type=int, help=f"{_NO_EFFECT}there is no klog."),
        *(
            click.option(name, help=f"{_NO_EFFECT}its router is not here (upstream: {default}).")
            for name, default in _ROUTERS.items()
        ),
    )
    refused = (
        click.option(
            "--self-service-notification-enabled",
            is_flag=True,
            callback=_refused("notifications are not supported yet: nobody would be told"),
            help="Refused: notifications are not supported yet.",
        ),
        click.option(
            "--aws-verify-target-group",
            is_flag=True,
            callback=_refused("AWS target groups are not verified here: a step would go on without it"),
            help="Refused: AWS target groups are not verified here.",
        ),
        click.option(
            "--enable-pprof-address",
            default="",
            callback=_refused("there are no Go profiles here; py-spy looks into the running process"),
            help="Refused: there are no Go profiles here.",
        ),
    )

    @functools.wraps(command)
    def with_upstream(*args: Any, **rest: Any) -> Any:
        for name in ("experiment_threads", "service_threads", "ingress_threads", "kloglevel", *_names(_ROUTERS)):
            del rest[name]
        for name in ("self_service_notification_enabled", "aws_verify_target_group", "enable_pprof_address"):
            del rest[name]
        options = UpstreamOptions(
            qps=rest.pop("qps"),
            burst=rest.pop("burst"),
            marking_threads=rest.pop("ephemeral_metadata_threads"),
            marking_tries=rest.pop("ephemeral_metadata_update_pod_retries"),
            with_rollouts=not rest.pop("controllers"),
        )
        return command(*args, upstream=options, **rest)

    found: Callable[..., Any] = with_upstream
    for option in reversed((*honoured, *without_effect, *refused)):
        found = option(found)
    return found


def _names(flags: Any) -> list[str]:
    return [flag.removeprefix("--").replace("-", "_") for flag in flags]


def _only_analysis(_ctx: click.Context, _param: click.Parameter, value: tuple[str, ...]) -> tuple[str, ...]:
    named = tuple(name for text in value for name in text.split(",") if name)
    for name in named:
        if name != "analysis":
            raise click.BadParameter(f"expected analysis, found {name!r}: only it runs by itself")
    return named


def _refused(why: str) -> Callable[[click.Context, click.Parameter, Any], Any]:
    def check(_ctx: click.Context, _param: click.Parameter, value: Any) -> Any:
        if value:
            raise click.BadParameter(why)
        return value

    return check

"""The options of `fairlead controller` about external secrets. Names that upstream has are spelt as upstream's."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import click

from fairlead.cli.change import DURATION


def _switch(name: str, variable: str, text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a switch that is on, and that `=false` turns off, as flags of Go programs are written."""
    return click.option(
        name,
        variable,
        type=bool,
        is_flag=False,
        flag_value=True,
        default=True,
        show_default=True,
        help=text,
    )


def secret_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command these options, as `secrets` (how they are served) and `stores` (how these are asked)."""

    @click.option(
        "--controller-class",
        default="default",
        show_default=True,
        help="Serve stores whose spec.controller is this, or empty.",
    )
    @_switch("--enable-cluster-store-reconciler", "cluster_stores", "Serve ClusterSecretStores.")
    @_switch("--enable-flood-gate", "flood_gate", "Ask stores only while they are Ready.")
    @click.option(
        "--store-requeue-interval",
        type=DURATION,
        default="5m",
        show_default=True,
        help="Validate a store again after that time, unless it says how often.",
    )
    @click.option(
        "--align-refreshes/--no-align-refreshes",
        "aligned",
        default=True,
        show_default=True,
        help="Refresh those together that share store and interval, so that they share reads.",
    )
    @click.option(
        "--refresh-time-every",
        type=DURATION,
        default="1h",
        show_default=True,
        help="Bring status.refreshTime up to date that often when nothing else has changed.",
    )
    @click.option(
        "--store-reads-per-second",
        type=click.FloatRange(0.1, 10_000),
        default=100.0,
        show_default=True,
        help="Per store.",
    )
    @click.option("--store-burst", type=click.IntRange(1, 10_000), default=20, show_default=True, help="Reads at once.")
    @click.option(
        "--store-calls", type=click.IntRange(1, 100), default=4, show_default=True, help="At a time, per store."
    )
    @click.option("--store-timeout", type=DURATION, default="1m", show_default=True, help="Of one call.")
    @click.option(
        "--store-share",
        type=DURATION,
        default="15s",
        show_default=True,
        help="Let an answer serve those who ask for the same within that time.",
    )
    @click.option(
        "--store-idle", type=DURATION, default="15m", show_default=True, help="Log out after that time without a call."
    )
    @functools.wraps(command)
    def with_settings(
        *args: Any,
        controller_class: str,
        cluster_stores: bool,
        flood_gate: bool,
        store_requeue_interval: timedelta,
        aligned: bool,
        refresh_time_every: timedelta,
        store_reads_per_second: float,
        store_burst: int,
        store_calls: int,
        store_timeout: timedelta,
        store_share: timedelta,
        store_idle: timedelta,
        **rest: Any,
    ) -> Any:
        from fairlead.secrets.settings import PlannerSettings, SecretSettings

        secrets = SecretSettings(
            controller_class=controller_class,
            cluster_stores=cluster_stores,
            flood_gate=flood_gate,
            aligned=aligned,
            refresh_time_every=refresh_time_every,
            store_interval=_positive("--store-requeue-interval", store_requeue_interval),
        )
        stores = PlannerSettings(
            reads_per_second=store_reads_per_second,
            burst=store_burst,
            batches_in_flight_max=store_calls,
            call_seconds=_positive("--store-timeout", store_timeout).total_seconds(),
            share_seconds=store_share.total_seconds(),
            idle_seconds=_positive("--store-idle", store_idle).total_seconds(),
        )
        return command(*args, secrets=secrets, stores=stores, **rest)

    return with_settings


def _positive(name: str, found: timedelta) -> timedelta:
    if found <= timedelta(0):
        raise click.BadParameter("expected a time above 0", param_hint=name)
    return found

"""A rollout policy under test: `policy.yaml` as it will be applied, the controller as it will run, in virtual time.

pytest examples/test_policy.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from fairlead.controller.policy import PolicyRun, simulated
from fairlead.testing.waypoint import Behaviour

MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all((Path(__file__).parent / "policy.yaml").read_text()))


@simulated
async def test_a_good_version_is_out_after_its_25_minutes() -> None:
    async with PolicyRun(MANIFESTS, seed=1) as run:
        run.answer("success-rate", 0.999)
        await run.set_image("shop/checkout:1.1")
        seconds = await run.until_healthy(within=30 * 60)
        assert seconds > 25 * 60
        assert [round(share) for _, share in run.history] == [0, 5, 20, 50, 100, 0]


@simulated
async def test_a_version_that_fails_at_20_percent_is_stopped_there() -> None:
    async with PolicyRun(MANIFESTS, seed=2) as run:
        run.answer("success-rate", lambda: 0.999 if run.step < 2 else 0.91)
        await run.set_image("shop/checkout:1.1")
        await run.until(lambda: run.step == 3)  # 20 % are in force
        seconds = await run.until_aborted(within=120)
        assert seconds < 90  # two measurements, 30 seconds apart
        assert run.share_max <= 20
        assert "success-rate" in run.message


@simulated
async def test_a_version_that_fails_at_once_gets_no_more_than_5_percent() -> None:
    async with PolicyRun(MANIFESTS, seed=3) as run:
        run.answer("success-rate", 0.5)
        await run.set_image("shop/checkout:1.1")
        await run.until_aborted(within=180)
        assert run.share_max <= 5


@simulated
async def test_no_numbers_are_no_pass() -> None:
    async with PolicyRun(MANIFESTS, seed=4) as run:
        run.answer("success-rate", [])  # what Prometheus answers when nobody is asked for anything
        await run.set_image("shop/checkout:1.1")
        await run.until_aborted(within=300)
        assert run.share_max <= 5


@simulated
async def test_a_wire_that_refuses_keeps_the_rollout_where_it_is() -> None:
    async with PolicyRun(MANIFESTS, seed=5, behaviour=Behaviour(lag=(1.0, 8.0))) as run:
        run.answer("success-rate", 0.999)
        await run.set_image("shop/checkout:1.1")
        await run.until(lambda: run.share == 5)
        run.plane.behave(refuses=True)
        await run.until(lambda: "ProxyRefused" in str(run.status.get("conditions")))
        assert run.step <= 2
        assert run.share_max <= 5

"""Logs of thousands of simulated reconciliations are noise, and most of the time that they would take."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before, thresholds = structlog.get_config(), gc.get_threshold()
    gc.set_threshold(50_000, 20, 20)  # a world is full of cycles, and gone with its test
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    gc.set_threshold(*thresholds)
    structlog.configure(**before)

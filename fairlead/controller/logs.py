"""Log lines of the entry points: one JSON object a line, or text for a terminal. The library configures nothing."""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec
import structlog

_REDACTED = ("authorization", "token", "password", "secret_value", "data")
_encode = msgspec.json.Encoder(enc_hook=str).encode


def redact(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Return the event without values of keys that may hold a secret: the second line of defence, not the first."""
    for key in _REDACTED:
        if key in event:
            event[key] = "*****"
    return event


def configure(*, level: str = "info", json: bool = True) -> None:
    """Make structlog and the foreign loggers write to standard error from now on.

    Args:
        level: debug, info, warning or error.
        json: one JSON object a line; otherwise text for people.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        redact,
    ]
    render: list[Any]
    factory: Any
    if json:
        render = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=lambda event, **_: _encode(event)),
        ]
        factory = structlog.BytesLoggerFactory(sys.stderr.buffer)
    else:
        render = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
        factory = structlog.PrintLoggerFactory(sys.stderr)
    structlog.configure(
        processors=shared + render,
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=factory,
        cache_logger_on_first_use=True,
    )
    foreign = logging.StreamHandler(sys.stderr)
    foreign.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer() if json else structlog.dev.ConsoleRenderer(colors=False),
            ],
        )
    )
    logging.basicConfig(level=max(number, logging.WARNING), handlers=[foreign], force=True)

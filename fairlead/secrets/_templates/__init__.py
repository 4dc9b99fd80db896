"""Templates of Secrets: Go's `text/template` with the functions of External Secrets, on bytes.

A value may hold any bytes, and they survive. Templates are written by tenants: what a rendering may cost is bounded,
and no function reads the environment, a file, a network or anything but its own values. An error never repeats a
value, nor the text of the template.

    >>> render("{{ .user | upper }}:{{ .password | b64enc }}", {"user": b"alice", "password": b"\\xff\\x00"})
    b'ALICE:/wA='

Source: Go's `text/template`, `Masterminds/sprig` v3, `external-secrets: runtime/template`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from fairlead.secrets._templates import _yaml
from fairlead.secrets._templates._budget import Budget, Limits
from fairlead.secrets._templates._errors import (
    FunctionError,
    TemplateError,
    TemplateLimit,
    TemplateRunError,
    TemplateSyntaxError,
)
from fairlead.secrets._templates._evaluator import Evaluator
from fairlead.secrets._templates._functions import FUNCTIONS
from fairlead.secrets._templates._functions._registry import Context
from fairlead.secrets._templates._parser import parse
from fairlead.secrets._templates._values import StringMap

__all__ = [
    "FUNCTION_NAMES",
    "Budget",
    "Limits",
    "TemplateError",
    "TemplateLimit",
    "TemplateRunError",
    "TemplateSettings",
    "TemplateSyntaxError",
    "check_template",
    "parse_strings",
    "render",
]

FUNCTION_NAMES: Final = frozenset(FUNCTIONS)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateSettings:
    """How templates are read and what they may use.

    Args:
        left: the delimiter in front of actions.
        right: the one behind them.
        limits: what one rendering may cost.
        entropy: so many random bytes, for `randAlphaNum` and the like.
    """

    left: str = "{{"
    right: str = "}}"
    limits: Limits = field(default_factory=Limits)
    entropy: Callable[[int], bytes] = os.urandom


_DEFAULTS: Final = TemplateSettings()


def render(
    template: str | bytes,
    values: Mapping[str, bytes],
    now: datetime = _EPOCH,
    *,
    settings: TemplateSettings = _DEFAULTS,
    budget: Budget | None = None,
    strict: bool = True,
    is_secret: bool = False,
) -> bytes:
    """Return what a template makes of values.

    Args:
        template: the template.
        values: the root of the template, by key.
        now: the present, for `now`, `ago` and new certificates.
        settings: delimiters, limits, source of random bytes.
        budget: what may still be spent, shared with other renderings; by default a new one.
        strict: whether a key that is missing is an error; if not, it prints as `<no value>`.
        is_secret: whether the template itself is secret, so that the message of `fail` is not repeated either.

    Raises:
        TemplateSyntaxError: the text is no template.
        TemplateRunError: it fails with these values.
        TemplateLimit: it costs too much.
    """
    source = _bytes(template)
    spent = budget or Budget(settings.limits)
    tree = parse(source, FUNCTION_NAMES, settings.limits, left=settings.left, right=settings.right)
    root = StringMap((_bytes(key), bytes(value)) for key, value in values.items())
    context = Context(spent, now, settings.entropy)
    return Evaluator(tree, FUNCTIONS, context, strict=strict, quotes_literals=not is_secret).run(root)


def check_template(template: str | bytes, *, settings: TemplateSettings = _DEFAULTS) -> None:
    """Return if a text is a template.

    Raises:
        TemplateSyntaxError: it is none.
        TemplateLimit: it is too long, or nests too deeply.
    """
    parse(_bytes(template), FUNCTION_NAMES, settings.limits, left=settings.left, right=settings.right)


def parse_strings(text: bytes, *, budget: Budget | None = None) -> dict[bytes, bytes]:
    """Return a YAML document that maps keys to values as text, as Kubernetes reads it.

    Raises:
        TemplateRunError: it is something else; the message does not repeat any of it.
        TemplateLimit: it nests too deeply, or holds too much.
    """
    try:
        return _yaml.load_strings(text, budget or Budget())
    except FunctionError as error:
        raise TemplateRunError(str(error)) from None


def _bytes(text: str | bytes) -> bytes:
    return text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text

"""How values and their names are changed on the way from a provider to a Secret, in the terms of the spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from fairlead.core.errors import FairleadError
from fairlead.secrets import _rewrites
from fairlead.secrets._templates import (
    Budget,
    TemplateError,
    TemplateRunError,
    TemplateSyntaxError,
    parse_strings,
    render,
)
from fairlead.secrets.spec import ConversionStrategy, DecodingStrategy, Rewrite
from fairlead.secrets.values import SecretBytes


def converted(values: Mapping[str, SecretBytes], strategy: ConversionStrategy | None) -> dict[str, SecretBytes]:
    """Return the values under names that a Secret may have."""
    return _rewrites.convert_keys(values, str(strategy or ConversionStrategy.DEFAULT))


def rewritten(values: Mapping[str, SecretBytes], operations: Sequence[Rewrite]) -> dict[str, SecretBytes]:
    """Return the values under the names that the operations give them."""
    return _rewrites.rewrite(values, operations)


def decoded(value: SecretBytes, strategy: DecodingStrategy | None) -> SecretBytes:
    """Return the value decoded."""
    if strategy is None or strategy is DecodingStrategy.NONE:
        return value
    return _rewrites.decode(value, str(strategy))


class Rendering:
    """Templates of one object over the same values. They share one budget.

    Args:
        now: the present, for templates that ask for it.
    """

    def __init__(self, values: Mapping[str, SecretBytes], now: datetime) -> None:
        self._values = {key: value.reveal() for key, value in values.items()}
        self._now = now
        self._budget = Budget()

    def value(self, key: str, text: str | bytes, *, is_secret: bool = False) -> SecretBytes:
        """Return what the template of a key gives.

        Args:
            is_secret: whether the template itself comes from a Secret.

        Raises:
            TemplateError: naming the key; its text holds neither value nor template.
        """
        return SecretBytes(self._rendered(key, text, is_secret=is_secret))

    def mapping(self, key: str, text: str | bytes, *, is_secret: bool = False) -> dict[str, SecretBytes]:
        """Return the keys and values that a template gives as YAML.

        Raises:
            TemplateError: naming the key; its text holds neither value nor template.
        """
        rendered = self._rendered(key, text, is_secret=is_secret)
        try:
            found = parse_strings(rendered, budget=self._budget)
        except TemplateError as error:
            raise TemplateRunError(f"could not unmarshal template at key {key}: {error}") from None
        return {name.decode("utf-8", "replace"): SecretBytes(value) for name, value in found.items()}

    def _rendered(self, key: str, text: str | bytes, *, is_secret: bool) -> bytes:
        try:
            return render(text, self._values, self._now, budget=self._budget, is_secret=is_secret)
        except TemplateSyntaxError as error:
            raise TemplateSyntaxError(f"unable to parse template at key {key}: {error}") from None
        except FairleadError as error:
            raise TemplateRunError(f"unable to execute template at key {key}: {error}") from None
        except Exception as error:  # noqa: BLE001  # errors of Python quote what they failed on, and that is a value
            kind = type(error).__name__
            raise TemplateRunError(f"unable to execute template at key {key}: broken by {kind}") from None

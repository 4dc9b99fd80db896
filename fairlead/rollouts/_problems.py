"""Validation errors in the words and the form of Kubernetes' own.

Source: k8s.io/apimachinery: pkg/util/validation/field/errors.go.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from fairlead.core.errors import SpecError

_VALUE_CHARACTERS_MAX = 500  # a step list of a megabyte must not fill the condition


def invalid(path: str, value: Any, detail: str) -> SpecError:
    """Return the error for a value that cannot be.

    >>> str(invalid("spec.strategy.steps[2].setWeight", 120, "SetWeight needs to be between 0 and 100"))
    'spec.strategy.steps[2].setWeight: Invalid value: 120: SetWeight needs to be between 0 and 100'
    """
    return SpecError(f"Invalid value: {quoted(value)}: {detail}", path=path)


def required(path: str, detail: str = "") -> SpecError:
    """Return the error for a value that is missing."""
    return SpecError(f"Required value: {detail}" if detail else "Required value", path=path)


def duplicate(path: str, value: Any) -> SpecError:
    """Return the error for a value that may occur only once."""
    return SpecError(f"Duplicate value: {quoted(value)}", path=path)


def not_found(path: str, value: Any) -> SpecError:
    """Return the error for a name that nothing has."""
    return SpecError(f"Not found: {quoted(value)}", path=path)


def unsupported_value(path: str, value: Any, supported: tuple[str, ...]) -> SpecError:
    """Return the error for a value that is none of a list."""
    listed = ", ".join(quoted(one) for one in supported)
    return SpecError(f"Unsupported value: {quoted(value)}: supported values: {listed}", path=path)


def forbidden(path: str, detail: str) -> SpecError:
    """Return the error for a field that may not be used."""
    return SpecError(f"Forbidden: {detail}", path=path)


def internal(path: str, detail: str) -> SpecError:
    """Return what argo-rollouts reports as an internal error, though the user can mend it."""
    return SpecError(f"Internal error: {detail}", path=path)


def quoted(value: Any) -> str:
    """Return a value as it stands in an error: JSON, cut off when it is long."""
    if isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    else:
        text = msgspec.json.encode(value, order="deterministic").decode()
    return text if len(text) <= _VALUE_CHARACTERS_MAX else f"{text[:_VALUE_CHARACTERS_MAX]}…"

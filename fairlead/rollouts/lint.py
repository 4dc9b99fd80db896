"""What is wrong with a Rollout, told offline: everything that the controller would refuse, and what has no effect."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from fairlead.core.errors import SpecError
from fairlead.rollouts._compatibility import ignored
from fairlead.rollouts._validation import validate
from fairlead.rollouts.spec import RolloutSpec, parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing to look at; `is_error`: the controller refuses the Rollout because of it."""

    text: str
    is_error: bool = True

    def __str__(self) -> str:
        return self.text


def lint(spec: bytes | msgspec.Raw | RolloutSpec, *, name: str = "") -> tuple[Finding, ...]:
    """Return all that is wrong with the spec of a Rollout, errors first, in the order in which they are reported.

    What the spec refers to (Services, templates, routes) is not looked at.
    """
    if not isinstance(spec, RolloutSpec):
        try:
            spec = parse(spec)
        except SpecError as error:
            return (Finding(text=str(error)),)
    errors = tuple(Finding(text=str(error)) for error in validate(spec, name=name))
    return errors + tuple(Finding(text=f"{path}: {note}", is_error=False) for path, note in ignored(spec))

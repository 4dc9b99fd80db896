"""What a function of templates is: its name, the Go types of its arguments, and what it does.

Arguments are checked by the evaluator before the call, as Go does by reflection.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from fairlead.secrets._templates._budget import Budget


class Type(Enum):
    """The type of a parameter; the value is how Go's messages name it."""

    ANY = "interface {}"
    STRING = "string"
    INT = "int"
    FLOAT = "float64"
    BOOL = "bool"
    UINT32 = "uint32"
    MAP = "map[string]interface {}"
    LIST = "[]interface {}"
    TIME = "time.Time"
    DURATION = "time.Duration"
    VERSION = "*semver.Version"
    CERTIFICATE = "sprig.certificate"


@dataclass(frozen=True, slots=True)
class Context:
    """What a function may use besides its arguments.

    Args:
        budget: what may still be spent.
        now: the present, for dates.
        entropy: so many random bytes.
    """

    budget: Budget
    now: datetime
    entropy: Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Function:
    """A function. `rest` is the type of any further arguments; None if there may be none."""

    name: str
    run: Callable[..., Any]
    parameters: tuple[Type, ...] = ()
    rest: Type | None = None


@dataclass(slots=True)
class Registry:
    """The functions of one subject, by name."""

    functions: dict[str, Function] = field(default_factory=dict)

    def add(
        self, *names: str, takes: tuple[Type, ...] = (), rest: Type | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Return a decorator that enters a function under names; its first argument is the Context."""

        def enter(run: Callable[..., Any]) -> Callable[..., Any]:
            for name in names:
                assert name not in self.functions, f"{name} is defined twice"
                self.functions[name] = Function(name, run, takes, rest)
            return run

        return enter

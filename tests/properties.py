"""How many examples a property is tried with: all of them in `make test`, some in the quick `make test-fast`."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

EXAMPLES = 100  # hypothesis' own default
QUICK = 0.15  # of them


def load(*, quick: bool) -> None:
    """Set what properties are tried with that say nothing themselves. A busy machine is no reason to fail."""
    settings.register_profile("thorough", max_examples=EXAMPLES, deadline=None)
    settings.register_profile("quick", max_examples=round(EXAMPLES * QUICK), deadline=None)
    settings.load_profile("quick" if quick else "thorough")


def examples(count: int, **more: Any) -> settings:
    """Return the settings of a property that needs so many; to be used as a decorator.

    Args:
        count: in the thorough run.
        more: other settings of hypothesis.
    """
    share = settings.default.max_examples / EXAMPLES if settings.default is not None else 1.0
    return settings(max_examples=max(1, round(count * share)), deadline=None, **more)

"""Semantic versions in templates: those of `fairlead.core.semver`, with the errors of a template."""

from __future__ import annotations

from fairlead.core import semver
from fairlead.core.semver import Version, compare_prereleases
from fairlead.secrets._templates._errors import FunctionError

__all__ = ["Version", "compare_prereleases", "parse_version", "satisfies"]


def parse_version(text: str) -> Version:
    """Return a version; a leading v, and missing numbers, are allowed.

    Raises:
        FunctionError: it is none.
    """
    try:
        return semver.parse_version(text)
    except ValueError as error:
        raise FunctionError(str(error)) from None


def satisfies(constraint: str, version: Version) -> bool:
    """Return whether a version lies in a range such as `>=1.2, <2 || ^3`.

    Raises:
        FunctionError: the range cannot be read.
    """
    try:
        return semver.satisfies(constraint, version)
    except ValueError as error:
        raise FunctionError(str(error)) from None

"""The functions that templates may call, by subject. None reads the environment, a file or a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from fairlead.secrets._templates._functions import (
    _arithmetic,
    _builtins,
    _certificates,
    _dates,
    _encoding,
    _hashes,
    _keystores,
    _lists,
    _logic,
    _maps,
    _paths,
    _regexps,
    _strings,
)
from fairlead.secrets._templates._functions._registry import Function

_SUBJECTS: Final = (
    _arithmetic,
    _builtins,
    _certificates,
    _dates,
    _encoding,
    _hashes,
    _keystores,
    _lists,
    _logic,
    _maps,
    _paths,
    _regexps,
    _strings,
)


def _all() -> dict[str, Function]:
    found: dict[str, Function] = {}
    for subject in _SUBJECTS:
        twice = found.keys() & subject.REGISTRY.functions.keys()
        assert not twice, f"defined twice: {twice}"
        found |= subject.REGISTRY.functions
    return found


FUNCTIONS: Final[Mapping[str, Function]] = _all()

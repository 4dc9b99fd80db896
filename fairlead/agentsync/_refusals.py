"""What the API server's refusals say, without what they must not: it repeats values, and sometimes the whole object."""

from __future__ import annotations

import re
from typing import Final

from fairlead.agentsync.resources import ResourceKey

# A JSON or Go string; the API server quotes values so.
_QUOTED: Final = r'"(?:[^"\\]|\\.)*"'
# Of a patch whose outcome cannot be read, the whole object is "the value": kilobytes, and the data of a Secret.
_WHOLE: Final = re.compile(rf"(?<=patch: )Invalid value: {_QUOTED}: ")
_NAMELESS: Final = re.compile(r'^\s*"" is invalid: ')
# Behind the word stands the value, quoted or as Go prints it, and then a reason that may well have colons.
_VALUE: Final = re.compile(rf"((?:Invalid|Unsupported|Duplicate) value): (?:{_QUOTED}|[^:]*)(:|$)")


def told(key: ResourceKey, error: Exception) -> str:
    """Return what an error says about an object, as it may be shown to everybody.

    *Guarantees*: of a Secret no value is repeated, and of nothing the whole object.

    >>> told(ResourceKey("", "Secret", "shop", "key"), ValueError('data[k]: Invalid value: "s3cr3t": no'))
    'data[k]: Invalid value: no'
    """
    text = _NAMELESS.sub("", _WHOLE.sub("", str(error)))
    if (key.group, key.kind) != ("", "Secret"):
        return text
    return _VALUE.sub(r"\1\2", text)

"""Hashes that External Secrets writes on objects: equal ones mean that nothing has to be written.

They are SHA3-224 of how Go prints a value with `%+v`, so the printing is repeated here.

Source: `external-secrets: runtime/esutils/utils.go`.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha3_224

_DECIMALS = tuple(str(byte) for byte in range(256))


def text_hash(text: str) -> str:
    """Return the hash of a text, such as `namespace/name` of an owner.

    >>> text_hash("default/my-es")
    'b8464376b5fe3535e690594280bfe59b60be2603cb6cbb6d6c8bcbb4'
    """
    return sha3_224(text.encode("utf-8", "surrogatepass")).hexdigest()


def data_hash(data: Mapping[str, bytes]) -> str:
    """Return the hash of the data of a Secret.

    >>> data_hash({"a": b"", "b": b"hi"})
    '1502c667c51473986903f433f5b890c4894c7a52d989ccf189512419'
    """
    entries = (f"{key}:[{_printed(data[key])}]" for key in sorted(data, key=_bytes))
    return text_hash(f"map[{' '.join(entries)}]")


def metadata_hash(annotations: Mapping[str, str], labels: Mapping[str, str]) -> str:
    """Return the hash of what an object carries besides its spec."""
    return text_hash(f"{{annotations:{_map(annotations)} labels:{_map(labels)}}}")


def _printed(value: bytes) -> str:
    return " ".join([_DECIMALS[byte] for byte in value])


def _map(values: Mapping[str, str]) -> str:
    return f"map[{' '.join(f'{key}:{values[key]}' for key in sorted(values, key=_bytes))}]"


def _bytes(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")

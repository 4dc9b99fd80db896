"""Names that look like those of the API server's `generateName`, derived and never drawn."""

from __future__ import annotations

import hashlib

ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no digits that look like one. Source: `k8s.io/apimachinery: pkg/util/rand`."""

PREFIX_MAX = 58  # 63 characters of a DNS label less the five of the suffix


def generated(prefix: str, *seed: object) -> str:
    """Return `<prefix><five characters>`; the same seed gives the same name.

    >>> generated("web-7f9c-", 1, "shop", 0) == generated("web-7f9c-", 1, "shop", 0)
    True
    """
    digest = hashlib.sha256("|".join(map(str, seed)).encode()).digest()
    number = int.from_bytes(digest[:8], "big")
    letters = []
    for _ in range(5):
        number, index = divmod(number, len(ALPHABET))
        letters.append(ALPHABET[index])
    return prefix[:PREFIX_MAX] + "".join(letters)


def share(*seed: object) -> float:
    """Return a number in 0..1 that depends on the seed alone."""
    digest = hashlib.sha256("|".join(map(str, seed)).encode()).digest()
    return int.from_bytes(digest[:6], "big") / float(1 << 48)

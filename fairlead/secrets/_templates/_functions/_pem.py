"""Blocks of PEM as Go finds and writes them.

Source: Go's `encoding/pem`.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fairlead.secrets._base64 import Base64Error, decode_base64

_END: Final = re.compile(rb"(?:^|\n)-----END ")
_BEGIN: Final = b"-----BEGIN "
_COLUMNS: Final = 64


@dataclass(frozen=True, slots=True)
class Block:
    """One block: what it is, its headers, its content."""

    label: str
    content: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Block({self.label!r}, ...)"


def blocks(text: bytes) -> tuple[list[Block], bytes]:
    """Return the well-formed blocks of a text, and what is left behind the last one."""
    found: list[Block] = []
    rest = text
    at = 0
    while (ending := _END.search(rest, at)) is not None:
        block = _block(rest[: ending.start()], rest[ending.end() :])
        if block is None:
            at = ending.end()
            continue
        found.append(block)
        _, _, rest = rest[ending.end() :].partition(b"\n")
        at = 0
    return found, rest


def _block(before: bytes, behind: bytes) -> Block | None:
    """Return the block between the last beginning and an end, if they fit each other."""
    begin = before.rfind(_BEGIN)
    if begin < 0 or (begin > 0 and before[begin - 1 : begin] != b"\n"):
        return None
    first, _, body = before[begin + len(_BEGIN) :].partition(b"\n")
    label = first.rstrip(b" \t\r")
    closing = behind.partition(b"\n")[0].rstrip(b" \t\r")
    if not label.endswith(b"-----") or label != closing:
        return None
    headers: dict[str, str] = {}
    while b":" in (line := body.partition(b"\n")[0]):
        key, _, value = line.partition(b":")
        headers[key.strip().decode("utf-8", "replace")] = value.strip().decode("utf-8", "replace")
        body = body.partition(b"\n")[2]
    try:
        content = decode_base64(body.translate(None, b" \t"))
    except Base64Error:
        return None
    return Block(label.removesuffix(b"-----").decode("utf-8", "replace"), content, headers)


def encode(block: Block) -> bytes:
    """Return a block as text."""
    lines = [f"-----BEGIN {block.label}-----".encode()]
    if block.headers:
        names = sorted(block.headers, key=lambda name: (name != "Proc-Type", name))
        lines += [f"{name}: {block.headers[name]}".encode() for name in names]
        lines.append(b"")
    body = base64.b64encode(block.content)
    lines += [body[at : at + _COLUMNS] for at in range(0, len(body), _COLUMNS)]
    lines.append(f"-----END {block.label}-----\n".encode())
    return b"\n".join(lines)

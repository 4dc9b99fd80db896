"""The hashes by which revisions are told apart: of a pod template, and of the steps.

Source: argo-rollouts: utils/hash/hash.go, utils/conditions (ComputeStepHash); k8s.io/apimachinery: pkg/util/rand.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

import msgspec

from fairlead.rollouts._steps import CanaryStep
from fairlead.rollouts._template import Form, html_escaped, written

_SAFE = str.maketrans("0123456789", "456789bcdf")
_OFFSET, _PRIME = 2166136261, 16777619
_steps_encoder = msgspec.json.Encoder(order="deterministic")


def fnv1a_32(data: bytes) -> int:
    """Return the FNV-1a checksum, 32 bits.

    >>> hex(fnv1a_32(b"a"))
    '0xe40c292c'
    """
    value = _OFFSET
    for byte in data:
        value = (value ^ byte) * _PRIME & 0xFFFFFFFF
    return value


def _safe(number: int) -> str:
    """Return the digits of a number as characters that are safe in names and spell no words."""
    return str(number).translate(_SAFE)


def template_hash(template: bytes | msgspec.Raw, *, collision_count: int | None = None, form: Form = Form.V1_9) -> str:
    """Return the value of the label `rollouts-pod-template-hash` for pods of this template.

    Args:
        template: the JSON below `spec.template`, as the API returns it.
        collision_count: `status.collisionCount`; None when it is absent.
        form: as which generation of argo-rollouts counts.

    >>> template_hash(b"{}"), template_hash(b"{}", collision_count=1), template_hash(b"{}", form=Form.V1_8)
    ('658c46c486', '6746d5bbc', '76bbb58f74')
    """
    return _template_hash(bytes(template), collision_count, form)


# Asked for at every look at a Rollout, and the checksum goes byte by byte. 4,000 templates are some ten megabytes.
@lru_cache(maxsize=4096)
def _template_hash(template: bytes, collision_count: int | None, form: Form) -> str:
    data = written(template, form)
    if collision_count is not None:
        data += struct.pack("<II", collision_count & 0xFFFFFFFF, 0)
    return _safe(fnv1a_32(data))


def steps_hash(steps: Sequence[CanaryStep]) -> str:
    """Return the value of `status.currentStepHash`: another one means that the user has changed the steps."""
    return _steps_hash(html_escaped(_steps_encoder.encode(tuple(steps) or None)))


@lru_cache(maxsize=4096)
def _steps_hash(data: bytes) -> str:
    return _safe(fnv1a_32(data))

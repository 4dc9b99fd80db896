"""Generated pod templates, from the table of the Go types."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

TABLE: dict[str, list[tuple[str, str, str]]] = json.loads(
    (Path(__file__).parents[2] / "fairlead" / "rollouts" / "_podtemplate.json").read_text()
)
QUANTITIES = [
    "0",
    "1",
    "100m",
    "0.001",
    "1.5",
    "1.500",
    "1500m",
    "1024Mi",
    "1.5Gi",
    "1e3",
    "12E",
    "-5",
    "+3Ki",
    "1.1Mi",
]
TEXTS = ["", "a", "web", "<b>&amp;", "\u2028x\u2029", "ünï", '"\\', "\t\n\x01\x7f", "😀"]
TIMES = ["2026-01-02T03:04:05Z", "2026-06-30T23:59:59.999999+05:30"]


def value_of(draw: random.Random, shape: str = "@PodTemplateSpec", depth: int = 0) -> Any:
    """Return a value that decodes: fields of any kind, some of them null or unknown; thinner with depth."""
    kind, _, inner = shape.partition(":")
    match kind:
        case "list":
            return [value_of(draw, inner, depth) for _ in range(draw.choice([0, 1, 1, 2]))]
        case "map":
            return {draw.choice(TEXTS): value_of(draw, inner, depth) for _ in range(draw.choice([0, 1, 2, 3]))}
        case "string":
            return draw.choice(TEXTS)
        case "bool":
            return draw.random() < 0.5
        case "int32" | "int64":
            return draw.choice([0, 1, -1, 30, 2**31 - 1, 3.0])
        case "quantity":
            return draw.choice([*QUANTITIES, 1, 0, 0.5, 1e16, 1e-7, 1e21, 2.50])
        case "intOrString":
            return draw.choice([0, 80, "http", "80", "25%"])
        case "time":
            return draw.choice(TIMES)
        case "raw":
            return {"f:metadata": {"f:labels": {}}, "a": 1}
    fields = TABLE[kind[1:]]
    # Deep structs are thinned out, so that the ones near the root are met with many of their fields at once.
    chosen = draw.sample(fields, k=min(len(fields), draw.choice([1, 2, 3, 6]) if depth else len(fields)))
    result = {name: value_of(draw, inner, depth + 1) for name, inner, _ in chosen if depth < 8}
    if draw.random() < 0.1:
        result["unknown"] = draw.choice([1, "x", {"a": None}])
    if chosen and draw.random() < 0.1:
        result[chosen[0][0]] = None
    return result

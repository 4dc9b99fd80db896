"""Writes `tests/rollouts/data/defaulted-templates.jsonl`: generated pod templates, and what Kubernetes makes of them.

python -m tests.oracle.poddefaults.generate
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.rollouts.templates import TABLE, value_of

HERE = Path(__file__).parent
FIXTURE = HERE.parents[1] / "rollouts" / "data" / "defaulted-templates.jsonl"
IMAGES = ["web", "web:1", "web:latest", "reg:5000/a/web", f"web@sha256:{'0' * 64}", "Not An Image", "a//b", ""]
KINDS = {"containers": "@Container", "initContainers": "@Container", "ephemeralContainers": "@EphemeralContainer"}


def templates(draw: random.Random) -> list[dict[str, Any]]:
    """Return templates of one container each, and of one volume of every kind."""
    found: list[dict[str, Any]] = []
    for field, shape in KINDS.items():
        for image in IMAGES:
            found.append({"spec": {field: [value_of(draw, shape) | {"image": image}]}})
    for name, shape, _ in TABLE["Volume"]:
        found += [{"spec": {"volumes": [{name: value_of(draw, shape)}]}} for _ in range(2)]
    token = {"sources": [{"serviceAccountToken": {"path": "t"}}]}
    bare = ("configMap", "secret", "downwardAPI", "scaleIO", "hostPath", "azureDisk", "rbd", "iscsi", "image")
    found += [{"spec": {"volumes": [{"name": "v", name: {}} for name in bare]}}]
    found += [{"spec": {"volumes": [{"name": "v", "projected": token}, {"name": "w"}]}}]
    return [*found, {}, {"spec": {"overhead": {"a": "0.0001", "b": "-0.0001"}, "restartPolicy": ""}}]


def main() -> None:
    """Build the Go program, ask it, write the file."""
    cases = templates(random.Random(20_260_803))
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "poddefaults"
        environment = os.environ | {"GOFLAGS": "-mod=mod"}
        subprocess.run(["go", "build", "-o", str(program), "."], cwd=HERE, env=environment, check=True)
        text = "\n".join(json.dumps(one) for one in cases)
        done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    rows = [
        json.dumps({"template": one, "defaulted": json.loads(line)}, separators=(",", ":"))
        for one, line in zip(cases, done.stdout.splitlines(), strict=True)
    ]
    FIXTURE.write_text("\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

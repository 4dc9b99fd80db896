"""Writes what upstream's libraries answer into `tests/secrets/data/*-answers.jsonl`.

python -m tests.oracle.templates.generate
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.oracle.templates import cases

HERE = Path(__file__).parent
DATA = HERE.parents[1] / "secrets" / "data"
SEED = 20_260_901


def ask(program: Path, questions: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one answer for each question."""
    text = "\n".join(json.dumps(one) for one in questions)
    done = subprocess.run([program], input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def text_or_base64(value: bytes) -> str | dict[str, str]:
    """Return bytes as text where they are text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}


def write(name: str, rows: Iterable[dict[str, Any]]) -> None:
    lines = (json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows)
    (DATA / f"{name}-answers.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main() -> None:
    """Build the Go program, ask it, write the files."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "templates"
        environment = os.environ | {"GOFLAGS": "-mod=mod", "TZ": "UTC"}
        subprocess.run(["go", "build", "-o", str(program), "."], cwd=HERE, env=environment, check=True)
        values = {key: base64.b64encode(value).decode() for key, value in cases.VALUES.items()}
        by_hand = [json.loads(line) for line in (HERE / "by_hand.jsonl").read_text(encoding="utf-8").splitlines()]
        templates = list(dict.fromkeys([*by_hand, *cases.drawn(SEED, 8, 500)]))
        answers = ask(program, ({"mode": "template", "text": one, "values": values} for one in templates))
        write(
            "template",
            (
                {"t": text, "err": True}
                if "error" in found
                else {"t": text, "out": text_or_base64(base64.b64decode(found["out"] or ""))}
                for text, found in zip(templates, answers, strict=True)
            ),
        )
        documents = cases.yaml_documents(SEED, 600)
        answers = ask(program, ({"mode": "yaml", "text": one} for one in documents))
        write(
            "yaml",
            (
                {"t": text, "err": True} if "error" in found else {"t": text, "out": found.get("map", {})}
                for text, found in zip(documents, answers, strict=True)
            ),
        )
        pairs = cases.properties(SEED, 800)
        questions = ({"mode": "property", "text": cases.DOCUMENTS[at], "path": path} for at, path in pairs)
        write(
            "property",
            (
                {
                    "document": at,
                    "path": path,
                    "out": base64.b64decode(found["out"] or "").decode() if found.get("exists") else None,
                }
                for (at, path), found in zip(pairs, ask(program, questions), strict=True)
            ),
        )


if __name__ == "__main__":
    main()

"""How long it takes to import the pure modules and to print the help. Prints one JSON line.

`python -m benchmarks.import_times`: each figure is the median of several fresh interpreters, less a bare one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time

PURE = {
    package: f"import fairlead.{package}.machine, fairlead.{package}.spec, fairlead.{package}.status"
    for package in ("rollouts", "analysis")
} | {"mesh_routing": "import fairlead.mesh_routing.spec, fairlead.mesh_routing.observation"}
RUNS = 7


def milliseconds(code: str) -> float:
    """Return the median time of a fresh interpreter that runs the code."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def main() -> None:
    bare = milliseconds("pass")
    figures = {name: round(milliseconds(code) - bare, 1) for name, code in PURE.items()}
    everything = "\n".join(PURE.values())
    help_text = "import sys; from fairlead.cli.main import main; sys.argv = ['fairlead', '--help']; main()"
    print(
        json.dumps(
            {
                "bare_interpreter_ms": round(bare, 1),
                "pure_modules_ms": round(milliseconds(everything) - bare, 1),
                "by_package_ms": figures,
                "help_ms": round(milliseconds(help_text), 1),
            }
        )
    )


if __name__ == "__main__":
    main()

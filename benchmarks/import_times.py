"""How long it takes to import the pure modules and to print the help. Prints one JSON line.

`python -m benchmarks.import_times`: each figure is that of several fresh interpreters with a warm bytecode cache, the
pure modules' less a bare interpreter. Wall times are medians; processor times are minima, which a busy machine
disturbs least.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

PURE = {
    "core": "import fairlead.core.traffic, fairlead.core.kinds, fairlead.core.plans",
    "rollouts": "import fairlead.rollouts.machine, fairlead.rollouts.spec, fairlead.rollouts.status",
    "analysis": "import fairlead.analysis.machine, fairlead.analysis.spec, fairlead.analysis.status",
    "mesh_routing": "import fairlead.mesh_routing.spec, fairlead.mesh_routing.observation",
    "secrets": "import fairlead.secrets.machine, fairlead.secrets.spec, fairlead.secrets.status",
    "agentsync": "import fairlead.agentsync.machine, fairlead.agentsync.spec, fairlead.agentsync.status",
}
HELP = "import sys; from fairlead.cli.main import main; sys.argv = ['fairlead', '--help']; main()"
RUNS = 9


@dataclass(frozen=True, slots=True)
class Took:
    """Milliseconds of a fresh interpreter."""

    wall: float
    processor: float

    def less(self, bare: Took) -> dict[str, float]:
        return {"wall_ms": round(self.wall - bare.wall, 1), "cpu_ms": round(self.processor - bare.processor, 1)}


def _children_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def took(code: str, cache: str) -> Took:
    """Return what fresh interpreters need that run the code; the first one fills the cache and does not count."""
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    surroundings["PYTHONPYCACHEPREFIX"] = cache
    wall: list[float] = []
    processor: list[float] = []
    for _ in range(RUNS + 1):
        start, used = time.perf_counter(), _children_seconds()
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL, env=surroundings)
        wall.append((time.perf_counter() - start) * 1000)
        processor.append((_children_seconds() - used) * 1000)
    return Took(statistics.median(wall[1:]), min(processor[1:]))


def main() -> None:
    with tempfile.TemporaryDirectory() as cache:
        bare = took("pass", cache)
        report = {
            "bare_interpreter": bare.less(Took(0, 0)),
            "all_pure_modules": took("\n".join(PURE.values()), cache).less(bare),
            "by_package": {name: took(code, cache).less(bare) for name, code in PURE.items()},
            "help": took(HELP, cache).less(Took(0, 0)),
        }
    print(json.dumps(report))


if __name__ == "__main__":
    main()

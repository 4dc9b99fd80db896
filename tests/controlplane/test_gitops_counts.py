"""What many small Applications cost the API server: golden in the simulation."""

from __future__ import annotations

import json

from benchmarks import gitops_apply
from benchmarks._gitops_apps import KINDS_PER_APP, simulated

APPS = 10


def test_the_counts_of_ten_applications_are_golden() -> None:
    """A change of a count is a change of the product: `python -m benchmarks.gitops_apply --apps 10 --write`."""
    counts = simulated(APPS)
    golden = json.loads(gitops_apply.GOLDEN.read_text())
    assert {name: dict(found.by_kind) for name, found in counts.items()} == golden[str(APPS)]
    assert all(found.reads == 0 for found in counts.values())
    reports = {name: found.by_kind["patch applications.argoproj.io"] for name, found in counts.items()}
    assert counts["first"].writes == APPS * KINDS_PER_APP + reports["first"]
    assert counts["unchanged"].writes == reports["unchanged"] == APPS  # each status names the new commit
    assert counts["one_image"].writes == 1 + reports["one_image"]

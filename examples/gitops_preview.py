"""What a commit will do, told before it is merged: the difference, the order of the sync, and how things are now.

The manifests are rendered as the agent renders them, and compared with an export of the live objects. No cluster, no
Git, nothing is written: fit for a check of a pull request.

    python -m examples.gitops_preview
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import yaml

from fairlead.agentsync import PlanOptions, Source, render
from fairlead.agentsync.health import health
from fairlead.agentsync.plan import plan
from fairlead.agentsync.preview import preview

FOLDER = Path(__file__).parent / "gitops"


async def main() -> None:
    application = yaml.safe_load((FOLDER / "application.yaml").read_text())
    live = list(yaml.safe_load_all((FOLDER / "live.yaml").read_text()))
    objects = await render(FOLDER, Source(path="deploy"), application="web", namespace="shop")

    print("What an apply would change:")
    for one in preview(application, objects, live):
        print(f"  {one.fate:<8} {one.key}", *(f"\n           {change}" for change in one.changes))
    print("What a sync would do, in this order:")
    for step in plan(objects, live, PlanOptions(namespace="shop")).steps:
        print(f"  {step.verb:<8} {step.key}")
    print("How the live objects are:")
    for found in live:
        judged = health(found)
        print(f"  {found['kind']} {found['metadata']['name']}:", f"{judged.code} {judged.message}" if judged else "-")


if __name__ == "__main__":
    asyncio.run(main())

"""`docs/compatibility.md`: which fields of Argo Rollouts' and of Argo CD's kinds have effect.

python -m fairlead.controller.compatibility --write
"""

from __future__ import annotations

import sys
from pathlib import Path

from fairlead.agentsync import _compatibility as gitops
from fairlead.rollouts._compatibility import TABLE, Entry, Support

DOCUMENT = Path(__file__).parents[2] / "docs" / "compatibility.md"

_HEAD = """\
# Compatibility: the fields of a Rollout

This page is generated (`python -m fairlead.controller.compatibility --write`) from the table that the controller
itself uses; a test holds it against the schema of the kind.

- **Honoured**: works as in Argo Rollouts.
- **Refused**: the Rollout becomes `InvalidSpec`, because going on without the field would send traffic, or a test,
  somewhere else than its user believes. Nothing is touched until the field is gone.
- **Accepted, no effect yet**: the Rollout runs, as safe as with the field, and the field is kept as it is.

`[]` stands for every item of a list; `.**` for everything below a field. Fields that the schema does not know are kept
and have no effect.
"""
_TITLES = {
    Support.HONOURED: "Honoured",
    Support.REFUSED: "Refused",
    Support.IGNORED: "Accepted, no effect yet",
}


_GITOPS_HEAD = """\
# Compatibility: the fields of an Application and an AppProject

Fields below `Application:operation` are those of a request. Unknown fields are kept and have no effect.

- **Honoured**: works as in Argo CD.
- **Refused**: the Application gets the condition `InvalidSpecError` with the text beside the field, because going on
  without it would deploy something else than its user believes. Nothing is touched until the field is gone.
- **Accepted, no effect**: nothing that is deployed depends on it.
"""
_GITOPS_TITLES = {
    gitops.Support.HONOURED: "Honoured in Applications and AppProjects",
    gitops.Support.REFUSED: "Refused in Applications",
    gitops.Support.IGNORED: "Accepted in Applications and AppProjects, no effect",
}


def render() -> str:
    """Return the page."""
    parts = [_HEAD]
    for support, title in _TITLES.items():
        rows = [_row(entry) for entry in TABLE if entry.support is support]
        parts.append("\n".join([f"## {title}", "", "| Field | Note |", "|---|---|", *rows]) + "\n")
    parts.append(_GITOPS_HEAD)
    for kind, title in _GITOPS_TITLES.items():
        rows = [_row(entry) for entry in gitops.TABLE if entry.support is kind]
        parts.append("\n".join([f"## {title}", "", "| Field | Note |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _row(entry: Entry | gitops.Entry) -> str:
    return f"| `{entry.path}` | {entry.note} |"


def main(arguments: list[str]) -> int:
    """Write the page, or print it."""
    if arguments == ["--write"]:
        DOCUMENT.parent.mkdir(exist_ok=True)
        DOCUMENT.write_text(render(), encoding="utf-8")
        return 0
    sys.stdout.write(render())
    return 0 if not arguments else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""What `fairlead app` prints: pure text from an Application as JSON data, in the words that users of argocd know.

Source: argo-cd: cmd/argocd/commands/app.go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.cli._family import mapping
from fairlead.core.durations import human_duration
from fairlead.core.objects import parse_rfc3339

Row = tuple[str, ...]

LIST_COLUMNS: Row = (
    "NAME",
    "CLUSTER",
    "NAMESPACE",
    "PROJECT",
    "STATUS",
    "HEALTH",
    "SYNCPOLICY",
    "CONDITIONS",
    "REPO",
    "PATH",
    "TARGET",
)

_COMMIT_DIGITS = 40
_SHORT_DIGITS = 7


def items(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects of a list, leaving out what is none: a stranger may have written it."""
    return [mapping(one) for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def text(value: Any) -> str:
    """Return a text, empty for what is none."""
    return value if isinstance(value, str) else ""


def name_of(application: Mapping[str, Any]) -> str:
    """Return `namespace/name`."""
    metadata = mapping(application.get("metadata"))
    return "/".join(filter(None, (text(metadata.get("namespace")), text(metadata.get("name")))))


def sources_of(application: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the sources that count."""
    spec = mapping(application.get("spec"))
    source = spec.get("source")
    return items(spec.get("sources")) or ([source] if isinstance(source, Mapping) else [])


def status_of(application: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(application.get("status"))


def sync_of(application: Mapping[str, Any]) -> str:
    """Return `Synced`, `OutOfSync` or `Unknown`."""
    return text(mapping(status_of(application).get("sync")).get("status")) or "Unknown"


def health_of(application: Mapping[str, Any]) -> str:
    return text(mapping(status_of(application).get("health")).get("status")) or "Unknown"


def operation_state(application: Mapping[str, Any]) -> Mapping[str, Any]:
    return mapping(status_of(application).get("operationState"))


def columns(rows: Sequence[Row]) -> list[str]:
    """Return rows as lines whose cells begin below each other."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


# -- list --------------------------------------------------------------------------------------------------------------


def list_row(application: Mapping[str, Any]) -> Row:
    """Return the cells of an Application, in the order of `LIST_COLUMNS`."""
    spec = mapping(application.get("spec"))
    destination = mapping(spec.get("destination"))
    source = next(iter(sources_of(application)), {})
    return (
        name_of(application),
        text(destination.get("server")) or text(destination.get("name")),
        text(destination.get("namespace")),
        text(spec.get("project")) or "default",
        sync_of(application),
        health_of(application),
        _policy_word(spec),
        _conditions_word(application),
        text(source.get("repoURL")),
        text(source.get("path")) or text(source.get("chart")),
        text(source.get("targetRevision")),
    )


def _automated(spec: Mapping[str, Any]) -> Mapping[str, Any] | None:
    automated = mapping(spec.get("syncPolicy")).get("automated")
    return automated if isinstance(automated, Mapping) and automated.get("enabled") is not False else None


def _policy_word(spec: Mapping[str, Any]) -> str:
    automated = _automated(spec)
    if automated is None:
        return "Manual"
    return "Auto-Prune" if automated.get("prune") is True else "Auto"


def _conditions_word(application: Mapping[str, Any]) -> str:
    found = Counter(text(one.get("type")) for one in items(status_of(application).get("conditions")))
    words = [kind if number == 1 else f"{kind}({number})" for kind, number in sorted(found.items())]
    return ",".join(words) or "<none>"


# -- get ---------------------------------------------------------------------------------------------------------------


def header(application: Mapping[str, Any], window: str = "") -> list[str]:
    """Return what an Application is and how it is.

    Args:
        application: it.
        window: whether its windows allow a sync; empty: not known.
    """
    spec = mapping(application.get("spec"))
    destination = mapping(spec.get("destination"))
    sources = sources_of(application)
    pairs = [
        ("Name:", name_of(application)),
        ("Project:", text(spec.get("project")) or "default"),
        ("Server:", text(destination.get("server")) or text(destination.get("name"))),
        ("Namespace:", text(destination.get("namespace"))),
        ("Source:" if len(sources) < 2 else "Sources:", ""),
    ]
    for source in sources:
        pairs += [("- Repo:", text(source.get("repoURL"))), ("  Target:", text(source.get("targetRevision")))]
        kind = "Chart" if source.get("chart") else "Path"
        pairs.append((f"  {kind}:", text(source.get("chart")) or text(source.get("path"))))
        if source.get("ref"):
            pairs.append(("  Ref:", text(source.get("ref"))))
    if window:
        pairs.append(("SyncWindow:", window))
    health = mapping(status_of(application).get("health"))
    message = f" ({text(health.get('message'))})" if health.get("message") else ""
    pairs += [
        ("Sync Policy:", _policy(spec)),
        ("Sync Status:", _sync(application)),
        ("Health Status:", f"{health_of(application)}{message}"),
    ]
    return [f"{label:<20}{value}".rstrip() for label, value in pairs]


def _policy(spec: Mapping[str, Any]) -> str:
    automated = _automated(spec)
    if automated is None:
        return "Manual"
    words = [word for field, word in (("prune", "Prune"), ("selfHeal", "Self Heal")) if automated.get(field) is True]
    return f"Automated ({', '.join(words)})" if words else "Automated"


def short(revision: str) -> str:
    """Return a commit's first seven digits; anything else as it is.

    >>> short("6d1b7c2f00000000000000000000000000000000"), short("1.2.3")
    ('6d1b7c2', '1.2.3')
    """
    is_commit = len(revision) == _COMMIT_DIGITS and all(digit in "0123456789abcdef" for digit in revision)
    return revision[:_SHORT_DIGITS] if is_commit else revision


def revisions_of(found: Mapping[str, Any]) -> list[str]:
    """Return the revisions of a part of a status that names one or several."""
    several = found.get("revisions")
    if isinstance(several, list) and several:
        return [text(one) for one in several]
    return [text(found["revision"])] if found.get("revision") else []


def _sync(application: Mapping[str, Any]) -> str:
    sync = mapping(status_of(application).get("sync"))
    targets = [text(source.get("targetRevision")) or "HEAD" for source in sources_of(application)]
    revisions = revisions_of(sync)
    if sync_of(application) == "Unknown" or not (targets and revisions):
        return sync_of(application)
    pairs = zip(targets, revisions, strict=False)
    words = [target if target == revision else f"{target} ({short(revision)})" for target, revision in pairs]
    link = "to" if sync_of(application) == "Synced" else "from"
    return f"{sync_of(application)} {link} {', '.join(words)}"


def operation_lines(application: Mapping[str, Any]) -> list[str]:
    """Return the running or the last operation; nothing if there was none."""
    state = operation_state(application)
    if not state:
        return []
    result = mapping(state.get("syncResult"))
    started, finished = parse_rfc3339(text(state.get("startedAt"))), parse_rfc3339(text(state.get("finishedAt")))
    asked = "Sync" if mapping(state.get("operation")).get("sync") else ""
    pairs = [("Operation:", asked), ("Sync Revision:", ", ".join(revisions_of(result)))]
    pairs += [("Phase:", text(state.get("phase"))), ("Start:", str(started or ""))]
    if finished is not None and started is not None:
        pairs += [("Finished:", str(finished)), ("Duration:", human_duration(finished - started))]
    if retries := state.get("retryCount"):
        pairs.append(("Retries:", str(retries)))
    pairs.append(("Message:", text(state.get("message"))))
    return [f"{label:<20}{value}".rstrip() for label, value in pairs]


def condition_lines(application: Mapping[str, Any]) -> list[str]:
    """Return the conditions as a table; nothing if there are none."""
    found = items(status_of(application).get("conditions"))
    rows = [("CONDITION", "LAST TRANSITION", "MESSAGE")]
    rows += [(text(one.get("type")), text(one.get("lastTransitionTime")), text(one.get("message"))) for one in found]
    return columns(rows) if found else []


# -- history -----------------------------------------------------------------------------------------------------------


def history_lines(application: Mapping[str, Any]) -> list[str]:
    """Return the history as a table, oldest first."""
    rows: list[Row] = [("ID", "DATE", "REVISION", "BY")]
    for entry in items(status_of(application).get("history")):
        sources = items(entry.get("sources")) or [mapping(entry.get("source"))]
        targets = [text(source.get("targetRevision")) or "HEAD" for source in sources]
        words = [
            target if target == revision else f"{target} ({short(revision)})"
            for target, revision in zip(targets, revisions_of(entry), strict=False)
        ]
        by = mapping(entry.get("initiatedBy"))
        who = "automated" if by.get("automated") is True else text(by.get("username"))
        at = parse_rfc3339(text(entry.get("deployedAt")))
        rows.append((str(entry.get("id", 0)), str(at or ""), ", ".join(words), who))
    return columns(rows)

"""What the analysis stanzas of a Rollout ask the planner: templates, and arguments with their values looked up.

Source: argo-rollouts: utils/analysis/factory.go: BuildArgumentsForRolloutAnalysisRun, utils/fieldpath.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from fairlead.core.objects import ObjectMeta
from fairlead.core.plans import AnalysisPlanner, Plan, PlanArg, PlanRequest, TemplateRef
from fairlead.rollouts._analysis import INSTANCE_ID
from fairlead.rollouts._stanzas import AnalysisArgument
from fairlead.rollouts.spec import AnalysisUse, RolloutSpec, RunKey

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']*)'\]")
_SEPARATORS = re.compile(r"[.\[\]]+")


class _BadPath(Exception):
    """A path that leads nowhere; the text is the user's."""


def plans(
    rollout: ObjectMeta,
    content: Mapping[str, Any],
    spec: RolloutSpec,
    planner: AnalysisPlanner,
    *,
    latest_hash: str,
    stable_hash: str,
) -> dict[RunKey, Plan]:
    """Return what every analysis stanza amounts to, by what it is for.

    Args:
        content: the Rollout as JSON data; arguments may refer to its fields.
        latest_hash: hash label of the current revision.
        stable_hash: hash label of the stable one; empty: there is none.
    """
    found: dict[RunKey, Plan] = {}
    for use in spec.analyses:
        if not use.analysis.templates:
            continue
        try:
            request = _request(rollout, content, use, latest_hash, stable_hash)
        except _BadPath as error:
            found[use.step] = Plan(error=str(error), field="args")
        else:
            found[use.step] = planner.plan(request)
    return found


def _request(
    rollout: ObjectMeta, content: Mapping[str, Any], use: AnalysisUse, latest_hash: str, stable_hash: str
) -> PlanRequest:
    analysis = use.analysis
    hashes = {"Latest": latest_hash, "Stable": stable_hash}
    return PlanRequest(
        namespace=rollout.namespace,
        templates=tuple(TemplateRef(ref.template_name, ref.cluster_scope) for ref in analysis.templates),
        args=tuple(PlanArg(found.name, _value(rollout, content, found, hashes)) for found in analysis.args),
        dry_run=tuple(entry.metric_name for entry in analysis.dry_run),
        measurement_retention=tuple((entry.metric_name, entry.limit) for entry in analysis.measurement_retention),
        is_background=use.is_background,
        instance_id=rollout.labels.get(INSTANCE_ID, ""),
    )


def _value(
    rollout: ObjectMeta, content: Mapping[str, Any], argument: AnalysisArgument, hashes: Mapping[str, str]
) -> str | None:
    source = argument.value_from
    if source is None:
        return argument.value or None
    if source.pod_template_hash_value is not None:
        return hashes.get(source.pod_template_hash_value, "")
    if source.field_ref is not None:
        return field_value(rollout, content, source.field_ref.field_path)
    return argument.value or None


def field_value(rollout: ObjectMeta, content: Mapping[str, Any], path: str) -> str:
    """Return the field of a Rollout that a `fieldPath` names, as text.

    Paths that begin with `metadata` follow the downward API, where a label that is not there is empty.

    Raises:
        _BadPath: the path leads nowhere, or to something that is no single value.
    """
    if path.startswith("metadata"):
        return _metadata_value(rollout, path)
    value: Any = content
    for name in filter(None, _SEPARATORS.split(path)):
        if isinstance(value, Mapping):
            if name not in value:
                raise _BadPath(f"invalid path {path} in rollout")
            value = value[name]
        elif isinstance(value, list):
            if not name.isascii() or not name.isdigit():
                raise _BadPath(f"invalid index '{name}'")
            if int(name) >= len(value):
                raise _BadPath(f"index {name} out of range")
            value = value[int(name)]
        else:
            raise _BadPath(f"invalid path {path} in rollout")
    if value is None or isinstance(value, Mapping | list):
        raise _BadPath(f"path {path} in rollout must terminate in a primitive value")
    return _as_go_prints(value)


def _metadata_value(rollout: ObjectMeta, path: str) -> str:
    if matched := _SUBSCRIPT.fullmatch(path):
        values = rollout.labels if matched[1] == "labels" else rollout.annotations
        return values.get(matched[2], "")
    match path:
        case "metadata.name":
            return rollout.name
        case "metadata.namespace":
            return rollout.namespace
        case "metadata.uid":
            return rollout.uid
        case "metadata.labels":
            return _listed(rollout.labels)
        case "metadata.annotations":
            return _listed(rollout.annotations)
        case _:
            raise _BadPath("Analyses arguments must refer to valid object metadata supported by downwardAPI")


def _listed(values: Mapping[str, str]) -> str:
    """Return a map as the downward API writes it: sorted lines of `key="value"`."""
    return "\n".join(f'{key}="{_quoted(value)}"' for key, value in sorted(values.items()))


def _quoted(value: str) -> str:
    return (
        value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
    )


def _as_go_prints(value: str | int | float | bool) -> str:
    """Return a value as Go's `%v`, to which every JSON number is a float64.

    >>> _as_go_prints(600), _as_go_prints(21474836), _as_go_prints(True)
    ('600', '2.1474836e+07', 'true')
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    number = float(value)
    # The shortest digits that read back as the same number, as Go and Python both find them.
    shortest = next(text for text in (f"{number:.{digits}e}" for digits in range(18)) if float(text) == number)
    mantissa, _, exponent = shortest.partition("e")
    if -4 <= int(exponent) < 6:
        return f"{Decimal(repr(number)):f}".removesuffix(".0")
    return f"{mantissa}e{exponent}"

"""Keeping pods of a new revision away from the nodes of stable ones, by a term in their anti-affinity.

The term is injected when the ReplicaSet is created, and does not count when templates are compared. It stays after
the promotion: pods that run are not touched. When another revision becomes stable meanwhile, it is made anew.

Source: argo-rollouts: utils/replicaset/replicaset.go: GenerateReplicaSetAffinity and what follows it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from fairlead.core.kinds import ReplicaSet
from fairlead.core.patches import diff
from fairlead.rollouts._template import HASH_LABEL, affinity_without_injected
from fairlead.rollouts.spec import AntiAffinity, RolloutSpec

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def anti_affinity_of(spec: RolloutSpec) -> AntiAffinity | None:
    """Return the `antiAffinity` of the strategy."""
    strategy = spec.canary or spec.blue_green
    return strategy.anti_affinity if strategy is not None else None


def inject(
    template: Mapping[str, Any], anti_affinity: AntiAffinity | None, *, avoid: str, namespace: str
) -> dict[str, Any]:
    """Return a pod template whose pods keep away from those with a hash.

    Args:
        avoid: hash label of the pods to keep away from; empty: there are none.
    """
    if anti_affinity is None or not avoid:
        return dict(template)
    pod = dict(template.get("spec") or {})
    pod["affinity"] = _with_term(pod.get("affinity") or {}, anti_affinity, avoid=avoid, namespace=namespace)
    return {**template, "spec": pod}


def renew(found: ReplicaSet, spec: RolloutSpec, *, avoid: str, namespace: str) -> dict[str, Any]:
    """Return the merge patch below `spec.template` by which a term names the pods to avoid now; empty: it is right.

    A ReplicaSet without a term gets none.
    """
    if b"podAntiAffinity" not in bytes(found.spec.template):
        return {}
    live = msgspec.json.decode(found.spec.template, type=dict[str, Any])
    affinity = (live.get("spec") or {}).get("affinity") or {}
    avoided = [hash_ for term in _terms(affinity) for hash_ in _avoided(term)]
    if not avoided or avoided == [avoid]:
        return {}
    kept = affinity_without_injected(affinity)
    anti_affinity = anti_affinity_of(spec)
    if anti_affinity is not None:
        kept = _with_term(kept, anti_affinity, avoid=avoid, namespace=namespace)
    return {"spec": {"affinity": diff(affinity, kept) if kept else None}}


def _with_term(
    affinity: Mapping[str, Any], anti_affinity: AntiAffinity, *, avoid: str, namespace: str
) -> dict[str, Any]:
    term: dict[str, Any] = {
        "labelSelector": {"matchExpressions": [{"key": HASH_LABEL, "operator": "In", "values": [avoid]}]},
        "namespaces": [namespace],
        "topologyKey": "kubernetes.io/hostname",
    }
    preferred = anti_affinity.preferred_during_scheduling_ignored_during_execution
    field = REQUIRED if preferred is None else PREFERRED
    entry = term if preferred is None else {"weight": preferred.weight, "podAffinityTerm": term}
    against = dict(affinity.get("podAntiAffinity") or {})
    against[field] = [*(against.get(field) or ()), entry]
    return {**affinity, "podAntiAffinity": against}


def _terms(affinity: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    against = affinity.get("podAntiAffinity") or {}
    preferred = [entry.get("podAffinityTerm") or {} for entry in against.get(PREFERRED) or ()]
    return [*(against.get(REQUIRED) or ()), *preferred]


def _avoided(term: Mapping[str, Any]) -> list[str]:
    expressions = (term.get("labelSelector") or {}).get("matchExpressions") or ()
    return [hash_ for one in expressions if one.get("key") == HASH_LABEL for hash_ in one.get("values") or ()]

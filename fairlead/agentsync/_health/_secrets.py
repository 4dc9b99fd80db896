"""The kinds of external-secrets.io, and cert-manager's Certificate.

Source: gitops.md 10.3; argo-cd: resource_customizations/external-secrets.io, resource_customizations/cert-manager.io.
"""

from __future__ import annotations

from fairlead.agentsync._health._reading import Reading
from fairlead.agentsync._health.verdict import Health, degraded, healthy, progressing
from fairlead.agentsync.resources import kind_of


def by_ready(found: Reading) -> Health:
    """Return what the first `Ready` condition says: ExternalSecret, PushSecret and the stores."""
    ready = found.condition("Ready")
    if ready is not None and ready.is_false:
        return degraded(ready.message)
    if ready is not None and ready.is_true:
        return healthy(ready.message)
    return progressing(f"Waiting for {kind_of(found.found)}")


def cluster_external_secret(found: Reading) -> Health:
    conditions = found.conditions()
    if conditions and conditions[-1].is_true:  # new ones are appended: the last one counts
        last = conditions[-1]
        if last.type == "Ready":
            return healthy(last.message)
        if last.type in ("PartiallyReady", "NotReady"):
            return degraded(last.message)
    return progressing("Waiting for ClusterExternalSecret")


def certificate(found: Reading) -> Health:
    issuing, ready = found.condition("Issuing"), found.condition("Ready")
    if issuing is not None and issuing.is_true:
        return progressing(issuing.message)
    if ready is not None and ready.is_false:
        return degraded(ready.message)
    if ready is not None and ready.is_true:
        return healthy(ready.message)
    return progressing("Waiting for certificate")

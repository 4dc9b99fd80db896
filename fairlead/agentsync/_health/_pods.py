"""Pods: those that serve, and those that end.

Source: gitops.md 10.2; argo-cd: gitops-engine/pkg/health/health_pod.go.
"""

from __future__ import annotations

from typing import Final

from fairlead.agentsync._health._reading import Reading
from fairlead.agentsync._health.verdict import Health, degraded, healthy, progressing, unknown
from fairlead.agentsync.resources import annotations_of

_IGNORE_RESTART_POLICY: Final = "argocd.argoproj.io/ignore-restart-policy"


def pod(found: Reading, *, is_hook: bool) -> Health:
    """Return the health of a Pod.

    One that restarts for ever is judged by its readiness, one that ends by its phase: a hook whose image cannot be
    pulled is not failed, for it might still run after the sync has given up on it.
    """
    is_serving = found.text("spec.restartPolicy") == "Always" or (
        not is_hook and annotations_of(found.found).get(_IGNORE_RESTART_POLICY) == "true"
    )
    stuck = _stuck(found) if is_serving else None
    if stuck is not None:
        return degraded(stuck)
    message = found.text("status.message")
    match found.text("status.phase"):
        case "Pending":
            return progressing(message)
        case "Succeeded":
            return healthy(message)
        case "Failed":
            return degraded(message or _failure(found))
        case "Running" if is_serving:
            return _serving(found, message)
        case "Running" if found.text("spec.restartPolicy") in ("OnFailure", "Never"):
            return progressing(message)
    return unknown(message)


def _stuck(found: Reading) -> str | None:
    messages = []
    for one in found.parts("status.containerStatuses"):
        reason = one.text("state.waiting.reason")
        if reason.startswith("Err") or reason.endswith(("Error", "BackOff")):
            messages.append(one.text("state.waiting.message"))
    return ", ".join(messages) if messages else None


def _serving(found: Reading, message: str) -> Health:
    ready = found.condition("Ready")
    if ready is not None and ready.is_true:
        return healthy(message)
    if any(one.has("lastState.terminated") for one in found.parts("status.containerStatuses")):
        return degraded(message)
    return progressing(message)


def _failure(found: Reading) -> str:
    for one in (*found.parts("status.initContainerStatuses"), *found.parts("status.containerStatuses")):
        if not one.has("state.terminated"):
            continue
        if message := one.text("state.terminated.message"):
            return message
        if one.text("state.terminated.reason") == "OOMKilled":
            return "OOMKilled"
        if code := one.count("state.terminated.exitCode"):
            return f'container "{one.text("name")}" failed with exit code {code}'
    return ""

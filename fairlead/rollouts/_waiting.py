"""What a Rollout can be waiting for: the reasons of `blocked_on`, in logs and in `explain`."""

from __future__ import annotations

from enum import StrEnum


class Waiting(StrEnum):
    """Why a Rollout is not where it is wanted yet."""

    SPEC = "InvalidSpec"  # the user, to mend the spec or what it refers to
    DELETION = "Deletion"  # the garbage collector
    RETRY = "RolloutAborted"  # the user: retry, or another revision
    MANUAL_PAUSE = "ManuallyPaused"  # the user: spec.paused
    PAUSE = "PauseStep"  # time, or a promotion
    INCONCLUSIVE = "InconclusiveAnalysisRun"  # the user
    CANARY_PODS = "CanaryPods"  # pods of the current revision
    STABLE_PODS = "StablePods"  # pods of the stable revision
    OLD_PODS = "OldPods"  # pods of other revisions, to leave
    ROUTER = "TrafficRouter"  # the router, to be asked
    ROUTE = "RouteWrite"  # our own write
    TRAFFIC = "TrafficPending"  # acceptance, evidence or the settle delay
    CONFLICT = "RouteConflict"  # somebody else changes the route
    REFUSED = "RouteRefused"  # the route's controller or the proxy
    PREFLIGHT = "PreflightRefused"  # something around the route
    SERVICE = "ServiceSelector"  # a Service, to select the right pods
    ENDPOINTS = "Endpoints"  # the endpoint controller
    ANALYSIS = "AnalysisRun"  # a verdict
    STEP = "UnsupportedStep"  # a step that nobody here carries out
    RESTART = "Restart"  # pods, to be evicted
    OBSERVATION = "NextLook"  # the effect of what was just asked for

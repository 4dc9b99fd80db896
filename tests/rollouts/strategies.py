"""Arbitrary specs, statuses and observations, sensible and not, of one Rollout with up to three revisions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from fairlead.core.kinds import AnalysisRun, ReplicaSet
from fairlead.core.objects import rfc3339
from fairlead.core.plans import Plan
from fairlead.core.traffic import Held, TrafficSeen
from fairlead.rollouts.observation import Observation
from fairlead.rollouts.spec import RolloutSpec
from fairlead.testing import builders
from fairlead.testing.builders import START, pod_hash

ANALYSIS = {"templates": [{"templateName": "success-rate"}]}
seconds = st.integers(-100, 100).map(lambda number: timedelta(seconds=number))


def steps(*, routed: bool) -> st.SearchStrategy[list[dict[str, Any]]]:
    kinds: list[st.SearchStrategy[dict[str, Any]]] = [
        st.integers(0, 100).map(lambda weight: {"setWeight": weight}),
        st.sampled_from([{"pause": {}}, {"pause": {"duration": 0}}, {"pause": {"duration": "5s"}}]),
        st.just({"analysis": ANALYSIS}),
    ]
    if routed:
        kinds.append(
            st.sampled_from(
                [
                    {"setCanaryScale": {"replicas": 3}},
                    {"setCanaryScale": {"weight": 25}},
                    {"setCanaryScale": {"matchTrafficWeight": True}},
                ]
            )
        )
    return st.lists(st.one_of(kinds), max_size=5)


@st.composite
def spec_contents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid spec of version 2 as JSON data."""
    routed = draw(st.booleans())
    canary: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "canaryMetadata": st.just({"labels": {"role": "canary", "tier": "x"}}),
                "stableMetadata": st.just({"labels": {"role": "stable"}, "annotations": {"on": "call"}}),
                "antiAffinity": st.just({"requiredDuringSchedulingIgnoredDuringExecution": {}}),
            },
        )
    )
    if draw(st.booleans()):
        canary["analysis"] = {**ANALYSIS, "startingStep": draw(st.integers(0, 3))}
    if routed:
        canary |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "scaleDownDelaySeconds": st.integers(0, 60),
                    "abortScaleDownDelaySeconds": st.integers(0, 60),
                    "scaleDownDelayRevisionLimit": st.integers(0, 2),
                    "minPodsPerReplicaSet": st.integers(0, 3),
                    "dynamicStableScale": st.booleans(),
                },
            )
        )
        if canary.get("dynamicStableScale"):
            canary.pop("scaleDownDelaySeconds", None)  # not both
    else:
        canary |= draw(
            st.sampled_from([{}, {"maxSurge": 0, "maxUnavailable": 1}, {"maxSurge": 1, "maxUnavailable": 0}])
        )
    fields = draw(
        st.fixed_dictionaries(
            {},
            optional={
                "paused": st.booleans(),
                "progressDeadlineAbort": st.booleans(),
                "revisionHistoryLimit": st.integers(0, 2),
                "rollbackWindow": st.integers(0, 3).map(lambda number: {"revisions": number}),
            },
        )
    )
    return builders.spec_content(
        *draw(steps(routed=routed)),
        version=2,
        replicas=draw(st.integers(0, 8)),
        routed=routed,
        canary=canary,
        progressDeadlineSeconds=60,
        **fields,
    )


JUNK: st.SearchStrategy[Any] = st.sampled_from([None, True, "junk", -3, 99, [], {}, [1], {"x": 1}, 1.5])


@st.composite
def status_contents(draw: st.DrawFn, spec: RolloutSpec, *, junk: bool = False) -> dict[str, Any]:
    """Draw a status as JSON data; with junk: some fields make no sense."""
    hashes = st.sampled_from([pod_hash(1), pod_hash(2), pod_hash(3), "", "gone"])
    content = builders.status_content(spec, current=2)
    content["stableRS"] = draw(hashes)
    if draw(st.booleans()):
        content["currentPodHash"] = draw(hashes)
    if spec.steps:
        content["currentStepIndex"] = draw(st.integers(-1, len(spec.steps) + 2))
    moment = seconds.map(lambda span: rfc3339(START + span))
    content |= draw(
        st.fixed_dictionaries(
            {},
            optional={
                "abort": st.booleans(),
                "abortedAt": moment,
                "promoteFull": st.booleans(),
                "controllerPause": st.booleans(),
                "pauseConditions": st.lists(
                    st.fixed_dictionaries(
                        {
                            "reason": st.sampled_from(["CanaryPauseStep", "InconclusiveAnalysisRun", "Other"]),
                            "startTime": moment,
                        }
                    ),
                    max_size=2,
                ),
                "conditions": st.lists(
                    st.fixed_dictionaries(
                        {
                            "type": st.sampled_from(["Progressing", "Completed", "Healthy", "Paused", "InvalidSpec"]),
                            "status": st.sampled_from(["True", "False", "Unknown"]),
                            "reason": st.sampled_from(
                                [
                                    "ReplicaSetUpdated",
                                    "RolloutPaused",
                                    "RolloutAborted",
                                    "ProgressDeadlineExceeded",
                                    "NewReplicaSetAvailable",
                                ]
                            ),
                            "lastUpdateTime": moment,
                            "lastTransitionTime": moment,
                        }
                    ),
                    max_size=3,
                    unique_by=lambda found: str(found["type"]),
                ),
                "canary": st.fixed_dictionaries(
                    {},
                    optional={
                        "currentStepAnalysisRunStatus": st.just({"name": "run-0", "status": "Running"}),
                        "currentBackgroundAnalysisRunStatus": st.just({"name": "run-1", "status": ""}),
                    },
                ),
            },
        )
    )
    if junk:
        for key in draw(st.lists(st.sampled_from(sorted(content)), max_size=4)):
            content[key] = draw(JUNK)
    return content


@st.composite
def replica_sets(draw: st.DrawFn) -> tuple[ReplicaSet, ...]:
    found = []
    for version in (1, 2, 3):
        if not draw(st.booleans()):
            continue
        replicas = draw(st.integers(0, 8))
        created = draw(st.integers(0, 8))
        annotations: dict[str, str] = {}
        if draw(st.booleans()):
            annotations["scale-down-deadline"] = draw(
                st.one_of(seconds.map(lambda span: rfc3339(START + span)), st.just("soon"))
            )
        found.append(
            builders.replica_set(
                version,
                replicas=replicas,
                created=created,
                available=draw(st.integers(0, created)),
                age=timedelta(minutes=draw(st.integers(0, 5))),
                annotations=annotations,
            )
        )
    return tuple(found)


@st.composite
def looks(draw: st.DrawFn) -> TrafficSeen:
    """Draw what a router may see."""
    weight = draw(st.one_of(st.none(), st.integers(0, 100)))
    held = draw(st.sampled_from(Held))
    return builders.traffic(
        weight,
        held,
        since=draw(st.one_of(st.none(), seconds.map(lambda span: START + span))),
        blocked=draw(st.sampled_from(["", "P01: not bound"])),
        pods_kept=timedelta(seconds=draw(st.sampled_from([0, 57]))),
    )


def runs() -> st.SearchStrategy[tuple[AnalysisRun, ...]]:
    phases = st.sampled_from(["", "Running", "Successful", "Failed", "Error", "Inconclusive"])
    return st.lists(phases, max_size=3).map(
        lambda found: tuple(
            builders.analysis_run(f"run-{index}", phase, step=index or None) for index, phase in enumerate(found)
        )
    )


@st.composite
def observations(draw: st.DrawFn, spec: RolloutSpec) -> Observation:
    """Draw what the cluster may look like around a Rollout."""
    is_routed = spec.canary is not None and spec.canary.is_routed
    versions = st.sampled_from([None, 1, 2, 3])
    services = (
        builders.services(stable=draw(versions), canary=draw(versions), managed=draw(st.booleans()))
        if is_routed
        else {}
    )
    keys: list[int | None] = [index for index, step in enumerate(spec.steps) if step.analysis is not None]
    found = draw(replica_sets())
    names = st.sampled_from([one.metadata.name for one in found] or ["x"])
    endpoints = st.dictionaries(names, st.integers(1, 8), max_size=2)
    return builders.observation(
        *found,
        services=services,
        endpoints=draw(st.one_of(st.none(), st.fixed_dictionaries(dict.fromkeys(services, endpoints)))),
        traffic=draw(looks()) if is_routed else None,
        runs=draw(runs()),
        plans={key: Plan(spec={"metrics": []}) for key in (*keys, None)},
    )

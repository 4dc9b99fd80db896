"""What an Application is held to be while nobody can be told, and what is written when somebody can again."""

from __future__ import annotations

from typing import Any

import msgspec

from fairlead.agentsync._belief import as_json, believed, outgoing, rebased, too_large
from fairlead.agentsync.kinds import APPLICATIONS, Application


def application(version: str = "1", **parts: Any) -> Application:
    metadata = {
        "name": "web",
        "namespace": "argocd",
        "uid": "u",
        "resourceVersion": version,
        **parts.pop("metadata", {}),
    }
    return APPLICATIONS.decode(msgspec.json.encode({"metadata": metadata, "spec": {"project": "shop"}, **parts}))


SYNC = {"sync": {"revision": "c0ffee", "prune": True}}
STATUS = {"sync": {"status": "Synced", "revision": "c0ffee"}, "health": {"status": "Healthy"}}


def test_a_patch_that_arrived_leaves_nothing_to_write() -> None:
    stored = application(operation=SYNC)
    patch = {"operation": None, "status": STATUS}
    ours = believed(stored, patch)
    assert outgoing(ours, ours) == {}
    assert outgoing(stored, ours) == {**patch, "metadata": {"resourceVersion": "1"}}


def test_only_our_part_is_written() -> None:
    stored = application(status={**STATUS, "unknownField": {"a": 1}, "sourceHydrator": {"b": 2}})
    ours = believed(stored, {"status": {"health": {"status": "Degraded"}}, "metadata": {"labels": {"x": "y"}}})
    assert outgoing(stored, ours) == {"status": {"health": {"status": "Degraded"}}}


def test_an_operation_that_replaces_another_leaves_none_of_its_fields() -> None:
    stored = application(operation=SYNC)
    ours = believed(believed(stored, {"operation": None}), {"operation": {"sync": {"revision": "beef"}}})
    assert outgoing(stored, ours)["operation"] == {"sync": {"revision": "beef", "prune": None}}


def test_the_spec_of_others_and_the_status_of_ours_meet() -> None:
    base = application(status=STATUS)
    ours = believed(base, {"status": {"health": {"status": "Degraded"}}})
    theirs = application("5", spec={"project": "other"}, status=STATUS)
    merged = rebased(base, ours, theirs)
    assert as_json(merged)["spec"] == {"project": "other"}
    assert merged.metadata.resource_version == "5"
    assert outgoing(theirs, merged) == {"status": {"health": {"status": "Degraded"}}}


def test_an_operation_that_somebody_asked_for_meanwhile_is_kept() -> None:
    base = application()
    ours = believed(base, {"operation": {"sync": {"revision": "ours"}}})
    theirs = application("5", operation=SYNC)
    assert as_json(rebased(base, ours, theirs))["operation"] == SYNC
    # The one that we consumed stays consumed.
    base = application(operation=SYNC)
    ours = believed(base, {"operation": None})
    assert as_json(rebased(base, ours, application("5", operation=SYNC))).get("operation") is None


def test_annotations_and_finalizers_are_merged_one_by_one() -> None:
    metadata = {"annotations": {"refresh": "normal", "note": "old"}, "finalizers": ["one", "two"]}
    base = application(metadata=metadata)
    ours = believed(base, {"metadata": {"annotations": {"refresh": None}, "finalizers": ["two", "ours"]}})
    theirs = application(
        "5",
        metadata={"annotations": {"refresh": "normal", "note": "new"}, "finalizers": ["one", "two", "three"]},
    )
    merged = rebased(base, ours, theirs)
    assert merged.metadata.annotations == {"note": "new"}
    assert merged.metadata.finalizers == ("two", "three", "ours")
    assert outgoing(theirs, merged)["metadata"] == {
        "annotations": {"refresh": None},
        "finalizers": ["two", "three", "ours"],
        "resourceVersion": "5",
    }


def test_a_person_who_terminates_meanwhile_is_heard() -> None:
    base = application(status={"operationState": {"phase": "Running", "message": "old"}})
    ours = believed(base, {"status": {"operationState": {"message": "new"}}})
    theirs = application("5", status={"operationState": {"phase": "Terminating", "message": "old"}})
    assert as_json(rebased(base, ours, theirs))["status"] == {
        "operationState": {"phase": "Terminating", "message": "new"}
    }
    done = believed(base, {"status": {"operationState": {"phase": "Succeeded"}}})
    assert as_json(rebased(base, done, theirs))["status"]["operationState"]["phase"] == "Succeeded"


def test_a_status_that_is_too_large_is_cut_and_says_so() -> None:
    resources = [{"kind": "ConfigMap", "name": f"map-{number}", "status": "Synced"} for number in range(1000)]
    result = {"revision": "c0ffee", "resources": resources}
    ours = application(status={"resources": resources, "operationState": {"phase": "Succeeded", "syncResult": result}})
    smaller = as_json(too_large(ours, "etcdserver: request is too large"))["status"]
    [condition] = smaller["conditions"]
    assert condition["type"] == "ComparisonError"
    assert condition["message"].startswith("Application status exceeds the Kubernetes resource size limit")
    assert len(msgspec.json.encode(smaller)) < 1000 and smaller["operationState"]["phase"] == "Succeeded"

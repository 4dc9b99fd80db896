"""kubectl's own annotation under server-side apply."""

from __future__ import annotations

import json
from typing import Any

from fairlead.testing import last_applied
from fairlead.testing.managed import Manager, OwnershipConflict
from fairlead.testing.shapes import PLAIN

MANAGER = Manager("kubectl-client-side-apply", "Update", "v1", "now", frozenset())


def live(spec: dict[str, Any], *, last: Any) -> dict[str, Any]:
    text = last if isinstance(last, str) else json.dumps(last)
    return {"metadata": {"annotations": {last_applied.ANNOTATION: text}}, "spec": spec}


def conflict(*names: str) -> list[OwnershipConflict]:
    return [OwnershipConflict(MANAGER, tuple(("f:spec", f"f:{name}") for name in names))]


def test_what_still_has_the_value_that_kubectl_gave_it_is_its_own() -> None:
    data = live({"a": 1, "b": 9}, last={"spec": {"a": 1, "b": 2}})
    assert last_applied.are_own(conflict("a"), "kubectl", data, PLAIN)
    assert not last_applied.are_own(conflict("a", "b"), "kubectl", data, PLAIN)
    assert not last_applied.are_own(conflict("a"), "somebody", data, PLAIN)


def test_an_annotation_that_makes_no_sense_proves_nothing() -> None:
    for text in ("{", "[]", ""):
        assert not last_applied.are_own(conflict("a"), "kubectl", live({"a": 1}, last=text), PLAIN)


def test_the_annotation_is_kept_up_to_date() -> None:
    data = live({"a": 1}, last={"spec": {"a": 1}})
    config = {"kind": "K", "metadata": {"name": "n", "annotations": {last_applied.ANNOTATION: "x"}}, "spec": {"a": 2}}
    last_applied.refresh(data, config, "kubectl")
    text = data["metadata"]["annotations"][last_applied.ANNOTATION]
    assert json.loads(text) == {"kind": "K", "metadata": {"name": "n"}, "spec": {"a": 2}}
    last_applied.refresh(data, {**config, "spec": {"a": 3}}, "somebody")
    assert data["metadata"]["annotations"][last_applied.ANNOTATION] == text


def test_an_object_without_the_annotation_gets_none() -> None:
    data: dict[str, Any] = {"metadata": {}, "spec": {}}
    last_applied.refresh(data, {"metadata": {"name": "n"}, "spec": {}}, "kubectl")
    assert data == {"metadata": {}, "spec": {}}

"""The order of a sync: phases, waves, kinds, what comes first, and prunes the other way round."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.agentsync._waves import Task, defined_kind, in_order, wave_of
from fairlead.agentsync.options import SyncOptions
from fairlead.agentsync.resources import Object, key_of
from fairlead.agentsync.status import SyncPhase
from tests.agentsync.world import definition, manifest

NO_OPTIONS = SyncOptions()
LAST = SyncOptions.of(["PruneLast=true"])


def applied(found: Object, phase: SyncPhase = SyncPhase.SYNC) -> Task:
    return Task(key=key_of(found), version="v1", phase=phase, wave=wave_of(found), target=found)


def pruned(found: Object) -> Task:
    return Task(key=key_of(found), version="v1", phase=SyncPhase.SYNC, wave=wave_of(found), live=found)


def names(tasks: tuple[Task, ...]) -> list[str]:
    return [f"{task.phase}:{task.wave}:{'-' if task.is_prune else ''}{task.key.kind}/{task.key.name}" for task in tasks]


@pytest.mark.parametrize(
    ("annotations", "wave"),
    [
        ({}, 0),
        ({"wave": "5"}, 5),
        ({"wave": "-5"}, -5),
        ({"wave": "+5"}, 5),
        ({"wave": "1.5"}, 0),
        ({"wave": " 1"}, 0),
        ({"wave": "one", "helm.sh/hook-weight": "3"}, 3),
        ({"wave": "2", "helm.sh/hook-weight": "3"}, 2),
        ({"helm.sh/hook-weight": "-3"}, -3),
        ({"wave": "9" * 40}, 0),
    ],
    ids=str,
)
def test_waves_are_integers(annotations: dict[str, str], wave: int) -> None:
    assert wave_of(manifest("ConfigMap", "one", **annotations)) == wave


def test_phase_then_wave_then_kind_then_name() -> None:
    tasks = [
        applied(manifest("Deployment", "a")),
        applied(manifest("Widget", "a")),
        applied(manifest("ConfigMap", "b")),
        applied(manifest("ConfigMap", "a")),
        applied(manifest("Service", "a", wave="-1")),
        applied(manifest("Job", "a"), SyncPhase.POST_SYNC),
        applied(manifest("Job", "a", wave="9"), SyncPhase.PRE_SYNC),
        applied(manifest("Job", "a"), SyncPhase.SYNC_FAIL),
    ]
    assert names(in_order(tasks, NO_OPTIONS)) == [
        "PreSync:9:Job/a",
        "Sync:-1:Service/a",
        "Sync:0:ConfigMap/a",
        "Sync:0:ConfigMap/b",
        "Sync:0:Deployment/a",
        "Sync:0:Widget/a",
        "PostSync:0:Job/a",
        "SyncFail:0:Job/a",
    ]


def test_a_namespace_comes_before_the_first_that_needs_it_in_its_phase_and_wave() -> None:
    tasks = [
        applied(manifest("Namespace", "shop", wave="5")),
        applied(manifest("Job", "migrate", "shop"), SyncPhase.PRE_SYNC),
        applied(manifest("ConfigMap", "one", "shop")),
        applied(manifest("ConfigMap", "two", "other")),
    ]
    assert names(in_order(tasks, NO_OPTIONS))[:2] == ["PreSync:0:Namespace/shop", "PreSync:0:Job/migrate"]


def test_a_definition_comes_before_the_first_of_its_kind() -> None:
    tasks = [
        applied(definition("Widget")),
        applied(manifest("Widget", "early", wave="-3")),
        applied(manifest("Widget", "late", wave="3")),
        applied(manifest("ConfigMap", "one", wave="-4")),
    ]
    assert names(in_order(tasks, NO_OPTIONS)) == [
        "Sync:-4:ConfigMap/one",
        "Sync:-3:CustomResourceDefinition/widgets.example.com",
        "Sync:-3:Widget/early",
        "Sync:3:Widget/late",
    ]


def test_what_is_early_enough_stays_where_it_is() -> None:
    tasks = [applied(manifest("Namespace", "shop", wave="-9")), applied(manifest("ConfigMap", "one", "shop"))]
    assert names(in_order(tasks, NO_OPTIONS)) == ["Sync:-9:Namespace/shop", "Sync:0:ConfigMap/one"]


def test_several_that_others_need_are_all_hoisted() -> None:
    tasks = [
        applied(definition("Widget")),
        applied(definition("Gadget")),
        applied(manifest("Namespace", "shop")),
        applied(manifest("Gadget", "g", "shop", wave="-1")),
        applied(manifest("Widget", "w", "shop", wave="-1")),
    ]
    ordered = names(in_order(tasks, NO_OPTIONS))
    assert {name.split(":")[1] for name in ordered} == {"-1"}
    for before, after in (
        ("gadgets.example.com", "Gadget/g"),
        ("widgets.example.com", "Widget/w"),
        ("Namespace/shop", "Gadget/g"),
    ):
        assert next(name for name in ordered if before in name or name.endswith(after)).endswith(before)


def test_trap_13_only_waves_with_prunes_are_mirrored() -> None:
    found = [
        pruned(manifest("ConfigMap", "low", wave="-2")),
        pruned(manifest("ConfigMap", "middle", wave="1")),
        pruned(manifest("ConfigMap", "high", wave="9")),
        applied(manifest("ConfigMap", "other", wave="4")),
    ]
    assert names(in_order(found, NO_OPTIONS)) == [
        "Sync:-2:-ConfigMap/high",
        "Sync:1:-ConfigMap/middle",
        "Sync:4:ConfigMap/other",
        "Sync:9:-ConfigMap/low",
    ]


def test_prune_last_is_one_wave_after_the_last() -> None:
    tasks = [
        pruned(manifest("ConfigMap", "gone", wave="-2")),
        applied(manifest("ConfigMap", "one", wave="4")),
        applied(manifest("Job", "after", wave="50"), SyncPhase.POST_SYNC),
    ]
    assert names(in_order(tasks, LAST))[:2] == ["Sync:4:ConfigMap/one", "Sync:5:-ConfigMap/gone"]
    one = [pruned(manifest("ConfigMap", "gone", options="PruneLast=true")), applied(manifest("ConfigMap", "one"))]
    assert names(in_order(one, NO_OPTIONS)) == ["Sync:0:ConfigMap/one", "Sync:1:-ConfigMap/gone"]


def test_prune_last_is_never_before_wave_one() -> None:
    tasks = [pruned(manifest("ConfigMap", "gone")), applied(manifest("ConfigMap", "one", wave="-7"))]
    assert names(in_order(tasks, LAST)) == ["Sync:-7:ConfigMap/one", "Sync:1:-ConfigMap/gone"]


def test_what_a_definition_defines() -> None:
    assert defined_kind(definition("Widget")) == ("example.com", "Widget")
    assert defined_kind({"spec": 7}) == ("", "")
    assert defined_kind({"spec": {"names": [], "group": 1}}) == ("", "")


KINDS = st.sampled_from(["Namespace", "ConfigMap", "Deployment", "Widget", "Job", "CustomResourceDefinition"])
OBJECTS = st.builds(
    lambda kind, name, wave, prune: (pruned if prune else applied)(
        definition("Widget")
        if kind == "CustomResourceDefinition"
        else manifest(kind, name, "" if kind == "Namespace" else "a", wave=str(wave))
    ),
    KINDS,
    st.sampled_from("abc"),
    st.integers(min_value=-2, max_value=2),
    st.booleans(),
)


@given(st.lists(OBJECTS, max_size=12), st.booleans())
def test_nothing_is_lost_and_phases_and_waves_rise(tasks: list[Task], last: bool) -> None:
    ordered = in_order(tasks, LAST if last else NO_OPTIONS)
    assert sorted(str(task.key) for task in ordered) == sorted(str(task.key) for task in tasks)
    waves = [(list(SyncPhase).index(task.phase), task.wave) for task in ordered]
    assert all(one <= other for one, other in pairwise(waves))
    made = [index for index, task in enumerate(ordered) if task.key.kind == "CustomResourceDefinition" and task.target]
    used = [index for index, task in enumerate(ordered) if task.key.kind == "Widget" and task.target]
    assert not made or not used or min(made) < min(used)

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.testing.workloads import deployment as deployments
from fairlead.testing.workloads._objects import (
    Deployment,
    DeploymentSpec,
    DeploymentStatus,
    DeploymentStrategy,
    ReplicaSet,
    ReplicaSetSpec,
    ReplicaSetStatus,
    RollingUpdate,
)
from tests.properties import examples
from tests.testing.workloads.make import at, meta, owned, pod, raw


def template(image: str, **labels: str) -> msgspec.Raw:
    return raw(
        {"metadata": {"labels": {"app": "web", **labels}}, "spec": {"containers": [{"name": "web", "image": image}]}}
    )


def deployment(
    replicas: int = 10,
    *,
    image: str = "web:2",
    surge: int | str = "25%",
    unavailable: int | str = "25%",
    strategy: str = "RollingUpdate",
    revision: str = "2",
    **more: Any,
) -> Deployment:
    status = more.pop("status", DeploymentStatus())
    rolling = RollingUpdate(max_surge=surge, max_unavailable=unavailable)
    return Deployment(
        metadata=meta("web", annotations={deployments.REVISION: revision}),
        spec=DeploymentSpec(
            replicas=replicas,
            template=template(image),
            strategy=DeploymentStrategy(type=strategy, rolling_update=rolling),
            **more,
        ),
        status=status,
    )


def replica_set(
    name: str, image: str, replicas: int, *, available: int | None = None, revision: int = 1, created: float = 0.0
) -> ReplicaSet:
    ready = replicas if available is None else available
    # The size annotations of the Deployment above, so that the table sees moves only.
    notes = {deployments.REVISION: str(revision), deployments.DESIRED: "10", deployments.MAX: "13"}
    return ReplicaSet(
        metadata=meta(
            name, annotations=notes, owner_references=owned("Deployment", "uid-web"), creation_timestamp=at(created)
        ),
        spec=ReplicaSetSpec(replicas=replicas, template=template(image, **{deployments.HASH: name})),
        status=ReplicaSetStatus(
            replicas=replicas, ready_replicas=ready, available_replicas=ready, observed_generation=1
        ),
    )


def told(action: deployments.Action) -> tuple[str, object]:
    """Return an action as the tables write it."""
    match action:
        case deployments.CreateReplicaSet(body=body):
            return ("create", body["spec"]["replicas"])
        case deployments.PatchReplicaSet(replica_set=found, body=body):
            return (found.metadata.name, body.get("spec", {}).get("replicas"))
        case deployments.DeleteReplicaSet(replica_set=found):
            return ("delete", found.metadata.name)
        case deployments.Annotate(revision=revision):
            return ("revision", revision)


OLD_FULL = replica_set("old", "web:1", 10)


@pytest.mark.parametrize(
    ("wished", "found", "moves"),
    [
        pytest.param(deployment(), [], [("create", 10)], id="first-version-in-full"),
        pytest.param(deployment(), [OLD_FULL], [("create", 3)], id="surge-rounded-up"),
        pytest.param(
            deployment(),
            [OLD_FULL, replica_set("new", "web:2", 3, available=0, revision=2)],
            [("old", 8)],
            id="unavailable-rounded-down",
        ),
        pytest.param(
            deployment(),
            [replica_set("old", "web:1", 8), replica_set("new", "web:2", 3, available=0, revision=2)],
            [("new", 5)],
            id="grow-into-the-room",
        ),
        pytest.param(
            deployment(),
            [replica_set("old", "web:1", 8), replica_set("new", "web:2", 5, available=0, revision=2)],
            [],
            id="wait-for-the-new-ones",
        ),
        pytest.param(
            deployment(),
            [replica_set("old", "web:1", 8), replica_set("new", "web:2", 5, available=3, revision=2)],
            [("old", 5)],
            id="three-new-ones-release-three-old",
        ),
        pytest.param(
            deployment(),
            [replica_set("old", "web:1", 10, available=4), replica_set("new", "web:2", 3, available=0, revision=2)],
            [("old", 8)],
            id="broken-old-ones-go-first",
        ),
        pytest.param(
            deployment(surge=0, unavailable=0),
            [OLD_FULL, replica_set("new", "web:2", 0, revision=2)],
            [("new", None), ("old", 9)],
            id="both-zero-lets-one-go",
        ),
        pytest.param(deployment(strategy="Recreate"), [OLD_FULL], [("old", 0)], id="recreate-stops-first"),
        pytest.param(deployment(paused=True), [OLD_FULL], [], id="paused-starts-nothing"),
    ],
)
def test_moves(wished: Deployment, found: list[ReplicaSet], moves: list[tuple[str, object]]) -> None:
    plan = deployments.decide(wished, found, [], at(1))
    assert [told(action) for action in plan.actions] == moves


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [pytest.param("Recreate", [], id="waits-for-the-old-pods"), pytest.param("RollingUpdate", 3, id="does-not-wait")],
)
def test_recreate_waits_until_the_old_version_is_gone(strategy: str, expected: object) -> None:
    stopped = replica_set("old", "web:1", 0)
    lingering = pod("a", deleting=True)
    lingering = msgspec.structs.replace(
        lingering, metadata=msgspec.structs.replace(lingering.metadata, owner_references=owned("ReplicaSet", "uid-old"))
    )
    wished = deployment(3, strategy=strategy)
    actions = [told(action) for action in deployments.decide(wished, [stopped], [lingering], at(1)).actions]
    assert actions == (expected if expected == [] else [("create", expected)])
    assert [told(a) for a in deployments.decide(wished, [stopped], [], at(1)).actions] == [("create", 3)]


def test_rollback_gives_the_old_template_a_new_revision() -> None:
    found = [replica_set("one", "web:1", 3, revision=1), replica_set("two", "web:2", 10, revision=2)]
    plan = deployments.decide(deployment(image="web:1", revision="2"), found, [], at(1))
    shrink, patch, annotate = plan.actions
    assert told(shrink) == ("two", 5)
    assert isinstance(patch, deployments.PatchReplicaSet)
    assert patch.replica_set.metadata.name == "one"
    assert patch.body["metadata"]["annotations"] == {deployments.REVISION: "3"}
    assert told(annotate) == ("revision", "3")


def test_history_is_kept_up_to_the_limit_once_the_update_is_through() -> None:
    olds = [replica_set(f"v{number}", f"web:old{number}", 0, revision=number) for number in range(1, 5)]
    new = replica_set("new", "web:2", 10, revision=5)
    wished = deployment(revision="5", revision_history_limit=2)
    plan = deployments.decide(wished, [*olds, new], [], at(1))
    assert [told(action) for action in plan.actions] == [("delete", "v1"), ("delete", "v2")]
    unfinished = replica_set("new", "web:2", 10, available=9, revision=5)
    assert deployments.decide(wished, [*olds, unfinished], [], at(1)).actions == ()


def test_created_replica_set_is_selected_by_its_hash() -> None:
    (create,) = deployments.decide(deployment(3, revision=""), [], [], at(1)).actions
    assert isinstance(create, deployments.CreateReplicaSet)
    hash_ = create.body["metadata"]["labels"][deployments.HASH]
    assert create.body["metadata"]["name"] == f"web-{hash_}"
    assert create.body["spec"]["selector"]["matchLabels"][deployments.HASH] == hash_
    assert create.body["spec"]["template"]["metadata"]["labels"] == {"app": "web", deployments.HASH: hash_}
    assert hash_ == deployments.template_hash(template("web:2"))
    assert hash_ != deployments.template_hash(template("web:3"))
    assert hash_ != deployments.template_hash(template("web:2"), collisions=1)


@pytest.mark.parametrize(
    ("value", "total", "up", "count"),
    [
        pytest.param("25%", 10, True, 3, id="up"),
        pytest.param("25%", 10, False, 2, id="down"),
        pytest.param(4, 10, True, 4, id="count"),
        pytest.param("many", 10, True, 0, id="neither"),
        pytest.param("4", 10, True, 0, id="text-without-percent"),
    ],
)
def test_int_or_percent(value: int | str, total: int, up: bool, count: int) -> None:
    assert deployments.resolve(value, total, up=up) == count


def progressing(plan: deployments.Plan) -> tuple[str, str]:
    (found,) = [condition for condition in plan.status.conditions if condition.type == "Progressing"]
    return found.status, found.reason


def follow(wished: Deployment, plan: deployments.Plan) -> Deployment:
    return msgspec.structs.replace(wished, status=plan.status)


def test_a_story_of_progress() -> None:
    wished = deployment(10, progress_deadline_seconds=60)
    plan = deployments.decide(wished, [OLD_FULL], [], at(0))
    assert (progressing(plan), plan.wake_at) == (("True", "NewReplicaSetCreated"), at(60))

    some = [replica_set("old", "web:1", 8), replica_set("new", "web:2", 3, available=0, revision=2)]
    plan = deployments.decide(wished := follow(wished, plan), some, [], at(10))
    assert (progressing(plan), plan.wake_at) == (("True", "ReplicaSetUpdated"), at(70))

    # Nothing moves: the deadline stands, and passes once.
    plan = deployments.decide(wished := follow(wished, plan), some, [], at(69))
    assert (progressing(plan), plan.wake_at) == (("True", "ReplicaSetUpdated"), at(70))
    plan = deployments.decide(wished := follow(wished, plan), some, [], at(70))
    assert (progressing(plan), plan.wake_at) == (("False", "ProgressDeadlineExceeded"), None)
    timed_out, wished = plan.status, follow(wished, plan)
    assert deployments.decide(wished, some, [], at(99)).status == timed_out

    done = [replica_set("old", "web:1", 0), replica_set("new", "web:2", 10, revision=2)]
    plan = deployments.decide(wished, done, [], at(100))
    assert progressing(plan) == ("True", "NewReplicaSetAvailable")

    # A pod that fails after the update is no lack of progress.
    hurt = [replica_set("old", "web:1", 0), replica_set("new", "web:2", 10, available=9, revision=2)]
    plan = deployments.decide(follow(wished, plan), hurt, [], at(500))
    assert (progressing(plan), plan.wake_at) == (("True", "NewReplicaSetAvailable"), None)


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        pytest.param(8, ("True", "MinimumReplicasAvailable"), id="at-the-minimum"),
        pytest.param(7, ("False", "MinimumReplicasUnavailable"), id="below"),
    ],
)
def test_available(available: int, expected: tuple[str, str]) -> None:
    found = [replica_set("new", "web:2", 10, available=available, revision=2)]
    plan = deployments.decide(deployment(), found, [], at(0))
    (condition,) = [c for c in plan.status.conditions if c.type == "Available"]
    assert (condition.status, condition.reason) == expected
    assert plan.status.unavailable_replicas == 10 - available


def test_surge_and_unavailable_of_a_large_deployment() -> None:
    assert deployments.surge_and_unavailable(deployment(10)) == (3, 2)


def test_instants_are_whole_seconds() -> None:
    plan = deployments.decide(deployment(), [], [], at(0.75))
    stamps: list[datetime | None] = [condition.last_transition_time for condition in plan.status.conditions]
    assert stamps == [at(0)] * len(stamps)


@examples(100)
@given(
    wish=st.integers(0, 30),
    surge=st.one_of(st.integers(0, 5), st.sampled_from(["0%", "10%", "25%", "100%"])),
    unavailable=st.one_of(st.integers(0, 5), st.sampled_from(["0%", "10%", "25%", "100%"])),
    olds=st.lists(st.integers(0, 20), max_size=3),
    pace=st.integers(1, 7),
)
def test_rolling_update_stays_in_its_bounds_and_ends(
    wish: int, surge: int | str, unavailable: int | str, olds: list[int], pace: int
) -> None:
    """Whatever is there at first: never more pods than before or allowed, never fewer available than allowed."""
    wished = deployment(wish, surge=surge, unavailable=unavailable)
    above, missing = deployments.surge_and_unavailable(wished)
    world = {f"v{n}": replica_set(f"v{n}", f"web:old{n}", size, revision=n + 1) for n, size in enumerate(olds)}
    total_max = max(sum(olds), wish + above)
    floor = min(sum(olds), wish - missing)
    for _ in range(500):
        plan = deployments.decide(wished, list(world.values()), [], at(1))
        for action in plan.actions:
            match action:
                case deployments.CreateReplicaSet(body=body):
                    world["new"] = replica_set("new", "web:2", body["spec"]["replicas"], available=0, revision=9)
                case deployments.PatchReplicaSet(replica_set=found, body=body) if "spec" in body:
                    size = body["spec"]["replicas"]
                    left = min(found.status.available_replicas, size)
                    world[found.metadata.name] = replica_set(
                        found.metadata.name,
                        "web:2" if found.metadata.name == "new" else f"web:old{found.metadata.name[1:]}",
                        size,
                        available=left,
                        revision=deployments.revision_of(found),
                    )
                case _:
                    pass
        assert sum(found.spec.replicas for found in world.values()) <= total_max
        assert sum(found.status.available_replicas for found in world.values()) >= floor
        new = world["new"]
        if new.status.available_replicas == wish and all(
            not found.spec.replicas for name, found in world.items() if name != "new"
        ):
            assert new.spec.replicas == wish
            return
        # Some of the new pods become available before the next look.
        ready = min(new.spec.replicas, new.status.available_replicas + pace)
        world["new"] = replica_set("new", "web:2", new.spec.replicas, available=ready, revision=9)
    raise AssertionError(f"does not end: {world}")

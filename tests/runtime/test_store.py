"""A store shows the newest state that anybody has told it, and never an older one again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from fairlead.core import selectors
from fairlead.core.cluster import View
from fairlead.core.errors import SpecError
from fairlead.core.kinds import ReplicaSet
from fairlead.core.objects import ObjectKey, OwnerReference
from fairlead.runtime.store import TOMBSTONE_SECONDS, Change, Store
from fairlead.testing.clock import ManualClock
from tests.runtime.scripted import added, bookmark, deleted, modified, replica_set, undecodable

KEY = ObjectKey("shop", "a")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def store_of(
    *items: ReplicaSet, clock: ManualClock | None = None, version: str = "10", **options: Any
) -> Store[ReplicaSet]:
    store: Store[ReplicaSet] = Store("replicasets.apps", clock or ManualClock(), **options)
    store.replace(items, resource_version=version)
    return store


def changes_of(store: Store[ReplicaSet]) -> list[tuple[int | None, int | None]]:
    """Subscribe; return the list that fills with the versions before and after each change."""
    heard: list[tuple[int | None, int | None]] = []

    def note(change: Change[ReplicaSet]) -> None:
        if not change.is_initial:
            heard.append((version_of(change.old), version_of(change.new)))

    store.subscribe(note)
    return heard


def version_of(item: ReplicaSet | None) -> int | None:
    return None if item is None else item.metadata.version


def test_it_is_a_view() -> None:
    view: View[ReplicaSet] = store_of(replica_set("a"))
    assert view.get(KEY) == replica_set("a")


def test_lists_are_sorted_by_key_and_cut_by_namespace() -> None:
    items = [
        replica_set("b"),
        replica_set("a"),
        replica_set("z", namespace="shop-two"),
        replica_set("m", namespace="sho"),
    ]
    store = store_of(*items)
    assert [item.metadata.name for item in store.list()] == ["m", "a", "b", "z"]
    assert [item.metadata.name for item in store.list("shop")] == ["a", "b"]
    assert store.list("sh") == []
    assert len(store) == 4
    assert store.get(ObjectKey("shop", "b")) == items[0]
    assert store.get(ObjectKey("shop", "z")) is None


def by_owner(item: ReplicaSet) -> Iterable[str]:
    return (owner.uid for owner in item.metadata.owner_references)


def owned(name: str, version: int, *owners: str) -> ReplicaSet:
    references = tuple(OwnerReference(api_version="v1", kind="K", name=uid, uid=uid) for uid in owners)
    return replica_set(name, version, owner_references=references)


def test_indexes_follow_every_change() -> None:
    store = store_of(owned("b", 1, "x"), owned("a", 2, "x", "y"), owned("c", 3), indexes={"owner": by_owner})

    def names(owner: str) -> list[str]:
        return [item.metadata.name for item in store.by_index("owner", owner)]

    assert (names("x"), names("y"), names("z")) == (["a", "b"], ["a"], [])
    store.apply(modified(owned("a", 11, "z")))
    assert (names("x"), names("y"), names("z")) == (["b"], [], ["a"])
    store.apply(deleted(owned("b", 12, "x")))
    assert names("x") == []
    store.replace([owned("n", 13, "x")], resource_version="13")
    assert (names("x"), names("z")) == (["n"], [])
    with pytest.raises(KeyError):
        store.by_index("colour", "red")


def test_an_index_function_that_cannot_read_an_object_leaves_only_that_one_out() -> None:
    def by_size(item: ReplicaSet) -> Iterable[str]:
        if item.metadata.name == "odd":
            raise SpecError("no size", path="spec.size")
        return ["small"]

    store = store_of(replica_set("a"), replica_set("odd"), indexes={"size": by_size})
    assert [item.metadata.name for item in store.by_index("size", "small")] == ["a"]
    assert store.get(ObjectKey("shop", "odd")) is not None


Step = Callable[[Store[ReplicaSet]], object]


def a(version: int | str, **options: Any) -> ReplicaSet:
    return replica_set("a", version, **options)


def put(item: ReplicaSet) -> Step:
    return lambda store: store.put(item)


def saw(what: Any) -> Step:
    return lambda store: store.apply(what)


def seen(item: ReplicaSet) -> Step:
    return saw(modified(item))


def unseen(item: ReplicaSet) -> Step:
    return saw(deleted(item))


def listed(*items: ReplicaSet, version: int | str) -> Step:
    return lambda store: store.replace(items, resource_version=str(version))


def acknowledged(uid: str = "a", *, is_gone: bool = True) -> Step:
    return lambda store: store.deleted(KEY, uid, at=AT, is_gone=is_gone)


def anticipated(item: ReplicaSet) -> Step:
    return lambda store: store.anticipate(item)


def given_up(store: Store[ReplicaSet]) -> None:
    store.forget(KEY)


DELETING = replica_set("a", 12, deletion_timestamp=AT)


@pytest.mark.parametrize(
    ("steps", "uid", "version"),
    [
        pytest.param([seen(a(11))], "a", 11, id="newer-event-wins"),
        pytest.param([seen(a(9))], "a", 10, id="older-event-is-late"),
        pytest.param([seen(a(100)), seen(a(99))], "a", 100, id="99-is-not-above-100"),
        pytest.param([put(a(12)), seen(a(11))], "a", 12, id="event-from-before-our-write"),
        pytest.param([seen(a(12)), put(a(11))], "a", 12, id="late-reply"),
        pytest.param([saw(bookmark(50))], "a", 10, id="bookmark-changes-nothing"),
        pytest.param([seen(a(""))], "a", 0, id="event-without-version-wins"),
        pytest.param([seen(a("x7")), seen(a(5))], "a", 5, id="versions-that-are-no-numbers-count-by-arrival"),
        # deletion
        pytest.param([unseen(a(12))], None, None, id="deleted"),
        pytest.param([unseen(a(10))], None, None, id="deleted-with-its-last-version"),
        pytest.param([unseen(a(12)), seen(a(11))], None, None, id="late-event-does-not-resurrect"),
        pytest.param([unseen(a(12)), put(a(11))], None, None, id="late-reply-does-not-resurrect"),
        pytest.param([unseen(a(12)), seen(a(14))], "a", 14, id="left-the-selector-and-came-back"),
        pytest.param([put(a(14)), unseen(a(12))], "a", 14, id="came-back-by-our-own-write"),
        pytest.param([seen(a(15, uid="second")), unseen(a(12))], "second", 15, id="deletion-of-an-earlier-bearer"),
        pytest.param([seen(a(15, uid="second")), seen(a(13))], "second", 15, id="late-event-of-an-earlier-bearer"),
        pytest.param([put(a(15, uid="second")), put(a(14))], "second", 15, id="late-reply-of-an-earlier-bearer"),
        # our own deletion
        pytest.param([acknowledged()], None, None, id="acknowledged-deletion-is-seen-at-once"),
        pytest.param([acknowledged(), seen(a(11))], None, None, id="event-from-before-our-deletion"),
        pytest.param([acknowledged(), put(a(11))], None, None, id="reply-from-before-our-deletion"),
        pytest.param([acknowledged(), listed(a(10), version=11)], None, None, id="list-from-before-our-deletion"),
        pytest.param([acknowledged(), seen(DELETING)], "a", 12, id="a-finalizer-that-we-did-not-know-of"),
        pytest.param([acknowledged(), seen(a(13, uid="second"))], "second", 13, id="created-again-by-somebody"),
        pytest.param([acknowledged("another")], "a", 10, id="deletion-of-another-object"),
        pytest.param([acknowledged(is_gone=False), seen(DELETING)], "a", 12, id="held-by-a-finalizer"),
        # lists
        pytest.param([listed(version=20)], None, None, id="not-in-the-list"),
        pytest.param([listed(a(15), version=20)], "a", 15, id="newer-in-the-list"),
        pytest.param([put(a(21)), listed(version=20)], "a", 21, id="created-after-the-list"),
        pytest.param([put(a(21)), listed(a(15), version=20)], "a", 21, id="written-after-the-list"),
        pytest.param([put(a(21)), listed(version=20), listed(version=22)], None, None, id="gone-by-the-next-list"),
        pytest.param([seen(a(15)), listed(a(11), version=12)], "a", 15, id="stale-list-is-no-way-back"),
        pytest.param([unseen(a(15)), listed(a(11), version=12)], None, None, id="stale-list-does-not-resurrect"),
        pytest.param([listed(version=""), listed(a(3), version="")], "a", 3, id="list-without-version"),
        # anticipation
        pytest.param([anticipated(a(10, replicas=7)), given_up], "a", 10, id="forgotten"),
        pytest.param([anticipated(a(10, replicas=7)), put(a(11))], "a", 11, id="answered"),
        pytest.param([anticipated(a(9, replicas=7))], "a", 10, id="decided-on-an-old-state"),
        pytest.param([anticipated(a(10, uid="other"))], "a", 10, id="decided-on-another-object"),
        pytest.param([unseen(a(11)), anticipated(a(10))], None, None, id="decided-on-what-is-gone"),
        pytest.param([anticipated(a(10, replicas=7)), listed(version=30)], None, None, id="anticipated-and-gone"),
    ],
)  # fmt: skip
def test_the_newest_state_is_shown(steps: list[Step], uid: str | None, version: int | None) -> None:
    store = store_of(replica_set("a", 10))
    for step in steps:
        step(store)
    shown = store.get(KEY)
    assert (None if shown is None else shown.metadata.uid, version_of(shown)) == (uid, version)
    assert [item.metadata.key for item in store.list()] == ([] if uid is None else [KEY])
    assert shown is None or shown.spec.replicas == 1


def test_an_anticipated_object_is_shown_until_a_newer_one_arrives() -> None:
    """T9 of Rollouts."""
    store = store_of(replica_set("a", 10))
    seen = changes_of(store)
    wished = replica_set("a", 10, replicas=7)
    store.anticipate(wished)
    assert store.get(KEY) is wished
    store.apply(modified(replica_set("a", 10)))  # the state that we decided on, once more
    store.replace([replica_set("a", 10)], resource_version="11")
    assert store.get(KEY) is wished
    store.apply(modified(replica_set("a", 12)))
    assert version_of(store.get(KEY)) == 12
    assert seen == [(10, 10), (10, 12)]


def test_an_object_that_lives_on_after_its_deletion_is_shown_as_being_deleted() -> None:
    store = store_of(replica_set("a", 10, finalizers=("hold",)))
    store.deleted(KEY, "a", at=AT, is_gone=False)
    shown = store.get(KEY)
    assert shown is not None
    assert shown.metadata.is_deleting
    assert shown.metadata.deletion_timestamp == AT


def test_a_second_deletion_of_what_is_being_deleted_changes_nothing() -> None:
    store = store_of(replica_set("a", 10, finalizers=("hold",), deletion_timestamp=AT))
    seen = changes_of(store)
    store.deleted(KEY, "a", at=AT, is_gone=False)
    store.deleted(KEY, "", at=AT, is_gone=True)
    assert (version_of(store.get(KEY)), seen, store.name) == (10, [], "replicasets.apps")


def test_late_problems_are_no_problems() -> None:
    store = store_of(replica_set("a", 10), replica_set("b", 10))
    store.apply(modified(undecodable("a", 9)))
    store.apply(deleted(replica_set("b", 12)))
    store.apply(modified(undecodable("b", 11)))
    assert (store.problems(), version_of(store.get(KEY)), len(store)) == ({}, 10, 1)


def test_tombstones_expire() -> None:
    clock = ManualClock()
    store = store_of(*(replica_set(f"n{number}", 10) for number in range(100)), clock=clock)
    for number in range(100):
        store.apply(deleted(replica_set(f"n{number}", 11)))
    assert len(store._tombstones) == 100
    clock.advance(TOMBSTONE_SECONDS)
    store.apply(bookmark(12))
    assert len(store._tombstones) == 0


def test_nothing_is_held_but_live_objects() -> None:
    clock = ManualClock()
    store = store_of(clock=clock, indexes={"owner": by_owner})
    for number in range(300):
        store.apply(added(owned(f"n{number}", 100 + number, f"owner-{number}")))
        store.anticipate(owned(f"n{number}", 100 + number, f"owner-{number}"))
        store.apply(added(undecodable(f"odd{number}", 1000 + number)))
    for number in range(300):
        store.apply(deleted(owned(f"n{number}", 2000 + number)))
        store.apply(deleted(undecodable(f"odd{number}", 3000 + number)))
        clock.advance(10)
    clock.advance(TOMBSTONE_SECONDS)
    store.apply(bookmark(4000))
    held = {name: value for name, value in vars(store).items() if isinstance(value, dict | list) and value}
    assert held == {"_index_functions": {"owner": by_owner}}


def test_objects_that_cannot_be_decoded_are_kept_apart() -> None:
    store = store_of(replica_set("a", 10), replica_set("b", 10))
    seen: list[Change[ReplicaSet]] = []
    store.subscribe(seen.append)
    seen.clear()
    odd = undecodable("a", 11)
    store.apply(modified(odd))
    assert store.get(KEY) is None
    assert store.problems() == {KEY: odd}
    assert [item.metadata.name for item in store.list()] == ["b"]
    assert [(version_of(change.old), change.new, change.problem) for change in seen] == [(10, None, odd)]
    store.apply(modified(replica_set("a", 9)))  # late
    assert store.problems() == {KEY: odd}
    store.apply(modified(replica_set("a", 12)))  # mended
    assert store.problems() == {}
    assert version_of(store.get(KEY)) == 12
    store.apply(modified(undecodable("a", 13)))
    store.apply(deleted(undecodable("a", 14)))
    assert store.problems() == {}
    assert version_of(seen[-1].new) is None


def test_a_list_tells_of_objects_that_cannot_be_decoded() -> None:
    store = store_of(replica_set("a", 10))
    seen: list[Change[ReplicaSet]] = []
    store.subscribe(seen.append)
    seen.clear()
    removed = store.replace([replica_set("b", 12)], [undecodable("a", 11), undecodable("c", 11)], resource_version="12")
    assert removed == (replica_set("a", 10),)
    assert sorted(key.name for key in store.problems()) == ["a", "c"]
    assert [(change.key.name, version_of(change.new), change.problem is not None) for change in seen] == [
        ("a", None, True),
        ("b", 12, False),
        ("c", None, True),
    ]
    store.replace([replica_set("a", 13), replica_set("b", 12)], resource_version="14")
    assert store.problems() == {}


def test_a_list_replaces_all_at_once_and_tells_only_what_changed() -> None:
    store = store_of(replica_set("a", 10), replica_set("b", 10), replica_set("c", 10))
    seen: list[str] = []

    def note(change: Change[ReplicaSet]) -> None:
        # Whoever is called sees the whole new world already.
        seen.append(f"{change.key.name}:{version_of(change.old)}>{version_of(change.new)}")
        assert [item.metadata.name for item in store.list()] == ["b", "c", "d"]

    store._subscribers.append(note)
    removed = store.replace([replica_set("b", 10), replica_set("c", 15), replica_set("d", 12)], resource_version="20")
    assert [item.metadata.name for item in removed] == ["a"]
    assert seen == ["a:10>None", "c:10>15", "d:None>12"]


def test_repeated_events_tell_nothing() -> None:
    store = store_of(replica_set("a", 10))
    seen = changes_of(store)
    for _ in range(3):
        store.apply(modified(replica_set("a", 11)))
        store.put(replica_set("a", 11))
    for _ in range(3):
        store.apply(deleted(replica_set("a", 12)))
    assert seen == [(10, 11), (11, None)]


def test_has_synced_after_the_first_list_and_its_changes_are_initial() -> None:
    store: Store[ReplicaSet] = Store("replicasets.apps", ManualClock())
    initial: list[bool] = []
    store.subscribe(lambda change: initial.append(change.is_initial))
    synced = [store.has_synced]
    store.replace([replica_set("a", 10)], resource_version="10")
    synced.append(store.has_synced)
    assert synced == [False, True]
    store.apply(added(replica_set("b", 11)))
    assert initial == [True, False]
    late: list[str] = []
    store.subscribe(lambda change: late.append(f"{change.key.name} {change.is_initial}"))
    assert late == ["a True", "b True"]


def test_a_kind_that_is_not_served_counts_as_synced_and_empty() -> None:
    store = store_of(replica_set("a", 10))
    seen = changes_of(store)
    store.absent()
    assert (store.served, store.has_synced, len(store)) == (False, True, 0)
    assert seen == [(10, None)]
    store.replace([replica_set("a", 30)], resource_version="30")
    assert store.served
    assert version_of(store.get(KEY)) == 30


@pytest.mark.parametrize(
    ("item", "is_kept"),
    [
        pytest.param(replica_set("n", 20, labels={"app": "web"}), True, id="in-scope"),
        pytest.param(replica_set("n", 20, namespace="other", labels={"app": "web"}), False, id="other-namespace"),
        pytest.param(replica_set("n", 20, labels={"app": "db"}), False, id="not-selected"),
    ],
)
def test_replies_outside_of_the_scope_are_not_kept(item: ReplicaSet, is_kept: bool) -> None:
    store = store_of(namespace="shop", selector=selectors.parse("app=web"))
    store.put(item)
    assert (store.get(item.metadata.key) is not None) is is_kept


def test_a_subscriber_that_fails_harms_nobody() -> None:
    store = store_of()
    seen: list[str] = []

    def broken(change: Change[ReplicaSet]) -> None:
        raise RuntimeError("a bug")

    store.subscribe(broken)
    stop = store.subscribe(lambda change: seen.append(change.key.name))
    with capture_logs() as logs:
        store.apply(added(replica_set("a", 11)))
    assert seen == ["a"]
    assert [(line["event"], line["object"], line["log_level"]) for line in logs] == [
        ("subscriber_failed", "shop/a", "error")
    ]
    stop()
    store.apply(added(replica_set("b", 12)))
    assert seen == ["a"]


@given(st.data())
def test_whatever_the_order_of_arrival_the_newest_state_is_shown(data: st.DataObject) -> None:
    """One object's life (states of two incarnations) arrives as events and replies, shuffled and doubled."""
    first = [replica_set("a", version, uid="one") for version in range(11, 15)]
    second = [replica_set("a", version, uid="two") for version in range(16, 19)]
    told = [modified(item) for item in first] + [deleted(replica_set("a", 15, uid="one"))]
    told += [modified(item) for item in second]
    heard: list[Any] = data.draw(st.permutations([*told, *first, *second, *told[:4]]))
    store = store_of(replica_set("a", 10, uid="one"))
    highest = 0
    for what in heard:
        if isinstance(what, ReplicaSet):
            store.put(what)
        else:
            store.apply(what)
        shown = store.get(KEY)
        if shown is not None:
            assert shown.metadata.version >= highest, "never an older state again"
            highest = shown.metadata.version
    assert version_of(store.get(KEY)) == 18

"""The contract of lists and watches."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from fairlead.core.cluster import EventType, MergePatch, WatchEvent
from fairlead.core.errors import Expired, Invalid
from fairlead.core.kinds import PODS, SECRETS
from fairlead.core.objects import Kind, Manifest, ObjectKey
from tests.conformance.arena import CONFIG_MAPS, RAW_PODS, WIDGETS, Arena
from tests.conformance.pods import template

Seen = tuple[EventType, str]


async def read(
    arena: Arena, kind: Kind[Manifest], version: str, count: int, *, label_selector: str = "", field_selector: str = ""
) -> list[WatchEvent[Manifest]]:
    """Return the first events after a version, without bookmarks."""
    events: list[WatchEvent[Manifest]] = []
    watch = arena.cluster.watch(
        kind,
        resource_version=version,
        namespace=arena.namespace,
        label_selector=label_selector,
        field_selector=field_selector,
        timeout_seconds=10,
    )
    async with aclosing(watch) as stream:  # type: ignore[type-var]
        async for event in stream:
            if event.type is EventType.BOOKMARK:
                continue
            events.append(event)
            if len(events) == count:
                break
    return events


def names(events: list[WatchEvent[Manifest]]) -> list[Seen]:
    return [(event.type, event.object.metadata.name) for event in events if event.object is not None]


async def version_now(arena: Arena, kind: Kind[Manifest]) -> str:
    return (await arena.cluster.list(kind, namespace=arena.namespace)).resource_version


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        pytest.param("", ["a", "b", "c"], id="everything"),
        pytest.param("tier=front", ["a"], id="equal"),
        pytest.param("tier!=front", ["b", "c"], id="not-equal-or-absent"),
        pytest.param("tier in (front, back)", ["a", "b"], id="in"),
        pytest.param("tier notin (back)", ["a", "c"], id="not-in"),
        pytest.param("tier", ["a", "b"], id="exists"),
        pytest.param("!tier", ["c"], id="does-not-exist"),
        pytest.param("tier=front,shop=yes", [], id="both"),
    ],
)
async def test_label_selectors(arena: Arena, selector: str, expected: list[str]) -> None:
    label = {"arena": "selectors"}
    await arena.create(CONFIG_MAPS, "a", metadata={"labels": {**label, "tier": "front"}})
    await arena.create(CONFIG_MAPS, "b", metadata={"labels": {**label, "tier": "back", "shop": "yes"}})
    await arena.create(CONFIG_MAPS, "c", metadata={"labels": label})
    selector = ",".join(filter(None, ("arena=selectors", selector)))
    page = await arena.cluster.list(CONFIG_MAPS, namespace=arena.namespace, label_selector=selector)
    assert [item.metadata.name for item in page.items] == expected


async def test_field_selectors(arena: Arena) -> None:
    for name in ("a", "b"):
        await arena.create(RAW_PODS, name, spec=template(name)["spec"])
    await arena.cluster.patch(PODS, arena.key("b"), MergePatch({"status": {"phase": "Running"}}), subresource="status")

    async def listed(selector: str) -> list[str]:
        page = await arena.cluster.list(PODS, namespace=arena.namespace, field_selector=selector)
        return [item.metadata.name for item in page.items]

    assert await listed("metadata.name=a") == ["a"]
    assert await listed("status.phase=Running") == ["b"]
    assert await listed("status.phase!=Running,spec.restartPolicy=Always") == ["a"]
    assert await listed("spec.nodeName=nowhere") == []
    with pytest.raises(Invalid, match=r"field label not supported: spec\.color"):
        await listed("spec.color=red")


async def test_secrets_are_selected_by_type(arena: Arena) -> None:
    body = {"metadata": {"name": "token"}, "type": "fairlead.dev/token", "stringData": {"a": "b"}}
    made = await arena.cluster.create(SECRETS, body, namespace=arena.namespace)
    assert made.data == {"a": "Yg=="}
    page = await arena.cluster.list(SECRETS, namespace=arena.namespace, field_selector="type=fairlead.dev/token")
    assert [item.metadata.name for item in page.items] == ["token"]


async def test_pages_show_one_revision(arena: Arena) -> None:
    for name in ("a", "b", "c", "d", "e"):
        await arena.create(WIDGETS, name, spec={"replicas": 1})
    first = await arena.cluster.list(WIDGETS, namespace=arena.namespace, limit=2)
    assert [item.metadata.name for item in first.items] == ["a", "b"]
    await arena.create(WIDGETS, "bb", spec={})
    await arena.cluster.patch(WIDGETS, arena.key("d"), MergePatch({"spec": {"replicas": 2}}))
    await arena.cluster.delete(WIDGETS, arena.key("e"))
    second = await arena.cluster.list(WIDGETS, namespace=arena.namespace, limit=2, continue_token=first.continue_token)
    third = await arena.cluster.list(WIDGETS, namespace=arena.namespace, limit=2, continue_token=second.continue_token)
    assert [item.metadata.name for item in (*second.items, *third.items)] == ["c", "d", "e"]
    assert second.items[1].content["spec"]["replicas"] == 1
    assert third.continue_token == ""
    assert first.resource_version == second.resource_version == third.resource_version


async def test_a_continue_token_expires_by_compaction(arena: Arena) -> None:
    if arena.compact is None:
        pytest.skip("this server's history cannot be compacted on demand")
    for name in ("a", "b", "c"):
        await arena.create(WIDGETS, name, spec={})
    first = await arena.cluster.list(WIDGETS, namespace=arena.namespace, limit=1)
    await arena.create(WIDGETS, "d", spec={})
    arena.compact()
    with pytest.raises(Expired):
        await arena.cluster.list(WIDGETS, namespace=arena.namespace, limit=1, continue_token=first.continue_token)


async def test_a_watch_resumes_where_a_list_ended(arena: Arena) -> None:
    await arena.create(WIDGETS, "old", spec={})
    version = await version_now(arena, WIDGETS)
    made = await arena.create(WIDGETS, "one", spec={"replicas": 1})
    await arena.cluster.patch(WIDGETS, arena.key("one"), MergePatch({"spec": {"replicas": 2}}))
    await arena.cluster.delete(WIDGETS, arena.key("one"))
    events = await read(arena, WIDGETS, version, 3)
    assert names(events) == [(EventType.ADDED, "one"), (EventType.MODIFIED, "one"), (EventType.DELETED, "one")]
    seen = events[0].object
    assert isinstance(seen, Manifest) and (seen.metadata, seen.content) == (made.metadata, made.content)
    versions = [int(event.resource_version) for event in events]
    assert versions == sorted(versions)
    # From any event on, the rest comes again.
    assert names(await read(arena, WIDGETS, events[1].resource_version, 1)) == [(EventType.DELETED, "one")]


async def test_a_deleted_object_is_shown_at_the_revision_of_its_end(arena: Arena) -> None:
    made = await arena.create(CONFIG_MAPS, "one", data={"a": "1"})
    await arena.cluster.delete(CONFIG_MAPS, arena.key("one"))
    (event,) = await read(arena, CONFIG_MAPS, made.metadata.resource_version, 1, field_selector="metadata.name=one")
    assert event.type is EventType.DELETED
    assert isinstance(event.object, Manifest)
    assert event.object.content["data"] == {"a": "1"}
    assert event.object.metadata.version > made.metadata.version
    assert event.object.metadata.resource_version == event.resource_version


async def test_objects_enter_and_leave_a_selection(arena: Arena) -> None:
    version = await version_now(arena, CONFIG_MAPS)
    await arena.create(CONFIG_MAPS, "one", metadata={"labels": {"on": "no"}})
    for value in ("yes", "no", "yes"):
        await arena.cluster.patch(CONFIG_MAPS, arena.key("one"), MergePatch({"metadata": {"labels": {"on": value}}}))
    await arena.cluster.patch(CONFIG_MAPS, arena.key("one"), MergePatch({"data": {"a": "1"}}))
    events = await read(arena, CONFIG_MAPS, version, 4, label_selector="on=yes")
    kinds = [event.type for event in events]
    assert kinds == [EventType.ADDED, EventType.DELETED, EventType.ADDED, EventType.MODIFIED]


async def test_a_watch_sees_one_namespace_only(arena: Arena) -> None:
    version = await version_now(arena, CONFIG_MAPS)
    body = {"metadata": {"name": f"elsewhere-{arena.namespace}"}}
    await arena.cluster.create(CONFIG_MAPS, body, namespace="default")
    await arena.create(CONFIG_MAPS, "here")
    events = await read(arena, CONFIG_MAPS, version, 1, label_selector="!kubernetes.io/no-such-label")
    assert [name for _, name in names(events) if name != "kube-root-ca.crt"] in ([], ["here"])
    await arena.cluster.delete(CONFIG_MAPS, ObjectKey("default", body["metadata"]["name"]))


async def test_a_watch_ends_normally_after_its_time(arena: Arena) -> None:
    version = await version_now(arena, WIDGETS)
    watch = arena.cluster.watch(WIDGETS, resource_version=version, namespace=arena.namespace, timeout_seconds=1)
    assert [event.type async for event in watch if event.type is not EventType.BOOKMARK] == []


async def test_a_watch_from_before_a_compaction_is_expired(arena: Arena) -> None:
    if arena.compact is None:
        pytest.skip("this server's history cannot be compacted on demand")
    version = await version_now(arena, WIDGETS)
    await arena.create(WIDGETS, "one", spec={})
    arena.compact()
    with pytest.raises(Expired) as caught:
        await read(arena, WIDGETS, version, 1)
    assert caught.value.status == 410
    # What is newer than the compaction still comes.
    version = await version_now(arena, WIDGETS)
    await arena.create(WIDGETS, "two", spec={})
    assert names(await read(arena, WIDGETS, version, 1)) == [(EventType.ADDED, "two")]

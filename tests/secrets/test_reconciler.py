"""The reconcilers in virtual time: syncs, drift, policies, stores, sharing, status."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fairlead.core.cluster import MergePatch
from fairlead.core.kinds import NAMESPACES, SECRETS, carried
from fairlead.core.objects import ObjectKey
from fairlead.secrets._hash import data_hash, metadata_hash, text_hash
from fairlead.secrets.kinds import (
    CLUSTER_SECRET_STORES,
    EXTERNAL_SECRETS,
    FINALIZER,
    LIVE_SECRETS,
    SECRET_STORES,
)
from fairlead.secrets.stores.port import Denied, NoSecret
from tests.secrets.world import KEY, World, down, is_gone, told

CONFIG_MAPS = carried("", "v1", "ConfigMap", "configmaps")
SYNCED = ("True", "SecretSynced", "secret synced")


def test_a_value_becomes_a_secret() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
        assert world.data() == {"password": b"s3cr3t"}
        secret = world.found()
        assert secret is not None
        hashed = secret["metadata"]["annotations"]["reconcile.external-secrets.io/data-hash"]
        assert hashed == data_hash({"password": b"s3cr3t"})
        assert world.ready() == SYNCED
        assert world.status().binding == "db"
        assert world.notes.reasons() == ["Created"]
        assert world.process.by_kind == {
            ("patch", "externalsecrets.external-secrets.io", ""): 1,
            ("create", "secrets", ""): 1,
            ("patch", "externalsecrets.external-secrets.io", "status"): 1,
            ("patch", "secretstores.external-secrets.io", "status"): 1,
        }
        assert world.process.gets == []
        live = await world.cluster.get(LIVE_SECRETS, KEY)
        assert live.target.owned["externalsecrets.external-secrets.io/db"].data == {"password"}

    told(story)


def test_invariant_41_an_unchanged_value_costs_no_request() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(70)
            before = world.process.requests
            await asyncio.sleep(3000)
            assert world.process.requests == before
            assert len(world.remote.times("db")) >= 50
            await asyncio.sleep(600)  # an hour is over: the time of the last sync is stored
            assert world.process.requests == before + 1
            assert world.process.writes[-1].subresource == "status"
        assert world.notes.reasons() == ["Created"]

    told(story)


def test_a_rotation_is_taken_over_within_the_interval() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"one"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(100)
            world.remote.values["db"] = b"two"
            await asyncio.sleep(61)
            assert world.data() == {"password": b"two"}
        assert world.notes.reasons() == ["Created", "Updated"]

    told(story)


# -- when it is read --------------------------------------------------------------------------------------------------


def test_any_annotation_forces_a_sync() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"one"
        world.store()
        world.external_secret(refreshInterval="1h")
        async with world.controller():
            await asyncio.sleep(10)
            world.remote.values["db"] = b"two"
            await world.patch(EXTERNAL_SECRETS, {"metadata": {"annotations": {"force-sync": "1"}}})
            await asyncio.sleep(1)
            assert world.data() == {"password": b"two"}

    told(story)


@pytest.mark.parametrize("interval", ["0", "0s", "0h"])
def test_trap_1_an_interval_of_0_syncs_once_ignores_edits_and_repairs(interval: str) -> None:
    async def story(world: World) -> None:
        world.remote.values.update(db=b"one", other=b"other")
        world.store()
        world.external_secret(refreshInterval=interval)
        async with world.controller():
            await asyncio.sleep(10)
            world.external_secret(
                refreshInterval=interval, data=[{"secretKey": "password", "remoteRef": {"key": "other"}}]
            )
            await asyncio.sleep(10_000)
            assert world.data() == {"password": b"one"}
            await world.delete(SECRETS)
            await asyncio.sleep(5)
            assert world.data() == {"password": b"other"}

    told(story)


@pytest.mark.parametrize("policy", ["CreatedOnce", "OnChange"])
def test_trap_2_once_synced_nothing_wakes_up_for_nothing(policy: str) -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"one"
        world.store()
        world.external_secret(refreshPolicy=policy)
        async with world.controller() as reconciler:
            await asyncio.sleep(5)
            assert await reconciler.reconcile(KEY) is None
            await asyncio.sleep(100_000)
            assert len(world.remote.times("db")) == 1
            await world.patch(EXTERNAL_SECRETS, {"metadata": {"labels": {"x": "y"}}})
            await asyncio.sleep(5)
            assert len(world.remote.times("db")) == (2 if policy == "OnChange" else 1)

    told(story)


def test_trap_2_a_closed_window_is_slept_through() -> None:
    async def story(world: World) -> None:  # it is midnight in this world
        world.remote.values["db"] = b"one"
        world.store()
        windows = {"kind": "allow", "windows": [{"schedule": "0 3 * * *", "duration": "30m"}]}
        world.external_secret(refreshInterval="10m", syncWindows=windows)
        async with world.controller():
            await asyncio.sleep(24 * 3600)
        hours = {int(at // 3600) for at in world.remote.times("db")}
        assert hours == {0, 3}
        assert 3 <= len([at for at in world.remote.times("db") if at >= 3 * 3600]) <= 5

    told(story)


# -- drift ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        pytest.param({"data": {"password": "b29wcw=="}}, id="value"),
        pytest.param({"data": {"more": "b29wcw=="}}, id="more-keys"),
        pytest.param({"data": {"password": None}}, id="key-removed"),
        pytest.param({"metadata": {"labels": {"reconcile.external-secrets.io/managed": None}}}, id="label-removed"),
        pytest.param(
            {"metadata": {"annotations": {"reconcile.external-secrets.io/data-hash": None}}}, id="hash-removed"
        ),
    ],
)
def test_edits_of_others_are_mended_within_moments(edit: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret(refreshInterval="10h")
        async with world.controller():
            await asyncio.sleep(10)
            right = world.found()
            assert right is not None
            await world.patch(SECRETS, edit)
            await asyncio.sleep(2)
            assert world.data() == {"password": b"s3cr3t"}
            after = world.found()
            assert after is not None
            for part in ("labels", "annotations", "ownerReferences"):
                assert after["metadata"][part] == right["metadata"][part]

    told(story)


def test_a_deleted_secret_comes_back() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret(refreshInterval="10h")
        async with world.controller():
            await asyncio.sleep(10)
            await world.delete(SECRETS)
            await asyncio.sleep(2)
            assert world.data() == {"password": b"s3cr3t"}
        assert world.notes.reasons() == ["Created", "Created"]

    told(story)


# -- adoption ---------------------------------------------------------------------------------------------------------


def left_behind_by_external_secrets(world: World) -> None:
    """What External Secrets leaves of a synced object: status, label, hash and owner are of its making."""
    world.external_secret(refreshInterval="1h", metadata={"finalizers": [FINALIZER]})
    found = world.found(EXTERNAL_SECRETS)
    assert found is not None
    upstream = world.cluster.as_manager("externalsecrets.external-secrets.io/db")
    upstream.apply(
        [
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "type": "Opaque",
                "data": {"password": "czNjcjN0"},
                "metadata": {
                    "name": "db",
                    "namespace": "shop",
                    "labels": {
                        "reconcile.external-secrets.io/managed": "true",
                        "reconcile.external-secrets.io/created-by": (
                            "88b2c2f1d3a2d4c41b6ba4be3a7bdcbf5f8c63eb5ee6ac6b1ab6ae01"
                        ),
                    },
                    "annotations": {"reconcile.external-secrets.io/data-hash": data_hash({"password": b"s3cr3t"})},
                    "ownerReferences": [
                        {
                            "apiVersion": "external-secrets.io/v1",
                            "kind": "ExternalSecret",
                            "name": "db",
                            "uid": found["metadata"]["uid"],
                            "controller": True,
                            "blockOwnerDeletion": True,
                        }
                    ],
                },
            }
        ]
    )


@pytest.mark.parametrize("after", [100, 4000], ids=["not-due", "due-and-unchanged"])
def test_objects_of_external_secrets_are_taken_over_without_a_write(after: int) -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        left_behind_by_external_secrets(world)
        owner = (world.found(EXTERNAL_SECRETS) or {})["metadata"]
        created_by = text_hash("shop/db")
        labels = {"metadata": {"labels": {"reconcile.external-secrets.io/created-by": created_by}}}
        await world.cluster.as_manager("externalsecrets.external-secrets.io/db").patch(SECRETS, KEY, MergePatch(labels))
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": "SecretSynced",
            "message": "secret synced",
            "lastTransitionTime": "2025-12-31T23:59:00Z",
        }
        status = {
            "refreshTime": "2025-12-31T23:59:00Z",
            "syncedResourceVersion": f"{owner['generation']}-{metadata_hash({}, {})}",
            "conditions": [condition],
            "binding": {"name": "db"},
        }
        await world.cluster.as_manager("external-secrets").patch(
            EXTERNAL_SECRETS, KEY, MergePatch({"status": status}), subresource="status"
        )
        await world.cluster.as_manager("external-secrets").patch(
            SECRET_STORES,
            ObjectKey("shop", "store"),
            MergePatch(
                {
                    "status": {
                        "capabilities": "ReadOnly",
                        "conditions": [{**condition, "reason": "Valid", "message": "store validated"}],
                    }
                }
            ),
            subresource="status",
        )
        async with world.controller():
            await asyncio.sleep(after)
            wrote = [write for write in world.process.writes if write.kind != EXTERNAL_SECRETS_NAME]
            assert wrote == []
            assert len(world.process.writes) <= (0 if after < 3600 else 1), "only the hourly refreshTime"
            assert bool(world.remote.reads) is (after > 3600)
        assert world.notes.events == []

    told(story)


EXTERNAL_SECRETS_NAME = str(EXTERNAL_SECRETS)


def test_a_secret_made_by_hand_is_adopted_in_one_write() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.secret(data={"password": b"old", "theirs": b"x"}, metadata={"labels": {"team": "a"}})
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
        assert world.data() == {"password": b"s3cr3t"}
        found = world.found()
        assert found is not None
        assert found["metadata"]["labels"]["team"] == "a"
        assert found["metadata"]["ownerReferences"][0]["name"] == "db"
        assert world.notes.reasons() == ["Updated"]
        assert world.process.by_kind["patch", "secrets", ""] == 1

    told(story)


@pytest.mark.parametrize("policy", ["Owner", "Orphan", "Merge", "CreateOrMerge"])
def test_invariant_38_a_secret_of_another_external_secret_is_never_touched(policy: str) -> None:
    async def story(world: World) -> None:
        world.remote.values.update(db=b"mine", other=b"theirs")
        world.store()
        world.external_secret("first", target={"name": "shared"})
        async with world.controller():
            await asyncio.sleep(5)
            world.external_secret("second", target={"name": "shared", "creationPolicy": policy})
            shared = ObjectKey("shop", "shared")
            before = world.found(SECRETS, shared)
            await asyncio.sleep(500)
            assert world.found(SECRETS, shared) == before
            ready = world.ready(ObjectKey("shop", "second"))
            assert ready == ("False", "SecretSyncedError", "target is owned by another ExternalSecret")
            assert len(world.remote.reads) < 20, "no retry before something changes"
            await world.delete(EXTERNAL_SECRETS, ObjectKey("shop", "second"))
            await asyncio.sleep(5)
            assert world.found(SECRETS, shared) == before

    told(story)


def test_owner_does_not_take_what_some_other_controller_has() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"mine"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web", "namespace": "shop"}}
        world.cluster.apply([body])
        uid = (world.found(CONFIG_MAPS, ObjectKey("shop", "web")) or {})["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "ConfigMap", "name": "web", "uid": uid, "controller": True}
        world.secret(data={"password": b"theirs"}, metadata={"ownerReferences": [owner]})
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
            assert world.data() == {"password": b"theirs"}
            assert world.ready() == ("False", "SecretSyncedError", "failed to take ownership of target secret")
            world.external_secret(target={"creationPolicy": "Merge"})
            await asyncio.sleep(5)
            assert world.data() == {"password": b"mine"}

    told(story)


# -- policies ---------------------------------------------------------------------------------------------------------


def test_trap_4_merge_waits_for_its_target_until_the_next_refresh() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret(target={"creationPolicy": "Merge"})
        async with world.controller():
            await asyncio.sleep(70)
            missing = "secret will not be created due to CreationPolicy=Merge"
            assert world.ready() == ("True", "SecretMissing", missing)
            assert len(world.remote.reads) <= 3
            world.secret(data={"theirs": b"x"})
            await asyncio.sleep(61)
            assert world.data() == {"theirs": b"x", "password": b"s3cr3t"}
            assert world.ready() == SYNCED

    told(story)


def test_several_may_make_parts_of_one_secret() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(a=b"1", b=b"2", c=b"3")
        world.store()
        target = {"name": "shared", "creationPolicy": "CreateOrMerge"}
        for name in "ab":
            world.external_secret(name, target=target, data=[{"secretKey": name, "remoteRef": {"key": name}}])
        shared = ObjectKey("shop", "shared")
        async with world.controller():
            await asyncio.sleep(70)
            assert world.data(shared) == {"a": b"1", "b": b"2"}
            before = len(world.process.writes)
            await asyncio.sleep(500)
            assert len(world.process.writes) == before, "they do not take turns"
            world.external_secret("b", target=target, data=[{"secretKey": "c", "remoteRef": {"key": "c"}}])
            await asyncio.sleep(70)
            assert world.data(shared) == {"a": b"1", "c": b"3"}, "each takes away its own keys only"

    told(story)


def test_trap_25_under_merge_the_hash_covers_the_keys_of_others() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.secret(data={"theirs": b"x"})
        world.store()
        world.external_secret(target={"creationPolicy": "Merge"}, refreshInterval="10h")
        async with world.controller():
            await asyncio.sleep(5)
            await world.patch(SECRETS, {"data": {"theirs": "eQ=="}})
            await asyncio.sleep(5)
            before = len(world.process.writes)
            await asyncio.sleep(100)
            assert len(world.process.writes) == before
            assert world.data() == {"theirs": b"y", "password": b"s3cr3t"}

    told(story)


def test_none_reads_and_writes_nothing() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret(target={"creationPolicy": "None"})
        async with world.controller():
            await asyncio.sleep(5)
            assert world.data() is None
            assert world.ready() == SYNCED
            assert len(world.remote.reads) == 1

    told(story)


def test_policy_delete_deletes_when_the_provider_says_that_there_is_nothing() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret(target={"deletionPolicy": "Delete"})
        async with world.controller():
            await asyncio.sleep(5)
            assert world.data() == {"password": b"s3cr3t"}
            del world.remote.values["db"]
            await asyncio.sleep(61)
            assert world.data() is None
            assert world.ready() == ("True", "SecretDeleted", "secret deleted due to DeletionPolicy=Delete")
            count = len(world.remote.reads)
            await asyncio.sleep(600)
            assert len(world.remote.reads) - count <= 11, "and it is asked for once per interval, not all the time"
            world.remote.values["db"] = b"back"
            await asyncio.sleep(61)
            assert world.data() == {"password": b"back"}
        assert world.notes.reasons() == ["Created", "MissingProviderSecret", "Deleted", "Created"]
        (missing,) = [text for text in world.notes.texts() if "provider" in text]
        assert missing == "secret does not exist at provider using spec.dataFrom[0] (key=db)"

    told(story)


def test_retain_keeps_the_secret_and_says_that_it_could_not_read() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
            del world.remote.values["db"]
            await asyncio.sleep(61)
            assert world.data() == {"password": b"s3cr3t"}
            assert world.ready() == ("False", "SecretSyncedError", "could not get secret data from provider")

    told(story)


def test_policy_merge_takes_away_only_what_vanished() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(a=b"1", b=b"2")
        world.secret(data={"theirs": b"x"})
        world.store()
        data = [{"secretKey": key, "remoteRef": {"key": key}} for key in "ab"]
        world.external_secret(data=data, target={"creationPolicy": "Merge", "deletionPolicy": "Merge"})
        async with world.controller():
            await asyncio.sleep(5)
            assert world.data() == {"a": b"1", "b": b"2", "theirs": b"x"}
            del world.remote.values["a"]
            await asyncio.sleep(61)
            assert world.data() == {"b": b"2", "theirs": b"x"}
            del world.remote.values["b"]
            await asyncio.sleep(61)
            assert world.data() == {"theirs": b"x"}

    told(story)


def test_trap_6_orphan_with_delete_fails_once_the_provider_has_nothing() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret(target={"creationPolicy": "Orphan", "deletionPolicy": "Delete"})
        async with world.controller():
            await asyncio.sleep(5)
            del world.remote.values["db"]
            await asyncio.sleep(200)
            assert world.data() == {"password": b"s3cr3t"}
            assert world.ready() == ("False", "SecretSyncedError", "could not delete secret")

    told(story)


def test_a_renamed_target_leaves_nothing_behind() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
            world.external_secret(target={"name": "renamed"})
            await asyncio.sleep(5)
            assert world.data(ObjectKey("shop", "renamed")) == {"password": b"s3cr3t"}
            assert world.data() is None
            order = [what for _, what, name in world.writes if name in ("db", "renamed") and "secrets" in what]
            assert order.index("delete secrets") > len(order) - 1 - order[::-1].index("create secrets"), (
                "new before old"
            )

    told(story)


@pytest.mark.parametrize(
    ("creation", "deletion", "stays"),
    [
        pytest.param("Owner", "Retain", False, id="owner-goes-with-its-owner"),
        pytest.param("Owner", "Delete", False, id="owner-delete"),
        pytest.param("Orphan", "Retain", True, id="orphan-stays"),
        pytest.param("CreateOrMerge", "Retain", True, id="merge-stays"),
    ],
)
def test_the_end_of_an_external_secret(creation: str, deletion: str, stays: bool) -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret(target={"creationPolicy": creation, "deletionPolicy": deletion})
        async with world.controller():
            await asyncio.sleep(5)
            await world.delete(EXTERNAL_SECRETS)
            await asyncio.sleep(5)
            assert await is_gone(world, EXTERNAL_SECRETS)
            assert (world.data() is not None) is stays

    told(story)


def test_immutable_secrets() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"one"
        world.store()
        world.external_secret(target={"immutable": True})
        async with world.controller():
            await asyncio.sleep(5)
            assert (world.found() or {})["immutable"] is True
            world.remote.values["db"] = b"two"
            await asyncio.sleep(70)
            assert world.data() == {"password": b"one"}
            assert world.ready() == SYNCED
            world.external_secret(target={})
            await asyncio.sleep(70)
            assert world.data() == {"password": b"one"}
            frozen = "could not update secret, target is immutable"
            assert world.ready() == ("False", "SecretSyncedError", frozen)
            count = len(world.process.writes)
            await asyncio.sleep(1000)
            assert len(world.process.writes) == count, "no retry before something changes"
            await world.delete(SECRETS)
            await asyncio.sleep(5)
            assert world.data() == {"password": b"two"}

    told(story)


# -- templates --------------------------------------------------------------------------------------------------------


def test_trap_3_without_a_template_everything_is_copied_and_with_an_empty_one_nothing() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        metadata = {
            "labels": {"team": "a"},
            "annotations": {
                "argocd.argoproj.io/tracking-id": "x",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
            },
        }
        world.external_secret("all", metadata=metadata)
        world.external_secret("nothing", metadata=metadata, target={"template": {}})
        async with world.controller():
            await asyncio.sleep(5)
            copied = (world.found(SECRETS, ObjectKey("shop", "all")) or {})["metadata"]
            assert copied["labels"].items() >= metadata["labels"].items()
            assert copied["annotations"].items() >= metadata["annotations"].items()
            empty = (world.found(SECRETS, ObjectKey("shop", "nothing")) or {})["metadata"]
            assert all("external-secrets.io" in key for key in (*empty["labels"], *empty["annotations"]))
            await world.patch(
                EXTERNAL_SECRETS, {"metadata": {"labels": {"team": None, "new": "b"}}}, ObjectKey("shop", "all")
            )
            await asyncio.sleep(5)
            labels = (world.found(SECRETS, ObjectKey("shop", "all")) or {})["metadata"]["labels"]
            assert "team" not in labels
            assert labels["new"] == "b"

    told(story)


def test_templates_from_everywhere_in_order() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(db=b"s3cr3t")
        world.cluster.apply(
            [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "metadata": {"name": "texts", "namespace": "shop"},
                    "data": {"url": "db://{{ .password }}", "many": "a: '{{ .password }}'\nb: two"},
                }
            ]
        )
        world.secret("more", data={"extra": b"<{{ .password }}>"})
        world.store()
        items = [{"key": "url"}, {"key": "many", "templateAs": "KeysAndValues"}]
        template = {
            "type": "Opaque",
            "metadata": {"labels": {"for": "{{ .password }}"}, "annotations": {"note": "{{ .password | len }}"}},
            "templateFrom": [
                {
                    "configMap": {"name": "texts", "items": items},
                    "secret": {"name": "more", "items": [{"key": "extra"}]},
                },
                {"literal": "who: '{{ .password | upper }}'", "target": "annotations"},
            ],
            "data": {"b": "data wins"},
            "mergePolicy": "Merge",
        }
        world.external_secret(target={"template": template})
        async with world.controller():
            await asyncio.sleep(5)
        assert world.data() == {
            "password": b"s3cr3t",
            "url": b"db://s3cr3t",
            "a": b"s3cr3t",
            "b": b"data wins",
            "extra": b"<s3cr3t>",
        }
        metadata = (world.found() or {})["metadata"]
        assert metadata["labels"]["for"] == "s3cr3t"
        assert (metadata["annotations"]["note"], metadata["annotations"]["who"]) == ("6", "S3CR3T")

    told(story)


@pytest.mark.parametrize(
    "template",
    [
        pytest.param({"data": {"a": "{{ .gone }}"}}, id="trap-8-a-key-that-was-skipped"),
        pytest.param({"data": {"a": "{{ if }}"}}, id="no-template"),
        pytest.param({"data": {"a": "{{ range until 100000000 }}x{{ end }}"}}, id="hostile"),
        pytest.param(
            {"templateFrom": [{"configMap": {"name": "absent", "items": [{"key": "a"}]}}]}, id="no-config-map"
        ),
        pytest.param({"type": "kubernetes.io/tls", "data": {"a": "b"}}, id="trap-7-another-type"),
    ],
)
def test_a_template_that_fails_leaves_the_secret_and_others_alone(template: dict[str, Any]) -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret()
        world.external_secret("other")
        async with world.controller():
            await asyncio.sleep(5)
            world.external_secret(target={"template": template, "deletionPolicy": "Merge"})
            world.remote.values["db"] = b"two"
            await asyncio.sleep(70)
            assert world.data() == {"password": b"s3cr3t"}
            assert world.ready() == ("False", "SecretSyncedError", "could not update secret")
            assert world.data(ObjectKey("shop", "other")) == {"password": b"two"}
            assert "UpdateFailed" in world.notes.reasons()

    told(story)


# -- stores -----------------------------------------------------------------------------------------------------------


def test_a_store_says_whether_it_can_be_used() -> None:
    async def story(world: World) -> None:
        world.store()
        world.store("broken", provider={"remote": {"broken": True}})
        world.store("unknown", provider={"vaultt": {}})
        async with world.controller():
            await asyncio.sleep(5)
            valid = world.store_status(ObjectKey("shop", "store"))
            assert valid.capabilities == "ReadOnly"
            assert valid.ready is not None
            assert (valid.ready.status, valid.ready.reason, valid.ready.message) == ("True", "Valid", "store validated")
            for name in ("broken", "unknown"):
                ready = world.store_status(ObjectKey("shop", name)).ready
                assert ready is not None
                expected = ("False", "InvalidProviderConfig", "unable to create client")
                assert (ready.status, ready.reason, ready.message) == expected
            before = world.process.requests
            await asyncio.sleep(3600)
            assert world.process.requests == before, "an unchanged verdict costs nothing"
        assert world.notes.reasons("store") == ["Valid"]
        assert "spec.provider.vaultt" in world.notes.texts("unknown")[0]

    told(story)


def test_a_store_of_another_class_is_left_alone_with_all_who_use_it() -> None:
    async def story(world: World) -> None:
        world.store(controller="other")
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(100)
        assert world.process.writes == []
        assert world.found(SECRET_STORES, ObjectKey("shop", "store")) is not None

    told(story)


def test_a_store_that_comes_later_is_used_at_once() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(300)
            assert world.ready() == ("False", "SecretSyncedError", "could not get secret data from provider")
            assert world.notes.texts() == ['SecretStore "store" not found']
            world.store()
            await asyncio.sleep(2)
            assert world.data() == {"password": b"s3cr3t"}
            assert world.ready() == SYNCED

    told(story)


def test_the_flood_gate_holds_back_everybody_until_the_store_is_ready() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.remote.validation = down()
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(200)
            assert world.remote.reads == []
            assert world.notes.texts()[-1] == 'SecretStore "store" is not ready'
            world.remote.validation = None
            await asyncio.sleep(420)
            assert world.data() == {"password": b"s3cr3t"}

    told(story)


def test_another_spec_of_the_store_is_another_source() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"one"
        world.store()
        world.external_secret(refreshInterval="10h")
        async with world.controller():
            await asyncio.sleep(5)
            world.remote.values["db"] = b"two"
            world.store(provider={"remote": {"path": "elsewhere"}})
            await asyncio.sleep(2)
            assert world.data() == {"password": b"two"}
            assert (world.remote.opened, world.remote.closed) == (2, 1)

    told(story)


CLUSTER_STORE = {"name": "shared", "kind": "ClusterSecretStore"}


def test_invariant_39_conditions_of_a_cluster_store_hold_at_each_reading() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"one"
        selector = {"namespaceSelector": {"matchLabels": {"team": "a"}}}
        world.store("shared", namespace="", conditions=[selector])
        world.external_secret(secretStoreRef=CLUSTER_STORE)
        world.external_secret(namespace="blog", secretStoreRef=CLUSTER_STORE)
        async with world.controller():
            await asyncio.sleep(5)
            assert world.data() == {"password": b"one"}
            assert world.data(ObjectKey("blog", "db")) is None
            refusal = 'using cluster store "shared" is not allowed from namespace "blog": denied by spec.condition'
            assert refusal in world.notes.texts()
            await world.patch(NAMESPACES, {"metadata": {"labels": {"team": "b"}}}, ObjectKey("", "shop"))
            await world.patch(NAMESPACES, {"metadata": {"labels": {"team": "a"}}}, ObjectKey("", "blog"))
            world.remote.values["db"] = b"two"
            await asyncio.sleep(70)
            assert world.data() == {"password": b"one"}
            assert world.data(ObjectKey("blog", "db")) == {"password": b"two"}

    told(story, namespaces={"shop": {"team": "a"}, "blog": {"team": "b"}})


def test_invariant_39_a_secret_store_is_always_that_of_the_own_namespace() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store(namespace="blog")
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
            assert world.notes.texts() == ['SecretStore "store" not found']
            assert world.data() is None

    told(story, namespaces={"shop": {}, "blog": {}})


def test_trap_36_a_cluster_store_beside_a_store_of_the_namespace() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(a=b"1", b=b"2")
        world.store()
        world.store("shared", namespace="")
        data = [
            {"secretKey": "a", "remoteRef": {"key": "a"}, "sourceRef": {"storeRef": CLUSTER_STORE}},
            {"secretKey": "b", "remoteRef": {"key": "b"}, "sourceRef": {"storeRef": {"name": "store"}}},
        ]
        world.external_secret(secretStoreRef=CLUSTER_STORE, data=data)
        async with world.controller():
            await asyncio.sleep(5)
            assert world.data() == {"a": b"1", "b": b"2"}

    told(story)


def test_trap_27_a_store_without_an_identity_of_its_own_is_valid_untried_and_never_shared() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.remote.referent = True
        world.remote.validation = down()
        world.store("shared", namespace="")
        for namespace in ("shop", "blog"):
            for name in ("one", "two"):
                world.external_secret(name, namespace=namespace, secretStoreRef=CLUSTER_STORE)
        async with world.controller():
            await asyncio.sleep(5)
            ready = world.store_status(ObjectKey("", "shared"), CLUSTER_SECRET_STORES).ready
            assert ready is not None
            assert (ready.status, ready.reason) == ("True", "Valid")
            assert sorted(world.remote.contexts) == ["blog", "shop"]
            assert len(world.remote.reads) == 2
            world.remote.login = lambda: Denied("no", provider="remote")

    told(story, namespaces={"shop": {}, "blog": {}})


def test_trap_35_two_stores_of_one_provider_keep_their_logins() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(a=b"1", b=b"2")
        world.store("one")
        world.store("two")
        data = [
            {"secretKey": key, "remoteRef": {"key": key}, "sourceRef": {"storeRef": {"name": name}}}
            for key, name in (("a", "one"), ("b", "two"))
        ]
        world.external_secret(data=data)
        async with world.controller():
            await asyncio.sleep(700)
            assert world.remote.opened == 2
            assert world.data() == {"a": b"1", "b": b"2"}
        assert world.remote.closed == 2, "invariant 43"

    told(story)


# -- sources ----------------------------------------------------------------------------------------------------------


def test_later_sources_win_and_data_wins_over_all() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(one=b'{"a":"1","b":"1"}', two=b'{"b":"2","c":"2"}', db=b"3")
        world.store()
        world.external_secret(
            dataFrom=[{"extract": {"key": "one"}}, {"extract": {"key": "two"}}],
            data=[{"secretKey": "c", "remoteRef": {"key": "db"}}],
        )
        async with world.controller():
            await asyncio.sleep(5)
            assert world.data() == {"a": b"1", "b": b"2", "c": b"3"}

    told(story)


def test_trap_9_a_missing_property_is_an_error_and_no_missing_secret() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b'{"a":"1"}'
        world.store()
        data = [{"secretKey": "a", "remoteRef": {"key": "db", "property": "gone"}}]
        world.external_secret(data=data, target={"deletionPolicy": "Delete"})
        async with world.controller():
            await asyncio.sleep(5)
            assert world.ready() == ("False", "SecretSyncedError", "could not get secret data from provider")
            assert world.data() is None

    told(story)


def test_invariant_36_there_is_no_partial_success() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(a=b"1", b=b"1")
        world.store()
        data = [{"secretKey": key, "remoteRef": {"key": key}} for key in "ab"]
        world.external_secret(data=data)
        async with world.controller():
            await asyncio.sleep(5)
            world.remote.values.update(a=b"2", b=b"2")
            world.remote.trouble = lambda key: Denied("403", provider="remote") if key == "b" else None
            await asyncio.sleep(100)
            assert world.data() == {"a": b"1", "b": b"1"}
            assert world.notes.texts()[-1] == "spec.data[1] (key: b): 403"
            world.remote.trouble = lambda key: None
            await asyncio.sleep(130)
            assert world.data() == {"a": b"2", "b": b"2"}

    told(story)


def test_a_missing_secret_is_skipped_where_the_policy_acts_on_it() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(a=b"1")
        world.store()
        data = [{"secretKey": key, "remoteRef": {"key": key}} for key in "ab"]
        world.external_secret(data=data, target={"deletionPolicy": "Delete"})
        async with world.controller():
            await asyncio.sleep(300)
            assert world.data() == {"a": b"1"}
            assert world.notes.reasons() == ["MissingProviderSecret", "Created"]

    told(story)


def test_an_empty_value_is_written_if_the_provider_says_so() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b""
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
            assert world.data() == {"password": b""}

    told(story)


def test_generators_are_not_served_and_say_so() -> None:
    async def story(world: World) -> None:
        world.store()
        generator = {"generatorRef": {"apiVersion": "g/v1", "kind": "Password", "name": "p"}}
        world.external_secret(dataFrom=[{"sourceRef": generator}])
        async with world.controller():
            await asyncio.sleep(5)
            assert world.notes.texts() == ["spec.dataFrom[0]: generators are not served: Password"]
            assert world.ready() == ("False", "SecretSyncedError", "could not get secret data from provider")

    told(story)


# -- others write as well ---------------------------------------------------------------------------------------------


def test_trap_26_a_status_that_somebody_else_cleared_is_written_again() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
            await world.cluster.as_manager("argocd").patch(
                EXTERNAL_SECRETS, KEY, MergePatch({"status": None}), subresource="status"
            )
            await asyncio.sleep(5)
            assert world.ready() == SYNCED

    told(story)


def test_the_same_name_again_is_another_object() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(5)
            await world.delete(EXTERNAL_SECRETS)
            await asyncio.sleep(1)
            world.external_secret()
            await asyncio.sleep(5)
            assert world.data() == {"password": b"s3cr3t"}
            found, owner = world.found(), world.found(EXTERNAL_SECRETS)
            assert found is not None
            assert owner is not None
            assert found["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]

    told(story)


def test_a_spec_that_changes_while_it_is_being_read_is_read_again() -> None:
    async def story(world: World) -> None:
        world.remote.values.update(db=b"old", new=b"new")
        world.remote.latency = 5
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(12)
            world.external_secret(data=[{"secretKey": "password", "remoteRef": {"key": "new"}}])
            await asyncio.sleep(20)
            assert world.data() == {"password": b"new"}
            assert [name for _, what, name in world.writes if what == "create secrets"] == ["db"]

    told(story)


def test_no_secret_is_only_what_the_provider_says_of_it() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"s3cr3t"
        world.store()
        world.external_secret(target={"deletionPolicy": "Delete"})
        async with world.controller():
            await asyncio.sleep(5)
            world.remote.trouble = lambda key: NoSecret(provider="remote")
            await asyncio.sleep(61)
            assert world.data() is None

    told(story)

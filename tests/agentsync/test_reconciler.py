"""Applications from commit to cluster, told as stories under virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from fairlead.agentsync.kinds import TRACKING_ID
from fairlead.agentsync.resources import Object
from fairlead.agentsync.sources.port import Freshness
from fairlead.core.kinds import HTTP_ROUTES, NAMESPACES, carried
from fairlead.testing.faults import When
from tests.agentsync.forge import PATH, URL, config_map, deployment, job
from tests.agentsync.stage import AUTOMATED, CONFIG_MAPS, DEPLOYMENTS, JOBS, Play, played

WIDGETS = carried("example.com", "v1", "Widget", "widgets")
WIDGET: Object = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 1}}
WIDGET_DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "properties": {"size": {"type": "integer", "maximum": 10}},
                            }
                        },
                    }
                },
            }
        ],
    },
}
ROLLOUT: Object = {
    "apiVersion": "argoproj.io/v1alpha1",
    "kind": "Rollout",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        },
        "strategy": {
            "canary": {
                "canaryService": "web-canary",
                "stableService": "web-stable",
                "trafficRouting": {"plugins": {"argoproj-labs/gatewayAPI": {"httpRoute": "web"}}},
                "steps": [{"setWeight": 20}, {"pause": {}}],
            }
        },
    },
}
ROUTE: Object = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "HTTPRoute",
    "metadata": {"name": "web"},
    "spec": {
        "parentRefs": [{"name": "gateway"}],
        "rules": [
            {
                "name": "main",
                "backendRefs": [
                    {"name": "web-stable", "port": 80, "weight": 100},
                    {"name": "web-canary", "port": 80, "weight": 0},
                ],
            }
        ],
    },
}


def test_an_application_is_compared_and_applied_when_somebody_asks() -> None:
    async def story(play: Play) -> None:
        commit = play.forge.push(config_map("one"), config_map("two"))
        async with play.process():
            await play.application()
            await play.until(lambda: play.state() == ("OutOfSync", "Missing", ""))
            assert play.names() == []
            await play.sync()
            await play.synced(commit=commit)
        assert play.names() == ["one", "two"]
        assert play.writes == ["create configmaps one", "create configmaps two"]
        assert play.results() == {"ConfigMap/one": "configmap/one created", "ConfigMap/two": "configmap/two created"}
        assert play.state() == ("Synced", "Healthy", "Succeeded")
        history = play.status()["history"]
        assert [(entry["id"], entry["revision"]) for entry in history] == [(0, commit)]

    played(story)


def test_drift_is_healed_and_each_new_commit_applied() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced()
            await play.edit(CONFIG_MAPS, "one", {"data": {"a": "by hand"}})
            await play.until(lambda: play.read(CONFIG_MAPS, "one")["data"] == {"a": "1"})
            await play.remove(CONFIG_MAPS, "one")
            await play.until(lambda: play.names() == ["one"])
            commit = play.forge.push(config_map("one", a="2"), config_map("two"))
            await play.synced(commit=commit, seconds=200)
            assert play.read(CONFIG_MAPS, "one")["data"] == {"a": "2"}
            commit = play.forge.push(config_map("two"))
            await play.synced(commit=commit, seconds=200)
            assert play.names() == ["two"]
            count = len(play.writes), len(play.reports)
            await asyncio.sleep(600)
            assert (len(play.writes), play.names()) == (count[0], ["two"])

    played(story)


# --- what must never happen -------------------------------------------------------------------------------------------


def test_a_commit_that_cannot_be_rendered_changes_nothing() -> None:
    async def story(play: Play) -> None:
        good = play.forge.push(config_map("one"), config_map("two"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced(commit=good)
            writes = len(play.writes)
            play.forge.push_broken()
            await play.until(lambda: "ComparisonError" in play.conditions(), seconds=400)
            assert play.state()[0] == "Unknown"
            assert "mapping values are not allowed here" in play.conditions()["ComparisonError"]
            await asyncio.sleep(1000)
            assert (play.names(), len(play.writes)) == (["one", "two"], writes)
            fixed = play.forge.push(config_map("one"))
            await play.synced(commit=fixed, seconds=400)
            assert play.names() == ["one"] and "ComparisonError" not in play.conditions()

    played(story)


def test_a_repository_that_cannot_be_reached_deletes_nothing_and_drift_is_healed_all_the_same() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"), config_map("two"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced()
            play.forge.cut()
            await asyncio.sleep(1000)
            assert play.names() == ["one", "two"]
            assert play.state()[0] == "Unknown" and "connection refused" in play.conditions()["ComparisonError"]
            await play.remove(CONFIG_MAPS, "one")
            await play.edit(CONFIG_MAPS, "two", {"data": {"a": "by hand"}})
            await play.until(lambda: play.names() == ["one", "two"])
            await play.until(lambda: play.read(CONFIG_MAPS, "two")["data"] == {"a": "1"})
            play.forge.mend()
            await play.synced(seconds=400)

    played(story)


@pytest.mark.parametrize("policy", [AUTOMATED, {}], ids=["automated", "manual"])
def test_an_empty_render_prunes_nothing(policy: Mapping[str, Any]) -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"), config_map("two"))
        async with play.process():
            await play.application(syncPolicy=policy)
            if not policy:
                await play.sync(prune=True)
            await play.synced()
            play.forge.push()
            await asyncio.sleep(400)
            if not policy:
                await play.sync(prune=True)
                await asyncio.sleep(100)
            assert play.names() == ["one", "two"]
            assert play.state()[0] == "OutOfSync"

    played(story)


def test_a_force_push_applies_what_is_there_now_and_one_commit_at_a_time() -> None:
    async def story(play: Play) -> None:
        first = play.forge.push(config_map("one"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced(commit=first)
            play.forge.push(config_map("one", a="2"))
            await asyncio.sleep(200)
            play.forge.heads[URL, "main"] = first
            await play.synced(commit=first, seconds=400)
            assert play.read(CONFIG_MAPS, "one")["data"] == {"a": "1"}

    played(story)


def test_what_others_made_is_not_pruned() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"), config_map("two"))
        play.cluster.apply([config_map("theirs")], namespace="shop")
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced()
            # A copy of our mark on another object, as some controllers make it.
            mark = play.read(CONFIG_MAPS, "one")["metadata"]["annotations"]["argocd.argoproj.io/tracking-id"]
            play.cluster.apply(
                [config_map("copy", annotations={"argocd.argoproj.io/tracking-id": mark})], namespace="shop"
            )
            commit = play.forge.push(config_map("one"))
            await play.synced(commit=commit, seconds=400)
            assert play.names() == ["copy", "one", "theirs"]

    played(story)


# --- what it costs ----------------------------------------------------------------------------------------------------


def test_a_sync_of_n_changed_objects_costs_n_writes_and_a_few_reports() -> None:
    async def story(play: Play) -> None:
        objects = [config_map(f"map-{number:02}") for number in range(40)]
        play.forge.push(*objects)
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced()
            assert len(play.writes) == 40
            play.writes.clear()
            play.reports.clear()
            objects[3], objects[7] = config_map("map-03", a="2"), config_map("map-07", a="2")
            commit = play.forge.push(*objects)
            await play.synced(commit=commit, seconds=400)
            assert sorted(play.writes) == ["patch configmaps map-03", "patch configmaps map-07"]
            reports = [line for line in play.reports if "events" not in line]
            assert len(reports) <= 6, reports

    played(story)


def test_nothing_is_written_while_nothing_changes() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"), deployment("web", replicas=0))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced()
            await asyncio.sleep(60)
            play.writes.clear()
            play.reports.clear()
            await asyncio.sleep(3600)
            assert play.writes == []
            # That it was compared again is no news: the date is brought up to date now and then.
            assert 1 <= len(play.reports) <= 3600 / 600 + 1

    played(story)


# --- syncs ------------------------------------------------------------------------------------------------------------


def test_waves_wait_for_health_and_hooks_run_in_their_phases() -> None:
    async def story(play: Play) -> None:
        hook = "argocd.argoproj.io/hook"
        play.forge.push(
            deployment("web", replicas=0, annotations={"argocd.argoproj.io/sync-wave": "1"}),
            config_map("base"),
            job("before", annotations={hook: "PreSync", "argocd.argoproj.io/hook-delete-policy": "HookSucceeded"}),
            job("after", annotations={hook: "PostSync"}),
        )
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.until(lambda: play.names(JOBS) == ["before"])
            await asyncio.sleep(30)
            assert play.names() == [] and "hook batch/Job/before" in play.status()["operationState"]["message"]
            await play.finish("before")
            await play.until(lambda: play.names() == ["base"])
            await play.until(lambda: play.names(DEPLOYMENTS) == ["web"])
            await play.until(lambda: "after" in play.names(JOBS))
            await play.finish("after")
            await play.synced()
            await play.until(lambda: play.names(JOBS) == ["after"])
            assert [line.split()[-1] for line in play.writes if line.startswith("create")] == [
                "before",
                "base",
                "web",
                "after",
            ]

    played(story, workloads=True)


def test_a_definition_and_its_objects_come_in_one_commit() -> None:
    async def story(play: Play) -> None:
        commit = play.forge.push(WIDGET, WIDGET_DEFINITION)
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced(commit=commit)
            assert play.names(WIDGETS) == ["w"]
            await play.remove(WIDGETS, "w")
            await play.until(lambda: play.names(WIDGETS) == ["w"])

    played(story)


def test_a_namespace_is_made_when_asked_for() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        destination = {"server": "https://kubernetes.default.svc", "namespace": "new"}
        policy = {**AUTOMATED, "syncOptions": ["CreateNamespace=true"]}
        async with play.process():
            await play.application(syncPolicy=policy, destination=destination)
            await play.synced()
            assert play.names(namespace="new") == ["one"]
            assert TRACKING_ID not in play.read(NAMESPACES, "new")["metadata"]["annotations"]

    played(story)


def test_an_object_that_is_refused_fails_the_sync_with_its_message_and_is_tried_again() -> None:
    async def story(play: Play) -> None:
        bad = {**WIDGET, "spec": {"size": 11}}
        play.forge.push(WIDGET_DEFINITION, bad, config_map("one"))
        async with play.process():
            await play.application(syncPolicy={**AUTOMATED, "retry": {"limit": 1, "backoff": {"duration": "1s"}}})
            await play.until(lambda: play.state()[2] == "Failed", seconds=100)
            message = play.status()["operationState"]["message"]
            assert "spec.size" in message and message.endswith("(retried 1 times).")
            assert play.names() == ["one"]
            assert "Failed last sync attempt" in play.conditions()["SyncError"]
            fixed = play.forge.push(WIDGET_DEFINITION, WIDGET, config_map("one"))
            await play.synced(commit=fixed, seconds=400)

    played(story)


def test_a_dry_run_asks_the_server_and_changes_nothing() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application()
            await play.sync(dryRun=True)
            await play.until(lambda: play.state()[2] == "Succeeded")
            assert play.names() == [] and play.writes == ["create configmaps one"]
            assert "history" not in play.status()

    played(story)


def test_a_running_sync_is_terminated() -> None:
    async def story(play: Play) -> None:
        play.forge.push(job("before", annotations={"argocd.argoproj.io/hook": "PreSync"}), config_map("one"))
        async with play.process():
            await play.application()
            await play.sync()
            await play.until(lambda: play.names(JOBS) == ["before"])
            await play.patch({"status": {"operationState": {"phase": "Terminating"}}})
            await play.until(lambda: play.state()[2] == "Failed")
            assert play.status()["operationState"]["message"] == "Operation terminated"
            await play.until(lambda: play.names(JOBS) == [])
            assert play.names() == []

    played(story)


def test_two_applications_with_one_object_are_told_of_each_other() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(syncPolicy={"automated": {}})
            await play.synced()
            await play.application("api")
            await play.until(lambda: "SharedResourceWarning" in play.conditions("api"))
            assert play.conditions("api")["SharedResourceWarning"].startswith("ConfigMap/one is part of applications")

    played(story)


def test_the_server_is_asked_what_an_apply_would_change_once_for_each_state() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"), WIDGET_DEFINITION, WIDGET)
        compare = {"annotations": {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}}
        policy = {**AUTOMATED, "syncOptions": ["ServerSideApply=true"]}
        async with play.process():
            await play.application(syncPolicy=policy, metadata=compare)
            await play.synced()
            await asyncio.sleep(60)
            play.writes.clear()
            await asyncio.sleep(1000)
            assert play.writes == []  # nothing has changed: nobody is asked again
            await play.edit(CONFIG_MAPS, "one", {"data": {"a": "by hand"}, "metadata": {"labels": {"x": "y"}}})
            await play.until(lambda: play.read(CONFIG_MAPS, "one")["data"] == {"a": "1"})
            assert play.read(CONFIG_MAPS, "one")["metadata"]["labels"] == {"x": "y"}  # of somebody else
            asked = [line for line in play.writes if line.startswith("patch")]
            assert set(asked) == {"patch configmaps one"} and len(asked) <= 3  # before, the apply, after

    played(story)


def test_what_the_server_would_refuse_cannot_be_compared_and_says_so() -> None:
    async def story(play: Play) -> None:
        play.forge.push(WIDGET_DEFINITION, WIDGET)
        compare = {"annotations": {"argocd.argoproj.io/compare-options": "ServerSideDiff=true"}}
        async with play.process():
            await play.application(syncPolicy=AUTOMATED, metadata=compare)
            await play.synced()
            play.forge.push(WIDGET_DEFINITION, {**WIDGET, "spec": {"size": 11}})
            await play.until(lambda: "ComparisonError" in play.conditions(), seconds=400)
            assert "server side diff" in play.conditions()["ComparisonError"]
            assert "spec.size" in play.conditions()["ComparisonError"]
            assert play.read(WIDGETS, "w")["spec"] == {"size": 1}

    played(story)


# --- the Application itself -------------------------------------------------------------------------------------------


def test_a_refresh_is_answered_and_its_annotation_removed() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application()
            await play.until(lambda: play.state()[0] == "OutOfSync")
            play.forge.asked.clear()
            await play.refresh("hard")
            await play.until(lambda: "argocd.argoproj.io/refresh" not in play.annotations())
            assert play.forge.asked == [Freshness.HARD]

    played(story)


def test_deleting_with_the_finalizer_takes_the_objects_along_and_without_it_leaves_them() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        play.forge.push(config_map("two"), path="other")
        async with play.process():
            await play.application(
                syncPolicy=AUTOMATED, metadata={"finalizers": ["resources-finalizer.argocd.argoproj.io"]}
            )
            await play.application("api", syncPolicy=AUTOMATED, source={"repoURL": URL, "path": "other"})
            await play.synced()
            await play.synced("api")
            for name in ("web", "api"):
                await play.delete(name)
            await play.until(lambda: not play.applications())
            await asyncio.sleep(10)
            assert play.names() == ["two"]

    played(story)


def test_a_spec_that_makes_no_sense_is_told_and_touches_nothing() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            plugin = {"source": {"repoURL": URL, "path": PATH, "plugin": {"name": "ytt"}}}
            await play.application("bad", syncPolicy=AUTOMATED, **plugin)
            await play.synced()
            await play.until(lambda: "InvalidSpecError" in play.conditions("bad"))
            assert "plug-ins are not supported" in play.conditions("bad")["InvalidSpecError"]
            await play.patch({"spec": plugin})
            await play.until(lambda: "InvalidSpecError" in play.conditions())
            await play.remove(CONFIG_MAPS, "one")
            await asyncio.sleep(100)
            assert play.names() == []  # nobody knows any more what is wanted

    played(story)


def test_a_destination_that_is_another_cluster_is_refused() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED, destination={"name": "elsewhere", "namespace": "shop"})
            await play.until(lambda: "InvalidSpecError" in play.conditions())
            assert play.conditions()["InvalidSpecError"].startswith("there is no cluster with name elsewhere")
            assert play.names() == []

    played(story)


def test_a_project_is_minded_and_its_changes_are_seen() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED, project="shop")
            await play.until(lambda: "InvalidSpecError" in play.conditions())
            assert play.conditions()["InvalidSpecError"] == (
                "Application referencing project shop which does not exist"
            )
            everywhere = [{"server": "*", "namespace": "*"}]
            await play.project("shop", sourceRepos=["*"], destinations=everywhere, namespaceResourceWhitelist=[])
            message = "resource :ConfigMap is not permitted in project shop"
            await play.until(lambda: message in play.status()["operationState"]["message"])
            assert play.names() == []
            await play.project("shop", namespaceResourceWhitelist=[{"group": "", "kind": "ConfigMap"}])
            await play.synced(seconds=200)
            assert play.names() == ["one"]

    played(story)


def test_objects_that_belong_to_nobody_are_counted_if_the_project_asks_for_it() -> None:
    async def story(play: Play) -> None:
        play.forge.push(config_map("one"))
        play.cluster.apply([config_map(name) for name in ("stray", "known", "kube-root-ca.crt")], namespace="shop")
        everywhere = [{"server": "*", "namespace": "*"}]
        ignored = [{"group": "", "kind": "ConfigMap", "name": "known"}]
        await play.project(
            "shop", sourceRepos=["*"], destinations=everywhere, orphanedResources={"warn": True, "ignore": ignored}
        )
        async with play.process():
            await play.application(syncPolicy=AUTOMATED, project="shop")
            await play.synced()
            await play.until(lambda: "OrphanedResourceWarning" in play.conditions())
            assert play.conditions()["OrphanedResourceWarning"] == "Application has 1 orphaned resources"
            await play.remove(CONFIG_MAPS, "stray")
            await play.refresh()
            await play.until(lambda: "OrphanedResourceWarning" not in play.conditions())

    played(story)


def test_weights_that_a_rollout_decides_are_never_reverted() -> None:
    async def story(play: Play) -> None:
        play.forge.push(ROLLOUT, ROUTE)
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.until(lambda: play.names(HTTP_ROUTES) == ["web"])
            await asyncio.sleep(30)
            play.writes.clear()
            backends = [
                {"name": "web-stable", "port": 80, "weight": 80},
                {"name": "web-canary", "port": 80, "weight": 20},
            ]
            await play.edit(HTTP_ROUTES, "web", {"spec": {"rules": [{"name": "main", "backendRefs": backends}]}})
            await asyncio.sleep(600)
            found = play.read(HTTP_ROUTES, "web")["spec"]["rules"][0]["backendRefs"]
            assert [one["weight"] for one in found] == [80, 20]
            assert play.writes == [] and play.state()[0] == "Synced"
            changed = {**ROUTE, "spec": {**ROUTE["spec"], "hostnames": ["shop.example"]}}
            commit = play.forge.push(ROLLOUT, changed)
            await play.synced(commit=commit, seconds=400)
            spec = play.read(HTTP_ROUTES, "web")["spec"]
            assert spec["hostnames"] == ["shop.example"]
            assert [one["weight"] for one in spec["rules"][0]["backendRefs"]] == [80, 20]

    played(story)


# --- deaths -----------------------------------------------------------------------------------------------------------


def test_a_restart_while_git_is_away_keeps_healing() -> None:
    async def story(play: Play) -> None:
        commit = play.forge.push(config_map("one"), config_map("two"))
        async with play.process():
            await play.application(syncPolicy=AUTOMATED)
            await play.synced(commit=commit)
        play.forge.cut()
        await play.remove(CONFIG_MAPS, "one")
        async with play.process():
            await play.until(lambda: play.names() == ["one", "two"])
            await play.edit(CONFIG_MAPS, "two", {"data": {"a": "by hand"}})
            await play.until(lambda: play.read(CONFIG_MAPS, "two")["data"] == {"a": "1"})

    played(story)


@pytest.mark.parametrize("when", list(When))
def test_death_at_any_write_leads_to_the_same_end(when: When) -> None:
    def tried(at: int) -> tuple[bool, object]:
        """Return whether the process died, and what came of it."""
        outcome: list[object] = []

        async def story(play: Play) -> None:
            hook = {"argocd.argoproj.io/hook": "PreSync"}
            play.forge.push(config_map("old"), config_map("kept"))
            async with play.process():
                await play.application(syncPolicy=AUTOMATED)
                await play.synced()
            commit = play.forge.push(
                config_map("hook", annotations=hook),
                config_map("kept", a="2"),
                config_map("new", annotations={"argocd.argoproj.io/sync-wave": "1"}),
            )
            deaths = await play.until_death(at, when)
            async with play.process():
                await play.refresh()
                await play.synced(commit=commit, seconds=400)
                await asyncio.sleep(60)
                data = {
                    found["metadata"]["name"]: found["data"] for found in play.cluster.read_all(CONFIG_MAPS, "shop")
                }
                history = [entry["revision"] for entry in play.status()["history"]]
                outcome.append((deaths > 0, (data, history[-1] == commit, play.state())))

        played(story)
        return outcome[0]  # type: ignore[return-value]

    wanted = ({"hook": {"a": "1"}, "kept": {"a": "2"}, "new": {"a": "1"}}, True, ("Synced", "Healthy", "Succeeded"))
    deaths = 0
    for at in range(1, 40):
        died, found = tried(at)
        assert found == wanted, f"after a death {when} write {at}"
        if not died:
            break
        deaths += 1
    assert deaths >= 6

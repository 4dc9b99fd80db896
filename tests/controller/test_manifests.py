"""What is to be installed: an account whose rights are enough, and no more, and a Deployment that uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from fairlead.cli.main import main
from fairlead.controller.manifests import LEASE_RIGHTS, RIGHTS, Installation, Part, manifests, rules
from fairlead.controller.settings import Settings, Traffic
from fairlead.controller.wiring import ReferenceController
from fairlead.core.cluster import Cluster, Page, WatchEvent
from fairlead.core.errors import Forbidden
from fairlead.core.forwarding import Forwarding, R, Write
from fairlead.core.kinds import carried
from fairlead.core.objects import Kind, ObjectKey, T
from fairlead.testing.clock import LoopClock, run_virtual
from fairlead.testing.cluster import SimulatedCluster
from tests.controlplane.scenarios import SCENARIOS, Scenario
from tests.controlplane.stage import Stage, play_simulated

EVERYTHING = Installation(image="registry.example/fairlead:1")
ONE_NAMESPACE = Installation(image="registry.example/fairlead:1", namespace="tools", only="shop")
SETTINGS = Settings(traffic=Traffic(settle=timedelta(milliseconds=200), drain=timedelta(milliseconds=300)))

Use = tuple[str, str, str]  # group, resource with its subresource, verb


def granted(installation: Installation) -> set[Use]:
    return {
        (group, resource, verb)
        for rule in rules(installation)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


class Guarded(Forwarding):
    """An API server that lets through what is granted, and notes what was asked for."""

    def __init__(self, inner: Cluster, rights: set[Use], used: set[Use]) -> None:
        super().__init__(inner)
        self._rights = rights
        self.used = used

    def _check(self, verb: str, kind: str, subresource: str = "") -> None:
        plural, _, group = kind.partition(".")
        use = (group, f"{plural}/{subresource}" if subresource else plural, verb)
        self.used.add(use)
        if use not in self._rights:
            raise Forbidden(f"may not {verb} {use[1]}.{group}")

    async def write(self, write: Write, call: Callable[[], Awaitable[R]]) -> R:
        verb, subresource = ("create", "eviction") if write.verb == "evict" else (write.verb, write.subresource)
        self._check(verb, write.kind, subresource)
        return await super().write(write, call)

    async def get(self, kind: Kind[T], key: ObjectKey) -> T:
        self._check("get", str(kind))
        return await super().get(kind, key)

    async def list(self, kind: Kind[T], **options: Any) -> Page[T]:
        self._check("list", str(kind))
        return await super().list(kind, **options)

    def watch(self, kind: Kind[T], **options: Any) -> AsyncIterator[WatchEvent[T]]:
        self._check("watch", str(kind))
        return super().watch(kind, **options)


@pytest.mark.parametrize("scenario", [SCENARIOS["happy"], SCENARIOS["abort-verdict"]], ids=lambda found: found.name)
def test_a_canary_gets_to_its_end_under_these_rights(scenario: Scenario) -> None:
    rights = granted(EVERYTHING)
    used: set[Use] = set()

    async def story(stage: Stage) -> None:
        await scenario.run(stage)

    play_simulated(story, settings=SETTINGS, around=lambda cluster: Guarded(cluster, rights, used))
    assert used <= rights


def test_external_secrets_are_synced_under_these_rights() -> None:
    external = carried("external-secrets.io", "v1", "ExternalSecret", "externalsecrets")
    store = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "SecretStore",
        "metadata": {"name": "fake", "namespace": "shop"},
        "spec": {"provider": {"fake": {"data": [{"key": "/db", "value": "v", "version": "v1"}]}}},
    }
    wanted = {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {
            "secretStoreRef": {"name": "fake"},
            "target": {"deletionPolicy": "Delete"},
            "data": [{"secretKey": "password", "remoteRef": {"key": "/db", "version": "v1"}}],
        },
    }
    rights = granted(EVERYTHING)
    used: set[Use] = set()

    async def story() -> None:
        cluster = SimulatedCluster(LoopClock())

        def guarded(inner: Cluster) -> Cluster:
            return Guarded(inner, rights, used)

        controller = ReferenceController(
            guarded(cluster), cluster.clock, SETTINGS, as_manager=lambda name: guarded(cluster.as_manager(name))
        )
        running = asyncio.create_task(controller.run())
        cluster.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}, store, wanted])
        await cluster.clock.sleep(5)
        conditions = ((cluster.read(external, ObjectKey("shop", "db")) or {}).get("status") or {})["conditions"]
        assert [(one["type"], one["status"]) for one in conditions] == [("Ready", "True")]
        await cluster.as_manager("kubectl").delete(external, ObjectKey("shop", "db"))
        await cluster.clock.sleep(5)
        assert cluster.read(external, ObjectKey("shop", "db")) is None
        controller.stop()
        await running

    run_virtual(story())
    assert used <= rights
    assert ("", "secrets", "delete") in used


def test_no_right_is_a_wildcard_or_leads_to_more_rights() -> None:
    for right in (*RIGHTS, LEASE_RIGHTS):
        assert "*" not in (right.group, right.resource, *right.verbs)
        assert not set(right.verbs) & {"bind", "escalate", "impersonate", "deletecollection"}
        assert right.resource not in ("pods/exec", "roles", "clusterroles", "nodes")
        assert right.why


def test_a_controller_of_rollouts_may_read_single_secrets_and_nothing_more() -> None:
    found = granted(Installation(image="x", parts=Part.ROLLOUTS))
    assert {use for use in found if use[1].startswith("secrets")} == {("", "secrets", "get")}
    assert not any(group == "external-secrets.io" or "serviceaccounts" in resource for group, resource, _ in found)


def test_a_controller_of_one_namespace_has_no_right_elsewhere() -> None:
    found = manifests(ONE_NAMESPACE)
    assert not [one for one in found if one["kind"].startswith("ClusterRole")]
    roles = {(one["metadata"]["namespace"], one["metadata"]["name"]) for one in found if one["kind"] == "Role"}
    assert roles == {("shop", "fairlead"), ("tools", "fairlead-leader-election")}
    wide = {right.resource for right in RIGHTS if right.is_wide}
    assert not wide & {resource for _, resource, _ in granted(ONE_NAMESPACE)}
    assert {right.resource for right in RIGHTS if right.is_wide} <= {resource for _, resource, _ in granted(EVERYTHING)}


def test_what_is_printed_is_what_is_installed() -> None:
    arguments = ["manifests", "--image=registry.example/fairlead:1", "-n", "tools", "--only=shop", "--no-secrets"]
    result = CliRunner().invoke(main, [*arguments, "--", "--settle=5s"])
    assert result.exit_code == 0, result.output
    found = list(yaml.safe_load_all(result.output))
    assert [one["kind"] for one in found] == [
        "Namespace",
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "Role",
        "RoleBinding",
        "Service",
        "Deployment",
    ]
    (container,) = found[-1]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "registry.example/fairlead:1"
    assert container["args"] == ["controller", "--namespace=shop", "--no-secrets", "--settle=5s"]
    started = CliRunner().invoke(main, [container["args"][0], "--help"])
    assert all(argument.partition("=")[0] in started.output for argument in container["args"][1:])


def test_an_image_must_be_named() -> None:
    result = CliRunner().invoke(main, ["manifests"])
    assert result.exit_code == 2
    assert "--image" in result.output

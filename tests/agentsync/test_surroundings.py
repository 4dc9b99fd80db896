"""What an Application stands in: project, destination, neighbours, and what its sources are told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
import pytest

from fairlead.agentsync._live import LiveView, Sight, Wanted, is_of_the_cluster
from fairlead.agentsync._surroundings import Surroundings
from fairlead.agentsync.kinds import APP_PROJECTS, APPLICATIONS, AppProject
from fairlead.agentsync.machine import Subject, prepare
from fairlead.agentsync.resources import Object, ResourceKey, ResourceKind
from fairlead.agentsync.settings import GitOpsSettings
from fairlead.agentsync.sources.port import Verification, VerificationMode
from fairlead.agentsync.spec import Destination
from fairlead.agentsync.tracking import Tracking
from fairlead.core.discovery import Served
from fairlead.core.objects import Kind, ObjectKey

SERVED = Served((ResourceKind(group="apps", version="v1", kind="Deployment", plural="deployments", namespaced=True),))


class Projects:
    """The projects of a test; a view."""

    def __init__(self, **specs: Any) -> None:
        self._found = {
            ObjectKey("argocd", name): APP_PROJECTS.decode(
                msgspec.json.encode({"metadata": {"name": name, "namespace": "argocd"}, "spec": spec})
            )
            for name, spec in specs.items()
        }

    def get(self, key: ObjectKey) -> AppProject | None:
        return self._found.get(key)

    def list(self, namespace: str = "") -> Sequence[AppProject]:
        return [*self._found.values()]

    def by_index(self, index: str, value: str) -> Sequence[AppProject]:
        raise KeyError(index)


class Strays(LiveView):
    """Sees what belongs to nobody, and nothing else."""

    def __init__(self, *keys: ResourceKey) -> None:
        self._keys = keys

    def strays(self, namespace: str) -> Iterable[ResourceKey]:
        return [key for key in self._keys if key.namespace == namespace]

    def follow(self, application: ObjectKey, wanted: Wanted) -> None:
        raise AssertionError("nobody follows")

    def look(self, application: ObjectKey) -> Sight:
        raise AssertionError("nobody looks")

    def forget(self, application: ObjectKey) -> None:
        raise AssertionError("nobody forgets")

    def kind(self, kind: ResourceKind, namespace: str) -> Kind[Any]:
        raise AssertionError("nobody writes")


class Live:
    """Objects by key; implements `observation.LiveObjects`."""

    def __init__(self, *objects: Object) -> None:
        self._objects = {ResourceKey("", "ConfigMap", "shop", found["metadata"]["name"]): found for found in objects}

    def find(self, key: ResourceKey) -> Object | None:
        return self._objects.get(key)

    def tracked(self) -> Iterable[Object]:
        return self._objects.values()


def subject(project: str = "shop", source: dict[str, Any] | None = None) -> Subject:
    spec = {
        "project": project,
        "source": {"repoURL": "https://git.example/shop", "path": ".", **(source or {})},
        "destination": {"name": "in-cluster", "namespace": "shop"},
    }
    metadata = {"name": "web", "namespace": "argocd"}
    return prepare(APPLICATIONS.decode(msgspec.json.encode({"metadata": metadata, "spec": spec})))


def surroundings(*strays: ResourceKey, settings: GitOpsSettings | None = None, **projects: Any) -> Surroundings:
    return Surroundings(settings or GitOpsSettings(), Projects(**projects), Strays(*strays), SERVED)


EVERYWHERE = {"destinations": [{"server": "*", "namespace": "*"}], "sourceRepos": ["*"]}


# --- projects ---------------------------------------------------------------------------------------------------------


def test_a_project_that_is_not_there_permits_nothing_and_the_default_one_everything() -> None:
    key = ResourceKey("apps", "Deployment", "shop", "web")
    around = surroundings(shop=EVERYWHERE)
    assert around.project(subject("gone")) is None and around.refuses(subject("gone"))(key, True)
    assert not around.refuses(subject("default"))(key, True)
    assert not around.refuses(subject("shop"))(key, True)
    closed = surroundings(settings=GitOpsSettings(default_project=False))
    assert closed.project(subject("default")) is None


def test_a_project_that_cannot_be_understood_permits_nothing() -> None:
    around = surroundings(shop={**EVERYWHERE, "sourceRepos": "everything"})
    project = around.project(subject())
    assert project is not None and not project.permits_source("https://git.example/shop")


# --- destinations -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "server", "error"),
    [
        (Destination(server="https://kubernetes.default.svc"), "https://kubernetes.default.svc", ""),
        (Destination(name="in-cluster"), "https://spoke:6443", ""),
        (Destination(name="spoke"), "https://spoke:6443", ""),
        (Destination(server="https://spoke:6443"), "https://spoke:6443", ""),
        (Destination(), "", ""),
        (Destination(name="other"), "", "there is no cluster with name other"),
        (Destination(server="https://other"), "", "there is no cluster with server https://other"),
        (Destination(server="https://spoke:6443", name="spoke"), "", "can't have both name and server"),
    ],
)
def test_only_this_cluster_is_a_destination(wanted: Destination, server: str, error: str) -> None:
    seen = GitOpsSettings(name="spoke", server="https://spoke:6443").destination(wanted)
    assert seen.server == server and error in seen.error and bool(seen.error) == bool(error)


# --- neighbours -------------------------------------------------------------------------------------------------------


def test_objects_of_another_application_are_told_from_ours_and_from_nobodys() -> None:
    def config_map(name: str) -> Object:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "shop"}}

    live = Live(
        Tracking(application="web").stamp(config_map("ours")),
        Tracking(application="api").stamp(config_map("theirs")),
        config_map("nobodys"),
    )
    keys = [ResourceKey("", "ConfigMap", "shop", name) for name in ("ours", "theirs", "nobodys", "absent")]
    assert surroundings().others(subject(), keys, live) == {keys[1]: "api"}


def test_strays_are_counted_only_if_the_project_asks() -> None:
    strays = [ResourceKey("", "ConfigMap", "shop", name) for name in ("one", "two", "kube-root-ca.crt")]
    strays.append(ResourceKey("", "ConfigMap", "elsewhere", "three"))
    asked = {**EVERYWHERE, "orphanedResources": {"ignore": [{"group": "", "kind": "ConfigMap", "name": "t*"}]}}
    assert surroundings(*strays, shop=EVERYWHERE).orphaned(subject()) is None
    assert surroundings(*strays, shop=asked).orphaned(subject()) == 1
    silent = {**EVERYWHERE, "orphanedResources": {"warn": False}}
    assert surroundings(*strays, shop=silent).orphaned(subject()) is None
    assert not is_of_the_cluster(ResourceKey("apps", "Deployment", "shop", "default"))


# --- sources ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "verification"),
    [
        ({}, Verification()),
        ({"signatureKeys": [{"keyID": "ABCD"}]}, Verification(mode=VerificationMode.HEAD, keys=("ABCD",))),
        (
            {"sourceIntegrity": {"git": {"policies": [{"repos": [{"url": "**"}], "gpg": {"mode": "strict"}}]}}},
            Verification(mode=VerificationMode.STRICT),
        ),
    ],
    ids=["none", "keys", "policy"],
)
def test_the_signature_that_the_project_wants_is_asked_for(more: Any, verification: Verification) -> None:
    whom = surroundings(shop={**EVERYWHERE, **more}).whom(subject())
    assert whom.verifications == (verification,)
    assert (whom.application, whom.project, whom.namespace) == ("web", "shop", "shop")


def test_only_charts_are_told_what_is_served() -> None:
    around = surroundings(shop=EVERYWHERE)
    assert around.whom(subject()).api_versions == ()
    assert around.whom(subject(source={"helm": {}})).api_versions == ("apps/v1", "apps/v1/Deployment")

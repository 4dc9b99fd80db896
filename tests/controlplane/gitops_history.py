"""The life of a shop in a Git repository: sixty commits of two Applications, some of which cannot be deployed.

`deploy` holds plain manifests (a namespace, a definition and an object of it, hooks, waves, a Rollout, an
ExternalSecret), `overlays/edge` is a kustomization of `base`. Everything is generated: the same seed gives the same
commits.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import yaml

Document = dict[str, Any]
Files = dict[str, str]

SHOP, EDGE = "shop", "shop-edge"  # the Applications, and their namespaces
PATHS = {SHOP: "deploy", EDGE: "overlays/edge"}
WIDGETS = ("shop.example", "Widget")
_PREFIX = "argocd.argoproj.io/"


class Fault(Enum):
    """Why a commit cannot be deployed: what the Application's condition says of it."""

    NONE = ""
    UNPARSABLE = 'Failed to unmarshal "broken.yaml"'
    REPEATED_KEY = 'Failed to unmarshal "twice.yaml"'
    NO_OBJECT = "auto-sync will wipe out all resources"
    NO_FOLDER = "app path does not exist"
    UNKNOWN_KIND = "Gizmo"
    IMMUTABLE = "field is immutable"
    UNKNOWN_FIELD = 'unknown field "spec.replica"'
    SECRET_FIELD = 'unknown field "dataa"'
    NO_FILE = "kustomize build overlays/edge failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One commit.

    Attributes:
        number: from 1 on.
        documents: what it wants, by Application; of a commit with a fault what the last good one wants.
        fault: which Application's condition says what; no fault: it is good.
        culprit: the Application that has the fault.
        rewrites: number of the commit that it is a child of, by a force push; 0: of the one before.
    """

    number: int
    message: str
    files: Mapping[str, str]
    documents: Mapping[str, tuple[Document, ...]]
    fault: Fault = Fault.NONE
    culprit: str = SHOP
    rewrites: int = 0

    @property
    def is_good(self) -> bool:
        return self.fault is Fault.NONE

    def hooks(self, application: str) -> list[Document]:
        return [one for one in self.documents[application] if is_hook(one)]

    def objects(self, application: str) -> list[Document]:
        return [one for one in self.documents[application] if not is_hook(one)]


def is_hook(document: Document) -> bool:
    return f"{_PREFIX}hook" in document["metadata"].get("annotations", {})


# --- manifests --------------------------------------------------------------------------------------------------------


def _named(api_version: str, kind: str, name: str, **parts: Any) -> Document:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": {"app": "shop"}}, **parts}


def _annotated(document: Document, **annotations: str) -> Document:
    document["metadata"].setdefault("annotations", {}).update(
        {f"{_PREFIX}{name.replace('_', '-')}": text for name, text in annotations.items()}
    )
    return document


def _config(name: str, **data: str) -> Document:
    return _named("v1", "ConfigMap", name, data=data)


def _pods(name: str, image: str, *command: str) -> Document:
    container: Document = {"name": name, "image": f"registry.example/{image}"}
    if command:
        container["command"] = list(command)
    else:
        container["ports"] = [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]
        container["resources"] = {"requests": {"cpu": "10m", "memory": "16Mi"}}
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}


def _deployment(name: str, replicas: int = 2) -> Document:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": _pods(name, f"{name}:1")}
    return _named("apps/v1", "Deployment", name, spec=spec)


def _service(name: str, app: str = "") -> Document:
    ports = [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}]
    return _named("v1", "Service", name, spec={"selector": {"app": app or name}, "ports": ports})


def _rollout(name: str) -> Document:
    steps = [{"setWeight": 50}, {"pause": {"duration": "1s"}}]
    spec = {
        "replicas": 2,
        "revisionHistoryLimit": 2,
        "selector": {"matchLabels": {"app": name}},
        "template": _pods(name, f"{name}:1"),
        "strategy": {"canary": {"stableService": f"{name}-stable", "canaryService": f"{name}-canary", "steps": steps}},
    }
    return _named("argoproj.io/v1alpha1", "Rollout", name, spec=spec)


def _hook(name: str, phase: str, policy: str) -> Document:
    template = _pods(name, "tool:1", "sh", "-c", "sleep 0.1; true")
    template["spec"]["restartPolicy"] = "Never"
    job = _named("batch/v1", "Job", name, spec={"backoffLimit": 0, "template": template})
    return _annotated(job, hook=phase, hook_delete_policy=policy)


def _definition() -> Document:
    group, kind = WIDGETS
    properties = {"size": {"type": "integer"}, "color": {"type": "string", "default": "blue"}}
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}
    found = _named("apiextensions.k8s.io/v1", "CustomResourceDefinition", f"widgets.{group}")
    found["spec"] = {
        "group": group,
        "scope": "Namespaced",
        "names": {"kind": kind, "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
    }
    return found


def _store() -> list[Document]:
    fake = {"data": [{"key": "api", "value": "s3cr3t"}]}
    store = _named("external-secrets.io/v1", "SecretStore", "vault", spec={"provider": {"fake": fake}})
    spec = {
        "refreshInterval": "1h",
        "secretStoreRef": {"name": "vault", "kind": "SecretStore"},
        "target": {"name": "api-key"},
        "data": [{"secretKey": "key", "remoteRef": {"key": "api"}}],
    }
    return [store, _named("external-secrets.io/v1", "ExternalSecret", "api-key", spec=spec)]


# --- the tree ---------------------------------------------------------------------------------------------------------


@dataclass
class Tree:
    """What the repository holds: manifests of `deploy` by file, and the parts of the kustomization."""

    deploy: dict[str, list[Document]] = field(default_factory=dict)
    edge_image: str = "1"
    edge_replicas: int = 1
    edge_settings: dict[str, str] = field(default_factory=lambda: {"region": "north"})

    def one(self, file: str, kind: str = "") -> Document:
        return next(one for one in self.deploy[file] if kind in ("", one["kind"]))

    def files(self) -> Files:
        found = {f"deploy/{name}.yaml": _dump(documents) for name, documents in self.deploy.items()}
        found |= {"README.md": "# The shop\n", "base/edge.yaml": _dump([_deployment("edge", 1), _service("edge")])}
        found["base/kustomization.yaml"] = _dump([{"resources": ["edge.yaml"]}])
        found["overlays/edge/kustomization.yaml"] = _dump([self._kustomization()])
        return found

    def _kustomization(self) -> Document:
        return {
            "namespace": EDGE,
            "resources": ["../../base"],
            "labels": [{"pairs": {"tier": "edge"}, "includeSelectors": False}],
            "images": [{"name": "registry.example/edge", "newTag": self.edge_image}],
            "replicas": [{"name": "edge", "count": self.edge_replicas}],
            "configMapGenerator": [
                {
                    "name": "region",
                    "literals": [f"{name}={text}" for name, text in sorted(self.edge_settings.items())],
                    "options": {"disableNameSuffixHash": True},
                }
            ],
        }

    def documents(self) -> dict[str, tuple[Document, ...]]:
        """Return what the tree wants, without asking any program: what kustomize makes is known by construction."""
        shop = [_placed(copy.deepcopy(one)) for documents in self.deploy.values() for one in documents]
        deployment, service = _deployment("edge", self.edge_replicas), _service("edge")
        deployment["spec"]["template"]["spec"]["containers"][0]["image"] = f"registry.example/edge:{self.edge_image}"
        region = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "region"},
            "data": {**self.edge_settings},
        }
        edge = [deployment, service, region]
        for one in edge:
            one["metadata"]["namespace"] = EDGE
            one["metadata"]["labels"] = {**one["metadata"].get("labels", {}), "tier": "edge"}
        return {SHOP: tuple(shop), EDGE: tuple(edge)}


def _placed(document: Document) -> Document:
    if document["kind"] not in ("Namespace", "CustomResourceDefinition"):
        document["metadata"]["namespace"] = SHOP
    return document


def _dump(documents: list[Document]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=True)


# --- what happens -----------------------------------------------------------------------------------------------------

Step = Callable[[Tree, random.Random], None]


def _begin(tree: Tree, rng: random.Random) -> None:
    tree.deploy["namespace"] = [_named("v1", "Namespace", SHOP)]
    tree.deploy["settings"] = [_config("settings", greeting="hello", currency="EUR")]
    tree.deploy["web"] = [_deployment("web"), _service("web")]


def _add(file: str, *documents: Document) -> Step:
    return lambda tree, rng: tree.deploy.update({file: [copy.deepcopy(one) for one in documents]})


def _remove(file: str) -> Step:
    def step(tree: Tree, rng: random.Random) -> None:
        del tree.deploy[file]

    return step


def _define_widgets(tree: Tree, rng: random.Random) -> None:
    group, kind = WIDGETS
    tree.deploy["definition"] = [_definition()]
    tree.deploy["widget"] = [_named(f"{group}/v1", kind, "main", spec={"size": 1, "color": "red"})]


def _rename_features(tree: Tree, rng: random.Random) -> None:
    documents = tree.deploy.pop("features")
    documents[0]["metadata"]["name"] = "toggles"
    tree.deploy["toggles"] = documents


def _roll_out(tree: Tree, rng: random.Random) -> None:
    documents = [_rollout("api"), _service("api-stable", "api"), _service("api-canary", "api")]
    tree.deploy["api"] = [_annotated(one, sync_wave="2") for one in documents]


def _waves(tree: Tree, rng: random.Random) -> None:
    for wave, file in enumerate(("settings", "web", "release"), start=-1):
        for document in tree.deploy[file]:
            _annotated(document, sync_wave=str(wave))


def _label_all(tree: Tree, rng: random.Random) -> None:
    for documents in tree.deploy.values():
        for document in documents:
            document["metadata"]["labels"]["team"] = "checkout"


def _unlabel_some(tree: Tree, rng: random.Random) -> None:
    for document in tree.deploy["settings"] + tree.deploy["web"]:
        del document["metadata"]["labels"]["team"]


def _image(file: str, kind: str) -> Step:
    def step(tree: Tree, rng: random.Random) -> None:
        container = tree.one(file, kind)["spec"]["template"]["spec"]["containers"][0]
        name, _, tag = container["image"].rpartition(":")
        container["image"] = f"{name}:{int(tag) + 1}"

    return step


def _setting(tree: Tree, rng: random.Random) -> None:
    tree.one("settings")["data"][f"option-{rng.randrange(4)}"] = str(rng.randrange(1000))


def _fewer_settings(tree: Tree, rng: random.Random) -> None:
    tree.one("settings")["data"] = {"greeting": "good day"}


def _scale(tree: Tree, rng: random.Random) -> None:
    spec = tree.one("web", "Deployment")["spec"]
    spec["replicas"] = 3 if spec["replicas"] == 2 else 2


def _widget(tree: Tree, rng: random.Random) -> None:
    tree.one("widget")["spec"]["size"] += 1


def _secret(tree: Tree, rng: random.Random) -> None:
    tree.one("credentials")["stringData"]["password"] = f"hunter-{rng.randrange(10**6)}"


def _port(tree: Tree, rng: random.Random) -> None:
    ports = tree.one("web", "Service")["spec"]["ports"]
    ports.append({"name": "metrics", "port": 9000 + len(ports), "targetPort": 9000, "protocol": "TCP"})


def _edge(tree: Tree, rng: random.Random) -> None:
    tree.edge_image = str(int(tree.edge_image) + 1)
    tree.edge_settings = {"region": rng.choice(("north", "south")), "limit": str(rng.randrange(100))}


def _edge_scaled(tree: Tree, rng: random.Random) -> None:
    tree.edge_replicas = 3 - tree.edge_replicas


_ROUTINE: tuple[tuple[str, Step], ...] = (
    ("Set an option", _setting),
    ("Release the web front", _image("web", "Deployment")),
    ("Scale the web front", _scale),
    ("Grow the widget", _widget),
    ("Change a password", _secret),
    ("Release the edge", _edge),
    ("Scale the edge", _edge_scaled),
    ("Release the API", _image("api", "Rollout")),
)


def _broken(path: str, text: str) -> Callable[[Files], None]:
    return lambda files: files.update({path: text})


def _without(folder: str, *, but: str = "") -> Callable[[Files], None]:
    def change(files: Files) -> None:
        for path in [path for path in files if path.startswith(f"{folder}/")]:
            del files[path]
        if but:
            files[f"{folder}/{but}"] = "Nothing to see here.\n"

    return change


def _with(file: str, kind: str, change: Callable[[Document], None]) -> Callable[[Files], None]:
    def apply(files: Files) -> None:
        documents = list(yaml.safe_load_all(files[file]))
        change(next(one for one in documents if one["kind"] == kind))
        files[file] = _dump(documents)

    return apply


def _other_selector(deployment: Document) -> None:
    for labels in (deployment["spec"]["selector"]["matchLabels"], deployment["spec"]["template"]["metadata"]["labels"]):
        labels["tier"] = "front"


def _misspelled(deployment: Document) -> None:
    deployment["spec"]["replica"] = 3


def _missing_resource(files: Files) -> None:
    kustomization = yaml.safe_load(files["overlays/edge/kustomization.yaml"])
    kustomization["resources"].append("not-there.yaml")
    files["overlays/edge/kustomization.yaml"] = _dump([kustomization])


_GIZMO = _named("shop.example/v1", "Gizmo", "gizmo", spec={})

_FAULTS: Mapping[Fault, tuple[str, Callable[[Files], None]]] = {
    Fault.UNPARSABLE: (
        "Break the YAML",
        _broken("deploy/broken.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x\ndata: [\n"),
    ),
    Fault.REPEATED_KEY: (
        "Say one thing twice",
        _broken("deploy/twice.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {a: '1', a: '2'}\n"),
    ),
    Fault.NO_OBJECT: ("Remove all manifests", _without("deploy", but="notes.txt")),
    Fault.NO_FOLDER: ("Remove the folder", _without("deploy")),
    Fault.UNKNOWN_KIND: ("Add a kind that nobody knows", _broken("deploy/gizmo.yaml", _dump([_GIZMO]))),
    Fault.IMMUTABLE: ("Change what cannot be changed", _with("deploy/web.yaml", "Deployment", _other_selector)),
    Fault.UNKNOWN_FIELD: ("Misspell a field", _with("deploy/web.yaml", "Deployment", _misspelled)),
    Fault.SECRET_FIELD: (
        "Misspell a field of a Secret",
        _with("deploy/credentials.yaml", "Secret", lambda secret: secret.update(dataa={})),
    ),
    Fault.NO_FILE: ("Refer to a file that is not there", _missing_resource),
}


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Go back so many good commits, by a force push, and take another turn."""

    back: int
    message: str
    step: Step


_SCRIPT: tuple[tuple[str, Step] | Fault | Rewrite | int, ...] = (
    ("Open the shop", _begin),
    ("Add features", _add("features", _config("features", checkout="on", reviews="off"))),
    ("Release the web front", _image("web", "Deployment")),
    Fault.UNPARSABLE,
    ("Say good day", _fewer_settings),
    ("Define widgets", _define_widgets),
    ("Add a password", _add("credentials", _named("v1", "Secret", "credentials", stringData={"password": "hunter-0"}))),
    ("Rename the features", _rename_features),
    Fault.UNKNOWN_KIND,
    ("Announce the release", _add("release", _config("release", version="1"))),
    ("Order what is deployed", _waves),
    ("Migrate before each sync", _add("migrate", _hook("migrate", "PreSync", "BeforeHookCreation"))),
    ("Release the web front", _image("web", "Deployment")),
    Fault.IMMUTABLE,
    ("Open a port", _port),
    ("Roll out the API", _roll_out),
    ("Release the API", _image("api", "Rollout")),
    Fault.REPEATED_KEY,
    ("Fetch the API's key", _add("external", *_store())),
    ("Test after each sync", _add("smoke", _hook("smoke", "PostSync", "HookSucceeded"))),
    6,
    Fault.NO_OBJECT,
    ("Name the team", _label_all),
    Rewrite(3, "Take back what was pushed", _setting),
    ("Scale the edge", _edge_scaled),
    Fault.NO_FILE,
    ("Release the edge", _edge),
    Fault.UNKNOWN_FIELD,
    8,
    ("Name the team", _label_all),
    ("Name fewer teams", _unlabel_some),
    Fault.NO_FOLDER,
    ("Retire the toggles", _remove("toggles")),
    Rewrite(2, "Take back the retirement", _widget),
    ("Retire the smoke test", _remove("smoke")),
    Fault.SECRET_FIELD,
    10,
    ("Retire the toggles", _remove("toggles")),
    ("Close a widget", _remove("widget")),
)


def passwords(history: Iterable[Commit]) -> frozenset[str]:
    """Return every value that a Secret of the shop has ever had."""
    return frozenset(
        text
        for commit in history
        for document in commit.documents[SHOP]
        for text in document.get("stringData", {}).values()
    )


def commits(seed: int = 7) -> list[Commit]:
    """Return the history, oldest first."""
    rng = random.Random(seed)
    tree = Tree()
    found: list[Commit] = []
    good: list[tuple[int, Tree]] = []
    for message, step, fault, back in _steps(rng):
        rewrites = 0
        if back:
            rewrites, before = good[-1 - back]
            tree = copy.deepcopy(before)
        step(tree, rng)
        files = tree.files()
        if fault is not Fault.NONE:
            _FAULTS[fault][1](files)
        commit = Commit(
            number=len(found) + 1,
            message=message,
            files=files,
            documents=tree.documents(),
            fault=fault,
            culprit=EDGE if fault is Fault.NO_FILE else SHOP,
            rewrites=rewrites,
        )
        found.append(commit)
        if commit.is_good:
            good.append((commit.number, copy.deepcopy(tree)))
    return found


def _steps(rng: random.Random) -> Iterator[tuple[str, Step, Fault, int]]:
    for entry in _SCRIPT:
        match entry:
            case Fault():
                yield _FAULTS[entry][0], lambda tree, rng: None, entry, 0
            case Rewrite(back, message, step):
                yield message, step, Fault.NONE, back
            case int():
                for _ in range(entry):
                    message, step = rng.choice(_ROUTINE)
                    yield message, step, Fault.NONE, 0
            case (message, step):
                yield message, step, Fault.NONE, 0

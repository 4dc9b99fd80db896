"""What is wrong with the spec of an Application beyond its types."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from fairlead.agentsync._validation import problems
from fairlead.agentsync.spec import decode_spec
from tests.agentsync.manifests import DIRECTORY, HELM, KUSTOMIZE, PLUGIN

GIT = {"repoURL": "https://git.example.com/shop.git", "path": "deploy"}
SERVER = {"server": "https://kubernetes.default.svc"}


def wrong(**spec: Any) -> list[str]:
    return list(problems(decode_spec(msgspec.json.encode({"destination": SERVER, **spec}))))


REQUIRED = "spec.source.repoURL and either spec.source.path or spec.source.chart are required"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        pytest.param({"source": GIT}, [], id="good"),
        pytest.param({"sources": [HELM, {**GIT, "ref": "values"}]}, [], id="several"),
        pytest.param({"sources": [HELM, {"repoURL": GIT["repoURL"], "ref": "values"}]}, [], id="only-lends-files"),
        pytest.param({}, [REQUIRED], id="no-source"),
        pytest.param({"source": {"path": "."}}, [REQUIRED], id="no-url"),
        pytest.param({"source": {"repoURL": "a"}}, [REQUIRED], id="no-path"),
        pytest.param({"source": {"repoURL": "a", "ref": "values"}}, [REQUIRED], id="a-single-one-lends-nothing"),
        pytest.param(
            {"sources": [GIT, {"repoURL": "a"}]},
            [
                "spec.sources[1].repoURL and either spec.sources[1].path, spec.sources[1].chart or spec.sources[1].ref"
                " are required"
            ],
            id="one-of-several",
        ),
        pytest.param(
            {"source": {"repoURL": "a", "chart": "redis"}},
            ["spec.source.targetRevision is required if the manifest source is a helm chart"],
            id="chart-without-revision",
        ),
        pytest.param(
            {"sources": [{**HELM, "ref": "a"}]}, ["spec.sources[0]: ref and chart exclude each other"], id="ref-chart"
        ),
        pytest.param(
            {"sources": [{**GIT, "ref": "a/b"}]},
            ["spec.sources[0].ref a/b cannot contain any special characters except '_' and '-'"],
            id="odd-ref",
        ),
        pytest.param(
            {"sources": [{**GIT, "ref": "a"}, {**GIT, "ref": "a"}]},
            ["spec.sources: ref a is given to more than one source"],
            id="ref-twice",
        ),
        pytest.param(
            {"sources": [{**GIT, "name": "a"}, {**GIT, "name": "a"}]},
            ["application has duplicate source name: a"],
            id="name-twice",
        ),
        pytest.param(
            {"source": {**GIT, "path": "../secrets"}},
            ['spec.source.path: Invalid value: "../secrets": expected a path inside the repository'],
            id="path-that-leaves",
        ),
        pytest.param(
            {"source": {**GIT, "path": "/etc"}},
            ['spec.source.path: Invalid value: "/etc": expected a path inside the repository'],
            id="absolute-path",
        ),
        pytest.param(
            {"source": {**GIT, "helm": {}, "kustomize": {}}},
            ["multiple application sources defined: Helm,Kustomize"],
            id="two-tools",
        ),
        pytest.param(
            {"source": PLUGIN},
            [
                "spec.source.plugin: config management plug-ins are not supported: render with Helm, Kustomize or plain"
                " manifests"
            ],
            id="plug-in-is-refused",
        ),
        pytest.param(
            {"sources": [KUSTOMIZE, DIRECTORY]},
            ["spec.sources[1].directory.jsonnet: Jsonnet is not supported: render it before it is committed"],
            id="jsonnet-is-refused",
        ),
        pytest.param({"source": {**GIT, "directory": {"jsonnet": {}}}}, [], id="an-empty-jsonnet-block-is-none"),
        pytest.param(
            {"source": GIT, "sourceHydrator": {"drySource": {}}},
            ["spec.sourceHydrator: rendering into another branch is not supported: use spec.source or spec.sources"],
            id="hydrator-is-refused",
        ),
        pytest.param(
            {"source": GIT, "destination": {"server": "a", "name": "b"}},
            ["application destination can't have both name and server defined: b a"],
            id="two-destinations",
        ),
        pytest.param({"source": GIT, "destination": {}}, ["Destination server missing from app spec"], id="nowhere"),
        pytest.param(
            {"source": GIT, "syncPolicy": {"retry": {"backoff": {"duration": "soon"}}}},
            ['spec.syncPolicy.retry.backoff.duration: time: invalid duration "soon"'],
            id="duration",
        ),
    ],
)
def test_problems(spec: dict[str, Any], expected: list[str]) -> None:
    assert wrong(**spec) == expected

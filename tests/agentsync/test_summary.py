"""Images and links of an Application."""

from __future__ import annotations

from typing import Any

import pytest

from fairlead.agentsync._summary import images_of, summarise
from tests.agentsync.world import manifest

POD: dict[str, Any] = {
    "initContainers": [{"image": "init:1"}],
    "containers": [{"image": "web:1"}, {"image": "proxy:2"}, {"image": "web:1"}],
}
IMAGES = ("init:1", "web:1", "proxy:2")


@pytest.mark.parametrize(
    "spec",
    [
        pytest.param(POD, id="pod"),
        pytest.param({"template": {"spec": POD}}, id="workload"),
        pytest.param({"jobTemplate": {"spec": {"template": {"spec": POD}}}}, id="cron-job"),
    ],
)
def test_images_wherever_a_pod_is_described(spec: dict[str, Any]) -> None:
    assert images_of({"kind": "Any", "spec": spec}) == IMAGES


@pytest.mark.parametrize(
    "spec", [None, [], {"containers": 7}, {"containers": [7, {"image": 7}, {}]}, {"template": "text"}], ids=repr
)
def test_odd_objects_have_no_images(spec: Any) -> None:
    assert images_of({"kind": "Any", "spec": spec}) == ()


def test_links_of_ingresses_and_annotations() -> None:
    ingress = manifest("Ingress", "web", **{"link.argocd.argoproj.io/docs": "https://docs.example.com"})
    ingress["spec"] = {
        "tls": [{"hosts": ["shop.example.com"]}],
        "rules": [
            {"host": "shop.example.com", "http": {"paths": [{"path": "/cart"}]}},
            {"host": "plain.example.com", "http": {"paths": [{"path": "/"}]}},
            {"http": {}},
            "odd",
        ],
    }
    found = summarise([ingress, manifest("Application", "child")])
    assert found.external_urls == (
        "http://plain.example.com",
        "https://docs.example.com",
        "https://shop.example.com/cart",
    )
    assert found.is_app_of_apps
    assert not summarise([ingress]).is_app_of_apps

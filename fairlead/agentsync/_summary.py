"""What people want to know of an Application at a glance: images, and where to open it.

Source: `argo-cd: controller/state.go`, `pkg/apis/application/v1alpha1/types.go: ApplicationSummary`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fairlead.agentsync.kinds import GROUP
from fairlead.agentsync.resources import Object, annotations_of, group_version, kind_of
from fairlead.agentsync.status import Summary

_LINK = "link.argocd.argoproj.io/"
_POD_SPECS = (
    ("spec",),
    ("spec", "template", "spec"),
    ("spec", "jobTemplate", "spec", "template", "spec"),
)


def images_of(found: Object) -> tuple[str, ...]:
    """Return the images that the pods of an object run, in the order in which it names them.

    >>> images_of({"kind": "Pod", "spec": {"containers": [{"image": "web:1"}]}})
    ('web:1',)
    """
    images: list[str] = []
    for path in _POD_SPECS:
        spec: Any = found
        for name in path:
            spec = spec.get(name) if isinstance(spec, Mapping) else None
        if isinstance(spec, Mapping):
            images.extend(_images(spec))
    return tuple(dict.fromkeys(images))


def _images(spec: Mapping[str, Any]) -> Iterator[str]:
    for name in ("initContainers", "containers"):
        containers = spec.get(name)
        for container in containers if isinstance(containers, list) else ():
            image = container.get("image") if isinstance(container, Mapping) else None
            if isinstance(image, str) and image:
                yield image


def summarise(found: Iterable[Object]) -> Summary:
    """Return the summary of what lives."""
    found = tuple(found)
    return Summary(
        images=tuple(sorted({image for one in found for image in images_of(one)})),
        external_urls=tuple(sorted({url for one in found for url in _urls(one)})),
        is_app_of_apps=any((group_version(one)[0], kind_of(one)) == (GROUP, "Application") for one in found),
    )


def _urls(found: Object) -> Iterator[str]:
    yield from (value for name, value in annotations_of(found).items() if name.startswith(_LINK))
    if kind_of(found) != "Ingress":
        return
    spec = found.get("spec")
    if not isinstance(spec, Mapping):
        return
    tls = spec.get("tls")
    secured = {
        host
        for entry in (tls if isinstance(tls, list) else ())
        if isinstance(entry, Mapping) and isinstance(hosts := entry.get("hosts"), list)
        for host in hosts
        if isinstance(host, str)
    }
    rules = spec.get("rules")
    for rule in rules if isinstance(rules, list) else ():
        host = rule.get("host") if isinstance(rule, Mapping) else None
        if isinstance(host, str) and host:
            yield f"{'https' if host in secured else 'http'}://{host}{_path(rule)}"


def _path(rule: Mapping[str, Any]) -> str:
    """Return the path of a rule that has exactly one."""
    http = rule.get("http")
    paths = http.get("paths") if isinstance(http, Mapping) else None
    if not isinstance(paths, list) or len(paths) != 1 or not isinstance(paths[0], Mapping):
        return ""
    path = paths[0].get("path")
    return path.rstrip("*") if isinstance(path, str) and path != "/" else ""

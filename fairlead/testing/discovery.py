"""What the API server says that it serves: versions, groups, resource lists, and the aggregated form of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fairlead.testing.resources import VERBS, Registry, Resource

Document = dict[str, Any]
_SUBRESOURCE_VERBS = ("get", "patch", "update")

# Questions that clients ask about themselves; answered in `http.py`, stored nowhere.
REVIEWS: dict[tuple[str, str], tuple[tuple[str, str, bool], ...]] = {
    ("authorization.k8s.io", "v1"): (
        ("selfsubjectaccessreviews", "SelfSubjectAccessReview", False),
        ("selfsubjectrulesreviews", "SelfSubjectRulesReview", False),
        ("subjectaccessreviews", "SubjectAccessReview", False),
        ("localsubjectaccessreviews", "LocalSubjectAccessReview", True),
    ),
    ("authentication.k8s.io", "v1"): (
        ("tokenreviews", "TokenReview", False),
        ("selfsubjectreviews", "SelfSubjectReview", False),
    ),
}


def _groups(registry: Registry) -> dict[str, list[str]]:
    """Return the versions by group, preferred ones first."""
    groups: dict[str, list[str]] = {}
    for resource in registry:
        versions = groups.setdefault(resource.group, [])
        versions.extend(served.name for served in resource.versions if served.name not in versions)
    for group, version in REVIEWS:
        groups.setdefault(group, [version])
    return dict(sorted(groups.items()))


def resources_of(registry: Registry, group: str, version: str) -> list[Resource]:
    """Return the kinds of a group and version, sorted by plural."""
    found = [resource for resource in registry if resource.group == group and resource.version(version)]
    return sorted(found, key=lambda resource: resource.plural)


def _subresources(resource: Resource) -> Iterator[tuple[str, str, str, str, tuple[str, ...]]]:
    """Yield name, group, version, kind and verbs of each."""
    version = resource.versions[0].name
    if resource.status:
        yield "status", resource.group, version, resource.kind, _SUBRESOURCE_VERBS
    if resource.scale is not None:
        yield "scale", "autoscaling", "v1", "Scale", _SUBRESOURCE_VERBS
    if "eviction" in resource.subresources:
        yield "eviction", "policy", "v1", "Eviction", ("create",)
    if "binding" in resource.subresources:
        yield "binding", "", "v1", "Binding", ("create",)


def api_versions(address: str) -> Document:
    """Return the answer of `/api`."""
    clients = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": clients}


def _group(name: str, versions: list[str]) -> Document:
    entries = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": entries, "preferredVersion": entries[0]}


def group_list(registry: Registry) -> Document:
    """Return the answer of `/apis`."""
    groups = [_group(name, versions) for name, versions in _groups(registry).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}


def group(registry: Registry, name: str) -> Document | None:
    """Return the answer of `/apis/<group>`, or None."""
    versions = _groups(registry).get(name)
    return {"kind": "APIGroup", "apiVersion": "v1", **_group(name, versions)} if name and versions else None


def resource_list(registry: Registry, group_name: str, version: str) -> Document | None:
    """Return the answer of `/apis/<group>/<version>` or `/api/v1`, or None."""
    entries: list[Document] = []
    for resource in resources_of(registry, group_name, version):
        entry: Document = {
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": list(VERBS),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        entries.append(entry)
        for name, sub_group, sub_version, kind, verbs in _subresources(resource):
            below: Document = {
                "name": f"{resource.plural}/{name}",
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": kind,
                "verbs": list(verbs),
            }
            if (sub_group, sub_version) != (group_name, version):
                below |= {"group": sub_group, "version": sub_version}
            entries.append(below)
    for plural, kind, namespaced in REVIEWS.get((group_name, version), ()):
        entries.append(
            {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["create"]}
        )
    if not entries:
        return None
    group_version = f"{group_name}/{version}" if group_name else version
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": entries}


def aggregated(registry: Registry, *, core: bool) -> Document:
    """Return the aggregated answer of `/api` (core) or `/apis`: everything that is served, in one document."""
    items = [
        {
            "metadata": {"name": name, "creationTimestamp": None},
            "versions": [_aggregated_version(registry, name, version) for version in versions],
        }
        for name, versions in _groups(registry).items()
        if (name == "") is core
    ]
    return {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items}


def _aggregated_version(registry: Registry, group_name: str, version: str) -> Document:
    entries: list[Document] = []
    for resource in resources_of(registry, group_name, version):
        entry: Document = {
            "resource": resource.plural,
            "responseKind": {"group": group_name, "version": version, "kind": resource.kind},
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "singularResource": resource.singular,
            "verbs": list(VERBS),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        below = [
            {
                "subresource": name,
                "responseKind": {"group": sub_group, "version": sub_version, "kind": kind},
                "verbs": list(verbs),
            }
            for name, sub_group, sub_version, kind, verbs in _subresources(resource)
        ]
        if below:
            entry["subresources"] = below
        entries.append(entry)
    for plural, kind, namespaced in REVIEWS.get((group_name, version), ()):
        entries.append(
            {
                "resource": plural,
                "responseKind": {"group": group_name, "version": version, "kind": kind},
                "scope": "Namespaced" if namespaced else "Cluster",
                "singularResource": "",
                "verbs": ["create"],
            }
        )
    return {"version": version, "resources": entries, "freshness": "Current"}

"""What can be said about a pod template without asking the API server.

Checked are the mistakes that people make: names, images, ports, volumes, resources, labels. What else the API server
minds shows when the ReplicaSet is created. Values that cannot be decoded are not errors: they are gone when these
checks look.

Source: k8s.io/kubernetes: pkg/apis/core/validation, pkg/apis/apps/validation (ValidatePodTemplateSpecForReplicaSet);
k8s.io/apimachinery: pkg/util/validation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from fairlead.core.errors import SpecError
from fairlead.core.selectors import Selector, matches
from fairlead.rollouts._problems import duplicate, forbidden, invalid, not_found, required, unsupported_value

_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?", re.ASCII)
_DNS_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_LABEL_NAME = re.compile(r"(?:[A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", re.ASCII)
_NAME_CHARACTERS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)


def label_key_problem(key: str) -> str:
    """Return what is wrong with the key of a label, or an empty text."""
    prefix, slash, name = key.rpartition("/")
    if slash and not prefix:
        return "prefix part must be non-empty"
    if slash and (len(prefix) > 253 or not _DNS_SUBDOMAIN.fullmatch(prefix)):
        return (
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.',"
            " and must start and end with an alphanumeric character, no more than 253 characters"
        )
    if not name:
        return "name part must be non-empty"
    if len(name) > 63:
        return "name part must be no more than 63 bytes"
    return "" if _LABEL_NAME.fullmatch(name) else f"name part {_NAME_CHARACTERS}"


def label_value_problem(value: str) -> str:
    """Return what is wrong with the value of a label, or an empty text."""
    if len(value.encode()) > 63:
        return "must be no more than 63 bytes"
    if value and not _LABEL_NAME.fullmatch(value):
        return f"a valid label must be an empty string or {_NAME_CHARACTERS.removeprefix('must ')}"
    return ""


def label_problems(labels: Mapping[str, str], path: str) -> Iterator[SpecError]:
    """Yield what is wrong with labels."""
    for key, value in sorted(labels.items()):
        if problem := label_key_problem(key):
            yield invalid(path, key, problem)
        if problem := label_value_problem(value):
            yield invalid(path, value, problem)


def template_problems(template: Mapping[str, Any], selector: Selector, path: str) -> Iterator[SpecError]:
    """Yield what is wrong with a pod template of a ReplicaSet.

    Args:
        template: the template, decoded and with its defaults (quantities as fractions).
        selector: the selector that must match its labels; empty: not checked.
        path: where the template stands.
    """
    metadata, spec = template["metadata"], template["spec"]
    labels = metadata.get("labels", {})
    if selector and not matches(selector, labels):
        yield invalid(f"{path}.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from label_problems(labels, f"{path}.metadata.labels")
    for key in sorted(metadata.get("annotations", {})):
        if problem := label_key_problem(key.lower()):
            yield invalid(f"{path}.metadata.annotations", key, problem)
    yield from _pod_problems(spec, f"{path}.spec")
    if spec.get("restartPolicy") != "Always":
        yield unsupported_value(f"{path}.spec.restartPolicy", spec.get("restartPolicy"), ("Always",))
    if "activeDeadlineSeconds" in spec:
        yield forbidden(f"{path}.spec.activeDeadlineSeconds", "activeDeadlineSeconds in ReplicaSet is not Supported")


def _pod_problems(spec: Mapping[str, Any], path: str) -> Iterator[SpecError]:
    volumes: set[str] = set()
    for index, volume in enumerate(spec.get("volumes", ())):
        at = f"{path}.volumes[{index}].name"
        yield from _name_problems(volume.get("name", ""), volumes, at)
        volumes.add(volume.get("name", ""))
    names: set[str] = set()
    if not spec.get("containers"):
        yield required(f"{path}.containers")
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field, ())):
            yield from _container_problems(container, names, volumes, f"{path}.{field}[{index}]")
            names.add(container.get("name", ""))
    if spec.get("terminationGracePeriodSeconds", 0) < 0:
        yield invalid(
            f"{path}.terminationGracePeriodSeconds",
            spec["terminationGracePeriodSeconds"],
            "must be greater than or equal to 0",
        )


def _name_problems(name: str, taken: set[str], path: str) -> Iterator[SpecError]:
    if not name:
        yield required(path)
    elif len(name) > 63:
        yield invalid(path, name, "must be no more than 63 bytes")
    elif not _DNS_LABEL.fullmatch(name):
        yield invalid(
            path,
            name,
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and"
            " end with an alphanumeric character",
        )
    elif name in taken:
        yield duplicate(path, name)


def _container_problems(
    container: Mapping[str, Any], names: set[str], volumes: set[str], path: str
) -> Iterator[SpecError]:
    yield from _name_problems(container.get("name", ""), names, f"{path}.name")
    image = container.get("image", "")
    if not image:
        yield required(f"{path}.image")
    elif image != image.strip():
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")
    ports: set[str] = set()
    for index, port in enumerate(container.get("ports", ())):
        yield from _port_problems(port, ports, f"{path}.ports[{index}]")
    for index, variable in enumerate(container.get("env", ())):
        if not variable.get("name"):
            yield required(f"{path}.env[{index}].name")
        if variable.get("value") and "valueFrom" in variable:
            yield invalid(f"{path}.env[{index}].valueFrom", "", "may not be specified when `value` is not empty")
    for index, mount in enumerate(container.get("volumeMounts", ())):
        at = f"{path}.volumeMounts[{index}]"
        if not mount.get("name"):
            yield required(f"{at}.name")
        elif mount["name"] not in volumes:
            yield not_found(f"{at}.name", mount["name"])
        if not mount.get("mountPath"):
            yield required(f"{at}.mountPath")
    yield from _resource_problems(container.get("resources", {}), f"{path}.resources")


def _port_problems(port: Mapping[str, Any], names: set[str], path: str) -> Iterator[SpecError]:
    number = port.get("containerPort", 0)
    if not number:
        yield required(f"{path}.containerPort")
    elif not 0 < number < 65536:
        yield invalid(f"{path}.containerPort", number, "must be between 1 and 65535, inclusive")
    if port.get("hostPort") and not 0 < port["hostPort"] < 65536:
        yield invalid(f"{path}.hostPort", port["hostPort"], "must be between 1 and 65535, inclusive")
    if port.get("protocol") not in ("TCP", "UDP", "SCTP"):
        yield unsupported_value(f"{path}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"))
    if name := port.get("name", ""):
        if len(name) > 15:
            yield invalid(f"{path}.name", name, "must be no more than 15 characters")
        elif name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)


def _resource_problems(resources: Mapping[str, Any], path: str) -> Iterator[SpecError]:
    limits = {name: Fraction(value) for name, value in resources.get("limits", {}).items()}
    requests = {name: Fraction(value) for name, value in resources.get("requests", {}).items()}
    for field, values in (("limits", limits), ("requests", requests)):
        for name, value in values.items():
            if value < 0:
                yield invalid(f"{path}.{field}[{name}]", _plain(value), "must be greater than or equal to 0")
    for name, value in requests.items():
        if name in limits and value > limits[name]:
            at = f"{path}.requests"
            yield invalid(at, _plain(value), f"must be less than or equal to {name} limit of {_plain(limits[name])}")


def _plain(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)

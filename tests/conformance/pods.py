"""Pod templates and ReplicaSets of the cases."""

from __future__ import annotations

from typing import Any


def template(name: str, *, image: str = "web:1", ports: list[int] | None = None) -> dict[str, Any]:
    """Return a pod template whose pods carry the label `app: <name>`."""
    container: dict[str, Any] = {"name": name, "image": image}
    if ports:
        container["ports"] = [{"containerPort": port} for port in ports]
        container["readinessProbe"] = {"httpGet": {"port": ports[0]}}
    return {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}


def replica_set(name: str, *, image: str = "web:1", ports: list[int] | None = None) -> dict[str, Any]:
    """Return a ReplicaSet's spec."""
    return {"selector": {"matchLabels": {"app": name}}, "template": template(name, image=image, ports=ports)}

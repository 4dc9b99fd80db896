"""Edits of a kustomization file, as `kustomize edit` makes them: data in, data out.

They are made here and not by that program because `kubectl kustomize`, which builds as well, cannot edit, and because
one program is quicker than eight.

Source: kustomize: kustomize/commands/edit/{add,set}; argo-cd: util/kustomize/kustomize.go.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from fairlead.agentsync.sources._environment import substitute
from fairlead.agentsync.sources.port import RenderError

if TYPE_CHECKING:
    from fairlead.agentsync.spec import KustomizeSource

Kustomization = dict[str, Any]
FILE_NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_KEEP = "*"  # in an image: what the file says already
_REMOTE = re.compile(r"^(?:git::|ssh:|github\.com[/:]|[^/\s]*@[^/\s]*:)|://|[?&]ref=", re.I)


@dataclass(frozen=True, slots=True)
class _Image:
    name: str
    new_name: str
    tag: str
    digest: str


def needs_edits(options: KustomizeSource) -> bool:
    """Return whether the file has to be changed at all."""
    return bool(
        options.name_prefix
        or options.name_suffix
        or options.namespace
        or options.images
        or options.replicas
        or options.common_labels
        or options.common_annotations
        or options.patches
        or options.components
    )


def edited(found: Mapping[str, Any], options: KustomizeSource, variables: Mapping[str, str]) -> Kustomization:
    """Return a kustomization with the options of a source in it.

    Args:
        found: what the file says.
        options: `source.kustomize`; components that are absent were taken out already if that is allowed.
        variables: what `$NAME` stands for in images, labels and, if asked for, annotations.

    Raises:
        RenderError: an option cannot be used, or collides with what is there and is not forced.
    """
    result: Kustomization = dict(found)
    for name, value in (("namePrefix", options.name_prefix), ("nameSuffix", options.name_suffix)):
        if value:
            result[name] = value
    if options.images:
        wanted = [_image(substitute(each, variables)) for each in options.images]
        result["images"] = _images(_list(result, "images"), wanted)
    if options.replicas:
        result["replicas"] = _replicas(_list(result, "replicas"), options)
    if options.common_labels:
        _add_labels(result, options, variables)
    if options.common_annotations:
        values = dict(options.common_annotations)
        if options.common_annotations_envsubst:
            values = {key: substitute(value, variables) for key, value in values.items()}
        _add(result, "commonAnnotations", values, "annotation", options.force_common_annotations)
    if options.namespace:
        result["namespace"] = options.namespace
    if options.patches:
        # `msgspec` leaves out what was not given, which is what kustomize wants to see.
        result["patches"] = [*_list(result, "patches"), *msgspec.to_builtins(list(options.patches))]
    if options.components:
        present = _list(result, "components")
        result["components"] = [*present, *(each for each in options.components if each not in present)]
    return result


def _list(found: Mapping[str, Any], name: str) -> list[Any]:
    inner = found.get(name)
    if inner is None:
        return []
    if not isinstance(inner, list):
        raise RenderError(f"kustomization: {name} is no list")
    return inner


# -- images and replicas -----------------------------------------------------------------------------------------------


def _image(text: str) -> _Image:
    """Return what `[old=]new[:tag][@digest]` asks for."""
    name, equals, value = text.partition("=")
    new_name, tag, digest = split_image(value if equals else text)
    if not (equals or tag or digest) or not (name if equals else new_name):
        raise RenderError(f"kustomize image {text!r}: expected <image>=<new image>[:<tag>][@<digest>] or <image>:<tag>")
    return _Image(name, new_name, tag, digest) if equals else _Image(new_name, "", tag, digest)


def split_image(text: str) -> tuple[str, str, str]:
    """Return name, tag and digest of an image; a port of its registry is no tag.

    >>> split_image("host:5000/web:1.2@sha256:ab"), split_image("host:5000/web")
    (('host:5000/web', '1.2', 'sha256:ab'), ('host:5000/web', '', ''))
    """
    rest, _, digest = text.partition("@")
    slash = max(rest.find("/"), 0)
    colon = rest.find(":", slash)
    return (rest, "", digest) if colon < 0 else (rest[:colon], rest[colon + 1 :], digest)


def _images(present: list[Any], wanted: list[_Image]) -> list[dict[str, Any]]:
    """Return images by name: what is asked for replaces what is there, but for a `*`."""
    by_name: dict[str, dict[str, Any]] = {}
    for each in present:
        if not isinstance(each, dict):
            raise RenderError("kustomization: an item of images is no map")
        by_name[str(each.get("name", ""))] = each
    for image in wanted:
        before = by_name.get(image.name, {})
        values = {"newName": image.new_name, "newTag": image.tag, "digest": image.digest}
        kept = {key: before.get(key, "") if value == _KEEP else value for key, value in values.items()}
        by_name[image.name] = {"name": image.name, **{key: value for key, value in kept.items() if value}}
    return [by_name[name] for name in sorted(by_name)]


def _replicas(present: list[Any], options: KustomizeSource) -> list[dict[str, Any]]:
    by_name: dict[str, dict[str, Any]] = {}
    for each in present:
        if not isinstance(each, dict):
            raise RenderError("kustomization: an item of replicas is no map")
        by_name[str(each.get("name", ""))] = each
    for at, replica in enumerate(options.replicas):
        text = str(replica.count).strip()
        if not text.isascii() or not text.isdigit() or len(text) > 10:
            raise RenderError(f"kustomize.replicas[{at}].count: found {text[:40]!r}, expected a number of replicas")
        by_name[replica.name] = {"name": replica.name, "count": int(text)}
    return [by_name[name] for name in sorted(by_name)]


# -- labels and annotations --------------------------------------------------------------------------------------------


def _add(result: Kustomization, field: str, values: Mapping[str, str], kind: str, is_forced: bool) -> None:
    inner = result.get(field) or {}
    if not isinstance(inner, dict):
        raise RenderError(f"kustomization: {field} is no map")
    result[field] = _joined(inner, values, kind, is_forced)


def _joined(present: Mapping[str, Any], values: Mapping[str, str], kind: str, is_forced: bool) -> dict[str, Any]:
    for key in values:
        if key in present and not is_forced:
            raise RenderError(f"{kind} {key} already in kustomization file. Use --force to override.")
    return {**present, **values}


def _add_labels(result: Kustomization, options: KustomizeSource, variables: Mapping[str, str]) -> None:
    values = {key: substitute(value, variables) for key, value in options.common_labels.items()}
    if not options.label_without_selector:
        if options.label_include_templates:
            raise RenderError("kustomize.labelIncludeTemplates needs kustomize.labelWithoutSelector")
        _add(result, "commonLabels", values, "label", options.force_common_labels)
        return
    labels = list(_list(result, "labels"))
    for at, each in enumerate(labels):
        if not isinstance(each, dict) or not isinstance(each.get("pairs") or {}, dict):
            raise RenderError("kustomization: an item of labels is no map with pairs")
        templates = bool(each.get("includeTemplates"))
        if not each.get("includeSelectors") and templates == options.label_include_templates:
            pairs = _joined(each.get("pairs") or {}, values, "label", options.force_common_labels)
            labels[at] = {**each, "pairs": pairs}
            break
    else:
        entry: dict[str, Any] = {"pairs": values}
        if options.label_include_templates:
            entry["includeTemplates"] = True
        labels.append(entry)
    result["labels"] = labels


# -- what a kustomization refers to ------------------------------------------------------------------------------------


def texts(value: Any) -> Iterator[str]:
    """Yield every text in a kustomization that could be a path; of `key=path` the path."""
    if isinstance(value, str):
        if len(value) < 1024 and "\n" not in value:
            yield value
            if "=" in value:
                yield value.partition("=")[2]
    elif isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def remote_parts(found: Mapping[str, Any]) -> list[str]:
    """Return what a kustomization would fetch from elsewhere."""
    remote: list[str] = []
    for name in ("resources", "bases", "components", "crds", "generators", "transformers", "validators"):
        inner = found.get(name)
        for each in inner if isinstance(inner, list) else ():
            if isinstance(each, str) and "\n" not in each and _REMOTE.search(each):
                remote.append(each)
    for name in ("openapi", "patchesStrategicMerge", "patchesJson6902", "patches", "replacements"):
        remote += [each for each in texts(found.get(name)) if each.startswith(("http://", "https://"))]
    return remote

"""Kustomize: edits on a private copy, then `kustomize build`, or `kubectl kustomize` where only that is there.

The program sees the directory, whatever else in the repository it refers to, and nothing more: no network, no git, no
plug-ins but those that the operator's build options switch on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from fairlead.agentsync.sources._gitprogram import private_folder
from fairlead.agentsync.sources._kustomization import FILE_NAMES, edited, needs_edits, remote_parts, texts
from fairlead.agentsync.sources._manifests import flatten, read_yaml
from fairlead.agentsync.sources._programs import Limits, clean_environment, find_program, one_line, run
from fairlead.agentsync.sources._tree import TreeLimits, is_directory, source_directory
from fairlead.agentsync.sources._workspace import materialise
from fairlead.agentsync.sources._yaml import read_one
from fairlead.agentsync.sources.directory import Manifests
from fairlead.agentsync.sources.port import EntryKind, ProgramMissing, RenderError, SourceError, Tree

if TYPE_CHECKING:
    from fairlead.agentsync.spec import KustomizeSource

DIRECTORIES_MAX: Final = 1000
_NOWHERE: Final = "http://127.0.0.1:9"  # a proxy at the port where nobody listens


@dataclass(frozen=True, slots=True, kw_only=True)
class KustomizeSettings:
    """How kustomize is run.

    Args:
        program: its name on the PATH, or its path.
        kubectl: what is used when it is not there.
        build_options: `kustomize.buildOptions`, apart.
        limits: what one build may use.
        remote_bases: whether a kustomization may fetch from URLs. That lets everyone who writes manifests make this
            program fetch from wherever it can reach, and what comes is not what the commit says: off by default.
    """

    program: str = "kustomize"
    kubectl: str = "kubectl"
    build_options: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    remote_bases: bool = False


async def kustomization_file(tree: Tree, folder: str) -> str:
    """Return the path of a directory's kustomization file; empty if it has none.

    Raises:
        RenderError: there are several.
    """
    found: list[str] = []
    for name in FILE_NAMES:
        path = "/".join(filter(None, (folder, name)))
        if await tree.leaf(path) is not None:
            found.append(path)
    if len(found) > 1:
        raise RenderError(f"Found multiple kustomization files: {', '.join(found)}")
    return found[0] if found else ""


async def render_kustomize(
    tree: Tree,
    path: str,
    options: KustomizeSource | None,
    variables: Mapping[str, str],
    *,
    settings: KustomizeSettings,
    scratch: Path,
    limits: TreeLimits | None = None,
) -> Manifests:
    """Return what kustomize builds from a directory.

    Args:
        tree: the repository.
        path: `source.path`.
        options: `source.kustomize`.
        variables: what `$NAME` stands for.
        settings: how it is run.
        scratch: where private copies are made.
        limits: how much may be copied.

    Raises:
        RenderError: it cannot be built; the message is kustomize's.
        ProgramMissing: neither kustomize nor kubectl is there.
    """
    if options is not None and options.version:
        raise SourceError(f"kustomize.version {options.version!r}: no other version than the installed one can be used")
    root = await source_directory(tree, path)
    file = await kustomization_file(tree, root)
    if not file:
        raise RenderError(f"{path}: Missing kustomization file 'kustomization.yaml'")
    options = await _with_present_components(tree, root, options)
    command = _command(settings)
    with private_folder(scratch) as folder:
        copy = folder / "copy"
        copy.mkdir(mode=0o700)
        extra = options.components if options is not None else ()
        await materialise(tree, await _closure(tree, root, extra, settings), copy, limits)
        if options is not None and needs_edits(options):
            _edit(copy / file, options, variables)
        output = await _build(command, copy, root, folder, settings, options)
    try:
        return Manifests(
            objects=tuple(flatten(read_yaml(output))),
            is_of_its_files=not (settings.remote_bases or "--enable-helm" in settings.build_options),
        )
    except RenderError as error:
        raise RenderError(f"kustomize build {path}: {error}") from error


def _command(settings: KustomizeSettings) -> list[str]:
    try:
        return [find_program(settings.program), "build"]
    except ProgramMissing:
        pass
    try:
        return [find_program(settings.kubectl), "kustomize"]
    except ProgramMissing as error:
        raise ProgramMissing(
            f"neither {settings.program!r} nor {settings.kubectl!r} is on the PATH: kustomize sources need one of them"
        ) from error


def _edit(file: Path, options: KustomizeSource, variables: Mapping[str, str]) -> None:
    found = read_one(file.read_bytes())
    if not isinstance(found, dict):
        raise RenderError(f"{file.name} is no map")
    file.write_bytes(msgspec.json.encode(edited(found, options, variables)))  # JSON is YAML too


async def _with_present_components(tree: Tree, root: str, options: KustomizeSource | None) -> KustomizeSource | None:
    """Return options without the components that are not there, if they may be absent."""
    if options is None or not options.ignore_missing_components:
        return options
    present = [each for each in options.components if await is_directory(tree, _joined(root, each) or "\0")]
    return msgspec.structs.replace(options, components=tuple(present))


def _joined(folder: str, path: str) -> str:
    """Return where a relative path leads; empty if that is the root or outside."""
    parts = folder.split("/") if folder else []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                return ""
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


async def _closure(tree: Tree, root: str, extra: tuple[str, ...], settings: KustomizeSettings) -> list[str]:
    """Return the directories and files that a build reads: the root, and what kustomizations name outside of it.

    More than that is harmless, less is an error of kustomize's: every text that leads to something counts.
    """
    found: list[str] = [root]
    waiting = deque([root])
    for each in extra:
        await _note(tree, _joined(root, each), found, waiting)
    while waiting:
        folder = waiting.popleft()
        for path, entry in (await tree.entries(folder)).items():
            place, _, name = path.rpartition("/")
            if name not in FILE_NAMES or entry.kind is not EntryKind.FILE:
                continue
            kustomization = await _read(tree, path)
            remote = remote_parts(kustomization)
            if remote and not settings.remote_bases:
                raise RenderError(f"{path}: remote bases are off: {one_line(remote[0])}")
            for text in texts(kustomization):
                if ".." in text:
                    await _note(tree, _joined(place, text), found, waiting)
        if len(found) > DIRECTORIES_MAX:
            raise RenderError(f"a build that needs more than {DIRECTORIES_MAX} directories")
    return found


async def _note(tree: Tree, path: str, found: list[str], waiting: deque[str]) -> None:
    """Note a path that is not below one that is noted already."""
    if not path or any(not each or path == each or path.startswith(f"{each}/") for each in found):
        return
    if await tree.leaf(path) is not None:
        found.append(path)
    elif await tree.entries(path):
        # What it holds replaces what was noted of it, so that nothing is written twice.
        found[:] = [each for each in found if not each.startswith(f"{path}/")]
        found.append(path)
        waiting.append(path)


async def _read(tree: Tree, path: str) -> dict[str, Any]:
    """Return a kustomization; one that cannot be read is left to kustomize, which says more about it."""
    entry = await tree.leaf(path)
    assert entry is not None, "it was just listed"
    try:
        found = read_one((await tree.read([entry]))[0])
    except RenderError:
        return {}
    return found if isinstance(found, dict) else {}


async def _build(
    command: list[str],
    copy: Path,
    root: str,
    home: Path,
    settings: KustomizeSettings,
    options: KustomizeSource | None,
) -> bytes:
    arguments = [*command, str(copy / root) if root else str(copy), *settings.build_options]
    if options is not None and "--enable-helm" in settings.build_options:
        if options.kube_version:
            arguments += ["--helm-kube-version", options.kube_version]
        for version in options.api_versions:
            arguments += ["--helm-api-versions", version]
    ended = await run(arguments, environment=_environment(home, settings), folder=copy, limits=settings.limits)
    if ended.code:
        said = one_line(ended.errors.replace(f"{copy}/", "").replace(str(copy), "."))
        raise RenderError(f"kustomize build {root or '.'} failed: {said or f'exit code {ended.code}'}")
    return ended.output


def _environment(home: Path, settings: KustomizeSettings) -> dict[str, str]:
    found = clean_environment(home)
    if settings.remote_bases or "--enable-helm" in settings.build_options:
        found |= {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ALLOW_PROTOCOL": "https:ssh"}
        return found
    # A base that slipped through the look above finds neither a program to fetch it nor a way out.
    nothing = home / "nothing"
    nothing.mkdir(mode=0o700, exist_ok=True)
    proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOWHERE)
    return found | {"PATH": str(nothing)} | proxies

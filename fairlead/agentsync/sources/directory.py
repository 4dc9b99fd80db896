"""Plain manifests in a directory: which files count, and what they hold.

Source: argo-cd: reposerver/repository/repository.go, findManifests, getPotentiallyValidManifests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import msgspec

from fairlead.agentsync._globs import glob, is_glob
from fairlead.agentsync.resources import Object
from fairlead.agentsync.sources._manifests import NotManifests, flatten, looks_like_a_manifest, read_json, read_yaml
from fairlead.agentsync.sources._tree import BrokenLink, check_pointer, is_directory, real_path, source_directory
from fairlead.agentsync.sources._yaml import YamlLimits
from fairlead.agentsync.sources.port import Entry, EntryKind, RenderError, SourceError, Tree

if TYPE_CHECKING:
    from fairlead.agentsync.spec import DirectorySource

_EXTENSIONS: Final = (".yaml", ".yml", ".json", ".jsonnet")
_SKIP: Final = b"+argocd:skip-file-rendering"
_THREAD_BYTES: Final = 64 * 1024  # parsing more than that would keep the loop from its other work


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryLimits:
    """How much one source may hold.

    Args:
        files_bytes: of all its manifests together (`--max-combined-directory-manifests-size`).
        objects: after lists are taken apart.
        yaml: of one file.
    """

    files_bytes: int = 10 * 1024 * 1024
    objects: int = 20_000
    yaml: YamlLimits = field(default_factory=YamlLimits)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifests:
    """What a tool made of a source.

    Args:
        objects: in the order of the files.
        warnings: one line each.
        is_of_its_files: whether nothing but files of its trees went into it: nothing was fetched.
    """

    objects: tuple[Object, ...]
    warnings: tuple[str, ...] = ()
    is_of_its_files: bool = True


class ParsedFiles:
    """Objects of files by what the files hold, as JSON: the next commit mostly has the same ones.

    Args:
        bytes_max: of all of them; the ones that were not used for longest go first.
    """

    def __init__(self, bytes_max: int = 64 * 1024 * 1024) -> None:
        self._bytes_max = bytes_max
        self._kept: dict[str, bytes] = {}
        self._bytes = 0

    def get(self, key: str) -> list[Object] | None:
        """Return the objects as new ones; None if they are not kept."""
        found = self._kept.pop(key, None)
        if found is None:
            return None
        self._kept[key] = found
        objects: list[Object] = msgspec.json.decode(found)
        return objects

    def put(self, key: str, objects: Sequence[Object]) -> None:
        """Keep the objects of a file."""
        encoded = msgspec.json.encode(objects)
        if key in self._kept or len(encoded) > self._bytes_max // 4:
            return
        self._kept[key] = encoded
        self._bytes += len(encoded)
        while self._bytes > self._bytes_max:
            self._bytes -= len(self._kept.pop(next(iter(self._kept))))


async def render_directory(
    tree: Tree,
    path: str,
    options: DirectorySource | None = None,
    *,
    limits: DirectoryLimits | None = None,
    parsed: ParsedFiles | None = None,
) -> Manifests:
    """Return the objects of a directory's files, file by file in the order of their names.

    Args:
        tree: the repository.
        path: `source.path`.
        options: `source.directory`.
        limits: how much may be in it.
        parsed: what is known of files already.

    Raises:
        RenderError: a file that is meant as a manifest is none.
        SourceError: there is no such directory, or it is too large.
    """
    limits = limits or DirectoryLimits()
    warnings: list[str] = []
    _check_globs(options)
    files = await _files(tree, await source_directory(tree, path), options, warnings)
    total = sum(entry.size for _, entry in files)
    if total > limits.files_bytes:
        raise SourceError(f"exceeded max combined manifest file size: {total} bytes, at most {limits.files_bytes}")
    objects: list[Object] = []
    for name, found in zip(files, await _objects(tree, files, limits, parsed, warnings), strict=True):
        objects += _taken_apart(name[0], found)
        if len(objects) > limits.objects:
            raise SourceError(f"more than {limits.objects} objects")
    return Manifests(objects=tuple(objects), warnings=tuple(warnings))


def _check_globs(options: DirectorySource | None) -> None:
    """Refuse a glob that stands for nothing: a slip in `exclude` must not add objects."""
    for name, pattern in (("include", options.include), ("exclude", options.exclude)) if options is not None else ():
        if pattern and not is_glob(pattern):
            raise SourceError(f"directory.{name}: {pattern!r} is no glob")


def _taken_apart(name: str, found: Sequence[Object]) -> list[Object]:
    try:
        return list(flatten(found))
    except RenderError as error:
        raise RenderError(f"{name}: {error}") from error


async def _files(
    tree: Tree, root: str, options: DirectorySource | None, warnings: list[str]
) -> list[tuple[str, Entry]]:
    """Return the files that count, by their path within the source; a link stands with what it leads to."""
    found: list[tuple[str, Entry]] = []
    entries = await tree.entries(root)
    for path in sorted(entries, key=lambda each: each.split("/")):
        name = path[len(root) + 1 :] if root else path
        if not _counts(name, options):
            continue
        entry = await _followed(tree, entries[path], warnings)
        if entry is None:
            continue
        if name.endswith(".jsonnet"):
            raise RenderError(
                f"{name}: Jsonnet is not supported; exclude the file, or render it before it is committed"
            )
        found.append((name, entry))
    return found


def _counts(name: str, options: DirectorySource | None) -> bool:
    if "/" in name and not (options is not None and options.recurse):
        return False
    if not (options is not None and options.disable_extension_filter) and not name.endswith(_EXTENSIONS):
        return False
    if options is None:
        return True
    if options.exclude and glob(options.exclude, name):
        return False
    return not options.include or glob(options.include, name)


async def _followed(tree: Tree, entry: Entry, warnings: list[str]) -> Entry | None:
    """Return the file that an entry is or leads to; None with a warning if there is none."""
    if entry.kind is EntryKind.FILE:
        return entry
    if entry.kind is EntryKind.MODULE:
        warnings.append(f"{entry.path} is a Git submodule, and submodules are off: it is skipped")
        return None
    try:
        place = await real_path(tree, entry.path)
    except BrokenLink as error:
        warnings.append(f"{error}: it is skipped")
        return None
    target = await tree.leaf(place) if place else None
    if target is not None and target.kind is EntryKind.FILE:
        return target
    what = "a link to a directory" if await is_directory(tree, place) else "a broken link"
    warnings.append(f"{entry.path} is {what}: it is skipped")
    return None


async def _objects(
    tree: Tree,
    files: Sequence[tuple[str, Entry]],
    limits: DirectoryLimits,
    parsed: ParsedFiles | None,
    warnings: list[str],
) -> list[list[Object]]:
    """Return the objects of each file."""
    known: dict[int, list[Object]] = {}
    if parsed is not None and tree.has_content_keys:
        for at, (name, entry) in enumerate(files):
            objects = parsed.get(_kept_key(name, entry))
            if objects is not None:
                known[at] = objects
    missing = [at for at in range(len(files)) if at not in known]
    contents = await tree.read([files[at][1] for at in missing])
    texts = [(files[at][0], content) for at, content in zip(missing, contents, strict=True)]
    if sum(len(content) for content in contents) > _THREAD_BYTES:
        read = await asyncio.to_thread(_read_all, texts, limits, warnings)
    else:
        read = _read_all(texts, limits, warnings)
    for at, objects in zip(missing, read, strict=True):
        known[at] = objects
        # Files without objects are read again, so that their warnings are there again.
        if parsed is not None and tree.has_content_keys and objects:
            parsed.put(_kept_key(*files[at]), objects)
    return [known[at] for at in range(len(files))]


def _kept_key(name: str, entry: Entry) -> str:
    return f"{'json' if name.endswith('.json') else 'yaml'}:{entry.key}"


def _read_all(texts: Sequence[tuple[str, bytes]], limits: DirectoryLimits, warnings: list[str]) -> list[list[Object]]:
    return [_read(name, content, limits, warnings) for name, content in texts]


def _read(name: str, content: bytes, limits: DirectoryLimits, warnings: list[str]) -> list[Object]:
    if _SKIP in content:
        return []
    check_pointer(name, content)
    if name.endswith(".json"):
        return read_json(name, content)
    try:
        return read_yaml(content, limits.yaml)
    except NotManifests as error:
        if error.has_good_part or looks_like_a_manifest(content):
            raise RenderError(f'Failed to unmarshal "{name}": {error}') from error
        warnings.append(f"{name} is no manifest and is ignored: {error}")
        return []

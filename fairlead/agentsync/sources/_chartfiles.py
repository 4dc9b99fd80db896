"""The files that a chart is rendered from: its own, those beside it, those of other sources. A private copy of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fairlead.agentsync._globs import glob
from fairlead.agentsync.sources._environment import substitute
from fairlead.agentsync.sources._tree import BrokenLink, TreeLimits, real_path
from fairlead.agentsync.sources._workspace import materialise
from fairlead.agentsync.sources._yaml import read_one
from fairlead.agentsync.sources.port import EntryKind, RenderError, Tree

CHARTS_MAX: Final = 200  # within each other, by `file://`
_PATTERN: Final = frozenset("*?[")


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A path that a user gave, and the field in which it stands."""

    text: str
    field: str


class ChartFiles:
    """Copies what helm reads.

    Args:
        tree: where the chart is.
        root: its directory in there.
        folder: a private one; the copies are below it.
        references: trees of other sources by the name of their `ref`.
        schemes: of URLs that may be handed to helm.
        limits: how much may be copied.
    """

    def __init__(
        self,
        tree: Tree,
        root: str,
        folder: Path,
        references: Mapping[str, Tree],
        schemes: frozenset[str],
        limits: TreeLimits | None,
    ) -> None:
        self.folder = folder
        self._tree = tree
        self._root = root
        self._references = references
        self._schemes = schemes
        self._limits = limits
        self._copy = folder / "copy"
        self._copied: dict[str, str] = {}
        self._dependencies: list[str] = []

    @property
    def chart(self) -> Path:
        """Where the chart's copy is."""
        return self._copy / self._root if self._root else self._copy

    def dependencies(self) -> list[str]:
        """Return the repositories that the chart's dependencies come from."""
        return self._dependencies

    def without_folders(self, text: str) -> str:
        """Return a text without the places of our copies, which mean nothing to its reader."""
        return text.replace(f"{self._copy}/", "").replace(str(self._copy), ".").replace(f"{self.folder}/", "")

    async def copy_chart(self) -> None:
        """Copy the chart, and charts of the same repository that it depends on.

        Raises:
            RenderError: it has no Chart.yaml.
        """
        self._copy.mkdir(mode=0o700)
        wanted = [self._root]
        for root in wanted:  # grows while it is read
            for repository in await self._repositories(root, is_first=root == self._root):
                if not repository.startswith("file://"):
                    self._dependencies.append(repository)
                    continue
                place = await self._inside(f"{root}/{repository.removeprefix('file://')}", "dependencies.repository")
                if not any(not each or place == each or place.startswith(f"{each}/") for each in wanted):
                    wanted.append(place)
            if len(wanted) > CHARTS_MAX:
                raise RenderError(f"a chart that depends on more than {CHARTS_MAX} others of its repository")
        paths = [each for each in wanted if not any(each != other and each.startswith(f"{other}/") for other in wanted)]
        await materialise(self._tree, paths, self._copy, self._limits)

    async def _repositories(self, root: str, *, is_first: bool) -> list[str]:
        found: list[str] = []
        for name in ("Chart.yaml", "requirements.yaml"):
            path = f"{root}/{name}" if root else name
            entry = await self._tree.leaf(path)
            if entry is None and name == "Chart.yaml" and is_first:
                raise RenderError(f"{root or '.'} has no Chart.yaml")
            if entry is None or entry.kind is not EntryKind.FILE:
                continue
            try:
                content: Any = read_one((await self._tree.read([entry]))[0])
            except RenderError:
                continue  # helm says what is wrong with it
            listed = content.get("dependencies") if isinstance(content, dict) else None
            for each in listed if isinstance(listed, list) else ():
                repository = each.get("repository") if isinstance(each, dict) else None
                if isinstance(repository, str) and repository and not repository.startswith(("@", "alias:")):
                    found.append(repository)
        return found

    async def one(self, given: Given, variables: Mapping[str, str]) -> str:
        """Return where the copy of a file is.

        Raises:
            RenderError: there is no such file.
        """
        given = self._substituted(given, variables)
        found = await self._located(given)
        if found is None:
            raise RenderError(f"{given.field}: {given.text} does not exist")
        return found

    def _substituted(self, given: Given, variables: Mapping[str, str]) -> Given:
        """Return a path with its variables replaced, unless it begins with the name of a source."""
        if self._reference(given.text) is not None:
            return given
        return Given(text=substitute(given.text, variables), field=given.field)

    async def several(self, given: Sequence[Given], variables: Mapping[str, str], *, may_be_absent: bool) -> list[str]:
        """Return where the copies of value files are, in order; a glob stands for several, a URL for itself.

        Raises:
            RenderError: one does not exist, and must.
        """
        found: list[str] = []
        for each in given:
            file = self._substituted(each, variables)
            if "://" in file.text:
                found.append(self._url(file))
            elif _PATTERN.intersection(file.text):
                matched = await self._matched(file)
                if not matched and not may_be_absent:
                    raise RenderError(f"{file.field}: {file.text} matches no file")
                found += matched
            elif (place := await self._located(file)) is not None:
                found.append(place)
            elif not may_be_absent:
                raise RenderError(f"{file.field}: {file.text} does not exist")
        return found

    def _url(self, given: Given) -> str:
        scheme = given.text.partition("://")[0].lower()
        if scheme not in self._schemes:
            allowed = ", ".join(sorted(self._schemes)) or "none"
            raise RenderError(f"{given.field}: the URL scheme '{scheme}' is not allowed, only: {allowed}")
        return given.text

    def _reference(self, text: str) -> tuple[str, str] | None:
        """Return name and path of `$name/path`, if there is a source of that name."""
        if not text.startswith("$"):
            return None
        name, _, path = text[1:].partition("/")
        return (name, path) if name in self._references else None

    async def _located(self, given: Given) -> str | None:
        reference = self._reference(given.text)
        if reference is not None:
            name, path = reference
            return await self._copied_from(self._references[name], name, f"/{path}", given.field)
        path = given.text if given.text.startswith("/") else f"{self._root}/{given.text}"
        return await self._copied_from(self._tree, "", path, given.field)

    async def _copied_from(self, tree: Tree, name: str, path: str, field: str) -> str | None:
        place = await self._inside(path, field, tree)
        entry = await tree.leaf(place)
        if entry is None or entry.kind is not EntryKind.FILE:
            return None
        key = f"{name}\0{place}"
        if key not in self._copied:
            folder = self.folder / f"file-{len(self._copied)}"
            folder.mkdir(mode=0o700)
            await materialise(tree, [place], folder, self._limits)
            self._copied[key] = str(folder / place)
        return self._copied[key]

    async def _inside(self, path: str, field: str, tree: Tree | None = None) -> str:
        """Return where a path leads in a tree; a broken link leads to itself, where nothing is."""
        if "\\" in path or any(not each.isprintable() for each in path):
            raise RenderError(f"{field}: {path!r} has a backslash or a control character in it")
        depth = 0
        for part in path.split("/"):
            depth += -1 if part == ".." else int(part not in ("", "."))
            if depth < 0:
                raise RenderError(f"{field}: {path.lstrip('/')} is outside of the repository")
        try:
            return await real_path(tree or self._tree, path)
        except BrokenLink:
            return path.strip("/")

    async def _matched(self, given: Given) -> list[str]:
        reference = self._reference(given.text)
        tree = self._references[reference[0]] if reference is not None else self._tree
        if reference is not None:
            pattern = reference[1]
        elif given.text.startswith("/"):
            pattern = given.text.lstrip("/")
        else:
            pattern = _joined(self._root, given.text, given.field)
        fixed = pattern[: min(pattern.index(each) for each in _PATTERN if each in pattern)].rpartition("/")[0]
        found: list[str] = []
        for path in await tree.entries(fixed):
            if glob(pattern, path, separators="/"):
                place = await self._copied_from(tree, reference[0] if reference else "", f"/{path}", given.field)
                if place is not None:
                    found.append(place)
        return found


def _joined(root: str, pattern: str, field: str) -> str:
    parts = root.split("/") if root else []
    for part in pattern.split("/"):
        if part == "..":
            if not parts:
                raise RenderError(f"{field}: {pattern} is outside of the repository")
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)

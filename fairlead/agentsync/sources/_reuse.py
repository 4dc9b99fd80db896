"""Manifests of an earlier commit that hold for a later one, because nothing that they were made from changed.

A commit to a repository of a thousand Applications mostly touches one of them. While a source is rendered, every
question to its trees is noted with a fingerprint of the answer. If a later commit answers all of them alike, and the
tool saw nothing but these files, then it would make the same objects: they are taken over under the new commit.

Source: argo-cd re-keys cached manifests when a webhook's files lie outside of `manifest-generate-paths`; this asks
the trees themselves and needs neither.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from fairlead.agentsync.sources._cache import cache_key
from fairlead.agentsync.sources.port import Entry, RenderRequest, Tree

KEPT_MAX: Final = 4096
QUESTIONS_MAX: Final = 5000  # of one render; asking more of them again costs more than it saves
_REVISION: Final = "ARGOCD_APP_REVISION"


@dataclass(frozen=True, slots=True)
class Question:
    """What was asked of a tree.

    Args:
        tree: its name: empty for the source itself, else the `ref` of another one.
        is_leaf: whether it was about one leaf, and not about all below a path.
        path: which.
    """

    tree: str
    is_leaf: bool
    path: str


def _fingerprint(entries: Iterable[Entry]) -> str:
    content = hashlib.sha256()
    for entry in entries:
        content.update(
            f"{entry.path}\0{entry.kind}\0{entry.key}\0{entry.executable}\0".encode("utf-8", "surrogateescape")
        )
    return content.hexdigest()


async def _answer(question: Question, tree: Tree) -> str:
    if not question.is_leaf:
        return _fingerprint((await tree.entries(question.path)).values())
    leaf = await tree.leaf(question.path)
    return _fingerprint([leaf] if leaf is not None else [])


class WatchedTree:
    """A tree that notes what it is asked."""

    def __init__(self, name: str, tree: Tree, noted: dict[Question, str]) -> None:
        self._name = name
        self._tree = tree
        self._noted = noted

    @property
    def has_content_keys(self) -> bool:
        return self._tree.has_content_keys

    async def entries(self, under: str) -> Mapping[str, Entry]:
        found = await self._tree.entries(under)
        self._noted[Question(self._name, False, under)] = _fingerprint(found.values())
        return found

    async def leaf(self, path: str) -> Entry | None:
        found = await self._tree.leaf(path)
        self._noted[Question(self._name, True, path)] = _fingerprint([found] if found is not None else [])
        return found

    async def read(self, entries: Sequence[Entry]) -> list[bytes]:
        return await self._tree.read(entries)  # by keys that are part of an answer above


class WatchedVariables(Mapping[str, str]):
    """Variables that note whether the commit itself went into what was rendered."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        self.told_revision = False

    def __getitem__(self, name: str) -> str:
        self.told_revision = self.told_revision or name.startswith(_REVISION)
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


@dataclass(slots=True)
class Watch:
    """One render, watched.

    Attributes:
        noted: questions and fingerprints of their answers.
        is_of_its_files: whether nothing but the trees' files went into it.
    """

    noted: dict[Question, str] = field(default_factory=dict)
    is_of_its_files: bool = True

    def tree(self, name: str, tree: Tree) -> Tree:
        """Return a tree whose questions are noted."""
        self.is_of_its_files = self.is_of_its_files and tree.has_content_keys
        return WatchedTree(name, tree, self.noted)


class Reuse:
    """Remembers what renders were made from."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, dict[Question, str]]] = {}

    async def find(self, request: RenderRequest, trees: Mapping[str, Tree]) -> str | None:
        """Return the cache key of manifests that hold for a request; None if there are none.

        Args:
            request: at another revision than before.
            trees: of the source (named by nothing), and of those with a `ref`.
        """
        found = self._known.get(_key(request))
        if found is None:
            return None
        key, noted = found
        for question, fingerprint in noted.items():
            tree = trees.get(question.tree)
            if tree is None or await _answer(question, tree) != fingerprint:
                return None
        return key

    def put(self, request: RenderRequest, key: str, watch: Watch) -> None:
        """Remember what a render was made from, if that can be asked again."""
        known = _key(request)
        self._known.pop(known, None)
        if watch.is_of_its_files and len(watch.noted) <= QUESTIONS_MAX:
            self._known[known] = (key, watch.noted)
        while len(self._known) > KEPT_MAX:
            del self._known[next(iter(self._known))]

    def moved(self, request: RenderRequest, key: str) -> None:
        """Note that the same manifests are kept under another key now."""
        known = _key(request)
        if known in self._known:
            self._known[known] = (key, self._known[known][1])

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()


def _key(request: RenderRequest) -> str:
    """Return what all commits of a request have in common."""
    references = tuple(replace(each, revision="") for each in request.references)
    return cache_key(replace(request, revision="", references=references))

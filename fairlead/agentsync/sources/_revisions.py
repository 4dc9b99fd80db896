"""What a `targetRevision` means among the refs that a server advertises: pure, and in upstream's order.

1. 40 hex digits are a commit, whatever the server says. 2. Nothing is `HEAD`. 3. A version is a pin: the tag of that
very name. 4. A constraint is the greatest tag that it admits. 5. The first ref of that name, short or full; an
annotated tag is the commit that it names, a symbolic ref is followed once. 6. Seven or more hex digits are the start
of a commit's hash, which only the objects can tell. 7. Anything else is an error.

Source: argo-cd: util/git/client.go, LsRemote; util/versions/tags.go, MaxVersion.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from fairlead.agentsync.sources.port import RepositoryError, SourceError
from fairlead.core.semver import Version, parse_constraint, parse_version

_COMMIT: Final = re.compile(r"[0-9a-fA-F]{40}")
_ABBREVIATED: Final = re.compile(r"[0-9a-fA-F]{7,}")
_TAGS: Final = "refs/tags/"
REVISION_CHARACTERS_MAX: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """One advertised ref.

    Args:
        name: in full: `HEAD`, `refs/heads/main`.
        commit: what it points to; of an annotated tag the commit within.
        target: the ref that a symbolic one stands for; empty otherwise.
        tag: the tag object itself, of an annotated tag; empty otherwise.
    """

    name: str
    commit: str
    target: str = ""
    tag: str = ""

    @property
    def short(self) -> str:
        """The name without the namespace that Git puts it in."""
        for prefix in ("refs/tags/", "refs/heads/", "refs/remotes/", "refs/"):
            if self.name.startswith(prefix):
                return self.name.removeprefix(prefix)
        return self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Abbreviated:
    """The start of a commit's hash, in lower case: to be completed among the objects."""

    digits: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A commit, and by which ref it was found (None: by its hash)."""

    commit: str
    ref: Ref | None = None


def is_commit(revision: str) -> bool:
    """Return whether a revision is a whole hash, to be taken as it is."""
    return _COMMIT.fullmatch(revision) is not None


def check_revision(revision: str) -> None:
    """Refuse what no ref can be called and a program might take for an option.

    Raises:
        SourceError: it starts with a dash, has control characters, or is too long.
    """
    if revision.startswith("-"):
        raise SourceError(f"targetRevision {revision[:80]!r} starts with '-', which no ref may")
    if len(revision) > REVISION_CHARACTERS_MAX:
        raise SourceError(f"targetRevision has {len(revision)} characters: at most {REVISION_CHARACTERS_MAX}")
    if any(not each.isprintable() for each in revision):
        raise SourceError("targetRevision has a control character in it")


def parse_refs(listing: bytes) -> tuple[Ref, ...]:
    """Return the refs of `git ls-remote --symref`, in its order, with annotated tags followed to their commits."""
    commits: dict[str, str] = {}
    targets: dict[str, str] = {}
    tags: dict[str, str] = {}
    for line in listing.decode("utf-8", "replace").splitlines():
        value, tab, name = line.partition("\t")
        if not tab:
            continue
        if value.startswith("ref: "):
            targets[name] = value.removeprefix("ref: ")
        elif name.endswith("^{}"):
            peeled = name.removesuffix("^{}")
            tags[peeled] = commits.get(peeled, "")
            commits[peeled] = value.lower()
        elif is_commit(value):
            commits[name] = value.lower()
    return tuple(
        Ref(name=name, commit=commit, target=targets.get(name, ""), tag=tags.get(name, ""))
        for name, commit in commits.items()
    )


def greatest_tag(constraint: str, tags: Iterable[str]) -> str | None:
    """Return the tag with the greatest version that a constraint admits; None if there is none.

    Tags that are no versions do not count; pre-releases only if the constraint has one itself.

    Raises:
        ValueError: it is no constraint.

    >>> greatest_tag("1.2.x", ["v1.2.0", "v1.2.10", "v1.2.9", "v1.3.0", "v1.2.11-rc1", "latest"])
    'v1.2.10'
    """
    wanted = parse_constraint(constraint)
    best: tuple[Version, str] | None = None
    for tag in tags:
        try:
            version = parse_version(tag)
        except ValueError:
            continue
        if wanted.admits(version) and (best is None or version.compare(best[0]) > 0):
            best = (version, tag)
    return best[1] if best is not None else None


def is_version(text: str) -> bool:
    """Return whether a revision is one version, and so a pin."""
    try:
        parse_version(text)
    except ValueError:
        return False
    return True


def is_constraint(text: str) -> bool:
    """Return whether a revision is a range of versions, and not one of them."""
    if is_version(text):
        return False
    try:
        parse_constraint(text)
    except ValueError:
        return False
    return True


def resolve_revision(revision: str, refs: Iterable[Ref], *, tag_prefix: str = "") -> Found | Abbreviated:
    """Return what a revision means.

    Args:
        revision: `targetRevision`.
        refs: what the server advertises, in its order.
        tag_prefix: `tagPrefix`: only tags that start with it count, and are compared without it.

    Raises:
        SourceError: with a tag prefix it is neither a version nor a constraint.
        RepositoryError: there is nothing of that name.
    """
    check_revision(revision)
    if is_commit(revision):
        return Found(commit=revision.lower())
    refs = tuple(refs)
    wanted = _literal(revision or "HEAD", refs, tag_prefix)
    by_name = {ref.name: ref for ref in refs}
    symbolic: Ref | None = None
    for ref in refs:
        if wanted in (ref.short, ref.name):
            if not ref.target:
                return Found(commit=ref.commit, ref=ref)
            symbolic = ref
    if symbolic is not None:
        # A server that names the target sends its hash too, except for a branch without commits.
        followed = by_name.get(symbolic.target, symbolic)
        return Found(commit=followed.commit, ref=followed)
    if _ABBREVIATED.fullmatch(revision):
        return Abbreviated(digits=revision.lower())
    raise RepositoryError(f"unable to resolve '{revision or 'HEAD'}' to a commit SHA")


def _literal(revision: str, refs: tuple[Ref, ...], tag_prefix: str) -> str:
    """Return the name of the ref that a revision means: a pin and a constraint become a tag's."""
    if is_version(revision):
        return tag_prefix + revision
    if is_constraint(revision):
        tags = [ref.name.removeprefix(_TAGS) for ref in refs if ref.name.startswith(_TAGS)]
        best = greatest_tag(revision, [tag.removeprefix(tag_prefix) for tag in tags if tag.startswith(tag_prefix)])
        return revision if best is None else tag_prefix + best
    if tag_prefix:
        raise SourceError(f"targetRevision {revision!r}: with tagPrefix it has to be a version or a constraint")
    return revision

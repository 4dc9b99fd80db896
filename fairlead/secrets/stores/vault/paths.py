"""Where a key lies in Vault: the paths of its data and of its metadata, by mount and version of the engine.

Source: `external-secrets: providers/v1/vault/client_get.go: buildPath, buildMetadataPath`. Two deliberate differences:
metadata paths are cut like data paths when a value is read (upstream reads data of a key that repeats its mount and
then misses its metadata), and segments `.` and `..` are refused, for they would leave the mount.
"""

from __future__ import annotations

from urllib.parse import quote

from fairlead.core.errors import ProviderError

PROVIDER = "vault"


def data_path(key: str, *, mount: str, is_v2: bool) -> str:
    """Return the path that a key's data is read from.

    >>> data_path("test", mount="secret", is_v2=True)
    'secret/data/test'
    >>> data_path("secret/a/b", mount="", is_v2=True)
    'secret/data/a/b'
    """
    if not mount:
        if not is_v2 or "/data/" in key:
            return key
        first, _, rest = key.partition("/")
        return f"{first}/data/{rest}" if rest else f"{first}/data"
    return f"{mount}/data/{_cut(key, mount, is_v2=is_v2)}" if is_v2 else f"{mount}/{_cut(key, mount, is_v2=is_v2)}"


def metadata_path(key: str, *, mount: str, is_v2: bool) -> str:
    """Return the path that a key's metadata is read from.

    Raises:
        ProviderError: the key has none.
    """
    if mount:
        return list_path(_cut(key, mount, is_v2=is_v2), mount=mount, is_v2=is_v2)
    return list_path(key, mount=mount, is_v2=is_v2)


def list_path(folder: str, *, mount: str, is_v2: bool) -> str:
    """Return the path by which a folder is listed: what is below the mount is taken as it is.

    Raises:
        ProviderError: there is no mount, and the folder does not tell where its own ends.
    """
    if mount:
        return f"{mount}/metadata/{folder}" if is_v2 else f"{mount}/{folder}"
    if not is_v2:
        raise ProviderError("the store needs a path to list or describe secrets of kv version v1", provider=PROVIDER)
    if "data" not in folder:
        raise ProviderError("provided Path isn't a valid kv v2 path", provider=PROVIDER)
    return folder.replace("/data/", "/metadata/", 1)


def _cut(key: str, mount: str, *, is_v2: bool) -> str:
    if not key.startswith(f"{mount}/"):
        return key
    rest = key[len(mount) + 1 :]
    return rest.removeprefix("data/") if is_v2 else rest


def in_url(path: str) -> str:
    """Return a path as it stands in a URL.

    Raises:
        ProviderError: a segment would climb out of the mount.
    """
    if any(segment in (".", "..") for segment in path.split("/")):
        raise ProviderError("a key must not have segments `.` or `..`", provider=PROVIDER)
    return quote(path, safe="/", errors="replace")

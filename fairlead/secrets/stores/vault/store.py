"""Secrets of Vault's KV engines, versions 1 and 2.

Source: `external-secrets: providers/v1/vault/client_get.go, client_get_all_secrets.go`. Where we are stricter:
only an answer of Vault itself, about a mount that is there and has the version that the store says, is "no secret".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores._documents import NotJson, as_floats, encode, parse_object, text_of
from fairlead.secrets.stores._properties import NAMES_MAX, lookup, matching
from fairlead.secrets.stores.base import ReadingStore
from fairlead.secrets.stores.port import FindQuery, MetadataPolicy, NoSecret, RemoteRef, StoreUnavailable
from fairlead.secrets.stores.vault import paths
from fairlead.secrets.stores.vault.client import Answer, VaultClient
from fairlead.secrets.stores.vault.login import Logins
from fairlead.secrets.stores.vault.paths import PROVIDER, in_url
from fairlead.secrets.stores.vault.spec import Vault
from fairlead.secrets.values import SecretBytes

FOLDERS_MAX: Final = 2_000  # of one find
_FOLDER_DEPTH_MAX: Final = 32
_DESCRIPTION: Final = ("created_time", "current_version", "delete_version_after")


class VaultDocument:
    """The map under one key. Asked for whole it is JSON as Go writes it: compact, sorted, `<>&` escaped."""

    __slots__ = ("_content", "_is_metadata", "_key")

    def __init__(self, content: Mapping[str, Any], *, key: str, is_metadata: bool = False) -> None:
        self._content = content
        self._key = key
        self._is_metadata = is_metadata

    def __repr__(self) -> str:
        return f"VaultDocument({self._key!r})"

    def value(self, property: str = "") -> SecretBytes:  # noqa: A002 - the word of the API
        """Return the whole as JSON, an entry of exactly that name, or else what gjson finds."""
        if not property:
            return SecretBytes(encode(self._content))
        if property in self._content:
            return SecretBytes.of_text(text_of(self._content[property]))
        found = None if self._is_metadata else lookup(encode(self._content), property, provider=PROVIDER)
        if found is None:
            raise ProviderError(f'cannot find secret data for key: "{property}"', provider=PROVIDER)
        return SecretBytes(found)

    def entries(self, property: str = "") -> dict[str, SecretBytes]:  # noqa: A002
        """Return the entries; numbers have been floats on the way, as upstream's clients see them."""
        try:
            found = as_floats(parse_object(self.value(property).reveal()))
        except NotJson as error:
            raise ProviderError(f'unable to unmarshal secret "{self._key}": {error}', provider=PROVIDER) from None
        return {name: SecretBytes.of_text(text_of(value)) for name, value in found.items()}


class VaultStore(ReadingStore):
    """Reads by one shared login.

    Args:
        vault: the block of the spec.
        client: sends the requests.
        logins: has the token.
    """

    def __init__(self, vault: Vault, client: VaultClient, logins: Logins) -> None:
        self._mount = vault.mount
        self._is_v2 = vault.is_v2
        self._client = client
        self._logins = logins
        self._mounts_checked: set[str] = set()

    async def read_one(self, ref: RemoteRef) -> VaultDocument:
        if ref.metadata_policy == MetadataPolicy.FETCH:
            if not self._is_v2:
                text = "cannot perform metadata fetch operations with kv version v1"
                raise ProviderError(text, provider=PROVIDER)
            path = paths.metadata_path(ref.key, mount=self._mount, is_v2=True)
            metadata = await self._metadata(path, ref.key)
            custom = metadata.get("custom_metadata") or {}
            described = {name: text_of(metadata[name]) for name in _DESCRIPTION if name in metadata}
            named = {name: text_of(value) for name, value in custom.items()}
            return VaultDocument(described | named, key=ref.key, is_metadata=True)
        path = paths.data_path(ref.key, mount=self._mount, is_v2=self._is_v2)
        return VaultDocument(await self._data(path, ref), key=ref.key)

    async def find(self, query: FindQuery) -> dict[str, SecretBytes]:
        if query.tags and not self._is_v2:
            text = "cannot perform find by tag operations with kv version v1"
            raise ProviderError(text, provider=PROVIDER)
        names = await self._names(f"{query.path}/" if query.path else "")
        if query.name_regexp is not None:
            chosen = matching(names, query, provider=PROVIDER)
        elif len(names) > NAMES_MAX:
            raise ProviderError(f"find sees {len(names)} secrets; at most {NAMES_MAX} are read", provider=PROVIDER)
        else:
            chosen = names if not query.tags else await self._tagged(names, query.tags)
        answers = await self.read([RemoteRef(key=self._below_mount(name)) for name in chosen])
        found: dict[str, SecretBytes] = {}
        for name, answer in zip(chosen, answers, strict=True):
            if isinstance(answer, NoSecret):
                continue  # soft-deleted, or gone since it was listed
            if isinstance(answer, ProviderError):
                raise answer
            found[name] = answer.value()
        return found

    async def validate(self) -> None:
        await self._logins.verify()

    async def close(self) -> None:
        await self._logins.close()
        self._client.close()

    # -- reading --------------------------------------------------------------------------------------------------

    async def _data(self, path: str, ref: RemoteRef) -> dict[str, Any]:
        params = {"version": ref.version} if ref.version else {}
        doing = f'reading "{path}"'
        answer = await self._ask("GET", path, params=params, call="ReadSecretData")
        if answer.status == 404:
            raise await self._absence(answer, path, doing)
        if answer.status != 200:
            raise answer.error(doing)
        content = _data_of(answer, doing)
        if not self._is_v2:
            return content
        if "data" not in content:
            raise ProviderError(f"{doing}: failed to find data field (is it kv version v2?)", provider=PROVIDER)
        inner = content["data"]
        if inner is None:
            raise NoSecret(provider=PROVIDER)  # that version is deleted or destroyed
        if not isinstance(inner, dict):
            raise ProviderError(f"{doing}: the data field is no mapping", provider=PROVIDER)
        return inner

    async def _metadata(self, path: str, key: str) -> dict[str, Any]:
        doing = f'reading "{path}"'
        answer = await self._ask("GET", path, call="ReadSecretMetadata")
        if answer.status == 404:
            raise await self._absence(answer, path, doing)
        if answer.status != 200:
            raise answer.error(doing)
        return _data_of(answer, doing)

    async def _absence(self, answer: Answer, path: str, doing: str) -> ProviderError:
        """Return what a 404 means: `NoSecret` only if it says so beyond doubt."""
        content = answer.content()
        data = content.get("data")
        if isinstance(data, dict) and data.get("data", self) is None:
            return NoSecret(provider=PROVIDER)  # that version is deleted or destroyed; its metadata came along
        if content.get("warnings"):
            return ProviderError(f"{doing}: the path does not suit the version of the engine", provider=PROVIDER)
        if content.get("errors") != []:
            if isinstance(content.get("errors"), list):
                return answer.error(doing)  # no such mount, no such namespace: says nothing of the secret
            return StoreUnavailable(f"{doing}: the answer (404) is not one of Vault", provider=PROVIDER)
        return await self._wrong_version(path) or NoSecret(provider=PROVIDER)

    async def _wrong_version(self, path: str) -> ProviderError | None:
        """Return an error if the mount is of the other version: there, any path of ours is empty. Asked once."""
        mount = self._mount or path.partition("/")[0]
        if mount in self._mounts_checked:
            return None
        answer = await self._ask("GET", f"sys/internal/ui/mounts/{path}", call="ReadMount")
        if answer.status != 200:
            self._mounts_checked.add(mount)  # we may not ask, and never will
            return None
        data = _data_of(answer, "reading the mount")
        options = data.get("options") if isinstance(data.get("options"), dict) else {}
        is_v2 = (options or {}).get("version") == "2"
        if data.get("type") in ("kv", "generic") and is_v2 is not self._is_v2:
            text = (
                f'"{mount}" is kv version {"v2" if is_v2 else "v1"}, and the store says {"v2" if self._is_v2 else "v1"}'
            )
            return ProviderError(text, provider=PROVIDER)
        self._mounts_checked.add(mount)
        return None

    async def _ask(self, method: str, path: str, *, call: str, params: Mapping[str, str] | None = None) -> Answer:
        url = in_url(path)
        login = await self._logins.current()
        answer = await self._client.read(method, url, token=login.token, call=call, params=params)
        if answer.status in (401, 403) and await self._logins.refused(login):
            login = await self._logins.current()
            answer = await self._client.read(method, url, token=login.token, call=call, params=params)
        return answer

    # -- finding --------------------------------------------------------------------------------------------------

    async def _names(self, folder: str) -> list[str]:
        """Return the names of all secrets below a folder, which they begin with, sorted."""
        names: list[str] = []
        layer, folders = [folder], 0
        for depth in range(_FOLDER_DEPTH_MAX):
            folders += len(layer)
            if folders > FOLDERS_MAX:
                raise ProviderError(f"find sees more than {FOLDERS_MAX} folders", provider=PROVIDER)
            listed = await asyncio.gather(*(self._listed(inside, is_first=depth == 0) for inside in layer))
            below = [inside + name for inside, found in zip(layer, listed, strict=True) for name in found]
            names += [name for name in below if not name.endswith("/")]
            layer = [name for name in below if name.endswith("/")]
            if not layer:
                return sorted(names)
        raise ProviderError(f"find sees folders more than {_FOLDER_DEPTH_MAX} levels deep", provider=PROVIDER)

    async def _listed(self, folder: str, *, is_first: bool) -> list[str]:
        path = paths.list_path(folder, mount=self._mount, is_v2=self._is_v2)
        doing = f'listing "{path}"'
        answer = await self._ask("LIST", path, call="ListSecrets")
        if answer.status == 404:
            absence = await self._absence(answer, path, doing)
            if isinstance(absence, NoSecret) and not is_first:
                return []  # emptied since its parent was listed
            raise absence
        if answer.status != 200:
            raise answer.error(doing)
        keys = _data_of(answer, doing).get("keys")
        if not isinstance(keys, list):
            raise ProviderError(f"{doing}: the answer holds no keys", provider=PROVIDER)
        return [key for key in keys if isinstance(key, str)]

    async def _tagged(self, names: list[str], tags: Mapping[str, str]) -> list[str]:
        async def has_tags(name: str) -> bool:
            path = paths.list_path(name, mount=self._mount, is_v2=True)
            try:
                custom = (await self._metadata(path, name)).get("custom_metadata") or {}
            except NoSecret:
                return False
            return all(custom.get(tag) == value for tag, value in tags.items())

        verdicts = await asyncio.gather(*(has_tags(name) for name in names))
        return [name for name, is_tagged in zip(names, verdicts, strict=True) if is_tagged]

    def _below_mount(self, name: str) -> str:
        """Return a key that a listed name is read by: one that begins like the mount must not lose that part."""
        return (
            f"{self._mount}/data/{name}"
            if self._mount and self._is_v2
            else (f"{self._mount}/{name}" if self._mount else name)
        )


def _data_of(answer: Answer, doing: str) -> dict[str, Any]:
    content = answer.content()
    if content.get("wrap_info"):
        raise ProviderError(f"{doing}: the answer is wrapped", provider=PROVIDER)
    data = content.get("data")
    if not isinstance(data, dict):
        raise StoreUnavailable(f"{doing}: the answer holds no data", provider=PROVIDER)
    return data

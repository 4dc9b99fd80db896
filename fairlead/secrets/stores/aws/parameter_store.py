"""AWS Systems Manager Parameter Store.

Source: `external-secrets: providers/v1/aws/parameterstore`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores._properties import matching
from fairlead.secrets.stores.aws.client import PROVIDER
from fairlead.secrets.stores.aws.reading import AwsStore
from fairlead.secrets.stores.port import Denied, FindQuery, StoreUnavailable
from fairlead.secrets.values import SecretBytes


class ParameterStore(AwsStore):
    """Reads parameters, decrypted, by name or ARN."""

    batch_max = 10

    async def one(self, name: str, version: str) -> SecretBytes:
        doing = f'reading parameter "{name}"'
        asked = f"{name}:{version}" if version else name
        answer = await self._client.call("get_parameter", doing=doing, Name=asked, WithDecryption=True)
        return _value(answer.get("Parameter"), name, doing)

    async def many(self, names: Sequence[str]) -> Mapping[str, SecretBytes | ProviderError]:
        doing = f"reading {len(names)} parameters"
        answer = await self._client.call("get_parameters", doing=doing, Names=list(names), WithDecryption=True)
        asked = set(names)
        # Names that AWS calls invalid are asked for alone: only then it tells a missing one from a bad one.
        return {
            name: _value(parameter, name, f'reading parameter "{name}"')
            for parameter in answer.get("Parameters") or ()
            for name in {parameter.get("Name"), parameter.get("ARN")} & asked
        }

    async def tags(self, name: str) -> dict[str, str]:
        doing = f'describing parameter "{name}"'
        answer = await self._client.call(
            "list_tags_for_resource", doing=doing, ResourceType="Parameter", ResourceId=name
        )
        return {tag.get("Key", ""): tag.get("Value", "") for tag in answer.get("TagList") or ()}

    async def names(self, query: FindQuery) -> list[str]:
        path = (self._prefix + query.path if query.path is not None else self._prefix) or "/"
        if query.name_regexp is None:
            filters = [{"Key": f"tag:{key}", "Values": [value]} for key, value in query.tags.items()]
            return await self._described(path, filters)
        return matching(await self._below(path), query, provider=PROVIDER)

    async def _below(self, path: str) -> list[str]:
        """Return all names below a path."""
        doing = f'listing parameters below "{path}"'
        try:
            pages = self.pages(
                "get_parameters_by_path", "Parameters", doing=doing, Path=path, Recursive=True, WithDecryption=False
            )
            return [str(parameter.get("Name", "")) async for parameter in pages]
        except Denied:
            return await self._described(path, [])  # which is another right

    async def _described(self, path: str, filters: list[dict[str, Any]]) -> list[str]:
        if path != "/":
            filters = [*filters, {"Key": "Path", "Option": "Recursive", "Values": [path]}]
        pages = self.pages("describe_parameters", "Parameters", doing="listing parameters", ParameterFilters=filters)
        return [str(parameter.get("Name", "")) async for parameter in pages]


def _value(parameter: Any, name: str, doing: str) -> SecretBytes:
    if not isinstance(parameter, dict) or not isinstance(parameter.get("Value"), str):
        raise StoreUnavailable(f"{doing}: the answer holds no value", provider=PROVIDER)
    if name not in (parameter.get("Name"), parameter.get("ARN")):
        raise StoreUnavailable(f"{doing}: the answer is about another parameter", provider=PROVIDER)
    return SecretBytes.of_text(parameter["Value"])

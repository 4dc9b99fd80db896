"""AWS Secrets Manager.

Source: `external-secrets: providers/v1/aws/secretsmanager`. Unlike there, a search by tags finds the secrets
that have every tag with its own value (AWS filters keys and values apart), and a prefix is added once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores._properties import matching
from fairlead.secrets.stores.aws.client import PROVIDER, by_code
from fairlead.secrets.stores.aws.reading import AwsStore
from fairlead.secrets.stores.port import FindQuery, StoreUnavailable
from fairlead.secrets.values import SecretBytes

_CURRENT: Final = "AWSCURRENT"
_BY_ID: Final = "uuid/"
_FILTER_VALUES_MAX: Final = 10  # that AWS takes per filter


class SecretsManagerStore(AwsStore):
    """Reads secrets by name or ARN."""

    batch_max = 20

    async def one(self, name: str, version: str) -> SecretBytes:
        if version.startswith(_BY_ID):
            wanted = {"VersionId": version.removeprefix(_BY_ID)}
        else:
            wanted = {"VersionStage": version or _CURRENT}
        doing = f'reading secret "{name}"'
        return _value(await self._client.call("get_secret_value", doing=doing, SecretId=name, **wanted), name, doing)

    async def many(self, names: Sequence[str]) -> Mapping[str, SecretBytes | ProviderError]:
        doing = f"reading {len(names)} secrets"
        answer = await self._client.call("batch_get_secret_value", doing=doing, SecretIdList=list(names))
        found: dict[str, SecretBytes | ProviderError] = {}
        asked = set(names)
        for entry in answer.get("SecretValues") or ():
            for name in {entry.get("Name"), entry.get("ARN")} & asked:
                found[name] = _value(entry, name, f'reading secret "{name}"')
        for failure in answer.get("Errors") or ():
            name = failure.get("SecretId", "")
            if name in asked:
                doing = f'reading secret "{name}"'
                found[name] = by_code(str(failure.get("ErrorCode", "")), str(failure.get("Message", "")), doing)
        return found

    async def tags(self, name: str) -> dict[str, str]:
        answer = await self._client.call("describe_secret", doing=f'describing secret "{name}"', SecretId=name)
        return {tag.get("Key", ""): tag.get("Value", "") for tag in answer.get("Tags") or ()}

    async def names(self, query: FindQuery) -> list[str]:
        filters: list[dict[str, Any]] = []
        start = self._prefix + (query.path or "")
        if start:
            filters.append({"Key": "name", "Values": [start]})
        if query.name_regexp is None and len(query.tags) <= _FILTER_VALUES_MAX:
            for key, value in query.tags.items():
                filters.append({"Key": "tag-key", "Values": [key]})
                filters.append({"Key": "tag-value", "Values": [value]})
        listed = self.pages("list_secrets", "SecretList", doing="listing secrets", Filters=filters[:10])
        entries = [entry async for entry in listed if str(entry.get("Name", "")).startswith(start)]
        if query.name_regexp is not None:
            return matching((entry["Name"] for entry in entries), query, provider=PROVIDER)
        return [entry["Name"] for entry in entries if _has_tags(entry, query.tags)]


def _has_tags(entry: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    tags = {tag.get("Key"): tag.get("Value") for tag in entry.get("Tags") or ()}
    return all(tags.get(key) == value for key, value in wanted.items())


def _value(answer: Mapping[str, Any], name: str, doing: str) -> SecretBytes:
    arn, found = str(answer.get("ARN", "")), str(answer.get("Name", ""))
    # An ARN may be given without the six characters that AWS adds to the name.
    if found != name and not (name.startswith("arn:") and arn.startswith(name)):
        raise StoreUnavailable(f"{doing}: the answer is about another secret", provider=PROVIDER)
    text, data = answer.get("SecretString"), answer.get("SecretBinary")
    if isinstance(text, str):
        return SecretBytes.of_text(text)
    if isinstance(data, bytes):
        return SecretBytes(data)
    raise ProviderError(f"{doing}: it has neither text nor bytes", provider=PROVIDER)

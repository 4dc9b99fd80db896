"""The fake provider."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores.fake import FakeProvider
from fairlead.secrets.stores.port import FindQuery, NoSecret, RemoteRef, StoreContext, StoreSpec, ValidationUnknown
from tests.secrets.stores.contract import Arena, StoreContract, texts
from tests.secrets.stores.surroundings import Surroundings, opened, spec_of


class _FakeArena(Arena):
    missing_property_is_no_secret = True
    can_be_denied = False
    can_be_unreachable = False

    def __init__(self) -> None:
        self._data: dict[str, str] = {"any": "thing"}
        self._provider = FakeProvider()
        self._context = Surroundings().context()

    @property
    def provider(self) -> FakeProvider:
        return self._provider

    @property
    def context(self) -> StoreContext:
        return self._context

    def spec(self) -> StoreSpec:
        return spec_of("fake", {"data": [{"key": key, "value": value} for key, value in self._data.items()]})

    async def write(self, key: str, document: Mapping[str, Any]) -> None:
        self._data[key] = json.dumps(document)


class TestFakeStore(StoreContract):
    @pytest.fixture
    def arena(self) -> Arena:
        return _FakeArena()


ENTRIES = [
    {"key": "/db", "value": "old", "version": "v1"},
    {"key": "/db", "value": "new", "version": "v2"},
    {"key": "/db", "value": "plain"},
    {"key": "/json", "value": '{"a": {"x": "<y>"},  "n": 1.50}'},
    {"key": "/other", "value": "o"},
]


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        pytest.param(RemoteRef(key="/db"), "plain", id="no-version"),
        pytest.param(RemoteRef(key="/db", version="v1"), "old", id="version"),
        pytest.param(RemoteRef(key="/json"), '{"a": {"x": "<y>"},  "n": 1.50}', id="text-untouched"),
        pytest.param(RemoteRef(key="/json", property="a"), '{"x": "<y>"}', id="raw-slice"),
        pytest.param(RemoteRef(key="/json", property="n"), "1.5", id="number"),
    ],
)
async def test_get(ref: RemoteRef, expected: str) -> None:
    async with opened(spec_of("fake", {"data": ENTRIES})) as store:
        assert (await store.get(ref)).reveal().decode() == expected


@pytest.mark.parametrize(
    "ref", [RemoteRef(key="/no"), RemoteRef(key="/db", version="v9"), RemoteRef(key="/json", property="no")]
)
async def test_missing_secret_version_and_property_are_no_secret(ref: RemoteRef) -> None:
    async with opened(spec_of("fake", {"data": ENTRIES})) as store:
        with pytest.raises(NoSecret):
            await store.get(ref)


async def test_find_returns_the_highest_version_of_each_key() -> None:
    async with opened(spec_of("fake", {"data": ENTRIES})) as store:
        assert texts(await store.find(FindQuery(name_regexp="d|o"))) == {
            "/db": "new",
            "/json": '{"a": {"x": "<y>"},  "n": 1.50}',
            "/other": "o",
        }


@pytest.mark.parametrize("query", [FindQuery(tags={"a": "b"}), FindQuery(path="/")], ids=["tags", "path-only"])
async def test_find_is_by_name_only(query: FindQuery) -> None:
    async with opened(spec_of("fake", {"data": ENTRIES})) as store:
        with pytest.raises(ProviderError, match="by name only"):
            await store.find(query)


@pytest.mark.parametrize(
    ("result", "error"),
    [pytest.param(1, ValidationUnknown, id="unknown"), pytest.param(2, ProviderError, id="error")],
)
async def test_the_spec_says_how_validation_ends(result: int, error: type[ProviderError]) -> None:
    async with opened(spec_of("fake", {"data": ENTRIES, "validationResult": result})) as store:
        with pytest.raises(error):
            await store.validate()


def test_entries_need_key_and_value() -> None:
    problems = FakeProvider().validate_spec(spec_of("fake", {"data": [{"key": "", "value": "v"}, {"key": "k"}]}))
    assert [problem.path for problem in problems] == [
        "spec.provider.fake.data[0].key",
        "spec.provider.fake.data[1].value",
    ]


def test_a_value_of_the_wrong_type_is_not_quoted() -> None:
    (problem,) = FakeProvider().validate_spec(spec_of("fake", {"data": [{"key": "k", "value": 4711}]}))
    assert "4711" not in str(problem)
    assert problem.path == "spec.provider.fake.data[0].value"

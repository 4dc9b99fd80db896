"""The contract of a store of secrets, as tests that the author of a plug-in can run.

Subclass `StoreContract` as `TestMyStore` in your tests and give it a fixture `arena` that yields an `Arena` of yours;
pytest needs `asyncio_mode = auto`. What a provider cannot do is said by the arena's flags, not by skipping tests.
"""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec
import pytest

from fairlead.core.errors import FairleadError, ProviderError, SpecError
from fairlead.secrets.stores.port import (
    Capabilities,
    Denied,
    FindQuery,
    NoSecret,
    RemoteRef,
    Store,
    StoreContext,
    StoreProvider,
    StoreSpec,
    StoreUnavailable,
)
from fairlead.secrets.values import SecretBytes

MARKER = "c0ntract-m4rker"  # part of every value: it must never be seen
DOCUMENT: Mapping[str, str] = {"user": f"ada-{MARKER}", "password": f"<&>{MARKER}", "a.b": f"dotted {MARKER}"}
CALL_SECONDS_MAX = 60.0


class Arena(ABC):
    """A provider, a place where secrets can be put, and what the provider cannot do.

    Attributes:
        has_find: by name.
        has_nested_properties: by gjson.
        missing_property_is_no_secret: as with the fake provider only.
        can_be_denied: whether there are credentials at all.
        can_be_unreachable: whether there is a network between us.
    """

    has_find = True
    has_nested_properties = True
    missing_property_is_no_secret = False
    can_be_denied = True
    can_be_unreachable = True

    @property
    @abstractmethod
    def provider(self) -> StoreProvider: ...

    @property
    @abstractmethod
    def context(self) -> StoreContext: ...

    @abstractmethod
    def spec(self) -> StoreSpec:
        """Return a spec that works."""

    @abstractmethod
    async def write(self, key: str, document: Mapping[str, Any]) -> None:
        """Put a mapping under a key, replacing what is there. Called before a store is opened."""

    def denied_spec(self) -> StoreSpec:
        """Return the spec of a store whose credentials may read nothing."""
        raise NotImplementedError

    def unreachable_spec(self) -> StoreSpec:
        """Return the spec of a store whose server does not listen."""
        raise NotImplementedError

    def key(self, name: str) -> str:
        """Return a key that the provider accepts, for a plain name."""
        return name

    async def open(self, spec: StoreSpec | None = None) -> Store:
        return await self.provider.open(spec or self.spec(), self.context)


def texts(values: Mapping[str, SecretBytes]) -> dict[str, str]:
    """Return values to compare; only tests may do this."""
    return {key: value.reveal().decode() for key, value in values.items()}


class StoreContract:
    """What holds for every store."""

    async def test_the_whole_of_a_secret_is_its_json(self, arena: Arena) -> None:
        await arena.write(arena.key("contract"), DOCUMENT)
        store = await arena.open()
        try:
            assert json.loads((await store.get(RemoteRef(key=arena.key("contract")))).reveal()) == DOCUMENT
        finally:
            await store.close()

    async def test_a_property_is_one_entry(self, arena: Arena) -> None:
        await arena.write(arena.key("contract"), DOCUMENT)
        store = await arena.open()
        try:
            value = await store.get(RemoteRef(key=arena.key("contract"), property="password"))
            assert value.reveal().decode() == DOCUMENT["password"]
        finally:
            await store.close()

    async def test_a_key_with_a_dot_can_be_named(self, arena: Arena) -> None:
        await arena.write(arena.key("contract"), DOCUMENT)
        store = await arena.open()
        try:
            name = r"a\.b" if arena.missing_property_is_no_secret else "a.b"
            value = await store.get(RemoteRef(key=arena.key("contract"), property=name))
            assert value.reveal().decode() == DOCUMENT["a.b"]
        finally:
            await store.close()

    async def test_a_property_may_lie_deeper(self, arena: Arena) -> None:
        if not arena.has_nested_properties:
            pytest.skip("the provider says that it has no nested properties")
        await arena.write(arena.key("deep"), {"outer": {"inner": ["x", MARKER]}})
        store = await arena.open()
        try:
            value = await store.get(RemoteRef(key=arena.key("deep"), property="outer.inner.1"))
            assert value.reveal().decode() == MARKER
        finally:
            await store.close()

    async def test_a_missing_property_is_an_error_but_no_missing_secret(self, arena: Arena) -> None:
        await arena.write(arena.key("contract"), DOCUMENT)
        store = await arena.open()
        try:
            with pytest.raises(ProviderError) as caught:
                await store.get(RemoteRef(key=arena.key("contract"), property="nobody"))
            assert isinstance(caught.value, NoSecret) is arena.missing_property_is_no_secret
        finally:
            await store.close()

    async def test_entries_of_a_secret(self, arena: Arena) -> None:
        await arena.write(arena.key("contract"), DOCUMENT)
        store = await arena.open()
        try:
            assert texts(await store.get_map(RemoteRef(key=arena.key("contract")))) == DOCUMENT
        finally:
            await store.close()

    async def test_what_is_not_there_is_no_secret(self, arena: Arena) -> None:
        store = await arena.open()
        try:
            ref = RemoteRef(key=arena.key("never-written"))
            for ask in (store.get, store.get_map):
                with pytest.raises(NoSecret):
                    await ask(ref)
            (answer,) = await store.read([ref])
            assert isinstance(answer, NoSecret)
        finally:
            await store.close()

    async def test_many_answers_keep_their_order_and_fail_alone(self, arena: Arena) -> None:
        await arena.write(arena.key("one"), {"v": f"1-{MARKER}"})
        await arena.write(arena.key("two"), {"v": f"2-{MARKER}"})
        store = await arena.open()
        try:
            names = ("two", "never-written", "one", "two")
            refs = [RemoteRef(key=arena.key(name), property="v") for name in names]
            answers = await store.get_many(refs)
            values = [answer.reveal().decode() if isinstance(answer, SecretBytes) else None for answer in answers]
            assert values == [f"2-{MARKER}", None, f"1-{MARKER}", f"2-{MARKER}"]
            assert isinstance(answers[1], NoSecret)
        finally:
            await store.close()

    async def test_documents_are_asked_for_several_properties(self, arena: Arena) -> None:
        await arena.write(arena.key("contract"), DOCUMENT)
        store = await arena.open()
        try:
            (answer,) = await store.read([RemoteRef(key=arena.key("contract"))])
            assert not isinstance(answer, ProviderError)
            assert answer.value("user").reveal().decode() == DOCUMENT["user"]
            assert texts(answer.entries()) == DOCUMENT
            assert MARKER not in repr(answer)
        finally:
            await store.close()

    async def test_many_tasks_share_one_store(self, arena: Arena) -> None:
        for index in range(5):
            await arena.write(arena.key(f"shared-{index}"), {"v": f"{index}-{MARKER}"})
        store = await arena.open()
        try:
            refs = [RemoteRef(key=arena.key(f"shared-{index % 5}"), property="v") for index in range(40)]
            async with asyncio.timeout(CALL_SECONDS_MAX):
                values = await asyncio.gather(*(store.get(ref) for ref in refs))
            assert [value.reveal().decode() for value in values] == [f"{index % 5}-{MARKER}" for index in range(40)]
        finally:
            await store.close()

    async def test_a_cancelled_call_leaves_the_store_usable(self, arena: Arena) -> None:
        await arena.write(arena.key("contract"), DOCUMENT)
        store = await arena.open()
        try:
            ref = RemoteRef(key=arena.key("contract"))
            for _ in range(3):
                task = asyncio.create_task(store.get(ref))
                await asyncio.sleep(0)
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
            assert json.loads((await store.get(ref)).reveal()) == DOCUMENT
        finally:
            await store.close()

    async def test_find_by_name(self, arena: Arena) -> None:
        if not arena.has_find:
            pytest.skip("the provider says that it cannot find")
        await arena.write(arena.key("find-me-1"), {"v": MARKER})
        await arena.write(arena.key("find-me-2"), {"v": MARKER})
        await arena.write(arena.key("not-this"), {"v": MARKER})
        store = await arena.open()
        try:
            found = await store.find(FindQuery(name_regexp="find-me-[12]$"))
            assert sorted(name[-9:] for name in found) == ["find-me-1", "find-me-2"]
            assert all(json.loads(value.reveal()) == {"v": MARKER} for value in found.values())
            assert await store.find(FindQuery(name_regexp="^nothing-like-this$")) == {}
        finally:
            await store.close()

    @pytest.mark.parametrize("pattern", [pytest.param("(", id="broken"), pytest.param("(?=x)", id="look-ahead")])
    async def test_what_is_no_re2_is_an_error(self, arena: Arena, pattern: str) -> None:
        if not arena.has_find:
            pytest.skip("the provider says that it cannot find")
        await arena.write(arena.key("find-me-1"), {"v": MARKER})
        store = await arena.open()
        try:
            with pytest.raises(ProviderError) as caught:
                await store.find(FindQuery(name_regexp=pattern))
            assert not isinstance(caught.value, NoSecret)
        finally:
            await store.close()

    async def test_a_hostile_pattern_ends(self, arena: Arena) -> None:
        if not arena.has_find:
            pytest.skip("the provider says that it cannot find")
        await arena.write(arena.key("a" * 60), {"v": MARKER})
        store = await arena.open()
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                assert await store.find(FindQuery(name_regexp="(a+)+!$")) == {}
        finally:
            await store.close()

    async def test_a_store_that_works_is_valid(self, arena: Arena) -> None:
        store = await arena.open()
        try:
            await store.validate()
        finally:
            await store.close()

    async def test_wrong_credentials_never_mean_a_missing_secret(self, arena: Arena) -> None:
        if not arena.can_be_denied:
            pytest.skip("the provider says that it asks for no credentials")
        await arena.write(arena.key("contract"), DOCUMENT)
        store = await arena.open(arena.denied_spec())
        try:
            for ref in (RemoteRef(key=arena.key("contract")), RemoteRef(key=arena.key("never-written"))):
                with pytest.raises(Denied):
                    await store.get(ref)
        finally:
            await store.close()

    async def test_no_answer_never_means_a_missing_secret(self, arena: Arena) -> None:
        if not arena.can_be_unreachable:
            pytest.skip("the provider says that there is no network in between")
        store = await arena.open(arena.unreachable_spec())
        try:
            async with asyncio.timeout(CALL_SECONDS_MAX):
                with pytest.raises(StoreUnavailable):
                    await store.get(RemoteRef(key=arena.key("contract")))
        finally:
            await store.close()

    async def test_close_may_be_called_twice(self, arena: Arena) -> None:
        store = await arena.open()
        await store.close()
        await store.close()

    async def test_no_value_shows_in_errors_reprs_or_logs(
        self, arena: Arena, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
    ) -> None:
        await arena.write(arena.key("contract"), DOCUMENT)
        await arena.write(arena.key("text"), {"v": f"{MARKER} is no json"})
        shown: list[str] = []
        with caplog.at_level(logging.DEBUG):
            store = await arena.open()
            try:
                shown += [repr(store), str(store), repr(arena.spec()), repr(arena.context)]
                for ask, ref in (
                    (store.get, RemoteRef(key=arena.key("contract"), property="nobody")),
                    (store.get, RemoteRef(key=arena.key("contract"), property="user.deeper")),
                    (store.get_map, RemoteRef(key=arena.key("text"), property="v")),
                    (store.get_map, RemoteRef(key=arena.key("contract"), property="user")),
                    (store.get, RemoteRef(key=arena.key("contract"), version="no-such-version")),
                ):
                    try:
                        shown.append(repr(await ask(ref)))
                    except FairleadError as error:
                        shown += traceback.format_exception(error)
                shown.append(repr(await store.get_many([RemoteRef(key=arena.key("contract"))])))
            finally:
                await store.close()
        shown += [record.getMessage() for record in caplog.records]
        shown += capfd.readouterr()
        assert MARKER not in "".join(shown)

    @pytest.mark.parametrize("block", [b"{}", b"[]", b'"text"', b'{"unknown": {"deep": [1]}}', b"null", b"no json"])
    async def test_a_bad_block_is_judged_and_not_raised(self, arena: Arena, block: bytes) -> None:
        good = arena.spec()
        spec = StoreSpec(provider=good.provider, block=msgspec.Raw(block), kind=good.kind, namespace=good.namespace)
        problems = arena.provider.validate_spec(spec)
        assert all(isinstance(problem, SpecError) for problem in problems)
        assert arena.provider.is_referent(spec) in (True, False)
        assert block in (b"{}", b'{"unknown": {"deep": [1]}}') or problems

    async def test_the_good_block_is_good(self, arena: Arena) -> None:
        assert arena.provider.validate_spec(arena.spec()) == []
        assert arena.provider.capabilities in tuple(Capabilities)
        assert arena.provider.converts_found_keys in (True, False)

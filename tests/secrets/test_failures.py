"""Providers and API servers in trouble: Secrets stay as they are, conditions say why, and everything mends itself."""

from __future__ import annotations

import asyncio
import io
import logging
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import msgspec
import pytest
import structlog

from fairlead.core.cluster import Cluster
from fairlead.core.errors import Forbidden, Invalid
from fairlead.core.kinds import SECRETS
from fairlead.core.objects import ObjectKey
from fairlead.secrets.kinds import EXTERNAL_SECRETS, SECRET_STORES, TARGETS
from fairlead.secrets.settings import PlannerSettings, SecretSettings
from fairlead.secrets.stores.port import Denied, StoreUnavailable, Throttled
from fairlead.testing.clock import run_virtual
from fairlead.testing.faults import Faults, FaultyCluster, KillPoint, kill_points
from tests.secrets.world import KEY, Process, Remote, Trouble, World, down, is_gone, told

SYNCED = ("True", "SecretSynced", "secret synced")
UNREAD = ("False", "SecretSyncedError", "could not get secret data from provider")
MARKER = "m4rker"


@pytest.fixture
def quiet() -> Iterator[None]:
    """Leave out what is only worth a debug line: thousands of objects have much to say."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    yield
    structlog.reset_defaults()


# -- providers --------------------------------------------------------------------------------------------------------


def always(make: Callable[[], Exception]) -> Trouble:
    return lambda key: make()


@pytest.mark.parametrize("deletion", ["Retain", "Delete", "Merge"])
@pytest.mark.parametrize(
    ("trouble", "latency"),
    [
        pytest.param(always(down), 0.05, id="down"),
        pytest.param(always(lambda: down("sealed")), 0.05, id="sealed"),
        pytest.param(always(lambda: Denied("403", provider="remote")), 0.05, id="403"),
        pytest.param(always(lambda: Throttled("429", provider="remote", retry_after=5)), 0.05, id="throttled"),
        pytest.param(always(lambda: ValueError(MARKER)), 0.05, id="broken-plug-in"),
        pytest.param(lambda key: down() if key == "b" else None, 0.05, id="half-answered"),
        pytest.param(lambda key: None, 1000.0, id="slow"),
    ],
)
def test_invariant_37_a_provider_in_trouble_deletes_and_empties_nothing(
    trouble: Trouble, latency: float, deletion: str
) -> None:
    async def story(world: World) -> None:
        world.remote.values.update(a=b"1", b=b"1")
        world.store()
        data = [{"secretKey": key, "remoteRef": {"key": key}} for key in "ab"]
        world.external_secret(data=data, target={"deletionPolicy": deletion})
        async with world.controller():
            await asyncio.sleep(10)
            assert world.data() == {"a": b"1", "b": b"1"}
            before = world.found()
            world.remote.trouble, world.remote.latency = trouble, latency
            world.remote.values.update(a=b"2", b=b"2")
            await asyncio.sleep(400)
            assert world.found() == before
            assert world.ready() == UNREAD
            assert world.notes.reasons()[-1] == "UpdateFailed"
            world.remote.trouble, world.remote.latency = (lambda key: None), 0.05
            await asyncio.sleep(500)
            assert world.data() == {"a": b"2", "b": b"2"}
            assert world.ready() == SYNCED

    told(story)


def test_a_provider_that_is_restarted_sealed_is_logged_into_anew() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"one"
        world.store()
        world.external_secret()
        async with world.controller():
            await asyncio.sleep(10)
            world.remote.trouble = always(lambda: down("sealed"))
            world.remote.login = lambda: down("sealed")
            world.remote.validation = down("sealed")
            await asyncio.sleep(600)
            ready = world.store_status(ObjectKey("shop", "store")).ready
            assert ready is not None
            assert ready.status == "False"
            opened = world.remote.opened
            world.remote.trouble, world.remote.login, world.remote.validation = (lambda key: None), (lambda: None), None
            world.remote.values["db"] = b"two"
            await asyncio.sleep(430)
            assert world.data() == {"password": b"two"}
            assert world.remote.opened == opened + 1
            assert world.remote.closed == opened

    told(story)


@pytest.mark.usefixtures("quiet")
def test_an_outage_is_over_for_hundreds_at_once_and_within_the_budget() -> None:
    async def story(world: World) -> None:
        names = [f"es-{number}" for number in range(300)]
        for name in names:
            world.remote.values[name] = b"one"
            world.external_secret(name, data=[{"secretKey": "k", "remoteRef": {"key": name}}])
        world.store()
        async with world.controller():
            await asyncio.sleep(120)
            before = len(world.process.writes)
            world.remote.trouble = always(down)
            calls = world.remote.calls
            await asyncio.sleep(1200)
            assert world.remote.calls - calls < 100, "one probe at a time"
            assert {world.ready(ObjectKey("shop", name)) for name in names} == {UNREAD}
            assert len(world.process.writes) - before <= len(names) + 2, "one condition each"
            world.remote.trouble = lambda key: None
            for name in names:
                world.remote.values[name] = b"two"
            reads = len(world.remote.reads)
            await asyncio.sleep(60)
            assert {world.ready(ObjectKey("shop", name)) for name in names} == {SYNCED}
            times = [at for at, _ in world.remote.reads[reads:]]
            for start in times:
                assert sum(start <= at < start + 1 for at in times) <= 50 + 20

    told_with(story, reads_per_second=50.0)


def told_with(story: Callable[[World], Any], **planner: Any) -> None:
    """Run a story whose controllers have another planner."""

    class Other(World):
        def controller(self, *args: Any, **kwargs: Any) -> Any:
            return super().controller(*args, planner_settings=PlannerSettings(**planner), **kwargs)

    async def main() -> None:
        await story(Other())

    run_virtual(main())


# -- scale ------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quiet")
def test_a_thousand_secrets_over_two_hundred_keys() -> None:
    async def story(world: World) -> None:
        for number in range(1000):
            key = f"key-{number % 200}"
            world.remote.values[key] = key.encode()
            world.external_secret(f"es-{number}", data=[{"secretKey": "k", "remoteRef": {"key": key}}])
        world.store()
        async with world.controller():
            await asyncio.sleep(10)
            assert all(world.data(ObjectKey("shop", f"es-{number}")) for number in range(1000)), "first sync of all"
            await asyncio.sleep(110)
            before, reads = world.process.requests, len(world.remote.reads)
            calls = world.remote.calls
            await asyncio.sleep(240)
            assert world.process.requests == before, "invariant 41"
            assert len(world.remote.reads) - reads <= 200 * 4
            assert world.remote.calls - calls <= 10 * 4, "in batches of twenty"
            for number in range(200):
                times = world.remote.times(f"key-{number}")[-4:]
                gaps = [later - earlier for earlier, later in pairwise(times)]
                assert max(gaps) <= 60 + 4, "invariant 40: nothing is older than its interval and the lag of the budget"
            assert world.remote.opened == 1

    told(story)


@pytest.mark.usefixtures("quiet")
def test_fifty_new_secrets_while_hundreds_refresh() -> None:
    """Of two thousand, the planner's own test and `benchmarks.secret_first_sync` tell."""

    async def story(world: World) -> None:
        for number in range(600):
            world.remote.values[f"old-{number}"] = b"x"
            world.external_secret(
                f"old-{number}", data=[{"secretKey": "k", "remoteRef": {"key": f"old-{number}"}}], refreshInterval="1m"
            )
        world.store()
        async with world.controller() as reconciler:
            await asyncio.sleep(40)
            timing = reconciler._live[ObjectKey("shop", "old-0")].subject.timing
            assert timing is not None
            assert timing.align is not None
            await asyncio.sleep((timing.align.total_seconds() - world.seconds) % 60 + 2)  # a refresh of all has begun
            assert world.seconds - world.remote.reads[-1][0] < 0.5
            began = world.seconds
            for number in range(50):
                world.remote.values[f"new-{number}"] = b"x"
                world.external_secret(f"new-{number}", data=[{"secretKey": "k", "remoteRef": {"key": f"new-{number}"}}])
            await asyncio.sleep(10)
            created = {name: at for at, what, name in world.writes if what == "create secrets"}
            delays = [created[f"new-{number}"] - began for number in range(50)]
            ordered = sorted(delays)
            assert ordered[25] < 1
            assert ordered[49] < 1.5

    told(story)


# -- crashes ----------------------------------------------------------------------------------------------------------


async def _rotate(world: World, process: Process, *, crash: bool) -> None:
    async with world.controller(process, as_manager=process.as_manager, crash=crash):
        await asyncio.sleep(10)
        if not process.is_dead:
            world.remote.values["db"] = b"two"
            world.external_secret(target={"name": "renamed"})
            await asyncio.sleep(70)
        if not process.is_dead:
            await world.delete(EXTERNAL_SECRETS)
            await asyncio.sleep(10)


def _writes_of_a_quiet_run() -> int:
    async def main() -> int:
        world = World()
        world.remote.values["db"] = b"one"
        world.store()
        world.external_secret()
        process = Process(world.cluster)
        await _rotate(world, process, crash=False)
        return len(process.writes)

    return run_virtual(main())


QUIET = _writes_of_a_quiet_run()


def test_the_quiet_run_writes_what_it_should() -> None:
    assert 9 <= QUIET <= 14


@pytest.mark.parametrize("point", list(kill_points(QUIET)), ids=lambda point: f"{point.when}-{point.at}")
def test_killed_at_any_write_it_ends_the_same(point: KillPoint) -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = b"one"
        world.store()
        world.external_secret()
        seen: list[dict[str, bytes] | None] = []
        world.cluster.on_commit(
            lambda verb, resource, old, new: seen.append(world.data()) if resource.plural == "secrets" else None
        )
        first = Process(world.cluster, point=point)
        await _rotate(world, first, crash=True)
        assert first.is_dead
        second = Process(world.cluster)
        await _rotate_rest(world, second)
        assert await is_gone(world, EXTERNAL_SECRETS)
        assert world.data() is None
        assert world.data(ObjectKey("shop", "renamed")) is None
        # At no time was there a Secret that nobody had read like that.
        assert [data for data in seen if data not in (None, {"password": b"one"}, {"password": b"two"})] == []

    told(story)


async def _rotate_rest(world: World, process: Process) -> None:
    """What the first process did not live to see: the wishes end the same."""
    async with world.controller(process, as_manager=process.as_manager):
        await asyncio.sleep(10)
        if not await is_gone(world, EXTERNAL_SECRETS):
            found = world.found(EXTERNAL_SECRETS)
            assert found is not None
            if "deletionTimestamp" not in found["metadata"]:
                world.remote.values["db"] = b"two"
                world.external_secret(target={"name": "renamed"})
                await asyncio.sleep(70)
                assert world.data(ObjectKey("shop", "renamed")) == {"password": b"two"}
                assert world.data() is None
                assert world.ready() == SYNCED
                await world.delete(EXTERNAL_SECRETS)
            await asyncio.sleep(10)


@pytest.mark.usefixtures("quiet")
def test_a_restart_reads_within_the_budget_and_writes_nothing() -> None:
    async def story(world: World) -> None:
        for number in range(100):
            world.remote.values[f"key-{number}"] = b"x"
            world.external_secret(f"es-{number}", data=[{"secretKey": "k", "remoteRef": {"key": f"key-{number}"}}])
        world.store()
        async with world.controller(crash=True):
            await asyncio.sleep(100)
        for _ in range(5):
            process = Process(world.cluster)
            reads = len(world.remote.reads)
            async with world.controller(process, as_manager=process.as_manager, crash=True):
                await asyncio.sleep(20)
                assert process.writes == []
                assert len(world.remote.reads) - reads <= 200

    told(story)


# -- the API server ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_in_a_rough_cluster_nothing_is_ever_wrong_and_all_ends_well(seed: int) -> None:
    async def story(world: World) -> None:
        world.store()
        names = [f"es-{number}" for number in range(6)]
        for name in names:
            world.remote.values[name] = b"0"
            world.external_secret(name, data=[{"secretKey": "k", "remoteRef": {"key": name}}], refreshInterval="20s")
        wrong: list[Any] = []

        def check(verb: str, resource: Any, old: Any, new: Any) -> None:
            if resource.plural == "secrets" and new is not None and set(new.get("data") or {}) != {"k"}:
                wrong.append(new)

        world.cluster.on_commit(check)
        faulty = FaultyCluster(world.cluster, seed=seed, faults=Faults(
            latency=(0.001, 0.2), refused=0.05, lost_answer=0.05, conflict=0.05, throttled=0.03, server_error=0.03,
            unavailable=0.03, compacted=0.03, watch_cut=0.03, watch_end=0.02, watch_duplicate=0.05, watch_stall=0.05,
        ))  # fmt: skip
        async with world.controller(faulty, as_manager=lambda name: faulty, seed=seed):
            for round_ in range(10):
                await asyncio.sleep(37)
                for name in names[round_ % 3 :: 2]:
                    world.remote.values[name] = str(round_).encode()
                if round_ == 5 and world.found(SECRETS, ObjectKey("shop", names[0])) is not None:
                    await world.delete(SECRETS, ObjectKey("shop", names[0]))
            faulty.stop()
            await asyncio.sleep(500)
            assert wrong == []
            for name in names:
                key = ObjectKey("shop", name)
                assert world.data(key) == {"k": world.remote.values[name]}
                assert world.ready(key) == SYNCED
        assert sum(faulty.injected.values()) > 20

    told(story, seed)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(Forbidden("secrets is forbidden", status=403), id="forbidden"),
        pytest.param(Invalid(f'data[k]: Invalid value: "{MARKER}"', status=422), id="invalid-and-quoting-the-value"),
    ],
)
def test_a_write_that_is_refused_is_reported_without_the_value(error: Exception) -> None:
    class Refusing(Process):
        async def create(self, kind: Any, body: Any, *, namespace: str = "") -> Any:
            if kind == TARGETS:
                raise error
            return await super().create(kind, body, namespace=namespace)

    async def story(world: World) -> None:
        world.remote.values["db"] = MARKER.encode()
        world.store()
        world.external_secret()
        refusing = Refusing(world.cluster)
        writer: Cluster = refusing
        async with world.controller(refusing, as_manager=lambda name: writer):
            await asyncio.sleep(20)
            assert world.ready() == ("False", "SecretSyncedError", "could not update secret")
            assert "UpdateFailed" in world.notes.reasons()
            assert MARKER not in "".join(world.notes.texts())

    told(story)


# -- no value is ever shown -------------------------------------------------------------------------------------------


@pytest.fixture
def everything_said() -> Any:
    """All that is logged, at DEBUG, as text."""
    said = io.StringIO()
    handler = logging.StreamHandler(said)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(said),
        cache_logger_on_first_use=False,
    )
    yield said
    structlog.reset_defaults()
    root.removeHandler(handler)
    root.setLevel(level)


TROUBLES: dict[str, Callable[[Remote], None]] = {
    "none": lambda remote: None,
    "down": lambda remote: setattr(remote, "trouble", always(down)),
    "denied": lambda remote: setattr(remote, "trouble", always(lambda: Denied("403", provider="remote"))),
    "plug-in": lambda remote: setattr(remote, "trouble", always(lambda: KeyError(MARKER))),
    "login": lambda remote: setattr(remote, "login", lambda: RuntimeError(MARKER)),
    "no-json": lambda remote: remote.values.update(db=MARKER.encode() + b"{"),
}
TEMPLATES: dict[str, dict[str, Any]] = {
    "no-template": {},
    "fine": {"template": {"data": {"a": "{{ .password }}"}}},
    "missing-key": {"template": {"data": {"a": "{{ .password }}{{ .gone }}"}}},
    "parse": {"template": {"data": {"a": f"{MARKER}{{{{ if"}}},
    "fails": {"template": {"data": {"a": "{{ fail .password }}"}}},
    "atoi": {"template": {"data": {"a": "{{ .password | mustFromJson }}"}}},
    "date": {"template": {"data": {"a": '{{ mustToDate "2006" .password }}'}}},
    "yaml": {"template": {"templateFrom": [{"literal": "{{ .password }}: [x"}]}},
    "regex": {"template": {"data": {"a": '{{ mustRegexFind .password "x" }}'}}},
    "pem": {"template": {"data": {"a": "{{ .password | pkcs12key }}"}}},
    "type": {"template": {"type": "kubernetes.io/tls", "data": {"a": "{{ .password }}"}}},
    "key": {"template": {"templateFrom": [{"literal": '{{ printf "%s/x: y" .password }}'}]}},
}
SOURCES: dict[str, dict[str, Any]] = {
    "data": {},
    "property": {"data": [{"secretKey": "password", "remoteRef": {"key": "db", "property": "gone"}}]},
    "decode": {"data": [{"secretKey": "password", "remoteRef": {"key": "db", "decodingStrategy": "Base64"}}]},
    "null": {"data": [{"secretKey": "password", "remoteRef": {"key": "zero", "nullBytePolicy": "Fail"}}]},
    "extract": {"dataFrom": [{"extract": {"key": "map"}}]},
    "merge": {"dataFrom": [{"extract": {"key": "map"}, "rewrite": [{"merge": {}}]}]},
    "transform": {
        "dataFrom": [{"extract": {"key": "map"}, "rewrite": [{"transform": {"template": "{{ .value.x }}"}}]}]
    },
    "collide": {"dataFrom": [{"extract": {"key": "map"}, "rewrite": [{"regexp": {"source": ".*", "target": "k"}}]}]},
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("template", TEMPLATES)
def test_invariant_35_no_value_is_ever_shown(template: str, source: str, everything_said: io.StringIO) -> None:
    async def story(world: World) -> None:
        world.store()
        for name, trouble in TROUBLES.items():
            world.remote.trouble, world.remote.login = (lambda key: None), (lambda: None)
            world.remote.values.update(
                db=MARKER.encode(),
                zero=MARKER.encode() + b"\0",
                map=msgspec.json.encode({"password": MARKER, "other/key": f"{MARKER}-2"}),
            )
            trouble(world.remote)
            world.external_secret(name, target=TEMPLATES[template], **SOURCES[source])
            async with world.controller():
                await asyncio.sleep(4)
            await world.delete(EXTERNAL_SECRETS, ObjectKey("shop", name))
            async with world.controller():
                await asyncio.sleep(1)
        shown = everything_said.getvalue()
        assert "external_secret_reconciled" in shown
        assert MARKER not in shown
        assert MARKER not in repr(world.notes.events)
        for kind in (EXTERNAL_SECRETS, SECRET_STORES):
            for found in world.cluster.read_all(kind):
                assert MARKER not in str(found.get("status"))

    told(story)


def test_what_is_kept_in_memory_between_refreshes_holds_no_value() -> None:
    async def story(world: World) -> None:
        world.remote.values["db"] = MARKER.encode()
        world.store()
        world.external_secret(refreshInterval="1h")
        async with world.controller(settings=SecretSettings(aligned=False)) as reconciler:
            await asyncio.sleep(20)
            assert world.data() == {"password": MARKER.encode()}
            assert reconciler._live[KEY].outcome is None
            assert not reconciler._reader.is_under_way(KEY)
            assert world.planner is not None
            assert world.planner.kept == 0

    told(story)


def test_errors_of_stores_are_of_their_own_kind() -> None:
    assert issubclass(StoreUnavailable, Exception)
    assert str(down()) == "connection refused"

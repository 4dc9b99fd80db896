"""What is kept for the time when nothing can be reached: in a file, in Secrets, and after every kind of accident."""

from __future__ import annotations

import random
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from fairlead.agentsync import _offline_secrets
from fairlead.agentsync._offline_file import FileStore
from fairlead.agentsync._offline_secrets import SecretStore
from fairlead.agentsync.observation import Desired
from fairlead.agentsync.offline import OfflineError, OfflineStore, Shelf, decode_desired, encode_desired
from fairlead.agentsync.spec import Source
from fairlead.core.kinds import SECRETS
from fairlead.testing.clock import EPOCH, LoopClock
from fairlead.testing.cluster import SimulatedCluster
from fairlead.testing.faults import Killed, KillingCluster, When

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "agent"}}


def simulated() -> SimulatedCluster:
    cluster = SimulatedCluster(LoopClock(), crds=())
    cluster.apply([NAMESPACE])
    return cluster


@pytest_asyncio.fixture(params=["file", "secrets"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[OfflineStore]:
    made: OfflineStore = (
        FileStore(tmp_path / "state" / "offline.db")
        if request.param == "file"
        else SecretStore(simulated(), namespace="agent", owner="one")
    )
    yield made
    await made.close()


async def test_what_is_kept_is_read_again(store: OfflineStore) -> None:
    await store.keep(Shelf.DESIRED, "argocd/web", b"one")
    await store.keep(Shelf.DESIRED, "argocd/api", b"two")
    await store.keep(Shelf.REPORT, "argocd/web", b"three")
    assert await store.read(Shelf.DESIRED) == {"argocd/web": b"one", "argocd/api": b"two"}
    assert await store.read(Shelf.REPORT) == {"argocd/web": b"three"}
    assert await store.read(Shelf.PROJECT) == {}


async def test_the_newest_of_a_name_replaces_the_one_before(store: OfflineStore) -> None:
    for content in (b"one", b"two" * 100, b""):
        await store.keep(Shelf.REPORT, "argocd/web", content)
        assert await store.read(Shelf.REPORT) == {"argocd/web": content}


async def test_what_is_dropped_is_gone(store: OfflineStore) -> None:
    await store.keep(Shelf.REPORT, "argocd/web", b"one")
    await store.drop(Shelf.REPORT, "argocd/web")
    await store.drop(Shelf.REPORT, "argocd/never-there")
    assert await store.read(Shelf.REPORT) == {}


async def test_an_entry_that_is_too_large_is_refused_and_the_last_one_stays(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.keep(Shelf.DESIRED, "argocd/web", b"one")
    monkeypatch.setattr("fairlead.agentsync.offline.ENTRY_BYTES_MAX", 1000)
    with pytest.raises(OfflineError, match="argocd/web is not kept: 1001 bytes, at most 1000 are allowed"):
        await store.keep(Shelf.DESIRED, "argocd/web", b"x" * 1001)
    assert await store.read(Shelf.DESIRED) == {"argocd/web": b"one"}


# --- the file ---------------------------------------------------------------------------------------------------------


async def test_the_file_survives_its_process_and_is_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "offline.db"
    first = FileStore(path)
    await first.keep(Shelf.DESIRED, "argocd/web", b"one")  # never closed: the process died
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second = FileStore(path)
    assert await second.read(Shelf.DESIRED) == {"argocd/web": b"one"}
    await second.close()
    await first.close()


def _modes(folder: Path) -> set[int]:
    return {stat.S_IMODE(found.stat().st_mode) for found in folder.iterdir()}


async def test_a_file_that_anybody_could_read_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "offline.db"
    path.touch(0o644)
    store = FileStore(path)
    await store.keep(Shelf.DESIRED, "argocd/web", b"one")
    assert _modes(tmp_path) == {0o600}
    await store.close()


async def test_a_broken_file_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "offline.db"
    path.write_bytes(b"this is no database, but long enough to be taken for one" * 100)
    store = FileStore(path)
    assert await store.read(Shelf.DESIRED) == {}
    await store.keep(Shelf.DESIRED, "argocd/web", b"one")
    assert await store.read(Shelf.DESIRED) == {"argocd/web": b"one"}
    assert (tmp_path / "offline.db.broken").read_bytes().startswith(b"this is no database")
    await store.close()


async def test_the_file_does_not_grow_beyond_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "offline.db"
    store = FileStore(path, bytes_max=200_000)
    noise = random.Random(1)
    await store.keep(Shelf.DESIRED, "argocd/web", noise.randbytes(50_000))
    with pytest.raises(OfflineError, match="full"):
        await store.keep(Shelf.DESIRED, "argocd/large", noise.randbytes(400_000))
    assert list(await store.read(Shelf.DESIRED)) == ["argocd/web"]
    for _ in range(20):  # room that was given back is used again
        await store.keep(Shelf.DESIRED, "argocd/web", noise.randbytes(50_000))
    assert path.stat().st_size <= 200_000
    await store.close()


async def test_a_folder_that_cannot_be_made_is_an_error_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = FileStore(tmp_path / "file" / "offline.db")
    with pytest.raises(OfflineError, match=r"file/offline\.db"):
        await store.read(Shelf.DESIRED)
    await store.close()


# --- Secrets ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_offline_secrets, "CHUNK_BYTES", 100)


async def test_a_large_entry_is_spread_over_secrets_and_leaves_none_behind(small_chunks: None) -> None:
    cluster = simulated()
    store = SecretStore(cluster, namespace="agent", owner="one")
    noise = random.Random(1)
    for size in (950, 250, 950, 20):
        content = noise.randbytes(size)
        await store.keep(Shelf.DESIRED, "argocd/web", content)
        again = SecretStore(cluster, namespace="agent", owner="one")
        assert await again.read(Shelf.DESIRED) == {"argocd/web": content}
    assert len(cluster.read_all(SECRETS, "agent")) == 1
    await store.drop(Shelf.DESIRED, "argocd/web")
    assert cluster.read_all(SECRETS, "agent") == []


async def test_a_death_between_any_two_writes_leaves_the_old_or_the_new_entry(small_chunks: None) -> None:
    noise = random.Random(1)
    old, new = noise.randbytes(350), noise.randbytes(450)
    deaths = 0
    for at in range(1, 40):
        cluster = simulated()
        await SecretStore(cluster, namespace="agent", owner="one").keep(Shelf.DESIRED, "argocd/web", old)
        dying = SecretStore(KillingCluster(cluster, at=at, when=When.AFTER), namespace="agent", owner="one")
        await dying.read(Shelf.DESIRED)
        try:
            await dying.keep(Shelf.DESIRED, "argocd/web", new)
            break
        except Killed:
            deaths += 1
        found = await SecretStore(cluster, namespace="agent", owner="one").read(Shelf.DESIRED)
        assert found["argocd/web"] in (old, new)
    assert deaths > 5


async def test_agents_of_one_namespace_do_not_see_each_other() -> None:
    cluster = simulated()
    await SecretStore(cluster, namespace="agent", owner="one").keep(Shelf.DESIRED, "argocd/web", b"one")
    other = SecretStore(cluster, namespace="agent", owner="two")
    await other.keep(Shelf.DESIRED, "argocd/web", b"two")
    assert await other.read(Shelf.DESIRED) == {"argocd/web": b"two"}


async def test_a_chunk_that_somebody_changed_is_not_taken_for_the_entry() -> None:
    cluster = simulated()
    store = SecretStore(cluster, namespace="agent", owner="one")
    await store.keep(Shelf.DESIRED, "argocd/web", b"one")
    await store.keep(Shelf.DESIRED, "argocd/api", b"two")
    secret = cluster.read_all(SECRETS, "agent")[0]
    cluster.apply(
        [{**secret, "metadata": {"name": secret["metadata"]["name"]}, "data": {"content": "AAAA"}}], namespace="agent"
    )
    assert len(await store.read(Shelf.DESIRED)) == 1


# --- desired state ----------------------------------------------------------------------------------------------------

DESIRED = Desired(
    objects=({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "web"}, "data": {"a": "1"}},),
    revisions=("c0ffee",),
    sources=(Source(repo_url="https://git.example/web", path="deploy"),),
    source_types=("Directory",),
    warnings=("a file was skipped",),
    rendered_at=EPOCH,
)


def test_a_desired_state_reads_back_equal() -> None:
    assert decode_desired(encode_desired("uid-1", DESIRED), "uid-1") == DESIRED


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"uid": "uid-1"}', b"\xff\xfe", encode_desired("uid-2", DESIRED)]
)
def test_what_is_not_ours_or_not_understood_is_no_desired_state(content: bytes) -> None:
    assert decode_desired(content, "uid-1") is None

"""Blobs in batches: who waits for which program, and what is kept."""

from __future__ import annotations

import asyncio

import pytest

from fairlead.agentsync.sources import RepositoryError, SourceError, _blobs
from fairlead.agentsync.sources._blobs import Blobs, parse_batch
from fairlead.agentsync.sources.port import Entry, EntryKind


def entry(key: str, size: int = 1) -> Entry:
    return Entry(path=key, kind=EntryKind.FILE, size=size, key=key)


class Program:
    """`cat-file` over contents that are their keys."""

    def __init__(self) -> None:
        self.inputs: list[list[str]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None

    async def __call__(self, stdin: bytes, output_bytes: int) -> bytes:
        keys = stdin.decode().split()
        self.inputs.append(keys)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return b"".join(f"{key} blob {len(key)}\n{key}\n".encode() for key in keys if key != "none")


async def test_contents_come_in_the_order_asked_for_and_are_kept() -> None:
    program = Program()
    blobs = Blobs(program)
    assert await blobs.get([entry("b"), entry("a"), entry("b")]) == [b"b", b"a", b"b"]
    assert await blobs.get([entry("a")]) == [b"a"]
    assert program.inputs == [["b", "a"]]


async def test_who_asks_while_one_is_read_is_served_by_the_next() -> None:
    program = Program()
    program.gate.clear()
    blobs = Blobs(program)
    first = asyncio.ensure_future(blobs.get([entry("a")]))
    await asyncio.sleep(0.01)
    others = [asyncio.ensure_future(blobs.get([entry("a"), entry(f"k{n}")])) for n in range(50)]
    await asyncio.sleep(0.01)
    program.gate.set()
    assert await first == [b"a"]
    assert await asyncio.gather(*others) == [[b"a", f"k{n}".encode()] for n in range(50)]
    assert program.inputs == [["a"], [f"k{n}" for n in range(50)]]


async def test_a_batch_is_bounded_and_a_large_blob_goes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blobs, "BATCH_BYTES_MAX", 1000)
    program = Program()
    await Blobs(program).get([entry("a", 300), entry("b", 300), entry("c", 300), entry("d", 5000), entry("e", 1)])
    assert program.inputs == [["a", "b"], ["c"], ["d"], ["e"]]


async def test_a_failure_goes_to_those_who_waited_and_the_next_one_asks_anew() -> None:
    program = Program()
    blobs = Blobs(program)
    program.error = SourceError("slow")
    found = await asyncio.gather(*(blobs.get([entry("a")]) for _ in range(2)), return_exceptions=True)
    assert [str(each) for each in found] == ["slow", "slow"]
    program.error = None
    assert await blobs.get([entry("a")]) == [b"a"]


async def test_an_absent_blob_is_an_error() -> None:
    with pytest.raises(RepositoryError, match="git has no blob none"):
        await Blobs(Program()).get([entry("none")])


async def test_one_who_leaves_does_not_hurt_the_others() -> None:
    program = Program()
    program.gate.clear()
    blobs = Blobs(program)
    leaving, staying = (asyncio.ensure_future(blobs.get([entry("a")])) for _ in range(2))
    await asyncio.sleep(0.01)
    leaving.cancel()
    await asyncio.sleep(0.01)
    program.gate.set()
    assert await staying == [b"a"] and leaving.cancelled()


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_blobs, "KEPT_BYTES_MAX", 64)
    program = Program()
    blobs = Blobs(program)
    for n in range(40):
        await blobs.get([entry(f"key-{n:03}")])
    assert await blobs.get([entry("key-039")]) == [b"key-039"]
    assert len(program.inputs) == 40
    await blobs.get([entry("key-000")])
    assert len(program.inputs) == 41


@pytest.mark.parametrize("output", [b"", b"a missing\n", b"b blob 1\nb\n", b"a blob"])
def test_odd_output_is_an_error(output: bytes) -> None:
    with pytest.raises(RepositoryError, match="git has no blob a"):
        parse_batch(output, ["a"])

"""Chunks to lines, wherever the cuts are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fairlead.core.errors import Unavailable
from fairlead.kube._lines import LINE_BYTES_MAX, LineSplitter

TEXT = st.binary(max_size=200).map(lambda data: data.replace(b"\n", b".").strip())


@given(st.lists(TEXT, max_size=10), st.data())
def test_where_the_stream_is_cut_makes_no_difference(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    splitter = LineSplitter()
    seen: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        seen += splitter.feed(stream[:size])
        stream = stream[size:]
    assert seen == [line for line in lines if line]
    assert splitter.rest() == b""


def test_the_rest_is_what_has_not_ended() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b'{"a":1}\r\n\n  \n{"b"') == [b'{"a":1}']
    assert splitter.rest() == b'{"b"'


def test_three_megabytes_pass() -> None:
    splitter = LineSplitter()
    chunk = b"x" * 65536
    for _ in range(48):
        assert splitter.feed(chunk) == []
    assert len(splitter.feed(b"\n")[0]) == 48 * 65536


@pytest.mark.parametrize(
    "chunks", [pytest.param([b"12345678901\n"], id="in-one"), pytest.param([b"123456", b"78901"], id="without-an-end")]
)
def test_a_line_without_end_is_refused(chunks: list[bytes]) -> None:
    splitter = LineSplitter(most=10)
    assert splitter.feed(b"1234567890\n1234567890\n") == [b"1234567890"] * 2
    with pytest.raises(Unavailable, match="more than 10 bytes"):
        for chunk in chunks:
            splitter.feed(chunk)


def test_the_limit_is_ten_times_what_etcd_stores() -> None:
    assert LINE_BYTES_MAX == 16 * 2**20

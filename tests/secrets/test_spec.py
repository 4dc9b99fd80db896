"""Specs: read as their users wrote them, defaults applied when asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from fairlead.core.errors import SpecError
from fairlead.secrets.spec import CreationPolicy, DeletionPolicy, RefreshPolicy, decode_spec, decode_store_spec

VALUE = {"secretKey": "a", "remoteRef": {"key": "k"}}


def spec(**fields: Any) -> Any:
    return decode_spec(msgspec.json.encode(fields))


def test_defaults() -> None:
    found = spec(data=[VALUE])
    assert (found.target.creation, found.target.deletion) == (CreationPolicy.OWNER, DeletionPolicy.RETAIN)
    assert (found.refresh, found.interval) == (RefreshPolicy.PERIODIC, timedelta(hours=1))
    assert found.target.template is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1h0m0s", 3600),
        ("15s", 15),
        ("0", 0),
        ("0s", 0),
        ("-5s", -5),
        pytest.param("1ns", 1, id="hardly-anything-is-a-second"),
        pytest.param("500ms", 1, id="less-than-a-second-is-a-second"),
    ],
)
def test_intervals(text: str, seconds: int) -> None:
    assert spec(refreshInterval=text).interval == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["1d", "", "soon", "5", "9999999999h"])
def test_what_is_no_interval(text: str) -> None:
    with pytest.raises(SpecError, match=r"spec\.refreshInterval"):
        _ = spec(refreshInterval=text).interval


def test_null_stands_for_absent_and_unknown_fields_do_no_harm() -> None:
    data = b'[{"secretKey":"a","remoteRef":{"key":"k","version":null}}]'
    assert decode_spec(b'{"target":null,"refreshInterval":null,"x":1,"data":' + data + b"}") == spec(data=[VALUE])


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        pytest.param(b'{"data":7}', "spec.data", id="type"),
        pytest.param(b'{"data":[{"secretKey":"a/b","remoteRef":{"key":"k"}}]}', "spec.data[0].secretKey", id="key"),
        pytest.param(b'{"data":[{"secretKey":"a"}]}', "spec.data[0].remoteRef", id="required"),
        pytest.param(b'{"target":{"creationPolicy":"Mine"}}', "spec.target.creationPolicy", id="word"),
        pytest.param(b'{"secretStoreRef":{"name":"A"}}', "spec.secretStoreRef.name", id="name"),
        pytest.param(b'{"dataFrom":[{"extract":{}}]}', "spec.dataFrom[0].extract.key", id="no-remote-key"),
        pytest.param(b"[" * 10_000, "spec", id="depth"),
        pytest.param(b"{", "spec", id="no-json"),
    ],
)
def test_what_is_wrong_is_named(raw: bytes, path: str) -> None:
    with pytest.raises(SpecError) as caught:
        decode_spec(raw)
    assert caught.value.path == path


def test_a_template_of_nothing_is_no_absent_template() -> None:
    assert spec(target={"template": {}}).target.template is not None


def test_the_block_of_a_provider_stays_as_it_is() -> None:
    raw = b'{"provider":{"fake":{"data":[{"key":"a","value":null}], "x": 1.0}},"conditions":null}'
    found = decode_store_spec(raw)
    assert bytes(found.provider["fake"]) == b'{"data":[{"key":"a","value":null}], "x": 1.0}'
    assert found.conditions == ()


@pytest.mark.parametrize(("given", "seconds"), [(None, None), (0, None), ("0", None), (90, 90), ("2m", 120)], ids=str)
def test_how_often_a_store_is_validated(given: int | str | None, seconds: int | None) -> None:
    raw = msgspec.json.encode({"provider": {"fake": {}}, "refreshInterval": given})
    expected = timedelta(seconds=seconds) if seconds is not None else None
    assert decode_store_spec(raw).revalidate_after == expected

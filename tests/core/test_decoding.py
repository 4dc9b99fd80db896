"""User-written JSON to typed values: what is tolerated, and how the rest is told."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import pytest

from fairlead.core.decoding import Decoder, Int32, Int64, Wire, doc
from fairlead.core.errors import SpecError


class Inner(Wire, frozen=True, kw_only=True):
    name: str
    sizes: tuple[Int32, ...] = ()
    labels: dict[str, str] = msgspec.field(default_factory=dict)


class Outer(Wire, frozen=True, kw_only=True):
    count: Annotated[Int32 | None, doc("How many.")] = None
    total: Int64 = 0
    inner: Inner | None = None
    free_form: dict[str, Any] = msgspec.field(default_factory=dict)
    raw: msgspec.Raw = msgspec.Raw(b"{}")
    limit: int | str | None = None


DECODER = Decoder(Outer, root="spec", opaque=("freeForm", "raw"))


def test_null_is_absent_but_in_what_is_opaque() -> None:
    text = b'{"count": null, "inner": {"name": "a", "sizes": null}, "freeForm": {"x": null}, "raw": {"y" :null}}'
    value = DECODER.decode(text)
    assert value.count is None
    assert value.inner == Inner(name="a")
    assert value.free_form == {"x": None}
    assert bytes(value.raw) == b'{"y" :null}'


def test_absent_fields_are_not_written() -> None:
    assert msgspec.json.encode(DECODER.decode(b'{"count": 0}')) == b'{"count":0}'


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"count": "x"}', 'spec.count: Invalid value: "x": expected int, found str'),
        (b'{"count": true}', "spec.count: Invalid value: true: expected int, found bool"),
        (b'{"count": 4294967296}', "spec.count: Invalid value: 4294967296: expected int <= 2147483647"),
        (b'{"total": -9223372036854775809}', "spec.total: Invalid value: -9223372036854775809: expected int >="),
        (b'{"inner": {}}', "spec.inner.name: Required value"),
        (b'{"inner": {"name": null}}', "spec.inner.name: Required value"),
        (b'{"inner": {"name": "a", "sizes": [1, "b"]}}', 'spec.inner.sizes[1]: Invalid value: "b": expected int'),
        (
            b'{"inner": {"name": "a", "labels": {"ok": "1", "bad": 2}}}',
            "spec.inner.labels.bad: Invalid value: 2: expected str, found int",
        ),
        (b'{"limit": []}', "spec.limit: Invalid value: []: expected int | str, found array"),
        (b'{"freeForm": "null"}', 'spec.freeForm: Invalid value: "null": expected object, found str'),
        (b"null", "spec: Invalid value: null: expected object, found null"),
        (b"", "spec: not valid JSON"),
        (b'{"count": 1}}', "spec: not valid JSON"),
        (b'{"freeForm": {"a": ' + b"[" * 100_000, "spec: nested too deeply"),
        (b'{"count": null, "freeForm": {"a": ' + b"[" * 100_000, "spec: nested too deeply"),
    ],
    ids=[
        "type",
        "bool-is-no-number",
        "32-bits",
        "64-bits",
        "required",
        "required-null",
        "list",
        "mapping",
        "union",
        "text-that-says-null",
        "null",
        "empty",
        "trailing",
        "deep",
        "deep-with-null",
    ],
)
def test_errors_name_place_found_and_expected(raw: bytes, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        DECODER.decode(raw)
    assert str(caught.value).startswith(message)

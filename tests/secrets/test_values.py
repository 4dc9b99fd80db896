"""Secret values hide themselves wherever Python would print, copy or encode them."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import pytest

from fairlead.secrets.values import SecretBytes

MARKER = "m4rker-of-a-value"
VALUE = SecretBytes(MARKER.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Holder:
    value: SecretBytes


@pytest.mark.parametrize(
    "show",
    [
        pytest.param(repr, id="repr"),
        pytest.param(str, id="str"),
        pytest.param(lambda value: f"{value}", id="format"),
        pytest.param(lambda value: f"{value!r:>60}", id="format-with-a-width"),
        pytest.param(lambda value: "%s %r" % (value, value), id="percent"),  # noqa: UP031 - how logging formats
        pytest.param(lambda value: repr({"k": [value]}), id="inside-containers"),
        pytest.param(lambda value: repr(_Holder(value=value)), id="inside-a-dataclass"),
        pytest.param(lambda value: str(ValueError(value)), id="inside-an-error"),
    ],
)
def test_a_value_shows_a_placeholder_only(show: Callable[[SecretBytes], str]) -> None:
    shown = show(VALUE)
    assert MARKER not in shown
    assert "***" in shown


def test_length_does_not_show() -> None:
    assert repr(SecretBytes(b"")) == repr(VALUE)


@pytest.mark.parametrize(
    "leave",
    [
        pytest.param(pickle.dumps, id="pickle"),
        pytest.param(copy.deepcopy, id="deepcopy"),
        pytest.param(json.dumps, id="json"),
        pytest.param(msgspec.json.encode, id="msgspec"),
        pytest.param(hash, id="hash"),
        pytest.param(bytes, id="bytes"),
    ],
)
def test_a_value_cannot_be_taken_out_but_by_reveal(leave: Callable[[SecretBytes], object]) -> None:
    with pytest.raises(TypeError) as caught:
        leave(VALUE)
    assert MARKER not in "".join(traceback.format_exception(caught.value))


def test_logging_at_debug_shows_the_placeholder(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("fairlead").debug("read %s", VALUE)
    assert caplog.messages == ["read SecretBytes(***)"]


def test_equal_bytes_are_equal_values() -> None:
    assert SecretBytes(b"a") == SecretBytes(b"a")
    assert SecretBytes(b"a") != SecretBytes(b"b")
    assert SecretBytes(b"a") != b"a"


def test_text_becomes_utf8_and_a_lone_surrogate_does_not_fail() -> None:
    assert SecretBytes.of_text("é").reveal() == b"\xc3\xa9"
    assert SecretBytes.of_text("a\ud800").reveal().decode() == "a\ufffd"

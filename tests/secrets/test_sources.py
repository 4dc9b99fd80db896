"""From sources to questions, and from answers to values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from fairlead.core.errors import ProviderError, SpecError
from fairlead.secrets._questions import Search, StoreName
from fairlead.secrets._sources import Reading, SourceError, Values, assemble, is_costly, sources, store_names
from fairlead.secrets.spec import ExternalSecretSpec, MetadataPolicy, StoreKind, decode_spec
from fairlead.secrets.stores.port import NoSecret, RemoteRef, StoreUnavailable, Throttled
from fairlead.secrets.values import SecretBytes
from tests.secrets.builders import hidden

MARKER = "m4rker"


@dataclass(frozen=True)
class Doc:
    """A document: its whole, its properties, its entries."""

    whole: bytes = b"whole"
    parts: Mapping[str, bytes] | None = None

    def value(self, property: str = "") -> SecretBytes:  # noqa: A002
        if not property:
            return SecretBytes(self.whole)
        if self.parts is None or property not in self.parts:
            raise ProviderError(f"no property {property}", provider="fake")
        return SecretBytes(self.parts[property])

    def entries(self, property: str = "") -> dict[str, SecretBytes]:  # noqa: A002
        return hidden(self.parts or {})


def spec(**fields: Any) -> ExternalSecretSpec:
    return decode_spec(msgspec.json.encode({"secretStoreRef": {"name": "store"}, **fields}))


def value(key: str, remote: str = "k", **ref: Any) -> dict[str, Any]:
    return {"secretKey": key, "remoteRef": {"key": remote, **ref}}


def extract(remote: str = "k", **fields: Any) -> dict[str, Any]:
    ref = {name: fields.pop(name) for name in tuple(fields) if name not in ("rewrite", "sourceRef")}
    return {"extract": {"key": remote, **ref}, **fields}


def assembled(found: ExternalSecretSpec, *readings: Reading, **options: Any) -> dict[str, bytes]:
    got = assemble(found, sources(found), readings, **options)
    return {key: value.reveal() for key, value in got.values.items()}


STORE = StoreName(StoreKind.NAMESPACED, "store")
OTHER = StoreName(StoreKind.CLUSTER, "other")
OTHER_REF = {"sourceRef": {"storeRef": {"name": "other", "kind": "ClusterSecretStore"}}}


# -- questions -------------------------------------------------------------------------------------------------------


def test_questions_in_order_of_precedence() -> None:
    found = spec(
        data=[value("a", "x", version="2", property="p", metadataPolicy="Fetch")],
        dataFrom=[extract("y"), {"find": {"path": "/p", "name": {"regexp": "^a"}, "tags": {"b": "2", "a": "1"}}}],
    )
    asked = sources(found)
    assert [source.where for source in asked] == ["spec.dataFrom[0]", "spec.dataFrom[1]", "spec.data[0]"]
    assert [source.question for source in asked] == [
        RemoteRef(key="y"),
        Search("/p", "^a", (("a", "1"), ("b", "2"))),
        RemoteRef(key="x", version="2", metadata_policy=MetadataPolicy.FETCH),
    ]


def test_properties_play_no_part_in_what_is_asked() -> None:
    asked = sources(spec(data=[value("a", property="p"), value("b", property="q")]))
    assert asked[0].question == asked[1].question


def test_stores_that_are_read() -> None:
    assert store_names(spec(data=[value("a")], dataFrom=[{**extract(), **OTHER_REF}])) == (OTHER, STORE)
    assert store_names(spec(data=[{**value("a"), **OTHER_REF}])) == (OTHER,), "the general one is not asked"
    assert store_names(spec(data=[value("a"), value("b")])) == (STORE,)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        pytest.param({"data": [value("a")], "secretStoreRef": {}}, "no store is named", id="no-store"),
        pytest.param({"dataFrom": [{}]}, "one of extract and find", id="nothing"),
        pytest.param(
            {"dataFrom": [{"sourceRef": {"generatorRef": {"kind": "Password", "name": "p"}}}]},
            "generators are not served: Password",
            id="generator",
        ),
        pytest.param(
            {"data": [{**value("a"), "sourceRef": {"generatorRef": {"kind": "Password", "name": "p"}}}]},
            "cannot come from a generator",
            id="generator-for-one-value",
        ),
    ],
)
def test_sources_that_cannot_be_asked(fields: dict[str, Any], detail: str) -> None:
    with pytest.raises(SpecError, match=detail):
        sources(spec(**fields))


# -- values ----------------------------------------------------------------------------------------------------------


def test_later_sources_win() -> None:
    found = spec(dataFrom=[extract(), extract()], data=[value("c")])
    one, two = Doc(parts={"a": b"1", "b": b"1", "c": b"1"}), Doc(parts={"b": b"2"})
    assert assembled(found, one, two, Doc()) == {"a": b"1", "b": b"2", "c": b"whole"}


def test_trap_10_keys_are_converted_only_without_rewrites_and_never_in_data() -> None:
    slashed = Doc(parts={"a/b": b"1"})
    assert assembled(spec(dataFrom=[extract()]), slashed) == {"a_b": b"1"}
    unicode_keys = spec(dataFrom=[extract(conversionStrategy="Unicode")])
    assert assembled(unicode_keys, slashed) == {"a_U002f_b": b"1"}
    rewrite = [{"regexp": {"source": "^", "target": "x-"}}]
    with pytest.raises(SourceError, match="invalid character '/'"):
        assembled(spec(dataFrom=[extract(rewrite=rewrite)]), slashed)
    assert assembled(spec(data=[value("a.b")]), Doc()) == {"a.b": b"whole"}


def test_trap_11_found_names_are_converted_before_rewrites_where_the_provider_does_so() -> None:
    found = spec(dataFrom=[{"find": {}, "rewrite": [{"regexp": {"source": "^team/", "target": ""}}]}])
    names = hidden({"team/db": b"1"})
    assert assembled(found, names) == {"db": b"1"}
    assert assembled(found, names, converts_found={STORE: True}) == {"team_db": b"1"}
    assert assembled(spec(dataFrom=[{"find": {}}]), names, converts_found={STORE: True}) == {"team_db": b"1"}


@pytest.mark.parametrize("strategy", [None, "None", "Base64", "Auto"])
def test_values_are_decoded(strategy: str | None) -> None:
    raw, decoded = b"aGVsbG8=", b"hello" if strategy in ("Base64", "Auto") else b"aGVsbG8="
    options = {"decodingStrategy": strategy} if strategy else {}
    assert assembled(spec(data=[value("a", **options)]), Doc(whole=raw)) == {"a": decoded}
    assert assembled(spec(dataFrom=[extract(**options)]), Doc(parts={"a": raw})) == {"a": decoded}
    assert assembled(spec(dataFrom=[{"find": options}]), hidden({"a": raw})) == {"a": decoded}


@pytest.mark.parametrize(
    ("fields", "reading"),
    [
        pytest.param({"data": [value("a", nullBytePolicy="Fail")]}, Doc(whole=b"x\0"), id="data"),
        pytest.param({"dataFrom": [extract(nullBytePolicy="Fail")]}, Doc(parts={"a": b"\0"}), id="extract"),
        pytest.param({"dataFrom": [{"find": {"nullBytePolicy": "Fail"}}]}, hidden({"a": b"\0"}), id="find"),
    ],
)
def test_null_bytes(fields: dict[str, Any], reading: Reading) -> None:
    with pytest.raises(SourceError, match="'a' holds a null byte"):
        assembled(spec(**fields), reading)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        pytest.param("", {}, id="empty-is-dropped"),
        pytest.param("é.ü-_9", {"é.ü-_9": b"1"}, id="letters-of-any-script"),
        pytest.param("x" * 253, {"x" * 253: b"1"}, id="longest"),
        pytest.param("x" * 254, None, id="too-long"),
        pytest.param("a b", None, id="space"),
        pytest.param("a\u0301", None, id="combining-mark"),
    ],
)
def test_keys(key: str, expected: dict[str, bytes] | None) -> None:
    found = spec(dataFrom=[extract(rewrite=[{}])])
    if expected is not None:
        assert assembled(found, Doc(parts={key: b"1"})) == expected
        return
    with pytest.raises(SourceError, match=r"max is 253|invalid character"):
        assembled(found, Doc(parts={key: b"1"}))


# -- failures --------------------------------------------------------------------------------------------------------

GONE = NoSecret(provider="fake")


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        pytest.param(
            {"data": [value("x"), value("a", "team/db")]},
            "secret does not exist at provider using spec.dataFrom[1] (key=team/db)",
            id="data-is-worded-as-data-from",
        ),
        pytest.param(
            {"data": [value("x")], "dataFrom": [extract()]},
            "secret does not exist at provider using spec.dataFrom[0]",
            id="extract",
        ),
    ],
)
@pytest.mark.parametrize("policy", ["Delete", "Merge"])
def test_a_missing_secret_is_skipped_where_the_policy_acts_on_it(
    fields: dict[str, Any], text: str, policy: str
) -> None:
    found = spec(**fields, target={"deletionPolicy": policy})
    readings: list[Reading] = [GONE if source.where in ("spec.data[1]", "spec.dataFrom[0]") else Doc()
                               for source in sources(found)]  # fmt: skip
    got = assemble(found, sources(found), readings)
    assert got == Values(values=hidden({"x": b"whole"}), missing=(text,))


def test_under_retain_it_is_an_error_like_any_other() -> None:
    with pytest.raises(SourceError, match=r"spec\.data\[0\] \(key: k\): "):
        assembled(spec(data=[value("a")]), GONE)


def test_trap_9_a_missing_property_is_no_missing_secret() -> None:
    found = spec(data=[value("a", property="gone")], target={"deletionPolicy": "Delete"})
    with pytest.raises(SourceError, match="no property gone"):
        assembled(found, Doc(parts={}))


@pytest.mark.parametrize(
    ("error", "seconds"),
    [
        (Throttled("429", provider="fake", retry_after=7), 7),
        (StoreUnavailable("503", provider="fake", retry_after=9), 9),
        (StoreUnavailable("503", provider="fake"), None),
        (ProviderError("odd", provider="fake"), None),
    ],
)
def test_invariant_36_the_first_error_is_that_of_the_whole(error: ProviderError, seconds: float | None) -> None:
    found = spec(data=[value("a"), value("b")], target={"deletionPolicy": "Delete"})
    with pytest.raises(SourceError) as caught:
        assembled(found, Doc(), error)
    assert caught.value.retry_after == seconds
    assert str(caught.value) == f"spec.data[1] (key: k): {error}"


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"data": [value("a", decodingStrategy="Base64")]}, id="decoding"),
        pytest.param({"dataFrom": [extract(rewrite=[{"merge": {}}])]}, id="merge"),
        pytest.param({"dataFrom": [extract(rewrite=[{"transform": {"template": "{{ .x.y }}"}}])]}, id="transform"),
    ],
)
def test_errors_hold_no_value(fields: dict[str, Any]) -> None:
    with pytest.raises(SourceError) as caught:
        assembled(spec(**fields), Doc(whole=MARKER.encode(), parts={"a": MARKER.encode()}))
    assert MARKER not in str(caught.value)


def test_what_may_take_a_while() -> None:
    assert not is_costly(spec(dataFrom=[extract()]))
    assert is_costly(spec(dataFrom=[extract(rewrite=[{"merge": {}}])]))

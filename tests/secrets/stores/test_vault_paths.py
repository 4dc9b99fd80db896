"""Where keys lie in Vault."""

from __future__ import annotations

import pytest

from fairlead.core.errors import ProviderError
from fairlead.secrets.stores.vault.paths import data_path, in_url, list_path, metadata_path


@pytest.mark.parametrize(
    ("mount", "version", "key", "expected"),
    [
        ("secret/path", "v2", "test", "secret/path/data/test"),
        ("secret/path", "v2", "secret/path/test", "secret/path/data/test"),
        ("secret/path", "v2", "secret/path/data/test", "secret/path/data/test"),
        ("secret", "v2", "data/foo", "secret/data/data/foo"),
        ("secret", "v2", "secret/secret/foo", "secret/data/secret/foo"),
        ("secret", "v2", "secret/foo", "secret/data/foo"),
        ("", "v2", "secret/test/big/path", "secret/data/test/big/path"),
        ("", "v2", "secret/a/data/b/data/c", "secret/a/data/b/data/c"),
        ("", "v1", "secret/test", "secret/test"),
        ("secret/path", "v1", "test", "secret/path/test"),
        ("secret/path", "v1", "secret/path/test", "secret/path/test"),
        ("secret", "v1", "data/foo", "secret/data/foo"),
        ("secret", "v2", "/foo", "secret/data//foo"),
    ],
)
def test_data_path(mount: str, version: str, key: str, expected: str) -> None:
    assert data_path(key, mount=mount, is_v2=version == "v2") == expected


@pytest.mark.parametrize(
    ("mount", "key", "expected"),
    [
        ("secret", "app/db", "secret/metadata/app/db"),
        ("secret", "secret/app/db", "secret/metadata/app/db"),  # trap 29: upstream looks at secret/metadata/secret/…
        ("secret", "secret/data/app/db", "secret/metadata/app/db"),
        ("", "secret/data/app/db", "secret/metadata/app/db"),
    ],
)
def test_metadata_is_found_where_the_data_is(mount: str, key: str, expected: str) -> None:
    assert metadata_path(key, mount=mount, is_v2=True) == expected


def test_a_folder_named_like_the_mount_can_be_listed() -> None:
    assert list_path("secret/", mount="secret", is_v2=True) == "secret/metadata/secret/"


@pytest.mark.parametrize(("key", "is_v2"), [("secret/app", True), ("app", False)], ids=["v2", "v1"])
def test_without_a_mount_the_key_must_tell_where_metadata_lies(key: str, is_v2: bool) -> None:
    with pytest.raises(ProviderError, match="kv"):
        metadata_path(key, mount="", is_v2=is_v2)


@pytest.mark.parametrize("path", ["secret/data/../../sys/mounts", "..", "secret/./a"])
def test_no_key_leaves_its_mount(path: str) -> None:
    with pytest.raises(ProviderError, match="segments"):
        in_url(path)


def test_a_key_is_never_read_as_a_query() -> None:
    assert in_url("secret/data/a?b#c d/é") == "secret/data/a%3Fb%23c%20d/%C3%A9"

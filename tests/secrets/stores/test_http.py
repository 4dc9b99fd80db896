"""Whom a store trusts, and who it is."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from fairlead.secrets.stores._http import tls_context


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """Return a certificate and its key."""
    folder: Path = tmp_path_factory.mktemp("pair")
    certificate, key = folder / "tls.crt", folder / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test",
         "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return certificate.read_bytes(), key.read_bytes()


def test_only_the_given_bundle_is_trusted(pair: tuple[bytes, bytes]) -> None:
    (found,) = tls_context(pair[0]).get_ca_certs()
    assert found["subject"] == ((("commonName", "test"),),)


def test_verification_is_on() -> None:
    context = tls_context()
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_pair_is_loaded_without_a_trace_on_disk(pair: tuple[bytes, bytes]) -> None:
    tls_context(pair[0], *pair)


@pytest.mark.parametrize("swap", [True, False], ids=["no-key", "broken-key"])
def test_a_pair_that_is_none_is_an_error_that_quotes_nothing(pair: tuple[bytes, bytes], swap: bool) -> None:
    key = b"" if swap else b"-----BEGIN PRIVATE KEY-----\nm4rker\n-----END PRIVATE KEY-----\n"
    with pytest.raises(ValueError, match="do not form a pair") as caught:
        tls_context(b"", pair[0], key)
    assert "m4rker" not in str(caught.value)


def test_an_encrypted_key_asks_nobody(pair: tuple[bytes, bytes]) -> None:
    locked = subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:x"], input=pair[1], check=True, capture_output=True
    ).stdout
    with pytest.raises(ValueError, match="do not form a pair"):
        tls_context(b"", pair[0], locked)


@pytest.mark.parametrize(
    "bundle", [b"m4rker", b"-----BEGIN CERTIFICATE-----\nm4rker\n-----END CERTIFICATE-----", b"\xff"]
)
def test_a_bundle_that_is_none_is_an_error_that_quotes_nothing(bundle: bytes) -> None:
    with pytest.raises(ValueError, match="no certificate") as caught:
        tls_context(bundle)
    assert "m4rker" not in str(caught.value)

"""Certificates, key stores and keys in templates: what is written can be read again, and what cannot is told."""

from __future__ import annotations

import base64
import builtins
import ipaddress
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    pkcs12,
)
from cryptography.x509.oid import NameOID

from fairlead.secrets._templates import TemplateRunError, render

NOW = datetime(2026, 8, 1, tzinfo=UTC)
RSA_KEY = rsa.generate_private_key(65537, 2048)


def result(template: str, values: Mapping[str, bytes] | None = None) -> bytes:
    return render(template, values or {}, NOW)


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def issued(
    subject: str, key: Any, issuer: str, signer: Any, names: list[x509.GeneralName] | None = None
) -> x509.Certificate:
    """Return a certificate with identifiers of its own key and of its signer's."""
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(signer, hashes.SHA256())


ROOT_KEY, MIDDLE_KEY, LEAF_KEY = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
ROOT = issued("root", ROOT_KEY, "root", ROOT_KEY)
MIDDLE = issued("middle", MIDDLE_KEY, "root", ROOT_KEY)
LEAF = issued(
    "leaf",
    LEAF_KEY,
    "middle",
    MIDDLE_KEY,
    [
        x509.UniformResourceIdentifier("spiffe://a/b"),
        x509.DNSName("b.example.com"),
        x509.RFC822Name("x@example.com"),
        x509.DNSName("a.example.com"),
        x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
    ],
)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def pkcs8(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


# PEM


@pytest.mark.parametrize(
    ("which", "text", "expected"),
    [
        pytest.param("CERTIFICATE", pem(LEAF) + pkcs8(LEAF_KEY), pem(LEAF), id="one-of-two"),
        pytest.param("private key", pem(LEAF) + pkcs8(LEAF_KEY), pkcs8(LEAF_KEY), id="case-does-not-matter"),
        pytest.param("CERTIFICATE", b"# a comment\n" + pem(LEAF, ROOT), pem(LEAF, ROOT), id="text-in-front"),
        pytest.param("CERTIFICATE", pkcs8(LEAF_KEY), b"", id="none-of-that-kind"),
        pytest.param("CERTIFICATE", pem(LEAF) + b"junk behind", pem(LEAF), id="junk-behind"),
        pytest.param("CERTIFICATE", pem(LEAF).replace(b"\n", b"\r\n"), pem(LEAF), id="carriage-returns"),
        pytest.param(
            "X", b"-----BEGIN X-----\nB: 2\nProc-Type: 4\nA: 1\n\nAAAA\n-----END X-----\n",
            b"-----BEGIN X-----\nProc-Type: 4\nA: 1\nB: 2\n\nAAAA\n-----END X-----\n", id="headers",
        ),
        pytest.param(
            "X", b"-----BEGIN Y-----\nAAAA\n-----BEGIN X-----\nAAAA\n-----END X-----\n",
            b"-----BEGIN X-----\nAAAA\n-----END X-----\n", id="an-end-is-missing",
        ),
        pytest.param("X", b"", b"", id="nothing"),
    ],
)  # fmt: skip
def test_filter_pem(which: str, text: bytes, expected: bytes) -> None:
    assert result(f'{{{{ .v | filterPEM "{which}" }}}}', {"v": text}) == expected


@pytest.mark.parametrize("text", [b"junk", pkcs8(LEAF_KEY) + b"junk", b"-----BEGIN X-----\n!\n-----END X-----\n"])
def test_filter_pem_refuses_junk(text: bytes) -> None:
    with pytest.raises(TemplateRunError, match="error filtering pem: found junk"):
        result('{{ .v | filterPEM "CERTIFICATE" }}', {"v": text})


@pytest.mark.parametrize("chain", [(LEAF, MIDDLE, ROOT), (ROOT, LEAF, MIDDLE), (MIDDLE, ROOT, LEAF)])
@pytest.mark.parametrize(
    ("which", "expected"),
    [("leaf", pem(LEAF)), ("intermediate", pem(MIDDLE)), ("root", pem(ROOT)), ("other", b"")],
)
def test_filter_cert_chain(chain: tuple[x509.Certificate, ...], which: str, expected: bytes) -> None:
    assert result(f'{{{{ .v | filterCertChain "{which}" }}}}', {"v": pem(*chain)}) == expected


@pytest.mark.parametrize(
    ("which", "chain", "expected"),
    [
        pytest.param("leaf", (ROOT,), b"", id="a-self-signed-one-is-no-leaf"),
        pytest.param("root", (LEAF, MIDDLE), b"", id="no-root"),
        pytest.param("intermediate", (LEAF,), b"", id="no-intermediate"),
    ],
)
def test_parts_that_are_not_there(which: str, chain: tuple[x509.Certificate, ...], expected: bytes) -> None:
    assert result(f'{{{{ .v | filterCertChain "{which}" }}}}', {"v": pem(*chain)}) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(pem(LEAF, ROOT), "multiple leaf or disjunct certificates", id="gap"),
        pytest.param(b"", "no leaf certificate found", id="nothing"),
        pytest.param(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read", id="broken"),
    ],
)
def test_chains_that_are_none(text: bytes, message: str) -> None:
    with pytest.raises(TemplateRunError, match=message):
        result('{{ .v | filterCertChain "leaf" }}', {"v": text})


def test_cert_sans() -> None:
    expected = b"[b.example.com a.example.com 10.0.0.1 x@example.com spiffe://a/b]"
    assert result("{{ .v | certSANs }}", {"v": pem(LEAF, ROOT)}) == expected
    assert result("{{ .v | certSANs | len }}", {"v": pem(ROOT)}) == b"0"


# PKCS#12


@pytest.mark.parametrize("password", ["", "hunter2"])
@pytest.mark.parametrize("key", [LEAF_KEY, RSA_KEY, ed25519.Ed25519PrivateKey.generate()], ids=["ec", "rsa", "ed25519"])
def test_a_store_is_read(password: str, key: Any) -> None:
    encryption = BestAvailableEncryption(password.encode()) if password else NoEncryption()
    certificate = issued("own", key, "own", ROOT_KEY)
    store = pkcs12.serialize_key_and_certificates(b"x", key, certificate, None, encryption)
    values = {"v": base64.b64encode(store), "p": password.encode()}
    assert result("{{ .v | b64dec | pkcs12keyPass .p }}", values) == pkcs8(key)
    assert result("{{ .v | b64dec | pkcs12certPass .p }}", values) == pem(certificate)
    if not password:
        assert result("{{ .v | b64dec | pkcs12key }}", values) == pkcs8(key)
        assert result("{{ .v | b64dec | pkcs12cert }}", values) == pem(certificate)


def test_certificates_of_a_store_come_in_order() -> None:
    store = pkcs12.serialize_key_and_certificates(b"x", LEAF_KEY, LEAF, [ROOT, MIDDLE], NoEncryption())
    assert result("{{ .v | pkcs12cert }}", {"v": store}) == pem(LEAF, MIDDLE, ROOT)


def test_certificates_that_are_no_chain_come_as_they_are_stored() -> None:
    other = issued("other", RSA_KEY, "elsewhere", RSA_KEY)
    store = pkcs12.serialize_key_and_certificates(b"x", LEAF_KEY, LEAF, [other], NoEncryption())
    assert result("{{ .v | pkcs12cert }}", {"v": store}) == pem(LEAF, other)


@pytest.mark.parametrize("function", ["pkcs12key", "pkcs12cert", 'pkcs12keyPass "wrong"', 'pkcs12certPass "wrong"'])
def test_a_store_that_cannot_be_opened(function: str) -> None:
    store = pkcs12.serialize_key_and_certificates(b"x", LEAF_KEY, LEAF, None, BestAvailableEncryption(b"right"))
    with pytest.raises(TemplateRunError, match="unable to decode"):
        result(f"{{{{ .v | {function} }}}}", {"v": store})
    with pytest.raises(TemplateRunError, match="unable to decode"):
        result(f"{{{{ .v | {function} }}}}", {"v": b"no store"})


@pytest.mark.parametrize("password", ["", "hunter2"])
@pytest.mark.parametrize(("function", "kept"), [("pemToPkcs12", (LEAF,)), ("fullPemToPkcs12", (LEAF, MIDDLE, ROOT))])
def test_a_store_is_written(password: str, function: str, kept: tuple[x509.Certificate, ...]) -> None:
    values = {"c": pem(LEAF, MIDDLE, ROOT), "k": pkcs8(LEAF_KEY), "p": password.encode()}
    call = f"{function}Pass .c .k .p" if password else f"{function} .c .k"
    store = base64.b64decode(result(f"{{{{ {call} }}}}", values), validate=True)
    opened = pkcs12.load_pkcs12(store, password.encode() or None)
    assert opened.key is not None
    assert pkcs8(opened.key) == pkcs8(LEAF_KEY)
    assert opened.cert is not None
    assert (opened.cert.certificate, *(one.certificate for one in opened.additional_certs)) == kept


@pytest.mark.parametrize("password", ["", "hunter2"])
def test_a_trust_store_is_written(password: str) -> None:
    values = {"c": pem(ROOT, MIDDLE), "p": password.encode()}
    call = "pemTruststoreToPKCS12Pass .c .p" if password else "pemTruststoreToPKCS12 .c"
    store = base64.b64decode(result(f"{{{{ {call} }}}}", values), validate=True)
    opened = pkcs12.load_pkcs12(store, password.encode() or None)
    assert opened.key is None
    assert {one.certificate for one in opened.additional_certs} == {ROOT, MIDDLE}


def test_a_trust_store_says_what_java_asks_for() -> None:
    # Oracle's attribute "trusted for any use", 2.16.840.1.113894.746875.1.1: without it Java sees no certificate.
    store = base64.b64decode(result("{{ pemTruststoreToPKCS12 .c }}", {"c": pem(ROOT)}))
    assert bytes.fromhex("060c6086480186f966adca7b0101") in store


@pytest.mark.parametrize(
    "call",
    [
        "pemToPkcs12 .k .k",
        'pemToPkcs12 "" .k',
        'pemToPkcs12 .c ""',
        "pemToPkcs12 .c .c",
        "fullPemToPkcs12 .c .other",
        'pemTruststoreToPKCS12 ""',
    ],
)
def test_a_store_that_cannot_be_written(call: str) -> None:
    values = {"c": pem(LEAF), "k": pkcs8(LEAF_KEY), "other": pkcs8(RSA_KEY)}
    with pytest.raises(TemplateRunError):
        result(f"{{{{ {call} }}}}", values)


# JSON web keys


def octets(number: int, size: int = 0) -> str:
    raw = number.to_bytes(size or (number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def rsa_jwk(*, private: bool, primes: bool = True) -> dict[str, str]:
    numbers = RSA_KEY.private_numbers()
    key = {"kty": "RSA", "n": octets(numbers.public_numbers.n), "e": octets(numbers.public_numbers.e)}
    if private:
        key["d"] = octets(numbers.d)
        if primes:
            key |= {"p": octets(numbers.p), "q": octets(numbers.q)}
    return key


def curve_jwk(*, private: bool) -> dict[str, str]:
    numbers = LEAF_KEY.private_numbers()
    public = numbers.public_numbers
    key = {"kty": "EC", "crv": "P-256", "x": octets(public.x, 32), "y": octets(public.y, 32)}
    return key | ({"d": octets(numbers.private_value, 32)} if private else {})


ED_KEY = ed25519.Ed25519PrivateKey.generate()


def octet_jwk(*, private: bool) -> dict[str, str]:
    key = {
        "kty": "OKP",
        "crv": "Ed25519",
        "x": octets(int.from_bytes(ED_KEY.public_key().public_bytes_raw(), "big"), 32),
    }
    return key | ({"d": octets(int.from_bytes(ED_KEY.private_bytes_raw(), "big"), 32)} if private else {})


@pytest.mark.parametrize(
    ("web_key", "key"),
    [
        pytest.param(rsa_jwk, RSA_KEY, id="rsa"),
        pytest.param(curve_jwk, LEAF_KEY, id="ec"),
        pytest.param(octet_jwk, ED_KEY, id="ed25519"),
    ],
)
def test_web_keys(web_key: Callable[..., dict[str, str]], key: Any) -> None:
    private = json.dumps(web_key(private=True)).encode()
    assert result("{{ .v | jwkPrivateKeyPem }}", {"v": private}) == pkcs8(key)
    public = json.dumps(web_key(private=False)).encode()
    expected = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    assert result("{{ .v | jwkPublicKeyPem }}", {"v": public}) == expected
    for call, text in (("jwkPublicKeyPem", private), ("jwkPrivateKeyPem", public)):
        with pytest.raises(TemplateRunError):
            result(f"{{{{ .v | {call} }}}}", {"v": text})


def test_a_web_key_without_its_primes() -> None:
    text = json.dumps(rsa_jwk(private=True, primes=False)).encode()
    found = load_pem_private_key(result("{{ .v | jwkPrivateKeyPem }}", {"v": text}), None)
    assert isinstance(found, rsa.RSAPrivateKey)
    assert found.private_numbers().d == RSA_KEY.private_numbers().d


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"kty":"oct","k":"AA"}',
        '{"kty":"RSA"}',
        '{"kty":"RSA","n":"!","e":"AQAB"}',
        '{"kty":"EC","crv":"P-1"}',
        '{"kty":"EC","crv":"P-256","x":"AA","y":"AA"}',
        '{"kty":"OKP","crv":"X448"}',
        '{"kty":7}',
    ],
)
def test_what_is_no_web_key(text: str) -> None:
    with pytest.raises(TemplateRunError, match="error calling jwkPublicKeyPem"):
        result("{{ .v | jwkPublicKeyPem }}", {"v": text.encode()})


# RSA


@pytest.mark.parametrize(
    ("word", "algorithm"),
    [
        ("SHA1", hashes.SHA1()),
        ("SHA256", hashes.SHA256()),
        ("SHA512", hashes.SHA512()),
        ("None", hashes.SHA256()),
        ("x", hashes.SHA256()),
    ],
)
def test_rsa_decrypt(word: str, algorithm: hashes.HashAlgorithm) -> None:
    cipher = RSA_KEY.public_key().encrypt(b"\xffsecret", padding.OAEP(padding.MGF1(algorithm), algorithm, None))
    keys = (pkcs8(RSA_KEY), RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    for key in keys:
        values = {"c": cipher, "k": key}
        assert result(f'{{{{ rsaDecrypt "RSA-OAEP" "{word}" .c .k }}}}', values) == b"\xffsecret"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ('rsaDecrypt "RSA" "SHA1" .c .k', "scheme is not supported"),
        ('rsaDecrypt "RSA-OAEP" "SHA1" .c .k', "error decrypting data with RSA"),
        ('rsaDecrypt "RSA-OAEP" "SHA1" .c .ec', "could not parse RSA private key"),
        ('rsaDecrypt "RSA-OAEP" "SHA1" .c .c', "failed to decode PEM block"),
    ],
)
def test_rsa_decrypt_fails(call: str, message: str) -> None:
    with pytest.raises(TemplateRunError, match=message):
        result(f"{{{{ {call} }}}}", {"c": b"x" * 256, "k": pkcs8(RSA_KEY), "ec": pkcs8(LEAF_KEY)})


# What is made anew


@pytest.mark.parametrize(
    ("kind", "label"),
    [("ecdsa", b"EC PRIVATE KEY"), ("ed25519", b"PRIVATE KEY"), ("rsa", b"RSA PRIVATE KEY")],
)
def test_new_keys(kind: str, label: bytes) -> None:
    key = result(f'{{{{ genPrivateKey "{kind}" }}}}')
    assert key.startswith(b"-----BEGIN " + label + b"-----\n")
    load_pem_private_key(key, None)


def test_a_key_of_an_unknown_kind() -> None:
    assert result('{{ genPrivateKey "x" }}') == b"Unknown type x"


def certificates(text: bytes) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(text)


def test_an_authority_signs() -> None:
    values = {"k": pkcs8(LEAF_KEY)}
    ca, leaf = certificates(
        result(
            '{{ $ca := genCA "root" 365 }}{{ $leaf := genSignedCertWithKey "leaf" (list "10.0.0.1") '
            '(list "a.example.com") 30 $ca .k }}{{ $ca.Cert }}{{ $leaf.Cert }}',
            values,
        )
    )
    leaf.verify_directly_issued_by(ca)
    assert ca.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert not leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (leaf.not_valid_before_utc, leaf.not_valid_after_utc) == (NOW, NOW + timedelta(days=30))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(one.value) for one in names] == ["a.example.com", "10.0.0.1"]


def test_a_self_signed_certificate_belongs_to_its_key() -> None:
    text = result('{{ $c := genSelfSignedCert "own" nil nil 1 }}{{ $c.Cert }}{{ $c.Key }}')
    (certificate,) = certificates(text[: text.index(b"-----BEGIN RSA")])
    key = load_pem_private_key(text[text.index(b"-----BEGIN RSA") :], None)
    certificate.verify_directly_issued_by(certificate)
    assert key.public_key() == certificate.public_key()


def test_a_custom_certificate() -> None:
    values = {"c": base64.b64encode(pem(LEAF)), "k": base64.b64encode(pkcs8(LEAF_KEY))}
    assert result("{{ $c := buildCustomCert .c .k }}{{ $c.Cert }}{{ $c.Key }}", values) == pem(LEAF) + pkcs8(LEAF_KEY)


@pytest.mark.parametrize(
    "call",
    [
        'genCAWithKey "x" 1 "no key"',
        'genSelfSignedCert "x" (list "no ip") nil 1',
        'genSelfSignedCert "x" (list 1) nil 1',
        'buildCustomCert "!" "!"',
        'genCA "x" "1"',
        'genSignedCert "x" nil nil 1 nil',
    ],
)
def test_certificates_that_cannot_be_made(call: str) -> None:
    with pytest.raises(TemplateRunError):
        result(f"{{{{ {call} }}}}")


def test_passwords_are_hashed_as_htpasswd_does() -> None:
    import bcrypt

    user, _, digest = result('{{ htpasswd "u" "secret" "bcrypt" }}').partition(b":")
    assert (user, digest[:7]) == (b"u", b"$2a$10$")
    assert bcrypt.checkpw(b"secret", digest)
    assert result('{{ htpasswd "a:b" "p" "sha" }}') == b"invalid username: a:b"


def test_aes_is_undone() -> None:
    assert result('{{ .v | encryptAES "k" | decryptAES "k" }}', {"v": b"\x00\xff" * 20}) == b"\x00\xff" * 20
    assert result('{{ "" | encryptAES "k" }}{{ "" | decryptAES "k" }}') == b""


# Without the extra


@pytest.mark.parametrize(
    ("call", "package"),
    [
        ('filterCertChain "leaf" ""', "cryptography"),
        ('pkcs12key ""', "cryptography"),
        ('jwkPublicKeyPem "{}"', "cryptography"),
        ('genPrivateKey "rsa"', "cryptography"),
        ('encryptAES "k" "v"', "cryptography"),
        ('rsaDecrypt "RSA-OAEP" "SHA1" "" ""', "cryptography"),
        ('pemTruststoreToPKCS12 ""', "cryptography"),
        ('bcrypt "x"', "bcrypt"),
    ],
)
def test_what_is_missing_is_said(call: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(wanted: str, *rest: Any) -> Any:
        if wanted.split(".")[0] == package:
            raise ImportError(wanted)
        return plain(wanted, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TemplateRunError, match=rf"{package} is not installed: pip install 'fairlead\[crypto\]'"):
        result(f"{{{{ {call} }}}}")


def test_what_needs_no_library_works_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = builtins.__import__

    def without(wanted: str, *rest: Any) -> Any:
        if wanted.split(".")[0] in ("cryptography", "bcrypt"):
            raise ImportError(wanted)
        return plain(wanted, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    template = '{{ .v | filterPEM "CERTIFICATE" }}{{ htpasswd "u" "p" "sha" }}{{ rsaDecrypt "None" "" "x" "" }}'
    assert result(template, {"v": pem(LEAF)}) == pem(LEAF) + b"u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=x"

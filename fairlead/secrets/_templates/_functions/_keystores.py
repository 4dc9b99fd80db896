"""Key stores, PEM, JSON web keys and RSA: what clients of External Secrets convert certificates with.

Source: `external-secrets: runtime/template/v2`.
"""

from __future__ import annotations

import base64
import contextlib
from typing import Any, Final

from fairlead.core.errors import MissingExtra
from fairlead.secrets._base64 import Base64Error, decode_base64
from fairlead.secrets._templates import _json
from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._certificates import subject_key
from fairlead.secrets._templates._functions._pem import Block, blocks, encode
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._text import valid
from fairlead.secrets._templates._values import Strings

REGISTRY: Final = Registry()
_add = REGISTRY.add
_STRING = Type.STRING
_CERTIFICATE: Final = "CERTIFICATE"


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtra("cryptography", extra="crypto") from error


def _certificate(der: bytes) -> Any:
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der)
    except ValueError as error:
        raise FunctionError("a certificate that cannot be read") from error


def _certificates(text: bytes) -> list[Any]:
    """Return the certificates of a PEM text, in order."""
    _need_cryptography()
    return [_certificate(block.content) for block in blocks(text)[0]]


def _der(certificate: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    der: bytes = certificate.public_bytes(Encoding.DER)
    return der


def _pem_of(certificate: Any) -> bytes:
    return encode(Block(_CERTIFICATE, _der(certificate)))


# chains


def _authority_key(certificate: Any) -> bytes | None:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (x509.ExtensionNotFound, ValueError):
        return None
    found: bytes | None = extension.value.key_identifier
    return found


def _is_root(certificate: Any) -> bool:
    authority = _authority_key(certificate)
    return authority is None or authority == subject_key(certificate)


def ordered(certificates: list[Any]) -> list[Any]:
    """Return a chain from its leaf to its root.

    Raises:
        FunctionError: there is no leaf, more than one, or a cycle.
    """
    parents: dict[int, int] = {}
    for child, certificate in enumerate(certificates):
        wanted = _authority_key(certificate) or b""
        for parent, other in enumerate(certificates):
            if child != parent and wanted == subject_key(other):
                parents[child] = parent
                break
    leaves = [at for at in range(len(certificates)) if at not in parents.values()]
    if len(leaves) > 1:
        raise FunctionError("found multiple leaf or disjunct certificates")
    if not leaves:
        raise FunctionError("no leaf certificate found")
    chain = [leaves[0]]
    while chain[-1] in parents:
        chain.append(parents[chain[-1]])
        if len(chain) > len(certificates):
            raise FunctionError("constructing chain resulted in cycle")
    return [certificates[at] for at in chain]


@_add("filterPEM", takes=(_STRING, _STRING))
def _filter_pem(_: Context, label: bytes, text: bytes) -> bytes:
    found, rest = blocks(text)
    wanted = valid(label).casefold()
    kept = [encode(block) for block in found if block.label.casefold() == wanted]
    if not kept and rest:
        raise FunctionError("error filtering pem: found junk")
    return b"".join(kept)


@_add("filterCertChain", takes=(_STRING, _STRING))
def _filter_cert_chain(c: Context, which: bytes, text: bytes) -> bytes:
    c.budget.share(50)
    chain = ordered(_certificates(text))
    match which:
        case b"leaf":
            leaf = chain[0]
            authority = _authority_key(leaf)
            return _pem_of(leaf) if authority is not None and authority != subject_key(leaf) else b""
        case b"intermediate":
            kept: list[bytes] = []
            for certificate in chain[1:]:
                if _is_root(certificate):
                    break
                kept.append(_pem_of(certificate))
            return b"".join(kept)
        case b"root":
            return _pem_of(chain[-1]) if _is_root(chain[-1]) else b""
        case _:
            return b""


@_add("certSANs", takes=(_STRING,))
def _cert_sans(_: Context, text: bytes) -> Strings:
    _need_cryptography()
    from cryptography import x509

    found, _rest = blocks(text)
    if not found:
        raise FunctionError("failed to decode PEM block")
    certificate = _certificate(found[0].content)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return Strings()
    except ValueError as error:
        raise FunctionError("alternative names that cannot be read") from error
    kinds = (x509.DNSName, x509.IPAddress, x509.RFC822Name, x509.UniformResourceIdentifier)
    return Strings(str(name).encode() for kind in kinds for name in names.get_values_for_type(kind))


# PKCS#12


def _opened(store: bytes, password: bytes, what: str) -> Any:
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import pkcs12

    try:
        return pkcs12.load_pkcs12(store, password or None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FunctionError(f"unable to decode {what} with password") from error


def _pkcs8(key: Any) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    pem: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem


@_add("pkcs12keyPass", takes=(_STRING, _STRING))
def _pkcs12_key_pass(c: Context, password: bytes, store: bytes) -> bytes:
    c.budget.share(50)
    key = _opened(store, password, "pkcs12").key
    if key is None:
        raise FunctionError("unable to decode pkcs12 with password: private key missing")
    return _pkcs8(key)


@_add("pkcs12key", takes=(_STRING,))
def _pkcs12_key(c: Context, store: bytes) -> bytes:
    pem: bytes = _pkcs12_key_pass(c, b"", store)
    return pem


@_add("pkcs12certPass", takes=(_STRING, _STRING))
def _pkcs12_cert_pass(c: Context, password: bytes, store: bytes) -> bytes:
    c.budget.share(50)
    opened = _opened(store, password, "pkcs12 certificate")
    if opened.cert is None:
        raise FunctionError("unable to decode pkcs12 certificate with password: certificate missing")
    certificates = [opened.cert.certificate, *(one.certificate for one in opened.additional_certs)]
    with contextlib.suppress(FunctionError):  # no chain: as they are stored
        certificates = ordered(certificates)
    return b"".join(map(_pem_of, certificates))


@_add("pkcs12cert", takes=(_STRING,))
def _pkcs12_cert(c: Context, store: bytes) -> bytes:
    pem: bytes = _pkcs12_cert_pass(c, b"", store)
    return pem


def private_key(text: bytes) -> Any:
    """Return the private key of the first PEM block, whatever its label says.

    Raises:
        FunctionError: there is none.
    """
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    found, _ = blocks(text)
    if not found:
        raise FunctionError("failed to decode PEM block")
    try:
        return load_der_private_key(found[0].content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FunctionError("unable to parse private key type") from error


def _encryption(password: bytes) -> Any:
    """Return what protects a new store: AES-256 and SHA-256; a store without a password is not encrypted."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat
    from cryptography.hazmat.primitives.serialization.pkcs12 import PBES

    if not password:
        return NoEncryption()
    return (
        PrivateFormat.PKCS12.encryption_builder()
        .kdf_rounds(2048)
        .key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC)
        .hmac_hash(hashes.SHA256())
        .build(password)
    )


def _key_store(c: Context, certificates: list[Any], key: bytes, password: bytes) -> bytes:
    from cryptography.hazmat.primitives.serialization import pkcs12

    c.budget.share(50)
    if not certificates:
        raise FunctionError("failed to decode PEM block")
    try:
        store = pkcs12.serialize_key_and_certificates(
            None, private_key(key), certificates[0], certificates[1:], _encryption(password)
        )
    except (ValueError, TypeError) as error:
        raise FunctionError("the key store cannot be written") from error
    return base64.b64encode(store)


@_add("pemToPkcs12Pass", takes=(_STRING, _STRING, _STRING))
def _pem_to_pkcs12_pass(c: Context, certificate: bytes, key: bytes, password: bytes) -> bytes:
    return _key_store(c, _certificates(certificate)[:1], key, password)


@_add("pemToPkcs12", takes=(_STRING, _STRING))
def _pem_to_pkcs12(c: Context, certificate: bytes, key: bytes) -> bytes:
    return _key_store(c, _certificates(certificate)[:1], key, b"")


@_add("fullPemToPkcs12Pass", takes=(_STRING, _STRING, _STRING))
def _full_pem_to_pkcs12_pass(c: Context, certificates: bytes, key: bytes, password: bytes) -> bytes:
    return _key_store(c, _certificates(certificates), key, password)


@_add("fullPemToPkcs12", takes=(_STRING, _STRING))
def _full_pem_to_pkcs12(c: Context, certificates: bytes, key: bytes) -> bytes:
    return _key_store(c, _certificates(certificates), key, b"")


@_add("pemTruststoreToPKCS12Pass", takes=(_STRING, _STRING))
def _trust_store_pass(c: Context, text: bytes, password: bytes) -> bytes:
    c.budget.share(50)
    certificates = _certificates(text)
    if not certificates:
        raise FunctionError("failed to decode PEM block")
    from cryptography.hazmat.primitives.serialization import pkcs12

    named = [pkcs12.PKCS12Certificate(one, one.subject.rfc4514_string().encode()) for one in certificates]
    try:
        return base64.b64encode(pkcs12.serialize_java_truststore(named, _encryption(password)))
    except (ValueError, TypeError) as error:
        raise FunctionError("the trust store cannot be written") from error


@_add("pemTruststoreToPKCS12", takes=(_STRING,))
def _trust_store(c: Context, text: bytes) -> bytes:
    store: bytes = _trust_store_pass(c, text, b"")
    return store


# JSON web keys


def _number(key: dict[bytes, Any], name: bytes) -> int:
    return int.from_bytes(_octets(key, name), "big")


def _octets(key: dict[bytes, Any], name: bytes) -> bytes:
    value = key.get(name)
    if not isinstance(value, bytes):
        raise FunctionError(f"failed to unmarshal JWK: {name.decode()} is missing")
    try:
        return decode_base64(value + b"=" * (-len(value) % 4), url_safe=True)
    except Base64Error as error:
        raise FunctionError(f"failed to unmarshal JWK: {name.decode()} is no base64url") from error


def _web_key(c: Context, text: bytes) -> Any:
    """Return the key of a JWK: a private one if it holds private numbers."""
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm

    key = _json.decode(text, c.budget)
    if not isinstance(key, dict):
        raise FunctionError("failed to unmarshal JWK: it is no object")
    makers = {b"RSA": _rsa_key, b"EC": _curve_key, b"OKP": _octet_key}
    kind = key.get(b"kty")
    if not isinstance(kind, bytes) or kind not in makers:
        raise FunctionError("failed to unmarshal JWK: its kty is not supported")
    try:
        return makers[kind](key)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FunctionError("failed to unmarshal JWK: its numbers make no key") from error


def _rsa_key(key: dict[bytes, Any]) -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    public = rsa.RSAPublicNumbers(_number(key, b"e"), _number(key, b"n"))
    if b"d" not in key:
        return public.public_key()
    private = _number(key, b"d")
    if b"p" in key and b"q" in key:
        p, q = _number(key, b"p"), _number(key, b"q")
    else:
        p, q = rsa.rsa_recover_prime_factors(public.n, public.e, private)
    numbers = rsa.RSAPrivateNumbers(
        p, q, private, rsa.rsa_crt_dmp1(private, p), rsa.rsa_crt_dmq1(private, q), rsa.rsa_crt_iqmp(p, q), public
    )
    return numbers.private_key()


def _curve_key(key: dict[bytes, Any]) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[Any, ec.EllipticCurve] = {
        b"P-256": ec.SECP256R1(),
        b"P-384": ec.SECP384R1(),
        b"P-521": ec.SECP521R1(),
    }
    curve = curves.get(key.get(b"crv"))
    if curve is None:
        raise FunctionError("failed to unmarshal JWK: its crv is not supported")
    public = ec.EllipticCurvePublicNumbers(_number(key, b"x"), _number(key, b"y"), curve)
    if b"d" not in key:
        return public.public_key()
    return ec.EllipticCurvePrivateNumbers(_number(key, b"d"), public).private_key()


def _octet_key(key: dict[bytes, Any]) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    if key.get(b"crv") != b"Ed25519":
        raise FunctionError("failed to unmarshal JWK: its crv is not supported")
    if b"d" in key:
        return ed25519.Ed25519PrivateKey.from_private_bytes(_octets(key, b"d"))
    return ed25519.Ed25519PublicKey.from_public_bytes(_octets(key, b"x"))


@_add("jwkPublicKeyPem", takes=(_STRING,))
def _jwk_public(c: Context, text: bytes) -> bytes:
    c.budget.share(50)
    key = _web_key(c, text)
    if hasattr(key, "private_bytes"):
        raise FunctionError("x509: unsupported public key type: the JWK is a private key")
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    pem: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


@_add("jwkPrivateKeyPem", takes=(_STRING,))
def _jwk_private(c: Context, text: bytes) -> bytes:
    c.budget.share(50)
    key = _web_key(c, text)
    if not hasattr(key, "private_bytes"):
        raise FunctionError("x509: unknown key type while marshaling PKCS#8: the JWK is a public key")
    return _pkcs8(key)


# RSA


@_add("rsaDecrypt", takes=(_STRING, _STRING, _STRING, _STRING))
def _rsa_decrypt(c: Context, scheme: bytes, digest: bytes, cipher: bytes, key: bytes) -> bytes:
    if scheme == b"None":
        return cipher
    if scheme != b"RSA-OAEP":
        raise FunctionError("decryption scheme is not supported")
    _need_cryptography()
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    c.budget.share(50)
    parsed = private_key(key)
    if not isinstance(parsed, rsa.RSAPrivateKey):
        raise FunctionError("could not parse RSA private key")
    algorithm: hashes.HashAlgorithm
    match digest:
        case b"SHA1":
            algorithm = hashes.SHA1()  # noqa: S303 - the sender has chosen it
        case b"SHA512":
            algorithm = hashes.SHA512()
        case _:
            algorithm = hashes.SHA256()
    try:
        return parsed.decrypt(cipher, padding.OAEP(padding.MGF1(algorithm), algorithm, None))
    except ValueError as error:
        raise FunctionError("error decrypting data with RSA") from error

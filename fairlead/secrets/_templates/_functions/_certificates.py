"""Keys and certificates made anew.

Source: `Masterminds/sprig` v3.
"""

from __future__ import annotations

import ipaddress
from datetime import timedelta
from typing import Any, Final

from fairlead.core.errors import MissingExtra
from fairlead.secrets._base64 import Base64Error, decode_base64
from fairlead.secrets._templates._errors import FunctionError
from fairlead.secrets._templates._functions._pem import blocks
from fairlead.secrets._templates._functions._registry import Context, Registry, Type
from fairlead.secrets._templates._text import valid
from fairlead.secrets._templates._values import Certificate

REGISTRY: Final = Registry()
_add = REGISTRY.add
_STRING, _INT, _LIST, _CERTIFICATE = Type.STRING, Type.INT, Type.LIST, Type.CERTIFICATE
_PUBLIC_EXPONENT: Final = 65537
_DAYS_MAX: Final = 365 * 1000


def _need_cryptography() -> None:
    try:
        import cryptography  # noqa: F401 - only whether it is there
    except ImportError as error:
        raise MissingExtra("cryptography", extra="crypto") from error


def private_pem(key: Any) -> bytes:
    """Return a private key as PEM in the form that its kind has always had."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    form = PrivateFormat.PKCS8 if isinstance(key, Ed25519PrivateKey) else PrivateFormat.TraditionalOpenSSL
    pem: bytes = key.private_bytes(Encoding.PEM, form, NoEncryption())
    return pem


@_add("genPrivateKey", takes=(_STRING,))
def _gen_private_key(c: Context, kind: bytes) -> bytes:
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

    key: Any
    match kind:
        case b"" | b"rsa":
            c.budget.share(3)
            key = rsa.generate_private_key(_PUBLIC_EXPONENT, 4096)
        case b"dsa":
            c.budget.share(3)
            key = dsa.generate_private_key(2048)
        case b"ecdsa":
            c.budget.share(50)
            key = ec.generate_private_key(ec.SECP256R1())
        case b"ed25519":
            c.budget.share(50)
            key = ed25519.Ed25519PrivateKey.generate()
        case _:
            return b"Unknown type " + kind
    return private_pem(key)


def parse_private_key(pem: bytes) -> Any:
    """Return the private key of a PEM text.

    Raises:
        FunctionError: there is none, or one of a kind that is not known.
        MissingExtra: the library is not installed.
    """
    _need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    found, _ = blocks(pem)
    if not found:
        raise FunctionError("no PEM data in input")
    if found[0].label != "PRIVATE KEY" and not found[0].label.endswith(" PRIVATE KEY"):
        raise FunctionError("no private key data in the PEM block")
    try:
        return load_der_private_key(found[0].content, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise FunctionError("parsing private key: it cannot be read") from error


def parse_certificate(pem: bytes) -> Any:
    """Return the first certificate of a PEM text.

    Raises:
        FunctionError: there is none.
        MissingExtra: the library is not installed.
    """
    _need_cryptography()
    from cryptography import x509

    found, _ = blocks(pem)
    if not found:
        raise FunctionError("unable to decode certificate")
    try:
        return x509.load_der_x509_certificate(found[0].content)
    except ValueError as error:
        raise FunctionError("error parsing certificate: it cannot be read") from error


@_add("buildCustomCert", takes=(_STRING, _STRING))
def _build_custom_cert(_: Context, certificate: bytes, key: bytes) -> Certificate:
    try:
        certificate, key = decode_base64(certificate), decode_base64(key)
    except Base64Error as error:
        raise FunctionError("unable to decode base64 certificate or private key") from error
    parse_certificate(certificate)
    parse_private_key(key)
    return Certificate(cert=certificate, key=key)


def _alternative_names(ips: list[Any], names: list[Any]) -> list[Any]:
    from cryptography import x509

    if not all(isinstance(one, bytes) for one in (*ips, *names)):
        raise FunctionError("error parsing an alternative name: it is not a string")
    found: list[Any] = []
    try:
        found += [x509.DNSName(name.decode("ascii")) for name in names]
        found += [x509.IPAddress(ipaddress.ip_address(ip.decode("ascii"))) for ip in ips]
    except ValueError as error:
        raise FunctionError("error parsing an alternative name") from error
    return found


def _made(
    c: Context,
    subject: tuple[bytes, list[Any], list[Any], int],
    key: Any,
    signer: tuple[Any, Any] | None = None,
    *,
    is_authority: bool = False,
) -> Certificate:
    """Return a certificate for a key, signed by another or by itself.

    Args:
        c: the context of the call.
        subject: common name, IP addresses, DNS names, days of validity.
        key: the private key that it is for.
        signer: certificate and key of the authority; None for a self-signed one.
        is_authority: whether it may sign others.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    common_name, ips, names, days = subject
    try:
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, valid(common_name))])
        ends_at = c.now + timedelta(days=max(-_DAYS_MAX, min(_DAYS_MAX, days)))
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name if signer is None else signer[0].subject)
            .public_key(key.public_key())
            .serial_number(int.from_bytes(c.entropy(16), "big") >> 1 or 1)
            .not_valid_before(c.now)
            .not_valid_after(ends_at)
            .add_extension(_usage(is_authority), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if is_authority:
            builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        if signer is not None and (identifier := subject_key(signer[0])):
            builder = builder.add_extension(x509.AuthorityKeyIdentifier(identifier, None, None), critical=False)
        alternatives = _alternative_names(ips, names)
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        signing = key if signer is None else signer[1]
        algorithm = None if isinstance(signing, Ed25519PrivateKey) else hashes.SHA256()
        certificate = builder.sign(signing, algorithm)
    except (ValueError, TypeError, OverflowError) as error:
        raise FunctionError("error creating certificate") from error
    return Certificate(cert=certificate.public_bytes(Encoding.PEM), key=private_pem(key))


def subject_key(certificate: Any) -> bytes:
    """Return the identifier of a certificate's key, or nothing."""
    from cryptography import x509

    try:
        found: bytes = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value.digest
    except (x509.ExtensionNotFound, ValueError):
        return b""
    return found


def _usage(is_authority: bool) -> Any:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=True,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_authority,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _new_key(c: Context) -> Any:
    _need_cryptography()
    from cryptography.hazmat.primitives.asymmetric import rsa

    c.budget.share(10)
    return rsa.generate_private_key(_PUBLIC_EXPONENT, 2048)


@_add("genCA", takes=(_STRING, _INT))
def _gen_ca(c: Context, name: bytes, days: int) -> Certificate:
    return _made(c, (name, [], [], days), _new_key(c), is_authority=True)


@_add("genCAWithKey", takes=(_STRING, _INT, _STRING))
def _gen_ca_with_key(c: Context, name: bytes, days: int, key: bytes) -> Certificate:
    return _made(c, (name, [], [], days), parse_private_key(key), is_authority=True)


@_add("genSelfSignedCert", takes=(_STRING, _LIST, _LIST, _INT))
def _gen_self_signed(c: Context, name: bytes, ips: list[Any], names: list[Any], days: int) -> Certificate:
    return _made(c, (name, ips, names, days), _new_key(c))


@_add("genSelfSignedCertWithKey", takes=(_STRING, _LIST, _LIST, _INT, _STRING))
def _gen_self_signed_with_key(
    c: Context, name: bytes, ips: list[Any], names: list[Any], days: int, key: bytes
) -> Certificate:
    return _made(c, (name, ips, names, days), parse_private_key(key))


@_add("genSignedCert", takes=(_STRING, _LIST, _LIST, _INT, _CERTIFICATE))
def _gen_signed(
    c: Context, name: bytes, ips: list[Any], names: list[Any], days: int, authority: Certificate
) -> Certificate:
    signer = (parse_certificate(authority.cert), parse_private_key(authority.key))
    return _made(c, (name, ips, names, days), _new_key(c), signer)


@_add("genSignedCertWithKey", takes=(_STRING, _LIST, _LIST, _INT, _CERTIFICATE, _STRING))
def _gen_signed_with_key(
    c: Context, name: bytes, ips: list[Any], names: list[Any], days: int, authority: Certificate, key: bytes
) -> Certificate:
    signer = (parse_certificate(authority.cert), parse_private_key(authority.key))
    return _made(c, (name, ips, names, days), parse_private_key(key), signer)

"""Certificates for servers on loopback, made for one test: an authority, and what it issues or does not."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_BEGINS = timedelta(days=2)  # so long ago


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        """Both, as one file."""
        return self.certificate.public_bytes(serialization.Encoding.PEM) + self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


def authority() -> Issued:
    """Return an authority of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("authority")
    built = _builder(name, name, key, timedelta(days=1)).add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    )
    return Issued(built.sign(key, hashes.SHA256()), key)


def issue(by: Issued | None, address: str, *, valid_for: timedelta) -> Issued:
    """Return a certificate of an IP address.

    Args:
        by: who signs it; None: it signs itself.
        valid_for: from now on; negative: it has expired so long ago.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(address)
    issuer = by.certificate.subject if by is not None else name
    built = _builder(name, issuer, key, valid_for).add_extension(
        x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))]), critical=False
    )
    return Issued(built.sign(by.key if by is not None else key, hashes.SHA256()), key)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, valid_for: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEGINS)
        .not_valid_after(now + valid_for)
    )

"""A certificate authority for tests, and the certificates that it gives to servers and clients."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Issued:
    """Files in PEM: a certificate, its key, and both in one file, the key first."""

    certificate: Path
    key: Path
    both: Path


class Authority:
    """Signs certificates. certificate: its own, to be trusted. Files are put in the folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._name = _common_name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        ca = x509.BasicConstraints(ca=True, path_length=None)
        made = _builder(self._name, self._name, self._key.public_key())
        made = made.add_extension(ca, critical=True)
        self.certificate = folder / f"{name}.crt"
        self.certificate.write_bytes(
            made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def issue(self, name: str, host: str = "127.0.0.1", *, is_expired: bool = False) -> Issued:
        """Give a certificate for a host, an address or a name; good for a day, or no more."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            subject: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            subject = x509.DNSName(host)
        ends = datetime.now(UTC) + (-DAY if is_expired else DAY)
        made = _builder(_common_name(name), self._name, key.public_key(), ends)
        made = made.add_extension(x509.SubjectAlternativeName([subject]), critical=False)
        certificate = made.sign(self._key, hashes.SHA256())
        paths = [self._folder / f"{name}.{kind}" for kind in ("crt", "key", "pem")]
        written = certificate.public_bytes(serialization.Encoding.PEM)
        secret = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        for path, content in zip(paths, (written, secret, secret + written), strict=True):
            path.touch(0o600)
            path.write_bytes(content)
        return Issued(*paths)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    ends: datetime | None = None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 10 * DAY)
        .not_valid_after(ends or now + DAY)
    )

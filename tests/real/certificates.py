"""Certificates for tests, made on the spot."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

if TYPE_CHECKING:
    from pathlib import Path


class Pair(NamedTuple):
    """A certificate and its key, each in a file of its own."""

    certificate: Path
    key: Path

    @property
    def settings(self) -> dict[str, Any]:  # to be told beside others
        """As the gateway's settings have them."""
        return {"tls_cert": str(self.certificate), "tls_key": str(self.key)}


class Issuer:
    """Who signs: itself, or others."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("Issuer of tests")
        self.certificate = _signed(self.name, self.name, self.key, self.key, authority=True)

    def pair(self, folder: Path, *, name: str = "ledger.example", days: int = 1, here: bool = False) -> Pair:
        """A certificate that it has signed, with its own behind it; ``here`` puts this machine's address into it."""
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _signed(_name(name), self.name, key, self.key, days=days, here=here)
        return _written(folder, key, signed, self.certificate)

    def write(self, file: Path) -> Path:
        """Its own certificate alone: what those have who are to believe it."""
        file.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return file


def self_signed(folder: Path, *, name: str = "ledger.example", days: int = 1, passphrase: bytes | None = None) -> Pair:
    """A certificate that nobody else has signed; with negative `days` it has expired."""
    key = ec.generate_private_key(ec.SECP256R1())
    signed = _signed(_name(name), _name(name), key, key, days=days)
    encryption = NoEncryption() if passphrase is None else BestAvailableEncryption(passphrase)
    return _written(folder, key, signed, encryption=encryption)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _signed(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    by: ec.EllipticCurvePrivateKey,
    *,
    days: int = 1,
    authority: bool = False,
    here: bool = False,
) -> x509.Certificate:
    now = datetime.now(UTC)
    names: list[x509.GeneralName] = [x509.DNSName("ledger.example")]
    if here:
        names += [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    begins = now - timedelta(days=30)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(by, SHA256())
    )


def _written(
    folder: Path,
    key: ec.EllipticCurvePrivateKey,
    *certificates: x509.Certificate,
    encryption: KeySerializationEncryption | None = None,
) -> Pair:
    folder.mkdir(exist_ok=True)
    pair = Pair(folder / "tls.crt", folder / "tls.key")
    pair.certificate.write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in certificates))
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()))
    pair.key.chmod(0o600)
    return pair

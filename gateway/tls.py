"""TLS of the gateway: its own side, and how those who know its certificate trust it."""

import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes, PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

MINIMUM: Final = ssl.TLSVersion.TLSv1_2

_logger = logging.getLogger(__name__)


class CertificateError(OSError):
    """Certificate and key cannot be used. The message says which file, and what to do."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """What a gateway with this certificate takes connections by: TLS 1.2 at least.

    Args:
        certificate: PEM, the gateway's own first, then those of its issuers but for the last.
        key: PEM, not encrypted: there is nobody to ask for a passphrase.

    Raises:
        CertificateError: a file is not there, cannot be read, is not what it should be, or the two do not match.
    """
    own, private = _certificate(certificate), _private_key(key)
    if _public(own.public_key()) != _public(private.public_key()):
        raise CertificateError(
            f"the key in {key} is not that of the certificate in {certificate}: take the two that were made together; "
            "the gateway's own certificate stands first in its file"
        )
    if not own.not_valid_before_utc <= datetime.now(UTC) < own.not_valid_after_utc:
        _logger.warning(
            "the certificate in %s is valid from %s to %s only: clients will refuse it",
            certificate,
            own.not_valid_before_utc,
            own.not_valid_after_utc,
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = MINIMUM
    context.options |= ssl.OP_NO_RENEGOTIATION  # by which a client could have keys exchanged again and again
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(certificate, key)
    except ssl.SSLError as error:
        raise CertificateError(f"{certificate} and {key} cannot be used: {error.reason or error}") from error
    return context


def trusting(certificate: Path) -> ssl.SSLContext:
    """What a client trusts a gateway by whose certificate it has: that one and no other, under whatever name.

    So it works for a certificate of the company's own, and at 127.0.0.1, which is no name in it.

    Raises:
        CertificateError: the file cannot be used.
    """
    own = _certificate(certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = MINIMUM
    context.check_hostname = False
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # it need not be self-signed to be trusted
    context.load_verify_locations(cadata=own.public_bytes(Encoding.DER))
    return context


def valid_until(certificate: Path) -> datetime:
    """When the certificate ends.

    Raises:
        CertificateError: the file cannot be used.
    """
    return _certificate(certificate).not_valid_after_utc


def _certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise CertificateError(f"{path} holds no certificate in PEM: {error}") from error


def _private_key(path: Path) -> PrivateKeyTypes:
    try:
        return load_pem_private_key(_read(path), password=None)
    except TypeError as error:
        raise CertificateError(
            f"the key in {path} is encrypted, and there is nobody to ask for its passphrase: decrypt it "
            "(`openssl pkey -in … -out …`), and let nobody but the service read it"
        ) from error
    except ValueError as error:
        raise CertificateError(f"{path} holds no private key in PEM: {error}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from error


def _public(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

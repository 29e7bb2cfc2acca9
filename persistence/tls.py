"""TLS as a client speaks it to the servers that the ledger stands on."""

import ssl
from pathlib import Path
from typing import Final

MINIMUM: Final = ssl.TLSVersion.TLSv1_2


class TrustError(OSError):
    """A file that TLS needs cannot be used. The message says which, and what it has to hold."""


def client_context(issuers: str | None, certificate: str | None, key: str | None) -> ssl.SSLContext:
    """What a connection to a server is opened with: TLS 1.2 at least, its name and its issuer are checked.

    The files are read each time, so that renewed ones are taken by the next connection.

    Args:
        issuers: file with the certificates (PEM) of those who vouch for the server: then nobody else does. ``None``:
            those that this machine trusts.
        certificate: file with our own (PEM), for a server that asks for one.
        key: file with its key (PEM, not encrypted).

    Raises:
        TrustError: a file cannot be read, or is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # checks names and issuers
    context.minimum_version = MINIMUM
    if issuers is None:
        context.load_default_certs()
    else:
        _require_readable(issuers)
        try:
            context.load_verify_locations(issuers)
        except (ssl.SSLError, ValueError) as error:
            raise TrustError(f"{issuers} holds no certificates in PEM: {error}") from error
    if certificate is not None and key is not None:
        for path in (certificate, key):
            _require_readable(path)
        try:
            context.load_cert_chain(certificate, key, password="")  # an encrypted key fails instead of asking
        except (ssl.SSLError, ValueError) as error:
            raise TrustError(
                f"{certificate} and {key} are no certificate and its key, in PEM and not encrypted: {error}"
            ) from error
    return context


def _require_readable(path: str) -> None:
    try:
        Path(path).read_bytes()
    except OSError as error:
        raise TrustError(f"{path} cannot be read: {error.strerror}") from error

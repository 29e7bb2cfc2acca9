"""Where the service is and which keys open it: the two files that a running stack leaves in its data directory."""

import argparse
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Self, TypeVar

import msgspec

T = TypeVar("T")

END_OF_CERTIFICATE = "-----END CERTIFICATE-----"

ROLES = frozenset({"storefront", "pos", "payments", "support"})
"""The roles that the counterparts have; the service hands out a key for each."""


class NotRunningError(Exception):
    """The data directory does not say where a running service is."""


class Endpoints(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """The addresses in `endpoints.json`."""

    http: str
    http_certificate: str = ""
    kafka: str
    sms_inbox: str
    ray_dashboard: str | None = None

    @classmethod
    def read(cls, data_dir: Path) -> Self:
        """Read `endpoints.json`.

        Raises:
            NotRunningError: The file is missing or is not what it should be.
        """
        return cls.of(data_dir / "endpoints.json")

    @property
    def verify(self) -> ssl.SSLContext | bool:
        """How the service is known again: where the file names its certificate, by that one and no other."""
        if not self.http_certificate:
            return True
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False  # it is this certificate, at whatever address
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        (own, _, _) = Path(self.http_certificate).read_text().partition(END_OF_CERTIFICATE)
        context.load_verify_locations(cadata=own + END_OF_CERTIFICATE)
        return context

    @classmethod
    def of(cls, path: Path) -> Self:
        """Read a file of addresses, whatever its name.

        Raises:
            NotRunningError: The file is missing or is not what it should be.
        """
        return _read(path, cls)


def read_keys(data_dir: Path) -> Mapping[str, str]:
    """Read `keys.json`: the API key of each role.

    Raises:
        NotRunningError: The file is missing or is not what it should be.
    """
    return keys_in(data_dir / "keys.json")


def keys_in(path: Path) -> Mapping[str, str]:
    """Read a file of API keys, one for each role.

    Raises:
        NotRunningError: The file is missing, is not what it should be, or lacks a role.
    """
    keys = _read(path, dict[str, str])
    if lacking := sorted(ROLES - keys.keys()):
        raise NotRunningError(f"{path} has no key for {', '.join(lacking)}. Make one with `gift-ledger keys`.")
    return keys


def arguments(module: str, description: str) -> argparse.ArgumentParser:
    """The command line that all the counterparts share: where to find the service."""
    parser = argparse.ArgumentParser(prog=f"python -m examples.{module}", description=description)
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(".gift-ledger"),
        help="where endpoints.json and keys.json are (default: %(default)s)",
    )
    return parser


def _read(path: Path, into: type[T]) -> T:
    try:
        return msgspec.json.decode(path.read_bytes(), type=into)
    except FileNotFoundError:
        raise NotRunningError(
            f"There is no {path}. Start the service first (`make run`), or say with --data-dir where it keeps its data."
        ) from None
    except msgspec.DecodeError as error:
        raise NotRunningError(
            f"{path} cannot be read: {error}. Start the service again to have it written anew."
        ) from error

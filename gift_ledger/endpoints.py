"""Where a running stack is: ``endpoints.json`` in its data directory."""

import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from persistence.errors import UNDECODABLE

FILE_NAME: Final = "endpoints.json"


class EndpointsError(Exception):
    """There is no running stack to be found, or its file cannot be read. The message says what to do."""


class Endpoints(Struct, frozen=True, kw_only=True, rename="camel"):
    """Addresses of a running stack: URLs, except ``kafka`` and ``ray``, which are ``HOST:PORT``.

    What the stack was told to use instead of starting it stands here as well.
    """

    http: str
    http_certificate: str = ""
    """File with the certificate of an ``https`` address: clients on this machine trust it."""
    redis: str
    kafka: str
    ray_dashboard: str = ""
    sms_inbox: str = ""
    ray: str = ""
    """Where further processes join the Ray cluster."""

    @classmethod
    def read(cls, data_dir: Path) -> "Endpoints":
        """Read the file that a running stack left.

        Raises:
            EndpointsError: it is not there, or is not what it should be.
        """
        path = data_dir / FILE_NAME
        try:
            return msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError:
            message = f"No running stack in {data_dir}: start it with `gift-ledger up`."
            raise EndpointsError(message) from None
        except (*UNDECODABLE, OSError) as error:
            message = f"{path} cannot be read ({error}): start the stack anew with `gift-ledger up`."
            raise EndpointsError(message) from error

    def write(self, data_dir: Path) -> None:
        """Put the file there whole, for the owner alone (the address of Redis may hold its password)."""
        path = data_dir / FILE_NAME
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n")
        fresh.replace(path)

"""Reads the provider's document of keys: over HTTP, or from a file."""

import asyncio
import ssl
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from gateway.jwks import DOCUMENT_BYTES_MAX, JwksError

READ_SECONDS_MAX: Final = 5.0
"""For the whole document, however it comes: so long a request with a token of an unknown key waits at most."""
_OK: Final = 200
_REDIRECTIONS: Final = range(300, 400)


class JwksDocument:
    """The document at one place, which settings alone name: never a token, nor a redirection.

    Over HTTPS the provider's certificate is checked by the authorities that the system trusts; ``SSL_CERT_FILE`` names
    others.

    Args:
        place: an address, or the path of a file.
    """

    def __init__(self, place: str) -> None:
        self._place = place
        self._client: httpx.AsyncClient | None = None

    async def __aenter__(self) -> Self:
        if is_address(self._place):
            # made once: to read the system's authorities takes longer than all else, and would hold up requests
            self._client = httpx.AsyncClient(
                verify=ssl.create_default_context(),
                timeout=READ_SECONDS_MAX,
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
                follow_redirects=False,
                trust_env=False,
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._client is not None:
            await self._client.aclose()

    async def read(self) -> bytes:
        """The document as it is now.

        Raises:
            JwksError: it cannot be read.
        """
        try:
            async with asyncio.timeout(READ_SECONDS_MAX):
                if self._client is not None:
                    return await _fetched(self._client, self._place)
                return await asyncio.to_thread(_read, Path(self._place))
        except TimeoutError:
            raise JwksError(f"no answer within {READ_SECONDS_MAX:g} s") from None
        except httpx.TransportError as error:
            raise JwksError(f"no answer: {str(error) or type(error).__name__}") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise JwksError(f"no answer: {type(error).__name__}") from error
        except OSError as error:
            raise JwksError(error.strerror or type(error).__name__) from error


def is_address(place: str) -> bool:
    """Whether the document is fetched over HTTP."""
    return place.lower().startswith(("http://", "https://"))


async def _fetched(client: httpx.AsyncClient, url: str) -> bytes:
    # not compressed: a few bytes could stand for gigabytes
    headers = {"Accept": "application/json, application/jwk-set+json", "Accept-Encoding": "identity"}
    async with client.stream("GET", url, headers=headers) as response:
        if response.status_code in _REDIRECTIONS:
            raise JwksError(f"it answers {response.status_code}, and redirections are not followed")
        if response.status_code != _OK:
            raise JwksError(f"it answers {response.status_code}")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise JwksError("it answers with what is compressed")
        found = bytearray()
        async for chunk in response.aiter_raw():
            found += chunk
            if len(found) > DOCUMENT_BYTES_MAX:
                raise JwksError(f"the document is longer than {DOCUMENT_BYTES_MAX} bytes")
        return bytes(found)


def _read(path: Path) -> bytes:
    if path.exists() and not path.is_file():
        raise JwksError("it is no file")  # reading a pipe might never end
    with path.open("rb") as file:
        return file.read(DOCUMENT_BYTES_MAX + 1)

"""The provider's document, over a real socket: what is taken, and that nothing else is waited for or believed."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from gateway import jwks_document
from gateway.jwks import DOCUMENT_BYTES_MAX, JwksError
from gateway.jwks_document import JwksDocument
from tests.real.certificates import Issuer
from tests.real.jwks_server import JwksServer, jwks_server

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.real

OK = b"HTTP/1.1 200 OK\r\n"


async def read(place: str) -> bytes:
    async with JwksDocument(place) as document:
        return await document.read()


async def refused(place: str) -> str:
    with pytest.raises(JwksError) as caught:
        await read(place)
    return str(caught.value)


async def test_it_is_read_as_it_stands_there() -> None:
    async with jwks_server() as server, JwksDocument(server.url) as document:
        server.document = b'{"keys":[{"kid":"1"}]}'
        first = await document.read()
        server.document = b'{"keys":[{"kid":"2"}]}'

        assert (first, await document.read()) == (b'{"keys":[{"kid":"1"}]}', server.document)
    assert server.heads[0].startswith(b"GET /realms/shops/certs HTTP/1.1\r\n")
    assert b"accept-encoding: identity" in server.heads[0].lower()
    assert b"authorization" not in server.heads[0].lower()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404"),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "answers 503"),
        (b"HTTP/1.1 204 Nothing\r\n\r\n", "answers 204"),
        (OK + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", "compressed"),
        (OK + b"Content-Length: 900\r\n\r\n{}", "no answer"),
        (b"SSH-2.0-OpenSSH\r\n", "no answer"),
        (b"", "no answer"),
    ],
)
async def test_answers_that_are_none(answer: bytes, said: str) -> None:
    async with jwks_server() as server:
        server.answer = answer

        assert said in await refused(server.url)
    assert server.asked == 1, "it follows nobody, and does not ask again"


@pytest.mark.parametrize("head", [OK + b"\r\n", OK + b"Content-Length: 99999999\r\n\r\n"])
async def test_no_more_is_read_than_a_document_may_have(head: bytes) -> None:
    async with jwks_server() as server:
        server.answer = head + b" " * (DOCUMENT_BYTES_MAX + 70_000)

        assert "longer than" in await refused(server.url)


async def test_who_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks_document, "READ_SECONDS_MAX", 0.2)
    async with jwks_server() as server:
        server.silent = True

        assert "no answer" in await refused(server.url)


async def test_who_is_not_there() -> None:
    server = JwksServer()
    await server.start()
    await server.stop()

    assert "no answer" in await refused(server.url)


async def test_over_https_only_an_issuer_that_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    issuer = Issuer()
    pair = issuer.pair(tmp_path / "tls", here=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair.certificate, pair.key)
    async with jwks_server(tls) as server:
        assert "CERTIFICATE_VERIFY_FAILED" in await refused(server.url)
        assert server.asked == 0

        monkeypatch.setenv("SSL_CERT_FILE", str(issuer.write(tmp_path / "issuer.crt")))
        assert await read(server.url) == server.document


async def test_a_file(tmp_path: Path) -> None:
    place = tmp_path / "jwks.json"
    place.write_bytes(b"x" * (DOCUMENT_BYTES_MAX + 10))

    assert len(await read(str(place))) == DOCUMENT_BYTES_MAX + 1
    assert "No such file" in await refused(str(tmp_path / "other"))
    assert "no file" in await refused(str(tmp_path))

"""``/schema`` as a person sees it: in a browser, from a gateway, with no internet."""

from __future__ import annotations

import asyncio
import json
import shutil
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gateway.documentation import openapi
from gateway.page import operations
from gateway.problems import KINDS
from tests.integration.http_client import served
from tests.real.fixtures import lacking

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.real

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


async def browse(tmp_path: Path, url: str, *options: str) -> bytes:
    """Have Chromium open an address; returns what it prints."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        lacking("no chromium: install it (Debian: apt-get install chromium)")
    process = await asyncio.create_subprocess_exec(
        program,
        *QUIET,
        f"--user-data-dir={tmp_path / 'profile'}",
        *options,
        url,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            printed, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return printed


def requested(net_log: Path) -> Iterator[tuple[str, str]]:
    """Yield every address that was asked for, and the origin that asked: a page, or none for the browser itself."""
    log = json.loads(net_log.read_text())
    kinds = {number: name for name, number in log["constants"]["logEventTypes"].items()}
    for event in log["events"]:
        given: dict[str, Any] = event.get("params", {})
        if kinds[event["type"]] == "URL_REQUEST_START_JOB" and "initiator" in given:
            yield given["url"], given["initiator"]


async def test_the_page_is_shown_with_every_call_and_every_problem(tmp_path: Path) -> None:
    async with served() as here:
        text = (await browse(tmp_path, f"{here.url}/schema", "--dump-dom")).decode()

    for path, _, operation in operations(openapi()):
        assert f'id="{operation["operationId"]}"' in text
        assert path in text
    for code in KINDS:
        assert f'id="{code}"' in text


async def test_the_page_asks_no_other_host_for_anything(tmp_path: Path) -> None:
    net_log = tmp_path / "net.json"
    async with served() as here:
        await browse(tmp_path, f"{here.url}/schema#InsufficientFunds", f"--log-net-log={net_log}", "--dump-dom")
        asked = list(requested(net_log))

    assert f"{here.url}/schema#InsufficientFunds" in {url for url, _ in asked}
    assert [url for url, origin in asked if origin == here.url] == []


async def test_a_page_that_asks_another_host_would_be_seen(tmp_path: Path) -> None:
    net_log, page = tmp_path / "net.json", b'<img src="http://127.0.0.1:9/picture.png">'

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")  # closed with a request unread, TCP resets: the browser then waits for ever
        writer.write(b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n" + page)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await browse(tmp_path, url, f"--log-net-log={net_log}", "--dump-dom")
        asked = list(requested(net_log))

    assert ("http://127.0.0.1:9/picture.png", url) in asked


@pytest.mark.parametrize("size", ["1280,900", "500,900"])
async def test_the_page_is_styled(tmp_path: Path, size: str) -> None:
    picture = tmp_path / "page.png"
    async with served() as here:
        await browse(tmp_path, f"{here.url}/schema", f"--window-size={size}", f"--screenshot={picture}")

    content = picture.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert f"{width},{height}" == size
    assert len(content) > 20_000, "an empty page would be smaller"

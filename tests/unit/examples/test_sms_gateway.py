import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from examples import sms_gateway
from examples.sms_gateway import BODY_BYTES_MAX, MESSAGES_MAX, SmsGateway

SMS = {"messageId": "m-1", "to": "+79990000001", "text": "CVC 4821"}


@pytest.fixture
async def gateway() -> AsyncIterator[SmsGateway]:
    gateway = SmsGateway(fail_first=1)
    yield gateway
    await gateway.stop()


@pytest.fixture
async def client(gateway: SmsGateway) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=await gateway.start(), trust_env=False) as client:
        refused = await client.post("/", json=SMS, headers={"Idempotency-Key": "first"})
        assert refused.status_code == 500
        yield client


async def test_a_message_that_is_sent_twice_lies_in_the_inbox_once(client: httpx.AsyncClient) -> None:
    for _ in range(2):
        answer = await client.post("/", json=SMS, headers={"Idempotency-Key": "k"})
        assert answer.status_code == 202

    (message,) = (await client.get("/messages")).json()
    assert message.pop("receivedAt").endswith("Z")
    assert message == SMS


async def test_a_key_that_comes_again_with_another_message_is_refused(client: httpx.AsyncClient) -> None:
    await client.post("/", json=SMS, headers={"Idempotency-Key": "k"})

    answer = await client.post("/", json=SMS | {"text": "other"}, headers={"Idempotency-Key": "k"})

    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("method", "path", "content", "key", "status"),
    [
        ("POST", "/", b"{}", "k", 400),
        ("POST", "/", b'{"messageId":"m","to":"t","text":"x","more":1}', "k", 400),
        ("POST", "/", b'{"messageId":"m","to":"t","text":"x"}', "", 400),
        ("POST", "/", b'{"messageId":"m","to":"t","text":"x"}', "k" * 65, 400),
        ("POST", "/", b"x" * (BODY_BYTES_MAX + 1), "k", 413),
        ("GET", "/", b"", "", 405),
        ("DELETE", "/messages", b"", "", 405),
        ("GET", "/else", b"", "", 404),
    ],
)
async def test_what_is_wrong_is_refused_with_a_reason(
    client: httpx.AsyncClient, method: str, path: str, content: bytes, key: str, status: int
) -> None:
    answer = await client.request(method, path, content=content, headers={"Idempotency-Key": key})

    assert answer.status_code == status
    assert answer.json()["error"].endswith(".")
    assert (await client.get("/messages")).json() == []


async def test_only_the_last_messages_are_kept(gateway: SmsGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sms_gateway, "MESSAGES_MAX", 2)
    async with httpx.AsyncClient(base_url=await gateway.start(), trust_env=False) as client:
        for number in range(4):  # the first one is answered with 500
            body = SMS | {"messageId": str(number)}
            await client.post("/", json=body, headers={"Idempotency-Key": str(number)})

    assert [message.message_id for message in gateway.messages] == ["2", "3"]
    assert MESSAGES_MAX == 10_000


async def test_it_is_started_once_and_stopped_as_often_as_one_likes(gateway: SmsGateway) -> None:
    await gateway.start()
    with pytest.raises(RuntimeError, match="already running"):
        await gateway.start()

    await gateway.stop()
    await gateway.stop()


def test_a_port_that_is_taken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        assert sms_gateway.main(["--port", str(port)]) == 1

    assert f"Cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


async def test_as_a_program_it_writes_its_port_serves_and_ends_with_sigterm(tmp_path: Path) -> None:
    port_file = tmp_path / "port"
    command = (sys.executable, "-m", "examples.sms_gateway", "--port-file", str(port_file))
    environment = os.environ | {"PYTHONPATH": str(Path(sms_gateway.__file__).parents[1])}
    program = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, env=environment)
    async with asyncio.timeout(60):
        assert program.stdout is not None
        line = await program.stdout.readline()
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port_file.read_text()}/messages")
        program.send_signal(signal.SIGTERM)
        await program.wait()

    assert line.startswith(b"SMS gateway at http://127.0.0.1:")
    assert answer.json() == []
    assert program.returncode == 0

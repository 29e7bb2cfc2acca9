"""The corporate SMS gateway: takes messages over HTTP and, instead of sending them, keeps them for everyone to read.

    POST /           {"messageId", "to", "text"} with an Idempotency-Key → 202; repeated → the same, kept once
    GET  /messages   [{"messageId", "to", "text", "receivedAt"}], oldest first

It is also the SMS inbox of the embedded stack.
"""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Generator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvicorn

from examples.messages import ReceivedSms, Sms, rfc3339_now

MESSAGES_MAX = 10_000
BODY_BYTES_MAX = 16_384
KEY_CHARACTERS_MAX = 64
DRAIN_SECONDS_MAX = 4
STOP_SECONDS_MAX = 60.0
IDLE_SECONDS_MAX = 75
"""Longer than its clients keep a connection that rests, so that none is closed under a request."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class SmsGateway:
    """An SMS gateway on a port of its own.

    It keeps the last 10 000 messages. What it refuses with a 4xx it will never take; after a 5xx, try again.

    Args:
        fail_first: How many messages to answer with 500 before it takes any; for tests of the sender's patience.
    """

    def __init__(self, *, fail_first: int = 0) -> None:
        self._failures_left = fail_first
        self._inbox: OrderedDict[str, ReceivedSms] = OrderedDict()
        self._server: _QuietServer | None = None
        self._serving: asyncio.Task[None] | None = None

    @property
    def messages(self) -> tuple[ReceivedSms, ...]:
        """What was received, oldest first."""
        return tuple(self._inbox.values())

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Start to serve; port 0 takes any that is free.

        Returns:
            The address, for example `http://127.0.0.1:40123`.

        Raises:
            OSError: The port is taken.
        """
        if self._serving is not None:
            raise RuntimeError("The SMS gateway is already running; stop it first.")
        listener = socket.create_server((host, port), backlog=128)
        config = uvicorn.Config(
            self,
            lifespan="off",
            ws="none",
            access_log=False,
            log_config=None,
            timeout_keep_alive=IDLE_SECONDS_MAX,
            timeout_graceful_shutdown=DRAIN_SECONDS_MAX,
        )
        self._server = _QuietServer(config)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]), name="sms-gateway")
        return f"http://{host}:{listener.getsockname()[1]}"

    async def stop(self) -> None:
        """Stop; a request that is being answered still gets its answer. What was received stays readable here."""
        serving, server = self._serving, self._server
        self._serving = self._server = None
        if serving is None or server is None:
            return
        server.should_exit = True
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI interface)."""
        match scope["method"], scope["path"]:
            case "POST", "/":
                status, body = await self._accept(scope, receive)
            case "GET", "/messages":
                status, body = 200, msgspec.json.encode(self.messages)
            case _, "/" | "/messages":
                status, body = 405, _error("POST / sends a message, GET /messages lists them.")
            case _:
                status, body = 404, _error("There are only POST / and GET /messages here.")
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _accept(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        content = await _content(receive)
        if content is None:
            return 413, _error(f"A message may be at most {BODY_BYTES_MAX} bytes.")
        try:
            sms = msgspec.json.decode(content, type=Sms)
        except msgspec.DecodeError as error:
            return 400, _error(f"Send a JSON object with messageId, to and text: {error}.")
        key = dict(scope["headers"]).get(b"idempotency-key", b"").decode("latin-1")
        if not 0 < len(key) <= KEY_CHARACTERS_MAX:
            return 400, _error(f"Send an Idempotency-Key of 1 to {KEY_CHARACTERS_MAX} characters.")
        if self._failures_left > 0:
            self._failures_left -= 1
            return 500, _error("The network is away; try again later.")

        known = self._inbox.get(key)
        if known is None:
            known = ReceivedSms(message_id=sms.message_id, to=sms.to, text=sms.text, received_at=rfc3339_now())
            self._inbox[key] = known
            if len(self._inbox) > MESSAGES_MAX:
                self._inbox.popitem(last=False)
        elif (known.message_id, known.to, known.text) != (sms.message_id, sms.to, sms.text):
            return 422, _error("This Idempotency-Key was used for another message.")
        return 202, msgspec.json.encode({"messageId": known.message_id, "receivedAt": known.received_at})


class _QuietServer(uvicorn.Server):
    """A server that leaves signals to the process it is part of."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _error(detail: str) -> bytes:
    return msgspec.json.encode({"error": detail})


async def _content(receive: Receive) -> bytes | None:
    content = bytearray()
    more = True
    while more:
        message = await receive()
        content += message.get("body", b"")
        more = message.get("more_body", False)
        if len(content) > BODY_BYTES_MAX:
            return None
    return bytes(content)


async def _serve(host: str, port: int, port_file: Path | None) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    gateway = SmsGateway()
    url = await gateway.start(host, port)
    if port_file is not None:
        # Written aside and moved into place, so that whoever waits for the file never reads half a number.
        fresh = port_file.with_name(f"{port_file.name}.new")
        fresh.write_text(url.rpartition(":")[2])
        fresh.replace(port_file)
    print(f"SMS gateway at {url}; read what it gets at {url}/messages", flush=True)
    await stopped.wait()
    await gateway.stop()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the SMS gateway until it is told to stop (Ctrl-C or SIGTERM)."""
    parser = argparse.ArgumentParser(prog="python -m examples.sms_gateway", description="The corporate SMS gateway.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, default=0, help="the port to listen on (default: any that is free)")
    parser.add_argument("--port-file", type=Path, help="write the port to this file once it listens")
    given = parser.parse_args(argv)
    try:
        asyncio.run(_serve(given.host, given.port, given.port_file))
    except OSError as error:
        advice = "Choose another --port, or 0 for any that is free."
        print(f"Cannot listen on {given.host}:{given.port}: {error}. {advice}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

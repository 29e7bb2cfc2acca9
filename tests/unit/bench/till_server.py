"""A server that answers as a stack does, in a thread of its own; and one that takes its time."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from gift_ledger.bench.requests import Address

Respond = Callable[[bytes], bytes]
"""Gives the bytes to send for a request; none: hang up."""


@contextmanager
def server(respond: Respond) -> Iterator[Address]:
    """Answer every request on every connection with what ``respond`` says."""
    listener = socket.create_server(("127.0.0.1", 0))
    threads: list[threading.Thread] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=_serve, args=(connection, respond)))
            threads[-1].start()

    accepting = threading.Thread(target=accept)
    accepting.start()
    try:
        yield Address("127.0.0.1", listener.getsockname()[1], "key")
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join()
        for thread in threads:
            thread.join()


def reply(body: bytes, status: int = 201, *, header: bytes = b"content-length") -> bytes:
    """An HTTP response."""
    return b"HTTP/1.1 %d X\r\nserver: test\r\n%b: %d\r\n\r\n%b" % (status, header, len(body), body)


def _serve(connection: socket.socket, respond: Respond) -> None:
    received = b""
    with connection, suppress(ConnectionError):  # who hangs up in the middle is what some tests are about
        while chunk := connection.recv(65_536):
            received += chunk
            while (request := _whole(received)) is not None:
                received = received[len(request) :]
                answer = respond(request)
                if not answer:
                    return
                connection.sendall(answer)


def _whole(received: bytes) -> bytes | None:
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        return None
    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    return head + end + rest[:length] if len(rest) >= length else None

"""Requests whose end is where two readers may see it in different places, with another request behind or within."""

from __future__ import annotations

from typing import Final

from tests.unit.gateway.house import CODE

HEAD: Final = (
    f"POST /certificates/{CODE}/balance HTTP/1.1\r\nHost: ledger.example\r\n"
    "Authorization: Bearer pos\r\nContent-Type: application/json\r\n"
).encode()
CHUNKED: Final = b"Transfer-Encoding: chunked"
BODY: Final = b"{}"


def message(*lines: bytes, body: bytes) -> bytes:
    """A question for a balance with these further headers."""
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body


def length(body: bytes) -> bytes:
    return b"Content-Length: %d" % len(body)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)


CODINGS: Final = {
    "unknown": b"Transfer-Encoding: xchunked",
    "blank before the colon": b"Transfer-Encoding : chunked",
    "vertical tab": b"Transfer-Encoding:\x0bchunked",
    "blank before the name": b" Transfer-Encoding: chunked",
    "unknown behind": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
    "identity": b"Transfer-Encoding: identity",
    "identity behind": b"Transfer-Encoding: chunked, identity",
    "compressed": b"Transfer-Encoding: gzip",
    "quoted": b'Transfer-Encoding: "chunked"',
    "with a parameter": b"Transfer-Encoding: chunked;q=1",
    "folded": b"Transfer-Encoding:\r\n chunked",
    "in a folded line": b"X-A: b\r\n Transfer-Encoding: chunked",
    "zero byte": b"Transfer-Encoding: chun\x00ked",
    "behind a bare CR": b"X-A: b\rTransfer-Encoding: chunked",
    "behind a bare LF": b"X-A: b\nTransfer-Encoding: chunked",
    "comma": b"Transfer-Encoding: chunked,",
    "empty": b"Transfer-Encoding:",
    "twice in one": b"Transfer-Encoding: chunked, chunked",
    "twice": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
}
"""TE.TE: none of them is a coding that may stand here, and readers differ in what they take it for."""
SOUND_CODINGS: Final = {
    "tab": b"Transfer-Encoding:\tchunked",
    "capitals": b"Transfer-Encoding: CHUNKED",
    "blank behind": b"Transfer-Encoding: chunked ",
    "unknown before": b"Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
    "compressed before": b"Transfer-Encoding: gzip, chunked",
}
"""These end with chunked, which says where the body ends (RFC 9112, 6.3); not so beside a length."""
LENGTHS: Final = {
    "plus": b"Content-Length: +2",
    "minus": b"Content-Length: -2",
    "list": b"Content-Length: 2, 2",
    "two in one": b"Content-Length: 2 2",
    "hexadecimal": b"Content-Length: 0x2",
    "too large": b"Content-Length: 18446744073709551618",
    "blank before the colon": b"Content-Length : 2",
    "bare LF": b"Content-Length: 2\n",
    "folded": b"Content-Length:\r\n 2",
    "empty": b"Content-Length:",
    "fraction": b"Content-Length: 2.0",
    "superscript": b"Content-Length: \xc2\xb2",
    "vertical tab": b"Content-Length:\x0b2",
    "underscore": b"Content-Length: 1_0",
    "twice the same": b"Content-Length: 2\r\nContent-Length: 2",
}
CHUNKS: Final = {
    "extension that ends with a bare LF": b"2;a\n{}\r\n0\r\n\r\n",
    "extension that ends with a bare CR": b"2;a\r{}\r\n0\r\n\r\n",
    "extension with an open quote": b'2;a="\r\n{}\r\n0\r\n\r\n',
    "size beyond 64 bits": b"ffffffffffffffff2\r\n{}\r\n0\r\n\r\n",
    "size that wraps around": b"10000000000000002\r\n{}\r\n0\r\n\r\n",
    "0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "plus": b"+2\r\n{}\r\n0\r\n\r\n",
    "minus": b"-2\r\n{}\r\n0\r\n\r\n",
    "blank behind": b"2 \r\n{}\r\n0\r\n\r\n",
    "blank before": b" 2\r\n{}\r\n0\r\n\r\n",
    "bare LFs": b"2\n{}\n0\n\n",
    "bare LF behind the data": b"2\r\n{}\n0\r\n\r\n",
    "nothing behind the data": b"2\r\n{}0\r\n\r\n",
    "more data than was said": b"2\r\n{}XX0\r\n\r\n",
    "empty line before": b"\r\n2\r\n{}\r\n0\r\n\r\n",
    "end with bare LFs": b"2\r\n{}\r\n0\n\n",
    "end with one bare LF": b"2\r\n{}\r\n0\r\n\n",
    "trailer that is none": b"2\r\n{}\r\n0\r\nContent-Length: 5\r\nX\r\n\r\n",
    "bare CRs": b"2\r{}\r0\r\r",
    "no digit": b"g\r\n{}\r\n0\r\n\r\n",
    "underscore": b"1_0\r\n" + b" " * 16 + b"\r\n0\r\n\r\n",
}
SOUND: Final = {
    "length with zeros before": message(b"Content-Length: 0002", body=BODY),
    "length with a blank behind": message(b"Content-Length: 2 ", body=BODY),
    "chunk with an extension": message(CHUNKED, body=b"2;a=b;c\r\n{}\r\n0\r\n\r\n"),
    "size with zeros before": message(CHUNKED, body=b"%s2\r\n{}\r\n0\r\n\r\n" % (b"0" * 30)),
    **{f"coding: {name}": message(line, body=chunk(BODY)) for name, line in SOUND_CODINGS.items()},
}
"""Odd, but of one meaning alone: what comes behind is the next request."""


def ambiguous(second: bytes) -> dict[str, bytes]:
    """Requests that have to be refused, with another one where a lenient reader would see it begin."""
    end = b"0\r\n\r\n" + second
    lines = {"CL.TE": [length(end), CHUNKED], "TE.CL": [CHUNKED, length(end)]}
    lines |= {f"TE.TE: {name}": [line, length(end)] for name, line in (CODINGS | SOUND_CODINGS).items()}
    lines |= {f"coding alone: {name}": [line] for name, line in CODINGS.items()}
    found = {name: message(*some, body=end) for name, some in lines.items()}
    found |= {f"length: {name}": message(line, body=BODY + second) for name, line in LENGTHS.items()}
    found |= {f"chunk: {name}": message(CHUNKED, body=body + second) for name, body in CHUNKS.items()}
    both = BODY + second
    return found | {
        "TE.CL within": message(b"Content-Length: 4", CHUNKED, body=chunk(second)),
        "two lengths": message(length(BODY), length(both), body=both),
        "two lengths, the longer first": message(length(both), length(BODY), body=both),
        "head with bare LFs": message(length(BODY), body=BODY).replace(b"\r\n", b"\n") + second,
        "head with bare CRs": HEAD.replace(b"\r\n", b"\r") + b"Content-Length: 2\r\r{}" + second,
        "head that ends with a bare LF": HEAD + b"Content-Length: 2\r\n\n{}" + second,
        "upgrade with both": message(b"Connection: Upgrade", b"Upgrade: h2c", CHUNKED, length(end), body=end),
    }


def within(second: bytes) -> dict[str, bytes]:
    """Requests whose body is another one."""
    size = length(second)
    return {
        "length": message(size, body=second),
        "chunk": message(CHUNKED, body=chunk(second)),
        "GET with a length": b"GET /health/live HTTP/1.1\r\nHost: ledger.example\r\n%s\r\n\r\n%s" % (size, second),
        "GET with chunks": b"GET /health/live HTTP/1.1\r\nHost: ledger.example\r\n%s\r\n\r\n%s"
        % (CHUNKED, chunk(second)),
        "HEAD": b"HEAD /health/live HTTP/1.1\r\nHost: ledger.example\r\n%s\r\n\r\n%s" % (size, second),
        "upgrade": message(b"Connection: Upgrade", b"Upgrade: h2c", size, body=second),
        "upgrade with chunks": message(b"Connection: Upgrade", b"Upgrade: h2c", CHUNKED, body=chunk(second)),
        "length taken from hop to hop": message(b"Connection: close, Content-Length", size, body=second),
        "expectation": message(b"Expect: 100-continue", size, body=second),
        "underscores": message(
            b"Transfer_Encoding: chunked", length(b"0\r\n\r\n" + second), body=b"0\r\n\r\n" + second
        ),
        "too long": message(length(b" " * 20_000 + second), body=b" " * 20_000 + second),
        "old version": message(CHUNKED, body=chunk(second)).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    }

"""How valid inputs are broken: in the places and in the ways that parsers stumble over."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

EDITS_MAX: Final = 4
DEEP: Final = 3_000
"""Levels: more than Python's own limit, less than a body may have bytes."""

TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*"|-?[0-9.]+|true|false|null|[][{}:,]')

OF_JSON: Final = (
    *(b"0", b"-0", b"-1", b"1.0", b"1e0", b"1E400", b"-1e-999999999", b"1e999999999", b"01", b"+1", b".5", b"0x10"),
    *(b"9007199254740993", b"18446744073709551616", b"9" * 5_000, b"0." + b"1" * 5_000, b"NaN", b"-Infinity"),
    *(
        b'""',
        b'"\\u0000"',
        b'"\\ud800"',
        b'"\\udc00\\ud800"',
        b'"\\ud83d\\ude00"',
        b'"\\u000a"',
        b'"\xff"',
        b'"\xed\xa0\x80"',
    ),
    *(b'"\\', b'"\\u12', b'"\\x41"', b'"\n"', b'"' + b"a" * 20_000 + b'"', b'"\\u0041' + b"\\" * 99, "\u0661".encode()),
    *(b"[" * DEEP, b"[" * DEEP + b"]" * DEEP, b'{"a":' * DEEP, b"]" * 9, b"[[[", b'{"a":1,"a":2}', b"{}", b"[]"),
    *(
        b"true",
        b"false",
        b"null",
        b"nul",
        b"'a'",
        b"//",
        b"/*",
        b"\xef\xbb\xbf",
        b"\x00",
        b"\xa0",
        b",",
        b":",
        b"{",
        b"}",
    ),
    b"[" + b"{}," * 4_000 + b"{}]",
)
"""What stands in no honest text, or seldom."""

OF_MSGPACK: Final = (
    *(
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff",
    ),
    *(b"\xdc\xff\xff", b"\xde\xff\xff", b"\xda\xff\xff", b"\xc5\xff\xff", b"\xd9\xff", b"\xc4\xff"),
    *(b"\x91" * DEEP, b"\x91" * DEEP + b"\xc0", b"\x81\xa1a" * DEEP, b"\x92\xc0" * DEEP, b"\x9f", b"\x8f", b"\xbf"),
    *(b"\xa1\xff", b"\xa3\xed\xa0\x80", b"\xd9\x01\x80", b"\xa0", b"\xc4\x00", b"\xc0", b"\xc1", b"\xc2", b"\xc3"),
    *(
        b"\xcf" + b"\xff" * 8,
        b"\xd3\x80" + bytes(7),
        b"\xcb\x7f\xf8" + bytes(6),
        b"\xcb\x7f\xf0" + bytes(6),
        b"\xca\xff\xc0\x00\x00",
    ),
    *(b"\xd6\xff" + b"\xff" * 4, b"\xc7\x0c\xff" + b"\xff" * 12, b"\xd4\x05\x00", b"\xff", b"\x00", b"\x7f", b"\xe0"),
    b"\xc6\x00\x00\xff\xff" + bytes(65_535),
)
"""Lengths that lie, depth, halves of characters, numbers at the ends, extensions."""


@st.composite
def broken_json(draw: st.DrawFn, *valid: object) -> bytes:
    """Return a text that was one of these, with some tokens changed, and sometimes some bytes."""
    text = json.dumps(draw(st.sampled_from(valid)), ensure_ascii=draw(st.booleans())).encode()
    tokens = TOKEN.findall(text)
    for _ in range(draw(st.integers(0, EDITS_MAX))):
        place = draw(st.integers(0, len(tokens)))
        match draw(st.integers(0, 3)):
            case 0:
                tokens[place : place + 1] = [draw(st.sampled_from(OF_JSON))]
            case 1:
                tokens[place:place] = [draw(st.sampled_from(OF_JSON))]
            case 2:
                del tokens[place : place + draw(st.integers(1, 5))]
            case _:  # a member twice, a list with more in it
                tokens[place:place] = tokens[max(0, place - draw(st.integers(1, 8))) : place]
    joined = b"".join(tokens)
    match draw(st.integers(0, 9)):
        case 0:
            return b"\xef\xbb\xbf" + joined
        case 1:
            return joined.decode(errors="replace").encode(draw(st.sampled_from(["utf-16", "utf-32-be", "utf-7"])))
        case 2 | 3:
            return draw(broken(joined, nasty=OF_JSON))
        case _:
            return joined


@st.composite
def broken(draw: st.DrawFn, *valid: bytes, nasty: Sequence[bytes] = OF_MSGPACK) -> bytes:
    """Return bytes that were one of these, cut off, turned over, and with what is nasty in between."""
    found = bytearray(draw(st.sampled_from(valid)))
    for _ in range(draw(st.integers(0, EDITS_MAX))):
        place = draw(st.integers(0, len(found)))
        match draw(st.integers(0, 5)):
            case 0:
                del found[place:]
            case 1:
                found[place : place + 1] = bytes((draw(st.integers(0, 255)),))
            case 2:
                found[place:place] = draw(st.sampled_from(nasty))
            case 3:
                found[place : place + draw(st.integers(1, 8))] = draw(st.sampled_from(nasty))
            case 4:
                other = draw(st.sampled_from(valid))
                found[place:] = other[draw(st.integers(0, len(other))) :]
            case _:
                found[place:place] = draw(st.binary(max_size=16))
    return bytes(found)

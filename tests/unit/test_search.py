"""The search for secrets finds them: a search that finds nothing has to be one that could."""

import base64
import json
from urllib.parse import quote

import pytest

from tests.real.search import Search, cvc_contexts, hits

NAME = "Ярослава Тайная"
KEY = bytes(range(200, 232))
SEARCH = Search({"name": NAME.encode(), "key": KEY}, {"GC-00000001": "4821"})


@pytest.mark.parametrize(
    ("output", "form"),
    [
        (f"before {NAME} after".encode(), "name as raw"),
        (json.dumps({"name": NAME}).encode(), "name as json"),
        (json.dumps(json.dumps({"name": NAME})).encode(), "name as json"),
        ("".join(c if c == " " else f"\\u{ord(c):04X}" for c in NAME).encode(), "name as json"),
        (repr(NAME.encode()).encode(), "name as repr"),
        (quote(f"/x?name={NAME}").encode(), "name as url"),
        (NAME.encode().hex().encode(), "name as hex"),
        (b"\x00\x01" + KEY + b"\x02", "key as raw"),
        (KEY.hex().upper().encode(), "key as hex"),
        (f"key={KEY!r}".encode(), "key as repr"),
        (b'{"cvc": "4821"}', "CVC of GC-00000001 as raw"),
        (b"Authorize(cvc='4821')", "CVC of GC-00000001 as raw"),
        (base64.b64encode(b"Gift certificate GC-00000001. CVC: 4821."), "CVC of GC-00000001 as base64"),
        (b"GC-00000001 got 4821 today", "CVC of GC-00000001 beside its code"),
    ],
)
def test_a_secret_is_found_in_every_form(output: bytes, form: str) -> None:
    assert form in SEARCH.found(output)


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", range(4))
def test_base64_is_found_wherever_in_a_text_it_begins(before: int, after: int) -> None:
    content = b"x" * before + KEY + b"y" * after

    for output in (base64.b64encode(content), base64.urlsafe_b64encode(content)):
        assert "key as base64" in SEARCH.found(output)


def test_what_is_no_secret_is_not_found() -> None:
    others = (
        b"GC-00000001 at 02:15:51,482 and 48210 times\n4821 on a line of its own",
        base64.b64encode(bytes(range(100, 200))),
        b"cvc: 4822",
        b"",
    )

    assert [SEARCH.found(one) for one in others] == [[]] * 4


def test_four_digits_by_chance_are_none_among_three_certificates() -> None:
    cvcs = {f"GC-0000000{number}": f"482{number}" for number in range(3)}
    search = Search({}, cvcs)
    lines = [f"{code} {cvc}".encode() for code, cvc in cvcs.items()]

    assert search.found(b"\n".join(lines[:2])) == []
    assert len(search.found(b"\n".join(lines))) == 3


def test_only_outputs_that_hold_something_are_told() -> None:
    assert hits(SEARCH, {"log": b"nothing", "topic": NAME.encode()}) == {"topic": ["name as raw"]}
    assert b'cvc":"4821' in cvc_contexts("4821")

"""Bodies that are nested deeper than anything that is meant."""

from __future__ import annotations

import pytest

from tests.unit.gateway.house import House

DEEP = 7_000
"""Levels; a body of 16 KiB holds no more with their ends."""
ARRAYS = b"[" * DEEP + b"]" * DEEP
OBJECTS = b'{"a":' * 2_500 + b"1" + b"}" * 2_500
OPEN = b"[" * 16_000
SHAPES = {
    "arrays": ARRAYS,
    "objects": OBJECTS,
    "no end": OPEN,
    "a field": b'{"purpose":"Redemption","amount":' + ARRAYS + b',"currency":"RUB"}',
    "a field that is not known": b'{"purpose":"Redemption","amount":1,"currency":"RUB","x":' + ARRAYS + b"}",
    "the tag": b'{"purpose":' + ARRAYS + b"}",
    "items": b'{"items":' + ARRAYS + b"}",
    "an item": b'{"items":[' + ARRAYS + b"]}",
    "a field of an item": b'{"items":[{"certificateCode":' + ARRAYS + b"}]}",
    "beside the items": b'{"items":[{}],"x":' + OBJECTS + b"}",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    "target",
    ["/certificates/GC-7K2M-9QXA/authorize", "/certificates/GC-7K2M-9QXA/capture", "/authorizations", "/captures"],
)
async def test_a_body_that_is_nested_too_deeply_is_refused(house: House, target: str, shape: str) -> None:
    answer = await house.request(
        "POST", target, "pos", content=SHAPES[shape], headers={"content-type": "application/json"}
    )

    if answer.status == 200:  # an item that is not well formed is told in its place
        assert [one["status"] for one in answer.body["outcomes"]] == [400]
    else:
        assert (answer.status, answer.code) == (400, "InvalidRequest")


async def test_a_megabyte_of_brackets_is_refused(house: House) -> None:
    answer = await house.request(
        "POST", "/authorizations", "pos", content=b"[" * 1_000_000, headers={"content-type": "application/json"}
    )

    assert (answer.status, answer.code) == (400, "InvalidRequest")

"""The designs that the benchmarks compare with, each with its store: they do the work that they are measured by."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.baselines.postgres_server import PostgresMissingError, programs
from benchmarks.rival import Rival, RivalError
from benchmarks.seed import DENOMINATION, code
from tests.real.fixtures import lacking

pytestmark = pytest.mark.real

ALL = ("postgres", "redis-lua", "noop", "asgi")
STORING = ("postgres", "redis-lua")
BODY: dict[str, object] = {"purpose": "Redemption", "amount": 100, "currency": "RUB"}


class Till:
    """Asks a baseline about a certificate that no other test uses."""

    def __init__(self, rival: Rival, number: int) -> None:
        address = rival.address
        self._code = code(number)
        self._name = f"{number}-"
        self._client = httpx.Client(
            base_url=f"http://{address.host}:{address.port}",
            headers={"Authorization": f"Bearer {address.key}"},
            timeout=60.0,
            trust_env=False,
        )
        self.close = self._client.close

    def authorize(self, key: str, *, unknown: bool = False, api_key: str = "", **fields: object) -> httpx.Response:
        headers = {"Idempotency-Key": self._name + key} | ({"Authorization": f"Bearer {api_key}"} if api_key else {})
        path = f"/certificates/{'GC-UNKNOWN-1' if unknown else self._code}/authorize"
        return self._client.post(path, json=BODY | fields, headers=headers)

    def capture(self, authorized: dict[str, Any], key: str) -> httpx.Response:
        path = f"/certificates/{self._code}/capture"
        body = {"authorizationId": authorized["authorizationId"]}
        return self._client.post(path, json=body, headers={"Idempotency-Key": self._name + key})


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Till]]:
    """Return a function that gives a till of a baseline, which is started when it is first asked for."""
    rivals: dict[str, Rival] = {}
    numbers = itertools.count()
    with ExitStack() as closing:

        def till(name: str) -> Till:
            if name not in rivals:
                rival = Rival(name, tmp_path_factory.mktemp(name), certificates=100)
                closing.callback(rival.stop)
                rival.start()
                rivals[name] = rival
            made = Till(rivals[name], next(numbers))
            closing.callback(made.close)
            return made

        yield till


@pytest.fixture(params=ALL)
def till(request: pytest.FixtureRequest, start: Callable[[str], Till]) -> Till:
    """A till of one of them."""
    if request.param == "postgres":
        try:
            programs()
        except PostgresMissingError as error:
            lacking(str(error))
    return start(request.param)


def test_it_answers_an_authorization_as_the_product_does(till: Till) -> None:
    answer = till.authorize("key-1")

    assert answer.status_code == 201
    assert answer.json().keys() == {
        *("authorizationId", "certificateCode", "status", "amount"),
        *("currency", "available", "balance", "expiresAt"),
    }


@pytest.mark.parametrize("till", [name for name in ALL if name != "asgi"], indirect=True)
def test_it_checks_key_and_body(till: Till) -> None:
    assert till.authorize("key-1", api_key="another").status_code == 401
    assert till.authorize("key-1", amount=-1).status_code == 400
    assert till.authorize("key-1", surprise=1).status_code == 400


@pytest.mark.parametrize("till", STORING, indirect=True)
def test_it_holds_once_for_each_idempotency_key(till: Till) -> None:
    first = till.authorize("key-1").json()

    again = till.authorize("key-1").json()
    reused = till.authorize("key-1", amount=7)
    other = till.authorize("key-2").json()

    assert first["available"] == DENOMINATION - 100
    assert again == first
    assert reused.status_code == 422
    assert other["available"] == DENOMINATION - 200


@pytest.mark.parametrize("till", STORING, indirect=True)
def test_it_refuses_what_is_not_there(till: Till) -> None:
    till.authorize("key-1", amount=DENOMINATION)

    too_much = till.authorize("key-2")
    unknown = till.authorize("key-3", unknown=True)
    foreign = till.authorize("key-4", currency="EUR")

    assert [answer.status_code for answer in (too_much, unknown, foreign)] == [409, 409, 409]
    assert [answer.json()["detail"] for answer in (too_much, unknown, foreign)] == [
        "InsufficientFunds",
        "CertificateNotFound",
        "CurrencyMismatch",
    ]


@pytest.mark.parametrize("till", ["postgres"], indirect=True)
def test_it_captures_a_hold_once(till: Till) -> None:
    held = till.authorize("key-1").json()

    captured = till.capture(held, "key-2")
    again = till.capture(held, "key-2")
    twice = till.capture(held, "key-3")

    assert (captured.status_code, captured.json()["balance"]) == (201, DENOMINATION - 100)
    assert again.json() == captured.json()
    assert (twice.status_code, twice.json()["detail"]) == (409, "AuthorizationAlreadyCaptured")


def test_what_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "redis-lua").write_text("no folder")

    with pytest.raises(RivalError, match="redis-lua: FileExistsError"):
        Rival("redis-lua", tmp_path, certificates=1).start()

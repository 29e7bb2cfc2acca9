"""The load generator, against a server that does what the test says."""

import threading
from collections.abc import Callable

import msgspec
import pytest

from gift_ledger.bench.generator import Generator, Load
from gift_ledger.bench.requests import Address, Answer, Authorizations, Pairs
from gift_ledger.bench.schedule import AsSoonAsPossible, AtRate, Schedule
from gift_ledger.bench.wire import WireError
from tests.unit.bench.till_server import reply, server

AUTHORIZED = b'{"authorizationId":"au_1","certificateCode":"GC-BENCH-0000000","status":"Authorized"}'
CAPTURED = b'{"operationId":"op_1","authorizationId":"au_1","certificateCode":"GC-BENCH-0000000","status":"Active"}'


def code(number: int) -> str:
    return f"GC-BENCH-{number:07}"


def load(
    respond: Callable[[bytes], bytes],
    schedule: Schedule,
    *,
    connections: int = 1,
    pairs: bool = False,
    drain_seconds_max: float = 60.0,
    ended: threading.Event | None = None,
) -> Load:
    with server(respond) as address:
        plan = (Pairs if pairs else Authorizations)(address, code, "run")
        made = Generator(address, plan, schedule, connections=connections, drain_seconds_max=drain_seconds_max)
        try:
            return made.run()
        finally:
            if ended is not None:
                ended.set()


def test_each_flow_is_an_authorization_with_a_key_of_its_own() -> None:
    seen: list[bytes] = []

    def respond(request: bytes) -> bytes:
        seen.append(request)
        return reply(AUTHORIZED)

    found = load(respond, AsSoonAsPossible(60, flows_max=3))

    assert (found.requests, found.refused, found.lost, len(found.latencies)) == (3, 0, 0, 3)
    lines = [request.split(b"\r\n") for request in seen]
    assert [line[0] for line in lines] == [
        b"POST /certificates/GC-BENCH-000000%d/authorize HTTP/1.1" % number for number in range(3)
    ]
    assert [line[-3] for line in lines] == [b"Idempotency-Key: run-%d" % number for number in range(3)]
    assert all(b"Authorization: Bearer key" in line for line in lines)
    assert msgspec.json.decode(lines[0][-1])["purpose"] == "Redemption"


def test_a_pair_captures_what_was_authorized_on_the_same_connection() -> None:
    seen: list[bytes] = []

    def respond(request: bytes) -> bytes:
        seen.append(request)
        return reply(AUTHORIZED if b"/authorize " in request else CAPTURED)

    found = load(respond, AsSoonAsPossible(60, flows_max=2), pairs=True)

    assert [request.split(b" ")[1].rsplit(b"/", 1)[1] for request in seen] == [b"authorize", b"capture"] * 2
    assert seen[1].endswith(b'\r\n\r\n{"authorizationId":"au_1"}')
    assert (found.requests, len(found.latencies)) == (4, 2)


def test_latency_counts_from_when_a_flow_was_to_begin_and_not_from_when_it_could() -> None:
    nobody_sets_it = threading.Event()

    def respond(request: bytes) -> bytes:
        if b"Idempotency-Key: run-0\r" in request:
            nobody_sets_it.wait(0.2)  # until all others are due
        return reply(AUTHORIZED)

    found = load(respond, AtRate(rate=100, seconds=0.1))

    assert len(found.latencies) == 10
    waited = sorted(found.latencies.values)
    assert waited[0] >= 100_000_000  # the last was due after 90 ms, and none was sent before the first had its answer
    assert found.lost == 0


def test_a_refusal_counts_as_one_and_is_shown() -> None:
    found = load(lambda _: reply(b'{"code":"InsufficientFunds"}', 409), AsSoonAsPossible(60, flows_max=5))

    assert (found.requests, found.refused, len(found.latencies)) == (0, 5, 0)
    assert found.refusals == ['409 {"code":"InsufficientFunds"}'] * 3


def test_a_connection_that_is_lost_is_gone_on_without() -> None:
    hung_up = threading.Event()

    def respond(_request: bytes) -> bytes:
        if not hung_up.is_set():
            hung_up.set()
            return b""
        return reply(AUTHORIZED)

    found = load(respond, AsSoonAsPossible(60, flows_max=6), connections=2)

    assert (found.lost, len(found.latencies)) == (1, 5)


def test_without_any_connection_left_there_is_no_result() -> None:
    with pytest.raises(WireError, match="closed"):
        load(lambda _: b"", AsSoonAsPossible(60))


def test_what_a_system_is_too_slow_for_counts_as_lost() -> None:
    ended = threading.Event()

    def respond(_request: bytes) -> bytes:
        ended.wait()
        return reply(AUTHORIZED)

    found = load(respond, AtRate(rate=100, seconds=60), drain_seconds_max=0.1, ended=ended)

    assert len(found.latencies) == 0
    assert found.lost == 6_000


def test_an_answer_that_never_comes_ends_a_closed_loop_too() -> None:
    ended = threading.Event()

    def respond(_request: bytes) -> bytes:
        ended.wait()
        return b""

    found = load(respond, AsSoonAsPossible(0.05), connections=2, drain_seconds_max=0.1, ended=ended)

    assert found.lost == 2


def test_it_can_be_stopped() -> None:
    stop = threading.Event()

    def respond(_request: bytes) -> bytes:
        stop.set()
        return reply(AUTHORIZED)

    with server(respond) as address:
        plan = Authorizations(address, code, "run")
        found = Generator(address, plan, AsSoonAsPossible(3_600), connections=1, stop=stop).run()

    # whether the answer was still read is a matter of who was faster
    assert found.requests + found.lost >= 1


def test_an_answer_may_come_in_pieces_be_long_and_spell_its_headers_in_capitals() -> None:
    long = b'{"padding":"%b"}' % (b"x" * 1_000_000)

    found = load(lambda _: reply(long, header=b"Content-Length"), AsSoonAsPossible(60, flows_max=2))

    assert len(found.latencies) == 2


def test_a_request_may_be_longer_than_what_the_socket_takes_at_once() -> None:
    class Long:
        def __init__(self, address: Address) -> None:
            self._address = address

        def first(self, number: int) -> bytes:
            return self._address.post("/", b"%d" % number + b"x" * 8_000_000)

        def then(self, number: int, answer: Answer) -> None:
            assert answer.body == b"%d" % number

    with server(lambda request: reply(request.partition(b"\r\n\r\n")[2][:1])) as address:
        found = Generator(address, Long(address), AsSoonAsPossible(60, flows_max=2), connections=1).run()

    assert len(found.latencies) == 2


def test_an_address_has_host_and_port() -> None:
    assert Address.of("http://127.0.0.1:8080", "key") == Address("127.0.0.1", 8080, "key")
    with pytest.raises(ValueError, match="no host and port"):
        Address.of("http://127.0.0.1", "key")

"""Fixtures that hand real servers to tests. Each server starts when it is first asked for, once per test run.

A test that needs one which the machine does not have is skipped with the reason; in CI (`CI=true`) it fails,
because a green run there must mean that it was tested.
"""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal, NoReturn

import pytest

from tests.real.kafka import RealKafka, kafka_missing
from tests.real.redis import RealServer, redis_binary, valkey_binary
from tests.real.secured_redis import SecuredServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ServerKind = Literal["redis", "valkey", "redis-secured", "valkey-secured"]
BOTH: tuple[ServerKind, ...] = ("redis", "valkey")


def lacking(reason: str) -> NoReturn:
    """Skip the test, or fail it in CI."""
    if os.environ.get("CI", "").lower() in {"1", "true"}:
        pytest.fail(f"{reason} (in CI nothing that is missing is skipped)", pytrace=False)
    pytest.skip(reason)


def binary_of(kind: ServerKind) -> str:
    """Return the server program, or give the test up."""
    is_redis = kind.startswith("redis")
    binary = redis_binary() if is_redis else valkey_binary()
    if binary is None:
        lacking("no redis-server: install it (Debian: apt-get install redis-server)" if is_redis else "no Valkey")
    return binary


@pytest.fixture(scope="session")
def start_shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[ServerKind], RealServer]]:
    """Return a function that gives the run's Redis or Valkey, and starts it where it does not run."""
    servers: dict[ServerKind, RealServer] = {}
    with ExitStack() as running:

        def start(kind: ServerKind) -> RealServer:
            if kind not in servers:
                make = SecuredServer if kind.endswith("-secured") else RealServer
                servers[kind] = make(binary_of(kind), tmp_path_factory.mktemp(kind))
                running.callback(servers[kind].kill)
            if not servers[kind].running:
                servers[kind].start()
            return servers[kind]

        yield start


@pytest.fixture(params=BOTH)
def redis_server(request: pytest.FixtureRequest, start_shared: Callable[[ServerKind], RealServer]) -> RealServer:
    """The run's server, running and empty: every test that asks runs on Redis and on Valkey.

    A test may kill and restart it; one that sets options (`CONFIG SET`) takes `own_redis` instead.
    """
    server = start_shared(request.param)
    server.empty()
    return server


@pytest.fixture
def redis_url(redis_server: RealServer) -> str:
    """The address of the run's server, running and empty."""
    return redis_server.url


@pytest.fixture(params=BOTH)
def own_redis(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """A server for this test alone, to be killed, filled up or configured badly; 0.1 s more than `redis_server`."""
    server = RealServer(binary_of(request.param), tmp_path_factory.mktemp(request.param))
    try:
        server.start()
        yield server
    finally:
        server.kill()


@pytest.fixture(scope="session")
def start_shared_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RealKafka]]:
    """Return a function that gives the run's broker; it runs and answers, whatever was done to it before."""
    brokers: list[RealKafka] = []
    with ExitStack() as running:

        def start() -> RealKafka:
            if (missing := kafka_missing()) is not None:
                lacking(missing)
            if not brokers:
                brokers.append(RealKafka(tmp_path_factory.mktemp("kafka")))
                running.callback(brokers[0].kill)
            if not brokers[0].running:
                brokers[0].start()
            brokers[0].wait()
            return brokers[0]

        yield start


@pytest.fixture
def kafka(start_shared_kafka: Callable[[], RealKafka]) -> RealKafka:
    """The run's broker, running. It keeps the topics of other tests: put `kafka_prefix` before names and groups."""
    return start_shared_kafka()


@pytest.fixture
def kafka_bootstrap(kafka: RealKafka) -> str:
    """The address of the run's broker."""
    return kafka.bootstrap


@pytest.fixture
def kafka_prefix() -> str:
    """What makes the names of this test's topics and groups its own."""
    return f"t{uuid.uuid4().hex[:8]}."

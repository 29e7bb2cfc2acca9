"""A Kafka that asks by TLS who is there, lets nobody in with a wrong password, and nobody do more than he has to."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.errors import TopicAuthorizationFailedError
from msgspec.structs import replace

from actors.host import wall_clock
from actors.reports import ActorReport
from gateway import kafka_rights
from gateway.dead_letter_desk import DeadLetterDesk, DeskError
from gateway.inbox import Inbox
from gateway.kafka_refusals import UNUSABLE, refusal
from gateway.kafka_security import KafkaSecurity
from gateway.offsets import TopicsError, published_so_far, read_again, read_so_far
from gateway.reconciliation import reconcile
from gateway.relay import OutboxRelay
from gateway.services import Condition
from gift_ledger.cli.probes import kafka_topics
from gift_ledger.cli.production_probes import TopicFacts, topic_facts
from gift_ledger.health import bridge_part
from persistence.memory import MemoryLog
from persistence.vault import Vault
from tests.integration.kafka_stage import (
    POLL_SECONDS,
    WAIT_SECONDS,
    MemoryLedger,
    bridge_settings,
    code,
    fill_outbox,
    is_empty,
    make_topics,
    order_event,
    payment_event,
    publish,
    read_topic,
    running,
    until,
)
from tests.real.certificates import Issuer
from tests.real.fixtures import lacking
from tests.real.kafka import kafka_missing
from tests.real.market import Market
from tests.real.secured_kafka import OPERATOR, STRANGER, USER, SecuredKafka
from tests.real.secured_kafka import PASSWORD as KAFKA_PASSWORD
from tests.real.secured_redis import OPERATOR_USER, SecuredServer
from tests.real.secured_redis import PASSWORD as REDIS_PASSWORD
from tests.real.stack import RunningStack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from gateway.bridge_settings import BridgeSettings
    from gateway.kafka_security import Mechanism
    from tests.real.fixtures import ServerKind

pytestmark = pytest.mark.real

HOLD = {"purpose": "Redemption", "amount": 1_000, "currency": "RUB"}


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecuredKafka]:
    if (missing := kafka_missing()) is not None:
        lacking(missing)
    broker = SecuredKafka(tmp_path_factory.mktemp("secured-kafka"))
    try:
        broker.start()
        broker.make_users()
        yield broker
    finally:
        broker.kill()


async def test_copies_of_topics_are_told_to_an_operator(broker: SecuredKafka, settings: BridgeSettings) -> None:
    theirs = await topic_facts(by(settings, broker.security(OPERATOR)))
    assert {theirs[name] for name in settings_topics(settings)} == {TopicFacts(replicas=1, in_sync_min=1)}

    service = await topic_facts(settings)
    assert service[settings.states] == TopicFacts(replicas=1, in_sync_min=None)


@pytest.fixture
async def settings(broker: SecuredKafka, kafka_prefix: str) -> BridgeSettings:
    """Topics of the test's own, and the service's rights on them."""
    settings = bridge_settings(broker.secured_bootstrap, kafka_prefix, security=broker.security())
    await make_topics(broker, settings)
    await asyncio.to_thread(broker.allow, USER, kafka_rights.of_service(settings))
    await asyncio.to_thread(
        broker.allow, OPERATOR, [*kafka_rights.of_service(settings), *kafka_rights.of_operators(settings)]
    )
    async with asyncio.timeout(WAIT_SECONDS):
        for user in (USER, OPERATOR):  # the broker hears of rights a little after the controller
            theirs = by(settings, broker.security(user))
            while not set(settings_topics(settings)) <= set(await kafka_topics(theirs)):  # noqa: ASYNC110
                await asyncio.sleep(POLL_SECONDS)
    return settings


def by(settings: BridgeSettings, security: KafkaSecurity) -> BridgeSettings:
    return replace(settings, security=security)


def told_by(worker: Inbox | OutboxRelay) -> str:
    """What readiness tells of an actor of the bridge that runs this worker."""
    facts = {"ready": int(worker.ready()), **worker.report()}
    report = ActorReport(name="bridge:it", kind="worker", state="ALIVE", pid=1, node="", facts=facts)
    part = bridge_part(report, "bridge:it")
    assert part.status is Condition.DEGRADED
    return part.detail


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
async def test_events_go_in_and_out(broker: SecuredKafka, settings: BridgeSettings, mechanism: Mechanism) -> None:
    settings = by(settings, broker.security(mechanism=mechanism))
    await publish(broker.bootstrap, settings.sales_orders, [("SO-1", order_event("SO-1")), ("SO-2", b"no order")])
    await publish(broker.bootstrap, settings.payments, [("SO-1", payment_event("SO-1"))])
    async with MemoryLedger() as ledger:
        await fill_outbox(ledger.log, range(1, 3), 2)
        inbox = Inbox(ledger, ledger.vault, settings, wall_clock)
        relay = OutboxRelay(ledger.log, settings, wall_clock)
        async with running(inbox), running(relay):
            await is_empty(ledger.log)
            await until(lambda: ledger.paid(1) == {"o:SO-1"})
            await until(lambda: inbox.report()["deadLetters"] == 1)
            await until(lambda: inbox.ready() and relay.ready())
            assert (inbox.report()["refusal"], relay.report()["refusal"]) == ("", "")

    states = await read_topic(broker.bootstrap, settings.states, 4)
    assert {record.key.decode() for record in states} == {code(0), code(1)}
    read = await read_so_far(settings)
    assert (sum(read[settings.sales_orders].values()), sum(read[settings.payments].values())) == (2, 1)


async def test_a_wrong_password_is_told_by_all_who_meet_it(
    broker: SecuredKafka, settings: BridgeSettings, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = by(settings, broker.security(password="wrong-hidden"))
    said = "Kafka refuses our user or its password"
    async with MemoryLedger() as ledger:
        inbox = Inbox(ledger, ledger.vault, wrong, wall_clock)
        relay = OutboxRelay(ledger.log, wrong, wall_clock)
        async with running(inbox), running(relay):
            await until(lambda: inbox.report()["refusal"] and relay.report()["refusal"])
            assert told_by(inbox) == told_by(relay) == f"bridge:it: {said}; what it carries waits."

    with pytest.raises(TopicsError, match=said):
        await read_so_far(wrong)
    with pytest.raises(DeskError, match=said):
        async with DeadLetterDesk(wrong):
            pass
    with pytest.raises(OSError, match=said):
        await kafka_topics(wrong)
    assert f"Kafka cannot be reached, and is tried again: {said}" in caplog.text
    assert "hidden" not in caplog.text


async def test_what_else_brokers_have_against_us_is_told(
    broker: SecuredKafka, settings: BridgeSettings, tmp_path: Path
) -> None:
    ours = broker.security()
    other = str(Issuer().write(tmp_path / "other.crt"))

    assert await refusal(settings) == ""
    assert await refusal(by(settings, broker.security("nobody"))) == "Kafka refuses our user or its password"
    assert "not to be trusted" in await refusal(by(settings, replace(ours, issuers=other)))
    assert "not to be trusted" in await refusal(by(settings, replace(ours, issuers=None)))
    assert await refusal(by(settings, replace(ours, issuers=str(tmp_path / "none.crt")))) == UNUSABLE
    assert await refusal(replace(settings, bootstrap="127.0.0.1:1")) == ""


async def test_the_service_may_do_no_more_than_it_has_to(broker: SecuredKafka, settings: BridgeSettings) -> None:
    options = settings.security.options()

    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap, **options) as producer:
        with pytest.raises(TopicAuthorizationFailedError):
            await producer.send_and_wait(settings.payments, b"{}")
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap, **options) as producer:
        await producer.send_and_wait(settings.states, b"{}")
    with pytest.raises(TopicsError):
        await published_so_far(by(settings, broker.security("nobody")))
    with pytest.raises(DeskError):
        async with DeadLetterDesk(settings) as desk:
            assert [letter async for letter in desk.letters()] == []
    assert set(settings_topics(settings)) <= set(await kafka_topics(settings))
    assert await kafka_topics(by(settings, broker.security(STRANGER))) == {}


def settings_topics(settings: BridgeSettings) -> list[str]:
    return [
        settings.sales_orders,
        settings.payments,
        settings.states,
        settings.transactions,
        settings.dead_letters,
    ]


async def test_an_operator_reads_letters_reconciles_and_sets_the_inbox_back(
    broker: SecuredKafka, settings: BridgeSettings
) -> None:
    theirs = by(settings, broker.security(OPERATOR))
    await publish(broker.bootstrap, settings.sales_orders, [("SO-1", b"no order")])
    async with MemoryLedger() as ledger:
        inbox = Inbox(ledger, Vault.generate(), settings, wall_clock)
        async with running(inbox):
            await until(lambda: inbox.report()["deadLetters"] == 1)

    async with DeadLetterDesk(theirs) as desk:
        (letter,) = [letter async for letter in desk.letters()]
        await desk.replay(letter)
        await desk.mark_replayed(letter)
    report = await reconcile(MemoryLog(), theirs, lambda *_: None, republish=True)
    assert report.lost == ()
    before = await read_so_far(theirs)
    await read_again(theirs, {topic: dict.fromkeys(offsets, 0) for topic, offsets in before.items()})
    assert {at for offsets in (await read_so_far(theirs)).values() for at in offsets.values()} == {0}
    assert sum(sum(offsets.values()) for offsets in (await published_so_far(theirs)).values()) == 0


class SecuredStack(RunningStack):
    """A stack on servers that ask who is there, among clients who come in the clear."""

    def __init__(self, directory: Path, redis: SecuredServer, broker: SecuredKafka, settings: BridgeSettings) -> None:
        self._clear = broker.bootstrap
        self.operator = {"REDIS_URL": redis.address(OPERATOR_USER)}
        """What is different for an operator."""
        topics = ("sales_orders", "payments", "states", "transactions", "dead_letters")
        kafka = {
            "KAFKA_BOOTSTRAP": broker.secured_bootstrap,
            "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
            "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
            "KAFKA_USERNAME": USER,
            "KAFKA_PASSWORD": KAFKA_PASSWORD,
            "KAFKA_TLS_CA": str(broker.ca),
            "KAFKA_GROUP": settings.group,
            **{f"TOPIC_{name.upper()}": getattr(settings, name) for name in topics},
        }
        super().__init__(directory, {**kafka, **redis.settings, "REDIS_PASSWORD": REDIS_PASSWORD})

    @property
    def bootstrap(self) -> str:
        return self._clear


@pytest.mark.ray
@pytest.mark.slow
async def test_a_whole_stack_runs_on_servers_that_ask_who_is_there(
    broker: SecuredKafka, settings: BridgeSettings, start_shared: Callable[[ServerKind], SecuredServer], tmp_path: Path
) -> None:
    redis = start_shared("redis-secured")
    redis.empty()
    stack = SecuredStack(tmp_path, redis, broker, settings)
    try:
        await asyncio.to_thread(stack.start)
        async with Market(stack, settings.states.removesuffix("GiftCertificateState")) as market:
            (bought,) = await market.sell(1, 150_000)
            held = await market.shop.post(f"/certificates/{bought}/authorize", HOLD)
            await market.shop.post(f"/certificates/{bought}/capture", {"authorizationId": held["authorizationId"]})
        checks = await asyncio.to_thread(stack.run, "doctor", "--json")
        verified = await asyncio.to_thread(stack.run, "verify", settings=stack.operator)
        await asyncio.to_thread(stack.stop)
        said = stack.log + checks.stdout + verified.stdout + verified.stderr
    finally:
        stack.kill()

    states = await read_topic(broker.bootstrap, settings.states, 4)
    assert json.loads(states[-1].value)["balance"] == 149_000
    levels = {one["name"]: one["level"] for one in json.loads(checks.stdout)}
    assert (levels["redis"], levels["kafka"]) == ("ok", "ok")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert not any(password in said for password in (KAFKA_PASSWORD, REDIS_PASSWORD))


async def test_a_certificate_of_our_own_is_shown_where_one_is_asked_for(
    tmp_path_factory: pytest.TempPathFactory, kafka_prefix: str
) -> None:
    if (missing := kafka_missing()) is not None:
        lacking(missing)
    broker = SecuredKafka(tmp_path_factory.mktemp("certified-kafka"), client_certificates=True)
    try:
        await asyncio.to_thread(broker.start)
        await asyncio.to_thread(broker.make_users)
        settings = bridge_settings(broker.secured_bootstrap, kafka_prefix, security=broker.security())
        assert await refusal(settings) == ""
        assert await kafka_topics(settings) == {}
        unknown = by(settings, replace(settings.security, certificate=None, key=None))
        with pytest.raises(OSError, match="bootstrap"):
            await kafka_topics(unknown)
    finally:
        broker.kill()

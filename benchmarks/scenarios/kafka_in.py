"""Orders and payments a second, taken from Kafka and applied durably."""

import asyncio
import time
from typing import Final

import msgspec
from aiokafka import AIOKafkaProducer

from benchmarks.rounds import figure, middle, spread
from benchmarks.section import PER_SECOND, Section, Table, Target
from benchmarks.stage import Stage
from benchmarks.wrk import LoadError
from examples.messages import CertificateLine, Collected, Payment, Recipient, SalesOrder
from examples.topics import PAYMENTS, SALES_ORDERS

EVENTS: Final = 6_000
"""Of each kind in a round. The embedded broker keeps 5 MiB a partition: more would have to be slower."""
RATE: Final = 3_000
APPLY_SECONDS_MAX: Final = 60.0
APPLIED: Final = "gift_ledger_inbox_applied_total"
_DENOMINATION: Final = 100_000
_LOOK_SECONDS: Final = 0.05

_encoder: Final = msgspec.json.Encoder()
Events = list[tuple[str, bytes]]
"""Key and value."""


def kafka_in(stage: Stage) -> Section:
    """Measure."""
    orders, payments = [], []
    for number in range(stage.options.rounds):
        ids = [f"SO-IN-{stage.run_name()}-{number}-{order}" for order in range(EVENTS)]
        orders.append(_round(stage, SALES_ORDERS, [(order_id, order(order_id)) for order_id in ids]))
        payments.append(_round(stage, PAYMENTS, [(order_id, payment(order_id)) for order_id in ids]))
    stage.say(f"Kafka in: orders {figure(middle(orders))}/s, payments {figure(middle(payments))}/s")
    return Section(
        title="Kafka in",
        how=(
            f"{figure(EVENTS)} orders of one line, then a payment in part for each, {stage.options.rounds} times. "
            "Counted from the first event that is published to the last that is applied and durable."
        ),
        tables=[Table(headings=("", "events/s"), rows=[("orders", spread(orders)), ("payments", spread(payments))])],
        targets=[
            Target(what="orders applied", measured=middle(orders), bound=RATE, unit=PER_SECOND),
            Target(what="payments applied", measured=middle(payments), bound=RATE, unit=PER_SECOND),
        ],
    )


def order(order_id: str) -> bytes:
    """An order of one certificate."""
    recipient = Recipient(name="Anna", phone="+79990000001")
    line = CertificateLine(order_line_id="1", planned_denomination=_DENOMINATION, intended_recipient=recipient)
    return _encoder.encode(SalesOrder(order_id=order_id, currency="RUB", certificate_lines=(line,)))


def payment(order_id: str) -> bytes:
    """Half of what the order costs."""
    half = _DENOMINATION // 2
    return _encoder.encode(
        Payment(
            order_id=order_id,
            payment_version=1,
            currency="RUB",
            captured_amount=half,
            outstanding_amount=half,
            is_order_settled=False,
            certificate_allocations=(Collected(order_line_id="1", collected_amount=half),),
        )
    )


def _round(stage: Stage, topic: str, events: Events) -> float:
    """Events a second."""
    product = stage.product
    wanted = product.metric(APPLIED) + len(events)
    began = time.monotonic()
    asyncio.run(_publish(product.endpoints.kafka, topic, events))
    while product.metric(APPLIED) < wanted:
        if time.monotonic() - began > APPLY_SECONDS_MAX:
            raise LoadError(f"{topic}: not all is applied after {APPLY_SECONDS_MAX:g} s")
        time.sleep(_LOOK_SECONDS)
    return len(events) / (time.monotonic() - began)


async def _publish(bootstrap: str, topic: str, events: Events) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", enable_idempotence=True, linger_ms=5)
    await producer.start()
    try:
        sent = [await producer.send(topic, value, key=key.encode()) for key, value in events]
        await asyncio.gather(*sent)
    finally:
        await producer.stop()

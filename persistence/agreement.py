"""Whether orders and certificates agree: each code on one line, each value issued for a line that was paid.

And whether the data keys are there that the records of an order take.

A sale is a sequence of steps (see docs/decisions), so between two of them the two sides may differ. Only what no step
leaves behind is a problem; where a step in between looks alike, it has to have stood so for a while.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from ledger import order
from ledger.certificate import Certificate
from ledger.identifiers import certificate_entity, order_entity
from ledger.money import SECOND_MS
from ledger.order import Order
from ledger.records import Status
from persistence import envelope
from persistence.errors import DamagedLogError
from persistence.log import Log
from persistence.reading import load_each, replayed, restored
from persistence.replay import Problem, Replay

SETTLED_AFTER_MS: Final = 600 * SECOND_MS
"""What one side has yet to hear from the other it has heard by then."""


async def certificates_of(log: Log, replays: Iterable[Replay]) -> dict[str, Certificate]:
    """By code, the certificates on the lines of orders; those that cannot be read are left out."""
    entities = sorted(
        {
            certificate_entity(allocation.code)
            for replay in replays
            if isinstance(replay.state, Order)
            for allocation in replay.state.allocations.values()
        }
    )
    found = {}
    for entity, loaded in zip(entities, await load_each(log, entities), strict=True):
        try:
            state = await restored(log, entity, loaded)
        except DamagedLogError:
            continue  # found and told when the certificate itself is replayed
        if isinstance(state, Certificate):
            found[state.code] = state
    return found


async def data_keys_of(log: Log, replays: Iterable[Replay]) -> dict[str, dict[str, bytes]]:
    """By entity, the data keys of orders."""
    orders = [replay.entity for replay in replays if isinstance(replay.state, Order)]
    return dict(zip(orders, await log.data_keys_of(orders), strict=True)) if orders else {}


def problems_of_data_keys(replay: Replay, kept: Mapping[str, bytes]) -> list[Problem]:
    """Recipients that nobody can read though they were not forgotten, and keys that open nothing."""
    if replay.broken:
        return []
    lost = [
        (version, f"the data key {name} is missing, and nobody forgot it: its recipient cannot be read")
        for name, version in replay.recipients.items()
        if name not in kept
    ]
    strange = [
        (replay.version, f"the data key {name} opens nothing that stands in the records")
        for name, value in kept.items()
        if name not in replay.recipients and not envelope.is_forgotten(value)
    ]
    return [*lost, *strange]


def problems_of_order(replay: Replay, certificates: dict[str, Certificate], now: int) -> list[Problem]:
    """What is wrong between an order and the certificates on its lines; ``now`` in milliseconds."""
    state = replay.state
    if not isinstance(state, Order) or replay.broken:
        return []
    owed = {errand.line_id for errand in order.errands(state, now)}
    found: list[Problem] = []
    for line_id, allocation in state.allocations.items():
        certificate = certificates.get(allocation.code)
        if certificate is None:
            continue
        ours = certificate.sold_to(state.order_id, line_id)
        where = f"line {line_id}: {allocation.code}"
        quiet = now - max(state.updated_at, certificate.updated_at) > SETTLED_AFTER_MS
        if allocation.activated and (not ours or certificate.activation is None):
            found.append((state.version, f"{where} is activated here, and the certificate is not"))
        elif ours:
            found += _issued(replay, line_id, certificate)
        elif allocation.stuck is None and line_id not in owed and quiet:
            found.append((state.version, f"{where} is on the line, and the certificate is not reserved for it"))
    return found


def problems_of_certificate(state: Certificate, replay: Replay) -> list[Problem]:
    """What is wrong between a certificate that was issued and its order, which was replayed after it."""
    if replay.broken or not isinstance(replay.state, Order):
        return []
    allocation = replay.state.allocations.get(state.line_id or "")
    if allocation is None or allocation.code != state.code:
        return [
            (state.activation, f"it was issued for {state.order_id}, line {state.line_id}, which knows nothing of it")
        ]
    return _issued(replay, state.line_id or "", state)


async def orders_of(log: Log, certificates: Sequence[Certificate]) -> list[Replay]:
    """The orders of certificates, in the same order, each replayed."""
    replays = [Replay(order_entity(state.order_id or ""), None, frozenset()) for state in certificates]
    return list(await replayed(log, replays))


def _issued(replay: Replay, line_id: str, certificate: Certificate) -> list[Problem]:
    """Whether the value of a certificate is one that its line was ever planned with and paid for."""
    if certificate.activation is None or certificate.status is Status.RESERVED:
        return []
    value = (certificate.denomination or 0, certificate.currency or "")
    if value in replay.grants.get(line_id, set()):
        return []
    what = f"{certificate.code} was issued with {value[0]} {value[1]}"
    return [(replay.version, f"line {line_id}: {what}, which was never both planned and paid for")]

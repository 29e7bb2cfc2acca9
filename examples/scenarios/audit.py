"""Afterwards: do the books of all the systems agree?"""

from collections.abc import Mapping

from examples.cast import Cast
from examples.messages import HistoryEntry
from examples.narration import Narrator
from examples.patience import eventually
from examples.synchronisation import Synchronisation

TITLE = "Audit: everyone's books agree"

MOVES = frozenset({"Activate", "Capture", "Void", "Expire"})
"""Types of entries that can move a balance."""

CHANGES = MOVES | {"Reserve", "Join", "Keep", "Block", "Unblock", "ReissueCvc"}
"""Types of entries that GiftCertificateState tells of, unless they concern a hold."""


def changes_state(entry: HistoryEntry) -> bool:
    """Whether subscribers hear of it in GiftCertificateState: all but what only concerns a hold."""
    return entry.type in CHANGES and entry.voided_type != "Authorization"


def moves_money(entry: HistoryEntry) -> bool:
    """Whether it is a GiftCertificateTransaction: a certificate that expires empty is none."""
    return entry.type in MOVES and entry.voided_type != "Authorization" and entry.amount != 0


async def play(cast: Cast, narrator: Narrator, codes: Mapping[str, str], transaction_ids: frozenset[str]) -> None:
    """Compare the books.

    Args:
        cast: The systems.
        narrator: Tells and checks.
        codes: What each certificate of this run is called, and its code.
        transaction_ids: Every transaction that the service answered with or told of.
    """
    histories: dict[str, list[HistoryEntry]] = {}
    for code in codes.values():
        narrator.step("Support", "HTTP", f"GET /certificates/{code}/operations")
        histories[code] = await cast.support.history(code)
    for name, events in cast.subscribers.items():
        narrator.step(name, "Kafka", "compares what it read with what the service answered")
        await events.wait_for(tuple(transaction_ids))
        mine = {one.transaction_id for code in codes.values() for one in events.transactions.get(code, [])}
        narrator.check(
            f"{name}: of {len(transaction_ids)} transactions, missing or unknown",
            expected=[],
            got=sorted(mine ^ transaction_ids),
        )
        for title, code in codes.items():
            await _without_a_gap(narrator, f"{name}, the {title} certificate", events, code, histories[code])
    await _sums(cast, narrator, tuple(codes.values()))
    await _readiness(cast, narrator)


async def _without_a_gap(
    narrator: Narrator, who: str, events: Synchronisation, code: str, history: list[HistoryEntry]
) -> None:
    changes = [entry.version for entry in history if changes_state(entry)]
    await events.wait_for_versions(code, set(changes))
    heard = events.heard.get(code, [])
    narrator.check(f"{who}: every change was heard of, in order", expected=changes, got=heard)
    moves = [entry.version for entry in history if moves_money(entry)]
    got = [one.version for one in events.transactions.get(code, [])]
    narrator.check(f"{who}: every transaction likewise", expected=moves, got=got)


async def _sums(cast: Cast, narrator: Narrator, codes: tuple[str, ...]) -> None:
    narrator.step("BI Pipeline", "Kafka", "adds up the transactions and compares them with the states")
    await cast.bi.certificates.feed.read(lambda: not cast.bi.reconcile(codes))
    narrator.check("certificates that do not add up", expected=[], got=cast.bi.reconcile(codes))
    for code in codes:
        narrator.step("Support", "HTTP", f"GET /certificates/{code}")
        seen = await cast.support.look_up(code)
        sums = cast.bi.balance(code)
        narrator.check("its balance is what BI's transactions add up to", expected=sums, got=seen.balance, money=True)

    totals = cast.bi.totals(codes)
    narrator.report.totals = totals
    narrator.check("only roubles moved", expected=["RUB"], got=list(totals))
    roubles = totals["RUB"]
    for what, expected, got in (
        ("issued", 290_000, roubles.issued),
        ("redeemed", 160_000, roubles.redeemed),
        ("refunded", 60_000, roubles.refunded),
        ("undone", 40_000, roubles.undone),
        ("what customers can still spend", 150_000, roubles.liability),
    ):
        narrator.check(what, expected=expected, got=got, money=True)


async def _readiness(cast: Cast, narrator: Narrator) -> None:
    balancer = cast.balancer
    narrator.step("LoadBalancer", "HTTP", f"has asked GET /health/ready {balancer.asked} times meanwhile")
    narrator.check("answers that were not 200", expected=[], got=balancer.refusals)
    ready = await eventually(balancer.ask, lambda seen: seen is not None and seen.status == "ok")
    narrator.check("storage, shards, keys, Kafka and SMS", expected="ok", got=str(ready))

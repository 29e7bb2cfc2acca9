"""Afterwards: do the books of all the systems agree?"""

from collections.abc import Mapping

from examples.cast import Cast
from examples.messages import HistoryEntry
from examples.narration import Narrator
from examples.synchronisation import Synchronisation

TITLE = "Audit: everyone's books agree"

MOVES = frozenset({"Activate", "Capture", "Void", "Expire"})
"""Entries of a history that move a balance, but for the void of a hold; each is a GiftCertificateTransaction."""

CHANGES = MOVES | {"Reserve", "Join", "Block", "Unblock"}
"""Entries that every subscriber of GiftCertificateState hears of."""


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


async def _without_a_gap(
    narrator: Narrator, who: str, events: Synchronisation, code: str, history: list[HistoryEntry]
) -> None:
    told = [entry for entry in history if entry.voided_type != "Authorization"]
    changes = {entry.version for entry in told if entry.type in CHANGES}
    await events.wait_for_versions(code, changes)
    heard = events.heard.get(code, [])
    narrator.check(f"{who}: states that never came", expected=[], got=sorted(changes - set(heard)))
    narrator.check(f"{who}: versions, in order", expected=sorted(heard), got=heard)
    moves = [entry.version for entry in told if entry.type in MOVES]
    got = [one.version for one in events.transactions.get(code, [])]
    narrator.check(f"{who}: transactions, in order and none missing", expected=moves, got=got)


async def _sums(cast: Cast, narrator: Narrator, codes: tuple[str, ...]) -> None:
    narrator.step("BI Pipeline", "Kafka", "adds up the transactions and compares them with the states")
    await cast.bi.certificates.feed.read(lambda: not cast.bi.reconcile(codes))
    narrator.check("certificates that do not add up", expected=[], got=cast.bi.reconcile(codes))
    for code in codes:
        narrator.step("Support", "HTTP", f"GET /certificates/{code}")
        seen = await cast.support.look_up(code)
        narrator.check(
            "the ledger's balance is what BI's transactions add up to", expected=cast.bi.balance(code), got=seen.balance
        )

    totals = cast.bi.totals(codes)
    narrator.report.totals = totals
    narrator.check("only roubles moved", expected=["RUB"], got=list(totals))
    roubles = totals["RUB"]
    narrator.check("issued", expected=290_000, got=roubles.issued)
    narrator.check("redeemed", expected=160_000, got=roubles.redeemed)
    narrator.check("refunded", expected=60_000, got=roubles.refunded)
    narrator.check("undone", expected=40_000, got=roubles.undone)
    narrator.check("what customers can still spend", expected=150_000, got=roubles.liability)

"""Afterwards: do the books of all the systems agree?"""

from examples.cast import Cast
from examples.narration import Narrator
from examples.scenarios.sale import Sold

TITLE = "Audit: everyone's books agree"


async def play(cast: Cast, narrator: Narrator, sold: Sold, moved: tuple[str, ...]) -> None:
    """Compare the books.

    Args:
        cast: The systems.
        narrator: Tells and checks.
        sold: The certificates of this run.
        moved: The identifiers of every transaction that the service answered with.
    """
    codes = (sold.first.code, sold.second.code)
    transaction_ids = {sold.first.activation_id, sold.second.activation_id, *moved}
    for name, events in cast.subscribers.items():
        narrator.step(name, "Kafka", "compares what it read with what the service answered")
        await events.wait_for(tuple(transaction_ids))
        mine = [one for code in codes for one in events.transactions.get(code, [])]
        narrator.check(
            f"{name}: of {len(transaction_ids)} transactions, missing or unknown",
            expected=[],
            got=sorted({one.transaction_id for one in mine} ^ transaction_ids),
        )
        for certificate, code in zip(("first", "second"), codes, strict=True):
            versions = [one.version for one in events.transactions.get(code, [])]
            narrator.check(
                f"{name}: versions of the {certificate} certificate, in order", expected=sorted(versions), got=versions
            )

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
    narrator.check("issued", expected=250_000, got=roubles.issued)
    narrator.check("redeemed", expected=160_000, got=roubles.redeemed)
    narrator.check("refunded", expected=60_000, got=roubles.refunded)
    narrator.check("what customers can still spend", expected=150_000, got=roubles.liability)

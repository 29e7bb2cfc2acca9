"""Scenario 3: what was drawn is put back, in parts, and support has its say."""

from examples.cast import Cast, cvc_in
from examples.narration import Narrator
from examples.scenarios.redemption import Redeemed
from examples.scenarios.sale import Certificate, Sold

TITLE = "Scenario 3: refund of a write-off"


async def play(cast: Cast, narrator: Narrator, sold: Sold, redeemed: Redeemed) -> tuple[str, ...]:
    """Play the scenario.

    Returns:
        The identifiers of the voids.
    """
    voids = await _put_back(cast, narrator, sold, redeemed)
    await _history(cast, narrator, sold.second)
    await _block(cast, narrator, sold.first)
    await _new_cvc(cast, narrator, sold.first)
    for name, events in cast.subscribers.items():
        narrator.step(name, "Kafka", "reads GiftCertificateTransaction and GiftCertificateState")
        await events.wait_for(voids)
        seen = {one.transaction_id for one in events.transactions[sold.second.code] if one.type == "Void"}
        narrator.check(f"{name} saw both voids", expected=sorted(voids), got=sorted(seen))
    return voids


async def _put_back(cast: Cast, narrator: Narrator, sold: Sold, redeemed: Redeemed) -> tuple[str, ...]:
    code, capture_id = sold.second.code, redeemed.last_capture.operation_id
    narrator.step("Till", "HTTP", "tries to void what the OnlineStore captured; a stranger tries without a key")
    await narrator.refused(
        "another client's operation is out of reach",
        "Forbidden",
        cast.till.void(code, redeemed.site_capture.operation_id),
    )
    await narrator.refused(
        "without a key there is nothing",
        "Unauthenticated",
        cast.stranger.get(f"/certificates/{code}", dict[str, object]),
    )

    narrator.step("Support", "HTTP", f"POST /certificates/{code}/void: 200.00 of the captured 600.00")
    first = (await cast.support.void(code, capture_id, amount=20_000, reason="one item returned")).body
    active = {"balance": 20_000, "status": "Active"}
    narrator.check("the used-up certificate is active again", expected=active, got=first.fields(*active), money=True)
    undone = {"voids": capture_id, "voidedType": "Capture"}
    narrator.check("the void names what it voids", expected=undone, got=first.fields(*undone))

    narrator.step("Payments", "HTTP", "asks for 500.00 of the remaining 400.00; then for the rest")
    await narrator.refused(
        "never more than was captured", "VoidExceedsOperation", cast.payments.void(code, capture_id, amount=50_000)
    )
    second = (await cast.payments.void(code, capture_id, reason="order returned")).body
    rest = {"amount": 40_000, "balance": 60_000}
    narrator.check("the rest comes back", expected=rest, got=second.fields(*rest), money=True)
    await narrator.refused("nothing is left of it", "OperationAlreadyVoided", cast.payments.void(code, capture_id))

    narrator.step("Support", "HTTP", "tries to void a void, an activation that was drawn on, and nothing at all")
    await narrator.refused("a void stays", "OperationNotVoidable", cast.support.void(code, second.operation_id))
    await narrator.refused(
        "so does the activation", "OperationNotVoidable", cast.support.void(sold.first.code, sold.first.activation_id)
    )
    await narrator.refused("no such operation", "OperationNotFound", cast.support.void(code, "no-such-operation"))
    return first.operation_id, second.operation_id


async def _history(cast: Cast, narrator: Narrator, certificate: Certificate) -> None:
    narrator.step("Support", "HTTP", f"GET /certificates/{certificate.code}/operations, page by page")
    history = await cast.support.history(certificate.code, page_size=3)
    moved = [entry.type for entry in history if entry.type in {"Activate", "Capture", "Void"}]
    narrator.check("the whole history", expected=["Activate", "Capture", "Capture", "Void", "Void"], got=moved)

    drawn = [entry for entry in history if entry.type == "Capture"][-1]
    narrator.step("Support", "HTTP", f"GET /certificates/{certificate.code}?asOf={drawn.occurred_at}")
    for name, time, expected in (
        ("as it was when the last of it was drawn", drawn.occurred_at, {"status": "Depleted", "balance": 0}),
        ("as it is now", None, {"status": "Active", "balance": 60_000}),
    ):
        seen = await cast.support.look_up(certificate.code, as_of=time)
        narrator.check(name, expected=expected, got=seen.fields(*expected), money=True)


async def _block(cast: Cast, narrator: Narrator, certificate: Certificate) -> None:
    code, events = certificate.code, cast.bi.certificates
    narrator.step("Support", "HTTP", f"POST /certificates/{code}/block, and later /unblock")
    await cast.support.block(code, "reported lost")
    await narrator.refused("a blocked certificate pays nothing", "CertificateBlocked", cast.till.authorize(code, 1_000))
    narrator.check("the BI pipeline hears of it", expected=True, got=await events.wait_for_status(code, "Blocked"))
    await cast.support.unblock(code, "found again")
    seen = await cast.support.look_up(code)
    usable = {"status": "Active", "available": 90_000}
    narrator.check("it can be used again", expected=usable, got=seen.fields(*usable), money=True)
    narrator.check("that too is heard of", expected=True, got=await events.wait_for_status(code, "Active"))


async def _new_cvc(cast: Cast, narrator: Narrator, certificate: Certificate) -> None:
    code = certificate.code
    narrator.step("Support", "HTTP", f"POST /certificates/{code}/cvc")
    await cast.support.resend_cvc(code)
    narrator.step("SMS gateway", "SMS", "delivers a new CVC")
    messages = await cast.inbox.wait_for(certificate.phone, 2)
    narrator.check("the recipient has two messages now", expected=2, got=len(messages))
    cvc = cvc_in(messages[-1].text) or ""
    if cvc == certificate.cvc:
        narrator.step("SMS gateway", "SMS", "by chance, one in ten thousand, the new CVC is the old one")
    else:
        await narrator.refused("the old CVC is void", "CertificateRefused", cast.store.balance(code, certificate.cvc))
    answer = (await cast.store.balance(code, cvc)).body
    narrator.check("the new one works", expected=90_000, got=answer.balance, money=True)

"""Scenario 2: the certificates are used on the site and at the till, in parts."""

import uuid
from dataclasses import dataclass

from examples.cast import Cast
from examples.connection import RefusedError
from examples.messages import Operation
from examples.narration import Narrator
from examples.online_store import fresh_code
from examples.scenarios.sale import Certificate, Sold, fresh_order_id
from examples.till import Till

TITLE = "Scenario 2: redemption in parts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeemed:
    """What the scenario leaves behind: 900.00 on the first certificate, nothing on the second."""

    site_capture: Operation
    """400.00 of the second certificate, drawn by the OnlineStore."""
    last_capture: Operation
    """The remaining 600.00 of the second certificate, drawn by Payments."""
    transaction_ids: tuple[str, ...]


async def play(cast: Cast, narrator: Narrator, sold: Sold) -> Redeemed:
    """Play the scenario."""
    await _refusals(cast, narrator, sold)
    site = await _on_the_site(cast, narrator, sold.second)
    parts = await _in_parts(cast, narrator, sold.first)
    last = await _partial_approval(cast, narrator, sold.second)
    await _release(cast, narrator, sold.first)
    repeated = await _asked_twice(cast, narrator, sold.first)

    captures = (site, *parts, last, repeated)
    transaction_ids = tuple(capture.operation_id for capture in captures)
    for name, events in cast.subscribers.items():
        narrator.step(name, "Kafka", "reads GiftCertificateTransaction and GiftCertificateState")
        await events.wait_for(transaction_ids)
        seen = {one.transaction_id for many in events.transactions.values() for one in many if one.type == "Capture"}
        narrator.check(f"{name} saw every capture", expected=5, got=len(seen & set(transaction_ids)))
    return Redeemed(site_capture=site, last_capture=last, transaction_ids=transaction_ids)


def wrong(cvc: str, step: int = 1) -> str:
    """Four digits that are not this CVC, others for each step from 1 to 9 999."""
    return f"{(int(cvc) + step) % 10_000:04}"


def _told(refusal: RefusedError | None) -> object:
    """What a refusal gives away, apart from the path that was asked for."""
    if refusal is None:
        return None
    return refusal.status, {
        name: value for name, value in refusal.problem.items() if name in {"code", "title", "detail"}
    }


async def _refusals(cast: Cast, narrator: Narrator, sold: Sold) -> None:
    code, cvc = sold.first.code, sold.first.cvc
    full = {"balance": 150_000, "available": 150_000}
    narrator.step("OnlineStore", "HTTP", f"POST /certificates/{code}/balance with the CVC from the SMS")
    seen = (await cast.store.balance(code, cvc)).body
    narrator.check("what it is worth", expected=full, got=seen.fields(*full), money=True)
    narrator.step("Till", "HTTP", f"POST /certificates/{code}/balance without a CVC: the customer has it in his hand")
    seen = (await cast.till.balance(code)).body
    narrator.check("the same", expected=full, got=seen.fields(*full), money=True)

    narrator.step("Till", "HTTP", "tries to sell the same code a second time")
    await narrator.refused("it was sold already", "CodeAlreadySold", cast.till.sell(code, fresh_order_id(), "1"))

    narrator.step("OnlineStore", "HTTP", "tries to pay with a wrong CVC, and with a code that does not exist")
    guessed = await narrator.refused(
        "a wrong CVC is refused", "CertificateRefused", cast.store.authorize(code, 10_000, wrong(cvc))
    )
    unknown = await narrator.refused(
        "an unknown code likewise", "CertificateRefused", cast.store.authorize(fresh_code(), 10_000, cvc)
    )
    narrator.check("and nobody can tell which it was", expected=_told(guessed), got=_told(unknown))
    narrator.step("Till", "HTTP", "tries with a wrong CVC, and in another currency")
    await narrator.refused("the till is told", "CvcMismatch", cast.till.authorize(code, 10_000, cvc=wrong(cvc)))
    euros = Till(cast.till.connection, currency="EUR")
    await narrator.refused("roubles are not euros", "CurrencyMismatch", euros.authorize(code, 10_000))
    seen = (await cast.till.balance(code, cvc)).body
    narrator.check("the right CVC works, and nothing was taken", expected=full, got=seen.fields(*full), money=True)


async def _on_the_site(cast: Cast, narrator: Narrator, certificate: Certificate) -> Operation:
    narrator.step("OnlineStore", "HTTP", f"authorize 400.00 of {certificate.code} with its CVC, then capture")
    hold = (await cast.store.authorize(certificate.code, 40_000, certificate.cvc)).body
    left: dict[str, object] = {"balance": 100_000, "available": 60_000}
    narrator.check("the hold leaves", expected=left, got=hold.fields(*left), money=True)
    paid = (await cast.store.capture(certificate.code, hold.authorization_id)).body
    left = {"balance": 60_000, "available": 60_000, "status": "Active"}
    narrator.check("the capture leaves", expected=left, got=paid.fields(*left), money=True)
    return paid


async def _in_parts(cast: Cast, narrator: Narrator, certificate: Certificate) -> tuple[Operation, Operation]:
    code = certificate.code
    narrator.step("Till", "HTTP", f"authorize 500.00 of {code}")
    hold = (await cast.till.authorize(code, 50_000)).body
    left = 100_001 if narrator.expect_wrong else 100_000
    narrator.check("what can still be authorized", expected=left, got=hold.available, money=True)
    narrator.check("the balance itself is untouched", expected=150_000, got=hold.balance, money=True)

    narrator.step("Till", "HTTP", "capture 300.00, final = false; then too much; then the rest")
    one = (await cast.till.capture(code, hold.authorization_id, amount=30_000, final=False)).body
    held = {"balance": 120_000, "available": 100_000}
    narrator.check("the rest stays held", expected=held, got=one.fields(*held), money=True)
    await narrator.refused(
        "no more than was authorized",
        "CaptureExceedsAuthorization",
        cast.till.capture(code, hold.authorization_id, amount=30_000),
    )
    two = (await cast.till.capture(code, hold.authorization_id)).body
    drawn = {"amount": 20_000, "balance": 100_000, "available": 100_000}
    narrator.check("the rest is drawn", expected=drawn, got=two.fields(*drawn), money=True)
    await narrator.refused(
        "and then it is used up", "AuthorizationAlreadyCaptured", cast.till.capture(code, hold.authorization_id)
    )
    return one, two


async def _partial_approval(cast: Cast, narrator: Narrator, certificate: Certificate) -> Operation:
    code = certificate.code
    narrator.step("Till", "HTTP", f"asks {code} for 5 000.00, of which there are 600.00")
    refusal = await narrator.refused("too much", "InsufficientFunds", cast.till.authorize(code, 500_000))
    available = None if refusal is None else refusal.problem.get("available")
    narrator.check("the refusal says what there is", expected=60_000, got=available, money=True)
    narrator.step("Till", "HTTP", "asks again with allowPartial")
    hold = (await cast.till.authorize(code, 500_000, allow_partial=True)).body
    held = {"amount": 60_000, "available": 0}
    narrator.check("it gets what there is", expected=held, got=hold.fields(*held), money=True)
    narrator.step("Payments", "HTTP", "confirms the purchase: capture")
    paid = (await cast.payments.capture(code, hold.authorization_id)).body
    empty = {"balance": 0, "status": "Depleted"}
    narrator.check("it is used up", expected=empty, got=paid.fields(*empty), money=True)
    return paid


async def _release(cast: Cast, narrator: Narrator, certificate: Certificate) -> None:
    code = certificate.code
    narrator.step("Till", "HTTP", "authorize 250.00; the customer changes his mind; void the hold")
    hold = (await cast.till.authorize(code, 25_000)).body
    narrator.check("what is left meanwhile", expected=75_000, got=hold.available, money=True)
    void = (await cast.till.release(code, hold.authorization_id)).body
    released = {"voidedType": "Authorization", "available": 100_000}
    narrator.check("the hold is released", expected=released, got=void.fields(*released), money=True)
    await narrator.refused(
        "a hold that was voided cannot be captured",
        "AuthorizationVoided",
        cast.till.capture(code, hold.authorization_id),
    )


async def _asked_twice(cast: Cast, narrator: Narrator, certificate: Certificate) -> Operation:
    code, key = certificate.code, uuid.uuid4().hex
    narrator.step("Till", "HTTP", "authorize 100.00, twice with the same Idempotency-Key")
    once = await cast.till.authorize(code, 10_000, idempotency_key=key)
    twice = await cast.till.authorize(code, 10_000, idempotency_key=key)
    narrator.check(
        "the first was new, the second is a replay", expected=(False, True), got=(once.replayed, twice.replayed)
    )
    narrator.check("of the very same answer", expected=True, got=(once.status, once.body) == (twice.status, twice.body))
    seen = await cast.support.look_up(code)
    held = {"balance": 100_000, "available": 90_000}
    narrator.check("there is one hold", expected=held, got=seen.fields(*held), money=True)
    await narrator.refused(
        "the same key for another request is refused",
        "IdempotencyKeyReused",
        cast.till.authorize(code, 11_000, idempotency_key=key),
    )
    narrator.step("Payments", "HTTP", "confirms the purchase: capture")
    paid = (await cast.payments.capture(code, once.body.authorization_id)).body
    narrator.check("the balance", expected=90_000, got=paid.balance, money=True)
    return paid

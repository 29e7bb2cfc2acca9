"""Stories that end with a refusal, by its code: each asks a house until it says no."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.unit.gateway.house import CODE, OTHER, UNKNOWN, House, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

DAY = 86_400

STORIES: dict[tuple[str, str], Callable[[House], Awaitable[Response]]] = {}


def story(code: str, name: str) -> Callable[[Callable[[House], Awaitable[Response]]], None]:
    """Register a way to be refused."""

    def register(told: Callable[[House], Awaitable[Response]]) -> None:
        STORIES[code, name] = told

    return register


async def captured(house: House, amount: int = 150_000) -> tuple[str, str]:
    """Return the authorization and the capture of an active certificate."""
    hold = (await house.hold(amount)).body["authorizationId"]
    return hold, (await house.post("capture", {"authorizationId": hold}, "pos")).body["operationId"]


async def activation(house: House) -> str:
    return str((await house.get(f"/certificates/{CODE}")).body["activationId"])


# --- a sale ----------------------------------------------------------------------------------------------------------


@story("CodeAlreadySold", "reserved for another line")
async def _(house: House) -> Response:
    await house.sell()
    return await house.sell(line="2")


@story("CodeAlreadySold", "sold")
async def _(house: House) -> Response:
    await house.issue()
    return await house.sell(order="SO-2")


@story("CodeAlreadySold", "sold and undone")
async def _(house: House) -> Response:
    await house.issue()
    await house.post("void", {"operationId": await activation(house)}, "support")
    return await house.sell(order="SO-2")


@story("CodeNotForSale", "in no batch that was imported")
async def _(house: House) -> Response:
    return await house.sell()


@story("OrderLineAlreadyAllocated", "the line has a code")
async def _(house: House) -> Response:
    await house.sell()
    return await house.sell(OTHER)


@story("OrderLineNotFound", "no such line")
async def _(house: House) -> Response:
    await house.place("1")
    return await house.sell(line="9")


@story("OrderCancelled", "the order is")
async def _(house: House) -> Response:
    await house.place("1", cancelled=True)
    return await house.sell()


# --- a redemption ----------------------------------------------------------------------------------------------------


@story("CertificateNotFound", "authorize")
async def _(house: House) -> Response:
    return await house.hold(code=UNKNOWN)


@story("CertificateNotFound", "read")
async def _(house: House) -> Response:
    return await house.get(f"/certificates/{UNKNOWN}")


@story("CertificateNotFound", "history")
async def _(house: House) -> Response:
    return await house.get(f"/certificates/{UNKNOWN}/operations")


@story("CertificateNotFound", "before it was sold")
async def _(house: House) -> Response:
    await house.issue()
    house.clock.advance(60)
    return await house.get(f"/certificates/{CODE}?asOf=2020-01-01T00:00:00Z")


@story("CertificateNotActive", "reserved")
async def _(house: House) -> Response:
    await house.sell()
    return await house.hold()


@story("CertificateNotActive", "its balance")
async def _(house: House) -> Response:
    await house.sell()
    return await house.post("balance", {}, "pos")


@story("CertificateBlocked", "authorize")
async def _(house: House) -> Response:
    await house.issue()
    await house.post("block", {"reason": "stolen"}, "support")
    return await house.hold()


@story("CertificateBlocked", "void")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house, 1_000)
    await house.post("block", {"reason": "stolen"}, "support")
    return await house.post("void", {"operationId": capture}, "pos")


@story("CertificateBlocked", "a new CVC")
async def _(house: House) -> Response:
    await house.issue()
    await house.post("block", {"reason": "stolen"}, "support")
    return await house.post("cvc", {}, "support")


@story("CertificateExpired", "authorize")
async def _(house: House) -> Response:
    await house.issue()
    house.clock.advance(366 * DAY)
    return await house.hold()


@story("CertificateExpired", "a void after thirty days")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house)
    house.clock.advance((365 + 31) * DAY)
    return await house.post("void", {"operationId": capture}, "pos")


@story("CurrencyMismatch", "authorize")
async def _(house: House) -> Response:
    await house.issue()
    return await house.hold(currency="EUR")


@story("InsufficientFunds", "authorize")
async def _(house: House) -> Response:
    await house.issue()
    await house.hold(100_000)
    return await house.hold(50_001)


@story("InsufficientFunds", "nothing left for a part")
async def _(house: House) -> Response:
    await house.issue()
    await house.hold(150_000)
    return await house.hold(1, allowPartial=True)


@story("CertificateRefused", "no CVC")
async def _(house: House) -> Response:
    await house.issue()
    return await house.hold(client="storefront")


@story("CertificateRefused", "balance without a CVC")
async def _(house: House) -> Response:
    await house.issue()
    return await house.post("balance", {}, "storefront")


@story("CvcMismatch", "optional and wrong")
async def _(house: House) -> Response:
    return await house.hold(cvc=wrong(await house.issue()))


@story("RateLimited", "the fourth wrong CVC")
async def _(house: House) -> Response:
    cvc = wrong(await house.issue())
    for _ in range(3):
        await house.hold(client="storefront", cvc=cvc)
    return await house.hold(client="storefront", cvc=cvc)


@story("RateLimited", "an unknown code")
async def _(house: House) -> Response:
    for _ in range(3):
        await house.post("balance", {"cvc": "0000"}, "storefront", UNKNOWN)
    return await house.post("balance", {"cvc": "0000"}, "storefront", UNKNOWN)


def wrong(cvc: str) -> str:
    return f"{(int(cvc) + 1) % 10_000:04d}"


# --- a capture -------------------------------------------------------------------------------------------------------


@story("AuthorizationNotFound", "never given")
async def _(house: House) -> Response:
    await house.issue()
    return await house.post("capture", {"authorizationId": "au_1_nothing"}, "pos")


@story("AuthorizationNotFound", "of another certificate")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]
    return await house.post("capture", {"authorizationId": hold}, "pos", OTHER)


@story("AuthorizationExpired", "lapsed")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold(ttlSeconds=60)).body["authorizationId"]
    house.clock.advance(61)
    return await house.post("capture", {"authorizationId": hold}, "pos")


@story("AuthorizationAlreadyCaptured", "twice")
async def _(house: House) -> Response:
    await house.issue()
    hold, _ = await captured(house)
    return await house.post("capture", {"authorizationId": hold}, "pos")


@story("AuthorizationVoided", "voided before")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]
    await house.post("void", {"operationId": hold}, "pos")
    return await house.post("capture", {"authorizationId": hold}, "pos")


@story("CaptureExceedsAuthorization", "more than was held")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold(50_000)).body["authorizationId"]
    return await house.post("capture", {"authorizationId": hold, "amount": 50_001}, "pos")


@story("Forbidden", "another client's authorization")
async def _(house: House) -> Response:
    await house.issue()
    hold = (await house.hold()).body["authorizationId"]
    return await house.post("capture", {"authorizationId": hold}, "till-2")


# --- a void ----------------------------------------------------------------------------------------------------------


@story("OperationNotFound", "never given")
async def _(house: House) -> Response:
    await house.issue()
    return await house.post("void", {"operationId": "op_1_nothing"}, "support")


@story("OperationAlreadyVoided", "a capture, in full")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house)
    await house.post("void", {"operationId": capture}, "pos")
    return await house.post("void", {"operationId": capture}, "pos")


@story("VoidExceedsOperation", "more than was captured")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house, 1_000)
    return await house.post("void", {"operationId": capture, "amount": 1_001}, "pos")


@story("OperationNotVoidable", "a void")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house)
    void = (await house.post("void", {"operationId": capture}, "pos")).body["operationId"]
    return await house.post("void", {"operationId": void}, "support")


@story("OperationNotVoidable", "an activation that was drawn on")
async def _(house: House) -> Response:
    await house.issue()
    await captured(house, 1)
    return await house.post("void", {"operationId": await activation(house)}, "support")


@story("Forbidden", "another client's operation")
async def _(house: House) -> Response:
    await house.issue()
    _, capture = await captured(house)
    return await house.post("void", {"operationId": capture}, "till-2")

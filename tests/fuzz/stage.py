"""The service for a fuzzer: gateway, channels and shards in one process, over real sockets and on a real Redis."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from actors.host import wall_clock
from actors.router import Router
from gateway.access import Role
from gateway.guesses import kept_max
from gateway.services import Services
from gateway.settings import GatewaySettings
from ledger.commands import SYSTEM, Authorize, Origin, Place, PlannedLine, RecordPayment, Sell
from ledger.identifiers import certificate_entity, order_entity
from ledger.money import DAY_MS
from ledger.policy import Policy
from persistence.keys import ClientKey, MemoryKeyStore, hash_key, new_key
from persistence.memory_windows import MemoryWindows
from persistence.vault import RECIPIENT, SMS, Recipient, Sms, Vault
from tests.real.shards import Well, listening, sharded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from persistence.log import Log

CERTIFICATES = 24
"""That can be spent, each with its CVC."""
DENOMINATION = 10**12
HOLDS_EACH = 16
"""Open authorizations of each."""
RUB = "RUB"
RECIPIENT_KNOWN = Recipient(phone="+79990000001", name="Anna", locale="en")
POLICY = Policy(cvc_lock_first_ms=500, cvc_lock_max_ms=1_000)
"""Guessers are locked out for a moment only: what is behind the CVC is to be reached as well."""
SETTINGS = GatewaySettings(port=0, guess_address_wrong_max=10_000, guess_client_wrong_max=10_000)
"""Nor is a client: a fuzzer guesses all the time."""


class Stocked(NamedTuple):
    """What there is: certificates that can be spent with their CVCs, orders, open authorizations with their codes."""

    open: dict[str, str]
    orders: list[str]
    holds: list[tuple[str, str]]


class Served(NamedTuple):
    """The service, running. `keys` are by role."""

    url: str
    keys: dict[Role, str]
    stocked: Stocked


@asynccontextmanager
async def fuzzed(redis_url: str, folder: Path, role: Role | None) -> AsyncIterator[Served]:
    """Run the service on an empty Redis. `role` is that of the client whose are the open authorizations."""
    vault = Vault.generate()
    async with AsyncExitStack() as stack:
        directory, log = await stack.enter_async_context(sharded(redis_url, folder, vault, POLICY))
        router = await stack.enter_async_context(Router(directory, directory.settings))
        keys = {role: new_key()[0] for role in Role}
        services = Services(
            ledger=router,
            log=log,
            vault=vault,
            keys=MemoryKeyStore([_stored(role, text) for role, text in keys.items()]),
            windows=MemoryWindows(SETTINGS.guess_window_seconds, kept_max(SETTINGS)),
            clock=wall_clock,
            health=Well(),
        )
        stocked = await _stock(router, log, vault, client_of(role))
        url = await stack.enter_async_context(listening(services, SETTINGS))
        yield Served(url, keys, stocked)


def _stored(role: Role, text: str) -> ClientKey:
    channel = {Role.STOREFRONT: "OnlineStore", Role.POS: "Store"}.get(role)
    return ClientKey(
        key_id=role, key_hash=hash_key(text), client=client_of(role), role=role, channel=channel, created_at=0
    )


def client_of(role: Role | None) -> str:
    """Return the name of the client that has the role's key."""
    return f"fuzzer-{role}"


async def _stock(router: Router, log: Log, vault: Vault, client: str) -> Stocked:
    """Have orders placed and paid, codes sold and activated, and money held."""
    sealed = vault.seal(msgspec.json.encode(RECIPIENT_KNOWN), RECIPIENT)
    lines = [str(number) for number in range(1, CERTIFICATES + 1)]
    codes = [f"GC-FUZZ-{line:0>4}" for line in lines]
    planned = tuple(PlannedLine(line, DENOMINATION, sealed) for line in lines)
    paid = dict.fromkeys(lines, DENOMINATION)
    await router.ask(order_entity("SO-PAID"), Place(1, False, "OnlineStore", RUB, planned), SYSTEM)
    await router.ask(order_entity("SO-OPEN"), Place(1, False, "Store", RUB, planned), SYSTEM)
    await router.ask(order_entity("SO-PAID"), RecordPayment(1, RUB, DENOMINATION * len(lines), 0, True, paid), SYSTEM)
    for code, line in zip(codes, lines, strict=True):
        await router.ask(certificate_entity(code), Sell("SO-PAID", line), SYSTEM)
    await router.ask(certificate_entity("GC-FUZZ-RESERVED"), Sell("SO-OPEN", "1"), SYSTEM)
    cvcs = {}
    for message in await log.messages_due(wall_clock() + DAY_MS):
        text = msgspec.json.decode(vault.unseal(message.sealed, SMS), type=Sms).text
        cvcs[message.entity.removeprefix("c:")] = text.partition("CVC: ")[2][:4]
    holds = []
    for code in codes * HOLDS_EACH:
        held = await router.ask(certificate_entity(code), Authorize(1_000, RUB, ttl_ms=DAY_MS), Origin(client, "Store"))
        holds.append((code, str(msgspec.json.decode(held.body)["authorizationId"])))
    return Stocked({code: cvcs[code] for code in codes}, ["SO-PAID", "SO-OPEN"], holds)

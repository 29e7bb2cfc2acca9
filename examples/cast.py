"""Everyone who takes part in the demo, each with an address and a key of its own."""

import re
import secrets
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import msgspec

from examples.bi_pipeline import BiPipeline
from examples.connection import Connection
from examples.endpoints import Endpoints
from examples.load_balancer import LoadBalancer
from examples.messages import ReceivedSms
from examples.online_store import OnlineStore
from examples.orders import Orders
from examples.patience import PATIENCE_SECONDS, eventually
from examples.payments import Payments
from examples.support import Support
from examples.synchronisation import Synchronisation
from examples.till import Till
from examples.topics import DEAD_LETTERS, Feed, Record

LOOPBACK = "127.0.0.1"
CVC_IN_TEXT = re.compile(r"CVC\D{0,20}(\d{4})(?!\d)|(?<![\dA-Z.,-])(\d{4})(?![\d.,-])", re.IGNORECASE)


def cvc_in(text: str) -> str | None:
    """The CVC that a message tells its recipient; None if there is none in it."""
    found = CVC_IN_TEXT.search(text)
    return None if found is None else found[1] or found[2]


class SmsInbox:
    """The phones of the recipients: whatever the SMS gateway got for them.

    Args:
        http: Reaches the SMS gateway.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def messages(self, phone: str) -> list[ReceivedSms]:
        """The messages to one phone, oldest first."""
        response = (await self._http.get("/messages")).raise_for_status()
        inbox = msgspec.json.decode(response.content, type=list[ReceivedSms])
        return [sms for sms in inbox if sms.to == phone]

    async def wait_for(self, phone: str, count: int) -> list[ReceivedSms]:
        """Wait until a phone has got this many messages; returns those that came in time."""
        return await eventually(lambda: self.messages(phone), lambda messages: len(messages) >= count)


class DeadLetters:
    """What the service put aside because it can never be applied.

    Args:
        bootstrap: The broker, `host:port`.
    """

    def __init__(self, bootstrap: str) -> None:
        self._records: list[Record] = []
        self.feed = Feed(bootstrap, (DEAD_LETTERS,), self._records.append)

    async def wait_for(self, key: str) -> Record | None:
        """Wait for the first dead letter with this key; None if none came in time."""
        await self.feed.read(lambda: self._find(key) is not None)
        return self._find(key)

    def _find(self, key: str) -> Record | None:
        return next((record for record in self._records if record.key == key.encode()), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """All the systems of the demo."""

    endpoints: Endpoints
    keys: Mapping[str, str]
    store: OnlineStore
    orders: Orders
    payments: Payments
    till: Till
    support: Support
    bi: BiPipeline
    inbox: SmsInbox
    dead_letters: DeadLetters
    stranger: Connection
    """Someone without a key."""
    balancer: LoadBalancer

    @property
    def subscribers(self) -> dict[str, Synchronisation]:
        """Those who follow the events, by name."""
        return {
            "Orders": self.orders.certificates,
            "Payments": self.payments.certificates,
            "BI Pipeline": self.bi.certificates,
        }


def shopper(service: str, verify: ssl.SSLContext | bool) -> httpx.AsyncBaseTransport | None:  # noqa: FBT001 - httpx's own
    """Carries the requests of a shopper who plays the demo, from an address of his own on this machine.

    The scenarios send wrong CVCs on purpose. Those of several plays within an hour, all from one address, would be what
    the service takes for guessing.
    """
    if urlsplit(service).hostname != LOOPBACK:
        return None
    address = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
    return httpx.AsyncHTTPTransport(verify=verify, local_address=address)


@asynccontextmanager
async def assemble(endpoints: Endpoints, keys: Mapping[str, str]) -> AsyncIterator[Cast]:
    """Start every system, and stop them all at the end."""
    verify = endpoints.verify
    async with AsyncExitStack() as stack:

        async def connect(role: str, transport: httpx.AsyncBaseTransport | None = None) -> Connection:
            connection = Connection(endpoints.http, keys[role], transport=transport, verify=verify)
            return await stack.enter_async_context(connection)

        orders = await stack.enter_async_context(Orders(endpoints.kafka))
        payments = Payments(await connect("payments"), endpoints.kafka)
        dead_letters = DeadLetters(endpoints.kafka)
        await stack.enter_async_context(dead_letters.feed)
        http = httpx.AsyncClient(base_url=endpoints.sms_inbox, timeout=PATIENCE_SECONDS, trust_env=False)
        yield Cast(
            endpoints=endpoints,
            keys=keys,
            store=OnlineStore(await connect("storefront", shopper(endpoints.http, verify)), orders),
            orders=orders,
            payments=await stack.enter_async_context(payments),
            till=Till(await connect("pos")),
            support=Support(await connect("support")),
            bi=await stack.enter_async_context(BiPipeline(endpoints.kafka)),
            inbox=SmsInbox(await stack.enter_async_context(http)),
            dead_letters=dead_letters,
            stranger=await stack.enter_async_context(Connection(endpoints.http, None, verify=verify)),
            balancer=await stack.enter_async_context(LoadBalancer(endpoints.http, verify=verify)),
        )

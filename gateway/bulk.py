"""The bulk calls: many authorizations, captures or voids in one request, an outcome for each.

What concentrators of tills and batch jobs call. Each item means what the single call with its key would mean, and the
ledger is asked the same: so either may repeat what the other one sent.

Order of precedence: 401 ``Unauthenticated``, 403 ``Forbidden`` (the role), 429 ``RateLimited`` (its rate), 400 for
``Idempotency-Key``, 415, 503 for too many bulk calls, 413, 408, 400 for what holds the items. All else, too many wrong
CVCs among it, concerns one item and stands in its place.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from litestar.types import Receive

from actors.errors import ActorError, OutcomeUnknownError, OverloadedError
from actors.ports import Ask, BulkLedger
from gateway.access import Call, Client
from gateway.addresses import Addresses
from gateway.bodies import check_media, read_body
from gateway.bulk_items import ItemsDecoder
from gateway.bulk_outcomes import Rendered
from gateway.bulk_requests import BULK_BODIES, SINGLE
from gateway.certificates import COMMANDS, admit
from gateway.code_check import form_to_check, without_look_up
from gateway.exchange import Exchange
from gateway.faults import Fault, ProblemError, invalid
from gateway.headers import IDEMPOTENCY_KEY
from gateway.keyring import Keyring
from gateway.metrics import Metrics
from gateway.repetitions import Repetitions
from gateway.reply import JSON, Reply
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.trials import Trial, Trials, is_trial, is_veiled, unveiled
from ledger.answers import Answer
from ledger.identifiers import certificate_entity

REQUESTS_MAX: Final = 64
"""Bulk calls under way at once; more are refused. It bounds the memory that their bodies take: a megabyte each."""
KINDS_LOGGED_MAX: Final = 5
"""Kinds of failure of one request that are logged; there are hardly more."""

_FULL: Final = OverloadedError("Too many items are under way; nothing happened.")
_LATE: Final = OverloadedError("There was no time left to try the item; nothing happened.")
_UNANSWERED: Final = OutcomeUnknownError("The ledger did not answer in time; the outcome is unknown.")

_logger = logging.getLogger(__name__)


class Bulk:
    """Answers the bulk calls."""

    def __init__(
        self,
        services: Services,
        settings: GatewaySettings,
        keyring: Keyring,
        metrics: Metrics,
        trials: Trials,
        addresses: Addresses,
    ) -> None:
        self._ledger = services.ledger
        self._addresses = addresses
        self._trials = trials
        self._known = Repetitions(services.log).known
        self._vault = services.vault
        self._settings = settings
        self._keyring = keyring
        self._metrics = metrics
        self._form = form_to_check(settings.code_prefixes_checked)
        self._decoders: dict[Call, ItemsDecoder[Any]] = {
            call: ItemsDecoder(*kinds) for call, kinds in BULK_BODIES.items()
        }
        self._requests = 0

    async def post(self, exchange: Exchange, call: Call, receive: Receive) -> Reply:
        """Carry out a bulk call.

        Raises:
            ProblemError: what is wrong with the request as a whole.
            TimeoutError: the ledger did not answer in time.
        """
        headers = exchange.headers
        settings = self._settings
        client = await admit(self._keyring, exchange, call)
        if IDEMPOTENCY_KEY in headers:
            raise invalid("Idempotency-Key", "is none of a bulk call: each item has an idempotencyKey of its own")
        check_media(headers)
        if self._requests >= REQUESTS_MAX:
            raise ProblemError(Fault.OVERLOADED, "Too many bulk calls are under way; nothing happened. Try again.")
        self._requests += 1
        try:
            body = await read_body(headers, receive, settings.bulk_body_bytes_max, settings.receive_seconds)
            items = self._decoders[call].decode(body)
            if self._keyring.rates is not None and len(items) > 1:
                self._keyring.rates.spend(client.name, exchange, len(items) - 1)
            outcomes = await self._outcomes(exchange, call, client, items)
        finally:
            self._requests -= 1
        _log_failures(call, outcomes)
        rendered = Rendered(outcomes, exchange.instance)
        self._metrics.count_items(SINGLE[call], rendered.counts)
        return Reply(200, (JSON,), rendered.body)

    async def _outcomes(
        self, exchange: Exchange, call: Call, client: Client, items: Sequence[Any]
    ) -> list[Answer | Exception]:
        """What comes of each item; one that is a problem already keeps it."""
        outcomes: list[Answer | Exception] = list(items)
        asks: list[Ask] = []
        places: list[int] = []
        address = self._addresses.source(exchange.peer, exchange.headers, of_proxy=client.speaks_for_shoppers)
        command_of, vault, form = COMMANDS[SINGLE[call]], self._vault, self._form
        origin_of = client.origins(call, address)
        for place, item in enumerate(items):
            if isinstance(item, ProblemError):
                continue
            code = item.certificate_code.upper()
            entity, command = certificate_entity(code), command_of(item, code, vault)
            ask = (entity, command, origin_of(entity, command, item.idempotency_key))
            if form is not None and (refused := without_look_up(form, *ask)) is not None:
                outcomes[place] = refused
                continue
            asks.append(ask)
            places.append(place)
        found = await self._ask(exchange, client, asks)
        for place, outcome in zip(places, found, strict=True):
            outcomes[place] = outcome
        return outcomes

    async def _ask(self, exchange: Exchange, client: Client, asks: list[Ask]) -> Sequence[Answer | Exception]:
        """The ledger's answers, to as many as may be under way."""
        metrics = self._metrics
        room = max(0, self._settings.bulk_items_in_flight_max - metrics.items_in_flight)
        taken = asks[:room]
        metrics.items_in_flight += len(taken)
        try:
            found: Sequence[Answer | Exception]
            if any(is_trial(command, origin) for _, command, origin in taken):
                found = await self._try(exchange, client, taken)
            else:
                async with asyncio.timeout(self._settings.deadline_seconds):
                    found = await self._ledger.ask_many(taken)
        finally:
            metrics.items_in_flight -= len(taken)
        return [*found, *[_FULL] * (len(asks) - len(taken))]

    async def _try(self, exchange: Exchange, client: Client, asks: list[Ask]) -> list[Answer | Exception]:
        """The answers if some are trials: in their order, as many at once as may be tried before more is known.

        When the time is over, what has its outcome is told, and of the others whether they were asked.
        """
        trying = Trying(self._trials, self._ledger, asks)
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                for place in range(len(asks)):
                    await self._take(trying, exchange, client, place)
                await trying.send()
                for place in await self._repeated(trying):
                    trying.take(place)
                await trying.send()
        except TimeoutError:
            _logger.warning("a bulk call with CVCs came to the end of its time")
        finally:
            trying.give_up()
        return await trying.unveiled()

    async def _take(self, trying: "Trying", exchange: Exchange, client: Client, place: int) -> None:
        entity, command, origin = trying.asks[place]
        if not is_trial(command, origin):
            trying.take(place)
            return
        trial = self._trials.begin_now(exchange, client, entity, command)
        try:
            if trial is None:
                await trying.send()
                trial = await self._trials.begin(exchange, client, entity, command)
        except ProblemError as error:
            trying.outcomes[place] = error
        else:
            trying.take(place, trial)

    async def _repeated(self, trying: "Trying") -> list[int]:
        """Places of items that were refused for wrong CVCs of others, and have an outcome since an earlier request."""
        refused = [place for place, outcome in enumerate(trying.outcomes) if isinstance(outcome, ProblemError)]
        known = await self._known([trying.asks[place][2].key for place in refused])
        return [place for place in refused if trying.asks[place][2].key in known]


class Trying:
    """Items that are being asked for a part at a time."""

    def __init__(self, trials: Trials, ledger: BulkLedger, asks: list[Ask]) -> None:
        self._trials = trials
        self._ledger = ledger
        self.asks: Final = asks
        self._places: list[int] = []
        self._trial_of: dict[int, Trial] = {}
        self._veiled: Trial | None = None
        self.outcomes: list[Answer | Exception] = [_LATE] * len(asks)

    def take(self, place: int, trial: Trial | None = None) -> None:
        """Have an item be in the next part."""
        self._places.append(place)
        if trial is not None:
            self._trial_of[place] = trial

    async def send(self) -> None:
        """Ask for what was taken, and learn what came of it."""
        places, self._places = self._places, []
        if not places:
            return
        for place in places:
            self.outcomes[place] = _UNANSWERED
        found = await self._ledger.ask_many([self.asks[place] for place in places])
        ends = []
        for place, outcome in zip(places, found, strict=True):
            self.outcomes[place] = outcome
            trial = self._trial_of.pop(place, None)
            if trial is not None:
                self._veiled = trial if is_veiled(outcome) else self._veiled
                ends.append(self._trials.end(trial, outcome))
        await asyncio.gather(*ends)

    def give_up(self) -> None:
        """Let go of trials whose outcome is not known."""
        while self._trial_of:
            self._trials.give_up(self._trial_of.popitem()[1])

    async def unveiled(self) -> list[Answer | Exception]:
        """The outcomes, once they may leave."""
        if self._veiled is not None:
            await unveiled(self._veiled)
        return self.outcomes


def _log_failures(call: Call, outcomes: Sequence[Answer | Exception]) -> None:
    """One line for each kind of failure, however many items it befell."""
    failures = Counter(f"{type(one).__name__}: {one}" for one in outcomes if isinstance(one, ActorError))
    for failure, number in failures.most_common(KINDS_LOGGED_MAX):
        _logger.warning("%s: %d of %d items: %s", call, number, len(outcomes), failure)

"""The GET calls on certificates and orders."""

import asyncio
import re
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import unquote_to_bytes

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from gateway.access import Call, Client
from gateway.certificates import OK, certificate_code
from gateway.code_check import form_to_check, require_right
from gateway.exchange import Exchange
from gateway.faults import ProblemError, invalid
from gateway.headers import entity_tag, matches
from gateway.problems import refused
from gateway.reply import JSON, NO_STORE, Reply
from gateway.requests import IDENTIFIER_CHARACTERS_MAX
from gateway.services import Services
from gateway.settings import GatewaySettings
from ledger import views
from ledger.answers import Answer
from ledger.certificate import Certificate, evolve
from ledger.certificate.decide import settled
from ledger.commands import Look
from ledger.identifiers import certificate_entity, order_entity
from ledger.refusals import Refusal
from persistence import codec
from persistence.errors import DamagedLogError
from persistence.log import PAGE_MAX, Log

NOT_MODIFIED: Final = 304
LIMIT_DEFAULT: Final = 50
LIMIT_MAX: Final = 200
"""Operations on one page of a history: its answer stays below some 100 KB."""
AFTER_MAX: Final = 2**53 - 1
"""The largest whole number that every reader of JSON can hold; no version comes near it."""

_REVALIDATE: Final = (b"cache-control", b"private, no-cache")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DIGITS: Final = re.compile(r"[0-9]{1,16}")
_ORDER_ID: Final = re.compile(rb"[!-~]{1,%d}" % IDENTIFIER_CHARACTERS_MAX)
_ESCAPED_BYTES: Final = len("%2F")
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class _Shown(Struct, frozen=True):
    """What is needed of a certificate's view."""

    currency: str | None


_shown: Final = msgspec.json.Decoder(_Shown)


class Reads:
    """Answers the GET calls. What was read is what is durable: the ledger checks the log before it tells."""

    def __init__(self, services: Services, settings: GatewaySettings) -> None:
        self._services = services
        self._settings = settings
        self._form = form_to_check(settings.code_prefixes_checked)

    async def certificate(self, exchange: Exchange, client: Client, code: str, as_of: str | None) -> Reply:
        """The state of a certificate, now or as it was at a time."""
        code = certificate_code(code)
        require_right(self._form, code)
        at = None if as_of is None else milliseconds(as_of)
        if at is not None and at < self._services.clock():
            async with asyncio.timeout(self._settings.deadline_seconds):
                state = await state_at(self._services.log, code, at)
            return _tagged(exchange, state.version, views.encode(views.certificate(state)))
        return await self._look(exchange, client, certificate_entity(code))

    async def operations(
        self, exchange: Exchange, client: Client, code: str, after: str | None, limit: str | None
    ) -> Reply:
        """A page of a certificate's history."""
        code = certificate_code(code)
        require_right(self._form, code)
        first = 0 if after is None else whole_number("after", after, 0, AFTER_MAX)
        size = LIMIT_DEFAULT if limit is None else whole_number("limit", limit, 1, LIMIT_MAX)
        entity = certificate_entity(code)
        async with asyncio.timeout(self._settings.deadline_seconds):
            answer = await self._ask(exchange, client, entity)
            if answer.refused is not None:
                return refused(exchange, answer.refused)
            stored = await self._services.log.history(entity, first, size + 1)
        records = [codec.decode(record) for record in stored[:size]]
        currency = _shown.decode(answer.body).currency
        page = views.history(code, records, currency, more=len(stored) > size)
        return Reply(OK, (JSON, NO_STORE), views.encode(page))

    async def order(self, exchange: Exchange, client: Client, path: bytes) -> Reply:
        """``order_certificate_allocation`` of the order that ``path`` (as it came, percent-encoded) names."""
        return await self._look(exchange, client, order_entity(order_id(path)))

    async def _look(self, exchange: Exchange, client: Client, entity: str) -> Reply:
        async with asyncio.timeout(self._settings.deadline_seconds):
            answer = await self._ask(exchange, client, entity)
        if answer.refused is not None:
            return refused(exchange, answer.refused)
        return _tagged(exchange, answer.version, answer.body)

    async def _ask(self, exchange: Exchange, client: Client, entity: str) -> Answer:
        origin = client.origin(Call(exchange.call), entity, Look(), None)
        return await self._services.ledger.ask(entity, Look(), origin)


async def state_at(log: Log, code: str, at: int) -> Certificate:
    """The certificate as it was at ``at`` (milliseconds), folded from its records page by page.

    Its version is that of the last record up to then. What time alone had brought about by then counts, whenever it
    was recorded.

    Raises:
        ProblemError: 404 ``CertificateNotFound``: the code was unknown then.
        DamagedLogError: the records do not make sense.
    """
    entity = certificate_entity(code)
    state = Certificate(code=code)
    page = await log.history(entity, 0, PAGE_MAX)
    while page:
        for stored in page:
            record = codec.decode(stored)
            if record.at > at:
                page = []
                break
            try:
                state = evolve(state, record)
            except (ValueError, KeyError) as error:
                raise DamagedLogError(f"{entity}, version {record.version}: {error}") from error
        if len(page) < PAGE_MAX:
            break
        await asyncio.sleep(0)  # a long history must not keep the others waiting
        page = await log.history(entity, state.version, PAGE_MAX)
    if not views.exists(state):
        raise ProblemError(Refusal.CERTIFICATE_NOT_FOUND, "No certificate had this code then.")
    return replace(settled(state, at), version=state.version)


def milliseconds(text: str) -> int:
    """An RFC 3339 time in milliseconds since the epoch; finer fractions are cut off.

    Raises:
        ProblemError: 400 ``InvalidRequest``.
    """
    fault = invalid("asOf", "has to be an RFC 3339 time, e.g. 2026-11-23T07:00:00.000Z")
    if not _TIME.fullmatch(text):
        raise fault
    try:
        return (datetime.fromisoformat(text.upper()) - _EPOCH) // timedelta(milliseconds=1)
    except ValueError:
        raise fault from None


def whole_number(name: str, text: str, least: int, most: int) -> int:
    """A number in the query.

    Raises:
        ProblemError: 400 ``InvalidRequest``.
    """
    number = int(text) if _DIGITS.fullmatch(text) else -1
    if not least <= number <= most:
        raise invalid(name, f"has to be a whole number from {least} to {most}")
    return number


def order_id(path: bytes) -> str:
    """The order id in the path as it came: an id may hold a slash, which is percent-encoded there.

    Raises:
        ProblemError: 404 ``NotFound``: the path is no order's; 400 ``InvalidRequest``.
    """
    parts = [part for part in path.split(b"/") if part]
    if len(parts) != 2:  # noqa: PLR2004 - orders, and the id
        raise ProblemError(Refusal.NOT_FOUND, "There is nothing at this address.")
    escaped = parts[1]
    text = unquote_to_bytes(escaped) if len(escaped) <= _ESCAPED_BYTES * IDENTIFIER_CHARACTERS_MAX else b""
    if not _ORDER_ID.fullmatch(text):
        raise invalid("orderId", f"has to be 1 to {IDENTIFIER_CHARACTERS_MAX} visible ASCII characters")
    return text.decode()


def _tagged(exchange: Exchange, version: int, body: bytes) -> Reply:
    tag = entity_tag(version)
    headers = ((b"etag", tag), _REVALIDATE)
    if matches(exchange.headers.get(b"if-none-match"), tag):
        return Reply(NOT_MODIFIED, headers)
    return Reply(OK, (JSON, *headers), body)

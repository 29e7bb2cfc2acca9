"""The POST calls on certificates: from a request to a command, and from its outcome to a response.

All of a call is in :meth:`Certificates.post`, whichever way the request came: past Litestar or through it.

Order of precedence: 401 ``Unauthenticated``, 403 ``Forbidden`` (the role), 429 ``RateLimited`` (its rate), 400 for
``Idempotency-Key`` and the code, 415, 413, 408, 400 for the body, a wrong check character, 429 ``RateLimited`` (too
many wrong CVCs), and then what the ledger says.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from litestar.types import Receive

from actors.ports import Ask
from gateway.access import Call, Client
from gateway.addresses import Addresses
from gateway.bodies import BodyDecoder, check_length, check_media, read_body
from gateway.code_check import form_to_check, without_look_up
from gateway.exchange import Exchange
from gateway.faults import ProblemError, invalid
from gateway.headers import idempotency_key
from gateway.keyring import Keyring
from gateway.problems import refused
from gateway.repetitions import Repetitions
from gateway.reply import JSON, REPLAYED, Reply
from gateway.requests import (
    BalanceRequest,
    BlockRequest,
    CaptureRequest,
    CvcRequest,
    Redemption,
    Sale,
    VoidRequest,
)
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.trials import Trials, is_trial, is_veiled, unveiled
from ledger.answers import Answer
from ledger.commands import AnyCommand, Authorize, Block, Capture, Inquire, ReissueCvc, Sell, Unblock, Void
from ledger.identifiers import certificate_entity, normalise_code
from ledger.money import SECOND_MS
from persistence.vault import Vault

CREATED: Final = 201
OK: Final = 200

BODIES: Final[dict[Call, Any]] = {
    Call.AUTHORIZE: Sale | Redemption,
    Call.CAPTURE: CaptureRequest,
    Call.VOID: VoidRequest,
    Call.BALANCE: BalanceRequest,
    Call.BLOCK: BlockRequest,
    Call.UNBLOCK: BlockRequest,
    Call.CVC: CvcRequest,
}
"""What each call takes; the OpenAPI document is made of it too."""

_HEADERS: Final = (JSON,)
_HEADERS_REPLAYED: Final = (JSON, REPLAYED)


class Certificates:
    """Answers the POST calls."""

    def __init__(
        self, services: Services, settings: GatewaySettings, keyring: Keyring, trials: Trials, addresses: Addresses
    ) -> None:
        self._ledger = services.ledger
        self._addresses = addresses
        self._trials = trials
        self._repetitions = Repetitions(services.log)
        self._vault = services.vault
        self._settings = settings
        self._keyring = keyring
        self._form = form_to_check(settings.code_prefixes_checked)
        self._decoders: dict[Call, BodyDecoder[Any]] = {call: BodyDecoder(kind) for call, kind in BODIES.items()}

    async def post(self, exchange: Exchange, call: Call, code: str, receive: Receive) -> Reply:
        """Carry out a call.

        Raises:
            ProblemError: what is wrong with the request.
            ActorError: the ledger gave no outcome.
            TimeoutError: it did not answer in time.
        """
        headers = exchange.headers
        client = await admit(self._keyring, exchange, call)
        key, code = _named(headers, code)
        settings = self._settings
        body = await read_body(headers, receive, settings.body_bytes_max, settings.receive_seconds)
        asked = self._asked(exchange, client, call, code, key, body)
        if self._form is not None and (refused_already := without_look_up(self._form, *asked)) is not None:
            return self.reply(exchange, refused_already)
        trying = is_trial(asked[1], asked[2])
        answer = await (self._tried(exchange, client, asked) if trying else self._answered(asked))
        return self.reply(exchange, answer)

    def begin(self, exchange: Exchange, call: Call, code: str, body: bytes) -> asyncio.Future[Answer] | None:
        """As :meth:`post` for a request that is there as a whole: all but the waiting.

        ``None``: nothing was begun, because the key, the writer of the certificate, or whether another CVC may be tried
        has to be looked up first.

        Raises:
            ProblemError: what is wrong with the request; nothing was begun.
            OverloadedError: nothing was begun.
        """
        client = self._keyring.find(exchange.headers.get(b"authorization"))
        if client is None:
            return None
        admitted(client, exchange, call)
        rates = self._keyring.rates
        if rates is not None and not rates.has_room(client.name):
            return None
        key, code = _named(exchange.headers, code)
        check_length(body, self._settings.body_bytes_max)
        asked = self._asked(exchange, client, call, code, key, body)
        if self._form is not None and (answer := without_look_up(self._form, *asked)) is not None:
            answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            answered.set_result(answer)
            asking: asyncio.Future[Answer] | None = answered
        elif is_trial(asked[1], asked[2]):
            asking = self._tried_now(exchange, client, asked)
        else:
            asking = self._ledger.ask_now(*asked)
        if rates is not None and asking is not None:
            rates.spend(client.name, exchange)
        return asking

    async def _answered(self, asked: Ask) -> Answer:
        async with asyncio.timeout(self._settings.deadline_seconds):
            return await self._ledger.ask(*asked)

    async def _tried(self, exchange: Exchange, client: Client, asked: Ask) -> Answer:
        """The ledger's answer to a trial, once it may leave."""
        entity, command, origin = asked
        try:
            trial = await self._trials.begin(exchange, client, entity, command)
        except ProblemError:
            if origin.key in await self._repetitions.known([origin.key]):
                return await self._answered(asked)
            raise
        try:
            answer = await self._answered(asked)
        except BaseException as error:
            self._trials.give_up(trial)
            if is_veiled(error):
                await unveiled(trial)
            raise
        await self._trials.learn(trial, answer)
        return answer

    def _tried_now(self, exchange: Exchange, client: Client, asked: Ask) -> asyncio.Future[Answer] | None:
        entity, command, _ = asked
        trial = self._trials.begin_now(exchange, client, entity, command)
        if trial is None:
            return None
        asking = None
        try:
            asking = self._ledger.ask_now(*asked)
        finally:
            if asking is None:
                self._trials.give_up(trial)
        return None if asking is None else self._trials.follow(trial, asking)

    def _asked(self, exchange: Exchange, client: Client, call: Call, code: str, key: str | None, body: bytes) -> Ask:
        """What the ledger is asked."""
        command = COMMANDS[call](self._decoders[call].decode(body), code, self._vault)
        entity = certificate_entity(code)
        address = self._addresses.source(exchange.peer, exchange.headers, of_proxy=client.speaks_for_shoppers)
        return entity, command, client.origin(call, entity, command, key, address)

    def reply(self, exchange: Exchange, answer: Answer) -> Reply:
        """The response that tells the ledger's answer."""
        if answer.refused is not None:
            return refused(exchange, answer.refused, replayed=answer.replayed)
        headers = _HEADERS_REPLAYED if answer.replayed else _HEADERS
        return Reply(CREATED if answer.created else OK, headers, answer.body)


async def admit(keyring: Keyring, exchange: Exchange, call: Call) -> Client:
    """Who asks, if he may.

    Raises:
        ProblemError: 401 ``Unauthenticated``, 403 ``Forbidden``, 429 ``RateLimited``; 503 while keys cannot be checked.
    """
    exchange.call = call.value
    authorization = exchange.headers.get(b"authorization")
    client = keyring.find(authorization) or await keyring.client(authorization)
    admitted(client, exchange, call)
    if keyring.rates is not None:
        keyring.rates.enter(client.name, exchange)
    return client


def admitted(client: Client, exchange: Exchange, call: Call) -> None:
    """Note who asks for what, and let through what he may ask for.

    Raises:
        ProblemError: 403 ``Forbidden``.
    """
    exchange.call = call.value
    exchange.client = client.name
    client.require(call)


def _named(headers: dict[bytes, bytes], code: str) -> tuple[str | None, str]:
    """Idempotency key and certificate code, of a request that says it carries JSON."""
    key = idempotency_key(headers)
    code = certificate_code(code)
    check_media(headers)
    return key, code


def certificate_code(text: str) -> str:
    """A certificate code as the ledger knows it.

    Raises:
        ProblemError: 400 ``InvalidRequest``.
    """
    # ASCII first: upper-casing makes ASCII letters of others, and one certificate would have many codes
    code = normalise_code(text) if text.isascii() else None
    if code is None:
        raise invalid("code", "has to be 8 to 32 letters, digits and dashes")
    return code


def _authorize(request: Sale | Redemption, code: str, vault: Vault) -> Sell | Authorize:
    if isinstance(request, Sale):
        return Sell(request.order_id, request.order_line_id)
    return Authorize(
        request.amount,
        request.currency,
        _digest(request.cvc, code, vault),
        request.reference,
        request.allow_partial,
        None if request.ttl_seconds is None else request.ttl_seconds * SECOND_MS,
    )


def _capture(request: CaptureRequest, _code: str, _vault: Vault) -> Capture:
    return Capture(request.authorization_id, request.amount, request.final)


def _void(request: VoidRequest, _code: str, _vault: Vault) -> Void:
    return Void(request.operation_id, request.amount, request.reason)


def _balance(request: BalanceRequest, code: str, vault: Vault) -> Inquire:
    return Inquire(_digest(request.cvc, code, vault))


def _block(request: BlockRequest, _code: str, _vault: Vault) -> Block:
    return Block(request.reason)


def _unblock(request: BlockRequest, _code: str, _vault: Vault) -> Unblock:
    return Unblock(request.reason)


def _cvc(_request: CvcRequest, _code: str, _vault: Vault) -> ReissueCvc:
    return ReissueCvc()


def _digest(cvc: str | None, code: str, vault: Vault) -> bytes | None:
    return None if cvc is None else vault.cvc_digests(code, cvc)


COMMANDS: Final[dict[Call, Callable[[Any, str, Vault], AnyCommand]]] = {
    Call.AUTHORIZE: _authorize,
    Call.CAPTURE: _capture,
    Call.VOID: _void,
    Call.BALANCE: _balance,
    Call.BLOCK: _block,
    Call.UNBLOCK: _unblock,
    Call.CVC: _cvc,
}
"""What each call asks of the ledger: of its body, the code and the vault, which digests a CVC."""

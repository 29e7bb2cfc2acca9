"""A stand-in for the service: just enough of its HTTP API and its topics, in memory, for the counterparts to meet.

It exists to test the counterparts and the demo without the service. It keeps no promise that matters to money.
"""

import asyncio
import contextlib
import hashlib
import re
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec
import uvicorn
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from examples.messages import rfc3339_now
from examples.topics import DEAD_LETTERS, PAYMENTS, SALES_ORDERS, STATES, TRANSACTIONS
from tests.unit.examples.stand_in_state import Certificate, Json, No, Order

PATH = re.compile(r"/(certificates|orders)/([A-Z0-9-]+)(?:/([a-z]+))?")
ROLES = {"storefront": "OnlineStore", "pos": "Pos", "payments": None, "support": None, "ops": None}


class StandIn:
    def __init__(self, kafka: str, sms: str) -> None:
        self._kafka, self._sms = kafka, sms
        self._producer: AIOKafkaProducer
        self._lock = asyncio.Lock()
        self._certificates: dict[str, Certificate] = {}
        self._orders: dict[str, Order] = {}
        self._guesses: dict[str, int] = {}
        self._outcomes: dict[tuple[str, str], tuple[str, int, bytes]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Serve; yields the address."""
        self._producer = AIOKafkaProducer(bootstrap_servers=self._kafka)
        await self._producer.start()
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._kafka, group_id=None, auto_offset_reset="earliest", fetch_max_wait_ms=20
        )
        await consumer.start()
        topics = (SALES_ORDERS, PAYMENTS)
        consumer.assign([TopicPartition(t, p) for t in topics for p in await self._producer.partitions_for(t)])
        config = uvicorn.Config(self, port=0, lifespan="off", access_log=False, log_config=None)
        server = Quiet(config)
        serving = asyncio.create_task(server.serve(), name="stand-in")
        eating = asyncio.create_task(self._eat(consumer), name="stand-in events")
        try:
            await server.up.wait()
            yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        finally:
            eating.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await eating
            server.should_exit = True
            await serving
            await consumer.stop()
            await self._producer.stop()

    # ------------------------------------------------------------------------------------------------------ events in

    async def _eat(self, consumer: AIOKafkaConsumer) -> None:
        async for record in consumer:
            async with self._lock:
                try:
                    event = msgspec.json.decode(record.value, type=Json)
                except msgspec.DecodeError:
                    headers = [("reason", b"not JSON"), ("topic", record.topic.encode())]
                    await self._producer.send_and_wait(DEAD_LETTERS, record.value, key=record.key, headers=headers)
                    continue
                order = self._orders.setdefault(event["orderId"], Order())
                if record.topic == SALES_ORDERS:
                    order.event = event
                elif event["paymentVersion"] > (order.payment or {"paymentVersion": 0})["paymentVersion"]:
                    order.payment = event
                await self._work(order)

    async def _work(self, order: Order) -> None:
        settled = order.payment is not None and order.payment["isOrderSettled"]
        for line_id, code in list(order.codes.items()):
            certificate, line = self._certificates[code], order.plan().get(line_id)
            if order.event is not None and order.event.get("status") == "Cancelled":
                del order.codes[line_id], self._certificates[code]
                await self._producer.send_and_wait(STATES, None, key=code.encode())
            elif line is not None and settled and certificate.status == "Reserved":
                certificate.status, certificate.currency = "Active", (order.event or {})["currency"]
                certificate.denomination = line["plannedDenomination"]
                certificate.phone = line["intendedRecipient"]["phone"]
                await self._move(certificate, "Activate", line["plannedDenomination"], 1)
                await self._send_cvc(certificate)

    async def _send_cvc(self, certificate: Certificate) -> None:
        certificate.cvc = f"{secrets.randbelow(10_000):04}"
        message_id = secrets.token_hex(8)
        text = f"Certificate {certificate.code} over 1500.00 RUB, CVC: {certificate.cvc}"
        async with httpx.AsyncClient(trust_env=False) as client:
            body = {"messageId": message_id, "to": certificate.phone, "text": text}
            answer = await client.post(f"{self._sms}/", json=body, headers={"Idempotency-Key": message_id})
            answer.raise_for_status()

    # ----------------------------------------------------------------------------------------------------- events out

    async def _move(self, certificate: Certificate, kind: str, amount: int, sign: int, **more: object) -> Json:
        before = certificate.balance
        certificate.balance += sign * amount
        if kind != "Activate":
            certificate.status = "Depleted" if certificate.balance == 0 else "Active"
        if more.get("voidedType") == "Activation":
            certificate.status = "Cancelled"
        operation = self._note(certificate, kind, amount=amount, left=amount, **more)
        event = {
            "eventId": secrets.token_hex(8),
            "transactionId": operation["operationId"],
            "type": kind,
            "code": certificate.code,
            "amount": amount,
            "currency": certificate.currency,
            "balanceBefore": before,
            "balanceAfter": certificate.balance,
            "version": certificate.version,
            "occurredAt": rfc3339_now(),
        }
        await self._publish(TRANSACTIONS, event)
        await self._publish(TRANSACTIONS, event)  # at least once
        await self._state(certificate)
        return operation

    def _note(self, certificate: Certificate, kind: str, **more: object) -> Json:
        certificate.version += 1
        entry: Json = {
            "operationId": secrets.token_hex(8),
            "type": kind,
            "version": certificate.version,
            "occurredAt": rfc3339_now(),
            "status": certificate.status,
            "balance": certificate.balance,
            **more,
        }
        certificate.operations.append(entry)
        return entry

    async def _state(self, certificate: Certificate) -> None:
        event = {
            "eventId": secrets.token_hex(8),
            "code": certificate.code,
            "status": certificate.status,
            "currency": certificate.currency,
            "denomination": certificate.denomination,
            "balance": certificate.balance,
            "held": certificate.balance - certificate.available,
            "available": certificate.available,
            "version": certificate.version,
            "orderId": certificate.order_id,
            "orderLineId": certificate.line_id,
        }
        await self._publish(STATES, event)

    async def _publish(self, topic: str, event: Json) -> None:
        await self._producer.send_and_wait(topic, msgspec.json.encode(event), key=event["code"].encode())

    # ----------------------------------------------------------------------------------------------------------- HTTP

    async def __call__(self, scope: Json, receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        content = (await receive()).get("body", b"")
        async with self._lock:
            status, body, replayed = await self._once(scope, headers, content)
        reply = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if replayed:
            reply.append((b"idempotency-replayed", b"true"))
        await send({"type": "http.response.start", "status": status, "headers": reply})
        await send({"type": "http.response.body", "body": body})

    async def _once(self, scope: Json, headers: Mapping[str, str], content: bytes) -> tuple[int, bytes, bool]:
        role = headers.get("authorization", "").removeprefix("Bearer key-of-")
        name = (role, headers.get("idempotency-key", ""))
        fingerprint = hashlib.sha256(scope["path"].encode() + content).hexdigest()
        if name[1] and name in self._outcomes:
            known, status, body = self._outcomes[name]
            if known == fingerprint:
                return status, body, True
            return 422, msgspec.json.encode(No(422, "IdempotencyKeyReused").body), False
        try:
            status, answer = await self._answer(role, scope, msgspec.json.decode(content or b"{}"))
        except No as no:
            status, answer = no.status, no.body
        encoded = msgspec.json.encode(answer)
        self._outcomes[name] = (fingerprint, status, encoded)
        return status, encoded, False

    async def _answer(self, role: str, scope: Json, body: Json) -> tuple[int, Json]:
        if scope["path"] == "/health/ready":
            return 200, {"status": "ok", "components": {"storage": {"status": "ok"}}}
        if role not in ROLES:
            raise No(401, "Unauthenticated")
        found = PATH.fullmatch(scope["path"])
        assert found is not None, scope["path"]
        kind, name, action = found.groups()
        if kind == "orders":
            return 200, self._order(name)
        if action == "authorize" and body["purpose"] == "Sale":
            return await self._sell(role, name, body)
        certificate = self._certificates.get(name)
        if "cvc" in body:
            self._check_cvc(role, name, certificate, body["cvc"])
        if certificate is None:
            raise No(404, "CertificateNotFound")
        return await self._act(role, certificate, action, scope["query_string"].decode(), body)

    async def _act(
        self, role: str, certificate: Certificate, action: str | None, query: str, body: Json
    ) -> tuple[int, Json]:
        match action:
            case None | "balance" | "operations":
                return 200, self._read(certificate, action, query)
            case "authorize":
                return 201, self._authorize(certificate, role, body)
            case "capture":
                return 201, await self._capture(certificate, role, body)
            case "void":
                return 201, await self._void(certificate, role, body)
            case "cvc":
                self._note(certificate, "ReissueCvc")
                await self._state(certificate)
                await self._send_cvc(certificate)
            case _:
                certificate.status = "Blocked" if action == "block" else "Active"
                self._note(certificate, str(action).title())
                await self._state(certificate)
        return 201, {}

    def _check_cvc(self, role: str, code: str, certificate: Certificate | None, cvc: str) -> None:
        guesses = self._guesses.get(code, 0)
        if guesses >= 3:
            raise No(429, "RateLimited", retryAfter=30)
        if certificate is not None and certificate.cvc == cvc:
            self._guesses.pop(code, None)
            return
        self._guesses[code] = guesses + 1
        raise No(403, "CertificateRefused" if role == "storefront" else "CvcMismatch")

    def _order(self, order_id: str) -> Json:
        order = self._orders.get(order_id)
        if order is None:
            raise No(404, "OrderNotFound")
        lines = [
            {
                "orderLineId": line_id,
                "plannedDenomination": order.plan().get(line_id, {}).get("plannedDenomination"),
                "collectedAmount": order.collected().get(line_id, 0),
                "certificateCode": order.codes.get(line_id),
            }
            for line_id in {**order.plan(), **order.codes, **order.collected()}
        ]
        version = (order.payment or {}).get("paymentVersion", 0)
        return {"orderId": order_id, "paymentVersion": version, "certificateLines": lines}

    def _read(self, certificate: Certificate, action: str | None, query: str) -> Json:
        if action == "operations":
            start = int(dict(httpx.QueryParams(query)).get("after", 0))
            end = start + int(dict(httpx.QueryParams(query))["limit"])
            after = end if end < len(certificate.operations) else None
            return {"operations": certificate.operations[start:end], "next": after}
        as_of = httpx.QueryParams(query).get("asOf")
        if as_of is None:
            return self._figures(certificate)
        then = next(one for one in reversed(certificate.operations) if one["occurredAt"] <= as_of)
        return self._figures(certificate) | {"status": then["status"], "balance": then["balance"]}

    def _figures(self, certificate: Certificate) -> Json:
        return {
            "certificateCode": certificate.code,
            "status": certificate.status,
            "currency": certificate.currency,
            "balance": certificate.balance,
            "available": certificate.available,
            "version": certificate.version,
        }

    async def _sell(self, role: str, code: str, body: Json) -> tuple[int, Json]:
        order, line_id = self._orders.setdefault(body["orderId"], Order()), body["orderLineId"]
        known = self._certificates.get(code)
        if known is not None and (known.order_id, known.line_id) != (body["orderId"], line_id):
            raise No(409, "CodeAlreadySold")
        if order.event is not None and order.event.get("status") == "Cancelled":
            raise No(409, "OrderCancelled")
        if order.codes.get(line_id, code) != code:
            raise No(409, "OrderLineAlreadyAllocated")
        if order.event is not None and line_id not in order.plan():
            raise No(422, "OrderLineNotFound")
        if known is None:
            self._certificates[code] = Certificate(
                code=code, order_id=body["orderId"], line_id=line_id, channel=ROLES[role]
            )
            order.codes[line_id] = code
            self._note(self._certificates[code], "Reserve")
            await self._state(self._certificates[code])
            await self._work(order)
        return 200 if known else 201, {
            "certificateCode": code,
            "status": self._certificates[code].status,
            "orderId": body["orderId"],
            "orderLineId": line_id,
            "channel": ROLES[role],
            "plannedDenomination": order.plan().get(line_id, {}).get("plannedDenomination"),
            "currency": (order.event or {}).get("currency"),
        }

    def _authorize(self, certificate: Certificate, role: str, body: Json) -> Json:
        if certificate.status == "Blocked":
            raise No(409, "CertificateBlocked")
        if certificate.status in {"Reserved", "Cancelled"}:
            raise No(409, "CertificateNotActive")
        if certificate.currency != body["currency"]:
            raise No(422, "CurrencyMismatch")
        amount = min(body["amount"], certificate.available) if body.get("allowPartial") else body["amount"]
        if not 0 < amount <= certificate.available:
            raise No(409, "InsufficientFunds", available=certificate.available)
        hold_id = secrets.token_hex(8)
        self._note(certificate, "Authorize", amount=amount)
        certificate.holds[hold_id] = {"left": amount, "role": role, "end": ""}
        figures = self._figures(certificate) | {"status": "Authorized"}
        return {"authorizationId": hold_id, "amount": amount, "expiresAt": rfc3339_now(), **figures}

    async def _capture(self, certificate: Certificate, role: str, body: Json) -> Json:
        hold = certificate.holds[body["authorizationId"]]
        if hold["end"]:
            raise No(409, hold["end"])
        amount: int = body.get("amount") or hold["left"]
        if amount > hold["left"]:
            raise No(409, "CaptureExceedsAuthorization")
        hold["left"] -= amount
        if body.get("final", True):
            hold |= {"left": 0, "end": "AuthorizationAlreadyCaptured"}
        return await self._done(certificate, role, "Capture", amount, -1)

    async def _void(self, certificate: Certificate, role: str, body: Json) -> Json:
        operation_id = body["operationId"]
        if operation_id in certificate.holds:
            certificate.holds[operation_id] |= {"left": 0, "end": "AuthorizationVoided"}
            return self._figures(certificate) | self._note(certificate, "Void", amount=1, voidedType="Authorization")
        operation = next((one for one in certificate.operations if one["operationId"] == operation_id), None)
        if operation is None:
            raise No(404, "OperationNotFound")
        if role in {"pos", "storefront"} and operation["role"] != role:
            raise No(403, "Forbidden")
        if operation["type"] == "Activate" and operation["amount"] == certificate.available:
            undone: Json = {"voids": operation_id, "voidedType": "Activation"}
            return await self._done(certificate, role, "Void", operation["amount"], -1, **undone)
        if operation["type"] != "Capture":
            raise No(409, "OperationNotVoidable")
        if operation["left"] == 0:
            raise No(409, "OperationAlreadyVoided")
        amount: int = body.get("amount") or operation["left"]
        if amount > operation["left"]:
            raise No(409, "VoidExceedsOperation")
        operation["left"] -= amount
        return await self._done(certificate, role, "Void", amount, 1, voids=operation_id, voidedType="Capture")

    async def _done(
        self, certificate: Certificate, role: str, kind: str, amount: int, sign: int, **more: object
    ) -> Json:
        operation = await self._move(certificate, kind, amount, sign, role=role, **more)
        return self._figures(certificate) | operation


class Quiet(uvicorn.Server):
    """Leaves signals alone, and tells when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.up.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

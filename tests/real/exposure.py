"""A run of the whole service in which every secret and every personal datum is known, and all that it says is kept."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx
import redis
from aiokafka import AIOKafkaConsumer

from examples.patience import eventually
from examples.topics import DEAD_LETTERS, SALES_ORDERS, STATES, TRANSACTIONS
from persistence import envelope, secrets_file
from persistence.vault import Vault
from tests.real.market import Market, new_code
from tests.real.search import Search
from tests.real.stack import processes_of
from tests.unit.gateway.provider import Provider

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.real.redis import RealServer
    from tests.real.stack import RunningStack

DENOMINATION: Final = 7_654_321
"""Of no four digits."""
SECONDS_MAX: Final = 60.0
KEPT: Final = {"secrets.json", "keys.json", "channel.token", "endpoints.json"}
"""Files of the data folder that secrets are kept in, for their owner alone."""
REDIS_PASSWORD: Final = f"redis-password-{uuid.uuid4().hex}"
WRONG_KEY: Final = f"glk_{secrets.token_urlsafe(32)}"
SOLD: Final = 4
COMMANDS: Final = (
    ("inspect",),
    ("inspect", "--json"),
    ("verify", "--json"),
    ("audit",),
    ("audit", "--json"),
    ("dlq", "list"),
    ("dlq", "list", "--json"),
    ("settings",),
    ("doctor",),
    ("keys", "list", "--json"),
)
DASHBOARD: Final = (
    "/api/v0/actors?detail=1",
    "/api/v0/workers?detail=1",
    "/api/v0/tasks?detail=1",
    "/api/v0/nodes?detail=1",
    "/api/v0/jobs?detail=1",
    "/api/v0/runtime_envs?detail=1",
    "/logical/actors",
    "/nodes?view=details",
    "/api/cluster_status",
    "/events",
)


class Person:
    """Somebody whom no output may name."""

    def __init__(self, locale: str) -> None:
        self.name = f"Ярослава Тайная-{uuid.uuid4().hex[:10]}"
        self.phone = f"+7999{secrets.randbelow(10**7):07d}"
        self.locale = locale

    @property
    def recipient(self) -> dict[str, str]:
        return {"name": self.name, "phone": self.phone, "locale": self.locale}


class Exposure:
    """What was done, and what came of it."""

    def __init__(self, stack: RunningStack, server: RealServer, provider: Provider) -> None:
        self.stack = stack
        self.server = server
        now = provider.clock() // 1_000
        self.tokens = {
            "taken": provider.token(),
            "without a role": provider.token(roles=["other"]),
            "expired": provider.token(exp=now - 3_600),
            "of an unknown key": provider.token(header={"kid": "unknown"}),
            "of another's key": Provider(provider.clock).token(),
        }
        """Of the identity provider, right and wrong."""
        self.people = {new_code(): Person("ru" if number % 2 else "en") for number in range(SOLD)}
        """By the code of the certificate."""
        self.malformed = Person("ru")
        """Named in an input that can never be applied."""
        self.cvcs: dict[str, str] = {}
        self.texts: list[str] = []
        self.outputs: dict[str, bytes] = {}
        self.data_keys: list[bytes] = []
        self.orders: dict[str, str] = {}
        self.kept: dict[str, bytes] = {}
        """Files that secrets are kept in."""
        self.kept_for_owner_alone = False
        self.told: dict[str, Any] = {}

    @property
    def secrets(self) -> dict[str, bytes]:
        """All that is to be found nowhere, by a name that a report may show."""
        held = secrets_file.read(self.stack.data_dir / "secrets.json")
        found = {
            "pepper": held.pepper,
            "wrong API key": WRONG_KEY.encode(),
            "channel token": (self.stack.data_dir / "channel.token").read_bytes(),
            "Redis password": REDIS_PASSWORD.encode(),
        }
        found |= {f"token {name}": token.encode() for name, token in self.tokens.items()}
        found |= {f"signature {name}": token.rpartition(".")[2].encode() for name, token in self.tokens.items()}
        found |= {f"pepper {number}": pepper for number, pepper in held.later_peppers.items()}
        found |= {f"sealing key {key_id}": key for key_id, key in held.keys.items()}
        found |= {f"API key of {role}": key.encode() for role, key in self.stack.keys.items()}
        found |= {f"data key {number}": key for number, key in enumerate(self.data_keys)}
        found |= {f"SMS {number}": text.encode() for number, text in enumerate(self.texts)}
        return found | self.personal

    @property
    def personal(self) -> dict[str, bytes]:
        """Names and phones; a phone without its plus, which some forms write in another way."""
        people = [*self.people.values(), self.malformed]
        names = {f"name {number}": person.name.encode() for number, person in enumerate(people)}
        return names | {f"phone {number}": person.phone[1:].encode() for number, person in enumerate(people)}

    @property
    def search(self) -> Search:
        return Search(self.secrets, self.cvcs)

    def note(self, name: str, response: httpx.Response) -> httpx.Response:
        """Keep an answer, with its headers."""
        head = "\n".join(f"{key}: {value}" for key, value in response.headers.items())
        self.outputs[f"answer {len(self.outputs)} {name}"] = head.encode() + b"\n\n" + response.content
        return response

    async def command(self, *arguments: str) -> str:
        """Run a command to its end, and keep what it says."""
        ran = await asyncio.to_thread(self.stack.run, *arguments)
        self.outputs[f"gift-ledger {' '.join(arguments)}"] = (ran.stdout + ran.stderr).encode()
        return ran.stdout

    # --- what is done -------------------------------------------------------------------------------------------------

    async def play(self) -> None:
        """All of it."""
        async with Market(self.stack) as market:
            await self._sell(market, self.people)
            await self._use()
            await self._put_aside(market)
            await self._rotate(market)
            await self._forget()
        await self._ask()
        self._look()
        await self._topics()

    async def _sell(self, market: Market, people: Mapping[str, Person]) -> None:
        for code, person in people.items():
            line = {"orderLineId": "1", "plannedDenomination": DENOMINATION, "intendedRecipient": person.recipient}
            order_id = await market.order({}, certificateLines=[line])
            await market.reserve(code, order_id, "1")
            await market.pay(order_id, {"1": DENOMINATION})
            self.orders[code] = order_id
        await asyncio.gather(*(market.has_status(code, "Active") for code in people))
        for code, person in people.items():
            self.cvcs[code] = await self._cvc(person)

    async def _cvc(self, person: Person, count: int = 1) -> str:
        """The CVC in the newest SMS to somebody."""

        async def texts() -> list[str]:
            async with httpx.AsyncClient(trust_env=False) as client:
                inbox = (await client.get(f"{self.stack.endpoints.sms_inbox}/messages")).json()
            return [message["text"] for message in inbox if message["to"] == person.phone]

        found = await eventually(texts, lambda some: len(some) >= count)
        self.texts += found[-1:]
        match = re.search(r"CVC: ([0-9]{4})", found[-1])
        assert match is not None
        return match[1]

    async def _use(self) -> None:
        """Calls that are answered, and calls that are refused, with secrets where none are expected."""
        code, *_ = self.people
        cvc, person = self.cvcs[code], self.people[code]
        path = f"/certificates/{code}"
        hold: dict[str, object] = {"purpose": "Redemption", "amount": 1_000_000, "currency": "RUB", "cvc": cvc}
        wrong = f"{(int(cvc) + 1) % 10_000:04d}"
        stray = {"phone": person.phone, "name": person.name}
        async with self.stack.client("storefront") as site, self.stack.client("support") as desk:
            held = self.note("held", await site.post(f"{path}/authorize", json=hold))
            self.note(
                "captured", await site.post(f"{path}/capture", json={"authorizationId": held.json()["authorizationId"]})
            )
            self.note("balance", await site.post(f"{path}/balance", json={"cvc": cvc}))
            for name, body in {
                "wrong CVC": hold | {"cvc": wrong},
                "unknown fields": hold | stray,
                "wrong types": hold | {"amount": person.phone, "reference": [cvc]},
                "wrong purpose": {"purpose": {"cvc": cvc}},
                "too long": hold | {"reference": f"{person.name}{cvc}" * 50},
            }.items():
                self.note(name, await site.post(f"{path}/authorize", json=body))
            for name, content in {
                "cut off": json.dumps(hold | stray).encode()[:-3],
                "no JSON": person.name.encode("utf-16"),
                "too large": json.dumps(stray).encode() * 1_000,
            }.items():
                headers = {"Content-Type": "application/json"}
                self.note(name, await site.post(f"{path}/authorize", content=content, headers=headers))
            self.note("wrong method", await site.put(path, json=hold))
            self.note("wrong role", await site.post(f"{path}/block", json={"reason": person.phone}))
            site.headers["Authorization"] = f"Bearer {WRONG_KEY}"
            self.note("wrong key", await site.post(f"{path}/balance", json={"cvc": cvc}))
            site.headers["Authorization"] = f"Basic {WRONG_KEY}"
            self.note("wrong scheme", await site.post(f"{path}/balance", json={"cvc": cvc}))
            for name, token in self.tokens.items():
                site.headers["Authorization"] = f"Bearer {token}"
                shown = self.note(f"token {name}", await site.post(f"{path}/authorize", json=hold | {"amount": 1_000}))
                self.told[f"token {name}"] = shown.status_code
            self.note("new CVC", await desk.post(f"{path}/cvc", json={}))
            self.note("state", await desk.get(path))
            self.note("history", await desk.get(f"{path}/operations"))
            self.note("order", await desk.get(f"/orders/{self.orders[code]}"))
        self.cvcs[code] = await self._cvc(person, 2)

    async def _put_aside(self, market: Market) -> None:
        """Inputs that can never be applied."""
        person = self.malformed
        line = {"orderLineId": "1", "plannedDenomination": 1, "intendedRecipient": person.recipient}
        order = {"orderId": f"SO-{uuid.uuid4().hex[:12]}", "channel": "OnlineStore", "currency": "RUB"}
        wrong: list[dict[str, object]] = [
            {"certificateLines": [line | {"plannedDenomination": -1}]},
            {"certificateLines": [line | {"intendedRecipient": {"phone": [person.phone]}}]},
            {"status": person.phone, "certificateLines": []},
        ]
        values = [json.dumps(order | one, ensure_ascii=False).encode() for one in wrong]
        values.append(f'{{"name": "{person.name}", "phone": {person.phone}'.encode())
        for value in values:
            await market._publisher.publish(SALES_ORDERS, order["orderId"], value)

        async def listed() -> int:
            shown = await asyncio.to_thread(self.stack.run, "dlq", "list", "--json")
            return len(json.loads(shown.stdout))

        await eventually(listed, lambda count: count == len(values))

    async def _rotate(self, market: Market) -> None:
        """A new key for all that is sealed, and a new pepper, while the service runs; then another sale."""
        self.told["rotated"] = json.loads(await self.command("keys", "rotate-data", "--json"))
        self.told["pepper"] = json.loads(await self.command("keys", "rotate-pepper", "--json"))
        late = {new_code(): Person("en")}
        await self._sell(market, late)
        self.people |= late
        self.told["late"] = self._kept(self.orders[next(iter(late))])
        self.told["census"] = json.loads(await self.command("keys", "rotate-pepper", "--count", "--json"))
        self.told["early to drop"] = await self.command("keys", "rotate-data", "--drop-old")

    async def _forget(self) -> None:
        """One recipient is forgotten; before that, what all data keys are."""
        self.data_keys = self._opened()
        code = list(self.people)[1]
        self.told["forgotten"] = json.loads(await self.command("forget", code, "--yes", "--json"))
        self.told["kept"] = self._kept(self.orders[code])
        self.told["readable"] = len(self._opened())
        async with self.stack.client("support") as desk:
            self.told["refused"] = self.note("forgotten", await desk.post(f"/certificates/{code}/cvc", json={})).json()
            self.told["state"] = (await desk.get(f"/certificates/{code}")).json()

    def _kept(self, order_id: str) -> list[bytes]:
        with redis.Redis.from_url(self.server.url) as client:
            (key,) = client.scan_iter(f"gl:*:d:o:{order_id}")
            return list(client.hgetall(key).values())

    def _opened(self) -> list[bytes]:
        """All data keys that the secrets file opens."""
        vault, found = Vault.load(self.stack.data_dir / "secrets.json"), []
        for order_id in self.orders.values():
            name = envelope.key_name(order_id, 1, "1")
            found += [
                vault.unseal(kept, f"data key\0{name[0]}\0{name[1]}")
                for kept in self._kept(order_id)
                if not envelope.is_forgotten(kept)
            ]
        return found

    # --- what it says -------------------------------------------------------------------------------------------------

    async def _ask(self) -> None:
        """All who can be asked."""
        async with self.stack.client("ops") as ops:
            for path in ("/metrics", "/health/live", "/health/ready", "/schema/openapi.json", "/schema"):
                self.note(path, await ops.get(path))
        async with httpx.AsyncClient(base_url=self.stack.endpoints.ray_dashboard, trust_env=False, timeout=60) as ray:
            for path in DASHBOARD:
                self.note(f"dashboard {path}", await ray.get(path))
        code = next(iter(self.people))
        for command in (*COMMANDS, ("inspect", code), ("inspect", self.orders[code], "--json")):
            await self.command(*command)

    def _look(self) -> None:
        """Files, processes, and what the server holds."""
        for process in processes_of(self.stack.data_dir):
            for part in ("cmdline", "environ"):
                self.outputs[f"process {process} {part}"] = Path(f"/proc/{process}/{part}").read_bytes()
        sessions = {
            Path(match[0].decode())
            for name, content in self.outputs.items()
            if name.endswith("cmdline") and (match := re.search(rb"/[^\s\0]*/session_[0-9_-]+", content))
        }
        assert sessions, "Ray's session directory is known by the command lines of its processes"
        folders = [self.stack.data_dir, *sessions, self.server.directory]
        kept = [path for path in self.stack.data_dir.iterdir() if path.name in KEPT]
        self.kept = {path.name: path.read_bytes() for path in kept}
        self.kept_for_owner_alone = not any(path.stat().st_mode & 0o077 for path in kept)
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
        self.outputs |= {f"file {path}": path.read_bytes() for path in files if path.name not in KEPT}
        self.outputs["output of the stack"] = self.stack.log.encode()
        with redis.Redis.from_url(self.server.url) as client:
            for key in client.scan_iter():
                read = {b"list": lambda key: client.lrange(key, 0, -1), b"hash": client.hgetall, b"string": client.get}
                read[b"zset"] = lambda key: client.zrange(key, 0, -1)
                self.outputs[f"key {key!r}"] = repr_bytes(key, read[client.type(key)](key))

    async def _topics(self) -> None:
        """What was published, headers too."""
        topics = (STATES, TRANSACTIONS, DEAD_LETTERS)
        found: dict[str, list[bytes]] = {topic: [] for topic in topics}
        consumer = AIOKafkaConsumer(
            *topics, bootstrap_servers=self.stack.bootstrap, auto_offset_reset="earliest", enable_auto_commit=False
        )
        async with asyncio.timeout(SECONDS_MAX), consumer:
            ends = await consumer.end_offsets(consumer.assignment())
            while any([await consumer.position(part) < end for part, end in ends.items()]):
                for some in (await consumer.getmany(timeout_ms=200)).values():
                    for one in some:
                        found[one.topic] += [one.key or b"", one.value or b"", repr(one.headers).encode()]
        self.outputs |= {f"topic {topic}": b"\n".join(parts) for topic, parts in found.items()}


def repr_bytes(key: bytes, value: Any) -> bytes:  # noqa: ANN401 - as the server answers
    """A value with all that is in it, one after the other."""
    if isinstance(value, dict):
        value = [part for pair in value.items() for part in pair]
    return key + b"\n" + (b"\n".join(value) if isinstance(value, list) else value)

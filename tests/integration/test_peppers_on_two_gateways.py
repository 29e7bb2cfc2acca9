"""A new pepper, brought in by the command while two machines with copies of the secrets file serve one ledger."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from gateway.guesses import kept_max
from gateway.settings import GatewaySettings
from ledger.records import Activated, CvcReissued
from persistence import vault as vaults
from persistence.codec import decode
from persistence.redis_log import RedisLog
from persistence.settings import StorageSettings
from persistence.vault import Vault
from persistence.windows import RedisWindows
from tests.integration.guessing import guess, wrong
from tests.integration.http_client import PATIENCE_SECONDS, Answer, Served, post, served
from tests.real.stack import run_program, stack_environment
from tests.unit.gateway.house import CODE, RUB, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = [pytest.mark.real, pytest.mark.slow]

OTHER = "GC-0000-0002"
WRONG_MAX = 60
BOUNDS = GatewaySettings(guess_address_wrong_max=WRONG_MAX)


class Machines:
    """Two of them, each with a gateway, a shard and a copy of the secrets file; and one ledger."""

    def __init__(self, one: Served, other: Served, files: list[Path], environment: dict[str, str]) -> None:
        self.one, self.other = one, other
        self._files = files
        self._environment = environment

    async def command(self, *arguments: str) -> Any:  # noqa: ANN401 - JSON
        """Run the real command on the first machine."""
        environment = self._environment | {"GIFT_LEDGER_SECRETS_PATH": str(self._files[0])}
        ran = await asyncio.to_thread(run_program, environment, "keys", "rotate-pepper", *arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    def give(self) -> None:
        """Give the file of the first machine to the other one, as operators do."""
        draft = self._files[1].with_suffix(".new")
        shutil.copy2(self._files[0], draft)
        draft.replace(self._files[1])

    async def kept(self, code: str) -> list[int]:
        """How long the digests are that certificates were given."""
        bodies = [decode(stored).body for stored in await self.one.house.log.history(f"c:{code}")]
        return [len(body.cvc) for body in bodies if isinstance(body, Activated | CvcReissued)]


@asynccontextmanager
async def machines(redis_url: str, folder: Path) -> AsyncIterator[Machines]:
    files = [folder / "one.json", folder / "other.json"]
    Vault.create(files[0])
    shutil.copy2(files[0], files[1])
    async with AsyncExitStack() as stack:
        running = []
        for file in files:
            log = await RedisLog.open(StorageSettings(redis_url=redis_url, partitions=8))
            stack.push_async_callback(log.close)
            vault = Vault.load(file)
            await log.bind_vault(vault.fingerprint)
            await log.bind_peppers(vault.pepper_prints, vault.pepper)
            windows = RedisWindows(redis_url, "gl", BOUNDS.guess_window_seconds, kept_max(BOUNDS))
            stack.push_async_callback(windows.close)
            gateway = served(log=log, windows=windows, vault=vault, guess_address_wrong_max=WRONG_MAX)
            running.append(await stack.enter_async_context(gateway))
        environment = stack_environment(folder / "data", {"REDIS_URL": redis_url})
        yield Machines(running[0], running[1], files, environment)


@pytest.fixture
async def two(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machines]:
    monkeypatch.setattr(vaults, "LOOK_SECONDS", 0.0)  # how soon they see a new file is not what this is about
    async with asyncio.timeout(2 * PATIENCE_SECONDS), machines(redis_url, tmp_path) as running:
        yield running


async def hold(here: Served, cvc: str, key: str, code: str = CODE) -> Answer:
    body = {"purpose": "Redemption", "amount": 1_000, "currency": RUB, "cvc": cvc}
    content, header = msgspec.json.encode(body), f"Idempotency-Key: {key}"
    line = await here.line()
    return await line.ask(post(f"/certificates/{code}/authorize", content, header, client="storefront"))


async def tell(here: Served, data: bytes) -> tuple[int, str]:
    line = await here.line()
    answer = await line.ask(data)
    return answer.status, "" if answer.status < 300 else answer.code


async def test_step_by_step_nobody_notices_it(two: Machines) -> None:
    cvc = await two.one.house.issue()
    first = await hold(two.one, cvc, "before")
    refused = await hold(two.one, wrong(cvc), "refused")

    async def all_is_well(cvc: str, code: str) -> None:
        for here in (two.one, two.other):
            again = [await hold(here, digits, key) for digits, key in ((old, "before"), (wrong(old), "refused"))]
            assert again[0].content == first.content
            assert [one.status for one in again] == [201, 403]
            assert all(one.headers["idempotency-replayed"] == "true" for one in again)
            assert await tell(here, guess(code, cvc)) == (201, "")
            assert await tell(here, guess(code, wrong(cvc))) == (403, "CertificateRefused")

    old = cvc
    assert (first.status, refused.status) == (201, 403)
    await all_is_well(cvc, CODE)
    assert await two.command("--prepare") == {"pepper": 1, "nextPepper": 2}
    await all_is_well(cvc, CODE)  # one has the new file, and the other one has not
    two.give()
    assert await two.command() == {"pepper": 2}
    await all_is_well(cvc, CODE)

    reissued = await tell(two.one, post(f"/certificates/{CODE}/cvc", b"{}", client="support"))
    new = await two.one.house.cvc()
    await all_is_well(new, CODE)
    later = await hold(two.one, new, "after")
    repeated = await hold(two.other, new, "after")
    two.give()
    await all_is_well(new, CODE)

    assert reissued == (200, "")
    assert await two.kept(CODE) == [32, 33]
    assert repeated.content == later.content
    assert repeated.headers["idempotency-replayed"] == "true"
    sold = await two.other.house.issue(OTHER, "2", order="SO-1002")
    assert await two.kept(OTHER) == [33]
    assert await tell(two.one, guess(OTHER, sold)) == (201, "")
    assert (await two.command("--count"))["census"] == {"certificates": {"2": 2}, "unread": 0}


async def test_a_machine_that_was_forgotten_says_so_and_says_nothing_else(two: Machines) -> None:
    cvc = await two.one.house.issue()
    first = await hold(two.other, cvc, "before")
    assert await two.command() == {"pepper": 2}
    two.other.house.ledger.shard = two.one.house.ledger.shard  # calls go wherever the certificate is

    right, mistyped, unknown = guess(CODE, cvc), guess(CODE, wrong(cvc)), guess(UNKNOWN, cvc)
    answers = [await tell(two.other, data) for data in (right, mistyped, unknown) * WRONG_MAX]
    again = await hold(two.other, cvc, "before")

    assert set(answers) == {(503, "Overloaded")}
    assert again.content == first.content
    assert await tell(two.one, right) == (201, "")
    two.give()
    assert await tell(two.other, right) == (201, "")  # no guess was counted, neither of the code nor of the address
    assert await tell(two.other, unknown) == (403, "CertificateRefused")

"""Shards and gateways that do not all have the peppers that CVCs are kept with."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final

import pytest
from msgspec.structs import replace

from actors import issuer
from actors.errors import OutcomeUnknownError, PepperMissingError
from actors.frames import reply_of
from ledger.commands import Authorize, Inquire
from ledger.fingerprints import fingerprint
from persistence.vault import Vault
from tests.unit.actors.stage import CERTIFICATE, CODE, POS, Stage, ask, authorize, body, issue, records, refusal, types

if TYPE_CHECKING:
    from ledger.commands import AnyCommand, Origin
    from tests.unit.actors.logs import UnreliableLog
    from tests.unit.actors.stage import FakeClock

CVC: Final = "4821"
WRONG: Final = "0000"
OTHER: Final = "GC-7K2M-9QXB"
UNKNOWN: Final = "GC-0000-0404"
FIRST, SECOND, KEY = (secrets.token_bytes(32) for _ in range(3))
BEFORE: Final = Vault(FIRST, {1: KEY}, 1)
PREPARED: Final = Vault(FIRST, {1: KEY}, 1, later_peppers={2: SECOND})
AFTER: Final = Vault(FIRST, {1: KEY}, 1, later_peppers={2: SECOND}, current_pepper=2)
SITE: Final = replace(POS, cvc_required=True)


@pytest.fixture(autouse=True)
def _known_cvc(monkeypatch: pytest.MonkeyPatch) -> None:
    """All certificates have the same CVC."""
    monkeypatch.setattr(issuer, "new_cvc", lambda: CVC)


def tried(gateway: Vault, cvc: str = CVC, code: str = CODE) -> Inquire:
    return Inquire(gateway.cvc_digests(code, cvc))


def held(gateway: Vault, cvc: str = CVC, code: str = CODE) -> Authorize:
    return authorize(cvc=gateway.cvc_digests(code, cvc))


def keyed(command: AnyCommand, key: str = "k", entity: str = CERTIFICATE) -> Origin:
    """The till with an idempotency key, and the fingerprint that a gateway makes."""
    return replace(POS, key=key.encode(), fingerprint=fingerprint(entity, command))


async def test_cvcs_of_before_and_after_a_rotation_are_right_on_all_gateways_that_have_the_new_file(
    stage: Stage, log: UnreliableLog
) -> None:
    await issue(await stage.shard(vault=BEFORE))
    shard = await stage.shard(vault=AFTER)
    await issue(shard, OTHER)

    kept = [next(one.body.cvc for one in await records(log, f"c:{code}") if "cvc" in one.body.__struct_fields__)  # type: ignore[union-attr]
            for code in (CODE, OTHER)]  # fmt: skip
    assert [len(one) for one in kept] == [32, 33]
    for gateway in (PREPARED, AFTER):
        for code in (CODE, OTHER):
            right = await ask(shard, f"c:{code}", tried(gateway, code=code), SITE)
            wrong = await ask(shard, f"c:{code}", tried(gateway, WRONG, code), SITE)
            assert (body(right)["available"], refusal(wrong)) == (150_000, "CertificateRefused")


async def test_while_it_is_prepared_gateways_with_and_without_it_serve(stage: Stage) -> None:
    shard = await stage.shard(vault=PREPARED)
    await issue(shard)

    for gateway in (BEFORE, PREPARED):
        assert body(await ask(shard, CERTIFICATE, tried(gateway), SITE))["available"] == 150_000


async def test_a_gateway_without_it_is_told_so_whatever_the_code_and_nothing_is_counted(
    stage: Stage, log: UnreliableLog, caplog: pytest.LogCaptureFixture
) -> None:
    await issue(await stage.shard(vault=BEFORE))
    shard = await stage.shard(vault=AFTER)
    await issue(shard, OTHER)
    length = len(await records(log))

    for code in (CODE, OTHER, UNKNOWN):
        for cvc in (CVC, WRONG):
            for command in (tried(BEFORE, cvc, code), held(BEFORE, cvc, code)):
                for origin in (POS, SITE):
                    with pytest.raises(PepperMissingError, match="nothing happened"):
                        await ask(shard, f"c:{code}", command, origin)

    assert shard.counts["pepperMissing"] == 24
    assert [one for one in caplog.messages if "lacks the pepper" in one] == [
        "a gateway lacks the pepper 2: give it the secrets file that has it"
    ]
    assert len(await records(log)) == length
    assert body(await ask(shard, CERTIFICATE, tried(AFTER), SITE))["available"] == 150_000  # it is not locked
    assert "cvc" not in body(await ask(shard, CERTIFICATE, authorize()))  # and who gives none is served


async def test_a_shard_that_meets_a_pepper_wants_it_of_all_from_then_on(stage: Stage) -> None:
    await issue(await stage.shard(vault=AFTER), OTHER)
    shard = await stage.shard(vault=BEFORE)
    served = await ask(shard, f"c:{UNKNOWN}", tried(BEFORE, code=UNKNOWN), SITE)

    for code in (OTHER, UNKNOWN):  # else the second one would tell that the first one exists
        with pytest.raises(PepperMissingError):
            await ask(shard, f"c:{code}", tried(BEFORE, code=code), SITE)

    assert refusal(served) == "CertificateRefused"
    assert body(await ask(shard, f"c:{OTHER}", tried(PREPARED, code=OTHER), SITE))["available"] == 150_000


# --- repeated requests ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"), [(BEFORE, PREPARED), (PREPARED, BEFORE), (PREPARED, AFTER), (AFTER, PREPARED), (BEFORE, AFTER)]
)
@pytest.mark.parametrize("cvc", [CVC, WRONG])
async def test_a_request_that_is_repeated_over_a_rotation_is_given_its_first_outcome(
    stage: Stage, log: UnreliableLog, first: Vault, second: Vault, cvc: str
) -> None:
    shard = await stage.shard(vault=PREPARED)
    await issue(shard)
    before = await ask(shard, CERTIFICATE, held(first, cvc), keyed(held(first, cvc)))

    later = await stage.shard(vault=second)  # takes over
    again = await ask(later, CERTIFICATE, held(second, cvc), keyed(held(second, cvc)))
    another = await ask(later, CERTIFICATE, held(second, "1111"), keyed(held(second, "1111")))

    assert (again.body, again.refused, again.replayed) == (before.body, before.refused, True)
    assert refusal(another) == "IdempotencyKeyReused"
    assert (await types(log)).count("held") == (cvc == CVC)


async def test_what_was_asked_before_is_told_even_by_a_gateway_without_the_new_pepper(stage: Stage) -> None:
    await issue(await stage.shard(vault=BEFORE))
    before = await ask(stage.shards[0], CERTIFICATE, held(BEFORE), keyed(held(BEFORE)))
    shard = await stage.shard(vault=AFTER)

    again = await ask(shard, CERTIFICATE, held(BEFORE), keyed(held(BEFORE)))

    assert (again.body, again.replayed) == (before.body, True)


async def test_what_was_asked_with_the_new_pepper_is_unknown_to_a_gateway_without_it(
    stage: Stage, log: UnreliableLog
) -> None:
    shard = await stage.shard(vault=AFTER)
    await issue(shard)
    await ask(shard, CERTIFICATE, held(AFTER), keyed(held(AFTER)))

    with pytest.raises(OutcomeUnknownError):  # and not "nothing happened", nor that the key was used for something else
        await ask(shard, CERTIFICATE, held(BEFORE), keyed(held(BEFORE)))

    assert (await types(log)).count("held") == 1


async def test_a_cvc_that_could_not_be_checked_leaves_its_key_unused(stage: Stage, clock: FakeClock) -> None:
    shard = await stage.shard(vault=AFTER)
    await issue(shard)
    with pytest.raises(PepperMissingError):
        await ask(shard, CERTIFICATE, held(BEFORE), keyed(held(BEFORE)))

    clock.advance(1)
    answer = await ask(shard, CERTIFICATE, held(AFTER), keyed(held(AFTER)))

    assert (answer.created, answer.replayed) == (True, False)


def test_it_is_told_over_the_channel() -> None:
    reply = reply_of(3, PepperMissingError("why"))

    assert reply.failure == "pepper"
    assert isinstance(reply.outcome, PepperMissingError)
    assert reply.outcome.detail == "why"

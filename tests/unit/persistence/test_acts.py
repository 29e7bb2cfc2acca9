"""The bytes of administrative acts: the same for ever, and never half-understood."""

import msgspec
import pytest

from persistence import acts
from persistence.acts import ACT_SCHEMA, Act
from persistence.codec import LINK_BYTES
from persistence.errors import DamagedLogError, StorageRefusedError
from persistence.memory_acts import MemoryActStore
from tests.unit.persistence import golden
from tests.unit.persistence.bodies import BEFORE, LINK

FACTS = {"keyId": "k_3f9ac2d1", "client": "till-1"}
ACT = Act(ACT_SCHEMA, 7, 1_795_500_000_123, "anna", "desk-1", "keys revoke", "done", 6, FACTS)


def test_an_act_is_written_and_read_as_its_golden_bytes() -> None:
    stored, after = acts.encode(BEFORE, ACT)

    assert stored.hex() == golden.ACT
    assert acts.decode(bytes.fromhex(golden.ACT)) == ACT
    assert acts.follow(BEFORE, stored) == after


def test_an_act_of_a_later_version_with_more_fields_is_read() -> None:
    fields = msgspec.msgpack.decode(bytes.fromhex(golden.ACT)[LINK_BYTES:])

    assert acts.decode(LINK + msgspec.msgpack.encode([*fields, "later"])) == ACT


@pytest.mark.parametrize("stored", [b"", LINK, LINK + b"\x93", bytes.fromhex(golden.RECORD), LINK + b"\xff"])
def test_what_is_no_act_is_damage(stored: bytes) -> None:
    with pytest.raises(DamagedLogError):
        acts.decode(stored)


async def test_whoever_is_never_the_first_gives_up_in_the_end() -> None:
    class Busy(MemoryActStore):
        tries = 0

        async def append(self, *_: object) -> bool:
            self.tries += 1
            return False

    store = Busy()

    with pytest.raises(StorageRefusedError, match="try again"):
        await acts.note(store, 0, ("anna", "desk-1"), "forget", "begun", {})

    assert store.tries == acts.TRIES_MAX
    assert store.stored == []

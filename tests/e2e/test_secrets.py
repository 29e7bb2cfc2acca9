"""Whatever a run of the whole service says and writes, no secret and no personal datum is in it.

One stack, on a Redis with a password, shards behind TCP with a token, everything logged: certificates are sold, spent,
refused and forgotten, keys are rotated, inputs are put aside. Then all outputs are searched.
"""

from __future__ import annotations

import asyncio
import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from actors.host import wall_clock
from examples.topics import DEAD_LETTERS
from persistence import envelope
from tests.real.exposure import REDIS_PASSWORD, SOLD, Exposure
from tests.real.fixtures import binary_of
from tests.real.redis import RealServer
from tests.real.search import hits
from tests.real.stack import RunningStack
from tests.unit.gateway.provider import AUDIENCE, ISSUER, Provider

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.real, pytest.mark.ray]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exposure]:
    folder = tmp_path_factory.mktemp("secrets")
    # compressed, a file would have to be searched in another way
    server = RealServer(binary_of("valkey"), folder / "redis", ("--rdbcompression", "no"))
    server.directory.mkdir()
    with ExitStack() as parts:
        parts.callback(server.kill)
        server.start()
        server.ask("ACL", "SETUSER", "ledger", "on", f">{REDIS_PASSWORD}", "~*", "&*", "+@all")
        url = f"redis://ledger:{REDIS_PASSWORD}@127.0.0.1:{server.port}/0"
        provider = Provider(wall_clock)
        told = {
            "JWT_ISSUER": ISSUER,
            "JWT_AUDIENCE": AUDIENCE,
            "JWT_JWKS_URL": str(provider.publish(folder / "jwks.json")),
            "JWT_ROLES": "gift-till=pos",
        }
        stack = RunningStack(folder, {"REDIS_URL": url, "CHANNEL": "tcp", "LOG_LEVEL": "debug", **told})
        parts.callback(stack.kill)
        stack.start()
        done = Exposure(stack, server, provider)
        asyncio.run(done.play())
        stack.stop()
        done.outputs["output of the stack"] = stack.log.encode()
        yield done


def test_no_output_holds_a_secret_or_names_anybody(run: Exposure) -> None:
    found = hits(run.search, run.outputs)

    # the address of Redis is given to the processes in their environment, and an input that can never be applied is put
    # aside as it came: who may read the topic of inputs may read that of dead letters, and nobody else
    given = [one for name in list(found) if name.endswith(" environ") for one in found.pop(name)]
    letters = found.pop(f"topic {DEAD_LETTERS}")
    assert found == {}
    assert {one.partition(" as ")[0] for one in given} == {"Redis password"}
    malformed = len(run.people)
    assert {one.partition(" as ")[0] for one in letters} == {f"name {malformed}", f"phone {malformed}"}


def test_the_search_would_have_found_them(run: Exposure) -> None:
    found = hits(run.search, run.kept)

    stored = {one.partition(" as ")[0] for one in found["secrets.json"]}
    assert stored == {"pepper", "pepper 2", "sealing key 1", "sealing key 2"}
    assert len(found["keys.json"]) >= len(run.stack.keys)
    assert "channel token as raw" in found["channel.token"]
    assert "Redis password as raw" in found["endpoints.json"]
    assert run.kept_for_owner_alone
    texts = "\n".join(run.texts).encode()
    assert len({one for one in run.search.found(texts) if one.startswith("SMS ")}) >= SOLD + 2
    assert all(any(one.startswith(f"CVC of {code}") for one in run.search.found(texts)) for code in run.cvcs)


def test_enough_was_searched(run: Exposure) -> None:
    names = "\n".join(run.outputs)

    for part in (
        "raylet.out",
        "worker-",
        "gcs_server.out",
        "appendonly.aof",
        "gl:keys",
        "gl:acts",
        "dashboard /events",
        "/metrics",
    ):
        assert part in names
    for name, content in run.outputs.items():
        if name.startswith("answer") and "dashboard" not in name:
            assert not re.search(rb" 5[0-9]{2} ", content[:20]), name
    assert re.search(rb"(?m)log_level +debug", run.outputs["gift-ledger settings"])
    assert sum(map(len, run.outputs.values())) > 1_000_000
    assert len(run.data_keys) == SOLD + 1


def test_tokens_were_taken_and_refused(run: Exposure) -> None:
    answers = {name.removeprefix("token "): told for name, told in run.told.items() if name.startswith("token ")}

    assert answers == {
        "taken": 201,
        "without a role": 403,
        "expired": 401,
        "of an unknown key": 401,
        "of another's key": 401,
    }


def test_keys_are_rotated_under_a_running_service(run: Exposure) -> None:
    assert run.told["rotated"]["sealingKey"] == 2
    assert run.told["rotated"]["rotated"]["resealed"] >= SOLD
    assert run.told["rotated"]["rotated"]["unreadable"] == 0
    assert [kept[0] for kept in run.told["late"]] == [2], "sealed by an inbox that was started with the old file"
    assert run.told["pepper"] == {"pepper": 2}
    counted = run.told["census"]["census"]
    assert counted["certificates"].keys() == {"1", "2"}, "the late one was made by a shard that began with the old file"
    assert (counted["certificates"]["2"], counted["unread"]) == (1, 0)
    assert run.told["early to drop"] == ""
    verified = json.loads(run.outputs["gift-ledger verify --json"])
    assert verified["findings"] == []


def test_who_was_forgotten_is_so_in_a_running_service(run: Exposure) -> None:
    assert run.told["forgotten"]["dataKeys"] == 1
    assert run.told["forgotten"]["rewritten"] is True
    assert [envelope.is_forgotten(kept) for kept in run.told["kept"]] == [True]
    assert run.told["readable"] == SOLD
    assert (run.told["refused"]["code"], run.told["state"]["status"]) == ("RecipientUnknown", "Active")

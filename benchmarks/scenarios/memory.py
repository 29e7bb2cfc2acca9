"""What a certificate takes in a shard's memory and in Redis."""

from typing import Final

from benchmarks.memory import RedisMemory, resident_bytes
from benchmarks.rounds import figure
from benchmarks.section import Section, Table, Target
from benchmarks.seed import code
from benchmarks.stage import Stage
from benchmarks.wrk import LoadError
from gift_ledger.bench.generator import Generator
from gift_ledger.bench.requests import Pairs
from gift_ledger.bench.schedule import AsSoonAsPossible

CONNECTIONS: Final = 64
SECONDS_MAX: Final = 180.0
SHARD_BYTES_MAX: Final = 2_048
REDIS_BYTES_MAX: Final = 1_024
_BYTES: Final = "bytes"
_OUTCOMES: Final = "gl:idem:*"


def memory(stage: Stage) -> Section:
    """Measure. To be done first: it counts from a shard that has met no certificate yet."""
    product, count = stage.product, stage.options.certificates
    redis = RedisMemory(product.endpoints.redis)
    residents_before = product.metric("gift_ledger_shard_residents")
    plan = Pairs(product.address, code, stage.run_name())
    found = Generator(product.address, plan, AsSoonAsPossible(SECONDS_MAX, count), connections=CONNECTIONS).run()
    if found.refused or found.lost or len(found.latencies) < count:
        raise LoadError(f"{found.refused} pairs were refused, {found.lost} lost: {found.refusals}")
    product.wait_until_published()
    residents = product.metric("gift_ledger_shard_residents") - residents_before
    in_shard = (resident_bytes(stage.shard_pid) - stage.shard_bytes_empty) / residents
    outcomes = redis.of_keys(_OUTCOMES)
    in_redis = (redis.used() - stage.redis_bytes_empty - outcomes) / count
    stage.say(f"memory: {figure(in_shard)} bytes in the shard, {figure(in_redis)} in Redis")
    return Section(
        title="Memory",
        how=(
            f"{figure(count)} certificates, each reserved, planned, activated, authorized and captured once: five "
            "records. The shard: by how much its resident memory grew while it met all of them. Redis: by how much "
            "`used_memory` grew, the events delivered, without the idempotency keys, which it forgets after two days."
        ),
        tables=[
            Table(
                headings=("", "bytes"),
                rows=[
                    ("a resident certificate in the shard", figure(in_shard)),
                    ("a certificate with five records in Redis", figure(in_redis)),
                    ("an idempotency key in Redis", figure(outcomes / (2 * count))),
                ],
            )
        ],
        targets=[
            Target(what="a resident in the shard", measured=in_shard, bound=SHARD_BYTES_MAX, unit=_BYTES, at_most=True),
            Target(what="a certificate in Redis", measured=in_redis, bound=REDIS_BYTES_MAX, unit=_BYTES, at_most=True),
        ],
    )

"""Checks of the servers: each gives what it found, and none changes anything."""

import asyncio
import platform
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from gateway.readiness import Readiness
from gateway.services import Condition
from gift_ledger.cli.check import Check, Level, fail, ok, warn
from gift_ledger.cli.context import Context, now_ms
from gift_ledger.cli.files import held
from gift_ledger.cli.probes import FoundLedger, NoGatewayError
from gift_ledger.endpoints import Endpoints
from gift_ledger.settings import Settings
from persistence import rotation
from persistence.errors import StorageError
from persistence.pepper_prints import lacking
from persistence.secrets_file import SecretsError
from persistence.vault import Vault

SKEW_WARN_MS: Final = 500
"""Two clocks this far apart: a lapse seen by one may not be one for the other."""
SKEW_FAIL_MS: Final = 5_000
ORDERS_TRIED_MAX: Final = 1_000
"""Orders whose data keys are tried: a key that is missing is missing for most; `verify` tries all of them."""
TRIED_SECONDS_MAX: Final = 10.0
"""How long they may take: the server is asked for its keys, few of which may be data keys."""

_EVERY_ADDRESS: Final = frozenset({"0.0.0.0", "::"})


async def redis(context: Context, settings: Settings) -> list[Check]:
    """Whether the log is durable and writable, and whose ledger it is."""
    if settings.redis_url is None:
        return []
    try:
        found = await context.doors.ledger(settings.storage())
        if found is None:
            seen = f"durable; no ledger {settings.redis_prefix!r} on it yet"
            return [warn("redis", seen, "The first start of the service makes it, with the partitions that are set.")]
        async with context.log(settings) as log:
            await log.check()
            waiting, failures = sum(await log.outbox_sizes()), len(await log.message_failures())
            partitions = log.partitions
    except StorageError as error:
        advice = (
            "Start it, or correct redis_url." if error.retryable else "Change the server's setting, then try again."
        )
        return [fail("redis", str(error), advice)]
    checks = [ok("redis", f"durable and writable; {partitions} partitions, {waiting} events wait for Kafka")]
    checks += _peppers(found, held(settings))
    if failures:
        advice = "See which with `gift-ledger inspect CODE`; support sends a new CVC with POST /certificates/CODE/cvc."
        checks.append(warn("sms", f"{failures} messages were given up", advice))
    return checks


def _peppers(found: FoundLedger, ours: Vault | None) -> list[Check]:
    """What is wrong with the peppers of the secrets file, if there is one."""
    if ours is None or found.vault is None:
        return []
    if found.vault != ours.fingerprint:
        seen = f"the ledger was made with the pepper {found.vault}, and the file has {ours.fingerprint}"
        return [fail("secrets", seen, "With it no CVC is ever right: put the ledger's own secrets file back.")]
    if numbers := lacking(found.peppers, ours.pepper_prints):
        seen = f"CVCs are kept with peppers that the file lacks: {', '.join(map(str, numbers))}"
        advice = "CVCs cannot be checked here: take the file of the machine where `keys rotate-pepper` ran last."
        return [fail("secrets", seen, advice)]
    if ours.pepper < max(found.peppers, default=ours.pepper):
        seen = f"new CVCs are kept with the pepper {ours.pepper} here, and elsewhere with {max(found.peppers)}"
        return [warn("secrets", seen, "Take the file of the machine where `gift-ledger keys rotate-pepper` ran last.")]
    return []


async def data_keys(context: Context, settings: Settings) -> list[Check]:
    """Whether the secrets file opens what recipients are sealed with."""
    name = "data keys"
    try:
        found = None if settings.redis_url is None else await context.doors.ledger(settings.storage())
        vault = Vault.load(settings.secrets_file)
    except (StorageError, SecretsError):
        return []  # others say so
    if found is None or found.vault not in {None, vault.fingerprint}:
        return []
    untold = "Run `gift-ledger verify`, as a user with the rights of an operator (docs/security.md)."
    try:
        async with asyncio.timeout(TRIED_SECONDS_MAX), context.log(settings) as log:
            tried = await rotation.tried(log, vault, ORDERS_TRIED_MAX)
    except TimeoutError:
        return [warn(name, f"not tried in {TRIED_SECONDS_MAX:g} s", untold)]
    except StorageError as error:
        return [warn(name, f"not tried: {error}", untold)]
    if tried.unopened:
        advice = (
            "Put the secrets file back that has their key: until then no SMS leaves, and no line with such a recipient "
            "is issued. If it is lost for good: docs/operations.md."
        )
        return [fail(name, str(tried), advice)]
    return [ok(name, f"{tried.opened:,} were tried, and open")]


async def clock(context: Context, settings: Settings) -> list[Check]:
    """Whether this machine and that of Redis agree on the time."""
    if settings.redis_url is None:
        return []
    before = now_ms()
    try:
        theirs = await context.doors.redis_time(settings.storage())
    except StorageError:
        return []  # the line about Redis says so
    after = now_ms()
    skew = max(before - theirs, theirs - after, 0)
    seen = f"{skew} ms from that of Redis"
    level = Level.FAIL if skew > SKEW_FAIL_MS else Level.WARN if skew > SKEW_WARN_MS else Level.OK
    advice = "" if level is Level.OK else "Let NTP (chrony, systemd-timesyncd) set the clocks of all machines."
    return [Check(name="clock", level=level, seen=seen, advice=advice)]


async def kafka(context: Context, settings: Settings) -> list[Check]:
    """Whether the broker answers and has all topics."""
    if settings.kafka_bootstrap is None:
        return []
    try:
        topics = await context.doors.topics(settings.bridge())
    except OSError as error:
        seen = f"{settings.kafka_bootstrap} does not answer: {_reason(error)}"
        advice = "Start it, or correct kafka_bootstrap. Calls go on meanwhile; events wait in Redis."
        return [fail("kafka", seen, advice)]
    missing = [name for name in settings.topics() if name not in topics]
    if missing:
        advice = (
            "Make them, with as many partitions as you will ever need; the state topic with cleanup.policy=compact."
        )
        return [warn("kafka", f"no topic {', '.join(missing)}", advice)]
    counts = ", ".join(f"{name} ({topics[name]})" for name in settings.topics())
    return [ok("kafka", f"{settings.kafka_bootstrap}; topics (partitions): {counts}")]


async def sms(context: Context, settings: Settings) -> list[Check]:
    """Whether the SMS gateway takes connections."""
    if settings.sms_url is None:
        return []
    advice = "Start it, or correct sms_url. Activations go on meanwhile; messages wait for 24 h."
    return [await _reached(context, "sms", settings.sms_url, Level.FAIL, advice)]


async def ray(context: Context, settings: Settings, stack: Endpoints | None) -> list[Check]:
    """Versions, and whether cluster and dashboard take connections."""
    checks = [ok("ray", f"Ray {version('ray')} on Python {platform.python_version()}, the same on all machines")]
    if settings.ray_address:
        advice = "Start the cluster (`ray start --head`), or correct ray_address."
        checks.append(await _reached(context, "ray", f"//{settings.ray_address}", Level.FAIL, advice))
    if stack is not None and stack.ray_dashboard:
        advice = "The ledger works without its dashboard; start the stack anew to have it back."
        checks.append(await _reached(context, "dashboard", stack.ray_dashboard, Level.WARN, advice))
    return checks


async def gateway(context: Context, settings: Settings, stack: Endpoints | None) -> list[Check]:
    """What the gateway says of itself and of what it stands on."""
    url = stack.http if stack is not None else _own_url(settings)
    certificate = stack.http_certificate if stack is not None else settings.http_certificate
    if url is None:
        return []
    try:
        ready = await context.doors.ready(url, certificate)
    except NoGatewayError:
        advice = "Set another http_port, or stop what is there."
        return [warn("gateway", f"something else answers at {url}", advice)]
    except OSError as error:
        if stack is None:
            return [ok("gateway", f"none runs here; nobody else has port {settings.http_port}")]
        return [fail("gateway", f"{url} does not answer: {_reason(error)}", "Start it with `gift-ledger up`.")]
    return [_readiness(url, ready)]


def _own_url(settings: Settings) -> str | None:
    """Where a gateway of these settings would be on this machine; ``None`` if on any port."""
    if settings.http_port == 0:
        return None
    host = "127.0.0.1" if settings.http_host in _EVERY_ADDRESS else settings.http_host
    scheme = "https" if settings.http_certificate else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.http_port}"


def _readiness(url: str, ready: Readiness) -> Check:
    parts = [
        f"{name} is {part.status}{f' ({part.detail})' if part.detail else ''}"
        for name, part in ready.components.items()
        if part.status is not Condition.OK
    ]
    match ready.status:
        case Condition.OK:
            return ok("gateway", f"{url} is ready")
        case Condition.DEGRADED:
            return warn("gateway", f"{url} is ready, but {'; '.join(parts)}", "Calls go on; what waits is not lost.")
        case Condition.DOWN:
            return fail("gateway", f"{url} is not ready: {'; '.join(parts)}", "See to these; it recovers by itself.")


async def _reached(context: Context, name: str, url: str, level: Level, advice: str) -> Check:
    """Whether a connection to the host of ``url`` opens; its path may hold a secret and is not shown."""
    address = urlsplit(url)
    tls = address.scheme == "https"
    host, port = address.hostname or "", address.port or (443 if tls else 80)
    try:
        await context.doors.connect(host, port, tls=tls)
    except OSError as error:
        return Check(name=name, level=level, seen=f"{host}:{port} does not answer: {_reason(error)}", advice=advice)
    return ok(name, f"{host}:{port} answers")


def _reason(error: OSError) -> str:
    return str(error) or "no answer in time"

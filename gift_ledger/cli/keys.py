"""``keys``: who may call the API."""

import re
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Annotated, Final

import typer
from msgspec.structs import replace

from gateway.access import CHANNELS, Role
from gift_ledger.cli import lifetimes
from gift_ledger.cli.context import (
    EXIT_CODES,
    CommandError,
    Context,
    Exit,
    FindingError,
    JsonOption,
    finish,
    now_ms,
    of,
    plain,
    print_json,
    row,
    screen,
    table,
)
from gift_ledger.cli.key_view import KeyView, view
from ledger.money import rfc3339
from persistence.errors import StorageUnavailableError
from persistence.keys import ClientKey, KeyStore, new_key

app = typer.Typer(no_args_is_help=True, help="Make, list, replace and revoke the keys that clients call the API with.")

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
LIVE_MAX: Final = 2
"""Live keys of one client with one role and one channel: the one in use, and the one that is to replace it."""
OVERLAP: Final = "7d"
TRIES_MAX: Final = 5
"""How often a command looks again if somebody else changes keys at the same moment."""

ClientArgument = Annotated[str, typer.Argument(metavar="CLIENT", help="Name of the client; operations belong to it.")]
ExpiresOption = Annotated[
    str | None,
    typer.Option(metavar="LIFETIME", help="How long the key works, e.g. 90d. By default, or `never`: for ever."),
]


@app.command(epilog=EXIT_CODES)
def create(
    ctx: typer.Context,
    client: ClientArgument,
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="What the key may do.")],
    channel: Annotated[
        str | None, typer.Option(help="Sales channel. By default OnlineStore for storefront, POS for pos.")
    ] = None,
    expires: ExpiresOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, once: only its hash is kept.

    The key alone goes to standard output, all else to standard error.

    Example: gift-ledger keys create till-991 pos --expires 365d
    """
    finish(_create(of(ctx), client, role, channel, expires, as_json=as_json))


@app.command("list", epilog=EXIT_CODES)
def list_keys(ctx: typer.Context, *, as_json: JsonOption = False) -> None:
    """List all keys, those that have ended too; the keys themselves are known to nobody but their clients.

    The last use is told by the minute.

    Example: gift-ledger keys list
    """
    finish(_list(of(ctx), as_json=as_json))


@app.command(epilog=EXIT_CODES)
def rotate(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="CLIENT|KEY_ID", help="Whose key, or which one, is to be replaced.")],
    overlap: Annotated[
        str, typer.Option(metavar="LIFETIME", help="How long the old key goes on working, e.g. 12h.")
    ] = OVERLAP,
    expires: ExpiresOption = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a second key for a client, show it once, and give the old one an end.

    Both work until then; the client changes over in between. `keys list` shows when the old one was used last. A third
    key is refused: revoke one first.

    Example: gift-ledger keys rotate till-991 --overlap 2d
    """
    finish(_rotate(of(ctx), name, overlap, expires, as_json=as_json))


@app.command(epilog=EXIT_CODES)
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key, as `keys list` shows it.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key, for good; all gateways refuse it within 5 seconds.

    Example: gift-ledger keys revoke k_3f9ac2d1
    """
    finish(_revoke(of(ctx), key_id, as_json=as_json))


def made_key(
    client: str, role: Role, channel: str | None, at: int, expires_at: int | None = None
) -> tuple[str, ClientKey]:
    """A fresh key as text, and what is kept of it; times in milliseconds.

    Raises:
        CommandError: a name is none.
    """
    channel = channel or CHANNELS.get(role)
    for what, name in (("client", client), ("channel", channel)):
        if name is not None and not NAME.fullmatch(name):
            raise CommandError(f"{name!r} is no name of a {what}: use 1 to 64 characters of A-Z a-z 0-9 . _ -")
    text, digest = new_key()
    key = ClientKey(
        key_id=f"k_{secrets.token_hex(4)}",
        key_hash=digest,
        client=client,
        role=role.value,
        channel=channel,
        created_at=at,
        expires_at=expires_at,
    )
    return text, key


async def _create(
    context: Context, client: str, role: Role, channel: str | None, expires: str | None, *, as_json: bool
) -> int:
    act = context.acting(
        context.settings("redis_url"), "keys create", client=client, role=role.value, channel=channel, expires=expires
    )
    async with _store(context) as store, act as acting:
        for _ in range(TRIES_MAX):
            now, keys = now_ms(), await store.all()
            text, key = made_key(client, role, channel, now, _end(expires, now))
            _require_room(key, keys, now)
            await acting.begin()
            acting.came_to(keyId=key.key_id)
            if await _add(store, key, keys):
                break
        else:
            raise _busy()
    shown = replace(view(key, now), key=text)
    if as_json:
        print_json(shown)
    else:
        _show_once(shown)
    return Exit.OK


async def _rotate(context: Context, name: str, overlap: str, expires: str | None, *, as_json: bool) -> int:
    act = context.acting(context.settings("redis_url"), "keys rotate", overlap=overlap, expires=expires)
    async with _store(context) as store, act as acting:
        for _ in range(TRIES_MAX):
            now, keys = now_ms(), await store.all()
            old = _to_be_replaced(name, keys, now)
            if old.expires_at is not None and expires is None:
                raise CommandError(
                    f"Key {old.key_id} has an end: say how long the new one is to work with --expires, e.g. "
                    f"`--expires 90d`, or `--expires {lifetimes.NEVER}`."
                )
            text, key = made_key(old.client, Role(old.role), old.channel, now, _end(expires, now))
            ends_at = now + _lifetime(overlap)
            ends_at = ends_at if old.expires_at is None else min(ends_at, old.expires_at)
            await acting.begin(client=old.client, replaces=old.key_id)
            acting.came_to(client=old.client, replaces=old.key_id, keyId=key.key_id)
            if await _add(store, key, keys, old, ends_at):
                break
        else:
            raise _busy()
    shown = replace(view(key, now), key=text, replaces=old.key_id, replaced_expires_at=rfc3339(ends_at))
    if as_json:
        print_json(shown)
    else:
        _show_once(shown)
    return Exit.OK


async def _list(context: Context, *, as_json: bool) -> int:
    async with _store(context) as store:
        keys, used = await store.all(), await store.used()
    now = now_ms()
    views = [view(key, now, used.get(key.key_id)) for key in keys]
    if as_json:
        print_json(views)
        return Exit.OK
    made = table("ID", "CLIENT", "ROLE", "CHANNEL", "MADE", "STATE", "END", "LAST USED")
    for one in views:
        end = one.revoked_at or one.expires_at
        row(made, one.key_id, one.client, one.role, one.channel, one.created_at, one.state, end, one.last_used_at)
    screen().print(made if views else "No keys yet: make one with `gift-ledger keys create CLIENT ROLE`.")
    return Exit.OK


async def _revoke(context: Context, key_id: str, *, as_json: bool) -> int:
    act = context.acting(context.settings("redis_url"), "keys revoke", keyId=key_id)
    async with _store(context) as store, act as acting:
        known = next((key for key in await store.all() if key.key_id == key_id), None)
        if known is None:  # whatever was typed instead, it may be a key itself: it is not noted
            raise FindingError(f"There is no key {key_id}: `gift-ledger keys list` shows them all.")
        await acting.begin(client=known.client)
        await store.revoke(key_id, now_ms())
    if as_json:
        print_json({"keyId": key_id, "revoked": True})
    else:
        screen().print(plain(f"Key {key_id} is revoked."))
    return Exit.OK


def _show_once(shown: KeyView) -> None:
    typer.echo(shown.key)
    told = [f"Key {shown.key_id} for {shown.client} as {shown.role}. It is not shown again: store it now."]
    if shown.expires_at is not None:
        told.append(f"It works until {shown.expires_at}.")
    if shown.replaces:
        told.append(f"It replaces {shown.replaces}, which works until {shown.replaced_expires_at}.")
    screen(stderr=True).print(plain("\n".join(told)))


def _to_be_replaced(name: str, keys: Sequence[ClientKey], now: int) -> ClientKey:
    """The live key that an id or a client's name stands for, if it can be replaced now."""
    by_id = next((key for key in keys if key.key_id == name), None)
    if by_id is not None and by_id.ended(now):
        raise FindingError(f"Key {name} works no more: make a new one with `gift-ledger keys create`.")
    live = [by_id] if by_id else [key for key in keys if key.client == name and not key.ended(now)]
    if not live:
        raise FindingError(
            f"There is no live key {name}, and none of a client {name}: `gift-ledger keys list` shows all."
        )
    kinds = {(key.role, key.channel) for key in live}
    if len(kinds) > 1:
        named = ", ".join(f"{key.key_id} ({key.role})" for key in live)
        raise CommandError(f"{name} has keys of several kinds: name the one that is to be replaced, of {named}.")
    _require_room(live[0], keys, now)
    return live[0]


def _require_room(key: ClientKey, keys: Sequence[ClientKey], now: int) -> None:
    """See that the client may have one more key of this kind.

    Raises:
        CommandError: it has two that work.
    """
    kind = (key.client, key.role, key.channel)
    live = [other for other in keys if (other.client, other.role, other.channel) == kind and not other.ended(now)]
    if len(live) >= LIVE_MAX:
        named = " and ".join(
            other.key_id if other.expires_at is None else f"{other.key_id} (until {rfc3339(other.expires_at)})"
            for other in live
        )
        raise CommandError(
            f"{key.client} has {len(live)} live keys as {key.role}: {named}. `gift-ledger keys list` shows when each "
            "was used last: revoke the one that is used no more with `gift-ledger keys revoke`, then try again."
        )


async def _add(
    store: KeyStore, key: ClientKey, keys: Sequence[ClientKey], old: ClientKey | None = None, ends_at: int = 0
) -> bool:
    try:
        return await store.add(key, known=len(keys), replaced=old, ends_at=ends_at)
    except StorageUnavailableError as error:
        ends = "" if old is None else f" Key {old.key_id} may have an end by now: do not leave it at that."
        raise CommandError(
            f"{error}. Whether key {key.key_id} was made is unknown. If `gift-ledger keys list` shows it, revoke it, "
            f"since nobody has it, and try again.{ends}"
        ) from error


def _busy() -> CommandError:
    return CommandError("Others are changing keys at the same moment; nothing was done. Try again.")


def _end(expires: str | None, now: int) -> int | None:
    return None if expires in {None, lifetimes.NEVER} else now + _lifetime(expires or "")


def _lifetime(text: str) -> int:
    try:
        return lifetimes.milliseconds(text)
    except ValueError as error:
        raise CommandError(f"{error}.") from error


@asynccontextmanager
async def _store(context: Context) -> AsyncIterator[KeyStore]:
    store = await context.doors.keys(context.settings("redis_url").storage())
    try:
        yield store
    finally:
        await store.close()

"""``keys``: who may call the API."""

import re
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

import msgspec
import typer
from msgspec import Struct

from gateway.access import Role
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
from ledger.money import rfc3339, rfc3339_or_none
from persistence.keys import ClientKey, KeyStore, new_key

app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the keys that clients call the API with.")

NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
CHANNELS: Final = {Role.STOREFRONT: "OnlineStore", Role.POS: "POS"}
"""Sales channel of a key that names none; only these two roles sell."""


class KeyView(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A key as it is shown. ``key`` itself is known only when it is made."""

    key_id: str
    client: str
    role: str
    channel: str | None
    created_at: str
    revoked_at: str | None
    key: str = ""


@app.command(epilog=EXIT_CODES)
def create(
    ctx: typer.Context,
    client: Annotated[str, typer.Argument(metavar="CLIENT", help="Name of the client; operations belong to it.")],
    role: Annotated[Role, typer.Argument(metavar="ROLE", help="What the key may do.")],
    channel: Annotated[
        str | None, typer.Option(help="Sales channel. By default OnlineStore for storefront, POS for pos.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, once: only its hash is kept.

    The key alone goes to standard output, all else to standard error.

    Example: gift-ledger keys create till-991 pos
    """
    finish(_create(of(ctx), client, role, channel, as_json=as_json))


@app.command("list", epilog=EXIT_CODES)
def list_keys(ctx: typer.Context, *, as_json: JsonOption = False) -> None:
    """List all keys, revoked ones too; the keys themselves are known to nobody but their clients.

    Example: gift-ledger keys list
    """
    finish(_list(of(ctx), as_json=as_json))


@app.command(epilog=EXIT_CODES)
def revoke(
    ctx: typer.Context,
    key_id: Annotated[str, typer.Argument(metavar="KEY_ID", help="Id of the key, as `keys list` shows it.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Revoke a key, for good; gateways refuse it within seconds.

    Example: gift-ledger keys revoke k_3f9ac2d1
    """
    finish(_revoke(of(ctx), key_id, as_json=as_json))


def made_key(client: str, role: Role, channel: str | None, at: int) -> tuple[str, ClientKey]:
    """A fresh key as text, and what is kept of it; ``at`` in milliseconds.

    Raises:
        CommandError: a name is none.
    """
    channel = channel or CHANNELS.get(role)
    for what, name in (("client", client), ("channel", channel)):
        if name is not None and not NAME.fullmatch(name):
            raise CommandError(f"{name!r} is no name of a {what}: use 1 to 64 characters of A-Z a-z 0-9 . _ -")
    text, digest = new_key()
    key_id = f"k_{secrets.token_hex(4)}"
    return text, ClientKey(
        key_id=key_id, key_hash=digest, client=client, role=role.value, channel=channel, created_at=at
    )


async def _create(context: Context, client: str, role: Role, channel: str | None, *, as_json: bool) -> int:
    text, key = made_key(client, role, channel, now_ms())
    async with _store(context) as store:
        await store.add(key)
    if as_json:
        print_json(msgspec.structs.replace(_view(key), key=text))
        return Exit.OK
    typer.echo(text)
    screen(stderr=True).print(
        plain(f"Key {key.key_id} for {client} as {role.value}. It is not shown again: store it now.")
    )
    return Exit.OK


async def _list(context: Context, *, as_json: bool) -> int:
    async with _store(context) as store:
        keys = [_view(key) for key in await store.all()]
    if as_json:
        print_json(keys)
        return Exit.OK
    made = table("ID", "CLIENT", "ROLE", "CHANNEL", "MADE", "REVOKED")
    for key in keys:
        row(made, key.key_id, key.client, key.role, key.channel, key.created_at, key.revoked_at)
    screen().print(made if keys else "No keys yet: make one with `gift-ledger keys create CLIENT ROLE`.")
    return Exit.OK


async def _revoke(context: Context, key_id: str, *, as_json: bool) -> int:
    async with _store(context) as store:
        known = await store.revoke(key_id, now_ms())
    if not known:
        raise FindingError(f"There is no key {key_id}: `gift-ledger keys list` shows them all.")
    if as_json:
        print_json({"keyId": key_id, "revoked": True})
    else:
        screen().print(plain(f"Key {key_id} is revoked."))
    return Exit.OK


@asynccontextmanager
async def _store(context: Context) -> AsyncIterator[KeyStore]:
    store = await context.doors.keys(context.settings("redis_url").storage())
    try:
        yield store
    finally:
        await store.close()


def _view(key: ClientKey) -> KeyView:
    return KeyView(
        key_id=key.key_id,
        client=key.client,
        role=key.role,
        channel=key.channel,
        created_at=rfc3339(key.created_at),
        revoked_at=rfc3339_or_none(key.revoked_at),
    )

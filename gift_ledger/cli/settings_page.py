"""``settings``: every setting, what it is now, and where that comes from."""

from itertools import groupby
from typing import Annotated, Final

import typer
from msgspec import Struct

from gift_ledger.cli.context import EXIT_CODES, Context, Exit, JsonOption, finish, of, print_json, row, screen, table
from gift_ledger.sources import SETTINGS

PREAMBLE: Final = """\
# Settings

Each setting has an environment variable, and the same name in small letters, without `GIFT_LEDGER_`, in a TOML
file: `gift-ledger.toml` in the working directory, or the one that `GIFT_LEDGER_CONFIG` names. The environment wins
over the file. An empty variable counts as unset. A name that does not exist, or a value that cannot be, stops the
start with an error that says what is expected. Relative paths start at the working directory.

Settings marked *secret* are never printed. They can also be given as the path of a file that holds the value, in a
variable with `_FILE` at its end, e.g. `GIFT_LEDGER_REDIS_URL_FILE=/run/secrets/redis_url`.

`gift-ledger settings` shows what is in force, and where each value comes from.

<!-- Made by `gift-ledger settings --markdown > docs/settings.md`; a test compares. -->
"""


class SettingView(Struct, frozen=True, kw_only=True, rename="camel"):
    """A setting as it is shown; a secret value is masked."""

    name: str
    value: str
    source: str
    variable: str
    expected: str
    default: str
    description: str


def settings(
    ctx: typer.Context,
    *,
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/settings.md instead.")] = False,
) -> None:
    """Show every setting: its value now, where it comes from, and what it is for. Secrets are masked.

    Example: gift-ledger settings
    """
    finish(_show(of(ctx), as_json=as_json, markdown=markdown))


def page() -> str:
    """The text of docs/settings.md."""
    parts = [PREAMBLE]
    for group, members in groupby(SETTINGS.values(), key=lambda setting: setting.group):
        parts.append(f"\n## {group}\n\n| variable | takes | default | |\n|---|---|---|---|\n")
        for setting in members:
            default = f"`{setting.default}`" if setting.default else ""
            text = f"{setting.description}{' *Secret.*' if setting.secret else ''}"
            cells = (f"`{setting.variable}`", setting.expected, default, text)
            parts.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |\n")
    return "".join(parts)


async def _show(context: Context, *, as_json: bool, markdown: bool) -> int:
    if markdown:
        typer.echo(page(), nl=False)
        return Exit.OK
    loaded = context.loaded()
    shown = [
        SettingView(
            name=setting.name,
            value=loaded.shown(setting),
            source=loaded.origins[setting.name],
            variable=setting.variable,
            expected=setting.expected,
            default=setting.default,
            description=setting.description,
        )
        for setting in SETTINGS.values()
    ]
    if as_json:
        print_json(shown)
        return Exit.OK
    made = table("SETTING", "VALUE", "SOURCE", "WHAT IT IS FOR")
    for one in shown:
        row(made, one.name, one.value or "unset", one.source, one.description)
    screen().print(made)
    return Exit.OK


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command(epilog=EXIT_CODES)(settings)

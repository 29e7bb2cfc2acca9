"""``python -m gateway.access_page``: who may what, as the table of docs/api.md; a test compares."""

import sys

from gateway.access import Grant, Role, grant
from gateway.operations import OPERATIONS


def table() -> str:
    """A line for each call, a column for each role, in Markdown."""
    lines = [
        "| call | " + " | ".join(f"`{role}`" for role in Role) + " |",
        "|---|" + "---|" * len(Role),
    ]
    for operation in OPERATIONS:
        call = operation.call
        cells = ["no key needed"] * len(Role) if call is None else [_cell(grant(role, call)) for role in Role]
        lines.append(f"| `{operation.method} {operation.path}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(given: Grant) -> str:
    terms = (("CVC required", given.cvc_required), ("blocked ones too", given.overrides_block))
    return ", ".join([given.reach.value, *(words for words, holds in terms if holds)])


if __name__ == "__main__":
    sys.stdout.write(table())

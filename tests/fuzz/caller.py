"""Runs Schemathesis against the service with the key of one role, or with none, and says what it found and reached."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from gateway.access import roles_of
from gateway.bulk_requests import BULK_BODIES
from gateway.operations import OPERATIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.access import Role
    from tests.fuzz.stage import Served

HERE = Path(__file__).parent
DOCUMENT = "/schema/openapi.json"
NOBODY = "nobody"
"""Who has no key."""


class Found(NamedTuple):
    """What came of a run. `reached` counts the answers: by method, path and status, and of items of bulk calls."""

    failed: bool
    output: str
    reached: dict[str, int]


def unreached(role: Role | None, reached: dict[str, int]) -> list[str]:
    """What a run did not come to, and what it came to that the role may not.

    It proves little of a call that it was refused however it was asked.
    """
    wrong = []
    for operation in OPERATIONS:
        label = f"{operation.method} {operation.path}"
        if operation.path == DOCUMENT:
            continue  # was read to begin with
        done = any(reached.get(f"{label} {status}") for status in (200, 201))
        items = any(reached.get(f"{label}: {status}") for status in (200, 201))
        may = operation.call is None or (role is not None and role in roles_of(operation.call))
        if done and not may:
            wrong.append(f"{label}: answered with 2xx, and it may not")
        elif may and not done:
            wrong.append(f"{label}: never answered with 2xx")
        elif may and operation.call in BULK_BODIES and not items:
            wrong.append(f"{label}: no item was ever answered with 2xx")
    return wrong


async def call(served: Served, role: Role | None, folder: Path, options: Sequence[str]) -> Found:
    """Have Schemathesis call everything that the document of the running service tells of."""
    stock, account, config = folder / "stock.json", folder / "account.json", folder / "schemathesis.toml"
    stock.write_text(json.dumps(served.stocked._asdict()))
    text = (HERE / "schemathesis.toml").read_text()
    if role is not None:
        text += f'\n[auth.openapi]\nkey = {{ bearer = "{served.keys[role]}" }}\n'
    config.write_text(text)
    command: list[str | Path] = [
        Path(sys.executable).with_name("schemathesis"),
        "--config-file",
        config,
        "run",
        "--no-color",
    ]
    command += [f"{served.url}{DOCUMENT}", *options]
    told = {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "FUZZ_STOCK": str(stock), "FUZZ_ACCOUNT": str(account)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {**told, "PYTHONPATH": str(HERE.parent.parent)}
    process = await asyncio.create_subprocess_exec(
        *command, cwd=folder, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    reached = json.loads(account.read_text()) if account.exists() else {}
    return Found(process.returncode != 0, output.decode(errors="replace"), reached)

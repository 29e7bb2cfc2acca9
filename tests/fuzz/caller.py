"""Runs Schemathesis against the service with the key of one role, or with none, and says what it found and reached."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gateway.access import Role
    from tests.fuzz.stage import Served

HERE = Path(__file__).parent


class Found(NamedTuple):
    """What came of a run. `reached` counts the answers: by method, path and status, and of items of bulk calls."""

    failed: bool
    output: str
    reached: dict[str, int]


async def call(served: Served, role: Role | None, folder: Path, options: Sequence[str]) -> Found:
    """Have Schemathesis call everything that the document of the running service tells of."""
    stock, account, config = folder / "stock.json", folder / "account.json", folder / "schemathesis.toml"
    stock.write_text(json.dumps(served.stocked._asdict()))
    text = (HERE / "schemathesis.toml").read_text()
    if role is not None:
        text += f'\n[auth.openapi]\nkey = {{ bearer = "{served.keys[role]}" }}\n'
    config.write_text(text)
    command = [Path(sys.executable).with_name("schemathesis"), "--config-file", config, "run", "--no-color"]
    command += [f"{served.url}/schema/openapi.json", "--report", "ndjson", "--report-dir", folder / "report", *options]
    told = {"SCHEMATHESIS_HOOKS": "tests.fuzz.hooks", "FUZZ_STOCK": str(stock), "FUZZ_ACCOUNT": str(account)}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment |= {**told, "PYTHONPATH": str(HERE.parent.parent), "PYTHONWARNINGS": "default"}
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

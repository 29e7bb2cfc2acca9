"""The whole stack with a certificate: it says so, and its own commands and counterparts know it again."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx
import pytest

from gateway.tls import trusting
from tests.real.certificates import self_signed
from tests.real.stack import ANSWER_SECONDS_MAX, COMMAND_SECONDS_MAX, RunningStack, run_program, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.real.certificates import Pair

pytestmark = [pytest.mark.real, pytest.mark.ray, pytest.mark.slow]


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return self_signed(tmp_path / "tls")


@pytest.fixture
def stack(tmp_path: Path, pair: Pair) -> Iterator[RunningStack]:
    settings = {"HTTP_TLS_CERT": str(pair.certificate), "HTTP_TLS_KEY": str(pair.key)}
    yield from running(RunningStack(tmp_path, settings, measured=True))


def test_the_stack_speaks_https(stack: RunningStack, pair: Pair) -> None:
    assert stack.endpoints.http.startswith("https://127.0.0.1:")
    assert stack.endpoints.http_certificate == str(pair.certificate)
    answer = httpx.get(
        f"{stack.endpoints.http}/certificates/GC-0000-0404",
        headers={"Authorization": f"Bearer {stack.keys['ops']}"},
        verify=trusting(pair.certificate),
        timeout=ANSWER_SECONDS_MAX,
        trust_env=False,
    )
    assert answer.json()["code"] == "CertificateNotFound"

    checks = {check["name"]: check for check in json.loads(stack.run("doctor", "--json").stdout)}
    assert (checks["gateway"]["level"], checks["certificate"]["level"]) == ("ok", "warn"), "it ends tomorrow"
    asked = subprocess.run(  # noqa: S603 - our own counterpart
        [sys.executable, "-m", "examples.load_balancer", "--data-dir", str(stack.data_dir), "--seconds", "1"],
        capture_output=True,
        text=True,
        timeout=COMMAND_SECONDS_MAX,
        check=False,
    )
    assert asked.returncode == 0, asked.stdout + asked.stderr


@pytest.mark.parametrize("command", ["up", "gateway"])
def test_a_certificate_that_cannot_be_used_is_told_before_anything_starts(
    tmp_path: Path, pair: Pair, command: str
) -> None:
    stack = RunningStack(tmp_path, {"REDIS_URL": "redis://127.0.0.1:1/0"})

    ran = run_program(
        stack.environment, command, "--tls-cert", str(pair.certificate), "--tls-key", str(tmp_path / "nowhere")
    )

    assert ran.returncode == 2
    assert f"{tmp_path / 'nowhere'} cannot be read: No such file or directory" in ran.stderr
    assert "Traceback" not in ran.stderr

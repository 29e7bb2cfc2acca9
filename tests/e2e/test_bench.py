"""``gift-ledger bench`` on a running stack."""

import json

import pytest

from tests.real.stack import RunningStack

pytestmark = [pytest.mark.real, pytest.mark.ray]


def test_it_authorizes_on_certificates_of_its_own_and_leaves_none_to_be_spent(shared_stack: RunningStack) -> None:
    ran = shared_stack.run("bench", "--seconds", "0.5", "--rate", "100", "--certificates", "3", "--json")

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert (found["authorized"], found["refused"], found["lost"]) == (50, 0, 0)
    assert 0 < found["p50Ms"] <= found["p99Ms"]

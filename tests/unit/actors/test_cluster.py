"""Joining a Ray cluster, without one."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import ray

from actors import cluster
from actors.settings import ActorSettings
from tests.real.process import free_port


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What Ray was asked to join."""
    calls: list[dict[str, Any]] = []

    def init(**options: Any) -> None:  # noqa: ANN401 - as Ray has it
        calls.append(options)

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "is_initialized", lambda: bool(calls))
    return calls


def test_a_process_joins_once(joined: list[dict[str, Any]]) -> None:
    cluster.connect(ActorSettings(namespace="mine"))
    cluster.connect(ActorSettings(namespace="mine"))

    (options,) = joined
    assert (options["address"], options["namespace"]) == ("auto", "mine")
    assert options["logging_level"] == logging.ERROR


def test_where_nobody_listens_that_is_told_at_once(joined: list[dict[str, Any]]) -> None:
    with pytest.raises(ConnectionError, match="no Ray cluster answers"):
        cluster.connect(ActorSettings(ray_address=f"127.0.0.1:{free_port()}"))

    assert joined == []

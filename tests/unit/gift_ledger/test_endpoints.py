import json
import os
from pathlib import Path

import pytest

from gift_ledger.endpoints import FILE_NAME, Endpoints, EndpointsError

ENDPOINTS = Endpoints(
    http="http://127.0.0.1:8080",
    redis="redis://:hidden@127.0.0.1:6379/0",
    kafka="127.0.0.1:9092",
    ray_dashboard="http://127.0.0.1:8265",
    sms_inbox="http://127.0.0.1:8090",
    ray="127.0.0.1:6380",
)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    ENDPOINTS.write(tmp_path)

    assert Endpoints.read(tmp_path) == ENDPOINTS


def test_the_file_has_the_names_that_others_look_for(tmp_path: Path) -> None:
    ENDPOINTS.write(tmp_path)

    assert {"http", "redis", "kafka", "rayDashboard", "smsInbox"} <= json.loads(
        (tmp_path / FILE_NAME).read_text()
    ).keys()


def test_the_file_is_for_its_owner_alone_whatever_the_umask_and_whatever_was_there(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        (tmp_path / FILE_NAME).write_text("old")
        (tmp_path / "endpoints.new").write_text("left by one that was killed in between")

        ENDPOINTS.write(tmp_path)
    finally:
        os.umask(before)

    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    assert Endpoints.read(tmp_path) == ENDPOINTS
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_without_a_file_it_is_said_how_to_start_a_stack(tmp_path: Path) -> None:
    with pytest.raises(EndpointsError, match=f"No running stack in {tmp_path}: start it with `gift-ledger up`"):
        Endpoints.read(tmp_path)


@pytest.mark.parametrize("content", ["{", "[]", '{"http": 1, "redis": "", "kafka": ""}', '{"http": ""}'])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)

    with pytest.raises(EndpointsError, match=r"endpoints\.json cannot be read .*: start the stack anew"):
        Endpoints.read(tmp_path)


def test_a_folder_in_its_place_is_named(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).mkdir()

    with pytest.raises(EndpointsError, match="cannot be read"):
        Endpoints.read(tmp_path)


def test_a_newer_file_is_read(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"http": "h", "redis": "r", "kafka": "k", "console": "c"}')

    assert Endpoints.read(tmp_path) == Endpoints(http="h", redis="r", kafka="k")

import pytest
from redis.asyncio.connection import parse_url

from persistence.redis_address import complete, has_password, user_of

FILES = {"ssl_ca_certs": "/etc/a b/ca&.crt", "ssl_certfile": None}


@pytest.mark.parametrize(
    ("url", "password", "whole"),
    [
        ("redis://h:1/2", None, "redis://h:1/2"),
        ("redis://h:1/2", "p", "redis://:p@h:1/2"),
        ("redis://u@h", "p", "redis://u:p@h"),
        ("redis://u:@h", "p", "redis://u:p@h"),
        ("unix:///run/redis.sock?db=1", "p", "unix://:p@/run/redis.sock?db=1"),
        ("unix://u@/run/redis.sock", None, "unix://u@/run/redis.sock"),
    ],
)
def test_a_password_is_put_in_its_place(url: str, password: str | None, whole: str) -> None:
    assert complete(url, password, {}) == whole


def test_redis_py_finds_what_was_put_in() -> None:
    found = parse_url(complete("rediss://u%40x@h:1/2?db=3", "a/b:c@d%?#", FILES))

    assert (found["username"], found["password"], found["db"]) == ("u@x", "a/b:c@d%?#", 3)
    assert dict(found)["ssl_ca_certs"] == FILES["ssl_ca_certs"]
    assert "ssl_certfile" not in found


def test_who_logs_in() -> None:
    assert (user_of("redis://h"), user_of("redis://:p@h"), user_of("redis://u%40x:p@h")) == (
        "default",
        "default",
        "u@x",
    )
    assert (has_password("redis://u@h"), has_password("redis://:p@h")) == (False, True)

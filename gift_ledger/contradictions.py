"""What is wrong between settings that are each valid."""

from collections.abc import Iterator

from gift_ledger.given_addresses import wrong_with_networks, wrong_with_url
from gift_ledger.given_settings import GivenSettings
from gift_ledger.given_tokens import wrong_with_tokens
from persistence.redis_address import has_password


def contradictions(given: GivenSettings) -> list[str]:
    """Each in a sentence, with what to do; empty if there are none. None holds a secret."""
    parts = (_of_addresses, _of_http, wrong_with_tokens, _of_redis, _of_kafka, _of_times)
    return [wrong for part in parts for wrong in part(given)]


def _of_addresses(given: GivenSettings) -> Iterator[str]:
    for name, url in (("redis_url", given.redis_url), ("sms_url", given.sms_url)):
        if url is not None and (wrong := wrong_with_url(url)):
            yield (
                f"{name} is no address: {wrong}. Write what is special in a user or password as %XX, e.g. %2F for a "
                "slash."
            )
    if wrong := wrong_with_networks(given.http_trusted_proxies):
        yield f"http_trusted_proxies: {wrong}. Write networks, or addresses, with commas between them."


def _of_http(given: GivenSettings) -> Iterator[str]:
    if (given.http_tls_cert is None) != (given.http_tls_key is None):
        yield "http_tls_cert and http_tls_key belong together: set both, or neither."


def _of_redis(given: GivenSettings) -> Iterator[str]:
    url = given.redis_url
    files = (given.redis_tls_ca, given.redis_tls_cert, given.redis_tls_key)
    if any(files) and (url is None or not url.startswith("rediss://")):
        yield "redis_tls_… files are of use with TLS alone: let redis_url begin with rediss://."
    if (given.redis_tls_cert is None) != (given.redis_tls_key is None):
        yield "redis_tls_cert and redis_tls_key belong together: set both, or neither."
    if given.redis_password is not None and url is None:
        yield "redis_password needs a redis_url: the embedded server has a password of its own."
    if given.redis_password is not None and url is not None and not wrong_with_url(url) and has_password(url):
        yield "redis_url holds a password, and redis_password is another one: keep one of the two."


def _of_kafka(given: GivenSettings) -> Iterator[str]:
    protocol = given.kafka_security_protocol
    if protocol != "PLAINTEXT" and given.kafka_bootstrap is None:
        yield f"kafka_security_protocol {protocol} needs a kafka_bootstrap: the embedded broker speaks PLAINTEXT."
    files = (given.kafka_tls_ca, given.kafka_tls_cert, given.kafka_tls_key)
    if any(files) and "SSL" not in protocol:
        yield "kafka_tls_… files are of use with TLS alone: set kafka_security_protocol to SSL or SASL_SSL."
    if (given.kafka_tls_cert is None) != (given.kafka_tls_key is None):
        yield "kafka_tls_cert and kafka_tls_key belong together: set both, or neither."
    login = (given.kafka_username, given.kafka_password)
    if protocol.startswith("SASL") and not all(login):
        yield f"kafka_security_protocol {protocol} needs kafka_username and kafka_password."
    if any(login) and not protocol.startswith("SASL"):
        yield "kafka_username and kafka_password are of use with SASL alone: set kafka_security_protocol to SASL_SSL."


def _of_times(given: GivenSettings) -> Iterator[str]:
    if given.keys_stale_seconds < 2 * given.keys_refresh_seconds:
        yield "keys_stale_seconds is below twice keys_refresh_seconds: raise the first or lower the other."
    if given.cvc_lock_first_seconds > given.cvc_lock_max_seconds:
        yield "cvc_lock_first_seconds is above cvc_lock_max_seconds: lower the first or raise the other."
    if given.request_timeout_seconds < given.redis_timeout_seconds:
        yield "request_timeout_seconds is below redis_timeout_seconds: raise the first or lower the other."

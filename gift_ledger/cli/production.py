"""``doctor --production``: what is open by the settings, the files and this machine. Servers are asked elsewhere."""

import os
import resource
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from stat import S_IRWXG, S_IRWXO, S_IWGRP, S_IWOTH
from typing import Final
from urllib.parse import parse_qs, urlsplit

from gateway.addresses import networks
from gateway.jwks_document import is_address
from gift_ledger.cli.check import Check, fail, ok
from gift_ledger.ray_environment import has_token
from gift_ledger.settings import Settings
from persistence.redis_address import DEFAULT_USER, has_password, user_of

FILES_SPARE: Final = 256
"""Open files that a gateway has beside its connections: of Redis, Ray, logs."""
PROXY_NETWORK_ADDRESSES_MAX: Final = 65_536
"""A list of proxies with more addresses in one network trusts whole companies."""
_OFF: Final = frozenset({"none", "optional", "false", "no", "0"})


def open_by_settings(settings: Settings, environ: Mapping[str, str]) -> list[Check]:
    """One line for each thing that could be open, in the order in which they are shown."""
    return [
        *_embedded(settings),
        _http(settings),
        _proxies(settings),
        _tokens(settings),
        _codes(settings),
        *_redis(settings),
        _unsafe(settings),
        *_kafka(settings),
        _sms(settings),
        *_ray(settings, environ),
        _channel(settings),
        *_files(settings),
        _user(os.geteuid()),
        _open_files(settings, resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
    ]


def is_near(host: str) -> bool:
    """Whether a host is this machine itself."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_private(host: str) -> bool:
    """Whether a host is this machine, or an address that the internet has no way to. A name may be anything."""
    try:
        return ip_address(host).is_private and not ip_address(host).is_unspecified
    except ValueError:
        return host == "localhost"


def _embedded(settings: Settings) -> Iterator[Check]:
    for part, name in (
        ("redis", "redis_url"),
        ("kafka", "kafka_bootstrap"),
        ("sms", "sms_url"),
        ("ray", "ray_address"),
    ):
        if getattr(settings, name):
            yield ok(part, f"{name} is set: no embedded server")
        else:
            advice = f"Set {name}: embedded servers are for one machine, to try things out."
            yield fail(part, f"{name} is not set: the embedded server is used", advice)


def _http(settings: Settings) -> Check:
    if settings.http_certificate:
        return ok("http", "HTTPS")
    if is_near(settings.http_host):
        return ok("http", f"plain HTTP on {settings.http_host} alone, for a proxy that speaks TLS")
    advice = "Set http_tls_cert and http_tls_key, or listen on 127.0.0.1 behind a proxy that speaks TLS."
    return fail("http", f"plain HTTP on {settings.http_host}: keys and CVCs can be read on the way", advice)


def _proxies(settings: Settings) -> Check:
    wide = [
        str(one) for one in networks(settings.http_trusted_proxies) if one.num_addresses > PROXY_NETWORK_ADDRESSES_MAX
    ]
    if wide:
        advice = "List the proxies themselves in http_trusted_proxies: whoever is in it can take any address."
        return fail("proxies", f"{', '.join(wide)} may say for whom they ask", advice)
    return ok("proxies", settings.http_trusted_proxies or "none are trusted")


def _tokens(settings: Settings) -> Check:
    tokens = settings.http().tokens
    if tokens is None:
        return ok("tokens", "none are taken: keys alone")
    if is_address(tokens.jwks_url):
        return ok("tokens", f"of {tokens.issuer}, with the keys that it publishes")
    path = Path(tokens.jwks_url)
    if not path.exists():
        advice = "Put the provider's document of keys there, or correct jwt_jwks_url."
        return fail("tokens", f"no {path}: no token is taken", advice)
    if path.stat().st_mode & (S_IWGRP | S_IWOTH):
        return fail("tokens", f"others may write {path}, and be every client", f"Run `chmod go-w {path}`.")
    return ok("tokens", f"of {tokens.issuer}, with the keys in {path}")


def _codes(settings: Settings) -> Check:
    if settings.codes == "any":
        advice = "Set codes to checked or imported, after `gift-ledger codes check`."
        return fail("codes", "any code is sold, also one that can be guessed", advice)
    return ok("codes", f"{settings.codes} codes alone are sold")


def _redis(settings: Settings) -> Iterator[Check]:
    if settings.redis_url is None:
        return
    url = settings.storage().redis_url
    parts, options = urlsplit(url), parse_qs(urlsplit(url).query)
    if has_password(url):
        yield ok("redis password", "there is one")
    else:
        yield fail("redis password", "Redis is asked without one", "Give the service's user one: redis_password.")
    if user_of(url) == DEFAULT_USER:
        advice = "Make it a user of its own by the rule in docs/security.md, and name it: rediss://USER@HOST."
        yield fail("redis user", "the default user, who may do everything as a rule", advice)
    else:
        yield ok("redis user", user_of(url))
    unchecked = [
        name for name in ("ssl_cert_reqs", "ssl_check_hostname") if options.get(name, ["yes"])[0].lower() in _OFF
    ]
    if parts.scheme == "rediss" and unchecked:
        advice = "Take these options out of redis_url, and name the issuer in redis_tls_ca."
        yield fail("redis tls", f"TLS with {' and '.join(unchecked)} off: anybody can be Redis", advice)
    elif parts.scheme == "redis" and not is_near(parts.hostname or ""):
        advice = "Have Redis speak TLS, and let redis_url begin with rediss://."
        yield fail("redis tls", f"in the clear to {parts.hostname}", advice)
    else:
        yield ok("redis tls", "TLS" if parts.scheme == "rediss" else "not needed on this machine")
    if settings.redis_replicas:
        yield ok("replicas", f"{settings.redis_replicas} have each write on disk before it counts")
    else:
        advice = "Run a replica on another machine, and set redis_replicas to 1."
        yield fail("replicas", "a write counts once it is on one disk", advice)


def _unsafe(settings: Settings) -> Check:
    if settings.redis_allow_unsafe:
        return fail("durability", "redis_allow_unsafe is set: acknowledged writes may be lost", "Unset it.")
    return ok("durability", "a Redis that may lose what it acknowledged is refused")


def _kafka(settings: Settings) -> Iterator[Check]:
    if settings.kafka_bootstrap is None:
        return
    security = settings.bridge().security
    hosts = [broker.rpartition(":")[0] for broker in settings.kafka_bootstrap.split(",")]
    if security.by_tls:
        yield ok("kafka tls", "TLS")
    elif all(is_near(host) for host in hosts):
        yield ok("kafka tls", "not needed on this machine")
    else:
        advice = "Set kafka_security_protocol to SASL_SSL."
        yield fail("kafka tls", f"in the clear to {', '.join(hosts)}", advice)
    if security.by_user:
        yield ok("kafka user", f"{security.username}, by {security.mechanism}")
    elif security.by_tls and security.certificate is not None:
        yield ok("kafka user", "known by its certificate")
    else:
        advice = "Set kafka_security_protocol to SASL_SSL, kafka_username and kafka_password."
        yield fail("kafka user", "brokers are not told who asks: anybody may publish payments", advice)


def _sms(settings: Settings) -> Check:
    url = urlsplit(settings.sms_url or "")
    if url.scheme == "http" and not is_near(url.hostname or ""):
        return fail(
            "sms tls", f"in the clear to {url.hostname}: CVCs can be read on the way", "Use https:// in sms_url."
        )
    return ok("sms tls", "TLS, or on this machine")


def _ray(settings: Settings, environ: Mapping[str, str]) -> Iterator[Check]:
    if not settings.ray_address:
        return  # a local one is bound to loopback and has a token of its own
    host = settings.ray_address.rpartition(":")[0]
    if is_private(host):
        yield ok("ray network", f"{host} is on loopback or a private network")
    else:
        advice = "Keep Ray and its dashboard on a private network, and name it by its address in ray_address."
        yield fail("ray network", f"{host} is not known to be private: whoever reaches Ray runs code in it", advice)
    if environ.get("RAY_AUTH_MODE", "token") == "token" and has_token(environ):
        yield ok("ray token", "there is one, for cluster and dashboard")
    else:
        advice = "Set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH everywhere, on the head too: it guards the dashboard."
        yield fail("ray token", "no token is shown to Ray: whoever reaches it runs code in it", advice)


def _channel(settings: Settings) -> Check:
    host = settings.channel_host
    if settings.channel == "unix" or host == "auto" or is_private(host):
        return ok("channel", f"{settings.channel}{'' if settings.channel == 'unix' else f' on {host}'}")
    advice = "Set channel_host to auto, or to an address of a private network: what it carries is not encrypted."
    return fail("channel", f"tcp on {host}", advice)


def _files(settings: Settings) -> Iterator[Check]:
    path = settings.secrets_file
    if not path.exists():
        yield fail("secrets", f"no {path}", "Put the ledger's secrets file there, mode 0600.")
    elif path.stat().st_mode & (S_IRWXG | S_IRWXO):
        yield fail("secrets", f"others may read {path}", f"Run `chmod 600 {path}`.")
    else:
        yield ok("secrets", f"{path} is its owner's alone")
    demo: Path = settings.data_path / "keys.json"
    if demo.exists():
        advice = f"Revoke the keys of the clients local-…, delete {demo}, and run roles instead of `gift-ledger up`."
        yield fail("demo keys", f"{demo} has a key of each role in the clear", advice)
    else:
        yield ok("demo keys", "none are here")


def _user(uid: int) -> Check:
    if uid == 0:
        return fail("user", "runs as root", "Run it as a user of its own, without rights.")
    return ok("user", f"runs as user {uid}")


def _open_files(settings: Settings, most: int) -> Check:
    needed = settings.http_connections_max + FILES_SPARE
    if most != resource.RLIM_INFINITY and most < needed:
        advice = "Raise it (`ulimit -n`, LimitNOFILE=), or lower http_connections_max."
        return fail("open files", f"{most} are allowed, {needed} may be needed", advice)
    return ok("open files", f"{most} are allowed")

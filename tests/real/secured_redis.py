"""A real Redis or Valkey as in production: nobody without a name and a password, and TLS where it is built in."""

from __future__ import annotations

import socket
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from persistence import redis_address
from persistence.redis_rights import OPERATOR, SERVICE, rule
from tests.real.certificates import Issuer
from tests.real.process import ServerProcess
from tests.real.redis import ANSWER_SECONDS_MAX, START_SECONDS_MAX, RealServer

if TYPE_CHECKING:
    from pathlib import Path

SERVICE_USER: Final = "gift-ledger"
OPERATOR_USER: Final = "operator"
ADMIN: Final = "admin"
PASSWORD: Final = "p/a:s@s%-hidden"
"""Of all users; it has to be written otherwise in an address."""


def speaks_tls(binary: str) -> bool:
    """Whether a server was built with TLS."""
    linked = subprocess.run(["ldd", binary], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return "libssl" in linked.stdout


class SecuredServer(RealServer):
    """As :class:`RealServer`, with users of its own: ``gift-ledger`` as the service needs it, ``operator``, ``admin``.

    Args:
        binary: The server program.
        directory: Where its data, its certificates and its list of users are.
        prefix: Of the keys that the users may touch.
        here: Whether its certificate is for this machine's address, as it should be.
    """

    def __init__(self, binary: str, directory: Path, prefix: str = "gl", *, here: bool = True) -> None:
        super().__init__(binary, directory)
        self.tls = speaks_tls(binary)
        issuer = Issuer()
        directory.mkdir(parents=True, exist_ok=True)
        self.ca = issuer.write(directory / "ca.crt")
        pair = issuer.pair(directory / "server", here=here)
        self.client_pair = issuer.pair(directory / "client", name="gift-ledger")
        hashed = sha256(PASSWORD.encode()).hexdigest()
        users = {
            "default": "off resetpass resetkeys -@all",
            ADMIN: f"on #{hashed} ~* &* +@all",
            SERVICE_USER: f"on #{hashed} {rule(SERVICE, prefix)}",
            OPERATOR_USER: f"on #{hashed} {rule((*SERVICE, *OPERATOR), prefix)}",
        }
        acl = directory / "users.acl"
        acl.write_text("".join(f"user {name} {rights}\n" for name, rights in users.items()))
        self.options = ("--aclfile", str(acl))
        if self.tls:
            self.options += ("--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "yes")
            self.options += ("--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key))
            self.options += ("--tls-ca-cert-file", str(self.ca))

    def address(self, user: str = SERVICE_USER, password: str | None = None) -> str:
        """Where a user finds it; without a password."""
        scheme = "rediss" if self.tls else "redis"
        url = f"{scheme}://{user}@127.0.0.1:{self.port}/0"
        return url if password is None else redis_address.complete(url, password, self.files)

    @property
    def files(self) -> dict[str, str]:
        """The files of TLS as redis-py names them; none if it has no TLS."""
        if not self.tls:
            return {}
        own = {"ssl_certfile": str(self.client_pair.certificate), "ssl_keyfile": str(self.client_pair.key)}
        return {"ssl_ca_certs": str(self.ca), **own}

    @property
    def settings(self) -> dict[str, str]:
        """What the service is told of it, but for the password."""
        names = {"ssl_ca_certs": "REDIS_TLS_CA", "ssl_certfile": "REDIS_TLS_CERT", "ssl_keyfile": "REDIS_TLS_KEY"}
        return {"REDIS_URL": self.address(), **{names[name]: path for name, path in self.files.items()}}

    def start_blindly(self) -> None:
        """Start it, and wait until somebody listens, whoever it says it is."""
        self.process = ServerProcess([*self._command, *self.options], self.directory)
        self.process.start(self._listens, START_SECONDS_MAX)

    def _listens(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def _client(self) -> redis.Redis:
        return redis.Redis.from_url(
            self.address(ADMIN, PASSWORD), socket_timeout=ANSWER_SECONDS_MAX, retry=Retry(NoBackoff(), 0)
        )

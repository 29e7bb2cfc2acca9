"""nginx in front of a gateway, as `docs/security.md` recommends it: its configuration is the one that stands there."""

from __future__ import annotations

import asyncio
import getpass
import shutil
import ssl
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from cryptography.hazmat.primitives.serialization import Encoding

from tests.real.certificates import Issuer
from tests.real.process import ServerProcess, free_port

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.real.certificates import Pair

PAGE: Final = Path(__file__).resolve().parents[2] / "docs" / "security.md"
NAME: Final = "ledger.example"
START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 60.0
ANSWER_SECONDS_MAX: Final = 60.0
AROUND: Final = """
user {user};
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{}}
http {{
    log_format passed '$request_method $request_uri $status $upstream_addr';
    access_log {folder}/access.log passed;
    keepalive_timeout 1s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{servers}
}}
"""


def nginx_binary() -> str | None:
    """Return the path of nginx, or None where it is not installed."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


def recommended(places: Mapping[str, str]) -> str:
    """The configuration of the page, with these texts in the places of others, each of which has to stand in it."""
    _, _, rest = PAGE.read_text().partition("```nginx\n")
    text, _, _ = rest.partition("```")
    for place, substitute in places.items():
        assert place in text, f"the page has no {place} any more"
        text = text.replace(place, substitute)
    return text


class Nginx:
    """A running nginx; clients need a certificate of `clients`.

    Args:
        binary: The program.
        folder: For its files.
        gateway_port: Where it hands requests on to.
    """

    def __init__(self, binary: str, folder: Path, gateway_port: int) -> None:
        self.port = free_port()
        self._folder = folder
        self._issuer, self.clients = Issuer(), Issuer()
        tls = folder / "tls"
        pair = self._issuer.pair(tls, name=NAME)
        (tls / "clients-ca.crt").write_bytes(self.clients.certificate.public_bytes(Encoding.PEM))
        places = {
            "127.0.0.1:8080": f"127.0.0.1:{gateway_port}",
            "client_body_timeout         10s": "client_body_timeout 1s",
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "/etc/nginx/tls/ledger.crt": str(pair.certificate),
            "/etc/nginx/tls/ledger.key": str(pair.key),
            "/etc/nginx/tls/clients-ca.crt": str(tls / "clients-ca.crt"),
        }
        config = AROUND.format(user=getpass.getuser(), folder=folder, servers=recommended(places))
        (folder / "nginx.conf").write_text(config)
        command = [binary, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        self._process = ServerProcess(command, folder)

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._process.start((self._folder / "nginx.pid").exists, START_SECONDS_MAX)

    def stop(self) -> None:
        """End it; what it has written is complete then."""
        self._process.stop(STOP_SECONDS_MAX)

    def passed_on(self) -> Counter[str]:
        """Requests that went on to a gateway: method and target, each as often as it did; once it is stopped."""
        lines = [line.split(" ", 3) for line in (self._folder / "access.log").read_text().splitlines()]
        return Counter(f"{method} {target}" for method, target, _, upstream in lines if upstream != "-")

    def context(self, pair: Pair | None) -> ssl.SSLContext:
        """How a client connects that has this certificate, or none."""
        authority = self._issuer.certificate.public_bytes(Encoding.PEM).decode()
        context = ssl.create_default_context(cadata=authority)
        if pair is not None:
            context.load_cert_chain(pair.certificate, pair.key)
        return context

    async def raw(self, data: bytes, pair: Pair | None, local: str = "127.0.0.1") -> bytes:
        """Send bytes as they are, from an address of this machine; gives all that comes until nginx hangs up."""
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", self.port, ssl=self.context(pair), server_hostname=NAME, local_addr=(local, 0)
        )
        received = bytearray()
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                writer.write(data)
                while part := await reader.read(65_536):
                    received += part
        except (ConnectionError, ssl.SSLError):
            return bytes(received)  # it has hung up without reading all that was sent
        finally:
            writer.close()
        return bytes(received)

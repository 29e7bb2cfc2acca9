"""Checks of the files: the data folder, the secrets, and who can read them."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from stat import S_IRWXG, S_IRWXO
from typing import Final

from gift_ledger.cli.check import Check, fail, ok, warn
from gift_ledger.cli.context import Context
from gift_ledger.endpoints import FILE_NAME
from gift_ledger.settings import Settings
from persistence.secrets_file import SecretsError
from persistence.vault import Vault

RENEWAL: Final = timedelta(days=14)
"""A certificate that ends sooner should have been renewed by now."""


def file_checks(context: Context, settings: Settings, origins: Mapping[str, str]) -> list[Check]:
    """All of them, in the order in which they are shown."""
    return [
        _data_dir(settings),
        _secrets(settings),
        *_channel_token(settings),
        *_certificate(settings),
        *_private(settings, origins, context),
    ]


def held(settings: Settings) -> Vault | None:
    """What the secrets file holds; ``None`` if there is no such file, or it cannot be used."""
    try:
        return Vault.load(settings.secrets_file)
    except SecretsError:
        return None


def _data_dir(settings: Settings) -> Check:
    path = settings.data_path
    if not path.exists():
        return warn("data folder", f"no {path} yet", "It is made at the first start.")
    if not path.is_dir():
        return fail("data folder", f"{path} is no folder", "Set another data_dir.")
    if not _is_private(path):
        return warn("data folder", f"others may look into {path}", f"Run `chmod 700 {path}`.")
    return ok("data folder", str(path))


def _secrets(settings: Settings) -> Check:
    path = settings.secrets_file
    if not path.exists():
        advice = "The first `gift-ledger up` makes it; on further machines copy it from the first one."
        return warn("secrets", f"no {path} yet", advice)
    try:
        vault = Vault.load(path)
    except SecretsError as error:
        return fail("secrets", str(error), f"The file belongs to whom the service runs as, with mode 0600: {path}.")
    return ok("secrets", f"{path}, fingerprint {vault.fingerprint}")


def _channel_token(settings: Settings) -> list[Check]:
    if settings.channel != "tcp":
        return []
    path = Path(settings.actors().channel_token_path)
    if not path.exists():
        advice = (
            "Make one (`openssl rand -hex 32`, mode 0600), the same on all machines, or correct channel_token_path."
        )
        return [fail("channel", f"no token in {path}", advice)]
    if not path.read_bytes().strip():
        return [fail("channel", f"{path} is empty", "Anybody could give commands: put a token there.")]
    return [ok("channel", f"tcp, with the token in {path}")]


def _certificate(settings: Settings) -> list[Check]:
    """Whether the gateway can serve HTTPS with what it is given, and for how long."""
    http = settings.http()
    if http.tls_cert is None or http.tls_key is None:
        return []
    from gateway.tls import CertificateError, server_context, valid_until  # noqa: PLC0415 - few have one

    try:
        server_context(Path(http.tls_cert), Path(http.tls_key))
        until = valid_until(Path(http.tls_cert))
    except CertificateError as error:
        return [fail("certificate", str(error), "Correct http_tls_cert and http_tls_key.")]
    left, seen = until - datetime.now(UTC), f"{http.tls_cert}, valid until {until:%Y-%m-%d %H:%M} UTC"
    advice = "Put a new certificate in its place, and restart the gateways one after the other."
    if left <= timedelta():
        return [fail("certificate", seen, advice)]
    return [warn("certificate", seen, advice) if left < RENEWAL else ok("certificate", seen)]


def _private(settings: Settings, origins: Mapping[str, str], context: Context) -> list[Check]:
    """Files that hold keys or passwords and that others can read."""
    files = [settings.data_path / "keys.json", settings.data_path / FILE_NAME]
    if settings.channel == "tcp":
        files.append(Path(settings.actors().channel_token_path))
    if settings.http_tls_key is not None:
        files.append(Path(settings.http().tls_key or ""))
    toml = {origins[name] for name in ("redis_url", "sms_url") if origins[name].endswith(".toml")}
    files += [context.folder / name for name in sorted(toml)]
    return [
        fail("files", f"others can read {path}", f"Run `chmod 600 {path}`.")
        for path in files
        if path.exists() and not _is_private(path)
    ]


def _is_private(path: Path) -> bool:
    return not path.stat().st_mode & (S_IRWXG | S_IRWXO)

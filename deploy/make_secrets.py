"""Makes the secrets that docker-compose.yml asks for: `make secrets`, or `python -m deploy.make_secrets`.

A secret that is there already is left alone: the pepper must never change, or no CVC is ever right again.
"""

import os
import secrets
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from persistence.redis_rights import OPERATOR, SERVICE, rule
from persistence.vault import Vault

FOLDER: Final = Path(__file__).resolve().parent / "secrets"
SETTINGS: Final = FOLDER.parents[1] / ".env"
IMAGE_USER: Final = 10_001
"""Who the image runs as; takes the place of root, as whom nothing shall run."""
SERVICE_USER: Final = "gift-ledger"
OPERATOR_USER: Final = "operator"
PREFIX: Final = "gl"
"""Of the ledger's keys, as `redis_prefix` has it by default."""
STAND_IN: Final = "http://sms:8090/"
"""What takes the messages until the address of the corporate SMS gateway, which may hold a key, is put in its place."""


def make(folder: Path, settings: Path) -> list[str]:
    """Make the secrets that are missing, and note in `settings` (Compose's `.env`) who owns them.

    The containers run as that user, so that the files need not be readable for anybody else.

    Returns:
        The names of the secrets that were made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    makers: dict[str, Callable[[Path], object]] = {
        "redis_password": lambda path: _write(path, secrets.token_hex(32)),
        "redis_url": lambda path: _write(path, _redis_url(SERVICE_USER, (folder / "redis_password").read_text())),
        "redis_operator_url": lambda path: _write(path, _redis_url(OPERATOR_USER, secrets.token_hex(32))),
        "redis_users": lambda path: _write(path, _users(folder)),
        "sms_url": lambda path: _write(path, STAND_IN),
        "channel_token": lambda path: _write(path, secrets.token_hex(32)),
        "ray_token": lambda path: _write(path, secrets.token_hex(32)),
        "ledger_secrets": Vault.create,
    }
    made = [name for name in makers if not (folder / name).exists()]
    for name in made:
        makers[name](folder / name)

    user, group = os.getuid(), os.getgid()
    if user == 0:
        user = group = IMAGE_USER
        for name in makers:
            os.chown(folder / name, user, group)
    line = f"SECRETS_OWNER={user}:{group}"
    known = settings.read_text().splitlines() if settings.exists() else []
    kept = [other for other in known if not other.startswith("SECRETS_OWNER=")]
    settings.write_text("\n".join([*kept, line]) + "\n")
    return made


def _redis_url(user: str, password: str) -> str:
    return f"redis://{user}:{password}@redis:6379/0"


def _users(folder: Path) -> str:
    """Who may do what in Redis, as it reads it: the two who are named here, and nobody else (docs/security.md)."""
    users = [
        _user(folder / "redis_url", SERVICE_USER, SERVICE),
        _user(folder / "redis_operator_url", OPERATOR_USER, (*SERVICE, *OPERATOR)),
    ]
    return "\n".join(["user default off resetpass resetkeys -@all", *users, ""])


def _user(address: Path, name: str, commands: Sequence[str]) -> str:
    parts = urlsplit(address.read_text())
    if parts.username != name or not parts.password:
        raise SystemExit(f"{address} does not name the user {name}: remove it and redis_password, and run this again.")
    return f"user {name} on #{sha256(parts.password.encode()).hexdigest()} {rule(commands, PREFIX)}"


def _write(path: Path, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def main() -> None:
    """Make them beside this module, and say which."""
    made = make(FOLDER, SETTINGS)
    print(f"Made {', '.join(made)} in {FOLDER}." if made else f"All secrets are in {FOLDER} already.")


if __name__ == "__main__":
    main()

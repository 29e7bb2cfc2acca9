"""The lists of what is installed: one for each purpose, and every pin in one of them."""

import re
import sysconfig
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Final

from msgspec import Struct
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = ROOT / "constraints"
SERVICE: Final = ("build", "runtime")
"""What `make setup` and the image install."""
PURPOSES: Final = (*SERVICE, "bench", "test")
"""Each list has what its purpose needs beyond those before it."""

_HASH: Final = re.compile(r"--hash=sha256:([0-9a-f]{64})")


class PinError(ValueError):
    """A line of a list is something else than a name, an exact version and its hashes."""


class Pin(Struct, frozen=True, kw_only=True):
    """One version of one package."""

    name: str
    """As package indexes write it: in lower case, with hyphens."""
    version: str
    hashes: tuple[str, ...]
    """The SHA-256, in hex, of every file that has this version: wheels and the source."""
    marker: Marker | None
    """Where it is needed, if not everywhere."""

    @property
    def needed(self) -> bool:
        """Whether this Python on this machine needs it."""
        return self.marker is None or self.marker.evaluate()


def listed(purpose: str) -> Path:
    """Where the list of a purpose is."""
    return FOLDER / f"{purpose}.txt"


def pins(purposes: Sequence[str] = PURPOSES) -> list[Pin]:
    """What the lists of these purposes have, by name.

    Raises:
        PinError: if a list has something else.
        OSError: if a list cannot be read.
    """
    return sorted((read(lines) for purpose in purposes for lines in blocks(listed(purpose).read_text())), key=_name)


def installed() -> dict[str, Distribution]:
    """What is installed beside this very Python, by name.

    Not what else can be imported: Ray puts packages of its own on the path.
    """
    places = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    return {canonicalize_name(found.name): found for found in distributions(path=list(places))}


def read(lines: Sequence[str]) -> Pin:
    """Read one pin: a line with name and version, and one for each hash.

    Raises:
        PinError: if it is something else.
    """
    requirement = Requirement(lines[0].removesuffix("\\"))
    exact = [specifier.version for specifier in requirement.specifier if specifier.operator == "=="]
    hashes = [_HASH.fullmatch(line.removesuffix("\\").strip()) for line in lines[1:]]
    if len(exact) != 1 or len(requirement.specifier) != 1 or requirement.extras or requirement.url or not hashes:
        raise PinError(f"{lines[0]!r} is not an exact version with hashes")
    return Pin(
        name=canonicalize_name(requirement.name),
        version=exact[0],
        hashes=tuple(_digest(found, lines[0]) for found in hashes),
        marker=requirement.marker,
    )


def blocks(text: str) -> Iterator[list[str]]:
    """The lines of each pin in a list, comments left out."""
    block: list[str] = []
    for line in _lines(text):
        block.append(line)
        if not line.endswith("\\"):
            yield block
            block = []
    if block:
        yield block


def _lines(text: str) -> Iterable[str]:
    return (line for line in text.splitlines() if line and not line.startswith("#"))


def _digest(found: re.Match[str] | None, of: str) -> str:
    if found is None:
        raise PinError(f"{of!r} has a line that is not a SHA-256")
    return found[1]


def _name(pin: Pin) -> str:
    return pin.name

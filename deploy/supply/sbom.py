"""Writes a bill of what is installed, in CycloneDX: `make sbom`.

Two of them: of what the service is made of, as the image has it, and of everything that is installed, tools of its
tests included. They are made and not kept: a copy would be out of date with the next version.
"""

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import msgspec
from cyclonedx.schema import SchemaVersion
from cyclonedx.schema._res import BOM_JSON_STRICT, JSF, SPDX_JSON
from packaging.utils import canonicalize_name

from deploy.supply.pins import ROOT, SERVICE, installed, pins

FOLDER: Final = ROOT / "dist"
SPECIFICATION: Final = SchemaVersion.V1_6
SCHEMAS: Final = "http://cyclonedx.org/schema/"
"""How the schemas name each other; they come with the library."""
CONCLUDED: Final = {
    "lupa": "MIT",
    "protobuf": "BSD-3-Clause",
    "pyasn1-modules": "BSD-2-Clause",
    "ray": "Apache-2.0",
    "rich-click": "MIT",
}
"""Of packages whose metadata name none in a way that a program can read: what the text that they bring along is."""

Bill = dict[str, Any]
"""A document, or a part of one, as its JSON has it."""


class BillError(ValueError):
    """What was made is no valid document."""


def whole() -> Bill:
    """The bill of everything that is installed beside this very Python.

    Raises:
        subprocess.CalledProcessError: if it could not be made.
        BillError: if it is not valid.
    """
    command = [sys.executable, "-m", "cyclonedx_py", "environment", "--output-reproducible"]
    command += ["--spec-version", SPECIFICATION.to_version(), "--output-format", "JSON", "--output-file", "-"]
    command += [
        "--no-validate",
        "--pyproject",
        str(ROOT / "pyproject.toml"),
        "--mc-type",
        "application",
        sys.executable,
    ]
    made = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)  # noqa: S603 - our own words
    bill = msgspec.json.decode(made.stdout, type=Bill)
    present = installed()
    for component in bill["components"]:
        name = canonicalize_name(component["name"])
        if name in CONCLUDED:
            component["licenses"] = [{"license": {"id": CONCLUDED[name], "acknowledgement": "concluded"}}]
        if inside := [_part(component, found) for found in bundled(present[name])]:
            component["components"] = inside
    return checked(bill)


def of_service(bill: Bill) -> Bill:
    """The part of a bill that `make setup` and the image install.

    Raises:
        BillError: if it is not valid.
    """
    names = {pin.name for pin in pins(SERVICE)}
    kept = [component for component in bill["components"] if canonicalize_name(component["name"]) in names]
    known = {component["bom-ref"] for component in (*kept, bill["metadata"]["component"])}
    relations = [
        {"ref": relation["ref"], "dependsOn": [ref for ref in relation.get("dependsOn", []) if ref in known]}
        for relation in bill["dependencies"]
        if relation["ref"] in known
    ]
    return checked(bill | {"components": kept, "dependencies": relations})


def bundled(distribution: Distribution) -> Iterator[Distribution]:
    """The packages that one brings along in folders of its own, where no list and no `pip` sees them."""
    for file in distribution.files or ():
        if file.name == "METADATA" and file.parent.suffix == ".dist-info" and len(file.parent.parts) > 1:
            yield Distribution.at(Path(str(distribution.locate_file(file))).parent)


def checked(bill: Bill) -> Bill:
    """The same bill. What CycloneDX checks it with itself does the same, and takes half a minute.

    Raises:
        BillError: if it is not valid by the schema.
    """
    try:
        _schema().validate(bill)
    except jsonschema_rs.ValidationError as error:
        raise BillError(f"{'/'.join(map(str, error.instance_path))}: {error.message}") from error
    return bill


def write(folder: Path) -> list[Path]:
    """Write both bills to a folder.

    Raises:
        subprocess.CalledProcessError: if they could not be made.
        BillError: if one is not valid.
    """
    everything = whole()
    folder.mkdir(parents=True, exist_ok=True)
    bills = {folder / "sbom.cdx.json": of_service(everything), folder / "sbom-with-tests.cdx.json": everything}
    for path, bill in bills.items():
        path.write_bytes(msgspec.json.format(msgspec.json.encode(bill)) + b"\n")
    return list(bills)


@cache
def _schema() -> jsonschema_rs.Draft7Validator:
    others = {"spdx.SNAPSHOT": SPDX_JSON, "jsf-0.82.SNAPSHOT": JSF}
    registry = jsonschema_rs.Registry(
        [(f"{SCHEMAS}{name}.schema.json", _document(path)) for name, path in others.items()],
        draft=jsonschema_rs.Draft7,
    )
    schema = _document(BOM_JSON_STRICT[SPECIFICATION])
    return jsonschema_rs.Draft7Validator(schema, validate_formats=True, registry=registry)


def _document(path: str | None) -> Bill:
    if path is None:
        raise BillError(f"there is no schema of {SPECIFICATION.to_version()}")
    return msgspec.json.decode(Path(path).read_bytes(), type=Bill)


def _part(of: Bill, found: Distribution) -> Bill:
    return {
        "type": "library",
        "bom-ref": f"{of['bom-ref']}/{found.name}=={found.version}",
        "name": found.name,
        "version": found.version,
        "purl": f"pkg:pypi/{canonicalize_name(found.name)}@{found.version}",
    }


if __name__ == "__main__":
    for written in write(FOLDER):
        print(written.relative_to(ROOT))

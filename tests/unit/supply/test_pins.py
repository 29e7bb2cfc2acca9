"""What is installed is listed, in exact versions with hashes, and nothing is installed in another way."""

import re
import tomllib
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.supply.pins import FOLDER, PURPOSES, ROOT, PinError, blocks, installed, listed, pins, read

DIGEST = "0" * 64
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
ASKED: dict[str, list[str]] = {
    "build": [*PROJECT["build-system"]["requires"], *PROJECT["dependency-groups"]["build"]],
    "runtime": PROJECT["project"]["dependencies"],
    "bench": EXTRAS["bench"],
    "test": [asked for asked in EXTRAS["test"] if not asked.startswith("gift-ledger[")],
}
UP_TO = dict(zip(PURPOSES, accumulate((purpose,) for purpose in PURPOSES), strict=True))


@pytest.mark.parametrize(("purpose", "asked"), [(purpose, asked) for purpose in PURPOSES for asked in ASKED[purpose]])
def test_what_the_project_asks_for_is_listed_in_a_version_that_it_allows(purpose: str, asked: str) -> None:
    requirement = Requirement(asked)
    known = {pin.name: pin.version for pin in pins(UP_TO[purpose])}

    assert requirement.specifier.contains(known[canonicalize_name(requirement.name)], prereleases=True)


def test_the_lists_are_those_of_the_purposes() -> None:
    assert {path.name for path in FOLDER.iterdir()} == {listed(purpose).name for purpose in PURPOSES}


def test_every_pin_stands_once_and_has_hashes() -> None:
    every = pins()

    assert len({pin.name for pin in every}) == len(every) > 150
    assert all(pin.hashes for pin in every)
    assert all(len(set(pin.hashes)) == len(pin.hashes) for pin in every)


@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_list_names_no_place_and_no_option(purpose: str) -> None:
    text = listed(purpose).read_text()

    assert "://" not in text
    assert not re.search(r"pypi|\.org|\.com|index|@", text)
    assert set(re.findall(r"--\S+", text)) == set(re.findall(r"--hash=sha256:[0-9a-f]{64}", text))


def test_nothing_is_installed_that_is_not_listed_nor_in_another_version() -> None:
    expected = {pin.name: pin.version for pin in pins() if pin.needed}

    found = {name: distribution.version for name, distribution in installed().items()}

    assert found.pop("gift-ledger") == PROJECT["project"]["version"]
    assert found == expected


@pytest.mark.parametrize("path", ["Makefile", "Dockerfile", ".ci/run"])
def test_no_program_is_told_to_install_something_without_its_hash(path: str) -> None:
    orders = re.findall(r"(?:pip|\$\(PIP\)) install [^\n&]*", (ROOT / path).read_text())

    ours = [order for order in orders if "--require-hashes" not in order]

    assert all("--no-deps" in order and "--no-build-isolation" in order for order in orders)
    assert all(order.split()[-1] == "." for order in ours)
    assert len(ours) == (0 if path == ".ci/run" else 1)


def test_a_pin_is_read() -> None:
    marked = "Ruamel.YAML==0.19.1 ; sys_platform == 'win32' \\"

    pin = read([marked, f"    --hash=sha256:{DIGEST} \\", f"    --hash=sha256:{'f' * 64}"])

    assert (pin.name, pin.version, pin.hashes) == ("ruamel-yaml", "0.19.1", (DIGEST, "f" * 64))
    assert not pin.needed


@pytest.mark.parametrize(
    "lines",
    [
        ["redis==8.1.0"],
        ["redis>=8.1.0 \\", f"    --hash=sha256:{DIGEST}"],
        ["redis==8.1.0,<9 \\", f"    --hash=sha256:{DIGEST}"],
        ["redis[hiredis]==8.1.0 \\", f"    --hash=sha256:{DIGEST}"],
        ["redis @ file:///tmp/redis \\", f"    --hash=sha256:{DIGEST}"],
        ["redis==8.1.0 \\", "    --hash=md5:00"],
        ["redis==8.1.0 \\", f"    --hash=sha256:{DIGEST}0"],
    ],
)
def test_what_is_not_an_exact_version_with_hashes_is_no_pin(lines: list[str]) -> None:
    with pytest.raises(PinError):
        read(lines)


def test_pins_end_where_their_lines_do(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("# a comment\na==1 \\\n    --hash=x\n\nb==2 \\\n    --hash=y \\\n    --hash=z\n")

    assert [len(block) for block in blocks(path.read_text())] == [2, 3]

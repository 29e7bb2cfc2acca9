"""The bill says what is installed, and the page of licences what the bill says."""

from pathlib import Path

import msgspec
import pytest
from packaging.utils import canonicalize_name

from deploy.supply.licences import ALLOWED, LicenceError, licences, page, refused
from deploy.supply.pins import ROOT, SERVICE, installed, pins
from deploy.supply.sbom import CONCLUDED, Bill, BillError, bundled, checked, of_service, whole, write


@pytest.fixture(scope="module")
def bill() -> Bill:
    return whole()


def versions(bill: Bill) -> dict[str, str]:
    return {canonicalize_name(component["name"]): component["version"] for component in bill["components"]}


def component(*said: dict[str, object], name: str = "one") -> Bill:
    return {"name": name, "version": "1", "licenses": list(said)}


def test_the_bill_has_everything_that_is_installed_and_the_service_itself(bill: Bill) -> None:
    present = {name: found.version for name, found in installed().items()}

    assert bill["metadata"]["component"]["version"] == present.pop("gift-ledger")
    assert versions(bill) == present


def test_the_bill_of_the_service_has_what_is_listed_for_it(bill: Bill) -> None:
    service = of_service(bill)

    assert versions(service) == {pin.name: pin.version for pin in pins(SERVICE) if pin.needed}
    known = {part["bom-ref"] for part in (*service["components"], service["metadata"]["component"])}
    assert {relation["ref"] for relation in service["dependencies"]} == known
    assert {ref for relation in service["dependencies"] for ref in relation["dependsOn"]} < known


def test_each_package_has_a_name_that_scanners_know_and_a_licence(bill: Bill) -> None:
    for part in bill["components"]:
        assert part["purl"] == f"pkg:pypi/{part['name'].lower().replace('_', '-')}@{part['version']}"
        assert part["licenses"], part["name"]


def test_what_a_package_brings_along_is_in_it(bill: Bill) -> None:
    inside = {part["name"]: [within["name"] for within in part.get("components", ())] for part in bill["components"]}

    assert "aiohttp" in inside["ray"]
    assert inside["redis"] == []
    assert all(found.version for part in installed().values() for found in bundled(part))


def test_what_is_no_bill_is_not_taken_for_one(bill: Bill) -> None:
    with pytest.raises(BillError):
        checked(bill | {"components": [{"name": "no type"}]})


def test_both_bills_are_written(tmp_path: Path, bill: Bill) -> None:
    paths = write(tmp_path / "dist")

    assert [msgspec.json.decode(path.read_bytes()) for path in paths] == [of_service(bill), bill]


def test_the_page_of_licences_is_that_of_what_is_installed(bill: Bill) -> None:
    assert (ROOT / "docs" / "licences.md").read_text() == page(of_service(bill)), "make licences"


def test_the_service_has_no_licence_that_is_not_allowed(bill: Bill) -> None:
    assert {part["name"]: found for part in of_service(bill)["components"] if (found := refused(part))} == {}


def test_nothing_is_concluded_where_something_is_declared(bill: Bill) -> None:
    declared = {name for name, found in installed().items() if "License-Expression" in found.metadata}

    assert declared
    assert not declared & set(CONCLUDED)
    assert set(CONCLUDED) <= set(versions(bill))


@pytest.mark.parametrize(
    ("said", "names", "wrong"),
    [
        ([{"license": {"id": "MIT"}}], ["MIT"], set()),
        ([{"expression": "(MIT OR Apache-2.0) AND BSD-3-Clause"}], ["(MIT OR Apache-2.0) AND BSD-3-Clause"], set()),
        ([{"expression": "MIT AND GPL-3.0-only"}], ["MIT AND GPL-3.0-only"], {"GPL-3.0-only"}),
        ([{"license": {"name": "License :: OSI Approved :: Apache Software License"}}], ["Apache-2.0"], set()),
        (
            [{"license": {"id": "BSD-3-Clause"}}, {"license": {"name": "License :: OSI Approved :: BSD License"}}],
            ["BSD-3-Clause"],
            set(),
        ),
        ([{"license": {"id": "AGPL-3.0-or-later"}}], ["AGPL-3.0-or-later"], {"AGPL-3.0-or-later"}),
        ([{"license": {"name": "ask us"}}], ["ask us"], {"ask", "us"}),
    ],
)
def test_licences_are_told_and_judged(said: list[dict[str, object]], names: list[str], wrong: set[str]) -> None:
    assert (licences(component(*said)), refused(component(*said))) == (names, wrong)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [{"license": {"name": "License :: OSI Approved :: BSD License"}}],
        [{"license": {"name": "License :: Other/Proprietary License"}}],
    ],
)
def test_what_cannot_be_told_is_not_passed_over(said: list[dict[str, object]]) -> None:
    with pytest.raises(LicenceError, match="one declares"):
        licences(component(*said))


def test_no_copyleft_of_whole_programs_is_allowed() -> None:
    assert not [name for name in ALLOWED if "GPL" in name]

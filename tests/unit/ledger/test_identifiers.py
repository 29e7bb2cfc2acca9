"""Codes, entities and the identifiers that are handed out."""

import pytest

from ledger.identifiers import (
    AUTHORIZATION,
    OPERATION,
    certificate_entity,
    entity_key,
    identifier,
    is_certificate,
    normalise_code,
    order_entity,
    version_of,
)

CODE = "GC-7K2M-9QXA"
MADE = identifier(OPERATION, CODE, 7)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("gc-7k2m-9qxa", CODE),
        ("A" * 8, "A" * 8),
        ("-" * 32, "-" * 32),
        ("A" * 7, None),
        ("A" * 33, None),
        ("GC 7K2M 9QXA", None),
        ("GC-7K2M-9QXA\n", None),
        ("gc-ßßß-0", None),
        ("gc-7\u01312m-9qxa", None),
        ("", None),
    ],
)
def test_a_code_is_upper_cased_and_nothing_else_is_one(text: str, code: str | None) -> None:
    assert normalise_code(text) == code


def test_identifiers_never_change() -> None:
    assert identifier(AUTHORIZATION, CODE, 7) == "au_7_Qeo4ry2cbqga7F6o"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "op",
        "op_7",
        "op_7_",
        MADE + "x",
        MADE.upper(),
        MADE.replace("op_7", "op_07"),
        MADE.replace("op_7", "op_\u0667"),
        MADE.replace("op_7", "op_-7"),
        MADE.replace("op_7", "op_" + "7" * 19),
        MADE.replace("op_7", "op_8"),
        MADE.replace("op_", "au_"),
    ],
)
def test_what_was_never_handed_out_leads_nowhere(text: str) -> None:
    assert version_of(text, CODE, OPERATION, AUTHORIZATION) is None


def test_an_identifier_leads_to_its_version_of_its_code_if_its_kind_is_asked_for() -> None:
    assert version_of(MADE, CODE, OPERATION) == 7
    assert version_of(MADE, CODE, AUTHORIZATION) is None
    assert version_of(MADE, "GC-OTHER-01", OPERATION) is None


def test_entities_are_named_for_what_they_are() -> None:
    for entity, key, certificate in (
        (certificate_entity(CODE), CODE, True),
        (order_entity("c:SO-1"), "c:SO-1", False),
    ):
        assert (entity_key(entity), is_certificate(entity)) == (key, certificate)

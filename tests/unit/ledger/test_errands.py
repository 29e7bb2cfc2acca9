"""What is reported of an errand."""

import pytest

from ledger.commands import Activate, Allocate, Join, LapseAllocation, Release, Report
from ledger.errands import Errand, ErrandCommand, Grant, report
from tests.unit.ledger.stage import CODE, ORDER_ID

ISSUED = Grant(700, "RUB")


@pytest.mark.parametrize(
    ("command", "refusal", "grant", "told"),
    [
        (Allocate("1", CODE), None, Grant(500, "RUB"), Report("allocate", "1", CODE, None, 500, "RUB")),
        (Allocate("1", CODE), "OrderCancelled", None, Report("allocate", "1", CODE, "OrderCancelled")),
        (
            LapseAllocation("1", CODE),
            None,
            Grant(retained=True),
            Report("lapse_allocation", "1", CODE, retained=True),
        ),
        (Join(ORDER_ID, "1", 900, "RUB"), None, None, Report("join", "1", CODE, None, 900, "RUB")),
        (
            Join(ORDER_ID, "1", 900, "RUB"),
            "CertificateNotFound",
            None,
            Report("join", "1", CODE, "CertificateNotFound", 900, "RUB"),
        ),
        (Release(ORDER_ID, "1", "x"), None, None, Report("release", "1", CODE)),
        (Activate(ORDER_ID, "1", 700, "RUB"), None, ISSUED, Report("activate", "1", CODE, None, 700, "RUB")),
        # whatever was asked of a certificate that is active already
        (Join(ORDER_ID, "1", 900, "RUB"), None, ISSUED, Report("activate", "1", CODE, None, 700, "RUB")),
        (Release(ORDER_ID, "1", "x"), "CodeAlreadySold", ISSUED, Report("activate", "1", CODE, None, 700, "RUB")),
    ],
)
def test_a_report_tells_what_was_answered(
    command: ErrandCommand, refusal: str | None, grant: Grant | None, told: Report
) -> None:
    made = report(Errand("c:x", command, "1", CODE, ORDER_ID), refusal, grant)

    fields = {name: getattr(told, name) for name in told.__struct_fields__ if name != "order_id"}
    assert made == Report(**fields, order_id=ORDER_ID)

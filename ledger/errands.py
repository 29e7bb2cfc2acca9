"""What one entity owes another.

An errand is never remembered on its own: it is derived from an entity's state, and is gone once the state says that
it was done. So it survives a crash at any point, and doing it twice changes nothing.
"""

from msgspec import Struct

from ledger.commands import Activate, Allocate, Join, LapseAllocation, Release, Report

ErrandCommand = Allocate | LapseAllocation | Join | Release | Activate


class Errand(Struct, frozen=True, array_like=True):
    """``command`` is to be given to ``target``; the answer goes back as a :class:`~ledger.commands.Report`."""

    target: str
    command: ErrandCommand
    line_id: str
    code: str
    order_id: str

    @property
    def name(self) -> str:
        """Tag of the command, by which the report names the errand."""
        return str(self.command.__struct_config__.tag)


class Grant(Struct, frozen=True, array_like=True):
    """What comes back for an errand.

    From an order, to :class:`~ledger.commands.Allocate` and :class:`~ledger.commands.LapseAllocation`: ``planned``
    and ``currency`` are ``None`` while the order is unknown. ``activate`` is the command that the certificate is due
    at once because the line is paid already. ``retained``: the reservation has to stay.

    From a certificate that is active already, whatever was asked of it: ``planned`` and ``currency`` as they were
    issued.
    """

    planned: int | None = None
    currency: str | None = None
    activate: Activate | None = None
    retained: bool = False


def report(errand: Errand, refusal: str | None, grant: Grant | None) -> Report:
    """The report of ``errand`` to the entity that had it: with the plan that was told, or that was granted."""
    name = errand.name
    plan: Join | Grant | None = grant
    if isinstance(errand.command, Join | Release | Activate) and grant is not None:
        # an earlier activation, whose own report was lost, has come before whatever the order wanted this time
        name, refusal = "activate", None
    elif isinstance(errand.command, Join):
        plan = errand.command
    return Report(
        errand=name,
        line_id=errand.line_id,
        code=errand.code,
        refusal=refusal,
        planned=plan.planned if plan else None,
        currency=plan.currency if plan else None,
        retained=grant.retained if grant else False,
        order_id=errand.order_id,
        reservation=errand.command.reservation,
    )

"""The domain: what a certificate and an order may do, as pure functions.

Nothing in this package does I/O. It reads no clock, draws no random number, awaits nothing and imports nothing of
the other packages, so that every rule can be tested with three values: a state, a command and a time.

Read in this order: :mod:`ledger.commands` (what can be asked), :mod:`ledger.records` (what can have happened),
:mod:`ledger.certificate` (the rules of sale, redemption and refund), :mod:`ledger.order` (the plan and its payments).
"""

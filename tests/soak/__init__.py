"""The whole service on real parts, under load for long, with a fault of chance every few seconds: `make soak`.

Tills and shops (:mod:`tests.real.traffic`) call a stack that `gift-ledger up` runs, beside a real Kafka. In between
:mod:`~tests.soak.faults` has things go wrong, and :mod:`~tests.soak.memory` notes how much memory each process takes.
At the end everything that callers were told is held against the histories, the balances and the events, `gift-ledger
verify` proves the log, and no process may have grown.
"""

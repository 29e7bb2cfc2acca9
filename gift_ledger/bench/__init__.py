"""Load on a running stack, seen from outside: what ``gift-ledger bench`` and the benchmarks are made of."""

"""Where the ledger is kept: a write-ahead log per entity, with what has to be written together with it.

:mod:`~persistence.log` is the protocol; :mod:`~persistence.redis_log` keeps it in Redis or Valkey,
:mod:`~persistence.memory` in memory, and both pass the same contract tests.
"""

"""The names of the keys, all in one place.

========================== ======= ==================================================================================
key                        type    holds
========================== ======= ==================================================================================
``gl:meta``                hash    ``schema``, ``partitions``, ``created_at`` (ms), ``vault`` (the pepper's print),
                                   ``pepper:ID`` and ``pepper_used:ID`` (those of later ones, and of those in use),
                                   ``sealing_key:ID`` (the prints of sealing keys), ``closed`` while a restore is under
                                   way
``gl:P:w:ENTITY``          list    the entity's records (:mod:`persistence.codec`); its length is the entity's version
``gl:P:s:ENTITY``          string  its snapshot, beginning with the version and ``|``
``gl:P:entities``          hash    the register: all entities that have records, each with its version
``gl:P:d:ORDER``           hash    the data keys of an order's recipients, sealed, by order version and line; a
                                   tombstone in the place of one that was forgotten (:mod:`persistence.envelope`)
``gl:P:timers``            zset    entities by the time (ms) at which they are due
``gl:P:outbox``            list    publications that nobody has acknowledged, oldest first
``gl:P:outbox:head``       string  sequence number of the first of them: how many were acknowledged
``gl:P:sms``               hash    sealed messages that wait, by id
``gl:P:sms:due``           zset    their ids by the time (ms) of the next try
``gl:P:sms:failures``      list    the newest messages that were given up: id, entity and reason
``gl:attempts:CODE``       string  CVC attempts of a code, with an expiry
``gl:guesses:window/…``    list    times of wrong CVCs of a client or an address, and of those it has earned, with an
                                   expiry (:mod:`persistence.windows`)
``gl:idem:YYYYMMDD``       hash    outcomes of idempotency keys that were written on that day (UTC), with an expiry
``gl:keys``                hash    API keys by id (:mod:`persistence.keys`)
``gl:keys:revoked``        hash    since when which of them is refused
``gl:keys:ends``           hash    when which of them is to end; such an end stands among the revoked ones too
``gl:keys:used``           zset    by the time (ms) when each was used last, as far as that was noted
``gl:codes:XXXX``          set     codes of imported batches, as numbers (:mod:`persistence.codes`)
``gl:acts``                list    administrative acts, oldest first (:mod:`persistence.acts`)
``gl:acts:end``            string  how many there are, ``|``, and the link of the last one
========================== ======= ==================================================================================

``gl`` is the prefix of the settings, ``P`` the number of the partition (:func:`persistence.log.partition_of`), and
``ENTITY`` is ``c:CODE`` or ``o:ORDER``, ``ORDER`` the latter. All but the three with an expiry are kept for ever.
"""

from persistence.idempotency import day_name


class Keys:
    """Makes the names for one ledger.

    Args:
        prefix: first part of every name.
        partitions: how many there are.
    """

    def __init__(self, prefix: str, partitions: int) -> None:
        self._prefix = prefix
        parts = range(partitions)
        self.logs = [f"{prefix}:{p}:w:" for p in parts]
        """To be followed by the entity; the way of every append, so the caller puts them together."""
        self.snapshots = [f"{prefix}:{p}:s:" for p in parts]
        self.data_keys = [f"{prefix}:{p}:d:" for p in parts]
        """To be followed by the entity of an order."""
        self.entities = [f"{prefix}:{p}:entities" for p in parts]
        self.timers = [f"{prefix}:{p}:timers" for p in parts]
        self.outboxes = [f"{prefix}:{p}:outbox" for p in parts]
        self.heads = [f"{prefix}:{p}:outbox:head" for p in parts]
        self.messages = [f"{prefix}:{p}:sms" for p in parts]
        self.messages_due = [f"{prefix}:{p}:sms:due" for p in parts]
        self.failures = [f"{prefix}:{p}:sms:failures" for p in parts]
        self.any_log = _literal(prefix) + ":[0-9]*:w:*"
        """Pattern that all logs match."""
        self.any_data_keys = _literal(prefix) + ":[0-9]*:d:*"
        """Pattern that all hashes of data keys match, and perhaps other keys (:meth:`order_of`)."""

    def entity_of(self, log: str) -> str:
        """Whose log a key is that matches :attr:`any_log`."""
        return log[len(self._prefix) + 1 :].split(":", 2)[2]

    def order_of(self, key: str) -> str | None:
        """Whose data keys a key holds that matches :attr:`any_data_keys`; ``None`` if it holds something else."""
        _, kind, entity = key[len(self._prefix) + 1 :].split(":", 2)
        return entity if kind == "d" else None

    def attempts(self, code: str) -> str:
        """CVC attempts of a code."""
        return f"{self._prefix}:attempts:{code}"

    def outcomes(self, day: int) -> str:
        """Outcomes that were written on a day."""
        return f"{self._prefix}:idem:{day_name(day)}"


def meta_key(prefix: str) -> str:
    """What a ledger knows of itself."""
    return f"{prefix}:meta"


def codes_key(prefix: str, chosen: str) -> str:
    """One of the sets of imported codes."""
    return f"{prefix}:codes:{chosen}"


def acts_key(prefix: str) -> str:
    """Administrative acts."""
    return f"{prefix}:acts"


def acts_end_key(prefix: str) -> str:
    """Where the administrative acts end."""
    return f"{prefix}:acts:end"


def any_key(prefix: str) -> str:
    """Pattern that all keys of a ledger match."""
    return f"{_literal(prefix)}:*"


def _literal(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)

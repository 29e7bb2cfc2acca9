"""The whole service in one process, on a virtual clock and one seed, with everything around it misbehaving.

A run goes on for some virtual seconds in which people trade and things go wrong; then all is well, and everything has
to come to rest. Each append is audited as it is made; at the end the log has to explain what every caller was told,
callers and publishers have to explain the log, and subscribers have to have heard of each change, in order.

What runs as it is: `Shard` with its rounds, sales and errands, `ShardHost`, `Timekeeper`, `ChannelServer`, `Router`,
`Lane`, `Inbox` with its reading and work, `OutboxRelay` with its Kafka lanes, `ProducerKeeper`.
:mod:`tests.simulation.seams` lists all that is put in their places.

What stands in for the rest, and how it fails:

- the network (:mod:`~tests.simulation.network`), under asyncio's own transports. A TCP stream loses nothing in its
  middle and repeats nothing: so a frame is lost with its connection, or with all that comes after it, or half of it
  comes; it comes torn, or late, or not before a way is open again, in one direction or in both. That a frame comes
  twice cannot happen; it is done all the same, and then only the promise that `Overloaded` means "not done" is not
  asked for.
- Redis (:mod:`~tests.simulation.store`) is `MemoryLog` behind a server: the call is lost, the answer is lost after
  the write, the write is refused, it hangs and carries out what waited when nobody waits any more, a write comes
  seconds after its caller has given up, it restarts. It never loses what it acknowledged: a Redis that does is not
  ours to survive.
- Kafka (:mod:`~tests.simulation.broker`) fails in the same ways. All partitions are assigned: consumer groups are not
  simulated.
- machines are killed (not even a `finally` runs), paused, stopped in good order, doubled, and replaced while they
  still live; some callers go on with the old one, and two gateways may disagree on who owns what. Clocks jump, a day
  ends.
- people (:mod:`~tests.simulation.market`) repeat a request through two gateways at once, give up, use a key for
  something else; orders and payments come twice, late and in any order, and some cannot be read.

Not here: HTTP, the SMS sender, Ray, `append.lua` (the contract tests hold it to the log in memory), `dedicated`
placement.
"""

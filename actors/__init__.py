"""One writer per entity: shards that host certificates and orders, the way to them, and their Ray actors."""

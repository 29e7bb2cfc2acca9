"""Real servers for the tests: Redis, Valkey and Apache Kafka, on loopback, in folders of their own."""

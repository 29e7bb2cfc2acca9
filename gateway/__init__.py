"""The outside world: HTTP in front, Kafka in and out, SMS out."""

"""The scenarios of the demo, in the order in which they are played; each takes up what the one before left."""

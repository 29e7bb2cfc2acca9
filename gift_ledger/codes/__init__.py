"""Batches of certificate codes: made here or elsewhere, printed, and imported."""

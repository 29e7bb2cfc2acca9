"""What a good team would build instead, and the ceilings of the ordinary way: each serves the same request.

``python -m benchmarks.baselines NAME`` runs one, with the store that it stands on.
"""

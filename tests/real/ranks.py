"""Whether two samples may come from one distribution."""

from __future__ import annotations

import math
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def mann_whitney(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how likely ranks that differ so much are, by the normal approximation: for samples of 20 or more."""
    marked = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    ranks = ties = 0.0
    before = 0
    for _, equal in groupby(marked, key=lambda one: one[0]):
        group = list(equal)
        ranks += sum(1 for _, which in group if which == 0) * (before + (len(group) + 1) / 2)
        ties += len(group) ** 3 - len(group)
        before += len(group)
    n, m = len(first), len(second)
    total = n + m
    deviation = ranks - n * (total + 1) / 2
    variance = n * m / 12 * (total + 1 - ties / (total * (total - 1)))
    return math.erfc(abs(deviation) / math.sqrt(2 * variance))


def kolmogorov_smirnov(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how likely distributions that are so far apart are, by Kolmogorov's limit."""
    marked = sorted([(value, 0) for value in first] + [(value, 1) for value in second])
    seen = [0, 0]
    apart = 0.0
    for _, equal in groupby(marked, key=lambda one: one[0]):
        for _, which in equal:
            seen[which] += 1
        apart = max(apart, abs(seen[0] / len(first) - seen[1] / len(second)))
    scaled = apart * math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    if scaled < 0.2:
        return 1.0
    return min(1.0, 2 * sum((-1.0) ** (k - 1) * math.exp(-2 * (k * scaled) ** 2) for k in range(1, 101)))


def alike(first: Sequence[float], second: Sequence[float]) -> float:
    """Return how likely samples that differ so much are, in place or in shape: of both tests, corrected for two."""
    return min(1.0, 2 * min(mann_whitney(first, second), kolmogorov_smirnov(first, second)))

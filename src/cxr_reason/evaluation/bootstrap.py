"""The bootstrap over films: resampled weights, and percentile intervals of what they give.

Efron, Bootstrap methods (Annals of Statistics 1979). A resample is a row of counts, how often it
draws each film, so that statistics of all resamples are products of matrices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 1_000
LEVEL = 0.95

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A value with its interval.

    Attributes:
        value: None where the data do not define it.
        low: Lower end of the 95 % bootstrap interval.
        high: Upper end.
    """

    value: float | None
    low: float | None
    high: float | None


def draw_weights(num_films: int, *, seed: int, resamples: int = RESAMPLES) -> Floats:
    """Return float64 `[1 + resamples, num_films]`: all films once, then the resamples."""
    rng = np.random.default_rng(seed)
    shares = np.full(num_films, 1.0 / max(num_films, 1))
    drawn = rng.multinomial(num_films, shares, size=resamples)
    return np.vstack([np.ones(num_films), drawn])


def estimate(values: Floats) -> Estimate:
    """Turn a statistic of every row of `draw_weights` into a value and its percentile interval.

    Args:
        values: `[1 + resamples]`, NaN where a resample does not define it; those are left out.
    """
    value = float(values[0])
    if math.isnan(value):
        return Estimate(None, None, None)
    tail = 50.0 * (1.0 - LEVEL)
    drawn = values[1:][~np.isnan(values[1:])]
    if not len(drawn):
        return Estimate(value, None, None)
    low, high = np.percentile(drawn, [tail, 100.0 - tail])
    return Estimate(value, float(low), float(high))


def mean_defined(values: Floats) -> Floats:
    """Return the mean over the last axis of what is not NaN; NaN where nothing is."""
    is_defined = ~np.isnan(values)
    sums = np.where(is_defined, values, 0.0).sum(axis=-1)
    return divide(sums, is_defined.sum(axis=-1))


def divide(above: Floats, below: Floats) -> Floats:
    """Return the ratio, NaN where `below` is 0."""
    result = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=result, where=below != 0)
    return result

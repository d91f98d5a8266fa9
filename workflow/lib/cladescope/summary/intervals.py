"""How far a mean over classes or nodes depends on which there are."""

import numpy as np

from cladescope.scores.nulls import INTERVAL


def interval_of_mean(values: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """Return the 95% interval of the mean over so many resamples of the values; NaN if none.

    As many values with the same seed are resampled alike, so that columns can be compared.
    """
    if not len(values):
        return np.nan, np.nan
    picks = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    low, high = np.percentile(values[picks].mean(1), INTERVAL)
    return low, high

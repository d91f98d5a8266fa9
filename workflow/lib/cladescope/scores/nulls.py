"""Null draws: what the scores would be if the classes sat elsewhere in the tree, or anywhere.

Permuted leaves: the classes that are leaves change places in the tree. It keeps how selective each
latent is for classes and destroys only the hierarchy, so it is the null that a claim about
hierarchy has to beat. Shuffled labels: the images change classes, which destroys both. Random
images: every latent fires on as many images as it does, chosen at random and apart from the other
latents. The same draws serve all latents, and all dictionaries with the same seed and classes.
"""

from collections.abc import Iterator
from enum import IntEnum

import numpy as np

from cladescope.scores.halves import Halves
from cladescope.taxonomy.tree import Tree

# Ends of an interval over draws, in percent.
INTERVAL = (2.5, 97.5)


class Stream(IntEnum):
    """Streams of the seed, so that one kind of draw does not depend on how many of others."""

    LEAVES = 0
    LABELS = 1
    IMAGES = 3
    BOOTSTRAP = 4
    FOLDS = 5
    SUBSETS = 6
    ABSORPTION = 8
    PAIRS = 9


def leaf_permutations(tree: Tree, seed: int) -> Iterator[np.ndarray]:
    """Draw permutations of the classes that move the leaves and keep classes above others.

    Yields
    ------
    int64 (n_classes,), without end: class c takes the place of class [c]: its images get that
    label.
    """
    random = np.random.default_rng((seed, Stream.LEAVES))
    movable = np.flatnonzero(tree.leaf >= 0)
    while True:
        permutation = np.arange(len(tree.leaf))
        permutation[movable] = random.permutation(movable)
        yield permutation


def shuffled_labels(halves: Halves, draws: int, seed: int) -> Iterator[Halves]:
    """Yield `draws` times the firings with the labels in random order, within each half."""
    random = np.random.default_rng((seed, Stream.LABELS))
    for _ in range(draws):
        yield halves.changed(lambda half: half.relabelled(random.permutation(half.labels)))


def random_images(halves: Halves, draws: int, seed: int) -> Iterator[Halves]:
    """Yield `draws` times latents that fire on as many images as these, but on random ones."""
    random = np.random.default_rng((seed, Stream.IMAGES))
    for _ in range(draws):
        yield halves.changed(lambda half: half.at_random(random))


def benjamini_hochberg(p_value: np.ndarray) -> np.ndarray:
    """Adjust p-values for their number: q_(k) = min_{i ≥ k} p_(i) m / i, p sorted upwards.

    Parameters
    ----------
    p_value
        float64 (m,); NaN is missing and does not count.

    Returns
    -------
    float64 (m,): rejecting q ≤ α keeps the expected share of false rejections at α.
    Source: Benjamini & Hochberg 1995.

    Examples
    --------
    Three tests: .01·3/1, .02·3/2 and .5·3/3; the missing one does not count.

    >>> benjamini_hochberg(np.array([0.02, 0.5, np.nan, 0.01])).round(3).tolist()
    [0.03, 0.5, nan, 0.03]
    """
    known = np.flatnonzero(~np.isnan(p_value))
    order = known[np.argsort(p_value[known], kind="stable")]
    ratio = p_value[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted = np.full(len(p_value), np.nan)
    adjusted[order] = np.minimum(np.minimum.accumulate(ratio[::-1])[::-1], 1.0)
    return adjusted


def summarise(name: str, observed: float, draws: np.ndarray) -> dict[str, float | None]:
    """Name the mean of a score over its null draws, the ends of `INTERVAL` and the p-value.

    The p-value is two-sided: twice the smaller share, counting the observed, of draws that are as
    low or as high, at most 1.

    Examples
    --------
    No draw is as high as 3: 2 · (1 + 0) / (1 + 3).

    >>> summarise("purity", 3.0, np.array([0.0, 1.0, 2.0]))["purity_null_permuted_p"]
    0.5
    """
    draws = draws[np.isfinite(draws)]
    key = f"{name}_null_permuted"
    if not len(draws) or np.isnan(observed):
        return dict.fromkeys((key, f"{key}_low", f"{key}_high", f"{key}_p"))
    low, high = np.percentile(draws, INTERVAL)
    # Draws are means of floats: equal ones may differ in the last bits.
    slack = 1e-12 * max(1.0, abs(observed))
    tails = [(draws <= observed + slack).sum(), (draws >= observed - slack).sum()]
    p_value = min(1.0, 2 * (1 + min(tails)) / (1 + len(draws)))
    return {
        key: float(draws.mean()),
        f"{key}_low": float(low),
        f"{key}_high": float(high),
        f"{key}_p": float(p_value),
    }

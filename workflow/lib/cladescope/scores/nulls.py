"""Null draws: what the scores would be if the classes sat elsewhere in the tree, or anywhere.

`PairNull` says which latents are hierarchical beyond chance, and which would be under a draw.

Permuted leaves: the classes that are leaves change places in the tree. It keeps how selective each
latent is for classes and destroys only the hierarchy, so it is the null that a claim about
hierarchy has to beat. Shuffled labels: the images change classes, which destroys both. Random
images: every latent fires on as many images as it does, chosen at random and apart from the other
latents. The same draws serve all latents, and all dictionaries with the same seed and classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from cladescope.scores.halves import Halves
from cladescope.scores.lch import image_pairs, pair_sums
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
    ABSORPTION = 7


def leaf_permutations(tree: Tree, draws: int, seed: int) -> np.ndarray:
    """Draw permutations of the classes that move the leaves and keep classes above others.

    Returns
    -------
    int64 (draws, n_classes): class c takes the place of class [draw, c]: its images get that label.
    """
    random = np.random.default_rng((seed, Stream.LEAVES))
    movable = np.flatnonzero(tree.leaf >= 0)
    permutations = np.tile(np.arange(len(tree.leaf)), (draws, 1))
    for permutation in permutations:
        permutation[movable] = random.permutation(movable)
    return permutations


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


def p_values(observed: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Return how often a draw is as low: (1 + #{draws ≤ observed}) / (1 + draws).

    Parameters
    ----------
    observed, draws
        Real (n,) and (draws, n). Ties, exact for whole numbers, count against the observed.

    See Also
    --------
    benjamini_hochberg : corrects for the number of p-values.

    Examples
    --------
    Of three draws none is as low as 1, and two are as low as 5.

    >>> p_values(np.array([1, 5]), np.array([[2, 4], [3, 5], [4, 6]])).tolist()
    [0.25, 0.75]
    """
    return (1 + (draws <= observed).sum(0)) / (1 + len(draws))


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

    See Also
    --------
    p_values : from draws of a null.

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


@dataclass(frozen=True, eq=False)
class PairNull:
    """Pair-LCH of each latent and of its permuted-leaf draws, as sums over pairs of images."""

    n_pairs: np.ndarray
    """float64 (n_latents,): pairs of images of different classes."""
    observed: np.ndarray
    """float64 (n_latents,)."""
    draws: np.ndarray
    """float32 (draws, n_latents): whole numbers, exact below 2²⁴."""

    @classmethod
    def of(cls, halves: Halves, heights: np.ndarray, permutations: np.ndarray) -> "PairNull":
        """Sum the heights of the LCH of two classes over the pairs of each top set.

        Raises
        ------
        ValueError
            If the top sets are so large that a sum would not be exact.
        """
        top = halves.top
        if int(heights.max()) * halves.top_n**2 / 2 >= 2**24:
            raise ValueError(f"scores.top_n: {halves.top_n} is too large; at most 1000 is sensible")
        draws = np.empty((len(permutations), len(halves.scored)), np.float32)
        for draw, permutation in enumerate(permutations):
            draws[draw] = pair_sums(top.permuted(permutation), heights)
        return cls(image_pairs(top), pair_sums(top, heights), draws)

    @property
    def mean(self) -> np.ndarray:
        """float64 (n_latents,): mean pair-LCH over the draws; NaN without pairs or draws."""
        if not len(self.draws):
            return np.full(len(self.observed), np.nan)
        return _or_nan(self.draws.mean(0, dtype=np.float64), self.n_pairs)

    def p_value(self) -> np.ndarray:
        """float64 (n_latents,): of the observed pair-LCH; NaN if the top set has one class."""
        return np.where(self.n_pairs > 0, p_values(self.observed, self.draws), np.nan)

    def q_value(self, draw: int | None = None) -> np.ndarray:
        """float64 (n_latents,): Benjamini–Hochberg, of the observed or of a draw in its place.

        The draws and the observed are exchangeable under the null, so that a draw's p-value is its
        rank among the draws.
        """
        if draw is None:
            return benjamini_hochberg(self.p_value())
        rank = (self.draws <= self.draws[draw]).mean(0)
        return benjamini_hochberg(np.where(self.n_pairs > 0, rank, np.nan))


def _or_nan(total: np.ndarray, n: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, total / n, np.nan)

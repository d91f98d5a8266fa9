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
from itertools import islice

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.halves import ClassCounts, Halves
from cladescope.scores.lch import image_pairs, pair_sums
from cladescope.taxonomy.tree import Tree

# Ends of an interval over draws, in percent.
INTERVAL = (2.5, 97.5)
ENOUGH = 10
"""Draws at or below the observed that settle a p-value: its standard error is a third of it."""
FURTHER = 1000
"""Draws between two looks at which latents need more."""


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


@dataclass(frozen=True, eq=False)
class PairNull:
    """Pair-LCH of each latent and of its permuted-leaf draws, as sums over pairs of images."""

    n_pairs: np.ndarray
    """float64 (n_latents,): pairs of images of different classes."""
    observed: np.ndarray
    """float64 (n_latents,)."""
    draws: np.ndarray
    """float32 (draws, n_latents): whole numbers, exact below 2²⁴."""
    p_value: np.ndarray
    """float64 (n_latents,): of the observed pair-LCH; NaN if the top set has one class."""
    q_value: np.ndarray
    """float64 (n_latents,): Benjamini-Hochberg; NaN likewise."""
    fdr: float

    @classmethod
    def of(
        cls,
        halves: Halves,
        heights: np.ndarray,
        permutations: Iterator[np.ndarray],
        draws: int,
        fdr: float,
    ) -> "PairNull":
        """Sum the heights of the LCH of two classes over the pairs of each top set.

        A latent's p-value is (1 + low) / (1 + draws), where `low` draws have a pair-LCH at or below
        the observed. If fewer than `ENOUGH` do, the latent gets further draws until `ENOUGH` do,
        and p is `ENOUGH` / draws (Besag & Clifford 1991, Sequential Monte Carlo p-values); or until
        every latent that goes on is significant among all as it stands.

        Parameters
        ----------
        heights
            Whole numbers (n_classes, n_classes): of the LCH of two classes.
        permutations
            As `leaf_permutations` draws them.
        draws
            Permutations that serve all latents; 0 tests none of them.
        fdr
            A latent is significant if its q-value is below this.

        Raises
        ------
        ValueError
            If the top sets are so large that a sum would not be exact.
        """
        top = halves.top
        if int(heights.max()) * halves.top_n**2 / 2 >= 2**24:
            raise ValueError(f"scores.top_n: {halves.top_n} is too large; at most 1000 is sensible")
        n_pairs, observed = image_pairs(top), pair_sums(top, heights)
        drawn = np.empty((draws, len(observed)), np.float32)
        for draw, permutation in enumerate(islice(permutations, draws)):
            drawn[draw] = pair_sums(top.permuted(permutation), heights)
        low = (drawn <= observed).sum(0)
        tested = (n_pairs > 0) & (draws > 0)
        p_value = np.where(tested, (1 + low) / (1 + draws), np.nan)
        going = np.flatnonzero(tested & (low < ENOUGH))
        while len(going) and not (benjamini_hochberg(p_value)[going] < fdr).all():
            further = np.array([*islice(permutations, FURTHER)], np.int32)
            _draw_further(top, heights, observed, further, draws, going, low, p_value)
            draws += FURTHER
            going = going[low[going] < ENOUGH]
        return cls(n_pairs, observed, drawn, p_value, benjamini_hochberg(p_value), fdr)

    @property
    def mean(self) -> np.ndarray:
        """float64 (n_latents,): mean pair-LCH over the draws; NaN without pairs or draws."""
        if not len(self.draws):
            return np.full(len(self.observed), np.nan)
        return _or_nan(self.draws.mean(0, dtype=np.float64), self.n_pairs)

    def significant(self, draw: int | None = None) -> np.ndarray:
        """bool (n_latents,): the latents with a q-value below `fdr`, or those of a draw.

        A draw is exchangeable with the observed under the null, so its p-value is its rank among
        the draws. It has to be as small as the largest one that is significant as observed.
        """
        found = self.q_value < self.fdr
        if draw is None:
            return found
        rank = (self.draws <= self.draws[draw]).mean(0)
        return (self.n_pairs > 0) & (rank <= self.p_value[found].max(initial=0.0))


@compiled
def _draw_further(
    top: ClassCounts,
    heights: np.ndarray,
    observed: np.ndarray,
    permutations: np.ndarray,
    draws: int,
    latents: np.ndarray,
    low: np.ndarray,
    p_value: np.ndarray,
) -> None:
    """Go on with the draws of some latents: changes `low` and `p_value` in place."""
    start, label, count = top
    for j in latents:
        for draw in range(len(permutations)):
            place, total = permutations[draw], 0.0
            for a in range(start[j], start[j + 1]):
                row = heights[place[label[a]]]
                for b in range(a + 1, start[j + 1]):
                    total += count[a] * count[b] * row[place[label[b]]]
                if total > observed[j]:
                    break
            low[j] += total <= observed[j]
            if low[j] == ENOUGH:
                p_value[j] = ENOUGH / (draws + draw + 1)
                break
        else:
            p_value[j] = (1 + low[j]) / (1 + draws + len(permutations))


def _or_nan(total: np.ndarray, n: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(n > 0, total / n, np.nan)

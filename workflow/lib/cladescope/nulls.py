"""Null draws: what the scores would be if the classes sat elsewhere in the tree, or anywhere.

Permuted leaves: the classes that are leaves change places in the tree. It keeps how selective each
latent is for classes and destroys only the hierarchy, so it is the null that a claim about
hierarchy has to beat. Shuffled labels: the images change classes, which destroys both.
The same draws serve all latents, and all dictionaries with the same seed and classes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cladescope.measures import Tree

# Streams of the seed, so that one kind of draw does not depend on how many of the other there are.
_LEAF_STREAM, _LABEL_STREAM = 0, 1
# Ends of the interval of a null mean over its draws, in percent.
NULL_INTERVAL = (2.5, 97.5)


def leaf_permutations(tree: Tree, draws: int, seed: int) -> np.ndarray:
    """Draw permutations of the classes that move the leaves and keep classes above others.

    Returns
    -------
    int64 (draws, n_classes): class c takes the place of class [draw, c].
    """
    random = np.random.default_rng((seed, _LEAF_STREAM))
    movable = np.flatnonzero(tree.leaf >= 0)
    permutations = np.tile(np.arange(len(tree.leaf)), (draws, 1))
    for permutation in permutations:
        permutation[movable] = random.permutation(movable)
    return permutations


def shuffled_labels(labels: np.ndarray, draws: int, seed: int) -> Iterator[np.ndarray]:
    """Yield `draws` times the labels of the images in random order."""
    random = np.random.default_rng((seed, _LABEL_STREAM))
    for _ in range(draws):
        yield random.permutation(labels)


class ClassPairs(NamedTuple):
    """Pairs of different classes in top sets; one latent's pairs follow each other."""

    pair: np.ndarray
    """int64 (n_pairs,): position (a, b), a < b, in a flattened (n_classes, n_classes) table."""
    weight: np.ndarray
    """int32 (n_pairs,): how many pairs of images have these two classes."""
    latent: np.ndarray
    """int64 (n_latents_with_pairs,): the latents with two classes or more."""
    start: np.ndarray
    """int64 (n_latents_with_pairs,): position of each one's first pair."""

    @classmethod
    def of(cls, top: np.ndarray) -> "ClassPairs":
        """List the pairs in top-set counts, a real array (n_latents, n_classes)."""
        latent, label = np.nonzero(top)
        count = top[latent, label].astype(np.int32)
        end = np.cumsum(np.bincount(latent, minlength=len(top)))[latent]
        followers = end - 1 - np.arange(len(latent))  # later classes of the same latent
        first = np.repeat(np.arange(len(latent)), followers)
        begin = np.cumsum(followers) - followers
        second = first + 1 + np.arange(len(first)) - begin[first]
        n_pairs = np.bincount(latent, followers, minlength=len(top)).astype(np.int64)
        start = np.cumsum(n_pairs) - n_pairs
        return cls(
            pair=label[first] * top.shape[1] + label[second],
            weight=count[first] * count[second],
            latent=np.flatnonzero(n_pairs),
            start=start[n_pairs > 0],
        )

    @classmethod
    def joined(cls, parts: "list[ClassPairs]", n_latents: list[int]) -> "ClassPairs":
        """Join consecutive blocks of `n_latents` latents each."""
        latents = np.cumsum([0, *n_latents])
        pairs = np.cumsum([0, *(len(part.pair) for part in parts)])
        return cls(
            pair=np.concatenate([part.pair for part in parts]),
            weight=np.concatenate([part.weight for part in parts]),
            latent=np.concatenate(
                [part.latent + n for part, n in zip(parts, latents[:-1], strict=True)]
            ),
            start=np.concatenate(
                [part.start + n for part, n in zip(parts, pairs[:-1], strict=True)]
            ),
        )

    def total(self, heights: np.ndarray | None = None) -> np.ndarray:
        """Sum a height over the pairs of images of each latent; without heights, count the pairs.

        Parameters
        ----------
        heights
            Int (n_classes, n_classes), symmetric.

        Returns
        -------
        int64 (n_latents_with_pairs,)
        """
        if not len(self.start):
            return np.zeros(0, np.int64)
        value = self.weight if heights is None else heights.ravel().take(self.pair) * self.weight
        return np.add.reduceat(value, self.start, dtype=np.int64)


class PairNull(NamedTuple):
    """Pair-LCH of the latents with two classes or more, and its permuted-leaf null."""

    value: np.ndarray
    """float64 (n_latents_with_pairs,): expected height."""
    draw_mean: np.ndarray
    """float64 (draws,): the mean over latents, per draw; NaN without latents."""
    latent_mean: np.ndarray
    """float64 (n_latents_with_pairs,): a latent's mean over the draws; NaN without draws."""
    p_value: np.ndarray
    """float64 (n_latents_with_pairs,): see `pair_null`."""


def pair_null(pairs: ClassPairs, heights: np.ndarray, permutations: np.ndarray) -> PairNull:
    """Compute pair-LCH and how often it is as low when the leaves are permuted.

    pair-LCH(j) = Σ_{a<b} n_ja n_jb height(LCH(a, b)) / Σ_{a<b} n_ja n_jb over classes a, b: the
    expected height of the LCH of two images of the top set that have different classes.
    p_j = (1 + #{draws with pair-LCH ≤ the observed}) / (1 + draws). The sums are whole numbers, so
    ties are exact; they count against the latent.

    Parameters
    ----------
    pairs
        Class pairs of the top sets.
    heights
        Int (n_classes, n_classes): one of `Tree.pair_heights`.
    permutations
        Int (draws, n_classes): `leaf_permutations`.
    """
    n_image_pairs, observed = pairs.total(), pairs.total(heights)
    draws = len(permutations)
    draw_mean = np.full(draws, np.nan)
    summed, as_low = np.zeros(len(observed), np.int64), np.zeros(len(observed), np.int64)
    for draw, permutation in enumerate(permutations):
        drawn = pairs.total(heights[np.ix_(permutation, permutation)])
        if len(drawn):
            draw_mean[draw] = (drawn / n_image_pairs).mean()
        summed += drawn
        as_low += drawn <= observed
    return PairNull(
        value=observed / n_image_pairs,
        draw_mean=draw_mean,
        latent_mean=summed / n_image_pairs / draws if draws else np.full(len(observed), np.nan),
        p_value=(1 + as_low) / (1 + draws),
    )


def benjamini_hochberg(p_value: np.ndarray) -> np.ndarray:
    """Adjust p-values for their number: q_(k) = min_{i ≥ k} p_(i) m / i, p sorted upwards.

    Parameters
    ----------
    p_value
        float64 (m,), all finite.

    Returns
    -------
    float64 (m,): rejecting q ≤ α keeps the expected share of false rejections at α.
    Source: Benjamini & Hochberg 1995.
    """
    order = np.argsort(p_value, kind="stable")
    ratio = p_value[order] * len(p_value) / np.arange(1, len(p_value) + 1)
    adjusted = np.empty(len(p_value))
    adjusted[order] = np.minimum.accumulate(ratio[::-1])[::-1]
    return np.minimum(adjusted, 1.0)


class DrawMeans:
    """Means over latents of each score, draw by draw, gathered over blocks of latents."""

    def __init__(self, draws: int) -> None:
        self.draws = draws
        self._sum: dict[str, np.ndarray] = {}
        self._n: dict[str, np.ndarray] = {}

    def add(self, draw: int, scores: dict[str, np.ndarray]) -> None:
        """Add a block's scores; values that are not finite are missing."""
        for name, values in scores.items():
            present = np.isfinite(values)
            for table, amount in (
                (self._sum, values[present].sum()),
                (self._n, np.count_nonzero(present)),
            ):
                table.setdefault(name, np.zeros(self.draws))[draw] += amount

    def means(self) -> dict[str, np.ndarray]:
        """float64 (draws,) by name; NaN where no latent has the score."""
        with np.errstate(invalid="ignore"):
            return {name: self._sum[name] / self._n[name] for name in self._sum}


def summarise(name: str, kind: str, draws: np.ndarray) -> dict[str, float | None]:
    """Name the mean of a score over its null draws, and the ends of `NULL_INTERVAL`."""
    draws = draws[np.isfinite(draws)]
    key = f"{name}_null_{kind}"
    if not len(draws):
        return {key: None, f"{key}_low": None, f"{key}_high": None}
    low, high = np.percentile(draws, NULL_INTERVAL)
    return {key: float(draws.mean()), f"{key}_low": float(low), f"{key}_high": float(high)}

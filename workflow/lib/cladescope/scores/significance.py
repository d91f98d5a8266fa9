"""Which latents are hierarchical beyond chance, and which would be if the leaves were permuted."""

from dataclasses import dataclass

import numpy as np

from cladescope.scores.halves import Halves
from cladescope.scores.nulls import benjamini_hochberg, p_values
from cladescope.scores.pairs import image_pairs, pair_sums


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
        top, places = halves.top, np.arange(len(heights))
        if int(heights.max()) * halves.top_n**2 / 2 >= 2**24:
            raise ValueError(f"scores.top_n: {halves.top_n} is too large; at most 1000 is sensible")
        draws = np.empty((len(permutations), len(halves.scored)), np.float32)
        for draw, permutation in enumerate(permutations):
            draws[draw] = pair_sums(top, heights, permutation)
        return cls(image_pairs(top), pair_sums(top, heights, places), draws)

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

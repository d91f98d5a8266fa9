"""Which latents are hierarchical beyond chance, and which would be with their leaves permuted.

The sums of heights over the pairs of images of all top sets, for a thousand permutations or more.
Latents share most pairs of classes, so for a block of permutations the height of each pair is
looked up once, side by side for all of them, and the latents add up such rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from cladescope.compiled import compiled
from cladescope.scores.counts import ClassCounts
from cladescope.scores.halves import Halves
from cladescope.scores.nulls import benjamini_hochberg
from cladescope.scores.pair_lch import image_pairs
from cladescope.threads import in_order

ENOUGH = 10
"""Draws at or below the observed that settle a p-value: its standard error is a third of it."""
FURTHER = 1000
"""Draws between two looks at which latents need more."""
TABLE_BYTES = 2**25
"""Of the heights of all pairs in a block of draws, as long as that is one draw or more."""
BLOCK = 256
"""Draws in a block, at most: their sums stay in the processor's first cache."""


class Tally(NamedTuple):
    """What is known of each latent while draws go on, each array (n_latents,)."""

    observed: np.ndarray
    """float64: sum over the pairs of its top set."""
    low: np.ndarray
    """int64: draws at or below it."""
    p_value: np.ndarray
    """float64."""


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
        threads: int = 1,
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
        n_pairs, _ = image_pairs(top)
        unmoved = np.arange(len(heights), dtype=np.int32)[None]
        (observed,) = pair_sums(top, heights, unmoved, threads).astype(np.float64)
        places = np.array([*islice(permutations, draws)], np.int32).reshape(draws, len(heights))
        drawn = pair_sums(top, heights, places, threads)
        low = (drawn <= observed).sum(0)
        tested = (n_pairs > 0) & (draws > 0)
        p_value = np.where(tested, (1 + low) / (1 + draws), np.nan)
        going = np.flatnonzero(tested & (low < ENOUGH))
        while len(going) and not (benjamini_hochberg(p_value)[going] < fdr).all():
            further = np.array([*islice(permutations, FURTHER)], np.int32)
            draw = partial(
                _draw_further, top, heights, Tally(observed, low, p_value), draws, further
            )
            for _ in in_order(draw, np.array_split(going, threads), threads):
                pass
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
        if draw is None:
            return self.q_value < self.fdr
        return (self.n_pairs > 0) & (self.draws[draw] < self._bar)

    @cached_property
    def _bar(self) -> np.ndarray:
        """(n_latents,): what the sum of a draw that is significant is below."""
        ranks = np.arange(1, len(self.draws) + 1) / len(self.draws)
        n_low = int((ranks <= self.p_value[self.significant()].max(initial=0.0)).sum())
        if n_low == len(self.draws):
            return np.full(len(self.observed), np.inf)
        return np.partition(self.draws, n_low, axis=0)[n_low]


def pair_sums(
    top: ClassCounts, heights: np.ndarray, places: np.ndarray, threads: int = 1
) -> np.ndarray:
    """Sum the heights over the pairs of images of different classes, with the classes elsewhere.

    Parameters
    ----------
    heights
        Whole numbers (n_classes, n_classes), symmetric.
    places
        int32 (draws, n_classes): the place of each class.

    Returns
    -------
    float32 (draws, n_latents), exact below 2²⁴.

    Examples
    --------
    Three images of one class and one of another are three pairs, at a height of 2.

    >>> top = ClassCounts(np.array([0, 2]), np.array([0, 1]), np.array([3, 1]))
    >>> heights = np.array([[0, 2, 3], [2, 0, 3], [3, 3, 0]], np.uint8)
    >>> pair_sums(top, heights, np.array([[0, 1, 2], [2, 1, 0]], np.int32)).tolist()
    [[6.0], [9.0]]
    """
    sums = np.empty((len(places), len(top.start) - 1), np.float32)
    first, second, slot = _list_pairs(top, len(heights))
    size = min(max(TABLE_BYTES // (max(len(first), 1) * heights.itemsize), 1), BLOCK)

    def fill(begin: int) -> None:
        block = np.ascontiguousarray(places[begin : begin + size].T)
        sums[begin : begin + size] = _add_up(top, slot, _look_up(first, second, heights, block)).T

    for _ in in_order(fill, range(0, len(places), size), threads):
        pass
    return sums


@compiled
def _list_pairs(top: ClassCounts, n_classes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """List the pairs of classes that any latent has, and where in this list each pair is."""
    start, label, _ = top
    slot = np.full((n_classes, n_classes), -1, np.int32)
    n_pairs = 0
    for j in range(len(start) - 1):
        for a in range(start[j], start[j + 1]):
            for b in range(a + 1, start[j + 1]):
                if slot[label[a], label[b]] < 0:
                    slot[label[a], label[b]] = slot[label[b], label[a]] = n_pairs
                    n_pairs += 1
    first, second = np.empty(n_pairs, np.int32), np.empty(n_pairs, np.int32)
    for a in range(n_classes):
        for b in range(n_classes):
            if slot[a, b] >= 0:
                first[slot[a, b]], second[slot[a, b]] = a, b
    return first, second, slot


@compiled
def _look_up(
    first: np.ndarray, second: np.ndarray, heights: np.ndarray, places: np.ndarray
) -> np.ndarray:
    """Return the height of each pair for every draw; `places` is (n_classes, draws)."""
    table = np.empty((len(first), places.shape[1]), heights.dtype)
    for pair in range(len(first)):
        a, b = places[first[pair]], places[second[pair]]
        for draw in range(places.shape[1]):
            table[pair, draw] = heights[a[draw], b[draw]]
    return table


@compiled
def _add_up(top: ClassCounts, slot: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Sum the rows of `table` over each latent's pairs of images: int32 (n_latents, draws)."""
    start, label, count = top
    sums = np.zeros((len(start) - 1, table.shape[1]), np.int32)
    for j in range(len(sums)):
        total = sums[j]
        for a in range(start[j], start[j + 1]):
            for b in range(a + 1, start[j + 1]):
                pair, images = slot[label[a], label[b]], count[a] * count[b]
                for draw in range(len(total)):
                    total[draw] += images * table[pair, draw]
    return sums


@compiled
def _draw_further(
    top: ClassCounts,
    heights: np.ndarray,
    tally: Tally,
    draws: int,
    permutations: np.ndarray,
    latents: np.ndarray,
) -> None:
    """Go on after so many draws with some latents: changes `low` and `p_value` in place."""
    start, label, count = top
    observed, low, p_value = tally
    for j in latents:
        for draw in range(len(permutations)):
            place, total = permutations[draw], 0.0
            for a in range(start[j], start[j + 1]):
                c = place[label[a]]
                for b in range(a + 1, start[j + 1]):
                    total += count[a] * count[b] * heights[c, place[label[b]]]
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
